"""What a sweep checks and prepares before it trains anything."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lstm_lm.config import Config, config_to_dict
from lstm_lm.corpus.corpus import Corpus
from lstm_lm.corpus.windows import TokenIds
from lstm_lm.corpus.word_rules import LATEST_VERSION
from lstm_lm.errors import RunDirectoryError
from lstm_lm.files.run_files import STATE_FILE
from lstm_lm.files.seal import digest
from lstm_lm.model.network import count_parameters
from lstm_lm.model.pretrained import load_description
from lstm_lm.model.scoring import perplexity_from
from lstm_lm.training.building import check_clusters, check_memory
from lstm_lm.training.checkpoint import read_progress
from lstm_lm.training.resuming import check_ready
from lstm_lm.training.run import describe_run
from lstm_lm.training.run_directory import holds_run, load_run_config
from lstm_lm.training.run_summary import is_finished
from lstm_lm.training.sweep_process import estimate_memory
from lstm_lm.training.sweep_record import (
    DIVERGED,
    FINISHED,
    STOPPED,
    WAITING,
    Combination,
    SweepRecord,
    SweepRun,
)
from lstm_lm.training.sweep_settings import SweepSettings
from lstm_lm.training.validation import best_validation, loss_to_choose_by, valid_texts

BLOCK = 2**20  # tokens that are read at a time


@dataclass(frozen=True)
class _Measured:
    """What the perplexities of a corpus are measured over.

    Attributes:
        vocab_size: words.
        words: a checksum of vocabulary and valid text.
    """

    vocab_size: int
    words: str


class Preparation:
    """Checks every run of a sweep, and encodes every corpus once.

    Args:
        settings: what is varied.
        record: the sweep; the states of its runs, its combinations' parameters and whether they can
            be compared are brought up to date.
        report: receives every line for people.

    Attributes:
        memory_needed: bytes of the process of the largest run, estimated.

    Raises:
        RunDirectoryError: a directory has a damaged run or one of another configuration.
        ConfigError: a network does not fit into memory.
        CorpusError: a corpus cannot be read.
    """

    def __init__(
        self, settings: SweepSettings, record: SweepRecord, report: Callable[[str], None]
    ) -> None:
        self.memory_needed = 0
        self._settings, self._record, self._report = settings, record, report
        self._corpora: dict[str, _Measured] = {}
        for one in record.combinations:
            for run in one.runs:
                self._look_at(run, one)
        self._version = self._find_tokenizer_version()
        if not record.combinations:  # a search that begins
            self._check_size(settings.base)
        words = {self.add(one) for one in record.combinations}
        record.comparable = len(words) <= 1

    def add(self, one: Combination) -> str:
        """Checks a combination, and counts its parameters.

        Returns:
            A checksum of what its perplexity is measured over.
        """
        config = self._settings.build(one.values, self._record.seeds[0])
        one.parameters = count_parameters(config.model, self._check_size(config))
        return f"{self._read_corpus(config).words} {config.evaluation.reset_per_line}"

    def _check_size(self, config: Config) -> int:
        """Checks that a network can be trained; returns the size of its vocabulary."""
        vocab_size = self._read_corpus(config).vocab_size
        check_memory(config.model, vocab_size)
        check_clusters(config.model, vocab_size)
        self.memory_needed = max(self.memory_needed, estimate_memory(config, vocab_size))
        return vocab_size

    def _look_at(self, run: SweepRun, one: Combination) -> None:
        """Finds out what became of a run. One that diverged stays so, as long as it is there."""
        folder = self._record.folder / run.folder
        if run.state == DIVERGED and holds_run(folder):
            return
        check_ready(folder, self._settings.build(one.values, run.seed))
        run.state, run.why, run.perplexity = WAITING, "", None
        if holds_run(folder):
            run.state = STOPPED
            with contextlib.suppress(RunDirectoryError):  # stopped before its first checkpoint
                if is_finished(load_run_config(folder)[0], read_progress(folder / STATE_FILE)):
                    read_result(run, folder)

    def _find_tokenizer_version(self) -> int:
        """The version of the rules by which the text is split into words."""
        versions = set()
        for run in self._record.runs:
            with contextlib.suppress(RunDirectoryError):  # stopped before it was written
                folder = self._record.folder / run.folder
                versions.add(load_description(folder).vocabulary.version)
        is_waiting = any(run.state == WAITING for run in self._record.runs)
        if len(versions) > 1 or (is_waiting and versions - {LATEST_VERSION}):
            raise RunDirectoryError(
                f"{self._record.folder}: the text of its runs was split into words by older rules "
                "than that of the others would be; choose another --output"
            )
        return min(versions, default=LATEST_VERSION)

    def _read_corpus(self, config: Config) -> _Measured:
        """Reads and encodes a corpus; the cache keeps it for the runs."""
        data = config_to_dict(config)
        key = json.dumps([data["corpus"], data["stories"]])
        if key not in self._corpora:
            corpus = Corpus(config.corpus, config.stories, version=self._version)
            for note in corpus.notes():
                self._report(note)
            corpus.training_tokens(config.training.batch_size)
            texts = valid_texts(corpus, config.evaluation)
            parts = [corpus.vocabulary.to_json(), *(_digest(text.tokens) for text in texts)]
            words = digest(" ".join(parts).encode())
            self._corpora[key] = _Measured(len(corpus.vocabulary), words)
        return self._corpora[key]


def read_result(run: SweepRun, folder: Path) -> None:
    """Reads what became of a finished run from its log.

    Raises:
        RunDirectoryError: the log is damaged or missing.
    """
    facts = describe_run(folder)
    best = best_validation(folder)
    assert best is not None  # `describe_run` has read it
    run.state, run.why = FINISHED, ""
    run.perplexity = perplexity_from(loss_to_choose_by(best), 1)
    run.seconds, run.steps, run.tokens = facts["seconds"], facts["steps"], facts["tokens"]


def _digest(tokens: TokenIds) -> str:
    blocks = (tokens[start : start + BLOCK] for start in range(0, len(tokens), BLOCK))
    return " ".join(digest(np.asarray(block).tobytes()) for block in blocks)
