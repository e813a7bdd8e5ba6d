"""Ctrl-C and SIGTERM: a command cleans up before it ends, and a training run is saved first."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import FrameType, ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from typing_extensions import Self


class StopRequested(Exception):
    """Raised by `StopSignals.check` at points where a run can be stopped."""


class _Signals:
    """Handles Ctrl-C (SIGINT) and SIGTERM while entered.

    Python allows this in the main thread only; in any other thread nothing is changed.

    Attributes:
        received: the number of the first signal; None if there was none.
    """

    def __init__(self) -> None:
        self.received: int | None = None
        self._before: dict[int, Any] = {}

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
    """While entered, Ctrl-C and SIGTERM raise `KeyboardInterrupt`, so that commands clean up.

    Attributes:
        has_failed: set it where the command ends with an error anyway: signals then do nothing.
    """

    has_failed = False

    def _receive(self, number: int, frame: FrameType | None) -> None:
        if self.has_failed:
            return
        self.received = number
        raise KeyboardInterrupt


class HeldSignals(_Signals):
    """While entered, signals wait; the first one is delivered at the end.

    For the import of torch: a signal in the middle of it would abort Python.
    """

    def __exit__(self, *error: object) -> None:
        super().__exit__(*error)
        if self.received is not None:
            signal.raise_signal(self.received)

    def _receive(self, number: int, frame: FrameType | None) -> None:
        self.received = self.received or number


@contextlib.contextmanager
def signals_held_during_import(name: str) -> Iterator[None]:
    """While entered, signals wait as long as a module is imported, wherever that happens.

    Args:
        name: of a top-level module, such as ``torch``.
    """
    finder = _HoldingFinder(name)
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)


class _HoldingFinder(MetaPathFinder):
    """Finds one module as it is found without it, and lets signals wait while its code runs."""

    def __init__(self, name: str) -> None:
        self._name, self._searches = name, False

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """See `importlib.abc.MetaPathFinder`."""
        if fullname != self._name or self._searches:
            return None
        self._searches = True
        try:
            spec = importlib.util.find_spec(fullname)
        finally:
            self._searches = False
        if spec is not None and spec.loader is not None:
            execute = spec.loader.exec_module

            def execute_holding(module: ModuleType) -> None:
                with HeldSignals():
                    execute(module)

            spec.loader.exec_module = execute_holding  # type: ignore[method-assign]
        return spec


class StopSignals(_Signals):
    """While entered, the first signal is remembered, and a second one ends the process at once.

    Args:
        processes: that train together. If there are several, torchrun sends signals to each, and
            ends those that do not end by themselves; so a second signal then has no effect, and
            nothing is printed.
    """

    def __init__(self, processes: int = 1) -> None:
        super().__init__()
        self._is_alone = processes == 1

    def _receive(self, number: int, frame: FrameType | None) -> None:
        if self.received is not None and self._is_alone:
            os._exit(128 + number)
        self.received = self.received or number
        if not self._is_alone:
            return
        # Not print(): the signal may have interrupted another print.
        with contextlib.suppress(OSError):
            os.write(2, b"\nstopping: saving the run first (press Ctrl-C again to stop at once)\n")

    def check(self) -> None:
        """Raises `StopRequested` if a signal came."""
        if self.received is not None:
            raise StopRequested
