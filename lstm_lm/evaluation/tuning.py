"""Finds the settings of an adaptation on a text that is not test, coarse to fine.

1. The rate of dynamic evaluation is multiplied or divided by 2 for as long as that helps, then by
   the root of 2. The words of a step are not tuned: fewer are better and take longer.
2. Cache: size and theta likewise, with the states that were seen in the best pass.
3. The weights of the mixture are the best there are, after every pass: the mean log-probability is
   concave in them, and expectation maximisation finds its maximum.

Shapes: T words of the text, K parts of a mixture.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from lstm_lm.evaluation.adaptation import (
    WINDOW,
    Adaptation,
    AdaptiveReader,
    Parts,
)
from lstm_lm.evaluation.dynamic import GradientSizes
from lstm_lm.evaluation.neural_cache import NeuralCache
from lstm_lm.evaluation.ngram import NGramModel
from lstm_lm.model.network import Network
from lstm_lm.shared_cores import SharedCores

MAXIMISATIONS = 100  # steps of expectation maximisation
FACTORS = (2.0, 2.0**0.5)  # coarse, then fine
LEAST_GAIN = 1e-4  # nats per word; a setting that gains less is not better


def best_weights(parts: Parts) -> tuple[float, float]:
    """The weights of cache and n-gram model with which a mixture scores a text best.

    Returns:
        Both rounded to three digits after the point; 0 for what there is not.
    """
    network = parts.network.exp()
    shares = [network]
    for beside in (parts.cache, parts.ngram):
        share = torch.zeros_like(network) if beside is None else beside.exp()
        shares.append(torch.where(share.isnan(), network, share))
    stacked = torch.stack(shares)  # (3, T)
    weights = torch.tensor(
        [1.0, float(parts.cache is not None), float(parts.ngram is not None)], dtype=torch.float64
    )
    weights /= weights.sum()
    for _ in range(MAXIMISATIONS):
        joint = weights.unsqueeze(1) * stacked
        weights = (joint / joint.sum(0)).mean(1)
    _, cache, ngram = (min(round(weight, 3), 0.499) for weight in weights.tolist())
    return cache, ngram


class Tuner:
    """Tunes an adaptation.

    Args:
        network: in evaluation mode; it is not changed.
        eos_id: the id of ``<eos>``.
        tokens: ids of the text.
        ngram: the n-gram model, if the adaptation has one.
        sizes: how large gradients are, if it is dynamic.
        on_trial: called with every adaptation that was tried, and its perplexity.
    """

    def __init__(
        self,
        network: Network,
        eos_id: int,
        tokens: Sequence[int] | np.ndarray,
        *,
        ngram: NGramModel | None = None,
        sizes: GradientSizes | None = None,
        on_trial: Callable[[Adaptation, float], None] = lambda adaptation, perplexity: None,
    ) -> None:
        self._network, self._eos_id, self._tokens = network, eos_id, tokens
        self._ngram, self._sizes, self._on_trial = ngram, sizes, on_trial
        self._best, self._loss = Adaptation(), math.inf
        self._parts: Parts | None = None

    def tune(self, start: Adaptation) -> tuple[Adaptation, float]:
        """Returns the best settings of the kinds that ``start`` has, and their perplexity."""
        self._best, self._loss, self._parts = start, math.inf, None
        with SharedCores(self._network.device):
            self._try_pass(start)
            if start.dynamic:
                for factor in FACTORS:
                    self._climb(_with_rate, factor, self._try_pass)
            if start.cache:
                for factor in FACTORS:
                    self._climb(_with_words, factor, self._try_cache)
                    self._climb(_with_theta, factor, self._try_cache)
        return self._best, math.exp(self._loss)

    def _climb(
        self,
        changed: Callable[[Adaptation, float], Adaptation],
        factor: float,
        attempt: Callable[[Adaptation], bool],
    ) -> None:
        """Changes a setting in one direction while that helps; if it does not, in the other."""
        for by in (factor, 1 / factor):
            helped = False
            while attempt(changed(self._best, by)):
                helped = True
            if helped:
                return

    def _try_pass(self, adaptation: Adaptation) -> bool:
        """Reads the whole text."""
        reader = AdaptiveReader(
            self._network, self._eos_id, adaptation, ngram=self._ngram, sizes=self._sizes
        )
        return self._try_parts(adaptation, reader.read_parts(self._tokens))

    def _try_cache(self, adaptation: Adaptation) -> bool:
        """Reads only the states that the best pass has seen."""
        assert adaptation.cache and self._parts
        cache = NeuralCache(adaptation.cache.words, adaptation.cache.theta)
        hidden = self._parts.hidden
        targets = torch.as_tensor(np.asarray(self._tokens, dtype=np.int64), device=hidden.device)
        windows = zip(hidden.split(WINDOW), targets.split(WINDOW), strict=True)
        found: list[Tensor] = [cache.read(*window).cpu() for window in windows]
        return self._try_parts(adaptation, self._parts._replace(cache=torch.cat(found)))

    def _try_parts(self, adaptation: Adaptation, parts: Parts) -> bool:
        """Mixes as well as possible, and keeps what is best; returns whether this is."""
        cache_weight, ngram_weight = best_weights(parts)
        if adaptation.cache:
            adaptation = replace(adaptation, cache=replace(adaptation.cache, weight=cache_weight))
        if adaptation.ngram:
            adaptation = replace(adaptation, ngram=replace(adaptation.ngram, weight=ngram_weight))
        loss = -float(parts.mixed(cache_weight, ngram_weight).mean())
        self._on_trial(adaptation, math.exp(loss))
        if not loss < self._loss - LEAST_GAIN:
            return False
        self._best, self._loss, self._parts = adaptation, loss, parts
        return True


def _with_rate(adaptation: Adaptation, factor: float) -> Adaptation:
    assert adaptation.dynamic
    rate = _rounded(adaptation.dynamic.rate * factor)
    return replace(adaptation, dynamic=replace(adaptation.dynamic, rate=rate))


def _with_words(adaptation: Adaptation, factor: float) -> Adaptation:
    assert adaptation.cache
    words = max(1, int(_rounded(adaptation.cache.words * factor)))
    return replace(adaptation, cache=replace(adaptation.cache, words=words))


def _with_theta(adaptation: Adaptation, factor: float) -> Adaptation:
    assert adaptation.cache
    theta = _rounded(adaptation.cache.theta * factor)
    return replace(adaptation, cache=replace(adaptation.cache, theta=theta))


def _rounded(value: float) -> float:
    """A number with two digits."""
    return float(f"{value:.2g}")
