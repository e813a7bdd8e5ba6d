"""The softmax of a linear layer ``h W^T + b``, in blocks: its loss and gradients, and measures.

The ``N x V`` logits of a window are never all in memory: they are computed, used and freed block by
block.

Shapes: N predictions, V words, E width of a vector, K softmaxes of a mixture.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor
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
    hidden: Tensor,
    weight: Tensor,
    bias: Tensor,
    targets: Tensor,
    bonus: Tensor | None = None,
    log_prior: Tensor | None = None,
) -> Tensor:
    """The sum of `chunked_nll`, with gradients; of a mixture of K softmaxes, if that is given.

    Args:
        hidden: ``(N, E)``; of a mixture ``(N*K, E)``, all K vectors of a prediction together.
        weight: ``(V, E)``.
        bias: ``(V,)``.
        targets: ``(N,)``.
        bonus: added to the targets' logits, ``(N,)``.
        log_prior: of a mixture, the logarithm of each softmax's share, ``(N, K)``.
    """
    return _ChunkedLoss.apply(hidden, weight, bias, targets, bonus, log_prior)


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

    Of a mixture, with ``r_k = pi_k p_k(target) / p(target)``, the share of softmax k in the target:
    its d is multiplied by ``r_k``, and the gradient of ``log pi_k`` is ``-r_k``.

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
        log_prior: Tensor | None,
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
            d_log_prior = None if log_prior is None else torch.empty_like(log_prior)
            softmaxes = 1 if log_prior is None else log_prior.shape[1]
            step = max(1, chunk_rows(w) // softmaxes)
            for start in range(0, len(targets), step):
                some = slice(start, start + step)
                rows = slice(start * softmaxes, (start + step) * softmaxes)
                wanted = targets[some].repeat_interleave(softmaxes).unsqueeze(1)
                logits = linear(h[rows], w, b).to(bias.dtype)
                if bonus is not None:
                    added = bonus[some].repeat_interleave(softmaxes)
                    logits.scatter_add_(1, wanted, added.unsqueeze(1))
                target_logits, top = logits.gather(1, wanted), logits.amax(1, keepdim=True)
                d = logits.sub_(top).exp_()
                total = d.sum(1, keepdim=True)
                losses = total.log() + top - target_logits  # (rows, 1)
                d.div_(total).scatter_add_(1, wanted, d.new_full(wanted.shape, -1.0))
                if log_prior is None or d_log_prior is None:
                    nll += losses.sum()
                else:
                    joint = log_prior[some] - losses.view(-1, softmaxes)
                    nll -= joint.logsumexp(1).sum()
                    share = joint.softmax(1)
                    d_log_prior[some] = -share
                    d.mul_(share.view(-1, 1))
                d_bias += d.sum(0)
                d = d.to(low)
                d_hidden[rows] = rows_gradient(d, w)
                if low == weight.dtype:
                    d_weight.addmm_(d.T, h[rows])
                else:
                    d_weight += d.T @ h[rows]
        ctx.save_for_backward(
            d_hidden.to(hidden.dtype), d_weight[: len(weight)], d_bias[: len(bias)], d_log_prior
        )
        return nll

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_nll: Tensor) -> tuple[Tensor | None, ...]:
        d_hidden, d_weight, d_bias, d_log_prior = ctx.saved_tensors
        if d_log_prior is not None:
            d_log_prior = d_log_prior * d_nll
        return d_hidden * d_nll, d_weight * d_nll, d_bias * d_nll, None, None, d_log_prior
