"""Checksums: of bytes, of files, and inside the very file that they belong to (its seal).

There is one kind: the first 128 bits of SHA-256, as 32 hexadecimal digits. It detects damage, not
forgery: anybody who writes a file can seal it.

A sealed file holds the word ``checksum`` near its beginning, followed by the checksum of all its
bytes, computed with zeros in the checksum's own place. One rename therefore replaces both the
content and its checksum.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO

Part = bytes | memoryview
UNSEALED = "0" * 32
_SEAL = re.compile(rb'checksum[\\": ]+([0-9a-f]{32})')
_BLOCK = 1 << 20  # bytes read at a time


def digest(content: bytes) -> str:
    """Returns the checksum of bytes: 32 hexadecimal digits."""
    return _digits(hashlib.sha256(content))


def digest_of_files(*paths: Path) -> str:
    """Returns the checksum of the files' contents, joined; memory use is constant.

    Raises:
        OSError: a file cannot be read.
    """
    checksum = hashlib.sha256()
    for path in paths:
        with path.open("rb") as file:
            while block := file.read(_BLOCK):
                checksum.update(block)
    return _digits(checksum)


def sealed(content: bytes) -> bytes:
    """Returns the content with its checksum in place of `UNSEALED`.

    Args:
        content: holds ``checksum`` followed by `UNSEALED`, such as ``{"checksum": "000..."``.
    """
    start, end = _find_unsealed(content)
    return content[:start] + digest(content).encode() + content[end:]


def write_sealed(file: BinaryIO, parts: Iterable[Part]) -> None:
    """Writes a sealed file part by part.

    Args:
        file: open for writing, empty and seekable.
        parts: the content; the first part holds ``checksum`` followed by `UNSEALED`.
    """
    checksum, start = hashlib.sha256(), None
    for part in parts:
        if start is None:
            start, _ = _find_unsealed(part)
        checksum.update(part)
        file.write(part)
    assert start is not None, "nothing to seal"
    file.seek(start)
    file.write(_digits(checksum).encode())


def is_intact(file: BinaryIO) -> bool:
    """Returns whether a file holds a checksum and the checksum is right; memory use is constant.

    Args:
        file: open for reading, at its beginning.
    """
    block = file.read(_BLOCK)
    seal = _SEAL.search(block)
    if seal is None:
        return False
    checksum = hashlib.sha256(block[: seal.start(1)] + UNSEALED.encode() + block[seal.end(1) :])
    while block := file.read(_BLOCK):
        checksum.update(block)
    return _digits(checksum).encode() == seal[1]


def _find_unsealed(content: Part) -> tuple[int, int]:
    """Returns where `UNSEALED` starts and ends."""
    seal = _SEAL.search(content)
    assert seal is not None and seal[1] == UNSEALED.encode(), "no place for a checksum"
    return seal.span(1)


def _digits(checksum: hashlib._Hash) -> str:
    return checksum.hexdigest()[: len(UNSEALED)]
