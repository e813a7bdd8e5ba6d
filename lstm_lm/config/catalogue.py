"""All settings as records by dotted name, read from the dataclasses in `settings`."""

from __future__ import annotations

from dataclasses import Field, dataclass, fields
from functools import cache
from typing import Any, get_type_hints

from lstm_lm.config.docstrings import docstring_of
from lstm_lm.config.names import suggest
from lstm_lm.config.settings import Config


@dataclass(frozen=True)
class Setting:
    """One setting.

    Attributes:
        section: name of its section.
        key: its name within the section.
        annotation: its type, such as ``int | None``.
        default: its default.
        help: what it is, one line.
        limits: ``low``, `high`, ``above``, ``below`` and ``choices``, see
            `lstm_lm.config.declaration.setting`.
        section_when: conditions of which one must hold to give its section an effect, see
            `lstm_lm.config.effect`; empty: it always has one.
        own_when: conditions of which one must hold, too, to give the setting itself an effect.
        by_size: whether it may be ``auto``: chosen by the size of the text.
    """

    section: str
    key: str
    annotation: Any
    default: Any
    help: str
    limits: dict[str, Any]
    section_when: tuple[str, ...]
    own_when: tuple[str, ...]
    by_size: bool

    @property
    def dotted(self) -> str:
        """Its full name, ``section.key``."""
        return f"{self.section}.{self.key}"

    @property
    def when(self) -> list[tuple[str, ...]]:
        """Groups of conditions: it has an effect if one condition of every group holds."""
        return [group for group in (self.section_when, self.own_when) if group]


@cache
def all_settings(kind: Any = Config) -> dict[str, Setting]:
    """Returns every setting by its dotted name, in the order of the dataclasses.

    Args:
        kind: a dataclass whose fields are sections: `Config`, or `MixedSource` for the settings of
            an entry of `corpus.mix`.
    """
    found = {}
    types = get_type_hints(kind)
    for section in fields(kind):
        annotations = get_type_hints(types[section.name])
        for field in fields(types[section.name]):
            setting = _setting(section, field, annotations[field.name])
            found[setting.dotted] = setting
    return found


def _setting(section: Field, field: Field, annotation: Any) -> Setting:
    metadata = dict(field.metadata)
    return Setting(
        section=section.name,
        key=field.name,
        annotation=annotation,
        default=field.default,
        help=metadata.pop("help"),
        section_when=section.metadata.get("when", ()),
        own_when=metadata.pop("when"),
        by_size=metadata.pop("by_size"),
        limits=metadata,
    )


@cache
def all_sections() -> dict[str, str]:
    """Returns the first line of every section's description, by the section's name."""
    return {
        name: docstring_of(kind).partition("\n")[0] for name, kind in get_type_hints(Config).items()
    }


def nearest_setting(name: str) -> str | None:
    """Returns the setting that somebody probably means, as its dotted name; None if none is near.

    Args:
        name: a name that is not a setting: mistyped, without its section, an old name, or another
            program's, such as ``lr``, ``--batch-size`` or ``training.lr``.
    """
    keys: dict[str, list[str]] = {section: [] for section in all_sections()}
    for setting in all_settings().values():
        keys[setting.section].append(setting.key)
    section, _, key = name.strip().lstrip("-").replace("-", "_").rpartition(".")
    found = [dotted for dotted in suggest(section, key, keys) if "." in dotted]
    return found[0] if found else None
