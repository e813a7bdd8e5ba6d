"""The minGRU cell: one gate, which sees only the word, so that all gates are known at once."""

from __future__ import annotations

import torch
from torch import Tensor

from lstm_lm.cells.cell import Cell
from lstm_lm.cells.fast.scan import FUSED_MIN_GRU
from lstm_lm.cells.gate import InputLayer, draw_keep_bias_
from lstm_lm.cells.state import HiddenState


class MinGRUCell(Cell):
    """GRU without recurrence in its gates, one word at a time.

    ::

        z = sigmoid(W_z x + b_z)      how much of the past stays
        n = W_n x + b_n               the candidate
        h' = (1 - z) * n + z * h

    The gates do not depend on h. So a whole window has no matrix product per word: its gates are
    one product, and h is a running mean of candidates. What a word does to the memory cannot depend
    on what came before it in the same layer, only through the layers below.

    Args:
        input_size: width E of the input.
        hidden_size: width H of the state.
        memory_words: how long new units keep what they hold. None: every unit forgets half of it at
            every word. A number T: each unit keeps it for a random time of up to T words (Tallec
            and Ollivier 2018, arXiv 1804.11188).

    Source: minGRU, Feng et al. 2024 (arXiv 2410.01201), the version without tanh. Differs from it
    in what z means: 1 keeps, as in `lstm_lm.cells.GRUCell`; there 1 replaces.
    """

    title = "minGRU"
    gate_meanings = {
        "update_gate": "1: keep, 0: replace",
        "candidate": "what could be written, any number",
    }
    keep_gate = "update_gate"
    state_type = HiddenState
    fused_pass = FUSED_MIN_GRU

    def __init__(self, input_size: int, hidden_size: int, memory_words: int | None = None) -> None:
        super().__init__(input_size, hidden_size)
        self.update_gate = InputLayer(input_size, hidden_size)
        self.candidate = InputLayer(input_size, hidden_size)
        if memory_words is not None:
            draw_keep_bias_(self.update_gate.bias, memory_words)

    def forward(self, x: Tensor, state: HiddenState) -> HiddenState:
        """Reads one word ``x (B, E)`` and returns the next state; ``h`` is ``(B, H)``."""
        z = torch.sigmoid(self.update_gate(x))
        n = self.candidate(x)
        h = (1 - z) * n + z * state.h
        return HiddenState(h)

    def activations(self, x: Tensor, state: HiddenState) -> dict[str, Tensor]:
        """Computes the gates ``(..., H)`` from ``x (..., E)``; z is in (0, 1), n is any number."""
        return {
            "update_gate": torch.sigmoid(self.update_gate(x)),
            "candidate": self.candidate(x),
        }
