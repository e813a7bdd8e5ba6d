"""SIGKILL at random moments and at every system call of a save."""

import os
import shutil
import signal
import time
from pathlib import Path

from lstm_lm import LanguageModel
from lstm_lm.errors import UserError
from lstm_lm.files.run_files import STATE_FILE
from tests.torture.ground import Ground, Row
from tests.torture.points import Points

# A resumed run is killed within this many system calls; they write about eight checkpoints.
CALLS_AHEAD = 500


def kill_often(ground: Ground, kills: int) -> list[Row]:
    """One run, killed that many times and resumed each time."""
    anytime = Row("SIGKILL at a random moment")
    saving = Row("SIGKILL between two system calls, or in one")
    at_end = Row(f"the run after {kills} kills equals the untouched one, bit for bit")
    run = ground.folder / "killed"
    while anytime.times + saving.times < kills:
        if ground.draw.random() < 0.4:
            process = ground.train(run)
            time.sleep(ground.draw.uniform(0, 0.3))
            process.send(signal.SIGKILL)
            row = anytime
        else:
            points = Points(
                ground.draw.randint(1, CALLS_AHEAD), ground.draw.choice(["die", "tear"])
            )
            process = ground.train(run, prepare=points.install)
            row = saving
        if process.wait() != -signal.SIGKILL:
            if process.returncode != 0:
                row.note(False, f"could not resume: {process.err}")
                break
            break  # the run ended before that many kills
        row.note(*_still_loads(run))
    last = ground.train(run)
    at_end.note(
        last.wait() == 0 and not ground.differences(run), f"{last.err} {ground.differences(run)}"
    )
    return [anytime, saving, at_end]


def _still_loads(run: Path) -> tuple[bool, str]:
    """Whether the model can be loaded, if one was saved; and the error."""
    try:
        if (run / STATE_FILE).exists() and (run / "model.safetensors").exists():
            LanguageModel.from_pretrained(run)
        return True, ""
    except UserError as error:
        return False, str(error)


def run_half(ground: Ground, name: str, steps: int) -> Path:
    """Trains a run that is killed after that many steps."""
    run = ground.folder / name
    shutil.rmtree(run, ignore_errors=True)

    def die_there() -> None:
        from lstm_lm.training.trainer import Trainer

        update = Trainer.update

        def update_or_die(trainer: Trainer) -> None:
            if trainer.progress.step == steps:
                os.kill(os.getpid(), signal.SIGKILL)
            update(trainer)

        Trainer.update = update_or_die

    ground.train(run, prepare=die_there).wait()
    return run


def copy(half: Path) -> Path:
    """Copies a half-finished run, to be damaged."""
    run = half.with_name("copy")
    shutil.rmtree(run, ignore_errors=True)
    return Path(shutil.copytree(half, run))


def count_calls(ground: Ground, half: Path) -> int:
    """Counts the writing system calls of a half-finished run from its resumption to its end."""
    points = Points()
    ground.train(copy(half), prepare=points.install).wait()
    return points.count


def kill_everywhere(ground: Ground, every: int) -> list[Row]:
    """A kill at each system call of a run that resumes, logs, saves, validates and saves again."""
    row = Row(
        "SIGKILL at every system call of resuming, logging, validating and saving, then --resume"
    )
    half = run_half(ground, "half", ground.steps - ground.steps % 50 - 9)
    for at in range(1, count_calls(ground, half) + 1, every):
        run = copy(half)
        act = "tear" if at % 2 else "die"
        process = ground.train(run, prepare=Points(at, act).install)
        process.wait()
        loads, what = _still_loads(run)
        last = ground.train(run)
        good = (
            process.returncode == -signal.SIGKILL
            and loads
            and last.wait() == 0
            and not ground.differences(run)
        )
        row.note(good, f"call {at}: {process.err} {what} {last.err} {ground.differences(run)}")
    return [row]
