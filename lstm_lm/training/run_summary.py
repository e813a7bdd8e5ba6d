"""`summarise_run`: what was trained on what, for how long, and how good it is."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from lstm_lm.config import Config
from lstm_lm.corpus.description import describe_corpus
from lstm_lm.errors import ConfigError, RunDirectoryError
from lstm_lm.files.run_files import METRICS_FILE, RUN_FILES, STATE_FILE, TIMINGS_FILE, YAML_FILE
from lstm_lm.model import hub, pretrained
from lstm_lm.model.network import Network
from lstm_lm.training.checkpoint import Progress, read_progress
from lstm_lm.training.resuming import find_resume_point
from lstm_lm.training.run_directory import load_run_config
from lstm_lm.training.run_log import read_log
from lstm_lm.training.starting import describe_origin
from lstm_lm.training.validation import best_validation


@dataclass(frozen=True)
class RunFile:
    """A file of a run.

    Attributes:
        name: its name.
        bytes: its size.
        modified: when it was last written, Unix time in seconds.
    """

    name: str
    bytes: int
    modified: float


@dataclass(frozen=True)
class RunSummary:
    """What `summarise_run` returns; what is not known is None.

    Attributes:
        folder: the directory.
        description: one line about the model.
        cell: of its network, such as ``lstm``.
        parameters: how many numbers were learned.
        vocab_size: words, ``<unk>`` and ``<eos>`` included.
        corpus: what it was trained on, one line.
        started_from: the model, or the file of word vectors, that its first weights are from.
        train_tokens: words and line ends of train.
        seed: of the run.
        steps: optimizer updates so far.
        epochs: whole passes over train so far.
        words: training words seen so far.
        seconds: wall time until the last line of the log.
        perplexity: the lowest on valid so far.
        perplexity_step: the step that it was measured at.
        perplexity_tokens: over how many tokens.
        oov_tokens: how many of them are ``<unk>``.
        state: ``carried`` from line to line, or ``reset`` before each line.
        finished: whether the training budget is spent.
        resumable: whether ``--resume`` can continue it.
        not_resumable_because: why not; empty if it can.
        files: the files of the run.
    """

    folder: str
    description: str
    cell: str
    parameters: int
    vocab_size: int
    corpus: str | None
    started_from: str | None
    train_tokens: int | None
    seed: int | None
    steps: int | None
    epochs: int | None
    words: int | None
    seconds: float | None
    perplexity: float | None
    perplexity_step: int | None
    perplexity_tokens: int | None
    oov_tokens: int | None
    state: str | None
    finished: bool | None
    resumable: bool
    not_resumable_because: str
    files: list[RunFile]

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self)


def summarise_run(name_or_path: str | Path) -> RunSummary:
    """Reads what a run directory says about itself; the weights are not loaded.

    Args:
        name_or_path: a run directory, or a model on the hub, which has no training data.

    Raises:
        RunDirectoryError: there is no such directory, or its model's description is damaged.
        HubError: the hub is out of reach, or has no such model.
    """
    folder = hub.find_folder(name_or_path)
    with hub.errors_of_hub_model(name_or_path, folder):
        description = pretrained.load_description(folder)
    with torch.device("meta"):  # sizes without memory
        network = Network(description.config, len(description.vocabulary))
    config = _config_of(folder)
    progress = _progress_of(folder)
    logged = (read_log(folder / METRICS_FILE) or [{}])[-1]  # where the checkpoint is lost
    best = best_validation(folder) or {}
    timings = read_log(folder / TIMINGS_FILE)
    reason = _not_resumable_because(folder)
    return RunSummary(
        folder=str(name_or_path),
        description=pretrained.describe(network),
        cell=description.config.cell,
        parameters=network.parameter_count,
        vocab_size=network.vocab_size,
        corpus=describe_corpus(config) if config else None,
        started_from=_describe_start(description.origin, config),
        train_tokens=progress.train_tokens if progress else None,
        seed=config.training.seed if config else None,
        steps=progress.step if progress else logged.get("step"),
        epochs=progress.epoch if progress else logged.get("epoch"),
        words=progress.words if progress else logged.get("words"),
        seconds=timings[-1]["seconds"] if timings else None,
        perplexity=best.get("perplexity"),
        perplexity_step=best.get("step"),
        perplexity_tokens=best.get("tokens"),
        oov_tokens=best.get("oov_tokens"),
        state=best.get("state"),
        finished=is_finished(config, progress) if config and progress else None,
        resumable=not reason,
        not_resumable_because=reason,
        files=_files_of(folder),
    )


def _describe_start(origin: dict[str, Any] | None, config: Config | None) -> str | None:
    """What a run began with, if it was not chance."""
    if origin:
        return describe_origin(origin)
    return config.training.word_vectors if config else None


def _config_of(folder: Path) -> Config | None:
    """The run's configuration; None if it is missing or damaged."""
    try:
        return load_run_config(folder)[0]
    except (RunDirectoryError, ConfigError):
        return None


def _progress_of(folder: Path) -> Progress | None:
    """How far the last checkpoint is; None if it is missing or damaged."""
    try:
        return read_progress(folder / STATE_FILE)
    except RunDirectoryError:
        return None


def is_finished(config: Config, progress: Progress) -> bool:
    """Whether `Trainer.finished` would be true."""
    training = config.training
    return bool(
        (training.max_epochs and progress.epoch >= training.max_epochs)
        or (training.max_steps and progress.step >= training.max_steps)
        or (training.patience is not None and progress.stale_validations >= training.patience)
    )


def _not_resumable_because(folder: Path) -> str:
    if not (folder / YAML_FILE).exists():
        return f"it has no {YAML_FILE}: it is a saved model, not a training run"
    try:
        find_resume_point(folder)
    except RunDirectoryError as error:
        return str(error)
    return ""


def _files_of(folder: Path) -> list[RunFile]:
    paths = [folder / name for name in RUN_FILES if (folder / name).is_file()]
    return [RunFile(path.name, path.stat().st_size, path.stat().st_mtime) for path in paths]
