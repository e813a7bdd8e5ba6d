"""Adaptive softmax: a large vocabulary at the cost of a small one.

Words have ids in descending order of frequency, so a cluster of rare words is a range of ids. The
*head* is a softmax over the most frequent words and one entry for each cluster. A word in a cluster
has the probability of its cluster times its own probability within the cluster::

    p(w | h) = p_head(w | h)                        a word of the head
    p(w | h) = p_head(cluster k | h) p_k(w | h)     a word of cluster k

This sums to 1 over the vocabulary and is exact. The words of a cluster occur too rarely to learn
wide vectors, so theirs are narrower; one matrix per cluster projects between their width and the
model's.

Shapes: N predictions, V vocab_size, E embedding_dim, K clusters after the head, D_k width of
cluster k.

Source: Grave et al. 2017 (arXiv 1609.04309); vectors and projections shared between input and
output as
in Baevski and Auli 2018 (arXiv 1809.10853). Differs from the latter: the head has no projection.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lstm_lm.cells.fast.products import linear
from lstm_lm.model.output import draw_word_vectors, log_shares
from lstm_lm.model.softmax import TokenMeasures, chunked_loss, chunked_nll

MEASURED_ROWS = 64  # predictions whose log-probabilities of all words are in memory at a time


def cluster_ends(vocab_size: int, cutoffs: Sequence[int]) -> list[int]:
    """The ids at which head and clusters end; cutoffs beyond the vocabulary are ignored."""
    return [*(cutoff for cutoff in cutoffs if cutoff < vocab_size), vocab_size]


class AdaptiveEmbedding(nn.Module):
    """Word vectors ``(..., E)``: a cluster's are looked up in its own width and projected to E.

    Args:
        vocab_size: V.
        embedding_dim: E.
        cutoffs: ids at which a new cluster begins, ascending.
        factor: each cluster's vectors are this many times narrower than those before it.

    Attributes:
        weights: word vectors of the head ``(V_0, E)`` and of every cluster ``(V_k, D_k)``.
        projections: of every cluster, ``(E, D_k)``; at first their columns are orthonormal, which
            keeps a vector's mean square.
    """

    def __init__(
        self, vocab_size: int, embedding_dim: int, cutoffs: Sequence[int], factor: float
    ) -> None:
        super().__init__()
        self.ends = cluster_ends(vocab_size, cutoffs)
        sizes = [end - start for start, end in pairwise([0, *self.ends])]
        widths = [max(1, round(embedding_dim / factor**k)) for k in range(len(sizes))]
        self.weights = nn.ParameterList(
            draw_word_vectors(size, width) for size, width in zip(sizes, widths, strict=True)
        )
        self.projections = nn.ParameterList(
            nn.Parameter(torch.empty(embedding_dim, width)) for width in widths[1:]
        )
        for projection in self.projections:
            nn.init.orthogonal_(projection)

    def forward(self, tokens: Tensor) -> Tensor:
        """Returns the vectors ``(..., E)`` of ``tokens (...)``."""
        vectors = F.embedding(tokens.clamp(max=self.ends[0] - 1), self.weights[0])
        clusters = zip(pairwise(self.ends), [*self.weights][1:], self.projections, strict=True)
        for (start, end), weight, projection in clusters:
            widened = F.linear(
                F.embedding(tokens.clamp(start, end - 1) - start, weight), projection
            ).to(vectors.dtype)
            there = (tokens >= start) & (tokens < end)
            vectors = torch.where(there.unsqueeze(-1), widened, vectors)
        return vectors


def adaptive_log_probabilities(
    hidden: Tensor,
    words: AdaptiveEmbedding,
    bias: Tensor,
    cluster_weight: Tensor,
    cluster_bias: Tensor,
) -> Tensor:
    """The log-probabilities ``(..., V)``, in nats, of an adaptive softmax.

    Args:
        hidden: ``(..., E)``.
        words: vectors and projections of all words.
        bias: of all words, ``(V,)``.
        cluster_weight: the head's vectors of the clusters, ``(K, E)``.
        cluster_bias: ``(K,)``.
    """
    weight, head_bias = head_layer(words, bias, cluster_weight, cluster_bias)
    head = F.log_softmax(linear(hidden, weight, head_bias).to(bias.dtype), dim=-1)
    parts = [head[..., : words.ends[0]]]
    for k in range(len(words.ends) - 1):
        narrowed, weight, cluster_words_bias = narrow(hidden, words, bias, k)
        within = linear(narrowed, weight, cluster_words_bias).to(bias.dtype)
        in_head = head[..., words.ends[0] + k].unsqueeze(-1)
        parts.append(F.log_softmax(within, dim=-1) + in_head)
    return torch.cat(parts, dim=-1)


def head_layer(
    words: AdaptiveEmbedding, bias: Tensor, cluster_weight: Tensor, cluster_bias: Tensor
) -> tuple[Tensor, Tensor]:
    """Weight ``(V_0 + K, E)`` and bias ``(V_0 + K,)`` of the head's softmax."""
    return (
        torch.cat([words.weights[0], cluster_weight]),
        torch.cat([bias[: words.ends[0]], cluster_bias]),
    )


