"""`compare_runs`: finished runs side by side, with intervals of their differences."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from lstm_lm.corpus.corpus import Corpus
from lstm_lm.corpus.progress import Bar
from lstm_lm.corpus.tokens import Tokens
from lstm_lm.errors import InputError, UserError
from lstm_lm.evaluation.bootstrap import (
    count_draws,
    interval_of,
    mean_interval,
    resampled_sums,
)
from lstm_lm.evaluation.by_line import LineScores, same_words, score_by_line, shared_ids
from lstm_lm.files.run_files import YAML_FILE
from lstm_lm.machine import choose_device
from lstm_lm.model.language_model import LanguageModel
from lstm_lm.model.scoring import perplexity_from
from lstm_lm.printing import print_line
from lstm_lm.probes.asking import ItemScore, NetworkReader, iterate_scores
from lstm_lm.probes.real_text import FilledSuite, filled_names
from lstm_lm.probes.report import nothing_asked, summarise
from lstm_lm.probes.suites import Suite
from lstm_lm.training.run_directory import load_model_config
from lstm_lm.training.run_evaluation import corpus_settings, encode_text
from lstm_lm.training.run_probe import ask_through
from lstm_lm.training.run_summary import summarise_run

NOT_BY_ALL = "another of the models has to skip it"  # why an item that this one could answer is not


@dataclass(frozen=True)
class TextChoice:
    """On which text perplexities are compared.

    Attributes:
        split: of every run's own corpus, which must be the same for all.
        file: a file, a folder or a pattern that is read instead; None for the split.
        reset_per_line: start every line from a zero state.
    """

    split: str = "valid"
    file: Path | None = None
    reset_per_line: bool = False


@dataclass(frozen=True)
class _Compared:
    """A run, loaded."""

    run: str
    name: str
    model: LanguageModel
    facts: dict[str, Any]


def compare_runs(
    runs: Sequence[str],
    suites: Sequence[Suite],
    *,
    text: TextChoice | None = None,
    fillers: str = "",
    measure: str = "accuracy",
    device: str = "cpu",
    report: Callable[[str], None] = print_line,
) -> dict[str, Any]:
    """Measures models on one text and on probe suites; every difference is from the first model.

    Models of different vocabularies are compared over the words that all of them have: of each
    probability, only the part that these share among themselves counts. Probes are compared over
    the items that all models can be asked.

    Args:
        runs: at least two run directories, or models on the hub.
        suites: the questions, see `lstm_lm.probes.suites.find_suite`.
        text: on which perplexity is measured; None: the valid split.
        fillers: also asks every suite with sentences of this text between clue and question; see
            `lstm_lm.training.run_probe.probe_run`. The models must have the same words.
        measure: the figure of a report that is compared: ``accuracy``, ``pair_accuracy``
            or ``top_1``.
        device: ``auto``, ``cpu``, ``cuda`` or ``mps``.
        report: receives every line for people.

    Returns:
        For JSON: ``models``, ``perplexity`` (see `_compare_perplexity`), ``suites`` with every
        model's report and the differences, and notes.

    Raises:
        InputError: a run is named twice, or the fillers cannot be used.
        RunDirectoryError: a directory is missing or damaged.
        CorpusError: a text cannot be read.
        ConfigError: this machine has no such device.
        HubError: the hub is out of reach, or has no such model.
    """
    choice, chosen = text or TextChoice(), choose_device(device, "--device")
    compared = [_load(run, name, chosen) for run, name in zip(runs, names_of(runs), strict=True)]
    for one in compared:
        if one.facts["finished"] is False:
            report(f"note: {one.run} is not finished: {one.facts['steps'] or 0:,} steps so far")
    words = [one.model.vocabulary.to_json() for one in compared]
    same_vocabulary = len(set(words)) == 1
    perplexity = _compare_perplexity(compared, choice, same_vocabulary=same_vocabulary)
    asked: Sequence[Suite | FilledSuite] = suites
    notes: list[str] = []
    if fillers and not same_vocabulary:
        raise InputError(
            "--fillers: these models have different vocabularies, so each would get other fillers; "
            "leave it out"
        )
    if fillers:
        asked, notes = ask_through(suites, fillers, runs[0], compared[0].model.vocabulary)
    found = _compare_probes(compared, asked, measure)
    first_reports = {one["suite"]: one["reports"][compared[0].name] for one in found}
    return {
        "models": [{"name": one.name, "run": one.run, **one.facts} for one in compared],
        "same_vocabulary": same_vocabulary,
        "perplexity": perplexity,
        "measure": measure,
        "left_out": nothing_asked(first_reports),
        "filled": filled_names(asked),
        "notes": notes,
        "suites": found,
    }


def names_of(runs: Sequence[str]) -> list[str]:
    """What tells runs apart: their paths without what all of them begin with.

    Raises:
        InputError: a run is named twice.
    """
    for run in runs:
        if [os.path.normpath(other) for other in runs].count(os.path.normpath(run)) > 1:
            raise InputError(f"{run}: is named twice; name each run once")
    parts = [Path(os.path.normpath(run)).parts for run in runs]
    shared = 0
    while len({some[: shared + 1] for some in parts}) == 1:
        shared += 1
    return ["/".join(some[shared:]) or some[-1] for some in parts]


def _load(run: str, name: str, device: Any) -> _Compared:
    summary = summarise_run(run)
    facts = {
        "description": summary.description,
        "parameters": summary.parameters,
        "vocab_size": summary.vocab_size,
        "corpus": summary.corpus,
        "steps": summary.steps,
        "seed": summary.seed,
        "finished": summary.finished,
    }
    return _Compared(run, name, LanguageModel.from_pretrained(run, device), facts)


def _compare_perplexity(
    compared: Sequence[_Compared], choice: TextChoice, *, same_vocabulary: bool
) -> dict[str, Any]:
    """Measures all models on the same words of the same text.

    Returns:
        ``results``: a dict for each model with its perplexity; all but the first also have the
        ``difference`` in perplexity and the ``ratio``, both with their intervals. Where nothing can
        be compared, ``results`` is empty and ``why_not`` says why. ``over`` is ``all words`` or
        ``shared words``.
    """
    facts: dict[str, Any] = {
        "text": str(choice.file or choice.split),
        "state": "reset" if choice.reset_per_line else "carried",
        "over": "all words" if same_vocabulary else "shared words",
        "why_not": "",
        "results": [],
    }
    unknown = [one.run for one in compared if not (Path(one.run) / YAML_FILE).exists()]
    if unknown and choice.file is None:
        return facts | {"why_not": f"the corpus of {unknown[0]} is not known; give a text, --file"}
    texts = [_tokens(one, choice) for one in compared]
    vocabularies = [one.model.vocabulary for one in compared]
    ids = shared_ids(vocabularies)
    if not same_words(texts, ids, [len(vocabulary) for vocabulary in vocabularies]):
        return facts | {"why_not": _why_not_one_text(choice)}
    scores = []
    for one, tokens, shared in zip(compared, texts, ids, strict=True):
        name = f"scoring {one.name}"
        with Bar(total=len(tokens), desc=name, unit=" words", leave=False, disable=None) as bar:

            def on_progress(done: int, bar: Bar = bar) -> None:
                bar.update(done)

            scores.append(
                score_by_line(
                    one.model,
                    tokens,
                    reset_per_line=choice.reset_per_line,
                    among=None if same_vocabulary else shared,
                    on_progress=on_progress,
                )
            )
    lines, tokens_scored = len(scores[0].tokens), int(scores[0].tokens.sum())
    return facts | {
        "tokens": tokens_scored,
        "tokens_of_text": len(texts[0]),
        "lines": lines,
        "shared_words": len(ids[0]),
        "draws": count_draws(lines),
        "results": _perplexity_results(compared, scores),
    }


def _why_not_one_text(choice: TextChoice) -> str:
    if choice.file is not None:
        return "the models split the text into words in different ways"
    return (
        f"their {choice.split} splits are different texts, or are split into words in different "
        "ways; give them one text with --file"
    )


def _tokens(one: _Compared, choice: TextChoice) -> Tokens:
    """The ids of the text in a model's vocabulary."""
    vocabulary = one.model.vocabulary
    try:
        if choice.file is not None:
            return encode_text(choice.file, vocabulary, corpus_settings(one.run))[0]
        config = load_model_config(Path(one.run))
        return Corpus(config.corpus, config.stories, vocabulary=vocabulary).tokens(choice.split)
    except UserError as error:
        raise type(error)(f"{one.run}: {error}") from None


