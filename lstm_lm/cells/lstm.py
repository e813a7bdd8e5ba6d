"""The LSTM cell: four gate layers and a conveyor belt. Start reading here."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from lstm_lm.cells.gate import GateLayer, LSTMState, draw_keep_bias_


class LSTMCell(nn.Module):
    """Long short-term memory, one word at a time.

    ::

        f = sigmoid(W_f x + U_f h + b_f)      what to let go of
        i = sigmoid(W_i x + U_i h + b_i)      what to write
        g = tanh   (W_g x + U_g h + b_g)      the candidate to be written
        o = sigmoid(W_o x + U_o h + b_o)      what to show
        c' = f * c + i * g                    the conveyor belt
        h' = o * tanh(c')                     the output

    Args:
        input_size: width E of the input.
        hidden_size: width H of the state.
        memory_words: None: ``b_f`` is 1 at first, so that a new cell keeps what it holds for a few words (Jozefowicz
            et al. 2015). A number T: each unit keeps it for a time of its own, drawn from 1 to T words.

    Source: Hochreiter and Schmidhuber 1997; the forget gate is that of Gers et al. 2000; times drawn, Tallec and
    Ollivier 2018 (arXiv 1804.11188).
    Differs from ``torch.nn.LSTMCell`` in having one bias per gate instead of two, and its gates by name.
    """

    keep_gate = "forget_gate"

    def __init__(self, input_size: int, hidden_size: int, memory_words: int | None = None) -> None:
        super().__init__()
        self.input_size, self.hidden_size = input_size, hidden_size
        self.forget_gate = GateLayer(input_size, hidden_size)
        self.input_gate = GateLayer(input_size, hidden_size)
        self.candidate = GateLayer(input_size, hidden_size)
        self.output_gate = GateLayer(input_size, hidden_size)
        if memory_words is None:
            nn.init.ones_(self.forget_gate.bias)
        else:
            draw_keep_bias_(self.forget_gate.bias, memory_words)
            with torch.no_grad():
                self.input_gate.bias.copy_(-self.forget_gate.bias)

    def forward(self, x: Tensor, state: LSTMState) -> LSTMState:
        """Reads ``x (B, E)`` in ``state`` (``h`` and ``c``, each ``(B, H)``) and returns the next state."""
        h, c = state
        f = torch.sigmoid(self.forget_gate(x, h))
        i = torch.sigmoid(self.input_gate(x, h))
        g = torch.tanh(self.candidate(x, h))
        o = torch.sigmoid(self.output_gate(x, h))
        c = f * c + i * g
        h = o * torch.tanh(c)
        return LSTMState(h, c)

    def activations(self, x: Tensor, h: Tensor) -> dict[str, Tensor]:
        """What each gate says to ``x (..., E)`` and ``h (..., H)``: f, i, o in (0, 1), g in (-1, 1), ``(..., H)``."""
        return {
            "forget_gate": torch.sigmoid(self.forget_gate(x, h)),
            "input_gate": torch.sigmoid(self.input_gate(x, h)),
            "candidate": torch.tanh(self.candidate(x, h)),
            "output_gate": torch.sigmoid(self.output_gate(x, h)),
        }


TORCH_GATE_ORDER = ("input_gate", "forget_gate", "candidate", "output_gate")


def from_torch_lstm(lstm: nn.LSTM) -> list[LSTMCell]:
    """Copies a ``torch.nn.LSTM`` into cells, the lowest layer first.

    torch stacks its gates in the order i, f, g, o and gives each two biases, ``b_ih`` and ``b_hh``; a cell here has
    their sum. The function computed is the same. Training it is not quite: torch's two biases get the same gradient,
    so under SGD their sum moves twice as far in a step as our one bias does.

    Raises:
        ValueError: if the LSTM is bidirectional or has projections.
    """
    if lstm.bidirectional or lstm.proj_size:
        raise ValueError(
            "only a one-directional torch.nn.LSTM without projections has these cells inside"
        )
    cells = []
    for layer in range(lstm.num_layers):
        weight_ih, weight_hh = (
            getattr(lstm, f"weight_ih_l{layer}"),
            getattr(lstm, f"weight_hh_l{layer}"),
        )
        cell = LSTMCell(weight_ih.shape[1], lstm.hidden_size).to(weight_ih)
        bias = (
            getattr(lstm, f"bias_ih_l{layer}") + getattr(lstm, f"bias_hh_l{layer}")
            if lstm.bias
            else None
        )
        with torch.no_grad():
            for k, name in enumerate(TORCH_GATE_ORDER):
                gate, rows = (
                    getattr(cell, name),
                    slice(k * lstm.hidden_size, (k + 1) * lstm.hidden_size),
                )
                gate.input_weight.copy_(weight_ih[rows])
                gate.recurrent_weight.copy_(weight_hh[rows])
                gate.bias.copy_(bias[rows] if bias is not None else torch.zeros_like(gate.bias))
        cells.append(cell)
    return cells


def to_torch_lstm(cells: Sequence[LSTMCell]) -> nn.LSTM:
    """Copies stacked cells of equal width into a ``torch.nn.LSTM``; our bias becomes ``b_ih``, and ``b_hh`` is zero.

    Raises:
        ValueError: if the cells' sizes differ in a way that one ``torch.nn.LSTM`` cannot hold.
    """
    first = cells[0]
    for cell in cells[1:]:
        if cell.input_size != first.hidden_size or cell.hidden_size != first.hidden_size:
            raise ValueError(
                "a torch.nn.LSTM has one hidden_size for all its layers; these cells differ"
            )
    weight = first.forget_gate.bias
    lstm = nn.LSTM(first.input_size, first.hidden_size, num_layers=len(cells)).to(weight)
    with torch.no_grad():
        for layer, cell in enumerate(cells):
            gates = [getattr(cell, name) for name in TORCH_GATE_ORDER]
            getattr(lstm, f"weight_ih_l{layer}").copy_(
                torch.cat([gate.input_weight for gate in gates])
            )
            getattr(lstm, f"weight_hh_l{layer}").copy_(
                torch.cat([gate.recurrent_weight for gate in gates])
            )
            getattr(lstm, f"bias_ih_l{layer}").copy_(torch.cat([gate.bias for gate in gates]))
            getattr(lstm, f"bias_hh_l{layer}").zero_()
    return lstm
