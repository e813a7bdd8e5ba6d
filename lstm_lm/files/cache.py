"""A cache on disk: work that is done once, such as encoding a corpus, and kept for the next run.

An entry is a folder named after a hash of everything that its content depends on. It holds one
content file and meta.json: the content's size and checksum, what the writer adds, and a checksum of
its own.

An entry is written under a temporary name and then renamed. So a kill never leaves half an entry,
and two processes that do the same work at the same time do not disturb each other. A damaged entry
counts as missing, and is written again.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import secrets
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from lstm_lm.errors import DiskError
from lstm_lm.files.atomic import disk_errors, is_full, sync_directory
from lstm_lm.files.private import (
    check_no_tilde,
    expand_home,
    folder_without_home,
    has_home,
)
from lstm_lm.files.seal import UNSEALED, digest, digest_of_files, is_intact, sealed

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

FORMAT_VERSION = 3  # part of every entry's name, so entries of other versions are never found

_META = "meta.json"
_RENAME_ATTEMPTS = 3
_ABANDONED_SECONDS = 24 * 3600
_ENTRY_NAME = re.compile("([a-z]+)-[0-9a-f]{32,64}")
# of this version, and of those that had the names of host and process in it
_TEMPORARY_NAME = re.compile(r"[a-z]+-[0-9a-f]{32,64}\..*[0-9a-f]{8}(\.[0-9])?\.tmp")


def default_cache_dir() -> Path:
    """Returns `$LSTM_LM_CACHE`, or `~/.cache/lstm_lm`.

    A user without a home folder has one among the temporary folders.

    Raises:
        DiskError: this user has no home folder, and others use that one.
    """
    given = os.environ.get("LSTM_LM_CACHE")
    if given or has_home():
        return expand_home(given or "~/.cache/lstm_lm")
    return folder_without_home("lstm_lm")


def cache_folder(cache_dir: str | Path | None = None) -> Path:
    """Returns the folder of a cache.

    Args:
        cache_dir: the folder; a leading ~ is the home folder. None for the default.
    """
    return expand_home(cache_dir) if cache_dir else default_cache_dir()


def entry_folder(cache_dir: str | Path | None, kind: str, *parts: Any) -> Path:
    """Returns the folder of an entry, whether it exists or not.

    Args:
        cache_dir: the cache's folder; None for the default.
        kind: a word for people who look into the cache, such as ``ids``.
        parts: strings and numbers that the content depends on.
    """
    key = digest(repr((FORMAT_VERSION, kind, *parts)).encode("utf-8"))
    return cache_folder(cache_dir) / f"{kind}-{key}"


def read_entry(folder: Path, name: str) -> dict[str, Any] | None:
    """Returns the meta data of an entry, or None if the entry is missing or damaged.

    Args:
        folder: the entry.
        name: of its content file. All of the file is read, to compare its checksum.
    """
    try:
        text = (folder / _META).read_bytes()
        meta = json.loads(text)
        intact = (
            is_intact(io.BytesIO(text))
            and meta["bytes"] == (folder / name).stat().st_size
            and meta["content_checksum"] == digest_of_files(folder / name)
        )
        if intact:
            with contextlib.suppress(OSError):  # a cache that cannot be written to
                os.utime(folder / _META)  # its time says when the entry was last used
        return meta if intact else None
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None


def write_entry(
    folder: Path, name: str, write: Callable[[BinaryIO], dict[str, Any]]
) -> dict[str, Any]:
    """Writes an entry, unless another process has written it in the meantime.

    Args:
        folder: the entry.
        name: of its content file.
        write: writes the content to the file that it is given, and returns what to add to
            meta.json.

    Returns:
        The meta data.

    Raises:
        DiskError: the disk is full or refuses; nothing is left behind.
    """
    cache = folder.parent
    check_cache(cache)
    temporary, lock = None, None
    try:
        _remove_abandoned(cache)
        temporary, lock = _make_temporary(folder)
        with (temporary / name).open("wb") as file:
            added = write(file)
            file.flush()
            os.fsync(file.fileno())
        meta = {
            "checksum": UNSEALED,
            "bytes": (temporary / name).stat().st_size,
            "content_checksum": digest_of_files(temporary / name),
            **added,
        }
        with (temporary / _META).open("wb") as file:
            file.write(sealed(json.dumps(meta).encode()))
            file.flush()
            os.fsync(file.fileno())
        sync_directory(temporary)
        _move_into_place(temporary, folder, name)
        sync_directory(cache)
    except OSError as error:
        raise _refused(cache, error) from error
    finally:
        if lock is not None:
            os.close(lock)
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)
    return meta


def check_cache(cache: Path) -> None:
    """Makes the folder of a cache, and checks that it can be written to, before any long work.

    Raises:
        DiskError: it cannot; the reason.
    """
    check_no_tilde(cache)
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=cache) as file:
            file.write(b"x")
    except OSError as error:
        raise _refused(cache, error) from error


def _refused(cache: Path, error: OSError) -> DiskError:
    remedy = "free some space there" if is_full(error) else "make it writable"
    return DiskError(
        f"corpus.cache_dir: the encoded corpus cannot be written to {cache} "
        f"({error.strerror or error}); "
        f"{remedy}, or set corpus.cache_dir or $LSTM_LM_CACHE to another folder"
    )


@dataclass(frozen=True)
class CacheEntry:
    """An entry of a cache.

    Attributes:
        path: its folder.
        kind: ``ids``, an encoded split or file; ``vocabulary``; ``stories``, the text of a split.
        bytes: of its files.
        last_used: Unix time in seconds.
    """

    path: Path
    kind: str
    bytes: int
    last_used: float


def list_entries(cache_dir: str | Path | None = None) -> list[CacheEntry]:
    """Returns the entries of a cache, also of other versions; the last used one comes first.

    A folder is an entry if it has the name of one, and meta.json and at most one other file in it.
    Everything else in the cache's folder was made by others, and is not listed.

    Args:
        cache_dir: the cache's folder; None for the default.
    """
    cache = cache_folder(cache_dir)
    folders = list(cache.iterdir()) if cache.is_dir() else []
    entries = [entry for folder in folders if (entry := _entry_in(folder))]
    return sorted(entries, key=_last_used, reverse=True)


def _last_used(entry: CacheEntry) -> float:
    return entry.last_used


def _entry_in(folder: Path) -> CacheEntry | None:
    """The entry that a folder is; None if it is something else, or vanishes."""
    name = _ENTRY_NAME.fullmatch(folder.name)
    try:
        if name is None or folder.is_symlink() or not folder.is_dir():
            return None
        files = list(folder.iterdir())
        if len(files) > 2 or not all(file.is_file() and not file.is_symlink() for file in files):
            return None
        size = sum(file.stat().st_size for file in files)
        return CacheEntry(folder, name[1], size, (folder / _META).stat().st_mtime)
    except OSError:
        return None


def remove_entries(entries: Iterable[CacheEntry]) -> None:
    """Removes entries, and what killed processes left of unfinished ones in the same cache.

    A process that is using an entry at this moment is not disturbed; another one that needs it
    makes it again.

    Raises:
        DiskError: the system refused.
    """
    for entry in entries:
        with disk_errors(entry.path):
            # renamed first, so that no reader sees it half removed; locked, so that only one does
            removed, lock = _temporary_name(entry.path), _lock(entry.path)
            os.rename(entry.path, removed)
            shutil.rmtree(removed)
            if lock is not None:
                os.close(lock)
        _remove_abandoned(entry.path.parent)


def _temporary_name(folder: Path) -> Path:
    """A name beside an entry's that nobody has."""
    return folder.with_name(f"{folder.name}.{secrets.token_hex(4)}.tmp")


