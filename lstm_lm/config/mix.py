"""Reads the entries of `corpus.mix`, and writes them back.

In a file, an entry is the name of a source or a flat mapping: ``source``, the settings of that
source, and those of `MixConfig`. A source named alone, and every setting that an entry does not
give, has the default of that setting; stories in a mix have defaults of their own, below.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from lstm_lm.config import effect
from lstm_lm.config.catalogue import all_settings
from lstm_lm.config.checks import find_contradictions_of_source
from lstm_lm.config.corpus_settings import MixedSource
from lstm_lm.config.names import suggest_value
from lstm_lm.config.reader import read_sections
from lstm_lm.config.strict_yaml import one_line, short

STORY_DEFAULTS: Mapping[str, Any] = {
    "world": "wide",
    "count": 30_000,
    "farthest": 150,
    "returns": 4.0,
    "curriculum": 16,
    "parallel": True,
}
"""Settings of stories in a mix whose defaults differ from those of `StoriesConfig`."""

_OF_THE_WHOLE = (
    "lowercase",
    "min_count",
    "vocab_size",
    "extend_vocabulary",
    "mix",
    "passes",
    "cache_dir",
)


def entry_sections() -> dict[str, str]:
    """Returns, for each key that an entry may have, the section that it stands in."""
    keys: dict[str, str] = {}
    for setting in all_settings(MixedSource).values():
        if setting.section != "corpus" or setting.key not in _OF_THE_WHOLE:
            keys.setdefault(setting.key, setting.section)
    return keys


def read_mix(value: Any, problems: dict[str, str]) -> tuple[MixedSource, ...]:
    """Converts the plain value of `corpus.mix`.

    Args:
        value: a list of names and mappings; a name or a mapping alone is a list of one.
        problems: receives what is wrong, by dotted key.

    Returns:
        The entries that are right.
    """
    if value is None:
        return ()
    entries = value if isinstance(value, (list, tuple)) else [value]
    found = []
    for number, entry in enumerate(entries):
        key = f"corpus.mix[{number}]"
        if isinstance(entry, MixedSource):
            found.append(entry)
            continue
        wrong: dict[str, str] = {}
        source = _read_entry(entry, wrong)
        problems.update({f"{key}{place}": text for place, text in wrong.items()})
        if not wrong and source is not None:
            found.append(source)
    return tuple(found)


def _read_entry(entry: Any, wrong: dict[str, str]) -> MixedSource | None:
    """Reads one entry; ``wrong`` receives what is wrong, by place, such as ``.count``."""
    if isinstance(entry, str):
        entry = {"source": entry}
    if not isinstance(entry, Mapping):
        wrong[""] = f"found {short(entry)}, must be a source's name or a mapping with `source`"
        return None
    if "source" not in entry:
        wrong[".source"] = "is missing; must be one of stories, hub, files"
        return None
    sections = entry_sections()
    data: dict[str, dict[str, Any]] = {"mix": {}, "corpus": {}, "stories": {}}
    if entry["source"] == "stories":
        data["stories"] |= STORY_DEFAULTS
    given = []
    for key, value in entry.items():
        if key not in sections:
            wrong[f".{one_line(str(key))}"] = _unknown_key(str(key), sections)
            continue
        data[sections[key]][key] = value
        given.append(f"{sections[key]}.{key}")
    faults: dict[str, str] = {}
    source = read_sections(MixedSource, data, faults)
    for dotted, conditions in effect.without_effect(source, given).items():
        reason = effect.explain_unmet(source, conditions).replace("corpus.", "").replace("mix.", "")
        faults.setdefault(dotted, f"has no effect while {reason}; remove this setting")
    faults |= dict(_contradictions(source, given, faults))
    wrong.update({f".{dotted.partition('.')[2]}": text for dotted, text in faults.items()})
    return source


def _unknown_key(key: str, sections: Mapping[str, str]) -> str:
    """Says what to do about a key that an entry cannot have."""
    if key in _OF_THE_WHOLE:
        return f"holds for the whole mix; set corpus.{key}"
    meant = suggest_value(key, list(sections))
    return f"unknown key; did you mean {meant}?" if meant else "unknown key of a source"


def _contradictions(
    source: MixedSource, given: list[str], faults: Mapping[str, str]
) -> Iterator[tuple[str, str]]:
    """Yields what does not go together in an entry that is otherwise right."""
    if faults:
        return
    for contradiction in find_contradictions_of_source(source):
        yield contradiction.keys[0], contradiction.text
    if source.mix.share is not None:
        for dotted in ("mix.passes", "stories.count"):
            if dotted in given:
                yield dotted, "given together with share, which decides it; give one of them"
        start = source.mix.share_at_start
        if start is not None and start < source.mix.share:
            yield (
                "mix.share_at_start",
                f"found {start:g}, must be at least share, which is {source.mix.share:g}",
            )
    if source.corpus.source == "stories" and "corpus.tokenization" in given:
        yield "corpus.tokenization", "has no effect while source is stories; remove this setting"


def plain_mix(mix: tuple[MixedSource, ...]) -> list[dict[str, Any]]:
    """Returns entries as plain values: each has every setting that has an effect."""
    return [dict(_plain_entry(source)) for source in mix]


def _plain_entry(source: MixedSource) -> Iterator[tuple[str, Any]]:
    sections = entry_sections()
    yield "source", source.corpus.source
    for dotted, setting in all_settings(MixedSource).items():
        if sections.get(setting.key) != setting.section or setting.key == "source":
            continue
        is_decided = dotted in ("stories.count", "mix.passes") and source.mix.share is not None
        is_of_text = dotted == "corpus.tokenization" and source.corpus.source == "stories"
        has_effect = not (is_decided or is_of_text or effect.unmet_conditions(source, dotted))
        if has_effect:
            value = effect.value_of(source, dotted)
            yield setting.key, list(value) if isinstance(value, tuple) else value
