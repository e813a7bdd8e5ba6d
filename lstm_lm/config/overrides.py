"""Overrides: ``section.key=value`` from the command line, or dotted keys and values from Python."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lstm_lm.config.catalogue import nearest_setting
from lstm_lm.config.strict_yaml import MAX_FILE_SIZE, one_line, parse_yaml, short
from lstm_lm.errors import ConfigError

Overrides = Sequence[str] | Mapping[str, Any]
"""``section.key=value`` texts, the value in YAML; or a dict of dotted keys and Python values."""


def apply_overrides(
    overrides: Overrides, data: dict[str, Any], problems: dict[str, str]
) -> set[str]:
    """Puts overrides into the data that was read from the file.

    Args:
        overrides: later ones replace earlier ones.
        data: sections of keys and plain values, changed in place.
        problems: receives what is wrong with the overrides themselves.

    Returns:
        The dotted keys that they give.
    """
    if isinstance(overrides, Mapping):
        return {apply_value(dotted, value, data, problems) for dotted, value in overrides.items()}
    return {apply_override(override, data, problems) for override in overrides}


def apply_override(override: str, data: dict[str, Any], problems: dict[str, str]) -> str:
    """Puts one ``section.key=value`` from the command line into the data read from the file.

    Args:
        override: the text; its value is YAML.
        data: sections of keys and plain values, changed in place.
        problems: receives what is wrong with the override itself.

    Returns:
        The dotted key that it gives.
    """
    dotted, equals, text = override.partition("=")
    section, dot, key = (part.strip() for part in dotted.partition("."))
    if not (equals and section and dot and key):
        problems[override] = _not_an_override(dotted, text.strip())
        return override
    dotted = f"{section}.{key}"
    if len(text) > MAX_FILE_SIZE:
        problems[dotted] = (
            f"found a text of {len(text)} characters, must be at most {MAX_FILE_SIZE}"
        )
        return dotted
    # In YAML, * begins a reference to another place. An override has none, so it is a pattern.
    if text.strip().startswith("*"):
        return apply_value(dotted, text.strip(), data, problems)
    try:
        value = parse_yaml(text, f"found {short(text)}", problems, dotted)
    except ConfigError as error:
        problems[dotted] = str(error)
        return dotted
    # a comment is never meant here, and `my #1.txt` would become `my`
    if text.count("#") > str(value).count("#"):
        problems[dotted] = (
            f"found {short(text)}; YAML ignores what follows #, so put the value in quotes"
        )
        return dotted
    return apply_value(dotted, value, data, problems)


def apply_value(dotted: str, value: Any, data: dict[str, Any], problems: dict[str, str]) -> str:
    """Puts the value of one setting into the data that was read from the file.

    Args:
        dotted: ``section.key``.
        value: a plain value.
        data: sections of keys and plain values, changed in place.
        problems: receives what is wrong with the key.

    Returns:
        The dotted key.
    """
    section, dot, key = str(dotted).partition(".")
    if not (section and dot and key):
        problems[str(dotted)] = _not_an_override(str(dotted), short(value))
    elif data.get(section) is None:  # the file has no such section, or an empty one
        data[section] = {key: value}
    elif isinstance(data[section], dict):  # otherwise the section itself is reported
        data[section][key] = value
    return str(dotted)


def _not_an_override(name: str, value: str) -> str:
    """Says what an override looks like, by the setting that was probably meant."""
    meant = nearest_setting(name) if value else None
    if meant:
        return f"an override must be section.key=value; did you mean {meant}={one_line(value)}?"
    return "an override must be section.key=value, such as model.hidden_size=650"
