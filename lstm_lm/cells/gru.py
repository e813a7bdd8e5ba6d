"""The GRU cell: two gates; the output is the memory."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from lstm_lm.cells.cell import Cell
from lstm_lm.cells.fast.gru import FUSED_GRU
from lstm_lm.cells.gate import GateLayer, draw_keep_bias_
from lstm_lm.cells.state import HiddenState


class GRUCell(Cell):
    """Gated recurrent unit, one word at a time.

    ::

        r = sigmoid(W_r x + U_r h + b_r)             how much of the past the candidate sees
        z = sigmoid(W_z x + U_z h + b_z)             how much of the past stays
        n = tanh(W_n x + b_n + r * (U_n h + b_u))    the candidate
        h' = (1 - z) * n + z * h

    Args:
        input_size: width E of the input.
        hidden_size: width H of the state.
        memory_words: how long new units keep what they hold. None: every unit forgets half of it at
            every word. A number T: each unit keeps it for a random time of up to T words (Tallec
            and Ollivier 2018, arXiv 1804.11188).

    Source: Cho et al. 2014 (arXiv 1406.1078), in the variant of cuDNN and ``torch.nn.GRUCell``:
    ``r`` is applied after the recurrent product, so the candidate has a second bias ``b_u``
    (``candidate_state_bias``).
    Differs from ``torch.nn.GRUCell`` in having one bias instead of two for ``r`` and for ``z``.
    """

    title = "GRU"
    gate_meanings = {
        "reset_gate": "1: use the past, 0: ignore it",
        "update_gate": "1: keep, 0: replace",
        "candidate": "what could be written",
    }
    keep_gate = "update_gate"
    state_type = HiddenState
    fused_pass = FUSED_GRU

    def __init__(self, input_size: int, hidden_size: int, memory_words: int | None = None) -> None:
        super().__init__(input_size, hidden_size)
        self.reset_gate = GateLayer(input_size, hidden_size)
        self.update_gate = GateLayer(input_size, hidden_size)
        self.candidate = GateLayer(input_size, hidden_size)
        if memory_words is not None:
            draw_keep_bias_(self.update_gate.bias, memory_words)
        self.candidate_state_bias = nn.Parameter(torch.zeros(hidden_size))

    def forward(self, x: Tensor, state: HiddenState) -> HiddenState:
        """Reads one word ``x (B, E)`` and returns the next state; ``h`` is ``(B, H)``."""
        h = state.h
        r = torch.sigmoid(self.reset_gate(x, h))
        z = torch.sigmoid(self.update_gate(x, h))
        n = torch.tanh(
            self.candidate.from_input(x)
            + r * (self.candidate.from_state(h) + self.candidate_state_bias)
        )
        h = (1 - z) * n + z * h
        return HiddenState(h)

    def activations(self, x: Tensor, state: HiddenState) -> dict[str, Tensor]:
        """Computes the gates ``(..., H)`` from ``x (..., E)`` and the state before it.

        r and z are in (0, 1), n is in (-1, 1).
        """
        h = state.h
        r = torch.sigmoid(self.reset_gate(x, h))
        from_state = self.candidate.from_state(h) + self.candidate_state_bias
        return {
            "reset_gate": r,
            "update_gate": torch.sigmoid(self.update_gate(x, h)),
            "candidate": torch.tanh(self.candidate.from_input(x) + r * from_state),
        }
