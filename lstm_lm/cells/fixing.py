"""A gate that always has the same value: what a cell can do without it.

A gate is fixed by its parameters: its weights become zero, and its bias the pre-activation of the
value. The cell's equations stay as they are, so every way to run the cell computes the same.

Shapes: H hidden size.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor

from lstm_lm.cells.cell import Cell
from lstm_lm.errors import InputError

# At these pre-activations a sigmoid is 0 or 1 and a tanh -1 or 1, without any rest, in float32 and
# in float64.
MOST_BIAS = 1000.0
_HALVINGS = 70  # 2000 / 2^70 is less than the rounding of a float64
_TOLERANCE = 1e-6


@torch.no_grad()
def fix_gate_(cell: Cell, gate: str, value: float | Tensor) -> None:
    """Gives a gate one value for good, in place.

    All parameters of the gate become zero, except for its bias. They are those of its layer, and
    those of the cell whose names begin with the gate's, such as a GRU's ``candidate_state_bias``.

    Args:
        cell: any cell.
        gate: the name of one of its gate layers.
        value: of the gate's activation; one for each unit, ``(H,)``, or one for all.

    Raises:
        InputError: the cell has no such gate, the gate cannot have this value, or it depends on
            other things than these parameters.
    """
    gates = cell.gates()
    if gate not in gates:
        raise InputError(
            f"fix {gate}: {cell.title} has no such gate that can be fixed; choose "
            + " or ".join(gates)
        )
    wanted = torch.as_tensor(value, dtype=torch.float64, device="cpu").expand(cell.hidden_size)
    trial = copy.deepcopy(cell).to("cpu", torch.float64)
    _clear_(trial, gate)
    bias = _bias_for(trial, gate, wanted)
    trial.gates()[gate].bias.copy_(bias)
    _check_constant(trial, gate, wanted)
    _clear_(cell, gate)
    gates[gate].bias.copy_(bias)


def _clear_(cell: Cell, gate: str) -> None:
    for name, parameter in cell.named_parameters():
        if name.startswith((f"{gate}.", f"{gate}_")):
            parameter.zero_()


def _bias_for(cell: Cell, gate: str, wanted: Tensor) -> Tensor:
    """The bias ``(H,)`` with which a gate without weights has a value; found by halving.

    So the activation can be any function that grows: sigmoid, tanh, exp.
    """
    x, state = wanted.new_zeros(1, cell.input_size), cell.zero_state(1)

    def value_at(bias: Tensor) -> Tensor:
        cell.gates()[gate].bias.copy_(bias)
        return cell.activations(x, state)[gate][0]

    low, high = torch.full_like(wanted, -MOST_BIAS), torch.full_like(wanted, MOST_BIAS)
    least, most = value_at(low), value_at(high)
    outside = ~((wanted >= least) & (wanted <= most))  # true for NaN
    if outside.any():
        found, first = float(wanted[outside][0]), int(outside.nonzero()[0])
        raise InputError(
            f"fix {gate}: found {found:g}, must be from {float(least[first]):g} to "
            f"{float(most[first]):g}, or mean"
        )
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        is_less = value_at(middle) < wanted
        low, high = torch.where(is_less, middle, low), torch.where(is_less, high, middle)
    return high


def _check_constant(cell: Cell, gate: str, wanted: Tensor) -> None:
    """Checks that the gate has its value whatever the cell reads and remembers."""
    draw = torch.Generator().manual_seed(0)

    def random(width: int) -> Tensor:
        return torch.randn(64, width, generator=draw, dtype=torch.float64)

    state = cell.state_type(*(random(cell.hidden_size) for _ in cell.state_type._fields))
    found = cell.activations(random(cell.input_size), state)[gate]
    if not torch.allclose(found, wanted.expand_as(found), _TOLERANCE, _TOLERANCE):
        raise InputError(
            f"fix {gate}: impossible in this cell ({cell.title}), because the gate's value also "
            f"depends on other gates; choose another gate"
        )
