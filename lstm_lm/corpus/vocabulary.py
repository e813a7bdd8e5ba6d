"""Words and their ids, kept in one tokenizer.json: counted in train, the most frequent first.

Ids: ``<unk>`` 0, ``<eos>`` 1, then words by count, descending; equal counts in alphabetical (code point) order.
"""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer
from tqdm import tqdm

from lstm_lm.corpus import typed_text
from lstm_lm.corpus.tokenization import (
    END_OF_LINE,
    NO_WORDS,
    TOKENIZATIONS,
    UNKNOWN,
    build_normalizer,
    build_pre_tokenizer,
    build_tokenizer,
    recipe_json,
)
from lstm_lm.errors import CorpusError, RunDirectoryError

# A whole novel may come in one line: it is worked on in pieces of so many characters, cut at white space.
_PIECE_LENGTH = 1 << 16
_BATCH_LENGTH = 1 << 19
# Chunks (what lies between white space) that are remembered at a time, and characters of one worth remembering.
_MOST_CHUNKS = 1 << 18
_LONGEST_KEPT = 64
# One core that looks chunks up does the work of two or three that take lines apart, and leaves the others to training.
_CORES_FOR_WHOLE_LINES = 8

_SPACE = re.compile(r"\s")


class Vocabulary:
    """The words a model knows, and the ways from text to their ids and back.

    Attributes:
        words: id -> word.
        tokenization: ``whitespace`` or ``words``; see `tokenization`.
        lowercase: whether text is folded to lower case.
        unk_id: 0, the id of every word that is not in the vocabulary.
        eos_id: 1, the id of a line's end.
    """

    unk_id = 0
    eos_id = 1

    def __init__(self, words: Sequence[str], tokenization: str, lowercase: bool) -> None:
        """Use `build`, `load` or `from_json`.

        Args:
            words: id -> word, all different, ``<unk>`` and ``<eos>`` first.
            tokenization: ``whitespace`` or ``words``.
            lowercase: whether text is folded to lower case.
        """
        assert tuple(words[:2]) == (UNKNOWN, END_OF_LINE)
        self.words = list(words)
        self.tokenization, self.lowercase = tokenization, lowercase
        self._ids = {word: number for number, word in enumerate(self.words)}
        self._tokenizer = build_tokenizer(self._ids, tokenization, lowercase)

    @classmethod
    def build(
        cls,
        lines: Iterable[str],
        *,
        tokenization: str,
        lowercase: bool = False,
        min_count: int = 1,
        vocab_size: int | None = None,
    ) -> Vocabulary:
        """Counts the words of train.

        Args:
            lines: train's lines; memory depends on how many different words they have, not on their number.
            tokenization: ``whitespace`` or ``words``.
            lowercase: whether to fold text to lower case.
            min_count: words seen less often are left out.
            vocab_size: at most so many words, ``<unk>`` and ``<eos>`` included.

        Raises:
            CorpusError: fewer than two different words.
        """
        counts = _count_words(lines, tokenization, lowercase)
        counts.pop(UNKNOWN, None)
        if len(counts) < 2:
            found = "no words" if not counts else f"only the word {next(iter(counts))[:40]!r}"
            raise CorpusError(
                f"corpus: train has {found}; give it text with at least two different words"
            )
        ordered = sorted((-count, word) for word, count in counts.items() if count >= min_count)
        if not ordered:
            raise CorpusError(
                f"corpus.min_count: no word of train is seen {min_count} times, the most frequent "
                f"{max(counts.values())} times; lower it"
            )
        limit = None if vocab_size is None else max(0, vocab_size - 2)
        return cls(
            [UNKNOWN, END_OF_LINE, *(word for _, word in ordered[:limit])], tokenization, lowercase
        )

    def to_json(self) -> str:
        """Returns the contents of tokenizer.json, which any binding of `tokenizers` reads; the same for equal words."""
        return self._tokenizer.to_str(pretty=True)

    @classmethod
    def from_json(cls, text: str, name: str = "tokenizer.json") -> Vocabulary:
        """Reads what `to_json` wrote.

        Args:
            text: contents of tokenizer.json.
            name: the file, for the message.

        Raises:
            RunDirectoryError: the text is damaged, or another program's tokenizer.
        """
        words, recipe = _take_apart_json(text, name)
        for tokenization in TOKENIZATIONS:
            for lowercase in (False, True):
                if recipe == recipe_json(tokenization, lowercase):
                    return cls(words, tokenization, lowercase)
        raise RunDirectoryError(
            f"{name}: made by another program or version: it takes text apart in a way this one "
            "does not; train again, or use the version that wrote it"
        )

    def save(self, path: str | Path) -> None:
        """Writes tokenizer.json, not atomically: that is for the caller, who has `to_json`."""
        Path(path).write_text(self.to_json(), encoding="utf-8")

    @classmethod
    def load(cls, path: str | Path) -> Vocabulary:
        """Reads tokenizer.json.

        Raises:
            RunDirectoryError: the file is missing, damaged or another program's.
        """
        try:
            text = Path(path).read_text(encoding="utf-8")
        except OSError as error:
            raise RunDirectoryError(
                f"{path}: cannot be read ({error.strerror}); a run directory needs it to know its "
                "words"
            ) from error
        except UnicodeDecodeError as error:
            raise RunDirectoryError(
                f"{path}: damaged (not UTF-8); copy it again or train again"
            ) from error
        return cls.from_json(text, str(path))

    def __len__(self) -> int:
        return len(self.words)

    def word(self, number: int) -> str:
        """Returns the word with an id."""
        return self.words[number]

    def id(self, word: str) -> int | None:
        """Returns the id of a word spelled exactly so, or None if the vocabulary lacks it."""
        return self._ids.get(word)

    def encode_lines(self, lines: Iterable[str]) -> list[list[int]]:
        """Encodes lines of the corpus; each list ends with ``<eos>``."""
        ids = np.concatenate([*self.iterate_ids(lines), np.empty(0, dtype=np.int64)])
        ends = np.flatnonzero(ids == self.eos_id) + 1
        return [line.tolist() for line in np.split(ids, ends)[:-1]]

    def iterate_ids(self, lines: Iterable[str]) -> Iterator[np.ndarray]:
        """Encodes lines of the corpus in constant memory.

        `tokenizers` takes text apart on all cores. On a few cores it is several times faster still to give it each
        different chunk between white space only once, and to look the chunk up when it comes again.

        Args:
            lines: N lines without line ends, in the corpus's own form.

        Yields:
            Batches of ids, int64, which together are all lines, each followed by one ``<eos>``: (words + N,).
        """
        whole = _available_cores() >= _CORES_FOR_WHOLE_LINES
        known: dict[str | None, list[int]] = {}
        chunks: list[str | None] = []
        size = 0
        for line in lines:
            for piece in _pieces(line):
                chunks += [piece] if whole else piece.split()
                size += len(piece) + 1
                if size > _BATCH_LENGTH:
                    yield self._encode_chunks(chunks, known)
                    chunks, size = [], 0
            chunks.append(None)
        if chunks:
            yield self._encode_chunks(chunks, known)

    def _encode_chunks(
        self, chunks: list[str | None], known: dict[str | None, list[int]]
    ) -> np.ndarray:
        """Encodes chunks, None being a line's end, and remembers them in `known`."""
        if len(known) > _MOST_CHUNKS:
            known.clear()
        known[None] = [self.eos_id]
        new = list(set(chunks).difference(known))
        for chunk, encoding in zip(
            new, self._tokenizer.encode_batch_fast(new, add_special_tokens=False), strict=True
        ):
            known[chunk] = encoding.ids
        ids = np.fromiter(chain.from_iterable(map(known.__getitem__, chunks)), dtype=np.int64)
        for chunk in new:
            if len(chunk) > _LONGEST_KEPT:
                del known[chunk]
        return ids

    def split_text(self, text: str) -> list[str]:
        """Takes text that a person typed apart into words in the corpus's form, known and unknown ones.

        Natural text (``words``) is taken apart as the corpus was. For a corpus that came tokenised (``whitespace``) see
        `typed_text.spell_out`. Line ends are white space: a caller who wants an ``<eos>`` adds it.

        Raises:
            InputError: the text holds a lone surrogate, as Python makes of bytes that are not UTF-8, or is too long.
        """
        typed_text.must_be_readable(text)
        normalize = self._tokenizer.normalizer.normalize_str
        if self.tokenization == "whitespace":
            return typed_text.spell_out(" ".join(map(normalize, _pieces(text))), self._ids)
        take_apart = self._tokenizer.pre_tokenizer.pre_tokenize_str
        return [word for piece in _pieces(text) for word, _ in take_apart(normalize(piece))]

    def ids_of(self, words: Iterable[str]) -> list[int]:
        """Returns the id of each word, `unk_id` for a word that is not in the vocabulary.

        Args:
            words: in the corpus's own form, such as `split_text` returns.
        """
        return [self._ids.get(word, self.unk_id) for word in words]

    def encode_text(self, text: str) -> list[int]:
        """Returns ``ids_of(split_text(text))``."""
        return self.ids_of(self.split_text(text))

    def decode(self, ids: Iterable[int]) -> str:
        """Joins words by single spaces; of an encoded text this is its normalisation, unknown words as ``<unk>``."""
        return " ".join(self.words[number] for number in ids)

    def display(self, words: Sequence[str]) -> str:
        """Joins words the way one prints English; see `typed_text.display`."""
        return typed_text.display(words)


