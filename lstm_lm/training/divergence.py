"""Numbers that are not finite: detecting, reporting and skipping them. Shapes: B batch."""

from __future__ import annotations

import math
from pathlib import Path

import torch
from torch import nn

from lstm_lm.config import TrainingConfig
from lstm_lm.errors import DivergedError
from lstm_lm.model.recurrent import LayerStates
from lstm_lm.model.scoring import perplexity_from
from lstm_lm.training.checkpoint import Progress

# One skipped update is a spike in the data. Ten in a row mean that the weights are lost.
MOST_SKIPPED_IN_A_ROW = 10


def first_not_finite(loss: float, norm: float) -> str | None:
    """Names the first of an update's numbers that is not finite: loss, perplexity or gradient.

    Args:
        loss: nats per token.
        norm: the gradient's norm.
    """
    numbers = {"loss": loss, "perplexity": perplexity_from(loss, 1), "gradient": norm}
    return next((name for name, value in numbers.items() if not math.isfinite(value)), None)


def has_finite_weights(network: nn.Module) -> bool:
    """Whether every weight is a finite number."""
    return all(bool(torch.isfinite(weight).all()) for weight in network.parameters())


def reset_broken_streams(state: LayerStates) -> LayerStates:
    """Sets the state of streams that are not finite to zero; the other streams keep theirs."""
    parts = [part for layer in state for part in layer]
    is_finite = torch.stack([part.isfinite().all(1) for part in parts]).all(0)  # (B,)
    return [
        type(layer)(*(part.where(is_finite.unsqueeze(1), 0.0) for part in layer))  # (B, H)
        for layer in state
    ]


def diverged(what: str, progress: Progress, config: TrainingConfig, folder: Path) -> DivergedError:
    """The error to raise: what happened, when, the last finite loss, and what to do."""
    loss = progress.last_loss
    finite = (
        "no loss was finite"
        if loss is None
        else f"the last finite loss was {loss:.4g} nats per word"
    )
    remedy = (
        "" if config.skip_non_finite else (" (training.skip_non_finite=true skips single updates)")
    )
    return DivergedError(
        f"{what} after step {progress.step} ({finite}); what was saved in {folder} is kept: lower "
        f"optimizer.learning_rate or training.max_grad_norm{remedy}"
    )
