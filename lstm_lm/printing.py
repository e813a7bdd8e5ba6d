"""What is printed: never a character that a terminal would obey instead of showing it.

Words of a vocabulary, texts, names of files and answers of other machines may hold control
characters and escape sequences, which move the cursor, change the window's title or type commands.
They are shown escaped, such as ``\\x1b``. Everything is printed with the functions of this module.
"""

from __future__ import annotations

import errno
import os
import re
import stat
import sys
from typing import TextIO

MAX_SHOWN = 1500  # characters of a message

# Characters that move the cursor, end the line or change its direction; escape sequences begin
# with one of them.
_CONTROL = re.compile("[\0-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def printable(text: str, longest: int = MAX_SHOWN) -> str:
    """A text on one line of a terminal: cut to a length, control characters escaped."""
    return _CONTROL.sub(
        lambda found: ascii(found[0])[1:-1],
        text if len(text) <= longest else f"{text[: longest - 1]}…",
    )


def printable_lines(text: str) -> str:
    """A text of several lines, each whole, with its control characters escaped."""
    return "\n".join(printable(line, sys.maxsize) for line in text.split("\n"))


def printable_json(text: str) -> str:
    r"""JSON with the same meaning, in which ``\u009b`` and its kin are written so."""
    return _CONTROL.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def print_line(text: object = "") -> None:
    """Prints lines on standard output, at once, also into a pipe."""
    _print(printable_lines(str(text)), sys.stdout)


def print_note(text: object) -> None:
    """Prints lines for people on standard error, so that standard output has results only."""
    _print(printable_lines(str(text)), sys.stderr)


def _print(text: str, stream: TextIO) -> None:
    """Prints lines; to nobody from now on, if the terminal was closed: that must not lose a run."""
    try:
        print(text, file=stream, flush=True)
    except OSError as error:
        if error.errno != errno.EIO or not stat.S_ISCHR(os.fstat(stream.fileno()).st_mode):
            raise
        nobody = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nobody, stream.fileno())
        os.close(nobody)
