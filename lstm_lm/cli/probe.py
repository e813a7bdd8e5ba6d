"""Measure what the model remembers, and over how many words.

  lstm-lm probe runs/quickstart                            (all built-in suites)
  lstm-lm probe runs/quickstart capital language --plot memory.png
  lstm-lm probe runs/wikitext2 my-suite.tsv lambada_test.jsonl --items items.jsonl --json

A suite is a file of questions: after this text, is this word more probable than that one? See data/probes/README.md.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from lstm_lm.cli.tables import print_table, shown, shown_reach, shown_share
from lstm_lm.cli.texts import printable

if TYPE_CHECKING:
    from collections.abc import Callable

    from lstm_lm.evaluation.baseline import NGramReader
    from lstm_lm.model.language_model import LanguageModel
    from lstm_lm.probes.asking import ItemScore
    from lstm_lm.probes.report import ReportRow

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


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the command's arguments."""
    parser.add_argument(
        "model", metavar="RUN_DIR", help="a run directory, or a model's name on the hub"
    )
    parser.add_argument(
        "suites",
        nargs="*",
        metavar="SUITE",
        help="a built-in suite's name, or a .tsv, .jsonl or .txt file; default: all built-in suites",
    )
    parser.add_argument(
        "--order",
        type=int,
        metavar="N",
        help="of the n-gram model of the run's corpus that is shown beside it (default 5); 0: none",
    )
    parser.add_argument(
        "--json",
        action="store_true",
        help="one JSON object with everything, every group by distance",
    )
    parser.add_argument(
        "--plot",
        type=Path,
        metavar="FILE",
        help="a PNG: accuracy against distance, a panel per suite",
    )
    parser.add_argument(
        "--items", type=Path, metavar="FILE", help="JSON lines: every item and what became of it"
    )


def run(args: argparse.Namespace) -> int:
    """Prints a table for every suite."""
    from tqdm import tqdm

    from lstm_lm.errors import InputError
    from lstm_lm.probes.suites import built_in_names, find_suite

    suites = [find_suite(name) for name in dict.fromkeys(args.suites or built_in_names())]
    sizes = [suite.check() for suite in suites]
    if args.plot and not any(size.with_distance for size in sizes):
        raise InputError("--plot: no item has a distance; give a suite with a distance column")
    for option, path in (("--plot", args.plot), ("--items", args.items)):
        if path and (path.is_dir() or not path.parent.is_dir()):
            raise InputError(
                f"{option}: {path} cannot be a file; name one in a directory that is there"
            )

    from lstm_lm.model.language_model import LanguageModel
    from lstm_lm.probes.asking import NetworkReader, iterate_scores
    from lstm_lm.probes.figure import draw_probe
    from lstm_lm.probes.report import summarise

    check_order(args.order)
    model = LanguageModel.from_pretrained(args.model)
    baseline, why_not = _find_baseline(args, model)
    reports: dict[str, ReportRow] = {}
    beside: dict[str, ReportRow] = {}
    with (
        _opened_for_items(args.items) as write,
        tqdm(
            total=sum(size.items for size in sizes),
            desc="probing",
            unit=" items",
            leave=False,
            disable=None,
        ) as bar,
    ):
        for suite in suites:

            def on_score(score: ItemScore, name: str = suite.name) -> None:
                write(name, score)
                bar.update()

            reports[suite.name] = summarise(
                iterate_scores(NetworkReader(model), suite), len(model.vocabulary), on_score
            )
            if baseline:
                beside[suite.name] = summarise(
                    iterate_scores(baseline, suite), len(model.vocabulary)
                )
    if args.json:
        print(
            json.dumps(
                {
                    "model": str(args.model),
                    "description": model.describe(),
                    "state": "reset per item",
                    "vocab_size": len(model.vocabulary),
                    "baseline": baseline and baseline.model.describe(),
                    "no_baseline_because": why_not,
                    "suites": [
                        {"suite": name, **report, "baseline": beside.get(name)}
                        for name, report in reports.items()
                    ],
                },
                ensure_ascii=False,
            )
        )
    else:
        for name, report in reports.items():
            _print_report(name, report, beside.get(name), baseline.model.name if baseline else "")
        if why_not:
            print(f"no n-gram model beside it: {why_not}")
    if args.plot:
        draw_probe(
            args.plot,
            reports,
            beside,
            baseline.model.name if baseline else "",
            f"{args.model}: {model.describe()}",
        )
    return 0


