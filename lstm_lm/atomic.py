"""Files that are either the old one or the new one, whole, whatever happens in between."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path

from lstm_lm.errors import DiskError


def write_atomically(path: Path, content: str | bytes | Callable[[Path], None]) -> None:
    """Writes a file under a temporary name in its own directory, fsyncs it, and renames it into place.

    Args:
        path: the file; its directory must exist.
        content: text (written as UTF-8), bytes, or a function that writes the file whose path it is given.

    Raises:
        DiskError: if the disk is full or refuses; the file that was there before is untouched.
    """
    path = Path(path)
    temporary = None
    try:
        descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
        os.close(descriptor)
        temporary = Path(name)
        if callable(content):
            content(temporary)
        else:
            temporary.write_bytes(content.encode() if isinstance(content, str) else content)
        with open(temporary, "rb+") as file:
            os.fsync(file.fileno())
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, path)
        sync_directory(path.parent)
    except OSError as error:
        raise DiskError(f"{path}: could not be written ({error.strerror or error}); what was there before it is "
                        "untouched: free some space, or choose another directory") from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def sync_directory(folder: Path) -> None:
    """Makes renames in a directory last through a power cut, where the system can."""
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
