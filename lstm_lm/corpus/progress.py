"""Shows how far long work on a corpus is: a bar at a terminal, elsewhere a line now and then."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import TypeVar

from tqdm import tqdm

from lstm_lm.printing import print_note, printable

# Elsewhere is a pipe, a file or the log of a job. Work that takes less time prints nothing there.
SECONDS_BETWEEN_LINES = 15.0
# Looking at the clock takes some time: for every line of a text it would be too much.
_ITEMS_AT_A_TIME = 64

T = TypeVar("T")


class Bar(tqdm):
    """A bar of tqdm without the thread that tqdm starts for all bars, and that never ends.

    That thread shows a bar more often if its work becomes slow; at 50 steps a second, this one is
    shown every 5 steps. tqdm also chooses multiprocessing's default start method for the process,
    if nobody has, and cannot be kept from that.
    """

    monitor_interval = 0


class Progress:
    """Counts what is done and shows it on standard error.

    Use it as a context manager::

        with Progress("writing stories", "stories", total=8000) as progress:
            progress.add(200)
    """

    def __init__(self, title: str, unit: str, total: int | None = None) -> None:
        """Starts at 0.

        Args:
            title: what is being done, such as ``writing stories``.
            unit: what is counted, in the plural.
            total: how much there is, about; None if that is unknown.
        """
        self._title, self._unit, self._total = printable(title), unit, total
        self._done = 0
        self._last_line: float | None = None
        self._bar: Bar | None = None

    def __enter__(self) -> Progress:
        # `disable=None` shows no bar where standard error is no terminal.
        self._bar = Bar(
            desc=self._title,
            unit=f" {self._unit}",
            total=self._total,
            unit_scale=True,
            disable=None,
        )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        assert self._bar is not None
        self._bar.close()

    def add(self, count: int) -> None:
        """Adds what has been done since the last call."""
        assert self._bar is not None
        self._bar.update(count)
        self._done += count
        now = time.monotonic()
        if self._last_line is None:
            # The work begins with the first item: making it ready may have taken long.
            self._last_line = now
        if self._bar.disable and now - self._last_line >= SECONDS_BETWEEN_LINES:
            self._last_line = now
            print_note(self._line())

    def _line(self) -> str:
        if self._total is None:
            return f"{self._title}: {self._done:,} {self._unit}"
        share = min(1.0, self._done / self._total)
        return f"{self._title}: {self._done:,} {self._unit}, {share:.0%}"


def show_progress(items: Iterable[T], title: str, unit: str) -> Iterator[T]:
    """Yields the items, and shows how many there were.

    Args:
        items: of unknown number.
        title: what is being done, such as ``counting words``.
        unit: what the items are, in the plural.
    """
    with Progress(title, unit) as progress:
        not_added = 0
        for item in items:
            yield item
            not_added += 1
            if not_added == _ITEMS_AT_A_TIME:
                progress.add(not_added)
                not_added = 0
        progress.add(not_added)
