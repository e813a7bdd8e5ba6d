"""A training step beside another program that keeps one core busy."""

from __future__ import annotations

import contextlib
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator

import torch

from benchmarks.measuring import alone
from benchmarks.steps import made_up_text, our_step
from lstm_lm.config import load_config
from lstm_lm.files.packaged import find_config
from lstm_lm.model.network import Network
from lstm_lm.shared_cores import SharedCores

WORDS = 1_000
SECONDS = 8  # of which the second half counts: by then it is known that the cores are shared
CANDIDATES = ((1, False), (2, False), (2, True))


def benchmark_beside(rounds: int) -> list[dict]:
    """A step of the quick start's model, alone and beside one busy program, in turn."""
    times: dict[tuple[int, bool, int], list[float]] = {}
    for _ in range(rounds):
        for threads, is_watched in CANDIDATES:
            for others in (0, 1):
                with busy_programs(others):
                    found = alone(measure_step, threads, is_watched=is_watched)
                times.setdefault((threads, is_watched, others), []).append(found["ms"])
    return [
        {
            "threads": threads,
            "shared cores": "watched" if is_watched else "",
            "alone ms": round(statistics.median(times[threads, is_watched, 0]), 1),
            "beside ms": round(statistics.median(times[threads, is_watched, 1]), 1),
        }
        for threads, is_watched in CANDIDATES
    ]


@contextlib.contextmanager
def busy_programs(count: int) -> Iterator[None]:
    """While entered, so many other programs each keep a core busy."""
    programs = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for program in programs:
            program.kill()
            program.wait()


def measure_step(is_watched: bool) -> dict:
    """The median time of the steps in the second half of `SECONDS`."""
    path = find_config("quickstart")
    assert path is not None
    config = load_config(path)
    network = Network(config.model, WORDS).train()
    counts = 1e7 / torch.arange(1, WORDS + 1)
    network.output.start_from_counts(counts.long())
    step = our_step(network, config.optimizer, made_up_text(counts, "cpu"))
    cores = SharedCores(torch.device("cpu" if is_watched else "meta"))
    times, begin = [], time.perf_counter()
    with cores:
        while time.perf_counter() - begin < SECONDS:
            start = time.perf_counter()
            step()
            times.append((time.perf_counter() - start) * 1e3)
    return {"ms": statistics.median(times[len(times) // 2 :])}
