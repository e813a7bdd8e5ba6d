"""The words and the sentences of the biographies, as choice points of a `story_grammar`.

A word list is a table: choosing one column's word makes the rest of its row known. A country's row holds its language,
nationality and capital; a relative's row holds the pronouns that agree with it.

A sentence is a template: ``{My} {relative} is {a trade}, and {they} {walk/walks} with {my} {other trade}.``

- ``{I} {i} {me} {my} {My}`` follow the grammatical person the story is about, and ``{walk/walks}`` agrees with it;
- any other slot names a column: the word already known, or else a fresh draw; ``{a trade}`` comes with its article, and
  ``{other trade}`` is always a fresh draw that differs from the word known.
"""

from __future__ import annotations

import functools
import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from lstm_lm.corpus.story_grammar import Choices, Chooser, Option
from lstm_lm.corpus.word_lists import read_word_list

COUNTRIES, NAMES, WORDS, SENTENCES = LEXICON_FILES = tuple(
    f"biographies/{name}.tsv" for name in ("countries", "names", "words", "sentences"))

PRONOUN_FORMS = {
    "I": {"I": "I", "i": "I", "me": "me", "my": "my", "My": "My"},
    "he": {"I": "He", "i": "he", "me": "him", "my": "his", "My": "His"},
    "she": {"I": "She", "i": "she", "me": "her", "my": "her", "My": "Her"},
}

Row = Mapping[str, str]
NOTHING_KNOWN: Row = MappingProxyType({})


@dataclass(frozen=True)
class Slot:
    """A place in a sentence that a word list fills.

    Attributes:
        column: the list's column.
        article: whether the word comes with ``a`` or ``an``.
        other: whether it is drawn afresh although a word of that column is known.
    """

    column: str
    article: bool = False
    other: bool = False


@dataclass(frozen=True)
class Sentence:
    """A sentence whose opening, the literal text before its first slot, has been said.

    Attributes:
        topic: what it is about; a story does not take up the topic of a filler twice.
        rest: what is left of it, literal pieces and slots.
    """

    topic: str
    rest: tuple[str | Slot, ...]


@dataclass(frozen=True)
class Lexicon:
    """The choice points that words and sentences are.

    Attributes:
        words: by column and whether with an article; the value of an option is its row.
        sentences: by role (a fact, ``cue``, ``meeting`` or ``filler``) and pronoun; the text of an option is the
            opening of a `Sentence`, its group the topic.
    """

    words: Mapping[tuple[str, bool], Choices]
    sentences: Mapping[tuple[str, str], Choices]

    def utter(self, choose: Chooser, sentence: Sentence, known: Row = NOTHING_KNOWN,
              barred: Collection[str] = ()) -> dict[str, str]:
        """Says what is left of a sentence.

        Args:
            choose: the interpreter.
            sentence: its opening was said when it was chosen.
            known: words by column, from earlier in the story.
            barred: words that must not be drawn.

        Returns:
            ``known`` and every row drawn.
        """
        known = dict(known)
        for piece in sentence.rest:
            if isinstance(piece, str):
                choose.say(piece)
            elif piece.column in known and not piece.other:
                choose.say(with_article(known[piece.column]) if piece.article else known[piece.column])
            else:
                taken = [known[piece.column]] if piece.column in known else []
                known.update(choose.among(self.words[piece.column, piece.article], [*barred, *taken]))
        return known


def with_article(word: str) -> str:
    """``a nurse``, ``an engineer``: by the first letter, so the word lists do without ``hour``, ``uniform`` and kin."""
    return ("an " if word[0].lower() in "aeiou" else "a ") + word


def compile_template(template: str, pronoun: str) -> tuple[str | Slot, ...]:
    """Takes a template apart into literal pieces and slots, for one pronoun."""
    forms = PRONOUN_FORMS[pronoun]
    pieces: list[str | Slot] = [""]
    for index, part in enumerate(re.split(r"[{}]", template)):
        if index % 2 == 0:
            literal = part
        elif part in forms:
            literal = forms[part]
        elif "/" in part:
            literal = part.split("/")[0 if pronoun == "I" else 1]
        else:
            *marks, column = part.split()
            pieces += [Slot(column, article="a" in marks, other="other" in marks), ""]
            continue
        pieces[-1] += literal
    return tuple(piece for piece in pieces if piece != "")


def _column_choices(rows: Sequence[Row], column: str, article: bool) -> Choices:
    """Countries are equally likely; of other words the first is up to seven times as likely as the last."""
    options = []
    for rank, row in enumerate(rows):
        word = row[column]
        weight = 1 if "country" in row else 840 // (rank + 20)
        options.append(Option(with_article(word) if article else word, row, weight, group=word))
    return Choices(options)


def _sentence_option(cells: Sequence[str], pronoun: str) -> Option:
    role, topic, weight, template = cells
    if role in ("cue", "meeting"):
        template = template.removeprefix("{I}")  # said before, by whoever chose the name
    pieces = compile_template(template, pronoun)
    opening, rest = (pieces[0], pieces[1:]) if isinstance(pieces[0], str) else ("", pieces)
    return Option(opening, Sentence(topic, rest), int(weight), group=topic)


def build_lexicon(tables: Sequence[Sequence[Sequence[str]]], sentences: Sequence[Sequence[str]]) -> Lexicon:
    """Makes the choice points of a grammar.

    Args:
        tables: word lists; the first row of each names its columns. A column that several tables have, such as the
            pronouns of relatives and of kings, can be known but not drawn.
        sentences: rows of role, topic, weight and template.
    """
    tables_with = Counter(column for columns, *_ in tables for column in columns)
    words = {}
    for columns, *cells in tables:
        rows = [dict(zip(columns, row, strict=True)) for row in cells]
        for column in columns:
            if tables_with[column] == 1:
                for article in (False, True):
                    words[column, article] = _column_choices(rows, column, article)
    by_role: dict[tuple[str, str], list[Option]] = {}
    for cells in sentences:
        for pronoun in PRONOUN_FORMS:
            by_role.setdefault((cells[0], pronoun), []).append(_sentence_option(cells, pronoun))
    return Lexicon(words, {key: Choices(options) for key, options in by_role.items()})


@functools.cache
def load_lexicon() -> Lexicon:
    """The lexicon of ``data/biographies``."""
    tables = [read_word_list(COUNTRIES), read_word_list(NAMES)]
    for columns, rows in read_word_list(WORDS):
        tables.append([columns.split("/")] + [row.split("/") for row in rows.split(", ")])
    return build_lexicon(tables, read_word_list(SENTENCES))
