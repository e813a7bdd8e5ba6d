"""Compare runs; or train one network per cell on the same data, and compare what they remember.

  lstm-lm compare runs/small runs/large runs/long --split test --plot differences.png
  lstm-lm compare quickstart --output runs/cells
  lstm-lm compare quickstart --cells lstm,elman elman.optimizer.learning_rate=1e-3 --suites capital

Two or more runs are compared as they are: perplexity and probe suites, and every difference from
the first run with its 95 % interval. With one CONFIG, networks are trained:
section.key=value is for every network, CELL.section.key=value for the network of one cell: model.*,
optimizer.* and training.max_grad_norm. Each network is an ordinary run in DIR/CELL. A finished run
is kept, a stopped run is resumed.
"""

from __future__ import annotations

import argparse
import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lstm_lm.cli.compare_runs import (
    add_text_of_runs,
    check_no_text_of_runs,
    check_options,
    compare_finished,
    inputs_of,
    separate_runs,
)
from lstm_lm.cli.options import (
    add_config,
    add_fillers,
    add_json,
    add_order,
    add_overwrite,
    add_training_device,
    check_order,
    overrides_of,
)
from lstm_lm.cli.probe import print_suite_notes
from lstm_lm.cli.tables import (
    print_json,
    print_table,
    shown,
    shown_distance,
    shown_reach,
    shown_share,
)
from lstm_lm.config import CELLS, COMPARED_CELLS
from lstm_lm.config.effect import join_words
from lstm_lm.errors import InputError
from lstm_lm.files.outputs import check_output, marked, was_made, why_no_folder
from lstm_lm.printing import print_line, print_note, printable

if TYPE_CHECKING:
    from lstm_lm.probes.report import ReportRow
    from lstm_lm.probes.suites import Suite

# --measure -> the figure of a report
MEASURES = {"target-over-foil": "accuracy", "pairs": "pair_accuracy", "top-1": "top_1"}
# how compare.json begins
RESULTS = re.compile(rb'\A\{"config": [^\n]*"overrides": [^\n]*"equal": [^\n]*"models": ')
OVERRIDE = re.compile(r"[\w ]+(\.[\w ]+)+=")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the command's arguments."""
    add_config(parser, "RUN_DIR | [CELL.]section.key=value")
    parser.add_argument(
        "--cells",
        metavar="CELL,...",
        help=f"which cells of {', '.join(CELLS)}; the first network has the configuration's width "
        f"(default: {','.join(COMPARED_CELLS)})",
    )
    parser.add_argument(
        "--output",
        type=Path,
        metavar="DIR",
        help="where the runs go (default: runs/, the configuration's name and -compare)",
    )
    parser.add_argument(
        "--equal",
        choices=("parameters", "width"),
        help="parameters: the other networks get the width that makes their number of parameters "
        "equal to the first one's; width: all have the configuration's model.hidden_size "
        "(default: parameters)",
    )
    parser.add_argument(
        "--suites",
        nargs="+",
        default=[],
        metavar="SUITE",
        help="what to ask, as in lstm-lm probe (default: all built-in suites)",
    )
    add_fillers(parser)
    add_order(parser)
    parser.add_argument(
        "--measure",
        choices=MEASURES,
        default="target-over-foil",
        help="what picture and tables show (default: target-over-foil)",
    )
    parser.add_argument(
        "--plot",
        type=Path,
        metavar="FILE",
        help="the picture, a PNG (default: DIR/compare.png; of runs, none)",
    )
    add_text_of_runs(parser)
    add_overwrite(parser)
    add_training_device(parser)
    add_json(parser, "the results, which are also written to DIR/compare.json")


