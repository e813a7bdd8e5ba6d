"""A split's ids, encoded once and then memory-mapped.

So a corpus may be larger than memory, and a second run starts at once. What is kept is named after the text's identity
and the vocabulary, so a changed corpus is encoded anew, and two corpora never share ids.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterable
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from tqdm import tqdm

from lstm_lm.config import CorpusConfig
from lstm_lm.corpus.sources import Source
from lstm_lm.corpus.tokenization import recipe_json
from lstm_lm.corpus.vocabulary import Vocabulary
from lstm_lm.errors import CorpusError, DiskError, RunDirectoryError
from lstm_lm.files.cache import entry_folder, read_entry, write_entry

_IDS, _TOKENIZER = "ids.bin", "tokenizer.json"

# Pages of a mapped file count as resident memory once touched, so a training run would seem to grow to the size of its
# corpus; they are handed back (to the page cache, not to the disk) after about this many ids were touched.
_IDS_UNTIL_RELEASE = 2**22
_IDS_OF_A_PAGE = 2**11


class Tokens:
    """The ids of one split, as they lie on disk.

    ``len(tokens)`` counts words and line ends; ``tokens[a:b]`` is a NumPy int64 array of shape ``(b - a,)``.

    Attributes:
        lines: number of line ends (``<eos>``).
        unk_count: number of words that the vocabulary lacks.
    """

    def __init__(self, path: Path, dtype: str, lines: int, unk_count: int) -> None:
        """Maps a file of ids.

        Args:
            path: the ids and nothing else.
            dtype: ``uint16`` or ``int32``, little endian.
            lines: number of line ends in it.
            unk_count: number of unknown words in it.
        """
        with path.open("rb") as file:
            self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        self._ids = np.frombuffer(self._map, dtype=np.dtype(dtype).newbyteorder("<"))
        self._touched = 0
        self.lines, self.unk_count = lines, unk_count

    def __len__(self) -> int:
        return len(self._ids)

    def __getitem__(self, key: int | slice) -> Any:
        found = self._ids[key]
        self._touched += found.size + _IDS_OF_A_PAGE
        if self._touched > _IDS_UNTIL_RELEASE and hasattr(mmap, "MADV_DONTNEED"):
            found, self._touched = found.copy(), 0
            self._map.madvise(mmap.MADV_DONTNEED)
        return found.astype(np.int64) if isinstance(key, slice) else int(found)


def load_vocabulary(source: Source, config: CorpusConfig) -> Vocabulary:
    """Returns the vocabulary of a source's train split, from the cache or counted now.

    Args:
        source: the corpus.
        config: its `tokenization`, `lowercase`, `min_count`, `vocab_size` and `cache_dir` are used.

    Raises:
        CorpusError: train cannot be read, or has fewer than two different words.
        DiskError: the cache cannot be written.
    """
    identity = source.identity("train")
    folder = entry_folder(
        config.cache_dir,
        "vocabulary",
        identity,
        recipe_json(config.tokenization, config.lowercase),
        config.min_count,
        config.vocab_size,
    )
    if read_entry(folder, _TOKENIZER):
        try:
            return Vocabulary.load(folder / _TOKENIZER)
        except (
            RunDirectoryError
        ):  # gone in between, as when somebody empties the cache: build it again
            pass
    vocabulary = Vocabulary.build(
        source.iterate_lines("train"),
        tokenization=config.tokenization,
        lowercase=config.lowercase,
        min_count=config.min_count,
        vocab_size=config.vocab_size,
    )
    _check_unchanged(source, "train", identity)

    def write(file: BinaryIO) -> dict[str, Any]:
        file.write(vocabulary.to_json().encode("utf-8"))
        return {"words": len(vocabulary)}

    write_entry(folder, _TOKENIZER, write)
    return vocabulary


def load_tokens(
    source: Source, split: str, vocabulary: Vocabulary, cache_dir: str | Path | None = None
) -> Tokens:
    """Returns the ids of a split, from the cache or encoded now, in constant memory.

    Args:
        source: the corpus.
        split: train, valid or test.
        vocabulary: the words; the others count as unknown.
        cache_dir: the cache, None for the default.

    Raises:
        CorpusError: the split cannot be read, has no lines, or changes while it is read.
        DiskError: the cache cannot be written; nothing is left behind.
    """
    identity = source.identity(split)
    folder = entry_folder(cache_dir, "ids", identity, vocabulary.to_json())
    dtype = "uint16" if len(vocabulary) < 1 << 16 else "int32"

    def write(file: BinaryIO) -> dict[str, Any]:
        lines = tqdm(
            source.iterate_lines(split),
            desc=f"encoding {split}",
            unit=" lines",
            unit_scale=True,
            disable=None,
        )
        counts = _encode(lines, vocabulary, file, dtype)
        if not counts["count"]:
            raise CorpusError(f"corpus: the {split} split has no lines; give it some text")
        _check_unchanged(source, split, identity)
        return counts | {"dtype": dtype}

    for _ in range(3):
        meta = read_entry(folder, _IDS) or write_entry(folder, _IDS, write)
        try:
            return Tokens(folder / _IDS, meta["dtype"], meta["lines"], meta["unk_count"])
        except FileNotFoundError:  # gone in between, as when somebody empties the cache
            continue
    raise DiskError(
        f"corpus.cache_dir: {folder} is removed as often as it is made; set corpus.cache_dir or "
        "$LSTM_LM_CACHE to another folder"
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


def _check_unchanged(source: Source, split: str, identity: str) -> None:
    if source.identity(split) != identity:
        raise CorpusError(
            f"corpus: the {split} split was changed while it was read; start again when it is complete"
        )
