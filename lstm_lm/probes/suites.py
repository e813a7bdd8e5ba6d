r"""Probe suites: files of questions about one word, which anyone can write.

The ending of the file's name decides the format:

==========  ======================================================================================
``.tsv``    a header ``id prefix target foil distance group pair`` (the last four are optional, in
            any order), then one question per line; or two whole sentences per line, the better one
            first, without a header or with the header ``sentence_good sentence_bad``
``.jsonl``  one object per line: BLiMP (``{"sentence_good": ..., "sentence_bad": ...}``), or LAMBADA
            (``{"text": ...}``, which asks for the last word)
``.txt``    one text per line, which asks for the last word
==========  ======================================================================================

Cells are separated by tabs, and nothing is quoted. Blank lines are skipped. In a file with the
first header, lines that begin with ``#`` are comments. ``data/probes/README.md`` explains the
columns. A file is read line by line and never held in memory as a whole.

Sources: BLiMP, Warstadt et al. 2020 (arXiv 1912.00582); LAMBADA, Paperno et al. 2016 (arXiv
1606.06031).
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
SENTENCE_COLUMNS = ["sentence_good", "sentence_bad"]
FORMATS = (".tsv", ".jsonl", ".txt")
MAX_PAIR_SIZE = 64  # all items of a pair are in memory and scored together
MAX_DISTANCE = 10**9


@dataclass(frozen=True)
class Item:
    """One question.

    Attributes:
        id: its name, unique in its suite.
        prefix: the text that is read first, at least one word; empty if target and foil are whole
            sentences.
        target: the right next word, or the better sentence.
        foil: a wrong next word, or the other sentence; empty if there is none.
        distance: words between the cue and the target, or None.
        group: what kind of question it is; may be empty.
        pair: the name of its pair: items which count as right only together. Empty if it has none.
        line: its line in the file, from 1.
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
    """The size of a suite.

    Attributes:
        items: number of items.
        with_distance: number of items that have a distance.
    """

    items: int
    with_distance: int


@dataclass(frozen=True)
class Suite:
    """A file of questions. Iterating over it reads the file; nothing of it stays in memory.

    Attributes:
        name: the name of a built-in suite, or the path that was given.
        entry: the file: a `Path`, or an object with the same ``name`` and ``open``.
    """

    name: str
    entry: Path | StorySuiteFile

    def __iter__(self) -> Iterator[Item]:
        """Yields the items in the file's order.

        Raises:
            InputError: a line does not fit the format; the message names it.
            CorpusError: a line is not UTF-8.
        """
        parse = PARSERS[Path(self.entry.name).suffix]
        with self.entry.open("rb") as file:
            lines = enumerate(iterate_stream_lines(file, self.name), start=1)
            yield from parse(lines, self.name)

    def check(self) -> SuiteSize:
        """Reads the whole suite once, so that a mistake in it is found before anything is scored.

        It needs about 30 bytes of memory per item: the hashes of its id and of its pair.

        Returns:
            The number of items.

        Raises:
            InputError: the suite has no items; an id occurs twice; a pair has one item or too many,
                or its items do not directly follow one another.
            CorpusError: the file is not UTF-8.
        """
        id_hashes, pair_hashes = array("q"), array("q")
        with_distance = 0
        for pair, items in groupby(self, key=lambda item: item.pair):
            for size, item in enumerate(items, start=1):
                id_hashes.append(hash(item.id))
                with_distance += item.distance is not None
                if pair and size > MAX_PAIR_SIZE:
                    problem = f"pair {pair!r} has more than {MAX_PAIR_SIZE} items; split it"
                    raise _mistake(self.name, item.line, problem)
            if pair:
                pair_hashes.append(hash(pair))
                if size == 1:
                    problem = (
                        f"pair {pair!r} has only one item here; "
                        "a pair is two or more lines, directly one after another"
                    )
                    raise _mistake(self.name, item.line, problem)
        if not id_hashes:
            raise InputError(f"{self.name}: has no items; write at least one line of them")
        ids = ((item.id, item.line) for item in self)
        self._check_unique(ids, id_hashes, "id", "every item needs its own id")
        rule = "the items of a pair must directly follow one another"
        self._check_unique(self._iterate_pairs(), pair_hashes, "pair", rule)
        return SuiteSize(len(id_hashes), with_distance)

    def _iterate_pairs(self) -> Iterator[tuple[str, int]]:
        """Yields every pair's name and first line."""
        for pair, items in groupby(self, key=lambda item: item.pair):
            if pair:
                yield pair, next(items).line

    def _check_unique(
        self, values: Iterable[tuple[str, int]], hashes: array, column: str, rule: str
    ) -> None:
        """Checks that no value occurs twice.

        Args:
            values: every value with its line. They are only read if two hashes are equal.
            hashes: of all values.
            column: the name of the values' column, for the message.
            rule: what the message asks for.

        Raises:
            InputError: a value occurs twice.
        """
        ordered = np.sort(np.array(hashes))
        repeated = set(ordered[1:][ordered[1:] == ordered[:-1]].tolist())
        if not repeated:
            return
        first_line: dict[str, int] = {}
        for value, line in values:
            if hash(value) not in repeated:
                continue
            if value in first_line:
                problem = f"{column} {value!r} is already in line {first_line[value]}; {rule}"
                raise _mistake(self.name, line, problem)
            first_line[value] = line


