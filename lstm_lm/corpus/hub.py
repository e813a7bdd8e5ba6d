"""Data sets from the Hugging Face hub, or from a local folder of Parquet files."""

from __future__ import annotations

import hashlib
import os
import socket
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from lstm_lm.config import CorpusConfig
from lstm_lm.corpus import readers
from lstm_lm.corpus.fingerprints import FileDigests, fingerprint_of
from lstm_lm.errors import CorpusError, DiskError, HubError
from lstm_lm.files.atomic import is_full

ROWS_AT_A_TIME = 1024


class HubSource:
    """A data set with a column of text, from the Hugging Face hub or a folder of Parquet files."""

    def __init__(self, config: CorpusConfig) -> None:
        """Downloads the data set, or finds it in the cache of the `datasets` library.

        Raises:
            CorpusError: `corpus.dataset` is missing or not a folder, or the text column is missing.
            HubError: the hub is out of reach, or does not have the data set, configuration or
                split.
            DiskError: there is no space for the download.
        """
        place_of(config)
        self._names = split_names(config)
        self._digests = FileDigests()
        self.splits = tuple(self._names)
        self._name, self._text_column = config.dataset, config.text_column
        loaded = _load_from_hub(config, list(self._names.values()))
        self._datasets = dict(zip(self.splits, loaded, strict=True))
        for split, dataset in self._datasets.items():
            title = f"{config.dataset} ({self._names[split]})"
            readers.check_text_column(column_types(dataset.features), config.text_column, title)

    def iterate_lines(self, split: str) -> Iterator[str]:
        """See `Source.iterate_lines`; each row is split by `readers.split_row`.

        Raises:
            CorpusError: a row is not text.
        """
        dataset = self._datasets[split].select_columns([self._text_column])
        batches = dataset.with_format("arrow").iter(batch_size=ROWS_AT_A_TIME)
        yield from readers.iterate_column_lines(
            (batch.column(0) for batch in batches), f"{self._name} ({self._names[split]})"
        )

    def fingerprint(self, split: str) -> str:
        """See `Source.fingerprint`: a hash of the data set's Arrow files.

        A data set that is kept in memory has no files; then its lines are hashed.
        """
        dataset = self._datasets[split]
        files = [self._digests.of(Path(file["filename"])) for file in dataset.cache_files]
        if files:
            return fingerprint_of("hub", files, self._names[split], self._text_column, len(dataset))
        lines = hashlib.sha256()
        for line in self.iterate_lines(split):
            lines.update(line.encode("utf-8") + b"\n")
        return fingerprint_of("hub", lines.hexdigest())

    def nll(self, split: str) -> float | None:
        """See `Source.nll`: unknown."""
        return None

    def notes(self) -> list[str]:
        """See `Source.notes`: nothing."""
        return []


def place_of(config: CorpusConfig) -> tuple[str, bool]:
    """Returns the data set's name on the hub, or its folder; and whether it is a folder.

    Raises:
        CorpusError: none is given, or there is no such folder.
    """
    if not config.dataset:
        raise CorpusError(
            "corpus.dataset: missing; corpus.source=hub needs a data set's name such as "
            "Salesforce/wikitext, or a local folder of Parquet files"
        )
    name = config.dataset
    folder = Path(os.path.expanduser(name))
    if folder.is_dir():
        return str(folder), True
    if name.startswith((".", "~", "/")) or name.count("/") > 1:
        raise CorpusError(
            f"corpus.dataset: no such folder: {folder}; give a folder of Parquet files, or a "
            "name on the hub such as Salesforce/wikitext"
        )
    return name, False


def split_names(config: CorpusConfig) -> dict[str, str]:
    """Returns, for each of our splits that the data set has, its name there."""
    names = {
        "train": config.train_split,
        "valid": config.valid_split,
        "test": config.test_split,
    }
    return {split: name for split, name in names.items() if name}


def column_types(features: Mapping[str, Any]) -> dict[str, str]:
    """Returns the type of each column of a data set, as Arrow names it."""
    return {
        name: getattr(feature, "dtype", type(feature).__name__)
        for name, feature in features.items()
    }


def _load_from_hub(config: CorpusConfig, splits: list[str]) -> list[Any]:
    """Loads splits of a data set; every error of the library becomes an error of one line."""
    place, local = place_of(config)
    import datasets
    import datasets.config
    import huggingface_hub.utils.logging as hub_logging

    offline, verbosity = datasets.config.HF_HUB_OFFLINE, hub_logging.get_verbosity()
    try:
        hub_logging.set_verbosity_error()  # hides its five warnings about retries
        datasets.config.HF_HUB_OFFLINE = offline or not (local or hub_is_known())
        loaded: Any = datasets.load_dataset(place, config.dataset_config, split=splits)
        return list(loaded)
    except Exception as error:
        raise hub_failure(error, str(config.dataset), local) from error
    finally:
        datasets.config.HF_HUB_OFFLINE = offline
        hub_logging.set_verbosity(verbosity)


def hub_is_known() -> bool:
    """Returns whether the hub's address can be looked up.

    Without a network, the library would retry for 23 seconds before it used its cache.
    """
    if urllib.request.getproxies():
        return True
    host = urlsplit(os.environ.get("HF_ENDPOINT") or "https://huggingface.co").hostname
    try:
        socket.getaddrinfo(host, 443)
    except OSError:
        return False
    return True


def hub_failure(error: Exception, name: str, local: bool) -> Exception:
    """Returns our error for an error of the library.

    Args:
        error: what `datasets` raised.
        name: the data set, as configured.
        local: whether it is a folder.
    """
    text = str(error)
    reason = (text.strip() or type(error).__name__).splitlines()[0].rstrip(".")
    if isinstance(error, OSError) and is_full(error):
        return DiskError(
            f"corpus.dataset: no space left while loading {name}; free some space, or set "
            "HF_HOME to a folder on a larger disk"
        )
    wrong_value = isinstance(error, ValueError)
    if (wrong_value and "BuilderConfig" in reason) or "Config name is missing" in text:
        return HubError(f"corpus.dataset_config: {name}: {' '.join(text.split())}")
    if wrong_value and "split" in reason:
        return HubError(
            f"corpus.train_split, valid_split or test_split: {name}: {reason}; name one of these; "
            "corpus.test_split may also be null"
        )
    if local:
        return CorpusError(
            f"corpus.dataset: the folder {name} cannot be loaded: {reason}; it needs Parquet files "
            "named train*.parquet, validation*.parquet and test*.parquet"
        )
    return HubError(
        f"corpus.dataset: cannot load {name} from the hub: {reason}; download its files in another "
        "way and use corpus.source=files corpus.train_file=... corpus.valid_file=..., or set "
        "HF_ENDPOINT to a mirror"
    )
