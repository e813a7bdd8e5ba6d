"""Writes the built-in probe suites, ``data/probes/*.tsv``: the same bytes on every machine.

    python scripts/make_probes.py               writes them
    python scripts/make_probes.py --check       says which of the files differ from what it would write

A question is a cue, filler sentences that say nothing about it, and the beginning of a sentence that the cue decides.
Both items of a pair have the same filler. A distance counts words and punctuation marks between cue and target.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from random import Random

from probe_words import (
    ATTRACTORS,
    CAPITAL,
    CAPITALS,
    CONTROLS,
    COUNTRIES,
    COUNTRY,
    CUES,
    DAYS,
    DIRECT,
    FIGURES,
    FILLERS,
    GENDERS,
    LANGUAGE,
    LANGUAGES,
    MEN,
    NATIONALITY,
    NOUNS,
    PASSPORTS,
    PLACES_OF,
    SLOTS,
    TRADES,
    WOMEN,
)

from lstm_lm.corpus.typed_text import natural_words
from lstm_lm.probes.suites import COLUMNS, Item

FOLDER = Path(__file__).resolve().parent.parent / "data" / "probes"

# How far away the cue is at most, and how many pairs there are so far away: few where a prefix is long. 0: no filler.
DISTANCES = {0: 20, 20: 20, 50: 20, 100: 20, 200: 20, 500: 15, 1000: 11}
LEAST = 0.7  # a distance lies between this share of its limit and the limit


class Draw:
    """Choices that are the same on every platform and Python version."""

    def __init__(self, name: str) -> None:
        self._random = Random(f"probes/{name}")

    def one(self, values):
        """One of the values."""
        return values[int(self._random.random() * len(values))]

    def two(self, values, differ=lambda a, b: a != b):
        """Two that differ."""
        first = self.one(values)
        return first, self.one([value for value in values if differ(first, value)])

    def filler(self) -> str:
        """A sentence that says nothing."""
        sentence = re.sub(r"{(\w+)}", lambda slot: self.one(SLOTS[slot[1]]), self.one(FILLERS))
        return re.sub(r"\b([Aa]) (?=[aeiou])", r"\1n ", sentence)

    def fillers(self, limit: int, taken: int) -> str:
        """Different sentences that bring a distance of `taken` words near its limit, a space behind each."""
        said: dict[str, int] = {}
        attempt = 0
        while taken + sum(said.values()) <= LEAST * limit:
            attempt += 1
            sentence = self.filler()
            length = len(natural_words(sentence))
            if taken + sum(said.values()) + length <= limit:
                said.setdefault(sentence, length)
            elif attempt % 100 == 0:  # what is left is too short for any sentence
                said.clear()
        return "".join(f"{sentence} " for sentence in said)


def words_in(text: str) -> int:
    """How many words and punctuation marks a text has."""
    return len(natural_words(text))


def build_pair(
    group: str, leads: tuple[str, str], tails: tuple[str, str], targets: tuple[str, str]
) -> list[Item]:
    """Two items, each the other's foil. A lead ends in the cue; the distance is that of the longer tail."""
    distance = max(words_in(tail) for tail in tails)
    return [
        Item("", lead + tail, target, foil, distance, group)
        for lead, tail, target, foil in zip(leads, tails, targets, reversed(targets), strict=True)
    ]


def fill(draw: Draw, limit: int, tails: tuple[str, str]) -> tuple[str, ...]:
    """Puts the same sentences into both tails' {fill}."""
    sentences = draw.fillers(limit, max(words_in(tail.format(fill="")) for tail in tails))
    return tuple(tail.format(fill=sentences) for tail in tails)


def spread(draw: Draw, kinds: int, share: float = 1) -> Iterator[tuple[int, int]]:
    """Yields (limit of the distance, number of the kind), for as many pairs as `DISTANCES` says."""
    for limit, pairs in DISTANCES.items():
        yield from ((limit, number % kinds) for number in range(int(pairs * share)))


def country_pairs(name: str, ends: list[str], answer: int) -> Iterator[list[Item]]:
    """The same story with two countries; the answer is a column of `COUNTRIES`."""
    draw = Draw(name)
    for limit, kind in spread(draw, len(ends)):
        pair, cue = draw.two(COUNTRIES), draw.one(CUES)
        tails = fill(draw, limit, (f". {{fill}}{ends[kind]}",) * 2)
        yield build_pair(
            ends[kind],
            tuple(cue.format(c=row[COUNTRY])[:-1] for row in pair),
            tails,
            tuple(row[answer] for row in pair),
        )


