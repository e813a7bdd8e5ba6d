"""Laws of the n-gram baseline: a plain oracle says the same, so does KenLM, and every distribution sums to 1."""

import math
from collections import Counter, defaultdict
from random import Random

import numpy as np
import pytest

from lstm_lm.errors import CorpusError, InputError
from lstm_lm.evaluation.ngram import FALL_BACK, NGramModel, estimate_discounts

UNK, EOS = 0, 1


def zipf_text(lines, vocab_size, seed):
    """Lines of 0 to 9 ids from 2, each rare or frequent, and some words fond of others; ``<eos>`` after every line."""
    chance = Random(seed)
    ids = []
    for _ in range(lines):
        word = 0
        for _ in range(int(10 * chance.random())):
            rank = int((vocab_size - 2) ** chance.random()) - 1
            word = (7 * word + 3) % (vocab_size - 2) if chance.random() < 0.4 else rank
            ids.append(2 + word)
        ids.append(EOS)
    return ids


class Oracle:
    """The definition in the module's docstring, a dict and a loop for everything."""

    def __init__(self, tokens, vocab_size, order, reset, discounts=None):
        self.vocab_size, self.reset = vocab_size, reset
        grams = [Counter() for _ in range(order + 1)]       # by length, with how often each occurs
        begins = [Counter() for _ in range(order + 1)]      # of these, how often with nothing before it
        for words in self.histories(tokens):
            for n in range(1, order + 1):
                if len(words) >= n:
                    grams[n][words[-n:]] += 1
                    begins[n][words[-n:]] += len(words) == n
        self.counts = [None] * (order + 1)
        for n in range(1, order + 1):
            self.counts[n] = grams[n] if n == order else begins[n] + Counter(gram[1:] for gram in grams[n + 1])
        self.discounts = [None, *(discounts or [self.estimate(self.counts[n]) for n in range(1, order + 1)])]
        self.followers = [defaultdict(dict) for _ in range(order + 1)]
        for n in range(1, order + 1):
            for gram, count in self.counts[n].items():
                self.followers[n][gram[:-1]][gram[-1]] = count

    def histories(self, tokens):
        """Each token with all that stands before it and counts."""
        start = [EOS]
        for token in tokens:
            start = [*start, token]
            yield tuple(start)
            if self.reset and token == EOS:
                start = [EOS]

    @staticmethod
    def estimate(counts):
        t = Counter(counts.values())
        if not all(t[k] for k in (1, 2, 3)):
            return FALL_BACK
        y = t[1] / (t[1] + 2 * t[2])
        found = (1 - 2 * y * t[2] / t[1], 2 - 3 * y * t[3] / t[2], 3 - 4 * y * t[4] / t[3])
        return found if all(0 < d <= k for k, d in enumerate(found, 1)) else FALL_BACK

    def probability(self, history, word, n):
        if n == 0:
            return 1 / self.vocab_size
        lower = self.probability(history, word, n - 1)
        after = self.followers[n].get(history[len(history) - n + 1:]) if len(history) >= n - 1 else None
        if not after:
            return lower
        discount = [0, *self.discounts[n]]
        total = sum(after.values())
        count = after.get(word, 0)
        return (count - discount[min(count, 3)]) / total + sum(discount[min(c, 3)] for c in after.values()) / total * lower


CORPORA = [(seed, size, lines) for seed, (size, lines) in enumerate([(6, 4), (30, 60), (12, 200), (200, 300)])]


@pytest.mark.parametrize("seed, vocab_size, lines", CORPORA)
@pytest.mark.parametrize("reset", [False, True])
@pytest.mark.parametrize("order", [1, 2, 3, 5])
def test_every_probability_is_the_oracle_s(seed, vocab_size, lines, reset, order):
    train, valid = zipf_text(lines, vocab_size, f"train {seed}"), zipf_text(40, vocab_size, f"valid {seed}")
    valid[3:3] = [UNK, 2, UNK]
    model = NGramModel.train(train, vocab_size, order, EOS, reset_per_line=reset)
    oracle = Oracle(train, vocab_size, order, reset)
    assert model.order == order
    assert [table.discounts for table in model.tables] == [pytest.approx(found) for found in oracle.discounts[2:]]
    histories = list(oracle.histories(valid))
    expected = [oracle.probability(words[:-1], words[-1], order) for words in histories]
    assert np.exp(-model.token_nll(valid)) == pytest.approx(np.array(expected), rel=1e-12)
    for *context, _ in histories[::17]:
        found = model.next_word_probabilities(context)
        assert found.shape == (vocab_size,) and found.sum() == pytest.approx(1, abs=1e-12)
        assert found == pytest.approx([oracle.probability(tuple(context), word, order) for word in range(vocab_size)],
                                      rel=1e-12)


def test_the_corpora_above_have_orders_with_discounts_of_their_own_and_orders_that_fall_back():
    fell_back = [[table.discounts == FALL_BACK for table in
                  NGramModel.train(zipf_text(lines, size, f"train {seed}"), size, 5, EOS).tables]
                 for seed, size, lines in CORPORA]
    assert all(fell_back[0]) and not any(fell_back[-1])
