"""A corpus: text in splits, the vocabulary of its train split, and the ids of its words."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lstm_lm.config import CorpusConfig, StoriesConfig
from lstm_lm.corpus.counting import Counted, Dropped, load_counted
from lstm_lm.corpus.file_reading import NaturalSource
from lstm_lm.corpus.mixing import Ingredient, MixedTokens
from lstm_lm.corpus.parts import Part, build_parts, with_plan
from lstm_lm.corpus.sources import FileSource, Source, check_unchanged
from lstm_lm.corpus.tokenization import Recipe
from lstm_lm.corpus.tokens import Tokens, load_tokens
from lstm_lm.corpus.vocabulary import Vocabulary
from lstm_lm.corpus.windows import TokenIds
from lstm_lm.corpus.word_rules import LATEST_VERSION
from lstm_lm.errors import CorpusError


class Corpus:
    """Text in splits, encoded with one vocabulary: its own text, and the other sources of its mix.

    Counting the words and encoding a split happen once; the results are kept in
    ``config.cache_dir``. All splits belong to one state of the text: if train changes after its
    words were counted, `tokens` refuses the corpus.

    Args:
        config: where the text comes from, and what counts as a word.
        stories: which stories are told, if ``config.source`` is ``stories``.
        vocabulary: the words to encode with, such as those of a trained model. None: those of
            the train splits of all sources.
        base: the words of an earlier model, if no vocabulary is given: they keep their ids, and
            ``config.extend_vocabulary`` words of the train splits are added.
        version: of the tokenizer's rules, for a vocabulary that is built here; see `word_rules`.

    Attributes:
        config: as given.
        splits: the names among ``train``, ``valid`` and ``test`` that its own text has, in this
            order.
        sources: the names of all sources, the own text's first, such as ``("hub", "stories")``.
        base: as given.
        dropped: how many words of train the settings made ``<unk>``; None before `vocabulary` was
            read, for a vocabulary that was given, and if an older cache does not know it.

    Raises:
        CorpusError: a setting that a source needs is missing, or a file cannot be read.
        HubError: the hub is out of reach, or does not have the data set.
    """

    def __init__(
        self,
        config: CorpusConfig,
        stories: StoriesConfig | None = None,
        *,
        vocabulary: Vocabulary | None = None,
        base: Vocabulary | None = None,
        version: int = LATEST_VERSION,
    ) -> None:
        self.config = config
        self._version = version if vocabulary is None else vocabulary.version
        self._parts = build_parts(config, stories)
        self._is_planned = not config.mix
        self.sources = tuple(part.name for part in self._parts)
        self._source = self._parts[0].source
        self.splits = self._source.splits
        self._vocabulary, self.base = vocabulary, base
        self.dropped: Dropped | None = None
        self._counted_text: str | None = None  # fingerprint of the text whose words were counted

    @property
    def vocabulary(self) -> Vocabulary:
        """The words to encode with: those of train, read from the cache or counted on first use.

        Raises:
            CorpusError: train cannot be read, has fewer than two different words, or changes while
                it is read.
            DiskError: the cache cannot be written.
        """
        if self._vocabulary is None:
            fingerprint = self._source.fingerprint("train")
            counted = self._count()
            self._vocabulary, self.dropped = counted.vocabulary, counted.dropped
            self._counted_text = fingerprint
        return self._vocabulary

    def _count(self) -> Counted:
        """Counts the words of all sources, or reads the result from the cache; plans the mix."""
        recipe = Recipe(self.config.tokenization, self.config.lowercase, self._version)
        counted = load_counted(self._parts, self.config, recipe, self.base)
        self._parts = with_plan(self._parts, counted.plan, self.config)
        self._is_planned = True
        return counted

    def tokens(self, split: str, source: str = "") -> Tokens:
        """Returns the ids of a split, from the cache or encoded now.

        Args:
            split: ``train``, ``valid`` or ``test``.
            source: a name of `sources`; empty: its own text.

        Raises:
            CorpusError: there is no such split, it cannot be read or has no lines, or the corpus
                changed since its words were counted.
            DiskError: the cache cannot be written.
        """
        self._find_part(split, source)  # refuses a missing split before words are counted
        vocabulary = self.vocabulary
        if split == "train" and not self._is_planned:  # the vocabulary was given
            self._count()
        part = self._find_part(split, source)
        title = f"corpus: the {split} split" + (f" of {part.name}" if part.entry else "")
        cache_dir = self.config.cache_dir
        own_text = self._parts[0].spelled(self._source, vocabulary, cache_dir)
        text = own_text if part.entry is None else part.spelled(own_text, vocabulary, cache_dir)
        tokens = load_tokens(text, split, vocabulary, cache_dir, title)
        if self._counted_text is not None:
            check_unchanged(self._source, "train", self._counted_text)
        return tokens

    def training_tokens(self, streams: int) -> TokenIds:
        """Returns the ids to train on: train, or all sources of the mix in turn.

        Args:
            streams: in how many streams they will be read; see `lstm_lm.corpus.mixing`.

        Raises:
            CorpusError: see `tokens`.
            DiskError: see `tokens`.
        """
        if not self.config.mix:
            return self.tokens("train")
        return self.mixed_tokens(streams)

    def mixed_tokens(self, streams: int) -> MixedTokens:
        """Returns all sources in turn, laid out for that many streams; see `training_tokens`."""
        ingredients = list(self.ingredients().values())
        return MixedTokens(ingredients, streams, self.vocabulary.eos_id)

    def ingredients(self) -> dict[str, Ingredient]:
        """Returns the train split of every source, and how it is mixed, by the source's name."""
        tokens = [self.tokens("train", name) for name in self.sources]
        return {
            part.name: Ingredient(ids, part.passes, part.curricula, part.share_at_start)
            for ids, part in zip(tokens, self._parts, strict=True)
        }

    def splits_of(self, source: str) -> tuple[str, ...]:
        """Returns the splits that a source has."""
        return self._parts[self.sources.index(source)].source.splits

    def reads_lines_apart(self, source: str) -> bool:
        """Whether the lines of a source are always validated each from a zero state.

        So are the stories of a mix: each is a text of its own.
        """
        return self._parts[self.sources.index(source)].is_woven

    def source_nll(self, split: str, source: str = "") -> float | None:
        """Returns the summed nll (nats) of a split under the process that wrote it, if known.

        Only the built-in stories know it; otherwise the result is None.

        Args:
            split: ``train``, ``valid`` or ``test``.
            source: a name of `sources`; empty: its own text.

        Raises:
            CorpusError: there is no such split.
        """
        part = self._find_part(split, source)
        return part.source.nll(split) if split != "train" or part.entry is None else None

    def fingerprint(self, split: str) -> str:
        """Returns a hexadecimal hash of a split of its own text; it changes when the text does.

        Raises:
            CorpusError: there is no such split, or it cannot be read.
        """
        return self._find_part(split).source.fingerprint(split)

    def notes(self) -> list[str]:
        """Returns what was seen of the text's layout and done about it, a line for each thing.

        Raises:
            CorpusError: a file cannot be read.
        """
        notes = self._source.notes()
        for number, part in enumerate(self._parts[1:]):
            notes += [f"corpus.mix[{number}], {note}" for note in part.source.notes()]
        return notes

    def _find_part(self, split: str, source: str = "") -> Part:
        part = self._parts[self.sources.index(source) if source else 0]
        if split not in part.source.splits:
            raise CorpusError(
                f"the corpus has no {split} split; it has {', '.join(part.source.splits)}; choose "
                "one of these"
            )
        return part


def encode_file(
    names: str | Path | Sequence[str | Path],
    vocabulary: Vocabulary,
    config: CorpusConfig,
    *,
    natural: bool = False,
    notes: list[str] | None = None,
) -> Tokens:
    """Returns the ids of a text, such as one to be scored; from the cache or encoded now.

    Args:
        names: a file, a folder, a pattern or a list.
        vocabulary: the words to encode with; other words become ``<unk>``.
        config: its `text_column`, `join_lines`, `skip_blank_lines` and `cache_dir` are used.
        natural: the corpus came tokenised, but this text is natural, and is spelled as the corpus
            is; see `file_reading`.
        notes: receives what was seen of the text's layout and done about it.

    Raises:
        CorpusError: a file cannot be read, has no lines, or changes while it is read.
        DiskError: the cache cannot be written.
    """
    tokenization = "words" if natural else vocabulary.tokenization
    source: Source = FileSource(names, config, tokenization)
    if notes is not None:
        notes += source.notes()
    if natural:
        source = NaturalSource(source, vocabulary)
    return load_tokens(source, "file", vocabulary, config.cache_dir, str(names))
