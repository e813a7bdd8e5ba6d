"""The state of a story: who is in it, and what has been said that later sentences depend on."""

from __future__ import annotations

from dataclasses import dataclass

from lstm_lm.stories.lexicon import Facts


@dataclass(frozen=True)
class Person:
    """Somebody whom a pronoun can refer to.

    Attributes:
        name: the subject of a sentence about them: a first name, ``My mother``, ``The nurse`` or
            ``I``.
        pronoun: ``I``, ``he`` or ``she``.
        origin: country, language, capital and so on, if the story names their country.
        clue: the sentence that introduced them, by role and number, such as ``cue 0``.
        home: the same facts about the country that they moved to, if they moved.
        home_clue: the sentence that said so, such as ``move 0``.
    """

    name: str
    pronoun: str
    origin: Facts | None = None
    clue: str = ""
    home: Facts | None = None
    home_clue: str = ""

    @property
    def has_first_name(self) -> bool:
        """Whether they are known by a first name, not as a relative or by a role."""
        return not self.name.startswith(("My ", "The "))

    @property
    def name_inside(self) -> str:
        """The name inside a sentence, such as ``my mother``."""
        return self.name if self.has_first_name else self.name[0].lower() + self.name[1:]


@dataclass(frozen=True)
class Memo:
    """Something that was said once and can be said again.

    Attributes:
        topic: what it is, such as ``ship``.
        facts: the words that were said, by column.
    """

    topic: str
    facts: Facts


@dataclass(frozen=True)
class Scene:
    """Everything that the next sentence can depend on.

    Attributes:
        farthest: as in `StoriesConfig`; smaller at the beginning of a curriculum.
        kind: empty before the first sentence, then ``story`` or ``lesson``.
        people: whom a pronoun can refer to, at most one person per pronoun.
        named: everybody who was named so far. Nobody is introduced twice.
        lost: ``it`` or ``them`` while something is lost, otherwise empty.
        lost_clue: the sentence that said so, by role and number, such as ``lose 0``.
        memos: what was said once and can be said again, at most one of each topic.
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
    lost_clue: str = ""
    memos: tuple[Memo, ...] = ()
    closing: str = ""
    opened_at: int = 0
    clue_at: int = 0
    is_answered: bool = False
