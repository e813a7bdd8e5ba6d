"""The probe suite ``biographies``: questions about stories, none of which occurs in a story.

Three things are used together in the probes and never in a story:

- a cue and the answer of `NEVER_TOGETHER`: the country is named in one way, asked for in another;
- a name and one of the countries that are withheld from it;
- between cue and answer, a filler with one of the words that are withheld from its first slot.

The two items of a pair differ only in the cue, or only in the person that they ask about.
"""

from __future__ import annotations

import functools
import io
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from random import Random
from typing import TypeVar

from lstm_lm.stories.grammar import Option, Sampler, count_words
from lstm_lm.stories.lexicon import Facts, load_lexicon
from lstm_lm.stories.program import Biography
from lstm_lm.stories.worlds import NEVER_TOGETHER

HEADER = "id\tprefix\ttarget\tfoil\tdistance\tgroup\tpair"
# Distance in words, about -> number of pairs of every kind. Few at the longest: they take longest.
DISTANCES = {10: 20, 20: 20, 50: 20, 100: 20, 200: 20, 500: 15, 1000: 10}
# A quotation needs room for a sentence.
MIN_QUOTATION_DISTANCE = 15

Value = TypeVar("Value")


@dataclass(frozen=True)
class Question:
    """One item of the suite.

    Attributes:
        lead: the text up to the cue, the cue included.
        tail: the text after it, up to the word that is asked for.
        target: the right next word.
        foil: the wrong one: the target of the other item of the pair.
    """

    lead: str
    tail: str
    target: str
    foil: str


