"""Which rank of a training this process is, as `torchrun` says. Nothing here imports torch."""

from __future__ import annotations

import os
from dataclasses import dataclass

from lstm_lm.errors import ConfigError

# What torchrun tells every process; all of it is needed to meet the others.
_NAMES = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


@dataclass(frozen=True)
class Launch:
    """How this process was started.

    Attributes:
        rank: its number among all processes of the training, from 0.
        size: how many there are.
        local_rank: its number among those on this machine.
        machine: the machine's number.
    """

    rank: int = 0
    size: int = 1
    local_rank: int = 0
    machine: int = 0

    @property
    def is_first(self) -> bool:
        """Whether it is the process that reads the arguments, writes and prints."""
        return self.rank == 0


ALONE = Launch()
"""A process that trains by itself."""


def find_launch() -> Launch:
    """Reads the environment: one process of several if torchrun, or the like, started it.

    Raises:
        ConfigError: a variable is no number, or no rank of that many.
    """
    if not all(os.environ.get(name) for name in _NAMES) or _number("WORLD_SIZE") < 2:
        return ALONE
    rank, size = _number("RANK"), _number("WORLD_SIZE")
    if rank >= size:
        raise ConfigError(f"RANK: found {rank}; it must be below WORLD_SIZE, which is {size}")
    return Launch(rank, size, _number("LOCAL_RANK", rank), _number("GROUP_RANK", 0))


def _number(name: str, missing: int | None = None) -> int:
    text = os.environ.get(name)
    if text is None and missing is not None:
        return missing
    try:
        number = int(text or "")
        if number < 0:
            raise ValueError
    except ValueError:
        raise ConfigError(
            f"{name}: found {text!r} in the environment; torchrun sets a whole number there; start "
            "the training with torchrun, or unset it"
        ) from None
    return number
