"""What a training prints about its words: how many, how much is ``<unk>`` and why, and warnings."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from lstm_lm.corpus.corpus import Corpus
from lstm_lm.corpus.vocabulary import Vocabulary
from lstm_lm.corpus.word_rules import HAN_AND_KANA, UNSPACED

# Shares of <unk>. Published corpora have at most 5 % in train; a novel of which every word that
# occurs once is <unk> has 7 % in train and 12 % in valid.
_MAX_UNKNOWN_TRAIN, _MAX_UNKNOWN_VALID = 0.10, 0.20
# Letters of a script without spaces, per word of the vocabulary. Words of Chinese and Japanese have
# 2 to 3 on average, those of Thai 6 to 7; clauses have twice as many or more.
_MAX_HAN_OR_KANA, _MAX_OTHER = 4.5, 10.0
_MIN_SHARE_UNSPACED = 0.2  # of the vocabulary, for the text to count as one of such a script
_MAX_WORD_LENGTH = 20.0  # characters, on average; words of German and Finnish have about 10
_MIN_WORDS, _MIN_TRAIN_TOKENS, _MIN_VALID_TOKENS = 50, 300, 300

_UNSPACED = re.compile(f"[{UNSPACED}]")
_HAN_OR_KANA = re.compile(f"[{HAN_AND_KANA}]")


def describe_words(corpus: Corpus) -> list[str]:
    """Returns lines for people about the words of train and valid; warnings are one line each.

    Args:
        corpus: with a train and a valid split. Both are encoded if they are not in the cache.

    Raises:
        CorpusError: see `Corpus.tokens`.
        DiskError: see `Corpus.tokens`.
    """
    vocabulary, train, valid = corpus.vocabulary, corpus.tokens("train"), corpus.tokens("valid")
    unknown_train, unknown_valid = train.unk_count / len(train), valid.unk_count / len(valid)
    causes = _causes(corpus, len(train), train.unk_count)
    unknown = "no <unk> in train or valid"
    if train.unk_count or valid.unk_count:
        why = f" ({', '.join(text for _, text, _ in causes)})" if causes else ""
        unknown = f"<unk> is {_percent(unknown_train)} of train{why}, "
        unknown += f"{_percent(unknown_valid)} of valid"
    lines = [f"vocabulary: {len(vocabulary):,} words{_added(corpus)}; {unknown}"]
    lines += [*_options(vocabulary), *_more_words(corpus), *_mix(corpus)]
    if unknown_train > _MAX_UNKNOWN_TRAIN:
        remedy = max(causes)[2] if causes else "raise corpus.vocab_size or lower corpus.min_count"
        lines.append(
            f"warning: {_percent(unknown_train)} of train is <unk>, which is easy to predict, so "
            f"perplexity will look better than the model is; {remedy}"
        )
    elif unknown_valid > _MAX_UNKNOWN_VALID:
        lines.append(
            f"warning: {_percent(unknown_valid)} of valid is <unk>, most of it words that train "
            "does not have, so its perplexity means little; give train more text of the same kind"
        )
    lines += _long_words(vocabulary)
    has_few_words = len(vocabulary) - 2 < _MIN_WORDS and unknown_train <= _MAX_UNKNOWN_TRAIN
    if has_few_words or len(train) < _MIN_TRAIN_TOKENS:
        lines.append(
            f"warning: train has {len(train):,} tokens and {len(vocabulary) - 2:,} different "
            "words, too few to learn a language from; give it more text"
        )
    if len(valid) < _MIN_VALID_TOKENS:
        lines.append(
            f"warning: valid has {len(valid):,} tokens, so its perplexity is rough; give it more "
            "text"
        )
    return lines


def _causes(corpus: Corpus, tokens: int, unknown: int) -> list[tuple[int, str, str]]:
    """Returns why tokens of train are ``<unk>``: how many, in words, and what to do about it."""
    dropped, config = corpus.dropped, corpus.config
    if dropped is None or not unknown or config.mix:  # there, other sources' words are in the count
        return []
    written = unknown - dropped.rare - dropped.cut
    limit = f"vocab_size={config.vocab_size}"
    if corpus.base:
        limit = f"extend_vocabulary={config.extend_vocabulary}"
    causes = [
        (
            dropped.rare,
            f"by corpus.min_count={config.min_count}",
            f"lower corpus.min_count={config.min_count}",
        ),
        (
            dropped.cut,
            "not among these words" if corpus.base else f"by corpus.vocab_size={config.vocab_size}",
            f"raise corpus.{limit}",
        ),
        (written, "written in the text", "compare it with models of the same text only"),
    ]
    return [
        (count, f"{_percent(count / tokens)} {text}", remedy)
        for count, text, remedy in causes
        if count > 0
    ]


def _added(corpus: Corpus) -> str:
    """Says how many words a model's vocabulary was extended by."""
    added = len(corpus.vocabulary) - len(corpus.base or corpus.vocabulary)
    return f", {added:,} of them new" if added else ""


