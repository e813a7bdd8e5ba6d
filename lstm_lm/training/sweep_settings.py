"""What a sweep varies: lists of values, ranges to search in, and seeds.

========================================  =====================================================
``optimizer.learning_rate=1e-3,3e-3``     two values
``model.hidden_size=200,[400,200]``       two values: commas inside ``[]``, ``{}`` and quotes
                                          separate nothing
``optimizer.learning_rate=1e-4..1e-1``    a range, for a search
``training.seed=3,7``                     the seeds
``model.num_layers=2``                    one value: an ordinary override, for every run
========================================  =====================================================

Nothing here imports torch, so a wrong setting is reported at once.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from lstm_lm.config import Config, all_settings, config_to_yaml, load_config
from lstm_lm.config.reader import union_members
from lstm_lm.errors import ConfigError, InputError
from lstm_lm.training.auto import SizeChooser
from lstm_lm.training.resolving import FoundConfig, locate_config
from lstm_lm.training.run_directory import WITHOUT_EFFECT_ON_MODEL

SEED = "training.seed"
MOST_RUNS = 10_000
MOST_CHECKED = 512  # combinations of the ends of ranges that are checked before a search
LOGARITHMIC_FROM = 10  # a range whose ends are so many times apart is searched on a log scale
# A search compares perplexities, and these sections decide which text they are measured on.
NOT_SEARCHED = ("corpus", "stories", "evaluation")
_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
_RANGE = re.compile(rf"\s*({_NUMBER})\.\.({_NUMBER})\s*")
_CLOSING = {"[": "]", "{": "}"}


@dataclass(frozen=True)
class Range:
    """The numbers from `low` to `high`, both included.

    Attributes:
        low: the smallest.
        high: the largest.
        whole: whether only whole numbers are meant.
        logarithmic: whether equal factors, not equal differences, are equally probable.
    """

    low: float
    high: float
    whole: bool
    logarithmic: bool

    def text(self, value: float) -> str:
        """A number of the range as it is typed, with four digits at most."""
        if self.whole:
            return str(round(value))
        return f"{min(max(float(f'{value:.4g}'), self.low), self.high):g}"


@dataclass(frozen=True)
class Axis:
    """A setting that a sweep varies.

    Attributes:
        key: its dotted name.
        values: its values as they were typed, in YAML; of a range, the two ends.
        range: the range, if it is one.
        written: all of it as it was typed.
    """

    key: str
    values: tuple[str, ...]
    written: str
    range: Range | None = None


Values = Mapping[str, str]
"""One value for every axis: dotted name -> YAML text."""


@dataclass(frozen=True)
class SweepSettings:
    """What `load_sweep` returns.

    Attributes:
        name: of the configuration, as it was given.
        base: the configuration without the axes.
        shared: overrides for every run.
        axes: what is varied.
        seeds: of the runs of every combination.
        notes: settings that overrides put out of use, a line each.
        chosen: the lines of `SizeChooser.describe`; empty if no setting is ``auto``.
        build: returns the configuration of one run, from the values and the seed.
    """

    name: str
    base: Config
    shared: tuple[str, ...]
    axes: tuple[Axis, ...]
    seeds: tuple[int, ...]
    notes: tuple[str, ...]
    chosen: tuple[str, ...]
    build: Callable[[Values, int], Config]

    def combinations(self) -> Iterator[dict[str, str]]:
        """Yields every combination of the axes' values; the last axis varies fastest."""
        for values in itertools.product(*(axis.values for axis in self.axes)):
            yield dict(zip((axis.key for axis in self.axes), values, strict=True))


