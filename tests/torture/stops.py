"""Ctrl-C and SIGTERM at every stage, from counting words to saving."""

import contextlib
import mmap
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from lstm_lm.corpus import counting as counting_module
from lstm_lm.corpus import tokens as tokens_module
from lstm_lm.corpus.sources import FilesSource
from lstm_lm.errors import RunDirectoryError
from lstm_lm.files.run_files import STATE_FILE
from lstm_lm.model import generation
from lstm_lm.model.network import Network
from lstm_lm.model.output import FullOutput
from lstm_lm.training import trainer as trainer_module
from lstm_lm.training.checkpoint import read_progress
from lstm_lm.training.run_log import RunLog
from lstm_lm.training.trainer import Trainer
from tests.torture.ground import Ground, Process, Row

# Seconds that a call is slowed down five times, so that the signal arrives in the middle of it.
PAUSE = 0.002
STAGES = {
    "counting the words": (counting_module, "count_words"),
    "encoding": (tokens_module, "_encode"),
    "building the model": (Network, "__init__"),
    "training": (Trainer, "update"),
    "validating": (FullOutput, "token_nll"),
    "sampling": (generation, "keep_likely"),
    "drawing": (RunLog, "draw"),
    "saving": (trainer_module, "save_checkpoint"),
}
BEFORE_TRAINING = ("counting the words", "encoding", "building the model")


class Progress:
    """Shared with a process: [0] whether it has reached the stage, [1] the steps it has done."""

    def __init__(self) -> None:
        self._shared = mmap.mmap(-1, 16)

    def __getitem__(self, place: int) -> int:
        return int.from_bytes(self._shared[8 * place : 8 * place + 8], "little")

    def __setitem__(self, place: int, value: int) -> None:
        self._shared[8 * place : 8 * place + 8] = value.to_bytes(8, "little")


def announce(stage: str, seen: Progress) -> Callable[[], None]:
    """Returns a function that makes a process announce a stage, slow it down, and count steps."""

    def prepare() -> None:
        owner, name = STAGES[stage]
        call, update = getattr(owner, name), Trainer.update

        def slowly(*args: object, **kwargs: object) -> object:
            seen[0] = 1
            for _ in range(5):
                time.sleep(PAUSE)
            return call(*args, **kwargs)

        def counted(trainer: Trainer) -> None:
            update(trainer)
            seen[1] = trainer.progress.step

        Trainer.update = counted
        setattr(owner, name, slowly)
        if stage in ("counting the words", "encoding"):
            lines = FilesSource.iterate_lines
            FilesSource.iterate_lines = lambda *args: (
                time.sleep(PAUSE / 4) or line for line in lines(*args)
            )
        if stage == "training":
            setattr(
                Trainer,
                name,
                lambda trainer: (slowly(trainer), seen.__setitem__(1, trainer.progress.step)),
            )

    return prepare


def stop_often(ground: Ground, stops: int) -> list[Row]:
    """One run, stopped that many times, in every stage and by both signals, and resumed."""
    rows = {stage: Row(f"Ctrl-C or SIGTERM while {stage}") for stage in STAGES}
    run = ground.folder / "stopped"
    for number in range(stops):
        stage = list(STAGES)[number % len(STAGES)]
        seen, cache = (
            Progress(),
            ground.folder / f"cache{number}" if stage in BEFORE_TRAINING else ground.cache,
        )
        process = ground.train(run, prepare=announce(stage, seen), cache=cache)
        while not seen[0] and process.running():
            time.sleep(0.001)
        time.sleep(ground.draw.uniform(0, 0.02))
        sent = ground.draw.choice([signal.SIGINT, signal.SIGTERM])
        process.send(sent)
        if process.wait() == 0:
            break  # the run ended before that many stops
        good = (
            process.returncode == 128 + sent
            and "Traceback" not in process.err
            and _is_saved(run, process, seen)
        )
        good = good and not list(run.glob(".*")) and not list(cache.glob("*.tmp"))
        rows[stage].note(good, f"status {process.returncode}, step {seen[1]}: {process.err}")
        if cache != ground.cache:
            shutil.rmtree(cache, ignore_errors=True)
    last = ground.train(run)
    at_end = Row("the run after these stops equals the untouched one, bit for bit")
    at_end.note(
        last.wait() == 0 and not ground.differences(run), f"{last.err} {ground.differences(run)}"
    )
    return [*rows.values(), at_end]


def _is_saved(run: Path, process: Process, seen: Progress) -> bool:
    """Whether no step was lost and, if training had begun, the process printed how to resume."""
    with contextlib.suppress(RunDirectoryError):
        return read_progress(run / STATE_FILE).step >= seen[1] and (
            ", into " not in process.out
            or "--resume" in process.err
            or "lstm-lm: stopped" in process.err
        )
    return not seen[1]


def stop_from_the_start(ground: Ground, stops: int) -> list[Row]:
    """New processes, which import everything themselves, stopped at any moment."""
    row = Row(
        "Ctrl-C or SIGTERM at a random moment of a new process, also during imports, then --resume"
    )
    run = ground.folder / "from the start"
    for _ in range(stops):
        words = [
            "train",
            ground.config,
            "--output",
            run,
            *(["--resume"] if ground.has_begun(run) else []),
        ]
        process = subprocess.Popen(
            [
                sys.executable,
                "-c",
                "import sys; from lstm_lm.cli.main import main; print(flush=True); "
                "sys.exit(main(sys.argv[1:]))",
                *map(str, words),
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | {"LSTM_LM_CACHE": str(ground.cache), "OMP_NUM_THREADS": "1"},
        )
        process.stdout.readline()  # until then Python itself handles signals
        time.sleep(0.05 + ground.draw.uniform(0, 6) * ground.draw.random())
        sent = ground.draw.choice([signal.SIGINT, signal.SIGTERM])
        process.send_signal(sent)
        _, err = process.communicate(timeout=120)
        if process.returncode == 0:
            break
        row.note(
            process.returncode == 128 + sent and "Traceback" not in err,
            f"status {process.returncode}: {err}",
        )
    last = ground.train(run)
    row.note(
        last.wait() == 0 and not ground.differences(run), f"{last.err} {ground.differences(run)}"
    )
    return [row]
