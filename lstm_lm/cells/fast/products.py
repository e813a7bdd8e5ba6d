"""Matrix products of a layer, each by the library that is fastest at it on this machine.

On an x86 CPU torch uses MKL for float32, which is fast on Intel's processors and slower on others.
On those others `on_cpu.multiply`, a product in blocks, is faster for a whole window, and oneDNN for
a single row. Products are computed in the dtype of the weights: float32 or bfloat16.

Shapes: T time, B batch, H hidden size, E any width; a layer's weight is that of all gates, stacked.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from lstm_lm.cells.fast import on_cpu

# The times below were measured on one core of an AMD EPYC processor with AVX-512, torch 2.13.

# Words of a window from which a weight matrix is rearranged (packed or transposed) once per window,
# and weights from which it is packed. With batches of 20 rows, packing and 32 products took as long
# as 32 products without packing for 2**16 weights, and 0.57 of that time for 2**18.
MIN_WORDS_TO_REARRANGE = 32
MIN_WEIGHTS_TO_PACK = 2**18

# Rows (words times streams) from which `on_cpu.multiply` computes a product. It took half of MKL's
# time for 128 rows of 200 numbers, and 0.8 of it for 32. With fewer rows, a cell's gates are
# multiplied one by one, because stacking their weights would take longer than it saves.
MIN_ROWS_FOR_BLOCKED_PRODUCT = 128

# Columns of a weight from which `on_cpu.multiply` computes its gradient: half of MKL's time for
# 512.
MIN_COLUMNS_FOR_BLOCKED_GRADIENT = 512

# Weights from which oneDNN multiplies a single row: 1.2 of MKL's time for 2**19, 0.8 for 2**21.
MIN_WEIGHTS_FOR_ROW_BY_ONEDNN = 2**20


def product_adder(weight: Tensor, batch: int, time: int) -> Callable[..., Tensor]:
    """Prepares the products of a loop over words with one weight.

    The product of one word is small, so a CPU spends its time fetching the weight. A large weight
    is multiplied faster once it is packed: by oneDNN on a CPU with AVX-512, by MKL on others.

    Args:
        weight: ``(M, K)``.
        batch: the rows B of one word.
        time: the words T of the window.

    Returns:
        ``add_product(base, rows, out=...)``, which writes ``base + rows @ weight.T`` to ``out``
        ``(B, M)`` and returns it; ``rows`` is ``(B, K)``.
    """
    dtype = weight.dtype
    large = (
        time >= MIN_WORDS_TO_REARRANGE
        and weight.numel() >= MIN_WEIGHTS_TO_PACK
        and on_cpu.are_float32_on_cpu(weight)
    )
    if is_fast_bfloat16(weight) or (large and batch > 1 and _has_avx512()):
        packed = torch.ops.mkldnn._reorder_linear_weight(weight.contiguous(), batch)

        def add_by_onednn(base: Tensor, rows: Tensor, out: Tensor) -> Tensor:
            return torch.add(base, _by_onednn(rows.to(dtype), packed), out=out)

        return add_by_onednn
    if large and torch.backends.mkl.is_available():
        weight = weight.contiguous()
        packed = torch.ops.mkl._mkl_reorder_linear_weight(weight, batch)
        multiply = torch.ops.mkl._mkl_linear.default

        def add_by_mkl(base: Tensor, rows: Tensor, out: Tensor) -> Tensor:
            return torch.add(base, multiply(rows, packed, weight, None, batch), out=out)

        return add_by_mkl
    transposed = weight.T if time < MIN_WORDS_TO_REARRANGE else weight.T.contiguous()

    def add_by_torch(base: Tensor, rows: Tensor, out: Tensor) -> Tensor:
        return torch.addmm(base, rows, transposed, out=out)

    return add_by_torch


@cache
def _has_avx512() -> bool:
    return (
        torch.backends.mkldnn.is_available() and torch.backends.cpu.get_cpu_capability() == "AVX512"
    )


def is_fast_bfloat16(tensor: Tensor) -> bool:
    """Whether this is bfloat16 on a CPU that multiplies bfloat16 and sums in float32."""
    return tensor.dtype == torch.bfloat16 and tensor.device.type == "cpu" and _has_bfloat16()


@cache
def _has_bfloat16() -> bool:
    return torch.backends.mkldnn.is_available() and torch.ops.mkldnn._is_mkldnn_bf16_supported()


def linear(rows: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Computes `torch.nn.functional.linear`, faster on a CPU for many rows or one long row.

    Args:
        rows: ``(..., E)``.
        weight: ``(M, E)``.
        bias: ``(M,)`` or None.

    Returns:
        ``rows @ weight.T + bias``, ``(..., M)``. The faster product has no second derivative.
    """
    is_faster = use_blocks(rows, weight) or _use_onednn_for_row(rows, weight)
    if is_faster and not torch.is_autocast_enabled("cpu"):
        return _Linear.apply(rows, weight, bias)
    return F.linear(rows, weight, bias)


