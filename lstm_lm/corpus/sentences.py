"""Whole sentences of an encoded text, such as those between a clue and what depends on it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain

from lstm_lm.corpus.vocabulary import Vocabulary
from lstm_lm.corpus.windows import TokenIds

# Words of a sentence, the mark at the end included. Shorter ones are often titles, or cut by an
# abbreviation; longer ones are lists.
SHORTEST, LONGEST = 4, 60
_WORDS_AT_ONCE = 2**16
_END_MARKS = {".", "!", "?", "。", "！", "？", "।", "؟"}
_CLOSING_MARKS = {")", "]", "”", "’", "»", "''", "」", "』"}
_STRAIGHT_QUOTES = {'"', "'"}  # close if one of them is open
_BRACKETS = (("(", ")"), ("[", "]"), ("“", "”"), ("«", "»"))
_OPENING_MARKS = {'"', "'", "``", "“", "‘", "«", "(", "[", "¿", "¡"}

Sentence = tuple[int, ...]  # ids


def iterate_sentences(
    tokens: TokenIds, vocabulary: Vocabulary, most_words: int | None = None
) -> Iterator[Sentence]:
    """Yields the whole sentences of a text.

    A sentence ends with a full stop, a question mark or an exclamation mark, and the quotes and
    brackets that close behind it. What stands before the end of a line without such a mark, such as
    a title, is no sentence. Left out are sentences of fewer than `SHORTEST` or more than `LONGEST`
    words, and those that begin with a small letter or a mark, in which a quote or a bracket stays
    open, or more than half of whose words are unknown.

    Args:
        tokens: ids.
        vocabulary: of the ids.
        most_words: the words from the beginning that are read; None for all.
    """
    stop = min(len(tokens), most_words or len(tokens))
    ends, closing, quotes = (
        set(_ids_of(vocabulary, marks)) for marks in (_END_MARKS, _CLOSING_MARKS, _STRAIGHT_QUOTES)
    )
    sentence: list[int] = []
    is_ended = False
    for word in chain(_iterate_ids(tokens, stop), [vocabulary.eos_id]):
        closes = word in closing or (word in quotes and sentence.count(word) % 2 == 1)
        if word == vocabulary.eos_id or (is_ended and not closes):
            if is_ended and _is_whole(sentence, vocabulary):
                yield tuple(sentence)
            sentence, is_ended = [], False
        if word != vocabulary.eos_id:
            sentence.append(word)
            is_ended = is_ended or word in ends


def _iterate_ids(tokens: TokenIds, stop: int) -> Iterator[int]:
    for start in range(0, stop, _WORDS_AT_ONCE):
        yield from map(int, tokens[start : min(start + _WORDS_AT_ONCE, stop)])


def _ids_of(vocabulary: Vocabulary, words: Iterable[str]) -> list[int]:
    """The ids of those words that the vocabulary has."""
    return [number for number in vocabulary.ids_of(words) if number != vocabulary.unk_id]


def _is_whole(sentence: Sequence[int], vocabulary: Vocabulary) -> bool:
    """Whether a sentence begins as one, closes what it opens, and is mostly of known words."""
    if not SHORTEST <= len(sentence) <= LONGEST:
        return False
    words = [vocabulary.words[number] for number in sentence]
    first = next((word for word in words if word not in _OPENING_MARKS), "")
    is_small = first[:1].islower() and not vocabulary.lowercase
    return (
        (first == "<unk>" or (first[:1].isalnum() and not is_small))
        and words.count('"') % 2 == 0
        and all(words.count(left) == words.count(right) for left, right in _BRACKETS)
        and 2 * sentence.count(vocabulary.unk_id) <= len(sentence)
    )
