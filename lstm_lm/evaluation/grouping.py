"""Which words of a line are one row of a table: one each, those typed as one word, or regions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from lstm_lm.corpus.alignment import PlacedWord


@dataclass(frozen=True)
class Group:
    """Words of a line that are one row.

    Attributes:
        text: what the row shows.
        start: where it begins in the line, in characters from 0.
        end: the character after it.
        members: the positions of its words in the line, ascending without gaps; may be empty for a
            region.
    """

    text: str
    start: int
    end: int
    members: tuple[int, ...]


def by_token(words: Sequence[PlacedWord]) -> list[Group]:
    """Every word is a row."""
    return [Group(word.word, word.start, word.end, (at,)) for at, word in enumerate(words)]


def by_typed_word(words: Sequence[PlacedWord], text: str, *, joins_marks: bool) -> list[Group]:
    """What was typed without white space is a row: ``do`` and ``n't`` are ``don't``.

    Args:
        words: of the line.
        text: the line.
        joins_marks: whether punctuation at the beginning and end of a word belongs to it; if not,
            each mark is a row.
    """
    groups = []
    for _, chunk in groupby(range(len(words)), key=lambda at: words[at].chunk):
        members = list(chunk)
        if joins_marks:
            groups.append(_joined(words, members, text))
            continue
        inner = [at for at in members if any(map(str.isalnum, words[at].word))]
        first, last = (inner[0], inner[-1]) if inner else (members[-1] + 1, members[-1])
        groups += [_joined(words, [at], text) for at in members if at < first]
        if inner:
            groups.append(_joined(words, list(range(first, last + 1)), text))
            groups += [_joined(words, [at], text) for at in members if at > last]
    return groups


def by_region(words: Sequence[PlacedWord], text: str, sign: str) -> list[Group]:
    """What stands between two signs is a row.

    Args:
        words: of the line, in which the signs were replaced by as many spaces.
        text: the line with its signs.
        sign: stands between two regions.
    """
    groups, start = [], 0
    for part in text.split(sign):
        inside = part.strip()
        low = start + len(part) - len(part.lstrip())
        end = start + len(part)
        members = [at for at, word in enumerate(words) if start <= word.start < end]
        groups.append(Group(inside, low, low + len(inside), tuple(members)))
        start = end + len(sign)
    return groups


def _joined(words: Sequence[PlacedWord], members: Sequence[int], text: str) -> Group:
    start = min(words[at].start for at in members)
    end = max(words[at].end for at in members)
    return Group(text[start:end], start, end, tuple(members))
