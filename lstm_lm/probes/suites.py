r"""Probe suites: questions about one word, read from files that anyone can write, a line at a time.

A file's ending says what it is:

=========  =========================================================================================================
``.tsv``   a header ``id prefix target foil distance group pair`` (the last four optional, in any order), or without
           header two whole sentences a line, the better one first; a header ``sentence_good sentence_bad`` may be there
``.jsonl`` BLiMP (``{"sentence_good": ..., "sentence_bad": ...}``) or LAMBADA (``{"text": ...}``, its last word asked)
``.txt``   text whose last word is asked, a question a line
=========  =========================================================================================================

Tabs part cells and nothing is quoted. Blank lines, and in a file with the first header lines that begin with ``#``, are
for the people who keep it. ``data/probes/README.md`` says what each column means.

Sources: BLiMP, Warstadt et al. 2020 (arXiv 1912.00582); LAMBADA, Paperno et al. 2016 (arXiv 1606.06031).
"""

from __future__ import annotations

import difflib
import json
from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import numpy as np

from lstm_lm.corpus.readers import checked_file, iterate_stream_lines
from lstm_lm.errors import InputError
from lstm_lm.files.packaged import data_folder
from lstm_lm.stories.questions import StorySuiteFile

COLUMNS = ("id", "prefix", "target", "foil", "distance", "group", "pair")
REQUIRED = COLUMNS[:3]
FORMATS = (".tsv", ".jsonl", ".txt")
LARGEST_PAIR = 64  # items of one pair are held and scored together
LARGEST_DISTANCE = 10**9


@dataclass(frozen=True)
class Item:
    """One question.

    Attributes:
        id: its name, unique in its suite.
        prefix: what is read first, at least one word; empty where target and foil are whole sentences.
        target: the right next word, or the better sentence.
        foil: a wrong one; empty if there is none.
        distance: words between the cue and the target, or None.
        group: what kind of question it is; may be empty.
        pair: the name that items which count only together share; empty if it stands alone.
        line: where it is in its file, from 1.
    """

    id: str
    prefix: str
    target: str
    foil: str = ""
    distance: int | None = None
    group: str = ""
    pair: str = ""
    line: int = 0

    @property
    def is_sentence_pair(self) -> bool:
        """Whether target and foil are whole sentences."""
        return not self.prefix


@dataclass(frozen=True)
class SuiteSize:
    """What one look through a suite counts: its items, and those that have a distance."""

    items: int
    with_distance: int


@dataclass(frozen=True)
class Suite:
    """A file of questions; nothing of it is in memory.

    Attributes:
        name: a built-in suite's own name, or the path that was given.
        entry: the file, a `Path` or what has its `name` and `open`.
    """

    name: str
    entry: Path | StorySuiteFile

    def __iter__(self) -> Iterator[Item]:
        """Yields the items in the file's order.

        Raises:
            InputError: a line is not what the format asks for; it is named.
            CorpusError: a line is not UTF-8.
        """
        with self.entry.open("rb") as file:
            lines = enumerate(iterate_stream_lines(file, self.name), start=1)
            read = {".tsv": _iterate_tsv, ".jsonl": _iterate_json, ".txt": _iterate_text}[
                Path(self.entry.name).suffix
            ]
            yield from read(lines, self.name)

    def check(self) -> SuiteSize:
        """Reads the suite once from end to end, so that a mistake in its last line is told at once.

        Memory is some 30 bytes an item: a hash of its id and of its pair, kept to be sorted.

        Raises:
            InputError: no items; an id that is there twice; a pair of one item, of too many, or not in one place.
            CorpusError: the file is not UTF-8.
        """
        ids, pairs, with_distance = array("q"), array("q"), 0
        for pair, items in groupby(self, key=lambda item: item.pair):
            for size, item in enumerate(items, start=1):
                ids.append(hash(item.id))
                with_distance += item.distance is not None
                if pair and size > LARGEST_PAIR:
                    raise _mistake(
                        self.name,
                        item.line,
                        f"pair {pair!r} has more than {LARGEST_PAIR} items; split it",
                    )
            if pair:
                pairs.append(hash(pair))
                if size == 1:
                    raise _mistake(
                        self.name,
                        item.line,
                        f"pair {pair!r} has one item; a pair is two or more lines, "
                        "one after another",
                    )
        if not ids:
            raise InputError(f"{self.name}: has no items; give at least one line of them")
        self._check_once("id", ids, ((item.id, item.line) for item in self), "an id names one item")
        self._check_once(
            "pair",
            pairs,
            (
                (pair, next(items).line)
                for pair, items in groupby(self, key=lambda item: item.pair)
                if pair
            ),
            "the items of a pair stand one after another",
        )
        return SuiteSize(len(ids), with_distance)

    def _check_once(
        self, column: str, hashes: array, values: Iterable[tuple[str, int]], law: str
    ) -> None:
        """Raises if a value comes twice; the values themselves, with their lines, are read only if hashes say so."""
        ordered = np.sort(np.array(hashes))
        suspects = set(ordered[1:][ordered[1:] == ordered[:-1]].tolist())
        first: dict[str, int] = {}
        for value, line in values if suspects else ():
            if hash(value) in suspects and first.setdefault(value, line) != line:
                raise _mistake(
                    self.name, line, f"{column} {value!r} was in line {first[value]} already; {law}"
                )


