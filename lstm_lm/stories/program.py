"""How a life story is told: one sentence after another, each given the scene that the story so far has set.

At every full stop a story ends, takes up something new, comes back to something it has said before, or says something
that has nothing to do with it. When it comes back depends on how many words have passed since the last clue, so that
distances are spread evenly over orders of magnitude: as many between 4 and 16 words as between 16 and 64.

`Biography.tell` is a story program of `story_grammar`. What it says is never ambiguous: of every story there is one way
to tell it.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Collection, Mapping
from dataclasses import replace

from lstm_lm.config.settings import OPENINGS, StoriesConfig
from lstm_lm.stories.grammar import Choices, Chooser, Option
from lstm_lm.stories.lexicon import NOTHING_KNOWN, Lexicon, Row
from lstm_lm.stories.scene import Person, Scene

SENTENCE_WORDS = 10  # about; a sentence's length on the scale of distances
EVENT_LATER = 20  # the chance that something new is taken up between clues, in thousandths
ALL_IS_TOLD = Choices([Option("\n", "end", 3), Option(" ", "person", 1)])
LESSON_ENDS = Choices([Option("\n", True, 1), Option(" ", False, 4)])
OPENING_MARKS = Choices([Option(' "', '"'), Option(" (", ")")])
NARRATOR_OR_NAME = Choices([Option("I", True, 1), Option("", False, 3)])
RETURN_WEIGHTS = {"answer": 3, "moved": 2, "about": 2, "find": 2}

# Cues and answers, by their number among the sentences of their role, that never meet in a story: probes ask them.
NEVER_TOGETHER = {0: "0", 1: "2", 2: "4", 3: "3"}
NAMES_PER_COUNTRY_WITHHELD = (
    15  # one name in so many never comes from a country; probes bring them together
)


def return_chance(passed: int, farthest: int) -> int:
    """The chance in thousandths of coming back now, if not before, so many words after the clue.

    With distances spread evenly over the logarithm from 0 to ``farthest``, it is the share of what is left that the
    next sentence takes up.
    """
    left = math.log((1 + farthest) / (1 + passed)) if passed < farthest else 0.0
    step = math.log(1 + SENTENCE_WORDS / (1 + passed))
    return 1000 if step >= left else max(1, round(1000 * step / left))


@functools.lru_cache(maxsize=2**14)
def _weighted(*weights: tuple[str, object, int]) -> Choices:
    """A choice point of (text, value, weight) that have a weight."""
    return Choices(Option(text, value, weight) for text, value, weight in weights if weight)


class Biography:
    """The story program.

    Args:
        lexicon: the words and sentences.
        shape: what kind of stories.
        first: the pronouns, ``he``, ``she`` or both, that somebody may have while nobody else is in the story.
        never_cues: by pronoun, the numbers of the cues that never say where such a person is from.
    """

    def __init__(
        self,
        lexicon: Lexicon,
        shape: StoriesConfig | None = None,
        first: tuple[str, ...] = ("he", "she"),
        never_cues: Mapping[str, Collection[str]] | None = None,
    ) -> None:
        self.lexicon, self.shape, self.first, self.never_cues = (
            lexicon,
            shape or StoriesConfig(),
            first,
            never_cues or {},
        )
        countries = [option.value for option in lexicon.words["country", False].options]
        names = [option.value["name"] for option in lexicon.people["name", ("he", "she")].options]
        self.most_named = min(
            len(lexicon.people["name", (pronoun,)].options) for pronoun in ("he", "she")
        )
        self.never_from: dict[str, frozenset[str]] = {"I": frozenset()} | {
            name: frozenset(
                row[column]
                for k, row in enumerate(countries)
                for column in ("country", "nationality")
                if (k + number) % NAMES_PER_COUNTRY_WITHHELD == 0
            )
            for number, name in enumerate(names)
        }

    def tell(self, choose: Chooser, scene: Scene) -> Scene | None:
        """Says the next sentence, or ends the line.

        Args:
            choose: the interpreter.
            scene: before the sentence; ``Scene(farthest)`` before the first.

        Returns:
            The scene after it; None when the story is over.
        """
        if not scene.kind:
            step = choose.among(self._openings())
        elif scene.kind == "lesson":
            step = "end" if choose.among(LESSON_ENDS) else "lesson"
        elif scene.closing:
            step = choose.among(self._steps_inside(choose, scene))
        else:
            step = choose.among(self._steps(choose, scene))
        if step == "end":
            return None
        return getattr(self, f"_{step}")(choose, scene)

    # --- what comes next -------------------------------------------------------------------------------------------

    def _openings(self) -> Choices:
        return _weighted(*(("", name, getattr(self.shape, name)) for name in OPENINGS))

    def _steps(self, choose: Chooser, scene: Scene) -> Choices:
        """Something new, a return, or a sentence without a clue; an end only after a return."""
        if not (scene.people or scene.lost):  # all that was lost is found, and nobody is there
            return ALL_IS_TOLD
        passed = choose.words - scene.clue_at
        end = round(1000 / self.shape.returns) if scene.is_answered else 0
        back = return_chance(passed, scene.farthest)
        events = {name: getattr(self.shape, name) for name in self._events(scene)}
        total = sum(events.values())
        event = 0 if not total else EVENT_LATER if passed else round(1000 * self.shape.events)
        total = total or 1
        return _weighted(
            ("\n", "end", end * 10**6 * total),
            *((" ", name, (1000 - end) * event * 1000 * weight) for name, weight in events.items()),
            (" ", "return", (1000 - end) * (1000 - event) * back * total),
            (" ", "filler", (1000 - end) * (1000 - event) * (1000 - back) * total),
        )

    def _steps_inside(self, choose: Chooser, scene: Scene) -> Choices:
        """Within a quotation or a bracket: one more sentence, or its end."""
        passed = choose.words - scene.opened_at
        back = return_chance(passed, scene.farthest) if passed else 0
        return _weighted(
            (scene.closing, "close", back), (" " if passed else "", "filler", 1000 - back)
        )

    def _events(self, scene: Scene) -> list[str]:
        """What new can be taken up."""
        free, names_left = self._free_pronouns(scene), len(scene.named) < self.most_named
        return [
            name
            for name, can in (
                ("two_people", names_left and free and len(scene.people) == 1),
                (
                    "subject_change",
                    names_left and any(self._can_meet(person) for person in scene.people),
                ),
                ("move", any(self._can_move(person) for person in scene.people)),
                ("kin", free and len(scene.people) < 2),
                ("lost", not scene.lost),
                ("quotation", True),
            )
            if can
        ]

    def _free_pronouns(self, scene: Scene) -> tuple[str, ...]:
        taken = [person.pronoun for person in scene.people]
        return (
            tuple(pronoun for pronoun in ("he", "she") if pronoun not in taken)
            if taken
            else self.first
        )

    @staticmethod
    def _can_meet(person: Person) -> bool:
        return not person.name.startswith("My ")

    @staticmethod
    def _can_move(person: Person) -> bool:
        return bool(person.origin and not person.home)

    # --- what is said ----------------------------------------------------------------------------------------------

    def _narrator(self, choose: Chooser, scene: Scene) -> Scene:
        choose.say("I")
        return self._introduce(choose, scene, Person("I", "I"), "cue")

    def _person(self, choose: Chooser, scene: Scene) -> Scene:
        return self._introduce(choose, scene, self._name_somebody(choose, scene))

    def _two_people(self, choose: Chooser, scene: Scene) -> Scene:
        """Brings in a second person, who may be the narrator."""
        is_there = any(person.pronoun == "I" for person in scene.people)
        if not is_there and choose.among(NARRATOR_OR_NAME):
            return self._introduce(choose, scene, Person("I", "I"), "cue")
        return self._person(choose, scene)

    def _kin(self, choose: Chooser, scene: Scene) -> Scene:
        choose.say("My ")
        row = choose.among(self.lexicon.people["kin", self._free_pronouns(scene)])
        return self._introduce(choose, scene, Person(f"My {row['kin']}", row["pronoun"]), "trade")

    def _subject_change(self, choose: Chooser, scene: Scene) -> Scene:
        """Passes on to somebody else: the narrator may stay, the others are let go."""
        if scene.people:
            able = [
                (person.name, k, 1)
                for k, person in enumerate(scene.people)
                if self._can_meet(person)
            ]
            subject = scene.people[choose.among(_weighted(*able))]
        else:
            subject = self._name_somebody(choose, scene)
        named = scene.named | {subject.name}
        met = self._say(choose, "meeting", subject.pronoun, barred=named)
        choose.say(f" {met['name']}")
        stay = tuple(person for person in scene.people if person.pronoun == "I")
        scene = replace(scene, people=stay, named=named)
        return self._introduce(choose, scene, Person(met["name"], met["pronoun"]))

    def _name_somebody(self, choose: Chooser, scene: Scene) -> Person:
        row = choose.among(self.lexicon.people["name", self._free_pronouns(scene)], scene.named)
        return Person(row["name"], row["pronoun"])

    def _introduce(self, choose: Chooser, scene: Scene, person: Person, way: str = "") -> Scene:
        """Says where somebody, just named, is from, or what they do."""
        way = way or choose.among(_weighted(("", "cue", 3), ("", "trade", self.shape.trade)))
        never = self.never_cues.get(person.pronoun, ()) if way == "cue" else ()
        sentence = choose.among(self.lexicon.sentences[way, person.pronoun], never)
        facts = self.lexicon.utter(choose, sentence, barred=self.never_from.get(person.name, ()))
        if way == "cue":
            person = replace(person, origin=facts, cue=sentence.number)
        scene = replace(scene, people=(*scene.people, person), named=scene.named | {person.name})
        return self._after_clue(choose, scene)

    def _move(self, choose: Chooser, scene: Scene) -> Scene:
        able = [("", k, 1) for k, person in enumerate(scene.people) if self._can_move(person)]
        index = choose.among(_weighted(*able))
        person = scene.people[index]
        home = self._say(
            choose,
            "move",
            person.pronoun,
            self._subject(choose, person),
            barred=[person.origin["country"]],
        )
        people = (*scene.people[:index], replace(person, home=home), *scene.people[index + 1 :])
        return self._after_clue(choose, replace(scene, people=people))

    def _lost(self, choose: Chooser, scene: Scene) -> Scene:
        sentence = choose.among(self.lexicon.sentences["lose", "I"])
        self.lexicon.utter(choose, sentence)
        return self._after_clue(choose, replace(scene, lost=sentence.topic))

    def _quotation(self, choose: Chooser, scene: Scene) -> Scene:
        self._say(choose, "letter", "I")
        closing = choose.among(OPENING_MARKS)
        return replace(scene, closing=closing, opened_at=choose.words, is_answered=False)

    def _close(self, choose: Chooser, scene: Scene) -> Scene:
        return replace(scene, closing="")

    def _lesson(self, choose: Chooser, scene: Scene) -> Scene:
        self._say(choose, "lesson", "I")
        return replace(scene, kind="lesson")

    def _filler(self, choose: Chooser, scene: Scene) -> Scene:
        self._say(choose, "filler", "I")
        return replace(scene, is_answered=False)

    def _return(self, choose: Chooser, scene: Scene) -> Scene:
        """Comes back to something that was said before."""
        ways = [
            (k, role)
            for k, person in enumerate(scene.people)
            for role, can in (
                ("answer", person.origin),
                ("moved", person.home),
                ("about", person.pronoun != "I"),
            )
            if can
        ]
        ways += [(0, "find")] if scene.lost else []
        index, role = choose.among(_weighted(*(("", way, RETURN_WEIGHTS[way[1]]) for way in ways)))
        if role == "find":
            self._say(choose, f"find {scene.lost}", "I")
            scene = replace(scene, lost="")
        elif role == "about":
            self._say(choose, role, scene.people[index].pronoun)
        else:
            person = scene.people[index]
            never, facts = (
                ((), person.home)
                if role == "moved"
                else ([NEVER_TOGETHER[person.cue]], person.origin)
            )
            self._say(
                choose, role, person.pronoun, self._subject(choose, person), facts, never=never
            )
        return replace(self._after_clue(choose, scene), is_answered=True)

    def _subject(self, choose: Chooser, person: Person) -> bool:
        """Whether a sentence about somebody begins with the name, which is then said, or has a pronoun."""
        return person.pronoun != "I" and choose.among(
            _weighted((person.name, True, 1), ("", False, 1))
        )

    def _say(
        self,
        choose: Chooser,
        role: str,
        pronoun: str,
        named: bool = False,
        facts: Row = NOTHING_KNOWN,
        *,
        barred: Collection[str] = (),
        never: Collection[str] = (),
    ) -> dict[str, str]:
        """Says a sentence and returns the words known after it; `barred` are words, `never` sentences' numbers."""
        sentence = choose.among(
            self.lexicon.sentences[f"{role} named" if named else role, pronoun], never
        )
        return self.lexicon.utter(choose, sentence, facts, barred)

    @staticmethod
    def _after_clue(choose: Chooser, scene: Scene) -> Scene:
        return replace(scene, kind="story", clue_at=choose.words, is_answered=False)
