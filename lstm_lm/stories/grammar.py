"""A text source whose truth is known: a story program, written once and interpreted in two directions.

A story program is a function ``tell(choose, scene)`` that says one sentence and returns the scene after it, or None
when the story is over. Scenes are immutable. All that is random is asked of ``choose.among(choices)``; all that is said
goes through ``choose.say(text)`` or is the text of an option that was chosen. Two interpreters run the program:

- `Sampler` draws every choice, so the program tells a new story;
- `Reader` is given a text and takes only choices that agree with it, so the program finds out how that text came about.
  `derivations` follows every way there is, sentence by sentence; it is what scores a text, predicts a next word and,
  with no text given, lists all there is to say.

Both add up the logarithms of the probabilities of the choices taken. When a text has one derivation only, that sum is
the log-probability of the text, exactly.
"""

from __future__ import annotations

import bisect
import functools
import itertools
import math
import re
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from random import Random
from typing import Any, Protocol


@dataclass(frozen=True)
class Option:
    """One way to go on.

    Attributes:
        text: what is said by choosing it; it may be empty, and then what follows must tell it from the others.
        value: what the story program gets back.
        weight: its share, a whole number, so that sums of weights are exact on every machine.
        group: the name by which it can be barred.
    """

    text: str
    value: Any
    weight: int = 1
    group: str = ""


class Choices:
    """A choice point: options with their weights."""

    def __init__(self, options: Iterable[Option]):
        self.options = tuple(options)
        self._cumulative = list(itertools.accumulate(option.weight for option in self.options))
        self._group_weight: dict[str, int] = {}
        for option in self.options:
            self._group_weight[option.group] = (
                self._group_weight.get(option.group, 0) + option.weight
            )

    def weight(self, barred: Collection[str] = ()) -> int:
        """The weights' sum, without the groups that are barred (each named once)."""
        return self._cumulative[-1] - sum(self._group_weight.get(group, 0) for group in barred)

    def draw(self, rng: Random) -> Option:
        """Draws an option; by ``rng.random()`` alone, the one method that no Python version has changed."""
        return self.options[
            bisect.bisect_right(self._cumulative, int(rng.random() * self._cumulative[-1]))
        ]


# A word, or one mark of punctuation: what a distance is counted in.
_WORD = re.compile(r"\w+|[^\w\s]")


@functools.lru_cache(maxsize=2**16)
def count_words(text: str) -> int:
    """How many words and marks of punctuation a text has."""
    return len(_WORD.findall(text))


class Chooser(Protocol):
    """What a story program is told with.

    Attributes:
        words: how many words and marks of punctuation have been said.
    """

    words: int

    def among(self, choices: Choices, barred: Collection[str] = ()) -> Any:
        """Takes one of the options that are not in a barred group, says its text, returns its value."""

    def say(self, text: str) -> None:
        """Says what is certain."""


# Says one sentence and returns the scene after it; None when the story is over.
StoryProgram = Callable[[Chooser, Any], Any]


class Sampler:
    """Draws every choice.

    Attributes:
        text: what has been said.
        words: how many words that is.
        log_probability: of the choices drawn so far, in nats.
    """

    def __init__(self, rng: Random):
        self.text = ""
        self.words = 0
        self.log_probability = 0.0
        self._rng = rng

    def among(self, choices: Choices, barred: Collection[str] = ()) -> Any:
        """Draws an option, says its text, returns its value."""
        weight = choices.weight(barred)
        assert weight > 0, "every option is barred"
        option = choices.draw(self._rng)
        while option.group in barred:
            option = choices.draw(self._rng)
        self.log_probability += math.log(option.weight / weight)
        self.say(option.text)
        return option.value

    def say(self, text: str) -> None:
        """Says what is certain."""
        self.text += text
        self.words += count_words(text)


class _Stop(Exception):
    """Ends a reading: the text disagrees (`_DeadEnd`), or enough has been read (`_Enough`)."""


class _DeadEnd(_Stop):
    pass


class _Enough(_Stop):
    pass


