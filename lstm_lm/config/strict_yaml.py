"""YAML without its surprises: text <-> dicts, lists, texts, numbers, booleans and None.

`1e-3` is a number here; `010` (octal elsewhere), `1:30` (ninety elsewhere) and dates are plain text; a key given twice
is a mistake; aliases, tags and deep nesting are refused, so no small text grows large and none is disguised. Every
mistake is one line that names the place.
"""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import yaml

from lstm_lm.errors import ConfigError

LARGEST_FILE = (
    100_000  # bytes; a configuration is a page long, and PyYAML reads some 100 kB a second
)
DEEPEST_NESTING = 20
LARGEST_INTEGER = 2**63 - 1  # what a signed 64-bit seed, counter or size can hold

# Order matters: the first pattern that matches a plain (unquoted) scalar gives it its type.
_PLAIN_SCALARS = {
    "null": (r"~|null|Null|NULL|", "~nN\0"),
    "bool": (
        r"yes|Yes|YES|no|No|NO|true|True|TRUE|false|False|FALSE|on|On|ON|off|Off|OFF",
        "yYnNtTfFoO",
    ),
    # At most 100 digits: Python refuses to read thousands of them, and a text of digits is refused as a number anyway.
    "int": (r"[-+]?(0|[1-9](_?[0-9]){0,99}|0x[0-9a-fA-F]{1,100})", "-+0123456789"),
    "float": (
        r"[-+]?([0-9]+\.[0-9]*|\.[0-9]+|[0-9]+(?=[eE]))([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
        "-+.0123456789",
    ),
}
NUMBER = re.compile(f"{_PLAIN_SCALARS['int'][0]}|{_PLAIN_SCALARS['float'][0]}")


class _StrictLoader(yaml.SafeLoader):
    """A safe loader with our own rules for plain scalars, and without aliases, tags and deep nesting."""

    yaml_implicit_resolvers: dict = {}
    depth = 0

    def compose_node(self, parent: Any, index: Any) -> yaml.Node:
        """Composes the next node, after refusing what can multiply, disguise or bury a value."""
        event = self.peek_event()
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None) is not None:
            problem = "aliases and anchors (* and &) are not allowed; write the value out"
        elif getattr(event, "tag", None) is not None:
            problem = "tags (!) are not allowed; put the text in quotes if it begins with !"
        elif self.depth >= DEEPEST_NESTING:
            problem = f"nested more than {DEEPEST_NESTING} levels deep"
        else:
            self.depth += 1
            node = super().compose_node(parent, index)
            self.depth -= 1
            return node
        raise yaml.composer.ComposerError(None, None, problem, event.start_mark)


class _PlainDumper(yaml.SafeDumper):
    """Quotes every text that either our reader or any other YAML reader would take for something else."""

    def ignore_aliases(self, data: Any) -> bool:
        """Writes equal lists out, each in full."""
        return True

    def represent_str(self, data: str) -> yaml.Node:
        """Escapes line breaks and the like, some of which PyYAML would fold into spaces."""
        return self.represent_scalar(
            "tag:yaml.org,2002:str", data, style=None if data.isprintable() else '"'
        )


_PlainDumper.add_representer(str, _PlainDumper.represent_str)
for _name, (_pattern, _first) in _PLAIN_SCALARS.items():
    for _class in (_StrictLoader, _PlainDumper):
        _class.add_implicit_resolver(
            f"tag:yaml.org,2002:{_name}",
            re.compile(rf"(?:{_pattern})\Z"),
            ["" if character == "\0" else character for character in _first],
        )


def read_text(path: str | Path) -> str:
    """Reads a small UTF-8 file, with or without a byte order mark.

    Raises:
        ConfigError: it is missing, a directory, unreadable, too large or not UTF-8.
    """
    name = one_line(str(path), 500)
    try:
        with open(path, "rb") as file:
            content = file.read(LARGEST_FILE + 1)
    except FileNotFoundError:
        raise ConfigError(f"{name}: no such file") from None
    except IsADirectoryError:
        raise ConfigError(f"{name}: is a directory, must be a YAML file") from None
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        raise ConfigError(
            f"{name}: cannot be read ({getattr(error, 'strerror', None) or error})"
        ) from None
    if len(content) > LARGEST_FILE:
        raise ConfigError(
            f"{name}: larger than {LARGEST_FILE} bytes, so it is not taken for a configuration"
        )
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ConfigError(
            f"{name}, line {line}: byte {content[error.start]:#x} is not UTF-8; "
            "save the file as UTF-8"
        ) from None


