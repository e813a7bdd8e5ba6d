"""Penalties on the outputs of the last recurrent layer. Shapes: T time, B batch, H hidden size."""

from __future__ import annotations

from typing import Any, NamedTuple, cast

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


class ActivationPenalty(NamedTuple):
    """Keeps activations small, and slow from word to word.

    With ``h_t`` the outputs of the last layer and ``m`` the mask of the output dropout, the penalty
    of a word is ``activation * mean((m h_t)^2) + temporal * mean((h_t - h_(t-1))^2)``, each a mean
    over all words of the window, streams and units.

    Attributes:
        activation: alpha, at least 0; 0: no such penalty.
        temporal: beta, at least 0; 0: no such penalty.

    Source: Merity et al. 2017 (arXiv 1708.01009), as in Merity et al. 2018 (arXiv 1708.02182).
    """

    activation: float = 0.0
    temporal: float = 0.0

    def of(self, outputs: Tensor, mask: Tensor | None) -> Tensor:
        """Computes the penalty of all ``T * B`` words of a window, summed.

        Args:
            outputs: the last layer's, before normalisation and dropout, ``(T, B, H)``.
            mask: of the output dropout, ``(1, B, H)``; None if nothing is dropped.

        Returns:
            A scalar, in float32 or wider.
        """
        penalty = _Penalty.apply(outputs, mask, self.activation, self.temporal)
        return cast(Tensor, penalty)


class _Penalty(torch.autograd.Function):
    """The penalty of a window; the forward pass also computes its gradient.

    With ``d_t = h_t - h_(t-1)``, ``a = 2 activation / H`` and ``b = 2 temporal T / ((T - 1) H)``::

        value = a / 2 sum (m h_t)^2 + b / 2 sum d_t^2        dh_t = a m^2 h_t + b (d_t - d_(t+1))

    Autograd would take three times the operations.
    """

    @staticmethod
    def forward(
        ctx: Any, outputs: Tensor, mask: Tensor | None, activation: float, temporal: float
    ) -> Tensor:
        h = outputs.to(torch.promote_types(outputs.dtype, torch.float32))
        length, _, size = h.shape
        factor = 2 * activation / size
        d_h = h * (factor if mask is None else factor * mask.to(h.dtype).square())
        value = torch.dot(d_h.view(-1), h.reshape(-1)) / 2
        if temporal and length > 1:
            slow = h[1:] - h[:-1]
            factor = 2 * temporal * length / ((length - 1) * size)
            value += factor / 2 * torch.dot(slow.view(-1), slow.view(-1))
            d_h[1:].add_(slow, alpha=factor)
            d_h[:-1].sub_(slow, alpha=factor)
        ctx.save_for_backward(d_h.to(outputs.dtype))
        return value

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_value: Tensor) -> tuple[Tensor | None, ...]:
        (d_h,) = ctx.saved_tensors
        return d_h * d_value.to(d_h.dtype), None, None, None
