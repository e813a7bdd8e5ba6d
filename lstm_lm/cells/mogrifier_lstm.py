"""The Mogrifier LSTM: the word and the state modulate each other before the gates see them."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lstm_lm.cells.fast.mogrifier import FUSED_MOGRIFIER
from lstm_lm.cells.lstm import LSTMCell
from lstm_lm.cells.state import LSTMState


class Modulation(nn.Module):
    """One round: by how much each element of x (or of h) is multiplied, given the other one.

    ``2 sigmoid(Q R y + b)``, which is 1 where nothing is known.

    Args:
        source_size: width S of y.
        target_size: width N of what is modulated.
        rank: K, the width between R and Q.

    Attributes:
        down: ``R (K, S)``, initialised Glorot-uniform.
        up: ``Q (N, K)``, likewise.
        bias: ``b (N,)``, initialised to zero.
    """

    def __init__(self, source_size: int, target_size: int, rank: int) -> None:
        super().__init__()
        self.down = nn.Parameter(torch.empty(rank, source_size))
        nn.init.xavier_uniform_(self.down)
        self.up = nn.Parameter(torch.empty(target_size, rank))
        nn.init.xavier_uniform_(self.up)
        self.bias = nn.Parameter(torch.zeros(target_size))

    def forward(self, y: Tensor) -> Tensor:
        """Maps ``y (..., S)`` to factors ``(..., N)`` in (0, 2)."""
        return 2 * torch.sigmoid(F.linear(F.linear(y, self.down), self.up, self.bias))


class MogrifierLSTMCell(LSTMCell):
    """LSTM whose input and state first modulate each other in turn, one word at a time.

    ::

        x = 2 sigmoid(Q_1 R_1 h + b_1) * x    round 1: what of the word matters here
        h = 2 sigmoid(Q_2 R_2 x + b_2) * h    round 2: what of the state matters to it
        x = 2 sigmoid(Q_3 R_3 h + b_3) * x    round 3, and so on in turn
        f = sigmoid(W_f x + U_f h + b_f)      from here on, the LSTM
        i = sigmoid(W_i x + U_i h + b_i)
        g = tanh   (W_g x + U_g h + b_g)
        o = sigmoid(W_o x + U_o h + b_o)
        c' = f * c + i * g
        h' = o * tanh(c')

    So the same word has another vector in another context. With no rounds, it is the LSTM.

    Args:
        input_size: width E of the input.
        hidden_size: width H of the state.
        memory_words: see `LSTMCell`.
        mogrifier_rounds: number of rounds, from 0.
        mogrifier_rank: width between the two matrices of a round, from 1.

    Attributes:
        rounds: a `Modulation` for each round; the first, third, ... modulate x, the others h.

    Source: Melis et al. 2020 (arXiv 1909.01792). The biases of the rounds are in the authors'
    program, not in the paper. Differs from that program in the input gate, which is not capped at
    1 - f.
    """

    title = "Mogrifier LSTM"
    own_settings = ("mogrifier_rounds", "mogrifier_rank")
    fused_pass = FUSED_MOGRIFIER

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        memory_words: int | None = None,
        mogrifier_rounds: int = 5,
        mogrifier_rank: int = 64,
    ) -> None:
        super().__init__(input_size, hidden_size, memory_words)
        sizes = (input_size, hidden_size)
        self.rounds = nn.ModuleList(
            Modulation(sizes[1 - number % 2], sizes[number % 2], mogrifier_rank)
            for number in range(mogrifier_rounds)
        )

    def modulate(self, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        """Returns ``x (..., E)`` and ``h (..., H)`` after all rounds."""
        for number, modulation in enumerate(self.rounds):
            if number % 2 == 0:
                x = modulation(h) * x
            else:
                h = modulation(x) * h
        return x, h

    def forward(self, x: Tensor, state: LSTMState) -> LSTMState:
        """Reads one word ``x (B, E)`` and returns the next ``h`` and ``c``, ``(B, H)`` each."""
        x, h = self.modulate(x, state.h)
        return super().forward(x, LSTMState(h, state.c))

    def activations(self, x: Tensor, state: LSTMState) -> dict[str, Tensor]:
        """Computes the gates ``(..., H)``; see `LSTMCell.activations`."""
        x, h = self.modulate(x, state.h)
        return super().activations(x, LSTMState(h, state.c))
