"""A model that adapts to the text it reads: cache, dynamic evaluation, n-gram model beside it.

Each can be used alone, and all together. With ``p`` of the network, whose weights learn from the
text with dynamic evaluation, the probability of the next word is ::

    (1 - a - b) p(w)  +  a p_cache(w)  +  b p_ngram(w)

It sums to 1 over the vocabulary. While the cache is empty, its weight a goes to the network.

Every word is scored before anything is learned from it, and the text is read once, from left to
right. The model that is given never changes.

Shapes: T words, V vocab_size.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from lstm_lm.errors import InputError
from lstm_lm.evaluation.dynamic import DynamicNetwork, GradientSizes
from lstm_lm.evaluation.neural_cache import NeuralCache
from lstm_lm.evaluation.ngram import NGramModel
from lstm_lm.model.network import Network
from lstm_lm.model.recurrent import LayerStates

KINDS = ("cache", "dynamic", "ngram")
WINDOW = 128  # words read at a time, if no weights learn


@dataclass(frozen=True)
class CacheSettings:
    """A neural cache.

    Attributes:
        words: how many words it remembers, at least 1.
        theta: how much more similar states count, at least 0.
        weight: its share of the mixture, in [0, 1).
    """

    words: int = 2000
    theta: float = 0.07
    weight: float = 0.15


@dataclass(frozen=True)
class DynamicSettings:
    """Dynamic evaluation.

    Attributes:
        rate: how far a weight moves in a step, at least 0; see `lstm_lm.evaluation.dynamic`.
        step: words of a step, at least 1.
    """

    rate: float = 1.4e-4
    step: int = 32


@dataclass(frozen=True)
class NGramSettings:
    """An n-gram model of train.

    Attributes:
        order: words in its longest n-gram.
        weight: its share of the mixture, in [0, 1).
    """

    order: int = 5
    weight: float = 0.1


@dataclass(frozen=True)
class Adaptation:
    """How a model adapts; None for what it does not use.

    The weights of cache and n-gram model sum to less than 1.
    """

    cache: CacheSettings | None = None
    dynamic: DynamicSettings | None = None
    ngram: NGramSettings | None = None

    @classmethod
    def of_kinds(cls, kinds: Sequence[str]) -> Adaptation:
        """The default settings of some of `KINDS`.

        Raises:
            InputError: there is no such kind, or one is named twice.
        """
        for kind in kinds:
            if kind not in KINDS:
                raise InputError(f"found {kind!r}, must be one or more of {', '.join(KINDS)}")
        if not kinds or len(set(kinds)) < len(kinds):
            raise InputError(f"found {','.join(kinds)!r}; name each of {', '.join(KINDS)} once")
        return cls(
            CacheSettings() if "cache" in kinds else None,
            DynamicSettings() if "dynamic" in kinds else None,
            NGramSettings() if "ngram" in kinds else None,
        )

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds in use, in the order of `KINDS`."""
        return tuple(kind for kind in KINDS if getattr(self, kind) is not None)

    def without(self, kind: str) -> Adaptation:
        """The same without one kind."""
        return replace(self, **{kind: None})

    def describe(self) -> str:
        """One line for people."""
        parts = []
        if self.cache:
            parts.append(
                f"cache of {self.cache.words:,} words, theta {self.cache.theta:g}, "
                f"weight {self.cache.weight:g}"
            )
        if self.dynamic:
            parts.append(f"dynamic, {self.dynamic.step} words a step, rate {self.dynamic.rate:g}")
        if self.ngram:
            parts.append(f"{self.ngram.order}-gram, weight {self.ngram.weight:g}")
        return "; ".join(parts)


class Parts(NamedTuple):
    """The scores of words before they are mixed.

    Attributes:
        network: the log-probability of every word in nats, float64 ``(T,)`` on the CPU.
        cache: likewise; ``-inf`` for a word that it does not remember, NaN while it is empty. None
            without a cache.
        ngram: likewise; None without an n-gram model.
        hidden: the output layer's input before every word, ``(T, E)``.
    """

    network: Tensor
    cache: Tensor | None
    ngram: Tensor | None
    hidden: Tensor

    def mixed(self, cache_weight: float, ngram_weight: float) -> Tensor:
        """The log-probabilities of the mixture, float64 ``(T,)``."""
        total = self.network.exp()
        if self.cache is not None:
            share = self.cache.exp()
            total = total + cache_weight * (share - total).nan_to_num(nan=0.0)
        if self.ngram is not None:
            total = total + ngram_weight * (self.ngram.exp() - self.network.exp())
        return total.log()


