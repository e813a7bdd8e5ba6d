"""Fingerprints of texts: hashes that change when the text does."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from lstm_lm.errors import CorpusError
from lstm_lm.files.seal import digest, digest_of_files

# File systems round the time of a write, FAT to 2 seconds. Two writes closer than this may carry
# the same time, so a file that is younger may change without any sign of it.
_CLOCK_TICK_NS = 2_000_000_000


def fingerprint_of(*parts: Any) -> str:
    """Returns the hash of values: 32 hexadecimal digits.

    Args:
        parts: values with a complete ``repr``, such as strings, numbers and lists of them.
    """
    return digest(repr(parts).encode("utf-8"))


class FileDigests:
    """Checksums of files; a file is read again only if it may have changed since."""

    def __init__(self) -> None:
        self._known: dict[Path, tuple[tuple[int, ...], str]] = {}  # path -> (signature, checksum)

    def of(self, path: Path) -> str:
        """Returns the checksum of a file's bytes.

        Raises:
            CorpusError: the file cannot be read.
        """
        try:
            stat = path.stat()
            signature = (stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino)
            known_signature, checksum = self._known.get(path, ((), ""))
            if known_signature != signature:
                checksum = digest_of_files(path)
                age = time.time_ns() - max(stat.st_mtime_ns, stat.st_ctime_ns)
                if age > _CLOCK_TICK_NS:
                    self._known[path] = (signature, checksum)
        except OSError as error:
            raise CorpusError(f"cannot read {path}: {error.strerror}") from error
        return checksum
