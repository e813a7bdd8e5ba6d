"""The questions of a probe suite."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from lstm_lm.probes.formula import Formula


@dataclass(frozen=True)
class RegionQuestion:
    """A question of SyntaxGym: does a formula over the regions of several sentences hold?

    Attributes:
        formula: the prediction.
        sentences: condition -> number of each region -> its text, in the sentence's order.
    """

    formula: Formula
    sentences: Mapping[str, Mapping[str, str]]


@dataclass(frozen=True)
class Item:
    """One question.

    Attributes:
        id: its name, unique in its suite.
        prefix: the text that is read first, at least one word; empty if target and foil are whole
            sentences, or if regions are compared.
        target: the right next word, or the better sentence; or the formula, if regions are
            compared.
        foil: a wrong next word, or the other sentence; empty if there is none.
        distance: words between the cue and the target, or None.
        group: what kind of question it is; may be empty.
        pair: the name of its pair: items which count as right only together. Empty if it has none.
        line: its line in the file, from 1; 0 in a file that is not read by lines.
        problem: the mistake because of which it cannot be asked; empty if it can. Then the other
            attributes may be empty.
        regions: what is compared, if it is a question of SyntaxGym.
        clue: the beginning of the prefix, behind which other text can be set; empty if none can.
        question: the end of the prefix, before which other text can be set; may be empty.
        fillers: words in the vocabulary's own form which are read between `clue` and `question`;
            empty if the prefix is read as it is. If there are any, the prefix is only for people.
    """

    id: str
    prefix: str
    target: str
    foil: str = ""
    distance: int | None = None
    group: str = ""
    pair: str = ""
    line: int = 0
    problem: str = ""
    regions: RegionQuestion | None = None
    clue: str = ""
    question: str = ""
    fillers: tuple[str, ...] = ()

    @property
    def is_sentence_pair(self) -> bool:
        """Whether target and foil are whole sentences."""
        return not self.prefix and self.regions is None

    @property
    def place(self) -> str:
        """Where it is in its file, such as ``line 7``."""
        return f"line {self.line}" if self.line else f"item {self.id}"
