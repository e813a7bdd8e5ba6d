"""Short English life stories in which one word decides, many words ahead, what must be said.

Somebody grew up in a country. The country decides the language spoken fluently, the nationality, and the capital they
still have a home in; sentences in between say nothing about it. The gender of the person last introduced decides the
pronouns.
The stories are drawn from a grammar of our own whose every choice can be read back from the text, so the perplexity of
the source itself, which no model can beat, is known exactly and not estimated.

The word lists and the sentences lie in ``data/biographies`` (`story_lexicon`); how a story is told by chance, and read
back, is `story_grammar`.
"""

from __future__ import annotations

import functools
import hashlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random

from lstm_lm.corpus import story_grammar
from lstm_lm.corpus.story_grammar import Choices, Chooser, Option, derivations, log_sum, sample
from lstm_lm.corpus.story_lexicon import LEXICON_FILES, NOTHING_KNOWN, Lexicon, Row, load_lexicon
from lstm_lm.corpus.word_lists import read_word_list_text

SPLITS = ("train", "valid", "test")
FACTS = ("language", "capital", "nationality")
SOURCE_FILES = ("biographies.py", "story_grammar.py", "story_lexicon.py", "word_lists.py")

# The chance, in percent, of one more sentence without a clue. A story that has had none seldom begins to have them:
# terse stories, where the answers follow at once, are what the connection is learned from. In the others the chance
# rises with how many there have been since the last clue, so that some answers are a hundred words away from it.
FILLER_CHANCE_IN_TERSE = 16
FILLER_CHANCE = (52, 62, 68, 72, 75, 78, 80, 80, 78, 75)
FILLER_CHANCE_WHEN_ALL_IS_TOLD = 20


@dataclass(frozen=True)
class Story:
    """One life story.

    Attributes:
        text: one line in natural typography, without its line end.
        log_probability: of the whole line, its end included, in nats.
    """

    text: str
    log_probability: float


@dataclass(frozen=True)
class Person:
    """Somebody a pronoun can mean.

    Attributes:
        name: the subject of a sentence that names them: a first name, or ``I``.
        pronoun: ``I``, ``he`` or ``she``.
        facts: country, language, capital, nationality.
        untold: the facts that the story has not come back to.
    """

    name: str
    pronoun: str
    facts: Row
    untold: tuple[str, ...]


@dataclass(frozen=True)
class Scene:
    """What the story so far leaves behind for its next sentence.

    Attributes:
        people: whom a pronoun can mean: the narrator, if there is one, and whoever was introduced last.
        focus: the index of the one of them whom sentences are about now.
        topics: of the fillers so far.
        fillers: how many there were since the last cue or answer.
        told: how many answers were given.
        has_met: whether somebody has met somebody.
    """

    people: tuple[Person, ...] = ()
    focus: int = 0
    topics: tuple[str, ...] = ()
    fillers: int = 0
    told: int = 0
    has_met: bool = False


@functools.cache
def _next_steps(filler: int, told: int, untold: bool, may_meet: bool) -> Choices:
    """What may come after a sentence; a story ends only after an answer was given, sooner the more there were.

    Args:
        filler: the chance of one, in percent.
        told: how many answers there were, at most 4.
        untold: whether there is another to give.
        may_meet: whether somebody may yet meet somebody.
    """
    others = {"answer": 70 if untold else 0,
              "meeting": 7 if may_meet else 0,
              "end": (6 * min(told, 4)) if untold else 60}
    scale = sum(others.values())
    options = [Option(" ", "filler", filler * scale)]
    options += [Option("\n" if step == "end" else " ", step, (100 - filler) * weight)
                for step, weight in others.items()]
    return Choices(option for option in options if option.weight)


OPENINGS = Choices([Option("", "narrator", 5), Option("", "person", 3), Option("", "meeting", 2)])


@functools.cache
def _silent_choice(values: tuple) -> Choices:
    """Equally likely values that say nothing by themselves."""
    return Choices(Option("", value) for value in values)


