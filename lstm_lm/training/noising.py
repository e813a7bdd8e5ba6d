"""Data noising: some words of a window are replaced by random ones, as smoothing does with counts.

| value | chance that the word x is replaced | replaced by w with a chance in proportion to | what |
|---|---|---|---|
| ``unigram:G`` | G | how often w occurs | the input |
| ``kneser_ney:G`` | G N(x, .) / c(x) | N(., w) | the input, and the target after it |

c(x) is how often x occurs before a word, N(x, .) after it how many different words follow, N(., w)
before how many different words w is found. They are the counts of the 2-gram model with Kneser-Ney
smoothing (`lstm_lm.evaluation.ngram`). Other words are drawn in every epoch, by torch's generator.

Source: Xie et al. 2017 (arXiv 1703.02573); the first and the last row of its table 1 that have
random words.

Shapes: T time, B batch, V vocab_size.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from lstm_lm.config.declaration import split_numbered
from lstm_lm.corpus.windows import TokenIds
from lstm_lm.evaluation.ngram import iterate_counts
from lstm_lm.model.batch_part import BatchPart, draw_uniform
from lstm_lm.model.language_model import LanguageModel


class Noising:
    """Replaces words of training windows; see the module.

    Args:
        chances: for each word, the chance that it is replaced, float ``(V,)`` in [0, 1].
        proportions: for each word, in proportion to what it is drawn, at least 0, ``(V,)``.
        targets: whether the target after a replaced word is replaced, too.
        device: of the windows.
    """

    def __init__(
        self, chances: np.ndarray, proportions: np.ndarray, targets: bool, device: torch.device
    ) -> None:
        self._chances = torch.from_numpy(chances).float().to(device)
        shares = proportions.cumsum() / proportions.sum()
        self._ends = torch.from_numpy(shares).float().to(device)
        self._targets = targets

    def replace(
        self, inputs: Tensor, targets: Tensor, part: BatchPart | None = None
    ) -> tuple[Tensor, Tensor]:
        """Returns a window with random words in it.

        Args:
            inputs: int64 ids ``(T, B)``.
            targets: the word after each, ``(T, B)``; negative where there is none.
            part: which streams of a batch these are, if they are not all.
        """
        replaced = draw_uniform(inputs, part) < self._chances[inputs]
        inputs = torch.where(replaced, self._draw(inputs, part), inputs)
        if self._targets:
            targets = torch.where(replaced & (targets >= 0), self._draw(inputs, part), targets)
        return inputs, targets

    def _draw(self, like: Tensor, part: BatchPart | None) -> Tensor:
        """Draws as many words as ``like`` has, with its shape."""
        return torch.searchsorted(self._ends, draw_uniform(like, part), right=True)


def build_noising(noising: str, train: TokenIds, model: LanguageModel) -> Noising | None:
    """Counts the words of train for a noising; None if there is none.

    Args:
        noising: the setting ``training.noising``.
        train: ids. While they are counted, this needs about 60 bytes for each.
        model: knows the vocabulary and the device.
    """
    name, part = split_numbered(noising)
    if part is None:
        return None
    eos_id, size = model.vocabulary.eos_id, len(model.vocabulary)
    words = np.asarray(train[:], dtype=np.int64)
    order = 1 if name == "unigram" else 2
    (_, counts), *pairs = iterate_counts(words, size, order, eos_id, reset_per_line=False)
    chances = np.full(size, part)
    for keys, pair_counts in pairs:
        before = keys // size
        occurrences = np.bincount(before, weights=pair_counts, minlength=size)
        followers = np.bincount(before, minlength=size)
        chances = part * followers / np.maximum(occurrences, 1)
    return Noising(chances, counts.astype(float), order == 2, model.network.device)
