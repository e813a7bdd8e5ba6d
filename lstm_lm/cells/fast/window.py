"""What the fused passes of all cells share. The equations are in `lstm_lm.cells.fused`.

Shapes: T time, B batch, H hidden size; G gates stacked.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

# With y a gate's value and d a gradient: d y (1 - y), and d (1 - y^2), in one pass over memory.
sigmoid_backward = torch.ops.aten.sigmoid_backward
tanh_backward = torch.ops.aten.tanh_backward


@dataclass(frozen=True)
class FusedPass:
    """How a cell runs over a whole window at once; a cell's class names it as ``fused_pass``.

    Attributes:
        factors: gate name -> what the gate's weights and bias are multiplied by. The order is that
            of the gates in the stacked matrices.
        run: ``run(cell, projected, recurrent, state, keep)`` returns the outputs ``(T, B, H)`` and
            the last state. ``projected (T, B, G*H)`` is ``W x + b`` of all gates, ``recurrent
            (G*H, H)`` their stacked ``U``, both with the factors applied; ``recurrent`` has no rows
            if the gates do not see the state. ``keep`` is ``(T, B, 1)`` or None. It may overwrite
            ``projected``.
        hoists_input: whether the input product is computed before the loop over words. If not, run
            gets the inputs ``(T, B, E)`` in place of ``projected``, and may not overwrite them.
        has_c_loop: whether its loop over words exists in C, too, where there is a compiler.
    """

    factors: Mapping[str, int]
    run: Callable[[Any, Tensor, Tensor, Any, Tensor | None], tuple[Tensor, Any]]
    hoists_input: bool = True
    has_c_loop: bool = False


def states_of_window(first: Tensor, time: int) -> Tensor:
    """Allocates the states before and after every word, ``(T+1, B, H)``, and fills in the first."""
    states = first.new_empty(time + 1, *first.shape)
    states[0] = first
    return states


def where_kept(state: Tensor, keep: Tensor | None) -> Tensor:
    """Multiplies a state, or the gradient of one, by ``keep (..., B, 1)``, unless that is None."""
    return state if keep is None else state * keep


def keep_per_word(keep: Tensor | None, time: int) -> list[Tensor | None]:
    """Splits ``keep (T, B, 1)`` into one ``(B, 1)`` per word, or None where every state is kept."""
    if keep is None:
        return [None] * time
    has_zeros = (keep == 0).flatten(1).any(1).tolist()
    return [
        word if has_zero else None for word, has_zero in zip(keep.unbind(), has_zeros, strict=True)
    ]