class Biography:
    """The story program: says one sentence after another, each given the scene that the story so far has set."""

    def __init__(self, lexicon: Lexicon):
        self.lexicon = lexicon
        self.facts = tuple(fact for fact in FACTS if (fact, "I") in lexicon.sentences)

    def tell(self, choose: Chooser, scene: Scene) -> Scene | None:
        """Says the next sentence, or ends the line.

        Args:
            choose: the interpreter.
            scene: before the sentence; ``Scene()`` before the first.

        Returns:
            The scene after it; None when the story is over.
        """
        if not scene.people:
            return self._open(choose)
        is_untold = any(person.untold for person in scene.people)
        step = choose.among(_next_steps(self._filler_chance(scene, is_untold), min(scene.told, 4), is_untold,
                                        not scene.has_met))
        if step == "end":
            return None
        if step == "filler":
            return self._fill(choose, scene)
        if step == "answer":
            return self._answer(choose, scene)
        focus = scene.people[scene.focus]
        choose.say(focus.name)
        return self._meet(choose, scene, focus.name, focus.pronoun)

    def _filler_chance(self, scene: Scene, is_untold: bool) -> int:
        if self.lexicon.sentences["filler", "I"].weight(scene.topics) == 0:
            return 0
        if not is_untold:
            return FILLER_CHANCE_WHEN_ALL_IS_TOLD
        if not scene.topics:
            return FILLER_CHANCE_IN_TERSE
        return FILLER_CHANCE[min(scene.fillers, len(FILLER_CHANCE) - 1)]

    def _open(self, choose: Chooser) -> Scene:
        opening = choose.among(OPENINGS)
        if opening == "narrator":
            choose.say("I")
            return self._introduce(choose, Scene(), "I", "I")
        somebody = choose.among(self.lexicon.words["name", False])
        go_on = self._introduce if opening == "person" else self._meet
        return go_on(choose, Scene(), somebody["name"], somebody["pronoun"])

    def _introduce(self, choose: Chooser, scene: Scene, name: str, pronoun: str) -> Scene:
        """Says where somebody, just named, is from; the narrator stays in the scene, anybody older is let go."""
        facts = self._say(choose, "cue", pronoun)
        people = tuple(person for person in scene.people if person.pronoun == "I") + (
            Person(name, pronoun, facts, untold=self.facts),)
        return replace(scene, people=people, focus=len(people) - 1, fillers=0)

    def _meet(self, choose: Chooser, scene: Scene, name: str, pronoun: str) -> Scene:
        """Says how somebody, just named, knows somebody else, and goes on with that one."""
        other = self._say(choose, "meeting", pronoun, barred=[name])
        choose.say(" " + other["name"])
        return self._introduce(choose, replace(scene, has_met=True), other["name"], other["pronoun"])

    def _answer(self, choose: Chooser, scene: Scene) -> Scene:
        """Comes back to what the country decides."""
        asked = [index for index, person in enumerate(scene.people) if person.untold]
        focus = choose.among(_silent_choice(tuple(asked)))
        person = scene.people[focus]
        fact = choose.among(_silent_choice(person.untold))
        self._say(choose, fact, person.pronoun, person.facts)
        person = replace(person, untold=tuple(other for other in person.untold if other != fact))
        people = scene.people[:focus] + (person,) + scene.people[focus + 1:]
        return replace(scene, people=people, focus=focus, fillers=0, told=scene.told + 1)

    def _fill(self, choose: Chooser, scene: Scene) -> Scene:
        """Says something that carries no clue."""
        sentence = choose.among(self.lexicon.sentences["filler", scene.people[scene.focus].pronoun], scene.topics)
        self.lexicon.utter(choose, sentence, barred=[person.name for person in scene.people])
        return replace(scene, topics=scene.topics + (sentence.topic,), fillers=scene.fillers + 1)

    def _say(self, choose: Chooser, role: str, pronoun: str, facts: Row = NOTHING_KNOWN,
             barred: Sequence[str] = ()) -> dict[str, str]:
        sentence = choose.among(self.lexicon.sentences[role, pronoun])
        return self.lexicon.utter(choose, sentence, facts, barred)


def iterate_stories(count: int, seed: int, split: str) -> Iterator[Story]:
    """Tells stories; the same ones on every platform and Python version.

    Args:
        count: how many; fewer stories of the same seed and split are the beginning of more.
        seed: any whole number.
        split: ``train``, ``valid`` or ``test``; each has a random stream of its own.

    Yields:
        The stories.
    """
    if split not in SPLITS:
        raise ValueError(f"split is {split!r}; it must be one of {', '.join(SPLITS)}")
    rng = Random(f"biographies/{seed}/{split}")
    biography = Biography(load_lexicon())
    for _ in range(count):
        sampler = sample(biography.tell, Scene(), rng)
        yield Story(sampler.text.removesuffix("\n"), sampler.log_probability)


def source_nll(count: int, seed: int, split: str) -> float:
    """The source's own negative log-likelihood of a split's stories: in the long run no model can get below it.

    Args:
        count: how many stories.
        seed: of the stories.
        split: ``train``, ``valid`` or ``test``.

    Returns:
        Nats, summed over every word and every line end. Divided by the number of tokens and exponentiated, it is the
        source's perplexity.
    """
    return -math.fsum(story.log_probability for story in iterate_stories(count, seed, split))


def log_probability_of(text: str) -> float:
    """The log-probability of a line under the grammar, found by reading the line back.

    Args:
        text: one story, without its line end.

    Returns:
        Nats, the line's end included; ``-inf`` if no story reads so.
    """
    ways = derivations(Biography(load_lexicon()).tell, Scene(), text + "\n")
    return log_sum(log_probability for _, log_probability in ways)


def next_word_probabilities(prefix: str) -> dict[str, float]:
    r"""The source's own distribution of the word after a story's beginning, exactly.

    Args:
        prefix: the beginning of a story, in whole words, such as ``I grew up in France. I speak fluent``.

    Returns:
        Probability by word or punctuation mark (``"\n"`` for the line's end); empty if no story begins so.
    """
    return story_grammar.next_word_probabilities(Biography(load_lexicon()).tell, Scene(), prefix.rstrip())


def identity() -> str:
    """A hash of all that decides which stories a seed tells: this grammar's source files and word lists."""
    digest = hashlib.sha256()
    here = Path(__file__).parent
    for name in SOURCE_FILES:
        digest.update((here / name).read_text(encoding="utf-8").encode())
    for name in LEXICON_FILES:
        digest.update(read_word_list_text(name).encode())
    return digest.hexdigest()
