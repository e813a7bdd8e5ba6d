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

The wide world adds to this:

===========  =====================================================================================
memo         a clue that says a name, a number or a title: "My room number is 417."
recall       its return: "I sleep in room 417."
inside       a cue or an answer that names the person inside: "As a native of France, Maria ..."
apposition   a cue after a name or a role that tells the pronoun: "The nurse, a woman from France,"
===========  =====================================================================================

`Biography.tell` is a story program of `grammar`. Its texts are unambiguous: every story can be told
in exactly one way.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import replace

from lstm_lm.config.settings import OPENINGS, StoriesConfig
from lstm_lm.stories.grammar import Choices, Chooser, Option, weighted
from lstm_lm.stories.introductions import Introductions, after_clue, country_of
from lstm_lm.stories.lexicon import NO_FACTS, NO_WORDS, Facts, Lexicon, name_column
from lstm_lm.stories.scene import Memo, Person, Scene
from lstm_lm.stories.worlds import WORLDS

# Words in a sentence, about: the step in which distances are counted.
SENTENCE_WORDS = 10
# The chance, in thousandths, of an event at a full stop that does not follow a clue or a return.
LATER_EVENT_CHANCE = 20

# When nobody is in the story and nothing is lost: the story ends, or somebody is introduced.
NOTHING_LEFT = Choices([Option("\n", "end", 3), Option(" ", "person", 1)])
AFTER_A_LESSON = Choices([Option("\n", "end", 1), Option(" ", "lesson", 4)])
OPENING_MARKS = Choices([Option(' "', '"'), Option(" (", ")")])  # the value closes it
RETURN_WEIGHTS = {"answer": 3, "moved": 2, "about": 2, "find": 2, "recall": 2}

# Of so many topics at most, a story says something that it can say again.
MAX_MEMOS = 3


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


