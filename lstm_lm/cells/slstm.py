"""The sLSTM cell: an exponential input gate, so that a word can outweigh all words before it."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lstm_lm.cells.cell import Cell
from lstm_lm.cells.fast.slstm import FUSED_SLSTM
from lstm_lm.cells.gate import GateLayer, draw_keep_bias_
from lstm_lm.cells.state import SLSTMState


class SLSTMCell(Cell):
    """LSTM with an exponential input gate and a normaliser, one word at a time.

    ::

        f = sigmoid(W_f x + U_f h + b_f)      what to keep
        i = exp    (W_i x + U_i h + b_i)      what to write, from 0 to infinity
        g = tanh   (W_g x + U_g h + b_g)      what could be written
        o = sigmoid(W_o x + U_o h + b_o)      what to show
        n' = f * n + i                        the normaliser
        c' = (f * n * c + i * g) / n'         the cell state, a weighted mean of all g
        h' = o * c'                           the output

    In an LSTM a word can be written once, at most at full strength. Here a later word can have any
    weight, so it can revise what was stored.

    ``i`` may be too large for a float. So f and i are divided by ``exp(m')``, where ``m' =
    max(log f + m, log i)`` is the stabiliser; it cancels in ``c'``. The stored n is ``n / exp(m)``.

    Args:
        input_size: width E of the input.
        hidden_size: width H of the state.
        memory_words: how long new units keep what they hold. None: about four words, as ``b_f``
            begins at 1. A number T: each unit keeps it for a random time of up to T words (Tallec
            and Ollivier 2018, arXiv 1804.11188).

    Source: sLSTM of xLSTM, Beck et al. 2024 (arXiv 2405.04517), with one head: every gate has a
    full recurrent matrix. Differs from it in what c stands for: here it is the paper's ``c / n``,
    which is in (-1, 1) and comparable from word to word. The function is the same. There is no
    layer normalisation, convolution or projection around the cell. Of the paper's two forget
    gates, sigmoid and exp, it has the sigmoid.
    """

    title = "sLSTM"
    gate_meanings = {
        "forget_gate": "share of the old memory in the new one",
        "input_gate": "share of the candidate in it",
        "candidate": "what could be written",
        "output_gate": "1: show, 0: hide",
    }
    keep_gate = "forget_gate"
    state_type = SLSTMState
    fused_pass = FUSED_SLSTM

    def __init__(self, input_size: int, hidden_size: int, memory_words: int | None = None) -> None:
        super().__init__(input_size, hidden_size)
        self.forget_gate = GateLayer(input_size, hidden_size)
        self.input_gate = GateLayer(input_size, hidden_size)
        self.candidate = GateLayer(input_size, hidden_size)
        self.output_gate = GateLayer(input_size, hidden_size)
        if memory_words is None:
            nn.init.ones_(self.forget_gate.bias)
        else:
            draw_keep_bias_(self.forget_gate.bias, memory_words)

    def forward(self, x: Tensor, state: SLSTMState) -> SLSTMState:
        """Reads one word ``x (B, E)`` and returns the next state, ``(B, H)`` each."""
        h, m, n, c = state
        f, i, m = self._stabilised(x, state)
        g = torch.tanh(self.candidate(x, h))
        o = torch.sigmoid(self.output_gate(x, h))
        kept = f * n
        n = kept + i
        c = (kept * c + i * g) / n
        h = o * c
        return SLSTMState(h, m, n, c)

    def activations(self, x: Tensor, state: SLSTMState) -> dict[str, Tensor]:
        """Computes the gates ``(..., H)`` from ``x (..., E)`` and the state before it.

        Forget and input gate are ``f * n / n'`` and ``i / n'``, by which the old c and g are
        multiplied: in (0, 1), with the sum 1. g is in (-1, 1), o in (0, 1).
        """
        f, i, _ = self._stabilised(x, state)
        kept = f * state.n
        return {
            "forget_gate": kept / (kept + i),
            "input_gate": i / (kept + i),
            "candidate": torch.tanh(self.candidate(x, state.h)),
            "output_gate": torch.sigmoid(self.output_gate(x, state.h)),
        }

    def _stabilised(self, x: Tensor, state: SLSTMState) -> tuple[Tensor, Tensor, Tensor]:
        """Returns f and i, divided by ``exp(m')``, and the next stabiliser ``m'``."""
        log_f = F.logsigmoid(self.forget_gate(x, state.h))
        log_i = self.input_gate(x, state.h)
        # Where n is 0, nothing is stored yet: f does not matter, and must not hide i.
        log_kept = torch.where(state.n > 0, log_f + state.m, -torch.inf)
        m = torch.maximum(log_kept, log_i)
        return torch.exp(log_kept - m), torch.exp(log_i - m), m