def pronoun_pairs() -> Iterator[list[Item]]:
    """Somebody is introduced; a pronoun comes back to them."""
    draw = Draw("pronoun")
    for limit, kind in spread(draw, len(GENDERS)):
        *cues, her, his, end = GENDERS[kind]
        trade, woman, man = draw.one(TRADES), draw.one(WOMEN), draw.one(MEN)
        cues = [cue.format(t=trade, w=woman, m=man).split(" is ") for cue in cues]
        tails = fill(draw, limit, (f" is {cues[0][1]}. {{fill}}{end}",) * 2)
        yield build_pair(
            f"{her} or {his}, {'name' if '{w}' in GENDERS[kind][0] else 'kin'}",
            (cues[0][0], cues[1][0]),
            tails,
            (her, his),
        )


def subject_pairs() -> Iterator[list[Item]]:
    """Two people: the older one is to be let go, or each fact is to stick to its person."""
    draw = Draw("subject")
    for limit, kind in spread(draw, 3):
        (one, is_woman), (two, _) = draw.one(
            [
                ((draw.one(WOMEN), True), (draw.one(MEN), False)),
                ((draw.one(MEN), False), (draw.one(WOMEN), True)),
            ]
        )
        old, new = draw.two(COUNTRIES)
        he, his_trade = "He" if is_woman else "She", draw.one(TRADES)
        older = "is a year older than"
        if kind == 0:
            tails = fill(draw, limit, (f". {{fill}}{he} speaks fluent",) * 2)
            leads = (
                f"{one} is {new[NATIONALITY]}. {one} {older} {two}. {two} is {old[NATIONALITY]}",
                f"{one} is {old[NATIONALITY]}. {one} {older} {two}. {two} is {new[NATIONALITY]}",
            )
            yield build_pair("new subject, language", leads, tails, (old[LANGUAGE], new[LANGUAGE]))
        elif kind == 1:
            tails = fill(draw, limit, (f" is a {his_trade}. {{fill}}In the evening",) * 2)
            yield build_pair(
                "new subject, pronoun",
                (f"{one} {older} {two}. {two}", f"{two} {older} {one}. {one}"),
                tails,
                ("he", "she") if is_woman else ("she", "he"),
            )
        else:
            second = f". {two} grew up in {new[COUNTRY]}"
            tails = fill(
                draw,
                limit,
                (f"{second}. {{fill}}{one} speaks fluent", f". {{fill}}{two} speaks fluent"),
            )
            first = f"{one} grew up in {old[COUNTRY]}"
            yield build_pair(
                "two people", (first, first + second), tails, (old[LANGUAGE], new[LANGUAGE])
            )


def agreement_pairs() -> Iterator[list[Item]]:
    """The verb agrees with its noun, not with those in between; a thing that was lost is found again."""
    draw = Draw("agreement")
    for attractors in range(5):
        for _ in range(20):
            one, many = draw.one(NOUNS).split("/")
            between = [
                (draw.one(PLACES_OF), *draw.one(ATTRACTORS).split("/")) for _ in range(attractors)
            ]
            tails = tuple(
                "".join(f" {where} {pair[number]}" for where, *pair in between) for number in (1, 0)
            )
            yield build_pair(
                f"is or are, {attractors} attractors",
                (f"The {one}", f"The {many}"),
                tails,
                ("is", "are"),
            )
    for limit, _ in spread(draw, 1, 0.5):
        one, many = draw.one(NOUNS).split("/")
        yield build_pair(
            "it or them",
            (f"I lost the {one}", f"I lost the {many}"),
            fill(draw, limit, (". {fill}Today I found",) * 2),
            ("it", "them"),
        )


def quote_pairs() -> Iterator[list[Item]]:
    """What was opened is closed."""
    draw = Draw("quotes")
    for limit, _ in spread(draw, 1, 0.5):
        said = draw.fillers(max(limit, 14), 0).rstrip()
        lead = f"I wrote a letter to {draw.one(WOMEN + MEN)}. "
        yield build_pair("quote or bracket", (lead + '"', lead + "("), (said, said), ('"', ")"))


