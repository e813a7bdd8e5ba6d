"""Timing in alternation, memory of a process of its own, and tables."""

from __future__ import annotations

import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from lstm_lm.corpus.vocabulary import Vocabulary

SCRIPTS = Path(__file__).parent.parent
_ALONE = """
import json, sys, torch
from benchmarks.measuring import peak_memory
from {module} import {name}
torch.set_num_threads({threads})
found = {name}(**json.loads(sys.argv[1]))
print(json.dumps(found | {{"peak MB": peak_memory()}}))
"""


def measure_in_turn(candidates: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Median seconds of each candidate; all run once per round; the first round does not count."""
    times: dict[str, list[float]] = {name: [] for name in candidates}
    for round_number in range(rounds + 1):
        for name, run in candidates.items():
            seconds = _seconds(run)
            if round_number:
                times[name].append(seconds)
    return {name: statistics.median(values) for name, values in times.items()}


def median_seconds(run: Callable[[], object], rounds: int, warm_up: int) -> float:
    """Median seconds of a call; the first ``warm_up`` calls are not counted."""
    return statistics.median([_seconds(run) for _ in range(warm_up + rounds)][warm_up:])


def _seconds(run: Callable[[], object]) -> float:
    begin = time.perf_counter()
    run()
    if torch.cuda.is_initialized():
        torch.cuda.synchronize()  # the GPU works asynchronously
    return time.perf_counter() - begin


def in_milliseconds(times: dict[str, float]) -> dict[str, float]:
    """Seconds as table cells in milliseconds."""
    return {f"{name} ms": round(seconds * 1e3, 1) for name, seconds in times.items()}


def alone(function: Callable[..., dict], threads: int, **arguments: Any) -> dict:
    """Calls a function of a benchmark module in its own process; adds its ``peak MB``."""
    code = _ALONE.format(module=function.__module__, name=function.__name__, threads=threads)
    run = subprocess.run(
        [sys.executable, "-c", code, json.dumps(arguments)],
        check=True,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(SCRIPTS), "OMP_NUM_THREADS": str(threads)},
    )
    return json.loads(run.stdout)


def peak_memory() -> int:
    """The peak memory of this process, in megabytes."""
    # a child's ru_maxrss starts at its parent's value
    status = Path("/proc/self/status")
    for line in status.read_text().splitlines() if status.exists() else ():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) // 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def made_up_words(vocab_size: int) -> Vocabulary:
    """A vocabulary of that many made-up words."""
    return Vocabulary.build(
        [" ".join(f"w{k}" for k in range(vocab_size - 2))], tokenization="whitespace"
    )


def print_table(rows: list[dict]) -> None:
    """Prints rows in columns; where the keys change, a new table starts."""
    for start, row in enumerate(rows):
        if start and row.keys() == rows[start - 1].keys():
            continue
        same = [row]
        for later in rows[start + 1 :]:
            if later.keys() != row.keys():
                break
            same.append(later)
        table = [list(row), *([_cell(value) for value in each.values()] for each in same)]
        widths = [max(len(line[k]) for line in table) for k in range(len(table[0]))]
        for line in table:
            print(
                "  "
                + "  ".join(f"{cell:>{width}}" for cell, width in zip(line, widths, strict=True))
            )


def _cell(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) else str(value)
