"""What changes during training: the learning rate and the dropout rates."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING

from lstm_lm.config import OptimizerConfig, TrainingConfig

if TYPE_CHECKING:
    from lstm_lm.training.checkpoint import Progress


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


def limit_rate(progress: Progress, config: OptimizerConfig, metrics: bytes, spent: float) -> str:
    """Keeps the schedule from raising the rate where a resumed run is to train for longer.

    Another peak, `optimizer.learning_rate`, is how one asks for a higher rate: then the schedule
    has the share of the peak that it has at this point of the whole training.

    Args:
        progress: of the checkpoint; its `schedule_share` is set.
        config: schedule and peak, as the run goes on.
        metrics: the content of ``metrics.jsonl`` at the checkpoint.
        spent: fraction of the budget that is spent, in [0, 1].

    Returns:
        A line for people if the rate is lower than the schedule's; otherwise nothing.
    """
    if progress.schedule_peak is None:  # the checkpoint is of an older version
        progress.schedule_share = lowest_logged_share(config, metrics)
    elif progress.schedule_peak != config.learning_rate:
        progress.schedule_share = 1.0
    if progress.schedule_share >= schedule_share(config, spent):
        return ""
    rate = config.learning_rate * progress.schedule_share * progress.plateau_factor
    return (
        f"the learning rate stays at {rate:.3g}, the lowest so far; for a higher one, give "
        f"optimizer.learning_rate another value than {config.learning_rate:g}"
    )


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
