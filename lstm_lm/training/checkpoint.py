"""Everything that a run needs to resume as if it had never stopped, in one file.

``training_state.safetensors`` has the weights, the optimizer state, the carried state and the
random generators as tensors, and `Progress` as JSON in its header. One rename replaces the file, so
tensors and counters are always from the same moment. The checkpoint before it is kept under a
second name.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, get_type_hints

import torch
from torch import Tensor

from lstm_lm.config.reader import InvalidValue, read_value
from lstm_lm.errors import RunDirectoryError
from lstm_lm.files.atomic import temporary_beside, write_atomically
from lstm_lm.files.run_files import PREVIOUS_FILE, STATE_FILE
from lstm_lm.files.seal import write_sealed
from lstm_lm.files.tensors import must_not_be_longer, open_tensors, read_tensors, tensor_file
from lstm_lm.model.network import Network
from lstm_lm.model.pretrained import weights_of
from lstm_lm.model.recurrent import LayerStates
from lstm_lm.training.optimizers import saved_tensors


@dataclass
class Progress:
    """How far a run is; plain numbers and the run's id.

    Attributes:
        step: optimizer updates done.
        epoch: passes over train completed.
        position: columns of the train streams read in this epoch.
        words: training targets seen.
        recent_nll: nats summed since the last line of the log.
        recent_words: targets in that sum.
        best_loss: best validation loss so far, nats per token.
        best_step: the step of the best validation.
        stale_validations: validations since then.
        validated_step: step of the last validation.
        plateau_factor: product of the learning rate's reductions so far (schedule ``plateau``).
        schedule_share: lowest fraction of the peak learning rate that the schedule has reached.
        schedule_peak: that peak; None before the first update.
        metrics_bytes: length of ``metrics.jsonl`` at this moment.
        metrics_checksum: checksum of those bytes.
        train_tokens: length of the train stream, to notice another corpus.
        run_id: the id that all files of the run contain.
        skipped_updates: updates that were skipped because their loss or gradient was not finite.
        skipped_in_a_row: how many of the last updates were skipped, one after another.
        last_loss: the last finite loss of an update, nats per token.
        ranks: how many processes made the last update together.
        averaged: how many steps' weights are in the average.
        valid_losses: of all validations until averaging began, nats per token; only counted where
            they decide when it begins.
    """

    step: int = 0
    epoch: int = 0
    position: int = 0
    words: int = 0
    recent_nll: float = 0.0
    recent_words: int = 0
    best_loss: float | None = None
    best_step: int | None = None
    stale_validations: int = 0
    validated_step: int | None = None
    plateau_factor: float = 1.0
    schedule_share: float = 1.0
    schedule_peak: float | None = None
    metrics_bytes: int = 0
    metrics_checksum: str | None = None
    train_tokens: int = 0
    run_id: str = "unnamed"
    skipped_updates: int = 0
    skipped_in_a_row: int = 0
    last_loss: float | None = None
    ranks: int = 1
    averaged: int = 0
    valid_losses: tuple[float, ...] = ()


def save_checkpoint(
    folder: Path,
    progress: Progress,
    network: Network,
    optimizers: Sequence[torch.optim.Optimizer],
    state: LayerStates,
    averaged: Network | None = None,
) -> None:
    """Writes ``training_state.safetensors``; the one before it gets the name of `PREVIOUS_FILE`.

    Args:
        folder: the run directory.
        progress: how far the run is.
        network: has the weights.
        optimizers: have their state.
        state: the carried state.
        averaged: has the averaged weights; None if there are none yet.

    Raises:
        DiskError: it could not be written; the one before it is unchanged.
    """
    tensors = collect_tensors(network, optimizers, state, averaged)
    header = {"progress": dataclasses.asdict(progress)}

    def write(file: BinaryIO) -> None:
        write_sealed(file, tensor_file(tensors, header))
        _keep_previous(folder)

    write_atomically(folder / STATE_FILE, write)


def collect_tensors(
    network: Network,
    optimizers: Sequence[torch.optim.Optimizer],
    state: LayerStates,
    averaged: Network | None,
) -> dict[str, Tensor]:
    """Returns what a checkpoint holds, by name: what `restore_tensors` takes.

    Arguments are those of `save_checkpoint`.
    """
    tensors = {f"model.{name}": tensor for name, tensor in weights_of(network).items()}
    for number, optimizer in enumerate(optimizers):
        for index, slots in optimizer.state_dict()["state"].items():
            for name, value in slots.items():
                if torch.is_tensor(value):
                    tensors[f"optimizer.{number}.{index}.{name}"] = value
    tensors |= _named_state(state)
    for name, value in network.random_numbers.states(network.device).items():
        tensors[f"random.{name}"] = value
    if averaged is not None:
        tensors |= {f"average.{name}": tensor for name, tensor in weights_of(averaged).items()}
    return tensors


def _named_state(state: LayerStates) -> dict[str, Tensor]:
    """The carried state's tensors by name, such as ``state.0.h``."""
    return {
        f"state.{layer}.{field}": getattr(parts, field)
        for layer, parts in enumerate(state)
        for field in parts._fields
    }


