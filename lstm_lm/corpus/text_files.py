"""Finds the files of a text: a file, a folder, a pattern such as ``books/*.txt``, or a list."""

from __future__ import annotations

import glob
import io
import os
import re
import shutil
import tempfile
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO, cast

from lstm_lm.errors import CorpusError

FORMATS = {
    "": "text",
    ".txt": "text",
    ".text": "text",
    ".tokens": "text",
    ".md": "markdown",
    ".markdown": "markdown",
    ".csv": "csv",
    ".tsv": "tsv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "jsonl",
    ".parquet": "parquet",
}
"""Extension -> format. A file that the user names and that has another extension is read as text;
in a folder, such a file is left out."""

TABLES = ("csv", "tsv", "jsonl", "parquet")
"""The formats that have columns."""

COMPRESSIONS = {".gz": "gzip", ".xz": "xz", ".bz2": "bzip2", ".zst": "zstd"}
KINDS = ".txt, .md, .csv, .tsv, .jsonl or .parquet, also .gz, .xz, .bz2, .zst or .zip of these"

_BUFFER_BYTES = 2**18
_PATTERN = re.compile(r"[*?]|\[[^\[\]]+\]")


@dataclass(frozen=True)
class TextFile:
    """One file of a text, or one file inside a .zip archive.

    Attributes:
        path: where it is.
        member: its name inside the archive; empty if it is no archive.
        key: dotted key of the setting that named the file; messages begin with it.
    """

    path: Path
    member: str = ""
    key: str = ""

    @property
    def name(self) -> str:
        """What a message calls the file."""
        return f"{self.path}/{self.member}" if self.member else str(self.path)

    @property
    def prefix(self) -> str:
        """How a message about the file begins."""
        return f"{self.key}: " if self.key else ""

    @property
    def compression(self) -> str:
        """``gzip``, ``xz``, ``bzip2``, ``zstd`` or empty, by the file's extension."""
        return COMPRESSIONS.get(_suffix(self.member or self.path.name), "")

    @property
    def format(self) -> str:
        """One of the values of `FORMATS`, by the file's extension."""
        return FORMATS.get(_suffix(_without_compression(self.member or self.path.name)), "text")

    @property
    def is_table(self) -> bool:
        """Whether the text is in a column."""
        return self.format in TABLES

    @contextmanager
    def open(self) -> Iterator[BinaryIO]:
        """Opens the decompressed bytes for reading.

        Raises:
            CorpusError: inside the ``with`` too: the file cannot be read, or is damaged.
        """
        damaged: tuple[type[BaseException], ...] = (EOFError, zlib.error, zipfile.BadZipFile)
        kind = self.compression or ("zip" if self.member else "")
        if kind == "xz":
            import lzma

            damaged += (lzma.LZMAError,)
        try:
            with ExitStack() as stack:
                yield self._open(stack)
        except damaged as error:
            raise self._damaged(kind, error) from error
        except (RuntimeError, NotImplementedError) as error:
            if not self.member:
                raise
            raise CorpusError(
                f"{self.prefix}{self.name} cannot be read from the archive: {error}; extract it "
                "and give the folder"
            ) from error
        except OSError as error:
            # damaged gzip, bzip2 and zstd data raise an OSError without a number
            if kind and error.errno is None:
                raise self._damaged(kind, error) from error
            raise CorpusError(
                f"{self.prefix}cannot read {self.path}: {error.strerror or error}"
            ) from error

    def _open(self, stack: ExitStack) -> BinaryIO:
        stream: BinaryIO
        if self.member:
            archive = stack.enter_context(zipfile.ZipFile(self.path))
            stream = cast(BinaryIO, stack.enter_context(archive.open(self.member)))
        else:
            stream = stack.enter_context(self.path.open("rb", _BUFFER_BYTES))
        if self.compression:
            stream = _decompress(stream, self.compression, stack)
        elif not self.member:
            return stream
        if self.format == "parquet":  # is read from its end
            unpacked = stack.enter_context(tempfile.TemporaryFile())
            shutil.copyfileobj(stream, unpacked, _BUFFER_BYTES)
            unpacked.seek(0)
            return cast(BinaryIO, unpacked)
        buffered = io.BufferedReader(cast(io.RawIOBase, stream), _BUFFER_BYTES)
        return stack.enter_context(buffered)

    def _damaged(self, kind: str, error: BaseException) -> CorpusError:
        reason = " ".join(str(error).split()) or type(error).__name__
        return CorpusError(
            f"{self.prefix}{self.name} is damaged or incomplete ({kind}: {reason}); fetch or "
            "compress it again"
        )


def _decompress(stream: BinaryIO, compression: str, stack: ExitStack) -> BinaryIO:
    """Returns a file of the decompressed bytes."""
    if compression == "zstd":
        import pyarrow

        return stack.enter_context(pyarrow.CompressedInputStream(stream, "zstd"))
    if compression == "gzip":
        import gzip

        return cast(BinaryIO, stack.enter_context(gzip.GzipFile(fileobj=stream)))
    if compression == "xz":
        import lzma

        return cast(BinaryIO, stack.enter_context(lzma.LZMAFile(stream)))
    import bz2

    return cast(BinaryIO, stack.enter_context(bz2.BZ2File(stream)))


def _suffix(name: str) -> str:
    return PurePosixPath(name).suffix.lower()


def _without_compression(name: str) -> str:
    return name[: -len(_suffix(name))] if _suffix(name) in COMPRESSIONS else name