def _make_temporary(folder: Path) -> tuple[Path, int | None]:
    """Makes a temporary folder beside an entry, and locks it as long as this process lives.

    A lock is seen by processes in other containers, to which a process id says nothing. Another
    process that comes between making and locking may remove the folder; then another one is made.

    Returns:
        The folder, and the descriptor that holds its lock; None where there are no locks.
    """
    while True:
        temporary = _temporary_name(folder)
        temporary.mkdir()
        with contextlib.suppress(FileNotFoundError, BlockingIOError):
            lock = _lock(temporary)
            if temporary.exists():
                return temporary, lock
            if lock is not None:
                os.close(lock)


def _lock(folder: Path) -> int | None:
    """Locks a folder; returns the descriptor that holds the lock; None where there are no locks.

    Raises:
        BlockingIOError: another process has locked it.
    """
    if not fcntl:
        return None
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise
    except OSError:  # a file system without locks
        os.close(descriptor)
        return None
    return descriptor


def _move_into_place(temporary: Path, folder: Path, name: str) -> None:
    """Renames a finished entry; an intact entry that another process wrote first is kept."""
    for attempt in range(_RENAME_ATTEMPTS):
        try:
            os.rename(temporary, folder)
            return
        except OSError:
            if read_entry(folder, name) is not None:
                return
            if attempt == _RENAME_ATTEMPTS - 1 or not folder.exists():
                raise
            # a damaged entry has the name: it is moved away, so that no reader sees it half removed
            damaged = temporary.with_suffix(f".{attempt}.tmp")
            os.rename(folder, damaged)
            shutil.rmtree(damaged, ignore_errors=True)


def _remove_abandoned(cache: Path) -> None:
    """Removes the temporary folders of processes that were killed."""
    for folder in cache.glob("*.tmp"):
        if _TEMPORARY_NAME.fullmatch(folder.name) and _is_abandoned(folder):
            shutil.rmtree(folder, ignore_errors=True)


def _is_abandoned(folder: Path) -> bool:
    """Whether the process that wrote a temporary folder has ended, so that it holds no lock.

    Where there are no locks, the age decides.
    """
    try:
        if folder.is_symlink():
            return False
        lock = _lock(folder)
        if lock is None:
            return time.time() - folder.stat().st_mtime > _ABANDONED_SECONDS
    except OSError:  # locked, or removed
        return False
    os.close(lock)
    return True
