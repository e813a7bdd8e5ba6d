"""The products of a layer, by whichever library is fastest at them here; bfloat16 where the weights are.

On an x86 CPU torch hands products of float32 to MKL, which makes the most of Intel's processors, and less of others.
There our own loops' blocks in registers make a better product of a whole window; oneDNN a better one of a single row.

Shapes: T time, B batch, H hidden size, E any width; a layer's weight is that of all gates, stacked.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from lstm_lm.cells.fast import on_cpu

MANY_WORDS = 32  # for fewer, arranging the weights anew takes longer than it saves
PACKED_FROM = 2**18  # weights; with fewer, the plain layout is as fast and needs no packing

MANY_ROWS = (
    128  # for fewer, ours are no faster than the library's, nor worth stacking a layer's weights
)
WIDE = 512  # a sum over rows narrower than that is no faster, either
MANY_WEIGHTS = 2**20  # with fewer, a row's product takes no time


def product_adder(weight: Tensor, batch: int, time: int) -> Callable[..., Tensor]:
    """Makes ``add_product(base, rows, out=...)``: ``base + rows @ weight.T``, for the B rows of a word at a time.

    So small a product leaves a CPU waiting for weights. A large matrix is multiplied faster once it has been packed,
    which is done once per window: by oneDNN where there is AVX-512, and by MKL elsewhere.
    """
    dtype = weight.dtype
    large = time >= MANY_WORDS and weight.numel() >= PACKED_FROM and on_cpu.are_plain(weight)
    if is_fast_bfloat16(weight) or large and batch > 1 and _has_avx512():
        packed = torch.ops.mkldnn._reorder_linear_weight(weight.contiguous(), batch)
        return lambda base, rows, out: torch.add(base, _by_onednn(rows.to(dtype), packed), out=out)
    if large and torch.backends.mkl.is_available():
        weight = weight.contiguous()
        packed = torch.ops.mkl._mkl_reorder_linear_weight(weight, batch)
        multiply = torch.ops.mkl._mkl_linear.default
        return lambda base, rows, out: torch.add(
            base, multiply(rows, packed, weight, None, batch), out=out
        )
    transposed = weight.T if time < MANY_WORDS else weight.T.contiguous()
    return lambda base, rows, out: torch.addmm(base, rows, transposed, out=out)


@cache
def _has_avx512() -> bool:
    return (
        torch.backends.mkldnn.is_available() and torch.backends.cpu.get_cpu_capability() == "AVX512"
    )


def is_fast_bfloat16(tensor: Tensor) -> bool:
    """Whether these are numbers of bfloat16 on a CPU that multiplies such, and sums the products in float32."""
    return tensor.dtype == torch.bfloat16 and tensor.device.type == "cpu" and _has_bfloat16()


@cache
def _has_bfloat16() -> bool:
    return torch.backends.mkldnn.is_available() and torch.ops.mkldnn._is_mkldnn_bf16_supported()


def linear(rows: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """`torch.nn.functional.linear`; of many rows on a CPU, or of one times a large weight, differentiable once."""
    if (is_ours(rows, weight) or _is_one_row(rows, weight)) and not torch.is_autocast_enabled(
        "cpu"
    ):
        return _Linear.apply(rows, weight, bias)
    return F.linear(rows, weight, bias)


def is_ours(rows: Tensor, weight: Tensor) -> bool:
    """Whether `on_cpu` makes the products of these rows ``(..., E)``, faster than what torch takes for them."""
    return (
        on_cpu.are_plain(rows, weight)
        and rows.ndim > 1
        and rows[..., 0].numel() >= MANY_ROWS
        and on_cpu.is_compiled()
        and not on_cpu.mkl_is_better()
    )


def _is_one_row(rows: Tensor, weight: Tensor) -> bool:
    """Whether this is a row ``(..., E)`` times a large weight, and oneDNN reads that with all cores, MKL with one."""
    return (
        on_cpu.are_plain(rows, weight)
        and rows.numel() == rows.shape[-1]
        and weight.numel() >= MANY_WEIGHTS
        and torch.backends.mkl.is_available()
        and torch.backends.mkldnn.is_available()
        and not on_cpu.mkl_is_better()
    )


class _Linear(torch.autograd.Function):
    @staticmethod
    def forward(ctx, rows: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(rows, weight)
        if not is_ours(rows, weight):
            return _by_onednn(rows, weight, bias)
        return _by_blocks(rows, weight.contiguous().T, None if bias is None else bias.contiguous())

    @staticmethod
    @once_differentiable
    def backward(ctx, d_products: Tensor) -> tuple[Tensor | None, ...]:
        rows, weight = ctx.saved_tensors
        wanted = ctx.needs_input_grad
        return (
            back_through(d_products, weight) if wanted[0] else None,
            over_the_window(d_products, rows, weight) if wanted[1] else None,
            d_products.reshape(-1, len(weight)).sum(0) if wanted[2] else None,
        )


def over_the_window(d_products: Tensor, rows: Tensor, weight: Tensor) -> Tensor:
    """The gradient ``sum_t d_t^T rows_t`` of a weight that every word's rows ``(..., E)`` were multiplied by."""
    d_products, rows = (
        part.reshape(-1, part.shape[-1]).to(weight.dtype) for part in (d_products, rows)
    )
    if rows.shape[1] >= WIDE and is_ours(rows, weight):
        return on_cpu.multiply(d_products.contiguous().T, rows.contiguous())
    return d_products.T @ rows


def back_through(d_products: Tensor, weight: Tensor) -> Tensor:
    """The gradient of the rows ``(..., E)`` that were multiplied by a weight."""
    d_low = d_products.to(weight.dtype)
    if is_ours(d_low, weight):
        return _by_blocks(d_low, weight.contiguous())
    return (d_low @ weight).to(d_products.dtype)


def _by_blocks(rows: Tensor, matrix: Tensor, bias: Tensor | None = None) -> Tensor:
    """`on_cpu.multiply` of rows ``(..., E)``."""
    return on_cpu.multiply(rows.flatten(0, -2).contiguous(), matrix, bias).unflatten(
        0, rows.shape[:-1]
    )


def _by_onednn(rows: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """``rows @ weight.T + bias``; the weight may be packed. Every new number of rows has oneDNN plan, and keep that."""
    return torch.ops.mkldnn._linear_pointwise(rows, weight, bias, "none", [], "")
