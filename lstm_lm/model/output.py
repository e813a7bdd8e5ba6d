"""Output layers: from a hidden vector to the next word, by a softmax over the vocabulary.

The softmax is exact in evaluation; in training it may be estimated from sampled words. The ``N x
V`` logits of a window are never all in memory: they are computed, used and freed in chunks of rows.

Every output layer, also `lstm_lm.model.adaptive.AdaptiveOutput`, has

- ``loss``: what training minimises,
- ``token_nll`` and ``log_probabilities``: exact,
- ``token_measures`` and ``word_scores``: the rank of a word, and the entropy, also exact,
- ``normalization``: a text that says over what the probabilities sum to 1,
- ``start_from_counts``: lets training begin at the words' frequencies,
- ``bias (V,)``.

Shapes: N predictions, V vocab_size, E embedding_dim, S sampled words.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from lstm_lm.cells.fast.products import linear, rows_gradient

MIN_CHUNK_ROWS = 64  # matrix products with fewer rows are slow
LOW_PRECISION_MULTIPLE = 256  # in low precision, sampled words are padded to a multiple of this


class BlockSizes(NamedTuple):
    """How many logits are computed at a time.

    Attributes:
        training: logits in training.
        evaluation: logits in evaluation.
        evaluation_rows: predictions in a block of evaluation, at most.
    """

    training: int
    evaluation: int
    evaluation_rows: int

    @classmethod
    def on(cls, device: torch.device) -> BlockSizes:
        """The sizes for a device.

        On a CPU, 16 MB in training fit into the last cache, and 2 MB in evaluation into a core's
        own cache. A GPU is fastest with few large blocks.
        """
        if device.type == "cpu":
            return cls(2**22, 2**19, 256)
        return cls(2**26, 2**26, 4096)


class TokenMeasures(NamedTuple):
    """What is measured about N predictions, each of which has a target.

    Attributes:
        nll: of the target in nats, ``(N,)``, as ``token_nll`` returns it.
        rank: how many words are at least as probable as the target, itself included, int64
            ``(N,)``. So equally probable words count against the target.
        behind: whether one given word is among them, bool ``(N,)``.
        entropy: of the distribution over all words in nats, ``(N,)``; None if not asked for.
    """

    nll: Tensor
    rank: Tensor
    behind: Tensor
    entropy: Tensor | None


def chunk_rows(weight: Tensor) -> int:
    """How many predictions' logits over ``weight (V, E)`` are in memory at a time in training."""
    return max(MIN_CHUNK_ROWS, BlockSizes.on(weight.device).training // len(weight))


def draw_word_vectors(vocab_size: int, embedding_dim: int) -> Tensor:
    """Draws initial word vectors ``(V, E)``, uniform within ``1 / sqrt(E)``.

    A normalised input then has logits of about 0.6.
    """
    return torch.empty(vocab_size, embedding_dim).uniform_(-1, 1).div_(embedding_dim**0.5)


def log_shares(counts: Tensor) -> Tensor:
    """Logarithms ``(V,)`` of the words' frequencies, float64; 1 is added to each count."""
    smoothed = counts.to(torch.float64) + 1
    return (smoothed / smoothed.sum()).log()


def chunked_nll(hidden: Tensor, weight: Tensor, bias: Tensor, targets: Tensor) -> Tensor:
    """Cross-entropy ``(N,)`` of a linear layer in nats, computed in blocks.

    A block is some predictions by some words. Its logits are summed while they are in a core's own
    cache, and only the sums are kept.
    """
    wanted = (hidden * weight[targets]).sum(1).to(bias.dtype) + bias[targets]
    rows = BlockSizes.on(weight.device).evaluation_rows
    blocks = zip(hidden.split(rows), wanted.split(rows), strict=True)
    return torch.cat([_nll_beside(some, weight, bias, logits) for some, logits in blocks])


def _nll_beside(hidden: Tensor, weight: Tensor, bias: Tensor, wanted: Tensor) -> Tensor:
    """The nll of targets whose logits are ``wanted``: ``log sum_v exp(logit_v - wanted)``.

    No maximum is subtracted first, so the sum overflows float32 where a target is less probable
    than 1e-38; such a block is computed again by ``logsumexp``.
    """
    words = BlockSizes.on(weight.device).evaluation // max(1, len(hidden))
    total = torch.zeros_like(wanted)
    for some_weight, some_bias in zip(weight.split(words), bias.split(words), strict=True):
        logits = F.linear(hidden, some_weight, some_bias).to(bias.dtype)
        total = total + logits.sub_(wanted.unsqueeze(1)).exp_().sum(1)
    if total.isfinite().all():
        nll = total.log()
    else:
        nll = F.linear(hidden, weight, bias).to(bias.dtype).logsumexp(1) - wanted
    return nll.clamp(min=0)  # rounding may make it negative


def chunked_measures(
    hidden: Tensor, weight: Tensor, bias: Tensor, targets: Tensor, word: int, entropy: bool
) -> TokenMeasures:
    """What `chunked_nll` computes, ranks, and entropies, in the same blocks.

    Args:
        hidden: ``(N, E)``.
        weight: ``(V, E)``.
        bias: ``(V,)``.
        targets: ``(N,)``.
        word: the word that ``behind`` tells of.
        entropy: whether entropies are computed.
    """
    wanted = (hidden * weight[targets]).sum(1).to(bias.dtype) + bias[targets]
    behind = F.linear(hidden, weight[word : word + 1], bias[word : word + 1]).squeeze(1) >= wanted
    behind |= targets == word
    rows = BlockSizes.on(weight.device).evaluation_rows
    blocks = zip(hidden.split(rows), wanted.split(rows), targets.split(rows), strict=True)
    found = [_measures_beside(*block, weight, bias, entropy) for block in blocks]
    nll, rank, entropies = (torch.cat(parts) for parts in zip(*found, strict=True))
    return TokenMeasures(nll, rank, behind, entropies if entropy else None)


def _measures_beside(
    hidden: Tensor, wanted: Tensor, targets: Tensor, weight: Tensor, bias: Tensor, entropy: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """The nll as `_nll_beside` computes it, the ranks, and the entropies.

    With ``x = logit - wanted``, the entropy is ``log sum exp(x) - sum x exp(x) / sum exp(x)``.
    """
    words = BlockSizes.on(weight.device).evaluation // max(1, len(hidden))
    total, weighted = torch.zeros_like(wanted), torch.zeros_like(wanted)
    rank = torch.zeros_like(targets)
    for start in range(0, len(weight), words):
        some = slice(start, start + words)
        x = F.linear(hidden, weight[some], bias[some]).to(bias.dtype).sub_(wanted.unsqueeze(1))
        share = x.exp()
        total = total + share.sum(1)
        if entropy:
            weighted += torch.linalg.vecdot(share, x)
        here = ((targets >= start) & (targets < start + words)).nonzero().squeeze(1)
        x[here, targets[here] - start] = 0  # its own logit, computed in another order, differs
        rank += x.ge_(0).sum(1).to(rank.dtype)
    if not total.isfinite().all():
        log_share = F.linear(hidden, weight, bias).to(bias.dtype).log_softmax(1)
        nll = -log_share.gather(1, targets.unsqueeze(1)).squeeze(1)
        return nll.clamp(min=0), rank, -(log_share.exp() * log_share).sum(1)
    nll = total.log()
    return nll.clamp(min=0), rank, (nll - weighted / total).clamp(min=0)


def chunked_loss(
    hidden: Tensor, weight: Tensor, bias: Tensor, targets: Tensor, bonus: Tensor | None = None
) -> Tensor:
    """The sum of `chunked_nll`, with gradients; ``bonus (N,)`` is added to the targets' logits."""
    return _ChunkedLoss.apply(hidden, weight, bias, targets, bonus)


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
        self.sampled_words, self.sparse = sampled_words, False
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
        if self.draw_chance is None:
            raise RuntimeError("a sampled output needs start_from_counts before training")
        every_target = targets if batch_targets is None else batch_targets
        chosen = torch.bernoulli(self.draw_chance).bool().index_fill_(0, every_target, True)
        candidates = chosen.nonzero().squeeze(1)  # (S,)
        place = (chosen.cumsum(0) - 1)[targets]  # (N,) into candidates
        absent = (1 - self.draw_chance[candidates]) * (1 - self.word_share[candidates]) ** (
            len(every_target) - 1
        )
        log_chance = torch.log1p(-absent)  # (S,)
        weight = F.embedding(candidates, self.weight, sparse=self.sparse)  # (S, E)
        return chunked_loss(
            hidden, weight, self.bias[candidates] - log_chance, place, log_chance[place]
        )


def _pad_words(weight: Tensor, bias: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Pads word vectors ``(V, E)`` and biases ``(V,)`` with words of probability 0.

    oneDNN plans a product in low precision anew for every new shape. A sampled output has a
    different number of words in every window; padding makes the number of shapes small.
    """
    words = len(weight) + -len(weight) % LOW_PRECISION_MULTIPLE
    low_weight = weight.new_zeros(words, weight.shape[1], dtype=dtype)
    low_bias = bias.new_full((words,), -math.inf, dtype=dtype)
    low_weight[: len(weight)], low_bias[: len(bias)] = weight, bias
    return low_weight, low_bias


class _ChunkedLoss(torch.autograd.Function):
    """Summed cross-entropy of a linear layer; the forward pass also computes the gradients.

    Per chunk, with ``p = softmax(h W^T + b)`` and ``d = p - onehot(target)``::

        dh = d W        dW += d^T h        db += sum d

    So the logits are computed once, and freed before the backward pass.

    Source: the idea is that of Wijmans et al. 2025 (arXiv 2411.09009) and Hsu et al. 2024 (arXiv
    2410.10989).
    """

    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        weight: Tensor,
        bias: Tensor,
        targets: Tensor,
        bonus: Tensor | None,
    ) -> Tensor:
        device = hidden.device.type
        low = (
            torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else weight.dtype
        )
        with torch.autocast(device, enabled=False):
            h, w, b = hidden.to(low), weight, bias
            if low != weight.dtype:
                w, b = _pad_words(weight, bias, low)
            nll, d_hidden = bias.new_zeros(()), torch.empty_like(h)
            d_weight, d_bias = (
                torch.zeros_like(w, dtype=weight.dtype),
                torch.zeros_like(b, dtype=bias.dtype),
            )
            for start in range(0, len(h), chunk_rows(w)):
                rows = slice(start, start + chunk_rows(w))
                wanted = targets[rows].unsqueeze(1)
                logits = linear(h[rows], w, b).to(bias.dtype)
                if bonus is not None:
                    logits.scatter_add_(1, wanted, bonus[rows].unsqueeze(1))
                target_logits, top = logits.gather(1, wanted), logits.amax(1, keepdim=True)
                d = logits.sub_(top).exp_()
                total = d.sum(1, keepdim=True)
                nll += (total.log() + top - target_logits).sum()
                d.div_(total).scatter_add_(1, wanted, d.new_full(wanted.shape, -1.0))
                d_bias += d.sum(0)
                d = d.to(low)
                d_hidden[rows] = rows_gradient(d, w)
                if low == weight.dtype:
                    d_weight.addmm_(d.T, h[rows])
                else:
                    d_weight += d.T @ h[rows]
        ctx.save_for_backward(
            d_hidden.to(hidden.dtype), d_weight[: len(weight)], d_bias[: len(bias)]
        )
        return nll

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_nll: Tensor) -> tuple[Tensor | None, ...]:
        d_hidden, d_weight, d_bias = ctx.saved_tensors
        return d_hidden * d_nll, d_weight * d_nll, d_bias * d_nll, None, None
