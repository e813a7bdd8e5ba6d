"""A word that is half typed: which words of a vocabulary it may become.

A typed text ends in the word that is being typed. What stands there after the last white space, the
*chunk*, may be more than one word of the vocabulary, and its end may be a part of one: of ``(Pa``,
``(`` is a word and ``Pa`` the beginning of one; of ``don'``, ``do`` is a word and ``n'`` begins
``n't``.

A word completes a chunk if the chunk, with the word in place of its end, is read as whole words of
which this is the last. The longest end that a word completes is the prefix. If no word begins with
it in this case, upper and lower case are taken as equal.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from itertools import islice

from lstm_lm.corpus.tokenization import build_normalizer
from lstm_lm.corpus.typed_text import check_text
from lstm_lm.corpus.vocabulary import Vocabulary
from lstm_lm.corpus.word_rules import UNSPACED
from lstm_lm.errors import InputError

MAX_PREFIX_LENGTH = 100  # characters; longer words exist (addresses), but nobody completes them
_WORDS_TRIED = 8  # of those that begin with an end, the most frequent; see `_completed`
_UNSPACED = re.compile(f"[{UNSPACED}]")


@dataclass(frozen=True)
class HalfTyped:
    """A chunk whose last word is half typed.

    Attributes:
        typed: the part of the chunk before the half-typed word, as it was typed.
        words: its words, in the corpus's own form; they are read before the half-typed word.
        prefix: the beginning of the half-typed word. It is empty if none is begun: then any word
            may follow.
        ids: of the words that begin with it, ascending. Empty if there is none, or if the prefix
            is empty.
        ignores_case: whether upper and lower case are taken as equal.
    """

    typed: str
    words: list[str]
    prefix: str
    ids: list[int]
    ignores_case: bool = False


def cut_half_typed(text: str) -> tuple[str, str]:
    """Cuts a text after its last white space: what is complete, and the chunk being typed."""
    chunks = text.rsplit(None, 1) if text and not text[-1].isspace() else []
    chunk = chunks[-1] if chunks else ""
    return text[: len(text) - len(chunk)], chunk


def find_half_typed(vocabulary: Vocabulary, chunk: str) -> HalfTyped:
    """Finds the half-typed word at the end of a chunk, and the words that it may become.

    Args:
        vocabulary: of the model.
        chunk: what was typed after the last white space; may be empty.

    Raises:
        InputError: the chunk has white space in it, or is not UTF-8.
    """
    if chunk.split() not in ([], [chunk]):
        raise InputError(
            f"the beginning of a word: found {chunk!r}, which has white space; give only what "
            "stands after the last white space"
        )
    check_text(chunk)
    if not chunk:
        return HalfTyped("", [], "", [])
    if vocabulary.recipe.separate_characters and _UNSPACED.match(chunk[-1]):
        return HalfTyped(chunk, vocabulary.split_text(chunk), "", [])  # a character is a word
    start = max(0, len(chunk) - MAX_PREFIX_LENGTH)
    for ignores_case in (False, True):
        for cut in range(start, len(chunk)):
            head, prefix = chunk[:cut], chunk[cut:]
            ids = _ids_beginning(vocabulary, prefix, ignores_case)
            words = _completed(vocabulary, head, ids)
            if words is not None:
                return HalfTyped(head, words, prefix, ids, ignores_case)
    *words, prefix = vocabulary.split_text(chunk) or [chunk]
    return HalfTyped(chunk.removesuffix(prefix), words, prefix, [])


def _ids_beginning(vocabulary: Vocabulary, prefix: str, ignores_case: bool) -> list[int]:
    """The words that begin with a typed prefix, in the corpus's own marks, else in natural ones."""
    spelled = [vocabulary.normalize(prefix)]
    if vocabulary.tokenization == "whitespace":
        natural = build_normalizer(replace(vocabulary.recipe, tokenization="words"))
        spelled.append(natural.normalize_str(prefix))
    found = (vocabulary.ids_beginning(some, any_case=ignores_case) for some in spelled if some)
    return next(filter(None, found), [])


def _completed(vocabulary: Vocabulary, head: str, ids: list[int]) -> list[str] | None:
    """The words of ``head`` if one of the words completes it, else None.

    Whether ``head`` and a word are read apart depends on the word's beginning, which all of them
    share. So a few of them are enough to try.
    """
    if not head:
        return [] if ids else None
    for number in islice(ids, _WORDS_TRIED):
        word = vocabulary.words[number]
        *words, last = vocabulary.split_text(head + vocabulary.display([word])) or [""]
        if last == word and words:
            return words
    return None