class AdaptiveReader:
    """Reads one text from left to right, and adapts to it.

    The result does not depend on how the text is cut into pieces, but for rounding.

    Args:
        network: in evaluation mode; it is not changed.
        eos_id: the id of ``<eos>``, which is read before the first word.
        adaptation: what is used.
        ngram: the n-gram model, if the adaptation has one.
        sizes: how large gradients usually are, if the adaptation is dynamic; see
            `lstm_lm.evaluation.dynamic.measure_gradient_sizes`.

    Raises:
        InputError: the weights of cache and n-gram model sum to 1 or more.
    """

    def __init__(
        self,
        network: Network,
        eos_id: int,
        adaptation: Adaptation,
        *,
        ngram: NGramModel | None = None,
        sizes: GradientSizes | None = None,
    ) -> None:
        self.adaptation, self.eos_id = adaptation, eos_id
        self._dynamic, self._cache, self._ngram = None, None, None
        self._weights = [0.0, 0.0]
        if adaptation.cache:
            self._cache = NeuralCache(adaptation.cache.words, adaptation.cache.theta)
            self._weights[0] = adaptation.cache.weight
        if adaptation.ngram:
            assert ngram is not None, "no n-gram model"
            self._ngram, self._weights[1] = ngram, adaptation.ngram.weight
        if not (min(self._weights) >= 0 and sum(self._weights) < 1):
            raise InputError(
                f"the weights of cache and n-gram model are {self._weights[0]:g} and "
                f"{self._weights[1]:g}; they must be at least 0 and sum to less than 1"
            )
        if adaptation.dynamic:
            assert sizes is not None, "no gradient sizes"
            self._dynamic = DynamicNetwork(network, sizes, adaptation.dynamic.rate)
        self._network = self._dynamic.network if self._dynamic else network
        self._window = adaptation.dynamic.step if adaptation.dynamic else WINDOW
        self.restart()

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        return self._network.device

    def restart(self) -> None:
        """Begins a new text: zero state, empty cache, weights as they were trained."""
        if self._dynamic:
            self._dynamic.restart()
        if self._cache is not None:
            self._cache.clear()
        self._state: LayerStates = self._network.initial_state()
        # Words that were scored and not yet learned from; the state is that before them.
        self._before, self._pending = self.eos_id, list[int]()
        self._context = [self.eos_id]  # the last words, for the n-gram model

    def read(self, ids: Sequence[int] | np.ndarray) -> Tensor:
        """Scores the next words of the text.

        Args:
            ids: of the words; may be empty.

        Returns:
            The log-probability of every word in nats, float64 ``(len(ids),)`` on the CPU.
        """
        return self.read_parts(ids).mixed(*self._weights)

    def read_parts(self, ids: Sequence[int] | np.ndarray) -> Parts:
        """Like `read`; the scores are not mixed."""
        words = np.asarray(ids, dtype=np.int64)
        nothing = torch.empty(0, dtype=torch.float64)
        network, cache, states = [nothing], [nothing], list[Tensor]()
        start = 0
        while start < len(words):
            some = words[start : start + self._window - len(self._pending)]
            hidden, nll, targets = self._read_window(some)
            network.append(-nll.double().cpu())
            states.append(hidden)
            if self._cache is not None:
                cache.append(self._cache.read(hidden, targets).cpu())
            start += len(some)
        return Parts(
            torch.cat(network),
            torch.cat(cache) if self._cache is not None else None,
            self._read_ngrams(words) if self._ngram else None,
            torch.cat(states) if states else nothing,
        )

    def next_word_log_probabilities(self) -> Tensor:
        """Log-probabilities ``(V,)`` of the next word in nats, float64 on the CPU."""
        with torch.no_grad():
            hidden, _ = self._network.hidden(self._ids([self._before, *self._pending]), self._state)
            last = hidden[-1, 0]
            own = self._network.output.log_probabilities(last).double().exp()
        total = own.clone()
        found = self._cache.probabilities(last, len(own)) if self._cache is not None else None
        if found is not None:
            total += self._weights[0] * (found - own)
        total = total.cpu()
        if self._ngram:
            beside = torch.from_numpy(self._ngram.next_word_probabilities(self._context))
            total += self._weights[1] * (beside - own.cpu())
        return total.log()

    def _read_window(self, words: np.ndarray) -> tuple[Tensor, Tensor, Tensor]:
        """Reads words that do not go beyond the window; returns what the cache needs of them."""
        self._pending += words.tolist()
        inputs = self._ids([self._before, *self._pending[:-1]])
        targets = self._ids(self._pending).squeeze(1)
        is_full = len(self._pending) == self._window
        if self._dynamic and is_full:
            hidden, nll, state, _ = self._dynamic.learn(inputs.squeeze(1), targets, self._state)
        else:
            with torch.no_grad():
                every, state = self._network.hidden(inputs, self._state)
                hidden = every.squeeze(1)[-len(words) :]
                nll = self._network.output.token_nll(hidden, targets[-len(words) :])
        if is_full or not self._dynamic:
            self._state, self._before, self._pending = state, self._pending[-1], []
        return hidden[-len(words) :], nll[-len(words) :], targets[-len(words) :]

    def _ids(self, words: Sequence[int]) -> Tensor:
        """Ids ``(T, 1)`` on the network's device."""
        return torch.tensor(words, device=self._network.device).unsqueeze(1)

    def _read_ngrams(self, words: np.ndarray) -> Tensor:
        assert self._ngram is not None
        if not len(words):
            return torch.empty(0, dtype=torch.float64)
        # The n-gram model reads an <eos> before a text by itself.
        known = self._context[1:] if len(self._context) <= self._reach else self._context
        text = np.concatenate([np.asarray(known, dtype=np.int64), words])
        nll = self._ngram.token_nll(text)[len(known) :]
        self._context = [*self._context, *words[-self._reach :].tolist()][-self._reach - 1 :]
        return -torch.from_numpy(nll)

    @property
    def _reach(self) -> int:
        """How many words the n-gram model looks back; at least 1."""
        return max(1, self._ngram.order - 1) if self._ngram is not None else 1
