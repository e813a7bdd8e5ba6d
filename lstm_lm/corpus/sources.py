"""Where lines of text come from: local files, the Hugging Face hub, or our own biographies.

Whatever the source, a split is a stream of lines that can be started again, and has an identity made from its
contents, by which the encoded corpora on disk know that they are still right.
"""

from __future__ import annotations

import errno
import hashlib
import os
import socket
import time
import urllib.request
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

from lstm_lm.config import CorpusConfig, StoriesConfig
from lstm_lm.corpus import readers
from lstm_lm.errors import CorpusError, DiskError, HubError
from lstm_lm.stories import biographies

SPLITS = ("train", "valid", "test")

# two writes within one tick of the file system's clock look alike; after this they cannot
_CLOCK_TICK_NS = 2_000_000_000


class Source(Protocol):
    """A corpus by splits.

    Attributes:
        splits: the names among train, valid and test that exist, in this order.
    """

    splits: tuple[str, ...]

    def iterate_lines(self, split: str) -> Iterator[str]:
        """Yields the split's lines without their line ends, blank ones included; memory is constant."""
        ...

    def identity(self, split: str) -> str:
        """Returns a hexadecimal hash that changes when the split's text does."""
        ...

    def nll(self, split: str) -> float | None:
        """Returns the summed nll (nats) of the split under the process that wrote it, or None where nobody knows."""
        ...


def build_source(config: CorpusConfig, stories: StoriesConfig | None = None) -> Source:
    """Builds the source that `corpus.source` names.

    Raises:
        CorpusError: a setting the source needs is missing, or a file cannot be read.
        HubError: the hub is out of reach or does not have the data set.
    """
    if config.source == "stories":
        return StoriesSource(stories or StoriesConfig())
    return FilesSource(config) if config.source == "files" else HubSource(config)