def run(args: argparse.Namespace) -> int:
    """Trains, probes, draws and prints; returns 0, or 128 + the signal that stopped it."""
    from lstm_lm.probes.suites import built_in_names, find_suite
    from lstm_lm.training.cell_configs import load_cell_configs

    # --suites takes every word that follows it, overrides and run directories too.
    misplaced = [word for word in args.suites if OVERRIDE.match(word) or Path(word).is_dir()]
    names = [word for word in args.suites if word not in misplaced] or built_in_names()
    runs, overrides = separate_runs(args.config, [*args.overrides, *misplaced])
    if runs:
        check_options(args, overrides)
        suites = [find_suite(name) for name in dict.fromkeys(names)]
        return compare_finished(args, runs, suites, MEASURES[args.measure])
    check_no_text_of_runs(args)
    given = ",".join(COMPARED_CELLS) if args.cells is None else args.cells
    cells = [name.strip() for name in given.split(",")]
    settings = load_cell_configs(args.config, cells, [*overrides_of(args), *misplaced])
    for line in settings.chosen:
        print_note(line)
    for note in settings.notes:
        print_note(f"note: {note}")
    suites = [find_suite(name) for name in dict.fromkeys(names)]
    sizes = [suite.check() for suite in suites]
    print_suite_notes(suites, sizes)
    with_distance = any(size.with_distance for size in sizes)
    folder = args.output or Path("runs") / f"{Path(args.config).stem}-compare"
    if why := why_no_folder(folder):
        raise InputError(f"--output: {folder} {why}; name a directory")
    if args.plot and not with_distance:
        raise InputError("--plot: no item has a distance; give a suite with a distance column")
    _check_outputs(args, folder, suites)

    from lstm_lm.training.comparison import RESULTS_FILE, compare, draw_results

    check_order(args.order)
    again = shlex.join(["lstm-lm", *args.argv])
    try:
        comparison = compare(
            settings,
            folder,
            suites,
            equal=args.equal or "parameters",
            order=args.order,
            fillers=args.fillers,
            report=print_note,
        )
    except KeyboardInterrupt:
        print_note("stopped; what was trained is kept, continue with:")
        print_note(f"  {again}")
        return 130
    if comparison.stopped and comparison.stopped.stopped_by is not None:
        print_note(f"stopped and saved at step {comparison.stopped.steps:,}; continue with:")
        print_note(f"  {again}")
        return 128 + comparison.stopped.stopped_by
    results = comparison.results
    has_picture = any(
        report["distances"]
        for suite in _asked_suites(results)
        for report in suite["reports"].values()
    )
    picture = (args.plot or folder / "compare.png") if has_picture else None
    if picture:
        draw_results(results, MEASURES[args.measure], picture)
    if args.json:
        print_json(results)
        return 0
    _print_results(results, args.measure)
    if picture:
        print_line(picture)
    elif with_distance:
        print_line("no picture: no item with a distance could be asked")
    else:
        print_line("no picture: no item has a distance")
    print_line(folder / RESULTS_FILE)
    return 0


def _check_outputs(args: argparse.Namespace, folder: Path, suites: Sequence[Suite]) -> None:
    """Checks that the results and the picture may be written."""
    inputs = inputs_of(args, suites)
    results, overwrite = folder / "compare.json", args.overwrite
    check_output("--output", results, RESULTS, overwrite=overwrite, makes_folder=True)
    if args.plot:
        check_output("--plot", args.plot, marked("compare"), overwrite=overwrite, inputs=inputs)
    elif not was_made(results, RESULTS):  # then the picture beside it is of this command, too
        picture = folder / "compare.png"
        check_output("--output", picture, marked("compare"), overwrite=overwrite, makes_folder=True)


