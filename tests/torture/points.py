"""At the n-th system call that writes, the process dies or the disk becomes full.

The calls are replaced in a forked process only.
"""

import builtins
import errno
import io
import mmap
import os
import signal
from collections.abc import Callable
from typing import Any

CALLS = ("fsync", "replace", "rename", "link", "mkdir", "unlink", "remove", "rmdir")
POSSIBLE_ON_A_FULL_DISK = ("unlink", "remove", "rmdir")


class Points:
    """Counts the calls that write, and acts at one of them.

    Args:
        at: number of that call, from 1; 0 only counts.
        act: ``die``: killed before the call; ``tear``: killed in the middle of it; ``fill``: it and
            all later calls fail; ``fail``: it alone fails.
    """

    def __init__(self, at: int = 0, act: str = "die") -> None:
        self.at, self.act, self._count = at, act, mmap.mmap(-1, 8)

    @property
    def count(self) -> int:
        """Calls so far; the process that counts and its parent share the number."""
        return int.from_bytes(self._count[:], "little")

    def install(self) -> "Points":
        """Replaces the calls in this process permanently."""
        for name in CALLS:
            setattr(os, name, self._around(name, getattr(os, name)))
        opened = builtins.open

        def open_for_writing(file: Any, mode: str = "r", *args: Any, **kwargs: Any) -> Any:
            if not set(mode) & set("wxa+"):
                return opened(file, mode, *args, **kwargs)
            self.reach("open")
            return File(opened(file, mode, *args, **kwargs), self)

        builtins.open = io.open = open_for_writing
        return self

    def reach(self, name: str, tear: Callable[[], object] = lambda: None) -> None:
        """Is called before a call; ``tear`` does half of it."""
        count = self.count + 1
        self._count[:] = count.to_bytes(8, "little")
        if count < self.at or not self.at:
            return
        if self.act in ("die", "tear"):
            if self.act == "tear":
                tear()
            os.kill(os.getpid(), signal.SIGKILL)
        if (self.act == "fill" or count == self.at) and name not in POSSIBLE_ON_A_FULL_DISK:
            tear()
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def _around(self, name: str, call: Callable) -> Callable:
        def reached(*args: Any, **kwargs: Any) -> Any:
            self.reach(name)
            return call(*args, **kwargs)

        return reached


class File:
    """An open file without a buffer: every write is a system call."""

    def __init__(self, file: Any, points: Points) -> None:
        self._file, self._points = file, points

    def write(self, data: Any) -> int:
        """Writes, unless the process dies or the disk is full."""
        half = (
            memoryview(data)[: memoryview(data).nbytes // 2]
            if not isinstance(data, str)
            else data[: len(data) // 2]
        )

        def tear() -> None:
            self._file.write(half)
            self._file.flush()

        self._points.reach("write", tear)
        written = self._file.write(data)
        self._file.flush()
        return written

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def __enter__(self) -> "File":
        self._file.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self._file.__exit__(*error)

    def __iter__(self) -> Any:
        return iter(self._file)
