"""Counts the words of a corpus once, builds its vocabulary, and plans its mix.

The vocabulary of a mix comes from the train splits of all its sources. The corpus's own text is
counted first: its words decide how the others are spelled. Real sentences in stories are not
counted again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, BinaryIO

from lstm_lm.config import CorpusConfig
from lstm_lm.corpus.parts import Part, plan_mix, plan_of, with_plan
from lstm_lm.corpus.sources import Source, check_unchanged
from lstm_lm.corpus.tokenization import Recipe, recipe_json
from lstm_lm.corpus.vocabulary import Vocabulary, count_words
from lstm_lm.errors import CorpusError, RunDirectoryError
from lstm_lm.files.cache import check_cache, entry_folder, read_entry, write_entry

_TOKENIZER = "tokenizer.json"


@dataclass(frozen=True)
class Dropped:
    """How many words of train the settings made ``<unk>``.

    Attributes:
        rare: those that occur less often than ``corpus.min_count``.
        cut: those that did not fit into ``corpus.vocab_size``, or were not added by
            ``corpus.extend_vocabulary``.
        kinds_cut: how many different words of the latter occur at least twice.
    """

    rare: int
    cut: int
    kinds_cut: int = 0


@dataclass(frozen=True)
class Counted:
    """What `load_counted` returns.

    Attributes:
        vocabulary: of all sources.
        dropped: the words that it leaves out; None if an older cache does not know it.
        plan: for each source, what `parts.plan_of` returns.
    """

    vocabulary: Vocabulary
    dropped: Dropped | None
    plan: list[dict[str, Any]]


def load_counted(
    parts: Sequence[Part], config: CorpusConfig, recipe: Recipe, base: Vocabulary | None = None
) -> Counted:
    """Returns the vocabulary of a corpus and the plan of its mix; from the cache or counted now.

    Args:
        parts: the sources, the corpus's own text first.
        config: its `min_count`, `vocab_size`, `extend_vocabulary`, `cache_dir` and `mix` are used.
        recipe: what counts as a word; its options are chosen by the corpus's own text.
        base: the vocabulary of an earlier model, which is then extended; its recipe counts.

    Raises:
        CorpusError: train cannot be read, has fewer than two different words, or changes while it
            is read.
        DiskError: the cache cannot be written.
    """
    source = parts[0].source
    fingerprint = source.fingerprint("train")
    mix: list[Any] = [part.key() for part in parts] if config.mix else []
    if base is not None:
        recipe = base.recipe
        mix += [base.to_json(), config.extend_vocabulary, parts[0].is_natural]
    folder = entry_folder(
        config.cache_dir,
        "vocabulary",
        fingerprint,
        recipe_json(recipe),
        config.min_count,
        config.vocab_size,
        *mix,
    )
    if meta := read_entry(folder, _TOKENIZER):
        dropped = None
        if "rare" in meta:
            dropped = Dropped(meta["rare"], meta["cut"], meta.get("kinds_cut", 0))
        try:
            vocabulary = Vocabulary.load(folder / _TOKENIZER)
            return Counted(vocabulary, dropped, meta.get("plan", plan_of(parts)))
        except RunDirectoryError:
            pass  # removed in the meantime, such as by emptying the cache: it is counted again
    check_cache(folder.parent)  # before the corpus is read
    counts, recipe, plan = _count(parts, config, recipe, base)
    if base is not None:
        vocabulary = base.extended(counts, config.extend_vocabulary, config.min_count)
    else:
        vocabulary = Vocabulary.from_counts(
            counts, recipe, min_count=config.min_count, vocab_size=config.vocab_size
        )
    dropped = _dropped(counts, vocabulary, config.min_count)
    check_unchanged(source, "train", fingerprint)

    def write(file: BinaryIO) -> dict[str, Any]:
        file.write(vocabulary.to_json().encode("utf-8"))
        meta = {"words": len(vocabulary), **asdict(dropped)}
        return meta | ({"plan": plan} if config.mix else {})

    write_entry(folder, _TOKENIZER, write)
    return Counted(vocabulary, dropped, plan)


def _count(
    parts: Sequence[Part], config: CorpusConfig, recipe: Recipe, base: Vocabulary | None
) -> tuple[Counter[str], Recipe, list[dict[str, Any]]]:
    """Counts the words of all sources, and plans the mix."""
    source = parts[0].source
    if base is not None:
        source = parts[0].spelled(source, base, config.cache_dir)
    lines = _CountedLines(source.iterate_lines("train"))
    counts, recipe = count_words(lines, recipe, choose_options=base is None)
    if not config.mix:
        return counts, recipe, plan_of(parts)
    own_words = base or Vocabulary.from_counts(counts, recipe)
    sizes = [counts.total() + lines.count]
    others: list[Counter[str]] = []
    for part in parts[1:]:
        if part.is_woven:
            sizes.append(0)
            continue
        found, size = _count_part(part.spelled(source, own_words, config.cache_dir), recipe)
        if not size:
            raise CorpusError(f"corpus.mix: the train split of {part.name} has no lines")
        others.append(found)
        sizes.append(size)
    plan = plan_of(plan_mix(parts, sizes, own_words, config))
    for part in with_plan(parts, plan, config):
        if part.is_woven:
            others.append(_count_stories(part.source, own_words))
    for found in others:
        counts.update(found)
    return counts, recipe, plan


def _count_part(source: Source, recipe: Recipe) -> tuple[Counter[str], int]:
    """Returns the words of a text, and its number of tokens."""
    lines = _CountedLines(source.iterate_lines("train"))
    counts, _ = count_words(lines, recipe)
    return counts, counts.total() + lines.count


def _count_stories(stories: Source, own_words: Vocabulary) -> Counter[str]:
    """Returns the words of stories, spelled as the corpus is; splits each different chunk once."""
    chunks: Counter[str] = Counter()
    for line in stories.iterate_lines("train"):
        chunks.update(line.split())
    words: Counter[str] = Counter()
    for chunk, count in chunks.items():
        for word in own_words.split_text(chunk):
            words[word] += count
    return words


class _CountedLines:
    """Lines that are counted while they are read."""

    def __init__(self, lines: Iterable[str]) -> None:
        self._lines, self.count = lines, 0

    def __iter__(self) -> Iterator[str]:
        for line in self._lines:
            self.count += 1
            yield line


def _dropped(counts: Mapping[str, int], vocabulary: Vocabulary, min_count: int) -> Dropped:
    """Returns how many words of train are not in the vocabulary, and why."""
    rare = cut = kinds_cut = 0
    for word, count in counts.items():
        if vocabulary.id(word) is None:
            if count < min_count:
                rare += count
            else:
                cut += count
                kinds_cut += count > 1
    return Dropped(rare, cut, kinds_cut)
