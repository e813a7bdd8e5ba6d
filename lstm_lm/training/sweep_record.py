"""``sweep.json``: what a sweep varies, and what became of every run. It belongs to one sweep.

Nothing here imports torch.
"""

from __future__ import annotations

import json
import math
import re
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from lstm_lm.config import config_from_dict, config_to_dict
from lstm_lm.errors import RunDirectoryError
from lstm_lm.files.atomic import write_atomically
from lstm_lm.files.run_files import FORMAT_VERSION, read_json
from lstm_lm.files.seal import UNSEALED, sealed
from lstm_lm.training.run_directory import WITHOUT_EFFECT_ON_MODEL, differences, holds_run
from lstm_lm.training.sweep_settings import SweepSettings, Values

SWEEP_FILE = "sweep.json"
PICTURE_FILE = "sweep.png"
LONGEST_NAME = 60  # characters of a combination's folder

# What can become of a run.
WAITING, TRAINING, FINISHED = "waiting", "training", "finished"
STOPPED, DIVERGED, FAILED = "stopped", "diverged", "failed"


@dataclass
class SweepRun:
    """A run of a combination, with one seed.

    Attributes:
        seed: its `training.seed`.
        folder: its run directory, within the sweep's.
        state: ``waiting``, ``training``, ``finished``, ``stopped``, ``diverged`` or ``failed``.
        why: what went wrong; empty if nothing did.
        perplexity: on valid, of the best weights; of a mix, by ``training.best_on``.
        seconds: wall time, earlier sessions included.
        steps: optimizer updates.
        tokens: of valid.
    """

    seed: int
    folder: str
    state: str = WAITING
    why: str = ""
    perplexity: float | None = None
    seconds: float | None = None
    steps: int | None = None
    tokens: int | None = None


@dataclass
class Combination:
    """A value for everything that is varied, and its runs.

    Attributes:
        number: counted from 1.
        values: dotted name -> value as it was typed.
        runs: one for every seed.
        parameters: how many numbers are learned; None before its first run.
    """

    number: int
    values: dict[str, str]
    runs: list[SweepRun]
    parameters: int | None = None

    @property
    def finished(self) -> list[SweepRun]:
        """The runs that are finished."""
        return [run for run in self.runs if run.state == FINISHED]

    @property
    def perplexity(self) -> float | None:
        """The mean of the finished runs; None without any."""
        return _mean([run.perplexity for run in self.finished if run.perplexity is not None])

    @property
    def deviation(self) -> float | None:
        """The standard deviation between seeds (of a sample, n - 1); None below two."""
        found = [run.perplexity for run in self.finished if run.perplexity is not None]
        return statistics.stdev(found) if len(found) > 1 else None

    @property
    def seconds(self) -> float | None:
        """The mean time of a finished run; None without any."""
        return _mean([run.seconds for run in self.finished if run.seconds is not None])

    @property
    def is_whole(self) -> bool:
        """Whether all of its runs are finished."""
        return len(self.finished) == len(self.runs)

    @property
    def outcome(self) -> float | None:
        """What a search learns from it: a perplexity; infinite if a run diverged; else None."""
        if any(run.state == DIVERGED for run in self.runs):
            return math.inf
        return self.perplexity if self.is_whole else None


def _mean(values: Sequence[float]) -> float | None:
    return statistics.fmean(values) if values else None


@dataclass
class SweepRecord:
    """A sweep's directory, as ``sweep.json`` describes it.

    Attributes:
        folder: the directory.
        description: what makes it this sweep: the configuration, what is varied, and the search.
        seeds: of every combination.
        combinations: those that are trained or are to be.
        comparable: whether the perplexities of all are of the same words of the same text.
    """

    folder: Path
    description: dict[str, Any]
    seeds: list[int]
    combinations: list[Combination] = field(default_factory=list)
    comparable: bool = True

    @property
    def ranked(self) -> list[Combination]:
        """Whole combinations by their perplexity, then the others."""
        return sorted(
            self.combinations,
            key=lambda one: (
                not one.is_whole,
                math.inf if one.perplexity is None else one.perplexity,
                one.number,
            ),
        )

    @property
    def best(self) -> Combination | None:
        """The whole combination with the lowest mean perplexity, if they can be compared."""
        first = self.ranked[0] if self.combinations and self.comparable else None
        return first if first and first.is_whole else None

    @property
    def runs(self) -> list[SweepRun]:
        """The runs of all combinations."""
        return [run for one in self.combinations for run in one.runs]

    def add(self, values: Values, digits: int = 2) -> Combination:
        """Adds a combination, with a run for every seed that waits.

        Args:
            values: of everything that is varied.
            digits: of the number that its folder begins with.
        """
        number = len(self.combinations) + 1
        name = f"{number:0{digits}}{_slug(values)}"
        runs = [SweepRun(seed, f"{name}/seed-{seed}") for seed in self.seeds]
        self.combinations.append(Combination(number, dict(values), runs))
        return self.combinations[-1]

    def add_seeds(self, seeds: Sequence[int]) -> None:
        """Gives every combination a run for every seed that it does not have."""
        self.seeds = list(seeds)
        for one in self.combinations:
            name = Path(one.runs[0].folder).parent.name
            known = {run.seed: run for run in one.runs}
            one.runs = [known.get(seed) or SweepRun(seed, f"{name}/seed-{seed}") for seed in seeds]

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {
            **{key: value for key, value in self.description.items() if key != "base"},
            "seeds": self.seeds,
            "comparable": self.comparable,
            "best": self.best.number if self.best else None,
            "combinations": [
                {
                    "number": one.number,
                    "values": one.values,
                    "parameters": one.parameters,
                    "perplexity": one.perplexity,
                    "deviation": one.deviation,
                    "seconds": one.seconds,
                    "runs": [asdict(run) for run in one.runs],
                }
                for one in self.ranked
            ],
        }

    def save(self) -> None:
        """Writes ``sweep.json``.

        Raises:
            DiskError: it could not be written.
        """
        head = {"format_version": FORMAT_VERSION, "checksum": UNSEALED}
        content = head | self.to_dict() | {"base": self.description["base"]}
        text = json.dumps(content, ensure_ascii=False) + "\n"
        write_atomically(self.folder / SWEEP_FILE, sealed(text.encode()))


