"""Intervals of a difference between two models: the bootstrap, paired by line or by item.

Lines (or items) are drawn at random with replacement, as many as there are, and both models are
measured on the same draw. The interval holds the middle 95 % of the differences. Two models agree
about which lines are hard, so this interval is much narrower than the two models' own ones.

Lines count as independent of each other. Where the state is carried from line to line they are
nearly so.

Source: Efron and Tibshirani 1993, An Introduction to the Bootstrap; for language models, Koehn
2004, "Statistical significance tests for machine translation evaluation".
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

SEED = 0  # the same lines give the same interval
MOST_DRAWS, FEWEST_DRAWS = 10_000, 1_000
MOST_NUMBERS = 4 * 10**8  # drawn in all, as long as there are `FEWEST_DRAWS`
NUMBERS_AT_ONCE = 4 * 10**6
PERCENTILES = (2.5, 97.5)

Interval = tuple[float, float]


def count_draws(units: int) -> int:
    """How often lines or items are drawn: 10,000 times, and down to 1,000 for very many."""
    return int(min(MOST_DRAWS, max(FEWEST_DRAWS, MOST_NUMBERS // max(units, 1))))


def resampled_sums(columns: np.ndarray, seed: int = SEED) -> np.ndarray:
    """Draws lines with replacement, and sums figures of them.

    Args:
        columns: float64 ``(C, L)``: C figures of each of L lines.
        seed: of the draws.

    Returns:
        float64 ``(D, C)``, a row for each of `count_draws` draws.
    """
    lines = columns.shape[1]
    draws, random = count_draws(lines), np.random.default_rng(seed)
    sums = np.empty((draws, len(columns)))
    step = max(1, NUMBERS_AT_ONCE // lines)
    for start in range(0, draws, step):
        size = min(step, draws - start)
        drawn = random.integers(0, lines, (size, lines))
        for number, column in enumerate(columns):
            sums[start : start + size, number] = column[drawn].sum(1)
    return sums


def interval_of(values: np.ndarray) -> Interval:
    """The middle 95 % of values ``(D,)``."""
    low, high = np.percentile(values, PERCENTILES)
    return float(low), float(high)


def mean_interval(differences: Sequence[float], seed: int = SEED) -> Interval:
    """The interval of the mean of paired differences.

    Args:
        differences: of each item, at least one; they have few different values, such as -1, 0, 1.
        seed: of the draws.
    """
    # To draw items with replacement is to draw how often each value occurs.
    values, counts = np.unique(np.asarray(differences, dtype=np.float64), return_counts=True)
    total = int(counts.sum())
    drawn = np.random.default_rng(seed).multinomial(total, counts / total, size=MOST_DRAWS)
    return interval_of(drawn @ values / total)
