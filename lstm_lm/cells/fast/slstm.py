"""An sLSTM's window in torch's operators. Gates are stacked in the order i, f, o, g.

The equations of the backward pass are in `lstm_lm.cells.fused`.

Shapes: T time, B batch, H hidden size.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from lstm_lm.cells.fast.products import product_adder, rows_gradient, weight_gradient
from lstm_lm.cells.fast.window import (
    FusedPass,
    keep_per_word,
    sigmoid_backward,
    states_of_window,
    tanh_backward,
    where_kept,
)
from lstm_lm.cells.state import SLSTMState


def run_slstm(
    cell: Any, projected: Tensor, recurrent: Tensor, state: SLSTMState, keep: Tensor | None
) -> tuple[Tensor, SLSTMState]:
    """Runs an sLSTM over a window; arguments and results are those of `FusedPass.run`."""
    outputs, *last = _SLSTMWindow.apply(projected.to(state.h.dtype), recurrent, *state, keep)
    return outputs, SLSTMState(outputs[-1], *last)


FUSED_SLSTM = FusedPass(
    {"input_gate": 1, "forget_gate": 1, "output_gate": 1, "candidate": 1}, run_slstm
)


class _SLSTMWindow(torch.autograd.Function):
    """Projected inputs ``(T, B, 4H)`` to outputs ``(T, B, H)`` and the last m, n and c."""

    @staticmethod
    def forward(
        ctx: Any,
        projected: Tensor,
        recurrent: Tensor,
        h0: Tensor,
        m0: Tensor,
        n0: Tensor,
        c0: Tensor,
        keep: Tensor | None,
    ) -> tuple[Tensor, ...]:
        time, batch, hidden = len(projected), *h0.shape
        gates = projected.detach()  # overwritten by log i, f, o and g
        h, m, n, c = (states_of_window(first, time) for first in (h0, m0, n0, c0))
        share = torch.empty_like(h[1:])  # s, of the old c in the new one
        add_product = product_adder(recurrent, batch, time)
        log_i, f, o, g = (gate.unbind() for gate in gates.split(hidden, dim=-1))
        f_o, at = gates[..., hidden : 3 * hidden].unbind(), gates.unbind()
        kept = keep_per_word(keep, time)
        for t in range(time):
            before_h, before_m, before_n, before_c = (
                where_kept(state[t], kept[t]) for state in (h, m, n, c)
            )
            add_product(at[t], before_h, out=at[t])
            log_kept = F.logsigmoid(f[t]).add_(before_m)
            if t == 0 or kept[t] is not None:  # elsewhere n is at least 1
                log_kept.masked_fill_(before_n <= 0, -torch.inf)
            f_o[t].sigmoid_()
            g[t].tanh_()
            torch.maximum(log_kept, log_i[t], out=m[t + 1])
            kept_n = log_kept.sub_(m[t + 1]).exp_().mul_(before_n)
            torch.add((log_i[t] - m[t + 1]).exp_(), kept_n, out=n[t + 1])
            torch.div(kept_n, n[t + 1], out=share[t])
            torch.lerp(g[t], before_c, share[t], out=c[t + 1])
            torch.mul(o[t], c[t + 1], out=h[t + 1])
        ctx.save_for_backward(recurrent, gates, share, h, m, n, c, keep)
        ctx.kept = kept
        return h[1:], m[-1].clone(), n[-1].clone(), c[-1].clone()

    @staticmethod
    @once_differentiable
    def backward(
        ctx: Any, d_outputs: Tensor, d_m: Tensor, d_n: Tensor, d_c: Tensor
    ) -> tuple[Tensor | None, ...]:
        recurrent, gates, share, h, m, n, c, keep = ctx.saved_tensors
        time, batch, hidden = d_outputs.shape
        log_i, f, o, g = gates.split(hidden, dim=-1)
        d_gates = torch.empty_like(gates)
        d_i, d_f, d_o, d_g = d_gates.split(hidden, dim=-1)
        # These are multiplied by dc and dh in the loop below.
        sigmoid_backward(c[1:], o, grad_input=d_o)
        tanh_backward(1 - share, g, grad_input=d_g)
        to_u = sigmoid_backward(where_kept(c[:-1], keep) - g, share)
        d_log_f, old_is_larger = 1 - f, (m[1:] > log_i).to(m.dtype)
        add_product = product_adder(recurrent.T, batch, time)
        q = d_n * n[-1]  # the gradient of log n where m is constant
        e = d_m - q  # the gradient of m where n exp(m) is constant
        dh, dc = d_outputs[-1].clone(), d_c.clone()
        for t in reversed(range(time)):
            dc.addcmul_(dh, o[t])
            d_o[t].mul_(dh)
            d_g[t].mul_(dc)
            passed_q, passed_e = torch.addcmul(to_u[t] * dc, q, share[t]), e * old_is_larger[t]
            d_log_kept = passed_q + passed_e
            torch.sub(q + e, d_log_kept, out=d_i[t])
            torch.mul(d_log_kept, d_log_f[t], out=d_f[t])
            q, e = passed_q, passed_e
            dc.mul_(share[t])
            if t > 0:
                add_product(d_outputs[t - 1], where_kept(d_gates[t], ctx.kept[t]), out=dh)
        d_h0 = rows_gradient(where_kept(d_gates[0], ctx.kept[0]), recurrent)
        d_n0 = torch.where(n[0] > 0, q / n[0], 0)
        d_recurrent = weight_gradient(d_gates, where_kept(h[:-1], keep), recurrent)
        return d_gates, d_recurrent, d_h0, q + e, d_n0, dc, None