def check_order(order: int | None) -> None:
    """Raises InputError unless an n-gram model can have this order; 0 is for none, None for the usual one."""
    from lstm_lm.errors import InputError
    from lstm_lm.evaluation.ngram import LARGEST_ORDER

    if order is not None and not 0 <= order <= LARGEST_ORDER:
        raise InputError(
            f"--order: found {order}, must be from 1 to {LARGEST_ORDER}, or 0 for no n-gram model"
        )


def _find_baseline(
    args: argparse.Namespace, model: LanguageModel
) -> tuple[NGramReader | None, str]:
    """An n-gram model of the run's corpus; or none, and why."""
    from lstm_lm.errors import UserError
    from lstm_lm.evaluation.baseline import count_corpus_of
    from lstm_lm.training.run_directory import load_model_config

    if args.order == 0:
        return None, ""
    try:
        config = load_model_config(Path(args.model))
        return count_corpus_of(model.vocabulary, config, args.order), ""
    except UserError as error:
        return None, str(error).splitlines()[0]


@contextmanager
def _opened_for_items(path: Path | None) -> Iterator[Callable[[str, ItemScore], None]]:
    """Gives a function that writes one line an item; without a path it does nothing."""
    from lstm_lm.files.atomic import disk_errors

    if path is None:
        yield lambda suite, score: None
        return
    with disk_errors(path):
        file = path.open("w", encoding="utf-8")

    def write(suite: str, score: ItemScore) -> None:
        item = score.item
        with disk_errors(path):
            file.write(
                json.dumps(
                    {
                        "suite": suite,
                        "id": item.id,
                        "line": item.line,
                        "group": item.group,
                        "distance": item.distance,
                        "pair": item.pair,
                        "target": item.target,
                        "foil": item.foil,
                        "skipped": score.skipped,
                        "unknown_words_in_prefix": score.unknown,
                        "log_probability": score.log_probability,
                        "foil_log_probability": score.foil_log_probability,
                        "rank": score.rank,
                        "right": score.right,
                        "gain": score.gain,
                    },
                    ensure_ascii=False,
                )
                + "\n"
            )

    try:
        yield write
    finally:
        with disk_errors(path):
            file.close()


def _print_report(
    name: str, report: ReportRow, beside: ReportRow | None, baseline_name: str
) -> None:
    """Prints a suite's rows: all items, every group, every distance; the n-gram model's figures in the last columns."""
    table = [(name, *COLUMNS), *((label, *_cells(row)) for label, row in _labelled_rows(report))]
    if beside:
        more = [
            (f"{baseline_name} over foil", "top-1"),
            *(
                (shown(row["accuracy"], ".1%"), shown(row["top_1"], ".1%"))
                for _, row in _labelled_rows(beside)
            ),
        ]
        table = [(*line, *last) for line, last in zip(table, more, strict=True)]
    print_table(table)
    notes = [f"skipped {count:,}: {why}" for why, count in report["skipped_because"].items()]
    if report["skipped_words"]:
        notes.append(f"skipped words, such as  {'  '.join(report['skipped_words'])}")
    if some := report["items_with_unknown_words_in_prefix"]:
        notes.append(
            f"{some:,} scored although words of the prefix are unknown, which were read as <unk>"
        )
    if report["accuracy_chance"] is not None:
        notes.append(
            f"chance: {report['accuracy_chance']:.0%} target over foil"
            + (f", {report['pair_accuracy_chance']:.0%} pairs" if report["pairs"] else "")
        )
    print("".join(f"  {printable(note)}\n" for note in notes))


def _labelled_rows(report: ReportRow) -> list[tuple[str, ReportRow]]:
    groups = report["groups"] if len(report["groups"]) > 1 else []
    return [
        ("all", report),
        *((row["group"], row) for row in groups),
        *((bucket_named(row), row) for row in report["distances"]),
    ]


def bucket_named(row: ReportRow) -> str:
    """A distance as the tables call it."""
    return (
        f"{row['from']:,} words"
        if row["from"] == row["to"]
        else f"{row['from']:,} to {row['to']:,} words"
    )


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
