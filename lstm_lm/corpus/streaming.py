"""A data set that is read while it is downloaded, so it may be larger than the disk.

Nothing of it is kept but what is made of it: the vocabulary and the encoded words, in the cache.
It is read twice: to count the words of train, and to encode each split.

A data set on the hub is pinned to a commit, which is its fingerprint: what is in the cache is used
as long as the data set has that commit, also without a network. A broken connection is made again
by the `datasets` library, which waits and goes on where it was. If that does not help, the reading
fails as a whole; a cache entry is complete, or it is not there (`lstm_lm.files.cache`).
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from lstm_lm.config import CorpusConfig
from lstm_lm.corpus import readers
from lstm_lm.corpus.fingerprints import FileDigests, fingerprint_of
from lstm_lm.corpus.hub import (
    ROWS_AT_A_TIME,
    column_types,
    hub_failure,
    hub_is_known,
    place_of,
    split_names,
)
from lstm_lm.errors import CorpusError, DiskError, HubError
from lstm_lm.files.cache import entry_folder, read_entry, write_entry

_COMMIT = "commit"
_SECONDS_TO_WAIT = 10


class StreamedSource:
    """A data set with a column of text, from the hub or a folder, read without a copy of it.

    See `lstm_lm.corpus.sources.Source` for what a source is.
    """

    def __init__(self, config: CorpusConfig) -> None:
        """Finds the data set's commit, or its folder; nothing else of it is read yet.

        Raises:
            CorpusError: `corpus.dataset` is missing or not a folder.
            HubError: the hub is out of reach and this data set was never streamed here, or the hub
                does not have it.
        """
        self._config = config
        self._place, self._is_local = place_of(config)
        self._names = split_names(config)
        self.splits = tuple(self._names)
        self._digests = FileDigests()
        self._builder: Any = None
        self._datasets: dict[str, Any] = {}
        self._note = ""
        self._commit = "" if self._is_local else self._find_commit()

    def iterate_lines(self, split: str) -> Iterator[str]:
        """See `Source.iterate_lines`; each row is split by `readers.split_row`.

        Raises:
            CorpusError: a row is not text, or a local file cannot be read.
            HubError: the connection broke, and could not be made again.
        """
        title = self._title(split)
        rows = _Counted()
        with self._errors_named(split, rows):
            batches = iter(self._open()[split].iter(batch_size=ROWS_AT_A_TIME))
            columns = (rows.add(batch.column(0)) for batch in batches)
            yield from readers.iterate_column_lines(columns, title)

    def fingerprint(self, split: str) -> str:
        """See `Source.fingerprint`: of the commit, or of the local files.

        Raises:
            CorpusError: a local file cannot be read.
        """
        name, column = self._names[split], self._config.text_column
        what: Any = self._commit
        if self._is_local:
            with self._errors_named(split):
                data_files = self._load_builder().config.data_files or {}
            # such as train+validation: then all files decide
            files = data_files.get(name) or [file for some in data_files.values() for file in some]
            what = [(Path(file).name, self._digests.of(Path(file))) for file in files]
        return fingerprint_of(
            "streamed", self._place, self._config.dataset_config, what, name, column
        )

    def nll(self, split: str) -> float | None:
        """See `Source.nll`: unknown."""
        return None

    def notes(self) -> list[str]:
        """See `Source.notes`: which commit is read if the hub could not be asked."""
        return [self._note] if self._note else []

    def _title(self, split: str) -> str:
        return f"{self._config.dataset} ({self._names[split]})"

    def _find_commit(self) -> str:
        """Asks the hub for the data set's commit, or else takes the one that was streamed last."""
        from huggingface_hub import HfApi, errors

        folder = entry_folder(self._config.cache_dir, _COMMIT, self._place)
        known = _read_commit(folder)
        try:
            if not hub_is_known():
                raise ConnectionError("its address is not known, as without a network")
            info = HfApi().dataset_info(self._place, timeout=_SECONDS_TO_WAIT)
            if info.sha and info.sha != known:
                _write_commit(folder, info.sha)
            return str(info.sha)
        except DiskError:
            raise
        except Exception as error:  # of many kinds, those of the HTTP library too
            is_answer = isinstance(error, (errors.RepositoryNotFoundError, errors.GatedRepoError))
            if is_answer or not known:
                raise hub_failure(error, str(self._config.dataset), local=False) from error
            self._note = (
                f"corpus.dataset: the hub is out of reach; {self._place} is read as it was at "
                f"commit {known[:12]}"
            )
            return known

    def _load_builder(self, **settings: Any) -> Any:
        """Returns what the library knows of the data set before any of its rows is read."""
        if self._builder is None or settings:
            import datasets

            self._builder = datasets.load_dataset_builder(
                self._place,
                self._config.dataset_config,
                revision=self._commit or None,
                **settings,
            )
        return self._builder

    def _open(self) -> dict[str, Any]:
        """Returns our splits as streams of tables with one column; checks them all first.

        A mistake in the name of valid is found before all of train has been counted.
        """
        if not self._datasets:
            streams = {split: self._stream(name) for split, name in self._names.items()}
            for split, stream in streams.items():
                with self._errors_named(split):
                    self._check_column(split, stream)
            settings = self._builder.config
            if hasattr(settings, "columns") and hasattr(settings, "batch_size"):
                # of Parquet, only this column is fetched, and a row group is read in pieces
                column = self._config.text_column
                self._load_builder(columns=[column], batch_size=ROWS_AT_A_TIME)
                streams = {split: self._stream(name) for split, name in self._names.items()}
            self._datasets = {
                split: stream.select_columns([self._config.text_column]).with_format("arrow")
                for split, stream in streams.items()
            }
        return self._datasets

    def _stream(self, name: str) -> Any:
        return self._load_builder().as_streaming_dataset(split=name)

    def _check_column(self, split: str, stream: Any) -> None:
        """Checks that a split has the column, and that it has text."""
        if stream.features is not None:
            columns = column_types(stream.features)
        else:
            batch = next(iter(stream.with_format("arrow").iter(batch_size=1)), None)
            if batch is None:
                return  # without rows; whoever encodes it says so
            columns = {field.name: str(field.type) for field in batch.schema}
        readers.check_text_column(columns, self._config.text_column, self._title(split))

    @contextmanager
    def _errors_named(self, split: str, rows: _Counted | None = None) -> Iterator[None]:
        """Turns every error of the library into one of ours, of one line."""
        import huggingface_hub.utils.logging as hub_logging

        verbosity = hub_logging.get_verbosity()
        hub_logging.set_verbosity_error()  # `datasets` says the same, once for each time it waits
        try:
            yield
        except (CorpusError, HubError, DiskError):
            raise
        except Exception as error:  # of many kinds
            if rows is None or not rows.count:
                raise hub_failure(error, str(self._config.dataset), self._is_local) from error
            reason = " ".join(str(error).split()) or type(error).__name__
            kind: type[Exception] = CorpusError if self._is_local else HubError
            raise kind(
                f"corpus.dataset: reading {self._title(split)} broke off after about "
                f"{rows.count:,} rows ({reason[:200]}); nothing of it is kept; start again"
            ) from error
        finally:
            hub_logging.set_verbosity(verbosity)


class _Counted:
    """Counts rows while they are read."""

    def __init__(self) -> None:
        self.count = 0

    def add(self, column: Any) -> Any:
        """Counts the rows of a column and returns it."""
        self.count += len(column)
        return column


def _read_commit(folder: Path) -> str:
    """The commit that an entry of the cache holds; empty if there is none."""
    try:
        return (folder / _COMMIT).read_text() if read_entry(folder, _COMMIT) else ""
    except OSError:
        return ""


def _write_commit(folder: Path, commit: str) -> None:
    """Writes the commit into the cache, in place of an older one."""

    def write(file: BinaryIO) -> dict[str, Any]:
        file.write(commit.encode())
        return {}

    shutil.rmtree(folder, ignore_errors=True)
    write_entry(folder, _COMMIT, write)
