"""A text source with a known distribution: one story program, run in two ways.

A story program is a function ``tell(chooser, scene)``. It says one sentence and returns the scene
after it, or None when the story is over. Scenes are immutable. Every random decision goes through
``chooser.choose(choices)``. The text comes from ``chooser.say(text)`` and from the chosen options.

Two classes run a program:

- `Sampler` draws every choice at random, so the program writes a new story.
- `Parser` is given a text and takes only choices that agree with it, so the program finds out how
  that text was written. `iterate_derivations` tries all choices, sentence by sentence. It is used
  to score a text, to predict the next word, and, without a text, to list all that a program can
  say.

Both sum the logarithms of the probabilities of the choices that they take. If a text has only one
derivation, the sum is exactly the log-probability of the text.
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
    """One of several ways to continue a story.

    Attributes:
        text: what is said if this option is chosen. It may be empty if the text after it shows
            which option was chosen.
        value: what the story program receives.
        weight: its relative frequency, a whole number, so that sums of weights are exact on every
            machine.
        group: a name by which the option can be excluded.
    """

    text: str
    value: Any
    weight: int = 1
    group: str = ""


class Choices:
    """A set of weighted options, of which one is chosen."""

    def __init__(self, options: Iterable[Option]):
        """Precomputes the sums of the weights; the options keep their order."""
        self.options = tuple(options)
        self._cumulative = list(itertools.accumulate(option.weight for option in self.options))
        self._group_weight: dict[str, int] = {}
        for option in self.options:
            weight = self._group_weight.get(option.group, 0) + option.weight
            self._group_weight[option.group] = weight

    def weight(self, excluded: Collection[str] = ()) -> int:
        """Returns the sum of the weights without the excluded groups, each of them named once."""
        return self._cumulative[-1] - sum(self._group_weight.get(group, 0) for group in excluded)

    def draw(self, rng: Random) -> Option:
        """Draws an option.

        Only ``rng.random()`` is used: it returns the same numbers in every Python version.
        """
        position = int(rng.random() * self._cumulative[-1])
        return self.options[bisect.bisect_right(self._cumulative, position)]


@functools.lru_cache(maxsize=2**14)
def weighted(*options: tuple[str, object, int]) -> Choices:
    """Returns choices of (text, value, weight); those of weight 0 are left out."""
    return Choices(Option(text, value, weight) for text, value, weight in options if weight)


# One word or one punctuation mark: the unit of all distances.
_WORD = re.compile(r"\w+|[^\w\s]")


@functools.lru_cache(maxsize=2**16)
def count_words(text: str) -> int:
    """Returns the number of words and punctuation marks in a text."""
    return len(_WORD.findall(text))


class Chooser(Protocol):
    """What a story program needs in order to run.

    Attributes:
        words: number of words and punctuation marks said so far.
    """

    words: int

    def choose(self, choices: Choices, excluded: Collection[str] = ()) -> Any:
        """Takes an option outside the excluded groups, says its text and returns its value."""

    def say(self, text: str) -> None:
        """Says text that does not depend on a choice."""


# Says one sentence and returns the scene after it; None when the story is over.
StoryProgram = Callable[[Chooser, Any], Any]


class Sampler:
    """A `Chooser` that draws every choice at random.

    Attributes:
        text: what has been said.
        words: the number of its words and punctuation marks.
        log_probability: of the choices drawn so far, in nats.
    """

    def __init__(self, rng: Random):
        """Starts with an empty text; `rng` makes the choices."""
        self.text = ""
        self.words = 0
        self.log_probability = 0.0
        self._rng = rng

    def choose(self, choices: Choices, excluded: Collection[str] = ()) -> Any:
        """See `Chooser.choose`; draws again while the option is in an excluded group."""
        weight = choices.weight(excluded)
        assert weight > 0, "every option is excluded"
        option = choices.draw(self._rng)
        while option.group in excluded:
            option = choices.draw(self._rng)
        self.log_probability += math.log(option.weight / weight)
        self.say(option.text)
        return option.value

    def say(self, text: str) -> None:
        """See `Chooser.say`."""
        self.text += text
        self.words += count_words(text)


class _Stop(Exception):
    """Ends a parse: the text disagrees (`_DeadEnd`), or enough has been read (`_Enough`)."""


class _DeadEnd(_Stop):
    pass


class _Enough(_Stop):
    pass


class Parser:
    """A `Chooser` that takes only choices which agree with a given text.

    It also records where the sentence could have continued differently.

    Attributes:
        text: what has been said. It agrees with the expected text, and may be longer.
        words: the number of its words and punctuation marks.
        log_probability: of the choices taken so far, in nats.
        alternatives: the choices not taken. Each is a list of option indices, from the start of the
            sentence up to and including the other choice.
    """

    def __init__(
        self,
        expected: str,
        is_enough: Callable[[str], bool],
        text: str,
        words: int,
        log_probability: float,
        taken: list[int],
    ):
        """Starts to parse one sentence.

        Args:
            expected: the text to agree with.
            is_enough: receives what has been said, and returns whether to stop.
            text: what was said before this sentence.
            words: number of its words and punctuation marks.
            log_probability: of it, in nats.
            taken: the option indices to take first in this sentence.
        """
        self.text = text
        self.words = words
        self.log_probability = log_probability
        self.alternatives: list[list[int]] = []
        self._expected = expected
        self._is_enough = is_enough
        self._taken = taken
        self._depth = 0

    def choose(self, choices: Choices, excluded: Collection[str] = ()) -> Any:
        """See `Chooser.choose`.

        Takes the given option indices first, after them the first option that agrees with the text.
        """
        if self._depth == len(self._taken):
            viable = [
                index
                for index, option in enumerate(choices.options)
                if self._agrees(option.text) and option.group not in excluded
            ]
            if not viable:
                raise _DeadEnd
            self.alternatives += [[*self._taken, index] for index in viable[1:]]
            self._taken = [*self._taken, viable[0]]
        option = choices.options[self._taken[self._depth]]
        self._depth += 1
        self.log_probability += math.log(option.weight / choices.weight(excluded))
        self.say(option.text)
        return option.value

    def say(self, text: str) -> None:
        """See `Chooser.say`; stops the parse if the text disagrees, or if enough has been read."""
        if not self._agrees(text):
            raise _DeadEnd
        self.text += text
        self.words += count_words(text)
        if self._is_enough(self.text):
            raise _Enough

    def _agrees(self, text: str) -> bool:
        position = len(self.text)
        return self._expected.startswith(text, position) or text.startswith(
            self._expected[position:]
        )


def sample(tell: StoryProgram, start: Any, rng: Random) -> Sampler:
    """Writes one story at random.

    Args:
        tell: the story program.
        start: the scene before the first sentence.
        rng: makes the choices.

    Returns:
        The sampler, with the story's text and log-probability.
    """
    sampler = Sampler(rng)
    scene = start
    while scene is not None:
        scene = tell(sampler, scene)
    return sampler


def iterate_derivations(
    tell: StoryProgram,
    start: Any,
    expected: str = "",
    is_enough: Callable[[str], bool] = lambda text: False,
) -> Iterator[tuple[str, float]]:
    """Yields every way in which a story program writes a text that begins with the expected one.

    Args:
        tell: the story program.
        start: the scene before the first sentence.
        expected: the text. If it is empty, everything that the program can say is listed; this ends
            only if the program is finite or `is_enough` stops it.
        is_enough: receives what has been said, and returns whether the rest of the story is not
            needed.

    Yields:
        What was said (a whole story, or the part up to where `is_enough` stopped it), and its
        log-probability in nats. The probabilities of a whole, finite program sum to 1.
    """
    pending: list[tuple[Any, str, int, float, list[int]]] = [(start, "", 0, 0.0, [])]
    while pending:
        scene, text, words, log_probability, taken = pending.pop()
        parser = Parser(expected, is_enough, text, words, log_probability, taken)
        try:
            next_scene = tell(parser, scene)
            is_over = next_scene is None
            if not is_over:
                pending.append((next_scene, parser.text, parser.words, parser.log_probability, []))
        except _Stop as stop:
            is_over = isinstance(stop, _Enough)
        pending += [(scene, text, words, log_probability, other) for other in parser.alternatives]
        if is_over and len(parser.text) >= len(expected):
            yield parser.text, parser.log_probability


def log_sum(log_probabilities: Iterable[float]) -> float:
    """Returns the logarithm of a sum of probabilities.

    Of one term it returns exactly that term; of none, minus infinity.
    """
    terms = list(log_probabilities)
    if not terms:
        return -math.inf
    greatest = max(terms)
    return greatest + math.log(math.fsum(math.exp(term - greatest) for term in terms))


# A word or one punctuation mark; the line end counts as a mark. A word is complete only when the
# character after it is known.
_NEXT_WORD = re.compile(r" *(\w+(?=\W)|[^\w ])")


def next_word_probabilities(tell: StoryProgram, start: Any, prefix: str) -> dict[str, float]:
    r"""Returns the exact distribution of the next word: the prediction of a perfect model.

    Args:
        tell: the story program.
        start: the scene before the first sentence.
        prefix: the beginning of a story, in whole words.

    Returns:
        Probabilities by word or punctuation mark (``"\n"`` is the line end), which sum to 1. The
        result is empty if no story begins with that prefix.
    """

    def next_word(text: str) -> str | None:
        """The word after the prefix; None if not known yet, "" if the prefix cuts a word in two."""
        following = text[len(prefix) :]
        if prefix[-1:].isalnum() and following[:1].isalnum():
            return ""
        found = _NEXT_WORD.match(text, len(prefix)) if following else None
        return found.group(1) if found else None

    derivations = iterate_derivations(tell, start, prefix, lambda text: next_word(text) is not None)
    masses: dict[str, float] = {}
    for text, log_probability in derivations:
        if word := next_word(text):
            masses[word] = masses.get(word, 0.0) + math.exp(log_probability)
    total = math.fsum(masses.values())
    return {word: mass / total for word, mass in masses.items()}
