"""Mixture of softmaxes: several softmaxes over the same word vectors, and how much each counts.

One softmax over vectors of E numbers makes log-probabilities whose matrix, of all contexts by all
words, has the rank E + 1 at most. A mixture has no such limit::

    d_k    = tanh(W_k h + b_k)              the hidden vector of softmax k
    pi     = softmax(U h)                   how much each softmax counts
    p(w|h) = sum_k pi_k softmax(V d_k + b)_w

`Experts` computes the first two from the top layer's output, `MixtureOutput` the third.

Shapes: N predictions, V vocab_size, E embedding_dim, H hidden_size of the top layer, K softmaxes.

Source: Yang et al. 2018 (arXiv 1711.03953).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lstm_lm.cells.fast.products import linear
from lstm_lm.model.batch_part import BatchPart
from lstm_lm.model.dropout import apply_locked_dropout
from lstm_lm.model.output import FullOutput, SampledOutput
from lstm_lm.model.softmax import BlockSizes, TokenMeasures, chunked_loss, chunked_nll


class Experts(nn.Module):
    """From the top layer's output to what `MixtureOutput` reads.

    Args:
        hidden_size: H.
        embedding_dim: E.
        softmaxes: K.

    Attributes:
        latent: ``W_k`` and ``b_k`` of all softmaxes, ``H -> K*E``.
        prior: ``U``, ``H -> K``.
    """

    def __init__(self, hidden_size: int, embedding_dim: int, softmaxes: int) -> None:
        super().__init__()
        self.latent = nn.Linear(hidden_size, softmaxes * embedding_dim)
        self.prior = nn.Linear(hidden_size, softmaxes, bias=False)

    def forward(self, hidden: Tensor) -> Tensor:
        """Maps ``hidden (..., H)`` to ``(..., K*E + K)``: all ``d_k``, and ``U h``."""
        return torch.cat([torch.tanh(self.latent(hidden)), self.prior(hidden)], dim=-1)

    def apply_dropout(self, found: Tensor, rate: float, part: BatchPart | None = None) -> Tensor:
        """Drops elements of all ``d_k`` of a window ``(T, B, K*E + K)``, one mask per window.

        Args:
            found: of all streams of the batch, or of a part of them.
            rate: which fraction is dropped.
            part: which part, if it is one.
        """
        vectors, prior = found.split([self.latent.out_features, self.prior.out_features], dim=-1)
        return torch.cat([apply_locked_dropout(vectors, rate, part), prior], dim=-1)


def mixture_log_probabilities(hidden: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """The log-probabilities ``(..., V)`` of a mixture, in nats; of one softmax after the other.

    Args:
        hidden: what `Experts` returns, ``(..., K*E + K)``.
        weight: word vectors ``(V, E)``.
        bias: ``(V,)``.
    """
    width = weight.shape[1]
    softmaxes = hidden.shape[-1] // (width + 1)
    log_prior = F.log_softmax(hidden[..., softmaxes * width :].to(bias.dtype), dim=-1)
    found: Tensor | None = None
    for k in range(softmaxes):
        logits = linear(hidden[..., k * width : (k + 1) * width], weight, bias).to(bias.dtype)
        joint = F.log_softmax(logits, dim=-1) + log_prior[..., k : k + 1]
        found = joint if found is None else torch.logaddexp(found, joint)
    assert found is not None
    return found


class MixtureOutput(SampledOutput):
    """The mixture of softmaxes; what it reads is what `Experts` returns.

    In training, each softmax may be estimated from a sample of the vocabulary, the same for all.

    Args:
        vocab_size: V.
        embedding_dim: E.
        softmaxes: K.
        sampled_words: expected number of words drawn per window; None: training is exact, too.
        weight: word vectors to share; new ones by default.

    Attributes:
        weight: ``V (V, E)``; of a tied model, its embedding matrix.
        bias: ``b (V,)``.
        normalization: see `FullOutput`.
    """

    def __init__(
        self,
        vocab_size: int,
        embedding_dim: int,
        softmaxes: int,
        sampled_words: int | None = None,
        weight: nn.Parameter | None = None,
    ) -> None:
        super().__init__(vocab_size, embedding_dim, sampled_words or vocab_size, weight)
        self.softmaxes, self.is_sampled = softmaxes, sampled_words is not None
        self.normalization = f"mixture of {softmaxes} softmaxes over all {vocab_size:,} words"

    def start_from_counts(self, counts: Tensor) -> None:
        """Sets the bias; if training is sampled, also every word's chance to be drawn."""
        if self.is_sampled:
            super().start_from_counts(counts)
        else:
            FullOutput.start_from_counts(self, counts)

    def log_probabilities(self, hidden: Tensor) -> Tensor:
        """Maps ``hidden (..., K*E + K)`` to log-probabilities ``(..., V)``, in nats."""
        return mixture_log_probabilities(hidden, self.weight, self.bias)

    def token_nll(self, hidden: Tensor, targets: Tensor) -> Tensor:
        """The exact nll ``(N,)`` in nats of ``targets (N,)`` after ``hidden (N, K*E + K)``."""
        rows = self._rows_at_once()
        blocks = zip(hidden.split(rows), targets.split(rows), strict=True)
        return torch.cat([self._joint(*block)[0].logsumexp(1) for block in blocks]).neg().clamp(0)

    def token_measures(
        self, hidden: Tensor, targets: Tensor, word: int, *, entropy: bool = False
    ) -> TokenMeasures:
        """See `FullOutput.token_measures`."""
        rows = self._rows_at_once()
        blocks = zip(hidden.split(rows), targets.split(rows), strict=True)
        found = [self._measures(*block, word, entropy) for block in blocks]
        nll, rank, behind, entropies = (torch.cat(parts) for parts in zip(*found, strict=True))
        return TokenMeasures(nll, rank, behind, entropies if entropy else None)

    def word_scores(self, hidden: Tensor, words: Tensor) -> Tensor:
        """See `FullOutput.word_scores`."""
        weight, bias, found = self.weight[words], self.bias[words], []
        for some in hidden.split(self._rows_at_once()):
            _, vectors, shift = self._joint(some, words.new_zeros(len(some)))
            found.append(self._mixed(vectors, shift, weight, bias))
        return torch.cat(found)

    def loss(self, hidden: Tensor, targets: Tensor, batch_targets: Tensor | None = None) -> Tensor:
        """The summed nll in nats; estimated if training is sampled and the mode is training.

        Arguments are those of `SampledOutput.loss`.
        """
        vectors, log_prior = self._parts(hidden)
        if self.training and self.is_sampled:
            weight, bias, place, bonus = self.sample(targets, batch_targets)
            return chunked_loss(vectors, weight, bias, place, bonus, log_prior)
        return chunked_loss(vectors, self.weight, self.bias, targets, None, log_prior)

    def _rows_at_once(self) -> int:
        """Predictions whose softmaxes are evaluated together."""
        rows = BlockSizes.on(self.weight.device).evaluation_rows
        return max(1, rows // self.softmaxes)

    def _parts(self, hidden: Tensor) -> tuple[Tensor, Tensor]:
        """The vectors of all softmaxes ``(N*K, E)``, and ``log pi (N, K)``."""
        vectors = hidden[:, : -self.softmaxes].reshape(-1, self.weight.shape[1])
        prior = hidden[:, -self.softmaxes :].to(self.bias.dtype)
        return vectors, F.log_softmax(prior, dim=1)

    def _joint(self, hidden: Tensor, targets: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """What is known of each softmax before words are compared.

        Returns:
            ``log(pi_k p_k(target))``, ``(N, K)``; the vectors ``(N*K, E)``; and what is added to a
            logit of softmax k to have ``log(pi_k p_k)``, ``(N, K)``.
        """
        vectors, log_prior = self._parts(hidden)
        wanted = targets.repeat_interleave(self.softmaxes)
        nll = chunked_nll(vectors, self.weight, self.bias, wanted).view_as(log_prior)
        logits = (vectors * self.weight[wanted]).sum(1).to(self.bias.dtype) + self.bias[wanted]
        joint = log_prior - nll
        return joint, vectors, joint - logits.view_as(joint)

    def _mixed(self, vectors: Tensor, shift: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        """Log-probabilities ``(N, M)`` of M words."""
        logits = F.linear(vectors, weight, bias).to(self.bias.dtype)
        return (logits.view(*shift.shape, -1) + shift.unsqueeze(2)).logsumexp(1)

    def _measures(
        self, hidden: Tensor, targets: Tensor, word: int, entropy: bool
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Measures a few predictions, some words at a time."""
        joint, vectors, shift = self._joint(hidden, targets)
        wanted = joint.logsumexp(1)
        known = slice(word, word + 1)
        behind = self._mixed(vectors, shift, self.weight[known], self.bias[known])[:, 0] >= wanted
        behind |= targets == word
        words = BlockSizes.on(self.weight.device).evaluation // len(vectors)
        rank, entropies = torch.zeros_like(targets), torch.zeros_like(wanted)
        for start in range(0, len(self.weight), words):
            some = slice(start, start + words)
            found = self._mixed(vectors, shift, self.weight[some], self.bias[some])
            if entropy:
                entropies -= torch.linalg.vecdot(found.exp(), found)
            here = ((targets >= start) & (targets < start + words)).nonzero().squeeze(1)
            # its own exactly, so that the target itself is counted
            found[here, targets[here] - start] = wanted[here]
            rank += (found >= wanted.unsqueeze(1)).sum(1)
        return wanted.neg().clamp(0), rank, behind, entropies
