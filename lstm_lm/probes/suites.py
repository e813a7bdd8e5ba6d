r"""Probe suites: files of questions about one word, which anyone can write.

The ending of the file's name decides the format:

==========  ======================================================================================
``.tsv``    a header ``id prefix target foil distance group pair clue question`` (the first three
            are needed, the order is free), then one question per line; or two whole sentences per
            line, the better one first, without a header or with the header ``sentence_good
            sentence_bad``
``.jsonl``  one object per line: BLiMP (``{"sentence_good": ..., "sentence_bad": ...}``), or LAMBADA
            (``{"text": ...}``, which asks for the last word)
``.txt``    one text per line, which asks for the last word
``.json``   a suite of SyntaxGym: predictions about the surprisals of regions; see `syntaxgym`
==========  ======================================================================================

Cells are separated by tabs, and nothing is quoted. Blank lines are skipped. In a file with the
first header, lines that begin with ``#`` are comments. ``data/probes/README.md`` explains the
columns. A file is read line by line and never held in memory as a whole, except for ``.json``.

An item with a mistake is not asked; it counts as skipped. A last word is asked without the full
stop behind it.

Sources: BLiMP, Warstadt et al. 2020 (arXiv 1912.00582); LAMBADA, Paperno et al. 2016 (arXiv
1606.06031).
"""

from __future__ import annotations

import difflib
from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path

import numpy as np

from lstm_lm.corpus.readers import checked_file, iterate_stream_lines
from lstm_lm.errors import InputError
from lstm_lm.files.packaged import data_folder
from lstm_lm.probes.formats import iterate_json_lines, iterate_text, iterate_tsv, mistake
from lstm_lm.probes.items import Item
from lstm_lm.probes.syntaxgym import iterate_syntaxgym
from lstm_lm.stories.questions import StorySuiteFile

MAX_PAIR_SIZE = 64  # all items of a pair are in memory and scored together
MISTAKES_NAMED = 3  # of the items that cannot be asked


@dataclass(frozen=True)
class SuiteSize:
    """The size of a suite.

    Attributes:
        items: number of items that can be asked.
        with_distance: how many of them have a distance.
        bad_items: number of items that have a mistake, and are skipped.
        mistakes: the first of these mistakes, each with its line.
    """

    items: int
    with_distance: int
    bad_items: int = 0
    mistakes: tuple[str, ...] = ()

    @property
    def note(self) -> str:
        """One line about the items that have a mistake; empty if there are none."""
        if not self.bad_items:
            return ""
        more = "; ..." if self.bad_items > len(self.mistakes) else ""
        return (
            f"{self.bad_items:,} of {self.items + self.bad_items:,} items cannot be asked and are "
            f"skipped: {'; '.join(self.mistakes)}{more}"
        )


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
        """Yields the items in the file's order. An item with a mistake has a `problem`.

        Raises:
            InputError: the file does not fit its format.
            CorpusError: a line is not UTF-8.
        """
        before, waiting = "", None  # the pair of the last item that was yielded; the item after it
        for item in self._parse():
            if waiting:
                yield _checked_pair(waiting, before, item.pair)
                before = waiting.pair
            waiting = item
        if waiting:
            yield _checked_pair(waiting, before, "")

    def _parse(self) -> Iterator[Item]:
        parse = PARSERS[Path(self.entry.name).suffix]
        with self.entry.open("rb") as file:
            lines = enumerate(iterate_stream_lines(file, self.name), start=1)
            yield from parse(lines, self.name)

    def check(self) -> SuiteSize:
        """Reads the whole suite once, so that a mistake in it is found before anything is scored.

        It needs about 30 bytes of memory per item: the hashes of its id and of its pair.

        Returns:
            The number of items, and what is wrong with those that are skipped.

        Raises:
            InputError: no item can be asked; an id occurs twice; a pair has too many items, or its
                items do not directly follow one another.
            CorpusError: the file is not UTF-8.
        """
        id_hashes, pair_hashes = array("q"), array("q")
        with_distance, bad_items = 0, 0
        first_bad: list[Item] = []
        for pair, items in groupby(self, key=lambda item: item.pair):
            for size, item in enumerate(items, start=1):
                if item.problem:
                    bad_items += 1
                    if len(first_bad) < MISTAKES_NAMED:
                        first_bad.append(item)
                    continue
                id_hashes.append(hash(item.id))
                with_distance += item.distance is not None
                if pair and size > MAX_PAIR_SIZE:
                    problem = f"pair {pair!r} has more than {MAX_PAIR_SIZE} items; split it"
                    raise mistake(self.name, item.line, problem)
            if pair:
                pair_hashes.append(hash(pair))
        mistakes = tuple(f"{item.place}: {item.problem}" for item in first_bad)
        if not id_hashes:
            raise self._nothing_to_ask(mistakes, bad_items)
        ids = ((item.id, item.line) for item in self if not item.problem)
        self._check_unique(ids, id_hashes, "id", "every item needs its own id")
        rule = "the items of a pair must directly follow one another"
        self._check_unique(self._iterate_pairs(), pair_hashes, "pair", rule)
        return SuiteSize(len(id_hashes), with_distance, bad_items, mistakes)

    def _nothing_to_ask(self, mistakes: tuple[str, ...], bad_items: int) -> InputError:
        if not mistakes:
            return InputError(f"{self.name}: has no items; write at least one line of them")
        others = f" (none of the {bad_items:,} items can be asked)" if bad_items > 1 else ""
        return InputError(f"{self.name}, {mistakes[0]}{others}")

    def _iterate_pairs(self) -> Iterator[tuple[str, int]]:
        """Yields every pair's name and first line; not those of which nothing can be asked."""
        for pair, items in groupby(self, key=lambda item: item.pair):
            good = next((item for item in items if not item.problem), None)
            if pair and good:
                yield pair, good.line

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
                raise mistake(self.name, line, problem)
            first_line[value] = line


def _checked_pair(item: Item, before: str, after: str) -> Item:
    """An item, which has a problem if its neighbours are of other pairs (empty: of none)."""
    if not item.pair or item.problem or item.pair in (before, after):
        return item
    problem = (
        f"pair {item.pair!r} has only one item here; "
        "a pair is two or more lines, directly one after another"
    )
    return replace(item, problem=problem)


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


# By the ending of the file's name. Each takes (line number, line) pairs and the suite's name.
PARSERS = {
    ".tsv": iterate_tsv,
    ".jsonl": iterate_json_lines,
    ".txt": iterate_text,
    ".json": iterate_syntaxgym,
}
FORMATS = tuple(PARSERS)
