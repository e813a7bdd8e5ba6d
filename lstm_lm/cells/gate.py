"""One gate's affine layer, and the state that a cell hands from word to word.

Shapes: T time, B batch, E input size, H hidden size.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class LSTMState(NamedTuple):
    """What a layer carries from one word to the next.

    Attributes:
        h: hidden state ``(B, H)``, the layer's output, in (-1, 1).
        c: cell state ``(B, H)``, the conveyor belt; unbounded in an LSTM. A GRU and an Elman cell have no belt
            beside their output: there ``c`` is ``h``.
    """

    h: Tensor
    c: Tensor

    def detach(self) -> LSTMState:
        """The same values, cut off from the graph that made them: where truncated back-propagation stops."""
        return LSTMState(self.h.detach(), self.c.detach())


class GateLayer(nn.Module):
    """The affine layer of one gate: ``W x_t + U h_{t-1} + b``, before any squashing.

    Args:
        input_size: width E of ``x_t``.
        hidden_size: width H of ``h_{t-1}`` and of the gate.

    Attributes:
        input_weight: ``W (H, E)``, Glorot-uniform at first (Glorot and Bengio 2010).
        recurrent_weight: ``U (H, H)``, a random orthogonal matrix at first (Saxe et al. 2014, arXiv 1312.6120).
        bias: ``b (H,)``, zero at first.
    """

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__()
        self.input_weight = nn.Parameter(
            nn.init.xavier_uniform_(torch.empty(hidden_size, input_size))
        )
        self.recurrent_weight = nn.Parameter(
            nn.init.orthogonal_(torch.empty(hidden_size, hidden_size))
        )
        self.bias = nn.Parameter(torch.zeros(hidden_size))

    def forward(self, x: Tensor, h: Tensor) -> Tensor:
        """Maps ``x (B, E)`` and ``h (B, H)`` to the gate's pre-activation ``(B, H)``."""
        return self.from_input(x) + self.from_state(h)

    def from_input(self, x: Tensor) -> Tensor:
        """The half that needs no memory, ``W x + b``: ``(..., E)`` to ``(..., H)``."""
        return F.linear(x, self.input_weight, self.bias)

    def from_state(self, h: Tensor) -> Tensor:
        """The half that remembers, ``U h``: ``(..., H)`` to ``(..., H)``."""
        return F.linear(h, self.recurrent_weight)


@torch.no_grad()
def draw_keep_bias_(bias: Tensor, memory_words: int) -> None:
    """Fills the bias of a gate that keeps: ``log(t - 1)``, each unit's t drawn from 2 to ``memory_words``.

    Undisturbed, such a gate is open by ``1 - 1/t``, and what its unit holds fades over t words. Times are spread evenly
    over orders of magnitude: as many units for 2 to 10 words as for 10 to 50.

    Args:
        bias: ``(H,)``.
        memory_words: at least 3.

    Source: chrono initialisation, Tallec and Ollivier 2018 (arXiv 1804.11188). Differs from it in drawing the logarithm
    of t evenly, not t: theirs leaves one unit in twenty for what lasts ten words, such as who a sentence is about.
    """
    bias.uniform_(math.log(2), math.log(memory_words)).exp_().sub_(1).log_()


def zero_state(batch_size: int, hidden_size: int, like: Tensor) -> LSTMState:
    """The state before the first word: zeros ``(B, H)``, with the dtype and device of ``like``."""
    zeros = like.new_zeros(batch_size, hidden_size)
    return LSTMState(zeros, zeros)
