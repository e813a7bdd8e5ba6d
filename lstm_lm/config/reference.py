"""All settings, described for people and programs: words, records, JSON Schema and Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import NoneType
from typing import Any, get_args, get_origin

from lstm_lm.config.catalogue import Setting, all_sections, all_settings
from lstm_lm.config.corpus_settings import MixedSource
from lstm_lm.config.declaration import AUTO, Numbered, WordCount
from lstm_lm.config.effect import describe_conditions, value_text
from lstm_lm.config.mix import entry_sections
from lstm_lm.config.reader import PLAIN_NUMBER, WORD_COUNT, union_members

_ENTRY = (
    "An entry is the name of a source, or a mapping with `source`, the settings of that source "
    "from `corpus` and `stories`, and these."
)
BEGIN, END = "<!-- settings: begin -->", "<!-- settings: end -->"
"""In a Markdown file, the reference stands between these two lines."""

JSON_TYPES = {
    bool: "boolean",
    int: "integer",
    WordCount: "integer",
    float: "number",
    str: "string",
    Numbered: "string",
    NoneType: "null",
    MixedSource: "source",
}
LIMITS = {
    "low": (">=", "minimum"),
    "above": (">", "exclusiveMinimum"),
    "high": ("<=", "maximum"),
    "below": ("<", "exclusiveMaximum"),
}
"""By a limit's name in `lstm_lm.config.declaration.setting`: its sign, its name in JSON Schema."""


def type_text(setting: Setting) -> str:
    """Returns a setting's type, such as ``integer or null``."""
    return " or ".join(_kind_text(kind) for kind in union_members(setting.annotation))


def _kind_text(kind: Any) -> str:
    if get_origin(kind) is not tuple:
        return JSON_TYPES[kind]
    item, *others = get_args(kind)
    count = "" if others == [Ellipsis] else f"{1 + len(others)} "
    return f"list of {count}{JSON_TYPES[item]}s"


def values_text(setting: Setting) -> str:
    """Returns what a setting may be, such as ``integer >= 1 or null``; choices are listed."""
    or_auto = f" or {AUTO}" * setting.by_size
    choices = setting.limits["choices"]
    if choices is not None:
        is_list = get_origin(setting.annotation) is tuple
        return "list of " * is_list + ", ".join(choices) + or_auto
    limits = [
        f"{sign} {value_text(setting.limits[name])}"
        for name, (sign, _) in LIMITS.items()
        if setting.limits[name] is not None
    ]
    kinds = [_kind_text(kind) for kind in union_members(setting.annotation) if kind is not NoneType]
    or_null = " or null" * (NoneType in union_members(setting.annotation))
    return " ".join([" or ".join(kinds), ", ".join(limits)]).rstrip() + or_null + or_auto


def meaning_text(setting: Setting) -> str:
    """Returns a setting's help, and when it has an effect if its section has one."""
    return f"{setting.help}.{_only_if(setting.own_when)}"


def section_text(section: str) -> str:
    """Returns the description of a section, and when it has an effect."""
    members = [setting for setting in all_settings().values() if setting.section == section]
    return f"{all_sections()[section]}{_only_if(members[0].section_when)}"


def _only_if(conditions: Sequence[str]) -> str:
    return f" Only if {describe_conditions([conditions])}." if conditions else ""


def record(setting: Setting) -> dict[str, Any]:
    """Returns all that is known about a setting, as plain values for JSON."""
    choices = setting.limits["choices"]
    return {
        "name": setting.dotted,
        "type": type_text(setting),
        "default": _plain(setting.default),
        "choices": None if choices is None else list(choices),
        **{schema_name: setting.limits[name] for name, (_, schema_name) in LIMITS.items()},
        "by_size": setting.by_size,
        "effective_if": describe_conditions(setting.when) or None,
        "help": setting.help,
    }


def json_schema() -> dict[str, Any]:
    """Returns the JSON Schema of a configuration file, with which editors complete and check it."""
    sections: dict[str, Any] = {
        name: {
            "type": ["object", "null"],
            "description": section_text(name),
            "additionalProperties": False,
            "properties": {},
        }
        for name in all_sections()
    }
    for setting in all_settings().values():
        sections[setting.section]["properties"][setting.key] = {
            **_schema(setting),
            "description": meaning_text(setting),
            "default": _plain(setting.default),
        }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "lstm-lm configuration",
        "type": "object",
        "additionalProperties": False,
        "properties": sections,
    }


