"""Weights in fewer bits: matrices as int8 or float16, everything else in float32.

int8: every row of a matrix has one scale, and a weight is its integer times the scale of its row.
The row of a word vector, or of one unit of a gate, so keeps its own range. Vectors (biases,
peepholes) are few, and stay in float32.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor

from lstm_lm.model.language_model import LanguageModel

LARGEST_INT8 = 127  # -128 is not used, so that the range is symmetric


def to_int8(matrix: Tensor) -> tuple[Tensor, Tensor]:
    """Rounds ``matrix (N, M)`` to integers.

    Returns:
        int8 ``(N, M)`` in [-127, 127], and the scales ``(N, 1)``, float32. A row of zeros has the
        scale 1.
    """
    matrix = matrix.detach().to("cpu", torch.float32)
    scales = matrix.abs().amax(dim=1, keepdim=True) / LARGEST_INT8
    scales = torch.where(scales > 0, scales, torch.ones_like(scales))
    return (matrix / scales).round().to(torch.int8), scales


def from_int8(integers: Tensor, scales: Tensor) -> Tensor:
    """The float32 matrix ``(N, M)`` that `to_int8` stands for."""
    return integers.float() * scales


def rounded(matrix: Tensor, kind: str | None) -> Tensor:
    """The float32 matrix as a program sees it that reads an export of this kind.

    Args:
        matrix: ``(N, M)``.
        kind: ``int8``, ``float16``, or None for the matrix itself.
    """
    if kind == "int8":
        return from_int8(*to_int8(matrix))
    return matrix.half().float() if kind == "float16" else matrix


@torch.no_grad()
def rounded_model(model: LanguageModel, kind: str | None) -> LanguageModel:
    """A copy of a model with the weights that an export of this kind has; the model stays."""
    network = copy.deepcopy(model.network).to("cpu").float().eval()
    for parameter in network.parameters():
        if parameter.ndim == 2:
            parameter.copy_(rounded(parameter, kind))
    return LanguageModel(network, model.vocabulary)
