"""The table that linguists want: a row for every word, with its surprisal and what goes with it.

Columns, in this order:

- ``sentence_id``, ``token_id``: the number of the line, and of the word in it, from 1;
- ``token``: the word in the vocabulary's spelling, or as typed; ``<eos>`` is the line end;
- ``surprisal``: ``-log p(word | what is before it)``;
- ``entropy``: of the distribution of which ``p`` is one value: the expected surprisal;
- ``entropy_reduction``: this entropy minus that of the word after it. It may be negative; Hale
  (2006) counts 0 then. Empty at a line end after which nothing is read;
- ``rank``: how many words of the vocabulary are at least as probable, the word itself included;
- ``log_frequency``: the logarithm of the word's share of all tokens of train; empty if unknown;
- ``known``: whether the vocabulary has the word;
- ``start``, ``end``: where the word stands in the line as typed, in characters from 0; ``end`` is
  the character after it;
- with several runs, ``surprisal_sd`` and so on: standard deviations over runs (n - 1); the columns
  above are means;
- then the columns of the input. A name that is taken gets ``input_`` before it.

All logarithms have the same base. Surprisals and entropies are computed in float64. A cell that has
no value is empty. The file is UTF-8, and a field with a double quote, a tab or a line end is
quoted: pandas, polars and R's read.delim read it.

Several words may be one row: a word as it was typed (``don't``), or a region of a design. Then
``surprisal`` is the sum, ``entropy`` that of the first word, and ``entropy_reduction`` goes from
before the first to after the last. ``rank`` is empty unless there is one word only, and
``log_frequency`` is that of the rarest part with a letter or a digit, or of the rarest part.
"""

from __future__ import annotations

import csv
import io
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain

import numpy as np

from lstm_lm.corpus.alignment import PlacedWord, place_words
from lstm_lm.corpus.stimuli import Stimulus
from lstm_lm.errors import InputError
from lstm_lm.evaluation.grouping import Group, by_region, by_token, by_typed_word
from lstm_lm.model.language_model import LanguageModel
from lstm_lm.model.measuring import LineMeasures, LineReader

MEASURES = ("surprisal", "entropy", "entropy_reduction", "rank")
COLUMNS = (
    "sentence_id",
    "token_id",
    "token",
    *MEASURES,
    "log_frequency",
    "known",
    "start",
    "end",
)
BASES = {"2": 2.0, "e": math.e, "10": 10.0}
_SHOWN_UNKNOWN = 10


@dataclass(frozen=True)
class TableOptions:
    """How a table is made.

    Attributes:
        base: of all logarithms.
        by: ``token``, ``word`` (as typed) or ``region``.
        joins_marks: whether punctuation belongs to its typed word.
        region_sign: what stands between two regions; it is not read.
        oov: unknown words: ``unk`` gives them the surprisal of ``<unk>``, ``na`` leaves the cells
            empty, ``skip`` leaves the rows out. A region's sum is then over its known words.
        carry: whether the state is carried from line to line.
        adapt: see `LineReader`.
        tokenised: whether lines are tokenised as the model's corpus was.
    """

    base: float = 2.0
    by: str = "token"
    joins_marks: bool = False
    region_sign: str = ""
    oov: str = "unk"
    carry: bool = False
    adapt: float = 0.0
    tokenised: bool = False


@dataclass
class Row:
    """A row of the table; `COLUMNS` says what it has. None is an empty cell."""

    sentence_id: int
    token_id: int
    token: str
    surprisal: float | None
    entropy: float | None
    entropy_reduction: float | None
    rank: float | None
    log_frequency: float | None
    known: bool
    start: int
    end: int
    deviations: tuple[float | None, ...] = ()
    cells: tuple[str, ...] = ()