def parse_yaml(text: str, where: str, problems: dict[str, str], key: str = "") -> Any:
    """Reads one YAML document as dicts, lists, texts, numbers, booleans and None.

    Args:
        text: the YAML text; no text at all reads as None.
        where: what to call it in an error, such as the file's path.
        problems: receives one entry for each key that is given twice, or is no plain text.
        key: dotted key of the whole, in front of the keys inside.

    Raises:
        ConfigError: the text is not YAML, or uses aliases, tags or deep nesting; one line, with line and column.
    """
    try:
        loader = _StrictLoader(text)
        node = loader.get_single_node()
        return None if node is None else _plain_value(loader, node, key, problems)
    except yaml.MarkedYAMLError as error:
        mark, problem = error.problem_mark or error.context_mark, error.problem or error.context
        if "'\\t'" in problem:
            problem += " (indent with spaces, not with tabs)"
        place = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise ConfigError(f"{where}{place}: not valid YAML: {one_line(problem, 200)}") from None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise ConfigError(
            f"{where}, line {line}: character {error.character:#x} is not allowed in YAML"
        ) from None
    except (
        ValueError,
        OverflowError,
    ):  # PyYAML leaves "\UFFFFFFFF" and absurd %YAML versions for Python to refuse
        raise ConfigError(
            f"{where}: not valid YAML: it holds an escape or a number out of range"
        ) from None


def _plain_value(loader: _StrictLoader, node: yaml.Node, key: str, problems: dict[str, str]) -> Any:
    """Turns a node into plain values, noting keys that PyYAML would silently let the last one win."""
    if isinstance(node, yaml.SequenceNode):
        return [
            _plain_value(loader, item, f"{key}[{i}]", problems) for i, item in enumerate(node.value)
        ]
    if isinstance(node, yaml.ScalarNode):
        return loader.construct_object(node)
    values: dict[str, Any] = {}
    lines: dict[str, int] = {}
    for name_node, value_node in node.value:
        line = name_node.start_mark.line + 1
        if not isinstance(name_node, yaml.ScalarNode):
            problems.setdefault(f"{key or 'top level'}, line {line}", "a key must be plain text")
            continue
        name = (
            name_node.value
        )  # as it is written: `no` and `1` are keys like any other, and unknown ones
        dotted = f"{key}.{name}" if key else name
        value = _plain_value(loader, value_node, dotted, problems)
        if name in values:
            problems.setdefault(dotted, f"given twice, on lines {lines[name]} and {line}; keep one")
        else:
            values[name], lines[name] = value, line
    return values


def format_yaml(data: Any) -> str:
    """Writes plain values as YAML that `parse_yaml` reads back as the same values."""
    return yaml.dump(data, Dumper=_PlainDumper, sort_keys=False, allow_unicode=True, width=120)


def short(value: Any, inside: bool = False) -> str:
    """A value as the user wrote it, on one line and at most about 60 characters long."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, int) and abs(value) > LARGEST_INTEGER:
        return f"a number of about {round(value.bit_length() * math.log10(2))} digits"
    if isinstance(value, (list, tuple)):
        return (
            "[...]" if inside else _clip(f"[{', '.join(short(item, True) for item in value[:8])}]")
        )
    if isinstance(value, dict):
        pairs = (
            f"{one_line(str(name))}: {short(item, True)}" for name, item in list(value.items())[:8]
        )
        return "{...}" if inside else _clip(f"{{{', '.join(pairs)}}}")
    return _clip(repr(value[:80]) if isinstance(value, str) else " ".join(repr(value).split()))


def one_line(text: str, length: int = 80) -> str:
    """Any text made fit for one line of an error message: clipped, and escaped where it cannot be printed."""
    if not text.isprintable() or not text.strip():
        text = ascii(text)
    return _clip(text, length)


def _clip(text: str, length: int = 60) -> str:
    return text if len(text) <= length else text[: length - 3] + "..."
