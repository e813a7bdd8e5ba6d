"""The products of a layer, by whichever library is fastest at them here; bfloat16 where the weights are.

Of float32, torch hands products to MKL, which makes less of AVX-512 than oneDNN does.

Shapes: T time, B batch, H hidden size; a weight is that of all gates, stacked.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

MANY_WORDS = 32             # for fewer, arranging the weights anew takes longer than it saves
MANY_ROWS = 128             # for fewer, oneDNN is no faster, and takes a millisecond to plan for a new number of them
PACKED_FROM = 2**18         # weights; with fewer, the plain layout is as fast and needs no packing


def product_adder(weight: Tensor, batch: int, time: int) -> Callable[..., Tensor]:
    """Makes ``add_product(base, rows, out=...)``: ``base + rows @ weight.T``, for the B rows of a word at a time.

    So small a product leaves a CPU waiting for weights. A large matrix is multiplied faster once it has been packed,
    which is done once per window: by oneDNN where there is AVX-512, and by MKL elsewhere.
    """
    dtype = weight.dtype
    large = (time >= MANY_WORDS and weight.numel() >= PACKED_FROM and dtype == torch.float32
             and weight.device.type == "cpu" and not torch.compiler.is_compiling())
    if is_fast_bfloat16(weight) or large and batch > 1 and _has_avx512():
        packed = torch.ops.mkldnn._reorder_linear_weight(weight.contiguous(), batch)
        return lambda base, rows, out: torch.add(base, _by_onednn(rows.to(dtype), packed), out=out)
    if large and torch.backends.mkl.is_available():
        weight = weight.contiguous()
        packed = torch.ops.mkl._mkl_reorder_linear_weight(weight, batch)
        multiply = torch.ops.mkl._mkl_linear.default
        return lambda base, rows, out: torch.add(base, multiply(rows, packed, weight, None, batch), out=out)
    transposed = weight.T if time < MANY_WORDS else weight.T.contiguous()
    return lambda base, rows, out: torch.addmm(base, rows, transposed, out=out)


@cache
def _has_avx512() -> bool:
    return torch.backends.mkldnn.is_available() and torch.backends.cpu.get_cpu_capability() == "AVX512"


def is_fast_bfloat16(tensor: Tensor) -> bool:
    """Whether these are numbers of bfloat16 on a CPU that multiplies such, and sums the products in float32."""
    return tensor.dtype == torch.bfloat16 and tensor.device.type == "cpu" and _has_bfloat16()


@cache
def _has_bfloat16() -> bool:
    return torch.backends.mkldnn.is_available() and torch.ops.mkldnn._is_mkldnn_bf16_supported()


def linear(inputs: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """`torch.nn.functional.linear`, of a window's inputs ``(T, B, E)``; differentiable once where oneDNN makes it."""
    if is_for_onednn(inputs) and not torch.is_autocast_enabled("cpu"):
        return _Linear.apply(inputs, weight, bias)
    return F.linear(inputs, weight, bias)


def is_for_onednn(rows: Tensor) -> bool:
    """Whether oneDNN is faster at a product of these rows ``(..., E)`` than what torch takes for it."""
    return (rows.dtype == torch.float32 and rows.device.type == "cpu" and rows[..., 0].numel() >= MANY_ROWS
            and _has_avx512() and not torch.compiler.is_compiling())


class _Linear(torch.autograd.Function):

    @staticmethod
    def forward(ctx, inputs: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        ctx.save_for_backward(inputs, weight)
        return _by_onednn(inputs, weight, bias)

    @staticmethod
    @once_differentiable
    def backward(ctx, d_products: Tensor) -> tuple[Tensor | None, ...]:
        inputs, weight = ctx.saved_tensors
        d_inputs = _by_onednn(d_products, weight.T) if ctx.needs_input_grad[0] else None
        return d_inputs, over_the_window(d_products, inputs, weight), d_products.sum((0, 1))


def _by_onednn(rows: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """``rows @ weight.T + bias``; the weight may be packed, or lie in memory column by column."""
    return torch.ops.mkldnn._linear_pointwise(rows, weight, bias, "none", [], "")


def over_the_window(d_products: Tensor, rows: Tensor, weight: Tensor) -> Tensor:
    """The gradient ``sum_t d_t^T rows_t`` of a weight that every word's rows ``(T, B, H)`` were multiplied by."""
    d_products, rows = d_products.flatten(0, 1).to(weight.dtype), rows.flatten(0, 1).to(weight.dtype)
    if is_for_onednn(rows):
        return _by_onednn(rows.T.contiguous(), d_products.T).T          # rows are the smaller ones to turn round
    return d_products.T @ rows


def back_through(d_products: Tensor, weight: Tensor) -> Tensor:
    """The gradient of the rows ``(B, H)`` that were multiplied by a weight."""
    return (d_products.to(weight.dtype) @ weight).to(d_products.dtype)