@dataclass
class Summary:
    """What was seen while a table was made.

    Attributes:
        lines: read.
        words: read, line ends not counted.
        unknown: the words that the vocabulary does not have, with their counts.
    """

    lines: int = 0
    words: int = 0
    unknown: Counter[str] = field(default_factory=Counter)

    def describe(self, oov: str) -> str:
        """One line for people: how many words are unknown, and what was done about them."""
        if not self.unknown:
            return f"all {self.words:,} words are known to the model"
        count = self.unknown.total()
        most = [word for word, _ in self.unknown.most_common(_SHOWN_UNKNOWN)]
        more = ", ..." if len(self.unknown) > len(most) else ""
        done = {
            "unk": "they have the surprisal of <unk>; --oov na or skip leaves it out",
            "na": "their surprisals are empty",
            "skip": "they are left out",
        }[oov]
        return (
            f"{count:,} of {self.words:,} words ({count / self.words:.1%}) are unknown to the "
            f"model: {', '.join(most)}{more}; {done}"
        )


def iterate_rows(
    models: Sequence[LanguageModel],
    stimuli: Iterable[Stimulus],
    options: TableOptions,
    frequencies: np.ndarray | None = None,
    summary: Summary | None = None,
) -> Iterator[Row]:
    """Yields the rows of a table.

    Args:
        models: one, or several with the same vocabulary.
        stimuli: the lines.
        options: see `TableOptions`.
        frequencies: of every word of the vocabulary, its share of all tokens of train, ``(V,)``.
        summary: receives what was seen.

    Raises:
        InputError: the vocabularies differ, or a text cannot be split into words.
    """
    vocabulary = models[0].vocabulary
    for model in models[1:]:
        if model.vocabulary.to_json() != vocabulary.to_json():
            raise InputError(
                "--also: the runs do not have the same vocabulary, so their words cannot be put "
                "side by side; give runs of one corpus, such as runs with other seeds"
            )
    summary = Summary() if summary is None else summary
    readers = [
        LineReader(model.network, model.vocabulary, carry=options.carry, adapt=options.adapt)
        for model in models
    ]
    waiting: _Line | None = None
    for number, stimulus in enumerate(stimuli, 1):
        text = stimulus.text
        if sign := options.region_sign:
            text = text.replace(sign, " " * len(sign))
        words = place_words(text, vocabulary, options.tokenised)
        words.append(PlacedWord(vocabulary.words[vocabulary.eos_id], len(text), len(text), -1))
        ids = vocabulary.ids_of(word.word for word in words)
        summary.lines += 1
        summary.words += len(words) - 1
        summary.unknown.update(
            word.word for word, one in zip(words, ids, strict=True) if one == vocabulary.unk_id
        )
        measures = [reader.read(ids) for reader in readers]
        line = _Line(number, stimulus, words, ids, measures)
        if waiting is not None:
            after = [found.entropy[0] for found in measures] if options.carry else None
            yield from _rows(waiting, after, options, frequencies, vocabulary.unk_id)
        waiting = line
    if waiting is not None:
        yield from _rows(waiting, None, options, frequencies, vocabulary.unk_id)


@dataclass(frozen=True)
class _Line:
    """A line that was read; the last word is its line end."""

    number: int
    stimulus: Stimulus
    words: list[PlacedWord]
    ids: list[int]
    measures: list[LineMeasures]  # of every model


