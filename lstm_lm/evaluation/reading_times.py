"""Do a model's surprisals predict how long people read? The gain in log-likelihood of a regression.

The table has a row for every word, or for every word and reader, with these columns; others are
kept:

- ``item``: the sentence or text that the word is in; any name;
- ``position``: the number of the word in its item, from 1. All words must be there;
- ``word``: as it was shown, with its punctuation;
- ``time``: how long it was read, such as milliseconds; empty or ``NA`` if it was not measured;
- ``log_frequency``: optional. It replaces the frequencies in the model's own corpus.

Each item is read from a zero state. Two linear regressions predict the time, both with an
intercept. The baseline knows length and log frequency of the word and of the last one. The other
one also knows the surprisal of both. Surprisals are in bits, and so are log frequencies of the
corpus; the length is in characters. Each is fitted to nine tenths of the items and tested on the
rest, ten times (with fewer items: on each item once). The gain is the mean difference of the
log-likelihoods of a measured time, in nats. Words without a time, the first word of an item, and
words that are unknown to the model, or follow an unknown one, are left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from lstm_lm.corpus.formats import missing_column
from lstm_lm.corpus.readers import iterate_table_rows
from lstm_lm.corpus.stimuli import TABLES, Stimulus
from lstm_lm.corpus.text_files import find_files
from lstm_lm.errors import InputError
from lstm_lm.evaluation.regression import Regression, fit, held_out_log_likelihoods, mean_and_error
from lstm_lm.evaluation.surprisal_table import TableOptions, iterate_rows
from lstm_lm.model.language_model import LanguageModel

NEEDED = ("item", "position", "word", "time")
BASELINE = ("length", "length_last", "log_frequency", "log_frequency_last")
SURPRISALS = ("surprisal", "surprisal_last")
JOINED = ("surprisal", "surprisal_last", "length", "length_last", *BASELINE[2:], "used")
FOLDS = 10
_MISSING = ("", "NA", "NaN", "nan")
_SIGN = "\t"  # stands between two words of an item


@dataclass(frozen=True)
class Measurement:
    """A row of the table.

    Attributes:
        item: its name.
        position: of the word in the item, from 1.
        word: as it was shown.
        time: None if it was not measured.
        log_frequency: of the table; None if it has none.
        cells: all cells of the row.
    """

    item: str
    position: int
    word: str
    time: float | None
    log_frequency: float | None
    cells: tuple[str, ...]


@dataclass(frozen=True)
class WordMeasures:
    """What a model says about a word of an item.

    Attributes:
        surprisal: in bits.
        log_frequency: in bits; None if it is not known.
        known: whether the vocabulary has all of the word.
    """

    surprisal: float
    log_frequency: float | None
    known: bool


@dataclass(frozen=True)
class ReadingTimes:
    """What `compare` returns.

    Attributes:
        words: measurements that were used.
        items: of them.
        folds: of the cross-validation.
        left_out: why measurements were not used -> how many.
        gain: mean difference of the held-out log-likelihoods, in nats for each measurement.
        standard_error: of the gain, items being independent of each other.
        baseline: mean held-out log-likelihood of the baseline, in nats.
        regression: with all predictors, fitted to all measurements.
        predictors: the names of its coefficients.
    """

    words: int
    items: int
    folds: int
    left_out: Mapping[str, int]
    gain: float
    standard_error: float
    baseline: float
    regression: Regression
    predictors: tuple[str, ...]


def read_measurements(name: str) -> tuple[list[str], list[Measurement]]:
    """Reads a table; returns the names of its columns, and its rows.

    Raises:
        CorpusError: the file cannot be read, or a column is missing.
        InputError: it is no .tsv or .csv file, or a cell is not what it must be.
    """
    files = find_files(name)
    if len(files) != 1 or files[0].format not in TABLES:
        raise InputError(f"--file: {name} must be one .tsv or .csv file with words and their times")
    rows = iterate_table_rows(files[0], "word")
    header = next(rows)
    for column in NEEDED:
        if column not in header:
            raise missing_column(column, name, header, "--file")
    places = {column: header.index(column) for column in header}
    found = []
    for number, row in enumerate(rows, 1):
        where = f"{name}, row {number}"
        cells = {column: row[place].strip() for column, place in places.items()}
        position = _number(cells["position"], f"{where}: position")
        if position is None or position < 1 or position % 1:
            raise InputError(
                f"{where}: position: found {cells['position']!r}, must be a whole number from 1"
            )
        if not cells["word"]:
            raise InputError(f"{where}: word: is empty; give the word as it was shown")
        frequency = cells.get("log_frequency", "")
        found.append(
            Measurement(
                cells["item"],
                int(position),
                " ".join(cells["word"].split()),
                _number(cells["time"], f"{where}: time"),
                _number(frequency, f"{where}: log_frequency"),
                tuple(row),
            )
        )
    return header, found


def _number(cell: str, where: str) -> float | None:
    if cell in _MISSING:
        return None
    try:
        value = float(cell)
    except ValueError:
        value = np.nan
    if not np.isfinite(value):
        raise InputError(f"{where}: found {cell!r}, must be a number, or empty")
    return value


def measure_words(
    model: LanguageModel, measurements: Iterable[Measurement], frequencies: np.ndarray | None
) -> dict[tuple[str, int], WordMeasures]:
    """Returns what a model says about every word, by item and position.

    Args:
        model: the model.
        measurements: of all words.
        frequencies: see `iterate_rows`.

    Raises:
        InputError: a word is missing, or two rows name different words.
    """
    items: dict[str, dict[int, str]] = {}
    for one in measurements:
        words = items.setdefault(one.item, {})
        if words.setdefault(one.position, one.word) != one.word:
            raise InputError(
                f"item {one.item!r}, position {one.position}: found {words[one.position]!r} and "
                f"{one.word!r}; rows of one item and position must have the same word"
            )
    for item, words in items.items():
        missing = next(at for at in range(1, len(words) + 2) if at not in words)
        if missing <= len(words):
            raise InputError(
                f"item {item!r}: position {missing} is missing; give every word of the text, and "
                "leave its time empty if none was measured"
            )
    stimuli = (
        Stimulus(_SIGN.join(words[at] for at in range(1, len(words) + 1)))
        for words in items.values()
    )
    options = TableOptions(by="region", region_sign=_SIGN)
    names = list(items)
    return {
        (names[row.sentence_id - 1], row.token_id): WordMeasures(
            row.surprisal or 0.0, row.log_frequency, row.known and row.surprisal is not None
        )
        for row in iterate_rows([model], stimuli, options, frequencies)
    }


def join(
    measurements: Sequence[Measurement], words: Mapping[tuple[str, int], WordMeasures]
) -> tuple[np.ndarray, list[str]]:
    """Joins a model's measures to measured times.

    Args:
        measurements: the rows of the table.
        words: of `measure_words`.

    Returns:
        `BASELINE` and `SURPRISALS` of every row, ``(N, 6)``, NaN where there is none; and why each
        row cannot be used, empty if it can.
    """
    own = {(one.item, one.position): one for one in measurements}
    table, reasons = np.full((len(measurements), len(BASELINE + SURPRISALS)), np.nan), []
    for at, one in enumerate(measurements):
        for last in (0, 1):
            key = (one.item, one.position - last)
            if key not in own:
                continue
            found = words[key]
            in_table = own[key].log_frequency
            frequency = found.log_frequency if in_table is None else in_table
            table[at, last] = len(own[key].word)
            table[at, 2 + last] = np.nan if frequency is None else frequency
            table[at, 4 + last] = found.surprisal if found.known else np.nan
        if one.time is None:
            reason = "without a time"
        elif one.position == 1:
            reason = "first word of an item"
        elif np.isnan(table[at, 4:]).any():
            reason = "unknown to the model, or after an unknown word"
        elif np.isnan(table[at]).any():
            reason = "without a frequency"
        else:
            reason = ""
        reasons.append(reason)
    return table, reasons


def compare(
    measurements: Sequence[Measurement], table: np.ndarray, reasons: Sequence[str]
) -> ReadingTimes:
    """Compares the regression with surprisals to the baseline.

    Args:
        measurements: the rows of the table.
        table: of `join`.
        reasons: of `join`.

    Raises:
        InputError: there are too few items or measurements.
    """
    used = [at for at, reason in enumerate(reasons) if not reason]
    left_out: dict[str, int] = {}
    for reason in filter(None, reasons):
        left_out[reason] = left_out.get(reason, 0) + 1
    numbers = {
        name: at for at, name in enumerate(dict.fromkeys(measurements[at].item for at in used))
    }
    if len(numbers) < 2:
        why = "; ".join(f"{count:,} {reason}" for reason, count in left_out.items())
        raise InputError(
            f"--file: {len(numbers)} items have words that can be used, must be at least 2"
            + (f" (left out: {why})" if why else "")
        )
    items = np.array([numbers[measurements[at].item] for at in used])
    times = np.array([measurements[at].time for at in used], dtype=np.float64)
    everything = np.column_stack([np.ones(len(used)), table[used]])
    baseline = everything[:, : 1 + len(BASELINE)]
    folds = min(FOLDS, len(numbers))
    alone = held_out_log_likelihoods(baseline, times, items % folds)
    both = held_out_log_likelihoods(everything, times, items % folds)
    gain, error = mean_and_error(both - alone, items)
    return ReadingTimes(
        len(used),
        len(numbers),
        folds,
        left_out,
        gain,
        error,
        float(alone.mean()),
        fit(everything, times),
        ("intercept", *BASELINE, *SURPRISALS),
    )
