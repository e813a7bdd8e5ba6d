"""Texts that people give to a command, and texts that a command prints."""

from __future__ import annotations

import argparse
import contextlib
import os
import shlex
import sys
from collections.abc import Callable, Iterator
from types import ModuleType

from lstm_lm.corpus.readers import iterate_file_lines, iterate_stream_lines
from lstm_lm.errors import InputError, UserError
from lstm_lm.printing import print_line, print_note

MAX_WORD_SHOWN = 60  # characters of a word in a table


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
        texts = [args.text] if isinstance(args.text, str) else args.text
        for text in texts:
            if os.path.isfile(text):
                print_note(f"note: {text} is a file; did you mean --file {shlex.quote(text)}?")
        return iter(texts)
    if args.file not in (None, "-"):
        return iterate_file_lines(args.file, args.text_column or "text")
    if sys.stdin.isatty():
        return ask_at_terminal() if at_terminal is None else at_terminal
    return iterate_stream_lines(sys.stdin.buffer, "standard input")


def read_word_list(option: str, path: str) -> list[str]:
    """The words of a file, one word a line; blank lines are skipped.

    Args:
        option: that names the file.
        path: of the file.

    Raises:
        InputError: the file has no words.
        CorpusError: the file cannot be read.
    """
    words = [line.strip() for line in iterate_file_lines(path, key=option) if line.strip()]
    if not words:
        raise InputError(f"{option} {path}: has no words; give one word a line")
    return words


def ask_at_terminal(complete: Callable[[str], str | None] | None = None) -> Iterator[str]:
    """Yields what a person types, until the end of input.

    Args:
        complete: for the Tab key: the line up to the cursor -> the line with its last word
            completed, or None. It differs after the last white space only.
    """
    with contextlib.suppress(ImportError):
        import readline  # line editing and history for input()

        if complete is not None:
            _bind_tab(readline, complete)
    tab = "" if complete is None else "Tab completes a word; "
    print_line(f"type a text and press Enter; {tab}Ctrl-D ends")
    while True:
        try:
            yield input("> ")
        except EOFError:
            print_line()
            return


def _bind_tab(readline: ModuleType, complete: Callable[[str], str | None]) -> None:
    """Lets the Tab key complete a word."""

    def completer(chunk: str, number: int) -> str | None:
        """Called with 0, 1, ... for all completions of a chunk; there is one at most."""
        if number:
            return None
        line = readline.get_line_buffer()[: readline.get_endidx()]
        try:
            completed = complete(line)
        except UserError:
            return None  # the text is refused when it is complete
        return None if completed is None else completed[len(line) - len(chunk) :]

    readline.set_completer_delims(" \t\n")
    readline.set_completer(completer)
    is_libedit = "libedit" in (readline.__doc__ or "")
    readline.parse_and_bind("bind ^I rl_complete" if is_libedit else "tab: complete")
