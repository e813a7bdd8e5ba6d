"""SIGKILL, at random moments and between any two system calls of a save."""

import os
import shutil
import signal
import time
from pathlib import Path

from lstm_lm import LanguageModel
from lstm_lm.errors import UserError
from lstm_lm.training.checkpoint import STATE_FILE
from tests.torture.ground import Ground, Row
from tests.torture.points import Points

CALLS_AHEAD = 500  # of a resumed training, within which it dies: some eight checkpoints


def kill_often(ground: Ground, kills: int) -> list[Row]:
    """One training, killed so many times, and gone on with each time."""
    anywhen, saving = (
        Row("SIGKILL at a random moment"),
        Row("SIGKILL between two system calls, or in one"),
    )
    at_end = Row(f"the run after {kills} kills equals the untouched one, bit for bit")
    run = ground.folder / "killed"
    while anywhen.times + saving.times < kills:
        if ground.draw.random() < 0.4:
            process = ground.train(run)
            time.sleep(ground.draw.uniform(0, 0.3))
            process.send(signal.SIGKILL)
            row = anywhen
        else:
            points = Points(
                ground.draw.randint(1, CALLS_AHEAD), ground.draw.choice(["die", "tear"])
            )
            process = ground.train(run, prepare=points.install)
            row = saving
        if process.wait() != -signal.SIGKILL:
            if process.returncode != 0:
                row.note(False, f"could not go on: {process.err}")
                break
            break  # the run was too short for so many
        row.note(*_still_loads(run))
    last = ground.train(run)
    at_end.note(
        last.wait() == 0 and not ground.differences(run), f"{last.err} {ground.differences(run)}"
    )
    return [anywhen, saving, at_end]


def _still_loads(run: Path) -> tuple[bool, str]:
    """Whether the model can be loaded, if there was one yet."""
    try:
        if (run / STATE_FILE).exists() and (run / "model.safetensors").exists():
            LanguageModel.from_pretrained(run)
        return True, ""
    except UserError as error:
        return False, str(error)


def run_half(ground: Ground, name: str, steps: int) -> Path:
    """A run that was stopped after so many steps, by a kill."""
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
    """A copy of a half-done run, to be hurt."""
    run = half.with_name("hurt")
    shutil.rmtree(run, ignore_errors=True)
    return Path(shutil.copytree(half, run))


def count_calls(ground: Ground, half: Path) -> int:
    """The system calls that write, of a half-done run that goes on to its end."""
    points = Points()
    ground.train(copy(half), prepare=points.install).wait()
    return points.count


def kill_everywhere(ground: Ground, every: int) -> list[Row]:
    """A kill at each system call of a stretch that resumes, logs, saves, validates and saves again."""
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