class Questioner:
    """Makes pairs of questions about stories."""

    def __init__(self, seed: int = 0) -> None:
        """Prepares the words; `seed` decides the random choices."""
        self.lexicon = load_lexicon()
        self._rng = Random(f"biographies/{seed}/probes")
        self._countries = [option.value for option in self.lexicon.words["country", False].options]
        self._names = {}
        for pronoun in ("he", "she"):
            options = self.lexicon.people["name", (pronoun,)].options
            self._names[pronoun] = [option.value["name"] for option in options]
        self._never_from = Biography(self.lexicon).never_from
        fillers = self.lexicon.sentences["filler", "I"].options
        self._fillers = [option for option in fillers if option.value.can_be_new]

    def iterate_lines(self) -> Iterator[str]:
        """Yields the lines of the suite's file without their line ends, the header first."""
        yield HEADER
        numbers = itertools.count(1)
        for group, ask in (
            ("country", self._country),
            ("moved", self._moved),
            ("new subject", self._new_subject),
            ("two people", self._two_people),
            ("pronoun", self._pronoun),
            ("it or them", self._lost),
            ("quote or bracket", self._quotation),
            ("narrator second", self._narrator_second),
        ):
            for limit, pairs in DISTANCES.items():
                for _ in range(pairs):
                    number, pair = next(numbers), ask(limit)
                    distance = max(count_words(question.tail) for question in pair)
                    for letter, question in zip("ab", pair, strict=True):
                        cells = (
                            f"biographies-{number}{letter}",
                            question.lead + question.tail,
                            question.target,
                            question.foil,
                            str(distance),
                            group,
                            str(number),
                        )
                        yield "\t".join(cells)

    # --- the kinds of questions; each returns a pair with about `distance` words in between -------

    def _country(self, distance: int) -> list[Question]:
        """Where the narrator is from."""
        cue = self._choose(list(NEVER_TOGETHER))
        question, column = self._ask("answer", NEVER_TOGETHER[cue], "I")
        pair = self._choose_two_countries(column)
        fillers = self._fillers_for(distance, f". {question}")
        return [
            Question(
                f"I{self._tell('cue', str(cue), 'I', country)}",
                f".{fillers} {question}",
                country[column],
                other[column],
            )
            for country, other in (pair, pair[::-1])
        ]

    def _moved(self, distance: int) -> list[Question]:
        """Where somebody is from, and where they live now: one text, asked for both."""
        origin, home = self._choose_two_countries("capital")
        cue = self._tell("cue", "0", "I", origin)
        move = self._tell("move", "0", "I", home)
        question_about_origin, origin_column = self._ask("answer", NEVER_TOGETHER[0], "I")
        question_about_home, home_column = self._ask("moved", "0", "I")
        fillers = self._fillers_for(distance, f". {question_about_home}")
        lead = f"I{cue}. {move}"
        return [
            Question(
                lead,
                f".{fillers} {question_about_origin}",
                origin[origin_column],
                home[origin_column],
            ),
            Question(
                lead, f".{fillers} {question_about_home}", home[home_column], origin[home_column]
            ),
        ]

    def _new_subject(self, distance: int) -> list[Question]:
        """A story turns from one person to another, and the question is about the new one."""
        pronouns = self._choose_two(["he", "she"])
        older, newer = (self._choose(self._names[pronoun]) for pronoun in pronouns)
        cue = self._choose(list(NEVER_TOGETHER))
        question, column = self._ask("answer", NEVER_TOGETHER[cue], pronouns[1])
        pair = self._choose_two_countries(column, self._countries_never_of(newer))
        meeting = self._sentence("meeting", "0", pronouns[0]).text
        fillers = self._fillers_for(distance, f". {question}")
        questions = []
        for country, other in (pair, pair[::-1]):
            first = self._tell("cue", "3", pronouns[0], other)
            second = self._tell("cue", str(cue), pronouns[1], country)
            lead = f"{older}{first}. {older}{meeting}{newer}. {newer}{second}"
            tail = f".{fillers} {question}"
            questions.append(Question(lead, tail, country[column], other[column]))
        return questions

    def _two_people(self, distance: int) -> list[Question]:
        return self._about_two(distance, self._choose_two(["he", "she"]))

    def _narrator_second(self, distance: int) -> list[Question]:
        return self._about_two(distance, (self._choose(["he", "she"]), "I"))

    def _about_two(self, distance: int, pronouns: Sequence[str]) -> list[Question]:
        """Two people and their countries: one text, asked for both."""
        people = [
            "I" if pronoun == "I" else self._choose(self._names[pronoun]) for pronoun in pronouns
        ]
        cues = [
            cue
            for cue, answer in NEVER_TOGETHER.items()
            if self._has_sentence("answer named", answer, "he")
        ]
        cue = self._choose(cues)
        questions = []
        columns = []
        for person, pronoun in zip(people, pronouns, strict=True):
            if pronoun == "I":
                question, column = self._ask("answer", NEVER_TOGETHER[cue], "I")
            else:
                question, column = self._ask("answer named", NEVER_TOGETHER[cue], pronoun)
                question = f"{person}{question}"
            questions.append(question)
            columns.append(column)
        column = columns[0]
        countries = [self._choose(self._countries_never_of(name)) for name in people]
        while countries[0][column] == countries[1][column]:
            countries[1] = self._choose(self._countries_never_of(people[1]))
        cue_sentences = [
            f"{person}{self._tell('cue', str(cue), pronoun, country)}"
            for person, pronoun, country in zip(people, pronouns, countries, strict=True)
        ]
        lead = ". ".join(cue_sentences)
        fillers = self._fillers_for(distance, f". {questions[0]}")
        targets = [country[column] for country in countries]
        return [
            Question(lead, f".{fillers} {questions[0]}", targets[0], targets[1]),
            Question(lead, f".{fillers} {questions[1]}", targets[1], targets[0]),
        ]

    def _pronoun(self, distance: int) -> list[Question]:
        """A relative decides the pronoun."""
        relatives = []
        for pronoun in ("he", "she"):
            options = self.lexicon.people["kin", (pronoun,)].options
            relatives.append(self._choose([option.value["kin"] for option in options]))
        trade = self._choose([option.text for option in self.lexicon.words["trade", True].options])
        question, targets = self._choose(
            [
                ("In the evening", ("he", "she")),
                ("I found one of", ("his", "her")),
                ("I still have a picture of", ("him", "her")),
            ]
        )
        fillers = self._fillers_for(distance, f" is {trade}. {question}")
        tail = f" is {trade}.{fillers} {question}"
        return [
            Question(f"My {relatives[0]}", tail, targets[0], targets[1]),
            Question(f"My {relatives[1]}", tail, targets[1], targets[0]),
        ]

    def _lost(self, distance: int) -> list[Question]:
        """One thing lost, or several, decides between "it" and "them"."""
        row = self._choose([option.value for option in self.lexicon.words["item", False].options])
        fillers = self._fillers_for(distance, ". Today I found")
        tail = f".{fillers} Today I found"
        return [
            Question(f"I lost the {row['item']}", tail, "it", "them"),
            Question(f"I lost the {row['items']}", tail, "them", "it"),
        ]

    def _quotation(self, distance: int) -> list[Question]:
        """The opening mark decides the closing one."""
        acquaintances = self.lexicon.words["acquaintance", False].options
        name = self._choose([option.text for option in acquaintances])
        tail = self._fillers_for(max(distance, MIN_QUOTATION_DISTANCE), "")[1:]
        letter = f"I wrote a letter to {name}."
        return [
            Question(f'{letter} "', tail, '"', ")"),
            Question(f"{letter} (", tail, ")", '"'),
        ]

    # --- random choices and sentences -------------------------------------------------------------

    def _choose(self, values: Sequence[Value]) -> Value:
        """Returns one of the values; the same on every platform and Python version."""
        return values[int(self._rng.random() * len(values))]

    def _choose_two(self, values: Sequence[str]) -> tuple[str, str]:
        """Returns two different values."""
        first = self._choose(values)
        return first, self._choose([value for value in values if value != first])

    def _choose_two_countries(
        self, column: str, countries: Sequence[Facts] | None = None
    ) -> tuple[Facts, Facts]:
        """Returns two countries that differ in a column, such as two of different languages."""
        countries = countries or self._countries
        first = self._choose(countries)
        return first, self._choose([row for row in countries if row[column] != first[column]])

    def _countries_never_of(self, name: str) -> list[Facts]:
        """The countries that nobody of this name is from in a story.

        For "I" all countries: none is withheld from the narrator.
        """
        never = [row for row in self._countries if row["country"] in self._never_from[name]]
        return never or self._countries

    def _fillers_for(self, distance: int, rest: str) -> str:
        """Returns fillers that no story has, each after a space.

        Together with `rest` they have at most `distance` words, and nearly as many.
        """
        text = ""
        words_left = distance - count_words(rest)
        # As many attempts as words: most of the last ones draw a sentence that no longer fits.
        for _ in range(distance):
            option, sampler = self._choose(self._fillers), Sampler(self._rng)
            sampler.say(option.text)
            self.lexicon.say_rest(sampler, option.value, new=True)
            if sampler.words <= words_left:
                text = f"{text} {sampler.text}"
                words_left -= sampler.words
        return text

    def _has_sentence(self, role: str, number: str, pronoun: str) -> bool:
        options = self.lexicon.sentences[role, pronoun].options
        return any(option.group == number for option in options)

    def _sentence(self, role: str, number: str, pronoun: str) -> Option:
        """Returns the option of a sentence by its number."""
        for option in self.lexicon.sentences[role, pronoun].options:
            if option.group == number:
                return option
        raise AssertionError(f"no sentence {number} of role {role}")

    def _ask(self, role: str, number: str, pronoun: str) -> tuple[str, str]:
        """Returns a sentence up to its last word, and the column that decides this word."""
        option = self._sentence(role, number, pronoun)
        return option.text.rstrip(), option.value.rest[0].column

    def _tell(self, role: str, number: str, pronoun: str, facts: Facts) -> str:
        """Returns a sentence with its last word and without its full stop."""
        text, column = self._ask(role, number, pronoun)
        return f"{text} {facts[column]}"


class StorySuiteFile:
    """The suite as if it were a file; it is made when it is opened, the same bytes everywhere."""

    name = "biographies.tsv"

    def open(self, mode: str = "rb") -> io.BytesIO:
        """Returns the suite's bytes as an open file; `mode` is always ``rb``."""
        return io.BytesIO(_suite_bytes())


@functools.cache
def _suite_bytes() -> bytes:
    return "".join(f"{line}\n" for line in Questioner().iterate_lines()).encode()