def _can_move(person: Person) -> bool:
    return bool(person.origin and not person.home)


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
        self._people = Introductions(lexicon, self.config, first, excluded_cues or {})
        self.never_from = self._people.never_from
        self._is_wide = self.config.world == "wide"
        # The numbers of people in a story to which one more can be added by a setting's weight.
        self._few = (0, 1) if self._is_wide else (1,)
        self._world = WORLDS[self.config.world]
        # As many people can be named in a story as there are names of either pronoun.
        self._max_named = min(
            len(lexicon.people["name", (pronoun,)].options) for pronoun in ("he", "she")
        )
        self._tell_step = {
            "narrator": self._people.narrator,
            "person": self._people.person,
            "two_people": self._people.two_people,
            "kin": self._people.kin,
            "subject_change": self._subject_change,
            "move": self._move,
            "lost": self._lost,
            "quotation": self._quotation,
            "close": self._close,
            "lesson": self._lesson,
            "memo": self._memo,
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
            openings = (*OPENINGS, "memo") if self._is_wide else OPENINGS
            return weighted(*(("", name, getattr(self.config, name)) for name in openings))
        if scene.kind == "lesson":
            return AFTER_A_LESSON
        if scene.closing:
            return self._steps_inside_quotation(chooser, scene)
        if not (scene.people or scene.lost or scene.memos):
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
        return weighted(
            ("\n", "end", end * 10**6 * unit),
            *((" ", name, (1000 - end) * event * 1000 * weight) for name, weight in events.items()),
            (" ", "return", (1000 - end) * (1000 - event) * back * unit),
            (" ", "filler", (1000 - end) * (1000 - event) * (1000 - back) * unit),
        )

    def _steps_inside_quotation(self, chooser: Chooser, scene: Scene) -> Choices:
        """One more sentence, or the closing mark; at least one sentence."""
        passed = chooser.words - scene.opened_at
        if not passed:
            return weighted(("", "filler", 1000))
        close = return_chance(passed, scene.farthest)
        return weighted((scene.closing, "close", close), (" ", "filler", 1000 - close))

    def _possible_events(self, scene: Scene) -> list[str]:
        """The names of the events that can begin now; each is the name of its weight's setting."""
        has_names = len(scene.named) < self._max_named
        has_pronoun = bool(self._people.free_pronouns(scene))
        is_possible = {
            "two_people": has_names and has_pronoun and len(scene.people) in self._few,
            "subject_change": has_names and any(person.has_first_name for person in scene.people),
            "move": any(map(_can_move, scene.people)),
            "kin": has_pronoun and len(scene.people) < 2,
            "lost": not scene.lost,
            "quotation": True,
            "memo": self._is_wide and len(scene.memos) < MAX_MEMOS,
        }
        return [name for name, possible in is_possible.items() if possible]

    # --- openings and events ----------------------------------------------------------------------

    def _memo(self, chooser: Chooser, scene: Scene) -> Scene:
        """Says a name, a number or a title of a topic that the story does not have yet."""
        topics = {memo.topic for memo in scene.memos}
        options = self.lexicon.sentences["memo", "I"].options
        excluded = {option.group for option in options if option.value.topic in topics}
        sentence = chooser.choose(self.lexicon.sentences["memo", "I"], excluded)
        facts = self.lexicon.say_rest(chooser, sentence)
        memos = (*scene.memos, Memo(sentence.topic, facts))
        return after_clue(chooser, replace(scene, memos=memos))

    def _subject_change(self, chooser: Chooser, scene: Scene) -> Scene:
        """Turns to somebody else: the others leave the story, except for the narrator."""
        if scene.people:
            able = [person for person in scene.people if person.has_first_name]
            subject = self._choose_person(chooser, scene, able, say_name=True)
        else:
            subject = self._people.choose_name(chooser, scene)
        named = scene.named | {subject.name}
        never_met = named | self._people.apart.get(subject.name, NO_WORDS)
        met = self._say(chooser, "meeting", subject.pronoun, excluded_words=never_met)
        chooser.say(f" {met['name']}")
        stay = tuple(person for person in scene.people if person.pronoun == "I")
        scene = replace(scene, people=stay, named=named)
        return self._people.introduce(chooser, scene, Person(met["name"], met["pronoun"]))

    def _move(self, chooser: Chooser, scene: Scene) -> Scene:
        able = [person for person in scene.people if _can_move(person)]
        person = self._choose_person(chooser, scene, able)
        assert person.origin is not None
        role, _ = self._choose_subject(chooser, person, "move")
        old_country = [person.origin["country"]]
        sentence = chooser.choose(self.lexicon.sentences[role, person.pronoun])
        home = self.lexicon.say_rest(chooser, sentence, excluded=old_country)
        moved = replace(person, home=country_of(home), home_clue=f"move {sentence.number}")
        people = tuple(moved if other is person else other for other in scene.people)
        return after_clue(chooser, replace(scene, people=people))

    def _lost(self, chooser: Chooser, scene: Scene) -> Scene:
        sentence = chooser.choose(self.lexicon.sentences["lose", "I"])
        self.lexicon.say_rest(chooser, sentence)
        clue = f"lose {sentence.number}"
        return after_clue(chooser, replace(scene, lost=sentence.topic, lost_clue=clue))

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
            role = f"find {scene.lost}"
            never = self._world.never_after(scene.lost_clue, role)
            self._say(chooser, role, "I", excluded_sentences=never)
            scene = replace(scene, lost="")
        elif role == "recall":
            memo = scene.memos[index]
            self._say(chooser, f"recall {memo.topic}", "I", memo.facts)
        elif role == "about":
            person = scene.people[index]
            never = self._world.never_after(person.clue, role)
            self._say(chooser, role, person.pronoun, excluded_sentences=never)
        else:
            person = scene.people[index]
            facts = person.home if role == "moved" else person.origin
            assert facts is not None
            clue = person.home_clue if role == "moved" else person.clue
            never = self._world.never_after(clue, role)
            role, subject = self._choose_subject(chooser, person, role)
            never = NO_WORDS if subject else never
            self._say(chooser, role, person.pronoun, {**facts, **subject}, excluded_sentences=never)
        return replace(after_clue(chooser, scene), is_answered=True)

    def _ways_to_return(self, scene: Scene) -> Choices:
        """Choices of (index, role): the index of a person or a memo, or 0 for "find"."""
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
        ways += [(index, "recall") for index in range(len(scene.memos))]
        return weighted(*(("", way, RETURN_WEIGHTS[way[1]]) for way in ways))

    # --- sentences --------------------------------------------------------------------------------

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
        return scene.people[chooser.choose(weighted(*options))]

    def _choose_subject(self, chooser: Chooser, person: Person, role: str) -> tuple[str, Facts]:
        """Chooses how a sentence names a person, and says their name if it comes first.

        Returns:
            The role of the sentence, and the name if it stands inside it. For the narrator, and if
            a pronoun stands for the name, the role is the given one.
        """
        if person.pronoun == "I":
            return role, NO_FACTS
        ways = [(person.name, f"{role} named", 1), ("", role, 1)]
        if (f"{role} inside", person.pronoun) in self.lexicon.sentences:
            ways.append(("", f"{role} inside", 1))
        chosen = chooser.choose(weighted(*ways))
        inside = {name_column(person.pronoun): person.name_inside}
        return chosen, inside if chosen.endswith("inside") else NO_FACTS

    def _say(
        self,
        chooser: Chooser,
        role: str,
        pronoun: str,
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
            facts: words that are known.
            excluded_words: words that must not be drawn.
            excluded_sentences: numbers of sentences that must not be said.
        """
        sentence = chooser.choose(self.lexicon.sentences[role, pronoun], excluded_sentences)
        return self.lexicon.say_rest(
            chooser, sentence, facts, excluded_words, apart=self._people.apart
        )
