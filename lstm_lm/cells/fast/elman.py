"""An Elman cell's window in torch's operators.

The equations of the backward pass are in `lstm_lm.cells.fused`.

Shapes: T time, B batch, H hidden size.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from lstm_lm.cells.fast.products import product_adder, rows_gradient, weight_gradient
from lstm_lm.cells.fast.window import FusedPass, keep_per_word, states_of_window, where_kept
from lstm_lm.cells.state import HiddenState


def run_elman(
    cell: Any, projected: Tensor, recurrent: Tensor, state: HiddenState, keep: Tensor | None
) -> tuple[Tensor, HiddenState]:
    """Runs an Elman cell over a window; arguments and results are those of `FusedPass.run`."""
    outputs = _ElmanWindow.apply(projected.to(state.h.dtype), recurrent, state.h, keep)
    return outputs, HiddenState(outputs[-1])


FUSED_ELMAN = FusedPass({"candidate": 1}, run_elman)


class _ElmanWindow(torch.autograd.Function):
    """Projected inputs ``(T, B, H)`` to outputs ``(T, B, H)``."""

    @staticmethod
    def forward(
        ctx: Any, projected: Tensor, recurrent: Tensor, h0: Tensor, keep: Tensor | None
    ) -> Tensor:
        time, batch, _ = projected.shape
        h, add_product = states_of_window(h0, time), product_adder(recurrent, batch, time)
        hs, kept = h.unbind(), keep_per_word(keep, time)
        for t, from_input in enumerate(projected.unbind()):
            add_product(from_input, where_kept(hs[t], kept[t]), out=hs[t + 1]).tanh_()
        ctx.save_for_backward(recurrent, h, keep)
        ctx.kept = kept
        return h[1:]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_outputs: Tensor) -> tuple[Tensor | None, ...]:
        recurrent, h, keep = ctx.saved_tensors
        kept = ctx.kept
        d_projected = 1 - h[1:] * h[1:]  # multiplied by dh in the loop below
        d_at, d_output = d_projected.unbind(), d_outputs.unbind()
        add_product = product_adder(recurrent.T, d_outputs.shape[1], len(d_outputs))
        dh = d_output[-1].clone()
        for t in reversed(range(len(d_at))):
            d_at[t].mul_(dh)
            if t > 0:
                add_product(d_output[t - 1], where_kept(d_at[t], kept[t]), out=dh)
        d_h0 = rows_gradient(where_kept(d_at[0], kept[0]), recurrent)
        d_recurrent = weight_gradient(d_projected, where_kept(h[:-1], keep), recurrent)
        return d_projected, d_recurrent, d_h0, None
