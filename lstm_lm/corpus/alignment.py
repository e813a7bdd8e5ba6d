"""Where each word of a line stands in the text as it was typed."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from tokenizers import Regex, Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Split

from lstm_lm.corpus.file_reading import tokenised_words
from lstm_lm.corpus.tokenization import Recipe, build_normalizer
from lstm_lm.corpus.typed_text import MARKS_IN_WORDS
from lstm_lm.corpus.vocabulary import Vocabulary

_CHUNK = re.compile(r"\S+")


@dataclass(frozen=True)
class PlacedWord:
    """A word of a typed text.

    Attributes:
        word: in the corpus's own form.
        start: where it begins in the text, in characters from 0.
        end: the character after it.
        chunk: the number of the chunk (what stands between white space) that it is from.
    """

    word: str
    start: int
    end: int
    chunk: int


def place_words(text: str, vocabulary: Vocabulary, tokenised: bool = False) -> list[PlacedWord]:
    """Splits a line into words, as `Vocabulary.split_text` does, and finds each in the text.

    A word whose letters cannot be found one by one gets the place of its whole chunk.

    Args:
        text: a line.
        vocabulary: decides what a word is.
        tokenised: whether the line is tokenised as the model's corpus was.

    Raises:
        InputError: the text is too long, or not UTF-8.
    """
    chunks = [(found.start(), found[0]) for found in _CHUNK.finditer(text)]
    if tokenised:
        words = [[word] for word in tokenised_words(text, vocabulary)]
    else:
        words = vocabulary.split_chunks(text)
    return [
        PlacedWord(word, start + low, start + high, number)
        for number, ((start, chunk), pieces) in enumerate(zip(chunks, words, strict=True))
        for word, (low, high) in zip(pieces, _place(chunk, pieces, vocabulary.recipe), strict=True)
    ]


def _place(chunk: str, pieces: Sequence[str], recipe: Recipe) -> list[tuple[int, int]]:
    """Returns where the words of a chunk stand in it."""
    if len(pieces) == 1:
        return [(0, len(chunk))]
    letters = [(letter, place, place + 1) for place, letter in enumerate(chunk)]
    if (found := _match(letters, pieces)) is not None:
        return found
    for tokenization in (recipe.tokenization, "words"):
        encoding = _letters_of(replace(recipe, tokenization=tokenization)).encode(chunk)
        normalized = zip(_normalize(recipe, tokenization, chunk), encoding.offsets, strict=True)
        letters = [(letter, low, high) for letter, (low, high) in normalized]
        if (found := _match(letters, pieces)) is not None:
            return found
    return [(0, len(chunk))] * len(pieces)


def _normalize(recipe: Recipe, tokenization: str, chunk: str) -> str:
    return build_normalizer(replace(recipe, tokenization=tokenization)).normalize_str(chunk)


@lru_cache(maxsize=64)
def _letters_of(recipe: Recipe) -> Tokenizer:
    """A tokenizer of single characters: it knows from where each normalised one comes."""
    tokenizer = Tokenizer(WordLevel({"?": 0}, unk_token="?"))
    tokenizer.normalizer = build_normalizer(recipe)
    tokenizer.pre_tokenizer = Split(Regex(r"[\s\S]"), behavior="isolated")
    return tokenizer


def _match(
    letters: Sequence[tuple[str, int, int]], pieces: Sequence[str]
) -> list[tuple[int, int]] | None:
    """Finds pieces one after the other in letters; None if they are not all of the letters.

    Args:
        letters: each with its place.
        pieces: words; a mark such as ``@-@`` may stand for ``-``.
    """
    text = "".join(letter for letter, _, _ in letters)
    assert len(text) == len(letters)
    at, found = 0, []
    for piece in pieces:
        while at < len(text) and text[at].isspace():
            at += 1
        here = piece if text.startswith(piece, at) else MARKS_IN_WORDS.get(piece, piece)
        if not text.startswith(here, at):
            return None
        end = at + len(here)
        found.append((letters[at][1], letters[end - 1][2]))
        at = end
    return found if not text[at:].strip() else None
