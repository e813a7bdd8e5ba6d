"""Whatever a call does to the process that calls it, it puts back: notebooks and services go on."""

import ctypes
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

import lstm_lm
from lstm_lm.machine import flush_tiny_numbers, free_memory_kept

C = ctypes.CDLL(None)
needs_glibc = pytest.mark.skipif(not hasattr(C, "mallopt"), reason="glibc's memory")


class _StopError(Exception):
    """What a caller's own function may raise."""


def in_fresh_thread(work):
    """Runs work in a thread that has no OpenMP workers yet."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(work).result()


@pytest.fixture
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def tiny_numbers_kept():
    """The share of denormals that a product over all threads of torch keeps."""
    tiny = torch.full((1 << 17,), 1e-39)
    return float(((tiny * 1).view(torch.int32) != 0).double().mean())


@pytest.mark.parametrize("has_workers_before", [False, True])
def test_tiny_numbers_are_zero_in_all_threads_and_only_inside(two_threads, has_workers_before):
    def work():
        before = tiny_numbers_kept() if has_workers_before else 1
        with flush_tiny_numbers():
            with flush_tiny_numbers():
                pass
            inside = tiny_numbers_kept()
        return before, inside, tiny_numbers_kept()

    assert in_fresh_thread(work) == (1, 0, 1)


def test_a_training_that_raises_leaves_the_mode_as_it_was(config, tmp_path, two_threads):
    inside = []

    def report(line):
        inside.append(tiny_numbers_kept())
        raise _StopError

    def work():
        with pytest.raises(_StopError):
            lstm_lm.train(config, tmp_path / "run", report=report)
        return tiny_numbers_kept()

    assert in_fresh_thread(work) == 1 and inside == [0]


def test_a_mode_that_was_on_stays_on(two_threads):
    def work():
        torch.set_flush_denormal(True)
        with flush_tiny_numbers():
            pass
        return tiny_numbers_kept()

    assert in_fresh_thread(work) == 0


def resident_bytes():
    """The memory of this process."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096


def kept_of_freed_blocks(count=128, size=2**20):
    """The share of blocks from C's heap that the process keeps after it freed them."""
    C.malloc.restype, C.free.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
    before = resident_bytes()
    blocks = [C.malloc(size) for _ in range(count)]
    for block in blocks:
        ctypes.memset(block, 1, size)
    assert resident_bytes() - before > 0.9 * count * size
    for block in reversed(blocks):
        C.free(block)
    return (resident_bytes() - before) / (count * size)


@needs_glibc
@pytest.mark.skipif(sys.platform != "linux", reason="/proc")
def test_freed_memory_returns_to_the_system_again_after_the_last_training():
    with free_memory_kept():
        assert kept_of_freed_blocks() > 0.9
        with free_memory_kept():  # of another thread
            pass
        assert kept_of_freed_blocks() > 0.9
    assert kept_of_freed_blocks() < 0.6


def test_a_training_leaves_no_thread(config, tmp_path):
    before = set(threading.enumerate())
    lstm_lm.train(config, tmp_path / "run", **{"training.max_steps": 1})
    assert set(threading.enumerate()) <= before
