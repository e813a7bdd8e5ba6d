"""Files of word vectors, in the text form of word2vec and of GloVe.

A line is a word and its numbers, separated by single spaces. word2vec writes one more line before
them: how many words and how many numbers. A word may have spaces in it, as some of GloVe do.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np

from lstm_lm.corpus.text_files import find_files
from lstm_lm.errors import CorpusError

_KEY = "training.word_vectors"


class WordVectors:
    """A file of word vectors; only its first line is read until `find`.

    Attributes:
        name: of the file.
        size: how many numbers a word has.

    Raises:
        CorpusError: there is no such file, or it is no file of word vectors.
    """

    def __init__(self, name: str) -> None:
        files = find_files(name, _KEY)
        if len(files) != 1:
            raise CorpusError(f"{_KEY}: {name} is {len(files):,} files; give one of them")
        self.name, self._file = name, files[0]
        with self._file.open() as stream:
            first = stream.readline(2**20).split()
        self._has_header = len(first) == 2 and all(part.isdigit() for part in first)
        self.size = int(first[1]) if self._has_header else len(first) - 1
        if self.size < 1 or not (self._has_header or _numbers(first[1:]) is not None):
            raise CorpusError(
                f"{_KEY}: {name} is no file of word vectors; each line must have a word and its "
                "numbers, separated by spaces"
            )

    def find(self, words: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """Finds the vectors of words. A word that the file has only in small letters has those.

        Args:
            words: id -> word; the first two, ``<unk>`` and ``<eos>``, are not looked up.

        Returns:
            The ids of the words that were found, ascending, int64 ``(N,)``, and their vectors,
            float32 ``(N, size)``.

        Raises:
            CorpusError: the file cannot be read, or a line has not as many numbers as the first.
        """
        exact = {word.encode(): number for number, word in enumerate(words) if number > 1}
        small: dict[bytes, list[int]] = {}
        for word, number in exact.items():
            lowered = word.decode().lower().encode()
            if lowered != word:
                small.setdefault(lowered, []).append(number)
        found: dict[int, np.ndarray] = {}
        in_small: dict[int, np.ndarray] = {}
        for place, word, numbers in self._lines():
            own, others = exact.get(word), small.get(word, [])
            if own is None and not others:
                continue
            vector = _numbers(numbers)
            if vector is None:
                raise self._wrong(place)
            if own is not None:
                found.setdefault(own, vector)
            for number in others:
                in_small.setdefault(number, vector)
        found = in_small | found
        ids = np.array(sorted(found), dtype=np.int64)
        vectors = np.array([found[number] for number in ids.tolist()], dtype=np.float32)
        return ids, vectors.reshape(len(ids), self.size)

    def _lines(self) -> Iterator[tuple[int, bytes, list[bytes]]]:
        """Yields the number of a line, its word, and its numbers."""
        with self._file.open() as stream:
            for place, line in enumerate(stream, 1):
                parts = line.rstrip().rsplit(b" ", self.size)
                if place == 1 and self._has_header:
                    continue
                if len(parts) != self.size + 1:
                    if not line.strip():
                        continue
                    raise self._wrong(place)
                yield place, parts[0], parts[1:]

    def _wrong(self, place: int) -> CorpusError:
        return CorpusError(
            f"{_KEY}: {self.name}, line {place:,}: is no word with {self.size} numbers; save the "
            "vectors as text (the binary form of word2vec is not read)"
        )


def _numbers(parts: Sequence[bytes]) -> np.ndarray | None:
    """The numbers; None if they are none, or not finite."""
    try:
        values = [float(part) for part in parts]
    except ValueError:
        return None
    return np.array(values, dtype=np.float32) if all(map(math.isfinite, values)) else None
