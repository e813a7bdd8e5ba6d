"""Whatever a call does to the process that calls it, it puts back: notebooks and services go on."""

import ctypes
import gc
import locale
import logging
import os
import random
import signal
import subprocess
import sys
import threading
import time
import warnings
import weakref
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import matplotlib
import numpy as np
import pytest
import torch

import lstm_lm
from lstm_lm.files.pictures import words_as_they_are
from lstm_lm.machine import flush_tiny_numbers, free_memory_kept
from lstm_lm.training.sweep_search import propose
from lstm_lm.training.sweep_settings import Axis, Range
from lstm_lm.training.trainer import Trainer

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
    """In a process of its own: in one that has freed much, other blocks may return, too."""
    check = "from tests.test_leaves_nothing import check_freed_memory; check_freed_memory()"
    subprocess.run([sys.executable, "-c", check], check=True, cwd=Path(__file__).parent.parent)


def check_freed_memory():
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


def test_a_training_leaves_no_memory(config, tmp_path, monkeypatch):
    trainers = []
    run = Trainer.run

    def remember(self):
        trainers.append(weakref.ref(self))
        return run(self)

    monkeypatch.setattr(Trainer, "run", remember)
    gc.disable()
    try:
        lstm_lm.train(config, tmp_path / "run", **{"training.max_steps": 1})
        assert [trainer() for trainer in trainers] == [None]
    finally:
        gc.enable()


def settings_of_the_process():
    """Everything global that a library may change."""
    backends = torch.backends
    return {
        "threads": (torch.get_num_threads(), torch.get_num_interop_threads()),
        "numbers": (torch.get_default_dtype(), torch.get_default_device(), np.geterr()),
        "precision": (torch.get_float32_matmul_precision(), backends.mkldnn.enabled),
        "cudnn": (backends.cudnn.benchmark, backends.cudnn.deterministic),
        "deterministic": (torch.get_deterministic_debug_mode(), torch.is_anomaly_enabled()),
        "autocast": (torch.is_autocast_enabled("cpu"), torch.is_autocast_cache_enabled()),
        "gradients": (torch.is_grad_enabled(), torch.is_inference_mode_enabled()),
        "random": (random.getstate(), np.random.get_state()[1].tobytes()),
        "environment": dict(os.environ),
        "warnings": (list(warnings.filters), warnings.showwarning),
        "logging": (logging.root.level, list(logging.root.handlers), logging.root.manager.disable),
        "loggers": {
            name: (logger.level, list(logger.handlers))
            for name, logger in logging.root.manager.loggerDict.items()
            if isinstance(logger, logging.Logger) and (logger.level or logger.handlers)
        },
        "matplotlib": dict(matplotlib.rcParams),
        "python": (sys.path[:], sys.meta_path[:], sys.excepthook, sys.getrecursionlimit()),
        "streams": (sys.stdout, sys.stderr, sys.stdout.errors),
        "collector": (gc.isenabled(), gc.get_threshold()),
        "place": (os.getcwd(), locale.setlocale(locale.LC_ALL)),
        "threads of Python": set(threading.enumerate()),
        "signals": [signal.getsignal(number) for number in (2, 15, 1)],
    }


CALLS = {
    "predict": ["predict", "RUN", "I grew up in Pa", "--complete"],
    "evaluate": ["evaluate", "RUN"],
    "score": ["score", "RUN", "I grew up in France ."],
    "generate": ["generate", "RUN", "I grew", "--words", "3", "--seed", "1"],
    "gates": ["gates", "RUN", "I grew up in France .", "--output", "OUT.png"],
    "export": ["export", "RUN", "OUT.html"],
    "train": ["train", "CONFIG", "--output", "OUT", "training.max_steps=2"],
    "train in bfloat16": ["train", "CONFIG", "--output", "OUT", "training.max_steps=2"]
    + ["training.precision=bf16"],
    "dry run": ["train", "CONFIG", "--dry-run"],
    "mistake": ["train", "CONFIG", "--output", "OUT", "training.max_steps=-1"],
}


@pytest.mark.parametrize("call", CALLS)
def test_a_call_leaves_the_settings_of_the_process(command, config, finished_run, tmp_path, call):
    places = {"RUN": str(finished_run), "CONFIG": str(config)}
    words = [places.get(w, w).replace("OUT", str(tmp_path / "out")) for w in CALLS[call]]
    command("info", finished_run)
    before = settings_of_the_process()
    status, _, err = command(*words)
    assert status == (2 if call == "mistake" else 0), err
    after = settings_of_the_process()
    for name, value in before.items():
        assert after[name] == value, name


def test_two_threads_may_draw_at_once(monkeypatch):
    before = dict(matplotlib.rcParams)
    first_is_in, second_is_asked = threading.Event(), threading.Event()

    def first():
        with words_as_they_are():
            first_is_in.set()
            second_is_asked.wait()
            time.sleep(0.05)

    def second():
        first_is_in.wait()
        second_is_asked.set()
        with words_as_they_are():
            time.sleep(0.1)

    threads = [threading.Thread(target=work) for work in (first, second)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert dict(matplotlib.rcParams) == before


def test_the_search_leaves_the_messages_of_optuna_on():
    optuna = pytest.importorskip("optuna")
    before = optuna.logging.get_verbosity()
    axis = Axis("model.hidden_size", ("1", "9"), "1..9", Range(1, 9, True, False))
    assert propose([axis], [], sampler="tpe", seed=0)
    assert optuna.logging.get_verbosity() == before != optuna.logging.ERROR
