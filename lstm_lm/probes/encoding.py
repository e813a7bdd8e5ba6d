"""The questions of a probe as a model's ids; or why a question cannot be asked of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import NamedTuple

from lstm_lm.corpus.vocabulary import Vocabulary
from lstm_lm.model.reading import prompt_words
from lstm_lm.probes.items import Item


class Skip(NamedTuple):
    """Why an item is not asked.

    Attributes:
        why: the reason; empty if it is asked.
        words: the words because of which it is not.
    """

    why: str = ""
    words: tuple[str, ...] = ()


ASKED = Skip()


@dataclass(frozen=True)
class WordQuestion:
    """An item about one word, as ids."""

    prefix: list[int]
    target: int
    foil: int | None


@dataclass(frozen=True)
class SentencePair:
    """An item of two sentences, as ids."""

    better: list[int]
    other: list[int]


def prefix_words(vocabulary: Vocabulary, item: Item) -> list[str]:
    """The words that are read before the target, the ``<eos>`` before the text included."""
    if item.fillers:
        behind = vocabulary.split_text(f"{item.question} {item.target}")
        words = [*prompt_words(vocabulary, item.clue), *item.fillers, *behind]
    else:
        words = prompt_words(vocabulary, f"{item.prefix} {item.target}")
    return words[: len(words) - len(vocabulary.split_text(item.target))]


def differing_words(
    items: Sequence[Item], words: Mapping[int, Sequence[str]]
) -> dict[int, tuple[str, ...]]:
    """Returns, for each item, the words that not all items of its pair have: what tells them apart.

    Args:
        items: the items of a pair directly follow one another.
        words: index of an item -> the words before its target.

    Returns:
        Index -> words, each once; none for an item without a pair.
    """
    differing: dict[int, tuple[str, ...]] = dict.fromkeys(words, ())
    for pair, members in groupby(words, key=lambda index: items[index].pair):
        if not pair:
            continue
        indices = list(members)
        common = set.intersection(*(set(words[index]) for index in indices))
        for index in indices:
            differing[index] = tuple(
                dict.fromkeys(word for word in words[index] if word not in common)
            )
    return differing


def encode_question(
    vocabulary: Vocabulary, item: Item, words: Sequence[str], clues: Sequence[str]
) -> tuple[Skip, tuple[str, ...], WordQuestion | None]:
    """Encodes an item about one word.

    Args:
        vocabulary: the model's.
        item: the question.
        words: those before the target.
        clues: those of them that decide the answer. If the model does not know one, the item is
            skipped.

    Returns:
        Why it is skipped, the unknown words before the target, and its ids; none if it is skipped.
    """
    targets = vocabulary.ids_of(vocabulary.split_text(item.target))
    foils = vocabulary.ids_of(vocabulary.split_text(item.foil))
    prefix = vocabulary.ids_of(words)
    unknown = _unknown_words(vocabulary, words, prefix)
    for name, word, ids in (("target", item.target, targets), ("foil", item.foil, foils)):
        if word and len(ids) != 1:
            return Skip(f"{name} is several words", (word,)), unknown, None
        if word and ids[0] == vocabulary.unk_id:
            return Skip(f"{name} unknown", (word,)), unknown, None
    if targets == foils:
        return Skip("target and foil are the same word", (item.target,)), unknown, None
    if unknown_clues := tuple(word for word in clues if word in unknown):
        return Skip("clue unknown", unknown_clues), unknown, None
    return ASKED, unknown, WordQuestion(prefix, targets[0], foils[0] if foils else None)


def encode_sentences(
    vocabulary: Vocabulary, item: Item
) -> tuple[Skip, tuple[str, ...], SentencePair]:
    """Encodes an item of two sentences.

    Two sentences are compared only if they have the same unknown words, and equally many of them.

    Returns:
        Why it is skipped, the unknown words of both sentences, and their ids.
    """
    better_words = prompt_words(vocabulary, item.target)
    other_words = prompt_words(vocabulary, item.foil)
    better, other = vocabulary.ids_of(better_words), vocabulary.ids_of(other_words)
    better_unknown = _unknown_words(vocabulary, better_words, better)
    other_unknown = _unknown_words(vocabulary, other_words, other)
    unknown = tuple(dict.fromkeys((*better_unknown, *other_unknown)))
    unk, skip = vocabulary.unk_id, ASKED
    if set(better_unknown) - set(other_unknown):
        skip = Skip("target unknown", unknown)
    elif set(better_unknown) != set(other_unknown) or better.count(unk) != other.count(unk):
        skip = Skip("foil unknown", unknown)
    elif better == other:
        skip = Skip("the sentences are the same", unknown)
    return skip, unknown, SentencePair(better, other)


def _unknown_words(
    vocabulary: Vocabulary, words: Sequence[str], ids: Sequence[int]
) -> tuple[str, ...]:
    """The words without an id of their own, each once, in their order."""
    return tuple(
        dict.fromkeys(
            word for word, number in zip(words, ids, strict=True) if number == vocabulary.unk_id
        )
    )
