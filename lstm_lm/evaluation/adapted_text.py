"""Scores a whole text with a model that adapts to it, and where that helps.

Shapes: N tokens of a text.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from lstm_lm.corpus.windows import TokenIds
from lstm_lm.errors import CorpusError
from lstm_lm.evaluation.adaptation import AdaptiveReader
from lstm_lm.shared_cores import SharedCores

READ_AT_ONCE = 2048  # tokens between two reports of progress
NEVER = 0  # the distance of a word that did not occur before


def score_adapted(
    reader: AdaptiveReader,
    tokens: TokenIds,
    *,
    reset_per_line: bool = False,
    on_progress: Callable[[int], None] = lambda done: None,
) -> np.ndarray:
    """Reads encoded text once, from left to right, and adapts to it.

    Args:
        reader: begins a new text.
        tokens: ids with an ``<eos>`` at the end of every line; sliceable.
        reset_per_line: every line is a text of its own: zero state, empty cache, weights as they
            were trained. So no line has an effect on another.
        on_progress: called with the number of tokens just scored.

    Returns:
        The nll of every token in nats, float64 ``(N,)``.

    Raises:
        CorpusError: there are no tokens.
    """
    if not len(tokens):
        raise CorpusError("nothing to score: the text has no tokens")
    nll = np.empty(len(tokens))
    reader.restart()
    with SharedCores(reader.device):
        for start in range(0, len(tokens), READ_AT_ONCE):
            some = np.asarray(tokens[start : start + READ_AT_ONCE], dtype=np.int64)
            ends = np.flatnonzero(some == reader.eos_id) + 1
            place = start
            for part in np.split(some, ends if reset_per_line else []):
                nll[place : place + len(part)] = -reader.read(part).numpy()
                place += len(part)
                if reset_per_line and len(part) and part[-1] == reader.eos_id:
                    reader.restart()
            on_progress(len(some))
    return nll


def last_occurrences(tokens: TokenIds, eos_id: int, *, reset_per_line: bool = False) -> np.ndarray:
    """How many words before each token the same word occurred last; `NEVER` if it did not.

    Args:
        tokens: ids.
        eos_id: the id of ``<eos>``.
        reset_per_line: whether a line does not know of those before it.

    Returns:
        Int64 ``(N,)``; 1 for a word that is said twice in a row.
    """
    ids = np.asarray(tokens[:], dtype=np.int64)
    if reset_per_line:  # words of different lines are made different
        lines = np.concatenate([[0], np.cumsum(ids == eos_id)[:-1]])
        ids = lines * (ids.max() + 1) + ids
    order = np.argsort(ids, kind="stable")
    same = ids[order[1:]] == ids[order[:-1]]
    distances = np.full(len(ids), NEVER)
    distances[order[1:][same]] = (order[1:] - order[:-1])[same]
    return distances


@dataclass(frozen=True)
class Gain:
    """What adaptation brings to the words of some distances.

    Attributes:
        first: the smallest distance to the word's last occurrence; `NEVER` for words that did not
            occur before.
        last: the largest.
        tokens: how many tokens have such a distance.
        nll: how many nats fewer they take in all; negative if they take more.
    """

    first: int
    last: int
    tokens: int
    nll: float

    @property
    def bits_per_token(self) -> float:
        """The mean gain of a token."""
        return self.nll / self.tokens / float(np.log(2))


def gains_by_distance(
    distances: np.ndarray, without: np.ndarray, adapted: np.ndarray
) -> list[Gain]:
    """Sums what adaptation brings, by the distance to the word's last occurrence.

    Args:
        distances: see `last_occurrences`.
        without: the nll of every token without adaptation, ``(N,)``.
        adapted: with it.

    Returns:
        A `Gain` for words that did not occur before, and one for each of the distances 1, 2 to 3,
        4 to 7, ..., up to the largest; only those that some token has.
    """
    # the number of binary digits: 0 for NEVER, 1 for 1, 2 for 2 and 3, 3 for 4 to 7
    groups = np.frexp(distances.astype(np.float64))[1]
    tokens = np.bincount(groups)
    nll = np.bincount(groups, weights=without - adapted)
    return [
        Gain(2 ** (group - 1) if group else NEVER, 2**group - 1, int(count), float(nll[group]))
        for group, count in enumerate(tokens)
        if count
    ]
