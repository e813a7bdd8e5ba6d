"""Where lines of text come from: files, the Hugging Face hub, or the built-in stories.

The lines of a split can be read any number of times. A split has a fingerprint, made from its
content: cached results of a text are found by it, and are not used when the text has changed.
"""

from __future__ import annotations

import codecs
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Protocol

from lstm_lm.config import CorpusConfig, StoriesConfig
from lstm_lm.corpus import readers
from lstm_lm.corpus.encodings import is_utf8
from lstm_lm.corpus.fingerprints import FileDigests, fingerprint_of
from lstm_lm.corpus.hub import HubSource
from lstm_lm.corpus.layout import AS_IT_IS, LAYOUT_VERSION, Layout
from lstm_lm.corpus.readers import TextOptions
from lstm_lm.corpus.story_source import StoriesSource
from lstm_lm.corpus.streaming import StreamedSource
from lstm_lm.corpus.text_files import TextFile, find_files
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

    def notes(self) -> list[str]:
        """Returns what was seen of the text and done about it, a line for each thing."""
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
    if config.source == "files":
        return FilesSource(config)
    return StreamedSource(config) if config.streaming else HubSource(config)


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
    """Local files: some for each split, or some for all.

    Files for all are divided by lines: train comes first, then valid, then test.
    """

    def __init__(self, config: CorpusConfig) -> None:
        """Finds the files, and checks that each can be read.

        Raises:
            CorpusError: no files or too many are named, one cannot be read, or a setting has no
                effect on them.
        """
        names = {
            "train": config.train_file,
            "valid": config.valid_file,
            "test": config.test_file,
        }
        named = {split: name for split, name in names.items() if name}
        self._config = config
        self._digests = FileDigests()
        self._fractions: tuple[float, float] | None = None
        self._counted: tuple[str, int] = ("", 0)  # fingerprint of the text -> its number of lines
        if config.text_file:
            if named:
                raise CorpusError(
                    f"corpus.text_file: set together with corpus.{next(iter(named))}_file; "
                    "give either one text to divide, or one for each split"
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
        self._files = {split: find_files(name, self._keys[split]) for split, name in named.items()}
        self._options = TextOptions(
            config.text_column, config.encoding, "corpus.encoding", "corpus.text_column"
        )
        self._check_effects()

    def _check_effects(self) -> None:
        """Refuses settings that change nothing about these files."""
        files = [file for group in self._files.values() for file in group]
        if self._config.text_column != "text" and not any(file.is_table for file in files):
            raise CorpusError(
                f"corpus.text_column: found {self._config.text_column!r}, but {files[0].name} has "
                "no columns; remove this setting, or give .csv, .tsv, .jsonl or .parquet files"
            )
        if not is_utf8(self._config.encoding) and all(file.format == "parquet" for file in files):
            raise CorpusError(
                f"corpus.encoding: found {self._config.encoding!r}, but the text of .parquet files "
                "is always UTF-8; remove this setting"
            )

    def iterate_lines(self, split: str) -> Iterator[str]:
        """See `Source.iterate_lines`.

        Raises:
            CorpusError: a file is missing, damaged or not what its name says, or there are too few
                lines to divide.
        """
        lines = self._lines(split)
        return lines if self._fractions is None else islice(lines, *self._bounds(split))

    def _lines(self, split: str) -> Iterator[str]:
        """Returns the lines of a split's files; those of all splits, if they share their files."""
        files = self._checked_files(split)
        return readers.iterate_lines(files, self._options, self._layout(split))

    def _checked_files(self, split: str) -> list[TextFile]:
        """Returns the files of a split, after checking that they are still there."""
        for file in self._files[split]:
            readers.checked_file(file.path, file.key)
        return self._files[split]

    def fingerprint(self, split: str) -> str:
        """See `Source.fingerprint`: a hash of the files and of all that decides what is read.

        Raises:
            CorpusError: a file cannot be read.
        """
        part = (split, *self._fractions) if self._fractions else ()
        return fingerprint_of(self._fingerprint_of_files(split), *part)

    def _fingerprint_of_files(self, split: str) -> str:
        """Returns a hash of a split's files, whichever part of them the split takes."""
        files = self._checked_files(split)
        return fingerprint_of(
            "files",
            [_digest(file, self._digests) for file in files],
            self._options.text_column if any(file.is_table for file in files) else "",
            codecs.lookup(self._options.encoding).name,
            self._layout(split),
            LAYOUT_VERSION,
        )

    def _layout(self, split: str) -> Layout:
        """Returns how the lines of a split are laid out.

        Splits with files of their own are decided by these; a split that is too small to decide is
        laid out as train.
        """
        settings = _layout_settings(self._config, self._config.tokenization)
        if settings == (False, False):
            return AS_IT_IS
        layout = readers.find_layout(self._files[split], self._options, *settings)
        if split == "train" or self._fractions or layout.is_certain or layout.reads_in_chunks:
            return layout
        train = self._layout("train")
        return layout if train.reads_in_chunks else replace(train, blank_share=layout.blank_share)

    def notes(self) -> list[str]:
        """See `Source.notes`: what was seen of the layout, and what is done about it.

        Raises:
            CorpusError: a file cannot be read.
        """
        notes: dict[str, list[str]] = {}
        for split in self.splits:
            for note in self._layout(split).notes():
                keys = notes.setdefault(note, [])
                if self._keys[split] not in keys:
                    keys.append(self._keys[split])
        return [f"{', '.join(keys)}: {note}" for note, keys in notes.items()]

    def nll(self, split: str) -> float | None:
        """See `Source.nll`: unknown."""
        return None

    def _bounds(self, split: str) -> tuple[int, int]:
        """Returns the first line of a split of the divided text, and the line after its last."""
        fingerprint = self._fingerprint_of_files(split)
        if self._counted[0] != fingerprint:  # counting reads the whole text
            self._counted = (fingerprint, sum(1 for _ in self._lines(split)))
        count = self._counted[1]
        valid_fraction, test_fraction = self._fractions or (0.0, 0.0)
        valid = max(1, round(count * valid_fraction))
        test = max(1, round(count * test_fraction)) if test_fraction else 0
        train = count - valid - test
        if train < 1:
            files = self._files[split]
            found = files[0].name if len(files) == 1 else f"{len(files):,} files"
            raise CorpusError(
                f"{self._keys[split]}: {found} {'has' if len(files) == 1 else 'have'} {count} "
                f"line{'s' * (count != 1)}, too few to divide into {' and '.join(self.splits)}; "
                "give more text, or one file for each split"
            )
        ranges = {
            "train": (0, train),
            "valid": (train, train + valid),
            "test": (train + valid, count),
        }
        return ranges[split]


def _digest(file: TextFile, digests: FileDigests) -> tuple[str, str, str, str]:
    """Returns what decides the text of one file: its bytes, and how its name says to read them."""
    return digests.of(file.path), file.member, file.format, file.compression


def _layout_settings(config: CorpusConfig, tokenization: str) -> tuple[bool | None, bool | None]:
    """Returns whether lines are joined, and whether blank lines are skipped; None: by the text.

    Args:
        config: its `join_lines` and `skip_blank_lines` are used.
        tokenization: tokenised text (``whitespace``) keeps its lines unless a setting says
            otherwise.
    """
    if tokenization == "whitespace":
        return bool(config.join_lines), bool(config.skip_blank_lines)
    return config.join_lines, config.skip_blank_lines


class FileSource:
    """A text as a source, whose only split is named ``file``; such as a text to be scored."""

    splits: tuple[str, ...] = ("file",)

    def __init__(
        self, names: str | Path | Sequence[str | Path], config: CorpusConfig, tokenization: str
    ) -> None:
        """Finds the files, and checks that each can be read.

        Args:
            names: a file, a folder, a pattern or a list.
            config: its `text_column`, `join_lines` and `skip_blank_lines` are used.
            tokenization: of the model that reads the text; see `_layout_settings`.

        Raises:
            CorpusError: a file cannot be read.
        """
        self._files = find_files(names)
        self._options = TextOptions(config.text_column)
        self._layout_settings = _layout_settings(config, tokenization)
        self._digests = FileDigests()

    def iterate_lines(self, split: str) -> Iterator[str]:
        """See `Source.iterate_lines`."""
        return readers.iterate_lines(self._files, self._options, self._layout())

    def fingerprint(self, split: str) -> str:
        """See `Source.fingerprint`: a hash of the files and of all that decides what is read."""
        return fingerprint_of(
            "file",
            [_digest(file, self._digests) for file in self._files],
            self._options.text_column,
            self._layout_settings,
            LAYOUT_VERSION,
        )

    def notes(self) -> list[str]:
        """See `Source.notes`."""
        return self._layout().notes(with_settings=False)

    def _layout(self) -> Layout:
        if self._layout_settings == (False, False):
            return AS_IT_IS
        return readers.find_layout(self._files, self._options, *self._layout_settings)

    def nll(self, split: str) -> float | None:
        """See `Source.nll`: unknown."""
        return None
