"""Measure what the model remembers, and over how many words.

  lstm-lm probe runs/quickstart                            (all built-in suites)
  lstm-lm probe runs/quickstart capital language --plot memory.png
  lstm-lm probe runs/wikitext2 my-suite.tsv lambada_test.jsonl --items items.jsonl --json
  lstm-lm probe runs/wikitext2 capital --fillers valid     (and through sentences of real text)
  lstm-lm probe runs/quickstart capital --fix forget_gate=1          (and if it never forgets)
  lstm-lm probe runs/wikitext2 capital --with cache      (and if it knows the words of the text)

A suite is a file of questions: after this text, is this word more probable than that one? See
data/probes/README.md. The figures are also kept in the run directory, and shown in its model card.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lstm_lm.cli.options import (
    add_device,
    add_fillers,
    add_fix,
    add_json,
    add_model,
    add_order,
    add_overwrite,
    add_with,
    check_order,
    check_overwrite,
    parse_with,
)
from lstm_lm.cli.tables import (
    print_json,
    print_table,
    shown,
    shown_distance,
    shown_reach,
    shown_share,
)
from lstm_lm.errors import InputError
from lstm_lm.files.outputs import check_output, marked
from lstm_lm.printing import print_line, print_note, printable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lstm_lm.probes.asking import ItemScore
    from lstm_lm.probes.report import ReportRow
    from lstm_lm.probes.suites import Suite, SuiteSize
    from lstm_lm.training.run_probe import ProbeResult

COLUMNS = (
    "items",
    "skipped",
    "target over foil",
    "pairs",
    "top-1",
    "top-5",
    "rank",
    "log p",
    "gain",
    "reach",
)
# How a file of --items begins.
ITEMS = re.compile(rb'\A\{"suite": "[^\n]*", "id": [^\n]*, "log_probability": [^\n]*, "gain": ')
# What is shown of a variant of a model: column -> the figure of a report.
VARIANT_MEASURES = {"target over foil": "accuracy", "pairs": "pair_accuracy", "top-1": "top_1"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the command's arguments."""
    add_model(parser)
    parser.add_argument(
        "suites",
        nargs="*",
        metavar="SUITE",
        help="a built-in suite's name, or a .tsv, .jsonl, .txt or SyntaxGym's .json file (default: "
        "all built-in suites)",
    )
    add_fillers(parser)
    add_fix(parser, "also ask, beside the whole model,")
    add_with(parser, "to the words before the question, and also ask that model")
    add_order(parser)
    parser.add_argument(
        "--plot",
        type=Path,
        metavar="FILE",
        help="draw accuracy against distance into this PNG file, one panel for each suite",
    )
    parser.add_argument(
        "--items",
        type=Path,
        metavar="FILE",
        help="write the answer to every question into this file, one JSON object per line",
    )
    add_overwrite(parser)
    add_device(parser)
    add_json(parser, "one JSON object with everything, every group by distance")


def run(args: argparse.Namespace) -> int:
    """Prints a table for every suite."""
    from lstm_lm.probes.suites import built_in_names, find_suite

    suites = [find_suite(name) for name in dict.fromkeys(args.suites or built_in_names())]
    sizes = [suite.check() for suite in suites]
    if args.plot and not any(size.with_distance for size in sizes):
        raise InputError("--plot: no item has a distance; give a suite with a distance column")
    _check_outputs(args, suites)

    from lstm_lm.model.fixing import parse_fixes
    from lstm_lm.probes.report import left_out_line, nothing_asked
    from lstm_lm.training.run_probe import probe_run

    check_order(args.order)
    fixes = parse_fixes(args.fix)
    kinds = parse_with(args)
    if fixes and kinds:
        raise InputError("--fix and --with: give one of them")
    if (fixes or kinds) and args.order:
        option = "--fix" if fixes else "--with"
        raise InputError(f"--order: has no effect with {option}, which shows no n-gram model")
    print_suite_notes(suites, sizes)
    with _items_file(args.items) as write:
        result = probe_run(
            args.model,
            suites,
            order=args.order,
            fillers=args.fillers,
            fixes=fixes,
            adapt=kinds,
            device=args.device,
            on_score=write,
        )
    for note in result.notes:
        print_note(f"note: {note}")
    if args.json:
        _print_json(args.model, result)
    else:
        left_out = nothing_asked(result.reports)
        for name, report in result.reports.items():
            if name in left_out:
                continue
            if result.fixed:
                _print_beside(name, report, result.fixed_reports[name], result.fixed)
            elif result.adapted:
                _print_beside(name, report, result.adapted_reports[name], result.adapted)
            else:
                beside = result.baseline_reports.get(name)
                _print_report(name, report, beside, result.baseline_name)
        if left_out:
            print_line(printable(left_out_line(result.reports)))
        if result.no_baseline_because:
            print_line(f"no n-gram model beside it: {result.no_baseline_because}")
    if args.plot:
        _draw(args.plot, f"{args.model}: {result.description}", result)
    return 0


