"""Atomic writes: a kill or a full disk leaves the old file or the new one, never a part of it."""

from __future__ import annotations

import errno
import glob
import os
import re
import secrets
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from lstm_lm.errors import DiskError
from lstm_lm.files.private import check_no_tilde

_TEMPORARY = re.compile(r"\..+\.[0-9a-f]{8}\.tmp")  # the names of `temporary_beside`
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_NOT_ALLOWED = (errno.EACCES, errno.EPERM, errno.EROFS)
Content = str | bytes | Callable[[BinaryIO], object]


@contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Turns an `OSError` inside the ``with`` block into a `DiskError` of one line.

    Args:
        path: the file or folder that is written or removed, for the message.

    Raises:
        DiskError: the system refused to write or to remove the path.
    """
    try:
        yield
    except OSError as error:
        remedy = "make it writable, or " if error.errno in _NOT_ALLOWED else ""
        remedy = "free some space, or " if is_full(error) else remedy
        raise DiskError(
            f"{path}: could not be written ({error.strerror or error}); files saved before are "
            f"unchanged; {remedy}choose another directory"
        ) from error


def is_full(error: OSError) -> bool:
    """Whether the system has refused to write because there is no space left."""
    return error.errno in _FULL


def make_folder(folder: Path) -> None:
    """Creates a folder and its parents if they do not exist.

    Raises:
        DiskError: the system refused.
    """
    check_no_tilde(folder)
    with disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)


def write_atomically(path: Path, content: Content) -> None:
    """Replaces a file in one step.

    The content goes to a temporary file in the same folder, which is flushed to the disk (fsync)
    and then renamed.

    Args:
        path: the file; its folder must exist.
        content: text (written as UTF-8), bytes, or a function that writes to the binary file that
            it is given.

    Raises:
        DiskError: the disk is full or refuses; an existing file is unchanged.
    """
    write_together({Path(path): content})


@contextmanager
def replaced(path: Path) -> Iterator[BinaryIO]:
    """Yields a new file, which replaces another one if the ``with`` block ends without an error.

    Args:
        path: the file that is replaced; its folder must exist.

    Raises:
        DiskError: the disk is full or refuses; an existing file is unchanged.
    """
    temporary = temporary_beside(path)
    _check_replaceable(path)
    with disk_errors(path):
        file = open(temporary, "xb")
    try:
        try:
            yield file
            with disk_errors(path):
                file.flush()
                os.fsync(file.fileno())
        finally:
            with suppress(OSError):  # what could not be flushed is reported already
                file.close()
        with disk_errors(path):
            os.replace(temporary, path)
            sync_directory(path.parent)
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def open_to_append(path: Path) -> BinaryIO:
    """Opens a file for appending; a symbolic link is not followed.

    Raises:
        OSError: the system refused, or it is a link.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | getattr(os, "O_NOFOLLOW", 0)
    return os.fdopen(os.open(path, flags, 0o666), "ab")


def _check_replaceable(path: Path) -> None:
    """Checks that a rename would replace a file or a link, never a device, a pipe or a folder.

    Raises:
        DiskError: it would.
    """
    with suppress(OSError):  # nothing is there, or writing will say what is wrong
        kind = os.lstat(path).st_mode
        if not (stat.S_ISREG(kind) or stat.S_ISLNK(kind)):
            raise DiskError(f"{path}: is not a regular file; nothing was written")


def write_together(contents: Mapping[Path, Content]) -> None:
    """Replaces several files that belong together, once the new content of all is on the disk.

    Args:
        contents: path -> new content, as in `write_atomically`.

    Raises:
        DiskError: the disk is full or refuses. If this happens while the content is written, all
            existing files are unchanged.
    """
    temporaries: dict[Path, Path] = {}
    try:
        for path, content in contents.items():
            _check_replaceable(path)
            temporaries[path] = temporary_beside(path)
            with disk_errors(path), open(temporaries[path], "xb") as file:
                if callable(content):
                    content(file)
                else:
                    file.write(content.encode() if isinstance(content, str) else content)
                file.flush()
                os.fsync(file.fileno())
        for path, temporary in temporaries.items():
            with disk_errors(path):
                os.replace(temporary, path)
        for folder in {path.parent for path in contents}:
            with disk_errors(folder):
                sync_directory(folder)
    finally:
        for path, temporary in temporaries.items():
            with disk_errors(path):
                temporary.unlink(missing_ok=True)


def temporary_beside(path: Path) -> Path:
    """Returns an unused name in the same folder, which `remove_leftovers` recognises."""
    return path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")


def remove_leftovers(folder: Path, names: Iterable[str]) -> None:
    """Removes the temporary files that a killed process left behind.

    Args:
        folder: where to look.
        names: of the files that were being written. No other process may be writing them now.

    Raises:
        DiskError: the system refused.
    """
    with disk_errors(folder):
        for name in names:
            for path in folder.glob(f".{glob.escape(name)}.*.tmp"):
                if _TEMPORARY.fullmatch(path.name):
                    path.unlink(missing_ok=True)


def sync_directory(folder: Path) -> None:
    """Flushes the renames in a folder to the disk, to survive a power cut; only on POSIX."""
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