def _asked_suites(results: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The suites of which something could be asked."""
    return [suite for suite in results["suites"] if suite["suite"] not in results["left_out"]]


def _print_results(results: Mapping[str, Any], measure: str) -> None:
    """Prints the models, and every suite of which something could be asked."""
    from lstm_lm.probes.report import left_out_line

    _print_models(results)
    titles = {model["name"]: model["title"] for model in results["models"]}
    for suite in _asked_suites(results):
        reports = {titles[name]: report for name, report in suite["reports"].items()}
        _print_suite(suite["suite"], reports, measure)
    if line := left_out_line(_first_reports(results)):
        print_line(printable(line))


def _first_reports(results: Mapping[str, Any]) -> dict[str, ReportRow]:
    """The first model's report of every suite; all models have the same words."""
    name = results["models"][0]["name"]
    return {suite["suite"]: suite["reports"][name] for suite in results["suites"]}


def _print_models(results: Mapping[str, Any]) -> None:
    """Prints a row for every model: its size, its cost and its perplexity; then notes."""
    source, first = results["source_perplexity"], results["models"][0]
    head = ("width", "parameters", "words seen", "seconds", f"per word over {first['title']}'s")
    table = [("", *head, "valid perplexity", "over the source's")]
    for model in results["models"]:
        if "parameters" in model:
            width, size = "+".join(map(str, model["hidden_sizes"])), f"{model['parameters']:,}"
            cost = f"{_seconds_per_word(model) / _seconds_per_word(first):.2f}"
        else:
            width, size, cost = "", f"{model['ngrams']:,} n-grams", ""
        table.append(
            (
                model["title"],
                width,
                size,
                f"{model['words']:,}",
                f"{model['seconds']:,.0f}",
                cost,
                f"{model['perplexity']:,.2f}",
                shown(source and model["perplexity"] / source, ".3f"),
            )
        )
    if source:
        table.append(("the source itself", "", "", "", "", "", f"{source:,.2f}", "1.000"))
    print_table(table)
    print_line("".join(f"  {note}\n" for note in _notes(results)))


def _seconds_per_word(model: Mapping[str, Any]) -> float:
    """The seconds of a network's training, validations included, by the words that it saw."""
    return float(model["seconds"] / model["words"])


def _notes(results: Mapping[str, Any]) -> list[str]:
    """How the networks' sizes were chosen, and what was special for one of them."""
    notes = []
    first, *others = [model for model in results["models"] if "parameters" in model]
    chosen = [model["title"] for model in others if model["width"] == "chosen"]
    if chosen:
        notes.append(
            f"equal parameters: the width of {join_words(chosen, 'and')} is chosen so that they "
            f"have as many parameters as {first['title']}"
        )
    differences = [
        f"{model['title']} {model['parameters'] / first['parameters'] - 1:+.2%}" for model in others
    ]
    if differences:
        notes.append(f"parameters compared with {first['title']}: {', '.join(differences)}")
    for model in (first, *others):
        if model["overrides"]:
            notes.append(f"{model['title']} alone: {' '.join(model['overrides'])}")
    notes += results["notes"]
    if results["no_baseline_because"]:
        notes.append(f"no n-gram model beside them: {results['no_baseline_because']}")
    return notes


def _print_suite(name: str, reports: Mapping[str, ReportRow], measure: str) -> None:
    """Prints the rows of a suite, all items and every distance, with columns for every model.

    Args:
        name: of the suite.
        reports: title of a model -> its report.
        measure: a key of `MEASURES`; it is shown with its interval, and top-1 beside it.
    """
    first_title, first = next(iter(reports.items()))
    measures = [
        label for label in dict.fromkeys((measure, "top-1")) if first[MEASURES[label]] is not None
    ]
    head = [
        f"{label}: {title}" if title == first_title else title
        for label in measures
        for title in reports
    ]
    table = [(name, *head, "items"), _suite_row("all", list(reports.values()), measures)]
    for place, row in enumerate(first["distances"]):
        rows = [report["distances"][place] for report in reports.values()]
        table.append(_suite_row(shown_distance(row), rows, measures))
    print_table(table)
    notes = [f"skipped {count:,}: {why}" for why, count in first["skipped_because"].items()]
    if (chance := first[f"{MEASURES[measure]}_chance"]) is not None:
        notes.append(f"chance: {chance:.2%} {measure}")
    reaches = {
        title: shown_reach(report["reach"], report["reach_beyond"])
        for title, report in reports.items()
    }
    if any(reaches.values()):
        listed = ", ".join(f"{title} {found or '-'}" for title, found in reaches.items())
        notes.append(f"reach in words: {listed}")
    print_line("".join(f"  {note}\n" for note in notes))


def _suite_row(label: str, rows: Sequence[ReportRow], measures: Sequence[str]) -> tuple[str, ...]:
    """A row of a suite's table, from the same row of every model's report."""
    cells = []
    for measure in measures:
        figure = MEASURES[measure]
        for row in rows:
            interval = row[f"{figure}_interval"] if measure == measures[0] else None
            cells.append(shown_share(row[figure], interval))
    return (label, *cells, f"{rows[0]['items']:,}")