def _available_cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _pieces(line: str) -> Iterator[str]:
    start = 0
    while len(line) - start > _PIECE_LENGTH and (
        space := _SPACE.search(line, start + _PIECE_LENGTH)
    ):
        yield line[start : space.start()]
        start = space.end()
    yield line[start:]


def _count_words(lines: Iterable[str], tokenization: str, lowercase: bool) -> Counter[str]:
    """Counts words by counting chunks between white space and taking each different chunk apart once.

    That is several times faster than taking every line apart on two cores, and can be interrupted.
    """
    normalize = build_normalizer(tokenization, lowercase).normalize_str
    take_apart = build_pre_tokenizer(tokenization).pre_tokenize_str
    words: Counter[str] = Counter()
    chunks: Counter[str] = Counter()

    def settle() -> None:
        for chunk, count in chunks.items():
            for word, _ in take_apart(normalize(chunk)):
                words[word] += count
        chunks.clear()

    for line in tqdm(lines, desc="counting words", unit=" lines", unit_scale=True, disable=None):
        for piece in _pieces(line):
            chunks.update(piece.split())
        if len(chunks) > _MOST_CHUNKS:
            settle()
    settle()
    return words


def _take_apart_json(text: str, name: str) -> tuple[list[str], str]:
    """Returns id -> word of a tokenizer.json, every id present once, and the same tokenizer's JSON without words."""
    try:
        found = json.loads(text)
        ids = found["model"]["vocab"]
        found["model"]["vocab"] = NO_WORDS
        # through `tokenizers` and back, so that another version's file differs only where it means another thing
        recipe = Tokenizer.from_str(json.dumps(found)).to_str()
        words = sorted(ids, key=ids.__getitem__)
        "".join(words).encode("utf-8")
    except (ValueError, RecursionError) as error:
        raise RunDirectoryError(
            f"{name}: damaged (not JSON in UTF-8); copy it again or train again"
        ) from error
    except Exception as error:
        raise RunDirectoryError(
            f"{name}: not a tokenizer, or damaged; copy it again or train again"
        ) from error
    if words[:2] != [UNKNOWN, END_OF_LINE] or [ids[word] for word in words] != list(
        range(len(ids))
    ):
        raise RunDirectoryError(
            f"{name}: its ids are not <unk>, <eos>, then one for each word; it is damaged or from "
            "another program"
        )
    return words, recipe
