"""Where lines of text come from: files, the Hugging Face hub, or the built-in stories.

The lines of a split can be read any number of times. A split has a fingerprint, made from its
content: cached results of a text are found by it, and are not used when the text has changed.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Protocol

from lstm_lm.config import CorpusConfig, StoriesConfig
from lstm_lm.corpus import readers
from lstm_lm.corpus.fingerprints import FileDigests, fingerprint_of
from lstm_lm.corpus.hub import HubSource
from lstm_lm.corpus.story_source import StoriesSource
from lstm_lm.errors import CorpusError

SPLITS: tuple[str, ...] = ("train", "valid", "test")


class Source(Protocol):
    """Text in splits. The methods expect a split that exists.

    Attributes:
        splits: the names of the splits.
    """

    splits: tuple[str, ...]

    def iterate_lines(self, split: str) -> Iterator[str]:
        """Yields the lines of a split without their line ends, blank lines included.

        Memory use is constant.
        """
        ...

    def fingerprint(self, split: str) -> str:
        """Returns a hexadecimal hash that changes when the text of the split does."""
        ...

    def nll(self, split: str) -> float | None:
        """Returns the summed nll (nats) of a split under the process that wrote it, if known."""
        ...


def build_source(config: CorpusConfig, stories: StoriesConfig | None = None) -> Source:
    """Builds the source that `corpus.source` names.

    Args:
        config: the settings of the source.
        stories: which stories are told, if the source is ``stories``; None for the defaults.

    Raises:
        CorpusError: a setting that the source needs is missing, or a file cannot be read.
        HubError: the hub is out of reach, or does not have the data set.
        DiskError: there is no space for the download.
    """
    if config.source == "stories":
        return StoriesSource(stories or StoriesConfig(), config.cache_dir)
    return FilesSource(config) if config.source == "files" else HubSource(config)


def check_unchanged(source: Source, split: str, fingerprint: str) -> None:
    """Checks that a split still has the fingerprint that it had before it was read.

    Raises:
        CorpusError: the text has changed.
    """
    if source.fingerprint(split) != fingerprint:
        raise CorpusError(
            f"corpus: the {split} split was changed while it was read; start again when it is "
            "complete"
        )


class FilesSource:
    """Local files: one file for each split, or one file for all.

    One file for all is divided by lines: train comes first, then valid, then test.
    """

    def __init__(self, config: CorpusConfig) -> None:
        """Checks which files are named, and that each can be read.

        Raises:
            CorpusError: no file or too many are named, or one cannot be read.
        """
        files = {
            "train": config.train_file,
            "valid": config.valid_file,
            "test": config.test_file,
        }
        named = {split: name for split, name in files.items() if name}
        self._text_column = config.text_column
        self._digests = FileDigests()
        self._fractions: tuple[float, float] | None = None
        if config.text_file:
            if named:
                raise CorpusError(
                    f"corpus.text_file: set together with corpus.{next(iter(named))}_file; "
                    "give either one file to divide, or one file for each split"
                )
            self._fractions = (config.valid_fraction, config.test_fraction)
            named = dict.fromkeys(SPLITS if config.test_fraction else SPLITS[:2], config.text_file)
        elif "train" not in named:
            raise CorpusError(
                "corpus.train_file: missing; corpus.source=files needs corpus.train_file and "
                "corpus.valid_file, or corpus.text_file alone, which is divided by fractions"
            )
        elif "valid" not in named:
            raise CorpusError(
                "corpus.valid_file: missing; name a file to validate on, or give corpus.text_file "
                "alone, which is divided by fractions"
            )
        self.splits = tuple(named)
        self._keys = {
            split: "corpus.text_file" if self._fractions else f"corpus.{split}_file"
            for split in named
        }
        self._paths = {
            split: readers.checked_file(name, self._keys[split]) for split, name in named.items()
        }

    def iterate_lines(self, split: str) -> Iterator[str]:
        """See `Source.iterate_lines`.

        Raises:
            CorpusError: the file is missing, not UTF-8 or not Parquet, or has too few lines to
                divide.
        """
        lines = readers.iterate_file_lines(self._paths[split], self._text_column, self._keys[split])
        return lines if self._fractions is None else islice(lines, *self._bounds(split))

    def fingerprint(self, split: str) -> str:
        """See `Source.fingerprint`: a hash of the file's bytes and of what is taken from them.

        Raises:
            CorpusError: the file cannot be read.
        """
        path = readers.checked_file(self._paths[split], self._keys[split])
        part = (split, *self._fractions) if self._fractions else ()
        column = self._text_column if path.suffix.lower() == ".parquet" else ""
        return fingerprint_of("files", self._digests.of(path), column, *part)

    def nll(self, split: str) -> float | None:
        """See `Source.nll`: unknown."""
        return None

    def _bounds(self, split: str) -> tuple[int, int]:
        """Returns the first line of a split of the divided file, and the line after its last."""
        path, key = self._paths[split], self._keys[split]
        count = sum(1 for _ in readers.iterate_file_lines(path, self._text_column, key))
        valid_fraction, test_fraction = self._fractions or (0.0, 0.0)
        valid = max(1, round(count * valid_fraction))
        test = max(1, round(count * test_fraction)) if test_fraction else 0
        train = count - valid - test
        if train < 1:
            raise CorpusError(
                f"{key}: {path} has {count} line{'s' * (count != 1)}, too few to divide into "
                f"{' and '.join(self.splits)}; give more text, or one file for each split"
            )
        ranges = {
            "train": (0, train),
            "valid": (train, train + valid),
            "test": (train + valid, count),
        }
        return ranges[split]


class FileSource:
    """One file as a source, whose only split is named ``file``; such as a text to be scored."""

    splits: tuple[str, ...] = ("file",)

    def __init__(self, path: Path, text_column: str) -> None:
        """Checks that the file can be read.

        Args:
            path: a text or .parquet file.
            text_column: Parquet: the column that holds the text.

        Raises:
            CorpusError: the file cannot be read.
        """
        self._path, self._text_column = readers.checked_file(path), text_column
        self._digests = FileDigests()

    def iterate_lines(self, split: str) -> Iterator[str]:
        """See `Source.iterate_lines`."""
        return readers.iterate_file_lines(self._path, self._text_column)

    def fingerprint(self, split: str) -> str:
        """See `Source.fingerprint`: a hash of the file's bytes."""
        return fingerprint_of("file", self._digests.of(self._path), self._text_column)

    def nll(self, split: str) -> float | None:
        """See `Source.nll`: unknown."""
        return None
