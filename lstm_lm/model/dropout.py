"""The dropouts of Merity et al. 2017 (arXiv 1708.02182): masks drawn once per window.

Every mask is scaled by 1 / (1 - rate), so evaluation needs no mask. Rates are in [0, 1).
Shapes: T time, B batch, F features, V vocab_size, E embedding_dim, H hidden_size.
"""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from lstm_lm.cells import Cell, GateLayer
from lstm_lm.model.batch_part import BatchPart
from lstm_lm.random_numbers import generator_on


def draw_mask(like: Tensor, shape: tuple[int, ...], rate: float) -> Tensor:
    """Draws a mask: 0 with probability ``rate``, otherwise ``1 / (1 - rate)``.

    It has the dtype and the device of ``like``.
    """
    mask = like.new_empty(shape).bernoulli_(1 - rate, generator=generator_on(like.device))
    return mask.div_(1 - rate)


def draw_locked_mask(inputs: Tensor, rate: float, part: BatchPart | None = None) -> Tensor | None:
    """Draws a mask ``(1, B, F)`` of ``inputs (T, B, F)``: the same features at every word.

    None if the rate is 0.

    Args:
        inputs: of all streams of the batch, or of a part of them.
        rate: which fraction of the features is dropped.
        part: which part, if it is one.

    Source: variational dropout, Gal and Ghahramani 2016 (arXiv 1512.05287).
    """
    if not rate:
        return None
    if part is None:
        return draw_mask(inputs, (1, *inputs.shape[1:]), rate)
    return part.own(draw_mask(inputs, (1, part.batch_size, inputs.shape[2]), rate), 1)


def apply_locked_dropout(inputs: Tensor, rate: float, part: BatchPart | None = None) -> Tensor:
    """Drops features of ``inputs (T, B, F)``; see `draw_locked_mask`."""
    mask = draw_locked_mask(inputs, rate, part)
    return inputs if mask is None else inputs * mask


def apply_word_dropout(embedded: Tensor, tokens: Tensor, vocab_size: int, rate: float) -> Tensor:
    """Drops whole words from ``embedded (T, B, E)``, the vectors of ``tokens (T, B)``."""
    if not rate:
        return embedded
    return embedded * F.embedding(tokens, draw_mask(embedded, (vocab_size, 1), rate))


def draw_recurrent_masks(cell: Cell, rate: float) -> dict[str, Tensor] | None:
    """Draws weight dropout for a window: gate name -> mask ``(H, H)`` of its recurrent weight.

    A gate that does not see the state has no such weight, and no mask.
    """
    if not rate:
        return None
    return {
        name: draw_mask(gate.recurrent_weight, tuple(gate.recurrent_weight.shape), rate)
        for name, gate in cell.gates().items()
        if isinstance(gate, GateLayer)
    }


def check_dropout_rates(**rates: float) -> None:
    """Raises ValueError unless every rate is a number in [0, 1)."""
    for name, rate in rates.items():
        if not isinstance(rate, int | float) or not 0 <= rate < 1:
            raise ValueError(f"{name} is {rate!r}; a dropout rate is a number in [0, 1)")
