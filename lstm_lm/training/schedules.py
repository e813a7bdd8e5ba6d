"""The learning rate over time."""

from __future__ import annotations

import math

from lstm_lm.config import OptimizerConfig


def learning_rate_share(config: OptimizerConfig, step: int, progress: float, plateau_factor: float = 1.0) -> float:
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
    falling = {"constant": 1.0, "plateau": 1.0, "linear": 1 - progress,
               "cosine": (1 + math.cos(math.pi * progress)) / 2}[config.schedule]
    if config.schedule in ("linear", "cosine"):
        falling = config.final_fraction + (1 - config.final_fraction) * falling
    return warmup * falling * plateau_factor
