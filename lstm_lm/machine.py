"""The machine: its memory, cores and devices, and how the process uses them."""

from __future__ import annotations

import contextlib
import ctypes
import os
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch

from lstm_lm.errors import ConfigError
from lstm_lm.memory import out_of_memory

SMALLER_SIZES = (
    "lower model.hidden_size, model.embedding_dim, corpus.vocab_size, training.batch_size or "
    "training.bptt_length"
)

# Parameters of glibc's malloc, by their numbers in malloc.h, in bytes. M_TRIM_THRESHOLD: free
# memory at the heap's end above this returns to the system. M_MMAP_THRESHOLD: blocks above this
# come from the system one by one and return to it when freed; glibc accepts at most 2**25.
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
KEEP_FOR_STEPS = {M_TRIM_THRESHOLD: 2**31 - 1, M_MMAP_THRESHOLD: 2**25}
KEEP_BETWEEN_STEPS = {M_TRIM_THRESHOLD: 2**20, M_MMAP_THRESHOLD: 2**20}
# glibc raises both by itself, up to this, when a large block is freed.
HIGHEST_OF_GLIBC = {M_TRIM_THRESHOLD: 2**26, M_MMAP_THRESHOLD: 2**25}
# How users set them: variables of their own, and names in the variable GLIBC_TUNABLES.
USERS_LIMITS = "MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_"
USERS_TUNABLES = "glibc.malloc.trim_threshold", "glibc.malloc.mmap_threshold"

# How Linux begins the line of a CPU's features (x86, ARM), and the names of those for bfloat16.
_FEATURES = ("flags", "Features")
_BFLOAT16 = {"avx512_bf16", "amx_bf16", "avx10_2", "bf16"}

_keeping, _keepers = threading.Lock(), 0  # how many trainings are inside `free_memory_kept`


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


def lacks_bfloat16(cpu_info: Path = Path("/proc/cpuinfo")) -> bool:
    """Whether this CPU is known to have no bfloat16 instructions; False where nobody says.

    Args:
        cpu_info: what Linux says about the CPU.
    """
    try:
        lines = cpu_info.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return False
    found = [line.partition(":")[2].split() for line in lines if line.startswith(_FEATURES)]
    return bool(found) and not any(_BFLOAT16 & set(features) for features in found)


@contextmanager
def out_of_memory_named() -> Iterator[None]:
    """While entered, lack of memory, on a CPU or an accelerator, is reported in one line.

    Raises:
        ConfigError: in place of the exceptions of Python, NumPy and PyTorch.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not out_of_memory(error):
            raise
        raise ConfigError(
            f"model and training: not enough memory for these sizes; {SMALLER_SIZES}"
        ) from error


@contextmanager
def flush_tiny_numbers() -> Iterator[None]:
    """While entered, the CPU takes numbers below 1e-38 (denormals) as zero.

    A CPU needs about a hundred times as long for a denormal as for another number. They arise from
    closed gates and from the momentum of dead units, and make a training step two to four times as
    long.

    The mode is that of one thread. It is set, and put back, for this thread and for its OpenMP
    workers, on which torch computes; threads that start meanwhile inherit it. One of these that
    goes on afterwards keeps it, because no thread can set the mode of another: such as a thread
    that a logger starts, or torch's own for the backward pass on a GPU. Neither computes on the
    CPU. Workers that had another mode than this thread then have that of this thread.
    """
    before = sys.float_info.min / 2 == 0
    for kind in (np.float32, np.float64):
        np.finfo(kind)  # numpy 2.0 warns if it is asked for the first time while the mode is on
    torch.set_flush_denormal(True)
    _share_mode_with_workers()
    try:
        yield
    finally:
        torch.set_flush_denormal(before)
        _share_mode_with_workers()


def _share_mode_with_workers() -> None:
    """Copies this thread's floating-point mode to its OpenMP workers.

    OpenMP calls ``fesetenv`` of the C library on every worker, so no compiler is needed. Does
    nothing without OpenMP, as on macOS, or without such a function.
    """
    with contextlib.suppress(OSError, AttributeError, TypeError):
        library = ctypes.CDLL(None)
        run_on_workers, set_mode = library.GOMP_parallel, library.fesetenv
        mode = ctypes.create_string_buffer(256)  # a `fenv_t`; the largest has 32 bytes
        library.fegetenv(mode)
        run_on_workers(set_mode, mode, torch.get_num_threads(), 0)


@contextmanager
def free_memory_kept() -> Iterator[None]:
    """While entered, glibc keeps what is freed, as `keep_free_memory` says.

    At the end, glibc returns free memory to the system, and its parameters get the highest values
    that it chooses by itself. glibc does not tell what they were before; but it raises them to
    these, and never lowers them, in every process that frees a block of 32 MiB. So what cannot be
    undone is only that: a process that has never freed so large a block is treated as one that has.

    Does nothing where the user has set these parameters in the environment.
    """
    global _keepers
    with _keeping:
        _keepers += 1
    keep_free_memory()
    try:
        yield
    finally:
        with _keeping:
            _keepers -= 1
            if not _keepers:  # no other thread trains
                keep_free_memory(HIGHEST_OF_GLIBC)


def keep_free_memory(limits: Mapping[int, int] = KEEP_FOR_STEPS) -> None:
    """Makes glibc return free memory to the system now, and keep what is freed from now on.

    By default glibc returns memory and asks for it again as blocks happen to lie. Steps then wait
    for thousands of pages to be cleared, and the size of the process varies by a fifth, which hides
    leaks. Does nothing where the C library is not glibc, or the user has set these parameters.

    Args:
        limits: `KEEP_FOR_STEPS`, `KEEP_BETWEEN_STEPS` or `HIGHEST_OF_GLIBC`.
    """
    tunables = os.environ.get("GLIBC_TUNABLES", "")
    if any(name in os.environ for name in USERS_LIMITS) or any(
        name in tunables for name in USERS_TUNABLES
    ):
        return
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
