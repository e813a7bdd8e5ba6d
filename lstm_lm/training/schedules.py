"""What changes during training: the learning rate and the dropout rates."""

from __future__ import annotations

import math

from lstm_lm.config import OptimizerConfig, TrainingConfig


def learning_rate_share(
    config: OptimizerConfig, step: int, progress: float, plateau_factor: float = 1.0
) -> float:
    """The learning rate of the next update, as a fraction of its peak.

    Args:
        config: schedule and warm-up.
        step: updates done so far.
        progress: fraction of the budget that is spent, in [0, 1].
        plateau_factor: product of the reductions after validations that did not improve (schedule
            ``plateau``).

    Returns:
        A linear warm-up times the schedule, which falls to ``final_fraction`` at the end; in (0,
        1].
    """
    warmup = min(1.0, (step + 1) / (config.warmup_steps + 1))
    if config.schedule in ("constant", "plateau"):
        return warmup * plateau_factor
    falling = (
        1 - progress if config.schedule == "linear" else (1 + math.cos(math.pi * progress)) / 2
    )
    falling = config.final_fraction + (1 - config.final_fraction) * falling
    return warmup * falling * plateau_factor


def dropout_share(config: TrainingConfig, progress: float) -> float:
    """The fraction of the model's dropout rates that the next update uses.

    At first a network has nothing to memorise, and dropout only slows it down; at the end it pays.

    Args:
        config: its ``dropout_start`` is the fraction at the beginning.
        progress: fraction of the budget that is spent, in [0, 1].

    Source: curriculum dropout, Morerio et al. 2017 (arXiv 1703.06229). Differs from it in growing
    linearly.
    """
    return config.dropout_start + (1 - config.dropout_start) * progress
