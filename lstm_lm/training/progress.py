"""A training's progress: a bar, or lines where there is no terminal that could show one."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

from tqdm import tqdm

from lstm_lm.model.scoring import perplexity_from

SECONDS_BETWEEN_LINES = 30.0


def open_bar(done: int, totals: Iterable[int | None], *, shown: bool) -> tqdm:
    """Returns a progress bar of optimizer updates; it is disabled without a terminal.

    Args:
        done: updates so far.
        totals: how many there may be; the least one counts. None: no limit.
        shown: whether it is shown at all.
    """
    return tqdm(
        total=min(total for total in totals if total),
        initial=done,
        desc="training",
        unit=" steps",
        disable=None if shown else True,
    )


class ProgressLines:
    """Reports step, epoch, loss and speed about every 30 seconds.

    Args:
        report: receives the lines.
    """

    def __init__(self, report: Callable[[str], None]) -> None:
        self._report = report
        self._begin()

    def _begin(self) -> None:
        self._started, self._nll, self._words = time.monotonic(), 0.0, 0

    def add(self, nll: float, words: int, step: int, epochs: float) -> None:
        """Counts an update; reports a line if the last one is old enough.

        Args:
            nll: of the update's words, in nats, summed.
            words: how many words it had.
            step: updates so far.
            epochs: passes over train so far, with the fraction of the current one.
        """
        self._nll, self._words = self._nll + nll, self._words + words
        seconds = time.monotonic() - self._started
        if seconds < SECONDS_BETWEEN_LINES:
            return
        loss = self._nll / self._words
        self._report(
            f"step {step:,}, epoch {epochs:.2f}: loss {loss:.3f}, perplexity "
            f"{perplexity_from(loss, 1):.2f}, {self._words / seconds:,.0f} words/s"
        )
        self._begin()
