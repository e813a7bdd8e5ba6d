"""Files, dicts and overrides to a `Config`, and back; reports every mistake at once."""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from lstm_lm.config import effect
from lstm_lm.config.catalogue import all_sections, all_settings
from lstm_lm.config.checks import find_contradictions
from lstm_lm.config.declaration import AUTO
from lstm_lm.config.mix import plain_mix, read_mix
from lstm_lm.config.overrides import Overrides, apply_overrides, apply_value
from lstm_lm.config.reader import read_sections
from lstm_lm.config.settings import Config
from lstm_lm.config.strict_yaml import format_yaml, one_line, parse_yaml, read_text, short
from lstm_lm.errors import ConfigError

Choose = Callable[[Config, Collection[str]], Mapping[str, Any]]
"""Chooses the settings that are ``auto``. It receives the configuration, in which these have their
defaults, and their dotted names; it returns their values by dotted name."""

Inherit = Callable[[Config, Collection[str]], Mapping[str, Any]]
"""Finds the settings that a run has because of the model that it starts from. It receives the
configuration, and the dotted names of the settings that are given and not ``auto``; it returns the
values of others by dotted name, and raises `ConfigError` for those that contradict the model."""


def load_config(
    path: str | Path,
    overrides: Overrides = (),
    notes: list[str] | None = None,
    *,
    base_overrides: Overrides = (),
    choose: Choose | None = None,
    inherit: Inherit | None = None,
) -> Config:
    """Reads a YAML file, applies the overrides, and checks everything.

    A setting that differs from its default but has no effect is a mistake, with one exception:
    where the file gives it, and only the overrides put it out of use, it gets its default again,
    and `notes` says so.

    Args:
        path: the file; settings that it does not give have their defaults.
        overrides: they replace the file's values; later ones replace earlier ones.
        notes: receives one line for each reason for which settings of the file were dropped.
        base_overrides: overrides that count as part of the file; what they put out of use in the
            file is dropped without a note.
        choose: chooses the settings that are ``auto``; None: these have their defaults.
        inherit: finds what comes from the model that a run starts from; None: nothing does.

    Raises:
        ConfigError: every mistake of the file and the overrides, one a line; or one line if the
            file cannot be read or is not YAML.
    """
    problems: dict[str, str] = {}
    name = one_line(str(path), 500)
    data = parse_yaml(read_text(path), name, problems)
    if not isinstance(data, dict):
        found = "is empty" if data is None else f"found {short(data)}"
        raise ConfigError(f"{name}: {found}, must have sections ({', '.join(all_sections())})")
    in_file = _given(data)
    replaced = apply_overrides(base_overrides, data, problems)
    unused = effect.without_effect(_read(data, {}), in_file - replaced) if replaced else {}
    for dotted in unused:
        section, _, key = dotted.partition(".")
        del data[section][key]
    return _load(data, overrides, problems, notes, choose=choose, inherit=inherit)


def config_from_dict(
    data: dict[str, Any],
    overrides: Overrides = (),
    notes: list[str] | None = None,
    *,
    refuse_unused: bool = True,
    choose: Choose | None = None,
    inherit: Inherit | None = None,
) -> Config:
    """Builds a configuration from nested dicts, such as those in a run directory's ``config.json``.

    Args:
        data: sections of keys and plain values.
        overrides: see `load_config`.
        notes: see `load_config`.
        refuse_unused: whether a setting without effect is a mistake; pass False for what a program
            has written.
        choose: see `load_config`.
        inherit: see `load_config`.

    Raises:
        ConfigError: every mistake, one a line.
    """
    if not isinstance(data, dict):
        raise ConfigError(f"configuration: found {short(data)}, must be a dict of sections")
    return _load(copy.deepcopy(data), overrides, {}, notes, refuse_unused, choose, inherit)


def config_to_dict(config: Config) -> dict[str, Any]:
    """Returns nested dicts of plain values, as JSON and YAML can hold them: tuples become lists."""
    data = {
        section: {
            key: list(value) if isinstance(value, tuple) else value for key, value in keys.items()
        }
        for section, keys in asdict(config).items()
    }
    data["corpus"]["mix"] = plain_mix(config.corpus.mix)
    return data


def config_to_yaml(config: Config) -> str:
    """Returns YAML text with every setting; `load_config` reads the same configuration from it."""
    return format_yaml(config_to_dict(config))


