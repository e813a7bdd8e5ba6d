"""What a story is made of: what kind it is, whom it is about, and what has been said so far."""

from __future__ import annotations

from dataclasses import dataclass

from lstm_lm.stories.lexicon import Row


@dataclass(frozen=True)
class Shape:
    """What kind of stories are told.

    Attributes:
        farthest: words between a clue and the return to it, about, at most; at least 8.
        returns: how often a story comes back to something, on average; at least 1.
        events: the chance that something new is taken up right after a clue or a return, in [0, 1).
        trade: weight of a trade in place of a country, whose weight is 3, where somebody is brought in.
        narrator: weight of stories that begin with where their narrator is from.
        person: likewise, with somebody else.
        two_people: of bringing in a second person, within a story.
        subject_change: of passing on to somebody else, who takes the first one's place.
        move: of somebody's moving to another country.
        kin: of a relative without a country, to whom a pronoun comes back.
        lost: of something lost, one or several, that is found.
        quotation: of a quotation or a bracket that is to be closed.
        lesson: of stories that are facts alone.
    """

    farthest: int = 250
    returns: float = 3.0
    events: float = 0.4
    trade: int = 1
    narrator: int = 6
    person: int = 4
    two_people: int = 4
    subject_change: int = 3
    move: int = 2
    kin: int = 2
    lost: int = 2
    quotation: int = 2
    lesson: int = 1


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
        farthest: as in `Shape`; it may be less early in a curriculum.
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
