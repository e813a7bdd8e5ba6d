"""All that a run needs to go on as if it had never stopped, in one file.

``training_state.safetensors`` holds weights, optimiser, carried state and random generators as tensors, and `Progress`
as JSON in its header. One file is replaced by one rename, so tensors and counters cannot be of two different moments.
The checkpoint before stays beside it, under a second name.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_type_hints

import torch
from torch import Tensor

from lstm_lm.cells import LSTMState
from lstm_lm.config.reader import InvalidValue, read_value
from lstm_lm.errors import RunDirectoryError
from lstm_lm.files.atomic import temporary_beside, write_atomically
from lstm_lm.files.seal import write_sealed
from lstm_lm.files.tensors import must_not_be_longer, open_tensors, read_tensors, tensor_file
from lstm_lm.model.language_model import LanguageModel, State
from lstm_lm.model.pretrained import weights_of
from lstm_lm.training.optimizers import kept_tensors

STATE_FILE = "training_state.safetensors"
PREVIOUS_FILE = "training_state.previous.safetensors"


@dataclass
class Progress:
    """How far a run has come; all of it plain numbers, and whose it is.

    Attributes:
        step: optimiser updates done.
        epoch: passes over train completed.
        position: columns of the train streams read in this epoch.
        words: training targets seen.
        recent_nll: nats summed since the last line of the log.
        recent_words: targets they were summed over.
        best_loss: best valid loss so far, nats per token.
        best_step: the step it was measured at.
        stale_validations: validations since then.
        validated_step: step of the last validation.
        plateau_factor: what schedule ``plateau`` has left of the learning rate.
        metrics_bytes: length of ``metrics.jsonl`` at this moment; later lines are of a future that did not happen.
        metrics_checksum: of those bytes.
        train_tokens: length of the train stream, to notice another corpus.
        identity: of the run; its other files have the same.
        skipped_updates: updates that were not made, because their loss or gradient was not finite.
        skipped_in_a_row: how many of them came last, one after another.
        last_loss: the last finite loss of an update, nats per token.
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
    metrics_bytes: int = 0
    metrics_checksum: str | None = None
    train_tokens: int = 0
    identity: str = "unnamed"
    skipped_updates: int = 0
    skipped_in_a_row: int = 0
    last_loss: float | None = None


def save_checkpoint(
    folder: Path,
    progress: Progress,
    model: LanguageModel,
    optimizers: Sequence[torch.optim.Optimizer],
    state: State,
) -> None:
    """Writes ``training_state.safetensors``; the one before becomes ``training_state.previous.safetensors``.

    Raises:
        DiskError: if it could not be written; the one before is still there.
    """
    tensors = {f"model.{name}": tensor for name, tensor in weights_of(model).items()}
    for number, optimizer in enumerate(optimizers):
        for index, slots in optimizer.state_dict()["state"].items():
            tensors |= {
                f"optimizer.{number}.{index}.{name}": value
                for name, value in slots.items()
                if torch.is_tensor(value)
            }
    for layer, (h, c) in enumerate(state):
        tensors |= {f"state.{layer}.h": h, f"state.{layer}.c": c}
    tensors |= {f"random.{name}": value for name, value in _generators(model.device).items()}
    header = {"progress": dataclasses.asdict(progress)}

    def write(file: Any) -> None:
        write_sealed(file, tensor_file(tensors, header))
        _keep_previous(folder)

    write_atomically(folder / STATE_FILE, write)


def _keep_previous(folder: Path) -> None:
    """Gives the checkpoint that is about to be replaced its second name; a file system without links does without."""
    second = temporary_beside(folder / PREVIOUS_FILE)
    with contextlib.suppress(OSError):
        try:
            os.link(folder / STATE_FILE, second)
            os.replace(second, folder / PREVIOUS_FILE)
        finally:
            second.unlink(missing_ok=True)  # a rename between two names of one file changes nothing


def read_progress(path: Path) -> Progress:
    """Reads how far a checkpoint is, and that it is whole.

    Raises:
        RunDirectoryError: if it is missing, damaged or of another format.
    """
    with open_tensors(path) as (_, header):
        return _checked_progress(header, path)


