"""Reads the lines of text and Parquet files.

Files are streamed: the memory used is a few times the longest line, whatever the file's size.

A line ends at \\n or \\r\\n and nowhere else (not at a lone \\r, not at U+2028), so the number of
lines is what `wc -l` counts. Blank lines are lines: each becomes one ``<eos>``.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from lstm_lm.errors import CorpusError

if TYPE_CHECKING:
    from pyarrow import Array

MAX_LINE_BYTES = 2**28  # a line is read whole
# Characters between white space. Splitting them into words takes about 60 bytes of memory for each.
MAX_CHUNK_LENGTH = 2**20
_ROWS_AT_A_TIME = 1024

_BOM = b"\xef\xbb\xbf"
_UTF16_BOMS = (b"\xff\xfe", b"\xfe\xff")


def checked_file(name: str | Path, key: str = "") -> Path:
    """Returns the path of a file, after checking that it can be read and is not empty.

    Args:
        name: the path; a leading ~ is the home folder, a relative path starts at the working
            directory.
        key: dotted key of the setting that named the file; a message begins with it.

    Raises:
        CorpusError: there is no such file, or it is a directory, a device, unreadable or empty.
    """
    path = Path(os.path.expanduser(name))  # Path.expanduser raises for an unknown user: ~nobody
    prefix = f"{key}: " if key else ""
    try:
        if not path.exists():
            raise CorpusError(
                f"{prefix}no such file: {path} (looked in {Path.cwd()}); "
                "give the path of a text or .parquet file"
            )
        if path.is_dir():
            raise CorpusError(
                f"{prefix}{path} is a directory; give the path of one text or .parquet file"
            )
        if not path.is_file():
            raise CorpusError(
                f"{prefix}{path} is not a regular file, so it cannot be read more than once; "
                "write its text to a file first"
            )
        if path.stat().st_size == 0:
            raise CorpusError(f"{prefix}{path} is empty; give a file with text in it")
        with path.open("rb"):
            pass
    except OSError as error:
        raise CorpusError(f"{prefix}cannot read {path}: {error.strerror}") from error
    return path


def iterate_file_lines(path: str | Path, text_column: str = "text", key: str = "") -> Iterator[str]:
    """Yields the lines of a file without their line ends.

    Args:
        path: a .parquet file, or a UTF-8 text file with any other extension. A byte order mark is
            left out.
        text_column: Parquet: the column of strings that holds the text; see `split_row`.
        key: dotted key of the setting that named the file; a message begins with it.

    Raises:
        CorpusError: the file cannot be read, is empty, or is not what its name says.
    """
    file = checked_file(path, key)
    if file.suffix.lower() == ".parquet":
        return _iterate_parquet(file, text_column, key)
    return _iterate_text(file, key)


def split_row(text: str | None) -> list[str]:
    """Splits a row of a table into lines.

    One line end at the end of the row is left out: ``"a"`` and ``"a\\n"`` are one line, ``"a\\nb"``
    is two. ``""`` and null are one blank line.
    """
    if text is None:
        return [""]
    if text.endswith("\n"):
        text = text[:-1]
    return [line[:-1] if line.endswith("\r") else line for line in text.split("\n")]


def check_text_column(columns: dict[str, Any], text_column: str, where: str) -> None:
    """Checks that a table has a column of strings.

    Args:
        columns: name of every column -> its Arrow type.
        text_column: the name in the configuration.
        where: the file or data set, for the message.

    Raises:
        CorpusError: the column is missing or holds something else.
    """
    if text_column not in columns:
        raise CorpusError(
            f"corpus.text_column: {where} has no column {text_column!r}; "
            f"it has {', '.join(map(repr, columns)) or 'none'}"
        )
    # such as large_string, string_view or dictionary<values=string, indices=int32, ordered=0>
    if not re.match(r"(dictionary<values=)?(large_)?string(_view)?\b", str(columns[text_column])):
        raise CorpusError(
            f"corpus.text_column: column {text_column!r} of {where} holds {columns[text_column]}, "
            "not text; name a column of strings"
        )


def long_chunk_column(line: str) -> int:
    """Returns where more than `MAX_CHUNK_LENGTH` characters without white space begin.

    Returns:
        The column, counted from 1; 0 if there are none.
    """
    start = 0
    while len(line) - start > MAX_CHUNK_LENGTH:
        stretch = line[start : start + MAX_CHUNK_LENGTH + 1]
        unfinished = stretch.rsplit(None, 1)[-1] if stretch == stretch.rstrip() else ""
        if len(unfinished) == len(stretch):
            return start + 1
        start += len(stretch) - len(unfinished)
    return 0


def _checked_line(line: str, where: str, number: int) -> str:
    if len(line) > MAX_CHUNK_LENGTH and (column := long_chunk_column(line)):
        raise CorpusError(
            f"{where} {number}: from column {column} on, more than {MAX_CHUNK_LENGTH:,} characters "
            "without white space; check that this is text, and separate its words by spaces"
        )
    return line


def iterate_column_lines(batches: Iterable[Array], where: str) -> Iterator[str]:
    """Yields the lines of a column of strings; each row is split by `split_row`.

    Args:
        batches: the column, in pieces.
        where: the file or data set, for the message.

    Raises:
        CorpusError: a row is not UTF-8, or has too many characters without white space.
    """
    row = 0
    for batch in batches:
        for text in batch:
            row += 1
            try:
                lines = split_row(text.as_py())
            except UnicodeDecodeError as error:
                raise CorpusError(
                    f"{where}, row {row}: not UTF-8 (byte 0x{error.object[error.start]:02x}); "
                    "write the file again with UTF-8 strings"
                ) from error
            for line in lines:
                yield _checked_line(line, f"{where}, row", row)


def iterate_stream_lines(stream: BinaryIO, name: str) -> Iterator[str]:
    """Yields the lines of UTF-8 text without their line ends.

    A byte order mark at the beginning is left out.

    Args:
        stream: open for reading bytes, such as a file or ``sys.stdin.buffer``.
        name: what a message calls it.

    Raises:
        CorpusError: a line is not UTF-8, is too long, or has too many characters without white
            space.
    """
    number = 0
    while raw := stream.readline(MAX_LINE_BYTES + 1):
        number += 1
        if len(raw) > MAX_LINE_BYTES:
            raise CorpusError(
                f"{name}, line {number}: longer than {MAX_LINE_BYTES:,} bytes; put its sentences "
                "or paragraphs on lines of their own"
            )
        if raw.endswith(b"\r\n"):
            raw = raw[:-2]
        elif raw.endswith(b"\n"):
            raw = raw[:-1]
        if number == 1 and raw.startswith(_BOM):
            raw = raw[len(_BOM) :]
        try:
            line = raw.decode("utf-8")
        except UnicodeDecodeError as error:
            encoding = "UTF-16" if number == 1 and raw.startswith(_UTF16_BOMS) else "LATIN1"
            column = len(raw[: error.start].decode("utf-8")) + 1
            raise CorpusError(
                f"{name}, line {number}: not UTF-8 (byte 0x{raw[error.start]:02x} at "
                f"column {column}); convert it with iconv, such as: iconv -f {encoding} -t UTF-8"
            ) from error
        del raw  # so that a long line is not in memory three times
        yield _checked_line(line, f"{name}, line", number)


def _iterate_text(path: Path, key: str) -> Iterator[str]:
    try:
        with path.open("rb") as file:
            yield from iterate_stream_lines(file, str(path))
    except OSError as error:
        raise CorpusError(
            f"{key + ': ' if key else ''}cannot read {path}: {error.strerror}"
        ) from error


def _iterate_parquet(path: Path, text_column: str, key: str) -> Iterator[str]:
    import pyarrow
    import pyarrow.parquet

    prefix = f"{key}: " if key else ""
    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            check_text_column(
                {field.name: field.type for field in file.schema_arrow}, text_column, str(path)
            )
            batches = file.iter_batches(batch_size=_ROWS_AT_A_TIME, columns=[text_column])
            yield from iterate_column_lines(
                (batch.column(0) for batch in batches), f"{prefix}{path}"
            )
    except (pyarrow.ArrowException, OSError) as error:
        reason = " ".join(str(error).split())
        raise CorpusError(f"{prefix}{path} cannot be read as Parquet: {reason}") from error