def use_blocks(rows: Tensor, weight: Tensor) -> bool:
    """Whether `on_cpu.multiply` is the fastest for rows ``(..., E)`` and a weight ``(M, E)``."""
    return (
        on_cpu.are_float32_on_cpu(rows, weight)
        and rows.ndim > 1
        and rows[..., 0].numel() >= MIN_ROWS_FOR_BLOCKED_PRODUCT
        and on_cpu.is_compiled()
        and not on_cpu.is_mkl_faster()
    )


def _use_onednn_for_row(rows: Tensor, weight: Tensor) -> bool:
    """Whether this is a single row times a large weight: oneDNN uses all cores for it, MKL one."""
    return (
        on_cpu.are_float32_on_cpu(rows, weight)
        and rows.numel() == rows.shape[-1]
        and weight.numel() >= MIN_WEIGHTS_FOR_ROW_BY_ONEDNN
        and torch.backends.mkl.is_available()
        and torch.backends.mkldnn.is_available()
        and not on_cpu.is_mkl_faster()
    )


class _Linear(torch.autograd.Function):
    """`linear` by `on_cpu.multiply` or oneDNN."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(rows, weight)
        if not use_blocks(rows, weight):
            return _by_onednn(rows, weight, bias)
        return _by_blocks(rows, weight.contiguous().T, None if bias is None else bias.contiguous())

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_products: Tensor) -> tuple[Tensor | None, ...]:
        rows, weight = ctx.saved_tensors
        needs_rows, needs_weight, needs_bias = ctx.needs_input_grad
        return (
            rows_gradient(d_products, weight) if needs_rows else None,
            weight_gradient(d_products, rows, weight) if needs_weight else None,
            d_products.reshape(-1, len(weight)).sum(0) if needs_bias else None,
        )


def weight_gradient(d_products: Tensor, rows: Tensor, weight: Tensor) -> Tensor:
    """Computes the gradient of a weight in ``products = rows @ weight.T``.

    Args:
        d_products: gradient of the products, ``(..., M)``.
        rows: ``(..., E)``.
        weight: ``(M, E)``.

    Returns:
        The sum over all rows of ``d_products^T rows``, ``(M, E)``, in the weight's dtype.
    """
    d_products, rows = (
        part.reshape(-1, part.shape[-1]).to(weight.dtype) for part in (d_products, rows)
    )
    if rows.shape[1] >= MIN_COLUMNS_FOR_BLOCKED_GRADIENT and use_blocks(rows, weight):
        return on_cpu.multiply(d_products.contiguous().T, rows.contiguous())
    return d_products.T @ rows


def rows_gradient(d_products: Tensor, weight: Tensor) -> Tensor:
    """Computes the gradient of the rows in ``products = rows @ weight.T``.

    Args:
        d_products: gradient of the products, ``(..., M)``.
        weight: ``(M, E)``.

    Returns:
        ``d_products @ weight``, ``(..., E)``.
    """
    d_low = d_products.to(weight.dtype)
    if use_blocks(d_low, weight):
        return _by_blocks(d_low, weight.contiguous())
    return (d_low @ weight).to(d_products.dtype)


def _by_blocks(rows: Tensor, matrix: Tensor, bias: Tensor | None = None) -> Tensor:
    """Computes ``rows @ matrix + bias`` by `on_cpu.multiply`; rows are ``(..., E)``."""
    products = on_cpu.multiply(rows.flatten(0, -2).contiguous(), matrix, bias)
    return products.unflatten(0, rows.shape[:-1])


def _by_onednn(rows: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Computes ``rows @ weight.T + bias`` by oneDNN; the weight may be packed.

    oneDNN plans a product once for every number of rows, which takes about a millisecond.
    """
    return torch.ops.mkldnn._linear_pointwise(rows, weight, bias, "none", [], "")
