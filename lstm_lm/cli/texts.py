"""Text that people hand to a command: standard input or a file, as UTF-8 lines."""

from __future__ import annotations

import sys
from collections.abc import Iterator

from lstm_lm.corpus.text_files import iterate_file_lines, iterate_stream_lines


def iterate_input_lines(path: str | None = None) -> Iterator[str]:
    """Yields lines of a file, or of standard input if ``path`` is None or ``-``, without their line ends.

    Raises:
        CorpusError: if the file is missing or empty, or the text is not UTF-8.
    """
    if path is None or path == "-":
        return iterate_stream_lines(sys.stdin.buffer, "standard input")
    return iterate_file_lines(path)
