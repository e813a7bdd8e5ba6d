"""The gated recurrent unit: two gates, and a memory that is its output."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from lstm_lm.cells.gate import GateLayer, LSTMState, draw_keep_bias_


class GRUCell(nn.Module):
    """Gated recurrent unit, one word at a time.

    ::

        r = sigmoid(W_r x + U_r h + b_r)             how much of the past the candidate sees
        z = sigmoid(W_z x + U_z h + b_z)             how much of the past stays
        n = tanh(W_n x + b_n + r * (U_n h + b_u))    the candidate
        h' = (1 - z) * n + z * h

    Args:
        input_size: width E of the input.
        hidden_size: width H of the state.
        memory_words: None: every unit forgets half at every word at first. A number T: each keeps what it holds for a
            time of its own, drawn from 1 to T words (Tallec and Ollivier 2018, arXiv 1804.11188).

    Source: Cho et al. 2014 (arXiv 1406.1078), in the variant of cuDNN and ``torch.nn.GRUCell``, where ``r`` acts
    after the recurrent product; hence the candidate's second bias ``b_u``, ``candidate_state_bias``.
    Differs from ``torch.nn.GRUCell`` in having one bias, not two, for ``r`` and for ``z``.
    """

    keep_gate = "update_gate"

    def __init__(self, input_size: int, hidden_size: int, memory_words: int | None = None) -> None:
        super().__init__()
        self.input_size, self.hidden_size = input_size, hidden_size
        self.reset_gate = GateLayer(input_size, hidden_size)
        self.update_gate = GateLayer(input_size, hidden_size)
        self.candidate = GateLayer(input_size, hidden_size)
        if memory_words is not None:
            draw_keep_bias_(self.update_gate.bias, memory_words)
        self.candidate_state_bias = nn.Parameter(torch.zeros(hidden_size))

    def forward(self, x: Tensor, state: LSTMState) -> LSTMState:
        """Reads ``x (B, E)`` in ``state`` (``h (B, H)``) and returns the next state, whose ``c`` is its ``h``."""
        h = state.h
        r = torch.sigmoid(self.reset_gate(x, h))
        z = torch.sigmoid(self.update_gate(x, h))
        n = torch.tanh(
            self.candidate.from_input(x)
            + r * (self.candidate.from_state(h) + self.candidate_state_bias)
        )
        h = (1 - z) * n + z * h
        return LSTMState(h, h)

    def activations(self, x: Tensor, h: Tensor) -> dict[str, Tensor]:
        """What each gate says to ``x (..., E)`` and ``h (..., H)``: r, z in (0, 1), n in (-1, 1), ``(..., H)``."""
        r = torch.sigmoid(self.reset_gate(x, h))
        from_state = self.candidate.from_state(h) + self.candidate_state_bias
        return {
            "reset_gate": r,
            "update_gate": torch.sigmoid(self.update_gate(x, h)),
            "candidate": torch.tanh(self.candidate.from_input(x) + r * from_state),
        }
