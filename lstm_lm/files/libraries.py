"""Compiled libraries that are kept: loaded only if this user wrote them, and all of them is there.

Loading a library runs its code. So one that others could have written is not loaded, and neither is
one that is cut off: reading what is missing of a mapped file kills the process (SIGBUS). A checksum
is the last part of the file; the system's loader does not read it.
"""

from __future__ import annotations

import ctypes
import os
import stat
from pathlib import Path

from lstm_lm.files.atomic import write_atomically
from lstm_lm.files.private import is_own, make_own_folder
from lstm_lm.files.seal import UNSEALED, digest

_CHECKSUM_BYTES = len(UNSEALED)


def library_folder(extensions: Path) -> Path | None:
    """Makes a folder for libraries that no other user can write to.

    Args:
        extensions: the folder of all extensions; several users may share it.

    Returns:
        ``lstm_lm`` in it or, if that is another user's, one with this user's number; None if
        others can write to both.

    Raises:
        OSError: the system refused.
    """
    user = f"-{os.geteuid()}" if hasattr(os, "geteuid") else "-own"
    for name in ("lstm_lm", f"lstm_lm{user}"):
        folder = extensions / name
        if make_own_folder(folder):
            return folder
    return None


def load_library(path: Path) -> ctypes.CDLL | None:
    """Loads a library that `keep_library` wrote.

    Returns:
        The library; None if it is missing, cut off or changed, or others could have written it.

    Raises:
        OSError: the system cannot load it, for example from a folder that is mounted noexec.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0))
    except OSError:
        return None
    is_loaded = False
    try:
        with open(os.dup(descriptor), "rb") as file:
            content = file.read()
        found = os.fstat(descriptor)
        code, checksum = content[:-_CHECKSUM_BYTES], content[-_CHECKSUM_BYTES:]
        is_whole = stat.S_ISREG(found.st_mode) and digest(code).encode() == checksum
        if not (is_whole and is_own(found)):
            return None
        # By its descriptor, it is the file that was checked, whatever has its name by now. The
        # descriptor stays open: the loader takes two libraries of one name for the same.
        by_descriptor = f"/proc/self/fd/{descriptor}"
        name = by_descriptor if os.path.exists(by_descriptor) else str(path)
        library = ctypes.CDLL(name)
        is_loaded = True
        return library
    finally:
        if not is_loaded:
            os.close(descriptor)


def keep_library(path: Path, code: bytes) -> None:
    """Writes a library and its checksum; only this user can read it.

    Raises:
        DiskError: it could not be written.
    """
    write_atomically(path, code + digest(code).encode())
    if hasattr(os, "geteuid"):
        os.chmod(path, 0o600)
