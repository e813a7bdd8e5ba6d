"""A cell over time: one call of the cell per word.

Read and step through this one. `lstm_lm.cells.fused` computes the same several times faster.

Shapes: T time, B batch, E input size, H hidden size.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.func import functional_call

from lstm_lm.cells.cell import Cell
from lstm_lm.cells.state import StateT, keep_where


def states_over(
    cell: Callable[[Tensor, Any], Any], inputs: Tensor, state: StateT, keep: Tensor | None = None
) -> list[StateT]:
    """Reads a window and returns the state after every word.

    Args:
        cell: any cell of `lstm_lm.cells`.
        inputs: ``(T, B, E)``, time first.
        state: the state before the first word.
        keep: ``(T, B)``, bool or the inputs' dtype: where it is 0, the state is zero before that
            word. None: the state is always carried over.

    Returns:
        T states, the last one after the last word.
    """
    states = []
    for t, x in enumerate(inputs):
        if keep is not None:
            state = keep_where(state, keep[t])
        state = cell(x, state)
        states.append(state)
    return states


def run_readable(
    cell: Cell,
    inputs: Tensor,
    state: StateT,
    recurrent_masks: Mapping[str, Tensor] | None = None,
    keep: Tensor | None = None,
) -> tuple[Tensor, StateT]:
    """Runs a cell over a window, one call of the cell per word.

    Args:
        cell: any cell of `lstm_lm.cells`.
        inputs: ``(T, B, E)``, time first, T >= 1.
        state: the state before the first word, tensors ``(B, H)``.
        recurrent_masks: gate name -> factor ``(H, H)`` on that gate's recurrent weight in this
            window (weight dropout, Merity et al. 2017, arXiv 1708.02182).
        keep: ``(T, B)``, as in `states_over`.

    Returns:
        Outputs ``(T, B, H)`` and the state after the last word.
    """
    masked = {
        f"{name}.recurrent_weight": cell.get_parameter(f"{name}.recurrent_weight") * mask
        for name, mask in (recurrent_masks or {}).items()
    }

    def masked_cell(x: Tensor, state: Any) -> Any:
        return functional_call(cell, masked, (x, state))

    states = states_over(masked_cell if masked else cell, inputs, state, keep)
    return torch.stack([after.h for after in states]), states[-1]
