"""The affine layer of one gate: of one that sees the state, and of one that does not.

Shapes: B batch, E input size, H hidden size.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class GateLayer(nn.Module):
    """The affine layer of one gate: ``W x_t + U h_{t-1} + b``.

    The cell applies the sigmoid or tanh to it.

    Args:
        input_size: width E of ``x_t``.
        hidden_size: width H of ``h_{t-1}`` and of the gate.

    Attributes:
        input_weight: ``W (H, E)``, initialised Glorot-uniform (Glorot and Bengio 2010).
        recurrent_weight: ``U (H, H)``, initialised as a random orthogonal matrix (Saxe et al. 2014,
            arXiv 1312.6120).
        bias: ``b (H,)``, initialised to zero.
    """

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__()
        self.input_weight = nn.Parameter(torch.empty(hidden_size, input_size))
        nn.init.xavier_uniform_(self.input_weight)
        self.recurrent_weight = nn.Parameter(torch.empty(hidden_size, hidden_size))
        nn.init.orthogonal_(self.recurrent_weight)
        self.bias = nn.Parameter(torch.zeros(hidden_size))

    def forward(self, x: Tensor, h: Tensor) -> Tensor:
        """Maps ``x (B, E)`` and ``h (B, H)`` to the gate's pre-activation ``(B, H)``."""
        return self.from_input(x) + self.from_state(h)

    def from_input(self, x: Tensor) -> Tensor:
        """The part that depends on the word alone, ``W x + b``: ``(..., E)`` to ``(..., H)``."""
        return F.linear(x, self.input_weight, self.bias)

    def from_state(self, h: Tensor) -> Tensor:
        """The part that depends on the state alone, ``U h``: ``(..., H)`` to ``(..., H)``."""
        return F.linear(h, self.recurrent_weight)


class InputLayer(nn.Module):
    """The affine layer of a gate that does not see the state: ``W x_t + b``.

    Args:
        input_size: width E of ``x_t``.
        hidden_size: width H of the gate.

    Attributes:
        input_weight: ``W (H, E)``, initialised as in `GateLayer`.
        bias: ``b (H,)``, initialised to zero.
    """

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__()
        self.input_weight = nn.Parameter(torch.empty(hidden_size, input_size))
        nn.init.xavier_uniform_(self.input_weight)
        self.bias = nn.Parameter(torch.zeros(hidden_size))

    def forward(self, x: Tensor) -> Tensor:
        """Maps ``x (..., E)`` to the gate's pre-activation ``(..., H)``."""
        return F.linear(x, self.input_weight, self.bias)


def log_ratio(to_f: Tensor, to_i: Tensor) -> Tensor:
    """Computes ``log(f / i)`` of two gates from their pre-activations, also where both are tiny.

    ``f / (f + i)`` is the sigmoid of it.
    """
    return F.logsigmoid(to_f) - F.logsigmoid(to_i)


@torch.no_grad()
def draw_keep_bias_(bias: Tensor, memory_words: int) -> None:
    """Fills the bias of a gate that keeps, so that units keep what they hold for different times.

    A unit that keeps for t words gets the bias ``log(t - 1)``: where the gate's weights add nothing
    to it, the gate's value is ``1 - 1/t``, and what the unit holds decays over about t words. Each
    unit's t is drawn at random between 2 and ``memory_words``, with ``log t`` uniform: as many
    units keep for 2 to 10 words as for 10 to 50.

    Args:
        bias: ``(H,)``, filled in place.
        memory_words: the greatest t, at least 3.

    Source: chrono initialisation, Tallec and Ollivier 2018 (arXiv 1804.11188). Differs from it in
    drawing log t uniformly, not t. With t uniform up to 200, one unit in twenty would keep for at
    most 10 words, which is how long a sentence needs its subject.
    """
    bias.uniform_(math.log(2), math.log(memory_words)).exp_().sub_(1).log_()
