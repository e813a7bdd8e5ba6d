"""Converts between the way people type and the way a corpus spells it, word by word.

`spell_out` turns typed text into the words of a corpus that was tokenised by white space. The
habits of the corpus are read from its vocabulary (``do n't`` or ``don 't``, ``well-known`` or
``well @-@ known``). `display` goes the other way, for printing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain

from lstm_lm.corpus.readers import MAX_CHUNK_LENGTH, long_chunk_column
from lstm_lm.corpus.tokenization import Recipe, build_normalizer, build_pre_tokenizer
from lstm_lm.corpus.word_rules import (
    BEGINS_AFTER_ELISION,
    ELIDED,
    HAN_AND_KANA,
    UNSPACED,
)
from lstm_lm.errors import InputError

# Characters. All words of a typed text are in memory, about 60 bytes for each character.
MAX_TEXT_LENGTH = 2**24

_SENTENCE_MARKS = ".,!?;:"
# word of a corpus -> the mark inside a typed word that it stands for
MARKS_IN_WORDS = {"@-@": "-", "@,@": ",", "@.@": "."}
# word of a corpus -> the mark that is printed, without spaces on either side
_NO_SPACE_AROUND = MARKS_IN_WORDS | {mark: mark for mark in ("--", "—", "/", "་", "፡")}
_NO_SPACE_BEFORE = frozenset(
    (
        *(".", ",", "!", "?", ";", ":", ")", "]", "}", "%", "...", "''", "n't", "N'T"),
        *("،", "؛", "؟", "۔", "٪", "‰"),  # Arabic, Urdu
        *("।", "॥", "။", "၊", "។", "៕", "།", "།།"),  # India, Myanmar, Khmer, Tibet
        *("։", "՝", "።", "፣", "፤", "፥", "፧"),  # Armenian, Ethiopic
    )
)
_NO_SPACE_AFTER = frozenset(("(", "[", "{", "$", "£", "€", "¥", "₹", "``", "¿", "¡"))
# quote -> the quotes that it closes if one of them is open. German also writes »so«.
_QUOTES = {'"': ('"',), "'": ("'",), "»": ("«",), "«": ("»",), "›": ("‹",), "‹": ("›",)}
# Full width marks of Chinese and Japanese contain their own space.
_WIDE_MARK = re.compile(
    "[\u3001-\u3003\u3008-\u3011\u3014-\u301f\u30fb\uff01-\uff0f\uff1a-\uff20\uff3b-\uff40\uff5b-\uff65]"
)
_WIDE = re.compile(f"[{HAN_AND_KANA}]")
_UNSPACED = re.compile(f"[{UNSPACED}]")
_BEGINS_AFTER_ELISION = re.compile(f"[{BEGINS_AFTER_ELISION}]")
_NUMBER_MARK = re.compile(r"(?<=\d)([.,])(?=\d)")

_NATURAL = Recipe("words")


def check_text(text: str) -> None:
    """Refuses a typed text that cannot be split into words.

    Raises:
        InputError: it is not UTF-8, longer than `MAX_TEXT_LENGTH`, or has too many characters
            without white space.
    """
    if len(text) > MAX_TEXT_LENGTH:
        raise InputError(
            f"the text has {len(text):,} characters in one piece, of at most {MAX_TEXT_LENGTH:,}; "
            "split it into lines, or give it to `lstm-lm evaluate` with --file"
        )
    if column := long_chunk_column(text):
        raise InputError(
            f"the text has more than {MAX_CHUNK_LENGTH:,} characters without white space, from "
            f"column {column} on; check that this is text, and separate its words by spaces"
        )
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        found = f"U+{ord(text[error.start]):04X} at column {error.start + 1}"
        raise InputError(
            f"the text is not UTF-8 (found {found}); type it in a UTF-8 terminal, or convert it "
            "with iconv"
        ) from error


def spell_out(
    text: str, ids: Mapping[str, int], natural: Recipe = _NATURAL, *, more_follows: bool = False
) -> list[str]:
    """Splits typed text into words in the form that a corpus tokenised by white space has them.

    Each chunk of the text (what stands between white space) is handled by itself:

    1. A chunk in the vocabulary stays whole, so text that is already spelled out does not change.
    2. Exception to 1: a punctuation mark at the chunk's end is split off if it is more likely the
       sentence's. That is so if the vocabulary has the mark and also the rest, and the rest is the
       more frequent one: ``him.`` is split, ``No.`` is not. The initial in ``John F. Kennedy`` is
       never split.
    3. Any other chunk is split like natural text (see `tokenization`). Then each piece that the
       vocabulary does not have is changed to the form that it has: ``don 't`` for ``do n't``,
       ``well @-@ known``, ``1 @,@ 000``, ``3 @.@ 5``, ``O 'Brien``.

    Args:
        text: what was typed; line ends are white space.
        ids: word -> id; ids ascend as words get rarer.
        natural: how natural text is split; its case is kept.
        more_follows: whether the line goes on after the text. Only an initial at the text's end
            depends on it (rule 2).

    Returns:
        The words; some may be missing from `ids`.
    """
    return list(chain.from_iterable(spell_chunks(text, ids, natural, more_follows=more_follows)))


def spell_chunks(
    text: str, ids: Mapping[str, int], natural: Recipe = _NATURAL, *, more_follows: bool = False
) -> Iterator[list[str]]:
    """Yields the words of each chunk of a text; see `spell_out`."""
    chunks = text.split()
    for position, chunk in enumerate(chunks, 1):
        is_last = position == len(chunks) and not more_follows
        yield spell_chunk(chunk, ids, natural, is_last=is_last)


def natural_words(text: str, recipe: Recipe = _NATURAL) -> list[str]:
    """Splits natural text into words by a recipe; keeps case."""
    recipe = replace(recipe, lowercase=False)
    normalized = build_normalizer(recipe).normalize_str(text)
    return [word for word, _ in build_pre_tokenizer(recipe).pre_tokenize_str(normalized)]


def spell_chunk(chunk: str, ids: Mapping[str, int], natural: Recipe, is_last: bool) -> list[str]:
    """Spells out one chunk, as `spell_out` does; ``is_last``: whether the line ends after it."""
    pieces = natural_words(chunk, natural)
    if chunk in ids:
        if len(pieces) > 1 and _ends_sentence(chunk, ids, is_last):
            return [chunk[:-1], chunk[-1]]
        return [chunk]
    splits_n_t = "n't" not in ids and "'t" in ids  # don 't instead of do n't
    for at in range(1, len(pieces)):
        piece, before = pieces[at], pieces[at - 1]
        if splits_n_t and piece.lower() == "n't" and before[-1].isalnum():
            pieces[at - 1], pieces[at] = before + piece[0], piece[1:]
        elif piece == "-" and "@-@" in ids and at + 1 < len(pieces):
            pieces[at] = "@-@"
    return [word for piece in pieces for word in _known_form(piece, ids)]


def _ends_sentence(chunk: str, ids: Mapping[str, int], is_last: bool) -> bool:
    """Returns whether the mark at the end of a known chunk is more likely the sentence's."""
    rest, mark = chunk[:-1], chunk[-1]
    is_initial = len(rest) == 1 and mark == "." and rest.isupper() and rest != "I" and not is_last
    rest_is_more_frequent = rest in ids and ids[rest] < ids[chunk]
    return mark in _SENTENCE_MARKS and mark in ids and rest_is_more_frequent and not is_initial


