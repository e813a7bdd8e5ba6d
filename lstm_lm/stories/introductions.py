"""How the people of a story are introduced: who they are, and where they are from.

A person is named first ("Maria grew up in France."), or inside the sentence ("As a native of
France, Maria ..."), or by a role whose pronoun the sentence tells ("The nurse, a woman from France,
..."). The small world has the first way only.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace

from lstm_lm.config.settings import StoriesConfig
from lstm_lm.stories.grammar import Choices, Chooser, Option, weighted
from lstm_lm.stories.lexicon import Apart, Facts, Lexicon
from lstm_lm.stories.scene import Person, Scene
from lstm_lm.stories.worlds import WORLDS, World

NARRATOR_OR_NAME = Choices([Option("", True, 1), Option("", False, 3)])
# The ways of the wide world to introduce the narrator, and somebody else.
NARRATOR_FIRST = Choices([Option("", "name", 3), Option("", "inside", 2)])
PERSON_FIRST = Choices([Option("", "name", 3), Option("", "inside", 2), Option("", "role", 2)])
# What a story needs to know of a country.
COUNTRY_FACTS = ("country", "nationality", "language", "capital", "continent", "currency")
# For every name, one country in 15 is withheld: in stories, nobody of that name comes from there.
# Probes use such names and countries together.
COUNTRIES_WITHHELD_ONE_IN = 15


def country_of(facts: Facts) -> Facts | None:
    """Returns what is known of the country in some facts; None if they have no country."""
    if "country" not in facts:
        return None
    return {column: facts[column] for column in COUNTRY_FACTS if column in facts}


def after_clue(chooser: Chooser, scene: Scene) -> Scene:
    """Returns the scene after a clue or a return that has just been said."""
    return replace(scene, kind="story", clue_at=chooser.words, is_answered=False)


class Introductions:
    """Introduces people.

    Attributes:
        never_from: by name, the countries and nationalities that are withheld from it.
        apart: by word, the words that must not follow it in a sentence.
    """

    def __init__(
        self,
        lexicon: Lexicon,
        config: StoriesConfig,
        first: tuple[str, ...],
        excluded_cues: Mapping[str, Collection[str]],
    ) -> None:
        """See `Biography` for the arguments."""
        self._lexicon, self._trade = lexicon, config.trade
        self._is_wide = config.world == "wide"
        self._first = first
        self._excluded_cues = excluded_cues
        self.never_from = _withheld_countries(lexicon)
        self.apart = _words_apart(WORLDS[config.world], self.never_from) if self._is_wide else {}

    def free_pronouns(self, scene: Scene) -> tuple[str, ...]:
        """The pronouns that a new person can have."""
        if not scene.people:
            return self._first
        taken = [person.pronoun for person in scene.people]
        return tuple(pronoun for pronoun in ("he", "she") if pronoun not in taken)

    def narrator(self, chooser: Chooser, scene: Scene) -> Scene:
        """Introduces the narrator."""
        if self._is_wide and chooser.choose(NARRATOR_FIRST) == "inside":
            return self._introduce_inside(chooser, scene, "I")
        chooser.say("I")
        return self.introduce(chooser, scene, Person("I", "I"), "cue")

    def person(self, chooser: Chooser, scene: Scene) -> Scene:
        """Introduces somebody who is not the narrator."""
        way = chooser.choose(PERSON_FIRST) if self._is_wide else "name"
        if way == "name":
            return self.introduce(chooser, scene, self.choose_name(chooser, scene))
        pronoun = chooser.choose(weighted(*(("", it, 1) for it in self.free_pronouns(scene))))
        if way == "inside":
            return self._introduce_inside(chooser, scene, pronoun)
        chooser.say("The ")
        taken = {name.removeprefix("The ") for name in scene.named}
        trade = chooser.choose(self._lexicon.words["trade", False], taken)["trade"]
        return self.introduce(chooser, scene, Person(f"The {trade}", pronoun))

    def two_people(self, chooser: Chooser, scene: Scene) -> Scene:
        """Introduces one more person, who can be the narrator."""
        has_narrator = any(person.pronoun == "I" for person in scene.people)
        if not has_narrator and chooser.choose(NARRATOR_OR_NAME):
            return self.narrator(chooser, scene)
        return self.person(chooser, scene)

    def kin(self, chooser: Chooser, scene: Scene) -> Scene:
        """Introduces a relative of the narrator."""
        chooser.say("My ")
        row = chooser.choose(self._lexicon.people["kin", self.free_pronouns(scene)])
        person = Person(f"My {row['kin']}", row["pronoun"])
        return self.introduce(chooser, scene, person, "" if self._is_wide else "trade")

    def choose_name(self, chooser: Chooser, scene: Scene) -> Person:
        """Draws somebody by their first name, and says it."""
        row = chooser.choose(self._lexicon.people["name", self.free_pronouns(scene)], scene.named)
        return Person(row["name"], row["pronoun"])

    def introduce(self, chooser: Chooser, scene: Scene, person: Person, role: str = "") -> Scene:
        """Says where somebody just named is from, or what their trade is.

        Args:
            chooser: makes the choices.
            scene: before the sentence.
            person: whose name has been said.
            role: of the sentence; if empty, it is chosen.
        """
        if not role:
            role = chooser.choose(self._ways_to_introduce(person))
        sentence = chooser.choose(
            self._lexicon.sentences[role, person.pronoun], self._excluded(role, person.pronoun)
        )
        never_from = self.never_from.get(person.name, ())
        facts = self._lexicon.say_rest(chooser, sentence, excluded=never_from, apart=self.apart)
        return self._enter(chooser, scene, person, f"{role} {sentence.number}", facts)

    def _introduce_inside(self, chooser: Chooser, scene: Scene, pronoun: str) -> Scene:
        """Says where somebody is from in a sentence that names them inside."""
        role = "cue inside"
        sentence = chooser.choose(
            self._lexicon.sentences[role, pronoun], self._excluded(role, pronoun)
        )
        facts = self._lexicon.say_rest(chooser, sentence, excluded=scene.named, apart=self.apart)
        person = Person("I" if pronoun == "I" else facts["name"], pronoun)
        return self._enter(chooser, scene, person, f"{role} {sentence.number}", facts)

    def _ways_to_introduce(self, person: Person) -> Choices:
        """Choices of the role of the sentence that introduces somebody just named."""
        is_role = person.name.startswith("The ")
        can_be_apposed = self._is_wide and person.has_first_name
        trade = self._trade
        if is_role:
            return weighted(("", "apposition", 3), ("", "apposition trade", trade))
        return weighted(
            ("", "cue", 3), ("", "trade", trade), ("", "apposition", 1 if can_be_apposed else 0)
        )

    def _excluded(self, role: str, pronoun: str) -> Collection[str]:
        """The numbers of the sentences that do not introduce somebody of this pronoun."""
        return () if "trade" in role else self._excluded_cues.get(pronoun, ())

    @staticmethod
    def _enter(chooser: Chooser, scene: Scene, person: Person, clue: str, facts: Facts) -> Scene:
        """Adds a person who has just been introduced to the scene."""
        person = replace(person, origin=country_of(facts), clue=clue)
        scene = replace(scene, people=(*scene.people, person), named=scene.named | {person.name})
        return after_clue(chooser, scene)


def _withheld_countries(lexicon: Lexicon) -> dict[str, frozenset[str]]:
    """By name, the countries and nationalities that stories never use with it; none for "I"."""
    countries = [option.value for option in lexicon.words["country", False].options]
    names = [option.value["name"] for option in lexicon.people["name", ("he", "she")].options]
    withheld = {"I": frozenset[str]()}
    for number, name in enumerate(names):
        some = countries[-number % COUNTRIES_WITHHELD_ONE_IN :: COUNTRIES_WITHHELD_ONE_IN]
        withheld[name] = frozenset(row[key] for row in some for key in ("country", "nationality"))
    return withheld


def _words_apart(world: World, never_from: Mapping[str, frozenset[str]]) -> Apart:
    """By word, the words that never follow it in a sentence.

    No country or nationality is followed by a name from which it is withheld.
    """
    apart: dict[str, set[str]] = {}
    for firsts, seconds in world.words:
        for word in firsts:
            apart.setdefault(word, set()).update(seconds)
    for name, countries in never_from.items():
        for word in countries:
            apart.setdefault(word, set()).add(name)
    return {word: frozenset(others) for word, others in apart.items()}
