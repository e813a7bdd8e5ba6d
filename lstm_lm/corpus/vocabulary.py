"""The vocabulary: the words of train and their ids, stored in tokenizer.json.

``<unk>`` has id 0 and ``<eos>`` id 1. The other words follow, the most frequent first; words with
equal counts are in alphabetical (code point) order.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from itertools import chain
from pathlib import Path

import numpy as np

from lstm_lm.corpus import typed_text
from lstm_lm.corpus.progress import show_progress
from lstm_lm.corpus.tokenization import (
    END_OF_LINE,
    UNKNOWN,
    Recipe,
    build_normalizer,
    build_pre_tokenizer,
    build_tokenizer,
    parse_tokenizer,
    recipe_for_text,
)
from lstm_lm.corpus.word_rules import LATEST_VERSION
from lstm_lm.corpus.word_search import WordSearch
from lstm_lm.errors import CorpusError, RunDirectoryError
from lstm_lm.files.atomic import write_atomically
from lstm_lm.machine import available_cores

# A line may be as long as a novel. It is worked on in pieces, cut at the first white space after
# this many characters.
_PIECE_LENGTH = 1 << 16
_BATCH_LENGTH = 1 << 19  # characters that are encoded at a time, about
# Chunks (what stands between white space) are split only once: the result is kept for so many
# different chunks, and only for chunks of at most so many characters.
_MAX_CHUNKS_KEPT = 1 << 18
_MAX_CHUNK_LENGTH_KEPT = 64
# With fewer cores, looking chunks up on one core is faster than splitting whole lines on all: one
# core that looks up does the work of two or three that split, and leaves the others to training.
_MIN_CORES_FOR_WHOLE_LINES = 8

_SAMPLE_LENGTH = 1 << 20  # characters of train that the tokenizer's options are chosen by

_SPACE = re.compile(r"\s")


class Vocabulary:
    """The words that a model knows; converts text to ids and back.

    Attributes:
        words: id -> word.
        recipe: what counts as a word; see `tokenization`.
        unk_id: 0, the id of every word that is not in the vocabulary.
        eos_id: 1, the id of a line end.
    """

    unk_id = 0
    eos_id = 1

    def __init__(self, words: Sequence[str], recipe: Recipe) -> None:
        """Creates a vocabulary from its words; `build`, `load` and `from_json` call this.

        Args:
            words: id -> word; all different, ``<unk>`` and ``<eos>`` first.
            recipe: what counts as a word.
        """
        assert tuple(words[:2]) == (UNKNOWN, END_OF_LINE)
        self.words = list(words)
        self.recipe = recipe
        self._ids = {word: number for number, word in enumerate(self.words)}
        self._tokenizer = build_tokenizer(self._ids, recipe)

    @property
    def tokenization(self) -> str:
        """``whitespace`` or ``words``."""
        return self.recipe.tokenization

    @property
    def lowercase(self) -> bool:
        """Whether text is folded to lower case."""
        return self.recipe.lowercase

    @property
    def version(self) -> int:
        """The version of the tokenizer's rules."""
        return self.recipe.version

    @classmethod
    def build(
        cls,
        lines: Iterable[str],
        *,
        tokenization: str,
        lowercase: bool = False,
        min_count: int = 1,
        vocab_size: int | None = None,
        version: int = LATEST_VERSION,
    ) -> Vocabulary:
        """Builds the vocabulary of a text by counting its words.

        Args:
            lines: the lines of train. Memory use depends on the number of different words, not on
                the number of lines.
            tokenization: ``whitespace`` or ``words``.
            lowercase: whether to fold text to lower case.
            min_count: words seen less often are left out.
            vocab_size: the most words to keep, ``<unk>`` and ``<eos>`` included; None for all.
            version: of the tokenizer's rules. The options of the rules are chosen by the first
                million characters of the lines.

        Raises:
            CorpusError: the text has fewer than two different words, or none of them is frequent
                enough.
        """
        counts, recipe = count_words(lines, Recipe(tokenization, lowercase, version))
        return cls.from_counts(counts, recipe, min_count=min_count, vocab_size=vocab_size)

    @classmethod
    def from_counts(
        cls,
        counts: Mapping[str, int],
        recipe: Recipe,
        *,
        min_count: int = 1,
        vocab_size: int | None = None,
    ) -> Vocabulary:
        """Builds the vocabulary of words that are counted already.

        Args:
            counts: word -> how often train has it; ``<unk>`` is ignored.
            recipe: how the words were split.
            min_count: see `build`.
            vocab_size: see `build`.

        Raises:
            CorpusError: see `build`.
        """
        counts = {word: count for word, count in counts.items() if word != UNKNOWN}
        if len(counts) < 2:
            found = "no words" if not counts else f"only the word {next(iter(counts))[:40]!r}"
            raise CorpusError(
                f"corpus: train has {found}; give it text with at least two different words"
            )
        ordered = sorted((-count, word) for word, count in counts.items() if count >= min_count)
        if not ordered:
            raise CorpusError(
                f"corpus.min_count: no word of train occurs {min_count} times, the most frequent "
                f"one {max(counts.values())} times; lower it"
            )
        limit = None if vocab_size is None else max(0, vocab_size - 2)
        return cls([UNKNOWN, END_OF_LINE, *(word for _, word in ordered[:limit])], recipe)

    def extended(self, counts: Mapping[str, int], most: int, min_count: int = 1) -> Vocabulary:
        """Returns a vocabulary with more words; those of this one keep their ids.

        Args:
            counts: word -> how often a text has it.
            most: how many words are added at most, the most frequent first; words with equal counts
                are in alphabetical order.
            min_count: words seen less often are not added.
        """
        unknown = [
            (-count, word)
            for word, count in counts.items()
            if count >= min_count and word not in self._ids
        ]
        added = [word for _, word in sorted(unknown)[:most]]
        return Vocabulary([*self.words, *added], self.recipe)

    def to_json(self) -> str:
        """Returns the content of tokenizer.json; equal vocabularies give equal content.

        Any program that uses the `tokenizers` library can read it.
        """
        return self._tokenizer.to_str(pretty=True)

    @classmethod
    def from_json(cls, text: str, name: str = "tokenizer.json") -> Vocabulary:
        """Reads what `to_json` wrote.

        Args:
            text: content of tokenizer.json.
            name: the file, for the message.

        Raises:
            RunDirectoryError: the text is damaged, or was written by another program or version.
        """
        return cls(*parse_tokenizer(text, name))

    def save(self, path: str | Path) -> None:
        """Writes tokenizer.json.

        Raises:
            DiskError: it could not be written; a file that was there is unchanged.
        """
        write_atomically(Path(path), self.to_json())

    @classmethod
    def load(cls, path: str | Path) -> Vocabulary:
        """Reads tokenizer.json.

        Raises:
            RunDirectoryError: the file is missing or damaged, or was written by another program.
        """
        try:
            text = Path(path).read_text(encoding="utf-8")
        except OSError as error:
            raise RunDirectoryError(
                f"{path}: cannot be read ({error.strerror}); it holds the words of the model, so "
                "restore it or train again"
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
        """Returns the id of a word in exactly this spelling, or None if there is none."""
        return self._ids.get(word)

    def encode_lines(self, lines: Iterable[str]) -> list[list[int]]:
        """Returns the ids of each line of a corpus; each list ends with ``<eos>``."""
        ids = np.concatenate([*self.iterate_ids(lines), np.empty(0, dtype=np.int64)])
        ends = np.flatnonzero(ids == self.eos_id) + 1
        return [line.tolist() for line in np.split(ids, ends)[:-1]]

    def iterate_ids(self, lines: Iterable[str]) -> Iterator[np.ndarray]:
        """Encodes lines of a corpus; memory use is constant.

        The `tokenizers` library splits whole lines on all cores. On few cores it is several times
        faster to split each different chunk once, and to look it up when it occurs again.

        Args:
            lines: lines without line ends, in the corpus's own form.

        Yields:
            Batches of ids, int64. Joined, they are the words of all lines, each line followed by
            one ``<eos>``.
        """
        whole_lines = available_cores() >= _MIN_CORES_FOR_WHOLE_LINES
        known: dict[str | None, list[int]] = {}
        chunks: list[str | None] = []
        size = 0
        for line in lines:
            for piece in _pieces(line):
                chunks += [piece] if whole_lines else piece.split()
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
        """Returns the ids of chunks, of which None is a line end, and adds new ones to `known`."""
        if len(known) > _MAX_CHUNKS_KEPT:
            known.clear()
        known[None] = [self.eos_id]
        new = [chunk for chunk in set(chunks).difference(known) if chunk is not None]
        for chunk, encoding in zip(
            new, self._tokenizer.encode_batch_fast(new, add_special_tokens=False), strict=True
        ):
            known[chunk] = encoding.ids
        ids = np.fromiter(chain.from_iterable(map(known.__getitem__, chunks)), dtype=np.int64)
        for chunk in new:
            if len(chunk) > _MAX_CHUNK_LENGTH_KEPT:
                del known[chunk]
        return ids

    def split_text(self, text: str, *, more_follows: bool = False) -> list[str]:
        """Splits typed text into words in the corpus's own form, whether they are known or not.

        With ``words``, the text is split like the corpus. With ``whitespace``, the corpus came
        tokenised and the text is natural: see `typed_text.spell_out`. Line ends are white space; a
        caller that wants an ``<eos>`` adds it. No rule looks across white space, except that an
        initial at the end of a line (``John F.``) may be split.

        Args:
            text: what was typed.
            more_follows: whether the line goes on after the text.

        Raises:
            InputError: the text is too long, or not UTF-8: Python makes lone surrogates of bytes
                that are not UTF-8.
        """
        typed_text.check_text(text)
        normalize = self._tokenizer.normalizer.normalize_str
        if self.tokenization == "whitespace":
            normalized = " ".join(map(normalize, _pieces(text)))
            natural = replace(self.recipe, tokenization="words")
            return typed_text.spell_out(normalized, self._ids, natural, more_follows=more_follows)
        split = self._tokenizer.pre_tokenizer.pre_tokenize_str
        return [word for piece in _pieces(text) for word, _ in split(normalize(piece))]

    def normalize(self, text: str) -> str:
        """Returns text with the case and the marks of the corpus, before it is split into words."""
        return self._tokenizer.normalizer.normalize_str(text)

    @cached_property
    def search(self) -> WordSearch:
        """Finds words by their beginning, or in any case. Threads may share it."""
        return WordSearch(self.words)

    def split_chunks(self, text: str) -> list[list[str]]:
        """Splits typed text as `split_text` does, and returns the words of each chunk.

        A chunk is what stands between white space: ``text.split()`` has as many.

        Raises:
            InputError: see `split_text`.
        """
        typed_text.check_text(text)
        normalize = self._tokenizer.normalizer.normalize_str
        if self.tokenization == "whitespace":
            natural = replace(self.recipe, tokenization="words")
            normalized = " ".join(map(normalize, text.split()))
            return list(typed_text.spell_chunks(normalized, self._ids, natural))
        split = self._tokenizer.pre_tokenizer.pre_tokenize_str
        return [[word for word, _ in split(normalize(chunk))] for chunk in text.split()]

    def ids_of(self, words: Iterable[str]) -> list[int]:
        """Returns the id of each word, `unk_id` for a word that is not in the vocabulary.

        Args:
            words: in the corpus's own form, such as `split_text` returns.
        """
        return [self._ids.get(word, self.unk_id) for word in words]

    def decode(self, ids: Iterable[int]) -> str:
        """Returns the words of ids, joined by single spaces.

        For an encoded text this is its normalised form, with ``<unk>`` for unknown words.
        """
        return " ".join(self.words[number] for number in ids)

    def display(self, words: Sequence[str]) -> str:
        """Joins words the way they are printed; see `typed_text.display`."""
        return typed_text.display(words, self.recipe.separate_characters)

    def join(self, prompt: str, words: Sequence[str]) -> str:
        """Returns a typed prompt and its continuation as one text.

        A space stands between the two if one is printed there: ``I`` and ``like`` are separated,
        ``I like`` and ``,`` are not, nor are two characters of Chinese.

        Args:
            prompt: as it was typed; it stays as it is.
            words: the continuation, in the corpus's own form.
        """
        prompt_words = self.split_text(prompt)
        if not prompt_words or prompt[-1].isspace():
            return prompt + self.display(words)
        last = prompt_words[-1]
        continued = self.display([last, *words])
        return prompt + continued[len(self.display([last])) :]


def _pieces(line: str) -> Iterator[str]:
    """Yields a line in pieces that are cut at white space."""
    start = 0
    while len(line) - start > _PIECE_LENGTH and (
        space := _SPACE.search(line, start + _PIECE_LENGTH)
    ):
        yield line[start : space.start()]
        start = space.end()
    yield line[start:]


def count_words(
    lines: Iterable[str], recipe: Recipe, *, choose_options: bool = True
) -> tuple[Counter[str], Recipe]:
    """Counts words.

    Chunks are counted first, and each different chunk is split once. On two cores this is several
    times faster than splitting every line, and Ctrl-C can interrupt it.

    Args:
        lines: without line ends. Memory use depends on the number of different words.
        recipe: what counts as a word.
        choose_options: whether the options of the recipe are chosen by the text.

    Returns:
        Word -> count, and the recipe with the options that fit the text.
    """
    lines = iter(lines)
    sample = _first_lines(lines)
    if choose_options:
        recipe = recipe_for_text(recipe, (line[:_SAMPLE_LENGTH] for line in sample))
    normalize = build_normalizer(recipe).normalize_str
    split = build_pre_tokenizer(recipe).pre_tokenize_str
    words: Counter[str] = Counter()
    chunks: Counter[str] = Counter()

    def add_words_of_chunks() -> None:
        for chunk, count in chunks.items():
            for word, _ in split(normalize(chunk)):
                words[word] += count
        chunks.clear()

    for line in show_progress(chain(sample, lines), "counting words", "lines"):
        for piece in _pieces(line):
            chunks.update(piece.split())
        if len(chunks) > _MAX_CHUNKS_KEPT:
            add_words_of_chunks()
    add_words_of_chunks()
    return words, recipe


def _first_lines(lines: Iterator[str]) -> list[str]:
    """Takes the first lines, of about `_SAMPLE_LENGTH` characters together."""
    sample, size = [], 0
    for line in lines:
        sample.append(line)
        size += len(line) + 1
        if size > _SAMPLE_LENGTH:
            break
    return sample
