"""How a life story is told: sentence by sentence, each chosen by what the story has said so far.

Words used here:

======  ==========================================================================================
clue    a sentence that a later sentence depends on, such as "I lost the keys."
return  a sentence that depends on a clue: "Today I found them."
cue     a clue that names a country: "I grew up in France."
answer  its return: "I speak fluent French."
filler  a sentence that says nothing about any clue
======  ==========================================================================================

At every full stop the story ends, or begins something new (an event), or returns to a clue, or says
a filler. The chance of a return depends on the number of words since the last clue, so that
distances are spread evenly on a logarithmic scale: as many between 4 and 16 words as between 16
and 64.

`Biography.tell` is a story program of `grammar`. Its texts are unambiguous: every story can be told
in exactly one way.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Collection, Mapping
from dataclasses import replace

from lstm_lm.config.settings import OPENINGS, StoriesConfig
from lstm_lm.stories.grammar import Choices, Chooser, Option
from lstm_lm.stories.lexicon import NO_FACTS, Facts, Lexicon
from lstm_lm.stories.scene import Person, Scene

# Words in a sentence, about: the step in which distances are counted.
SENTENCE_WORDS = 10
# The chance, in thousandths, of an event at a full stop that does not follow a clue or a return.
LATER_EVENT_CHANCE = 20

# When nobody is in the story and nothing is lost: the story ends, or somebody is introduced.
NOTHING_LEFT = Choices([Option("\n", "end", 3), Option(" ", "person", 1)])
AFTER_A_LESSON = Choices([Option("\n", "end", 1), Option(" ", "lesson", 4)])
OPENING_MARKS = Choices([Option(' "', '"'), Option(" (", ")")])  # the value closes it
NARRATOR_OR_NAME = Choices([Option("I", True, 1), Option("", False, 3)])
RETURN_WEIGHTS = {"answer": 3, "moved": 2, "about": 2, "find": 2}

# Cue -> answer, both by their number in their role. Stories never use the two together: only probes
# do. So a model cannot answer a probe by repeating a story.
NEVER_TOGETHER = {0: "0", 1: "2", 2: "4", 3: "3"}
# For every name, one country in 15 is withheld: in stories, nobody of that name comes from there.
# Probes use such names and countries together.
COUNTRIES_WITHHELD_ONE_IN = 15


def return_chance(passed: int, farthest: int) -> int:
    """Returns the chance of a return at this full stop, if there was none before.

    Distances from 0 to `farthest` are to be spread evenly on the scale ``log(1 + distance)``. The
    chance is the length of the next sentence on this scale, divided by the length that is left.

    Args:
        passed: words since the clue.
        farthest: words between a clue and its return at most, about.

    Returns:
        The chance in thousandths, from 1 to 1000.
    """
    left = math.log((1 + farthest) / (1 + passed)) if passed < farthest else 0.0
    step = math.log(1 + SENTENCE_WORDS / (1 + passed))
    return 1000 if step >= left else max(1, round(1000 * step / left))


@functools.lru_cache(maxsize=2**14)
def _weighted(*options: tuple[str, object, int]) -> Choices:
    """Makes choices of (text, value, weight); those of weight 0 are left out."""
    return Choices(Option(text, value, weight) for text, value, weight in options if weight)


def _can_meet(person: Person) -> bool:
    """Whether a story can say how they met somebody: relatives are never met in that way."""
    return not person.name.startswith("My ")


def _can_move(person: Person) -> bool:
    return bool(person.origin and not person.home)


def _after_clue(chooser: Chooser, scene: Scene) -> Scene:
    return replace(scene, kind="story", clue_at=chooser.words, is_answered=False)


class Biography:
    """The story program.

    Attributes:
        lexicon: the words and sentences.
        config: what kind of stories.
        never_from: by name, the countries and nationalities that are withheld from it.
    """

    def __init__(
        self,
        lexicon: Lexicon,
        config: StoriesConfig | None = None,
        first: tuple[str, ...] = ("he", "she"),
        excluded_cues: Mapping[str, Collection[str]] | None = None,
    ) -> None:
        """Prepares the program.

        Args:
            lexicon: the words and sentences.
            config: what kind of stories; the default of `StoriesConfig` if None.
            first: the pronouns that a person can have while nobody else is in the story.
            excluded_cues: by pronoun, the numbers of the cues that are not used for such a person.
        """
        self.lexicon = lexicon
        self.config = config or StoriesConfig()
        self.never_from = _withheld_countries(lexicon)
        self._first = first
        self._excluded_cues = excluded_cues or {}
        # As many people can be named in a story as there are names of either pronoun.
        self._max_named = min(
            len(lexicon.people["name", (pronoun,)].options) for pronoun in ("he", "she")
        )
        self._tell_step = {
            "narrator": self._narrator,
            "person": self._person,
            "two_people": self._two_people,
            "kin": self._kin,
            "subject_change": self._subject_change,
            "move": self._move,
            "lost": self._lost,
            "quotation": self._quotation,
            "close": self._close,
            "lesson": self._lesson,
            "filler": self._filler,
            "return": self._return,
        }

    def tell(self, chooser: Chooser, scene: Scene) -> Scene | None:
        """Says the next sentence, or ends the line.

        Args:
            chooser: makes the choices.
            scene: before the sentence; ``Scene(farthest)`` before the first.

        Returns:
            The scene after it; None when the story is over.
        """
        step = chooser.choose(self._next_steps(chooser, scene))
        return None if step == "end" else self._tell_step[step](chooser, scene)

    # --- what comes next --------------------------------------------------------------------------

    def _next_steps(self, chooser: Chooser, scene: Scene) -> Choices:
        if not scene.kind:
            return _weighted(*(("", name, getattr(self.config, name)) for name in OPENINGS))
        if scene.kind == "lesson":
            return AFTER_A_LESSON
        if scene.closing:
            return self._steps_inside_quotation(chooser, scene)
        if not (scene.people or scene.lost):
            return NOTHING_LEFT
        return self._steps_of_story(chooser, scene)

    def _steps_of_story(self, chooser: Chooser, scene: Scene) -> Choices:
        """An end (only after a return), an event, a return, or a filler.

        With the chances e of an end, v of an event and r of a return, all in thousandths, the
        weights are e; (1000 - e) v; (1000 - e) (1000 - v) r; (1000 - e) (1000 - v) (1000 - r).
        They are scaled to whole numbers of one unit, and the events share theirs by their own
        weights.
        """
        words_since_clue = chooser.words - scene.clue_at
        end = round(1000 / self.config.returns) if scene.is_answered else 0
        back = return_chance(words_since_clue, scene.farthest)
        events = {name: getattr(self.config, name) for name in self._possible_events(scene)}
        total = sum(events.values())
        if not total:
            event = 0
        elif words_since_clue:
            event = LATER_EVENT_CHANCE
        else:
            event = round(1000 * self.config.events)
        unit = total or 1
        return _weighted(
            ("\n", "end", end * 10**6 * unit),
            *((" ", name, (1000 - end) * event * 1000 * weight) for name, weight in events.items()),
            (" ", "return", (1000 - end) * (1000 - event) * back * unit),
            (" ", "filler", (1000 - end) * (1000 - event) * (1000 - back) * unit),
        )

    def _steps_inside_quotation(self, chooser: Chooser, scene: Scene) -> Choices:
        """One more sentence, or the closing mark; at least one sentence."""
        passed = chooser.words - scene.opened_at
        if not passed:
            return _weighted(("", "filler", 1000))
        close = return_chance(passed, scene.farthest)
        return _weighted((scene.closing, "close", close), (" ", "filler", 1000 - close))

    def _possible_events(self, scene: Scene) -> list[str]:
        """The names of the events that can begin now; each is the name of its weight's setting."""
        has_names = len(scene.named) < self._max_named
        has_pronoun = bool(self._free_pronouns(scene))
        is_possible = {
            "two_people": has_names and has_pronoun and len(scene.people) == 1,
            "subject_change": has_names and any(map(_can_meet, scene.people)),
            "move": any(map(_can_move, scene.people)),
            "kin": has_pronoun and len(scene.people) < 2,
            "lost": not scene.lost,
            "quotation": True,
        }
        return [name for name, possible in is_possible.items() if possible]

    def _free_pronouns(self, scene: Scene) -> tuple[str, ...]:
        """The pronouns that a new person can have."""
        if not scene.people:
            return self._first
        taken = [person.pronoun for person in scene.people]
        return tuple(pronoun for pronoun in ("he", "she") if pronoun not in taken)

    # --- openings and events ----------------------------------------------------------------------

    def _narrator(self, chooser: Chooser, scene: Scene) -> Scene:
        chooser.say("I")
        return self._introduce(chooser, scene, Person("I", "I"), "cue")

    def _person(self, chooser: Chooser, scene: Scene) -> Scene:
        return self._introduce(chooser, scene, self._choose_name(chooser, scene))

    def _two_people(self, chooser: Chooser, scene: Scene) -> Scene:
        """Introduces a second person, who can be the narrator."""
        has_narrator = any(person.pronoun == "I" for person in scene.people)
        if not has_narrator and chooser.choose(NARRATOR_OR_NAME):
            return self._introduce(chooser, scene, Person("I", "I"), "cue")
        return self._person(chooser, scene)

    def _kin(self, chooser: Chooser, scene: Scene) -> Scene:
        chooser.say("My ")
        row = chooser.choose(self.lexicon.people["kin", self._free_pronouns(scene)])
        return self._introduce(chooser, scene, Person(f"My {row['kin']}", row["pronoun"]), "trade")

    def _subject_change(self, chooser: Chooser, scene: Scene) -> Scene:
        """Turns to somebody else: the others leave the story, except for the narrator."""
        if scene.people:
            able = [person for person in scene.people if _can_meet(person)]
            subject = self._choose_person(chooser, scene, able, say_name=True)
        else:
            subject = self._choose_name(chooser, scene)
        named = scene.named | {subject.name}
        met = self._say(chooser, "meeting", subject.pronoun, excluded_words=named)
        chooser.say(f" {met['name']}")
        stay = tuple(person for person in scene.people if person.pronoun == "I")
        scene = replace(scene, people=stay, named=named)
        return self._introduce(chooser, scene, Person(met["name"], met["pronoun"]))

    def _move(self, chooser: Chooser, scene: Scene) -> Scene:
        able = [person for person in scene.people if _can_move(person)]
        person = self._choose_person(chooser, scene, able)
        assert person.origin is not None
        is_named = self._choose_subject(chooser, person)
        old_country = [person.origin["country"]]
        home = self._say(chooser, "move", person.pronoun, is_named, excluded_words=old_country)
        moved = replace(person, home=home)
        people = tuple(moved if other is person else other for other in scene.people)
        return _after_clue(chooser, replace(scene, people=people))

    def _lost(self, chooser: Chooser, scene: Scene) -> Scene:
        sentence = chooser.choose(self.lexicon.sentences["lose", "I"])
        self.lexicon.say_rest(chooser, sentence)
        return _after_clue(chooser, replace(scene, lost=sentence.topic))

    def _quotation(self, chooser: Chooser, scene: Scene) -> Scene:
        self._say(chooser, "letter", "I")
        closing = chooser.choose(OPENING_MARKS)
        return replace(scene, closing=closing, opened_at=chooser.words, is_answered=False)

    def _close(self, chooser: Chooser, scene: Scene) -> Scene:
        return replace(scene, closing="")

    def _lesson(self, chooser: Chooser, scene: Scene) -> Scene:
        self._say(chooser, "lesson", "I")
        return replace(scene, kind="lesson")

    def _filler(self, chooser: Chooser, scene: Scene) -> Scene:
        self._say(chooser, "filler", "I")
        return replace(scene, is_answered=False)

    # --- returns ----------------------------------------------------------------------------------

    def _return(self, chooser: Chooser, scene: Scene) -> Scene:
        """Returns to a clue: to what is known of a person, or to something lost."""
        index, role = chooser.choose(self._ways_to_return(scene))
        if role == "find":
            self._say(chooser, f"find {scene.lost}", "I")
            scene = replace(scene, lost="")
        elif role == "about":
            self._say(chooser, "about", scene.people[index].pronoun)
        elif role == "moved":
            person = scene.people[index]
            is_named = self._choose_subject(chooser, person)
            self._say(chooser, "moved", person.pronoun, is_named, person.home)
        else:
            person = scene.people[index]
            is_named = self._choose_subject(chooser, person)
            self._say(
                chooser,
                "answer",
                person.pronoun,
                is_named,
                person.origin,
                excluded_sentences=[NEVER_TOGETHER[person.cue]],
            )
        return replace(_after_clue(chooser, scene), is_answered=True)

    def _ways_to_return(self, scene: Scene) -> Choices:
        """Choices of (index of a person, role of the sentence); "find" needs no person."""
        ways = []
        for index, person in enumerate(scene.people):
            if person.origin:
                ways.append((index, "answer"))
            if person.home:
                ways.append((index, "moved"))
            if person.pronoun != "I":
                ways.append((index, "about"))
        if scene.lost:
            ways.append((0, "find"))
        return _weighted(*(("", way, RETURN_WEIGHTS[way[1]]) for way in ways))

    # --- people and sentences ---------------------------------------------------------------------

    def _choose_name(self, chooser: Chooser, scene: Scene) -> Person:
        row = chooser.choose(self.lexicon.people["name", self._free_pronouns(scene)], scene.named)
        return Person(row["name"], row["pronoun"])

    @staticmethod
    def _choose_person(
        chooser: Chooser, scene: Scene, able: Collection[Person], say_name: bool = False
    ) -> Person:
        """Chooses one of the people of the scene who are able to."""
        options = [
            (person.name if say_name else "", index, 1)
            for index, person in enumerate(scene.people)
            if person in able
        ]
        return scene.people[chooser.choose(_weighted(*options))]

    @staticmethod
    def _choose_subject(chooser: Chooser, person: Person) -> bool:
        """Chooses how a sentence about a person begins; returns whether their name has been said.

        If not, the sentence begins with a pronoun, as it always does for the narrator.
        """
        if person.pronoun == "I":
            return False
        return chooser.choose(_weighted((person.name, True, 1), ("", False, 1)))

    def _introduce(self, chooser: Chooser, scene: Scene, person: Person, role: str = "") -> Scene:
        """Says where somebody just named is from ("cue"), or what their trade is ("trade")."""
        if not role:
            role = chooser.choose(_weighted(("", "cue", 3), ("", "trade", self.config.trade)))
        excluded = self._excluded_cues.get(person.pronoun, ()) if role == "cue" else ()
        sentence = chooser.choose(self.lexicon.sentences[role, person.pronoun], excluded)
        never_from = self.never_from.get(person.name, ())
        facts = self.lexicon.say_rest(chooser, sentence, excluded=never_from)
        if role == "cue":
            person = replace(person, origin=facts, cue=sentence.number)
        scene = replace(scene, people=(*scene.people, person), named=scene.named | {person.name})
        return _after_clue(chooser, scene)

    def _say(
        self,
        chooser: Chooser,
        role: str,
        pronoun: str,
        named: bool = False,
        facts: Facts = NO_FACTS,
        *,
        excluded_words: Collection[str] = (),
        excluded_sentences: Collection[str] = (),
    ) -> dict[str, str]:
        """Says a sentence and returns what is known after it: `facts` and the words drawn.

        Args:
            chooser: makes the choices.
            role: of the sentence.
            pronoun: of the person that it is about.
            named: whether the person's name has been said in place of the pronoun.
            facts: words that are known.
            excluded_words: words that must not be drawn.
            excluded_sentences: numbers of sentences that must not be said.
        """
        sentences = self.lexicon.sentences[f"{role} named" if named else role, pronoun]
        sentence = chooser.choose(sentences, excluded_sentences)
        return self.lexicon.say_rest(chooser, sentence, facts, excluded_words)


def _withheld_countries(lexicon: Lexicon) -> dict[str, frozenset[str]]:
    """By name, the countries and nationalities that stories never use with it; none for "I"."""
    countries = [option.value for option in lexicon.words["country", False].options]
    names = [option.value["name"] for option in lexicon.people["name", ("he", "she")].options]
    withheld = {"I": frozenset[str]()}
    for number, name in enumerate(names):
        some = countries[-number % COUNTRIES_WITHHELD_ONE_IN :: COUNTRIES_WITHHELD_ONE_IN]
        withheld[name] = frozenset(row[key] for row in some for key in ("country", "nationality"))
    return withheld