def _known_form(piece: str, ids: Mapping[str, int]) -> Iterator[str]:
    """Yields a piece of natural text in the form that the vocabulary has."""
    hyphen = next((mark for mark in ("@-@", "-") if mark in ids), "")
    left, apostrophe, right = piece.partition("'")
    if piece in ids:
        yield piece
    elif hyphen and "-" in piece.strip("-"):
        for number, part in enumerate(piece.split("-")):
            if number:
                yield hyphen
            yield from _known_form(part, ids)
    elif "@,@" in ids and "@.@" in ids and _NUMBER_MARK.search(piece):
        yield from _NUMBER_MARK.sub(r" @\1@ ", piece).split()
    elif left and apostrophe and left in ids and apostrophe + right in ids:
        yield from (left, apostrophe + right)
    elif piece.endswith(".") and piece[:-1] in ids:
        yield from (piece[:-1], ".")
    else:
        yield piece


def display(words: Sequence[str], separate_characters: bool = False) -> str:
    """Joins words the way they are printed.

    - No space stands before closing marks and second halves of contractions, and none after opening
      brackets and elisions (``l' homme``).
    - Straight quotes and guillemets are paired: the first opens, the next closes.
    - WikiText's ``@-@``, ``@,@`` and ``@.@`` become ``-``, ``,`` and ``.`` again.
    - Full width marks (``，``) have no space on either side.
    - ``<eos>`` ends a line.

    Args:
        words: in the corpus's own form.
        separate_characters: whether scripts without spaces between words were split into
            characters. Then these are joined again, and in a line that is mostly Han or kana also
            words of other scripts are joined to them (``2024年``).
    """
    lines: list[list[str]] = [[]]
    for word in words:
        if word == "<eos>":
            lines.append([])
        else:
            lines[-1].append(word)
    return "\n".join(_display_line(line, separate_characters) for line in lines)


def _display_line(words: Sequence[str], separate_characters: bool) -> str:
    """Joins the words of one line."""
    joins_wide = separate_characters and _is_mostly_wide(words)
    text, before = "", ""
    tight = True  # no space before the next word
    open_quotes: set[str] = set()
    for word in words:
        opens = word in _NO_SPACE_AFTER
        closes = word in _NO_SPACE_BEFORE or (
            len(word) > 1 and word[0] == "'" and word[1].isalpha()
        )
        if word in _QUOTES:
            is_genitive = word == "'" and not tight and text.endswith("s")  # the boys' dog
            opened_by = open_quotes.intersection(_QUOTES[word])
            closes = bool(opened_by) or is_genitive
            opens = not closes
            if opens:
                open_quotes.add(word)
            else:
                open_quotes -= opened_by
        mark = _NO_SPACE_AROUND.get(word)
        joined = (
            tight
            or closes
            or mark
            or _is_elided(before, word)
            or _WIDE_MARK.match(before[-1])
            or _WIDE_MARK.match(word)
            or (separate_characters and _are_joined(before, word, joins_wide))
        )
        text += ("" if joined else " ") + (mark or word)
        tight = opens or mark is not None
        before = word
    return text


def _is_mostly_wide(words: Sequence[str]) -> bool:
    """Returns whether a line has at least as many characters of Han and kana as other words."""
    wide = sum(bool(_WIDE.match(word)) for word in words)
    return wide > 0 and 2 * wide >= sum(word[0].isalnum() for word in words)


def _are_joined(before: str, word: str, joins_wide: bool) -> bool:
    """Returns whether two words of a text that was split into characters have no space between."""
    if before[0] in "#@" or word[0] in "#@":
        return False  # without the space, a tag would be longer
    if _UNSPACED.match(before) and _UNSPACED.match(word):
        return True
    return joins_wide and bool(_WIDE.match(before) or _WIDE.match(word))


def _is_elided(before: str, word: str) -> bool:
    """Returns whether a word is an elision of the next one, such as ``l'`` of ``homme``."""
    is_elision = before[-1:] == "'" and before[:-1].lower() in ELIDED
    return is_elision and bool(_BEGINS_AFTER_ELISION.match(word))
