"""Plain values -> frozen dataclasses: every value checked against its field's annotation and limits.

It knows types, sections and keys, but no setting by name: `lstm_lm.config` holds those. Mistakes are gathered in a dict
``problems``, from the dotted key to what is wrong with it, so that all are reported at once.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping
from dataclasses import fields
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

from lstm_lm.config.strict_yaml import LARGEST_FILE, LARGEST_INTEGER, NUMBER, parse_yaml, short
from lstm_lm.errors import ConfigError

LARGEST_EXACT_FLOAT = 2**53  # beyond it, neighbouring floats are more than 1 apart
LARGEST_NUMBER = (
    1e38  # finite in the arithmetic of the weights, too, which is that of 32-bit floats
)


class Misfit(Exception):
    """A value that its setting cannot take.

    Attributes:
        culprits: what is wrong, as (place, found, kind) triples: place is ``[2]`` for a list's third element and empty
            for the whole value, found is what stands there, kind is the annotation it does not fit.
    """

    def __init__(self, *culprits: tuple[str, Any, Any]) -> None:
        super().__init__(*culprits)
        self.culprits = culprits


def read_value(value: Any, annotation: Any, limits: Mapping[str, Any]) -> Any:
    """Returns a plain value as its annotation wants it.

    A whole number is taken for a float and an integral float, such as `1e5`, for an int; nothing else is converted.

    Args:
        value: what the file, the command line or a dict gave.
        annotation: bool, int, float, str, a tuple of one of them, or a union of one of them, a tuple and None.
        limits: low, high, above, below and choices, as `lstm_lm.config.setting` keeps them.

    Raises:
        Misfit: the value is of another type, not finite, or outside its limits.
    """
    kinds = get_args(annotation) if get_origin(annotation) in (Union, UnionType) else (annotation,)
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
    raise Misfit(("", value, annotation))


def _read_list(values: Any, kind: Any, limits: Mapping[str, Any]) -> tuple:
    item_kinds = get_args(kind)
    if item_kinds[-1] is Ellipsis:
        item_kinds = item_kinds[:1] * len(values)
    elif len(values) != len(item_kinds):
        raise Misfit(("", values, kind))
    items, culprits = [], []
    for i, (value, item_kind) in enumerate(zip(values, item_kinds, strict=True)):
        try:
            items.append(_read_scalar(value, item_kind, limits, item_kind))
        except Misfit as misfit:
            culprits += [(f"[{i}]", found, kind) for _, found, kind in misfit.culprits]
    if culprits:
        raise Misfit(*culprits)
    return tuple(items)


def _read_scalar(value: Any, kind: type, limits: Mapping[str, Any], annotation: Any) -> Any:
    """Reads a value of one kind; `annotation` is all that could have stood there, for the error."""
    misfit = Misfit(("", value, annotation))
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if kind is int and is_number:
        is_exact = isinstance(value, int) or (
            value.is_integer() and abs(value) <= LARGEST_EXACT_FLOAT
        )
        if not is_exact or abs(value) > LARGEST_INTEGER:
            raise misfit
        result: Any = int(value)
    elif kind is float and is_number:
        if not abs(value) < LARGEST_NUMBER:  # NaN is not below it either
            raise misfit
        result = float(value)
    elif kind in (bool, str) and isinstance(value, kind):
        if kind is str and (not value.strip() or not _is_writable(value)):
            raise misfit
        result = value
    else:
        raise misfit
    outside = (
        limits.get("low") is not None and result < limits["low"],
        limits.get("high") is not None and result > limits["high"],
        limits.get("above") is not None and result <= limits["above"],
        limits.get("below") is not None and result >= limits["below"],
        limits.get("choices") is not None and result not in limits["choices"],
    )
    if any(outside):
        raise misfit
    return result


def _is_writable(text: str) -> bool:
    """Half a surrogate pair cannot be written to a file, nor a NUL be part of a path."""
    return "\0" not in text and not any("\ud800" <= character <= "\udfff" for character in text)


def describe(annotation: Any, limits: Mapping[str, Any]) -> str:
    """Says in words what `read_value` takes: ``a whole number of at least 1, or null``."""
    kinds = get_args(annotation) if get_origin(annotation) in (Union, UnionType) else (annotation,)
    return ", or ".join(_describe_kind(kind, limits) for kind in kinds)


def _describe_kind(kind: Any, limits: Mapping[str, Any]) -> str:
    if get_origin(kind) is tuple:
        item, *rest = get_args(kind)
        length = "" if rest == [Ellipsis] else f" of {1 + len(rest)}"
        return f"a list{length}, each {_describe_kind(item, limits)}"
    if limits.get("choices") is not None and kind is not NoneType:
        return "one of " + ", ".join(map(str, limits["choices"]))
    words = {
        bool: "true or false",
        int: "a whole number",
        float: "a number",
        str: "text",
        NoneType: "null",
    }[kind]
    if kind not in (int, float):
        return words
    bounds = {"low": "of at least", "above": "above", "high": "at most", "below": "below"}
    ranges = [
        f"{phrase} {limit if isinstance(limit, int) else format(limit, 'g')}"
        for bound, phrase in bounds.items()
        if (limit := limits.get(bound)) is not None
    ]
    return " ".join([words, " and ".join(ranges)]).rstrip()


def hint(found: Any, annotation: Any, limits: Mapping[str, Any]) -> str:
    """A remark on the likeliest reason for a misfit, or no text at all."""
    wants_text = "str" in str(annotation) and limits.get("choices") is None
    if wants_text and isinstance(found, bool):
        return " (YAML reads yes, no, on and off as true and false: put the word in quotes)"
    if wants_text and isinstance(found, (int, float, dict)):
        return " (put it in quotes to make it text)"
    unlimited = (
        "float" in str(annotation) and limits.get("high") is None and limits.get("below") is None
    )
    if unlimited and isinstance(found, (int, float)) and LARGEST_NUMBER <= found < math.inf:
        return f" (and below {LARGEST_NUMBER:g})"
    if isinstance(found, str) and NUMBER.fullmatch(found):
        return " (without the quotes)"
    return ""


def apply_override(override: str, data: dict[str, Any], problems: dict[str, str]) -> None:
    """Puts one ``section.key=value`` from the command line into the data read from the file.

    Args:
        override: the text; its value is YAML.
        data: sections of keys and plain values, changed in place.
        problems: receives what is wrong with the override itself.
    """
    dotted, equals, text = override.partition("=")
    section, dot, key = (part.strip() for part in dotted.partition("."))
    if not (equals and section and dot and key):
        problems[override] = "an override must be section.key=value, such as model.hidden_size=650"
        return
    dotted = f"{section}.{key}"
    if len(text) > LARGEST_FILE:
        problems[dotted] = f"found a text of {len(text)} characters, must be at most {LARGEST_FILE}"
        return
    try:
        value = parse_yaml(text, f"found {short(text)}", problems, dotted)
    except ConfigError as error:
        problems[dotted] = str(error)
        return
    if text.count("#") > str(value).count(
        "#"
    ):  # nobody means a comment here, and `my #1.txt` would become `my`
        problems[dotted] = (
            f"found {short(text)}, where YAML takes # for a comment; put the value in quotes"
        )
        return
    keys = data.get(section)
    if keys is None:  # the file has no such section, or an empty one
        keys = data[section] = {}
    if isinstance(keys, dict):  # otherwise the file's own mistake is reported
        keys[key] = value


def read_sections(kind: type, data: dict[str, Any], problems: dict[str, str]) -> Any:
    """Reads nested dicts into a dataclass whose fields are dataclasses, one for each section.

    Args:
        kind: the dataclass of the whole.
        data: sections of keys and plain values; an absent or empty section has its defaults.
        problems: receives one entry for each mistake; a wrong value is left at its default.
    """
    sections = get_type_hints(kind)
    known = {name: list(get_type_hints(section)) for name, section in sections.items()}
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
        problems.setdefault(section, f"found {short(data)}, must be a section of keys and values")
        data = None
    annotations = get_type_hints(kind)
    limits = {field.name: field.metadata for field in fields(kind)}
    values = {}
    for key, value in (data or {}).items():
        dotted = f"{section}.{key}"
        if key not in annotations:
            problems.setdefault(dotted, _unknown(section, str(key), known))
            continue
        try:
            values[key] = read_value(value, annotations[key], limits[key])
        except Misfit as misfit:
            for place, found, annotation in misfit.culprits:
                text = f"found {short(found)}, must be {describe(annotation, limits[key])}"
                problems.setdefault(dotted + place, text + hint(found, annotation, limits[key]))
    return kind(**values)


def _unknown(section: str, key: str, known: dict[str, list[str]]) -> str:
    """Says that a key or section is unknown, and which one was probably meant."""
    name = key.rpartition(".")[2][
        :60
    ]  # a dotted key at the top of a file is a key in the wrong place
    here = known[section] if section else list(known)
    everywhere = {other: f"{group}.{other}" for group, others in known.items() for other in others}
    if name in everywhere:
        meant = everywhere[name]
    elif near := difflib.get_close_matches(key[:60], here, 1):
        meant = f"{section}.{near[0]}" if section else near[0]
    elif near := difflib.get_close_matches(name, everywhere, 1):
        meant = everywhere[near[0]]
    else:
        return (
            f"unknown key; {section} has {', '.join(here)}"
            if section
            else f"unknown section; use {', '.join(here)}"
        )
    return f"unknown {'key' if section else 'section'}; did you mean {meant}?"
