"""List the settings: what each one means, its default, its allowed values.

lstm-lm settings                          all settings
lstm-lm settings optimizer                one section
lstm-lm settings training.bptt_length     one setting
lstm-lm settings --json-schema > lstm-lm.schema.json      for editors that complete and check YAML
"""

from __future__ import annotations

import argparse
import difflib
import json
import shutil
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path

from lstm_lm.config import Setting, all_sections, all_settings, nearest_setting, reference
from lstm_lm.config.effect import describe_conditions, value_text
from lstm_lm.config.names import MAX_COMPARED
from lstm_lm.config.reader import describe
from lstm_lm.errors import InputError
from lstm_lm.files.outputs import check_regular
from lstm_lm.printing import print_line

MIN_HELP_WIDTH = 40
"""Columns of a help text that stands in a table; in a narrower one it stands below its setting."""
MAX_COLUMNS = (24, 40, 48)
"""Characters of a cell that widens its column (name, default, values); a longer one has the line
for itself."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the command's arguments."""
    parser.add_argument(
        "name", nargs="?", metavar="SECTION|KEY", help="a section or a setting; default: all"
    )
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="print a list of JSON objects")
    form.add_argument(
        "--json-schema",
        action="store_true",
        help="print the JSON Schema of a configuration file",
    )
    form.add_argument(
        "--markdown",
        type=Path,
        metavar="FILE",
        help="write the reference into a Markdown file, between its lines "
        f"{reference.BEGIN} and {reference.END}",
    )


def run(args: argparse.Namespace) -> int:
    """Prints the settings; returns 0."""
    if args.name and (args.json_schema or args.markdown):
        option = "--json-schema" if args.json_schema else "--markdown"
        raise InputError(f"{option}: describes all settings; leave out {args.name}")
    if args.json_schema:
        print_line(json.dumps(reference.json_schema(), ensure_ascii=False, indent=2))
    elif args.markdown:
        _write_markdown(args.markdown)
    elif args.json:
        records = [reference.record(setting) for setting in find_settings(args.name)]
        print_line(json.dumps(records, ensure_ascii=False, indent=2))
    elif args.name is None or args.name in all_sections():
        width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
        print_line(format_sections(find_settings(args.name), width))
    else:
        print_line("\n\n".join(map(format_details, find_settings(args.name))))
    return 0


def find_settings(name: str | None) -> list[Setting]:
    """Returns the settings that a name means.

    Args:
        name: a section, a dotted setting, or the key of a setting in any section; None for all.

    Raises:
        InputError: no section and no setting has this name.
    """
    found = [
        setting
        for setting in all_settings().values()
        if name in (None, setting.section, setting.dotted, setting.key)
    ]
    if found:
        return found
    words = (name or "")[:MAX_COMPARED]
    sections = [] if "." in words else difflib.get_close_matches(words, all_sections(), 1)
    nearest = sections[0] if sections else nearest_setting(words)
    help = f"did you mean {nearest}?" if nearest else f"sections are {', '.join(all_sections())}"
    raise InputError(f"{name}: no setting or section has this name; {help}")


def format_sections(settings: Sequence[Setting], width: int | None) -> str:
    """Returns a table of settings for each section.

    Args:
        settings: all settings of the sections.
        width: columns of the terminal, to which help texts are wrapped; None: one line per setting.
    """
    tables = []
    for section in all_sections():
        members = [setting for setting in settings if setting.section == section]
        if members:
            title = f"{section}: {reference.section_text(section)}"
            tables.append(f"{title}\n{_format_table(members, width)}")
    return "\n\n".join(tables)


def _format_table(settings: Sequence[Setting], width: int | None) -> str:
    rows = [
        (setting.key, value_text(setting.default), reference.values_text(setting))
        for setting in settings
    ]
    head = ("setting", "default", "values")
    columns = list(zip(head, *rows, strict=True))
    widths = [
        max(len(cell) for cell in cells if len(cell) <= most)
        for cells, most in zip(columns, MAX_COLUMNS, strict=True)
    ]
    indent = 2 + sum(widths) + 2 * len(widths)
    lines = [_format_row(head, widths) + "meaning"]
    for row, setting in zip(rows, settings, strict=True):
        help = reference.meaning_text(setting)
        start = _format_row(row, widths)
        if width is None:
            lines.append(start + help)
        elif width - indent >= MIN_HELP_WIDTH and len(start) <= indent:
            lines += _wrap(help, width, start, " " * indent)
        else:
            lines += _wrap(start, width, "", " " * 6)
            lines += _wrap(help, width, " " * 6, " " * 6)
    if width is not None and width - indent < MIN_HELP_WIDTH:
        lines[0] = _format_row(head, widths).rstrip()
    return "\n".join(lines)


def _format_row(cells: Sequence[str], widths: Sequence[int]) -> str:
    padded = [cell.ljust(width) for cell, width in zip(cells, widths, strict=True)]
    return f"  {'  '.join(padded)}  "


def _wrap(text: str, width: int, first: str, others: str) -> list[str]:
    return textwrap.wrap(
        text,
        width=max(width, len(others) + 20),
        initial_indent=first,
        subsequent_indent=others,
        break_on_hyphens=False,
        break_long_words=False,
        drop_whitespace=True,
    )


def format_details(setting: Setting) -> str:
    """Returns all that is known about one setting, one fact per line."""
    default = value_text(setting.default)
    facts = {
        "meaning": setting.help,
        "type": reference.type_text(setting),
        "default": default,
        "allowed": describe(setting.annotation, setting.limits),
        "has an effect": f"if {describe_conditions(setting.when)}" if setting.when else "always",
        "in a file": f"{setting.section}: {{{setting.key}: {default}}}",
        "as an override": f"{setting.dotted}={default}",
    }
    width = max(map(len, facts))
    return "\n".join(
        [setting.dotted, *(f"  {name.ljust(width)}  {fact}" for name, fact in facts.items())]
    )


def _write_markdown(path: Path) -> None:
    """Replaces the reference in a Markdown file.

    Raises:
        InputError: the file cannot be read, or the two marks are missing.
    """
    from lstm_lm.files.atomic import write_atomically

    check_regular("--markdown", path)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8"
        raise InputError(f"--markdown: {path}: cannot be read ({reason})") from None
    changed = reference.with_reference(text)
    if changed is None:
        raise InputError(
            f"--markdown: {path}: must have the lines {reference.BEGIN} and {reference.END}; the "
            "reference is written between them"
        )
    write_atomically(path, changed)
