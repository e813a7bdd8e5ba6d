"""Measure how well a model's surprisals predict reading times.

lstm-lm reading-times runs/wikitext2 --file times.tsv
lstm-lm reading-times runs/wikitext2 --file times.tsv --tsv joined.tsv --json

The table (.tsv or .csv) has a row for every word, or for every word and reader:

item           the sentence or text that the word is in
position       the number of the word in its item, from 1; all words must be there
word           as it was shown, with its punctuation
time           how long it was read; empty or NA if it was not measured
log_frequency  optional: replaces the frequencies in the run's own corpus

Printed is the gain in log-likelihood per word: of a linear regression on length, log frequency and
surprisal of a word and of the last one, over a regression without the surprisals. It is
cross-validated: whole items are left out. If surprisal says nothing about the times, the gain is
about 0 or less. The standard error treats the words of an item as one.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lstm_lm.cli.options import (
    add_device,
    add_json,
    add_model,
    add_overwrite,
    check_overwrite,
    load_model,
)
from lstm_lm.cli.score_table import STANDARD_OUTPUT, write_lines
from lstm_lm.cli.tables import print_json, print_table
from lstm_lm.errors import InputError
from lstm_lm.files.outputs import begins, check_output
from lstm_lm.printing import print_line, print_note

if TYPE_CHECKING:
    from lstm_lm.evaluation.reading_times import ReadingTimes


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the command's arguments."""
    add_model(parser)
    parser.add_argument(
        "--file", required=True, metavar="TABLE", help="the table with words and times"
    )
    parser.add_argument(
        "--tsv",
        type=Path,
        metavar="OUT",
        help="also write the table with the predictors joined on; -: to standard output",
    )
    add_overwrite(parser)
    add_device(parser)
    add_json(parser, "one JSON object")


def run(args: argparse.Namespace) -> int:
    """Prints the gain, and the regression with all predictors."""
    from lstm_lm.evaluation.reading_times import (
        JOINED,
        compare,
        join,
        measure_words,
        read_measurements,
    )
    from lstm_lm.training.word_shares import train_shares

    check_overwrite(args, "tsv")
    if args.tsv == STANDARD_OUTPUT and args.json:
        raise InputError("--json and --tsv -: both go to standard output; name a file for --tsv")
    if args.tsv != STANDARD_OUTPUT:
        made = begins("\t".join(JOINED))
        inputs = {"--file": args.file}
        check_output("--tsv", args.tsv, made, overwrite=args.overwrite, inputs=inputs)
    header, measurements = read_measurements(args.file)
    model = load_model(args)
    shares = train_shares(args.model, model.vocabulary, lambda line: print_note(f"note: {line}"))
    words = measure_words(model, measurements, shares)
    table, reasons = join(measurements, words)
    found = compare(measurements, table, reasons)
    if args.tsv is not None:
        cells = [one.cells for one in measurements]
        write_lines(args.tsv, _joined(header, cells, table.tolist(), reasons))
    if args.json:
        print_json(_figures(found))
    elif args.tsv != STANDARD_OUTPUT:
        _print(found)
    return 0


def _print(found: ReadingTimes) -> None:
    print_line(
        f"gain in log-likelihood: {found.gain:.5f} nats per word, standard error "
        f"{found.standard_error:.5f} ({found.words:,} words, {found.items:,} items, "
        f"cross-validated in {found.folds} parts)"
    )
    for reason, count in found.left_out.items():
        print_line(f"left out: {count:,} {reason}")
    regression = found.regression
    rows = [["predictor", "coefficient", "standard error"]]
    for name, value, error in zip(
        found.predictors, regression.coefficients, regression.standard_errors, strict=True
    ):
        rows.append([name, f"{value:.4g}", f"{error:.4g}"])
    print_table(rows)


def _figures(found: ReadingTimes) -> dict[str, Any]:
    regression = found.regression
    return {
        "gain": found.gain,
        "standard_error": found.standard_error,
        "words": found.words,
        "items": found.items,
        "folds": found.folds,
        "left_out": dict(found.left_out),
        "baseline_log_likelihood": found.baseline,
        "log_likelihood": found.baseline + found.gain,
        "coefficients": {
            name: {"coefficient": float(value), "standard_error": float(error)}
            for name, value, error in zip(
                found.predictors, regression.coefficients, regression.standard_errors, strict=True
            )
        },
    }


def _joined(
    header: Sequence[str],
    cells: Sequence[Sequence[str]],
    table: Sequence[Sequence[float]],
    reasons: Sequence[str],
) -> Iterator[str]:
    """Yields the lines of the table with the predictors before its own columns."""
    from lstm_lm.evaluation.reading_times import BASELINE, JOINED, SURPRISALS
    from lstm_lm.evaluation.surprisal_table import tsv_lines, unused_names

    places = [(*BASELINE, *SURPRISALS).index(name) for name in JOINED[:-1]]
    rows = (
        [
            *(None if row[at] != row[at] else row[at] for at in places),
            "false" if reason else "true",
            *own,
        ]
        for own, row, reason in zip(cells, table, reasons, strict=True)
    )
    return tsv_lines(unused_names(JOINED, header), rows)
