"""Bytes to lines of text.

A line ends at \\n or \\r\\n and nowhere else (not at a lone \\r, not at U+2028), so the number of
lines is what `wc -l` counts.
"""

from __future__ import annotations

import codecs
import io
from collections.abc import Iterator
from typing import BinaryIO, cast

from lstm_lm.corpus.encodings import (
    HEAD_BYTES,
    SAMPLE_BYTES,
    Remedy,
    explain_undecodable,
    is_utf8,
    name_binary,
)
from lstm_lm.errors import CorpusError

MAX_LINE_BYTES = 2**28  # a line is read whole
# Characters between white space. Splitting them into words takes about 60 bytes of memory for each.
MAX_CHUNK_LENGTH = 2**20
_DECODED_AT_A_TIME = 2**18  # bytes
_BOM = b"\xef\xbb\xbf"


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


def checked_line(line: str, where: str, number: int) -> str:
    """Returns a line, after checking that it has white space often enough.

    Args:
        line: of the text.
        where: the file and ``line`` or ``row``, for the message.
        number: of the line or row.

    Raises:
        CorpusError: more than `MAX_CHUNK_LENGTH` characters have no white space.
    """
    if len(line) > MAX_CHUNK_LENGTH and (column := long_chunk_column(line)):
        raise CorpusError(
            f"{where} {number}: from column {column} on, more than {MAX_CHUNK_LENGTH:,} characters "
            "without white space; check that this is text, and separate its words by spaces"
        )
    return line


def decode_chunks(stream: BinaryIO, name: str, encoding: str, remedy: Remedy) -> Iterator[str]:
    """Yields the decoded text of a file, some characters at a time.

    Args:
        stream: open for reading bytes.
        name: what a message calls it.
        encoding: any.
        remedy: how the user can say which encoding it has.

    Raises:
        CorpusError: the bytes do not fit the encoding.
    """
    decoder = codecs.getincrementaldecoder(without_mark(encoding))()
    read = 0
    while True:
        raw = stream.read(_DECODED_AT_A_TIME)
        try:
            yield decoder.decode(raw, final=not raw)
        except UnicodeDecodeError as error:
            place = read + error.start - (len(error.object) - len(raw))
            sample = bytes(error.object[error.start : error.start + SAMPLE_BYTES])
            raise CorpusError(
                f"{name}, byte {place:,}: not {encoding_title(encoding)} (byte "
                f"0x{error.object[error.start]:02x}); "
                + explain_undecodable(sample, encoding, remedy)
            ) from error
        if not raw:
            return
        read += len(raw)


def iterate_wide_lines(stream: BinaryIO, name: str, encoding: str, remedy: Remedy) -> Iterator[str]:
    """Yields the lines of a text in UTF-16 or UTF-32; see `decode_chunks` for the arguments.

    Raises:
        CorpusError: the bytes do not fit the encoding, or a line is too long.
    """
    rest = ""
    for chunk in decode_chunks(stream, name, encoding, remedy):
        *lines, rest = (rest + chunk).split("\n")
        for line in lines:
            yield line[:-1] if line.endswith("\r") else line
        if len(rest) > MAX_LINE_BYTES:
            raise CorpusError(
                f"{name}: a line is longer than {MAX_LINE_BYTES:,} characters; put its "
                "sentences or paragraphs on lines of their own"
            )
    if rest:
        yield rest


def without_mark(encoding: str) -> str:
    """Returns the encoding that leaves out a byte order mark."""
    return "utf-8-sig" if is_utf8(encoding) else encoding


def encoding_title(encoding: str) -> str:
    """Returns what a message calls an encoding."""
    return "UTF-8" if is_utf8(encoding) else encoding


def iterate_raw_lines(
    stream: BinaryIO,
    name: str,
    encoding: str,
    remedy: Remedy,
    checks_chunks: bool = True,
    checks_head: bool = False,
) -> Iterator[str]:
    """Yields the lines of text, decoded one by one.

    Args:
        stream: open for reading bytes.
        name: what a message calls it.
        encoding: one in which a byte 10 is always a line end.
        remedy: how the user can say which encoding it has.
        checks_chunks: whether to refuse too many characters without white space.
        checks_head: whether the first line may be something that is not text.

    Raises:
        CorpusError: a line is not in this encoding, is too long, or has too many characters without
            white space.
    """
    number = 0
    while raw := stream.readline(MAX_LINE_BYTES + 1):
        number += 1
        if len(raw) > MAX_LINE_BYTES:
            raise CorpusError(
                f"{name}, line {number}: longer than {MAX_LINE_BYTES:,} bytes; put its sentences "
                "or paragraphs on lines of their own"
            )
        what = name_binary(raw[:HEAD_BYTES], remedy, encoding) if checks_head else None
        if what is not None:
            raise CorpusError(f"{name}, line 1: is {what}")
        checks_head = False
        if raw.endswith(b"\r\n"):
            raw = raw[:-2]
        elif raw.endswith(b"\n"):
            raw = raw[:-1]
        if number == 1 and raw.startswith(_BOM) and is_utf8(encoding):
            raw = raw[len(_BOM) :]
        try:
            line = raw.decode(encoding)
        except UnicodeDecodeError as error:
            column = len(raw[: error.start].decode(encoding, "replace")) + 1
            following = cast(io.BufferedReader, stream).read1(SAMPLE_BYTES)
            sample = raw[max(0, error.start - 200) :] + b"\n" + following
            remedy_text = explain_undecodable(sample[:SAMPLE_BYTES], encoding, remedy)
            raise CorpusError(
                f"{name}, line {number}: not {encoding_title(encoding)} (byte "
                f"0x{raw[error.start]:02x} at column {column}); {remedy_text}"
            ) from error
        del raw  # so that a long line is not in memory three times
        if checks_chunks and len(line) > MAX_CHUNK_LENGTH:
            checked_line(line, f"{name}, line", number)
        yield line
