"""Writes stories on all cores.

The other processes are plain Python programs that get their job through a pipe, not children of
`multiprocessing`. So this also works in a notebook, in a thread, and in a script without
``if __name__ == "__main__"``, on every system. If such a process cannot start or is killed, this
process writes its blocks. The text does not depend on who wrote it.
"""

from __future__ import annotations

import contextlib
import itertools
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO

from lstm_lm.machine import available_cores
from lstm_lm.stories.biographies import iterate_stories
from lstm_lm.stories.blocks import STORIES_PER_BLOCK, Block, BlockWriter, Plan, send_job

# Another process needs about 0.2 s to start. In this time one core writes some 500 short stories.
MIN_STORIES_FOR_WORKERS = 2000
MAX_WORKERS = 32

_WORK = "import sys; sys.path[:] = sys.argv[1:]; from lstm_lm.stories.blocks import work; work()"


def iterate_blocks(plan: Plan, workers: int | None = None) -> Iterator[Block]:
    """Yields the stories of a plan in blocks, in their order.

    Args:
        plan: which stories. Without ``plan.config.parallel`` they are those of
            `biographies.iterate_stories`, and this process writes them all.
        workers: how many other processes write; None for one on each core, if that is worth it.
            The stories do not depend on it.
    """
    if not plan.config.parallel:
        yield from _blocks_of_one_stream(plan)
        return
    if workers is None:
        is_long = plan.count >= MIN_STORIES_FOR_WORKERS
        workers = min(available_cores(), MAX_WORKERS) if is_long else 0
    numbers = range(1 if plan.passes else 0, plan.blocks)
    workers = min(workers, len(numbers)) if _python() else 0
    with contextlib.ExitStack() as stack:
        processes = []
        if workers > 1:
            for _ in range(workers):
                processes.append(_Worker())
                stack.callback(processes[-1].close)
        first_pass: Sequence[int] = ()
        if plan.passes:
            # The other processes start meanwhile.
            block = BlockWriter(plan).write(0)
            first_pass = list(itertools.accumulate(block.words))
            yield block
        yield from _write_blocks(plan, first_pass, numbers, processes)


def _blocks_of_one_stream(plan: Plan) -> Iterator[Block]:
    stories = iterate_stories(
        plan.count, plan.seed, plan.split, plan.config, plan.passes, plan.people_first
    )
    while block := list(itertools.islice(stories, STORIES_PER_BLOCK)):
        yield Block.of(block)


def _write_blocks(
    plan: Plan, first_pass: Sequence[int], numbers: Sequence[int], workers: Sequence[_Worker]
) -> Iterator[Block]:
    """Yields blocks; of n workers, the k-th one writes every n-th block, from the k-th on."""
    own = BlockWriter(plan, first_pass)
    for index, worker in enumerate(workers):
        worker.send(plan, first_pass, numbers[index :: len(workers)])
    for index, number in enumerate(numbers):
        block = workers[index % len(workers)].read_block() if workers else None
        yield own.write(number) if block is None else block


def _python() -> str | None:
    """The Python program that runs this process; None if another program has Python inside."""
    return sys.executable if "py" in Path(sys.executable or "").name.lower() else None


class _Worker:
    """A process that writes blocks. It ends when it is closed, or when this process ends."""

    def __init__(self) -> None:
        """Starts the process; if that fails, `read_block` returns None."""
        self._process: subprocess.Popen[bytes] | None = None
        try:
            self._process = subprocess.Popen(
                [_python() or "", "-c", _WORK, *map(str, sys.path)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                # On Windows, a program without a console would open one for each process.
                creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
            )
        except OSError:
            self.close()

    def send(self, plan: Plan, first_pass: Sequence[int], numbers: Sequence[int]) -> None:
        """Tells the process which blocks to write, in which order."""
        if self._process is not None:
            try:
                send_job(self._pipe(self._process.stdin), plan, first_pass, numbers)
            except OSError:
                self.close()

    def read_block(self) -> Block | None:
        """Returns the next block; None if the process has ended early."""
        if self._process is None:
            return None
        try:
            return Block.read(self._pipe(self._process.stdout))
        except (EOFError, OSError):
            self.close()
            return None

    def close(self) -> None:
        """Ends the process."""
        process, self._process = self._process, None
        if process is None:
            return
        process.kill()
        for pipe in (process.stdin, process.stdout):
            # a pipe to a process that has ended may still hold a part of the job
            with contextlib.suppress(OSError):
                self._pipe(pipe).close()
        process.wait()

    @staticmethod
    def _pipe(pipe: IO[bytes] | None) -> IO[bytes]:
        assert pipe is not None
        return pipe
