"""Signals are held back while torch is imported, and then delivered."""

import importlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from lstm_lm.training.signals import HeldSignals, signals_held_during_import

ROOT = Path(__file__).parent.parent


def test_ctrl_c_waits_for_the_end():
    before, reached = signal.getsignal(signal.SIGINT), []
    with pytest.raises(KeyboardInterrupt), HeldSignals():
        os.kill(os.getpid(), signal.SIGINT)
        reached.append(True)
    assert reached and signal.getsignal(signal.SIGINT) is before


def test_nothing_happens_without_it():
    before = signal.getsignal(signal.SIGINT)
    with HeldSignals():
        pass
    assert signal.getsignal(signal.SIGINT) is before


def test_another_handler_gets_the_signal():
    received = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: received.append(number))
    try:
        with HeldSignals():
            os.kill(os.getpid(), signal.SIGTERM)
            assert not received
        assert received == [signal.SIGTERM]
    finally:
        signal.signal(signal.SIGTERM, before)


# Runs a command in which a signal comes while torch is imported, and prints how many parts of torch
# were imported after it, and the exit status.
COMMAND = """
import importlib.abc, os, sys
from lstm_lm.cli.main import main

class Kill(importlib.abc.MetaPathFinder):
    after = None
    def find_spec(self, name, path, target=None):
        if name == "torch._C" and self.after is None:
            self.after = 0
            os.kill(os.getpid(), int(sys.argv[1]))
        elif name.startswith("torch.") and self.after is not None:
            self.after += 1
kill = Kill()
sys.meta_path.insert(0, kill)
status = main(sys.argv[2:])
print(kill.after, status)
"""


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize(
    "words", [["predict", "RUN", "I grew"], ["train", "quickstart", "--output", "OUT"]], ids=str
)
def test_a_signal_during_the_import_of_torch_ends_a_command_cleanly(
    finished_run, tmp_path, number, words
):
    words = [{"RUN": str(finished_run), "OUT": str(tmp_path / "run")}.get(w, w) for w in words]
    done = subprocess.run(
        [sys.executable, "-c", COMMAND, str(int(number)), *words],
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stderr  # not aborted
    after, status = done.stdout.split()
    assert int(after) > 100 and int(status) == 128 + number
    assert done.stderr == "\nlstm-lm: stopped\n" and not (tmp_path / "run").exists()


def test_an_import_is_as_it_is_without_a_signal(tmp_path, monkeypatch):
    (tmp_path / "module_of_the_test.py").write_text("value = 7\n")
    monkeypatch.syspath_prepend(tmp_path)
    finders = list(sys.meta_path)
    with signals_held_during_import("module_of_the_test"):
        module = importlib.import_module("module_of_the_test")
    assert module.value == 7 and sys.meta_path == finders
    with signals_held_during_import("no_such_module"), pytest.raises(ModuleNotFoundError):
        importlib.import_module("no_such_module")
