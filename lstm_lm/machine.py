"""The machine: its memory, cores and devices, and how the process uses them."""

from __future__ import annotations

import contextlib
import ctypes
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import numpy as np
import torch

from lstm_lm.errors import ConfigError

SMALLER_SIZES = (
    "lower model.hidden_size, model.embedding_dim, corpus.vocab_size, training.batch_size or "
    "training.bptt_length"
)
# On the CPU, PyTorch has no exception type of its own for lack of memory; these are its messages.
CPU_MEMORY_MESSAGES = (
    "can't allocate memory",
    "not enough memory",
    "Storage size calculation overflowed",
)

# Parameters of glibc's malloc, by their numbers in malloc.h, in bytes. M_TRIM_THRESHOLD: free
# memory at the heap's end above this returns to the system. M_MMAP_THRESHOLD: blocks above this
# come from the system one by one and return to it when freed; glibc accepts at most 2**25.
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
KEEP_FOR_STEPS = {M_TRIM_THRESHOLD: 2**31 - 1, M_MMAP_THRESHOLD: 2**25}
KEEP_BETWEEN_STEPS = {M_TRIM_THRESHOLD: 2**20, M_MMAP_THRESHOLD: 2**20}


def available_cores() -> int:
    """The number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def choose_device(name: str, asked_by: str = "training.device") -> torch.device:
    """The device of that name; ``auto`` is the first of cuda, mps and cpu that this machine has.

    Args:
        name: ``auto``, ``cpu``, ``cuda`` or ``mps``.
        asked_by: the setting or option that named it, for the message.

    Raises:
        ConfigError: this machine has no such device.
    """
    has = {
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
        "cpu": True,
    }
    present = [device for device, is_there in has.items() if is_there]
    if name == "auto":
        return torch.device(present[0])
    if name not in present:
        raise ConfigError(
            f"{asked_by}: found {name!r}, but torch finds no such device on this machine; "
            f"allowed here: auto, {', '.join(present)}"
        )
    return torch.device(name)


@contextmanager
def out_of_memory_named() -> Iterator[None]:
    """While entered, lack of memory, on a CPU or an accelerator, is reported in one line.

    Raises:
        ConfigError: in place of the exceptions of Python, NumPy and PyTorch.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        is_known = isinstance(error, MemoryError | torch.OutOfMemoryError)
        if not is_known and not any(message in str(error) for message in CPU_MEMORY_MESSAGES):
            raise
        raise ConfigError(
            f"model and training: not enough memory for these sizes; {SMALLER_SIZES}"
        ) from error


@contextmanager
def flush_tiny_numbers() -> Iterator[None]:
    """While entered, the CPU takes numbers below 1e-38 (denormals) as zero.

    A CPU needs about a hundred times as long for a denormal as for another number. They arise from
    closed gates and from the momentum of dead units, and make a training step two to four times as
    long. Threads inherit the mode, so enter this before any thread starts.
    """
    before = sys.float_info.min / 2 == 0
    for kind in (np.float32, np.float64):
        np.finfo(kind)  # numpy 2.0 warns if it is asked for the first time while the mode is on
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(before)


def keep_free_memory(limits: Mapping[int, int] = KEEP_FOR_STEPS) -> None:
    """Makes glibc return free memory to the system now, and keep what is freed from now on.

    By default glibc returns memory and asks for it again as blocks happen to lie. Steps then wait
    for thousands of pages to be cleared, and the size of the process varies by a fifth, which hides
    leaks. Does nothing where the C library is not glibc.

    Args:
        limits: `KEEP_FOR_STEPS` or `KEEP_BETWEEN_STEPS`.
    """
    with contextlib.suppress(OSError, AttributeError, TypeError):  # Windows, macOS, musl
        library = ctypes.CDLL(None)
        library.malloc_trim(0)
        for parameter, size in limits.items():
            library.mallopt(parameter, size)


def in_own_thread(work: Callable[[], None]) -> None:
    """Runs work between two training steps, such as validation, in a thread of its own.

    glibc gives every thread a heap of its own. So the many small blocks of validation and drawing
    do not fragment the memory of the steps. OpenMP gives every thread its own workers, so the
    thread must end: with more workers than cores, a step takes twice as long.

    Raises:
        Exception: whatever ``work`` raises.
    """
    keep_free_memory(KEEP_BETWEEN_STEPS)
    with ThreadPoolExecutor(1) as thread:
        thread.submit(work).result()
    keep_free_memory()
