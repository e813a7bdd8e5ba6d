"""Files that are either the old one or the new one, whole, whatever happens in between."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from lstm_lm.errors import DiskError

Content = str | bytes | Callable[[BinaryIO], object]


@contextmanager
def refusals_named(path: Path) -> Iterator[None]:
    """Says in one line which path the system refused to write or to remove, and why.

    Raises:
        DiskError: in place of an `OSError`.
    """
    try:
        yield
    except OSError as error:
        raise DiskError(
            f"{path}: could not be written ({error.strerror or error}); what was saved before is "
            "untouched: free some space, or choose another directory"
        ) from error


def make_folder(folder: Path) -> None:
    """Makes a directory and those above it, where they are missing.

    Raises:
        DiskError: if that is refused.
    """
    with refusals_named(folder):
        folder.mkdir(parents=True, exist_ok=True)


def write_atomically(path: Path, content: Content) -> None:
    """Writes a file under a temporary name in its own directory, fsyncs it, and renames it into place.

    Args:
        path: the file; its directory must exist.
        content: text (written as UTF-8), bytes, or a function that writes to the binary file it is given.

    Raises:
        DiskError: if the disk is full or refuses; the file that was there before is untouched.
    """
    write_together({Path(path): content})


def write_together(contents: Mapping[Path, Content]) -> None:
    """Writes files that belong together; none is replaced before all of them are on the disk.

    Args:
        contents: each file and what goes into it, as in `write_atomically`.

    Raises:
        DiskError: if the disk is full or refuses; the files that were there before are untouched.
    """
    temporaries: dict[Path, Path] = {}
    try:
        for path, content in contents.items():
            temporaries[path] = temporary_beside(path)
            with refusals_named(path), open(temporaries[path], "xb") as file:
                if callable(content):
                    content(file)
                else:
                    file.write(content.encode() if isinstance(content, str) else content)
                file.flush()
                os.fsync(file.fileno())
        for path, temporary in temporaries.items():
            with refusals_named(path):
                os.replace(temporary, path)
        for path in {path.parent: path for path in contents}.values():
            with refusals_named(path):
                sync_directory(path.parent)
    finally:
        for path, temporary in temporaries.items():
            with refusals_named(path):
                temporary.unlink(missing_ok=True)


def temporary_beside(path: Path) -> Path:
    """A name that nobody else uses, on the same disk, which `remove_leftovers` knows."""
    return path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")


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
