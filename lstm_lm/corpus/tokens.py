"""The ids of a split, encoded once and then memory-mapped.

So a corpus may be larger than memory, and a second run starts at once. The cache entry is named
after the text's fingerprint and the vocabulary: a changed text is encoded again, and two corpora
never share ids.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterable
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from lstm_lm.corpus.progress import show_progress
from lstm_lm.corpus.sources import Source, check_unchanged
from lstm_lm.corpus.vocabulary import Vocabulary
from lstm_lm.errors import CorpusError, DiskError
from lstm_lm.files.cache import entry_folder, read_entry, write_entry

_IDS = "ids.bin"

# Once read, the pages of a mapped file count as memory of the process, which would seem to grow to
# the size of its corpus. So they are given back (to the page cache, not to the disk) after about
# this many ids were read: 8 MiB of uint16.
_IDS_UNTIL_RELEASE = 2**22
_IDS_PER_PAGE = 2**11  # a read touches at least a page: 4 KiB of uint16


class Tokens:
    """The ids of one split, in a file.

    ``len(tokens)`` counts words and line ends. ``tokens[a:b]`` is a NumPy int64 array of shape
    ``(b - a,)``, ``tokens[a]`` an int.

    Attributes:
        lines: number of line ends (``<eos>``).
        unk_count: number of words that are not in the vocabulary.
    """

    def __init__(self, path: Path, dtype: str, lines: int, unk_count: int) -> None:
        """Maps a file of ids.

        Args:
            path: the file; it holds at least one id, and nothing else.
            dtype: ``uint16`` or ``int32``; little endian.
            lines: number of line ends in it.
            unk_count: number of unknown words in it.

        Raises:
            FileNotFoundError: there is no such file.
        """
        with path.open("rb") as file:
            self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        self._ids = np.frombuffer(self._map, dtype=np.dtype(dtype).newbyteorder("<"))
        self._ids_read = 0
        self.lines, self.unk_count = lines, unk_count

    def __len__(self) -> int:
        return len(self._ids)

    def __getitem__(self, key: int | slice) -> Any:
        found = self._ids[key]
        self._ids_read += found.size + _IDS_PER_PAGE
        if self._ids_read > _IDS_UNTIL_RELEASE and hasattr(mmap, "MADV_DONTNEED"):
            found, self._ids_read = found.copy(), 0
            self._map.madvise(mmap.MADV_DONTNEED)
        return found.astype(np.int64) if isinstance(key, slice) else int(found)


def load_tokens(
    source: Source, split: str, vocabulary: Vocabulary, cache_dir: str | Path | None, title: str
) -> Tokens:
    """Returns the ids of a split, from the cache or encoded now; memory use is constant.

    Args:
        source: the text.
        split: a split of the source.
        vocabulary: the words to encode with; other words become ``<unk>``.
        cache_dir: the cache's folder; None for the default.
        title: what a message calls the split.

    Raises:
        CorpusError: the split cannot be read, has no lines, or changes while it is read.
        DiskError: the cache cannot be written; nothing is left behind.
    """
    fingerprint = source.fingerprint(split)
    folder = entry_folder(cache_dir, "ids", fingerprint, vocabulary.to_json())
    dtype = "uint16" if len(vocabulary) < 1 << 16 else "int32"

    def write(file: BinaryIO) -> dict[str, Any]:
        lines = show_progress(source.iterate_lines(split), f"encoding {split}", "lines")
        counts = _encode(lines, vocabulary, file, dtype)
        if not counts["count"]:
            raise CorpusError(f"{title} has no lines; give it some text")
        check_unchanged(source, split, fingerprint)
        return counts | {"dtype": dtype}

    for _ in range(3):
        meta = read_entry(folder, _IDS) or write_entry(folder, _IDS, write)
        try:
            return Tokens(folder / _IDS, meta["dtype"], meta["lines"], meta["unk_count"])
        except FileNotFoundError:  # removed in the meantime, such as by emptying the cache
            continue
    raise DiskError(
        f"corpus.cache_dir: another process removes {folder} whenever it is written; set "
        "corpus.cache_dir or $LSTM_LM_CACHE to another folder"
    )


def _encode(
    lines: Iterable[str], vocabulary: Vocabulary, file: BinaryIO, dtype: str
) -> dict[str, Any]:
    """Writes the ids of all lines to a file and returns how many there are."""
    counts = {"count": 0, "lines": 0, "unk_count": 0}
    for ids in vocabulary.iterate_ids(lines):
        counts["count"] += len(ids)
        counts["lines"] += int((ids == vocabulary.eos_id).sum())
        counts["unk_count"] += int((ids == vocabulary.unk_id).sum())
        file.write(ids.astype(np.dtype(dtype).newbyteorder("<")).tobytes())
    return counts