def built_in_names() -> list[str]:
    """Returns the names of the built-in suites in alphabetical order.

    They are the files of ``data/probes``, and ``biographies``, which is made when it is used.
    """
    return sorted(_built_in())


def _built_in() -> dict[str, Path | StorySuiteFile]:
    folder = data_folder() / "probes"
    entries = [StorySuiteFile(), *(folder.iterdir() if folder.is_dir() else ())]
    return {
        entry.name.removesuffix(".tsv"): entry for entry in entries if entry.name.endswith(".tsv")
    }


def find_suite(name: str) -> Suite:
    """Returns a built-in suite by its name, or any suite by its path.

    Raises:
        InputError: there is no such suite, or the file's ending is not one of `FORMATS`.
        CorpusError: the file cannot be read.
    """
    built_in = _built_in()
    if name in built_in:
        return Suite(name, built_in[name])
    if Path(name).suffix in FORMATS:
        return Suite(name, checked_file(name))
    similar = difflib.get_close_matches(name, built_in, n=1)
    if similar:
        hint = f"did you mean {similar[0]}?"
    else:
        hint = f"the built-in suites are {', '.join(sorted(built_in))}"
    raise InputError(
        f"{name}: no such suite; {hint} (the name of a file must end in {' or '.join(FORMATS)})"
    )


def _mistake(name: str, line: int, problem: str) -> InputError:
    return InputError(f"{name}, line {line}: {problem}")


def _iterate_tsv(lines: Iterator[tuple[int, str]], name: str) -> Iterator[Item]:
    columns: list[str] | None = None  # None before the first line; empty if there is no header
    for number, line in lines:
        is_comment = line.startswith("#") and columns != []
        if not line.strip() or is_comment:
            continue
        cells = line.split("\t")
        if columns is None:
            columns = _read_header(cells, name, number)
            if columns or cells == SENTENCE_COLUMNS:
                continue
        if columns:
            yield _parse_row(columns, cells, name, number)
        else:
            yield _parse_sentences(cells, name, number)


def _read_header(cells: list[str], name: str, number: int) -> list[str]:
    """Returns the columns of a file's first line; none if it has two sentences per line."""
    cells = [cell.strip() for cell in cells]
    if not set(cells) & set(COLUMNS):
        if len(cells) == 2:
            return []
        problem = (
            f"found no header, and {len(cells)} cells separated by tabs; the first line must be "
            f"the header {' '.join(COLUMNS)} (the last four are optional), or every line must have "
            "two sentences"
        )
        raise _mistake(name, number, problem)
    for cell in cells:
        if cell not in COLUMNS or cells.count(cell) > 1:
            what = "occurs twice" if cell in COLUMNS else "is not a column"
            problem = f"header: {cell!r} {what}; the columns are {' '.join(COLUMNS)}"
            raise _mistake(name, number, f"{problem}, separated by tabs")
    for column in REQUIRED:
        if column not in cells:
            problem = f"header: column {column} is missing; {', '.join(REQUIRED)} are required"
            raise _mistake(name, number, f"{problem}, separated by tabs")
    return cells


