"""Laws of the n-gram baseline: equals a plain oracle and KenLM; every distribution sums to 1."""

import json
import math
from collections import Counter, defaultdict
from random import Random

import numpy as np
import pytest

from lstm_lm.errors import CorpusError, InputError
from lstm_lm.evaluation.ngram import (
    DEFAULT_DISCOUNTS,
    LARGEST_ORDER,
    NGramModel,
    estimate_discounts,
)
from lstm_lm.model.language_model import LanguageModel

UNK, EOS = 0, 1


def zipf_text(lines, vocab_size, seed):
    """Lines of 0 to 9 ids from 2, frequent and rare, some often after others, then ``<eos>``."""
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
    """The definition in the module's docstring, with dicts and loops only."""

    def __init__(self, tokens, vocab_size, order, reset):
        self.vocab_size, self.reset = vocab_size, reset
        grams = [Counter() for _ in range(order + 1)]  # by length, with how often each occurs
        begins = [Counter() for _ in range(order + 1)]  # of these, how often with nothing before it
        for words in self.histories(tokens):
            for n in range(1, order + 1):
                if len(words) >= n:
                    grams[n][words[-n:]] += 1
                    begins[n][words[-n:]] += len(words) == n
        self.counts = [None] * (order + 1)
        for n in range(1, order + 1):
            self.counts[n] = (
                grams[n] if n == order else begins[n] + Counter(gram[1:] for gram in grams[n + 1])
            )
        self.discounts = [None, *(self.estimate(self.counts[n]) for n in range(1, order + 1))]
        self.followers = [defaultdict(dict) for _ in range(order + 1)]
        for n in range(1, order + 1):
            for gram, count in self.counts[n].items():
                self.followers[n][gram[:-1]][gram[-1]] = count

    def histories(self, tokens):
        """Yields each token after all tokens before it that count."""
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
            return DEFAULT_DISCOUNTS
        y = t[1] / (t[1] + 2 * t[2])
        found = (1 - 2 * y * t[2] / t[1], 2 - 3 * y * t[3] / t[2], 3 - 4 * y * t[4] / t[3])
        return found if all(0 < d <= k for k, d in enumerate(found, 1)) else DEFAULT_DISCOUNTS

    def probability(self, history, word, n):
        if n == 0:
            return 1 / self.vocab_size
        lower = self.probability(history, word, n - 1)
        after = (
            self.followers[n].get(history[len(history) - n + 1 :])
            if len(history) >= n - 1
            else None
        )
        if not after:
            return lower
        total = sum(after.values())
        taken = {w: [0, *self.discounts[n]][min(count, 3)] for w, count in after.items()}
        return (after.get(word, 0) - taken.get(word, 0)) / total + sum(
            taken.values()
        ) / total * lower


CORPORA = [
    (seed, size, lines)
    for seed, (size, lines) in enumerate([(6, 4), (30, 60), (12, 200), (200, 300)])
]


@pytest.mark.parametrize("seed, vocab_size, lines", CORPORA)
@pytest.mark.parametrize("reset", [False, True])
@pytest.mark.parametrize("order", [1, 2, 3, 5])
def test_every_probability_equals_the_oracle(seed, vocab_size, lines, reset, order):
    train, valid = (
        zipf_text(lines, vocab_size, f"train {seed}"),
        zipf_text(40, vocab_size, f"valid {seed}"),
    )
    valid[3:3] = [UNK, 2, UNK]
    model = NGramModel.train(train, vocab_size, order, EOS, reset_per_line=reset)
    oracle = Oracle(train, vocab_size, order, reset)
    assert model.order == order
    assert [table.discounts for table in model.tables] == [
        pytest.approx(found) for found in oracle.discounts[2:]
    ]
    histories = list(oracle.histories(valid))
    expected = [oracle.probability(words[:-1], words[-1], order) for words in histories]
    assert np.exp(-model.token_nll(valid)) == pytest.approx(np.array(expected), rel=1e-12)
    for *context, _ in histories[::17]:
        found = model.next_word_probabilities(context)
        assert found.shape == (vocab_size,) and found.sum() == pytest.approx(1, abs=1e-12)
        assert found == pytest.approx(
            [oracle.probability(tuple(context), word, order) for word in range(vocab_size)],
            rel=1e-12,
        )


