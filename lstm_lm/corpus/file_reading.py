"""How a file is read for a model whose corpus came tokenised: as it stands, or as natural text.

A model of natural text (``corpus.tokenization: words``) reads every file in one way. A model of a
corpus that was tokenised by white space can read a file in two ways:

- ``tokenised``: the words stand between white space, as in the corpus.
- ``natural``: the text is spelled as the corpus is, as typed text is (`typed_text.spell_out`).
"""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path

from lstm_lm.corpus import tokenization, typed_text, word_rules
from lstm_lm.corpus.fingerprints import fingerprint_of
from lstm_lm.corpus.sources import Source
from lstm_lm.corpus.tokenization import build_normalizer
from lstm_lm.corpus.vocabulary import Vocabulary
from lstm_lm.errors import InputError

NATURAL, TOKENISED = "natural", "tokenised"
SAMPLE_LINES = 1000  # lines from which `choose_reading` decides
SAMPLE_CHARACTERS = 2**16  # and the most characters of each


def has_two_readings(vocabulary: Vocabulary) -> bool:
    """Whether a file can be read in two ways: the model's corpus came tokenised."""
    return vocabulary.tokenization == "whitespace"


def choose_reading(lines: Iterable[str], vocabulary: Vocabulary, asked: str = "") -> str:
    """Returns how a text is read, ``natural`` or ``tokenised``.

    It is what was asked for. Otherwise the first lines decide, by those of their chunks (what
    stands between white space) that are not all letters and digits. If most of them are words of
    the vocabulary (``.``, ``n't``, ``@-@``), the text is tokenised. Otherwise it is natural: there
    the marks are joined to words (``France.``, ``don't``).

    Args:
        lines: of the text. At most `SAMPLE_LINES` of them are read.
        vocabulary: of the model.
        asked: ``natural``, ``tokenised`` or empty.

    Raises:
        InputError: ``tokenised`` is asked for, but the model splits every text into words itself.
        CorpusError: the lines cannot be read.
    """
    if not has_two_readings(vocabulary):
        if asked == TOKENISED:
            raise InputError(
                "--tokenised: this model's corpus was natural text (corpus.tokenization: words), "
                "so it splits every text into words itself; leave it out"
            )
        return NATURAL
    if asked:
        return asked
    known = unknown = 0
    for line in islice(lines, SAMPLE_LINES):
        for word in tokenised_words(line[:SAMPLE_CHARACTERS], vocabulary):
            if not word.isalnum():
                known += vocabulary.id(word) is not None
                unknown += vocabulary.id(word) is None
    return TOKENISED if known > unknown else NATURAL


def reading_note(name: str | Path, reading: str) -> str:
    """One line for people: which reading was chosen, and how to get the other one."""
    if reading == TOKENISED:
        return (
            f"{name} is read as tokenised text, word for word as it stands; --natural reads it as "
            "natural text"
        )
    return (
        f"{name} is read as natural text and spelled as the model's corpus is; --tokenised reads "
        "it as it stands"
    )


def tokenised_words(line: str, vocabulary: Vocabulary) -> list[str]:
    """The words of a line that is tokenised: what stands between white space.

    Raises:
        InputError: the line is too long, or not UTF-8.
    """
    typed_text.check_text(line)
    normalizer = build_normalizer(vocabulary.recipe)
    return normalizer.normalize_str(line).split()


class NaturalSource:
    """A natural text as a source of lines that are spelled as a tokenised corpus is."""

    def __init__(self, source: Source, vocabulary: Vocabulary) -> None:
        """Takes the text and the words of the corpus."""
        self._source, self._vocabulary = source, vocabulary
        self.splits = source.splits

    def iterate_lines(self, split: str) -> Iterator[str]:
        """See `Source.iterate_lines`."""
        for line in self._source.iterate_lines(split):
            words: list[str] = []
            for piece in _pieces(line):
                words += self._vocabulary.split_text(piece)
            yield " ".join(words)

    def fingerprint(self, split: str) -> str:
        """See `Source.fingerprint`: it also depends on the rules of spelling."""
        rules = hashlib.sha256()
        for module in (typed_text, tokenization, word_rules):
            rules.update(inspect.getsource(module).encode())
        return fingerprint_of(NATURAL, self._source.fingerprint(split), rules.hexdigest())

    def nll(self, split: str) -> float | None:
        """See `Source.nll`."""
        return self._source.nll(split)

    def notes(self) -> list[str]:
        """See `Source.notes`."""
        return self._source.notes()


def _pieces(line: str) -> Iterator[str]:
    """Yields a line in pieces that are cut at spaces and are short enough for typed text."""
    longest = typed_text.MAX_TEXT_LENGTH
    while len(line) > longest and (space := line.rfind(" ", 0, longest)) > 0:
        yield line[:space]
        line = line[space:]
    yield line
