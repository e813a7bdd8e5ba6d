"""Every cell's equations a second time, from its weights alone, as its paper writes them.

Each function reads a word ``x (..., E)`` and returns the gates by name, and the next state. What
``nudge`` adds to the memory is in the output too: the derivative by it is that by the memory.
"""

import torch
from torch import exp, sigmoid, tanh


def affine(gate, x, h):
    return x @ gate.input_weight.T + h @ gate.recurrent_weight.T + gate.bias


def affine_of_input(gate, x):
    return x @ gate.input_weight.T + gate.bias


def lstm(cell, x, state, nudge):
    h, c = state
    i, f, o = (
        sigmoid(affine(gate, x, h))
        for gate in (cell.input_gate, cell.forget_gate, cell.output_gate)
    )
    g = tanh(affine(cell.candidate, x, h))
    c = i * g + f * c + nudge
    return {"forget_gate": f, "input_gate": i, "candidate": g, "output_gate": o}, (o * tanh(c), c)


def coupled_lstm(cell, x, state, nudge):
    h, c = state
    f, o = sigmoid(affine(cell.forget_gate, x, h)), sigmoid(affine(cell.output_gate, x, h))
    i, g = 1 - f, tanh(affine(cell.candidate, x, h))
    c = i * g + f * c + nudge
    return {"forget_gate": f, "candidate": g, "output_gate": o}, (o * tanh(c), c)


def peephole_lstm(cell, x, state, nudge):
    h, c = state
    i = sigmoid(
        affine(cell.input_gate, x, h) + torch.diag(cell.input_gate_peephole) @ c.mT
        if False
        else affine(cell.input_gate, x, h) + c @ torch.diag(cell.input_gate_peephole)
    )
    f = sigmoid(affine(cell.forget_gate, x, h) + c @ torch.diag(cell.forget_gate_peephole))
    g = tanh(affine(cell.candidate, x, h))
    c = i * g + f * c + nudge
    o = sigmoid(affine(cell.output_gate, x, h) + c @ torch.diag(cell.output_gate_peephole))
    return {"forget_gate": f, "input_gate": i, "candidate": g, "output_gate": o}, (o * tanh(c), c)


def gru(cell, x, state, nudge):
    (h,) = state
    r, z = sigmoid(affine(cell.reset_gate, x, h)), sigmoid(affine(cell.update_gate, x, h))
    from_state = h @ cell.candidate.recurrent_weight.T + cell.candidate_state_bias
    n = tanh(affine_of_input(cell.candidate, x) + r * from_state)
    h = (1 - z) * n + z * h + nudge
    return {"reset_gate": r, "update_gate": z, "candidate": n}, (h,)


def elman(cell, x, state, nudge):
    h = tanh(affine(cell.candidate, x, state[0]))
    return {"candidate": h}, (h + nudge,)


def slstm(cell, x, state, nudge):
    """Without the stabiliser: the paper's c and n, of which the state has c / n and n exp(-m)."""
    h, m, n, c = state
    n = n * exp(m)
    c = c * n
    i, f = exp(affine(cell.input_gate, x, h)), sigmoid(affine(cell.forget_gate, x, h))
    z, o = tanh(affine(cell.candidate, x, h)), sigmoid(affine(cell.output_gate, x, h))
    gates = {"forget_gate": f * n, "input_gate": i, "candidate": z, "output_gate": o}
    m = torch.where(n > 0, torch.maximum(f.log() + m, i.log()), i.log())
    c, n = f * c + i * z, f * n + i
    for name in ("forget_gate", "input_gate"):
        gates[name] = gates[name] / n
    c = c / n + nudge
    return gates, (o * c, m, n * exp(-m), c)


def min_gru(cell, x, state, nudge):
    z = 1 - sigmoid(affine_of_input(cell.update_gate, x))  # the paper's z replaces
    n = affine_of_input(cell.candidate, x)
    h = (1 - z) * state[0] + z * n + nudge
    return {"update_gate": 1 - z, "candidate": n}, (h,)


def min_lstm(cell, x, state, nudge):
    f, i = (sigmoid(affine_of_input(gate, x)) for gate in (cell.forget_gate, cell.input_gate))
    n = affine_of_input(cell.candidate, x)
    f, i = f / (f + i), i / (f + i)
    h = f * state[0] + i * n + nudge
    return {"forget_gate": f, "input_gate": i, "candidate": n}, (h,)


def mogrifier_lstm(cell, x, state, nudge):
    """The rounds as the paper numbers them: from 1, odd ones for x."""
    h, c = state
    for i, part in enumerate(cell.rounds, 1):
        if i % 2:
            x = 2 * sigmoid(h @ part.down.T @ part.up.T + part.bias) * x
        else:
            h = 2 * sigmoid(x @ part.down.T @ part.up.T + part.bias) * h
    return lstm(cell, x, (h, c), nudge)


STEPS = {
    step.__name__: step
    for step in [lstm, gru, elman, peephole_lstm, coupled_lstm, slstm, min_gru, min_lstm]
    + [mogrifier_lstm]
}


def step_by_hand(cell, x, state, nudge=0.0):
    """One word by the equations of a cell of the registry: gates by name, and the next state."""
    module = type(cell).__module__.rpartition(".")[-1]
    gates, after = STEPS[module](cell, x, state, nudge)
    return gates, cell.state_type(*after)
