"""Lines of a text or Parquet file, streamed: memory is a few times the longest line, whatever the file's size.

A line ends at \\n or \\r\\n and nowhere else (not at a lone \\r, not at U+2028), so that the number of lines is what
`wc -l` says. Blank lines are lines: the model is given one <eos> for each.
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

LONGEST_LINE = 2**28  # bytes; a line is read whole
LONGEST_WORD = (
    2**20
)  # characters without white space among them; to take them apart needs some 60 bytes for each

_BOM = b"\xef\xbb\xbf"
_UTF16_BOMS = (b"\xff\xfe", b"\xfe\xff")


def checked_file(name: str | Path, key: str = "") -> Path:
    """Returns the path of a readable, non-empty file.

    Args:
        name: path; a leading ~ is the home folder, a relative one starts at the working directory.
        key: dotted key of the setting that named the file, put before the message.

    Raises:
        CorpusError: there is no such file, or it is a directory, a device, unreadable or empty.
    """
    path = Path(os.path.expanduser(name))  # the method of that name has no patience with ~nobody
    prefix = f"{key}: " if key else ""
    try:
        if not path.exists():
            raise CorpusError(
                f"{prefix}no such file: {path} (looked in {Path.cwd()}); "
                "give the path of a text or .parquet file"
            )
        if path.is_dir():
            raise CorpusError(
                f"{prefix}{path} is a directory; give the path of one text or .parquet file in it"
            )
        if not path.is_file():
            raise CorpusError(
                f"{prefix}{path} is not a regular file, and must be read more than once; "
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
        path: a .parquet file, or a UTF-8 text file with any other extension; a byte order mark is left out.
        text_column: Parquet: the column of strings that holds the text. A row is one line, or several where it has
            line ends inside; one line end at its end is left out; a null row is a blank line.
        key: dotted key of the setting that named the file, put before the message.

    Raises:
        CorpusError: the file cannot be read, is empty, or is not what its name says.
    """
    file = checked_file(path, key)
    return (
        _iterate_parquet(file, text_column, key)
        if file.suffix.lower() == ".parquet"
        else _iterate_text(file, key)
    )


def row_lines(text: str | None) -> list[str]:
    """Splits a table's row into lines: `"a\\n"` and `"a"` are one line, `"a\\nb"` two, `""` and null one blank line."""
    if text is None:
        return [""]
    if text.endswith("\n"):
        text = text[:-1]
    return [line[:-1] if line.endswith("\r") else line for line in text.split("\n")]


def check_text_column(columns: dict[str, Any], text_column: str, where: str) -> None:
    """Raises CorpusError unless `text_column` is a column of strings.

    Args:
        columns: name of every column -> its Arrow type.
        text_column: the configured name.
        where: the file or data set, for the message.
    """
    if text_column not in columns:
        raise CorpusError(
            f"corpus.text_column: {where} has no column {text_column!r}; "
            f"it has {', '.join(map(repr, columns)) or 'none'}"
        )
    # such as string, large_string, string_view and dictionary<values=string, indices=int32, ordered=0>
    if not re.match(r"(dictionary<values=)?(large_)?string(_view)?\b", str(columns[text_column])):
        raise CorpusError(
            f"corpus.text_column: column {text_column!r} of {where} holds {columns[text_column]}, "
            "not text; name a column of strings"
        )


def unbroken_column(line: str) -> int:
    """Returns the column, from 1, at which more than `LONGEST_WORD` characters without white space begin; 0 if none."""
    start = 0
    while len(line) - start > LONGEST_WORD:
        stretch = line[start : start + LONGEST_WORD + 1]
        word = stretch.rsplit(None, 1)[-1] if stretch == stretch.rstrip() else ""
        if len(word) == len(stretch):
            return start + 1
        start += len(stretch) - len(word)
    return 0


def _checked_line(line: str, where: str, number: int) -> str:
    if len(line) > LONGEST_WORD and (column := unbroken_column(line)):
        raise CorpusError(
            f"{where} {number}: from column {column} on, more than {LONGEST_WORD:,} characters without "
            "white space; is it text? If so, set its words apart by spaces"
        )
    return line


def iterate_column_lines(batches: Iterable[Array], where: str) -> Iterator[str]:
    """Yields the lines of a column of strings; rows are taken apart as in `row_lines`.

    Args:
        batches: of a Parquet file or a data set.
        where: the file or data set, for the message.

    Raises:
        CorpusError: a row is not UTF-8, or has no white space where words should end.
    """
    row = 0
    for batch in batches:
        for text in batch:
            row += 1
            try:
                lines = row_lines(text.as_py())
            except UnicodeDecodeError as error:
                raise CorpusError(
                    f"{where}, row {row}: not UTF-8 (byte 0x{error.object[error.start]:02x}); "
                    "write the file again with UTF-8 strings"
                ) from error
            for line in lines:
                yield _checked_line(line, f"{where}, row", row)


def iterate_stream_lines(stream: BinaryIO, name: str) -> Iterator[str]:
    """Yields the lines of UTF-8 text without their line ends; a byte order mark is left out.

    Args:
        stream: an open file, or standard input's buffer.
        name: what to call it in a message.

    Raises:
        CorpusError: a line is not UTF-8, is too long to be read, or has no white space where words should end.
    """
    number = 0
    while raw := stream.readline(LONGEST_LINE + 1):
        number += 1
        if len(raw) > LONGEST_LINE:
            raise CorpusError(
                f"{name}, line {number}: longer than {LONGEST_LINE:,} bytes; set its sentences or "
                "paragraphs apart by line ends"
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
                f"{name}, line {number}: not UTF-8 (byte 0x{raw[error.start]:02x} at column {column}"
                f"); convert it with iconv, such as: iconv -f {encoding} -t UTF-8"
            ) from error
        del raw  # twice a long line is enough
        yield _checked_line(line, f"{name}, line", number)


def _iterate_text(path: Path, key: str) -> Iterator[str]:
    try:
        with path.open("rb") as file:
            yield from iterate_stream_lines(file, str(path))
    except OSError as error:
        raise CorpusError(f"{key and key + ': '}cannot read {path}: {error.strerror}") from error


def _iterate_parquet(path: Path, text_column: str, key: str) -> Iterator[str]:
    import pyarrow
    import pyarrow.parquet

    prefix = f"{key}: " if key else ""
    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            check_text_column(
                {field.name: field.type for field in file.schema_arrow}, text_column, str(path)
            )
            batches = file.iter_batches(batch_size=1024, columns=[text_column])
            yield from iterate_column_lines(
                (batch.column(0) for batch in batches), f"{prefix}{path}"
            )
    except (pyarrow.ArrowException, OSError) as error:
        reason = " ".join(str(error).split())
        raise CorpusError(f"{prefix}{path} cannot be read as Parquet: {reason}") from error
