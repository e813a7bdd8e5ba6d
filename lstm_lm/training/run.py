"""A run, put together from its configuration: corpus, model, trainer, run directory."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch

from lstm_lm.config import Config, config_to_yaml
from lstm_lm.corpus.sources import Source, build_source
from lstm_lm.corpus.tokens import Tokens, load_tokens, load_vocabulary
from lstm_lm.corpus.vocabulary import Vocabulary
from lstm_lm.errors import ConfigError, CorpusError, DamagedRunError, RunDirectoryError
from lstm_lm.files.atomic import make_folder, refusals_named, remove_leftovers, write_atomically
from lstm_lm.files.seal import digest
from lstm_lm.model.language_model import LanguageModel
from lstm_lm.model.pretrained import CARD_FILE, model_card, save_description
from lstm_lm.training.memory import must_fit_memory
from lstm_lm.training.resuming import ResumePoint, find_resume_point
from lstm_lm.training.run_directory import (
    INDIFFERENT,
    RUN_FILES,
    YAML_FILE,
    claim_folder,
    differences,
    holds_run,
    load_run_config,
    must_be_same_run,
    run_yaml,
)
from lstm_lm.training.run_log import METRICS_FILE, TIMINGS_FILE, read_log
from lstm_lm.training.trainer import Trainer


def choose_resume_point(folder: Path, config: Config, *, mend: bool = False) -> ResumePoint | None:
    """Finds from where a run is gone on, and that it is the same run; see `find_resume_point`.

    Raises:
        RunDirectoryError: if it cannot be gone on from, or had another configuration.
    """
    point = find_resume_point(folder, mend=mend)
    if point is not None and YAML_FILE not in point.damaged:
        must_be_same_run(load_run_config(folder)[0], config, folder)
    return point


@contextmanager
def claim_for_comparison(folder: Path, config: Config) -> Iterator[ResumePoint | None]:
    """Keeps a directory that is free, or holds this very run, which is then gone on with or taken as it is.

    Yields:
        What to go on from, if anything.

    Raises:
        RunDirectoryError: if another training is in there, or what is there is damaged or was trained in any other way.
    """
    with claim_folder(folder, resume=holds_run(folder), overwrite=False):
        if holds_run(folder) and (
            differing := differences(load_run_config(folder)[0], config, INDIFFERENT)
        ):
            raise RunDirectoryError(
                f"{folder}: holds a run of another configuration: {differing}; remove it to train "
                "it anew, or choose another --output"
            )
        try:
            point = choose_resume_point(folder, config)
        except DamagedRunError as error:
            raise RunDirectoryError(
                f"{error}, by lstm-lm train with --resume --mend; or remove {folder} to train it "
                "anew"
            ) from None
        yield point


@contextmanager
def tiny_as_zero() -> Iterator[None]:
    """Takes numbers below 1e-38 as zero: a CPU needs a hundred times as long for one as for any other.

    They come from gates that are shut, and from the momentum of units that have died; left alone they make a step two
    to four times as long. Threads inherit it, so it comes before there are any.
    """
    already = sys.float_info.min / 2 == 0
    for kind in (np.float32, np.float64):
        np.finfo(kind)  # is remembered; numpy 2.0, asked for the first time afterwards, warns
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(already)


def build_trainer(config: Config, folder: Path, resume: ResumePoint | None = None) -> Trainer:
    """Builds everything that a run needs, and only then writes its description into ``folder``.

    Args:
        config: the whole of it.
        folder: the run directory, claimed.
        resume: what to go on from; otherwise what an earlier run left there is removed.

    Raises:
        CorpusError: if the corpus cannot be read or learned from, or changes meanwhile.
        RunDirectoryError: if what is to be resumed is damaged or of another corpus.
        DiskError: if the directory cannot be written to.
    """
    source = build_source(config.corpus)
    text = source.identity("train")
    vocabulary = load_vocabulary(source, config.corpus, config.corpus.cache_dir)
    train, valid = (_load_split(source, split, vocabulary, config) for split in ("train", "valid"))
    if source.identity("train") != text:
        raise CorpusError(
            "corpus: the train split was changed while it was read; start again when it is complete"
        )
    known = resume.description if resume else None
    if known and known.vocabulary.to_json() != vocabulary.to_json():
        raise RunDirectoryError(
            f"{folder}: the corpus has changed since this run began; restore it, or choose another "
            "--output"
        )
    must_fit_memory(config.model, vocabulary)
    torch.manual_seed(config.training.seed)
    model = LanguageModel(config.model, vocabulary).to(choose_device(config.training.device))
    model.output.start_from_counts(count_words(train, len(vocabulary)))
    identity = digest(
        f"{config_to_yaml(config)} {vocabulary.to_json()} {len(train)} {len(valid)}".encode()
    )
    trainer = Trainer(
        model,
        train,
        valid,
        config.optimizer,
        config.training,
        config.evaluation,
        folder,
        resume=resume,
        source_nll=source.nll("valid"),
        identity=identity,
    )
    if trainer.progress.train_tokens != len(train):
        raise RunDirectoryError(
            f"{folder}: train had {trainer.progress.train_tokens:,} tokens when this run began, "
            f"now {len(train):,}; restore the corpus, or choose another --output"
        )
    make_folder(folder)
    remove_leftovers(folder, RUN_FILES)
    if resume:
        resume.put_in_place()
    else:
        _remove_run(folder)
    write_atomically(folder / YAML_FILE, run_yaml(config, trainer.progress.identity))
    if known is None or known.config != config.model:
        save_description(model, folder, trainer.progress.identity)
    return trainer


def _remove_run(folder: Path) -> None:
    with refusals_named(folder):
        for name in RUN_FILES:
            (folder / name).unlink(missing_ok=True)


def _load_split(source: Source, split: str, vocabulary: Vocabulary, config: Config) -> Tokens:
    tokens = load_tokens(source, split, vocabulary, config.corpus.cache_dir)
    if not len(tokens):
        raise CorpusError(f"corpus: the {split} split is empty; give it at least one line")
    return tokens


def count_words(tokens: Tokens, vocab_size: int, block: int = 2**20) -> torch.Tensor:
    """How often each word occurs, ``(V,)`` int64, reading a block of tokens at a time."""
    counts = torch.zeros(vocab_size, dtype=torch.int64)
    for start in range(0, len(tokens), block):
        counts += torch.bincount(
            torch.from_numpy(tokens[start : start + block]), minlength=vocab_size
        )
    return counts


def choose_device(name: str, asked_by: str = "training.device") -> torch.device:
    """The device of that name; ``auto`` is the first of cuda, mps and cpu that is there.

    Raises:
        ConfigError: if this machine has no such device; it says who asked for it.
    """
    there = {
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
        "cpu": True,
    }
    if name == "auto":
        return torch.device(next(name for name in ("cuda", "mps", "cpu") if there[name]))
    if not there[name]:
        raise ConfigError(
            f"{asked_by}: found {name!r}, but torch sees no such device on this machine; "
            f"allowed here: auto, {', '.join(name for name in there if there[name])}"
        )
    return torch.device(name)


def best_validation(folder: Path) -> dict[str, Any] | None:
    """The line of a run's log that tells of the weights which were kept; None if it was lost."""
    lines = [line for line in read_log(folder / METRICS_FILE) if line["split"] == "valid"]
    return min(lines, key=lambda line: line["loss"], default=None)


