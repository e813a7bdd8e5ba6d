"""Plain values -> frozen dataclasses: checks every value against its field's type and limits.

This module knows types, sections and keys, but no particular setting. It collects mistakes in a
dict ``problems``, from the dotted key to what is wrong with it, so that all mistakes are reported
at once.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import fields
from functools import cache
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

from lstm_lm.config.corpus_settings import MixedSource
from lstm_lm.config.declaration import AUTO, Numbered, WordCount
from lstm_lm.config.names import suggest, suggest_value
from lstm_lm.config.strict_yaml import MAX_INTEGER, NUMBER, short

MAX_EXACT_FLOAT = 2**53
"""Largest float up to which every integer is exact."""

MAX_NUMBER = 1e38
"""Numbers must be below this, so that they are finite as 32-bit floats too, as the weights are."""


WORD_COUNT = "([0-9]{1,18})([kM])"
"""The pattern of a `WordCount` that is written as text."""

PLAIN_NUMBER = r"([0-9]{1,9}(\.[0-9]{1,17})?|\.[0-9]{1,17})"
"""The pattern of the number of a `Numbered` value."""

_SHORT_COUNT = re.compile(WORD_COUNT)
_types_of = cache(get_type_hints)  # the types of a dataclass's fields, by name


class InvalidValue(Exception):
    """A value that its setting cannot have.

    Attributes:
        faults: what is wrong, as triples (place, found, annotation). The place is ``[2]`` for a
            list's third element and empty for the whole value; found is the value there; the
            annotation is the type that it should have.
    """

    def __init__(self, *faults: tuple[str, Any, Any]) -> None:
        super().__init__(*faults)
        self.faults = faults


def union_members(annotation: Any) -> tuple[Any, ...]:
    """Returns the types of a union such as ``int | None``; any other type alone."""
    is_union = get_origin(annotation) in (Union, UnionType)
    return get_args(annotation) if is_union else (annotation,)


def read_value(value: Any, annotation: Any, limits: Mapping[str, Any]) -> Any:
    """Converts a plain value to the type of its setting.

    A whole number is converted to a float, and an integral float such as `1e5` to an int; nothing
    else is converted.

    Args:
        value: what the file, the command line or a dict gave.
        annotation: bool, int, float, str, a tuple of one of them, or a union of one of them, a
            tuple and None.
        limits: low, high, above, below and choices, see `lstm_lm.config.declaration.setting`.

    Raises:
        InvalidValue: the value has another type, is not finite, or is outside the limits.
    """
    kinds = union_members(annotation)
    if value is None and NoneType in kinds:
        return None
    is_list = isinstance(value, (list, tuple))
    for kind in kinds:
        if kind is not NoneType and is_list == (get_origin(kind) is tuple):
            return (
                _read_list(value, kind, limits)
                if is_list
                else _read_scalar(value, kind, limits, annotation)
            )
    raise InvalidValue(("", value, annotation))


def _read_list(values: Any, kind: Any, limits: Mapping[str, Any]) -> tuple:
    item_kinds = get_args(kind)
    if item_kinds[-1] is Ellipsis:
        item_kinds = item_kinds[:1] * len(values)
    elif len(values) != len(item_kinds):
        raise InvalidValue(("", values, kind))
    items, faults = [], []
    for i, (value, item_kind) in enumerate(zip(values, item_kinds, strict=True)):
        try:
            items.append(_read_scalar(value, item_kind, limits, item_kind))
        except InvalidValue as error:
            faults += [(f"[{i}]", found, expected) for _, found, expected in error.faults]
    if faults:
        raise InvalidValue(*faults)
    return tuple(items)


def _read_scalar(value: Any, kind: type, limits: Mapping[str, Any], annotation: Any) -> Any:
    """Reads a value of one type; `annotation`, the setting's whole type, is for the error."""
    invalid = InvalidValue(("", value, annotation))
    if kind is WordCount:
        kind, value = int, _whole_number(value)
    if kind is Numbered:
        return _read_numbered(value, limits["choices"], invalid)
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if kind is int and is_number:
        is_exact = isinstance(value, int) or (value.is_integer() and abs(value) <= MAX_EXACT_FLOAT)
        if not is_exact or abs(value) > MAX_INTEGER:
            raise invalid
        result: Any = int(value)
    elif kind is float and is_number:
        if not abs(value) < MAX_NUMBER:  # true of NaN too
            raise invalid
        result = float(value)
    elif kind is bool and isinstance(value, bool):
        result = value
    elif kind is str and isinstance(value, str) and value.strip() and _is_writable(value):
        result = value
    elif kind is MixedSource and isinstance(value, MixedSource):
        return value
    else:
        raise invalid
    outside = (
        limits.get("low") is not None and result < limits["low"],
        limits.get("high") is not None and result > limits["high"],
        limits.get("above") is not None and result <= limits["above"],
        limits.get("below") is not None and result >= limits["below"],
        limits.get("choices") is not None and result not in limits["choices"],
    )
    if any(outside):
        raise invalid
    return result


def _read_numbered(value: Any, choices: Sequence[str], invalid: InvalidValue) -> str:
    """Returns a choice, or one with another number: ``last`` or ``last:0.2`` for ``last:0.15``."""
    if value in choices:
        return str(value)
    for choice in choices:
        name, colon, _ = choice.partition(":")
        if colon and value == name:
            return choice
        if colon and isinstance(value, str) and re.fullmatch(f"{name}:{PLAIN_NUMBER}", value):
            return value
    raise invalid


