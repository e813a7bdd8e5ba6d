"""What a training says about its words: shares of ``<unk>``, their causes, and warnings."""

import random

import pytest

from lstm_lm.config import CorpusConfig
from lstm_lm.corpus.corpus import Corpus, Dropped
from lstm_lm.corpus.vocabulary import Vocabulary
from lstm_lm.corpus.word_report import describe_words


@pytest.fixture
def report(tmp_path):
    """Returns the lines about a corpus of two texts."""

    def report(train, valid, **settings):
        return describe_words(corpus_of(tmp_path, train, valid, **settings))

    return report


def corpus_of(folder, train, valid, **settings):
    for name, text in (("train", train), ("valid", valid)):
        (folder / f"{name}.txt").write_text(text + "\n", encoding="utf-8")
    return Corpus(
        CorpusConfig(
            source="files",
            train_file=str(folder / "train.txt"),
            valid_file=str(folder / "valid.txt"),
            join_lines=False,
            skip_blank_lines=False,
            cache_dir=str(folder / "cache"),
            **settings,
        )
    )


def english(words, seed=0, different=200):
    """A text of made-up words, the n-th of which has a probability proportional to 1/n."""
    vocabulary = [f"word{number}" for number in range(different)]
    weights = [1 / (number + 1) for number in range(different)]
    drawn = random.Random(seed).choices(vocabulary, weights, k=words)
    return "\n".join(" ".join(drawn[at : at + 20]) for at in range(0, words, 20))


def test_a_text_without_unknown_words_has_one_line(report):
    text = english(2000)
    different = len(set(text.split())) + 2
    assert report(text, text) == [f"vocabulary: {different} words; no <unk> in train or valid"]


def test_each_cause_has_its_share(tmp_path):
    """Of 10,000 tokens: 100 rare, 200 over the limit, 100 written; in valid, 1,000 of 10,000."""
    train = "\n".join(
        f"<unk> rare{n} cut{n % 2} cut{n % 2} " + "a b c d e " * 19 for n in range(100)
    )
    valid = "\n".join(["new " * 10 + "a " * 89] * 100)
    for _ in range(2):  # counted, then from the cache
        corpus = corpus_of(tmp_path, train, valid, min_count=2, vocab_size=7)
        assert describe_words(corpus)[0] == (
            "vocabulary: 7 words; <unk> is 4.0 % of train (1.0 % by corpus.min_count=2, 2.0 % by "
            "corpus.vocab_size=7, 1.0 % written in the text), 10 % of valid"
        )
        assert corpus.dropped == Dropped(rare=100, cut=200, kinds_cut=2)


def test_no_cause_is_named_for_the_words_of_another_model(tmp_path):
    words = Vocabulary.build(["word0 word1"], tokenization="words")
    text = english(2000)
    corpus = corpus_of(tmp_path, text, text)
    corpus = Corpus(corpus.config, vocabulary=words)
    first, warning, *_ = describe_words(corpus)
    assert corpus.dropped is None and "(" not in first
    assert warning.startswith("warning: ") and "corpus.vocab_size" in warning


@pytest.mark.parametrize(
    ("train", "settings", "remedy"),
    [
        (english(2000), {"vocab_size": 12}, "raise corpus.vocab_size=12"),
        (english(2000, different=1000), {"min_count": 5}, "lower corpus.min_count=5"),
        (english(2000).replace("word1", "<unk>"), {}, "compare it with models of the same text"),
    ],
)
def test_many_unknown_words_flatter(report, train, settings, remedy):
    [warning] = [line for line in report(train, train, **settings) if line.startswith("warning")]
    assert "of train is <unk>, which is easy to predict" in warning and remedy in warning


def test_valid_of_another_kind(report):
    other = english(2000).replace("word", "other")
    [_, warning] = report(english(2000), other)
    assert warning.startswith("warning: 95 % of valid is <unk>, most of it words that train does")


CHINESE = "\n".join(
    "".join(random.Random(line).choices("我你他喜欢学习中文书天气很好今去公园吧明可能会下雨", k=8))
    + "，"
    + "".join(
        random.Random(-line).choices("我你他喜欢学习中文书天气很好今去公园吧明可能会下雨", k=9)
    )
    + "。"
    for line in range(1, 200)
)
THAI = "\n".join(
    "".join(random.Random(line).choices("กขคงจฉชดตทนบปผพมยรลวสหอา", k=30)) for line in range(1, 400)
)


@pytest.mark.parametrize("text", [CHINESE, THAI])
def test_clauses_as_words(report, text):
    clauses = report(text, text, tokenization="whitespace")
    assert any("probably whole clauses" in line for line in clauses)
    assert any("set corpus.tokenization=words" in line for line in clauses)
    characters = report(text, text, tokenization="words")
    assert "text of scripts without spaces between words is split into characters" in characters
    assert not any("clauses" in line for line in characters)


def test_words_of_chinese_are_not_clauses(report):
    letters = "我你他喜欢学习中文书天气很好今去公园吧明可能会下雨"
    words = [a + b for a in letters for b in letters]
    text = "\n".join(" ".join(random.Random(n).choices(words, k=20)) for n in range(100))
    for tokenization in ("whitespace", "words"):
        assert len(report(text, text, tokenization=tokenization)) == 1


def test_text_without_spaces(report):
    text = "\n".join("".join(english(30, seed)).replace(" ", "") for seed in range(200))
    assert any("check that the text has spaces" in line for line in report(text, text))


def test_elisions_are_told(report):
    text = "\n".join(f"l'eau{n} d'un homme n'a pas mot{n}" for n in range(200))
    assert "elisions are split, as in l' homme and dell' arte" in report(text, text)


@pytest.mark.parametrize(
    ("train", "found"),
    [
        (english(40), "train has 42 tokens and "),
        ("\n".join(["a b c d e f g"] * 301), "train has 2,408 tokens and 7 different words"),
    ],
)
def test_a_few_dozen_words(report, train, found):
    [warning] = [
        line for line in report(train, english(2000).replace("word", "a ")) if found in line
    ]
    assert warning.startswith("warning: ") and "too few to learn a language from" in warning


def test_a_short_valid(report):
    [_, warning] = report(english(2000), "word0 word1 word2")
    assert warning.startswith("warning: valid has 4 tokens, so its perplexity is rough")


def test_every_line_is_one_line(report):
    for text in (CHINESE, THAI, english(40), english(2000)):
        for tokenization in ("whitespace", "words"):
            lines = report(text, text, tokenization=tokenization, vocab_size=20)
            assert lines and not any("\n" in line for line in lines)
