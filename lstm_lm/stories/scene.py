"""What a story is made of: what kind it is, whom it is about, and what has been said so far."""

from __future__ import annotations

from dataclasses import dataclass

from lstm_lm.stories.lexicon import Row


@dataclass(frozen=True)
class Person:
    """Somebody a pronoun can mean.

    Attributes:
        name: the subject of a sentence about them: a first name, ``My mother``, or ``I``.
        pronoun: ``I``, ``he`` or ``she``.
        origin: country, language, capital, nationality, if the story says where they are from.
        cue: the number of the sentence that said so.
        home: the same of the country they moved to, if they did.
    """

    name: str
    pronoun: str
    origin: Row | None = None
    cue: int = 0
    home: Row | None = None


@dataclass(frozen=True)
class Scene:
    """What the story so far leaves behind for its next sentence.

    Attributes:
        farthest: as in `StoriesConfig`; it may be less early in a curriculum.
        kind: empty before the first sentence; then ``story`` or ``lesson``.
        people: whom a pronoun can mean, one of each at most.
        named: everybody who was named so far; whoever was let go does not come back.
        lost: ``it`` or ``them`` while something is lost.
        closing: the mark that closes what has been opened.
        opened_at: how many words had been said then.
        clue_at: how many words had been said after the last clue or return.
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