def load_sweep(
    config: str | Path,
    overrides: Sequence[str] = (),
    *,
    seeds: int | None = None,
    search: bool = False,
) -> SweepSettings:
    """Reads a configuration and what is varied of it, and checks every run.

    Args:
        config: a run directory, a YAML file, a text, or the name of a packaged configuration.
        overrides: ``section.key=value`` texts, see the module's docstring.
        seeds: how many seeds; the first is the configuration's. None: one, or those listed.
        search: whether ranges are allowed, and the combinations are not all trained.

    Raises:
        ConfigError: a setting is wrong or has no effect, in any of the runs.
        InputError: a list or a range cannot be swept over.
    """
    shared, axes = _split_overrides(overrides)
    _check_axes(axes, shared, search=search)
    found, chooser = locate_config(config), SizeChooser()
    notes: list[str] = []
    base = load_config(found.path, shared, notes, base_overrides=found.overrides, choose=chooser)
    chosen = chooser.describe(base)

    def build(values: Values, seed: int) -> Config:
        varied = [f"{key}={text}" for key, text in values.items()]
        return _load(found, [*shared, *varied, f"{SEED}={seed}"], notes, chooser)

    listed = next((axis for axis in axes if axis.key == SEED), None)
    settings = SweepSettings(
        str(config),
        base,
        tuple(shared),
        tuple(axis for axis in axes if axis is not listed),
        _seeds(listed, base, seeds),
        (),
        tuple(chosen),
        build,
    )
    _check_runs(settings, search=search)
    unique = tuple(dict.fromkeys(notes))
    return SweepSettings(**{**vars(settings), "notes": unique})


def _load(
    found: FoundConfig, overrides: Sequence[str], notes: list[str], chooser: SizeChooser
) -> Config:
    return load_config(found.path, overrides, notes, base_overrides=found.overrides, choose=chooser)


def _split_overrides(overrides: Sequence[str]) -> tuple[list[str], list[Axis]]:
    """Separates the overrides for every run from what is varied."""
    shared, axes = [], []
    for override in overrides:
        key, equals, text = override.partition("=")
        key = ".".join(part.strip() for part in key.split("."))
        setting = all_settings().get(key)
        ends = _RANGE.fullmatch(text)
        values = split_values(text, key) if equals else [text]
        if ends and setting and (kind := _number_kind(setting.annotation)):
            is_fraction = 1.0 in (setting.limits["high"], setting.limits["below"])
            axes.append(_range_axis(key, ends[1], ends[2], kind is int, is_fraction))
        elif len(values) > 1:
            axes.append(Axis(key, tuple(values), text.strip()))
        else:
            shared.append(override)
    return shared, axes


def _number_kind(annotation: object) -> type | None:
    """``int`` or ``float`` if a setting can be such a number."""
    kinds = union_members(annotation)
    return next((kind for kind in (float, int) if kind in kinds), None)


def _range_axis(key: str, low: str, high: str, whole: bool, is_fraction: bool) -> Axis:
    first, last = float(low), float(high)
    written = f"{low}..{high}"
    if not first < last or not math.isfinite(last):
        raise ConfigError(f"{key}: found {written}; the first end of a range must be the lower one")
    if whole and not (first.is_integer() and last.is_integer()):
        raise ConfigError(f"{key}: found {written}; its ends must be whole numbers")
    logarithmic = not is_fraction and 0 < first and last / first >= LOGARITHMIC_FROM
    found = Range(first, last, whole, logarithmic)
    return Axis(key, (found.text(first), found.text(last)), written, found)


def split_values(text: str, key: str = "value") -> list[str]:
    """Splits a text at the commas that are not inside brackets or quotes.

    Args:
        text: values in YAML, such as ``200,[400,200]``.
        key: of the setting, for the message.

    Raises:
        ConfigError: a bracket or quote is not closed, or there is nothing between two commas.
    """
    values, open_brackets, quote, before = [""], list[str](), "", ""
    for character in text:
        if quote:
            if character == quote and before != "\\":
                quote = ""
        elif character in "\"'" and before in ("", *"[{,: ", character):  # not within a word
            quote = character
        elif character in _CLOSING:
            open_brackets.append(_CLOSING[character])
        elif open_brackets and character == open_brackets[-1]:
            open_brackets.pop()
        if character == "," and not quote and not open_brackets:
            values.append("")
            before = ","
            continue
        values[-1] += character
        before = character
    if (quote or open_brackets) and "," in text:
        missing = quote or open_brackets[-1]
        raise ConfigError(f"{key}: found {text.strip()}; a {missing} is missing at its end")
    if len(values) > 1 and not all(value.strip() for value in values):
        raise ConfigError(
            f"{key}: found {text.strip()}; there is no value between two commas: remove one, or "
            "write null"
        )
    return [value.strip() for value in values]


