"""Networks that differ only in their cell: equally large, trained alike, probed alike."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lstm_lm.cells import find_cell
from lstm_lm.config import Config
from lstm_lm.corpus.corpus import Corpus
from lstm_lm.corpus.progress import Bar
from lstm_lm.corpus.word_rules import LATEST_VERSION
from lstm_lm.errors import DivergedError, RunDirectoryError, UserError
from lstm_lm.evaluation.baseline import NGramReader, count_corpus
from lstm_lm.files.atomic import write_atomically
from lstm_lm.model.language_model import LanguageModel
from lstm_lm.model.network import count_parameters
from lstm_lm.model.pretrained import load_description
from lstm_lm.model.scoring import perplexity_from
from lstm_lm.model.size import match_parameters
from lstm_lm.printing import print_line
from lstm_lm.probes.asking import ItemScore, NetworkReader, NextWordModel, iterate_scores
from lstm_lm.probes.figure import draw_comparison
from lstm_lm.probes.real_text import FilledSuite, filled_names
from lstm_lm.probes.report import ReportRow, nothing_asked, summarise
from lstm_lm.probes.suites import Suite
from lstm_lm.training.building import check_memory
from lstm_lm.training.cell_configs import CellConfigs
from lstm_lm.training.resuming import check_ready
from lstm_lm.training.run import Run, describe_run, train
from lstm_lm.training.run_directory import holds_run
from lstm_lm.training.run_probe import ask_through

RESULTS_FILE = "compare.json"


@dataclass(frozen=True)
class Comparison:
    """What `compare` returns.

    Attributes:
        stopped: the run that a signal stopped; None if all runs are finished.
        results: what is written into ``compare.json``; empty if a run was stopped.
    """

    stopped: Run | None
    results: dict[str, Any]


def compare(
    settings: CellConfigs,
    folder: Path,
    suites: Sequence[Suite],
    *,
    equal: str = "parameters",
    order: int | None = None,
    fillers: str = "",
    report: Callable[[str], None] = print_line,
) -> Comparison:
    """Trains one network per cell, probes all of them, and writes ``compare.json``.

    Args:
        settings: one configuration per cell; the first network has the configuration's width.
        folder: the network of a cell is the run ``folder/CELL``. A finished run is kept, a stopped
            one is resumed.
        suites: the questions, see `lstm_lm.probes.suites.find_suite`.
        equal: ``parameters``: the other networks get the width that makes their number of
            parameters equal to the first one's; ``width``: all have the same width.
        order: words in the longest n-gram of the n-gram model beside them; 0 for none; None for
            the default, unless the corpus is large.
        fillers: also asks every suite with sentences of this text between clue and question, as in
            `lstm_lm.training.run_probe.probe_run`.
        report: receives every line for people.

    Raises:
        RunDirectoryError: a directory has a run of another configuration, or a damaged one.
        InputError: the text of the fillers cannot be used.
        CorpusError: it cannot be read.
        DivergedError: one of the networks diverged.
        DiskError: something could not be written.
    """
    configs, fixed = settings.configs, settings.fixed_widths
    version = find_tokenizer_version(folder, list(configs))
    if equal == "parameters":
        configs = equalise(configs, fixed, version)
    run = train_all(configs, folder, report)
    if not run.finished:
        return Comparison(run, {})
    first, *others = configs
    results: dict[str, Any] = {
        "config": settings.name,
        "overrides": settings.shared,
        "equal": equal,
        **measure(
            {cell: folder / cell for cell in configs},
            configs[first],
            suites,
            order,
            fillers=fillers,
            version=version,
        ),
    }
    for model in results["models"]:
        cell = model["name"]
        if cell in configs:
            is_chosen = equal == "parameters" and cell in others and cell not in fixed
            model["width"] = "chosen" if is_chosen else "given"
            model["overrides"] = settings.own[cell]
    write_atomically(folder / RESULTS_FILE, json.dumps(results, ensure_ascii=False) + "\n")
    return Comparison(None, results)


def draw_results(results: Mapping[str, Any], figure: str, path: Path) -> None:
    """Draws the results of a comparison; see `draw_comparison`.

    Args:
        results: of `compare`.
        figure: which figure of the reports is drawn, such as ``accuracy``.
        path: the PNG file.

    Raises:
        DiskError: it could not be written.
    """
    reports: dict[str, dict[str, ReportRow]] = {
        model["title"]: {
            suite["suite"]: suite["reports"][model["name"]]
            for suite in results["suites"]
            if suite["suite"] not in results["left_out"]
        }
        for model in results["models"]
    }
    title, filled = _picture_title(results), results["filled"]
    draw_comparison(path, reports, figure, results["baseline"] or "", title, filled)


def _picture_title(results: Mapping[str, Any]) -> str:
    """What the networks of a picture have in common."""
    networks = [model for model in results["models"] if "parameters" in model]
    words = [model["words"] for model in networks]
    parameters = [model["parameters"] for model in networks]
    parts = [Path(results["config"]).stem]
    if min(words) == max(words):
        parts.append(f"{words[0]:,} words seen")
    if max(parameters) <= 1.02 * min(parameters):
        parts.append(f"{parameters[0] / 1e6:,.2f}M parameters")
    return ", ".join(parts) + (", each network" if len(parts) > 1 and len(networks) > 1 else "")


def find_tokenizer_version(folder: Path, cells: Sequence[str]) -> int:
    """Returns the version of the tokenizer's rules by which a comparison splits text into words.

    It is that of the runs that are in the directory already; of a new comparison, the latest.

    Args:
        folder: the parent of the run directories.
        cells: the names of these.

    Raises:
        RunDirectoryError: the runs have different versions, or networks that are still to be
            trained would have another one.
    """
    held = [cell for cell in cells if holds_run(folder / cell)]
    versions: dict[str, int] = {}
    for cell in held:
        with suppress(RunDirectoryError):  # `check_ready` says what is damaged
            versions[cell] = load_description(folder / cell).vocabulary.version
    if not versions:
        return LATEST_VERSION
    oldest = min(versions, key=versions.__getitem__)
    version = versions[oldest]
    if len(set(versions.values())) > 1 or (len(held) < len(cells) and version < LATEST_VERSION):
        raise RunDirectoryError(
            f"{folder / oldest}: its text was split into words by version {version} of the rules, "
            f"the other networks have version {LATEST_VERSION}; remove it to train it again, or "
            "choose another --output"
        )
    return version


def equalise(
    configs: Mapping[str, Config],
    fixed_widths: Collection[str] = (),
    version: int = LATEST_VERSION,
) -> dict[str, Config]:
    """Gives every network as many parameters as the first one has, by its ``model.hidden_size``.

    Args:
        configs: cell -> configuration of its network; all have the same corpus.
        fixed_widths: cells whose width stays.
        version: of the tokenizer's rules.
    """
    first, *others = configs
    corpus = Corpus(configs[first].corpus, configs[first].stories, version=version)
    vocab_size = len(corpus.vocabulary)
    check_memory(configs[first].model, vocab_size)
    wanted = count_parameters(configs[first].model, vocab_size)
    equal = dict(configs)
    for cell in others:
        if cell not in fixed_widths:
            model = match_parameters(configs[cell].model, vocab_size, wanted)
            equal[cell] = replace(configs[cell], model=model)
    return equal


def train_all(
    configs: Mapping[str, Config],
    folder: Path,
    report: Callable[[str], None] = print_line,
) -> Run:
    """Trains one network per cell in ``folder/CELL``; keeps finished runs, resumes stopped ones.

    Args:
        configs: cell -> configuration of its network.
        folder: the parent of the run directories.
        report: receives every line for people.

    Returns:
        The last run: of the last cell, or the one that a signal stopped.

    Raises:
        RunDirectoryError: a directory has a run of another configuration, or a damaged run.
        DivergedError: one of the networks diverged.
    """
    for cell, config in configs.items():
        check_ready(folder / cell, config)  # before any network is trained
    for cell, config in configs.items():
        place = folder / cell
        try:
            run = train(config, place, resume=holds_run(place), report=report)
        except DivergedError as error:
            raise DivergedError(
                f"{error} ({cell}.optimizer.learning_rate=... for this cell alone), remove {place} "
                "and start again"
            ) from None
        if not run.finished:
            break
    return run


def measure(
    runs: Mapping[str, Path],
    config: Config,
    suites: Sequence[Suite],
    order: int | None,
    *,
    fillers: str = "",
    version: int = LATEST_VERSION,
) -> dict[str, Any]:
    """Probes finished runs of one corpus, and an n-gram model of it.

    Args:
        runs: name -> run directory.
        config: of any of them: corpus and evaluation are the same for all.
        suites: the questions.
        order: of the n-gram model; 0 for none, None for the default unless the corpus is large.
        fillers: of `compare`.
        version: of the tokenizer's rules, by which all of them split text into words.

    Returns:
        For JSON: the models with their size, cost and perplexity on valid, the source's own
        perplexity, and for every suite what `summarise` returns for every model.
    """
    corpus = Corpus(config.corpus, config.stories, version=version)
    models: list[dict[str, Any]] = []
    reports: dict[str, dict[str, ReportRow]] = {}
    asked, notes = ask_through(suites, fillers, next(iter(runs.values())), corpus.vocabulary)
    for name, folder in runs.items():
        model = LanguageModel.from_pretrained(folder)
        sizes = {
            "parameters": model.network.parameter_count,
            "hidden_sizes": [cell.hidden_size for cell in model.network.recurrent.cells],
        }
        title = find_cell(model.config.cell).title
        facts = {"name": name, "title": title, "run": str(folder), **sizes}
        models.append(facts | describe_run(folder))
        reports[name] = _probe(name, NetworkReader(model), asked)
    why_not, baseline = "", None
    try:
        if order != 0:
            prober, counted = _count(corpus, config, order)
            baseline = prober.model.name
            models.append(counted)
            reports[baseline] = _probe(baseline, prober, asked)
    except UserError as error:
        why_not = str(error).splitlines()[0]
    nll = corpus.source_nll("valid")
    return {
        "vocab_size": len(corpus.vocabulary),
        "source_perplexity": None if nll is None else perplexity_from(nll, models[0]["tokens"]),
        "baseline": baseline,
        "no_baseline_because": why_not,
        "models": models,
        "left_out": nothing_asked(reports[models[0]["name"]]),
        "filled": filled_names(asked),
        "notes": notes,
        "suites": [
            {
                "suite": suite.name,
                "reports": {name: found[suite.name] for name, found in reports.items()},
            }
            for suite in asked
        ],
    }


def _count(corpus: Corpus, config: Config, order: int | None) -> tuple[NGramReader, dict[str, Any]]:
    """The n-gram model, and the figures that a network's log has."""
    started = time.perf_counter()
    model = count_corpus(corpus, order, reset_per_line=config.evaluation.reset_per_line)
    seconds = time.perf_counter() - started
    result = model.perplexity(corpus.tokens("valid"))
    return NGramReader(model, corpus.vocabulary), {
        **model.describe(),
        "title": model.name,
        "words": len(corpus.training_tokens(1)),
        "seconds": round(seconds, 3),
        "perplexity": result.perplexity,
        "tokens": result.tokens,
        "oov_tokens": result.oov_tokens,
    }


def _probe(
    name: str, model: NextWordModel, suites: Sequence[Suite | FilledSuite]
) -> dict[str, ReportRow]:
    """The report of every suite."""
    vocab_size = len(model.vocabulary)
    with Bar(desc=f"probing {name}", unit=" items", leave=False, disable=None) as bar:
        return {
            suite.name: summarise(_counted(iterate_scores(model, suite), bar), vocab_size)
            for suite in suites
        }


def _counted(scores: Iterable[ItemScore], bar: Bar) -> Iterator[ItemScore]:
    """The scores, counted by a progress bar."""
    for score in scores:
        yield score
        bar.update()
