"""Short English life stories in which one word decides what must be said many words later.

People grow up in a country, move, meet others, lose things and find them, and write letters;
relatives have trades. The country decides the language, the capital and the nationality. Each fact
belongs to one person. The person who is spoken about decides the pronouns. After a change of
subject, pronouns refer to the new person. What is opened is closed. The sentences in between say
nothing about any of this.

The stories are drawn from a grammar. Every choice of the grammar can be recovered from the text.
Therefore the exact distribution of the next word is known at every place, and with it the
perplexity of the source. No model can have a lower one in the long run.

The word lists and the sentences are in ``data/biographies`` (read by `lexicon`). `program` decides
what follows what. `grammar` runs the program: at random to write a story, or along a given text.
"""

from __future__ import annotations

import bisect
import hashlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random

from lstm_lm.config import StoriesConfig
from lstm_lm.files.packaged import read_word_list_text
from lstm_lm.stories import grammar
from lstm_lm.stories.grammar import iterate_derivations, log_sum, sample
from lstm_lm.stories.lexicon import LEXICON_FILES, load_lexicon
from lstm_lm.stories.program import Biography
from lstm_lm.stories.scene import Scene

# The modules that decide which stories a seed gives.
SOURCE_FILES = (
    "biographies.py",
    "blocks.py",
    "program.py",
    "scene.py",
    "grammar.py",
    "lexicon.py",
    "worlds.py",
    "introductions.py",
)

# The greatest distance between a clue and its return at the beginning of a curriculum, in words.
FIRST_DISTANCE_LIMIT = 8
# The part of a pass of a curriculum after which the distances have reached their maximum.
WIDENING_FRACTION = 0.7
# The part of the stories about two people in which he and she are easy to tell apart.
EASY_PAIRS_FRACTION = 1 / 2
# There, by pronoun, the numbers of the cues that are never used: he and she have no cue in common.
EXCLUDED_CUES_OF_EASY_PAIRS = {
    "he": tuple(str(number) for number in range(1, 32, 2)),
    "she": tuple(str(number) for number in range(0, 32, 2)),
}


@dataclass(frozen=True)
class Story:
    """One life story.

    Attributes:
        text: one line in natural typography, without its line end.
        log_probability: of the whole line, including its end, in nats.
        words: number of its words and punctuation marks, including the line end.
    """

    text: str
    log_probability: float
    words: int


def distance_limit(progress: float, farthest: int) -> int:
    """Returns the greatest distance between a clue and its return at one point of a curriculum.

    It grows from `FIRST_DISTANCE_LIMIT` to `farthest`, slowly at first: stories with near returns
    are short, and the model must learn from them before it can learn from the others.

    Args:
        progress: the part of the pass that is over, in [0, 1].
        farthest: the greatest distance at the end, in words.

    Returns:
        The distance in words.
    """
    exponent = min(1.0, progress / WIDENING_FRACTION) ** 2
    return round(FIRST_DISTANCE_LIMIT * (farthest / FIRST_DISTANCE_LIMIT) ** exponent)


def two_people_only(config: StoriesConfig) -> StoriesConfig:
    """Returns the settings for short stories of two people and where they are from, nothing else.

    The narrator is seldom one of the two. These stories come first in a curriculum, because the
    hardest thing to learn is which of two countries belongs to which person: a network gains
    nothing from storing them separately before it also asks for them separately, and the reverse.
    """
    return replace(
        config,
        returns=1.7,
        events=0.9,
        trade=0,
        narrator=2,
        person=8,
        subject_change=0,
        move=0,
        kin=0,
        lost=0,
        quotation=0,
        lesson=0,
        memo=0,
    )


class Storyteller:
    """Draws stories for any point of a curriculum.

    A pass has three stages: easy stories about two people, all stories about two people, and all
    stories. In the third stage the distances grow.
    """

    def __init__(self, config: StoriesConfig, people_first: float) -> None:
        """See `iterate_stories` for the arguments."""
        lexicon = load_lexicon(config.world)
        two_people = two_people_only(config)
        self._easy_pairs = Biography(
            lexicon, two_people, first=("he",), excluded_cues=EXCLUDED_CUES_OF_EASY_PAIRS
        )
        self._pairs = Biography(lexicon, two_people)
        self._everything = Biography(lexicon, config)
        self._farthest = config.farthest
        self._people_first = people_first

    def tell(self, progress: float, rng: Random) -> Story:
        """Draws one story.

        Args:
            progress: the part of the pass that is over, in [0, 1].
            rng: makes the choices.
        """
        if progress < self._people_first * EASY_PAIRS_FRACTION:
            program = self._easy_pairs
        elif progress < self._people_first:
            program = self._pairs
        else:
            program = self._everything
        third_stage = max(0.0, progress - self._people_first) / (1 - self._people_first)
        scene = Scene(distance_limit(third_stage, self._farthest))
        sampler = sample(program.tell, scene, rng)
        text = sampler.text.removesuffix("\n")
        return Story(text, sampler.log_probability, sampler.words + 1)


