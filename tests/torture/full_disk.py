"""A disk that becomes full at a system call of a save, or that refuses one call."""

import resource
from pathlib import Path

from lstm_lm import LanguageModel
from tests.torture.ground import Ground, Row
from tests.torture.kills import copy, count_calls, run_half
from tests.torture.points import Points

# Steps from the stop to the end: they include a log line, a validation, and the final save.
STRETCH = 4


def fill_everywhere(ground: Ground, every: int) -> list[Row]:
    """The disk becomes full, or refuses once, at each call of resuming, logging and saving."""
    half = run_half(ground, "half", ground.steps - STRETCH)
    return [
        _fill(ground, half, act, every, what)
        for act, what in (
            ("fill", "disk full from a system call of a save on, each in turn, then --resume"),
            ("fail", "one system call of a save refused, each in turn, then --resume"),
        )
    ]


def _fill(ground: Ground, half: Path, act: str, every: int, what: str) -> Row:
    row = Row(what)
    for at in range(1, count_calls(ground, half) + 1, every):
        run = copy(half)
        process = ground.train(run, prepare=Points(at, act).install)
        process.wait()
        # a refused link to the previous checkpoint, or a refused removal, has no effect
        good = process.refused() or process.returncode == 0 and not ground.differences(run)
        row.note(
            good and _resumes(ground, run), f"call {at}, status {process.returncode}: {process.err}"
        )
    return row


def limit_file_sizes(ground: Ground, times: int) -> list[Row]:
    """The system limits the size of files."""
    row = Row("a limit on the size of files, up to the largest file's, then --resume")
    half = run_half(ground, "half", ground.steps - STRETCH)
    largest = max(path.stat().st_size for path in half.iterdir())
    for number in range(times):
        # below 1000 bytes, the process could not even write its error message
        run, size = copy(half), 1000 + largest * number // times
        process = ground.train(
            run,
            prepare=lambda size=size: resource.setrlimit(
                resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY)
            ),
        )
        good = process.refused() or size > largest and process.returncode == 0
        row.note(
            good and _resumes(ground, run),
            f"size {size}, status {process.returncode}: {process.err}",
        )
    return [row]


def _resumes(ground: Ground, run: Path) -> bool:
    LanguageModel.from_pretrained(run)
    last = ground.train(run)
    return last.wait() == 0 and not ground.differences(run)
