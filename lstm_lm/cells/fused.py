"""The same cells and parameters, a whole window at a time: the path that training takes.

What makes it fast: the gates' layers are stacked once per window; ``W x + b`` for all T words is one product, done
before the loop (or one per gate, where words are few and it is less to stack these products than the weights); the
loop has one small product per word and writes into memory it owns; and the backward is derived by hand, so that inside
its loop there is again one product per word, while each weight gradient is a single product over all T*B rows.

With ``a_k`` the pre-activation of gate k, an LSTM's backward is, from the last word to the first,

::

    dh  = dL/dh_t + sum_k da_k(t+1) U_k
    dc  = dc + dh * o * (1 - tanh(c)^2)
    da_f = dc * c_prev * f * (1 - f)         da_o = dh * tanh(c) * o * (1 - o)
    da_i = dc * g * i * (1 - i)              da_g = dc * i * (1 - g^2)
    dc  = dc * f

and then, once, ``dU = sum_t da(t)^T h_{t-1}``. All factors that the two running gradients ``dh`` and ``dc`` are
multiplied by are known after the forward pass, so they are made in bulk. The gradients of ``W``, ``b`` and the inputs
are those of the one hoisted product, which autograd has: ``da`` is its incoming gradient.

Where a state is let go before a word, ``h_{t-1}`` and ``c_{t-1}`` are zero in all of this, and so is what flows back to
them.

All of this is written here in torch's operators, for any device and precision. An LSTM's loops exist twice more, as one
piece of work each: `on_cpu` in C and `on_gpu` in Triton, which are taken where they can run.

Shapes: T time, B batch, H hidden size; G gates stacked.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from types import ModuleType

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from lstm_lm.cells.elman import ElmanCell
from lstm_lm.cells.fast import on_cpu
from lstm_lm.cells.fast.products import (
    MANY_ROWS,
    back_through,
    is_fast_bfloat16,
    linear,
    over_the_window,
    product_adder,
)
from lstm_lm.cells.gate import LSTMState
from lstm_lm.cells.gru import GRUCell
from lstm_lm.cells.lstm import LSTMCell
from lstm_lm.cells.sequence import run_readable

# With y a gate's value and d what its gradient is multiplied by: d y (1 - y), and d (1 - y^2), in one pass.
sigmoid_backward, tanh_backward = torch.ops.aten.sigmoid_backward, torch.ops.aten.tanh_backward


def run_fused(
    cell: nn.Module,
    inputs: Tensor,
    state: LSTMState,
    recurrent_masks: Mapping[str, Tensor] | None = None,
    keep: Tensor | None = None,
) -> tuple[Tensor, LSTMState]:
    """Runs a cell over a window; arguments, results and gradients are those of `run_readable`.

    Under autocast the products run in the low precision, and the states, in which rounding errors would add up over the
    window, stay in that of the weights (of an LSTM on a CUDA GPU, c alone). On a CPU without bfloat16, and of the other
    cells on a GPU, it is the hoisted input product alone that is low; in the compiled loop of a narrow LSTM on a CPU,
    the weights are, while the products of words are made in float32.

    Raises:
        KeyError: if the cell's class has no fused pass.
    """
    scales, run_window = _PASSES[type(cell)]
    if (
        len(inputs) == 1 and not torch.is_grad_enabled()
    ):  # one word by itself is not worth the stacking
        return run_readable(cell, inputs, state, recurrent_masks, keep)
    gates = [getattr(cell, name) for name in scales]
    masks = recurrent_masks or {}

    def stack(parts: Iterable[Tensor], dim: int = 0) -> Tensor:
        return torch.cat(
            [
                part if scale == 1 else scale * part
                for scale, part in zip(scales.values(), parts, strict=True)
            ],
            dim,
        )

    recurrent = stack(
        gate.recurrent_weight * masks[name] if name in masks else gate.recurrent_weight
        for name, gate in zip(scales, gates, strict=True)
    )  # (G*H, H)
    if inputs[..., 0].numel() < MANY_ROWS:
        projected = stack((gate.from_input(inputs) for gate in gates), dim=-1)  # (T, B, G*H)
    else:
        projected = linear(
            inputs, stack(gate.input_weight for gate in gates), stack(gate.bias for gate in gates)
        )
    state = LSTMState(*(part.to(recurrent.dtype) for part in state))
    kept = (
        None if keep is None else keep.unsqueeze(-1).to(recurrent.dtype).contiguous()
    )  # (T, B, 1)
    with torch.autocast(inputs.device.type, enabled=False):
        if is_fast_bfloat16(projected):
            recurrent = recurrent.to(projected.dtype)
        return run_window(cell, projected, recurrent, state, kept)


@cache
def _on_gpu() -> ModuleType | None:
    """The module for CUDA GPUs, whose compiler comes with torch's builds for them and takes a while to import."""
    return (
        importlib.import_module("lstm_lm.cells.fast.on_gpu")
        if importlib.util.find_spec("triton")
        else None
    )