def _check_outputs(args: argparse.Namespace, suites: Sequence[Suite]) -> None:
    """Checks that both files may be written."""
    check_overwrite(args, "plot", "items")
    files = [suite.entry for suite in suites if isinstance(suite.entry, Path)]
    inputs = {"SUITE": files, "--fillers": args.fillers or None}
    overwrite = args.overwrite
    check_output("--plot", args.plot, marked("probe"), overwrite=overwrite, inputs=inputs)
    if args.plot and args.items and args.plot.resolve() == args.items.resolve():
        raise InputError("--plot and --items: give them two files")
    check_output("--items", args.items, ITEMS, overwrite=overwrite, inputs=inputs)


def _draw(path: Path, title: str, result: ProbeResult) -> None:
    """Draws the suites that have a distance and of which something could be asked."""
    from lstm_lm.probes.figure import draw_probe
    from lstm_lm.probes.report import nothing_asked

    left_out = nothing_asked(result.reports)
    reports = {name: row for name, row in result.reports.items() if name not in left_out}
    if not any(report["distances"] for report in reports.values()):
        print_note(f"note: {path} is not written: no item with a distance could be asked")
        return
    beside = result.fixed_reports or result.adapted_reports or result.baseline_reports
    name = result.fixed or result.adapted or result.baseline_name
    draw_probe(path, reports, beside, name, title, result.filled)


def print_suite_notes(suites: Sequence[Suite], sizes: Sequence[SuiteSize]) -> None:
    """Prints a note about every suite that has items with a mistake."""
    for suite, size in zip(suites, sizes, strict=True):
        if size.note:
            print_note(f"note: {suite.name}: {size.note}")


@contextmanager
def _items_file(path: Path | None) -> Iterator[Callable[[str, ItemScore], None]]:
    """Yields what writes a line of JSON for a score of a suite; without a path, nothing."""
    from lstm_lm.files.atomic import disk_errors, replaced

    if path is None:
        yield lambda suite, score: None
        return
    with replaced(path) as file:

        def write(suite: str, score: ItemScore) -> None:
            line = json.dumps(_item_line(suite, score), ensure_ascii=False)
            with disk_errors(path):
                file.write(f"{line}\n".encode())

        yield write


def _item_line(suite: str, score: ItemScore) -> dict[str, Any]:
    item = score.item
    return {
        "suite": suite,
        "id": item.id,
        "line": item.line,
        "group": item.group,
        "distance": item.distance,
        "pair": item.pair,
        "prefix": item.prefix,
        "target": item.target,
        "foil": item.foil,
        "skipped": score.skipped,
        "problem": item.problem,
        "unknown_words_in_prefix": score.unknown,
        "log_probability": score.log_probability,
        "foil_log_probability": score.foil_log_probability,
        "rank": score.rank,
        "right": score.right,
        "gain": score.gain,
    }