class FilesSource:
    """Local files: one per split, or one that is divided by lines: train first, then valid, test last."""

    def __init__(self, config: CorpusConfig) -> None:
        """Checks which files are named and that each can be read.

        Raises:
            CorpusError: no file or too many are named, or one cannot be read.
        """
        named = {
            split: getattr(config, f"{split}_file")
            for split in SPLITS
            if getattr(config, f"{split}_file")
        }
        self._text_column = config.text_column
        self._digests: dict[Path, tuple[tuple[int, ...], str]] = {}
        self._fractions: tuple[float, float] | None = None
        if config.text_file:
            if named:
                raise CorpusError(
                    f"corpus.text_file: set together with corpus.{next(iter(named))}_file; "
                    "give either one file to divide or one file per split"
                )
            self._fractions = (config.valid_fraction, config.test_fraction)
            named = dict.fromkeys(SPLITS if config.test_fraction else SPLITS[:2], config.text_file)
        elif "train" not in named:
            raise CorpusError(
                "corpus.train_file: missing; corpus.source=files needs corpus.train_file and "
                "corpus.valid_file, or corpus.text_file alone to be divided by fractions"
            )
        elif "valid" not in named:
            raise CorpusError(
                "corpus.valid_file: missing; name a file to tune on, or give the text as "
                "corpus.text_file alone to be divided by fractions"
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
            CorpusError: the file is gone, not UTF-8 or not Parquet, or has too few lines to divide.
        """
        path = self._paths[_checked_split(self, split)]
        lines = readers.iterate_file_lines(path, self._text_column, self._keys[split])
        return lines if self._fractions is None else islice(lines, *self._bounds(split))

    def identity(self, split: str) -> str:
        """See `Source.identity`: a hash of the file's bytes and of what is taken from them."""
        path = self._paths[_checked_split(self, split)]
        part = (split, *self._fractions) if self._fractions else ()
        column = self._text_column if path.suffix.lower() == ".parquet" else ""
        return _hash("files", self._digest(path), column, *part)

    def nll(self, split: str) -> float | None:
        """See `Source.nll`: unknown."""
        return None

    def _bounds(self, split: str) -> tuple[int, int]:
        path, key = self._paths[split], self._keys[split]
        count = sum(1 for _ in readers.iterate_file_lines(path, self._text_column, key))
        valid_fraction, test_fraction = self._fractions or (0.0, 0.0)
        valid = max(1, round(count * valid_fraction))
        test = max(1, round(count * test_fraction)) if test_fraction else 0
        train = count - valid - test
        if train < 1:
            raise CorpusError(
                f"{key}: {path} has {count} line{'s' * (count != 1)}, too few to divide into "
                f"{' and '.join(self.splits)}; give more text, or one file per split"
            )
        ends = {
            "train": (0, train),
            "valid": (train, train + valid),
            "test": (train + valid, count),
        }
        return ends[split]

    def _digest(self, path: Path) -> str:
        """Hashes a file's bytes; a file that has not been touched since is not read again by this object."""
        stat = readers.checked_file(path).stat()
        signature = (stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino)
        if self._digests.get(path, ((), ""))[0] == signature:
            return self._digests[path][1]
        digest = _hash_files([path])
        if time.time_ns() - max(stat.st_mtime_ns, stat.st_ctime_ns) > _CLOCK_TICK_NS:
            self._digests[path] = (signature, digest)
        return digest


class HubSource:
    """A data set with a column of text, from the Hugging Face hub or from a local folder of Parquet files."""

    def __init__(self, config: CorpusConfig) -> None:
        """Downloads the data set, or finds it in the library's own cache.

        Raises:
            CorpusError: `corpus.dataset` is missing or no folder, or the text column is not there.
            HubError: the hub is out of reach, or does not have the data set, configuration or split.
            DiskError: no space for the download.
        """
        if not config.dataset:
            raise CorpusError(
                "corpus.dataset: missing; corpus.source=hub needs a data set's name such as "
                "Salesforce/wikitext, or a local folder of Parquet files"
            )
        names = {split: getattr(config, f"{split}_split") for split in SPLITS}
        self._names = {split: name for split, name in names.items() if name}
        self.splits = tuple(self._names)
        self._name, self._text_column = config.dataset, config.text_column
        loaded = _load_from_hub(config, list(self._names.values()))
        self._datasets = dict(zip(self.splits, loaded, strict=True))
        for split, dataset in self._datasets.items():
            columns = {
                name: getattr(feature, "dtype", type(feature).__name__)
                for name, feature in dataset.features.items()
            }
            readers.check_text_column(
                columns, config.text_column, f"{config.dataset} ({self._names[split]})"
            )

    def iterate_lines(self, split: str) -> Iterator[str]:
        """See `Source.iterate_lines`; rows are taken apart as in `readers.row_lines`.

        Raises:
            CorpusError: a row is no text.
        """
        dataset = self._datasets[_checked_split(self, split)].select_columns([self._text_column])
        batches = dataset.with_format("arrow").iter(batch_size=1024)
        yield from readers.iterate_column_lines(
            (batch.column(0) for batch in batches), f"{self._name} ({self._names[split]})"
        )

    def identity(self, split: str) -> str:
        """See `Source.identity`: a hash of the library's Arrow files, or of the lines if there are none."""
        dataset = self._datasets[_checked_split(self, split)]
        files = [Path(file["filename"]) for file in dataset.cache_files]
        if files:
            return _hash(
                "hub", _hash_files(files), self._names[split], self._text_column, len(dataset)
            )
        digest = hashlib.sha256()
        for line in self.iterate_lines(split):
            digest.update(line.encode("utf-8") + b"\n")
        return _hash("hub", digest.hexdigest())

    def nll(self, split: str) -> float | None:
        """See `Source.nll`: unknown."""
        return None


class StoriesSource:
    """Short English life stories from our own seeded generator, one a line; needs no network and no file."""

    def __init__(self, config: StoriesConfig) -> None:
        """Remembers how many stories each split has; valid and test have a twentieth of train, 200 to 1,000."""
        held_out = min(1000, max(200, config.count // 20))
        self._counts = {"train": config.count, "valid": held_out, "test": held_out}
        self._config = config
        self.splits = SPLITS

    def iterate_lines(self, split: str) -> Iterator[str]:
        """See `Source.iterate_lines`."""
        count = self._counts[_checked_split(self, split)]
        for story in biographies.iterate_stories(
            count, self._config.seed, split, self._config, **self._curriculum(split)
        ):
            yield from readers.row_lines(story.text)

    def identity(self, split: str) -> str:
        """See `Source.identity`: a hash of the generator, what it is asked for, and the number of stories."""
        count = self._counts[_checked_split(self, split)]
        return _hash("stories", biographies.fingerprint(), split, count, self._config)

    def nll(self, split: str) -> float | None:
        """See `Source.nll`: what a reader who knew the generator by heart would need."""
        count = self._counts[_checked_split(self, split)]
        if self._curriculum(split):
            return (
                None  # its stories are drawn from as many sources as there are distances on the way
            )
        return biographies.source_nll(count, self._config.seed, split, self._config)

    def _curriculum(self, split: str) -> dict[str, Any]:
        """How train's stories begin near and move out, if they do; the other splits never do."""
        if split != "train" or not self._config.curriculum:
            return {}
        return {"passes": self._config.curriculum, "people_first": self._config.people_first}


class FileSource:
    """One file, which is a split of its own named ``file``; such as a text to be scored."""

    splits = ("file",)

    def __init__(self, path: Path, text_column: str) -> None:
        self._path, self._text_column = readers.checked_file(path), text_column

    def iterate_lines(self, split: str) -> Iterator[str]:
        """See `Source.iterate_lines`."""
        return readers.iterate_file_lines(self._path, self._text_column)

    def identity(self, split: str) -> str:
        """See `Source.identity`: a hash of the file's bytes."""
        return _hash("file", _hash_files([self._path]), self._text_column)

    def nll(self, split: str) -> float | None:
        """See `Source.nll`: unknown."""
        return None


def _checked_split(source: Source, split: str) -> str:
    if split not in source.splits:
        raise CorpusError(f"the corpus has no {split} split; it has {', '.join(source.splits)}")
    return split


def _hash(*parts: Any) -> str:
    return hashlib.blake2b(repr(parts).encode("utf-8"), digest_size=20).hexdigest()


def _hash_files(paths: list[Path]) -> str:
    # sha256 rather than blake2b: processors have instructions for it, 1.5 against 0.6 GB/s here
    digest = hashlib.sha256()
    for path in paths:
        try:
            with path.open("rb") as file:
                while block := file.read(1 << 20):
                    digest.update(block)
        except OSError as error:
            raise CorpusError(f"cannot read {path}: {error.strerror}") from error
    return digest.hexdigest()


def _load_from_hub(config: CorpusConfig, splits: list[str]) -> list[Any]:
    """Loads splits of a data set, with every failure of the library turned into one line."""
    name = str(config.dataset)
    folder = Path(os.path.expanduser(name))
    local = folder.is_dir()
    if not local and (name.startswith((".", "~", "/")) or name.count("/") > 1):
        raise CorpusError(
            f"corpus.dataset: no such folder: {folder}; give a folder of Parquet files, or a hub name "
            "such as Salesforce/wikitext"
        )
    import datasets
    import huggingface_hub.utils.logging as hub_logging

    offline, verbosity = datasets.config.HF_HUB_OFFLINE, hub_logging.get_verbosity()
    try:
        hub_logging.set_verbosity_error()  # its five warnings about retries would bury our one line
        datasets.config.HF_HUB_OFFLINE = offline or not (local or _hub_has_an_address())
        return datasets.load_dataset(
            str(folder) if local else name, config.dataset_config, split=splits
        )
    except Exception as error:
        raise _hub_failure(error, name, local) from error
    finally:
        datasets.config.HF_HUB_OFFLINE = offline
        hub_logging.set_verbosity(verbosity)


def _hub_has_an_address() -> bool:
    """Asks the name service only: without a network the library would retry for 23 seconds before it used its cache."""
    host = urlsplit(os.environ.get("HF_ENDPOINT") or "https://huggingface.co").hostname
    if urllib.request.getproxies():
        return True
    try:
        socket.getaddrinfo(host, 443)
    except OSError:
        return False
    return True


def _hub_failure(error: Exception, name: str, local: bool) -> Exception:
    reason = (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return DiskError(
            f"corpus.dataset: no space left while preparing {name}; free some, or point HF_HOME at a "
            "larger disk"
        )
    if (
        isinstance(error, ValueError)
        and "BuilderConfig" in reason
        or "Config name is missing" in str(error)
    ):
        return HubError(f"corpus.dataset_config: {name}: {' '.join(str(error).split())}")
    if isinstance(error, ValueError) and "split" in reason:
        return HubError(
            f"corpus.train_split, valid_split or test_split: {name}: {reason}; name one of these, or "
            "null for corpus.test_split"
        )
    if local:
        return CorpusError(
            f"corpus.dataset: the folder {name} cannot be loaded: {reason}; it needs Parquet files "
            "named train*.parquet, validation*.parquet and test*.parquet"
        )
    return HubError(
        f"corpus.dataset: cannot load {name} from the hub: {reason}; download its files elsewhere and use "
        "corpus.source=files corpus.train_file=... corpus.valid_file=..., or set HF_ENDPOINT to a mirror"
    )
