"""Penalties on the outputs of the last recurrent layer. Shapes: T time, B batch, H hidden size."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F


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
        outputs = outputs.to(torch.promote_types(outputs.dtype, torch.float32))
        words, total = outputs[..., 0].numel(), outputs.new_zeros(())
        if self.activation:
            dropped = outputs if mask is None else outputs * mask.to(outputs.dtype)
            total = total + self.activation * dropped.square().mean()
        if self.temporal and len(outputs) > 1:
            total = total + self.temporal * F.mse_loss(outputs[1:], outputs[:-1])
        return words * total
