"""The baseline: an n-gram model with interpolated modified Kneser-Ney smoothing.

With h the n - 1 words before w, h' the same without the first, a() the count and D the discounts of
order n::

    p_n(w | h) = (a(h w) - D[a(h w)]) / sum_v a(h v)  +  rest(h) p_{n-1}(w | h')
    rest(h)    = sum_v D[a(h v)] / sum_v a(h v)
    p_0(w)     = 1 / V

D[0] is 0. If no word occurred after h in train, p_n(w | h) is p_{n-1}(w | h').

- The highest order counts how often an n-gram occurs.
- A lower order counts after how many different words it occurs. An occurrence with no word before
  it, at the start of the text (or of a line, if lines are read apart), counts as one.

Each order has its own discounts D[1], D[2] and D[3], for counts of 1, 2, and 3 or more. With t[k]
the number of n-grams whose a() is k, and Y = t[1] / (t[1] + 2 t[2]), ``D[k] = k - (k + 1) Y t[k +
1] / t[k]``. In a tiny or very regular text this can be undefined or useless. So if t[1], t[2] or
t[3] is 0, or a D[k] is not above 0 and at most k, all three discounts of the order are the default
0.5, 1 and 1.5.

``<unk>`` and ``<eos>`` are words like any other, and the vocabulary is closed.

Source: Kneser & Ney 1995, "Improved backing-off for m-gram language modeling"; Chen & Goodman 1999,
"An
empirical study of smoothing techniques for language modeling"; Heafield et al. 2013, "Scalable
modified Kneser-Ney language model estimation". Their program KenLM (``lmplz --discount_fallback``)
computes the same numbers if lines are read apart.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from lstm_lm.corpus.progress import Bar
from lstm_lm.corpus.vocabulary import Vocabulary
from lstm_lm.corpus.windows import TokenIds
from lstm_lm.errors import CorpusError, InputError
from lstm_lm.model.scoring import Perplexity

Discounts = tuple[float, float, float]

DEFAULT_DISCOUNTS: Discounts = (0.5, 1.0, 1.5)
LARGEST_ORDER = 20
ABSENT = -1


def estimate_discounts(counts: np.ndarray) -> Discounts:
    """The discounts of an order, or `DEFAULT_DISCOUNTS` where they are undefined.

    Args:
        counts: ``a()`` of every n-gram of the order, int64 of any shape.
    """
    t = np.bincount(np.minimum(counts, 5), minlength=6).tolist()
    if not (t[1] and t[2] and t[3]):
        return DEFAULT_DISCOUNTS
    y = t[1] / (t[1] + 2 * t[2])
    found = tuple(k - (k + 1) * y * t[k + 1] / t[k] for k in (1, 2, 3))
    return (
        found
        if all(0 < discount <= k for k, discount in enumerate(found, 1))
        else DEFAULT_DISCOUNTS
    )


@dataclass(frozen=True)
class NGramTable:
    """The K n-grams of one order, sorted by their keys, in C contexts of n - 1 words.

    A key is ``context * vocab_size + word``. A context of one word is that word's id; a longer
    context is the index of its n-gram in the table of the order below. So a key is one number at
    every order.

    Attributes:
        keys: int64 ``(K,)``, all different.
        shares: float64 ``(K,)``, the first term of p_n: the discounted relative frequency.
        rests: float64 ``(C,)``, in (0, 1]: rest(h), the weight of the order below; 1 for a context
            that no word follows.
        discounts: D[1], D[2] and D[3].
    """

    keys: np.ndarray
    shares: np.ndarray
    rests: np.ndarray
    discounts: Discounts

    @classmethod
    def build(
        cls, keys: np.ndarray, counts: np.ndarray, contexts: int, vocab_size: int
    ) -> NGramTable:
        """Estimates an order.

        Args:
            keys: int64 ``(K,)``, ascending.
            counts: ``a()`` of each, int64 ``(K,)``.
            contexts: C.
            vocab_size: V.
        """
        discounts = estimate_discounts(counts)
        taken = np.array([0.0, *discounts])[np.minimum(counts, 3)]
        context = keys // vocab_size
        totals = np.bincount(context, weights=counts, minlength=contexts)
        rests = np.divide(
            np.bincount(context, weights=taken, minlength=contexts),
            totals,
            out=np.ones(contexts),
            where=totals > 0,
        )
        return cls(keys, (counts - taken) / totals[context], rests, discounts)

    def find(self, keys: np.ndarray) -> np.ndarray:
        """The indices of keys of any shape, int64; `ABSENT` for keys that are not in the table."""
        if not len(self.keys):
            return np.full_like(keys, ABSENT)
        places = np.minimum(np.searchsorted(self.keys, keys), len(self.keys) - 1)
        return np.where(self.keys[places] == keys, places, ABSENT)


class NGramModel:
    """A trained n-gram model. Use `train`.

    It needs 16 bytes for every n-gram of every order, and 8 more for one that is a context.
    Training to order 5 needs about 150 bytes per token in all: on WikiText-2 (2.1M tokens) 325 MB,
    of which the model keeps 124 MB.

    Attributes:
        vocab_size: V.
        eos_id: the id of a line's end.
        reset_per_line: whether lines are read apart, in training and in scoring: a context never
            includes words of an earlier line. Otherwise contexts continue over line ends.
        unigrams: p_1, float64 ``(V,)``.
        tables: an `NGramTable` for each order from 2.
    """

    def __init__(
        self,
        vocab_size: int,
        eos_id: int,
        reset_per_line: bool,
        unigrams: np.ndarray,
        tables: list[NGramTable],
    ) -> None:
        self.vocab_size, self.eos_id, self.reset_per_line = vocab_size, eos_id, reset_per_line
        self.unigrams, self.tables = unigrams, tables

    @property
    def order(self) -> int:
        """The length of the longest n-gram; the model sees ``order - 1`` words of context."""
        return len(self.tables) + 1

    @property
    def name(self) -> str:
        """Its name in tables and pictures."""
        return f"{self.order}-gram"

    def describe(self) -> dict[str, int | str]:
        """For JSON: name, order, number of n-grams of all orders, state, and normalization."""
        ngrams = len(self.unigrams) + sum(len(table.keys) for table in self.tables)
        return {
            "name": self.name,
            "order": self.order,
            "ngrams": ngrams,
            "state": self.state,
            "normalization": self.normalization,
        }

    @property
    def normalization(self) -> str:
        """What its probabilities sum to 1 over, as a text."""
        return f"interpolated over all {self.vocab_size:,} words"

    @property
    def state(self) -> str:
        """``carried`` if contexts continue over line ends, otherwise ``reset``."""
        return "reset" if self.reset_per_line else "carried"

    @classmethod
    def train(
        cls,
        tokens: TokenIds,
        vocab_size: int,
        order: int,
        eos_id: int,
        *,
        reset_per_line: bool = False,
    ) -> NGramModel:
        """Counts a text.

        Args:
            tokens: ids below ``vocab_size`` with an ``<eos>`` at every line end; sliceable. Another
                ``<eos>`` is read before the first.
            vocab_size: V.
            order: from 1 to `LARGEST_ORDER`.
            eos_id: the id of ``<eos>``.
            reset_per_line: read every line by itself, after an ``<eos>``.

        Raises:
            CorpusError: there are no tokens.
            InputError: the order is out of range, or an id is not below ``vocab_size``.
        """
        if not 1 <= order <= LARGEST_ORDER:
            raise InputError(f"order must be from 1 to {LARGEST_ORDER}, found {order}")
        words = _checked_ids(tokens, vocab_size, "learn from")
        counted = iterate_counts(words, vocab_size, order, eos_id, reset_per_line)
        tables, contexts = [], 1
        for keys, counts in Bar(
            counted, desc="counting", unit=" orders", total=order, leave=False, disable=None
        ):
            tables.append(NGramTable.build(keys, counts, contexts, vocab_size))
            contexts = len(keys)
        first, *others = tables
        return cls(
            vocab_size, eos_id, reset_per_line, first.shares + first.rests / vocab_size, others
        )

    def next_word_probabilities(self, context: Sequence[int]) -> np.ndarray:
        """The distribution of the next word, float64 ``(V,)``, sums to 1.

        Args:
            context: ids of the words before it, with an ``<eos>`` before every line; only the last
                ``order - 1`` have an effect. If it is empty, the result is p_1.

        Raises:
            InputError: an id is not below ``vocab_size``.
        """
        known = _checked_ids(context[-self.order + 1 :] if self.tables else [], self.vocab_size)
        if self.reset_per_line:
            known = known[np.flatnonzero(known == self.eos_id).max(initial=0) :]
        probabilities = self.unigrams.copy()
        ends = known  # indices of the n-grams that end at the n-th, ..., last known word
        for n, table in enumerate(self.tables, 1):
            if not len(ends) or ends[-1] == ABSENT:
                break
            low, high = np.searchsorted(
                table.keys, [ends[-1] * self.vocab_size, (ends[-1] + 1) * self.vocab_size]
            )
            probabilities *= table.rests[ends[-1]]
            probabilities[table.keys[low:high] % self.vocab_size] += table.shares[low:high]
            ends = table.find(ends[:-1] * self.vocab_size + known[n:])
        return probabilities

    def token_nll(self, tokens: TokenIds) -> np.ndarray:
        """The nll in nats of every token given those before it, float64 ``(len(tokens),)``.

        Args:
            tokens: ids with an ``<eos>`` at every line end; sliceable. Another ``<eos>`` is read
                before the first.

        Raises:
            CorpusError: there are no tokens.
            InputError: an id is not below ``vocab_size``.
        """
        words = _checked_ids(tokens, self.vocab_size, "score")
        probabilities, ends = self.unigrams[words], words
        for n, table in enumerate(self.tables, 1):
            before = _contexts(words, ends, n, self.eos_id, self.reset_per_line)
            ends = table.find(
                before * self.vocab_size + words
            )  # an absent context has an absent key
            probabilities[before != ABSENT] *= table.rests[before[before != ABSENT]]
            probabilities[ends != ABSENT] += table.shares[ends[ends != ABSENT]]
        return -np.log(probabilities)

    def perplexity(self, tokens: TokenIds, unk_id: int = Vocabulary.unk_id) -> Perplexity:
        """Scores encoded text, as `measure_perplexity` does for a network.

        Raises:
            CorpusError: there are no tokens.
            InputError: an id is not below ``vocab_size``.
        """
        nll = float(self.token_nll(tokens).sum())
        return Perplexity(
            nll, len(tokens), int((np.asarray(tokens[:]) == unk_id).sum()), self.state
        )


def _checked_ids(tokens: TokenIds, vocab_size: int, purpose: str | None = None) -> np.ndarray:
    """The ids as int64; there must be at least one if a purpose is given."""
    ids = np.asarray(tokens[:], dtype=np.int64)
    if purpose and not len(ids):
        raise CorpusError(f"nothing to {purpose}: the text has no tokens")
    if len(ids) and not 0 <= ids.min() <= ids.max() < vocab_size:
        raise InputError(
            f"ids must be from 0 to {vocab_size - 1}, found {ids.min()} to {ids.max()}"
        )
    return ids


def _contexts(
    words: np.ndarray, ends: np.ndarray, n: int, eos_id: int, reset_per_line: bool
) -> np.ndarray:
    """The index of the n words before each position in their table.

    It is `ABSENT` if there are fewer than n words, or if they never occurred in train.

    Args:
        words: the text.
        ends: the index of the n words that *end* at each position.
        n: at least 1.
        eos_id: read before the first word.
        reset_per_line: whether words of earlier lines are ignored.
    """
    before = np.concatenate([[eos_id if n == 1 else ABSENT], ends[:-1]])
    if reset_per_line and n > 1:
        before[1:][words[:-1] == eos_id] = ABSENT
    return before


def iterate_counts(
    words: np.ndarray, vocab_size: int, order: int, eos_id: int, reset_per_line: bool
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yields ``keys`` and ``a()``, both int64 ``(K,)``, of every order from 1; see `NGramTable`.

    The first order has the whole vocabulary.

    Args:
        words: ids, int64.
        vocab_size: V.
        order: of the longest n-grams.
        eos_id: read before the first word.
        reset_per_line: read every line by itself.
    """
    keys = np.arange(vocab_size)
    ends = words  # the index, in keys, of the n words that end at each position
    for n in range(1, order):
        before = _contexts(words, ends, n, eos_id, reset_per_line)
        extended = before != ABSENT
        longer, places = np.unique(
            before[extended] * vocab_size + words[extended], return_inverse=True
        )
        tails = np.empty(len(longer), dtype=np.int64)
        tails[places] = ends[extended]
        starting = ends[~extended & (ends != ABSENT)]  # no word comes before them
        yield keys, np.bincount(np.concatenate([tails, starting]), minlength=len(keys))
        keys, ends = longer, np.full(len(words), ABSENT)
        ends[extended] = places
    yield keys, np.bincount(ends[ends != ABSENT], minlength=len(keys))
