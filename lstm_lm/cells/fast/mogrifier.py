"""A Mogrifier LSTM's window in torch's operators. Gates are stacked in the order f, i, o, g.

The word is modulated by the state, so ``W x`` cannot be computed before the loop. The equations of
the backward pass are in `lstm_lm.cells.fused`. A round's factor ``2 sigmoid(a)`` is computed as
``1 + tanh(a / 2)``, which saves an operation.

Shapes: T time, B batch, E input size, H hidden size; K rank of a round, N width of what it
modulates: E, H, E, ... in turn.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from lstm_lm.cells.fast.products import product_adder, weight_gradient
from lstm_lm.cells.fast.window import (
    FusedPass,
    keep_per_word,
    sigmoid_backward,
    states_of_window,
    tanh_backward,
    where_kept,
)
from lstm_lm.cells.state import LSTMState

GATES = ("forget_gate", "input_gate", "output_gate", "candidate")


def run_mogrifier(
    cell: Any, inputs: Tensor, recurrent: Tensor, state: LSTMState, keep: Tensor | None
) -> tuple[Tensor, LSTMState]:
    """Runs a Mogrifier LSTM over ``inputs (T, B, E)``; for the others see `FusedPass.run`."""
    gates = [getattr(cell, name) for name in GATES]
    input_weight = torch.cat([gate.input_weight for gate in gates]).to(recurrent.dtype)
    weight = torch.cat([input_weight, recurrent], dim=1)  # (4H, E+H)
    bias = torch.cat([gate.bias for gate in gates])
    rounds = [part for one in cell.rounds for part in (one.down, one.up / 2, one.bias / 2)]
    inputs = inputs.to(state.h.dtype)
    outputs, last_c = _MogrifierWindow.apply(inputs, weight, bias, *state, keep, *rounds)
    return outputs, LSTMState(outputs[-1], last_c)


FUSED_MOGRIFIER = FusedPass(dict.fromkeys(GATES, 1), run_mogrifier, hoists_input=False)


class _MogrifierWindow(torch.autograd.Function):
    """Inputs ``(T, B, E)`` to outputs ``(T, B, H)`` and the last c ``(B, H)``.

    After ``keep`` come R, Q / 2 and b / 2 of each round.
    """

    @staticmethod
    def forward(
        ctx: Any,
        inputs: Tensor,
        weight: Tensor,
        bias: Tensor,
        h0: Tensor,
        c0: Tensor,
        keep: Tensor | None,
        *rounds: Tensor,
    ) -> tuple[Tensor, Tensor]:
        (time, batch, width), hidden = inputs.shape, h0.shape[1]
        h, c = states_of_window(h0, time), states_of_window(c0, time)
        gates, read = (
            h0.new_empty(time, batch, 4 * hidden),
            h0.new_empty(time, batch, width + hidden),
        )
        # x and h before the rounds, and after each that modulates them; `read` has the last of both
        count = len(rounds) // 3
        xs = [inputs.detach(), *(torch.empty_like(inputs) for _ in range((count + 1) // 2))]
        hs = [torch.empty_like(h[1:]) for _ in range(1 + count // 2)]
        xs[-1], hs[-1] = read.split([width, hidden], dim=-1)
        if not count:
            xs[0].copy_(inputs)
        turns = _in_turn([x.unbind() for x in xs], [one.unbind() for one in hs], count)
        squeezed = [h0.new_empty(time, batch, len(down)) for down in rounds[::3]]
        tanhs = [torch.empty_like((inputs, h[1:])[k % 2]) for k in range(count)]
        add_product, kept = product_adder(weight, batch, time), keep_per_word(keep, time)
        f, i, o, g = (gate.unbind() for gate in gates.split(hidden, dim=-1))
        at, sigmoids, h_before = gates.unbind(), gates[..., : 3 * hidden].unbind(), hs[0].unbind()
        for t in range(time):
            h_before[t].copy_(where_kept(h[t], kept[t]))
            for k, (old, new, source) in enumerate(turns):
                down, up, shift = rounds[3 * k : 3 * k + 3]
                torch.mm(source[t], down.T, out=squeezed[k][t])
                y = torch.addmm(shift, squeezed[k][t], up.T, out=tanhs[k][t]).tanh_()
                torch.addcmul(old[t], old[t], y, out=new[t])
            add_product(bias, read[t], out=at[t])
            sigmoids[t].sigmoid_()
            g[t].tanh_()
            torch.mul(f[t], where_kept(c[t], kept[t]), out=c[t + 1]).addcmul_(i[t], g[t])
            torch.mul(o[t], torch.tanh(c[t + 1]), out=h[t + 1])
        ctx.count, ctx.kept = count, kept
        ctx.save_for_backward(weight, c, gates, read, keep, *rounds, *xs, *hs, *squeezed, *tanhs)
        return h[1:], c[-1].clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_outputs: Tensor, d_last_c: Tensor) -> tuple[Tensor | None, ...]:
        weight, c, gates, read, keep, *saved = ctx.saved_tensors
        count, kept = ctx.count, ctx.kept
        lengths = (3 * count, 1 + (count + 1) // 2, 1 + count // 2, count, count)
        rounds, xs, hs, squeezed, tanhs = ([saved.pop(0) for _ in range(n)] for n in lengths)
        time, _, hidden = d_outputs.shape
        turns = _in_turn(xs, hs, count)
        # The gradients' factors are known now; the loop multiplies them by those of c, h and x.
        f, i, o, g = gates.split(hidden, dim=-1)
        d_gates, tanh_c = torch.empty_like(gates), torch.tanh(c[1:])
        d_f, d_i, d_o, d_g = d_gates.split(hidden, dim=-1)
        sigmoid_backward(where_kept(c[:-1], keep), f, grad_input=d_f)
        sigmoid_backward(g, i, grad_input=d_i)
        sigmoid_backward(tanh_c, o, grad_input=d_o)
        tanh_backward(i, g, grad_input=d_g)
        c_from_h, c_from_c = tanh_backward(o, tanh_c), where_kept(f, keep)
        d_tanhs = [tanh_backward(old, y) for (old, _, _), y in zip(turns, tanhs, strict=True)]
        d_squeezed = [torch.empty_like(one) for one in squeezed]
        d_inputs, d_c, d_h = torch.empty_like(xs[0]), d_last_c.clone(), torch.zeros_like(c[0])
        add_product = product_adder(weight.T, read.shape[1], time)
        d_read, nothing = torch.empty_like(read[0]), torch.zeros_like(read[0])
        d_x_h = d_read.split([read.shape[2] - hidden, hidden], dim=1)
        for t in reversed(range(time)):
            d_h = d_h + d_outputs[t]
            d_c.addcmul_(d_h, c_from_h[t])
            d_o[t].mul_(d_h)
            for d_gate in (d_f, d_i, d_g):
                d_gate[t].mul_(d_c)
            d_c.mul_(c_from_c[t])
            add_product(nothing, d_gates[t], out=d_read)
            for k in reversed(range(count)):
                d_new, d_source = d_x_h[k % 2], d_x_h[1 - k % 2]
                down, up, _ = rounds[3 * k : 3 * k + 3]
                d_tanhs[k][t].mul_(d_new)
                d_new.addcmul_(d_new, tanhs[k][t])
                torch.mm(d_tanhs[k][t], up, out=d_squeezed[k][t])
                d_source.addmm_(d_squeezed[k][t], down)
            d_inputs[t] = d_x_h[0]
            d_h = where_kept(d_x_h[1], kept[t])
        d_rounds: list[Tensor] = []
        for k, (_, _, source) in enumerate(turns):
            down, up, _ = rounds[3 * k : 3 * k + 3]
            d_rounds += [
                weight_gradient(d_squeezed[k], source, down),
                weight_gradient(d_tanhs[k], squeezed[k], up),
                d_tanhs[k].sum((0, 1)),
            ]
        d_weight, d_bias = weight_gradient(d_gates, read, weight), d_gates.sum((0, 1))
        return d_inputs, d_weight, d_bias, d_h.clone(), d_c, None, *d_rounds


def _in_turn(xs: list[Any], hs: list[Any], count: int) -> list[tuple[Any, Any, Any]]:
    """For each round: what it modulates, before and after, and what it is computed from.

    Args:
        xs: x before the rounds, and after each that modulates it.
        hs: h, likewise.
        count: the number of rounds.
    """
    turns = []
    for k in range(count):
        modulated, source = (hs, xs[k // 2 + 1]) if k % 2 else (xs, hs[k // 2])
        turns.append((modulated[k // 2], modulated[k // 2 + 1], source))
    return turns