def story_pairs() -> Iterator[list[Item]]:
    """The sentences that this project began with, and their kin."""
    draw = Draw("story")
    yield build_pair("sun", ("The sun rises", "The sun sets"), (" in the",) * 2, ("east", "west"))
    yield build_pair(
        "Vignesh, pronoun",
        (
            "Vignesh is a year older than Maria. Maria",
            "Maria is a year older than Vignesh. Vignesh",
        ),
        (" is French.",) * 2,
        ("She", "He"),
    )
    yield build_pair(
        "France",
        ("I grew up in France", "I grew up in Italy"),
        (". My neighbour is a baker. I still have a home in",) * 2,
        ("Paris", "Rome"),
    )
    older = "Vignesh is a year older than Maria. Maria is"
    for limit in DISTANCES:
        for other in (COUNTRIES[1], COUNTRIES[3]):
            yield build_pair(
                "France",
                ("I grew up in France", f"I grew up in {other[COUNTRY]}"),
                fill(draw, limit, (". {fill}I still have a home in",) * 2),
                ("Paris", other[CAPITAL]),
            )
            yield build_pair(
                "Vignesh, language",
                (f"{older} French", f"{older} {other[NATIONALITY]}"),
                fill(draw, limit, (". {fill}She speaks fluent",) * 2),
                ("French", other[LANGUAGE]),
            )


def control_pairs() -> Iterator[list[Item]]:
    """What needs no memory; a model that fails here fails for another reason. The cue: the last word that differs."""
    rows = [line.split("\t") for line in CONTROLS]
    for group, then, values in (("days", "day", DAYS), ("months", "month", SLOTS["month"])):
        questions = [
            f"The {then} after {value} is = {values[(k + 1) % len(values)]}"
            for k, value in enumerate(values)
        ]
        rows += [
            [group, questions[k], questions[(k + 1) % len(questions)]]
            for k in range(0, len(questions), 2)
        ]
    for number, row in enumerate(COUNTRIES):
        for group, text, answer in DIRECT:
            two = row, COUNTRIES[number - 1]
            rows.append(
                [
                    group,
                    *(f"{text.format(c=country[COUNTRY])} = {country[answer]}" for country in two),
                ]
            )
    draw = Draw("controls")
    for number in range(24):
        where = f"{draw.one(SLOTS['near'])} the {draw.one(SLOTS['adj'])} {draw.one(SLOTS['place'])}"
        rows.append(
            [
                "reflexive",
                *(
                    f"The {figure} {where} hurt = {self}"
                    for figure, self in zip(
                        FIGURES[number % len(FIGURES)].split("/"),
                        ("herself", "himself"),
                        strict=True,
                    )
                ),
            ]
        )
    for group, *questions in rows:
        (one, one_target), (two, two_target) = (question.split(" = ") for question in questions)
        same = 0
        while one.split()[-same - 1 :] == two.split()[-same - 1 :]:
            same += 1
        leads = tuple(" ".join(text.split()[: len(text.split()) - same]) for text in (one, two))
        tails = tuple(text[len(lead) :] for text, lead in zip((one, two), leads, strict=True))
        yield build_pair(group, leads, tails, (one_target, two_target))


SUITES = {
    "story": story_pairs,
    "capital": lambda: country_pairs("capital", CAPITALS, CAPITAL),
    "language": lambda: country_pairs("language", LANGUAGES, LANGUAGE),
    "nationality": lambda: country_pairs("nationality", PASSPORTS, NATIONALITY),
    "pronoun": pronoun_pairs,
    "subject": subject_pairs,
    "agreement": agreement_pairs,
    "quotes": quote_pairs,
    "controls": control_pairs,
}


def suite_text(name: str) -> str:
    """The whole of a suite's file."""
    lines = ["\t".join(COLUMNS)]
    seen: set[str] = set()
    for pair in SUITES[name]():
        if pair[0].prefix in seen:
            continue
        seen.add(pair[0].prefix)
        number = (len(lines) + 1) // 2
        lines += [
            "\t".join(
                (
                    f"{name}-{number}{letter}",
                    item.prefix,
                    item.target,
                    item.foil,
                    str(item.distance),
                    item.group,
                    f"{number}",
                )
            )
            for letter, item in zip("ab", pair, strict=True)
        ]
    return "\n".join(lines) + "\n"


def main() -> int:
    """Writes or compares the files."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--check", action="store_true", help="write nothing; exit status 1 if a file differs"
    )
    args = parser.parse_args()
    stale = []
    for name in SUITES:
        path, content = FOLDER / f"{name}.tsv", suite_text(name).encode()
        if args.check:
            stale += [] if path.exists() and path.read_bytes() == content else [str(path)]
        else:
            path.write_bytes(content)
            print(f"{path.name}: {content.count(bytes([10])) - 1} items, {len(content):,} bytes")
    for path in stale:
        print(f"{path}: differs; run scripts/make_probes.py", file=sys.stderr)
    return bool(stale)


if __name__ == "__main__":
    sys.exit(main())
