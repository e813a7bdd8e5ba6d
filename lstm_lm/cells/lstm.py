"""The LSTM cell: four gate layers and a cell state. Start reading here."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from lstm_lm.cells.cell import Cell
from lstm_lm.cells.fast.lstm import FUSED_LSTM
from lstm_lm.cells.gate import GateLayer, draw_keep_bias_
from lstm_lm.cells.state import LSTMState


class LSTMCell(Cell):
    """Long short-term memory, one word at a time.

    ::

        f = sigmoid(W_f x + U_f h + b_f)      what to keep
        i = sigmoid(W_i x + U_i h + b_i)      what to write
        g = tanh   (W_g x + U_g h + b_g)      what could be written
        o = sigmoid(W_o x + U_o h + b_o)      what to show
        c' = f * c + i * g                    the cell state
        h' = o * tanh(c')                     the output

    Args:
        input_size: width E of the input.
        hidden_size: width H of the state.
        memory_words: how long new units keep what they hold. None: about four words, as ``b_f``
            begins at 1 (Jozefowicz et al. 2015). A number T: each unit keeps it for a random time
            of up to T words (Tallec and Ollivier 2018, arXiv 1804.11188).

    Source: Hochreiter and Schmidhuber 1997; the forget gate is from Gers et al. 2000.
    Differs from ``torch.nn.LSTMCell`` in having one bias per gate instead of two, and a name for
    every gate.
    """

    title = "LSTM"
    gate_meanings = {
        "forget_gate": "1: keep, 0: forget",
        "input_gate": "1: write, 0: ignore",
        "candidate": "what could be written",
        "output_gate": "1: show, 0: hide",
    }
    keep_gate = "forget_gate"
    state_type = LSTMState
    fused_pass = FUSED_LSTM

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
            with torch.no_grad():
                self.input_gate.bias.copy_(-self.forget_gate.bias)

    def forward(self, x: Tensor, state: LSTMState) -> LSTMState:
        """Reads one word ``x (B, E)`` and returns the next ``h`` and ``c``, ``(B, H)`` each."""
        h, c = state
        f = torch.sigmoid(self.forget_gate(x, h))
        i = torch.sigmoid(self.input_gate(x, h))
        g = torch.tanh(self.candidate(x, h))
        o = torch.sigmoid(self.output_gate(x, h))
        c = f * c + i * g
        h = o * torch.tanh(c)
        return LSTMState(h, c)

    def activations(self, x: Tensor, state: LSTMState) -> dict[str, Tensor]:
        """Computes the gates ``(..., H)`` from ``x (..., E)`` and the state before it.

        f, i and o are in (0, 1), g is in (-1, 1).
        """
        h = state.h
        return {
            "forget_gate": torch.sigmoid(self.forget_gate(x, h)),
            "input_gate": torch.sigmoid(self.input_gate(x, h)),
            "candidate": torch.tanh(self.candidate(x, h)),
            "output_gate": torch.sigmoid(self.output_gate(x, h)),
        }


TORCH_GATE_ORDER = ("input_gate", "forget_gate", "candidate", "output_gate")


def from_torch_lstm(lstm: nn.LSTM) -> list[LSTMCell]:
    """Copies a ``torch.nn.LSTM`` into cells, the lowest layer first.

    torch stacks its gates in the order i, f, g, o and gives each gate two biases, ``b_ih`` and
    ``b_hh``. A cell here has one bias, their sum. Both compute the same function, but SGD trains
    them differently: torch's two biases get the same gradient, so their sum moves twice as far in a
    step as one bias does.

    Raises:
        ValueError: if the LSTM is bidirectional or has projections.
    """
    if lstm.bidirectional or lstm.proj_size:
        raise ValueError(
            "found a torch.nn.LSTM that is bidirectional or has projections; cells can hold one "
            "that is one-directional and has none"
        )
    return [_from_torch_layer(lstm, layer) for layer in range(lstm.num_layers)]


def _from_torch_layer(lstm: nn.LSTM, layer: int) -> LSTMCell:
    input_weight = getattr(lstm, f"weight_ih_l{layer}")
    cell = LSTMCell(input_weight.shape[1], lstm.hidden_size).to(input_weight)
    if lstm.bias:
        bias = getattr(lstm, f"bias_ih_l{layer}") + getattr(lstm, f"bias_hh_l{layer}")
    else:
        bias = input_weight.new_zeros(4 * lstm.hidden_size)
    recurrent_weight = getattr(lstm, f"weight_hh_l{layer}")
    stacked = zip(
        TORCH_GATE_ORDER,
        input_weight.chunk(4),
        recurrent_weight.chunk(4),
        bias.chunk(4),
        strict=True,
    )
    with torch.no_grad():
        for name, gate_input_weight, gate_recurrent_weight, gate_bias in stacked:
            gate = getattr(cell, name)
            gate.input_weight.copy_(gate_input_weight)
            gate.recurrent_weight.copy_(gate_recurrent_weight)
            gate.bias.copy_(gate_bias)
    return cell


def to_torch_lstm(cells: Sequence[LSTMCell]) -> nn.LSTM:
    """Copies stacked cells of equal width into a ``torch.nn.LSTM``.

    Our bias becomes ``b_ih``; ``b_hh`` is zero.

    Raises:
        ValueError: if a cell has other equations, or a layer above the lowest has another input or
            hidden size: ``torch.nn.LSTM`` has one for all.
    """
    first = cells[0]
    for cell in cells:
        if type(cell) is not LSTMCell:
            raise ValueError(f"a torch.nn.LSTM cannot hold the cell {cell.title}; give LSTM cells")
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
            input_weights = torch.cat([gate.input_weight for gate in gates])
            recurrent_weights = torch.cat([gate.recurrent_weight for gate in gates])
            getattr(lstm, f"weight_ih_l{layer}").copy_(input_weights)
            getattr(lstm, f"weight_hh_l{layer}").copy_(recurrent_weights)
            getattr(lstm, f"bias_ih_l{layer}").copy_(torch.cat([gate.bias for gate in gates]))
            getattr(lstm, f"bias_hh_l{layer}").zero_()
    return lstm
