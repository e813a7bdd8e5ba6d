"""Which settings have an effect in a configuration, and what would give the others one.

A condition names another setting and its values:

==================================  ========================================
``optimizer.name=muon``             its value is this one
``corpus.source=hub|files``         its value is one of these
``model.cell!=elman``               its value is another one
==================================  ========================================

A condition holds only if the setting that it names has an effect itself. So `stories.people_first`
depends on `stories.curriculum`, and with it on `corpus.source`.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any

from lstm_lm.config.catalogue import Setting, all_settings
from lstm_lm.config.corpus_settings import MixedSource
from lstm_lm.config.settings import Config

_CONDITION = re.compile(r"(?P<key>\w+\.\w+)(?P<sign>!?=)(?P<values>.+)")


@dataclass(frozen=True)
class Condition:
    """What another setting must be.

    Attributes:
        key: dotted name of that setting.
        values: the values, as text.
        excluded: the setting must have any value but these.
    """

    key: str
    values: tuple[str, ...]
    excluded: bool

    @classmethod
    def parse(cls, text: str) -> Condition:
        """Reads a condition as it is declared, see the module's docstring."""
        found = _CONDITION.fullmatch(text)
        assert found is not None, f"{text!r} is no condition"
        return cls(found["key"], tuple(found["values"].split("|")), found["sign"] == "!=")

    def is_met_by(self, value: Any) -> bool:
        """Whether a value of that setting is one of those that are needed."""
        return (value_text(value) in self.values) != self.excluded


def value_text(value: Any) -> str:
    """Returns a value as conditions and tables write it: ``null``, ``true``, ``0.5``, ``[1]``."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(value_text, value))}]"
    return format(value, "g") if isinstance(value, float) else str(value)


def _settings_of(config: Config | MixedSource) -> dict[str, Setting]:
    return all_settings(Config if isinstance(config, Config) else MixedSource)


def value_of(config: Config | MixedSource, dotted: str) -> Any:
    """Returns the value of one setting, by its dotted name."""
    section, _, key = dotted.partition(".")
    return getattr(getattr(config, section), key)


def unmet_conditions(config: Config | MixedSource, dotted: str) -> tuple[str, ...]:
    """Returns why a setting has no effect: conditions of which one must hold, and none does.

    The result is empty if the setting has an effect.
    """
    for group in _settings_of(config)[dotted].when:
        conditions = [Condition.parse(text) for text in group]
        met = [
            condition
            for condition in conditions
            if condition.is_met_by(value_of(config, condition.key))
        ]
        unmet = [unmet_conditions(config, condition.key) for condition in met]
        if not met:
            return group
        if all(unmet):
            return unmet[0]
    return ()


def without_effect(
    config: Config | MixedSource, given: Collection[str]
) -> dict[str, tuple[str, ...]]:
    """Finds the given settings that have no effect, though they differ from their defaults.

    Args:
        config: all values.
        given: dotted names of the settings to look at.

    Returns:
        By dotted name, in the order of the settings: `unmet_conditions`.
    """
    return {
        dotted: unmet
        for dotted, setting in _settings_of(config).items()
        if dotted in given
        and value_of(config, dotted) != setting.default
        and (unmet := unmet_conditions(config, dotted))
    }


def involved_settings(conditions: Sequence[str]) -> list[str]:
    """Returns the dotted names of the settings that conditions name, each once."""
    return list(dict.fromkeys(Condition.parse(text).key for text in conditions))


def explain_unmet(config: Config | MixedSource, conditions: Sequence[str]) -> str:
    """Returns why a setting has no effect, such as ``corpus.source is stories``."""
    keys = involved_settings(conditions)
    values = {value_text(value_of(config, key)) for key in keys}
    if len(keys) > 1 and len(values) == 1:
        return f"{join_words(keys, 'and')} are {values.pop()}"
    return join_words([f"{key} is {value_text(value_of(config, key))}" for key in keys], "and")


def remedy(conditions: Sequence[str]) -> str:
    """Returns how to give a setting an effect, such as ``set corpus.source=files``."""
    changes, values = [], []
    for condition in map(Condition.parse, conditions):
        if condition.excluded:
            changes.append(condition.key)
        else:
            values += [f"{condition.key}={value}" for value in condition.values]
    ways = [f"set {join_words(values, 'or')}"] if values else []
    ways += [f"change {join_words(changes, 'or')}"] if changes else []
    return " or ".join(ways)


def join_words(words: Sequence[str], last: str) -> str:
    """Joins words as a sentence does: ``a, b or c``."""
    return f" {last} ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def drop(config: Config, dotted: Collection[str]) -> Config:
    """Returns a configuration in which some settings have their defaults again."""
    for name in dotted:
        setting = all_settings()[name]
        section = replace(getattr(config, setting.section), **{setting.key: setting.default})
        config = replace(config, **{setting.section: section})
    return config


def describe_conditions(groups: Sequence[Sequence[str]]) -> str:
    """Returns in words what gives a setting an effect, such as ``corpus.source is hub or files``.

    Args:
        groups: conditions; one of every group must hold. Without any, the text is empty.
    """
    texts = []
    for group in filter(None, groups):
        alternatives: dict[str, list[str]] = {}
        for condition in map(Condition.parse, group):
            wanted = f"{'not ' * condition.excluded}{' or '.join(condition.values)}"
            alternatives.setdefault(wanted, []).append(condition.key)
        texts.append(
            " or ".join(
                f"{'one of ' * (len(keys) > 1)}{', '.join(keys)} is {wanted}"
                for wanted, keys in alternatives.items()
            )
        )
    return " and ".join(texts)