def _run_lstm(
    cell: LSTMCell, projected: Tensor, recurrent: Tensor, state: LSTMState, keep: Tensor | None
) -> tuple[Tensor, LSTMState]:
    if projected.is_cuda and _on_gpu() and _on_gpu().can_run(projected):
        outputs, last_c = _on_gpu().run_window(
            projected, recurrent.to(projected.dtype), *state, keep
        )
    else:
        outputs, last_c = _LSTMWindow.apply(projected.to(state.h.dtype), recurrent, *state, keep)
    return outputs, LSTMState(outputs[-1].to(state.h.dtype), last_c)


def _run_gru(
    cell: GRUCell, projected: Tensor, recurrent: Tensor, state: LSTMState, keep: Tensor | None
) -> tuple[Tensor, LSTMState]:
    outputs = _GRUWindow.apply(
        projected.to(state.h.dtype), recurrent, cell.candidate_state_bias, state.h, keep
    )
    return outputs, LSTMState(outputs[-1], outputs[-1])


def _run_elman(
    cell: ElmanCell, projected: Tensor, recurrent: Tensor, state: LSTMState, keep: Tensor | None
) -> tuple[Tensor, LSTMState]:
    outputs = _ElmanWindow.apply(projected.to(state.h.dtype), recurrent, state.h, keep)
    return outputs, LSTMState(outputs[-1], outputs[-1])


# Gates in their order within the stacked matrices, those that share an operation on the way, forth or back, side by
# side; and what their pre-activations are multiplied by.
_PASSES: dict[type, tuple[dict[str, int], Callable]] = {
    LSTMCell: ({"forget_gate": 1, "input_gate": 1, "candidate": 2, "output_gate": 1}, _run_lstm),
    GRUCell: ({"reset_gate": 1, "update_gate": 1, "candidate": 1}, _run_gru),
    ElmanCell: ({"candidate": 1}, _run_elman),
}


def _memory(first: Tensor, time: int) -> Tensor:
    """Room for a state before and after every word, ``(T+1, B, H)``, the first one filled in."""
    room = first.new_empty(time + 1, *first.shape)
    room[0] = first
    return room


def _kept(state: Tensor, keep: Tensor | None) -> Tensor:
    """A state, or a gradient on its way to it, where it is kept: times ``keep (..., B, 1)``, if that is given."""
    return state if keep is None else state * keep


def _word_by_word(keep: Tensor | None, time: int) -> list[Tensor | None]:
    """``keep (T, B, 1)`` as one ``(B, 1)`` per word, None where nobody's state is let go."""
    if keep is None:
        return [None] * time
    return [
        some if any_gone else None
        for some, any_gone in zip(
            keep.unbind(), (keep == 0).flatten(1).any(1).tolist(), strict=True
        )
    ]


