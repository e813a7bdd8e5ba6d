"""Reads the lines of a text: of files, folders, archives and tables.

Files are streamed: the memory used is a few times the longest line, whatever the file's size.

Blank lines are lines: each becomes one ``<eos>``. What `layout` changes about this is changed only
on request.
"""

from __future__ import annotations

import codecs
import io
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from lstm_lm.corpus.decoding import (
    MAX_CHUNK_LENGTH,
    MAX_LINE_BYTES,
    checked_line,
    decode_chunks,
    iterate_raw_lines,
    iterate_wide_lines,
    long_chunk_column,
    without_mark,
)
from lstm_lm.corpus.encodings import (
    HEAD_BYTES,
    SAMPLE_BYTES,
    Remedy,
    is_utf8,
    looks_like_utf8,
    name_binary,
)
from lstm_lm.corpus.formats import (
    check_text_column,
    iterate_column,
    iterate_csv,
    iterate_csv_rows,
    iterate_jsonl,
    iterate_parquet,
    split_row,
)
from lstm_lm.corpus.layout import (
    AS_IT_IS,
    SAMPLE_LENGTH,
    Layout,
    decide_layout,
    lay_out,
    split_chunks,
)
from lstm_lm.corpus.text_files import TextFile, checked_file, find_files
from lstm_lm.errors import CorpusError

if TYPE_CHECKING:
    from pyarrow import Array

__all__ = [
    "MAX_CHUNK_LENGTH",
    "MAX_LINE_BYTES",
    "TextOptions",
    "check_text_column",
    "checked_file",
    "find_layout",
    "iterate_column_lines",
    "iterate_file_lines",
    "iterate_lines",
    "iterate_stream_lines",
    "iterate_table_rows",
    "long_chunk_column",
    "split_row",
]

_MAX_SAMPLED_FILES = 16


@dataclass(frozen=True)
class TextOptions:
    """How files are read.

    Attributes:
        text_column: the column of a table that has the text.
        encoding: of text files, .csv, .tsv and .jsonl, as Python names it.
        encoding_setting: the setting that a message proposes for another encoding; empty if there
            is none.
        column_setting: what a message calls the setting or option that gave the column.
    """

    text_column: str = "text"
    encoding: str = "utf-8"
    encoding_setting: str = ""
    column_setting: str = "--text-column"


DEFAULT_OPTIONS = TextOptions()


def iterate_file_lines(
    names: str | Path | Sequence[str | Path],
    text_column: str = "text",
    key: str = "",
) -> Iterator[str]:
    """Yields the lines of files without their line ends; the layout stays as it is.

    Args:
        names: a file, a folder, a pattern or a list, see `lstm_lm.corpus.text_files.find_files`.
            Text is UTF-8; a byte order mark is left out.
        text_column: the column of a table that has the text.
        key: dotted key of the setting that named the files; a message begins with it.

    Raises:
        CorpusError: a file cannot be read, is empty, or is not what its name says.
    """
    return iterate_lines(find_files(names, key), TextOptions(text_column))


def iterate_table_rows(file: TextFile, column: str) -> Iterator[list[str]]:
    """Yields the names of the columns of a .csv or .tsv file, and then its rows.

    Args:
        file: see `lstm_lm.corpus.text_files.find_files`.
        column: a column that it must have.

    Raises:
        CorpusError: there is no such column, or the file cannot be read.
    """
    lines = _iterate_text(file, DEFAULT_OPTIONS, checks_chunks=False)
    is_tsv = file.format == "tsv"
    return iterate_csv_rows(lines, column, file.name, is_tsv, DEFAULT_OPTIONS.column_setting)


def iterate_lines(
    files: Iterable[TextFile], options: TextOptions = DEFAULT_OPTIONS, layout: Layout = AS_IT_IS
) -> Iterator[str]:
    """Yields the lines of files, one file after the other.

    Args:
        files: see `lstm_lm.corpus.text_files.find_files`.
        options: how they are read.
        layout: what is done about wrapped lines, blank lines and texts without line ends.

    Raises:
        CorpusError: a file cannot be read, or is not what its name says.
    """
    for file in files:
        is_markdown = file.format == "markdown"
        if layout == AS_IT_IS:
            for document in _iterate_documents(file, options, layout):
                yield from document
        else:
            for document in _iterate_documents(file, options, layout):
                yield from lay_out(document, layout, is_markdown)


def find_layout(
    files: Sequence[TextFile],
    options: TextOptions,
    join_lines: bool | None,
    skip_blank_lines: bool | None,
) -> Layout:
    """Decides how the lines of files are laid out, by the beginnings of the first files.

    Args:
        files: all files of a text.
        options: how they are read.
        join_lines: see `lstm_lm.corpus.layout.decide_layout`.
        skip_blank_lines: see there.

    Raises:
        CorpusError: a file cannot be read, or is not what its name says.
    """
    sampled = files[:_MAX_SAMPLED_FILES]
    documents: list[list[str]] = []
    returns = []
    for file in sampled:
        length = SAMPLE_LENGTH // len(sampled)
        if file.is_table:
            rows = _iterate_documents(file, options, AS_IT_IS)
            documents += _take(rows, length)
        else:
            text = _beginning(file, options, length)
            returns.append("\r" in text.rstrip("\r") and "\n" not in text)
            documents.append(list(split_chunks([text])) if returns[-1] else text.split("\n"))
            if documents[-1][-1] == "" or len(text) >= length:
                documents[-1].pop()  # what stands after the last line end, or a line that was cut
            if not documents[-1]:
                documents[-1] = [text]
    return decide_layout(
        documents,
        join_lines=join_lines,
        skip_blank_lines=skip_blank_lines,
        lone_returns=join_lines is None and bool(returns) and all(returns),
    )


