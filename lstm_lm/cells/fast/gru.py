"""A GRU's window in torch's operators. Gates are stacked in the order r, z, n.

The equations of the backward pass are in `lstm_lm.cells.fused`.

Shapes: T time, B batch, H hidden size.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from lstm_lm.cells.fast.products import product_adder, weight_gradient
from lstm_lm.cells.fast.window import FusedPass, keep_per_word, states_of_window, where_kept
from lstm_lm.cells.state import HiddenState


def run_gru(
    cell: Any, projected: Tensor, recurrent: Tensor, state: HiddenState, keep: Tensor | None
) -> tuple[Tensor, HiddenState]:
    """Runs a GRU over a window; arguments and results are those of `FusedPass.run`."""
    projected = projected.to(state.h.dtype)
    outputs = _GRUWindow.apply(projected, recurrent, cell.candidate_state_bias, state.h, keep)
    return outputs, HiddenState(outputs[-1])


FUSED_GRU = FusedPass({"reset_gate": 1, "update_gate": 1, "candidate": 1}, run_gru)


class _GRUWindow(torch.autograd.Function):
    """Projected inputs ``(T, B, 3H)`` to outputs ``(T, B, H)``."""

    @staticmethod
    def forward(
        ctx: Any,
        projected: Tensor,
        recurrent: Tensor,
        state_bias: Tensor,
        h0: Tensor,
        keep: Tensor | None,
    ) -> Tensor:
        time, batch, width = projected.shape
        hidden = width // 3
        gates = projected.detach()  # overwritten by the gates; nothing else reads the projections
        h = states_of_window(h0, time)
        from_state = torch.empty_like(gates)  # U h_prev, with b_u added in the candidate's part
        seen = from_state[..., 2 * hidden :]  # s (T, B, H)
        add_product = product_adder(recurrent, batch, time)
        bias = F.pad(state_bias, (2 * hidden, 0))
        r, z, n = (gate.unbind() for gate in gates.split(hidden, dim=-1))
        sigmoids, hs, s = gates[..., : 2 * hidden].unbind(), h.unbind(), seen.unbind()
        at, for_sigmoids = from_state.unbind(), from_state[..., : 2 * hidden].unbind()
        kept = keep_per_word(keep, time)
        for t in range(time):
            before = where_kept(hs[t], kept[t])
            add_product(bias, before, out=at[t])
            sigmoids[t].add_(for_sigmoids[t]).sigmoid_()
            n[t].addcmul_(r[t], s[t]).tanh_()
            torch.lerp(n[t], before, z[t], out=hs[t + 1])
        ctx.save_for_backward(recurrent, gates, h, seen, keep)
        ctx.kept = kept
        return h[1:]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_outputs: Tensor) -> tuple[Tensor | None, ...]:
        recurrent, gates, h, seen, keep = ctx.saved_tensors
        hidden, h_before, kept = h.shape[-1], where_kept(h[:-1], keep), ctx.kept
        r, z, n = gates.split(hidden, dim=-1)
        # These are multiplied by dh in the loop below.
        to_n = (1 - z) * (1 - n * n)
        d_gates = torch.cat([to_n * seen * r * (1 - r), (h_before - n) * z * (1 - z), to_n], dim=-1)
        d_state = torch.cat([d_gates[..., : 2 * hidden], to_n * r], dim=-1)  # gradient of U h_prev
        by_gate = d_gates.unflatten(-1, (3, hidden)).unbind()
        by_state = d_state.unflatten(-1, (3, hidden)).unbind()
        d_at, d_output, h_from_h = (
            d_state.unbind(),
            d_outputs.unbind(),
            where_kept(z, keep).unbind(),
        )
        add_product = product_adder(recurrent.T, d_outputs.shape[1], len(d_outputs))
        dh = d_output[-1].clone()
        for t in reversed(range(len(gates))):
            by_gate[t].mul_(dh.unsqueeze(1))
            by_state[t].mul_(dh.unsqueeze(1))
            add_product(dh.mul_(h_from_h[t]), where_kept(d_at[t], kept[t]), out=dh)
            if t > 0:
                dh.add_(d_output[t - 1])
        d_recurrent = weight_gradient(d_state, h_before, recurrent)
        d_state_bias = d_state[..., 2 * hidden :].sum((0, 1))
        return d_gates, d_recurrent, d_state_bias, dh, None
