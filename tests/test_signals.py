"""Signals save a run; they wait while torch is imported; handlers of others stay theirs."""

import ctypes
import errno
import importlib
import io
import os
import pty
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from lstm_lm.printing import print_line, print_note
from lstm_lm.training.checkpoint import read_progress
from lstm_lm.training.signals import (
    HeldSignals,
    LeaveSignals,
    StopSignals,
    signals_held_during_import,
)

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


ALL = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]
KINDS = [LeaveSignals, StopSignals, HeldSignals]
C = ctypes.CDLL(None)


@pytest.fixture
def handlers():
    """Sets handlers of Python; afterwards they are as before."""
    before = {number: signal.getsignal(number) for number in ALL}
    yield signal.signal
    for number, handler in before.items():
        signal.signal(number, handler)


def action_of(number):
    """What C knows of a signal: its handler, and the flags of glibc."""
    action = ctypes.create_string_buffer(512)
    assert C.sigaction(number, None, action) == 0
    return action.raw[:8], action.raw[136:140]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("number", ALL)
def test_an_ignored_signal_stays_ignored(handlers, kind, number):
    handlers(number, signal.SIG_IGN)
    with kind() as signals:
        os.kill(os.getpid(), number)
        assert signals.received is None and signal.getsignal(number) == signal.SIG_IGN
    assert signal.getsignal(number) == signal.SIG_IGN


@pytest.mark.parametrize("kind", KINDS)
def test_a_handler_that_python_does_not_know_is_not_replaced(handlers, monkeypatch, kind):
    known = signal.getsignal
    monkeypatch.setattr(signal, "getsignal", lambda n: None if n == signal.SIGTERM else known(n))
    before = [action_of(number) for number in ALL]
    with kind():
        assert action_of(signal.SIGTERM) == before[1] and action_of(signal.SIGHUP) != before[2]
    assert [action_of(number) for number in ALL] == before


@pytest.mark.parametrize("kind", KINDS)
def test_a_handler_of_a_c_library_is_put_back(handlers, kind):
    C.signal(signal.SIGTERM, C.abs)  # does nothing
    before = action_of(signal.SIGTERM)
    with kind():
        assert action_of(signal.SIGTERM) != before
    assert action_of(signal.SIGTERM) == before
    os.kill(os.getpid(), signal.SIGTERM)  # and this process goes on


@pytest.mark.parametrize("outer", KINDS)
@pytest.mark.parametrize("inner", KINDS)
def test_handlers_inside_others_are_put_back(handlers, outer, inner):
    for number in ALL:
        handlers(number, lambda number, frame: None)
        signal.siginterrupt(number, False)  # system calls go on
    before = [action_of(number) for number in ALL]
    with outer():
        between = [signal.getsignal(number) for number in ALL]
        with inner():
            pass
        assert [signal.getsignal(number) for number in ALL] == between
    assert [action_of(number) for number in ALL] == before


@pytest.mark.parametrize("kind", KINDS)
def test_another_thread_changes_nothing(kind):
    before, found = [action_of(number) for number in ALL], []

    def work():
        with kind():
            found.extend(action_of(number) for number in ALL)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == before


def test_a_second_signal_is_the_programs_own(handlers):
    received = []
    handlers(signal.SIGTERM, lambda number, frame: received.append(number))
    with StopSignals() as signals:
        for _ in range(3):
            os.kill(os.getpid(), signal.SIGHUP)
        assert signals.received == signal.SIGHUP
        os.kill(os.getpid(), signal.SIGTERM)
        assert not received
        os.kill(os.getpid(), signal.SIGTERM)
        assert received == [signal.SIGTERM] and signals.received == signal.SIGHUP


def test_a_second_ctrl_c_interrupts_a_notebook(handlers):
    handlers(signal.SIGINT, signal.default_int_handler)
    with StopSignals():
        os.kill(os.getpid(), signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)


def test_a_command_is_interrupted_by_a_closed_terminal_once(handlers):
    with LeaveSignals() as signals:
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGHUP)
        os.kill(os.getpid(), signal.SIGHUP)
        assert signals.received == signal.SIGHUP


@pytest.mark.slow
def test_a_closed_terminal_saves_a_run(config, tmp_path):
    words = ["-m", "lstm_lm", "train", str(config), "--output", str(tmp_path / "run")]
    words += ["training.validate_every=null", "training.max_steps=1000000"]
    child, terminal = pty.fork()
    if not child:
        os.chdir(ROOT)
        os.execv(sys.executable, [sys.executable, *words])
    log = tmp_path / "run" / "metrics.jsonl"
    while not (log.exists() and log.read_text().count("\n") > 2):
        assert os.waitpid(child, os.WNOHANG) == (0, 0)
        time.sleep(0.02)
    os.close(terminal)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 129
    assert 4 < read_progress(tmp_path / "run" / "training_state.safetensors").step < 10**6


@pytest.mark.parametrize("print_it", [print_line, print_note])
def test_what_is_printed_to_a_closed_terminal_is_lost_without_an_error(monkeypatch, print_it):
    master, terminal = pty.openpty()
    with os.fdopen(terminal, "w") as stream:
        monkeypatch.setattr(sys, "stdout", stream)
        monkeypatch.setattr(sys, "stderr", stream)
        print_it("seen")
        assert os.read(master, 99) == b"seen\r\n"
        os.close(master)
        with pytest.raises(OSError):
            os.write(terminal, b"x")
        print_it("lost")
        print_it("lost")


def test_an_error_of_a_disk_is_not_lost(monkeypatch, tmp_path):
    class BadDisk(io.FileIO):
        def write(self, content):
            raise OSError(errno.EIO, "bad disk")

    with BadDisk(tmp_path / "file", "w") as file:
        stream = io.TextIOWrapper(file, write_through=True)
        monkeypatch.setattr(sys, "stdout", stream)
        with pytest.raises(OSError, match="bad disk"):
            print_line("result")
        stream.detach()
