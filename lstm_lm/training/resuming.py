"""From where a run is gone on: its last checkpoint, or what is whole of a damaged one."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lstm_lm.errors import ConfigError, DamagedRunError, RunDirectoryError
from lstm_lm.files.atomic import refusals_named
from lstm_lm.files.tensors import open_tensors
from lstm_lm.model.pretrained import (
    CONFIG_FILE,
    WEIGHTS_FILE,
    Description,
    load_description,
    read_json,
)
from lstm_lm.training.checkpoint import PREVIOUS_FILE, STATE_FILE, Progress, read_progress
from lstm_lm.training.run_directory import SET_ASIDE_FILE, YAML_FILE, load_run_config
from lstm_lm.training.run_log import METRICS_FILE, read_log_start


@dataclass(frozen=True)
class ResumePoint:
    """What a run is gone on from.

    Attributes:
        folder: the run directory.
        checkpoint: the file.
        step: that it was written at.
        metrics: what ``metrics.jsonl`` held then, or nothing if that is lost.
        log_lost: whether that is lost.
        weights_step: the step of the weights in ``model.safetensors``; None if they are lost.
        description: the model's; None if it is lost.
        damaged: names of the files that are not whole, or not this run's.
    """

    folder: Path
    checkpoint: Path
    step: int
    metrics: bytes
    log_lost: bool
    weights_step: int | None
    description: Description | None
    damaged: frozenset[str]

    def put_in_place(self) -> None:
        """Makes the checkpoint the run's last, and lays a damaged log aside.

        Raises:
            DiskError: if that is refused.
        """
        with refusals_named(self.folder):
            if self.checkpoint.name == PREVIOUS_FILE:
                os.replace(self.checkpoint, self.folder / STATE_FILE)
            if self.log_lost and (self.folder / METRICS_FILE).exists():
                os.replace(self.folder / METRICS_FILE, self.folder / SET_ASIDE_FILE)


def find_resume_point(folder: Path, *, mend: bool = False) -> ResumePoint | None:
    """Looks at every file that a run needs to go on.

    Args:
        folder: the run directory.
        mend: go on from what is whole, even if it is not all.

    Returns:
        The point, or None for a run that was stopped before its first checkpoint, which begins again.

    Raises:
        DamagedRunError: if a file is missing, damaged or of another run, and ``mend`` would help.
        RunDirectoryError: if it would not help, or did not.
    """
    log = folder / METRICS_FILE
    if not (
        any((folder / name).exists() for name in (STATE_FILE, PREVIOUS_FILE, WEIGHTS_FILE))
        or log.is_file()
        and log.stat().st_size
    ):
        return None
    if (folder / CONFIG_FILE).exists() and _is_of_format_1(folder):
        raise RunDirectoryError(
            f"{folder}: of format 1, which is predicted with but not gone on with; resume with the "
            "lstm_lm that wrote it, or choose another --output"
        )
    found, wrong = _examine(folder)
    point = _newest_whole(folder, found, wrong)
    wrong.pop(PREVIOUS_FILE, None)  # as good as none, as long as there is a later one
    if wrong and not mend:
        damage = next(iter(wrong.values()))
        raise DamagedRunError(damage, _remedy(point)) if point else RunDirectoryError(damage)
    if point is None:
        raise RunDirectoryError(
            f"{folder}: no checkpoint there is whole; restore {STATE_FILE}, or start again with "
            "--overwrite"
        )
    return point


def _is_of_format_1(folder: Path) -> bool:
    try:
        return read_json(folder / CONFIG_FILE)["format_version"] == 1
    except RunDirectoryError:
        return False


def _examine(folder: Path) -> tuple[dict[str, Any], dict[str, str]]:
    """Reads the files that say whose they are: what they hold, and what is wrong with those that are not to be used.

    The run is that of most of them, so that a file of another run is the one that is named.
    """
    readers: dict[str, Callable[[Path], Any]] = {
        YAML_FILE: lambda path: load_run_config(path.parent)[1],
        CONFIG_FILE: lambda path: load_description(path.parent),
        STATE_FILE: read_progress,
        PREVIOUS_FILE: read_progress,
        WEIGHTS_FILE: _read_weights_header,
    }
    found, whose, wrong = {}, {}, {}
    for name, read in readers.items():
        try:
            found[name] = read(folder / name)
            whose[name] = getattr(found[name], "identity", found[name])
        except (RunDirectoryError, ConfigError) as error:
            wrong[name] = str(error).splitlines()[0]
    identity = Counter(whose.values()).most_common(1)[0][0] if whose else None
    for name, other in whose.items():
        if other is None or other != identity:
            del found[name]
            wrong[name] = f"{folder / name}: of another run than the files beside it; restore it"
    return found, wrong


@dataclass(frozen=True)
class _Weights:
    identity: str
    step: int


def _read_weights_header(path: Path) -> _Weights:
    with open_tensors(path) as (_, header):
        step = header.get("step")
        if not isinstance(step, int):
            raise RunDirectoryError(f"{path}: of no step of a training; restore it")
        return _Weights(str(header.get("identity")), step)


def _newest_whole(folder: Path, found: dict[str, Any], wrong: dict[str, str]) -> ResumePoint | None:
    """The newest checkpoint whose log is whole too, or else the newest; adds to ``wrong`` what is so besides."""
    whole = [(folder / name, found[name]) for name in (STATE_FILE, PREVIOUS_FILE) if name in found]
    if not whole:
        return None
    (path, progress), start = whole[0], None
    for older in whole:
        try:
            start = read_log_start(
                folder / METRICS_FILE, older[1].metrics_bytes, older[1].metrics_checksum
            )
            path, progress = older
            break
        except RunDirectoryError as error:
            wrong.setdefault(METRICS_FILE, str(error))
    weights_step = _weights_step(folder / WEIGHTS_FILE, found, wrong, progress)
    return ResumePoint(
        folder,
        path,
        progress.step,
        start or b"",
        start is None,
        weights_step,
        found.get(CONFIG_FILE),
        frozenset(wrong),
    )


def _weights_step(
    path: Path, found: dict[str, Any], wrong: dict[str, str], progress: Progress
) -> int | None:
    if progress.step == 0 and not path.exists():
        wrong.pop(WEIGHTS_FILE, None)  # nothing was learned yet, and nothing saved
    if WEIGHTS_FILE not in found:
        return None
    step = found[WEIGHTS_FILE].step
    if step <= progress.step and step != (
        progress.best_step or step
    ):  # later ones are of a kill before saving
        wrong[WEIGHTS_FILE] = (
            f"{path}: the weights of step {step:,}, not those of step {progress.best_step:,}, the "
            "best so far; restore it"
        )
        return None
    return step


def _remedy(point: ResumePoint) -> str:
    lost = [
        text
        for text, gone in (
            ("its log", point.log_lost),
            ("the best weights so far", WEIGHTS_FILE in point.damaged),
        )
        if gone
    ]
    return f"what is whole goes on from step {point.step:,}" + (
        f", without {' and '.join(lost)}" if lost else ""
    )
