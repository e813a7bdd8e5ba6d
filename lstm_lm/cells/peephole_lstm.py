"""The LSTM with peepholes: its gates see the cell state."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from lstm_lm.cells.cell import Cell
from lstm_lm.cells.fast.lstm import FUSED_PEEPHOLE_LSTM
from lstm_lm.cells.gate import GateLayer, draw_keep_bias_
from lstm_lm.cells.state import LSTMState


class PeepholeLSTMCell(Cell):
    """LSTM whose gates see the cell state, one word at a time.

    ::

        f = sigmoid(W_f x + U_f h + p_f * c + b_f)      what to keep
        i = sigmoid(W_i x + U_i h + p_i * c + b_i)      what to write
        g = tanh   (W_g x + U_g h + b_g)                what could be written
        c' = f * c + i * g                              the cell state
        o = sigmoid(W_o x + U_o h + p_o * c' + b_o)     what to show
        h' = o * tanh(c')                               the output

    Args:
        input_size: width E of the input.
        hidden_size: width H of the state.
        memory_words: as in `lstm_lm.cells.LSTMCell`.

    Attributes:
        forget_gate_peephole: ``p_f (H,)``; zero at first, as are the two others: a plain LSTM.
        input_gate_peephole: ``p_i (H,)``.
        output_gate_peephole: ``p_o (H,)``.

    Source: Gers and Schmidhuber 2000 (IJCNN), with the forget gate of Gers et al. 2000. Differs
    from them in using tanh for both squashing functions, as Graves 2013 (arXiv 1308.0850) does.
    """

    title = "peephole LSTM"
    gate_meanings = {
        "forget_gate": "1: keep, 0: forget",
        "input_gate": "1: write, 0: ignore",
        "candidate": "what could be written",
        "output_gate": "1: show, 0: hide",
    }
    keep_gate = "forget_gate"
    state_type = LSTMState
    fused_pass = FUSED_PEEPHOLE_LSTM

    def __init__(self, input_size: int, hidden_size: int, memory_words: int | None = None) -> None:
        super().__init__(input_size, hidden_size)
        self.forget_gate = GateLayer(input_size, hidden_size)
        self.input_gate = GateLayer(input_size, hidden_size)
        self.candidate = GateLayer(input_size, hidden_size)
        self.output_gate = GateLayer(input_size, hidden_size)
        self.forget_gate_peephole = nn.Parameter(torch.zeros(hidden_size))
        self.input_gate_peephole = nn.Parameter(torch.zeros(hidden_size))
        self.output_gate_peephole = nn.Parameter(torch.zeros(hidden_size))
        if memory_words is None:
            nn.init.ones_(self.forget_gate.bias)
        else:
            draw_keep_bias_(self.forget_gate.bias, memory_words)
            with torch.no_grad():
                self.input_gate.bias.copy_(-self.forget_gate.bias)

    def forward(self, x: Tensor, state: LSTMState) -> LSTMState:
        """Reads one word ``x (B, E)`` and returns the next ``h`` and ``c``, ``(B, H)`` each."""
        h, c = state
        f = torch.sigmoid(self.forget_gate(x, h) + self.forget_gate_peephole * c)
        i = torch.sigmoid(self.input_gate(x, h) + self.input_gate_peephole * c)
        g = torch.tanh(self.candidate(x, h))
        c = f * c + i * g
        o = torch.sigmoid(self.output_gate(x, h) + self.output_gate_peephole * c)
        h = o * torch.tanh(c)
        return LSTMState(h, c)

    def activations(self, x: Tensor, state: LSTMState) -> dict[str, Tensor]:
        """Computes the gates ``(..., H)`` from ``x (..., E)`` and the state before it.

        f, i and o are in (0, 1), g is in (-1, 1).
        """
        h, c = state
        f = torch.sigmoid(self.forget_gate(x, h) + self.forget_gate_peephole * c)
        i = torch.sigmoid(self.input_gate(x, h) + self.input_gate_peephole * c)
        g = torch.tanh(self.candidate(x, h))
        c = f * c + i * g
        o = torch.sigmoid(self.output_gate(x, h) + self.output_gate_peephole * c)
        return {"forget_gate": f, "input_gate": i, "candidate": g, "output_gate": o}

    def peepholes(self) -> Tensor:
        """Returns the peephole weights, stacked in the order f, i, o: ``(3, H)``."""
        return torch.stack(
            [self.forget_gate_peephole, self.input_gate_peephole, self.output_gate_peephole]
        )
