"""Folders that are there whole or not at all: work done once, kept on disk under a name made from what it depends on.

An entry is a folder with one file of contents and a meta.json: size and checksum of the contents, what the maker adds,
and a checksum of its own. It is written under a temporary name beside its place, fsynced and renamed, so that a kill or
a second process doing the same work at the same time never leaves half an entry; one that is damaged later counts as
absent.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import secrets
import shutil
import socket
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

from lstm_lm.errors import DiskError
from lstm_lm.files.atomic import sync_directory
from lstm_lm.files.seal import UNSEALED, is_intact, sealed

FORMAT_VERSION = 2

_META = "meta.json"


def default_cache_dir() -> Path:
    """Returns `$LSTM_LM_CACHE`, or `~/.cache/lstm_lm`."""
    return Path(os.path.expanduser(os.environ.get("LSTM_LM_CACHE") or "~/.cache/lstm_lm"))


def entry_folder(cache_dir: str | Path | None, kind: str, *parts: Any) -> Path:
    """Returns where an entry lies: its name is a hash of all it depends on.

    Args:
        cache_dir: the cache, None for the default.
        kind: what it is, for people who look into the cache.
        parts: strings and numbers that it depends on.
    """
    key = hashlib.blake2b(
        repr((FORMAT_VERSION, kind, *parts)).encode("utf-8"), digest_size=20
    ).hexdigest()
    cache = Path(os.path.expanduser(cache_dir)) if cache_dir else default_cache_dir()
    return cache / f"{kind}-{key}"


def read_entry(folder: Path, name: str) -> dict[str, Any] | None:
    """Returns an entry's meta data, or None if there is no entry, or it is not what was written.

    Args:
        folder: the entry.
        name: of its file of contents, whose size and checksum are compared.
    """
    try:
        text = (folder / _META).read_bytes()
        meta = json.loads(text)
        intact = is_intact(io.BytesIO(text)) and meta["bytes"] == (folder / name).stat().st_size
        return meta if intact and meta["crc32"] == _crc32(folder / name) else None
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None


def write_entry(
    folder: Path, name: str, write: Callable[[BinaryIO], dict[str, Any]]
) -> dict[str, Any]:
    """Makes an entry, unless another process has made it by the time this one is done.

    Args:
        folder: the entry.
        name: of its file of contents.
        write: writes the contents and returns what meta.json shall hold beside size and checksum.

    Returns:
        The meta data.

    Raises:
        DiskError: the disk is full or refuses; nothing is left behind.
    """
    cache = folder.parent
    temporary = (
        cache / f"{folder.name}.{socket.gethostname()}.{os.getpid()}.{secrets.token_hex(4)}.tmp"
    )
    try:
        cache.mkdir(parents=True, exist_ok=True)
        _remove_abandoned(cache)
        temporary.mkdir()
        with (temporary / name).open("wb") as file:
            meta = write(file)
            file.flush()
            os.fsync(file.fileno())
        meta = {
            "checksum": UNSEALED,
            "bytes": (temporary / name).stat().st_size,
            "crc32": _crc32(temporary / name),
            **meta,
        }
        with (temporary / _META).open("wb") as file:
            file.write(sealed(json.dumps(meta).encode()))
            file.flush()
            os.fsync(file.fileno())
        sync_directory(temporary)
        _move_into_place(temporary, folder, name)
        sync_directory(cache)
    except OSError as error:
        raise DiskError(
            f"corpus.cache_dir: the encoded corpus cannot be written to {cache} "
            f"({error.strerror or error}); free some space there, or set corpus.cache_dir or "
            "$LSTM_LM_CACHE to another folder"
        ) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return meta


def _move_into_place(temporary: Path, folder: Path, name: str) -> None:
    for attempt in range(3):
        try:
            os.rename(temporary, folder)
            return
        except OSError:
            # a whole entry was made in the meantime, which is as good as ours; or a damaged one is in the way
            if read_entry(folder, name) is not None:
                return
            if attempt == 2 or not folder.exists():
                raise
            damaged = temporary.with_suffix(f".{attempt}.tmp")
            os.rename(folder, damaged)
            shutil.rmtree(damaged, ignore_errors=True)


def _remove_abandoned(cache: Path) -> None:
    """Removes temporary folders whose process, on this machine, was killed."""
    for folder in cache.glob(f"*.{socket.gethostname()}.*.tmp"):
        process = (
            folder.name.removesuffix(".tmp").split(f".{socket.gethostname()}.")[-1].split(".")[0]
        )
        try:
            os.kill(int(process), 0)
        except ProcessLookupError:
            shutil.rmtree(folder, ignore_errors=True)
        except (OSError, ValueError):
            continue


def _crc32(path: Path) -> int:
    checksum = 0
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            checksum = zlib.crc32(block, checksum)
    return checksum
