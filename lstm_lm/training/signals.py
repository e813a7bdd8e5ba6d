"""Ctrl-C and SIGTERM, so that a command leaves nothing half done, and a run ends saved."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from types import FrameType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing_extensions import Self


class StopRequested(Exception):
    """Raised by `StopSignals.check` where a run can be left at once."""


class _Signals:
    """Takes Ctrl-C and SIGTERM while entered; in any thread but the main one, which has them, it does nothing.

    Attributes:
        received: the first signal's number, or None.
    """

    def __init__(self) -> None:
        self.received: int | None = None
        self._before: dict[int, object] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._receive)
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _receive(self, number: int, frame: FrameType | None) -> None:
        raise NotImplementedError


class LeaveSignals(_Signals):
    """While entered, Ctrl-C and SIGTERM both raise `KeyboardInterrupt`, so that what is being written is cleaned up."""

    def _receive(self, number: int, frame: FrameType | None) -> None:
        self.received = number
        raise KeyboardInterrupt


class StopSignals(_Signals):
    """While entered, the first Ctrl-C or SIGTERM is remembered; a second one leaves the process at once."""

    def _receive(self, number: int, frame: FrameType | None) -> None:
        if self.received is not None:
            os._exit(128 + number)
        self.received = number
        with contextlib.suppress(
            OSError
        ):  # not print: the signal may have come in the middle of another one
            os.write(2, b"\nstopping: saving the run first (once more to leave at once)\n")

    def check(self) -> None:
        """Raises `StopRequested` if a signal came."""
        if self.received is not None:
            raise StopRequested