def _parse_row(columns: list[str], cells: list[str], name: str, number: int) -> Item:
    if len(cells) > len(columns):
        problem = (
            f"found {len(cells)} cells, but the header has {len(columns)}; "
            "a cell cannot contain a tab"
        )
        raise _mistake(name, number, problem)
    row = {column: cell.strip() for column, cell in zip(columns, cells, strict=False)}
    for column in REQUIRED:
        if not row.get(column):
            problem = f"{column} is empty; every item needs {', '.join(REQUIRED)}"
            raise _mistake(name, number, problem)
    item = Item(
        row["id"],
        row["prefix"],
        row["target"],
        row.get("foil", ""),
        _parse_distance(row.get("distance", ""), name, number),
        row.get("group", ""),
        row.get("pair", ""),
        number,
    )
    for column, text in (("target", item.target), ("foil", item.foil)):
        words = text.split()
        if len(words) > 1:
            problem = f"{column} {' '.join(words)[:60]!r} has {len(words)} words; give one"
            raise _mistake(name, number, problem)
    if item.target == item.foil:
        problem = f"target and foil are both {item.target!r}; give two different words"
        raise _mistake(name, number, problem)
    return item


def _parse_distance(text: str, name: str, number: int) -> int | None:
    if not text:
        return None
    is_number = text.isascii() and text.isdecimal() and len(text) <= len(str(MAX_DISTANCE))
    if not is_number or int(text) > MAX_DISTANCE:
        problem = (
            f"distance is {text[:40]!r}; it must be a number of words from 0 to {MAX_DISTANCE}, "
            "or empty"
        )
        raise _mistake(name, number, problem)
    return int(text)


def _parse_sentences(cells: list[str], name: str, number: int, group: str = "") -> Item:
    sentences = [cell.strip() for cell in cells if cell.strip()]
    if len(cells) != 2 or len(sentences) != 2:
        problem = (
            f"found {len(sentences)} sentences; give two, separated by a tab, the better one first"
        )
        raise _mistake(name, number, problem)
    better, other = sentences
    if better == other:
        raise _mistake(name, number, "the two sentences are the same; give two different ones")
    return Item(str(number), "", better, other, group=group, line=number)


def _parse_last_word(text: str, name: str, number: int) -> Item:
    prefix, *word = text.rstrip().rsplit(maxsplit=1)
    if not word:
        problem = f"found one word, {prefix[:60]!r}; the last word needs words before it"
        raise _mistake(name, number, problem)
    return Item(str(number), prefix.strip(), word[0], line=number)


def _iterate_text(lines: Iterator[tuple[int, str]], name: str) -> Iterator[Item]:
    for number, line in lines:
        if "\t" in line:
            problem = "found a tab; the name of a suite with cells separated by tabs ends in .tsv"
            raise _mistake(name, number, problem)
        if line.strip():
            yield _parse_last_word(line, name, number)


def _iterate_json(lines: Iterator[tuple[int, str]], name: str) -> Iterator[Item]:
    for number, line in lines:
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            problem = f"not JSON, found {line[:40]!r}; write one object per line"
            raise _mistake(name, number, problem) from None
        if not isinstance(row, dict):
            row = {}
        sentences = [row[key] for key in SENTENCE_COLUMNS if _is_text(row.get(key))]
        if len(sentences) == 2:
            group = row.get("UID")
            yield _parse_sentences(sentences, name, number, group if isinstance(group, str) else "")
        elif not sentences and _is_text(row.get("text")):
            yield _parse_last_word(row["text"], name, number)
        else:
            problem = (
                "needs sentence_good and sentence_bad, or text, each a string with words in it"
            )
            raise _mistake(name, number, problem)


def _is_text(value: object) -> bool:
    """Whether a value is a string with words in it which UTF-8 can encode.

    JSON can contain one half of a surrogate pair, which is not a character.
    """
    if not isinstance(value, str) or not value.strip():
        return False
    return not any("\ud800" <= character <= "\udfff" for character in value)


# By the ending of the file's name. Each takes (line number, line) pairs and the suite's name.
PARSERS = {".tsv": _iterate_tsv, ".jsonl": _iterate_json, ".txt": _iterate_text}
