"""A training's progress: a bar, or lines where there is no terminal that could show one."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

from lstm_lm.config import TrainingConfig
from lstm_lm.corpus.progress import Bar
from lstm_lm.corpus.windows import iterate_spans
from lstm_lm.model.scoring import perplexity_from

SECONDS_BETWEEN_LINES = 30.0


def count_steps(config: TrainingConfig, length: int) -> int:
    """Counts the optimizer updates of the first epoch.

    Args:
        config: lengths of windows, and how many are accumulated.
        length: columns of the train streams.
    """
    spans = iterate_spans(length, config.bptt_length, config.bptt_variation, config.seed)
    return math.ceil(sum(1 for _ in spans) / config.accumulation_steps)


def progress_bar(config: TrainingConfig, length: int, step: int, *, shown: bool = True) -> Bar:
    """Makes the bar of a training, over its steps; it is disabled where there is no terminal.

    Args:
        config: has the budget.
        length: columns of the train streams.
        step: updates so far.
        shown: whether it is shown where there is a terminal.
    """
    totals = [config.max_steps] if config.max_steps else []
    if config.max_epochs:
        totals.append(count_steps(config, length) * config.max_epochs)
    return Bar(
        total=min(totals),
        initial=step,
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
