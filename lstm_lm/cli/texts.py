"""Texts that people give to a command, and texts that a command prints."""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import sys
from collections.abc import Iterator

from lstm_lm.corpus.readers import iterate_file_lines, iterate_stream_lines
from lstm_lm.errors import InputError

MAX_SHOWN = 1500  # characters of a message
MAX_WORD_SHOWN = 60  # characters of a word in a table

# Characters that move the cursor, end the line or change its direction.
_CONTROL = re.compile("[\0-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def printable(text: str, longest: int = MAX_SHOWN) -> str:
    """A text on one line of a terminal: cut to a length, control characters escaped."""
    return _CONTROL.sub(
        lambda found: ascii(found[0])[1:-1],
        text if len(text) <= longest else f"{text[: longest - 1]}…",
    )


def print_note(text: str) -> None:
    """Prints lines for people on standard error, so that standard output has results only."""
    lines = [printable(line, sys.maxsize) for line in text.split("\n")]
    print("\n".join(lines), file=sys.stderr, flush=True)


def add_text(
    parser: argparse.ArgumentParser, metavar: str = "TEXT", otherwise: str = "standard input"
) -> None:
    """Adds the argument TEXT and ``--file``; see `read_texts`.

    Args:
        parser: of the command.
        metavar: what the help calls the text.
        otherwise: what is read if neither is given.
    """
    parser.add_argument(
        "text",
        nargs="?",
        metavar=metavar,
        help=f"the text (default: each line of --file, or else of {otherwise})",
    )
    parser.add_argument(
        "--file",
        metavar="PATH",
        help="a text, of which each line is read: a file, a folder or a pattern; -: standard input",
    )
    add_text_column(parser)


def add_text_column(parser: argparse.ArgumentParser) -> None:
    """Adds ``--text-column``: which column of a table is read."""
    parser.add_argument(
        "--text-column",
        metavar="NAME",
        help="the column with the text, for a --file that is .csv, .tsv, .jsonl or .parquet "
        "(default: text)",
    )


def add_reading(parser: argparse.ArgumentParser) -> None:
    """Adds ``--natural`` and ``--tokenised``: how a text is read; sets ``reading``."""
    group = parser.add_mutually_exclusive_group()
    group.add_argument(
        "--natural",
        dest="reading",
        action="store_const",
        const="natural",
        default="",
        help="for a model whose corpus came tokenised (corpus.tokenization: whitespace): the text "
        "is natural and is spelled as the corpus is (default, unless a file is evidently "
        "tokenised: most of its marks are words of their own)",
    )
    group.add_argument(
        "--tokenised",
        dest="reading",
        action="store_const",
        const="tokenised",
        help="for such a model: the text is tokenised as the corpus is, and read as it stands",
    )


def read_texts(args: argparse.Namespace, at_terminal: Iterator[str] | None = None) -> Iterator[str]:
    """Returns the texts that a command is given: its argument, or the lines of a file.

    Args:
        args: with ``text`` and ``file``; without both, standard input is read.
        at_terminal: the texts if standard input is a terminal; by default the person is asked.

    Raises:
        InputError: both are given, or a column without a file.
        CorpusError: the file is missing or empty, or a text is not UTF-8.
    """
    if args.text is not None and args.file is not None:
        raise InputError("a text and --file: give one of them")
    if args.text_column is not None and args.file in (None, "-"):
        raise InputError("--text-column: has an effect only together with --file PATH")
    if args.text is not None:
        if os.path.isfile(args.text):
            print_note(f"note: {args.text} is a file; did you mean --file {args.text}?")
        return iter([args.text])
    if args.file not in (None, "-"):
        return iterate_file_lines(args.file, args.text_column or "text")
    if sys.stdin.isatty():
        return _ask() if at_terminal is None else at_terminal
    return iterate_stream_lines(sys.stdin.buffer, "standard input")


def _ask() -> Iterator[str]:
    """Yields what a person types, until the end of input."""
    with contextlib.suppress(ImportError):
        import readline  # noqa: F401  (line editing and history for input())
    print("type a text and press Enter; Ctrl-D ends")
    while True:
        try:
            yield input("> ")
        except EOFError:
            print()
            return
