"""The table of ``lstm-lm score --tsv``: its options, and writing it."""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from lstm_lm.cli.options import add_overwrite
from lstm_lm.errors import InputError
from lstm_lm.files.outputs import begins, check_output
from lstm_lm.printing import print_note, printable

if TYPE_CHECKING:
    from lstm_lm.corpus.stimuli import Stimuli
    from lstm_lm.evaluation.surprisal_table import TableOptions
    from lstm_lm.model.language_model import LanguageModel

STANDARD_OUTPUT = Path("-")
BASES = ("2", "e", "10")
# options that change nothing about the printed surprisals
_TABLE_ONLY = ("base", "by", "punctuation", "regions", "oov", "also", "adapt", "overwrite")


def add_table(group: argparse._ArgumentGroup) -> None:
    """Adds ``--tsv`` and the options that have an effect together with it."""
    group.add_argument(
        "--tsv",
        type=Path,
        metavar="OUT",
        help="write a table with a row for every word; -: to standard output",
    )
    group.add_argument("--base", choices=BASES, help="of all logarithms (default: 2, bits)")
    group.add_argument(
        "--by",
        choices=("token", "word"),
        help="word: what was typed as one word is one row, such as don't, which the model reads as "
        "do and n't (default: token)",
    )
    group.add_argument(
        "--punctuation",
        choices=("apart", "joined"),
        help="with --by word: marks before and after a word are rows (default), or part of it",
    )
    group.add_argument(
        "--regions",
        metavar="SIGN",
        help="a row for every region; this sign, such as '|', stands between two regions of a line "
        "and is not read",
    )
    group.add_argument(
        "--oov",
        choices=("unk", "skip", "na"),
        help="unknown words: the surprisal of <unk> (default), no row, or no value",
    )
    group.add_argument(
        "--also",
        nargs="+",
        metavar="RUN_DIR",
        help="more models with the same vocabulary, such as other seeds: all measures are means "
        "over the models, and columns with their standard deviations are added",
    )
    group.add_argument(
        "--adapt",
        type=float,
        metavar="RATE",
        help="learn from every line after it was scored, with this learning rate (van Schijndel "
        "and Linzen 2018); the run itself does not change",
    )
    add_overwrite(group)


def check_table(args: argparse.Namespace) -> bool:
    """Checks the options of the table; returns whether one is asked for.

    Raises:
        InputError: an option has no effect, or the file cannot be written.
    """
    given = [name for name in _TABLE_ONLY if getattr(args, name)]
    if args.adapt is not None and not (math.isfinite(args.adapt) and args.adapt > 0):
        raise InputError(f"--adapt: found {args.adapt:g}, must be a number above 0")
    if args.regions is not None and not args.regions.strip():
        raise InputError("--regions: found an empty sign; give one such as '|'")
    if args.tsv is None:
        if given:
            raise InputError(f"--{given[0]}: has an effect only together with --tsv OUT")
        return False
    if args.json:
        raise InputError("--json and --tsv: give one of them")
    if args.regions and args.by:
        raise InputError("--by and --regions: give one of them")
    if args.punctuation and args.by != "word":
        raise InputError("--punctuation: has an effect only together with --by word")
    if args.tsv != STANDARD_OUTPUT:
        from lstm_lm.evaluation.surprisal_table import COLUMNS

        made = begins("\t".join(COLUMNS))
        inputs = {"--file": args.file}
        check_output("--tsv", args.tsv, made, overwrite=args.overwrite, inputs=inputs)
    return True


def write_table(
    args: argparse.Namespace, texts: Iterable[str], model: LanguageModel, reading: str
) -> int:
    """Writes the table and says what is in it; returns the exit status."""
    from lstm_lm.evaluation.surprisal_table import (
        Summary,
        column_names,
        iterate_rows,
        write_tsv,
    )
    from lstm_lm.model.language_model import LanguageModel
    from lstm_lm.training.word_shares import train_shares

    options = _options(args, reading)
    others = [LanguageModel.from_pretrained(name, model.device) for name in args.also or ()]
    stimuli = _stimuli(args, texts)
    if stimuli.note:
        print_note(f"note: {stimuli.note}")
    shares = train_shares(args.model, model.vocabulary, lambda line: print_note(f"note: {line}"))
    names, summary = column_names(stimuli.columns, 1 + len(others)), Summary()
    rows = iterate_rows([model, *others], stimuli.lines, options, shares, summary)
    count = write_lines(args.tsv, write_tsv(names, rows)) - 1
    print_note(summary.describe(options.oov))
    state = "carried from line to line" if options.carry else "reset per line"
    print_note(f"{count:,} rows for {summary.lines:,} lines, state {state}, into {args.tsv}")
    return 0


def write_lines(target: Path, lines: Iterator[str]) -> int:
    """Writes lines to a file, in one step, or to standard output; returns how many."""
    from lstm_lm.files.atomic import write_atomically

    count = 0
    if target == STANDARD_OUTPUT:
        shows = sys.stdout.isatty()  # a terminal; a program gets the words as they are
        for line in lines:
            cells = line.rstrip("\n").split("\t")
            sys.stdout.write("\t".join(map(printable, cells)) + "\n" if shows else line)
            count += 1
        return count

    def write(file: BinaryIO) -> None:
        nonlocal count
        for line in lines:
            file.write(line.encode("utf-8"))
            count += 1

    write_atomically(target, write)
    return count


def _options(args: argparse.Namespace, reading: str) -> TableOptions:
    from lstm_lm.evaluation.surprisal_table import BASES as VALUES
    from lstm_lm.evaluation.surprisal_table import TableOptions

    return TableOptions(
        base=VALUES[args.base or "2"],
        by="region" if args.regions else args.by or "token",
        joins_marks=args.punctuation == "joined",
        region_sign=args.regions or "",
        oov=args.oov or "unk",
        carry=args.carry,
        adapt=args.adapt or 0.0,
        tokenised=reading == "tokenised",
    )


def _stimuli(args: argparse.Namespace, texts: Iterable[str]) -> Stimuli:
    """The lines of the file, or of the texts that were typed."""
    from lstm_lm.corpus.stimuli import Stimuli, Stimulus, read_stimuli
    from lstm_lm.model.scoring import lines_of
    from lstm_lm.training.run_evaluation import corpus_settings

    if args.file in (None, "-"):
        return Stimuli((), map(Stimulus, chain.from_iterable(map(lines_of, texts))))
    column = args.text_column or corpus_settings(args.model).text_column
    return read_stimuli(args.file, column)
