"""A process that is stopped by a signal and resumed by another: as if it had never stopped."""

import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lstm_lm.cli.main import main
from lstm_lm.training.run_log import read_log
from tests.conftest import write_corpus

ROOT = Path(__file__).parent.parent
SAME = (
    "model.safetensors",
    "training_state.safetensors",
    "metrics.jsonl",
    "config.yaml",
    "README.md",
)


@pytest.fixture
def start():
    """Starts ``lstm-lm`` in a process that is gone at the end of the test."""
    processes = []

    def run(*words):
        processes.append(
            subprocess.Popen(
                [sys.executable, "-m", "lstm_lm", *map(str, words)],
                cwd=ROOT,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                env=os.environ | {"OMP_NUM_THREADS": "1"},
            )
        )
        return processes[-1]

    yield run
    for process in processes:
        if process.poll() is None:
            process.kill()
        process.communicate()


def wait_for_checkpoint(process, folder):
    deadline = time.monotonic() + 120
    while (
        not (folder / "training_state.safetensors").exists()
        or len(read_log(folder / "metrics.jsonl")) < 4
    ):
        assert process.poll() is None and time.monotonic() < deadline, process.communicate()
        time.sleep(0.02)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The command line but for ``--output`` of a run that was never stopped, and its directory."""
    folder = tmp_path_factory.mktemp("never stopped")
    words = [
        "train",
        str(write_corpus(folder / "corpus")),
        "training.log_every=7",
        "training.validate_every=50",
        "training.checkpoint_every=5",
        "model.weight_dropout=0.2",
        "training.bptt_variation=2.0",
        "training.max_steps=600",
    ]
    assert main([*words, "--output", str(folder / "run")]) == 0
    return words, folder / "run"


@pytest.mark.slow
@pytest.mark.parametrize(
    "number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL], ids=lambda number: number.name
)
def test_stopped_and_resumed_equals_never_stopped(command, start, whole, tmp_path, number):
    words, never_stopped = whole
    stopped = tmp_path / "a run"
    process = start(*words, "--output", stopped)
    wait_for_checkpoint(process, stopped)
    process.send_signal(number)
    _, err = process.communicate(timeout=120)
    again = [*words, "--output", stopped, "--resume"]
    if number == signal.SIGKILL:
        assert process.returncode == -signal.SIGKILL
    else:
        assert process.returncode == 128 + number and "Traceback" not in err
        name, *again = shlex.split(err.splitlines()[-1])  # the command that it prints
        assert name == "lstm-lm" and again[-1] == "--resume"
    assert read_log(stopped / "metrics.jsonl")[-1]["step"] < 600
    status, out, err = command(*again)
    assert status == 0 and "from step" in out, err
    for file in SAME:
        assert (stopped / file).read_bytes() == (never_stopped / file).read_bytes(), file
    assert not list(stopped.glob(".*.tmp"))


def test_a_second_signal_leaves_at_once():
    code = (
        "import os, signal, sys\n"
        "from lstm_lm.training.signals import StopSignals\n"
        "with StopSignals() as signals:\n"
        "    os.kill(os.getpid(), signal.SIGINT)\n"
        "    print('saving', signals.received, flush=True)\n"
        "    os.kill(os.getpid(), signal.SIGTERM)\n"
        "    print('saved')"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (
        143,
        "saving 2\n",
    ) and "again to stop at once" in done.stderr


def test_ctrl_c_before_training_is_no_traceback(command, config, monkeypatch):
    def interrupted(*args, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr("lstm_lm.training.resolving.load_config", interrupted)
    status, _, err = command("train", config)
    assert status == 130 and err == "\nlstm-lm: stopped\n"
