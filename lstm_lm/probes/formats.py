"""Reads the items of a suite from the lines of a ``.tsv``, ``.jsonl`` or ``.txt`` file.

`lstm_lm.probes.suites` describes the formats. An item with a mistake is returned with its
`problem`, so that one bad line among many does not keep the others from being asked. A file whose
first line cannot be its header is refused.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping

from lstm_lm.corpus.typed_text import natural_words
from lstm_lm.errors import InputError
from lstm_lm.probes.items import Item

COLUMNS = ("id", "prefix", "target", "foil", "distance", "group", "pair", "clue", "question")
REQUIRED = COLUMNS[:3]
SENTENCE_COLUMNS = ["sentence_good", "sentence_bad"]
MAX_DISTANCE = 10**9
MAX_WORD_LENGTH = 1000  # characters of a last word; the marks of a longer one are left
# Words that end a sentence. They are not asked for as a text's last word.
_END_MARKS = {".", "!", "?", "...", '"', "'", "''", ")", "]", "»", "。"}


def mistake(name: str, line: int, problem: str) -> InputError:
    """The error for a line of a suite."""
    return InputError(f"{name}, line {line}: {problem}")


def iterate_tsv(lines: Iterator[tuple[int, str]], name: str) -> Iterator[Item]:
    """Yields the items of a .tsv file.

    Args:
        lines: number and text of every line.
        name: what a message calls the file.

    Raises:
        InputError: the header has a mistake.
    """
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
        yield _parse_row(columns, cells, number) if columns else _parse_sentences(cells, number)


def _read_header(cells: list[str], name: str, number: int) -> list[str]:
    """Returns the columns of a file's first line; none if it has two sentences per line."""
    cells = [cell.strip() for cell in cells]
    if not set(cells) & set(COLUMNS):
        if len(cells) == 2:
            return []
        problem = (
            f"found no header, and {len(cells)} cells separated by tabs; the first line must be "
            f"the header {' '.join(COLUMNS)} (the first three are needed), or every line must have "
            "two sentences"
        )
        raise mistake(name, number, problem)
    for cell in cells:
        if cell not in COLUMNS or cells.count(cell) > 1:
            what = "occurs twice" if cell in COLUMNS else "is not a column"
            problem = f"header: {cell!r} {what}; the columns are {' '.join(COLUMNS)}"
            raise mistake(name, number, f"{problem}, separated by tabs")
    for column in REQUIRED:
        if column not in cells:
            problem = f"header: column {column} is missing; {', '.join(REQUIRED)} are required"
            raise mistake(name, number, f"{problem}, separated by tabs")
    return cells


def _parse_row(columns: list[str], cells: list[str], number: int) -> Item:
    row = {column: cell.strip() for column, cell in zip(columns, cells, strict=False)}
    problem = _problem_of(row)
    if len(cells) > len(columns):
        problem = (
            f"found {len(cells)} cells, but the header has {len(columns)}; "
            "a cell cannot contain a tab"
        )
    distance = row.get("distance", "")
    return Item(
        row.get("id", ""),
        row.get("prefix", ""),
        row.get("target", ""),
        row.get("foil", ""),
        int(distance) if distance and _is_distance(distance) else None,
        row.get("group", ""),
        row.get("pair", ""),
        number,
        problem,
        clue=row.get("clue", ""),
        question=row.get("question", ""),
    )


def _problem_of(row: Mapping[str, str]) -> str:
    """Why a row cannot be asked; empty if it can."""
    for column in REQUIRED:
        if not row.get(column):
            return f"{column} is empty; every item needs {', '.join(REQUIRED)}"
    distance = row.get("distance", "")
    if distance and not _is_distance(distance):
        return (
            f"distance is {distance[:40]!r}; it must be a number of words from 0 to "
            f"{MAX_DISTANCE}, or empty"
        )
    for column in ("target", "foil"):
        words = row.get(column, "").split()
        if len(words) > 1:
            return f"{column} {' '.join(words)[:60]!r} has {len(words)} words; give one"
    if row["target"] == row.get("foil"):
        return f"target and foil are both {row['target']!r}; give two different words"
    clue, question = row.get("clue", ""), row.get("question", "")
    if question and not clue:
        return "question is given without clue; give both, or neither"
    is_inside = row["prefix"].startswith(clue) and row["prefix"].endswith(question)
    if not is_inside or len(clue) + len(question) > len(row["prefix"]):
        return "the prefix must begin with the clue and end with the question"
    return ""


