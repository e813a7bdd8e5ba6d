"""A cell over time, as one would say it: for every word, the next state.

This is the path to read and to step through. `lstm_lm.cells.fused` runs the same parameters several times faster.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.func import functional_call

from lstm_lm.cells.gate import LSTMState


class OverTime(nn.Module):
    """Runs ``cell`` word after word: ``(T, B, E)`` and a state to outputs ``(T, B, H)`` and the last state.

    Where ``keep (T, B)`` is given and 0, the state before a word is zero.
    """

    def __init__(self, cell: nn.Module) -> None:
        super().__init__()
        self.cell = cell

    def forward(
        self, inputs: Tensor, state: LSTMState, keep: Tensor | None
    ) -> tuple[Tensor, LSTMState]:
        """Returns every ``h``, stacked, and the state after the last word."""
        outputs = []
        for t, x in enumerate(inputs):
            if keep is not None:
                state = LSTMState(*(part * keep[t].unsqueeze(-1) for part in state))
            state = self.cell(x, state)
            outputs.append(state.h)
        return torch.stack(outputs), state


def run_readable(
    cell: nn.Module,
    inputs: Tensor,
    state: LSTMState,
    recurrent_masks: Mapping[str, Tensor] | None = None,
    keep: Tensor | None = None,
) -> tuple[Tensor, LSTMState]:
    """Runs a cell over a window, one call of the cell per word.

    Args:
        cell: any cell of `lstm_lm.cells`.
        inputs: ``(T, B, E)``, time first, T >= 1.
        state: state before the first word, ``(B, H)`` each.
        recurrent_masks: gate name to a ``(H, H)`` factor on that gate's recurrent weight for this window
            (weight dropout, Merity et al. 2017, arXiv 1708.02182).
        keep: ``(T, B)``, bool or of the inputs' dtype: where 0, the state is zero before that word; None keeps it.

    Returns:
        Outputs ``(T, B, H)`` and the state after the last word.
    """
    masked = {
        f"cell.{name}.recurrent_weight": cell.get_submodule(name).recurrent_weight * mask
        for name, mask in (recurrent_masks or {}).items()
    }
    over_time = OverTime(cell)
    return (
        functional_call(over_time, masked, (inputs, state, keep))
        if masked
        else over_time(inputs, state, keep)
    )
