"""An LSTM's window: in C (`on_cpu`) or Triton (`on_gpu`) where possible, else in torch's operators.

The equations of the backward pass are in `lstm_lm.cells.fused`. Gates are stacked in the order
f, i, g, o. A coupled LSTM has no i, but ``1 - f`` in its place. Peephole weights are stacked in the
order f, i, o. Triton has neither of these two.

Shapes: T time, B batch, H hidden size, G gates: 4, or 3 of a coupled LSTM.
"""

from __future__ import annotations

import importlib.util
from functools import cache
from types import ModuleType
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from lstm_lm.cells.fast import on_cpu
from lstm_lm.cells.fast.products import product_adder, rows_gradient, weight_gradient
from lstm_lm.cells.fast.window import (
    FusedPass,
    keep_per_word,
    sigmoid_backward,
    states_of_window,
    tanh_backward,
    where_kept,
)
from lstm_lm.cells.state import LSTMState


def run_lstm(
    cell: Any, projected: Tensor, recurrent: Tensor, state: LSTMState, keep: Tensor | None
) -> tuple[Tensor, LSTMState]:
    """Runs an LSTM over a window; arguments and results are those of `FusedPass.run`."""
    on_gpu = _on_gpu() if projected.is_cuda else None
    if on_gpu is None or not on_gpu.can_run(projected):
        return _run(projected, recurrent, state, None, keep)
    recurrent = recurrent.to(projected.dtype)
    outputs, last_c = on_gpu.run_window(projected, recurrent, state.h, state.c, keep)
    return outputs, LSTMState(outputs[-1].to(state.h.dtype), last_c)


def run_coupled_lstm(
    cell: Any, projected: Tensor, recurrent: Tensor, state: LSTMState, keep: Tensor | None
) -> tuple[Tensor, LSTMState]:
    """Runs a coupled LSTM over a window, likewise."""
    return _run(projected, recurrent, state, None, keep)


def run_peephole_lstm(
    cell: Any, projected: Tensor, recurrent: Tensor, state: LSTMState, keep: Tensor | None
) -> tuple[Tensor, LSTMState]:
    """Runs an LSTM with peepholes over a window, likewise."""
    return _run(projected, recurrent, state, cell.peepholes(), keep)


def _run(
    projected: Tensor,
    recurrent: Tensor,
    state: LSTMState,
    peepholes: Tensor | None,
    keep: Tensor | None,
) -> tuple[Tensor, LSTMState]:
    projected = projected.to(state.h.dtype)
    outputs, last_c = _LSTMWindow.apply(projected, recurrent, *state, peepholes, keep)
    return outputs, LSTMState(outputs[-1], last_c)


# Gates that share an operation in the forward or the backward pass are neighbours. The candidate's
# pre-activation is doubled, because tanh(a) = 2 sigmoid(2a) - 1: one sigmoid over the contiguous
# memory of all four gates is faster than one over three of them and a tanh over the fourth.
FOUR_GATES = {"forget_gate": 1, "input_gate": 1, "candidate": 2, "output_gate": 1}
THREE_GATES = {"forget_gate": 1, "candidate": 2, "output_gate": 1}
FUSED_LSTM = FusedPass(FOUR_GATES, run_lstm, has_c_loop=True)
FUSED_PEEPHOLE_LSTM = FusedPass(FOUR_GATES, run_peephole_lstm, has_c_loop=True)
FUSED_COUPLED_LSTM = FusedPass(THREE_GATES, run_coupled_lstm, has_c_loop=True)


@cache
def _on_gpu() -> ModuleType | None:
    """Returns the module `on_gpu`, or None without Triton, which is slow to import."""
    if importlib.util.find_spec("triton") is None:
        return None
    return importlib.import_module("lstm_lm.cells.fast.on_gpu")


class _LSTMWindow(torch.autograd.Function):
    """Projected inputs ``(T, B, G*H)`` to outputs ``(T, B, H)`` and the last c ``(B, H)``."""

    @staticmethod
    def forward(
        ctx: Any,
        projected: Tensor,
        recurrent: Tensor,
        h0: Tensor,
        c0: Tensor,
        peepholes: Tensor | None,
        keep: Tensor | None,
    ) -> tuple[Tensor, Tensor]:
        gates = projected.detach()  # overwritten by the gates; nothing else reads the projections
        h, c = states_of_window(h0, len(gates)), states_of_window(c0, len(gates))
        ctx.in_c = on_cpu.can_run(gates, recurrent, h0, c0, peepholes, keep)
        run = on_cpu.forward if ctx.in_c else _forward
        run(gates, recurrent, h, c, peepholes, keep)
        ctx.save_for_backward(recurrent, gates, h, c, peepholes, keep)
        return h[1:], c[-1].clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_outputs: Tensor, d_last_c: Tensor) -> tuple[Tensor | None, ...]:
        recurrent, gates, h, c, peepholes, keep = ctx.saved_tensors
        d_gates = torch.empty_like(gates)
        d_c = d_last_c.clone(memory_format=torch.contiguous_format)
        run = on_cpu.backward if ctx.in_c else _backward
        run(d_outputs.contiguous(), recurrent, gates, c, peepholes, keep, d_gates, d_c)
        d_h0 = None
        if ctx.needs_input_grad[2]:
            d_h0 = where_kept(
                rows_gradient(d_gates[0], recurrent), None if keep is None else keep[0]
            )
        d_recurrent = weight_gradient(d_gates, where_kept(h[:-1], keep), recurrent)
        d_peepholes = None
        if peepholes is not None:
            d_f, d_i, _, d_o = d_gates.chunk(4, dim=-1)
            c_before = where_kept(c[:-1], keep)
            seen = torch.stack([d_f * c_before, d_i * c_before, d_o * c[1:]])  # (3, T, B, H)
            d_peepholes = seen.sum((1, 2))
        return d_gates, d_recurrent, d_h0, d_c, d_peepholes, None


