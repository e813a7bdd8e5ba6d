"""Where a run resumes: from its last checkpoint, or from what is whole of a damaged run."""

from __future__ import annotations

import os
import shlex
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from lstm_lm.config import Config
from lstm_lm.errors import ConfigError, DamagedRunError, RunDirectoryError
from lstm_lm.files.atomic import disk_errors
from lstm_lm.files.run_files import (
    CONFIG_FILE,
    METRICS_FILE,
    PREVIOUS_FILE,
    SET_ASIDE_FILE,
    STATE_FILE,
    WEIGHTS_FILE,
    YAML_FILE,
)
from lstm_lm.files.tensors import open_tensors
from lstm_lm.model.pretrained import Description, load_description
from lstm_lm.training.checkpoint import Progress, read_progress
from lstm_lm.training.run_directory import (
    WITHOUT_EFFECT_ON_MODEL,
    claim_folder,
    differences,
    holds_run,
    load_run_config,
)
from lstm_lm.training.run_log import read_log_start


@dataclass(frozen=True)
class ResumePoint:
    """What a run resumes from.

    Attributes:
        folder: the run directory.
        checkpoint: the checkpoint file.
        step: the step of the checkpoint.
        metrics: the content of ``metrics.jsonl`` at that step; empty if it is lost.
        log_lost: whether it is lost.
        weights_step: the step of the weights in ``model.safetensors``; None if they are lost.
        description: the model's; None if it is lost.
        damaged: names of the files that are damaged, missing, or from another run.
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
        """Makes the checkpoint the run's last one, and renames a damaged log.

        Raises:
            DiskError: that is refused.
        """
        with disk_errors(self.folder):
            if self.checkpoint.name == PREVIOUS_FILE:
                os.replace(self.checkpoint, self.folder / STATE_FILE)
            if self.log_lost and (self.folder / METRICS_FILE).exists():
                os.replace(self.folder / METRICS_FILE, self.folder / SET_ASIDE_FILE)


def find_resume_point(folder: Path, *, mend: bool = False) -> ResumePoint | None:
    """Checks every file that a run needs to resume.

    Args:
        folder: the run directory.
        mend: resume from what is whole, even if some files are not.

    Returns:
        The point; None for a run that was stopped before its first checkpoint, and begins again.

    Raises:
        DamagedRunError: a file is missing, damaged or from another run, and ``mend`` would help.
        RunDirectoryError: ``mend`` would not help, or did not.
    """
    log = folder / METRICS_FILE
    has_checkpoint = any(
        (folder / name).exists() for name in (STATE_FILE, PREVIOUS_FILE, WEIGHTS_FILE)
    )
    if not (has_checkpoint or (log.is_file() and log.stat().st_size)):
        return None
    files = _examine(folder)
    point = _newest_whole(folder, files)
    files.wrong.pop(PREVIOUS_FILE, None)  # not needed as long as there is a later one
    if files.wrong and not mend:
        damage = next(iter(files.wrong.values()))
        raise DamagedRunError(damage, _remedy(point)) if point else RunDirectoryError(damage)
    if point is None:
        raise RunDirectoryError(
            f"{folder}: no checkpoint in it is whole; restore {STATE_FILE}, or start again with "
            "--overwrite"
        )
    return point


def check_ready(folder: Path, config: Config) -> None:
    """Checks that a run can begin in a directory, or that it has a whole run of this configuration.

    Raises:
        RunDirectoryError: neither, or another process is training in it.
    """
    resume = holds_run(folder)
    with claim_folder(folder, resume=resume, overwrite=False):
        if not resume:
            return
        before, _ = load_run_config(folder)
        if differing := differences(before, config, WITHOUT_EFFECT_ON_MODEL):
            raise RunDirectoryError(
                f"{folder}: contains a run of another configuration: {differing}; remove it to "
                "train it again, or choose another --output"
            )
        try:
            find_resume_point(folder)
        except DamagedRunError as error:
            again = ["lstm-lm", "train", str(folder), "--resume", "--mend"]
            raise RunDirectoryError(
                f"{error}: {shlex.join(again)}; or remove {folder} to train it again"
            ) from None


@dataclass(frozen=True)
class _SavedWeights:
    run_id: str
    step: int


@dataclass
class _Examined:
    """The files of a run: the content of the usable ones, and what is wrong with the others."""

    config_run_id: str | None = None
    description: Description | None = None
    checkpoints: dict[str, Progress] = field(default_factory=dict)
    weights: _SavedWeights | None = None
    wrong: dict[str, str] = field(default_factory=dict)


def _examine(folder: Path) -> _Examined:
    """Reads the files that contain a run id.

    The run is that of most files, so a single file of another run is the one that is reported.
    """
    files, run_ids = _Examined(), {}
    try:
        files.config_run_id = load_run_config(folder)[1]
        run_ids[YAML_FILE] = files.config_run_id
    except (RunDirectoryError, ConfigError) as error:
        files.wrong[YAML_FILE] = str(error).splitlines()[0]
    try:
        files.description = load_description(folder)
        run_ids[CONFIG_FILE] = files.description.run_id
    except RunDirectoryError as error:
        files.wrong[CONFIG_FILE] = str(error).splitlines()[0]
    for name in (STATE_FILE, PREVIOUS_FILE):
        try:
            files.checkpoints[name] = read_progress(folder / name)
            run_ids[name] = files.checkpoints[name].run_id
        except RunDirectoryError as error:
            files.wrong[name] = str(error).splitlines()[0]
    try:
        files.weights = _read_weights_header(folder / WEIGHTS_FILE)
        run_ids[WEIGHTS_FILE] = files.weights.run_id
    except RunDirectoryError as error:
        files.wrong[WEIGHTS_FILE] = str(error).splitlines()[0]
    run_id = Counter(run_ids.values()).most_common(1)[0][0] if run_ids else None
    for name, other in run_ids.items():
        if other != run_id:
            files.wrong[name] = (
                f"{folder / name}: from another run than the files beside it; restore it"
            )
    for name in files.wrong:
        files.checkpoints.pop(name, None)
    if CONFIG_FILE in files.wrong:
        files.description = None
    if WEIGHTS_FILE in files.wrong:
        files.weights = None
    return files


def _read_weights_header(path: Path) -> _SavedWeights:
    with open_tensors(path) as (_, header):
        step = header.get("step")
        if not isinstance(step, int):
            raise RunDirectoryError(f"{path}: has no training step; restore it")
        return _SavedWeights(str(header.get("run_id")), step)


def _newest_whole(folder: Path, files: _Examined) -> ResumePoint | None:
    """The newest checkpoint whose log is whole too, or else the newest; adds to ``files.wrong``."""
    whole = [
        (folder / name, files.checkpoints[name])
        for name in (STATE_FILE, PREVIOUS_FILE)
        if name in files.checkpoints
    ]
    if not whole:
        return None
    (path, progress), metrics = whole[0], None
    for older_path, older in whole:
        try:
            metrics = read_log_start(
                folder / METRICS_FILE, older.metrics_bytes, older.metrics_checksum
            )
            path, progress = older_path, older
            break
        except RunDirectoryError as error:
            files.wrong.setdefault(METRICS_FILE, str(error))
    weights_step = _weights_step(folder / WEIGHTS_FILE, files, progress)
    return ResumePoint(
        folder,
        path,
        progress.step,
        metrics or b"",
        metrics is None,
        weights_step,
        files.description,
        frozenset(files.wrong),
    )


def _weights_step(path: Path, files: _Examined, progress: Progress) -> int | None:
    """The step of the saved weights; None if there are none that belong to this checkpoint."""
    if progress.step == 0 and not path.exists():
        files.wrong.pop(WEIGHTS_FILE, None)  # nothing was learned and saved yet
    if files.weights is None:
        return None
    step = files.weights.step
    # later weights are from a run that was killed between saving its weights and its checkpoint
    is_older = step <= progress.step and progress.best_step not in (None, step)
    if is_older:
        files.wrong[WEIGHTS_FILE] = (
            f"{path}: has the weights of step {step:,}, not those of step "
            f"{progress.best_step:,}, the best so far; restore it"
        )
        return None
    return step


def _remedy(point: ResumePoint) -> str:
    lost = []
    if point.log_lost:
        lost.append("its log")
    if WEIGHTS_FILE in point.damaged:
        lost.append("the best weights so far")
    without = f", without {' and '.join(lost)}" if lost else ""
    return f"what is whole resumes from step {point.step:,}{without}"
