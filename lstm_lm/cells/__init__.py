"""The heart of the house: recurrent cells as their equations, and two ways to run them over time.

Open the files in this order: `gate.py` (one gate's affine layer), `lstm.py` (four of them and a conveyor belt),
`sequence.py` (the cell, word after word), then `fused.py` (the same parameters, a whole window at a time), and an
LSTM's window as one piece of work: `on_cpu.c` in C, `on_gpu.py` in Triton.

Every cell has one contract. It is an ``nn.Module`` whose children are its `GateLayer`s by name; it has ``input_size``
and ``hidden_size``; ``cell(x, state)`` takes ``x (B, E)`` and an `LSTMState` and returns the next `LSTMState`;
``cell.activations(x, h)`` has, by the gates' names, what they say meanwhile; ``cell.keep_gate`` is the name of the
one that multiplies the old memory, or None.
Whoever runs, trains, probes or traces a cell does not know which one it holds.
"""

from lstm_lm.cells.elman import ElmanCell
from lstm_lm.cells.fused import run_fused
from lstm_lm.cells.gate import GateLayer, LSTMState
from lstm_lm.cells.gru import GRUCell
from lstm_lm.cells.lstm import LSTMCell, from_torch_lstm, to_torch_lstm
from lstm_lm.cells.sequence import run_readable

__all__ = [
    "ElmanCell",
    "GRUCell",
    "GateLayer",
    "LSTMCell",
    "LSTMState",
    "from_torch_lstm",
    "run_fused",
    "run_readable",
    "to_torch_lstm",
]
