"""The plain model: ``torch.nn.LSTM`` between tied word vectors, all logits at once, plain SGD.

It is the word_language_model of pytorch/examples, the usual small LSTM language model. SGD is the
cheapest update.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lstm_lm.cells import to_torch_lstm
from lstm_lm.model.language_model import LanguageModel

TIME, BATCH = 35, 20


class PlainModel(nn.Module):
    """A tied two-layer language model on ``torch.nn.LSTM``.

    Args:
        vocab_size: number of words.
        width: size of word vectors and layers.
    """

    def __init__(self, vocab_size: int, width: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocab_size, width)
        self.lstm = nn.LSTM(width, width, 2)
        self.output = nn.Linear(width, vocab_size)
        self.scale = 1.0
        nn.init.uniform_(self.embedding.weight, -0.1, 0.1)
        self.output.weight = self.embedding.weight

    def copy(self, model: LanguageModel) -> PlainModel:
        """Takes the weights of a tied model of ours without normalisation, to compute the same."""
        self.embedding.weight.data.copy_(model.network.embedding.weight)
        self.output.bias.data.copy_(model.network.output.bias)
        self.lstm, self.scale = (
            to_torch_lstm(list(model.network.recurrent.cells)),
            math.sqrt(model.config.embedding_dim),
        )
        return self

    def forward(
        self, tokens: Tensor, state: tuple[Tensor, Tensor]
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Log-probabilities ``(T, B, V)`` of the next word, and the state."""
        outputs, state = self.lstm(self.embedding(tokens) * self.scale, state)
        return F.log_softmax(self.output(outputs), dim=-1), state

    def initial_state(self, batch_size: int) -> tuple[Tensor, Tensor]:
        """Zeros."""
        zeros = self.embedding.weight.new_zeros(2, batch_size, self.lstm.hidden_size)
        return zeros, zeros

    def iterate_nll(self, tokens: Sequence[int], previous: int, window: int) -> Iterator[Tensor]:
        """Scores a stream of ids like `measure_perplexity`; yields the nll of each token."""
        state = self.initial_state(1)
        for start in range(0, len(tokens), window):
            targets = torch.as_tensor(tokens[start : start + window])
            inputs = torch.cat([torch.tensor([previous]), targets[:-1]])
            previous = int(targets[-1])
            with torch.no_grad():
                log_probabilities, state = self(inputs.unsqueeze(1), state)
            yield F.nll_loss(log_probabilities.flatten(0, 1), targets, reduction="none")


def plain_step(model: PlainModel, draw_window: Callable[[], Tensor]) -> Callable[[], None]:
    """Returns a function that takes one training step of the plain model."""
    state = model.initial_state(BATCH)

    def step() -> None:
        tokens, targets = draw_window()
        model.zero_grad()
        log_probabilities, _ = model(tokens, state)
        F.nll_loss(log_probabilities.flatten(0, 1), targets.flatten()).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 0.25)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(parameter.grad, alpha=-20)

    return step
