"""Short English life stories in which a word decides, many words ahead, what must be said.

People grow up in a country, move, meet others, lose things and find them, write letters; relatives have trades, and
neighbours have pets. The country decides language, capital and nationality; each fact sticks to its person; who is
spoken of decides the pronouns, and an older subject is let go for a new one; what was opened is closed. Sentences in
between say nothing about any of it.

Stories are drawn from a grammar of our own whose every choice can be read back from the text. So the source is known
by its next-word distribution given everything said so far, and its perplexity, which no model can beat, is computed
exactly and not estimated.

The word lists and the sentences lie in ``data/biographies`` (`story_lexicon`); what follows what is `story_program`,
and how a program is told by chance, and read back, `story_grammar`.
"""

from __future__ import annotations

import bisect
import hashlib
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random

from lstm_lm.config import StoriesConfig
from lstm_lm.files.packaged import read_word_list_text
from lstm_lm.stories import grammar
from lstm_lm.stories.grammar import derivations, log_sum, sample
from lstm_lm.stories.lexicon import LEXICON_FILES, load_lexicon
from lstm_lm.stories.program import Biography
from lstm_lm.stories.scene import Scene

SPLITS = ("train", "valid", "test")
SOURCE_FILES = ("biographies.py", "program.py", "scene.py", "grammar.py", "lexicon.py")
NEAREST = (
    8  # where a curriculum begins: a clue and its return are at most about so many words apart
)
# Of the stories about people alone, at first he comes before her, and he and she do not share a cue.
IN_ORDER = 1 / 2
TOLD_APART = {
    "he": ("1", "3"),
    "she": ("0", "2"),
}  # the cues, by number, that are never said of him, and of her
GROWING = 0.7  # of a pass of a curriculum; from then on distances are as far as they get


@dataclass(frozen=True)
class Story:
    """One life story.

    Attributes:
        text: one line in natural typography, without its line end.
        log_probability: of the whole line, its end included, in nats.
    """

    text: str
    log_probability: float


def distance_limit(share: float, farthest: int) -> int:
    """How far apart clue and return may be when such a share of a curriculum's pass, in [0, 1], is over.

    It grows by orders of magnitude, slowly at first: near stories are short, and what they teach comes before the rest.
    """
    return round(NEAREST * (farthest / NEAREST) ** min(1.0, share / GROWING) ** 2)


def people_alone(shape: StoriesConfig) -> StoriesConfig:
    """Short stories of two people and where they are from, without anything else; seldom is the narrator one of them.

    Which of two countries is whose is the hardest to learn: whether a network keeps them apart as it hears of them pays
    only once it asks for them apart, and the other way round. Among other things to learn it finds neither.
    """
    return replace(
        shape,
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
    )


def iterate_stories(
    count: int,
    seed: int,
    split: str,
    shape: StoriesConfig | None = None,
    passes: int | None = None,
    people_first: float = 0.0,
) -> Iterator[Story]:
    """Tells stories; the same ones on every platform and Python version.

    Args:
        count: how many; fewer of the same seed and split are the beginning of more. With `passes`, about how many: the
            first pass has its share of them, and every other has as many words, not as many stories, so that streams
            of equal length, one for each pass, move out together.
        seed: any whole number.
        split: ``train``, ``valid`` or ``test``; each has a random stream of its own.
        shape: what kind of stories; the default of `StoriesConfig` if None.
        passes: how often the stories begin near and move out; if None, distances are as far as they get from the start.
        people_first: share of every pass, in [0, 1), whose stories are of `people_alone`, and near; then come all. In
            the first half of them he is told of before her, and in other sentences than she, so that the two are
            easily told apart.

    Yields:
        The stories.
    """
    if split not in SPLITS:
        raise ValueError(f"split is {split!r}; it must be one of {', '.join(SPLITS)}")
    rng, shape = Random(f"biographies/{seed}/{split}"), shape or StoriesConfig()
    lexicon, people = load_lexicon(), people_alone(shape)
    parts = (
        (people_first * IN_ORDER, Biography(lexicon, people, first=("he",), never_cues=TOLD_APART)),
        (people_first, Biography(lexicon, people)),
        (math.inf, Biography(lexicon, shape)),
    )

    def tell(share: float) -> tuple[Story, int]:
        """A story and its number of words, its end included, when such a share of a pass is over."""
        biography = next(biography for end, biography in parts if share < end)
        moved_out = max(0.0, share - people_first) / (1 - people_first)
        sampler = sample(biography.tell, Scene(distance_limit(moved_out, shape.farthest)), rng)
        return Story(sampler.text.removesuffix("\n"), sampler.log_probability), sampler.words + 1

    if passes is None:
        for _ in range(count):
            yield tell(1.0)[0]
        return
    stories, ends = (
        math.ceil(count / passes),
        [0],
    )  # of the first pass: how many, and the words up to their ends
    for number in range(stories):
        story, words = tell(number / stories)
        ends.append(ends[-1] + words)
        yield story
    said = ends[-1]
    while said < passes * ends[-1]:
        number = bisect.bisect_right(ends, said % ends[-1]) - 1
        story, words = tell(number / stories)
        said += words
        yield story


def source_nll(count: int, seed: int, split: str, shape: StoriesConfig | None = None) -> float:
    """The source's own negative log-likelihood of a split's stories: in the long run no model can get below it.

    Args:
        count: how many stories.
        seed: of the stories.
        split: ``train``, ``valid`` or ``test``.
        shape: what kind of stories.

    Returns:
        Nats, summed over every word and every line end. Divided by the number of tokens and exponentiated, it is the
        source's perplexity.
    """
    return -math.fsum(story.log_probability for story in iterate_stories(count, seed, split, shape))


def log_probability_of(text: str, shape: StoriesConfig | None = None) -> float:
    """The log-probability of a line under the grammar, found by reading the line back.

    Args:
        text: one story, without its line end.
        shape: what kind of stories.

    Returns:
        Nats, the line's end included; ``-inf`` if no story reads so.
    """
    shape = shape or StoriesConfig()
    ways = derivations(Biography(load_lexicon(), shape).tell, Scene(shape.farthest), text + "\n")
    return log_sum(log_probability for _, log_probability in ways)


def next_word_probabilities(prefix: str, shape: StoriesConfig | None = None) -> dict[str, float]:
    r"""The source's own distribution of the word after a story's beginning, exactly.

    Args:
        prefix: the beginning of a story, in whole words, such as ``I grew up in France. I speak fluent``.
        shape: what kind of stories.

    Returns:
        Probability by word or punctuation mark (``"\n"`` for the line's end); empty if no story begins so.
    """
    shape = shape or StoriesConfig()
    return grammar.next_word_probabilities(
        Biography(load_lexicon(), shape).tell, Scene(shape.farthest), prefix.rstrip()
    )


def identity() -> str:
    """A hash of all that decides which stories a seed tells: this grammar's source files and word lists."""
    digest = hashlib.sha256()
    here = Path(__file__).parent
    for name in SOURCE_FILES:
        digest.update((here / name).read_text(encoding="utf-8").encode())
    for name in LEXICON_FILES:
        digest.update(read_word_list_text(name).encode())
    return digest.hexdigest()
