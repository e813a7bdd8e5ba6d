"""Long work on cores that other programs use, too."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

import torch

THREADS = Path("/proc/self/task")  # Linux only
SECONDS_BETWEEN_LOOKS = 1.0
# Seconds that threads wait for a core, per second, summed over the threads. Alone, a process waits
# for 0.01 or so; beside a program that keeps one of two cores busy, for 0.3 or more.
MUCH_WAITING = 0.1
ENOUGH_NUMBERS = 2**20  # an operator on so many uses all threads
NOTICE = "other programs use these cores, too, so this takes longer; the results are the same"


class SharedCores:
    """While entered, threads that wait for each other sleep early if others use the cores.

    The threads of an operator wait for the last of them. For some milliseconds they wait by
    spinning, which is the fastest way if every thread has a core for itself. Otherwise a thread
    that spins may hold the core that the last thread needs: a training step then takes 2 to 50
    times as long.

    libgomp, the OpenMP library of PyTorch on Linux, spins for some microseconds only while the
    process has more OpenMP threads than cores. So a thread of this object looks once a second
    whether the process waits for cores. If so, it keeps a second team of OpenMP threads, which
    sleep. The number of threads that compute stays the same, and so do the results, bit for bit.

    Does nothing on other systems than Linux, with one thread, on an accelerator, or if it is
    entered inside another one.

    Args:
        device: where the work is done.
        report: receives one line when the cores are found to be shared for the first time; it is
            called in another thread.
    """

    _in_use = threading.Lock()  # two watchers would each see the other's team

    def __init__(
        self, device: torch.device, report: Callable[[str], None] = lambda line: None
    ) -> None:
        self._report, self._device = report, device
        self._watcher: threading.Thread | None = None
        self._team: threading.Thread | None = None
        self._left, self._released = threading.Event(), threading.Event()

    @property
    def are_shared(self) -> bool:
        """Whether waiting threads sleep early now."""
        return self._team is not None

    def __enter__(self) -> SharedCores:
        needed = self._device.type == "cpu" and torch.get_num_threads() > 1 and THREADS.is_dir()
        if needed and self._in_use.acquire(blocking=False):
            self._watcher = threading.Thread(target=self._watch, name="shared cores", daemon=True)
            self._watcher.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._watcher is not None:
            self._left.set()
            self._watcher.join()
            self._in_use.release()

    def _watch(self) -> None:
        looked_at, waited, has_reported = time.monotonic(), waiting_seconds(), False
        while not self._left.wait(SECONDS_BETWEEN_LOOKS):
            now, waited_now = time.monotonic(), waiting_seconds()
            # It is less than before if a thread has ended.
            share = max(0.0, waited_now - waited) / (now - looked_at)
            looked_at, waited = now, waited_now
            if share > MUCH_WAITING and not self.are_shared:
                self._keep_second_team()
                if not has_reported:
                    with contextlib.suppress(OSError, ValueError):  # nobody reads any more
                        self._report(NOTICE)
                    has_reported = True
            elif share <= MUCH_WAITING and self.are_shared:
                self._release()
        self._release()

    def _keep_second_team(self) -> None:
        is_ready, self._released = threading.Event(), threading.Event()

        def keep() -> None:
            torch.zeros(ENOUGH_NUMBERS).add_(1)
            is_ready.set()
            self._released.wait()

        self._team = threading.Thread(target=keep, name="second OpenMP team", daemon=True)
        self._team.start()
        is_ready.wait()

    def _release(self) -> None:
        if self._team is not None:
            self._released.set()
            self._team.join()
            self._team = None


def waiting_seconds() -> float:
    """The seconds that the threads of this process have waited for a core since they began.

    Threads that have ended do not count. 0 if the system does not report it.
    """
    nanoseconds = 0
    for thread in THREADS.glob("*/schedstat"):
        try:
            nanoseconds += int(thread.read_text("ascii").split()[1])
        except (OSError, IndexError, ValueError):  # it has just ended; or a kernel without it
            continue
    return nanoseconds / 1e9
