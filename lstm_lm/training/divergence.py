"""Numbers that are not finite: how they are noticed, said, and got over. Shapes: B batch, H hidden_size."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import nn

from lstm_lm.cells import LSTMState
from lstm_lm.config import TrainingConfig
from lstm_lm.errors import DivergedError
from lstm_lm.model.scoring import perplexity_from
from lstm_lm.training.checkpoint import Progress


def first_not_finite(loss: float, norm: float) -> str | None:
    """Names what forbids an update, if anything: its loss (nats a word), the perplexity of that, or its gradient."""
    measures = {"loss": loss, "perplexity": perplexity_from(loss, 1), "gradient": norm}
    return next((name for name, value in measures.items() if not math.isfinite(value)), None)


def has_finite_weights(model: nn.Module) -> bool:
    """Whether every weight is a finite number."""
    return all(bool(torch.isfinite(weight).all()) for weight in model.parameters())


def reset_broken_streams(state: Sequence[LSTMState]) -> list[LSTMState]:
    """Lets streams of text whose state is not finite begin again from zeros; the others are read on."""
    sound = torch.stack([part.isfinite().all(1) for layer in state for part in layer]).all(
        0
    )  # (B,)
    return [
        LSTMState(*(part.where(sound.unsqueeze(1), 0.0) for part in layer)) for layer in state
    ]  # (B, H)


def diverged(what: str, progress: Progress, config: TrainingConfig, folder: Path) -> DivergedError:
    """The error to raise: what happened and when, what the loss was before, what is kept, and what to do."""
    loss = progress.last_loss
    finite = (
        "no loss was finite" if loss is None else f"the last finite loss was {loss:.4g} nats a word"
    )
    remedy = (
        ""
        if config.skip_non_finite
        else " (training.skip_non_finite=true passes over single updates)"
    )
    return DivergedError(
        f"{what} after step {progress.step} ({finite}); what was saved in {folder} is kept: lower "
        f"optimizer.learning_rate or training.max_grad_norm{remedy}"
    )
