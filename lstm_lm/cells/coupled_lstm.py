"""The LSTM with coupled gates: what is forgotten makes room for what is written."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from lstm_lm.cells.cell import Cell
from lstm_lm.cells.fast.lstm import FUSED_COUPLED_LSTM
from lstm_lm.cells.gate import GateLayer, draw_keep_bias_
from lstm_lm.cells.state import LSTMState


class CoupledLSTMCell(Cell):
    """LSTM whose input gate is ``1 - f``, one word at a time.

    ::

        f = sigmoid(W_f x + U_f h + b_f)      what to keep; the rest is written anew
        g = tanh   (W_g x + U_g h + b_g)      what could be written
        o = sigmoid(W_o x + U_o h + b_o)      what to show
        c' = f * c + (1 - f) * g              the cell state, in (-1, 1)
        h' = o * tanh(c')                     the output

    Args:
        input_size: width E of the input.
        hidden_size: width H of the state.
        memory_words: how long new units keep what they hold. None: about four words, as ``b_f``
            begins at 1. A number T: each unit keeps it for a random time of up to T words (Tallec
            and Ollivier 2018, arXiv 1804.11188).

    Source: CIFG (coupled input and forget gate) in Greff et al. 2015 (arXiv 1503.04069). Differs
    from it in having no peephole weights.
    """

    title = "coupled LSTM"
    gate_meanings = {
        "forget_gate": "1: keep, 0: replace",
        "candidate": "what could be written",
        "output_gate": "1: show, 0: hide",
    }
    keep_gate = "forget_gate"
    state_type = LSTMState
    fused_pass = FUSED_COUPLED_LSTM

    def __init__(self, input_size: int, hidden_size: int, memory_words: int | None = None) -> None:
        super().__init__(input_size, hidden_size)
        self.forget_gate = GateLayer(input_size, hidden_size)
        self.candidate = GateLayer(input_size, hidden_size)
        self.output_gate = GateLayer(input_size, hidden_size)
        if memory_words is None:
            nn.init.ones_(self.forget_gate.bias)
        else:
            draw_keep_bias_(self.forget_gate.bias, memory_words)

    def forward(self, x: Tensor, state: LSTMState) -> LSTMState:
        """Reads one word ``x (B, E)`` and returns the next ``h`` and ``c``, ``(B, H)`` each."""
        h, c = state
        f = torch.sigmoid(self.forget_gate(x, h))
        g = torch.tanh(self.candidate(x, h))
        o = torch.sigmoid(self.output_gate(x, h))
        c = f * c + (1 - f) * g
        h = o * torch.tanh(c)
        return LSTMState(h, c)

    def activations(self, x: Tensor, state: LSTMState) -> dict[str, Tensor]:
        """Computes the gates ``(..., H)`` from ``x (..., E)`` and the state before it.

        f and o are in (0, 1), g is in (-1, 1).
        """
        h = state.h
        return {
            "forget_gate": torch.sigmoid(self.forget_gate(x, h)),
            "candidate": torch.tanh(self.candidate(x, h)),
            "output_gate": torch.sigmoid(self.output_gate(x, h)),
        }