def _load(
    data: dict[str, Any],
    overrides: Overrides,
    problems: dict[str, str],
    notes: list[str] | None,
    refuse_unused: bool = True,
    choose: Choose | None = None,
    inherit: Inherit | None = None,
) -> Config:
    """Checks every setting, then the settings together.

    Args:
        data: sections of keys and plain values, which this may change.
        overrides: what replaces them.
        problems: mistakes that were found before.
        notes: see `load_config`.
        refuse_unused: see `config_from_dict`.
        choose: see `load_config`.
        inherit: see `load_config`.
    """
    changed = copy.deepcopy(data)
    overridden = apply_overrides(overrides, changed, problems)
    config = _read(changed, problems)
    if inherit and not problems:
        values = inherit(config, _given(changed).difference(_find_auto(changed)))
        for part in (data, changed):
            for dotted, value in values.items():
                apply_value(dotted, value, part, problems)
        config = _read(changed, problems)
    open_settings = _find_auto(changed)
    if choose and open_settings and not problems:
        chosen = choose(config, open_settings)
        _replace_auto(data, chosen)
        _replace_auto(changed, chosen)
        config = _read(changed, problems)
    in_file = _read(data, {})
    if refuse_unused:
        config = _settle_unused(config, in_file, _given(changed), overridden, problems, notes)
    for contradiction in find_contradictions(config):
        # a setting that is wrong by itself must be corrected first
        if problems.keys().isdisjoint(contradiction.keys):
            problems[contradiction.keys[0]] = contradiction.text
    if problems:
        raise ConfigError(
            "\n".join(f"{one_line(dotted)}: {text}" for dotted, text in problems.items())
        )
    return config


def _read(data: dict[str, Any], problems: dict[str, str]) -> Config:
    """Reads all sections; a list of layer sizes alone decides the number of layers."""
    corpus = data.get("corpus")
    if isinstance(corpus, dict) and "mix" in corpus:
        mix = read_mix(corpus["mix"], problems)
        data = data | {"corpus": corpus | {"mix": mix}}
    config = read_sections(Config, data, problems)
    sizes = config.model.hidden_size
    if isinstance(sizes, tuple) and sizes and "model.num_layers" not in _given(data):
        config = replace(config, model=replace(config.model, num_layers=len(sizes)))
    return config


def _find_auto(data: dict[str, Any]) -> list[str]:
    """Returns the dotted names of the settings that are ``auto`` and may be."""
    return [
        dotted
        for dotted, setting in all_settings().items()
        if setting.by_size and _value_in(data, dotted) == AUTO
    ]


def _replace_auto(data: dict[str, Any], chosen: Mapping[str, Any]) -> None:
    """Puts the chosen values where the data has ``auto``."""
    for dotted, value in chosen.items():
        if _value_in(data, dotted) == AUTO:
            section, _, key = dotted.partition(".")
            data[section][key] = value


def _value_in(data: dict[str, Any], dotted: str) -> Any:
    """Returns the value that the data gives to a setting; None if it gives none."""
    section, _, key = dotted.partition(".")
    keys = data.get(section)
    return keys.get(key) if isinstance(keys, dict) else None


def _given(data: dict[str, Any]) -> set[str]:
    """Returns the dotted names of all keys, known and unknown."""
    return {
        f"{section}.{key}"
        for section, keys in data.items()
        if isinstance(keys, dict)
        for key in keys
    }


def _settle_unused(
    config: Config,
    in_file: Config,
    given: Collection[str],
    overridden: Collection[str],
    problems: dict[str, str],
    notes: list[str] | None,
) -> Config:
    """Drops what only the overrides put out of use; anything else without effect is a problem.

    Args:
        config: file and overrides together.
        in_file: the file alone.
        given: dotted names of all settings that the file or the overrides give.
        overridden: those that the overrides give.
        problems: receives what is wrong.
        notes: receives what was dropped.

    Returns:
        The configuration without what was dropped.
    """
    dropped: dict[tuple[str, ...], list[str]] = {}
    for dotted, conditions in effect.without_effect(config, given).items():
        if dotted not in overridden and not effect.unmet_conditions(in_file, dotted):
            dropped.setdefault(conditions, []).append(dotted)
        elif problems.keys().isdisjoint([dotted, *effect.involved_settings(conditions)]):
            reason = effect.explain_unmet(config, conditions)
            ways = effect.remedy(conditions)
            problems[dotted] = f"has no effect while {reason}; {ways}, or remove this setting"
    for conditions, names in dropped.items():
        if notes is not None:
            reason = effect.explain_unmet(config, conditions)
            notes.append(f"not used, because {reason}: {', '.join(names)}")
    return effect.drop(config, [dotted for names in dropped.values() for dotted in names])
