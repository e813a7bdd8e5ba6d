"""Lines about a training's progress, where there is no terminal that could show a bar."""

from __future__ import annotations

import time
from collections.abc import Callable

from lstm_lm.model.scoring import perplexity_from

SECONDS_BETWEEN_LINES = 30.0


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
