"""A disk that is full, at every write of a save, or that fails one call alone."""

import resource
from pathlib import Path

from lstm_lm import LanguageModel
from tests.torture.ground import Ground, Row
from tests.torture.kills import copy, count_calls, run_half
from tests.torture.points import Points

STRETCH = 4  # steps to the end, with a log line, a validation and its save, and the last of both


def fill_everywhere(ground: Ground, every: int) -> list[Row]:
    """The disk fills up, or refuses once, at each call of a stretch that resumes, logs, saves and validates."""
    half = run_half(ground, "half", ground.steps - STRETCH)
    return [
        _fill(ground, half, act, every, what)
        for act, what in (
            ("fill", "disk full from a system call of a save on, every one in turn, then --resume"),
            ("fail", "one system call of a save refused, every one in turn, then --resume"),
        )
    ]


def _fill(ground: Ground, half: Path, act: str, every: int, what: str) -> Row:
    row = Row(what)
    for at in range(1, count_calls(ground, half) + 1, every):
        run = copy(half)
        process = ground.train(run, prepare=Points(at, act).install)
        process.wait()
        # a refused second name of a checkpoint, or a refused removal, costs nothing
        good = process.refused() or process.returncode == 0 and not ground.differences(run)
        row.note(
            good and _goes_on(ground, run), f"call {at}, status {process.returncode}: {process.err}"
        )
    return row


def limit_file_sizes(ground: Ground, times: int) -> list[Row]:
    """No file may grow beyond some size, as the system itself enforces it."""
    row = Row("a limit on the size of files, at sizes up to the largest, then --resume")
    half = run_half(ground, "half", ground.steps - STRETCH)
    largest = max(path.stat().st_size for path in half.iterdir())
    for number in range(times):
        run, size = (
            copy(half),
            1000 + largest * number // times,
        )  # below it, what is said cannot be kept either
        process = ground.train(
            run,
            prepare=lambda size=size: resource.setrlimit(
                resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY)
            ),
        )
        good = process.refused() or size > largest and process.returncode == 0
        row.note(
            good and _goes_on(ground, run),
            f"size {size}, status {process.returncode}: {process.err}",
        )
    return [row]


def _goes_on(ground: Ground, run: Path) -> bool:
    LanguageModel.from_pretrained(run)
    last = ground.train(run)
    return last.wait() == 0 and not ground.differences(run)