def load_checkpoint(
    path: Path, model: LanguageModel, optimizers: Sequence[torch.optim.Optimizer], state: State
) -> tuple[Progress, State]:
    """Puts a checkpoint back into a model and its optimisers, just built, and into torch's generators.

    Args:
        path: the checkpoint.
        model: receives the weights.
        optimizers: receive their memory.
        state: one like that to be carried on with.

    Returns:
        How far the run was, and the state to carry on with.

    Raises:
        RunDirectoryError: if there is none, or it is damaged, of another format, or of another model.
    """
    required = {f"model.{name}": tensor for name, tensor in weights_of(model).items()}
    required |= {
        f"state.{layer}.{name}": part
        for layer, both in enumerate(state)
        for name, part in zip("hc", both, strict=True)
    }
    required["random.cpu"] = torch.get_rng_state()
    optional = {
        f"optimizer.{number}.{name}": tensor
        for number, optimizer in enumerate(optimizers)
        for name, tensor in kept_tensors(optimizer).items()
    }
    must_not_be_longer(path, required | optional)
    with open_tensors(path) as (file, header):
        progress = _checked_progress(header, path)
        optional |= {
            name: torch.empty(file.get_slice(name).get_shape(), dtype=torch.uint8, device="meta")
            for name in {"random.cuda", "random.mps"} & set(file.keys())
        }
        tensors = read_tensors(file, path, required, optional)
    parts: dict[str, dict[str, Tensor]] = {"model": {}, "optimizer": {}, "state": {}, "random": {}}
    for name, tensor in tensors.items():
        part, _, rest = name.partition(".")
        parts[part][rest] = tensor
    for number in range(len(optimizers)):
        kept = {name for name in optional if name.startswith(f"optimizer.{number}.")}
        if kept & tensors.keys() and kept - tensors.keys():
            raise RunDirectoryError(
                f"{path}: has no {min(kept - tensors.keys())}; it is damaged, or made by another "
                "program"
            )
    model.load_state_dict(parts["model"], strict=False)
    _load_optimizers(optimizers, parts["optimizer"])
    state = [
        LSTMState(*(parts["state"][f"{layer}.{name}"].to(model.device) for name in "hc"))
        for layer in range(len(state))
    ]
    try:
        _set_generators(parts["random"], model.device)
    except RuntimeError as error:
        raise RunDirectoryError(
            f"{path}: its random generator cannot be set ({str(error).splitlines()[0]}); it is of "
            "another version of torch, or made by another program"
        ) from None
    return progress, state


def _checked_progress(header: dict[str, Any], path: Path) -> Progress:
    """Reads the counters, each of the type that stands beside it, and none of them below zero or without end."""
    values, hints = header.get("progress"), get_type_hints(Progress)
    try:
        return Progress(
            **{
                name: read_value(
                    value, hints[name], {} if "str" in str(hints[name]) else {"low": 0}
                )
                for name, value in values.items()
            }
        )
    except (InvalidValue, AttributeError, KeyError):
        raise RunDirectoryError(
            f"{path}: its counters are not those of a training; it is damaged, or made by another "
            "program or version"
        ) from None


def _load_optimizers(
    optimizers: Sequence[torch.optim.Optimizer], tensors: dict[str, Tensor]
) -> None:
    slots: list[dict[int, dict[str, Tensor]]] = [{} for _ in optimizers]
    for name, tensor in tensors.items():
        number, index, slot = name.split(".", 2)
        slots[int(number)].setdefault(int(index), {})[slot] = tensor
    for optimizer, state in zip(optimizers, slots, strict=True):
        optimizer.load_state_dict({**optimizer.state_dict(), "state": state})


def _generators(device: torch.device) -> dict[str, Tensor]:
    states = {"cpu": torch.get_rng_state()}
    if device.type != "cpu":
        states[device.type] = getattr(torch, device.type).get_rng_state()
    return states


def _set_generators(states: dict[str, Tensor], device: torch.device) -> None:
    torch.set_rng_state(states["cpu"])
    if device.type != "cpu" and device.type in states:
        getattr(torch, device.type).set_rng_state(states[device.type])