class _LSTMWindow(torch.autograd.Function):
    """``(T, B, 4H)`` projected inputs, gates in the order f, i, g, o, to outputs ``(T, B, H)`` and the last c.

    The candidate comes doubled and is squashed as ``tanh(a) = 2 sigmoid(2a) - 1``: one sigmoid for all four gates,
    which are one piece of memory, is faster than one for three of them and a tanh for the fourth.
    """

    @staticmethod
    def forward(
        ctx, projected: Tensor, recurrent: Tensor, h0: Tensor, c0: Tensor, keep: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        gates, h, c = (
            projected.detach(),
            _memory(h0, len(projected)),
            _memory(c0, len(projected)),
        )  # gates: in place
        ctx.in_c = on_cpu.can_run(gates, recurrent, h0, c0, keep)
        run = on_cpu.forward if ctx.in_c else _lstm_forward
        run(gates, recurrent, h, c, keep)
        ctx.save_for_backward(recurrent, gates, h, c, keep)
        return h[1:], c[-1].clone()

    @staticmethod
    @once_differentiable
    def backward(ctx, d_outputs: Tensor, d_last_c: Tensor) -> tuple[Tensor, ...]:
        recurrent, gates, h, c, keep = ctx.saved_tensors
        d_gates, d_c = (
            torch.empty_like(gates),
            d_last_c.clone(memory_format=torch.contiguous_format),
        )
        run = on_cpu.backward if ctx.in_c else _lstm_backward
        run(d_outputs.contiguous(), recurrent, gates, c, keep, d_gates, d_c)
        d_h0 = None
        if ctx.needs_input_grad[2]:
            d_h0 = _kept(back_through(d_gates[0], recurrent), None if keep is None else keep[0])
        return d_gates, over_the_window(d_gates, _kept(h[:-1], keep), recurrent), d_h0, d_c, None


def _lstm_forward(
    gates: Tensor, recurrent: Tensor, h: Tensor, c: Tensor, keep: Tensor | None
) -> None:
    """What `on_cpu.forward` does, by torch's operators: on any device, in any precision."""
    time, batch, width = gates.shape
    tanh_c, minus_one, add_product = (
        torch.empty_like(c[0]),
        c.new_tensor(-1),
        product_adder(recurrent, batch, time),
    )
    f, i, g, o = (gate.unbind() for gate in gates.split(width // 4, dim=-1))
    at, hs, cs, kept = gates.unbind(), h.unbind(), c.unbind(), _word_by_word(keep, time)
    for t in range(time):
        add_product(at[t], _kept(hs[t], kept[t]), out=at[t]).sigmoid_()
        torch.add(minus_one, g[t], alpha=2, out=g[t])
        torch.mul(f[t], _kept(cs[t], kept[t]), out=cs[t + 1]).addcmul_(i[t], g[t])
        torch.tanh(cs[t + 1], out=tanh_c)
        torch.mul(o[t], tanh_c, out=hs[t + 1])


def _lstm_backward(
    d_outputs: Tensor,
    recurrent: Tensor,
    gates: Tensor,
    c: Tensor,
    keep: Tensor | None,
    d_gates: Tensor,
    d_c: Tensor,
) -> None:
    """What `on_cpu.backward` does, by torch's operators."""
    time, batch, width = gates.shape
    f, i, g, o = gates.split(width // 4, dim=-1)
    d_f, d_i, d_g, d_o = d_gates.split(width // 4, dim=-1)
    tanh_c = torch.tanh(c[1:])
    sigmoid_backward(
        _kept(c[:-1], keep), f, grad_input=d_f
    )  # these four still lack their running gradient
    sigmoid_backward(g, i, grad_input=d_i)
    sigmoid_backward(tanh_c, o, grad_input=d_o)
    tanh_backward(i, g, grad_input=d_g).mul_(0.5)  # of 2 a_g
    c_from_h = tanh_backward(o, tanh_c)
    d_f_i_g = d_gates.view(time, batch, 4, -1)[:, :, :3]
    c_from_h, d_o, d_f_i_g, f, d_at, d_output = (
        whole.unbind() for whole in (c_from_h, d_o, d_f_i_g, _kept(f, keep), d_gates, d_outputs)
    )
    add_product, dh, kept = (
        product_adder(recurrent.T, batch, time),
        d_output[-1].clone(),
        _word_by_word(keep, time),
    )
    for t in reversed(range(time)):
        d_c.addcmul_(dh, c_from_h[t])
        d_o[t].mul_(dh)
        d_f_i_g[t].mul_(d_c.unsqueeze(1))
        d_c.mul_(f[t])
        if t > 0:
            add_product(d_output[t - 1], _kept(d_at[t], kept[t]), out=dh)


class _GRUWindow(torch.autograd.Function):
    """``(T, B, 3H)`` projected inputs, gates in the order r, z, n, to outputs ``(T, B, H)``.

    Backward, per word: ``da_n = dh (1-z) (1-n^2)``, ``da_z = dh (h_prev - n) z (1-z)``, ``da_r = da_n s r (1-r)``
    with ``s = U_n h_prev + b_u``; the recurrent products get ``(da_r, da_z, da_n r)``, and ``dh`` keeps ``dh z``.
    """

    @staticmethod
    def forward(
        ctx,
        projected: Tensor,
        recurrent: Tensor,
        state_bias: Tensor,
        h0: Tensor,
        keep: Tensor | None,
    ) -> Tensor:
        time, batch, width = projected.shape
        hidden = width // 3
        gates, h = projected.detach(), _memory(h0, time)  # nobody else needs them
        from_state = torch.empty_like(gates)  # U h_prev, and b_u in the candidate's
        seen, add_product = (
            from_state[..., 2 * hidden :],
            product_adder(recurrent, batch, time),
        )  # s (T, B, H)
        bias = F.pad(state_bias, (2 * hidden, 0))
        r, z, n = (gate.unbind() for gate in gates.split(hidden, dim=-1))
        sigmoids, hs, s = gates[..., : 2 * hidden].unbind(), h.unbind(), seen.unbind()
        at, for_sigmoids, kept = (
            from_state.unbind(),
            from_state[..., : 2 * hidden].unbind(),
            _word_by_word(keep, time),
        )
        for t in range(time):
            before = _kept(hs[t], kept[t])
            add_product(bias, before, out=at[t])
            sigmoids[t].add_(for_sigmoids[t]).sigmoid_()
            n[t].addcmul_(r[t], s[t]).tanh_()
            torch.lerp(n[t], before, z[t], out=hs[t + 1])
        ctx.save_for_backward(recurrent, gates, h, seen, keep)
        ctx.kept = kept
        return h[1:]

    @staticmethod
    @once_differentiable
    def backward(ctx, d_outputs: Tensor) -> tuple[Tensor, ...]:
        recurrent, gates, h, seen, keep = ctx.saved_tensors
        hidden, h_before, kept = h.shape[-1], _kept(h[:-1], keep), ctx.kept
        r, z, n = gates.split(hidden, dim=-1)
        to_n = (1 - z) * (1 - n * n)
        d_gates = torch.cat([to_n * seen * r * (1 - r), (h_before - n) * z * (1 - z), to_n], dim=-1)
        d_state = torch.cat([d_gates[..., : 2 * hidden], to_n * r], dim=-1)  # gradient at U h_prev
        by_gate, by_state = (d.unflatten(-1, (3, hidden)).unbind() for d in (d_gates, d_state))
        d_at, d_output, passed_on = d_state.unbind(), d_outputs.unbind(), _kept(z, keep).unbind()
        add_product, dh = (
            product_adder(recurrent.T, d_outputs.shape[1], len(d_outputs)),
            d_output[-1].clone(),
        )
        for t in reversed(range(len(gates))):
            by_gate[t].mul_(dh.unsqueeze(1))
            by_state[t].mul_(dh.unsqueeze(1))
            add_product(dh.mul_(passed_on[t]), _kept(d_at[t], kept[t]), out=dh)
            if t > 0:
                dh.add_(d_output[t - 1])
        d_state_bias = d_state[..., 2 * hidden :].sum((0, 1))
        return d_gates, over_the_window(d_state, h_before, recurrent), d_state_bias, dh, None


class _ElmanWindow(torch.autograd.Function):
    """``(T, B, H)`` projected inputs to outputs ``(T, B, H)``; backward: ``da = dh (1 - h^2)``, ``dh = da U``."""

    @staticmethod
    def forward(
        ctx, projected: Tensor, recurrent: Tensor, h0: Tensor, keep: Tensor | None
    ) -> Tensor:
        h, add_product = (
            _memory(h0, len(projected)),
            product_adder(recurrent, projected.shape[1], len(projected)),
        )
        hs, kept = h.unbind(), _word_by_word(keep, len(projected))
        for t, from_input in enumerate(projected.unbind()):
            add_product(from_input, _kept(hs[t], kept[t]), out=hs[t + 1]).tanh_()
        ctx.save_for_backward(recurrent, h, keep)
        ctx.kept = kept
        return h[1:]

    @staticmethod
    @once_differentiable
    def backward(ctx, d_outputs: Tensor) -> tuple[Tensor, ...]:
        recurrent, h, keep = ctx.saved_tensors
        d_projected, kept = 1 - h[1:] * h[1:], ctx.kept
        d_at, d_output = d_projected.unbind(), d_outputs.unbind()
        add_product, dh = (
            product_adder(recurrent.T, d_outputs.shape[1], len(d_outputs)),
            d_output[-1].clone(),
        )
        for t in reversed(range(len(d_at))):
            d_at[t].mul_(dh)
            if t > 0:
                add_product(d_output[t - 1], _kept(d_at[t], kept[t]), out=dh)
        d_h0 = back_through(_kept(d_at[0], kept[0]), recurrent)
        return d_projected, over_the_window(d_projected, _kept(h[:-1], keep), recurrent), d_h0, None
