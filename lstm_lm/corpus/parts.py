"""The parts of a corpus: its own text, and the other sources of its mix."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from lstm_lm.config import CorpusConfig, MixedSource, StoriesConfig
from lstm_lm.corpus.file_reading import NaturalSource
from lstm_lm.corpus.fingerprints import fingerprint_of
from lstm_lm.corpus.sources import Source, build_source
from lstm_lm.corpus.story_source import StoriesSource
from lstm_lm.corpus.vocabulary import Vocabulary
from lstm_lm.corpus.woven import WovenStories

# Stories of a mix have as many for validation and for the test, however many there are to train on.
HELD_OUT_STORIES = 500
_SAMPLE_STORIES = 400  # from which the length of a story is estimated


@dataclass(frozen=True)
class Part:
    """One source of a corpus.

    Attributes:
        name: of the source, such as ``files``; where two are alike, ``files 2``.
        source: its text, as it is.
        entry: its entry of `corpus.mix`; None for the corpus's own text.
        passes: how often it is read in each pass over the mix.
        is_natural: whether the text is natural, not tokenised; of stories it is not used.
    """

    name: str
    source: Source
    entry: MixedSource | None = None
    passes: float = 1.0
    is_natural: bool = False

    @property
    def is_woven(self) -> bool:
        """Whether it is the stories of a mix. Each of these is validated from a zero state."""
        return self.entry is not None and self.entry.corpus.source == "stories"

    @property
    def curricula(self) -> int | None:
        """How many curricula its train stories have; None for a text."""
        return self.entry.stories.curriculum if self.entry and self.is_woven else None

    @property
    def share_at_start(self) -> float | None:
        """Its share of the tokens at the beginning; None: as everywhere, or what is left."""
        return self.entry.mix.share_at_start if self.entry else None

    def spelled(self, own_text: Source, vocabulary: Vocabulary, cache_dir: str | None) -> Source:
        """Returns the text as the corpus spells it.

        Args:
            own_text: the corpus's own text, as the corpus spells it; stories may get its sentences.
            vocabulary: of the corpus.
            cache_dir: where the ids of the own text are kept; None for the default.
        """
        if self.entry is not None and self.is_woven:
            return WovenStories(self.source, self.entry, own_text, vocabulary, cache_dir)
        if vocabulary.tokenization == "whitespace" and self.is_natural:
            return NaturalSource(self.source, vocabulary)
        return self.source

    def key(self) -> str:
        """Returns a hexadecimal hash of the train text, and of how it is mixed."""
        if self.entry is not None and self.is_woven:  # their number may not be known yet
            return fingerprint_of(self.source.fingerprint("train"), self.entry)
        return fingerprint_of(self.source.fingerprint("train"), self.entry, self.passes)


def build_parts(config: CorpusConfig, stories: StoriesConfig | None) -> list[Part]:
    """Builds the sources of a corpus, its own text first.

    Where an entry of the mix has a share, the part is not planned yet; see `plan_mix`.

    Raises:
        CorpusError: a setting that a source needs is missing, or a file cannot be read.
        HubError: the hub is out of reach, or does not have the data set.
        DiskError: there is no space for a download.
    """
    own, *others = config.source_names()
    passes = config.passes if config.mix else 1
    return [
        Part(
            own,
            build_source(config, stories),
            passes=passes,
            is_natural=config.tokenization == "words",
        ),
        *(_build_part(name, entry, config) for name, entry in zip(others, config.mix, strict=True)),
    ]


def _build_part(name: str, entry: MixedSource, config: CorpusConfig) -> Part:
    if entry.corpus.source == "stories":
        source: Source = StoriesSource(entry.stories, config.cache_dir, HELD_OUT_STORIES)
    else:
        source = build_source(replace(entry.corpus, cache_dir=config.cache_dir))
    is_natural = entry.corpus.tokenization == "words"
    return Part(name, source, entry, entry.mix.passes or 1.0, is_natural)


def plan_mix(
    parts: Sequence[Part], sizes: Sequence[int], vocabulary: Vocabulary, config: CorpusConfig
) -> list[Part]:
    """Decides what gives each entry its share: a number of stories, or of passes over a text.

    Args:
        parts: of `build_parts`.
        sizes: for each part, the tokens of its train split; those of stories are not used.
        vocabulary: of the corpus's own text.
        config: of the corpus.

    Returns:
        The parts, with the passes and the stories that they are read with.
    """
    own_text = parts[0].spelled(parts[0].source, vocabulary, config.cache_dir)
    lengths = [_tokens_per_story(part, own_text, vocabulary, config) for part in parts]
    fixed = shares = 0.0
    for part, size, length in zip(parts, sizes, lengths, strict=True):
        if part.entry is not None and part.entry.mix.share is not None:
            shares += part.entry.mix.share
        elif part.entry is not None and part.is_woven:
            fixed += part.entry.stories.count * length * part.passes
        else:
            fixed += size * part.passes
    total = fixed / (1 - shares)
    planned = []
    for part, size, length in zip(parts, sizes, lengths, strict=True):
        if part.entry is None or part.entry.mix.share is None:
            planned.append(part)
        elif part.is_woven:
            count = max(1, round(part.entry.mix.share * total / length))
            planned.append(_with_count(part, count, config))
        else:
            planned.append(replace(part, passes=part.entry.mix.share * total / size))
    return planned


def plan_of(parts: Sequence[Part]) -> list[dict[str, Any]]:
    """Returns what `plan_mix` decided, as plain values."""
    return [
        {"passes": part.passes, "count": part.entry.stories.count if part.entry else None}
        for part in parts
    ]


def with_plan(
    parts: Sequence[Part], plan: Sequence[dict[str, Any]], config: CorpusConfig
) -> list[Part]:
    """Returns parts that are planned as `plan_of` says."""
    planned = []
    for part, decided in zip(parts, plan, strict=True):
        if part.is_woven:
            part = _with_count(part, decided["count"], config)
        planned.append(replace(part, passes=decided["passes"]))
    return planned


def _with_count(part: Part, count: int, config: CorpusConfig) -> Part:
    """Returns stories of another number."""
    assert part.entry is not None
    entry = replace(part.entry, stories=replace(part.entry.stories, count=count))
    return _build_part(part.name, entry, config)


def _tokens_per_story(
    part: Part, own_text: Source, vocabulary: Vocabulary, config: CorpusConfig
) -> float:
    """Returns the tokens of a story on average, by a sample; 0 for a part that is no stories."""
    if part.entry is None or not part.is_woven:
        return 0.0
    one_curriculum = part.entry.stories.curriculum and 1
    stories = replace(part.entry.stories, curriculum=one_curriculum)
    part = replace(part, entry=replace(part.entry, stories=stories))
    part = _with_count(part, _SAMPLE_STORIES, config)
    sample = part.spelled(own_text, vocabulary, config.cache_dir)
    tokens = [len(ids) for ids in vocabulary.encode_lines(sample.iterate_lines("train"))]
    return sum(tokens) / len(tokens)