def _take(rows: Iterator[Iterable[str]], length: int) -> Iterator[list[str]]:
    """Yields the first rows of a table, of about so many characters together."""
    for row in rows:
        lines = list(row)
        yield lines
        length -= sum(map(len, lines)) + 1
        if length <= 0:
            return


def _beginning(file: TextFile, options: TextOptions, length: int) -> str:
    """Returns the first characters of a text file; bytes that cannot be decoded are replaced."""
    with file.open() as stream:
        _check_head(stream, file, options)
        decoder = codecs.getincrementaldecoder(without_mark(options.encoding))("replace")
        text = decoder.decode(stream.read(length))
    return text.replace("\r\n", "\n")


def _iterate_documents(
    file: TextFile, options: TextOptions, layout: Layout
) -> Iterator[Iterable[str]]:
    """Yields the documents of a file: all lines of a text file, or each row of a table."""
    if file.is_table:
        for number, text in enumerate(_iterate_rows(file, options), 1):
            lines = split_row(text)
            for line in lines:
                checked_line(line, f"{file.name}, row", number)
            yield lines
    elif layout.reads_in_chunks:
        yield _iterate_chunked(file, options)
    else:
        yield _iterate_text(file, options)


def _iterate_rows(file: TextFile, options: TextOptions) -> Iterator[str | None]:
    """Yields the texts of a table."""
    name, column, setting = file.name, options.text_column, options.column_setting
    if file.format == "parquet":
        with file.open() as stream:
            yield from iterate_parquet(stream, column, name, setting)
        return
    lines = _iterate_text(file, options, checks_chunks=False)
    if file.format == "jsonl":
        yield from iterate_jsonl(lines, column, name, setting)
    else:
        yield from iterate_csv(lines, column, name, file.format == "tsv", setting)


def _iterate_text(
    file: TextFile, options: TextOptions, checks_chunks: bool = True
) -> Iterator[str]:
    """Yields the lines of a text file."""
    with file.open() as stream:
        _check_head(stream, file, options)
        if b"\n".decode(options.encoding, "replace") == "\n":
            remedy = _remedy(file, options)
            yield from iterate_raw_lines(stream, file.name, options.encoding, remedy, checks_chunks)
        else:  # UTF-16 and UTF-32: a byte 10 may be a part of any character
            lines = iterate_wide_lines(stream, file.name, options.encoding, _remedy(file, options))
            for number, line in enumerate(lines, 1):
                yield checked_line(line, f"{file.name}, line", number)


def _iterate_chunked(file: TextFile, options: TextOptions) -> Iterator[str]:
    """Yields the lines of a text file that may be one line; ``\\r`` alone ends a line too."""
    with file.open() as stream:
        _check_head(stream, file, options)
        chunks = decode_chunks(stream, file.name, options.encoding, _remedy(file, options))
        for number, line in enumerate(split_chunks(chunks), 1):
            yield checked_line(line, f"{file.name}, line", number)


def _remedy(file: TextFile, options: TextOptions) -> Remedy:
    """Returns how the user can say which encoding a file has."""
    is_plain = not (file.member or file.compression)
    return Remedy(options.encoding_setting, file.name if is_plain else "")


def _check_head(stream: BinaryIO, file: TextFile, options: TextOptions) -> None:
    """Refuses a file that is evidently not text, or text of another encoding than is set.

    Raises:
        CorpusError: it is.
    """
    assert isinstance(stream, io.BufferedReader)
    head = stream.peek(HEAD_BYTES)[:SAMPLE_BYTES]
    remedy = _remedy(file, options)
    what = name_binary(head[:HEAD_BYTES], remedy, options.encoding)
    if what is None and not is_utf8(options.encoding) and looks_like_utf8(head):
        what = f"UTF-8, not {options.encoding}; {remedy.use('utf-8')}"
    if what is not None:
        raise CorpusError(f"{file.prefix}{file.name} is {what}")


def iterate_column_lines(batches: Iterable[Array], where: str) -> Iterator[str]:
    """Yields the lines of a column of strings; each row is split by `split_row`.

    Args:
        batches: the column, in pieces.
        where: the file or data set, for the message.

    Raises:
        CorpusError: a row is not UTF-8, or has too many characters without white space.
    """
    for row, text in enumerate(iterate_column(batches, where), 1):
        for line in split_row(text):
            yield checked_line(line, f"{where}, row", row)


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
    return iterate_raw_lines(stream, name, "utf-8", Remedy(), checks_head=True)