def iterate_stories(
    count: int,
    seed: int,
    split: str,
    config: StoriesConfig | None = None,
    passes: int | None = None,
    people_first: float = 0.0,
) -> Iterator[Story]:
    """Yields stories; the same ones on every platform and Python version.

    Args:
        count: how many. A smaller number gives the first stories of a larger one. With `passes` the
            number is approximate: the first pass has ``count / passes`` stories, and every other
            pass has as many words as the first. So if a corpus is cut into one stream of equal
            length per pass, all streams are at the same point of the curriculum.
        seed: any whole number.
        split: ``train``, ``valid`` or ``test``; each has its own random stream.
        config: what kind of stories; the default of `StoriesConfig` if None. Its `count`, `seed`,
            `curriculum` and `people_first` are not used.
        passes: how many times the stories begin near and become wider. If None, the distances are
            at their maximum from the start, and `people_first` is not used.
        people_first: part of every pass, in [0, 1), whose stories are those of `two_people_only`,
            with near returns. In the first half of them the story begins with him, not her, and the
            sentences that name his country differ from those that name hers. So the two are easy to
            tell apart.

    Yields:
        The stories.

    Raises:
        ValueError: there is no such split.
    """
    check_split(split)
    rng = Random(f"biographies/{seed}/{split}")
    config = config or StoriesConfig()
    if passes is None:
        storyteller = Storyteller(config, 0.0)
        for _ in range(count):
            yield storyteller.tell(1.0, rng)
    else:
        storyteller = Storyteller(config, people_first)
        yield from _iterate_passes(storyteller, rng, math.ceil(count / passes), passes)


def check_split(split: str) -> None:
    """Raises ValueError if there is no such split."""
    if split not in ("train", "valid", "test"):
        raise ValueError(f"split is {split!r}; it must be train, valid or test")


def _iterate_passes(
    storyteller: Storyteller, rng: Random, stories_per_pass: int, passes: int
) -> Iterator[Story]:
    """Yields the stories of a curriculum; every pass has as many words as the first."""
    first_pass = []
    words = 0
    for story in tell_first_pass(stories_per_pass, storyteller, rng):
        words += story.words
        first_pass.append(words)
        yield story
    yield from tell_pass_like(first_pass, storyteller, rng, passes - 1)


def tell_first_pass(count: int, storyteller: Storyteller, rng: Random) -> Iterator[Story]:
    """Yields the stories of the first pass of a curriculum.

    Args:
        count: how many.
        storyteller: tells them.
        rng: makes the choices.
    """
    for number in range(count):
        yield storyteller.tell(number / count, rng)


def tell_pass_like(
    first_pass: Sequence[int], storyteller: Storyteller, rng: Random, passes: int = 1
) -> Iterator[Story]:
    """Yields the stories of more passes of a curriculum; each has as many words as the first.

    Args:
        first_pass: for each story of the first pass, the number of words up to its end.
        storyteller: tells the stories.
        rng: makes the choices.
        passes: how many passes. The last story of a pass can reach into the next pass.
    """
    words_per_pass = first_pass[-1]
    words = 0
    while words < passes * words_per_pass:
        # The story of the first pass that stands at this place of its pass.
        number = bisect.bisect_right(first_pass, words % words_per_pass)
        story = storyteller.tell(number / len(first_pass), rng)
        words += story.words
        yield story


def source_nll(count: int, seed: int, split: str, config: StoriesConfig | None = None) -> float:
    """Returns the negative log-likelihood of a split's stories under their own source.

    In the long run no model can have a lower one.

    Args:
        count: how many stories.
        seed: of the stories.
        split: ``train``, ``valid`` or ``test``.
        config: what kind of stories.

    Returns:
        Nats, summed over every word and every line end. Divided by the number of tokens and
        exponentiated, it is the source's perplexity.
    """
    stories = iterate_stories(count, seed, split, config)
    return -math.fsum(story.log_probability for story in stories)


def log_probability_of(text: str, config: StoriesConfig | None = None) -> float:
    """Returns the log-probability of a line under the grammar, found by parsing the line.

    Args:
        text: one story, without its line end.
        config: what kind of stories.

    Returns:
        Nats, including the line end; ``-inf`` if no story has this text.
    """
    program, start = _program_and_start(config)
    derivations = iterate_derivations(program.tell, start, text + "\n")
    return log_sum(log_probability for _, log_probability in derivations)


def next_word_probabilities(prefix: str, config: StoriesConfig | None = None) -> dict[str, float]:
    r"""Returns the source's own, exact distribution of the word after a story's beginning.

    Args:
        prefix: the beginning of a story, in whole words, such as
            ``I grew up in France. I speak fluent``.
        config: what kind of stories.

    Returns:
        Probabilities by word or punctuation mark (``"\n"`` is the line end); empty if no story
        begins so.
    """
    program, start = _program_and_start(config)
    return grammar.next_word_probabilities(program.tell, start, prefix.rstrip())


def _program_and_start(config: StoriesConfig | None) -> tuple[Biography, Scene]:
    config = config or StoriesConfig()
    return Biography(load_lexicon(config.world), config), Scene(config.farthest)


def fingerprint() -> str:
    """Returns a SHA-256 in hexadecimal of everything that decides which stories a seed gives.

    It covers the source files of the grammar and the word lists.
    """
    digest = hashlib.sha256()
    folder = Path(__file__).parent
    for name in SOURCE_FILES:
        digest.update((folder / name).read_text(encoding="utf-8").encode())
    for name in LEXICON_FILES:
        digest.update(read_word_list_text(name).encode())
    return digest.hexdigest()