def _perplexity_results(
    compared: Sequence[_Compared], scores: Sequence[LineScores]
) -> list[dict[str, Any]]:
    columns = np.stack([scores[0].tokens.astype(np.float64), *(some.nll for some in scores)])
    sums = resampled_sums(columns)  # (D, 1 + models)
    losses = sums[:, 1:] / sums[:, :1]
    results: list[dict[str, Any]] = []
    for place, (one, some) in enumerate(zip(compared, scores, strict=True)):
        perplexity = perplexity_from(some.loss, 1)
        found: dict[str, Any] = {
            "name": one.name,
            "perplexity": perplexity,
            "nll": float(some.nll.sum()),
        }
        if place:
            ratios = np.exp(losses[:, place] - losses[:, 0])
            differences = np.exp(losses[:, place]) - np.exp(losses[:, 0])
            found |= {
                "difference": perplexity - results[0]["perplexity"],
                "difference_interval": interval_of(differences),
                "ratio": math.exp(some.loss - scores[0].loss),
                "ratio_interval": interval_of(ratios),
            }
        results.append(found)
    return results


def _compare_probes(
    compared: Sequence[_Compared], suites: Sequence[Suite | FilledSuite], measure: str
) -> list[dict[str, Any]]:
    """Asks all models the same questions; returns reports and differences of every suite."""
    readers = [NetworkReader(one.model) for one in compared]
    found = []
    for suite in Bar(suites, desc="probing", unit=" suites", leave=False, disable=None):
        scores = _scores_of_all(readers, suite)
        reports = {
            one.name: summarise(some, len(one.model.vocabulary))
            for one, some in zip(compared, scores, strict=True)
        }
        shown = measure
        if reports[compared[0].name][measure] is None:
            shown = "top_1"  # as in a picture of `draw_comparison`: these items have no foil
        values = [measured_values(some, shown) for some in scores]
        differences = {}
        for one, some in zip(compared[1:], values[1:], strict=True):
            if some:
                each = [other - first for first, other in zip(values[0], some, strict=True)]
                differences[one.name] = {
                    "difference": math.fsum(each) / len(each),
                    "difference_interval": mean_interval(each),
                }
        found.append(
            {
                "suite": suite.name,
                "measure": shown,
                "compared": len(values[0]),
                "reports": reports,
                "differences": differences,
            }
        )
    return found