class Reader:
    """Takes choices that agree with a text, and notes where a sentence could have gone otherwise.

    Attributes:
        text: what has been said; it agrees with the expected text, and may go on beyond it.
        words: how many words that is.
        log_probability: of the choices taken so far, in nats.
        alternatives: the other ways at every choice point that was new, each as a list of choices by their index.
    """

    def __init__(
        self,
        expected: str,
        enough: Callable[[str], bool],
        text: str,
        words: int,
        log_probability: float,
        taken: list[int],
    ):
        self.text = text
        self.words = words
        self.log_probability = log_probability
        self.alternatives: list[list[int]] = []
        self._expected = expected
        self._enough = enough
        self._taken = taken
        self._depth = 0

    def among(self, choices: Choices, barred: Collection[str] = ()) -> Any:
        """Takes the option it was told to or, past those, the first that agrees with the text."""
        if self._depth == len(self._taken):
            viable = [
                index
                for index, option in enumerate(choices.options)
                if self._agrees(option.text) and option.group not in barred
            ]
            if not viable:
                raise _DeadEnd
            self.alternatives += [self._taken + [index] for index in viable[1:]]
            self._taken = self._taken + viable[:1]
        option = choices.options[self._taken[self._depth]]
        self._depth += 1
        self.log_probability += math.log(option.weight / choices.weight(barred))
        self.say(option.text)
        return option.value

    def say(self, text: str) -> None:
        """Says what is certain, and stops the reading if the text disagrees or enough has been read."""
        if not self._agrees(text):
            raise _DeadEnd
        self.text += text
        self.words += count_words(text)
        if self._enough(self.text):
            raise _Enough

    def _agrees(self, text: str) -> bool:
        said = len(self.text)
        return self._expected.startswith(text, said) or text.startswith(self._expected[said:])


def sample(tell: StoryProgram, start: Any, rng: Random) -> Sampler:
    """Tells one story from a scene on; the sampler returned holds its text and log-probability."""
    sampler = Sampler(rng)
    scene = start
    while scene is not None:
        scene = tell(sampler, scene)
    return sampler


def derivations(
    tell: StoryProgram,
    start: Any,
    expected: str = "",
    enough: Callable[[str], bool] = lambda text: False,
) -> Iterator[tuple[str, float]]:
    """Every way in which a story program says a text that begins with the expected one.

    Args:
        tell: the story program.
        start: the scene before the first sentence.
        expected: the text; with an empty one, everything the program can say is listed (it had better be finite).
        enough: given what has been said, whether the rest of the story no longer matters.

    Yields:
        What was said (a whole story, or as much of it as is enough) and its log-probability in nats. The probabilities
        of a whole, finite program sum to 1.
    """
    pending: list[tuple[Any, str, int, float, list[int]]] = [(start, "", 0, 0.0, [])]
    while pending:
        scene, text, words, log_probability, taken = pending.pop()
        reader = Reader(expected, enough, text, words, log_probability, taken)
        try:
            next_scene = tell(reader, scene)
            if next_scene is not None:
                pending.append((next_scene, reader.text, reader.words, reader.log_probability, []))
            is_over = next_scene is None
        except _Stop as stop:
            is_over = isinstance(stop, _Enough)
        pending += [(scene, text, words, log_probability, other) for other in reader.alternatives]
        if is_over and len(reader.text) >= len(expected):
            yield reader.text, reader.log_probability


def log_sum(log_probabilities: Iterable[float]) -> float:
    """The logarithm of a sum of probabilities; of one, itself to the last bit; of none, minus infinity."""
    terms = list(log_probabilities)
    greatest = max(terms, default=-math.inf)
    return (
        greatest + math.log(math.fsum(math.exp(term - greatest) for term in terms))
        if terms
        else greatest
    )


# A word, or one mark of punctuation; the line's end is a mark too. A word counts once the character after it is known.
_NEXT_WORD = re.compile(r" *(\w+(?=\W)|[^\w ])")


def next_word_probabilities(tell: StoryProgram, start: Any, prefix: str) -> dict[str, float]:
    r"""The exact distribution of the word after a prefix: what a perfect model of this source would predict.

    Args:
        tell: the story program.
        start: the scene before the first sentence.
        prefix: the beginning of a story, in whole words.

    Returns:
        Probability by word or punctuation mark, ``"\n"`` for the line's end, summing to 1; empty if no story begins
        with that prefix.
    """

    def next_word(text: str) -> str | None:
        if prefix[-1:].isalnum() and text[len(prefix) : len(prefix) + 1].isalnum():
            return ""  # the prefix ended inside of a longer word: not a prefix in whole words
        found = _NEXT_WORD.match(text, len(prefix)) if len(text) > len(prefix) else None
        return found.group(1) if found else None

    masses: dict[str, float] = {}
    for text, log_probability in derivations(
        tell, start, prefix, lambda text: next_word(text) is not None
    ):
        word = next_word(text)
        if word:
            masses[word] = masses.get(word, 0.0) + math.exp(log_probability)
    total = math.fsum(masses.values())
    return {word: mass / total for word, mass in masses.items()}