def _whole_number(value: Any) -> Any:
    """Returns ``1000000`` for ``1M``; everything else as it is."""
    found = _SHORT_COUNT.fullmatch(value) if isinstance(value, str) else None
    return int(found[1]) * {"k": 10**3, "M": 10**6}[found[2]] if found else value


def _is_writable(text: str) -> bool:
    """Whether a text can be written to a file (no lone surrogates) and be a path (no NUL)."""
    return "\0" not in text and not any("\ud800" <= character <= "\udfff" for character in text)


def describe(annotation: Any, limits: Mapping[str, Any]) -> str:
    """Returns in words what `read_value` accepts: ``a whole number of at least 1, or null``."""
    return ", or ".join(_describe_kind(kind, limits) for kind in union_members(annotation))


def _describe_kind(kind: Any, limits: Mapping[str, Any]) -> str:
    if get_origin(kind) is tuple:
        item, *rest = get_args(kind)
        length = "" if rest == [Ellipsis] else f" of {1 + len(rest)}"
        return f"a list{length}, each {_describe_kind(item, limits)}"
    if limits.get("choices") is not None and kind is not NoneType:
        numbers = " (or with another number)" if kind is Numbered else ""
        return "one of " + ", ".join(map(str, limits["choices"])) + numbers
    words = {
        bool: "true or false",
        int: "a whole number",
        WordCount: "a whole number, also as 500k or 1M,",
        float: "a number",
        str: "text",
        NoneType: "null",
        MixedSource: "a source",
    }[kind]
    if kind not in (int, float, WordCount):
        return words
    bounds = {"low": "of at least", "above": "above", "high": "at most", "below": "below"}
    ranges = [
        f"{phrase} {limit if isinstance(limit, int) else format(limit, 'g')}"
        for bound, phrase in bounds.items()
        if (limit := limits.get(bound)) is not None
    ]
    return " ".join([words, " and ".join(ranges)]).rstrip()


def hint(found: Any, annotation: Any, limits: Mapping[str, Any]) -> str:
    """Returns a remark on the likeliest cause of an invalid value; empty if there is none."""
    choices = limits.get("choices")
    if choices is not None:
        meant = suggest_value(found, list(choices)) if isinstance(found, str) else None
        return f"; did you mean {meant}?" if meant else ""
    kinds = union_members(annotation)
    takes_text = str in kinds or any(str in get_args(kind) for kind in kinds)
    if takes_text and isinstance(found, bool):
        return " (YAML reads yes, no, on and off as true and false: put the word in quotes)"
    if takes_text and isinstance(found, (int, float, dict)):
        return " (put it in quotes to make it text)"
    is_unlimited = limits.get("high") is None and limits.get("below") is None
    if float in kinds and is_unlimited and isinstance(found, (int, float)):
        return f" (and below {MAX_NUMBER:g})" if MAX_NUMBER <= found < math.inf else ""
    if isinstance(found, str) and NUMBER.fullmatch(found):
        return " (without the quotes)"
    return ""


def read_sections(kind: type, data: dict[str, Any], problems: dict[str, str]) -> Any:
    """Reads nested dicts into a dataclass whose fields are dataclasses, one for each section.

    Args:
        kind: the dataclass of the whole.
        data: sections of keys and plain values; an absent or empty section has its defaults.
        problems: receives one entry for each mistake; a setting with a wrong value has its default.
    """
    sections = _types_of(kind)
    known = {name: list(_types_of(section)) for name, section in sections.items()}
    for name in data:
        if name not in known:
            problems.setdefault(str(name), _unknown("", str(name), known))
    return kind(
        **{
            name: _read_section(name, section, data.get(name), known, problems)
            for name, section in sections.items()
        }
    )


def _read_section(
    section: str, kind: type, data: Any, known: dict[str, list[str]], problems: dict[str, str]
) -> Any:
    if data is not None and not isinstance(data, dict):
        problems.setdefault(section, _not_a_section(section, data, known))
        data = None
    annotations = _types_of(kind)
    limits = {field.name: field.metadata for field in fields(kind)}
    values = {}
    for key, value in (data or {}).items():
        dotted = f"{section}.{key}"
        if key not in annotations:
            problems.setdefault(dotted, _unknown(section, str(key), known))
            continue
        if value == AUTO and limits[key]["by_size"]:
            continue  # the default, until `lstm_lm.config.loading` puts the chosen value there
        try:
            values[key] = read_value(value, annotations[key], limits[key])
        except InvalidValue as error:
            for place, found, annotation in error.faults:
                text = f"found {short(found)}, must be {describe(annotation, limits[key])}"
                problems.setdefault(dotted + place, text + hint(found, annotation, limits[key]))
    return kind(**values)


def _not_a_section(section: str, found: Any, known: dict[str, list[str]]) -> str:
    """Says what to write instead of a section that is a plain value, such as ``optimizer: sgd``."""
    settings = [dotted for dotted in suggest("", section, known) if "." in dotted]
    text = f"found {short(found)}, must be a section of keys and values"
    return f"{text}; did you mean {settings[0]}?" if settings else text


def _unknown(section: str, key: str, known: dict[str, list[str]]) -> str:
    """Says that a key or section is unknown, and which one was probably meant."""
    kind = "key" if section else "section"
    if meant := suggest(section, key, known):
        return f"unknown {kind}; did you mean {' or '.join(meant)}?"
    if section:
        return f"unknown key; {section} has {', '.join(known[section])}"
    return f"unknown section; use {', '.join(known)}"
