"""Long work on cores that other programs use, too."""

import subprocess
import sys
import threading
import time

import pytest
import torch

import lstm_lm
from lstm_lm import shared_cores
from lstm_lm.shared_cores import NOTICE, THREADS, SharedCores, waiting_seconds

CPU = torch.device("cpu")
TEAM = "second OpenMP team"

on_linux = pytest.mark.skipif(not THREADS.is_dir(), reason="the system does not report waiting")


def names_of_threads():
    return {thread.name for thread in threading.enumerate()}


def until(condition):
    """Waits for a condition, at most for the time that a very busy machine needs."""
    end = time.monotonic() + 60
    while not condition() and time.monotonic() < end:
        time.sleep(0.01)
    assert condition()


@pytest.fixture
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def waiting(monkeypatch):
    """Sets which share of a second the threads wait: a dict with ``share``; looks often."""
    now = {"share": 0.0, "seconds": 0.0, "at": time.monotonic()}

    def seconds():
        at = time.monotonic()
        now["seconds"] += now["share"] * (at - now["at"])
        now["at"] = at
        return now["seconds"]

    monkeypatch.setattr(shared_cores, "waiting_seconds", seconds)
    monkeypatch.setattr(shared_cores, "SECONDS_BETWEEN_LOOKS", 0.02)
    return now


@on_linux
def test_a_second_team_is_kept_while_threads_wait_for_cores(two_threads, waiting):
    lines = []
    with SharedCores(CPU, lines.append) as cores:
        time.sleep(0.1)
        assert not cores.are_shared and TEAM not in names_of_threads() and not lines
        waiting["share"] = 0.3
        until(lambda: cores.are_shared)
        until(lambda: lines)
        assert TEAM in names_of_threads()
        waiting["share"] = 0.01
        until(lambda: not cores.are_shared)
        assert TEAM not in names_of_threads()
        waiting["share"] = 0.3
        until(lambda: cores.are_shared)
    assert lines == [NOTICE]  # once
    assert not cores.are_shared and not {TEAM, "shared cores"} & names_of_threads()


@on_linux
def test_it_is_left_when_the_work_fails_and_nobody_reads_its_line(two_threads, waiting):
    def closed(line):
        raise BrokenPipeError

    waiting["share"] = 1.0
    with pytest.raises(KeyError), SharedCores(CPU, closed) as cores:
        until(lambda: cores.are_shared)
        raise KeyError
    assert not {TEAM, "shared cores"} & names_of_threads()
    with SharedCores(CPU) as cores:  # it can be entered again
        until(lambda: cores.are_shared)


@on_linux
def test_one_watcher_watches(two_threads, waiting):
    waiting["share"] = 1.0
    with SharedCores(CPU) as outer, SharedCores(CPU) as inner:
        until(lambda: outer.are_shared)
        assert not inner.are_shared


@pytest.mark.parametrize(("threads", "device"), [(1, "cpu"), (2, "meta")])
def test_there_is_nothing_to_watch_with_one_thread_or_on_an_accelerator(
    two_threads, waiting, threads, device
):
    torch.set_num_threads(threads)
    waiting["share"] = 1.0
    with SharedCores(torch.device(device)) as cores:
        time.sleep(0.1)
        assert not cores.are_shared and "shared cores" not in names_of_threads()


@on_linux
def test_training_beside_other_programs_gives_the_same_bits(two_threads, waiting, tmp_path, capsys):
    settings = {
        "stories.count": 300,
        "model.hidden_size": 24,
        "model.embedding_dim": 16,
        "training.max_steps": 12,
        "evaluation.prompts": [],
    }
    lstm_lm.train("quickstart", output=tmp_path / "alone", **settings)
    assert NOTICE not in capsys.readouterr().out
    waiting["share"] = 1.0
    lstm_lm.train("quickstart", output=tmp_path / "beside", **settings)
    weights = [(tmp_path / name / "model.safetensors") for name in ("alone", "beside")]
    alone, beside = (lstm_lm.LanguageModel.from_pretrained(path.parent) for path in weights)
    for one, other in zip(alone.network.parameters(), beside.network.parameters(), strict=True):
        assert torch.equal(one, other)


# Two threads that compute on one core: each waits half of the time.
CROWDED = """
import os, threading, time
import numpy as np
from lstm_lm.shared_cores import waiting_seconds
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
def work(until):
    a = np.ones((300, 300))
    while time.monotonic() < until:
        a @ a
until, before = time.monotonic() + 0.5, waiting_seconds()
threads = [threading.Thread(target=work, args=(until,)) for _ in range(2)]
[thread.start() for thread in threads]
time.sleep(0.4)
print(waiting_seconds() - before)
"""


@on_linux
@pytest.mark.slow
def test_the_time_that_threads_wait_is_measured():
    done = subprocess.run(
        [sys.executable, "-c", CROWDED], capture_output=True, text=True, check=True
    )
    assert float(done.stdout) > 0.1  # of 0.4 seconds
    assert waiting_seconds() >= 0
