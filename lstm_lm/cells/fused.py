"""The same cells and parameters over a whole window at once: what training uses.

Four things make it fast:

- the gates' weights are stacked once per window;
- ``W x + b`` of all T words is one product, computed before the loop over words;
- the loop has one small product per word and writes into memory that is allocated once;
- the backward pass is derived by hand, so its loop, too, has one product per word, and each weight
  gradient is a single product over all T*B rows.

Below, ``a_k`` is the pre-activation of gate k, and ``da_k = dL/da_k``. Words are visited from the
last to the first.

**LSTM.** ::

    dh   = dL/dh_t + sum_k da_k(t+1) U_k
    dc   = dc + dh * o * (1 - tanh(c)^2)
    da_f = dc * c_prev * f * (1 - f)         da_o = dh * tanh(c) * o * (1 - o)
    da_i = dc * g * i * (1 - i)              da_g = dc * i * (1 - g^2)
    dc   = dc * f

With peepholes, ``da_o * p_o`` is added to ``dc`` before the other gates, and ``da_f * p_f + da_i *
p_i`` after them. ``dp_f = sum_t da_f * c_prev``, likewise ``dp_i``, and ``dp_o = sum_t da_o * c``.
With coupled gates, ``i`` is ``1 - f``, there is no ``da_i``, and ``da_f = dc * (c_prev - g) * f *
(1 - f)``.

**Mogrifier LSTM.** As the LSTM, but the gates see x and h after r rounds. If k is odd, round k is
``x' = m_k * x`` with ``m_k = 1 + tanh(u_k)`` and ``2 u_k = Q_k R_k h + b_k``; if it is even, x and
h change places. At first, ``dx = sum_k da_k W_k`` and ``dh = sum_k da_k U_k``. Then, from the last
round to the first, here for an odd k::

    du_k = dx * x * (1 - tanh(u_k)^2)
    dh   = dh + (du_k Q_k / 2) R_k,   dx = dx * m_k

Then dx is the gradient of the input and dh that of ``h_prev``. ``dQ_k = sum_t du_k^T (R_k h) / 2``,
``dR_k = sum_t (du_k Q_k / 2)^T h`` and ``db_k = sum_t du_k / 2``, once after the loop.

**sLSTM**, with ``s = f n_prev / n``, the share of the old c in the new one: ``c = s c_prev +
(1 - s) g``. q is the gradient of log n where m is constant, and e that of m where ``n exp(m)`` is
constant. k is 1 where ``m > log i``, and else 0. ::

    dh   = dL/dh_t + sum_k da_k(t+1) U_k
    dc   = dc + dh * o
    da_o = dh * c * o * (1 - o)              da_g = dc * (1 - s) * (1 - g^2)
    q'   = dc * (c_prev - g) * s * (1 - s) + q * s
    da_i = q + e - (q' + e * k)              da_f = (q' + e * k) * (1 - f)
    dc   = dc * s,   q = q',   e = e * k

**GRU**, with ``s = U_n h_prev + b_u``. ::

    dh   = dL/dh_t + dh(t+1) * z(t+1) + da_r(t+1) U_r + da_z(t+1) U_z + (da_n r)(t+1) U_n
    da_n = dh * (1 - z) * (1 - n^2)
    da_z = dh * (h_prev - n) * z * (1 - z)
    da_r = da_n * s * r * (1 - r)

**Elman.** ::

    dh = dL/dh_t + da(t+1) U
    da = dh * (1 - h^2)

**minGRU and minLSTM**, with ``h = k h_prev + (1 - k) n`` and ``k = sigmoid(u)``. There is no U. ::

    dh = dL/dh_t + dh(t+1) * k(t+1)
    dn = dh * (1 - k)
    du = dh * (h_prev - n) * k * (1 - k)

After the loop, ``dU = sum_t da(t)^T h_{t-1}``, once. The factors of ``dh`` and ``dc`` are all known
after the forward pass, so they are computed in bulk before the loop. Autograd has the gradients of
``W``, ``b`` and the inputs: they are those of the one product before the loop, whose incoming
gradient is ``da``. Where ``keep`` is 0 before a word, ``h_{t-1}`` and ``c_{t-1}`` are zero in these
equations, and so are their gradients.

The code is in `lstm_lm.cells.fast`: one module per cell in torch's operators, for any device and
precision. An LSTM's loops exist twice more, in C (`on_cpu`) and in Triton (`on_gpu`), and are taken
where those can run; in C, also those of the LSTMs with peepholes and with coupled gates.

Shapes: T time, B batch, E input size, H hidden size; G gates stacked.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from lstm_lm.cells.cell import Cell
from lstm_lm.cells.fast import on_cpu
from lstm_lm.cells.fast.products import MIN_ROWS_FOR_BLOCKED_PRODUCT, is_fast_bfloat16, linear
from lstm_lm.cells.gate import GateLayer
from lstm_lm.cells.sequence import run_readable
from lstm_lm.cells.state import StateT


def run_fused(
    cell: Cell,
    inputs: Tensor,
    state: StateT,
    recurrent_masks: Mapping[str, Tensor] | None = None,
    keep: Tensor | None = None,
) -> tuple[Tensor, StateT]:
    """Runs a cell over a window; arguments, results and gradients are those of `run_readable`.

    A cell without a fused pass runs by `run_readable`. So does a single word without gradients, for
    which stacking the weights would take longer than it saves.

    Under autocast, what is in low precision depends on the device and the cell:

    ====================  ==================================================
    GPU, LSTM             all products and h; c is in the weights' precision
    GPU, other cells      the input product
    CPU with bfloat16     all products; in C only the weights are rounded
    CPU without bfloat16  the input product
    ====================  ==================================================

    A Mogrifier LSTM has no input product before the loop: there, the inputs are rounded.

    States otherwise stay in the weights' precision, because rounding errors would add up over the
    window.
    """
    if cell.fused_pass is None or (len(inputs) == 1 and not torch.is_grad_enabled()):
        return run_readable(cell, inputs, state, recurrent_masks, keep)
    factors, masks = cell.fused_pass.factors, recurrent_masks or {}
    gates = {name: getattr(cell, name) for name in factors}

    def stack(parts: Iterable[Tensor], dim: int = 0) -> Tensor:
        """Stacks one part per gate, each multiplied by the gate's factor."""
        scaled = [
            part if factor == 1 else factor * part
            for factor, part in zip(factors.values(), parts, strict=True)
        ]
        return torch.cat(scaled, dim)

    if all(isinstance(gate, GateLayer) for gate in gates.values()):
        recurrent = stack(
            gate.recurrent_weight * masks[name] if name in masks else gate.recurrent_weight
            for name, gate in gates.items()
        )  # (G*H, H)
    else:
        recurrent = next(cell.parameters()).new_empty(0, cell.hidden_size)
    if not cell.fused_pass.hoists_input:
        device = inputs.device.type
        is_low = torch.is_autocast_enabled(device)
        projected = inputs.to(torch.get_autocast_dtype(device)) if is_low else inputs
    elif inputs[..., 0].numel() < MIN_ROWS_FOR_BLOCKED_PRODUCT:
        # For few rows it takes less time to stack the products than the weights.
        products = (F.linear(inputs, gate.input_weight, gate.bias) for gate in gates.values())
        projected = stack(products, dim=-1)
    else:
        input_weight = stack(gate.input_weight for gate in gates.values())
        projected = linear(inputs, input_weight, stack(gate.bias for gate in gates.values()))
    # projected: (T, B, G*H), or the inputs
    state_type: Any = type(state)
    state = state_type(*(part.to(recurrent.dtype) for part in state))
    if keep is not None:
        keep = keep.unsqueeze(-1).to(recurrent.dtype).contiguous()  # (T, B, 1)
    with torch.autocast(inputs.device.type, enabled=False):
        if is_fast_bfloat16(projected):
            recurrent = recurrent.to(projected.dtype)
        return cell.fused_pass.run(cell, projected, recurrent, state, keep)


def lacks_compiler(cell: Cell) -> bool:
    """Whether a cell has loops in C that this machine cannot compile, so that it runs slower."""
    has_c_loop = cell.fused_pass is not None and cell.fused_pass.has_c_loop
    return has_c_loop and not on_cpu.is_compiled()
