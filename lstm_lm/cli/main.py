"""``lstm-lm COMMAND ...``: finds the command, runs it, and turns mistakes into one line each."""

from __future__ import annotations

import argparse
import io
import os
import sys
from collections.abc import Sequence

from lstm_lm import __version__
from lstm_lm.cli import (
    compare,
    evaluate,
    gates,
    generate,
    ngram,
    predict,
    probe,
    score,
    settings,
    train,
)
from lstm_lm.cli.texts import printable
from lstm_lm.errors import ConfigError, UserError
from lstm_lm.training.signals import LeaveSignals

COMMANDS = {
    "train": train,
    "predict": predict,
    "evaluate": evaluate,
    "score": score,
    "generate": generate,
    "probe": probe,
    "compare": compare,
    "gates": gates,
    "ngram": ngram,
    "settings": settings,
}


def build_parser() -> argparse.ArgumentParser:
    """The parser of all commands."""
    parser = argparse.ArgumentParser(
        prog="lstm-lm",
        description="Train, question and look into a word-level LSTM language model.",
    )
    parser.add_argument("--version", action="version", version=f"lstm-lm {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, module in COMMANDS.items():
        summary, _, details = module.__doc__.partition("\n\n")
        module.add_arguments(
            commands.add_parser(
                name,
                help=summary.strip().rstrip("."),
                description=f"{summary}\n\n{details}",
                formatter_class=argparse.RawDescriptionHelpFormatter,
                allow_abbrev=False,
            )
        )
    return parser


def parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """Parses the words after ``lstm-lm``; ``section.key=value`` may stand before, between and after options."""
    parser = build_parser()
    args, rest = parser.parse_known_args(argv)  # argparse itself takes overrides in one place only
    if rest and (not hasattr(args, "overrides") or any(word.startswith("-") for word in rest)):
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    if rest:
        args.overrides += rest
    args.argv = list(sys.argv[1:] if argv is None else argv)
    return args


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command.

    Args:
        argv: the words after ``lstm-lm``; the process's own if None.

    Returns:
        The exit status: 0; 2 for a mistake of the user's, said in one line; 1 for training that diverged; 130 or 143
        after Ctrl-C or SIGTERM.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(
            errors="replace"
        )  # a bar that the terminal cannot draw is no reason to stop
    args = parse_arguments(argv)
    with LeaveSignals() as signals:
        try:
            status = COMMANDS[args.command].run(args)
            sys.stdout.flush()
            return status
        except BaseException as error:
            if signals.received is None:
                return _explain(error)
        print(
            "\nlstm-lm: stopped", file=sys.stderr
        )  # whatever a library has made of the interruption
        return 128 + signals.received


def _explain(error: BaseException) -> int:
    """Says what went wrong, if it is the user's to know, and returns the exit status."""
    if isinstance(error, UserError):
        mistakes = str(error).split("\n") if isinstance(error, ConfigError) else [str(error)]
        for mistake in mistakes:
            print(f"lstm-lm: error: {printable(mistake)}", file=sys.stderr)
        return error.exit_status
    if isinstance(error, KeyboardInterrupt):
        print("\nlstm-lm: stopped", file=sys.stderr)
        return 130
    if not isinstance(error, OSError):
        raise error
    if (
        error.filename is None
    ):  # standard output takes no more; Python must not try again when it exits
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    if isinstance(error, BrokenPipeError):  # its reader, such as `head`, has seen enough
        return 0
    name = printable(os.fsdecode(error.filename or "standard output"))
    print(f"lstm-lm: error: {name}: {error.strerror or error}", file=sys.stderr)
    return 2