def _more_words(corpus: Corpus) -> Iterator[str]:
    """Yields how many words of train a model's vocabulary could still be extended by."""
    if corpus.base and corpus.dropped and corpus.dropped.kinds_cut:
        most = corpus.config.extend_vocabulary + corpus.dropped.kinds_cut
        yield (
            f"train has {corpus.dropped.kinds_cut:,} words at least twice that the model does not "
            f"know; corpus.extend_vocabulary={most} adds them"
        )


def _mix(corpus: Corpus) -> Iterator[str]:
    """Yields what a mix consists of."""
    if not corpus.config.mix:
        return
    ingredients = corpus.ingredients()
    total = sum(ingredient.size for ingredient in ingredients.values())
    parts = [
        f"{name} {_percent(ingredient.size / total)} ({len(ingredient.tokens):,} tokens"
        + (f", read {ingredient.passes:.3g} times)" if ingredient.passes != 1 else ")")
        for name, ingredient in ingredients.items()
    ]
    yield f"mix: {', '.join(parts)}"


def _options(vocabulary: Vocabulary) -> Iterator[str]:
    """Yields what was seen in the text and decides how it is split."""
    if vocabulary.recipe.separate_characters and any(map(_UNSPACED.match, vocabulary.words)):
        yield "text of scripts without spaces between words is split into characters"
    if vocabulary.recipe.elisions:
        yield "elisions are split, as in l' homme and dell' arte"


def _long_words(vocabulary: Vocabulary) -> Iterator[str]:
    """Yields a warning if the words are so long that they are probably clauses."""
    words = vocabulary.words[2:]
    unspaced = [word for word in words if _UNSPACED.search(word)]
    is_unspaced = len(unspaced) > _MIN_SHARE_UNSPACED * len(words)
    if is_unspaced and _mean_count(_UNSPACED, unspaced) > (
        _MAX_HAN_OR_KANA if any(map(_HAN_OR_KANA.search, unspaced)) else _MAX_OTHER
    ):
        yield (
            f"warning: the words have {_mean_count(_UNSPACED, unspaced):.0f} characters on "
            "average and are probably whole clauses, because this script has no spaces between "
            "words; set corpus.tokenization=words, or separate the words by spaces"
        )
    elif (length := sum(map(len, words)) / len(words)) > _MAX_WORD_LENGTH:
        yield (
            f"warning: the words have {length:.0f} characters on average; check that the text has "
            "spaces between its words"
        )


def _mean_count(pattern: re.Pattern[str], words: Sequence[str]) -> float:
    """Returns how often a pattern is found in a word, on average."""
    return sum(len(pattern.findall(word)) for word in words) / len(words)


def _percent(share: float) -> str:
    """Returns a share as text, with one digit below 10 %."""
    percent = 100 * share
    if 0 < percent < 0.05:
        return "less than 0.1 %"
    return f"{percent:.1f} %" if percent < 9.95 else f"{percent:.0f} %"
