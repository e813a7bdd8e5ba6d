"""The state of a story: who is in it, and what has been said that later sentences depend on."""

from __future__ import annotations

from dataclasses import dataclass

from lstm_lm.stories.lexicon import Facts


@dataclass(frozen=True)
class Person:
    """Somebody whom a pronoun can refer to.

    Attributes:
        name: the subject of a sentence about them: a first name, ``My mother``, or ``I``.
        pronoun: ``I``, ``he`` or ``she``.
        origin: country, language, capital and nationality, if the story names their country.
        cue: the number of the sentence that named it.
        home: the same facts about the country that they moved to, if they moved.
    """

    name: str
    pronoun: str
    origin: Facts | None = None
    cue: int = 0
    home: Facts | None = None


@dataclass(frozen=True)
class Scene:
    """Everything that the next sentence can depend on.

    Attributes:
        farthest: as in `StoriesConfig`; smaller at the beginning of a curriculum.
        kind: empty before the first sentence, then ``story`` or ``lesson``.
        people: whom a pronoun can refer to, at most one person per pronoun.
        named: everybody who was named so far. Nobody is introduced twice.
        lost: ``it`` or ``them`` while something is lost, otherwise empty.
        closing: the mark that closes the open quotation or bracket, otherwise empty.
        opened_at: number of words said when it was opened.
        clue_at: number of words said after the last clue or return.
        is_answered: whether the last sentence was a return.
    """

    farthest: int
    kind: str = ""
    people: tuple[Person, ...] = ()
    named: frozenset[str] = frozenset()
    lost: str = ""
    closing: str = ""
    opened_at: int = 0
    clue_at: int = 0
    is_answered: bool = False