def _print_json(model: str, result: ProbeResult) -> None:
    from lstm_lm.probes.report import nothing_asked

    print_json(
        {
            "model": model,
            "description": result.description,
            "state": "reset per item",
            "vocab_size": result.vocab_size,
            "baseline": result.baseline,
            "no_baseline_because": result.no_baseline_because,
            "fixed": result.fixed,
            "adapted": result.adapted,
            "notes": result.notes,
            "left_out": nothing_asked(result.reports),
            "suites": [
                {
                    "suite": name,
                    "filled": result.filled.get(name),
                    **report,
                    "baseline": result.baseline_reports.get(name),
                    "fixed": result.fixed_reports.get(name),
                    "adapted": result.adapted_reports.get(name),
                }
                for name, report in result.reports.items()
            ],
        }
    )


def _print_report(
    name: str, report: ReportRow, beside: ReportRow | None, baseline_name: str
) -> None:
    """Prints the rows of a suite: all items, every group, every distance; then notes.

    Args:
        name: of the suite.
        report: of the model.
        beside: of the n-gram model, whose figures are the last columns.
        baseline_name: of the n-gram model.
    """
    table = [(name, *COLUMNS), *((label, *_cells(row)) for label, row in _labelled_rows(report))]
    if beside:
        more = [(f"{baseline_name} over foil", "top-1")]
        for _, row in _labelled_rows(beside):
            more.append((shown(row["accuracy"], ".1%"), shown(row["top_1"], ".1%")))
        table = [(*line, *last) for line, last in zip(table, more, strict=True)]
    print_table(table)
    _print_notes(report)


def _print_notes(report: ReportRow) -> None:
    """Prints what was skipped in a suite, and the level of chance; then a blank line."""
    notes = [f"skipped {count:,}: {why}" for why, count in report["skipped_because"].items()]
    if report["skipped_words"]:
        notes.append(f"skipped words, such as  {'  '.join(report['skipped_words'])}")
    if some := report["items_with_unknown_words_in_prefix"]:
        notes.append(f"{some:,} have unknown words before the target, which were read as <unk>")
    if report["accuracy_chance"] is not None:
        pairs = f", {report['pair_accuracy_chance']:.0%} pairs" if report["pairs"] else ""
        notes.append(f"chance: {report['accuracy_chance']:.0%} target over foil{pairs}")
    print_line("".join(f"  {printable(note)}\n" for note in notes))


def _print_beside(name: str, whole: ReportRow, variant: ReportRow, title: str) -> None:
    """Prints the same rows for the model and for a variant of it, and the difference.

    Args:
        name: of the suite.
        whole: report of the model.
        variant: report of the model with fixed gates, or of the one that adapts.
        title: the fixed gates, or how it adapts.
    """
    shown_measures = {
        label: figure for label, figure in VARIANT_MEASURES.items() if whole[figure] is not None
    }
    head = [part for label in shown_measures for part in (label, title, "difference")]
    table = [(name, "items", *head)]
    for (label, row), (_, beside) in zip(
        _labelled_rows(whole), _labelled_rows(variant), strict=True
    ):
        cells = []
        for figure in shown_measures.values():
            before, after = row[figure], beside[figure]
            difference = None if before is None else 100 * (after - before)
            cells += [shown(before, ".1%"), shown(after, ".1%"), shown(difference, "+.1f")]
        table.append((label, f"{row['items']:,}", *cells))
    print_table(table)
    _print_notes(whole)


def _labelled_rows(report: ReportRow) -> list[tuple[str, ReportRow]]:
    groups = report["groups"] if len(report["groups"]) > 1 else []
    return [
        ("all", report),
        *((row["group"], row) for row in groups),
        *((shown_distance(row), row) for row in report["distances"]),
    ]


def _cells(row: ReportRow) -> list[str]:
    return [
        f"{row['items']:,}",
        f"{row['skipped']:,}" if row["skipped"] else "",
        shown_share(row["accuracy"], row["accuracy_interval"]),
        shown(row["pair_accuracy"], ".1%"),
        shown(row["top_1"], ".1%"),
        shown(row["top_5"], ".1%"),
        shown(row["median_rank"], ",.0f"),
        shown(row["log_probability"], ".2f"),
        shown(row["gain"], "+.2f"),
        shown_reach(row.get("reach"), row.get("reach_beyond")),
    ]
