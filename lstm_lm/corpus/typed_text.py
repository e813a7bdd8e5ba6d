"""Between the way a person types English and the way a corpus spells it out word by word.

`spell_out` turns typed text into the words of a white-space-tokenised corpus, whose habits are read off its vocabulary
(``do n't`` or ``don 't``, ``well-known`` or ``well @-@ known``); `display` goes the other way, for printing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from lstm_lm.corpus.readers import LONGEST_WORD, unbroken_column
from lstm_lm.corpus.tokenization import build_normalizer, build_pre_tokenizer
from lstm_lm.errors import InputError

LONGEST_TEXT = (
    2**24
)  # characters; its words are all held at once, which needs some 60 bytes a character

_SENTENCE_MARKS = ".,!?;:"
_STUCK_TO_BOTH = {"@-@": "-", "@,@": ",", "@.@": ".", "--": "--", "—": "—", "/": "/"}
_STUCK_TO_LEFT = frozenset(
    (".", ",", "!", "?", ";", ":", ")", "]", "}", "%", "...", "''", "n't", "N'T")
)
_STUCK_TO_RIGHT = frozenset(("(", "[", "{", "$", "£", "€", "``"))
_NUMBER_MARK = re.compile(r"(?<=\d)([.,])(?=\d)")

_normalizer = build_normalizer("words", lowercase=False)
_pre_tokenizer = build_pre_tokenizer("words")


def must_be_readable(text: str) -> None:
    """Refuses a typed text, or a line of a text to be scored, that cannot be taken apart into words.

    Raises:
        InputError: it is not UTF-8, longer than `LONGEST_TEXT`, or has no white space where words should end.
    """
    if len(text) > LONGEST_TEXT:
        raise InputError(
            f"the text has {len(text):,} characters in one piece, of at most {LONGEST_TEXT:,}; set its "
            "lines apart, or give it to `lstm-lm evaluate` as a --file"
        )
    if column := unbroken_column(text):
        raise InputError(
            f"the text has more than {LONGEST_WORD:,} characters without white space, from column "
            f"{column} on; is it text? If so, set its words apart by spaces"
        )
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        found = f"U+{ord(text[error.start]):04X} at column {error.start + 1}"
        raise InputError(
            f"the text is not UTF-8 (found {found}); type it in a UTF-8 terminal, or convert it with "
            "iconv"
        ) from error


def spell_out(text: str, ids: Mapping[str, int]) -> list[str]:
    """Takes typed text apart into words as the corpus behind a vocabulary writes them.

    A chunk between white space that the vocabulary knows stays whole, so text that is spelled out already comes through
    unchanged. It is taken apart nevertheless where a mark at its end is more likely a sentence's: when the vocabulary
    has the rest and the mark too, and met the rest more often than the chunk (``him.`` goes, ``No.`` stays; so do
    abbreviations, and the initial in ``John F. Kennedy``). Every other chunk is taken apart like natural text (see
    `tokenization`), and each piece the vocabulary does not have is given the form that it has: ``don 't`` for
    ``do n't``, ``well @-@ known``, ``1 @,@ 000``, ``3 @.@ 5``, ``O 'Brien``.

    Args:
        text: what was typed; line ends are white space.
        ids: word -> id; ids ascend as words get rarer.

    Returns:
        The words; those that `ids` lacks are for the caller to call unknown.
    """
    chunks = text.split()
    return [
        word
        for at, chunk in enumerate(chunks, 1)
        for word in _spell_chunk(chunk, ids, last=at == len(chunks))
    ]


def natural_words(text: str) -> list[str]:
    """Takes natural text apart as described in `tokenization` under ``words``, its case kept."""
    return [word for word, _ in _pre_tokenizer.pre_tokenize_str(_normalizer.normalize_str(text))]


def _spell_chunk(chunk: str, ids: Mapping[str, int], last: bool) -> list[str]:
    stem, mark = chunk[:-1], chunk[-1]
    pieces = natural_words(chunk)
    if chunk in ids:
        initial = len(chunk) == 2 and mark == "." and stem.isupper() and stem != "I" and not last
        rarer = mark in _SENTENCE_MARKS and mark in ids and ids.get(stem, len(ids)) < ids[chunk]
        return [stem, mark] if rarer and not initial and len(pieces) > 1 else [chunk]
    for at in range(1, len(pieces)):
        if (
            pieces[at].lower() == "n't"
            and pieces[at - 1][-1].isalnum()
            and "n't" not in ids
            and "'t" in ids
        ):
            pieces[at - 1], pieces[at] = pieces[at - 1] + pieces[at][0], pieces[at][1:]
        elif pieces[at] == "-" and "@-@" in ids and at + 1 < len(pieces):
            pieces[at] = "@-@"
    return [word for piece in pieces for word in _known_form(piece, ids)]


def _known_form(piece: str, ids: Mapping[str, int]) -> Iterator[str]:
    """Yields a piece of natural text as the vocabulary's corpus would have it."""
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


def display(words: Sequence[str]) -> str:
    """Joins words the way one prints English.

    No space before closing marks and second halves of contractions, none after opening brackets; straight quotes are
    paired, first opening, then closing; WikiText's ``@-@``, ``@,@`` and ``@.@`` are marks again; ``<eos>`` ends a line.
    """
    text = ""
    tight = True  # nothing may stand between the text so far and the next word
    open_quotes: set[str] = set()
    for word in words:
        if word == "<eos>":
            text, tight, open_quotes = text + "\n", True, set()
            continue
        opens = word in _STUCK_TO_RIGHT
        closes = word in _STUCK_TO_LEFT or (len(word) > 1 and word[0] == "'" and word[1].isalpha())
        if word == '"' or word == "'":
            closes = word in open_quotes or (word == "'" and not tight and text.endswith("s"))
            opens = not closes
            open_quotes ^= {word} if opens or word in open_quotes else set()
        mark = _STUCK_TO_BOTH.get(word)
        text += ("" if tight or closes or mark else " ") + (mark or word)
        tight = opens or mark is not None
    return text
