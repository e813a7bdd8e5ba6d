"""Predictions of SyntaxGym: formulas over the surprisals of regions.

``((6;%plural%) < (6;%singular%)) & ([(7;%plural%) + (8;%plural%)] < (8;%singular%))``

``(6;%plural%)`` is the surprisal of region 6 in the condition ``plural``, summed over its words;
``(*;%plural%)`` is that of the whole sentence. ``+`` and ``-`` come before ``<``, ``>`` and ``=``
(equal within a tolerance), and these before ``&`` and ``|``. Round and square brackets group.

Source: Gauthier et al. 2020, SyntaxGym, https://aclanthology.org/2020.acl-demos.10
"""

from __future__ import annotations

import operator
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

SUPPORTED = "it can have regions such as (6;%condition%), numbers, + - < > = & | and brackets"
WHOLE_SENTENCE = "*"

_TOKEN = re.compile(
    r"\(\s*(?P<region>\d+|\*)\s*;\s*%(?P<condition>[^%]+)%\s*\)"
    r"|(?P<number>\d+(?:\.\d+)?)|(?P<mark>[-+<>=&|()\[\]])"
)
_LEVELS = ("&|", "<>=", "+-")  # what binds least comes first
# Differences of surprisals that count as none; those of SyntaxGym.
RELATIVE_TOLERANCE, ABSOLUTE_TOLERANCE = 1e-5, 1e-3
_CLOSING = {"(": ")", "[": "]"}


def _nearly_equal(left: float, right: float) -> bool:
    return abs(left - right) <= ABSOLUTE_TOLERANCE + RELATIVE_TOLERANCE * abs(right)


_OPERATIONS = {
    "&": operator.and_,
    "|": operator.or_,
    "<": operator.lt,
    ">": operator.gt,
    "=": _nearly_equal,
    "+": operator.add,
    "-": operator.sub,
}


@dataclass(frozen=True)
class Term:
    """The surprisal of a region in one condition.

    Attributes:
        region: its number as it is written, or ``*`` for the whole sentence.
        condition: the condition's name.
    """

    region: str
    condition: str


@dataclass(frozen=True)
class _Operation:
    """An operator between two parts of a formula."""

    mark: str
    left: _Node
    right: _Node


_Node = Term | float | _Operation


@dataclass(frozen=True)
class Formula:
    """A formula that holds or does not hold.

    Attributes:
        text: as it was written.
        terms: the regions that it compares.
        is_one_comparison: whether it is a single ``<`` or ``>``; its level of chance is one half.
    """

    text: str
    terms: frozenset[Term]
    is_one_comparison: bool
    _root: _Operation

    def holds(self, surprisals: Mapping[Term, float]) -> bool:
        """Returns whether it holds, given the surprisal of each of its terms."""
        return bool(_value(self._root, surprisals))


def _value(node: _Node, surprisals: Mapping[Term, float]) -> Any:
    if isinstance(node, Term):
        return surprisals[node]
    if isinstance(node, _Operation):
        left, right = _value(node.left, surprisals), _value(node.right, surprisals)
        return _OPERATIONS[node.mark](left, right)
    return node


def parse_formula(text: str) -> Formula:
    """Reads a formula.

    Raises:
        ValueError: it is not understood; the message says where.
    """
    parser = _Parser(text)
    try:
        root = parser.parse()
    except RecursionError:
        raise ValueError("has too many brackets inside brackets") from None
    return Formula(text, frozenset(parser.terms), parser.comparisons in ("<", ">"), root)


class _Parser:
    """Reads one formula from left to right."""

    def __init__(self, text: str) -> None:
        self._text, self._at = text, 0
        self.terms: set[Term] = set()
        self.comparisons = ""  # all its operators < > =

    def parse(self) -> _Operation:
        """The whole formula."""
        root = self._parse_level(0)
        self._skip_space()
        if self._at < len(self._text):
            raise self._not_understood()
        if not _is_truth(root):
            raise ValueError(f"compares nothing with <, > or =; {SUPPORTED}")
        assert isinstance(root, _Operation)
        return root

    def _parse_level(self, level: int) -> _Node:
        """Parts of the next level with operators of this level between them."""
        if level == len(_LEVELS):
            return self._parse_part()
        left = self._parse_level(level + 1)
        while (mark := self._peek()) and mark in _LEVELS[level]:
            place = self._at
            self._at += 1
            right = self._parse_level(level + 1)
            joins_truths = mark in "&|"
            if not _is_truth(left) == _is_truth(right) == joins_truths:
                self._at = place
                raise self._not_understood()
            self.comparisons += mark if mark in "<>=" else ""
            left = _Operation(mark, left, right)
        return left

    def _parse_part(self) -> _Node:
        """A region, a number, or a formula in brackets."""
        self._skip_space()
        found = _TOKEN.match(self._text, self._at)
        if not found:
            raise self._not_understood()
        if found["region"]:
            self._at = found.end()
            term = Term(found["region"], found["condition"].strip())
            self.terms.add(term)
            return term
        if found["number"]:
            self._at = found.end()
            return float(found["number"])
        if found["mark"] not in _CLOSING:
            raise self._not_understood()
        self._at += 1
        inner = self._parse_level(0)
        if self._peek() != _CLOSING[found["mark"]]:
            raise self._not_understood()
        self._at += 1
        return inner

    def _peek(self) -> str:
        """The next character that is not white space; empty at the end."""
        self._skip_space()
        return self._text[self._at : self._at + 1]

    def _skip_space(self) -> None:
        while self._text[self._at : self._at + 1].isspace():
            self._at += 1

    def _not_understood(self) -> ValueError:
        rest = self._text[self._at :]
        where = f"at {rest[:30]!r}" if rest else "at its end"
        return ValueError(f"is not understood {where}; {SUPPORTED}")


def _is_truth(node: _Node) -> bool:
    """Whether a part of a formula holds or does not hold; otherwise it is a number."""
    return isinstance(node, _Operation) and node.mark in "&|<>="