def test_the_corpora_above_have_orders_with_estimated_and_with_fallback_discounts():
    own = [
        [
            table.discounts != DEFAULT_DISCOUNTS
            for table in NGramModel.train(
                zipf_text(lines, size, f"train {seed}"), size, 5, EOS
            ).tables
        ]
        for seed, size, lines in CORPORA
    ]
    assert own == [[False] * 4, [True] * 4, [True] * 4, [True, True, True, False]]


def test_discounts_by_hand():
    counts = np.repeat([0, 1, 2, 3, 4, 9], [50, 40, 20, 10, 5, 7])  # Y = 40 / 80
    assert estimate_discounts(counts) == pytest.approx(
        (1 - 2 * 0.5 / 2, 2 - 3 * 0.5 / 2, 3 - 4 * 0.5 / 2)
    )
    for seen in ([1, 2, 4], [1, 3], [2, 3], []):
        assert estimate_discounts(np.array(seen, dtype=np.int64)) == DEFAULT_DISCOUNTS
    # here D[2] is 0, which leaves no probability for unseen words
    assert estimate_discounts(np.repeat([1, 2, 3], [6, 3, 4])) == DEFAULT_DISCOUNTS


# What KenLM (kpu/kenlm, commit 4cb443e) computes for the same text: log10 p of the first twelve
# tokens, and the sum over all 120. To repeat it, write each line of zipf_text(300, 30, "kenlm") to
# train.txt as words "w2 w9 ...", without <eos>, and run
#   lmplz -o 4 --discount_fallback < train.txt > model.arpa
# It prints the discounts. Then call kenlm.Model("model.arpa").full_scores(line) for each line of
# the other text, with <unk> for id 0. Its vocabulary is <unk>, </s> and the 27 words of train; its
# <s> is our <eos> as a context.
KENLM_DISCOUNTS = [
    (0.539519, 1.17864, 1.66707),
    (0.750318, 1.26499, 0.749045),
    (0.869239, 1.31601, 1.69614),
]
KENLM_FIRST = [
    -1.73932,
    -1.16236,
    -0.76089,
    -1.1429,
    -0.5739,
    -3.27981,
    -2.36419,
    -1.41283,
    -1.24014,
    -0.48323,
    -0.57156,
    -1.57819,
]
KENLM_SUM = -128.854273


def test_kenlm_computes_the_same():
    valid = zipf_text(20, 30, "kenlm valid")
    valid[5:5] = [UNK, UNK]
    model = NGramModel.train(zipf_text(300, 30, "kenlm"), 29, 4, EOS, reset_per_line=True)
    for table, expected in zip(model.tables, KENLM_DISCOUNTS, strict=True):
        assert table.discounts == pytest.approx(expected, rel=1e-5)
    found = -model.token_nll(valid) / math.log(10)
    assert found[:12] == pytest.approx(KENLM_FIRST, abs=1e-5) and len(found) == 120
    assert found.sum() == pytest.approx(KENLM_SUM, abs=1e-5)


@pytest.fixture(scope="module")
def text():
    return zipf_text(200, 20, "text")


def test_with_reset_per_line_a_line_does_not_depend_on_other_lines(text):
    lines = [[3, 4, EOS], [EOS], [5, 3, 4, 6, EOS]]
    apart, on = (
        NGramModel.train(text, 20, 4, EOS, reset_per_line=reset) for reset in (True, False)
    )
    alone = np.concatenate([apart.token_nll(line) for line in lines])
    assert apart.token_nll(sum(lines, [])) == pytest.approx(alone, rel=1e-12)
    assert (
        apart.next_word_probabilities([5, 3, EOS, 4]).tolist()
        == apart.next_word_probabilities([EOS, 4]).tolist()
    )
    assert on.token_nll(sum(lines, [])) != pytest.approx(
        np.concatenate([on.token_nll(line) for line in lines])
    )


