r"""Reads the items of a test suite of SyntaxGym, a ``.json`` file.

Such a file has predictions and items. An item has the same sentence in several conditions, divided
into regions::

    {"meta": {"name": "number", "metric": "sum"},
     "predictions": [{"type": "formula", "formula": "(2;%plural%) < (2;%singular%)"}],
     "items": [{"item_number": 1, "conditions": [
         {"condition_name": "plural", "regions": [
             {"region_number": 1, "content": "The keys"},
             {"region_number": 2, "content": "are"}]},
         {"condition_name": "singular", "regions": [
             {"region_number": 1, "content": "The keys"},
             {"region_number": 2, "content": "is"}]}]}]}

Each item is asked each prediction: is it true of the surprisals? See `formula`.

Source: Gauthier et al. 2020, SyntaxGym, https://aclanthology.org/2020.acl-demos.10
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from lstm_lm.errors import InputError
from lstm_lm.probes.formats import is_utf8
from lstm_lm.probes.formula import WHOLE_SENTENCE, Formula, parse_formula
from lstm_lm.probes.items import Item, RegionQuestion

METRIC = "sum"  # how the surprisals of a region's words become one number
MAX_CHARACTERS = 2**26  # the file is in memory as a whole


def iterate_syntaxgym(lines: Iterator[tuple[int, str]], name: str) -> Iterator[Item]:
    """Yields an item for each item of the file and each of its predictions.

    Args:
        lines: number and text of every line.
        name: what a message calls the file.

    Raises:
        InputError: the file is not a suite of SyntaxGym, or has a prediction that is not
            supported.
    """
    suite = _read_json(lines, name)
    formulas = _read_formulas(suite, name)
    numbers: set[str] = set()
    for place, row in enumerate(suite["items"], start=1):
        number = str(row.get("item_number", place) if isinstance(row, dict) else place)
        problem = "this item_number occurs twice; give every item its own" * (number in numbers)
        numbers.add(number)
        sentences = {}
        try:
            sentences = _read_sentences(row)
        except ValueError as error:
            problem = str(error)
        for which, formula in enumerate(formulas, start=1):
            several = len(formulas) > 1
            yield Item(
                f"{number}.{which}" if several else number,
                "",
                formula.text,
                group=f"prediction {which}" if several else "",
                problem=problem or _missing_region(formula, sentences),
                regions=RegionQuestion(formula, sentences),
            )


def _read_json(lines: Iterator[tuple[int, str]], name: str) -> dict[str, Any]:
    texts, size = [], 0
    for _, line in lines:
        texts.append(line)
        size += len(line) + 1
        if size > MAX_CHARACTERS:
            raise InputError(
                f"{name}: has more than {MAX_CHARACTERS:,} characters; divide its items into "
                "several files"
            )
    try:
        suite = json.loads("\n".join(texts))
    except (ValueError, RecursionError) as error:
        at = f"line {error.lineno}: " if isinstance(error, json.JSONDecodeError) else ""
        raise InputError(f"{name}, {at}not JSON; a .json suite is a file of SyntaxGym") from None
    lists = isinstance(suite, dict) and all(
        isinstance(suite.get(key), list) and suite[key] for key in ("predictions", "items")
    )
    if not lists:
        raise InputError(
            f"{name}: needs a list of predictions and a list of items, as the files of SyntaxGym "
            "have; a file with one question per line ends in .jsonl"
        )
    meta = suite.get("meta")
    metric = meta.get("metric", METRIC) if isinstance(meta, dict) else METRIC
    if METRIC not in (metric if isinstance(metric, list) else [metric]):
        raise InputError(
            f'{name}: meta.metric is {metric!r}; must be "{METRIC}": surprisals are summed over '
            "the words of a region"
        )
    return suite


def _read_formulas(suite: dict[str, Any], name: str) -> list[Formula]:
    formulas = []
    for which, prediction in enumerate(suite["predictions"], start=1):
        text = prediction.get("formula") if isinstance(prediction, dict) else prediction
        if not isinstance(text, str) or not is_utf8(text):
            raise InputError(f"{name}, prediction {which}: has no formula; give it one as a string")
        try:
            formulas.append(parse_formula(text))
        except ValueError as error:
            raise InputError(f"{name}, prediction {which}: {text[:80]!r} {error}") from None
    return formulas


def _read_sentences(row: Any) -> dict[str, dict[str, str]]:
    """Returns the regions of an item: condition -> number of each region -> its text.

    Raises:
        ValueError: the item has a mistake.
    """
    sentences = {}
    try:
        for condition in row["conditions"]:
            regions = sorted(condition["regions"], key=lambda region: int(region["region_number"]))
            sentences[condition["condition_name"].strip()] = {
                str(int(region["region_number"])): region["content"] for region in regions
            }
    except (KeyError, TypeError, ValueError, AttributeError):
        raise ValueError(
            "needs conditions, each with condition_name and regions, each with region_number and "
            "content"
        ) from None
    texts = [text for regions in sentences.values() for text in regions.values()]
    if not all(isinstance(text, str) and is_utf8(text) for text in texts):
        raise ValueError("the content of a region is not a text")
    return sentences


def _missing_region(formula: Formula, sentences: dict[str, dict[str, str]]) -> str:
    """What a formula asks for and an item does not have; empty if it has everything."""
    for term in sorted(formula.terms, key=lambda term: (term.condition, term.region)):
        if term.condition not in sentences:
            return f"condition {term.condition!r} is missing; the prediction asks for it"
        if term.region != WHOLE_SENTENCE and term.region not in sentences[term.condition]:
            return (
                f"condition {term.condition!r} has no region {term.region}; the prediction asks "
                "for it"
            )
    return ""
