"""Files that are either the old one or the new one, whole, whatever happens in between."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from lstm_lm.errors import DiskError


@contextmanager
def refusals_named(path: Path) -> Iterator[None]:
    """Says in one line which path the system refused to write or to remove, and why.

    Raises:
        DiskError: in place of an `OSError`.
    """
    try:
        yield
    except OSError as error:
        raise DiskError(f"{path}: could not be written ({error.strerror or error}); what was saved before is "
                        "untouched: free some space, or choose another directory") from error


def make_folder(folder: Path) -> None:
    """Makes a directory and those above it, where they are missing.

    Raises:
        DiskError: if that is refused.
    """
    with refusals_named(folder):
        folder.mkdir(parents=True, exist_ok=True)


def write_atomically(path: Path, content: str | bytes | Callable[[Path], None]) -> None:
    """Writes a file under a temporary name in its own directory, fsyncs it, and renames it into place.

    Args:
        path: the file; its directory must exist.
        content: text (written as UTF-8), bytes, or a function that writes the file whose path it is given.

    Raises:
        DiskError: if the disk is full or refuses; the file that was there before is untouched.
    """
    path = Path(path)
    with refusals_named(path):
        descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
        os.close(descriptor)
        temporary = Path(name)
        try:
            if callable(content):
                content(temporary)
            else:
                temporary.write_bytes(content.encode() if isinstance(content, str) else content)
            with open(temporary, "rb+") as file:
                os.fsync(file.fileno())
            os.chmod(temporary, 0o666 & ~_umask())
            os.replace(temporary, path)
            sync_directory(path.parent)
        finally:
            temporary.unlink(missing_ok=True)


def remove_leftovers(folder: Path, names: Iterable[str]) -> None:
    """Removes what a kill left of writing these files; nobody else may be writing them.

    Raises:
        DiskError: if that is refused.
    """
    with refusals_named(folder):
        for name in names:
            for path in folder.glob(f".{name}.*.tmp"):
                path.unlink(missing_ok=True)


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
