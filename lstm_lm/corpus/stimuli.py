"""Stimuli: lines of a text, or rows of a table, of which the other columns are kept."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from lstm_lm.corpus.formats import split_row
from lstm_lm.corpus.readers import TextOptions, iterate_lines, iterate_table_rows
from lstm_lm.corpus.text_files import find_files

TABLES = ("csv", "tsv")


@dataclass(frozen=True)
class Stimulus:
    """A line that is read by itself.

    Attributes:
        text: without its line end.
        cells: of its row in the table, one for each of `Stimuli.columns`.
    """

    text: str
    cells: tuple[str, ...] = ()


@dataclass(frozen=True)
class Stimuli:
    """What `read_stimuli` returns.

    Attributes:
        columns: the names of the columns of the table; empty for a text without columns.
        lines: the stimuli; read while they are used.
        note: what is not kept of the file, for people; empty if nothing is lost.
    """

    columns: tuple[str, ...]
    lines: Iterator[Stimulus]
    note: str = ""


def read_stimuli(name: str, text_column: str) -> Stimuli:
    """Reads a file line by line as it stands: no lines are joined, and none is left out.

    Args:
        name: a file, a folder or a pattern. One .csv or .tsv file keeps all its columns.
        text_column: the column of a table that has the text. A row with several lines is as many
            stimuli.

    Raises:
        CorpusError: a file cannot be read, or has no such column.
    """
    files = find_files(name)
    if len(files) == 1 and files[0].format in TABLES:
        rows = iterate_table_rows(files[0], text_column)
        header = next(rows)
        place = header.index(text_column)
        lines = (Stimulus(line, tuple(row)) for row in rows for line in split_row(row[place]))
        return Stimuli(tuple(header), lines)
    tables = [file.name for file in files if file.is_table]
    note = ""
    if tables:
        note = (
            f"{tables[0]}: its other columns are not carried along; give one .csv or .tsv file to "
            "keep them"
        )
    options = TextOptions(text_column)
    return Stimuli((), map(Stimulus, iterate_lines(files, options)), note)
