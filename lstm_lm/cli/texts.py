"""Text that people hand to a command, and text that a command shows them."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator

from lstm_lm.corpus.readers import iterate_file_lines, iterate_stream_lines

LONGEST_SHOWN = 1500  # characters of a message
LONGEST_WORD = 60  # characters of a word in a table

# what moves the cursor, ends the line or turns its direction
_CONTROL = re.compile("[\0-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def printable(text: str, longest: int = LONGEST_SHOWN) -> str:
    """A text, such as a stranger's word or file name, on one line of a terminal: clipped, control codes escaped."""
    return _CONTROL.sub(
        lambda found: ascii(found[0])[1:-1],
        text if len(text) <= longest else f"{text[: longest - 1]}…",
    )


def iterate_input_lines(path: str | None = None) -> Iterator[str]:
    """Yields lines of a file, or of standard input if ``path`` is None or ``-``, without their line ends.

    Raises:
        CorpusError: if the file is missing or empty, or the text is not UTF-8.
    """
    if path is None or path == "-":
        return iterate_stream_lines(sys.stdin.buffer, "standard input")
    return iterate_file_lines(path)
