"""The processes of a sweep: one for each run, and how many of them fit side by side."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import IO

import lstm_lm.errors
from lstm_lm.config import Config, config_to_dict
from lstm_lm.files.atomic import disk_errors, make_folder, open_to_append
from lstm_lm.machine import available_cores, choose_device
from lstm_lm.memory import available_memory
from lstm_lm.model.network import count_parameters
from lstm_lm.training.run_directory import holds_run

LOG_SUFFIX = ".log"  # of the file beside a run directory that has what its training printed
# What the process of a training needs, with one thread on Linux: once it has imported everything;
# for each weight (itself, its gradient, AdamW's two averages, copies while it is saved); and for
# each unit and word of a window. Trainings of 1M to 12M weights needed 70 to 90 % of this.
BASE_BYTES = 400 * 10**6
NUMBERS_PER_WEIGHT = 7
NUMBERS_PER_UNIT = 16


class RunProcess:
    """A training in a process of its own, with one thread.

    Args:
        config: of the run.
        folder: the run directory; a run in it is resumed. What the training prints is appended to
            the file beside it, with the ending ``.log``.

    Raises:
        DiskError: the log cannot be written.
    """

    def __init__(self, config: Config, folder: Path) -> None:
        self.folder, self.log = folder, log_file(folder)
        make_folder(folder.parent)
        package = Path(lstm_lm.errors.__file__).parent.parent
        paths = [str(package), *filter(None, [os.environ.get("PYTHONPATH")])]
        environment = os.environ | {
            "OMP_NUM_THREADS": "1",
            "MKL_NUM_THREADS": "1",
            "PYTHONPATH": os.pathsep.join(paths),
        }
        with disk_errors(self.log), open_to_append(self.log) as log:
            # A session of its own: Ctrl-C reaches the sweep alone, which then stops its runs.
            self._process = subprocess.Popen(
                [sys.executable, "-m", "lstm_lm.training.sweep_worker"],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=log,
                env=environment,
                start_new_session=True,
            )
        request = {
            "config": config_to_dict(config),
            "folder": str(folder),
            "resume": holds_run(folder),
        }
        self._stdin: IO[bytes] | None = self._process.stdin
        try:
            assert self._stdin is not None
            self._stdin.write((json.dumps(request) + "\n").encode())
            self._stdin.flush()
        except OSError:  # it has ended already; its status says why
            pass

    @property
    def status(self) -> int | None:
        """The exit status; negative for a signal that ended the process; None while it runs."""
        return self._process.poll()

    def stop(self) -> None:
        """Asks the training to save and stop."""
        if self._stdin is not None:
            try:
                self._stdin.close()
            except OSError:
                pass
            self._stdin = None

    def kill(self) -> None:
        """Ends the process at once; the last checkpoint stays."""
        self._process.kill()
        self._process.wait()
        self.stop()

    def last_words(self) -> str:
        """The last line that the training printed."""
        with disk_errors(self.log):
            lines = self.log.read_text(encoding="utf-8", errors="replace").split("\n")
        spoken = [line.strip() for line in lines if line.strip()]
        return spoken[-1].removeprefix("lstm-lm: error: ") if spoken else ""


def log_file(folder: Path) -> Path:
    """The file beside a run directory that has what its training printed."""
    return folder.with_name(folder.name + LOG_SUFFIX)


def estimate_memory(config: Config, vocab_size: int) -> int:
    """About how many bytes the process of a training needs on a CPU; see the constants above.

    Args:
        config: of the run.
        vocab_size: words.
    """
    sizes = config.model.hidden_size
    units = sum(sizes) if isinstance(sizes, tuple) else sizes * config.model.num_layers
    words = config.training.batch_size * config.training.bptt_length
    numbers = NUMBERS_PER_WEIGHT * count_parameters(config.model, vocab_size)
    numbers += NUMBERS_PER_UNIT * words * (units + config.model.embedding_dim)
    return BASE_BYTES + 4 * numbers


def fitting_processes(device: str, memory_needed: int, runs: int) -> int:
    """How many runs are trained side by side: one a core, as far as memory suffices.

    Args:
        device: of `training.device`. On an accelerator, one run is trained at a time.
        memory_needed: bytes of the largest run.
        runs: how many runs there are.
    """
    if choose_device(device).type != "cpu":
        return 1
    fitting, memory = available_cores(), available_memory()
    if memory is not None:
        fitting = min(fitting, memory // memory_needed)
    return max(1, min(fitting, runs))
