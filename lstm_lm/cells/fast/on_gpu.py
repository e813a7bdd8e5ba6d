"""An LSTM's window on a CUDA GPU: one kernel for the forward and one for the backward pass.

The equations are in `lstm_lm.cells.fused`. Launched word by word, a window would be thousands of
small kernels, each of which takes longer to launch than to run. Here the loop over words is inside
the kernel.

Every program owns some hidden units of some sequences. It keeps their cell state in registers and
computes their four gates, for which it reads the previous word's h of all units. So programs with
the same sequences wait for each other once per word, at a counter in memory. That needs all of them
to run at the same time, which a cooperative launch ensures. A program reads the same rows of the
recurrent weights at every word, so they stay in the caches.

Products have factors in the window's dtype and are summed in float32; c is float32. A product of
float32 is three TF32 products, which together are as exact, or a single one where
``torch.set_float32_matmul_precision`` allows it. The order in which programs run does not change
the results.

Source: persistent kernels, Diamos et al. 2016 (ICML); Poeppel et al. 2024 (arXiv 2412.07752) for
today's GPUs. Differs from the latter in leaving the weights to the caches. Held in registers,
layers of up to 256 units were 10 % faster, and wider ones were slower.

Shapes: T time, B batch, H hidden size; per program U of its units, S of its sequences, K of the
units that it reads at a time. Gates are stacked in the order f, i, g, o.
"""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from lstm_lm.cells.fast.products import weight_gradient

# (units, sequences) of a program, from the smallest to the largest. Small ones are faster while
# there are enough processors for all programs at once.
PROGRAM_SIZES = ((16, 32), (32, 32), (32, 64), (64, 64))
NARROW_PROGRAM_SIZES = ((16, 16), (32, 32), (32, 64), (64, 64))  # of layers of up to 256 units
MAX_UNITS_PER_PROGRAM = PROGRAM_SIZES[-1][0]


def can_run(projected: Tensor) -> bool:
    """Whether `run_window` can run a window of projected inputs ``(T, B, 4H)``."""
    return (
        projected.is_cuda
        and torch.version.hip is None
        and projected.dtype in (torch.float32, torch.bfloat16)
        and torch.cuda.get_device_capability(projected.device) >= (8, 0)
        and projected.shape[-1] // 4 <= MAX_UNITS_PER_PROGRAM * _processors(projected.device)
    )


