"""Questions about the biographies that no story answers: a probe suite whose every sentence in between is new.

Never in a story, and always in a probe: a country said in one way and come back to in another (`NEVER_TOGETHER`), a
name that comes from that country, and, between cue and answer, a filler with such a word in such a place
(`story_lexicon`). The items of a pair are alike but for the cue, or but for whom they ask about.
"""

from __future__ import annotations

import functools
import io
import itertools
from collections.abc import Iterator, Sequence
from random import Random

from lstm_lm.stories.grammar import Option, Sampler, count_words
from lstm_lm.stories.lexicon import Row, load_lexicon
from lstm_lm.stories.program import NEVER_TOGETHER, Biography

# How far away a cue is, and how many pairs of every kind there are so far away.
DISTANCES = {10: 20, 20: 20, 50: 20, 100: 20, 200: 20, 500: 15, 1000: 10}
Questions = tuple[
    str, str, str, str
]  # a text up to the cue, the text from there to the question, target, foil


class Questioner:
    """Makes pairs of items about stories.

    Args:
        seed: of the choices.
    """

    def __init__(self, seed: int = 0) -> None:
        self.lexicon, self._random = load_lexicon(), Random(f"biographies/{seed}/probes")
        self._countries = [option.value for option in self.lexicon.words["country", False].options]
        self._names = {
            pronoun: [
                option.value["name"] for option in self.lexicon.people["name", (pronoun,)].options
            ]
            for pronoun in ("he", "she")
        }
        self._never_from = Biography(self.lexicon).never_from
        self._fillers = [
            option
            for option in self.lexicon.sentences["filler", "I"].options
            if option.value.can_be_new
        ]

    def iterate_rows(self) -> Iterator[str]:
        """Yields the lines of a suite, its header first."""
        yield "id\tprefix\ttarget\tfoil\tdistance\tgroup\tpair"
        numbers = itertools.count(1)
        for kind, ask in (
            ("country", self._country),
            ("moved", self._moved),
            ("new subject", self._new_subject),
            ("two people", self._two_people),
            ("pronoun", self._pronoun),
            ("it or them", self._lost),
            ("quote or bracket", self._quotation),
            ("narrator second", self._narrator_second),
        ):
            for distance, pairs in DISTANCES.items():
                for number in itertools.islice(numbers, pairs):
                    pair = list(ask(distance))
                    between = str(max(count_words(tail) for _, tail, *_ in pair))
                    for letter, (lead, tail, target, foil) in zip("ab", pair, strict=True):
                        yield "\t".join(
                            (
                                f"biographies-{number}{letter}",
                                lead + tail,
                                target,
                                foil,
                                between,
                                kind,
                                str(number),
                            )
                        )

    # --- the kinds ---------------------------------------------------------------------------------------------------

    def _country(self, distance: int) -> Iterator[Questions]:
        cue = self._one(list(NEVER_TOGETHER))
        ends = self._ask("answer", NEVER_TOGETHER[cue], "I")
        pair = self._two_countries(ends[1])
        middle = self._fillers_for(distance, f". {ends[0]}")
        for row, other in (pair, pair[::-1]):
            yield (
                f"I{self._tell('cue', str(cue), 'I', row)}",
                f".{middle} {ends[0]}",
                row[ends[1]],
                other[ends[1]],
            )

    def _moved(self, distance: int) -> Iterator[Questions]:
        """Where somebody is from, and where they live now; the same text, asked for both."""
        pair = self._two_countries("capital")
        lead = f"I{self._tell('cue', '0', 'I', pair[0])}. {self._tell('move', '0', 'I', pair[1])}"
        asked = [self._ask("answer", NEVER_TOGETHER[0], "I"), self._ask("moved", "0", "I")]
        middle = self._fillers_for(distance, f". {asked[1][0]}")
        for (question, column), row, other in zip(asked, pair, pair[::-1], strict=True):
            yield lead, f".{middle} {question}", row[column], other[column]

    def _new_subject(self, distance: int) -> Iterator[Questions]:
        """The older subject is let go for the newer one, of whom alone is asked."""
        pronouns = self._two(["he", "she"])
        older, newer = (self._one(self._names[pronoun]) for pronoun in pronouns)
        cue = self._one(list(NEVER_TOGETHER))
        question, column = self._ask("answer", NEVER_TOGETHER[cue], pronouns[1])
        pair = self._two_countries(column, self._never_of(newer))
        meeting = self._option("meeting", "0", pronouns[0]).text
        middle = self._fillers_for(distance, f". {question}")
        for row, other in (pair, pair[::-1]):
            first = self._tell("cue", "3", pronouns[0], other)
            second = self._tell("cue", str(cue), pronouns[1], row)
            yield (
                f"{older}{first}. {older}{meeting}{newer}. {newer}{second}",
                f".{middle} {question}",
                row[column],
                other[column],
            )

    def _two_people(self, distance: int) -> Iterator[Questions]:
        return self._of_two(distance, self._two(["he", "she"]))

    def _narrator_second(self, distance: int) -> Iterator[Questions]:
        return self._of_two(distance, (self._one(["he", "she"]), "I"))

    def _of_two(self, distance: int, pronouns: Sequence[str]) -> Iterator[Questions]:
        """Each fact sticks to its person; the same text, asked for both."""
        people = [
            "I" if pronoun == "I" else self._one(self._names[pronoun]) for pronoun in pronouns
        ]
        cue = self._one(
            [
                cue
                for cue, answer in NEVER_TOGETHER.items()
                if self._option("answer named", answer, "he")
            ]
        )
        asked = [
            self._ask("answer" if pronoun == "I" else "answer named", NEVER_TOGETHER[cue], pronoun)
            for pronoun in pronouns
        ]
        questions = [
            text if who == "I" else f"{who}{text}"
            for who, (text, _) in zip(people, asked, strict=True)
        ]
        column = asked[0][1]
        rows = [self._one(self._never_of(name)) for name in people]
        while rows[0][column] == rows[1][column]:
            rows[1] = self._one(self._never_of(people[1]))
        one, two = (self._tell("cue", str(cue), *of) for of in zip(pronouns, rows, strict=True))
        lead = f"{people[0]}{one}. {people[1]}{two}"
        middle = self._fillers_for(distance, f". {questions[0]}")
        for k in (0, 1):
            yield lead, f".{middle} {questions[k]}", rows[k][column], rows[1 - k][column]

    def _pronoun(self, distance: int) -> Iterator[Questions]:
        kin = [
            self._one(
                [option.value["kin"] for option in self.lexicon.people["kin", (pronoun,)].options]
            )
            for pronoun in ("he", "she")
        ]
        trade = self._one([option.text for option in self.lexicon.words["trade", True].options])
        question, targets = self._one(
            [
                ("In the evening", ("he", "she")),
                ("I found one of", ("his", "her")),
                ("I still have a picture of", ("him", "her")),
            ]
        )
        middle = self._fillers_for(distance, f" is {trade}. {question}")
        for k in (0, 1):
            yield f"My {kin[k]}", f" is {trade}.{middle} {question}", targets[k], targets[1 - k]

    def _lost(self, distance: int) -> Iterator[Questions]:
        row = self._one([option.value for option in self.lexicon.words["item", False].options])
        middle, targets = self._fillers_for(distance, ". Today I found"), ("it", "them")
        for k, word in enumerate((row["item"], row["items"])):
            yield f"I lost the {word}", f".{middle} Today I found", targets[k], targets[1 - k]

    def _quotation(self, distance: int) -> Iterator[Questions]:
        name = self._one(
            [option.text for option in self.lexicon.words["acquaintance", False].options]
        )
        middle, marks = self._fillers_for(max(distance, 15), "")[1:], ('"', ")")
        for k, mark in enumerate('"('):
            yield f"I wrote a letter to {name}. {mark}", middle, marks[k], marks[1 - k]

    # --- the pieces --------------------------------------------------------------------------------------------------

    def _one(self, values: Sequence):
        """One of the values, the same on every platform and Python version."""
        return values[int(self._random.random() * len(values))]

    def _two(self, values: Sequence) -> tuple:
        first = self._one(values)
        return first, self._one([value for value in values if value != first])

    def _two_countries(self, column: str, among: Sequence[Row] = ()) -> tuple[Row, Row]:
        """Two that differ in a column."""
        first = self._one(among or self._countries)
        return first, self._one(
            [row for row in among or self._countries if row[column] != first[column]]
        )

    def _fillers_for(self, distance: int, rest: str) -> str:
        """New sentences, a space before each, that with the words of `rest` make a distance, or nearly so."""
        said, left = "", distance - count_words(rest)
        for _ in range(distance):  # the last ones are most often too long for what is left
            option, sampler = self._one(self._fillers), Sampler(self._random)
            sampler.say(option.text)
            self.lexicon.utter(sampler, option.value, new=True)
            if sampler.words <= left:
                said, left = f"{said} {sampler.text}", left - sampler.words
        return said

    def _never_of(self, name: str) -> list[Row]:
        """The countries that nobody of this name comes from in a story; all for the narrator, who has no name."""
        return [
            row for row in self._countries if row["country"] in self._never_from[name]
        ] or self._countries

    def _option(self, role: str, number: str, pronoun: str) -> Option | None:
        """A sentence by its number, or None: not every one may begin with a name."""
        return next(
            (
                option
                for option in self.lexicon.sentences[role, pronoun].options
                if option.group == number
            ),
            None,
        )

    def _tell(self, role: str, number: str, pronoun: str, facts: Row) -> str:
        """A sentence without its full stop, the word that a column decides at its end."""
        text, column = self._ask(role, number, pronoun)
        return f"{text} {facts[column]}"

    def _ask(self, role: str, number: str, pronoun: str) -> tuple[str, str]:
        """A sentence up to the word that a column decides, and the column."""
        option = self._option(role, number, pronoun)
        return option.text.rstrip(), option.value.rest[0].column


class StorySuiteFile:
    """The suite in the place of a file: made when it is opened, the same bytes everywhere."""

    name = "biographies.tsv"

    def open(self, mode: str = "rb") -> io.BytesIO:
        """The file's bytes."""
        return io.BytesIO(_suite_bytes())


@functools.cache
def _suite_bytes() -> bytes:
    return "".join(f"{row}\n" for row in Questioner().iterate_rows()).encode()
