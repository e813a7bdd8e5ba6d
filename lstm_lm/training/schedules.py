"""What changes over time: the learning rate, and how much is dropped."""

from __future__ import annotations

import math

from lstm_lm.config import OptimizerConfig, TrainingConfig


def learning_rate_share(
    config: OptimizerConfig, step: int, progress: float, plateau_factor: float = 1.0
) -> float:
    """The share of its peak that the learning rate has in the update that follows ``step`` updates.

    Args:
        config: schedule and warm-up.
        step: updates done so far.
        progress: share of the budget spent, in [0, 1].
        plateau_factor: what validations that brought nothing have left of the rate (schedule ``plateau``).

    Returns:
        A linear warm-up times the schedule, which falls to ``final_fraction`` at the end; in (0, 1].
    """
    warmup = min(1.0, (step + 1) / (config.warmup_steps + 1))
    falling = {
        "constant": 1.0,
        "plateau": 1.0,
        "linear": 1 - progress,
        "cosine": (1 + math.cos(math.pi * progress)) / 2,
    }[config.schedule]
    if config.schedule in ("linear", "cosine"):
        falling = config.final_fraction + (1 - config.final_fraction) * falling
    return warmup * falling * plateau_factor


def dropout_share(config: TrainingConfig, progress: float) -> float:
    """The share of the model's dropout rates that an update has, given the share of the budget spent before it.

    A network that knows nothing has nothing to learn by heart: dropping costs it time at first, and pays at the end.

    Source: curriculum dropout, Morerio et al. 2017 (arXiv 1703.06229). Differs from it in growing evenly.
    """
    return config.dropout_start + (1 - config.dropout_start) * progress
