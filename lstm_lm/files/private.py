"""What belongs to this user alone: folders, and files from which code is loaded."""

from __future__ import annotations

import os
import stat
import tempfile
from pathlib import Path

from lstm_lm.errors import DiskError

_OTHERS_CAN_WRITE = stat.S_IWGRP | stat.S_IWOTH


def expand_home(path: str | Path) -> Path:
    """Returns a path whose leading ``~`` is replaced by the home folder.

    Raises:
        DiskError: this user has no home folder that the system knows.
    """
    expanded = os.path.expanduser(path)
    check_no_tilde(Path(expanded))
    return Path(expanded)


def check_no_tilde(path: Path) -> None:
    """Checks that a path does not begin with a folder named ``~``, which nobody means.

    Raises:
        DiskError: it does.
    """
    first = path.parts[0] if path.parts else ""
    if first.startswith("~") and not os.path.lexists(first):
        raise DiskError(
            f"{path}: {first} stands for a home folder, but was not replaced by one, and no folder "
            "of this name is made; write the whole path"
        )


def has_home() -> bool:
    """Whether this user has a home folder.

    A user with an unknown id and without ``$HOME`` has none. In a container, that is often ``/``;
    users of services may have the name of a folder that does not exist.
    """
    home = os.path.expanduser("~")
    return os.path.isabs(home) and os.path.isdir(home) and os.path.dirname(home) != home


def is_own(found: os.stat_result) -> bool:
    """Whether a file or folder is this user's, and no other user can write to it.

    Always true on Windows, which has other rights.
    """
    if not hasattr(os, "geteuid"):
        return True
    return found.st_uid == os.geteuid() and not found.st_mode & _OTHERS_CAN_WRITE


def make_own_folder(folder: Path) -> bool:
    """Makes a folder that only this user can use; returns whether it is one.

    Raises:
        OSError: the system refused.
    """
    check_no_tilde(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    folder.mkdir(mode=0o700, exist_ok=True)
    return is_own(os.lstat(folder)) and not folder.is_symlink()


def folder_without_home(name: str) -> Path:
    """Returns a folder among the temporary ones, for a user without a home folder.

    Args:
        name: of what is kept in it.

    Raises:
        DiskError: another user has a folder of this name.
    """
    user = os.geteuid() if hasattr(os, "geteuid") else "user"
    folder = Path(tempfile.gettempdir()) / f"{name}-{user}"
    try:
        if make_own_folder(folder):
            return folder
        reason = "others can write to it"
    except OSError as error:
        reason = error.strerror or str(error)
    raise DiskError(
        f"{folder}: cannot be used ({reason}), and this user has no home folder; set HOME, or "
        "LSTM_LM_CACHE to a folder of your own"
    )