def _slug(values: Values) -> str:
    """The values as a part of a file name, such as ``-hidden_size-200``."""
    parts = (f"{key.rpartition('.')[2]}-{text}" for key, text in values.items())
    slug = re.sub(r"[^\w.+-]+", "-", "-".join(parts)).strip("-.")[:LONGEST_NAME]
    return f"-{slug}" if slug else ""


def describe(settings: SweepSettings, sampler: str | None) -> dict[str, Any]:
    """What makes a sweep this one, for ``sweep.json``.

    Args:
        settings: of the sweep.
        sampler: of a search; None for a grid.
    """
    return {
        "config": settings.name,
        "overrides": list(settings.shared),
        "swept": {axis.key: axis.written for axis in settings.axes},
        "sampler": sampler,
        "base": config_to_dict(settings.base),
    }


def open_record(folder: Path, settings: SweepSettings, sampler: str | None) -> SweepRecord:
    """Reads the record of a sweep, or makes a new one, which is not written yet.

    Args:
        folder: the sweep's directory.
        settings: of the sweep.
        sampler: of a search; None for a grid.

    Raises:
        RunDirectoryError: the directory has something else, or another sweep; what differs.
    """
    description = describe(settings, sampler)
    if holds_run(folder):
        raise RunDirectoryError(f"{folder}: is a run directory; choose another --output")
    path = folder / SWEEP_FILE
    if not path.exists():
        if folder.is_dir() and any(not entry.name.startswith(".") for entry in folder.iterdir()):
            raise RunDirectoryError(
                f"{folder}: is not empty and has no {SWEEP_FILE}; choose another --output"
            )
        return SweepRecord(folder, description, list(settings.seeds))
    record = _read(path)
    if differing := _differing(record, description, settings.seeds):
        raise RunDirectoryError(
            f"{folder}: belongs to another sweep: {differing}; choose another --output"
        )
    record.description = description
    record.add_seeds(settings.seeds)
    return record


def _read(path: Path) -> SweepRecord:
    found = read_json(path)
    try:
        keys = ("config", "overrides", "swept", "sampler", "base")
        combinations = [
            Combination(
                one["number"],
                one["values"],
                [SweepRun(**run) for run in one["runs"]],
                one["parameters"],
            )
            for one in found["combinations"]
        ]
        return SweepRecord(
            path.parent,
            {key: found[key] for key in keys},
            found["seeds"],
            sorted(combinations, key=lambda one: one.number),
            found["comparable"],
        )
    except (KeyError, TypeError) as error:
        raise RunDirectoryError(
            f"{path}: was made by another program: {error} is wrong or missing; remove it"
        ) from None


def _differing(record: SweepRecord, description: Mapping[str, Any], seeds: Sequence[int]) -> str:
    """Names what is another sweep's: values, the configuration, fewer seeds; empty if nothing."""
    parts = []
    before, now = record.description["swept"], description["swept"]
    for key in [*before, *(key for key in now if key not in before)]:
        if before.get(key) != now.get(key):
            was, is_now = (swept.get(key, "not varied") for swept in (before, now))
            parts.append(f"{key} was {was}, is {is_now}")
    if list(before) != list(now) and not parts:
        parts.append(f"the order was {' '.join(before)}, is {' '.join(now)}")
    if record.description["sampler"] != description["sampler"]:
        was, is_now = (
            f"--search with --sampler {one}" if one else "a grid"
            for one in (record.description["sampler"], description["sampler"])
        )
        parts.append(f"it was {was}, is {is_now}")
    old, new = (
        config_from_dict(one["base"], refuse_unused=False)
        for one in (record.description, description)
    )
    if other := differences(old, new, WITHOUT_EFFECT_ON_MODEL):
        parts.append(other)
    missing = [seed for seed in record.seeds if seed not in seeds]
    if missing or (description["sampler"] and list(seeds) != record.seeds):
        was, is_now = (", ".join(map(str, some)) for some in (record.seeds, seeds))
        parts.append(f"seeds were {was}, are {is_now}")
    return "; ".join(parts)
