"""The plain recurrent network that an LSTM is measured against."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from lstm_lm.cells.gate import GateLayer, LSTMState


class ElmanCell(nn.Module):
    """Simple recurrent network, one word at a time: ``h' = tanh(W x + U h + b)``.

    No gate stands between the memory and the next word, so every step rewrites all of it; that is why it forgets.

    Args:
        input_size: width E of the input.
        hidden_size: width H of the state.
        memory_words: of no effect; there is no gate to keep anything.

    Source: Elman 1990. Differs from ``torch.nn.RNNCell`` in having one bias instead of two.
    """

    keep_gate = None

    def __init__(self, input_size: int, hidden_size: int, memory_words: int | None = None) -> None:
        super().__init__()
        self.input_size, self.hidden_size = input_size, hidden_size
        self.candidate = GateLayer(input_size, hidden_size)

    def forward(self, x: Tensor, state: LSTMState) -> LSTMState:
        """Reads ``x (B, E)`` in ``state`` (``h (B, H)``) and returns the next state, whose ``c`` is its ``h``."""
        h = torch.tanh(self.candidate(x, state.h))
        return LSTMState(h, h)

    def activations(self, x: Tensor, h: Tensor) -> dict[str, Tensor]:
        """What the one layer says to ``x (..., E)`` and ``h (..., H)``, in (-1, 1), ``(..., H)``."""
        return {"candidate": torch.tanh(self.candidate(x, h))}
