"""The surprisals of the regions of sentences, for the questions of SyntaxGym."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch import Tensor

from lstm_lm.corpus.vocabulary import Vocabulary
from lstm_lm.probes.formula import WHOLE_SENTENCE, Term
from lstm_lm.probes.items import RegionQuestion

TEXTS_AT_ONCE = 64  # limits memory: each has the log-probabilities of all words


@dataclass(frozen=True)
class RegionWord:
    """A word of a region that a formula compares.

    Attributes:
        term: the region and its condition.
        before: the ids before the word; the first is ``<eos>``.
        target: the id of the word.
    """

    term: Term
    before: tuple[int, ...]
    target: int


def encode_regions(
    vocabulary: Vocabulary, question: RegionQuestion
) -> tuple[list[RegionWord], list[str], list[str]]:
    """Returns the words of all regions that a question compares, as ids.

    Each region is split into words by itself, as typed text is; the line end is in no region.

    Returns:
        The words; then the unknown words among them; then all unknown words, each once.
    """
    words: list[RegionWord] = []
    unknown_compared: dict[str, None] = {}
    unknown: dict[str, None] = {}
    compared = {(term.condition, term.region) for term in question.formula.terms}
    for condition, regions in question.sentences.items():
        ids = [vocabulary.eos_id]
        for region, text in regions.items():
            spelled = vocabulary.split_text(text)
            keys = [(condition, region), (condition, WHOLE_SENTENCE)]
            asked = [key for key in keys if key in compared]
            for word, number in zip(spelled, vocabulary.ids_of(spelled), strict=True):
                if number == vocabulary.unk_id:
                    unknown[word] = None
                    if asked:
                        unknown_compared[word] = None
                words += [RegionWord(Term(key[1], key[0]), tuple(ids), number) for key in asked]
                ids.append(number)
    return words, list(unknown_compared), list(unknown)


def region_surprisals(
    words: Sequence[RegionWord],
    question: RegionQuestion,
    next_word_log_probabilities: Callable[[Sequence[list[int]]], Tensor],
) -> dict[Term, float]:
    """Returns the surprisal of every compared region, in bits, summed over its words.

    Args:
        words: of `encode_regions`.
        question: the same question.
        next_word_log_probabilities: of the model: B texts -> ``(B, V)``, nats.
    """
    surprisals = dict.fromkeys(question.formula.terms, 0.0)
    for start in range(0, len(words), TEXTS_AT_ONCE):
        some = words[start : start + TEXTS_AT_ONCE]
        rows = next_word_log_probabilities([list(word.before) for word in some])
        for word, row in zip(some, rows, strict=True):
            surprisals[word.term] -= float(row[word.target]) / math.log(2)
    return surprisals
