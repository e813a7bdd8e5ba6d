"""The words and the sentences of the biographies, as choice points of a `story_grammar`.

A word list is a table: choosing one column's word makes the rest of its row known. A country's row holds its language,
nationality and capital; a king's row holds the pronouns that agree with it.

A sentence is a template: ``On {day} {i} {teach/teaches} {subject} to {a trade} and {my} {other trade}.`` It may end in
``*``: then a name may stand in place of its ``{I}``, with which it begins.

- ``{I} {i} {me} {my} {My}`` follow the grammatical person the story is about, and ``{walk/walks}`` agrees with it;
- any other slot names a column: the word already known, or else a fresh draw; ``{a trade}`` comes with its article, and
  ``{other trade}`` is always a fresh draw that differs from the word known.

Fillers are split: of the words that could be the first drawn in a filler, some are never drawn there in a story, and
only they are drawn there in a probe. So no sentence between a probe's cue and its answer was ever in a corpus.
"""

from __future__ import annotations

import functools
import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

from lstm_lm.files.packaged import read_word_list
from lstm_lm.stories.grammar import Choices, Chooser, Option

COUNTRIES, NAMES, WORDS, SENTENCES = LEXICON_FILES = tuple(
    f"biographies/{name}.tsv" for name in ("countries", "names", "words", "sentences")
)

PRONOUN_FORMS = {
    "I": {"I": "I", "i": "I", "me": "me", "my": "my", "My": "My"},
    "he": {"I": "He", "i": "he", "me": "him", "my": "his", "My": "His"},
    "she": {"I": "She", "i": "she", "me": "her", "my": "her", "My": "Her"},
}

WITHHELD_IN = 7  # one word in so many

Row = Mapping[str, str]
NOTHING_KNOWN: Row = MappingProxyType({})


@dataclass(frozen=True)
class Slot:
    """A place in a sentence that a word list fills.

    Attributes:
        column: the list's column.
        article: whether the word comes with ``a`` or ``an``.
        other: whether it is drawn afresh although a word of that column is known.
        withheld: words that no story has in this place.
        told: the column's other words.
    """

    column: str
    article: bool = False
    other: bool = False
    withheld: frozenset[str] = frozenset()
    told: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Sentence:
    """A sentence whose opening, the literal text before its first slot, has been said.

    Attributes:
        number: of its role, from 0.
        topic: what it is about.
        rest: what is left of it, literal pieces and slots.
    """

    number: int
    topic: str
    rest: tuple[str | Slot, ...]

    @property
    def can_be_new(self) -> bool:
        """Whether it can be said in a way that no story has it in."""
        return any(isinstance(piece, Slot) and piece.withheld for piece in self.rest)


@dataclass(frozen=True)
class Lexicon:
    """The choice points that words and sentences are.

    Attributes:
        words: by column and whether with an article; the value of an option is its row, its group the word.
        people: by column (``name`` or ``kin``) and the pronouns that may be theirs, likewise.
        sentences: by role and pronoun; the text of an option is the opening of a `Sentence`, its group the number.
            Under ``answer named`` are, without their ``{I}``, the answers that a name may begin; and so on.
    """

    words: Mapping[tuple[str, bool], Choices]
    people: Mapping[tuple[str, tuple[str, ...]], Choices]
    sentences: Mapping[tuple[str, str], Choices]

    def utter(
        self,
        choose: Chooser,
        sentence: Sentence,
        known: Row = NOTHING_KNOWN,
        barred: Collection[str] = (),
        new: bool = False,
    ) -> dict[str, str]:
        """Says what is left of a sentence.

        Args:
            choose: the interpreter.
            sentence: its opening was said when it was chosen.
            known: words by column, from earlier in the story.
            barred: words that must not be drawn.
            new: whether to say it as no story has it.

        Returns:
            ``known`` and every row drawn.
        """
        known = dict(known)
        for piece in sentence.rest:
            if isinstance(piece, str):
                choose.say(piece)
            elif piece.column in known and not piece.other:
                choose.say(
                    with_article(known[piece.column]) if piece.article else known[piece.column]
                )
            else:
                taken = [known[piece.column]] if piece.column in known else []
                known.update(
                    choose.among(
                        self.words[piece.column, piece.article],
                        {*barred, *taken, *(piece.told if new else piece.withheld)},
                    )
                )
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


