"""All that a run needs to go on as if it had never stopped, in one file.

``training_state.safetensors`` holds weights, optimiser, carried state and random generators as tensors, and `Progress`
as JSON in its header. One file is replaced by one rename, so tensors and counters cannot be of two different moments.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from lstm_lm.cells import LSTMState
from lstm_lm.errors import RunDirectoryError
from lstm_lm.model.language_model import LanguageModel, State
from lstm_lm.model.pretrained import FORMAT_VERSION, open_tensors, weights_of, write_tensors

STATE_FILE = "training_state.safetensors"


@dataclass
class Progress:
    """How far a run has come; all of it plain numbers.

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
        train_tokens: length of the train stream, to notice another corpus.
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
    train_tokens: int = 0
    skipped_updates: int = 0
    skipped_in_a_row: int = 0
    last_loss: float | None = None


def save_checkpoint(folder: Path, progress: Progress, model: LanguageModel,
                    optimizers: Sequence[torch.optim.Optimizer], state: State) -> None:
    """Writes ``training_state.safetensors``; the one before stays until the new one is whole.

    Raises:
        DiskError: if it could not be written.
    """
    tensors = {f"model.{name}": tensor for name, tensor in weights_of(model).items()}
    for number, optimizer in enumerate(optimizers):
        for index, slots in optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{number}.{index}.{name}": value for name, value in slots.items()
                        if torch.is_tensor(value)}
    for layer, (h, c) in enumerate(state):
        tensors |= {f"state.{layer}.h": h, f"state.{layer}.c": c.clone()}
    tensors |= {f"random.{name}": value for name, value in _generators(model.device).items()}
    header = {"format_version": FORMAT_VERSION, **dataclasses.asdict(progress)}
    write_tensors(folder / STATE_FILE, tensors, {"progress": json.dumps(header)})


def load_checkpoint(folder: Path, model: LanguageModel,
                    optimizers: Sequence[torch.optim.Optimizer]) -> tuple[Progress, State]:
    """Puts a checkpoint back into a model and its optimisers, just built, and into torch's generators.

    Raises:
        RunDirectoryError: if there is none, or it is damaged, of a newer format, or of another model.
    """
    path = folder / STATE_FILE
    with open_tensors(path) as file:
        progress = _read_progress(file.metadata(), path)
        tensors = {name: file.get_tensor(name) for name in file.keys()}
    parts: dict[str, dict[str, Tensor]] = {"model": {}, "optimizer": {}, "state": {}, "random": {}}
    for name, tensor in tensors.items():
        part, _, rest = name.partition(".")
        parts.setdefault(part, {})[rest] = tensor
    wanted = {name: tuple(tensor.shape) for name, tensor in weights_of(model).items()}
    if {name: tuple(tensor.shape) for name, tensor in parts["model"].items()} != wanted:
        raise RunDirectoryError(f"{path}: its weights are of another model than the configuration's; resume with the "
                                "run's own config.yaml")
    model.load_state_dict(parts["model"], strict=False)
    _load_optimizers(optimizers, parts["optimizer"])
    state = [LSTMState(*(parts["state"][f"{layer}.{name}"].to(model.device) for name in "hc"))
             for layer in range(len(parts["state"]) // 2)]
    torch.set_rng_state(parts["random"]["cpu"])
    if model.device.type != "cpu" and model.device.type in parts["random"]:
        getattr(torch, model.device.type).set_rng_state(parts["random"][model.device.type])
    return progress, state


def _read_progress(metadata: dict[str, str] | None, path: Path) -> Progress:
    try:
        header = json.loads((metadata or {}).get("progress", "{}"))
        if header.pop("format_version", None) != FORMAT_VERSION:
            raise RunDirectoryError(f"{path}: not of the format that this lstm_lm reads ({FORMAT_VERSION}); resume "
                                    "with the lstm_lm that wrote it")
        return Progress(**header)
    except (ValueError, TypeError, AttributeError) as error:
        raise RunDirectoryError(f"{path}: damaged ({error}); start again with --overwrite, or restore it") from None


def _load_optimizers(optimizers: Sequence[torch.optim.Optimizer], tensors: dict[str, Tensor]) -> None:
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