def _forward(
    gates: Tensor,
    recurrent: Tensor,
    h: Tensor,
    c: Tensor,
    peepholes: Tensor | None,
    keep: Tensor | None,
) -> None:
    """Does what `on_cpu.forward` does, with torch's operators: on any device, in any precision."""
    time, batch, hidden = h.shape[0] - 1, *h.shape[1:]
    tanh_c, minus_one = torch.empty_like(c[0]), c.new_tensor(-1)
    add_product = product_adder(recurrent, batch, time)
    f, *input_gate, g, o = (gate.unbind() for gate in gates.split(hidden, dim=-1))
    at, hs, cs, kept = gates.unbind(), h.unbind(), c.unbind(), keep_per_word(keep, time)
    for t in range(time):
        before = where_kept(cs[t], kept[t])
        add_product(at[t], where_kept(hs[t], kept[t]), out=at[t])
        if peepholes is None:
            at[t].sigmoid_()
        else:
            f[t].addcmul_(peepholes[0], before)
            input_gate[0][t].addcmul_(peepholes[1], before)
            at[t][:, : 3 * hidden].sigmoid_()
        torch.add(minus_one, g[t], alpha=2, out=g[t])
        if input_gate:
            torch.mul(f[t], before, out=cs[t + 1]).addcmul_(input_gate[0][t], g[t])
        else:
            torch.lerp(g[t], before, f[t], out=cs[t + 1])
        if peepholes is not None:
            o[t].addcmul_(peepholes[2], cs[t + 1]).sigmoid_()
        torch.tanh(cs[t + 1], out=tanh_c)
        torch.mul(o[t], tanh_c, out=hs[t + 1])


def _backward(
    d_outputs: Tensor,
    recurrent: Tensor,
    gates: Tensor,
    c: Tensor,
    peepholes: Tensor | None,
    keep: Tensor | None,
    d_gates: Tensor,
    d_c: Tensor,
) -> None:
    """Does what `on_cpu.backward` does, with torch's operators."""
    time, batch, hidden = d_outputs.shape
    f, *input_gate, g, o = gates.split(hidden, dim=-1)
    d_f, *d_input_gate, d_g, d_o = d_gates.split(hidden, dim=-1)
    c_before, tanh_c = where_kept(c[:-1], keep), torch.tanh(c[1:])
    # The gates' gradients are multiplied by dc and dh in the loop below.
    if input_gate:
        [i], [d_i] = input_gate, d_input_gate
        sigmoid_backward(g, i, grad_input=d_i)
        sigmoid_backward(c_before, f, grad_input=d_f)
    else:
        i = 1 - f
        sigmoid_backward(c_before - g, f, grad_input=d_f)
    sigmoid_backward(tanh_c, o, grad_input=d_o)
    tanh_backward(i, g, grad_input=d_g).mul_(0.5)  # the gradient of 2 a_g
    c_from_h, c_from_c = tanh_backward(o, tanh_c), f
    if peepholes is not None:
        c_from_h = c_from_h.addcmul_(d_o, peepholes[2])
        c_from_c = f + d_f * peepholes[0] + d_i * peepholes[1]
    c_from_h_at, c_from_c_at = c_from_h.unbind(), where_kept(c_from_c, keep).unbind()
    d_f_i_g = d_gates.unflatten(-1, (-1, hidden))[:, :, :-1].unbind()
    d_at, d_o_at, d_output = d_gates.unbind(), d_o.unbind(), d_outputs.unbind()
    add_product = product_adder(recurrent.T, batch, time)
    dh, kept = d_output[-1].clone(), keep_per_word(keep, time)
    for t in reversed(range(time)):
        d_c.addcmul_(dh, c_from_h_at[t])
        d_o_at[t].mul_(dh)
        d_f_i_g[t].mul_(d_c.unsqueeze(1))
        d_c.mul_(c_from_c_at[t])
        if t > 0:
            add_product(d_output[t - 1], where_kept(d_at[t], kept[t]), out=dh)