def _schema(setting: Setting) -> dict[str, Any]:
    """The schema of a value: of one type, or of any of several."""
    kinds = [_kind_schema(kind, setting.limits) for kind in union_members(setting.annotation)]
    kinds += [{"enum": [AUTO]}] * setting.by_size
    return kinds[0] if len(kinds) == 1 else {"anyOf": kinds}


def _entry_schema() -> dict[str, Any]:
    """The schema of an entry of `corpus.mix`."""
    settings, sections = all_settings(MixedSource), entry_sections()
    properties = {
        key: {**_schema(settings[f"{section}.{key}"]), "description": _entry_text(section, key)}
        for key, section in sections.items()
    }
    return {"type": "object", "additionalProperties": False, "properties": properties}


def _entry_text(section: str, key: str) -> str:
    return f"{all_settings(MixedSource)[f'{section}.{key}'].help}."


def _kind_schema(kind: Any, limits: Mapping[str, Any]) -> dict[str, Any]:
    if get_origin(kind) is tuple:
        item, *others = get_args(kind)
        count = 1 + len(others)
        sizes = {} if others == [Ellipsis] else {"minItems": count, "maxItems": count}
        return {"type": "array", "items": _kind_schema(item, limits), **sizes}
    if kind is NoneType:
        return {"type": "null"}
    if kind is MixedSource:
        return {"anyOf": [{"type": "string", "pattern": r"\S"}, _entry_schema()]}
    if kind is Numbered:
        return {"type": "string", "pattern": f"^({_numbered_pattern(limits['choices'])})$"}
    if limits["choices"] is not None:
        return {"enum": list(limits["choices"])}
    if kind is str:
        return {"type": "string", "pattern": r"\S"}  # blank texts are refused
    if kind is WordCount:
        whole = _kind_schema(int, limits)
        return {"anyOf": [whole, {"type": "string", "pattern": f"^{WORD_COUNT}$"}]}
    ranges = {
        schema_name: limits[name]
        for name, (_, schema_name) in LIMITS.items()
        if limits[name] is not None
    }
    return {"type": JSON_TYPES[kind], **ranges}


def _numbered_pattern(choices: Sequence[str]) -> str:
    """The pattern of a `Numbered` value: one of the choices, with any number or without it."""
    parts = [choice.partition(":") for choice in choices]
    return "|".join(f"{name}(:{PLAIN_NUMBER})?" if colon else name for name, colon, _ in parts)


def markdown_reference() -> str:
    """Returns the reference of all settings in Markdown: one table for each section."""
    lines = []
    for section in all_sections():
        members = [setting for setting in all_settings().values() if setting.section == section]
        lines += _markdown_table(section, section_text(section), members)
        if section == "corpus":
            of_entry = all_settings(MixedSource).values()
            members = [setting for setting in of_entry if setting.section == "mix"]
            lines += _markdown_table("corpus.mix", _ENTRY, members)
    return "\n".join(lines)


def _markdown_table(title: str, text: str, settings: Sequence[Setting]) -> list[str]:
    """Returns the lines of one table, with its title and a blank line after it."""
    return [
        f"### {title}",
        "",
        _escape(text),
        "",
        "| setting | default | values | meaning |",
        "|---|---|---|---|",
        *map(_markdown_row, settings),
        "",
    ]


def _markdown_row(setting: Setting) -> str:
    cells = [
        f"`{setting.key}`",
        f"`{value_text(setting.default)}`",
        _escape(values_text(setting)),
        _escape(meaning_text(setting)),
    ]
    return f"| {' | '.join(cells)} |"


def _escape(text: str) -> str:
    """Keeps Markdown from reading ``<unk>`` as HTML and ``|`` as the end of a cell."""
    return text.replace("<", "&lt;").replace(">", "&gt;").replace("|", "\\|")


def with_reference(text: str) -> str | None:
    """Returns a Markdown file's text with the current reference in it.

    Args:
        text: the file; what stands between `BEGIN` and `END` is replaced.

    Returns:
        The new text, or None if the two marks are missing.
    """
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        return None
    return f"{before}{BEGIN}\n\n{markdown_reference()}\n{END}{after}"


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, Sequence) and not isinstance(value, str) else value
