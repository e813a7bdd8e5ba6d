"""Recurrent cells: their equations, and two ways to run them over a window of words.

Read the files in this order:

- `gate.py`: the affine layer of one gate,
- `lstm.py`: four of them and the six equations; a file likewise for every other cell,
- `state.py` and `cell.py`: what every cell has, whatever its equations,
- `sequence.py`: a cell over a window, one call per word,
- `fused.py`: the same over a whole window at once, which is what training uses,
- `fixing.py`: a gate that always has the same value, to see what a cell can do without it.

`fast/` makes that second way fast: loops in C and Triton, and matrix products. Nothing else needs
to know it. `registry.py` finds cells by name. To add a cell, write one file here and one line in
`lstm_lm.config.settings.CELLS`.
"""

from lstm_lm.cells.cell import Cell
from lstm_lm.cells.coupled_lstm import CoupledLSTMCell
from lstm_lm.cells.elman import ElmanCell
from lstm_lm.cells.fast.on_cpu import why_not_compiled
from lstm_lm.cells.fixing import fix_gate_
from lstm_lm.cells.fused import lacks_compiler, run_fused
from lstm_lm.cells.gate import GateLayer, InputLayer
from lstm_lm.cells.gru import GRUCell
from lstm_lm.cells.lstm import LSTMCell, from_torch_lstm, to_torch_lstm
from lstm_lm.cells.min_gru import MinGRUCell
from lstm_lm.cells.min_lstm import MinLSTMCell
from lstm_lm.cells.mogrifier_lstm import MogrifierLSTMCell
from lstm_lm.cells.peephole_lstm import PeepholeLSTMCell
from lstm_lm.cells.registry import find_cell, register_cell
from lstm_lm.cells.sequence import run_readable, states_over
from lstm_lm.cells.slstm import SLSTMCell
from lstm_lm.cells.state import HiddenState, LSTMState, SLSTMState, State

__all__ = [
    "Cell",
    "CoupledLSTMCell",
    "ElmanCell",
    "GRUCell",
    "GateLayer",
    "HiddenState",
    "InputLayer",
    "LSTMCell",
    "LSTMState",
    "MinGRUCell",
    "MinLSTMCell",
    "MogrifierLSTMCell",
    "PeepholeLSTMCell",
    "SLSTMCell",
    "SLSTMState",
    "State",
    "find_cell",
    "fix_gate_",
    "from_torch_lstm",
    "lacks_compiler",
    "register_cell",
    "run_fused",
    "run_readable",
    "states_over",
    "to_torch_lstm",
    "why_not_compiled",
]
