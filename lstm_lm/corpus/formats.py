"""Reads the documents of a table: the rows of .csv, .tsv, .jsonl and .parquet files.

Files are streamed: the memory used is a few times the longest row, whatever the file's size.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice
from typing import TYPE_CHECKING, Any, BinaryIO

from lstm_lm.errors import CorpusError

if TYPE_CHECKING:
    from pyarrow import Array

_ROWS_AT_A_TIME = 1024
_MAX_FIELD_LENGTH = 2**28  # characters of a cell of .csv
_SAMPLED_LINES = 200
_MAX_COLUMNS_NAMED = 20


def split_row(text: str | None) -> list[str]:
    """Splits a row of a table into lines.

    One line end at the end of the row is left out: ``"a"`` and ``"a\\n"`` are one line, ``"a\\nb"``
    is two. ``""`` and null are one blank line.
    """
    if text is None:
        return [""]
    if "\n" not in text:  # most rows
        return [text[:-1] if text.endswith("\r") else text]
    if text.endswith("\n"):
        text = text[:-1]
    return [line[:-1] if line.endswith("\r") else line for line in text.split("\n")]


COLUMN_SETTING = "corpus.text_column"


def missing_column(
    column: str, where: str, columns: Sequence[str], setting: str = COLUMN_SETTING
) -> CorpusError:
    """Returns the error for a table without the column that `setting` names."""
    shown = [repr(name if len(name) < 40 else f"{name[:39]}…") for name in columns]
    found = ", ".join(shown[:_MAX_COLUMNS_NAMED]) or "none"
    more = f" and {len(shown) - _MAX_COLUMNS_NAMED} more" if len(shown) > _MAX_COLUMNS_NAMED else ""
    return CorpusError(
        f"{setting}: {where} has no column {column!r}; it has {found}{more}; name the one with "
        "the text"
    )


def check_text_column(
    columns: dict[str, Any], text_column: str, where: str, setting: str = COLUMN_SETTING
) -> None:
    """Checks that a table has a column of strings.

    Args:
        columns: name of every column -> its Arrow type.
        text_column: the name of the column.
        where: the file or data set, for the message.
        setting: what gave the name; a message begins with it.

    Raises:
        CorpusError: the column is missing or holds something else.
    """
    if text_column not in columns:
        raise missing_column(text_column, where, list(columns), setting)
    # such as large_string, string_view or dictionary<values=string, indices=int32, ordered=0>
    if not re.match(r"(dictionary<values=)?(large_)?string(_view)?\b", str(columns[text_column])):
        raise CorpusError(
            f"{setting}: column {text_column!r} of {where} holds {columns[text_column]}, "
            "not text; name a column of strings"
        )


def iterate_jsonl(
    lines: Iterable[str], column: str, name: str, setting: str = COLUMN_SETTING
) -> Iterator[str | None]:
    """Yields the texts of a file with one JSON value per line; blank lines are left out.

    Args:
        lines: of the file. A line is an object with the column, or a string, which is the text.
        column: the key of the text.
        name: what a message calls the file.
        setting: what gave the column's name; a message begins with it.

    Raises:
        CorpusError: a line is not JSON, has no such key, or its value is not a text.
    """
    decoder = json.JSONDecoder()
    for number, line in enumerate(lines, 1):
        try:
            value, end = decoder.raw_decode(line)
            if end != len(line):
                value = decoder.decode(line)  # allows white space at the end
        except (ValueError, RecursionError) as error:
            if not line.strip():
                continue
            try:
                value = decoder.decode(line)  # allows white space at the beginning
            except (ValueError, RecursionError):
                raise CorpusError(_not_jsonl(line, number, name, error)) from error
        what = "the line"
        if isinstance(value, dict):
            if column not in value:
                raise missing_column(column, f"{name}, line {number},", list(value), setting)
            value, what = value[column], f"column {column!r}"
        if isinstance(value, str):
            yield _without_surrogates(value) if "\\u" in line else value
        elif value is None:
            yield None
        else:
            raise CorpusError(
                f"{setting}: {name}, line {number}: {what} holds "
                f"{_JSON_NAMES[type(value)]}, not text; name a column of strings"
            )


_JSON_NAMES = {bool: "true or false", int: "a number", float: "a number", list: "a list"} | {
    dict: "an object"
}


def _not_jsonl(line: str, number: int, name: str, error: Exception) -> str:
    """Says why a line is not JSON, and what to do."""
    start = line.lstrip()[:1]
    if number == 1 and start in ("[", "{") and line.strip() in ("[", "{", "[{", "[ {"):
        return (
            f"{name} is one JSON document over several lines; write one object on each line, for "
            "example with: jq -c '.[]'"
        )
    reason = str(error).partition(":")[0]
    return f"{name}, line {number}: not JSON ({reason}); each line must be an object such as " + (
        '{"text": "..."}'
    )


_HALF_CHARACTER = re.compile("[\ud800-\udfff]")


def _without_surrogates(text: str) -> str:
    """Returns a text with U+FFFD for halves of a character, such as the rest of a cut emoji."""
    return _HALF_CHARACTER.sub("\ufffd", text)


def iterate_csv(
    lines: Iterable[str], column: str, name: str, is_tsv: bool, setting: str = COLUMN_SETTING
) -> Iterator[str]:
    """Yields the texts of a .csv or .tsv file, whose first line names the columns.

    A .csv file is separated by commas, semicolons, tabs or bars, whichever its first line has, and
    texts may be in double quotes. A .tsv file is separated by tabs; a double quote is an ordinary
    character there, unless the fields of the first lines are quoted as in .csv.

    Args:
        lines: of the file, without their line ends.
        column: the name of the column with the text.
        name: what a message calls the file.
        is_tsv: whether it is a .tsv file.
        setting: what gave the column's name; a message begins with it.

    Raises:
        CorpusError: there is no such column, or a row has fewer or more fields than the first.
    """
    rows = iterate_csv_rows(lines, column, name, is_tsv, setting)
    place = next(rows).index(column)
    for row in rows:
        yield row[place]


def iterate_csv_rows(
    lines: Iterable[str], column: str, name: str, is_tsv: bool, setting: str = COLUMN_SETTING
) -> Iterator[list[str]]:
    """Yields the names of the columns of a .csv or .tsv file, and then its rows.

    Arguments, format and errors are those of `iterate_csv`. Blank lines are left out.
    """
    iterator = iter(lines)
    sample = list(islice(iterator, _SAMPLED_LINES))
    delimiter = "\t" if is_tsv else _delimiter(sample[0] if sample else "", column)
    is_quoted = not is_tsv or _has_quoted_fields(sample)
    csv.field_size_limit(_MAX_FIELD_LENGTH)
    rows = csv.reader(
        (f"{line}\n" for line in chain(sample, iterator)),
        delimiter=delimiter,
        quoting=csv.QUOTE_MINIMAL if is_quoted else csv.QUOTE_NONE,
        strict=True,
    )
    header: list[str] = []
    try:
        header = [cell.strip() for cell in next(rows, [])]
        if column not in header:
            raise missing_column(column, name, header, setting)
        yield header
        for row in rows:
            if len(row) == len(header):
                yield row
            elif row:
                raise CorpusError(
                    f"{name}, line {rows.line_num}: {len(row)} fields, the first line has "
                    f"{len(header)}; put texts that have {_SEPARATORS[delimiter]} in double quotes"
                )
    except csv.Error as error:
        remedy = "close the double quotes of its texts, and write a quote inside a text twice"
        raise CorpusError(
            f"{name}, line {rows.line_num}: not {'TSV' if is_tsv else 'CSV'} ({error}); {remedy}"
        ) from error


_SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}


def _delimiter(header: str, column: str) -> str:
    """Returns what separates the fields of a .csv file, by its first line."""
    fields = {sign: next(csv.reader([header], delimiter=sign), []) for sign in _SEPARATORS}
    with_column = [sign for sign, names in fields.items() if column in map(str.strip, names)]
    return max(with_column or fields, key=lambda sign: len(fields[sign]))


def _has_quoted_fields(sample: Sequence[str]) -> bool:
    """Returns whether fields of a .tsv file are quoted as in .csv.

    That is so if only then all rows have as many fields as the first one, or if every field that
    begins with a quote ends with one and some have doubled quotes inside.
    """
    rows = [line.split("\t") for line in sample if line]
    if any(len(row) != len(rows[0]) for row in rows):
        lines = (f"{line}\n" for line in sample)
        quoted_rows = [row for row in csv.reader(lines, delimiter="\t") if row]
        # the sample may end inside the last row
        return len(quoted_rows) > 2 and all(len(row) == len(rows[0]) for row in quoted_rows[:-1])
    fields = [field for row in rows for field in row if field.startswith('"')]
    quoted = [field for field in fields if len(field) > 1 and field.endswith('"')]
    return 0 < len(fields) == len(quoted) and any('""' in field[1:-1] for field in quoted)


def iterate_parquet(
    stream: BinaryIO, column: str, name: str, setting: str = COLUMN_SETTING
) -> Iterator[str | None]:
    """Yields the texts of a Parquet file.

    Args:
        stream: the file.
        column: the name of the column with the text.
        name: what a message calls the file.
        setting: what gave the column's name; a message begins with it.

    Raises:
        CorpusError: it is not Parquet, the column is missing or holds no text, or a row is not
            UTF-8.
    """
    import pyarrow
    import pyarrow.parquet

    try:
        with pyarrow.parquet.ParquetFile(stream) as file:
            columns = {field.name: field.type for field in file.schema_arrow}
            check_text_column(columns, column, name, setting)
            batches = file.iter_batches(batch_size=_ROWS_AT_A_TIME, columns=[column])
            yield from iterate_column((batch.column(0) for batch in batches), name)
    except (pyarrow.ArrowException, OSError) as error:
        reason = " ".join(str(error).split())
        raise CorpusError(f"{name} cannot be read as Parquet: {reason}") from error


def iterate_column(batches: Iterable[Array], name: str) -> Iterator[str | None]:
    """Yields the texts of a column of strings.

    Args:
        batches: the column, in pieces.
        name: what a message calls the file or data set.

    Raises:
        CorpusError: a row is not UTF-8.
    """
    row = 0
    for batch in batches:
        for text in batch:
            row += 1
            try:
                yield text.as_py()
            except UnicodeDecodeError as error:
                raise CorpusError(
                    f"{name}, row {row}: not UTF-8 (byte 0x{error.object[error.start]:02x}); "
                    "write the file again with UTF-8 strings"
                ) from error
