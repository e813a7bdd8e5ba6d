"""The words and sentences of the stories, as choices of a story program (see `grammar`).

A word list is a table. Choosing a word of one column makes the rest of its row known: a country's
row holds its language, nationality and capital; a king's row holds the pronouns that agree with it.

A sentence is a template, such as
``On {day} {i} {teach/teaches} {subject} to {a trade} and {my} {other trade}.``:

==========================  ======================================================================
slot                        is replaced by
==========================  ======================================================================
``{I} {i} {me} {my} {My}``  the pronoun of the person that the sentence is about
``{walk/walks}``            the first form after "I", the second after "he" and "she"
``{trade}``                 the word of this column that is known already, or else a new one
``{a trade}``               the same with its article
``{other trade}``           a new word of this column that differs from the known one
``{who}``                   "I", or a name of the sentence's pronoun: the known one, or a new one
``{man} {self}``            ``woman`` and ``herself`` of a person who is ``she``
==========================  ======================================================================

A template may end in ``*``. Then a name may replace the ``{I}`` that it begins with.

A filler is a sentence between a clue and its return that says nothing about it. In every filler,
some words of its first slot are withheld: stories never use them there, and probes use only them.
So no sentence between a probe's cue and its answer occurs in any training text.

The small world has the word lists of one folder. The wide world adds those of another: rows to the
tables, words to the end of the lists, and sentences to the end of their role. A sentence of both
has the weight of the second; it is never said if that is 0.
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

# The folders of each world, each with the same four files.
FOLDERS = {"small": ("biographies",), "wide": ("biographies", "biographies/wide")}
COUNTRIES, NAMES, WORDS, SENTENCES = "countries.tsv", "names.tsv", "words.tsv", "sentences.tsv"
LEXICON_FILES = tuple(
    f"{folder}/{file}"
    for folder in FOLDERS["wide"]
    for file in (COUNTRIES, NAMES, WORDS, SENTENCES)
)

PRONOUN_FORMS = {
    "I": {
        "I": "I",
        "i": "I",
        "me": "me",
        "my": "my",
        "My": "My",
        "man": "person",
        "self": "myself",
    },
    "he": {
        "I": "He",
        "i": "he",
        "me": "him",
        "my": "his",
        "My": "His",
        "man": "man",
        "self": "himself",
    },
    "she": {
        "I": "She",
        "i": "she",
        "me": "her",
        "my": "her",
        "My": "Her",
        "man": "woman",
        "self": "herself",
    },
}
# Templates of these roles lose their {I}: the name or "I" is said before the sentence is chosen.
ROLES_AFTER_THE_NAME = ("cue", "trade", "meeting")

SOUNDED_LIKE_YOU = ("Ukrainian", "Uruguayan")

# The countries of the small world come first in the list.
COMMON_COUNTRIES = 30

# Every 7th word of a filler's first slot is withheld from the stories.
WITHHELD_ONE_IN = 7

# Words by column. A row of a word list, or everything that is known at one point of a story.
Facts = Mapping[str, str]
NO_FACTS: Facts = MappingProxyType({})
# By word, the words that must not be said with it.
Apart = Mapping[str, frozenset[str]]
NOTHING_APART: Apart = MappingProxyType({})
NO_WORDS: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Slot:
    """A place in a sentence that is filled from a word list.

    Attributes:
        column: the column of the word list.
        article: whether the word comes with ``a`` or ``an``.
        other: whether a new word is drawn although one of this column is known.
        withheld: the words that stories never use in this place, and probes only.
        used: the other words of the column, if any are withheld.
    """

    column: str
    article: bool = False
    other: bool = False
    withheld: frozenset[str] = frozenset()
    used: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Sentence:
    """A sentence whose opening, the text before its first slot, has been said.

    Attributes:
        number: its position among the sentences of its role, from 0.
        topic: what it is about.
        rest: what is left to say, texts and slots.
    """

    number: int
    topic: str
    rest: tuple[str | Slot, ...]

    @property
    def can_be_new(self) -> bool:
        """Whether a probe can say it with a word that no story uses in this place."""
        return any(isinstance(piece, Slot) and piece.withheld for piece in self.rest)


@dataclass(frozen=True)
class Lexicon:
    """The choices of words and of sentences.

    Attributes:
        words: by column, and by whether with an article. An option's value is the word's row, and
            its group is the word.
        people: the same, by column (``name`` or ``kin``) and the allowed pronouns.
        sentences: by role and pronoun. An option's text is the opening of a `Sentence`, its value
            the sentence, its group the sentence's number. The role ``answer named`` has the answers
            that may begin with a name, without their ``{I}``; the same holds for other roles.
    """

    words: Mapping[tuple[str, bool], Choices]
    people: Mapping[tuple[str, tuple[str, ...]], Choices]
    sentences: Mapping[tuple[str, str], Choices]

    def say_rest(
        self,
        chooser: Chooser,
        sentence: Sentence,
        known: Facts = NO_FACTS,
        excluded: Collection[str] = (),
        new: bool = False,
        apart: Apart = NOTHING_APART,
    ) -> dict[str, str]:
        """Says what is left of a sentence whose opening has been said.

        Args:
            chooser: makes the choices.
            sentence: the sentence.
            known: words by column, from earlier in the story.
            excluded: words that must not be drawn.
            new: whether to draw withheld words, as only probes do.
            apart: by word, the words that must not be drawn after it.

        Returns:
            `known`, and the rows of all words drawn.
        """
        known = dict(known)
        for piece in sentence.rest:
            if isinstance(piece, str):
                chooser.say(piece)
            elif piece.column in known and not piece.other:
                word = known[piece.column]
                chooser.say(with_article(word) if piece.article else word)
            else:
                not_here = {*excluded, *(piece.used if new else piece.withheld)}
                if piece.column in known:
                    not_here.add(known[piece.column])
                if apart:
                    for word in known.values():
                        not_here |= apart.get(word, NO_WORDS)
                choices = self.words[piece.column, piece.article]
                known.update(chooser.choose(choices, not_here))
        return known


def with_article(word: str) -> str:
    """Returns the word with ``a`` or ``an``, by its first letter.

    Words whose first sound differs from their first letter, such as ``hour`` and ``uniform``, are
    not in the word lists, except for `SOUNDED_LIKE_YOU`.
    """
    has_vowel = word[0].lower() in "aeiou" and word not in SOUNDED_LIKE_YOU
    return ("an " if has_vowel else "a ") + word


def name_column(pronoun: str) -> str:
    """Returns the column of names that have one pronoun, ``he`` or ``she``."""
    return f"name of {pronoun}"


def compile_template(template: str, pronoun: str) -> tuple[str | Slot, ...]:
    """Splits a template into texts and slots, for a sentence about one pronoun."""
    forms = PRONOUN_FORMS[pronoun]
    pieces: list[str | Slot] = []
    text = ""
    for index, part in enumerate(re.split(r"[{}]", template)):
        is_slot = index % 2 == 1
        if not is_slot:
            text += part
        elif part in forms:
            text += forms[part]
        elif part == "who" and pronoun == "I":
            text += "I"
        elif "/" in part:
            first_person, third_person = part.split("/")
            text += first_person if pronoun == "I" else third_person
        else:
            *marks, column = part.split()
            if part == "who":
                column = name_column(pronoun)
            if text:
                pieces.append(text)
            pieces.append(Slot(column, article="a" in marks, other="other" in marks))
            text = ""
    if text:
        pieces.append(text)
    return tuple(pieces)


def _word_choices(rows: Sequence[Facts], column: str, article: bool) -> Choices:
    """Returns the words of a column, weighted.

    Up to `COMMON_COUNTRIES` countries are equally likely; of more, these are three times as likely
    as the others. In other lists the weight falls with the rank: the 1st word is 5 times as likely
    as the 80th. So some words are more frequent than others, as in a real text.
    """
    options = []
    for rank, row in enumerate(rows):
        word = row[column]
        if "country" in row:
            weight = 3 if rank < COMMON_COUNTRIES < len(rows) else 1
        else:
            weight = 840 // (rank + 20)
        options.append(Option(with_article(word) if article else word, row, weight, group=word))
    return Choices(options)


def _withhold_words(
    pieces: tuple[str | Slot, ...], number: int, words: Mapping[tuple[str, bool], Choices]
) -> tuple[str | Slot, ...]:
    """Withholds one in `WITHHELD_ONE_IN` words of the first slot that a word list fills.

    Which words they are depends on the sentence's number.
    """
    for place, piece in enumerate(pieces):
        if isinstance(piece, Slot) and (piece.column, piece.article) in words:
            column = [option.group for option in words[piece.column, piece.article].options]
            step = min(WITHHELD_ONE_IN, len(column))
            withheld = frozenset(column[number % step :: step]) if step > 1 else frozenset()
            first = replace(piece, withheld=withheld, used=frozenset(column) - withheld)
            return (*pieces[:place], first, *pieces[place + 1 :])
    return pieces


def _sentence_options(
    rows: Sequence[Sequence[str]],
    pronoun: str,
    words: Mapping[tuple[str, bool], Choices],
    named: bool = False,
    lessons: Collection[str] = (),
) -> Iterator[Option]:
    """Yields the sentences of one role.

    Args:
        rows: role, topic, weight and template of each.
        pronoun: of the person that they are about.
        words: the choices of words.
        named: whether to yield only the sentences that a name may begin, without their ``{I}``.
            Sentences of weight 0 are never yielded.
        lessons: templates of facts; fillers that state one keep all their words.
    """
    for number, (role, topic, weight, template) in enumerate(rows):
        may_be_named = template.endswith("*")
        if named and not may_be_named:
            continue
        if weight == "0":
            continue
        template = template.removesuffix("*")
        if named or role in ROLES_AFTER_THE_NAME:
            template = template.removeprefix("{I}")
        pieces = compile_template(template, pronoun)
        if role == "filler" and template not in lessons:
            pieces = _withhold_words(pieces, number, words)
        opening, rest = (pieces[0], pieces[1:]) if isinstance(pieces[0], str) else ("", pieces)
        yield Option(opening, Sentence(number, topic, rest), int(weight), group=str(number))


def build_lexicon(
    tables: Sequence[Sequence[Sequence[str]]], sentences: Sequence[Sequence[str]]
) -> Lexicon:
    """Makes the choices of a grammar.

    Args:
        tables: word lists; the first row of each names its columns. A column that several tables
            have, such as the pronouns of names and of kings, can be known but not drawn.
        sentences: rows of role, topic, weight and template.

    Returns:
        The lexicon.
    """
    tables_with = Counter(column for columns, *_ in tables for column in columns)
    words: dict[tuple[str, bool], Choices] = {}
    people: dict[tuple[str, tuple[str, ...]], Choices] = {}
    for columns, *cells in tables:
        rows = [dict(zip(columns, row, strict=True)) for row in cells]
        for column in columns:
            if tables_with[column] == 1:
                for article in (False, True):
                    words[column, article] = _word_choices(rows, column, article)
        if "pronoun" in columns:
            for pronouns in (("he",), ("she",), ("he", "she")):
                some = [row for row in rows if row["pronoun"] in pronouns]
                people[columns[0], pronouns] = _word_choices(some, columns[0], article=False)
            if columns[0] == "name":
                for pronoun in ("he", "she"):
                    words[name_column(pronoun), False] = people["name", (pronoun,)]
    by_role: dict[str, list[Sequence[str]]] = {}
    for row in sentences:
        by_role.setdefault(row[0], []).append(row)
    lessons = [template for *_, template in by_role.get("lesson", ())]
    choices: dict[tuple[str, str], Choices] = {}
    for role, templates in by_role.items():
        for pronoun in PRONOUN_FORMS:
            options = _sentence_options(templates, pronoun, words, lessons=lessons)
            choices[role, pronoun] = Choices(options)
            named = tuple(_sentence_options(templates, pronoun, words, named=True))
            if named:
                choices[f"{role} named", pronoun] = Choices(named)
    return Lexicon(words, people, choices)


@functools.cache
def load_lexicon(world: str = "small") -> Lexicon:
    """Returns the lexicon of a world, ``small`` or ``wide``, from ``data/biographies``."""
    tables: dict[str, list[list[str]]] = {}
    sentences: dict[tuple[str, str], list[str]] = {}
    for folder in FOLDERS[world]:
        for file in (COUNTRIES, NAMES):
            columns, *rows = read_word_list(f"{folder}/{file}")
            tables.setdefault(file, [columns]).extend(rows)
        for heading, words in read_word_list(f"{folder}/{WORDS}"):
            table = tables.setdefault(heading, [heading.split("/")])
            table.extend(row.split("/") for row in words.split(", "))
        for role, topic, weight, template in read_word_list(f"{folder}/{SENTENCES}"):
            sentences[role, template] = [role, topic, weight, template]
    return build_lexicon(list(tables.values()), list(sentences.values()))