def _scores_of_all(
    readers: Sequence[NetworkReader], suite: Suite | FilledSuite
) -> list[list[ItemScore]]:
    """Every model's scores; what one of them skips is skipped for all."""
    scores = [list(iterate_scores(reader, suite)) for reader in readers]
    for row in range(len(scores[0])):
        if any(some[row].skipped for some in scores):
            for some in scores:
                if not some[row].skipped:
                    some[row] = ItemScore(some[row].item, NOT_BY_ALL)
    return scores


def measured_values(scores: Sequence[ItemScore], measure: str) -> list[float]:
    """What a figure of a report is the mean of, from 0 to 1, item by item (or pair by pair).

    Args:
        scores: of a suite's items, in their order.
        measure: ``accuracy``, ``pair_accuracy`` or ``top_1``.
    """
    if measure == "pair_accuracy":
        pairs = (list(members) for _, members in groupby(scores, key=lambda one: one.item.pair))
        return [
            float(all(one.right for one in pair))
            for pair in pairs
            if pair[0].item.pair and not any(one.skipped for one in pair)
        ]
    if measure == "top_1":
        return [float(one.rank == 1) for one in scores if one.rank is not None]
    return [
        0.5
        if one.foil_log_probability is not None and one.foil_log_probability == one.log_probability
        else float(one.right)
        for one in scores
        if not one.skipped and (one.item.regions or one.foil_log_probability is not None)
    ]