def _check_axes(axes: Sequence[Axis], shared: Sequence[str], *, search: bool) -> None:
    keys = [axis.key for axis in axes]
    given = [*keys, *(override.partition("=")[0].strip() for override in shared)]
    for axis in axes:
        if given.count(axis.key) > 1:
            raise InputError(f"{axis.key}: is given twice; list all of its values once")
        if len(set(axis.values)) < len(axis.values):
            raise InputError(f"{axis.key}: found {axis.written}; list every value once")
        if axis.key in WITHOUT_EFFECT_ON_MODEL:
            raise InputError(
                f"{axis.key}: does not change the trained model, so there is nothing to compare; "
                "give one value"
            )
        if axis.range and (not search or axis.key == SEED):
            raise InputError(
                f"{axis.key}: found the range {axis.written}; list values separated by commas, or "
                "search in it with --search N"
            )
        if search and axis.key.partition(".")[0] in NOT_SEARCHED:
            raise InputError(
                f"{axis.key}: cannot be searched: perplexities of different texts or vocabularies "
                "cannot be compared; leave --search out"
            )
    if search and not any(key != SEED for key in keys):
        raise InputError(
            "--search: nothing varies; give a range such as optimizer.learning_rate=1e-4..1e-1, or "
            "a list of values"
        )


def _seeds(listed: Axis | None, base: Config, count: int | None) -> tuple[int, ...]:
    """The seeds: those listed, or as many as wanted from the configuration's on."""
    if listed is None:
        first = base.training.seed
        return tuple(range(first, first + (count or 1)))
    if count is not None:
        raise InputError(f"--seeds and {SEED}={listed.written}: give one of them")
    wrong = [text for text in listed.values if not re.fullmatch(r"\d+", text)]
    if wrong:
        raise ConfigError(f"{SEED}: found {wrong[0]!r}, must be a whole number of at least 0")
    return tuple(map(int, listed.values))


def _check_runs(settings: SweepSettings, *, search: bool) -> None:
    """Builds the configuration of every combination; in a search, of the ends of the ranges.

    Raises:
        ConfigError: every mistake, once.
        InputError: there are too many runs, or two combinations are the same.
    """
    count = math.prod(len(axis.values) for axis in settings.axes) * len(settings.seeds)
    if count > MOST_RUNS and not search:
        raise InputError(
            f"{count:,} runs, must be at most {MOST_RUNS:,}; list fewer values, or use --search N"
        )
    mistakes: dict[str, None] = {}
    seen: dict[str, Values] = {}
    for values in itertools.islice(settings.combinations(), MOST_CHECKED if search else None):
        try:
            config = settings.build(values, settings.seeds[0])
        except ConfigError as error:
            mistakes.update(dict.fromkeys(str(error).split("\n")))
            continue
        first = seen.setdefault(config_to_yaml(config), values)
        if first is not values:
            raise InputError(
                f"{describe_values(first)} and {describe_values(values)} are the same "
                "configuration; give every value once"
            )
    if mistakes:
        raise ConfigError("\n".join(mistakes))


def describe_values(values: Values) -> str:
    """The values as they are typed, such as ``model.hidden_size=200 optimizer.name=sgd``."""
    return " ".join(f"{key}={text}" for key, text in values.items()) or "the configuration"