def _rows(
    line: _Line,
    entropies_after: Sequence[float] | None,
    options: TableOptions,
    frequencies: np.ndarray | None,
    unk_id: int,
) -> Iterator[Row]:
    """Yields the rows of one line; ``entropies_after`` are those of the word after its end."""
    *words, end = line.words
    if options.by == "word":
        groups = by_typed_word(words, line.stimulus.text, joins_marks=options.joins_marks)
    elif options.by == "region":
        groups = by_region(words, line.stimulus.text, options.region_sign)
    else:
        groups = by_token(words)
    groups.append(Group(end.word, end.start, end.end, (len(words),)))
    after = entropies_after or [math.nan] * len(line.measures)
    entropies = [
        np.append(found.entropy, last) for found, last in zip(line.measures, after, strict=True)
    ]
    for number, group in enumerate(groups, 1):
        members = list(group.members)
        known = [at for at in members if line.ids[at] != unk_id]
        is_known = len(known) == len(members)
        if not is_known and options.oov == "skip" and options.by != "region":
            continue
        summed = known if options.oov == "skip" else members
        if options.oov == "na" and not is_known:
            summed = []
        values = [
            _measures(found, entropy, members, summed)
            for found, entropy in zip(line.measures, entropies, strict=True)
        ]
        scale = np.array([1, 1, 1, math.log(options.base)]) / math.log(options.base)
        table = np.array(values) * scale  # (runs, measures)
        frequency = None
        if frequencies is not None and is_known and members:
            frequency = _log_frequency(line, members, frequencies, options.base)
        surprisal, entropy, entropy_reduction, rank = map(_cell, table.mean(0))
        yield Row(
            line.number,
            number,
            group.text,
            surprisal,
            entropy,
            entropy_reduction,
            rank,
            frequency,
            is_known,
            group.start,
            group.end,
            tuple(map(_cell, table.std(0, ddof=1))) if len(table) > 1 else (),
            line.stimulus.cells,
        )


def _measures(
    found: LineMeasures, entropies: np.ndarray, members: Sequence[int], summed: Sequence[int]
) -> tuple[float, float, float, float]:
    """Returns surprisal, entropy, entropy reduction (nats) and rank of a group; NaN for none.

    Args:
        found: of the line, of one model.
        entropies: of every word of the line and of the word after it.
        members: the positions of the group's words.
        summed: those of them that have a surprisal.
    """
    surprisal = float(found.nll[list(summed)].sum()) if summed else math.nan
    rank = float(found.rank[summed[0]]) if len(members) == len(summed) == 1 else math.nan
    if not members:
        return surprisal, math.nan, math.nan, rank
    first, last = members[0], members[-1]
    return surprisal, entropies[first], entropies[first] - entropies[last + 1], rank


def _log_frequency(
    line: _Line, members: Sequence[int], frequencies: np.ndarray, base: float
) -> float | None:
    words = [at for at in members if any(map(str.isalnum, line.words[at].word))] or members
    share = min(float(frequencies[line.ids[at]]) for at in words)
    return math.log(share) / math.log(base) if share > 0 else None


def _cell(value: float) -> float | None:
    return None if math.isnan(value) else float(value)


def column_names(columns: Sequence[str], runs: int = 1) -> list[str]:
    """Returns the names of all columns of a table.

    Args:
        columns: of the input.
        runs: how many models were asked.
    """
    return unused_names([*COLUMNS, *(f"{name}_sd" for name in MEASURES if runs > 1)], columns)


def unused_names(ours: Sequence[str], columns: Iterable[str]) -> list[str]:
    """Returns our names, then those of an input's columns; ``input_`` is put before a taken one."""
    names = list(ours)
    for column in columns:
        while not column or column in names:
            column = f"input_{column}"
        names.append(column)
    return names


def write_tsv(names: Sequence[str], rows: Iterable[Row]) -> Iterator[str]:
    """Yields the lines of a table as text, the names of its columns first."""
    return tsv_lines(names, map(_cells, rows))


def _cells(row: Row) -> list[object]:
    rank = row.rank if row.rank is None or row.rank % 1 else int(row.rank)
    return [
        row.sentence_id,
        row.token_id,
        row.token,
        row.surprisal,
        row.entropy,
        row.entropy_reduction,
        rank,
        row.log_frequency,
        "true" if row.known else "false",
        row.start,
        row.end,
        *row.deviations,
        *row.cells,
    ]


def tsv_lines(names: Sequence[str], rows: Iterable[Sequence[object]]) -> Iterator[str]:
    """Yields the lines of a TSV file, the names first; None is an empty cell."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, delimiter="\t", lineterminator="\n")
    for cells in chain([names], rows):
        writer.writerow(cells)
        yield buffer.getvalue()
        buffer.seek(0)
        buffer.truncate()