def built_in_names() -> list[str]:
    """The names of the suites in ``data/probes`` and of the one about the biographies, in alphabetical order."""
    return sorted(_built_in())


def _built_in() -> dict[str, Path | StorySuiteFile]:
    folder = data_folder() / "probes"
    entries = [StorySuiteFile(), *(folder.iterdir() if folder.is_dir() else ())]
    return {
        entry.name.removesuffix(".tsv"): entry for entry in entries if entry.name.endswith(".tsv")
    }


def find_suite(name: str) -> Suite:
    """A built-in suite by its name, or any by its path.

    Raises:
        InputError: there is none, or its ending is not one of `FORMATS`.
        CorpusError: the file cannot be read.
    """
    if built_in := _built_in().get(name):
        return Suite(name, built_in)
    if Path(name).suffix not in FORMATS:
        near = difflib.get_close_matches(name, built_in_names(), n=1)
        meant = (
            f"did you mean {near[0]}? If not:"
            if near
            else f"built in are {', '.join(built_in_names()) or 'none'};"
        )
        raise InputError(
            f"{name}: no such suite; {meant} a file's name ends in {' or '.join(FORMATS)}"
        )
    return Suite(name, checked_file(name))


def _mistake(name: str, line: int, what: str) -> InputError:
    return InputError(f"{name}, line {line}: {what}")


def _iterate_tsv(lines: Iterator[tuple[int, str]], name: str) -> Iterator[Item]:
    header: list[str] | None = None
    for number, line in lines:
        if not line.strip() or (line.startswith("#") and header != []):
            continue
        cells = line.split("\t")
        if header is None:
            header = _read_header(cells, name, number)
            if header or cells == ["sentence_good", "sentence_bad"]:
                continue
        yield (
            _item_of_row(header, cells, name, number) if header else _sentences(cells, name, number)
        )


def _read_header(cells: list[str], name: str, number: int) -> list[str]:
    """The columns' names; empty if the file is one of two sentences a line."""
    cells = [cell.strip() for cell in cells]
    if not set(cells) & set(COLUMNS):
        if len(cells) == 2:
            return []
        raise _mistake(
            name,
            number,
            f"found {len(cells)} cells parted by tabs and no header; the first line is the "
            f"header {' '.join(COLUMNS)} (the last four optional), or there are two sentences "
            "a line",
        )
    for cell in cells:
        if cell not in COLUMNS or cells.count(cell) > 1:
            why = "is there twice" if cell in COLUMNS else "is no column"
            raise _mistake(
                name,
                number,
                f"header: {cell!r} {why}; the columns are {' '.join(COLUMNS)}, parted by tabs",
            )
    if missing := [column for column in REQUIRED if column not in cells]:
        raise _mistake(
            name,
            number,
            f"header: column {missing[0]} is missing; needed are {' '.join(REQUIRED)}, parted "
            "by tabs",
        )
    return cells


