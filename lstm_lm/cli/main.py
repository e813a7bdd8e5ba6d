"""``lstm-lm COMMAND ...``: finds the command, runs it, and prints an error in one line."""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import sys
from collections.abc import Iterator, Sequence

from lstm_lm import __version__
from lstm_lm.cli import (
    cache,
    compare,
    evaluate,
    export,
    gates,
    generate,
    info,
    ngram,
    predict,
    probe,
    push,
    reading_times,
    score,
    settings,
    sweep,
    train,
)
from lstm_lm.cli.parsing import CommandParser, unknown_command
from lstm_lm.config.docstrings import docstring_of
from lstm_lm.errors import AloneError, ConfigError, DivergedError, UserError
from lstm_lm.files.private import folder_without_home, has_home
from lstm_lm.memory import out_of_memory
from lstm_lm.printing import print_note, printable
from lstm_lm.training.launch import find_launch
from lstm_lm.training.signals import LeaveSignals, signals_held_during_import

COMMANDS = {
    "train": train,
    "predict": predict,
    "evaluate": evaluate,
    "score": score,
    "reading-times": reading_times,
    "generate": generate,
    "probe": probe,
    "sweep": sweep,
    "compare": compare,
    "gates": gates,
    "ngram": ngram,
    "export": export,
    "push": push,
    "info": info,
    "settings": settings,
    "cache": cache,
}


def build_parsers() -> tuple[CommandParser, dict[str, CommandParser]]:
    """The parser of ``lstm-lm`` itself, and those of its commands by name."""
    parser = CommandParser(
        prog="lstm-lm",
        usage="lstm-lm COMMAND ...",
        description="Train a word-level LSTM language model, use it, and look inside it.",
        epilog="`lstm-lm COMMAND --help` explains one command.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"lstm-lm {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    parsers = {}
    for name, module in COMMANDS.items():
        summary, _, details = docstring_of(module).partition("\n\n")
        parsers[name] = commands.add_parser(
            name,
            prog=f"lstm-lm {name}",
            help=summary.strip().rstrip("."),
            description=f"{summary}\n\n{details}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        module.add_arguments(parsers[name])
        parsers[name].set_short_usage()
    return parser, parsers


def parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """Parses the words after ``lstm-lm``.

    Args:
        argv: the words; the process's own if None.

    Returns:
        The command's arguments, with ``command`` (its name) and ``argv`` (all words).

    Raises:
        SystemExit: a word is wrong, or ``--help`` or ``--version`` was given.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    parser, parsers = build_parsers()
    if not words:
        parser.error(f"a command is missing; commands are {', '.join(parsers)}")
    command, *rest = words
    if command in ("-h", "--help", "--version"):
        parser.parse_args([command])  # prints and exits
    if command.startswith("-"):
        parser.error(parser.explain_unknown(command, words))
    if command not in parsers:
        parser.error(unknown_command(command, list(parsers)))
    args = parsers[command].parse(rest)
    args.command, args.argv = command, words
    return args


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command.

    Args:
        argv: the words after ``lstm-lm``; the process's own if None.

    Returns:
        The exit status: 0; 2 for a mistake of the user, reported in one line; 1 if a training
        diverged; 130 after Ctrl-C; 143 after SIGTERM; 129 after SIGHUP, a closed terminal.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a terminal that cannot show a bar shows a "?"
    try:
        if not has_home():  # other libraries would make a folder named ~, or use one of others
            for name in ("HF_HOME", "MPLCONFIGDIR"):
                os.environ.setdefault(name, str(folder_without_home("lstm_lm") / name.lower()))
        launch = find_launch()
    except UserError as error:
        return _explain(error, is_first=True)
    quiet = contextlib.nullcontext() if launch.is_first else _silence()
    with quiet:  # what is wrong with the arguments, one process says
        args = parse_arguments(argv)
    with LeaveSignals() as signals, signals_held_during_import("torch"):
        try:
            if launch.size > 1 and args.command != "train":
                raise AloneError(args.command)
            status = COMMANDS[args.command].run(args)
            sys.stdout.flush()
            return status
        except BaseException as error:
            if signals.received is None:
                signals.has_failed = True
                return _explain(error, is_first=launch.is_first)
        # Whichever exception a library turned the signal into.
        if launch.is_first:
            print_note("\nlstm-lm: stopped")
        return 128 + signals.received


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """While entered, nothing that Python prints is seen."""
    nothing = io.StringIO()
    with contextlib.redirect_stdout(nothing), contextlib.redirect_stderr(nothing):
        yield


def _explain(error: BaseException, *, is_first: bool) -> int:
    """Prints what went wrong if the user can do something about it; returns the exit status.

    Args:
        error: what was raised.
        is_first: whether this is the only process, or the first of several. The others do not say
            again what all of them find.
    """
    if not is_first and isinstance(error, DivergedError | AloneError):
        return error.exit_status
    if isinstance(error, UserError):
        mistakes = str(error).split("\n") if isinstance(error, ConfigError) else [str(error)]
        for mistake in mistakes:
            print_note(f"lstm-lm: error: {printable(mistake)}")
        return error.exit_status
    if isinstance(error, KeyboardInterrupt):
        print_note("\nlstm-lm: stopped")
        return 130
    if why := out_of_memory(error):
        print_note(f"lstm-lm: error: {why}")
        return 2
    if not isinstance(error, OSError):
        raise error
    if error.filename is None:
        # Standard output cannot be written to; without this, Python would try again when it exits.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    if isinstance(error, BrokenPipeError):  # the reader, such as `head`, has closed the pipe
        return 0
    name = printable(os.fsdecode(error.filename or "standard output"))
    print_note(f"lstm-lm: error: {name}: {error.strerror or error}")
    return 2
