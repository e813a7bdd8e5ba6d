"""How many keys a person presses who types a text and takes completions.

The definition, which is the only one of this project:

- Somebody types the words of the text, letter by letter. After every letter, and before the first,
  three words are on offer: the most probable ones that begin with what was typed, of those that
  `predict_next` would show. So nothing is offered that the vocabulary does not have, and never
  ``<unk>``.
- One key takes a word that is on offer. So a word of n letters costs ``min(n, k + 1)`` keys, where
  k is the smallest number of letters after which the word is on offer.
- Only words of the vocabulary count. Spaces and line ends are free on both sides.
- ``saved = 1 - keys / letters``.

A word is on offer if fewer than three others that begin so are at least as probable. The words in
alphabetical order make every beginning a range, so the rank among them is a difference of two
counts. It is computed only for words that are not on offer from the start, all words with the same
first letter together.

Shapes: N words, M words that begin with the same letter, E embedding_dim, V vocab_size.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor

from lstm_lm.corpus.vocabulary import Vocabulary
from lstm_lm.model.adaptive import AdaptiveOutput
from lstm_lm.model.output import FullOutput

OFFERED = 3  # completions at a time
WAITING = 4096  # words that are collected until those with the same first letter are compared
MOST_SCORES = 2**22  # in memory at a time


class Typist:
    """Counts the keys that are pressed for the words of a text.

    Args:
        output: the output layer of the model that completes words.
        vocabulary: its words.

    Attributes:
        letters: of all words counted: the keys without completions.
    """

    def __init__(self, output: FullOutput | AdaptiveOutput, vocabulary: Vocabulary) -> None:
        self.letters = 0
        self._output, device = output, output.bias.device
        self._lengths = word_lengths(vocabulary).to(device)
        self._beginnings = Beginnings(vocabulary, device)
        self._keys = 0
        self._waiting: list[tuple[Tensor, Tensor]] = []

    def type(self, hidden: Tensor, words: Tensor, rank: Tensor) -> None:
        """Counts the keys of N words.

        Args:
            hidden: the output layer's input before each, ``(N, E)``.
            words: their ids ``(N,)``; known words only.
            rank: of each, among the words that may be shown, ``(N,)``.
        """
        lengths = self._lengths[words]
        self.letters += int(lengths.sum())
        waits = (rank > OFFERED) & (lengths > 2)  # 2 letters are no fewer keys than 1 and 1 to take
        at_once = torch.where(rank <= OFFERED, 1, lengths)
        self._keys += int(at_once[~waits].sum())
        if waits.any():
            self._waiting.append((hidden[waits], words[waits]))
            if sum(len(some) for _, some in self._waiting) >= WAITING:
                self._count_waiting()

    @property
    def keys(self) -> int:
        """The keys pressed with completions."""
        self._count_waiting()
        return self._keys

    def _count_waiting(self) -> None:
        """Counts the keys of the words that were not on offer before their first letter."""
        if not self._waiting:
            return
        hidden, words = (torch.cat(parts) for parts in zip(*self._waiting, strict=True))
        self._waiting = []
        first, _ = self._beginnings.ranges(words, 1)
        order = first.argsort(stable=True)
        _, sizes = first[order].unique_consecutive(return_counts=True)
        for rows in order.split(sizes.tolist()):
            low, high = (int(end[0]) for end in self._beginnings.ranges(words[rows[:1]], 1))
            candidates = self._beginnings.ids[low:high]
            for some in rows.split(max(1, MOST_SCORES // len(candidates))):
                self._keys += self._count(hidden[some], words[some], candidates, low)

    def _count(self, hidden: Tensor, words: Tensor, candidates: Tensor, start: int) -> int:
        """Counts the keys of N words, with 3 letters or more, that begin with the same letter.

        Args:
            hidden: ``(N, E)``.
            words: ``(N,)``.
            candidates: the M words with this first letter, in alphabetical order.
            start: how many words stand before them in this order.
        """
        lengths = self._lengths[words]
        keys = lengths.clone()
        ahead = self._words_ahead(hidden, words, candidates, start)  # (N, M + 1)
        open_ = torch.ones_like(words, dtype=torch.bool)
        for typed in range(1, int(lengths.max()) - 1):
            low, high = (end - start for end in self._beginnings.ranges(words, typed))
            rank = ahead.gather(1, high.unsqueeze(1)) - ahead.gather(1, low.unsqueeze(1))
            found = open_ & (rank.squeeze(1) <= OFFERED)
            keys = torch.where(found, (lengths).clamp(max=typed + 1), keys)
            open_ &= ~found
            if not open_.any():
                break
        return int(keys.sum())

    def _words_ahead(self, hidden: Tensor, words: Tensor, candidates: Tensor, start: int) -> Tensor:
        """How many of the first m candidates are at least as probable, ``(N, M + 1)``, m from 0."""
        scores = self._output.word_scores(hidden, candidates)
        own = (self._beginnings.places[words] - start).unsqueeze(1)
        counts = (scores >= scores.gather(1, own)).cumsum(1, dtype=torch.int32)
        return torch.nn.functional.pad(counts, (1, 0))


class Beginnings:
    """The words of a vocabulary in alphabetical (code point) order: a beginning is a range of them.

    ``<unk>`` is left out, because it is never offered.

    Args:
        vocabulary: the words.
        device: where the tensors are.

    Attributes:
        ids: in alphabetical order, ``(V - 1,)``.
        places: id -> place in this order, ``(V,)``; that of ``<unk>`` means nothing.
    """

    def __init__(self, vocabulary: Vocabulary, device: torch.device) -> None:
        words = vocabulary.words
        known = (number for number in range(len(words)) if number != vocabulary.unk_id)
        ids = sorted(known, key=words.__getitem__)
        shared = [_shared_letters(words[one], words[next_]) for one, next_ in pairwise(ids)]
        self.ids = torch.tensor(ids, device=device)
        self.places = torch.zeros(len(words), dtype=torch.int64, device=device)
        self.places[self.ids] = torch.arange(len(ids), device=device)
        self._shared = torch.tensor([-1, *shared, -1], device=device)
        self._ranges: dict[int, tuple[Tensor, Tensor]] = {}

    def ranges(self, words: Tensor, letters: int) -> tuple[Tensor, Tensor]:
        """The range of words, in alphabetical order, that begin as each of N words does.

        Args:
            words: ids ``(N,)``.
            letters: how many letters are the same; the whole word, if it has fewer.

        Returns:
            The place of the first, and the place after the last, both ``(N,)``.
        """
        if letters not in self._ranges:
            borders = (self._shared < letters).nonzero().squeeze(1)
            every = torch.arange(len(self.ids), device=borders.device)
            after = torch.searchsorted(borders, every, right=True)
            self._ranges[letters] = borders[after - 1], borders[after]
        low, high = self._ranges[letters]
        return low[self.places[words]], high[self.places[words]]


def word_lengths(vocabulary: Vocabulary) -> Tensor:
    """The number of characters of every word, int64 ``(V,)``."""
    return torch.tensor([len(word) for word in vocabulary.words])


def _shared_letters(one: Sequence[str], other: Sequence[str]) -> int:
    """How many letters two words have in common at their beginning."""
    count = 0
    for mine, yours in zip(one, other, strict=False):
        if mine != yours:
            break
        count += 1
    return count
