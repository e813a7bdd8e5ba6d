"""Output layers: from a hidden vector to the next word, by a softmax over the vocabulary.

The softmax is exact in evaluation; in training it may be estimated from sampled words. How it is
computed is in `lstm_lm.model.softmax`.

Every output layer, also `lstm_lm.model.adaptive.AdaptiveOutput` and
`lstm_lm.model.mixture.MixtureOutput`, has

- ``loss``: what training minimises,
- ``token_nll`` and ``log_probabilities``: exact,
- ``token_measures`` and ``word_scores``: the rank of a word, and the entropy, also exact,
- ``normalization``: a text that says over what the probabilities sum to 1,
- ``start_from_counts``: lets training begin at the words' frequencies,
- ``bias (V,)``.

Shapes: N predictions, V vocab_size, E embedding_dim, S sampled words.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lstm_lm.cells.fast.products import linear
from lstm_lm.model.softmax import TokenMeasures, chunked_loss, chunked_measures, chunked_nll
from lstm_lm.random_numbers import generator_on


def draw_word_vectors(vocab_size: int, embedding_dim: int) -> Tensor:
    """Draws initial word vectors ``(V, E)``, uniform within ``1 / sqrt(E)``.

    A normalised input then has logits of about 0.6.
    """
    return torch.empty(vocab_size, embedding_dim).uniform_(-1, 1).div_(embedding_dim**0.5)


def log_shares(counts: Tensor) -> Tensor:
    """Logarithms ``(V,)`` of the words' frequencies, float64; 1 is added to each count."""
    smoothed = counts.to(torch.float64) + 1
    return (smoothed / smoothed.sum()).log()


class FullOutput(nn.Module):
    """Softmax over all words: ``log p = log_softmax(W x + b)``.

    Args:
        vocab_size: V.
        embedding_dim: width E of the incoming vectors.
        weight: word vectors to share; new ones by default.

    Attributes:
        weight: ``W (V, E)``; of a tied model, its embedding matrix (Press and Wolf 2017, arXiv
            1608.05859).
        bias: ``b (V,)``.
        normalization: over what the probabilities of evaluation sum to 1.
    """

    def __init__(
        self, vocab_size: int, embedding_dim: int, weight: nn.Parameter | None = None
    ) -> None:
        super().__init__()
        self.weight = (
            nn.Parameter(draw_word_vectors(vocab_size, embedding_dim)) if weight is None else weight
        )
        self.bias = nn.Parameter(torch.zeros(vocab_size))
        self.normalization = f"softmax over all {vocab_size:,} words"

    @torch.no_grad()
    def start_from_counts(self, counts: Tensor) -> None:
        """Sets the bias to the logarithm of every word's frequency.

        Training then begins near the perplexity of a unigram model. A bias that starts at 0 needs
        an epoch to get there.

        Args:
            counts: how often each word occurs in train, ``(V,)``.
        """
        self.bias.copy_(log_shares(counts))

    def log_probabilities(self, hidden: Tensor) -> Tensor:
        """Maps ``hidden (..., E)`` to log-probabilities ``(..., V)`` of the next word, in nats."""
        return F.log_softmax(linear(hidden, self.weight, self.bias).to(self.bias.dtype), dim=-1)

    def token_nll(self, hidden: Tensor, targets: Tensor) -> Tensor:
        """The exact nll ``(N,)`` in nats of ``targets (N,)`` after ``hidden (N, E)``."""
        return chunked_nll(hidden, self.weight, self.bias, targets)

    def token_measures(
        self, hidden: Tensor, targets: Tensor, word: int, *, entropy: bool = False
    ) -> TokenMeasures:
        """Measures N predictions.

        Args:
            hidden: ``(N, E)``.
            targets: ``(N,)``.
            word: the word that ``behind`` tells of, such as ``<unk>``.
            entropy: whether the entropy is computed.
        """
        return chunked_measures(hidden, self.weight, self.bias, targets, word, entropy)

    def word_scores(self, hidden: Tensor, words: Tensor) -> Tensor:
        """Scores ``(N, M)`` of some words ``(M,)``: log-probabilities plus a number of each row."""
        return F.linear(hidden, self.weight[words], self.bias[words])

    def loss(self, hidden: Tensor, targets: Tensor) -> Tensor:
        """The summed nll of all N targets in nats, a scalar; gradients come chunk by chunk."""
        return chunked_loss(hidden, self.weight, self.bias, targets)


