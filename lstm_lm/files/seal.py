"""A checksum inside the very file that it is of, so that one rename replaces both.

The checksum stands after the word ``checksum``, near the file's beginning, and is that of all the file's bytes, with
zeros where it stands itself: SHA-256, its first 128 bits. It tells damage, not malice: whoever writes a file can
seal it.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from typing import BinaryIO

UNSEALED = "0" * 32
_SEAL = re.compile(rb'checksum[\\": ]+([0-9a-f]{32})')
_BLOCK = 1 << 20


def digest(content: bytes) -> str:
    """The checksum of bytes, 32 hexadecimal digits."""
    return _digits(hashlib.sha256(content))


def sealed(content: bytes) -> bytes:
    """Returns content that holds ``checksum`` and `UNSEALED`, with its checksum there instead."""
    start, end = _place(content)
    return content[:start] + digest(content).encode() + content[end:]


def write_sealed(file: BinaryIO, parts: Iterable[bytes]) -> None:
    """Writes parts, the first of which holds ``checksum`` and `UNSEALED`, and then their checksum in its place."""
    checksum, place = hashlib.sha256(), None
    for part in parts:
        if place is None:
            place, _ = _place(part)
        checksum.update(part)
        file.write(part)
    file.seek(place)
    file.write(_digits(checksum).encode())


def is_intact(file: BinaryIO) -> bool:
    """Whether a file, open at its beginning, has a checksum and it is right; memory is constant."""
    block = file.read(_BLOCK)
    seal = _SEAL.search(block)
    if seal is None:
        return False
    checksum = hashlib.sha256(block[: seal.start(1)] + UNSEALED.encode() + block[seal.end(1) :])
    while block := file.read(_BLOCK):
        checksum.update(block)
    return _digits(checksum).encode() == seal[1]


def _place(content: bytes) -> tuple[int, int]:
    seal = _SEAL.search(content)
    assert seal is not None and seal[1] == UNSEALED.encode(), "no place for a checksum"
    return seal.span(1)


def _digits(checksum: hashlib._Hash) -> str:
    return checksum.hexdigest()[: len(UNSEALED)]
