"""The parser of one command: short usage, errors of one line, and a suggestion for a wrong name."""

from __future__ import annotations

import argparse
import difflib
import re
from collections.abc import Sequence
from typing import NoReturn

from lstm_lm.config import nearest_setting
from lstm_lm.printing import printable

# How similar two names must be, from 0 to 1, to suggest one for the other (difflib's ratio).
SIMILAR_OPTION = 0.7
SIMILAR_COMMAND = 0.5

# argparse's messages -> ours, which are like those of the configuration
_PLAINER = (
    (r"^argument ", ""),
    (r"invalid int value: (.+)", r"found \1, must be a whole number"),
    (r"invalid float value: (.+)", r"found \1, must be a number"),
    (r"invalid choice: (.+) \(choose from (.+)\)", r"found \1, must be one of \2"),
    (r"expected one argument", "needs a value"),
    (r"expected at least one argument", "needs at least one value"),
    (r"expected (\d+) arguments", r"needs \1 values"),
    (r"the following arguments are required: (.+)", r"\1 is missing"),
)


class CommandParser(argparse.ArgumentParser):
    """An `argparse.ArgumentParser` that takes arguments in any order and suggests near names."""

    def set_short_usage(self) -> None:
        """Makes the usage one line: the positional arguments, and ``[options]`` for the others."""
        words = [_usage_of(action) for action in self._actions if not action.option_strings]
        self.usage = " ".join([self.prog, *words, "[options]"])

    def parse(self, words: Sequence[str]) -> argparse.Namespace:
        """Parses a command's words; options and other arguments may be in any order.

        Args:
            words: what follows the command's name.

        Raises:
            SystemExit: a word is wrong; the message was printed.
        """
        args, unknown = self.parse_known_intermixed_args(list(words))
        options = [word for word in unknown if word.startswith("-") and word != "--"]
        if options:
            self.error(self.explain_unknown(options[0], words))
        if unknown:
            self.error(f"unexpected argument {unknown[0]!r}; put a text of several words in quotes")
        return args

    def explain_unknown(self, word: str, words: Sequence[str]) -> str:
        """What to say about an option that does not exist.

        Args:
            word: the option, with or without ``=value``.
            words: the command line that it is in.
        """
        name, equals, value = word.partition("=")
        if not equals:
            following = words[words.index(word) + 1 :] if word in words else ()
            value = next(iter(following), "")
            value = "" if value.startswith("--") else value
        known = [option for action in self._actions for option in action.option_strings]
        near = difflib.get_close_matches(name, known, 1, SIMILAR_OPTION)
        if near:
            return f"unknown option {name}; did you mean {near[0]}?"
        setting = nearest_setting(name) if self._takes_settings() else None
        if setting:
            return f"unknown option {name}; did you mean {setting}={value or '...'}?"
        return f"unknown option {name}; `{self.prog} --help` lists the options"

    def _takes_settings(self) -> bool:
        return any(action.dest == "overrides" for action in self._actions)

    def error(self, message: str) -> NoReturn:
        """Prints a message of one line and the usage, and exits with status 2."""
        for pattern, plainer in _PLAINER:
            message = re.sub(pattern, plainer, message)
        self.exit(2, f"lstm-lm: error: {printable(message)}\n{self.format_usage()}")


def _usage_of(action: argparse.Action) -> str:
    name = action.metavar or action.dest
    if action.nargs == "?":
        return f"[{name}]"
    return f"[{name} ...]" if action.nargs == "*" else str(name)


def unknown_command(word: str, commands: Sequence[str]) -> str:
    """What to say about a command that does not exist."""
    near = difflib.get_close_matches(word, commands, 1, SIMILAR_COMMAND)
    meant = f"did you mean {near[0]}?" if near else f"commands are {', '.join(commands)}"
    return f"unknown command {word!r}; {meant}"
