"""`dry_run`: how large a model is, and how long it would train, without training it."""

from __future__ import annotations

import sys
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from lstm_lm.config import Config
from lstm_lm.errors import DivergedError
from lstm_lm.machine import flush_tiny_numbers, free_memory_kept, out_of_memory_named
from lstm_lm.training.progress import count_steps
from lstm_lm.training.run import build_trainer
from lstm_lm.training.trainer import Trainer

WARM_UP_STEPS = 3  # the first steps allocate memory, and may compile
MEASURED_STEPS = 10
MAX_SECONDS = 20.0  # measuring ends after this time, with at least one step
NEVER = 10**9  # steps; no line of the log is written


@dataclass(frozen=True)
class Estimate:
    """What `dry_run` returns.

    Attributes:
        description: one line about the model.
        parameters: how many numbers are learned.
        vocab_size: words, ``<unk>`` and ``<eos>`` included.
        train_tokens: words and line ends of train.
        valid_tokens: words and line ends of valid.
        device: where it was measured.
        steps_per_epoch: optimizer updates of one pass over train.
        steps: optimizer updates of the whole run, if ``training.patience`` does not end it earlier.
        seconds_per_step: measured.
        seconds_per_epoch: computed from it; validation is not included.
        seconds: of all steps, computed from it; validation is not included.
        words_per_second: training words.
        memory: peak memory in bytes: of the accelerator, or of this process since it started if
            the device is the CPU. None if the system does not report it.
    """

    description: str
    parameters: int
    vocab_size: int
    train_tokens: int
    valid_tokens: int
    device: str
    steps_per_epoch: int
    steps: int
    seconds_per_step: float
    seconds_per_epoch: float
    seconds: float
    words_per_second: float
    memory: int | None


def dry_run(config: Config) -> Estimate:
    """Measures a few training steps; leaves nothing but the encoded corpus in the cache.

    Args:
        config: of the run, see `lstm_lm.training.run.resolve`.

    Raises:
        ConfigError: memory does not suffice, or this machine has no such device.
        CorpusError: the corpus cannot be read.
        DivergedError: a loss is not finite.
        DiskError: the temporary files cannot be written.
    """
    config = replace(config, training=replace(config.training, log_every=NEVER))
    with (
        tempfile.TemporaryDirectory(prefix="lstm-lm-dry-run-") as folder,
        out_of_memory_named(),
        flush_tiny_numbers(),
        free_memory_kept(),
    ):
        trainer = build_trainer(config, Path(folder), report=_ignore)
        device = trainer.network.device
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
        try:
            seconds_per_step, words_per_step = _measure_steps(trainer)
        except DivergedError as error:  # its text names the temporary folder
            raise DivergedError(
                "a loss or gradient is not finite in the first steps; lower "
                "optimizer.learning_rate or training.max_grad_norm"
            ) from error
        return _estimate(trainer, seconds_per_step, words_per_step, _peak_memory(device))


def _ignore(line: str) -> None:
    """Ignores a line for people."""


def _measure_steps(trainer: Trainer) -> tuple[float, float]:
    """Trains a few steps; returns the mean seconds and the mean words of one."""
    for _ in range(WARM_UP_STEPS):
        trainer.update()
    _synchronise(trainer.network.device)
    words_before, started, steps = trainer.progress.words, time.perf_counter(), 0
    while steps < MEASURED_STEPS and (not steps or time.perf_counter() - started < MAX_SECONDS):
        trainer.update()
        steps += 1
    _synchronise(trainer.network.device)
    seconds = time.perf_counter() - started
    return seconds / steps, (trainer.progress.words - words_before) / steps


def _estimate(
    trainer: Trainer, seconds_per_step: float, words_per_step: float, memory: int | None
) -> Estimate:
    training = trainer.config
    steps_per_epoch = count_steps(training, trainer.streams.length)
    limits = []
    if training.max_steps:
        limits.append(training.max_steps)
    if training.max_epochs:
        limits.append(training.max_epochs * steps_per_epoch)
    return Estimate(
        description=trainer.model.describe(),
        parameters=trainer.network.parameter_count,
        vocab_size=trainer.network.vocab_size,
        train_tokens=len(trainer.streams.tokens),
        valid_tokens=sum(len(text.tokens) for text in trainer.valid),
        device=str(trainer.network.device),
        steps_per_epoch=steps_per_epoch,
        steps=min(limits),
        seconds_per_step=seconds_per_step,
        seconds_per_epoch=seconds_per_step * steps_per_epoch,
        seconds=seconds_per_step * min(limits),
        words_per_second=words_per_step / seconds_per_step,
        memory=memory,
    )


def _synchronise(device: torch.device) -> None:
    """Waits until an accelerator has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def _peak_memory(device: torch.device) -> int | None:
    """Bytes; None if the system does not report it."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    if device.type == "mps":
        return torch.mps.driver_allocated_memory()
    try:
        import resource
    except ImportError:  # Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # macOS counts bytes, Linux kB