def describe_run(folder: Path) -> dict[str, Any]:
    """What a finished run's logs tell: steps, words seen, seconds, and its best perplexity on valid.

    Raises:
        RunDirectoryError: if the logs are damaged or gone.
    """
    metrics, timings = read_log(folder / METRICS_FILE), read_log(folder / TIMINGS_FILE)
    best = best_validation(folder)
    if not (best and timings):
        raise RunDirectoryError(
            f"{folder}: {METRICS_FILE} or {TIMINGS_FILE} is gone; restore it, or remove the "
            "directory to train it anew"
        )
    return {
        "steps": metrics[-1]["step"],
        "words": metrics[-1]["words"],
        "seconds": timings[-1]["seconds"],
        "perplexity": best["perplexity"],
        "tokens": best["tokens"],
        "oov_tokens": best["oov_tokens"],
        "state": best["state"],
    }


def write_card(trainer: Trainer, config: Config) -> None:
    """Writes the run's model card: what was trained on what, for how long, and how well it does."""
    best = best_validation(trainer.folder)
    if best is None:  # the log was lost, and what is left of the run has been finished before
        return
    corpus = config.corpus
    text = f"""
## Training

| what | value |
|---|---|
| corpus | {corpus.source}{f" {corpus.dataset} {corpus.dataset_config or ''}" if corpus.dataset else ""} |
| train tokens | {trainer.progress.train_tokens:,} |
| steps, epochs, seed | {trainer.progress.step:,}, {trainer.progress.epoch}, {config.training.seed} |
| valid perplexity | {best["perplexity"]:.2f} over {best["tokens"]:,} tokens, {best["oov_tokens"]:,} of them `<unk>`, \
state {best["state"]} |

`config.yaml` repeats the run: `lstm-lm train config.yaml`.
"""
    write_atomically(trainer.folder / CARD_FILE, model_card(trainer.model, text))