def _is_readable(name: str) -> bool:
    """Returns whether a file in a folder or an archive is one of the text's, by its name."""
    return _suffix(name) == ".zip" or _suffix(_without_compression(name)) in FORMATS


def _is_hidden(relative: str) -> bool:
    """Returns whether a file, or a folder above it, is hidden, or added by macOS."""
    return any(part.startswith((".", "__MACOSX")) for part in PurePosixPath(relative).parts)


def find_files(names: str | Path | Sequence[str | Path], key: str = "") -> list[TextFile]:
    """Returns the files that a setting or an option names, each once.

    Args:
        names: a file, a folder, a pattern with ``*``, ``?`` or ``[...]`` (``**`` for folders of any
            depth), or a list of these. A leading ~ is the home folder. The files of a folder and of
            a pattern are in the order of their names.
        key: dotted key of the setting; a message begins with it.

    Raises:
        CorpusError: one of them cannot be read, is empty, or has no files of a known format.
    """
    found: dict[tuple[Path, str], TextFile] = {}
    for name in [names] if isinstance(names, (str, Path)) else names:
        for file in _find(str(name), key):
            found.setdefault((file.path, file.member), file)
    return list(found.values())


def _find(name: str, key: str) -> Iterator[TextFile]:
    path = Path(os.path.expanduser(name))  # Path.expanduser raises for an unknown user: ~nobody
    prefix = f"{key}: " if key else ""
    try:
        if path.is_dir():
            yield from _in_folder(path, key)
        elif _PATTERN.search(name) and not path.exists():
            yield from _by_pattern(path, key)
        else:
            yield from _unzipped(checked_file(path, key), key)
    except OSError as error:
        raise CorpusError(f"{prefix}cannot read {path}: {error.strerror}") from error


def _in_folder(folder: Path, key: str) -> Iterator[TextFile]:
    """Yields the files of a folder and of the folders in it."""
    others: Counter[str] = Counter()
    empty = True
    names = []
    for parent, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not _is_hidden(name))
        names += [Path(parent, name) for name in files if not _is_hidden(name)]
    for path in sorted(names, key=lambda path: path.relative_to(folder).parts):
        if not _is_readable(path.name) or not path.is_file():
            others[path.suffix.lower()] += 1
        elif path.stat().st_size:
            empty = False
            yield from _unzipped(path, key)
    if empty:
        found = ", ".join(f"{count:,} {suffix}" for suffix, count in others.most_common(5))
        raise CorpusError(
            f"{key + ': ' if key else ''}{folder} is a folder without text"
            f"{f' (it has {found})' if found else ''}; its files must end in {KINDS}"
        )


def _by_pattern(pattern: Path, key: str) -> Iterator[TextFile]:
    """Yields the files that match a pattern."""
    matches = sorted(glob.glob(str(pattern), recursive=True))
    files = [Path(match) for match in matches if os.path.isfile(match)]
    files = [path for path in files if path.stat().st_size]
    if not files:
        raise CorpusError(
            f"{key + ': ' if key else ''}no file with text in it matches {pattern} "
            f"(looked in {Path.cwd()}); check the pattern"
        )
    for path in files:
        yield from _unzipped(path, key)


def _unzipped(path: Path, key: str) -> Iterator[TextFile]:
    """Yields a file, or the files of a .zip archive in the order of their names."""
    if path.suffix.lower() != ".zip":
        yield TextFile(path, "", key)
        return
    prefix = f"{key}: " if key else ""
    try:
        with zipfile.ZipFile(path) as archive:
            infos = archive.infolist()
    except zipfile.BadZipFile as error:
        raise CorpusError(
            f"{prefix}{path} is damaged or no ZIP archive ({error}); fetch or make it again"
        ) from error
    members = sorted(
        info.filename
        for info in infos
        if not info.is_dir()
        and info.file_size
        and not _is_hidden(info.filename)
        and _is_readable(info.filename)
        and _suffix(info.filename) != ".zip"
    )
    if not members:
        raise CorpusError(
            f"{prefix}{path} has no text in it; the files in it must end in "
            f"{KINDS.partition(', also')[0]}"
        )
    for member in members:
        yield TextFile(path, member, key)


def checked_file(name: str | Path, key: str = "") -> Path:
    """Returns the path of a file, after checking that it can be read and is not empty.

    Args:
        name: the path; a leading ~ is the home folder, a relative path starts at the working
            directory.
        key: dotted key of the setting that named the file; a message begins with it.

    Raises:
        CorpusError: there is no such file, or it is a directory, a device, unreadable or empty.
    """
    path = Path(os.path.expanduser(name))
    prefix = f"{key}: " if key else ""
    try:
        if not path.exists():
            raise CorpusError(
                f"{prefix}no such file: {path} (looked in {Path.cwd()}); "
                "give the path of a text file"
            )
        if path.is_dir():
            raise CorpusError(f"{prefix}{path} is a directory; give the path of one text file")
        if not path.is_file():
            raise CorpusError(
                f"{prefix}{path} is not a regular file, so it cannot be read more than once; "
                "write its text to a file first"
            )
        if path.stat().st_size == 0:
            raise CorpusError(f"{prefix}{path} is empty; give a file with text in it")
        with path.open("rb"):
            pass
    except OSError as error:
        raise CorpusError(f"{prefix}cannot read {path}: {error.strerror}") from error
    return path
