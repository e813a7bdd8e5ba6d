"""The neural cache: words that followed similar states before are more probable again.

After every word of a text, the cache keeps a pair: the output layer's input ``h_i`` before the
word, and the word ``x_i`` itself. With the last N pairs, the probability of a word w after ``h`` ::

    p_cache(w | h)  =  sum_i [x_i = w] exp(theta h . h_i)  /  sum_i exp(theta h . h_i)

With theta 0 it is the share of the word among the last N words. Nothing is learned.

Shapes: T words of a window, N pairs, E width of the output layer's input, V vocab_size.

Source: Grave et al. 2016 (arXiv 1612.04426). Differs from it: the output layer's input is compared,
which may be a projection of the top layer's output.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor


class NeuralCache:
    """The last words of a text and the states before them.

    Args:
        words: N, how many words it remembers, at least 1.
        theta: how much more similar states count, at least 0.
    """

    def __init__(self, words: int, theta: float) -> None:
        self.words, self.theta = words, theta
        self.clear()

    def clear(self) -> None:
        """Forgets everything."""
        self._states, self._words = torch.empty(0), torch.empty(0, dtype=torch.int64)
        self._end = 0  # pairs in use, at the beginning of both

    def __len__(self) -> int:
        return min(self._end, self.words)

    def read(self, hidden: Tensor, targets: Tensor) -> Tensor:
        """Scores the words of a window, each before it is remembered, and remembers them.

        Args:
            hidden: the output layer's input before every word, ``(T, E)``, without gradients.
            targets: the words, int64 ``(T,)``.

        Returns:
            ``log p_cache`` of every word in nats, float64 ``(T,)`` on the device of ``hidden``;
            ``-inf`` for a word that is not remembered, NaN where nothing is remembered yet.
        """
        known, count = len(self), len(targets)
        self._append(hidden, targets)
        start = self._end - count - known
        words = self._words[start : self._end]
        scores = self._scores(hidden, start)  # (T, known + T)
        place = torch.arange(known + count, device=hidden.device)
        own = place[known:].unsqueeze(1)  # the place of every word itself
        scores.masked_fill_((place >= own) | (place < own - self.words), -math.inf)
        everything = scores.logsumexp(1)
        same = scores.masked_fill_(words != targets.unsqueeze(1), -math.inf)
        return same.logsumexp(1) - everything

    def probabilities(self, hidden: Tensor, vocab_size: int) -> Tensor | None:
        """The distribution of the next word.

        Args:
            hidden: the output layer's input before it, ``(E,)``.
            vocab_size: V.

        Returns:
            Float64 ``(V,)`` on the device of ``hidden``, sums to 1; None if nothing is remembered.
        """
        if not len(self):
            return None
        start = self._end - len(self)
        shares = self._scores(hidden.unsqueeze(0), start).squeeze(0).softmax(0)
        return shares.new_zeros(vocab_size).index_add_(0, self._words[start : self._end], shares)

    def _scores(self, hidden: Tensor, start: int) -> Tensor:
        """``theta h . h_i`` with all pairs from ``start`` on, float64."""
        return (hidden @ self._states[start : self._end].T).double().mul_(self.theta)

    def _append(self, hidden: Tensor, targets: Tensor) -> None:
        """Adds pairs; the memory is twice as long as N, so old pairs are rarely moved."""
        count, kept = len(targets), len(self)
        if self._end + count > len(self._words):
            states = hidden.new_empty(2 * self.words + count, hidden.shape[1])
            words = targets.new_empty(len(states))
            if kept:
                states[:kept] = self._states[self._end - kept : self._end]
                words[:kept] = self._words[self._end - kept : self._end]
            self._states, self._words, self._end = states, words, kept
        self._states[self._end : self._end + count] = hidden
        self._words[self._end : self._end + count] = targets
        self._end += count
