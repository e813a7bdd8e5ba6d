"""The minLSTM cell: gates that see only the word, and no output gate."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from lstm_lm.cells.cell import Cell
from lstm_lm.cells.fast.scan import FUSED_MIN_LSTM
from lstm_lm.cells.gate import InputLayer, draw_keep_bias_, log_ratio
from lstm_lm.cells.state import HiddenState


class MinLSTMCell(Cell):
    """LSTM without recurrence in its gates, one word at a time.

    ::

        f = sigmoid(W_f x + b_f)              what to keep
        i = sigmoid(W_i x + b_i)              what to write
        n = W_n x + b_n                       the candidate
        h' = (f * h + i * n) / (f + i)        a weighted mean, whatever the length of the text

    As in `lstm_lm.cells.MinGRUCell`, the gates do not depend on h, so a window has no matrix
    product per word.

    Args:
        input_size: width E of the input.
        hidden_size: width H of the state.
        memory_words: how long new units keep what they hold. None: about two and a half words, as
            ``b_f`` begins at 1. A number T: each unit keeps it for a random time of up to T words
            (Tallec and Ollivier 2018, arXiv 1804.11188).

    Source: minLSTM, Feng et al. 2024 (arXiv 2410.01201), the version without tanh.
    """

    title = "minLSTM"
    gate_meanings = {
        "forget_gate": "share of the old memory in the new one",
        "input_gate": "share of the candidate in it",
        "candidate": "what could be written, any number",
    }
    keep_gate = "forget_gate"
    state_type = HiddenState
    fused_pass = FUSED_MIN_LSTM

    def __init__(self, input_size: int, hidden_size: int, memory_words: int | None = None) -> None:
        super().__init__(input_size, hidden_size)
        self.forget_gate = InputLayer(input_size, hidden_size)
        self.input_gate = InputLayer(input_size, hidden_size)
        self.candidate = InputLayer(input_size, hidden_size)
        if memory_words is None:
            nn.init.ones_(self.forget_gate.bias)
        else:
            draw_keep_bias_(self.forget_gate.bias, memory_words)
            with torch.no_grad():
                self.input_gate.bias.copy_(-self.forget_gate.bias)

    def forward(self, x: Tensor, state: HiddenState) -> HiddenState:
        """Reads one word ``x (B, E)`` and returns the next state; ``h`` is ``(B, H)``."""
        gates = self.activations(x, state)
        f, i, n = gates["forget_gate"], gates["input_gate"], gates["candidate"]
        return HiddenState(f * state.h + i * n)

    def activations(self, x: Tensor, state: HiddenState) -> dict[str, Tensor]:
        """Computes the gates ``(..., H)`` from ``x (..., E)``.

        Forget and input gate are ``f / (f + i)`` and ``i / (f + i)``: in (0, 1), with the sum 1. n
        is any number.
        """
        ratio = log_ratio(self.forget_gate(x), self.input_gate(x))
        return {
            "forget_gate": torch.sigmoid(ratio),
            "input_gate": torch.sigmoid(-ratio),
            "candidate": self.candidate(x),
        }
