"""The dropouts of Merity et al. 2017 (arXiv 1708.02182), as masks that are drawn once per window.

Every mask is scaled by 1 / (1 - rate), so that evaluation needs none. Rates are in [0, 1).
Shapes: T time, B batch, F features, V vocab_size, E embedding_dim, H hidden_size.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def draw_mask(like: Tensor, shape: tuple[int, ...], rate: float) -> Tensor:
    """Draws a mask of zeros (with probability ``rate``) and ``1 / (1 - rate)``, of ``like``'s dtype and device."""
    return like.new_empty(shape).bernoulli_(1 - rate).div_(1 - rate)


def apply_locked_dropout(inputs: Tensor, rate: float) -> Tensor:
    """Drops features of ``inputs (T, B, F)``, the same ones at every word of the window.

    Source: variational dropout, Gal and Ghahramani 2016 (arXiv 1512.05287).
    """
    return inputs * draw_mask(inputs, (1, *inputs.shape[1:]), rate) if rate else inputs


def apply_word_dropout(embedded: Tensor, tokens: Tensor, vocab_size: int, rate: float) -> Tensor:
    """Drops whole words of the vocabulary from ``embedded (T, B, E)``, which are the vectors of ``tokens (T, B)``."""
    return (
        embedded * F.embedding(tokens, draw_mask(embedded, (vocab_size, 1), rate))
        if rate
        else embedded
    )


def draw_recurrent_masks(cell: nn.Module, rate: float) -> dict[str, Tensor] | None:
    """Draws weight dropout for one window: gate name to a mask ``(H, H)`` for that gate's recurrent weight."""
    if not rate:
        return None
    return {
        name: draw_mask(gate.recurrent_weight, tuple(gate.recurrent_weight.shape), rate)
        for name, gate in cell.named_children()
    }


def rates_must_be_shares(**rates: float) -> None:
    """Raises ValueError unless every rate is in [0, 1)."""
    for name, rate in rates.items():
        if not 0 <= rate < 1 or torch.is_tensor(rate):
            raise ValueError(f"{name} is {rate!r}; a dropout rate is a number in [0, 1)")