def run_window(
    projected: Tensor, recurrent: Tensor, h0: Tensor, c0: Tensor, keep: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Runs an LSTM over a window, if `can_run` returned True.

    Args:
        projected: ``W x + b``, ``(T, B, 4H)``, float32 or bfloat16, the candidate's part doubled.
            It is overwritten by the gates.
        recurrent: ``(4H, H)``, of the same dtype, the candidate's part doubled.
        h0: ``(B, H)``, float32.
        c0: ``(B, H)``, float32.
        keep: ``(T, B, 1)``, float32: where it is 0, the state is zero before that word. None:
            nowhere.

    Returns:
        Outputs ``(T, B, H)`` in the dtype of ``projected``, and the last c ``(B, H)``, float32.
    """
    return _Window.apply(projected, recurrent, h0, c0, keep)


class _Window(torch.autograd.Function):
    """Projected inputs ``(T, B, 4H)`` to outputs ``(T, B, H)`` and the last c ``(B, H)``."""

    @staticmethod
    def forward(
        ctx: Any, projected: Tensor, recurrent: Tensor, h0: Tensor, c0: Tensor, keep: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        time, batch, width = projected.shape
        hidden = width // 4
        # Rows of h are padded to a multiple of 8, so that rows of bfloat16 begin at multiples of 16
        # bytes, which a GPU reads at once.
        row = triton.cdiv(hidden, 8) * 8
        gates = projected.detach()  # overwritten by the gates
        h = gates.new_empty(time + 1, batch, row)
        c = c0.new_empty(time + 1, batch, hidden)
        h[0, :, :hidden], c[0] = h0, c0
        h[:, :, hidden:] = 0
        plan = _Plan(gates, hidden, batch)
        rows = F.pad(recurrent, (0, row - hidden)) if row > hidden else recurrent
        plan.launch(
            _forward,
            gates,
            rows,
            h,
            c,
            keep,
            plan.counters,
            time,
            batch,
            ROW=row,
            K=2048 // plan.units // plan.words_per_number,
        )
        ctx.save_for_backward(recurrent, gates, h, c, keep)
        return h[1:, :, :hidden], c[-1].clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_outputs: Tensor, d_last_c: Tensor) -> tuple[Tensor | None, ...]:
        recurrent, gates, h, c, keep = ctx.saved_tensors
        time, batch, width = gates.shape
        d_gates, d_c = torch.empty_like(gates), d_last_c.clone()
        plan = _Plan(gates, width // 4, batch)
        plan.launch(
            _backward,
            d_outputs.contiguous(),
            recurrent.T.contiguous(),
            gates,
            c,
            keep,
            d_gates,
            d_c,
            plan.counters,
            time,
            batch,
            K=min(128, 4096 // plan.units) // plan.words_per_number,
        )
        h_before, d_h0 = h[:-1, :, : width // 4], None
        if keep is not None:
            h_before = h_before * keep.to(h.dtype)
        if ctx.needs_input_grad[2]:
            d_h0 = (d_gates[0] @ recurrent).to(d_c.dtype) * (1 if keep is None else keep[0])
        d_recurrent = weight_gradient(d_gates, h_before, recurrent)
        return d_gates, d_recurrent, d_h0, d_c, None


class _Plan:
    """How a window is divided into programs.

    Attributes:
        units: hidden units of a program.
        sequences: sequences of a program at a time.
        grid: programs by units and by sequences.
        words_per_number: 16-bit words of a number: 2 for float32, 1 for bfloat16.
        precision: Triton's name for the precision of float32 products.
        counters: one zero per block of sequences, at which its programs wait for each other.
    """

    def __init__(self, gates: Tensor, hidden: int, batch: int) -> None:
        processors = _processors(gates.device)
        self.units, self.sequences = _program_size(hidden, batch, processors)
        by_units = triton.cdiv(hidden, self.units)
        blocks = triton.cdiv(batch, self.sequences)
        self.grid = by_units, min(blocks, max(1, processors // by_units))
        self.hidden, self.words_per_number = hidden, gates.element_size() // 2
        self.precision = "tf32x3" if torch.get_float32_matmul_precision() == "highest" else "tf32"
        self.counters = torch.zeros(blocks, dtype=torch.int32, device=gates.device)

    def launch(
        self, kernel: triton.JITFunction, *arguments: Tensor | int | None, **sizes: int
    ) -> None:
        """Runs a kernel in all programs at once; CUDA raises an error if they do not fit."""
        kernel[self.grid](
            *arguments,
            **sizes,
            H=self.hidden,
            U=self.units,
            S=self.sequences,
            PRECISION=self.precision,
            num_warps=4 if self.units == 16 else 8,
            launch_cooperative_grid=True,
        )


def _program_size(hidden: int, batch: int, processors: int) -> tuple[int, int]:
    """Returns units and sequences of a program: the smallest that need no more than `processors`.

    If even the largest need more, programs of that size take several blocks of sequences in turn.
    """
    sizes = NARROW_PROGRAM_SIZES if hidden <= 256 else PROGRAM_SIZES
    for units, sequences in sizes:
        if triton.cdiv(hidden, units) * triton.cdiv(batch, sequences) <= processors:
            return units, sequences
    return sizes[-1]


def _processors(device: torch.device) -> int:
    """Returns the streaming multiprocessors of a GPU; 1 for Triton's interpreter on a CPU."""
    if device.type != "cuda":
        return 1
    return torch.cuda.get_device_properties(device).multi_processor_count


# The functions below have no annotations, because Triton reads them as types of its own.


@triton.jit
def _wait_for_all(counter, arrivals):  # type: ignore[no-untyped-def]
    """Waits until `arrivals` programs have been here; what they wrote before can then be read."""
    tl.debug_barrier()
    tl.atomic_add(counter, 1, sem="release")
    while tl.atomic_add(counter, 0, sem="acquire") < arrivals:
        pass


@triton.jit
def _tanh(x):  # type: ignore[no-untyped-def]
    return 2 * tl.sigmoid(2 * x) - 1


@triton.jit(do_not_specialize=["time", "batch"])
def _forward(  # type: ignore[no-untyped-def]
    gates,
    recurrent,
    h,
    c,
    keep,
    counters,
    time,
    batch,
    H: tl.constexpr,
    ROW: tl.constexpr,
    U: tl.constexpr,
    S: tl.constexpr,
    K: tl.constexpr,
    PRECISION: tl.constexpr,
):
    unit = tl.program_id(0) * U + tl.arange(0, U)
    stacked = tl.arange(0, 4 * U)
    stacked_unit = tl.program_id(0) * U + stacked % U
    stacked_row = stacked // U * H + stacked_unit  # of the recurrent matrix, and of a word's gates
    dtype = gates.dtype.element_ty
    word = batch.to(tl.int64)  # rows of one word, in 64 bits: a window can have over 2^31 numbers
    for block in range(tl.program_id(1), tl.cdiv(batch, S), tl.num_programs(1)):
        b = block * S + tl.arange(0, S)
        there = (b < batch)[None, :]
        mine, all_four = (unit < H)[:, None] & there, (stacked_unit < H)[:, None] & there
        at_state, at_gate = b[None, :] * H + unit[:, None], b[None, :] * (4 * H) + unit[:, None]
        memory = tl.load(c + at_state, mask=mine, other=0.0)  # (U, S)
        for t in range(time):
            now = gates + t * word * (4 * H)
            projected = tl.load(
                now + b[None, :] * (4 * H) + stacked_row[:, None], mask=all_four, other=0.0
            )
            product = tl.zeros((4 * U, S), tl.float32)
            for first in tl.range(0, ROW, K, num_stages=3):
                k = first + tl.arange(0, K)
                weight = tl.load(
                    recurrent + stacked_row[:, None] * ROW + k[None, :],
                    mask=(stacked_unit < H)[:, None] & (k < ROW)[None, :],
                    other=0.0,
                )
                before = tl.load(
                    h + t * word * ROW + b[None, :] * ROW + k[:, None],
                    mask=(k < ROW)[:, None] & there,
                    other=0.0,
                    cache_modifier=".cg",
                )  # past the L1 cache: other programs wrote it
                product = tl.dot(weight, before, product, input_precision=PRECISION)
            if keep is not None:
                kept = tl.load(keep + t * word + b, mask=b < batch, other=0.0)[None, :]
                product, memory = product * kept, memory * kept
            gate = tl.sigmoid(product + projected)  # (4U, S)
            f_g, i_o = tl.split(tl.permute(tl.reshape(gate, (2, 2, U, S)), (2, 3, 0, 1)))
            f, g = tl.split(f_g)
            i, o = tl.split(i_o)
            g = 2 * g - 1  # the candidate, whose pre-activation is doubled
            memory = f * memory + i * g
            tl.store(c + (t + 1) * word * H + at_state, memory, mask=mine)
            tl.store(
                h + (t + 1) * word * ROW + b[None, :] * ROW + unit[:, None],
                (o * _tanh(memory)).to(dtype),
                mask=mine,
            )
            tl.store(now + at_gate, f.to(dtype), mask=mine)
            tl.store(now + at_gate + H, i.to(dtype), mask=mine)
            tl.store(now + at_gate + 2 * H, g.to(dtype), mask=mine)
            tl.store(now + at_gate + 3 * H, o.to(dtype), mask=mine)
            if t + 1 < time:
                _wait_for_all(counters + block, (t + 1) * tl.num_programs(0))


@triton.jit(do_not_specialize=["time", "batch"])
def _backward(  # type: ignore[no-untyped-def]
    d_outputs,
    transposed,
    gates,
    c,
    keep,
    d_gates,
    d_c,
    counters,
    time,
    batch,
    H: tl.constexpr,
    U: tl.constexpr,
    S: tl.constexpr,
    K: tl.constexpr,
    PRECISION: tl.constexpr,
):
    unit = tl.program_id(0) * U + tl.arange(0, U)
    dtype = gates.dtype.element_ty
    word = batch.to(tl.int64)
    for block in range(tl.program_id(1), tl.cdiv(batch, S), tl.num_programs(1)):
        b = block * S + tl.arange(0, S)
        there = (b < batch)[None, :]
        mine = (unit < H)[:, None] & there
        at_state, at_gate = b[None, :] * H + unit[:, None], b[None, :] * (4 * H) + unit[:, None]
        dc = tl.load(d_c + at_state, mask=mine, other=0.0)  # (U, S)
        for step in range(time):
            now, after = (time - 1 - step) * word, (time - step) * word
            at = gates + now * (4 * H) + at_gate
            f = tl.load(at, mask=mine, other=0.0).to(tl.float32)
            i = tl.load(at + H, mask=mine, other=0.0).to(tl.float32)
            g = tl.load(at + 2 * H, mask=mine, other=0.0).to(tl.float32)
            o = tl.load(at + 3 * H, mask=mine, other=0.0).to(tl.float32)
            c_before = tl.load(c + now * H + at_state, mask=mine, other=0.0)
            tanh_c = _tanh(tl.load(c + after * H + at_state, mask=mine, other=0.0))
            dh = tl.load(d_outputs + now * H + at_state, mask=mine, other=0.0).to(tl.float32)
            if step > 0:
                product = tl.zeros((U, S), tl.float32)
                for first in tl.range(0, 4 * H, K, num_stages=3):
                    k = first + tl.arange(0, K)
                    weight = tl.load(
                        transposed + unit[:, None] * (4 * H) + k[None, :],
                        mask=(unit < H)[:, None] & (k < 4 * H)[None, :],
                        other=0.0,
                    )
                    d_after = tl.load(
                        d_gates + after * (4 * H) + b[None, :] * (4 * H) + k[:, None],
                        mask=(k < 4 * H)[:, None] & there,
                        other=0.0,
                        cache_modifier=".cg",
                    )
                    product = tl.dot(weight, d_after, product, input_precision=PRECISION)
                if keep is not None:
                    product *= tl.load(keep + after + b, mask=b < batch, other=0.0)[None, :]
                dh += product
            passed_on = f
            if keep is not None:
                kept = tl.load(keep + now + b, mask=b < batch, other=0.0)[None, :]
                c_before, passed_on = c_before * kept, f * kept
            dc += dh * o * (1 - tanh_c * tanh_c)
            d_at = d_gates + now * (4 * H) + at_gate
            tl.store(d_at, (dc * c_before * f * (1 - f)).to(dtype), mask=mine)
            tl.store(d_at + H, (dc * g * i * (1 - i)).to(dtype), mask=mine)
            tl.store(d_at + 2 * H, (dc * i * (1 - g * g) * 0.5).to(dtype), mask=mine)  # of 2 a_g
            tl.store(d_at + 3 * H, (dh * tanh_c * o * (1 - o)).to(dtype), mask=mine)
            dc *= passed_on
            if step + 1 < time:
                _wait_for_all(counters + block, (step + 1) * tl.num_programs(0))
        tl.store(d_c + at_state, dc, mask=mine)
