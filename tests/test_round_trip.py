"""The law of the tokeniser: decoding an encoded text gives the normalised text.

`normalise` below repeats the rules of `tokenization.py` in plain Python, with Python's tables of
Unicode and without regular expressions.
"""

import sys
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lstm_lm.corpus.tokenization import TOKENIZATIONS
from lstm_lm.corpus.vocabulary import Vocabulary
from lstm_lm.corpus.word_rules import ABBREVIATIONS

STRAIGHT = (
    {c: "'" for c in "\u2018\u2019\u201a\u201b"}
    | {c: '"' for c in "\u201c\u201d\u201e\u201f"}
    | {"\u2010": "-", "\u2011": "-", "\u2026": "...", "\u00ad": "", "\ufeff": ""}
)
SHORT = [f"{form}." for short in ABBREVIATIONS for form in (short, short.lower(), short.upper())]
HALVES = ("s", "m", "d", "re", "ve", "ll")
# Every character that this Python knows (the tokeniser may know a later Unicode). Of the tens of
# thousands of ideographs, syllables and private characters, which are all alike, one in sixteen.
ALIKE = [
    range(0x3400, 0xA000),
    range(0xAC00, 0xD7A4),
    range(0xE000, 0xF900),
    range(0x17000, 0x1B000),
    range(0x20000, sys.maxunicode + 1),
]
ASSIGNED = [
    chr(code)
    for code in range(sys.maxunicode + 1)
    if unicodedata.category(chr(code)) not in ("Cs", "Cn")
    and (code % 16 == 0 or not any(code in alike for alike in ALIKE))
]


def is_letter(character):
    return unicodedata.category(character)[0] in "LMN" or character in "\u200c\u200d"


def is_digit(character):
    return unicodedata.category(character) == "Nd"


def ends(text, at):
    return at >= len(text) or not is_letter(text[at])


def begins_half(text, at):
    """Returns the length of the second half of a contraction, without its apostrophe; or 0."""
    return next(
        (
            len(half)
            for half in HALVES
            if text[at : at + len(half)].lower() == half
            and text[at : at + len(half)].isascii()
            and ends(text, at + len(half))
        ),
        0,
    )


def letters(chunk, at):
    """Returns where the letters at a place end; the n of n't is not one of them."""
    end = at
    while end < len(chunk) and is_letter(chunk[end]):
        end += 1
    if (
        end > at
        and chunk[end - 1] in "nN"
        and chunk[end : end + 2] in ("'t", "'T")
        and ends(chunk, end + 2)
    ):
        end -= 1
    return end


def first_word(chunk):
    if chunk.startswith("<unk>"):
        return "<unk>"
    for short in SHORT:
        if chunk.startswith(short) and ends(chunk, len(short)):
            return short
    pairs = 0
    while chunk[pairs + 1 : pairs + 2] == "." and unicodedata.category(chunk[pairs])[0] == "L":
        pairs += 2
    if pairs >= 4 and ends(chunk, pairs):
        return chunk[:pairs]
    if chunk[:3] in ("n't", "N't", "n'T", "N'T") and ends(chunk, 3):
        return chunk[:3]
    if chunk[0] == "'" and (length := begins_half(chunk, 1)):
        return chunk[: 1 + length]
    end = letters(chunk, 0)
    while 0 < end < len(chunk):
        between = is_digit(chunk[end - 1]) and end + 1 < len(chunk) and is_digit(chunk[end + 1])
        joins = (
            chunk[end] == "-"
            or (chunk[end] == "'" and not begins_half(chunk, end + 1))
            or (chunk[end] in ".," and between)
        )
        following = letters(chunk, end + 1) if joins else end + 1
        if following == end + 1:
            break
        end = following
    if end:
        return chunk[:end]
    if chunk.startswith(("...", "--")):
        return "..." if chunk[0] == "." else "--"
    end = 1
    while end < len(chunk):
        if unicodedata.category(chunk[end])[0] == "M" or "\U0001f3fb" <= chunk[end] <= "\U0001f3ff":
            end += 1
        elif chunk[end] == "\u200d" and end + 1 < len(chunk):
            end += 2
        else:
            break
    return chunk[:end]


def normalise(text, tokenization, lowercase):
    if lowercase:
        text = "".join(character.lower() for character in text)
    if tokenization == "whitespace":
        return " ".join("<unk>" if word == "<eos>" else word for word in text.split())
    words = []
    for chunk in "".join(STRAIGHT.get(c, c) for c in unicodedata.normalize("NFC", text)).split():
        while chunk:
            words.append(first_word(chunk))
            chunk = chunk[len(words[-1]) :]
    return " ".join(words)


def check(text, tokenization, lowercase):
    """Encodes and decodes a line of a corpus without unknown words, and the same as typed text."""
    vocabulary = Vocabulary.build(
        ["two words", text], tokenization=tokenization, lowercase=lowercase
    )
    [ids] = vocabulary.encode_lines([text])
    expected = normalise(text, tokenization, lowercase)
    assert vocabulary.decode(ids) == f"{expected} <eos>".lstrip()
    assert vocabulary.unk_id not in ids or "<unk>" in expected
    if tokenization == "words":
        assert vocabulary.decode(vocabulary.ids_of(vocabulary.split_text(text))) == expected


EVERYTHING = st.text(
    st.characters(exclude_categories=["Cs", "Cn", "Zl", "Zp"], exclude_characters="\n"), max_size=30
)
WORDLIKE = st.text(
    st.sampled_from("antsdreTNSv'’.,-…1½٣\u00ad\u0301é \t\u200dU<>👍🏽❤"), max_size=40
)
PIECES = st.lists(
    st.sampled_from(
        [
            "don't",
            "n't",
            "N'T",
            "'s",
            "'ll",
            "'re",
            "U.S.",
            "e.g.",
            "Mr.",
            "Ph.D.",
            "etc.",
            "3.14",
            "1,000",
            "well-known",
            "O'Brien",
            "...",
            "--",
            "-",
            "'",
            "<unk>",
            "<eos>",
            "a",
            "é",
            "\u200d",
            "\u0301",
            " ",
            "👍🏽",
            "x",
        ]
    ),
    max_size=12,
).map("".join)


@settings(max_examples=1000, deadline=None, derandomize=True, database=None)
@given(EVERYTHING | WORDLIKE | PIECES, st.sampled_from(TOKENIZATIONS), st.booleans())
def test_what_is_decoded_is_the_normalised_text(text, tokenization, lowercase):
    check(text, tokenization, lowercase)


@pytest.mark.parametrize("tokenization", TOKENIZATIONS)
def test_every_character_of_unicode(tokenization):
    """Each by itself, between letters and between digits."""
    assert len(ASSIGNED) > 30_000
    size = 5000
    for start in range(0, len(ASSIGNED), size):
        lines = [f"{c} n{c}n 1{c}2" for c in ASSIGNED[start : start + size] if c != "\n"]
        vocabulary = Vocabulary.build(["two words", *lines], tokenization=tokenization)
        for line, ids in zip(lines, vocabulary.encode_lines(lines), strict=True):
            expected = f"{normalise(line, tokenization, False)} <eos>"
            assert vocabulary.decode(ids) == expected, (line, ascii(line))


def test_unknown_words_are_said_to_be():
    vocabulary = Vocabulary.build(["two words don't"], tokenization="words")
    assert (
        vocabulary.decode(vocabulary.ids_of(vocabulary.split_text("Two words, don't…")))
        == "<unk> words <unk> do n't <unk>"
    )