def _item_of_row(header: list[str], cells: list[str], name: str, number: int) -> Item:
    if len(cells) > len(header):
        raise _mistake(
            name,
            number,
            f"found {len(cells)} cells, the header has {len(header)}; a cell holds no tab",
        )
    row = {column: cell.strip() for column, cell in zip(header, cells, strict=False)}
    for column in REQUIRED:
        if not row.get(column):
            raise _mistake(
                name, number, f"{column} is empty; every item needs {', '.join(REQUIRED)}"
            )
    distance = row.get("distance") or None
    if distance is not None:
        if (
            not (distance.isascii() and distance.isdecimal())
            or len(distance) > 10
            or int(distance) > LARGEST_DISTANCE
        ):
            raise _mistake(
                name,
                number,
                f"distance is {distance[:40]!r}; it is a number of words, 0 or more, or empty",
            )
        distance = int(distance)
    return _checked(
        Item(
            row["id"],
            row["prefix"],
            row["target"],
            row.get("foil", ""),
            distance,
            row.get("group", ""),
            row.get("pair", ""),
            number,
        ),
        name,
    )


def _checked(item: Item, name: str) -> Item:
    """Returns the item if its target and foil are one word each, and different ones."""
    for column in ("target", "foil"):
        if len(words := getattr(item, column).split()) > 1:
            raise _mistake(
                name,
                item.line,
                f"{column} {' '.join(words)[:60]!r} has {len(words)} words; give one",
            )
    if item.target == item.foil:
        raise _mistake(
            name, item.line, f"target and foil are both {item.target!r}; give two different words"
        )
    return item


def _sentences(cells: list[str], name: str, number: int, group: str = "") -> Item:
    cells = [cell.strip() for cell in cells]
    if len(cells) != 2 or not all(cells):
        raise _mistake(
            name,
            number,
            f"found {len([c for c in cells if c])} sentences; give two, parted by a tab, the "
            "better one first",
        )
    if cells[0] == cells[1]:
        raise _mistake(name, number, "the two sentences are the same")
    return Item(str(number), "", cells[0], cells[1], group=group, line=number)


def _last_word_asked(text: str, name: str, number: int) -> Item:
    prefix, *word = text.rstrip().rsplit(maxsplit=1)
    if not word:
        raise _mistake(
            name,
            number,
            f"found one word, {prefix[:60]!r}; the last word is asked after those before it",
        )
    return Item(str(number), prefix.strip(), word[0], line=number)


def _iterate_text(lines: Iterator[tuple[int, str]], name: str) -> Iterator[Item]:
    for number, line in lines:
        if "\t" in line:
            raise _mistake(
                name,
                number,
                "has a tab; a suite of cells parted by tabs has a name that ends in .tsv",
            )
        if line.strip():
            yield _last_word_asked(line, name, number)


def _iterate_json(lines: Iterator[tuple[int, str]], name: str) -> Iterator[Item]:
    for number, line in lines:
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            raise _mistake(
                name, number, f"not JSON, found {line[:40]!r}; give one object a line"
            ) from None
        row = row if isinstance(row, dict) else {}
        found = [key for key in ("sentence_good", "sentence_bad", "text") if _is_text(row.get(key))]
        if found == ["text"]:
            yield _last_word_asked(row["text"], name, number)
        elif found[:2] == ["sentence_good", "sentence_bad"]:
            group = row.get("UID")
            yield _sentences(
                [row["sentence_good"], row["sentence_bad"]],
                name,
                number,
                group if isinstance(group, str) else "",
            )
        else:
            raise _mistake(
                name,
                number,
                "needs sentence_good and sentence_bad, or text, each a string of words",
            )


def _is_text(value: object) -> bool:
    """Whether a value is a string with words in it that UTF-8 can hold; JSON can spell half a character."""
    return (
        isinstance(value, str)
        and bool(value.strip())
        and not any("\ud800" <= c <= "\udfff" for c in value)
    )