def _keep_previous(folder: Path) -> None:
    """Links the checkpoint that is about to be replaced to `PREVIOUS_FILE`, where links exist."""
    second = temporary_beside(folder / PREVIOUS_FILE)
    with contextlib.suppress(OSError):
        try:
            os.link(folder / STATE_FILE, second)
            os.replace(second, folder / PREVIOUS_FILE)
        finally:
            second.unlink(missing_ok=True)  # a rename between two names of one file changes nothing


def read_progress(path: Path) -> Progress:
    """Reads how far a checkpoint is, and checks that the file is whole.

    Raises:
        RunDirectoryError: it is missing, damaged or of another format.
    """
    with open_tensors(path) as (_, header):
        return _checked_progress(header, path)


def load_checkpoint(
    path: Path,
    network: Network,
    optimizers: Sequence[torch.optim.Optimizer],
    state: LayerStates,
) -> tuple[Progress, LayerStates, dict[str, Tensor]]:
    """Loads a checkpoint into a new network, its optimizers, and its random generators.

    Args:
        path: the checkpoint.
        network: receives the weights.
        optimizers: receive their state.
        state: a carried state of the same shapes.

    Returns:
        How far the run was, its carried state, and its averaged weights by name (none if it had
        not begun to average).

    Raises:
        RunDirectoryError: it is missing, damaged, of another format, or of another model.
    """
    required = {f"model.{name}": tensor for name, tensor in weights_of(network).items()}
    required |= _named_state(state)
    required["random.cpu"] = network.random_numbers.states(network.device)["cpu"]
    optional = {
        f"optimizer.{number}.{name}": tensor
        for number, optimizer in enumerate(optimizers)
        for name, tensor in saved_tensors(optimizer).items()
    }
    averages = {f"average.{name}": tensor for name, tensor in weights_of(network).items()}
    must_not_be_longer(path, required | optional | averages)
    with open_tensors(path) as (file, header):
        progress = _checked_progress(header, path)
        if progress.averaged:
            required |= averages
        for name in {"random.cuda", "random.mps"} & set(file.keys()):
            shape = file.get_slice(name).get_shape()
            optional[name] = torch.empty(shape, dtype=torch.uint8, device="meta")
        tensors = read_tensors(file, path, required, optional)
    _check_optimizer_tensors(path, len(optimizers), set(optional), set(tensors))
    try:
        return progress, *restore_tensors(tensors, network, optimizers, state)
    except RuntimeError as error:
        raise RunDirectoryError(
            f"{path}: its random generator cannot be set ({str(error).splitlines()[0]}); it was "
            "written with another version of torch, or by another program"
        ) from None


def restore_tensors(
    tensors: Mapping[str, Tensor],
    network: Network,
    optimizers: Sequence[torch.optim.Optimizer],
    state: LayerStates,
) -> tuple[LayerStates, dict[str, Tensor]]:
    """Puts the tensors of a checkpoint where they belong.

    Args:
        tensors: of `collect_tensors`.
        network: receives the weights.
        optimizers: receive their state.
        state: a carried state with the same layers.

    Returns:
        The carried state, and the averaged weights by name; none before averaging begins.

    Raises:
        RuntimeError: a generator does not accept its state.
    """
    kinds = ("model", "optimizer", "state", "random", "average")
    parts: dict[str, dict[str, Tensor]] = {kind: {} for kind in kinds}
    for name, tensor in tensors.items():
        part, _, rest = name.partition(".")
        parts[part][rest] = tensor
    network.load_state_dict(parts["model"], strict=False)
    _load_optimizers(optimizers, parts["optimizer"])
    loaded = [
        type(like)(
            *(parts["state"][f"{layer}.{field}"].to(network.device) for field in like._fields)
        )
        for layer, like in enumerate(state)
    ]
    network.random_numbers.set_states(parts["random"], network.device)
    return loaded, parts["average"]


def _check_optimizer_tensors(
    path: Path, optimizers: int, expected: set[str], found: set[str]
) -> None:
    """Raises unless every optimizer has all of its tensors, or none, as before its first step."""
    for number in range(optimizers):
        own = {name for name in expected if name.startswith(f"optimizer.{number}.")}
        if own & found and own - found:
            raise RunDirectoryError(
                f"{path}: {min(own - found)} is missing; it is damaged, or made by another program"
            )


def _checked_progress(header: dict[str, Any], path: Path) -> Progress:
    """Reads the counters: each of its type, none below zero, none infinite."""
    values: Any = header.get("progress")
    hints = get_type_hints(Progress)
    try:
        read = {}
        for name, value in values.items():
            limits = {} if "str" in str(hints[name]) else {"low": 0}
            read[name] = read_value(value, hints[name], limits)
        return Progress(**read)
    except (InvalidValue, AttributeError, KeyError):
        raise RunDirectoryError(
            f"{path}: its counters are not those of a training run; it is damaged, or made by "
            "another program or version"
        ) from None


def _load_optimizers(
    optimizers: Sequence[torch.optim.Optimizer], tensors: dict[str, Tensor]
) -> None:
    states: list[dict[int, dict[str, Tensor]]] = [{} for _ in optimizers]
    for name, tensor in tensors.items():
        number, index, slot = name.split(".", 2)
        states[int(number)].setdefault(int(index), {})[slot] = tensor
    for optimizer, state in zip(optimizers, states, strict=True):
        optimizer.load_state_dict({**optimizer.state_dict(), "state": state})
