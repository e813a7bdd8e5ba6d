"""Ctrl-C, SIGTERM, SIGHUP: a command cleans up before it ends; a training run is saved first."""

from __future__ import annotations

import contextlib
import ctypes
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


# The signals that ask a program to stop. SIGHUP, where it exists: its terminal was closed.
_HANGUP = getattr(signal, "SIGHUP", None)
_STOPPING = [signal.SIGINT, signal.SIGTERM, *([] if _HANGUP is None else [_HANGUP])]


class StopRequested(Exception):
    """Raised by `StopSignals.check` at points where a run can be stopped."""


class _Signals:
    """Handles Ctrl-C (SIGINT), SIGTERM and SIGHUP while entered, and then puts back what was there.

    A signal that is ignored, such as SIGHUP under ``nohup``, stays ignored. A handler that another
    language set before Python started is not replaced, because Python could not put it back; then
    that signal does what it did before. Python allows handlers in the main thread only; in any
    other thread nothing is changed.

    Attributes:
        received: the number of the first signal; None if there was none.
    """

    def __init__(self) -> None:
        self.received: int | None = None
        self._before: dict[int, Any] = {}
        self._actions: dict[int, ctypes.Array[ctypes.c_char]] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for number in _STOPPING:
                if signal.getsignal(number) not in (None, signal.SIG_IGN):
                    self._actions[number] = _action_of(number)
                    self._before[number] = signal.signal(number, self._receive)
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
            _set_action(number, self._actions[number])

    def _receive(self, number: int, frame: FrameType | None) -> None:
        raise NotImplementedError


def _action_of(number: int) -> ctypes.Array[ctypes.c_char]:
    """What the process does at a signal, as C knows it; Python knows its own handlers only.

    That may be a handler that a C library has set, and whether system calls go on after it.
    """
    action = ctypes.create_string_buffer(512)  # a `struct sigaction`; glibc's has 152 bytes
    with contextlib.suppress(AttributeError, OSError, TypeError):  # Windows
        ctypes.CDLL(None).sigaction(number, None, action)
    return action


def _set_action(number: int, action: ctypes.Array[ctypes.c_char]) -> None:
    """Sets what `_action_of` has returned."""
    with contextlib.suppress(AttributeError, OSError, TypeError):
        ctypes.CDLL(None).sigaction(number, action, None)


class LeaveSignals(_Signals):
    """While entered, these signals raise `KeyboardInterrupt`, so that commands clean up.

    Attributes:
        has_failed: set it where the command ends with an error anyway: signals then do nothing.
    """

    has_failed = False

    def _receive(self, number: int, frame: FrameType | None) -> None:
        if self.has_failed:
            return
        if number == _HANGUP and self.received is not None:
            return  # a closed terminal sends it twice: through the shell, and when the shell ends
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
    """While entered, the first signal is remembered, so that the run is saved first.

    A second one ends a command at once. In a program with a handler of its own, that gets it: in a
    notebook, it raises `KeyboardInterrupt`. SIGHUP never counts as the second one: a closed
    terminal sends it twice, and other signals beside it.

    Args:
        processes: that train together. If there are several, torchrun sends signals to each, and
            ends those that do not end by themselves; so a second signal then has no effect, and
            nothing is printed.
    """

    def __init__(self, processes: int = 1) -> None:
        super().__init__()
        self._is_alone, self._is_urgent = processes == 1, False

    def _receive(self, number: int, frame: FrameType | None) -> None:
        if self._is_urgent and self._is_alone and number != _HANGUP:
            self._pass_on(number, frame)
            return
        self._is_urgent = self._is_urgent or number != _HANGUP
        if self.received is not None:
            return
        self.received = number
        if not self._is_alone:
            return
        # Not print(): the signal may have interrupted another print.
        with contextlib.suppress(OSError):
            os.write(2, b"\nstopping: saving the run first (press Ctrl-C again to stop at once)\n")

    def _pass_on(self, number: int, frame: FrameType | None) -> None:
        before = self._before[number]
        is_of_command = isinstance(getattr(before, "__self__", None), LeaveSignals)
        if is_of_command or not callable(before):
            os._exit(128 + number)
        before(number, frame)

    def check(self) -> None:
        """Raises `StopRequested` if a signal came."""
        if self.received is not None:
            raise StopRequested
