"""Text that people hand to a command: standard input or a file, as UTF-8 lines."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from lstm_lm.corpus.sources import iterate_text_lines


def iterate_input_lines(path: str | None = None) -> Iterator[str]:
    """Yields lines of a file, or of standard input if ``path`` is None or ``-``, without their line ends.

    Raises:
        CorpusError: if the file is missing or the text is not UTF-8.
    """
    if path is None or path == "-":
        yield from iterate_text_lines(sys.stdin.buffer, "standard input")
        return
    with open_text(Path(path)) as file:
        yield from iterate_text_lines(file, path)