def narrow(
    hidden: Tensor, words: AdaptiveEmbedding, bias: Tensor, k: int
) -> tuple[Tensor, Tensor, Tensor]:
    """``hidden`` projected to the k-th cluster's width, and the cluster's weight and bias."""
    narrowed = F.linear(hidden, words.projections[k].T)
    return narrowed, words.weights[k + 1], bias[words.ends[k] : words.ends[k + 1]]


class AdaptiveOutput(nn.Module):
    """The adaptive softmax.

    Args:
        vocab_size: V.
        embedding_dim: E.
        cutoffs: ids at which a new cluster begins, ascending.
        factor: each cluster's vectors are this many times narrower than those before it.
        words: an embedding to share; new vectors by default.

    Attributes:
        words: vectors and projections; those of the embedding in a tied model. A cluster's
            projection, transposed, projects a hidden vector to the cluster's width.
        bias: of all words, ``(V,)``.
        cluster_weight: the head's vectors of the clusters ``(K, E)``.
        cluster_bias: ``(K,)``; at first the logarithm of the cluster's size.
        normalization: see `FullOutput`.
    """

    def __init__(
        self,
        vocab_size: int,
        embedding_dim: int,
        cutoffs: Sequence[int],
        factor: float,
        words: AdaptiveEmbedding | None = None,
    ) -> None:
        super().__init__()
        self.words = (
            AdaptiveEmbedding(vocab_size, embedding_dim, cutoffs, factor)
            if words is None
            else words
        )
        self.ends = self.words.ends
        self.bias = nn.Parameter(torch.zeros(vocab_size))
        self.cluster_weight = nn.Parameter(draw_word_vectors(len(self.ends) - 1, embedding_dim))
        self.cluster_bias = nn.Parameter(
            torch.tensor([float(b - a) for a, b in pairwise(self.ends)]).log()
        )
        self.normalization = (
            f"adaptive softmax over all {vocab_size:,} words, in {len(self.ends)} steps"
        )

    @torch.no_grad()
    def start_from_counts(self, counts: Tensor) -> None:
        """Sets the biases so that a hidden vector of zeros predicts the words' frequencies.

        Args:
            counts: how often each word occurs in train, ``(V,)``.
        """
        log_share = log_shares(counts).to(self.bias)
        self.bias.copy_(log_share)
        for k, (start, end) in enumerate(pairwise(self.ends)):
            self.cluster_bias[k] = log_share[start:end].logsumexp(0)
            self.bias[start:end] -= self.cluster_bias[k]

    def log_probabilities(self, hidden: Tensor) -> Tensor:
        """Maps ``hidden (..., E)`` to log-probabilities ``(..., V)`` of the next word, in nats."""
        return adaptive_log_probabilities(
            hidden, self.words, self.bias, self.cluster_weight, self.cluster_bias
        )

    def token_nll(self, hidden: Tensor, targets: Tensor) -> Tensor:
        """The exact nll ``(N,)`` in nats of ``targets (N,)`` after ``hidden (N, E)``."""
        nll = self.bias.new_zeros(len(targets))
        for there, *part in self._parts(hidden, targets):
            nll = nll.index_add(0, there, chunked_nll(*part))
        return nll

    def token_measures(
        self, hidden: Tensor, targets: Tensor, word: int, *, entropy: bool = False
    ) -> TokenMeasures:
        """See `FullOutput.token_measures`; ``word`` must be in the head."""
        blocks = zip(hidden.split(MEASURED_ROWS), targets.split(MEASURED_ROWS), strict=True)
        found = [self._measures(*block, word, entropy) for block in blocks]
        nll, rank, behind, entropies = (torch.cat(parts) for parts in zip(*found, strict=True))
        return TokenMeasures(nll, rank, behind, entropies if entropy else None)

    def _measures(
        self, hidden: Tensor, targets: Tensor, word: int, entropy: bool
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Measures a few predictions.

        A cluster that is less probable than the target has no word that is as probable, so it is
        left out. With ``H`` of the head and ``H_k`` within a cluster, the entropy is
        ``H + sum_k p(k) H_k``.
        """
        start = self.ends[0]
        head = F.log_softmax(linear(hidden, *self._head()).to(self.bias.dtype), dim=-1)
        words, clusters = head[:, :start], head[:, start:]  # (N, V_0), (N, K)
        wanted = words.gather(1, targets.clamp(max=start - 1).unsqueeze(1)).squeeze(1)
        within: list[tuple[Tensor, Tensor, Tensor, Tensor]] = []
        for k, (low, high) in enumerate(pairwise(self.ends)):
            is_needed = (clusters[:, k] >= wanted) | (targets >= start)
            rows = (
                torch.arange(len(hidden), device=hidden.device)
                if entropy
                else is_needed.nonzero().squeeze(1)
            )
            logits = self._logits(k, hidden[rows])
            total = logits.logsumexp(1)
            here = ((targets[rows] >= low) & (targets[rows] < high)).nonzero().squeeze(1)
            own = logits[here, targets[rows[here]] - low]
            wanted[rows[here]] = own + clusters[rows[here], k] - total[here]
            within.append((rows, logits, total, here))
        rank = (words >= wanted.unsqueeze(1)).sum(1)
        entropies = -(head.exp() * head).sum(1) if entropy else wanted
        for k, (rows, logits, total, here) in enumerate(within):
            needed = wanted[rows] - clusters[rows, k] + total
            # its own logit exactly, so that the target itself is counted
            needed[here] = logits[here, targets[rows[here]] - self.ends[k]]
            rank[rows] += (logits >= needed.unsqueeze(1)).sum(1)
            if entropy:
                share = (logits - total.unsqueeze(1)).exp_()
                entropies += clusters[:, k].exp() * (total - torch.linalg.vecdot(share, logits))
        return -wanted, rank, words[:, word] >= wanted, entropies

    def word_scores(self, hidden: Tensor, words: Tensor) -> Tensor:
        """See `FullOutput.word_scores`."""
        return torch.cat([self._scores(some, words) for some in hidden.split(MEASURED_ROWS)])

    def _scores(self, hidden: Tensor, words: Tensor) -> Tensor:
        head = linear(hidden, *self._head()).to(self.bias.dtype)
        scores = head[:, words.clamp(max=self.ends[0] - 1)]
        for k, (low, high) in enumerate(pairwise(self.ends)):
            logits = self._logits(k, hidden)
            here = ((words >= low) & (words < high)).nonzero().squeeze(1)
            shift = head[:, self.ends[0] + k] - logits.logsumexp(1)
            scores[:, here] = logits[:, words[here] - low] + shift.unsqueeze(1)
        return scores

    def _logits(self, k: int, hidden: Tensor) -> Tensor:
        """Logits ``(N, V_k)`` of the words of the k-th cluster."""
        narrowed, weight, bias = narrow(hidden, self.words, self.bias, k)
        return linear(narrowed, weight, bias).to(bias.dtype)

    def loss(self, hidden: Tensor, targets: Tensor) -> Tensor:
        """The summed nll of all N targets in nats, a scalar; gradients come chunk by chunk."""
        nll = self.bias.new_zeros(())
        for _, *part in self._parts(hidden, targets):
            nll = nll + chunked_loss(*part)
        return nll

    def _head(self) -> tuple[Tensor, Tensor]:
        return head_layer(self.words, self.bias, self.cluster_weight, self.cluster_bias)

    def _parts(self, hidden: Tensor, targets: Tensor) -> Iterator[tuple[Tensor, ...]]:
        """Yields, per softmax: indices of its predictions, their vectors, weight, bias, targets."""
        ends = torch.tensor(self.ends[:-1], device=targets.device)
        cluster = torch.bucketize(targets, ends, right=True) - 1  # -1 for a word of the head
        in_head = torch.where(cluster < 0, targets, self.ends[0] + cluster)
        yield torch.arange(len(targets), device=targets.device), hidden, *self._head(), in_head
        for k in range(len(self.ends) - 1):
            there = (cluster == k).nonzero().squeeze(1)
            if len(there):
                cluster_layer = narrow(hidden[there], self.words, self.bias, k)
                yield there, *cluster_layer, targets[there] - self.ends[k]
