"""The products of the recurrence, by whichever library is fastest at them here; bfloat16 where the weights are.

Shapes: T time, B batch, H hidden size; a weight is that of all gates, stacked.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import torch
from torch import Tensor

MANY_WORDS = 32             # for fewer, arranging the weights anew takes longer than it saves
PACKED_FROM = 2**18         # weights; with fewer, the plain layout is as fast and needs no packing


def product_adder(weight: Tensor, batch: int, time: int) -> Callable[..., Tensor]:
    """Makes ``add_product(base, rows, out=...)``: ``base + rows @ weight.T``, for the B rows of a word at a time.

    So small a product leaves a CPU waiting for weights. A large matrix is multiplied faster once it has been packed,
    which is done once per window: by oneDNN where there is AVX-512, of which MKL makes less, and by MKL elsewhere.
    """
    dtype = weight.dtype
    large = (time >= MANY_WORDS and weight.numel() >= PACKED_FROM and dtype == torch.float32
             and weight.device.type == "cpu")
    if is_fast_bfloat16(weight) or large and batch > 1 and _has_avx512():
        packed = torch.ops.mkldnn._reorder_linear_weight(weight.contiguous(), batch)
        multiply = torch.ops.mkldnn._linear_pointwise.default
        return lambda base, rows, out: torch.add(base, multiply(rows.to(dtype), packed, None, "none", [], ""), out=out)
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


def over_the_window(d_products: Tensor, rows: Tensor, weight: Tensor) -> Tensor:
    """The gradient ``sum_t d_t^T rows_t`` of a weight that every word's rows ``(T, B, H)`` were multiplied by."""
    return d_products.flatten(0, 1).to(weight.dtype).T @ rows.flatten(0, 1).to(weight.dtype)


def back_through(d_products: Tensor, weight: Tensor) -> Tensor:
    """The gradient of the rows ``(B, H)`` that were multiplied by a weight."""
    return (d_products.to(weight.dtype) @ weight).to(d_products.dtype)
