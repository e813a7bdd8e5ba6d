"""YAML without its surprises: text to and from dicts, lists, strings, numbers, booleans and None.

=============================  =====================================================================
written                        read as
=============================  =====================================================================
``1e-3``                       a number
``010``, ``1:30``, a date      text (other readers: an octal number, ninety, a date)
a key given twice              an error
aliases, tags, deep nesting    an error, so that a small file cannot expand into a large one
=============================  =====================================================================

Every error is one line that names the place.
"""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import yaml
from yaml.composer import ComposerError
from yaml.reader import ReaderError

from lstm_lm.errors import ConfigError

MAX_FILE_SIZE = 100_000
"""Bytes; a configuration has about one page, and PyYAML reads about 100 kB per second."""

MAX_NESTING = 20
MAX_INTEGER = 2**63 - 1
"""Largest number in a signed 64-bit seed, counter or size."""

# By type: the pattern of a plain (unquoted) scalar, and the characters that it may begin with
# ("\0": none at all). The first pattern that matches decides.
_PLAIN_SCALARS = {
    "null": (r"~|null|Null|NULL|", "~nN\0"),
    "bool": (
        r"yes|Yes|YES|no|No|NO|true|True|TRUE|false|False|FALSE|on|On|ON|off|Off|OFF",
        "yYnNtTfFoO",
    ),
    # At most 100 digits: Python refuses to convert thousands. Longer ones are text, which no number
    # accepts.
    "int": (r"[-+]?(0|[1-9](_?[0-9]){0,99}|0x[0-9a-fA-F]{1,100})", "-+0123456789"),
    "float": (
        r"[-+]?([0-9]+\.[0-9]*|\.[0-9]+|[0-9]+(?=[eE]))([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
        "-+.0123456789",
    ),
}
NUMBER = re.compile(f"{_PLAIN_SCALARS['int'][0]}|{_PLAIN_SCALARS['float'][0]}")


class _StrictLoader(yaml.SafeLoader):
    """A safe loader with the patterns above, which refuses aliases, tags and deep nesting."""

    yaml_implicit_resolvers: dict = {}
    depth = 0

    def compose_node(self, parent: Any, index: Any) -> yaml.Node | None:
        """Composes the next node, or refuses it."""
        event = self.peek_event()
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None) is not None:
            problem = "aliases and anchors (* and &) are not allowed; write the value out"
        elif getattr(event, "tag", None) is not None:
            problem = "tags (!) are not allowed; put the text in quotes if it begins with !"
        elif self.depth >= MAX_NESTING:
            problem = f"nested more than {MAX_NESTING} levels deep"
        else:
            self.depth += 1
            node = super().compose_node(parent, index)
            self.depth -= 1
            return node
        raise ComposerError(None, None, problem, event.start_mark)


class _PlainDumper(yaml.SafeDumper):
    """Quotes every text that our reader or another YAML reader would read as another type."""

    def ignore_aliases(self, data: Any) -> bool:
        """Writes every list in full, even if it is the same object as another."""
        return True

    def represent_str(self, data: str) -> yaml.ScalarNode:
        """Escapes unprintable characters; PyYAML would turn some line breaks into spaces."""
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
        ConfigError: the file is missing, a directory, unreadable, too large or not UTF-8.
    """
    name = one_line(str(path), 500)
    try:
        with open(path, "rb") as file:
            content = file.read(MAX_FILE_SIZE + 1)
    except FileNotFoundError:
        raise ConfigError(f"{name}: no such file") from None
    except IsADirectoryError:
        raise ConfigError(f"{name}: is a directory, must be a YAML file") from None
    # ValueError: a NUL in the path
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ConfigError(f"{name}: cannot be read ({reason})") from None
    if len(content) > MAX_FILE_SIZE:
        raise ConfigError(
            f"{name}: larger than {MAX_FILE_SIZE} bytes; a configuration must be a small YAML file"
        )
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ConfigError(
            f"{name}, line {line}: byte {content[error.start]:#x} is not UTF-8; save the file as "
            "UTF-8"
        ) from None


def parse_yaml(text: str, where: str, problems: dict[str, str], key: str = "") -> Any:
    """Reads one YAML document as dicts, lists, strings, numbers, booleans and None.

    Args:
        text: the YAML text; an empty one is read as None.
        where: the document's name in errors, such as the file's path.
        problems: receives one entry for each key that is given twice, or is not plain text.
        key: dotted key of the whole document, written before the keys inside it.

    Raises:
        ConfigError: the text is not YAML, or uses aliases, tags or deep nesting; one line, with
            line and column.
    """
    try:
        loader = _StrictLoader(text)
        node = loader.get_single_node()
        return None if node is None else _plain_value(loader, node, key, problems)
    except yaml.MarkedYAMLError as error:
        mark, problem = (
            error.problem_mark or error.context_mark,
            str(error.problem or error.context),
        )
        if "'\\t'" in problem:
            problem += " (indent with spaces, not with tabs)"
        place = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise ConfigError(f"{where}{place}: not valid YAML: {one_line(problem, 200)}") from None
    except ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise ConfigError(
            f"{where}, line {line}: character {error.character:#x} is not allowed in YAML"
        ) from None
    # Python raises these for "\UFFFFFFFF" and for huge %YAML versions, which PyYAML does not check
    except (ValueError, OverflowError):
        raise ConfigError(
            f"{where}: not valid YAML: an escape sequence or a number is out of range"
        ) from None


def _plain_value(loader: _StrictLoader, node: yaml.Node, key: str, problems: dict[str, str]) -> Any:
    """Converts a node to plain values; reports keys given twice (PyYAML takes the last one)."""
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
        name = name_node.value  # as it is written, also for `no` and `1`
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
    """Returns a value as the user wrote it, on one line of at most about 60 characters.

    Args:
        value: a plain value.
        inside: whether it is part of a list or dict; lists and dicts inside others are not written
            out.
    """
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, int) and abs(value) > MAX_INTEGER:
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
    """Returns a text for one line of an error: shortened, and escaped if it cannot be printed."""
    if not text.isprintable() or not text.strip():
        text = ascii(text)
    return _clip(text, length)


def _clip(text: str, length: int = 60) -> str:
    return text if len(text) <= length else text[: length - 3] + "..."