def _is_distance(text: str) -> bool:
    is_number = text.isascii() and text.isdecimal() and len(text) <= len(str(MAX_DISTANCE))
    return is_number and int(text) <= MAX_DISTANCE


def _parse_sentences(cells: list[str], number: int, group: str = "") -> Item:
    sentences = [cell.strip() for cell in cells if cell.strip()]
    problem = ""
    if len(cells) != 2 or len(sentences) != 2:
        problem = (
            f"found {len(sentences)} sentences; give two, separated by a tab, the better one first"
        )
    elif sentences[0] == sentences[1]:
        problem = "the two sentences are the same; give two different ones"
    better, other, *_ = *sentences, "", ""
    return Item(str(number), "", better, other, group=group, line=number, problem=problem)


def _parse_last_word(text: str, number: int) -> Item:
    """Asks for the last word of a text, without the marks that end its sentence."""
    prefix, word = text.rstrip(), ""
    while prefix and not word:
        *before, last = prefix.rsplit(maxsplit=1)
        prefix = before[0].rstrip() if before else ""
        word = _without_end_marks(last)
    if not prefix or not word:
        problem = f"found one word, {text.strip()[:60]!r}; the last word needs words before it"
        return Item(str(number), prefix, word, line=number, problem=problem)
    return Item(str(number), prefix.strip(), word, line=number)


def _without_end_marks(chunk: str) -> str:
    """A chunk without the marks at its end: ``cat."`` is ``cat``; ``U.S.`` and ``Mr.`` stay."""
    if len(chunk) > MAX_WORD_LENGTH:
        return chunk
    words = natural_words(chunk)
    while chunk and words and words[-1] in _END_MARKS:
        chunk = chunk[:-1]
        words = natural_words(chunk)
    return chunk


def iterate_text(lines: Iterator[tuple[int, str]], name: str) -> Iterator[Item]:
    """Yields the items of a .txt file; arguments as in `iterate_tsv`."""
    for number, line in lines:
        if not line.strip():
            continue
        item = _parse_last_word(line, number)
        if "\t" in line:
            problem = "found a tab; the name of a suite with cells separated by tabs ends in .tsv"
            item = Item(str(number), "", "", line=number, problem=problem)
        yield item


def iterate_json_lines(lines: Iterator[tuple[int, str]], name: str) -> Iterator[Item]:
    """Yields the items of a .jsonl file; arguments as in `iterate_tsv`."""
    for number, line in lines:
        if line.strip():
            yield _parse_object(line, number)


def _parse_object(line: str, number: int) -> Item:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        problem = f"not JSON, found {line[:40]!r}; write one object per line"
        return Item(str(number), "", "", line=number, problem=problem)
    if not isinstance(row, dict):
        row = {}
    sentences = [row[key] for key in SENTENCE_COLUMNS if is_text(row.get(key))]
    if len(sentences) == 2:
        group = row.get("UID")
        return _parse_sentences(sentences, number, group if isinstance(group, str) else "")
    if not sentences and is_text(row.get("text")):
        return _parse_last_word(row["text"], number)
    problem = "needs sentence_good and sentence_bad, or text, each a string with words in it"
    return Item(str(number), "", "", line=number, problem=problem)


def is_text(value: object) -> bool:
    """Whether a value is a string with words in it which UTF-8 can encode.

    JSON can contain one half of a surrogate pair, which is not a character.
    """
    return isinstance(value, str) and bool(value.strip()) and is_utf8(value)


def is_utf8(text: str) -> bool:
    """Whether UTF-8 can encode a string of JSON."""
    return not any("\ud800" <= character <= "\udfff" for character in text)
