"""Memory: sizes that a machine has none for, said in one line; and what steps and looks leave to each other."""

from __future__ import annotations

import contextlib
import ctypes
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import torch

from lstm_lm.config import ModelConfig
from lstm_lm.corpus.vocabulary import Vocabulary
from lstm_lm.errors import ConfigError
from lstm_lm.machine import physical_memory
from lstm_lm.model.language_model import LanguageModel

REMEDY = (
    "lower model.hidden_size, model.embedding_dim, corpus.vocab_size, training.batch_size or "
    "training.bptt_length"
)
# how PyTorch says it on the CPU, where it has no exception of its own for it
CPU_MESSAGES = ("can't allocate memory", "not enough memory", "Storage size calculation overflowed")

# What glibc keeps of what is freed, in bytes, by the names of malloc.h: a heap's free end, and pieces; larger ones come
# from the system and go back to it one by one. 2**25 is the most that it takes for those.
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
KEPT_BY_STEPS = {M_TRIM_THRESHOLD: 2**31 - 1, M_MMAP_THRESHOLD: 2**25}
KEPT_BETWEEN_STEPS = {M_TRIM_THRESHOLD: 2**20, M_MMAP_THRESHOLD: 2**20}


def must_fit_memory(config: ModelConfig, vocabulary: Vocabulary) -> None:
    """Counts a model's weights before any is made: Linux promises more memory than it has, and kills who believes it.

    Raises:
        ConfigError: if the weights alone are larger than this machine's memory.
    """
    with memory_named(), torch.device("meta"):
        weights = list(LanguageModel(config, vocabulary).parameters())
    needed = sum(weight.numel() * weight.element_size() for weight in weights)
    there = physical_memory()
    if there is not None and needed > there:
        raise ConfigError(
            f"model: its weights alone need {needed / 2**30:,.0f} GiB, this machine has "
            f"{there / 2**30:,.0f}; {REMEDY}"
        )


@contextmanager
def memory_named() -> Iterator[None]:
    """Says in one line that there is not enough memory, the CPU's or an accelerator's.

    Raises:
        ConfigError: in place of the exceptions of Python, NumPy and PyTorch.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        known = isinstance(error, MemoryError | torch.OutOfMemoryError)
        if not known and not any(message in str(error) for message in CPU_MESSAGES):
            raise
        raise ConfigError(
            f"model and training: not enough memory for these sizes; {REMEDY}"
        ) from error


def keep_free_memory(most: Mapping[int, int] = KEPT_BY_STEPS) -> None:
    """Has the C library, where that is glibc, give back what is free now, and from now on keep it for what comes next.

    Left to itself it gives memory back and takes it again as pieces happen to lie: steps wait for thousands of pages to
    be cleared, and the process's size wanders by a fifth, so that nobody could tell a leak from chance.

    Args:
        most: how much, `KEPT_BY_STEPS` or `KEPT_BETWEEN_STEPS`.
    """
    with contextlib.suppress(OSError, AttributeError, TypeError):  # of Windows, macOS and musl
        library = ctypes.CDLL(None)
        library.malloc_trim(0)
        for parameter, size in most.items():
            library.mallopt(parameter, size)


def in_own_thread(work: Callable[[], None]) -> None:
    """Does what is to be done between two steps, such as drawing, in a thread that ends with it.

    glibc gives every thread a heap of its own, so that thousands of small pieces do not come to lie where a step has
    lain, and the next would find no room; what the steps have left free goes back to the system before, and what this
    has left, after. OpenMP gives every thread workers of its own, and they must go: as soon as there are more of them
    than cores, those of the steps too are put to sleep whenever they wait, many times in every word, and a step takes
    twice as long.

    Raises:
        Exception: whatever ``work`` raises.
    """
    keep_free_memory(KEPT_BETWEEN_STEPS)
    with ThreadPoolExecutor(1) as thread:
        thread.submit(work).result()
    keep_free_memory()