def test_only_the_last_words_count(text):
    model = NGramModel.train(text, 20, 3, EOS)
    assert (
        model.next_word_probabilities([7, 8, 3, 4]).tolist()
        == model.next_word_probabilities([3, 4]).tolist()
    )
    assert (
        model.next_word_probabilities([3, 4]).tolist()
        != model.next_word_probabilities([4]).tolist()
    )
    assert model.next_word_probabilities([]).tolist() == model.unigrams.tolist()


def test_perplexity(text):
    model = NGramModel.train(text, 20, 3, EOS)
    valid = [3, UNK, 4, EOS, 5, UNK]  # the last line has no end
    result = model.perplexity(valid)
    assert (result.tokens, result.oov_tokens, result.state) == (6, 2, "carried")
    assert result.nll == pytest.approx(
        sum(
            -math.log(model.next_word_probabilities([EOS, *valid[:t]])[word])
            for t, word in enumerate(valid)
        )
    )
    assert (
        NGramModel.train(text, 20, 3, EOS, reset_per_line=True).perplexity(valid).state == "reset"
    )


@pytest.mark.parametrize("order", [1, 2, LARGEST_ORDER])
@pytest.mark.parametrize("reset", [False, True])
@pytest.mark.parametrize("tiny", [[2], [EOS], [EOS, EOS], [2, 2, 2, 2]])
def test_a_tiny_text_gives_a_distribution(tiny, reset, order):
    model = NGramModel.train(tiny, 4, order, EOS, reset_per_line=reset)
    for context in ([], [EOS], [2, 2], [EOS, EOS, 3, 2], [*tiny] * 9):
        found = model.next_word_probabilities(context)
        assert found.sum() == pytest.approx(1, abs=1e-12) and found.min() > 0
        assert found[tiny[0]] == found.max() > found[3] == found[UNK]


def test_wrong_arguments():
    for order in (0, LARGEST_ORDER + 1):
        with pytest.raises(
            InputError, match=f"order must be from 1 to {LARGEST_ORDER}, found {order}"
        ):
            NGramModel.train([2, EOS], 3, order, EOS)
    with pytest.raises(InputError, match="ids must be from 0 to 2, found 1 to 3"):
        NGramModel.train([3, EOS], 3, 2, EOS)
    with pytest.raises(CorpusError, match="nothing to learn from"):
        NGramModel.train([], 3, 2, EOS)
    model = NGramModel.train([2, EOS], 3, 2, EOS)
    with pytest.raises(CorpusError, match="nothing to score"):
        model.perplexity([])
    for score in (model.token_nll, model.next_word_probabilities):
        with pytest.raises(InputError, match="found -1 to -1"):
            score([-1])


@pytest.mark.slow
def test_the_command_counts_what_evaluate_counts(command, finished_run, tmp_path):
    config = finished_run.parent / "corpus" / "tiny.yaml"
    evaluated = json.loads(command("evaluate", finished_run, "--json")[1])
    status, out, _ = command("ngram", config, "--json", "--order", 3, "corpus.lowercase=false")
    found = json.loads(out)
    assert status == 0 and found["order"] == 3
    assert [key for key in evaluated if key in found] == list(found)[1:]
    assert all(found[key] == evaluated[key] for key in ("tokens", "oov_tokens", "state"))
    assert found["perplexity"] == pytest.approx(math.exp(found["nll"] / found["tokens"]))
    said = command("ngram", config, "--order", 3)[1]
    vocab_size = len(LanguageModel.from_pretrained(finished_run).vocabulary)
    assert (
        said == f"valid, 3-gram: perplexity {found['perplexity']:.2f} (14 tokens, 1 <unk>, state "
        f"carried), interpolated over all {vocab_size} words\n"
    )
    assert "state reset" in command("ngram", config, "--reset-per-line")[1]
    stories = tmp_path / "stories.yaml"
    stories.write_text("corpus: {source: stories}\nstories: {count: 20}")
    assert "the source itself: " in command("ngram", stories)[1]


def test_mistakes_on_the_command_line(refused, config):
    assert "--order: found 0, must be from 1 to 20" in refused("ngram", config, "--order", 0)
    assert "did you mean corpus.min_count?" in refused("ngram", config, "corpus.min_cout=3")
    assert "test" in refused("ngram", config, "--split", "test")
