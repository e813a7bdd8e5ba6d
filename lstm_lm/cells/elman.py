"""The Elman cell: a plain recurrent network, to compare an LSTM with."""

from __future__ import annotations

import torch
from torch import Tensor

from lstm_lm.cells.cell import Cell
from lstm_lm.cells.fast.elman import FUSED_ELMAN
from lstm_lm.cells.gate import GateLayer
from lstm_lm.cells.state import HiddenState


class ElmanCell(Cell):
    """Simple recurrent network, one word at a time: ``h' = tanh(W x + U h + b)``.

    It has no gate, so every word overwrites the whole memory. That is why it forgets.

    Args:
        input_size: width E of the input.
        hidden_size: width H of the state.
        memory_words: no effect, because no gate keeps anything.

    Source: Elman 1990. Differs from ``torch.nn.RNNCell`` in having one bias instead of two.
    """

    title = "Elman"
    gate_meanings = {"candidate": "the new state"}
    state_type = HiddenState
    fused_pass = FUSED_ELMAN

    def __init__(self, input_size: int, hidden_size: int, memory_words: int | None = None) -> None:
        super().__init__(input_size, hidden_size)
        self.candidate = GateLayer(input_size, hidden_size)

    def forward(self, x: Tensor, state: HiddenState) -> HiddenState:
        """Reads one word ``x (B, E)`` and returns the next state; ``h`` is ``(B, H)``."""
        h = torch.tanh(self.candidate(x, state.h))
        return HiddenState(h)

    def activations(self, x: Tensor, state: HiddenState) -> dict[str, Tensor]:
        """Computes the candidate ``(..., H)``, in (-1, 1), from ``x`` and the state before it."""
        return {"candidate": torch.tanh(self.candidate(x, state.h))}
