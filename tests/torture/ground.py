"""A small corpus, its configuration, an untouched run of it, and processes that train."""

import dataclasses
import json
import os
import random
import signal
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path

from lstm_lm.cli.main import main

CONFIG = """\
corpus: {{source: files, train_file: {folder}/train.txt, valid_file: {folder}/valid.txt}}
model: {{embedding_dim: 8, hidden_size: 8, num_layers: 2, input_dropout: 0.1, weight_dropout: 0.1}}
optimizer: {{learning_rate: 0.01, embedding_learning_rate: 0.01, warmup_steps: 5}}
training: {{batch_size: 4, bptt_length: 10, bptt_variation: 2.0, max_epochs: null,
           max_steps: {steps}, log_every: 3, validate_every: 50, checkpoint_every: 5, device: cpu,
           seed: {seed}}}
evaluation: {{prompts: [Maria has a], continuation_words: 10}}
"""
COMPARED = (
    "model.safetensors",
    "training_state.safetensors",
    "metrics.jsonl",
    "tokenizer.json",
    "config.json",
    "config.yaml",
    "README.md",
)
LONGEST_WAIT = 120  # seconds; a process that takes longer counts as hanging


@dataclasses.dataclass
class Row:
    """A row of the table: what was done, how often, how often nothing was lost, what was lost."""

    what: str
    times: int = 0
    survived: int = 0
    lost: list[str] = dataclasses.field(default_factory=list)

    def note(self, good: bool, what: str = "") -> None:
        """Counts one try and, if it was not good, what was lost."""
        self.times += 1
        self.survived += bool(good)
        if not good:
            self.lost.append(what)


def write_text(path: Path, lines: int, seed: int) -> None:
    """Writes short sentences with a regularity that can be learned."""
    draw = random.Random(seed)
    people = {"Maria": "Rome", "Ivan": "Moscow", "Chloe": "Paris", "Ken": "Tokyo"}
    path.write_text(
        "".join(
            f"{who} has a {draw.choice(['red', 'blue', 'green'])} "
            f"{draw.choice(['cat', 'dog', 'house'])} in {where} .\n"
            for who, where in draw.choices(list(people.items()), k=lines)
        )
    )


class Process:
    """``lstm-lm`` in a process forked from this one, which has all slow imports done.

    Args:
        words: the command line.
        log: the files ``log.out`` and ``log.err`` receive its output.
        prepare: called in the child before the command.
    """

    def __init__(
        self, words: list, log: Path, prepare: Callable[[], object] = lambda: None
    ) -> None:
        self.log, self.returncode, self.peak = log, None, 0
        sys.stdout.flush()
        sys.stderr.flush()
        self.pid = os.fork()
        if self.pid:
            return
        status = 70
        try:
            for descriptor, name in ((1, "out"), (2, "err")):
                os.dup2(
                    os.open(f"{log}.{name}", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644),
                    descriptor,
                )
            signal.signal(signal.SIGINT, signal.default_int_handler)
            prepare()
            status = main([str(word) for word in words])
            sys.stdout.flush()
        except SystemExit as exited:
            status = exited.code if isinstance(exited.code, int) else 70
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(status)

    def wait(self) -> int:
        """Returns the exit status, negative for a signal; None if it had to be killed."""
        deadline = time.monotonic() + LONGEST_WAIT
        while self.returncode is None:
            if not self.running():
                break
            if time.monotonic() > deadline:
                os.kill(self.pid, signal.SIGKILL)
                os.waitpid(self.pid, 0)
                return None
            else:
                time.sleep(0.002)
        return self.returncode

    def running(self) -> bool:
        """Whether the process has not ended yet."""
        if self.returncode is None:
            pid, status, usage = os.wait4(self.pid, os.WNOHANG)
            if pid:
                self.returncode, self.peak = os.waitstatus_to_exitcode(status), usage.ru_maxrss
        return self.returncode is None

    def send(self, number: int) -> None:
        """Sends a signal, unless the process has ended."""
        if self.running():
            os.kill(self.pid, number)

    @property
    def out(self) -> str:
        """Its standard output so far."""
        return self._text("out")

    @property
    def err(self) -> str:
        """Its standard error so far."""
        return self._text("err")

    def _text(self, name: str) -> str:
        path = Path(f"{self.log}.{name}")  # missing if the process was killed before it began
        return path.read_text(errors="replace") if path.exists() else ""

    def refused(self) -> bool:
        """Whether it ended with status 1 or 2 and one line of error."""
        return (
            self.wait() in (1, 2)
            and self.err.startswith("lstm-lm: error: ")
            and self.err.count("\n") == 1
        )


class Ground:
    """A folder with a corpus, its configuration, and an untouched run.

    Args:
        folder: an empty folder.
        steps: the length of a run.
        seed: of the runs and of everything random here.
    """

    def __init__(self, folder: Path, steps: int, seed: int = 0) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.steps, self.draw = folder, steps, random.Random(seed)
        self.config, self.cache, self.whole = (
            folder / "config.yaml",
            folder / "cache",
            folder / "whole",
        )
        write_text(folder / "train.txt", 300, seed=1)
        write_text(folder / "valid.txt", 30, seed=2)
        self.config.write_text(CONFIG.format(folder=folder, steps=steps, seed=seed))
        self.processes = 0

    def start(
        self,
        *words: object,
        prepare: Callable[[], object] = lambda: None,
        cache: Path | None = None,
    ) -> Process:
        """Starts ``lstm-lm`` with these words."""
        self.processes += 1

        def all_prepared() -> None:
            os.environ["LSTM_LM_CACHE"] = str(cache or self.cache)
            prepare()

        return Process(list(words), self.folder / f"process{self.processes % 50}", all_prepared)

    def train(self, run: Path, *words: object, **how: object) -> Process:
        """Starts training into a directory; resumes a run that is there."""
        resume = ["--resume"] if self.has_begun(run) and "--overwrite" not in words else []
        return self.start("train", self.config, "--output", run, *resume, *words, **how)

    def has_begun(self, run: Path) -> bool:
        """Whether a run directory has any file."""
        return run.is_dir() and any(not path.name.startswith(".") for path in run.iterdir())

    def run_whole(self) -> None:
        """Trains the untouched run."""
        process = self.train(self.whole)
        if process.wait() != 0:
            raise SystemExit(f"the untouched run failed:\n{process.err}")

    def differences(self, run: Path) -> str:
        """Names the files of a finished run that differ from the untouched run's; may be empty."""
        differing = [
            name
            for name in COMPARED
            if not (run / name).is_file()
            or (run / name).read_bytes() != (self.whole / name).read_bytes()
        ]
        differing += [path.name for path in run.glob(".*")]
        lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
        seen = [(line["step"], line["split"]) for line in lines]
        if len(set(seen)) < len(seen):
            differing.append("a step twice")
        return ", ".join(differing)