def _split(
    pieces: tuple[str | Slot, ...], number: int, words: Mapping[tuple[str, bool], Choices]
) -> tuple[str | Slot, ...]:
    """Withholds one in `WITHHELD_IN` of the words that the first slot could draw, others in every sentence."""
    for place, piece in enumerate(pieces):
        if isinstance(piece, Slot) and (piece.column, piece.article) in words:
            column = [option.group for option in words[piece.column, piece.article].options]
            step = min(WITHHELD_IN, len(column))
            withheld = frozenset(column[number % step :: step]) if step > 1 else frozenset()
            first = replace(piece, withheld=withheld, told=frozenset(column) - withheld)
            return (*pieces[:place], first, *pieces[place + 1 :])
    return pieces


def _sentence_options(
    rows: Sequence[Sequence[str]],
    pronoun: str,
    words: Mapping[tuple[str, bool], Choices],
    named: bool = False,
    facts: Collection[str] = (),
) -> Iterator[Option]:
    """The sentences of one role, those whose ``{I}`` a name may replace or all of them; a fact is always all told."""
    for number, (role, topic, weight, template) in enumerate(rows):
        may_be_named = template.endswith("*")
        if named and not may_be_named:
            continue
        template = template.removesuffix("*")
        if named or role in ("cue", "trade", "meeting"):
            template = template.removeprefix("{I}")  # said before, by whoever chose the name
        pieces = compile_template(template, pronoun)
        if role == "filler" and template not in facts:
            pieces = _split(pieces, number, words)
        opening, rest = (pieces[0], pieces[1:]) if isinstance(pieces[0], str) else ("", pieces)
        yield Option(opening, Sentence(number, topic, rest), int(weight), group=str(number))


def build_lexicon(
    tables: Sequence[Sequence[Sequence[str]]], sentences: Sequence[Sequence[str]]
) -> Lexicon:
    """Makes the choice points of a grammar.

    Args:
        tables: word lists; the first row of each names its columns. A column that several tables have, such as the
            pronouns of names and of kings, can be known but not drawn.
        sentences: rows of role, topic, weight and template.
    """
    tables_with = Counter(column for columns, *_ in tables for column in columns)
    words, people = {}, {}
    for columns, *cells in tables:
        rows = [dict(zip(columns, row, strict=True)) for row in cells]
        for column in columns:
            if tables_with[column] == 1:
                for article in (False, True):
                    words[column, article] = _column_choices(rows, column, article)
        if "pronoun" in columns:
            for pronouns in (("he",), ("she",), ("he", "she")):
                people[columns[0], pronouns] = _column_choices(
                    [row for row in rows if row["pronoun"] in pronouns], columns[0], False
                )
    by_role: dict[str, list[Sequence[str]]] = {}
    for row in sentences:
        by_role.setdefault(row[0], []).append(row)
    told, facts = {}, [row[3] for row in by_role.get("lesson", ())]
    for role, rows in by_role.items():
        for pronoun in PRONOUN_FORMS:
            told[role, pronoun] = Choices(_sentence_options(rows, pronoun, words, facts=facts))
            if named := tuple(_sentence_options(rows, pronoun, words, named=True)):
                told[f"{role} named", pronoun] = Choices(named)
    return Lexicon(words, people, told)


@functools.cache
def load_lexicon() -> Lexicon:
    """The lexicon of ``data/biographies``."""
    tables = [read_word_list(COUNTRIES), read_word_list(NAMES)]
    for columns, rows in read_word_list(WORDS):
        tables.append([columns.split("/")] + [row.split("/") for row in rows.split(", ")])
    return build_lexicon(tables, read_word_list(SENTENCES))