class SampledOutput(FullOutput):
    """Softmax that is estimated from a sample of the vocabulary in training; evaluation is exact.

    The candidates of a window are all its targets, and words drawn with a chance that grows with
    count^0.75. The logarithm of its chance to be a candidate is subtracted from a candidate's
    logit, so the sum over candidates is an unbiased estimate of the softmax's denominator. A
    prediction's own target is always a candidate and keeps its logit.

    Args:
        vocab_size: V.
        embedding_dim: width E of the incoming vectors.
        sampled_words: expected number of words drawn per window.
        weight: word vectors to share; new ones by default.

    Attributes:
        is_sampled: whether training is estimated; always, but a mixture may not be.
        sparse: whether the gradient of ``weight`` is a sparse tensor of the candidates' rows.

    Source: Jean et al. 2015 (arXiv 1412.2007), Jozefowicz et al. 2016 (arXiv 1602.02410).
    """

    def __init__(
        self,
        vocab_size: int,
        embedding_dim: int,
        sampled_words: int,
        weight: nn.Parameter | None = None,
    ) -> None:
        super().__init__(vocab_size, embedding_dim, weight)
        self.sampled_words, self.sparse, self.is_sampled = sampled_words, False, True
        self.register_buffer("draw_chance", None, persistent=False)
        self.register_buffer("word_share", None, persistent=False)

    def start_from_counts(self, counts: Tensor) -> None:
        """Sets the bias, and every word's chance to be drawn, which training needs.

        Words are drawn independently, each with the chance ``1 - exp(-r count^0.75)``. The rate r
        is such that ``sampled_words`` words are drawn on average.

        Args:
            counts: how often each word occurs in train, ``(V,)``.
        """
        super().start_from_counts(counts)
        counts = counts.to(device=self.weight.device, dtype=torch.float64)
        weights = counts.clamp(min=1) ** 0.75
        wanted = min(self.sampled_words, 0.99 * len(weights))
        low, high = weights.new_zeros(()), len(weights) / weights.min()
        for _ in range(200):
            rate = (low + high) / 2
            if (-torch.expm1(-rate * weights)).sum() < wanted:
                low = rate
            else:
                high = rate
        self.draw_chance = (-torch.expm1(-rate * weights)).to(self.weight.dtype)
        self.word_share = (counts / counts.sum()).to(self.weight.dtype)

    def loss(self, hidden: Tensor, targets: Tensor, batch_targets: Tensor | None = None) -> Tensor:
        """The summed nll in nats: estimated from sampled words in training mode, else exact.

        Args:
            hidden: ``(N, E)``.
            targets: ``(N,)``.
            batch_targets: of the whole batch, if these are those of a part: its candidates are
                those of the batch.
        """
        if not self.training:
            return super().loss(hidden, targets)
        return chunked_loss(hidden, *self.sample(targets, batch_targets))

    def sample(
        self, targets: Tensor, batch_targets: Tensor | None = None
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Draws the candidates of a window with ``targets (N,)``; see `loss`.

        Returns:
            Their word vectors ``(S, E)``; their biases, less the logarithms of their chances,
            ``(S,)``; the targets' places among them ``(N,)``; and the logarithms of the targets'
            chances ``(N,)``, which their logits get back.
        """
        if self.draw_chance is None:
            raise RuntimeError("a sampled output needs start_from_counts before training")
        every_target = targets if batch_targets is None else batch_targets
        chance = self.draw_chance
        drawn = torch.bernoulli(chance, generator=generator_on(chance.device))
        chosen = drawn.bool().index_fill_(0, every_target, True)
        candidates = chosen.nonzero().squeeze(1)  # (S,)
        place = (chosen.cumsum(0) - 1)[targets]  # (N,) into candidates
        absent = (1 - self.draw_chance[candidates]) * (1 - self.word_share[candidates]) ** (
            len(every_target) - 1
        )
        log_chance = torch.log1p(-absent)  # (S,)
        weight = F.embedding(candidates, self.weight, sparse=self.sparse)  # (S, E)
        return weight, self.bias[candidates] - log_chance, place, log_chance[place]
