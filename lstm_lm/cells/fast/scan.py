"""A window of a cell whose gates do not see the state: minGRU and minLSTM.

No product is left to do: all gates of the window are known. What remains is a running mean, ``h' =
k * h + (1 - k) * n`` with ``k = sigmoid(u)``, one operation per word. The equations of the backward
pass are in `lstm_lm.cells.fused`.

Shapes: T time, B batch, H hidden size.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from lstm_lm.cells.fast.window import FusedPass, sigmoid_backward, states_of_window, where_kept
from lstm_lm.cells.gate import log_ratio
from lstm_lm.cells.state import HiddenState


def run_min_gru(
    cell: Any, projected: Tensor, recurrent: Tensor, state: HiddenState, keep: Tensor | None
) -> tuple[Tensor, HiddenState]:
    """Runs a minGRU over a window; arguments and results are those of `FusedPass.run`."""
    u, candidate = projected.to(state.h.dtype).chunk(2, dim=-1)
    return _run(u, candidate, state, keep)


def run_min_lstm(
    cell: Any, projected: Tensor, recurrent: Tensor, state: HiddenState, keep: Tensor | None
) -> tuple[Tensor, HiddenState]:
    """Runs a minLSTM over a window; arguments and results are those of `FusedPass.run`."""
    to_f, to_i, candidate = projected.to(state.h.dtype).chunk(3, dim=-1)
    return _run(log_ratio(to_f, to_i), candidate, state, keep)


FUSED_MIN_GRU = FusedPass({"update_gate": 1, "candidate": 1}, run_min_gru)
FUSED_MIN_LSTM = FusedPass({"forget_gate": 1, "input_gate": 1, "candidate": 1}, run_min_lstm)


def _run(
    u: Tensor, candidate: Tensor, state: HiddenState, keep: Tensor | None
) -> tuple[Tensor, HiddenState]:
    outputs = _Scan.apply(u, candidate, state.h, keep)
    return outputs, HiddenState(outputs[-1])


class _Scan(torch.autograd.Function):
    """``u`` and the candidate, both ``(T, B, H)``, to outputs ``(T, B, H)``."""

    @staticmethod
    def forward(ctx: Any, u: Tensor, n: Tensor, h0: Tensor, keep: Tensor | None) -> Tensor:
        h, k = states_of_window(h0, len(u)), torch.sigmoid(u)
        written, from_h = n * (1 - k), where_kept(k, keep)
        steps = zip(written.unbind(), from_h.unbind(), h.unbind(), h[1:].unbind(), strict=False)
        for add, factor, before, after in steps:
            torch.addcmul(add, factor, before, out=after)
        ctx.save_for_backward(k, n, h, keep)
        return h[1:]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_outputs: Tensor) -> tuple[Tensor | None, ...]:
        k, n, h, keep = ctx.saved_tensors
        from_h, dh = where_kept(k, keep), d_outputs.clone()
        d_at, factor = dh.unbind(), from_h.unbind()
        for t in reversed(range(1, len(d_at))):
            d_at[t - 1].addcmul_(d_at[t], factor[t])
        d_u = sigmoid_backward(dh * (where_kept(h[:-1], keep) - n), k)
        return d_u, dh * (1 - k), d_at[0] * factor[0], None
