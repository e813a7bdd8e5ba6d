"""`probe_run`: what a model remembers, and beside it an n-gram model of the same corpus."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from lstm_lm.errors import UserError
from lstm_lm.evaluation.baseline import NGramReader, count_corpus_of
from lstm_lm.machine import choose_device
from lstm_lm.model.language_model import LanguageModel
from lstm_lm.probes.asking import ItemScore, NetworkReader, iterate_scores
from lstm_lm.probes.report import ReportRow, summarise
from lstm_lm.probes.suites import Suite
from lstm_lm.training.run_directory import load_model_config


@dataclass(frozen=True)
class ProbeResult:
    """What `probe_run` returns.

    Attributes:
        description: one line about the model.
        vocab_size: how many words it knows.
        reports: suite -> what `lstm_lm.probes.report.summarise` returned for the model.
        baseline: what `NGramModel.describe` returned; None without an n-gram model.
        no_baseline_because: why there is no n-gram model; empty if there is one, or if none was
            wanted.
        baseline_reports: suite -> the report of the n-gram model; empty without one.
    """

    description: str
    vocab_size: int
    reports: dict[str, ReportRow]
    baseline: dict[str, Any] | None
    no_baseline_because: str
    baseline_reports: dict[str, ReportRow]

    @property
    def baseline_name(self) -> str:
        """The n-gram model's name, such as ``5-gram``; empty without one."""
        return self.baseline["name"] if self.baseline else ""


def _ignore(suite: str, score: ItemScore) -> None:
    """Ignores a score."""


def probe_run(
    name_or_path: str | Path,
    suites: Sequence[Suite],
    *,
    order: int | None = None,
    device: str = "cpu",
    on_score: Callable[[str, ItemScore], None] = _ignore,
) -> ProbeResult:
    """Asks a model the questions of suites.

    Args:
        name_or_path: a run directory, or a model on the hub.
        suites: the questions, see `lstm_lm.probes.suites.find_suite`.
        order: words in the longest n-gram of the n-gram model; 0 for no n-gram model; None for the
            default, unless the corpus is large.
        device: ``auto``, ``cpu``, ``cuda`` or ``mps``.
        on_score: called with the name of the suite and every score of the model.

    Raises:
        InputError: a suite has a mistake.
        RunDirectoryError: the directory is missing or damaged.
        ConfigError: this machine has no such device.
        HubError: the hub is out of reach, or has no such model.
    """
    model = LanguageModel.from_pretrained(name_or_path, choose_device(device, "--device"))
    baseline, why_not = _find_baseline(name_or_path, model, order)
    reader, vocab_size = NetworkReader(model), len(model.vocabulary)
    reports: dict[str, ReportRow] = {}
    baseline_reports: dict[str, ReportRow] = {}
    sizes = [suite.check() for suite in suites]
    total = sum(size.items + size.bad_items for size in sizes)
    with tqdm(total=total, desc="probing", unit=" items", leave=False, disable=None) as bar:
        for suite in suites:

            def on_item(score: ItemScore, name: str = suite.name) -> None:
                on_score(name, score)
                bar.update()

            reports[suite.name] = summarise(iterate_scores(reader, suite), vocab_size, on_item)
            if baseline:
                scores = iterate_scores(baseline, suite)
                baseline_reports[suite.name] = summarise(scores, vocab_size)
    return ProbeResult(
        model.describe(),
        vocab_size,
        reports,
        baseline.model.describe() if baseline else None,
        why_not,
        baseline_reports,
    )


def _find_baseline(
    name_or_path: str | Path, model: LanguageModel, order: int | None
) -> tuple[NGramReader | None, str]:
    """An n-gram model of the run's corpus; or None, and why."""
    if order == 0:
        return None, ""
    try:
        config = load_model_config(Path(name_or_path))
        return count_corpus_of(model.vocabulary, config, order), ""
    except UserError as error:
        return None, str(error).splitlines()[0]
