"""A corpus: text in splits, the vocabulary of its train split, and the ids of its words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from lstm_lm.config import CorpusConfig, StoriesConfig
from lstm_lm.corpus.file_reading import NaturalSource
from lstm_lm.corpus.sources import FileSource, Source, build_source, check_unchanged
from lstm_lm.corpus.tokenization import Recipe, recipe_json
from lstm_lm.corpus.tokens import Tokens, load_tokens
from lstm_lm.corpus.vocabulary import Vocabulary, count_words
from lstm_lm.corpus.word_rules import LATEST_VERSION
from lstm_lm.errors import CorpusError, RunDirectoryError
from lstm_lm.files.cache import entry_folder, read_entry, write_entry

_TOKENIZER = "tokenizer.json"


@dataclass(frozen=True)
class Dropped:
    """How many words of train the settings made ``<unk>``.

    Attributes:
        rare: those that occur less often than ``corpus.min_count``.
        cut: those that did not fit into ``corpus.vocab_size``.
    """

    rare: int
    cut: int


class Corpus:
    """Text in splits, encoded with one vocabulary.

    Counting the words and encoding a split happen once; the results are kept in
    ``config.cache_dir``. All splits belong to one state of the text: if train changes after its
    words were counted, `tokens` refuses the corpus.

    Args:
        config: where the text comes from, and what counts as a word.
        stories: which stories are told, if ``config.source`` is ``stories``.
        vocabulary: the words to encode with, such as those of a trained model. None: those of
            the train split.
        version: of the tokenizer's rules, for a vocabulary that is built here; see `word_rules`.

    Attributes:
        config: as given.
        splits: the names among ``train``, ``valid`` and ``test`` that exist, in this order.
        dropped: how many words of train the settings made ``<unk>``; None before `vocabulary` was
            read, for a vocabulary that was given, and if an older cache does not know it.

    Raises:
        CorpusError: a setting that the source needs is missing, or a file cannot be read.
        HubError: the hub is out of reach, or does not have the data set.
    """

    def __init__(
        self,
        config: CorpusConfig,
        stories: StoriesConfig | None = None,
        *,
        vocabulary: Vocabulary | None = None,
        version: int = LATEST_VERSION,
    ) -> None:
        self.config = config
        self._version = version
        self._source = build_source(config, stories)
        self.splits = self._source.splits
        self._vocabulary = vocabulary
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
            self._vocabulary, self.dropped = _load_vocabulary(
                self._source, self.config, self._version, fingerprint
            )
            self._counted_text = fingerprint
        return self._vocabulary

    def tokens(self, split: str) -> Tokens:
        """Returns the ids of a split, from the cache or encoded now.

        Raises:
            CorpusError: there is no such split, it cannot be read or has no lines, or the corpus
                changed since its words were counted.
            DiskError: the cache cannot be written.
        """
        self._check_split(split)
        vocabulary = self.vocabulary
        tokens = load_tokens(
            self._source, split, vocabulary, self.config.cache_dir, f"corpus: the {split} split"
        )
        if self._counted_text is not None:
            check_unchanged(self._source, "train", self._counted_text)
        return tokens

    def source_nll(self, split: str) -> float | None:
        """Returns the summed nll (nats) of a split under the process that wrote it, if known.

        Only the built-in stories know it; otherwise the result is None.

        Raises:
            CorpusError: there is no such split.
        """
        self._check_split(split)
        return self._source.nll(split)

    def fingerprint(self, split: str) -> str:
        """Returns a hexadecimal hash of a split's text, which changes when the text does.

        Raises:
            CorpusError: there is no such split, or it cannot be read.
        """
        self._check_split(split)
        return self._source.fingerprint(split)

    def notes(self) -> list[str]:
        """Returns what was seen of the text's layout and done about it, a line for each thing.

        Raises:
            CorpusError: a file cannot be read.
        """
        return self._source.notes()

    def _check_split(self, split: str) -> None:
        if split not in self.splits:
            raise CorpusError(
                f"the corpus has no {split} split; it has {', '.join(self.splits)}; choose one of "
                "these"
            )


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


def _load_vocabulary(
    source: Source, config: CorpusConfig, version: int, fingerprint: str
) -> tuple[Vocabulary, Dropped | None]:
    """Returns the vocabulary of train, and what it left out; from the cache or counted now.

    Args:
        source: the text.
        config: its `tokenization`, `lowercase`, `min_count`, `vocab_size` and `cache_dir` are used.
        version: of the tokenizer's rules.
        fingerprint: of train.
    """
    folder = entry_folder(
        config.cache_dir,
        "vocabulary",
        fingerprint,
        recipe_json(Recipe(config.tokenization, config.lowercase, version)),
        config.min_count,
        config.vocab_size,
    )
    if meta := read_entry(folder, _TOKENIZER):
        dropped = Dropped(meta["rare"], meta["cut"]) if "rare" in meta else None
        try:
            return Vocabulary.load(folder / _TOKENIZER), dropped
        except RunDirectoryError:
            pass  # removed in the meantime, such as by emptying the cache: it is counted again
    counts, recipe = count_words(
        source.iterate_lines("train"), Recipe(config.tokenization, config.lowercase, version)
    )
    vocabulary = Vocabulary.from_counts(
        counts, recipe, min_count=config.min_count, vocab_size=config.vocab_size
    )
    dropped = _dropped(counts, vocabulary, config.min_count)
    check_unchanged(source, "train", fingerprint)

    def write(file: BinaryIO) -> dict[str, Any]:
        file.write(vocabulary.to_json().encode("utf-8"))
        return {"words": len(vocabulary), "rare": dropped.rare, "cut": dropped.cut}

    write_entry(folder, _TOKENIZER, write)
    return vocabulary, dropped


def _dropped(counts: Mapping[str, int], vocabulary: Vocabulary, min_count: int) -> Dropped:
    """Returns how many words of train are not in the vocabulary, and why."""
    rare = cut = 0
    for word, count in counts.items():
        if vocabulary.id(word) is None:
            if count < min_count:
                rare += count
            else:
                cut += count
    return Dropped(rare, cut)
