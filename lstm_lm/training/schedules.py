"""What changes during training: the learning rate and the dropout rates."""

from __future__ import annotations

import json
import math

from lstm_lm.config import OptimizerConfig, TrainingConfig


def schedule_share(config: OptimizerConfig, progress: float) -> float:
    """The fraction of the peak learning rate that the schedule has, without warm-up; in (0, 1].

    Args:
        config: schedule.
        progress: fraction of the budget that is spent, in [0, 1].

    Returns:
        A number that falls from 1 to ``final_fraction`` at the end; 1 for a schedule that does not
        depend on the budget.
    """
    if config.schedule in ("constant", "plateau"):
        return 1.0
    falling = (
        1 - progress if config.schedule == "linear" else (1 + math.cos(math.pi * progress)) / 2
    )
    return config.final_fraction + (1 - config.final_fraction) * falling


def learning_rate_share(
    config: OptimizerConfig,
    step: int,
    progress: float,
    plateau_factor: float = 1.0,
    lowest_share: float = 1.0,
) -> float:
    """The learning rate of the next update, as a fraction of its peak.

    Args:
        config: schedule and warm-up.
        step: updates done so far.
        progress: fraction of the budget that is spent, in [0, 1].
        plateau_factor: product of the reductions after validations that did not improve (schedule
            ``plateau``).
        lowest_share: the lowest `schedule_share` so far. The schedule does not rise above it,
            though the budget may have been raised since.

    Returns:
        A linear warm-up times the schedule; in (0, 1].
    """
    warmup = min(1.0, (step + 1) / (config.warmup_steps + 1))
    return warmup * min(lowest_share, schedule_share(config, progress)) * plateau_factor


def lowest_logged_share(config: OptimizerConfig, metrics: bytes) -> float:
    """The lowest `schedule_share` that a log shows, for checkpoints that do not have it.

    Args:
        config: schedule, warm-up and peak.
        metrics: the content of ``metrics.jsonl``.
    """
    if config.schedule not in ("linear", "cosine"):
        return 1.0
    lines = [json.loads(line) for line in metrics.splitlines()]
    shares = [
        line["learning_rate"] / config.learning_rate
        for line in lines
        if line["split"] == "train" and line["step"] > config.warmup_steps
    ]
    return min([1.0, *shares])


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
