"""A corpus as the rest of the house sees it: its vocabulary, the ids of its splits, and what its source knows."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

from lstm_lm.config import CorpusConfig, StoriesConfig
from lstm_lm.corpus.sources import FileSource, build_source
from lstm_lm.corpus.tokens import Tokens, load_tokens, load_vocabulary
from lstm_lm.corpus.vocabulary import Vocabulary


class Corpus:
    """Text by splits, encoded once with the vocabulary of its train split.

    Args:
        config: where the text comes from, and what counts as a word.
        stories: what is told where that is the built-in source.

    Attributes:
        splits: the names among ``train``, ``valid`` and ``test`` that exist, in this order.

    Raises:
        CorpusError: a file cannot be read.
        HubError: the hub is out of reach, or does not have the data set.
    """

    def __init__(self, config: CorpusConfig, stories: StoriesConfig | None = None) -> None:
        self.config = config
        self._source = build_source(config, stories)
        self.splits = self._source.splits

    @cached_property
    def vocabulary(self) -> Vocabulary:
        """The words of train, from the cache or counted now."""
        return load_vocabulary(self._source, self.config)

    def tokens(self, split: str) -> Tokens:
        """The ids of a split, from the cache or encoded now."""
        return load_tokens(self._source, split, self.vocabulary, self.config.cache_dir)

    def source_nll(self, split: str) -> float | None:
        """The summed nll (nats) of a split under the process that wrote it; None where nobody knows."""
        return self._source.nll(split)

    def fingerprint(self, split: str) -> str:
        """A hexadecimal hash that changes when the split's text does."""
        return self._source.identity(split)


def encode_file(path: Path, vocabulary: Vocabulary, config: CorpusConfig) -> Tokens:
    """The ids of a file of one's own, in the words of a model.

    Args:
        path: a text or Parquet file.
        vocabulary: the model's words; others count as unknown.
        config: of the model's corpus: its `text_column` and `cache_dir` are used.

    Raises:
        CorpusError: the file cannot be read, or has no lines.
    """
    return load_tokens(FileSource(path, config.text_column), "file", vocabulary, config.cache_dir)
