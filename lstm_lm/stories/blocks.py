"""Stories in blocks that do not depend on each other, so that several processes can write them.

Usually all stories of a split come from one stream of random numbers, so a story can be written
only after the one before it. With `stories.parallel`, every block of stories has a stream of its
own. The text is the same, whichever process writes a block.

A block is `STORIES_PER_BLOCK` stories or, with a curriculum, one pass. The first pass decides how
many words the others have, so it is written first.

`work` is the main function of a process that writes blocks for another process.
"""

from __future__ import annotations

import json
import math
import os
import signal
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from random import Random
from typing import IO, Any

from lstm_lm.config import StoriesConfig
from lstm_lm.stories.biographies import (
    Story,
    Storyteller,
    check_split,
    tell_first_pass,
    tell_pass_like,
)

STORIES_PER_BLOCK = 200


@dataclass(frozen=True)
class Block:
    """Some stories that follow each other.

    Attributes:
        text: the stories, each with its line end.
        words: for each story, the number of its words and punctuation marks, line end included.
        log_probabilities: of each story, in nats.
    """

    text: str
    words: list[int]
    log_probabilities: list[float]

    @classmethod
    def of(cls, stories: Iterable[Story]) -> Block:
        """Joins stories."""
        stories = list(stories)
        return cls(
            "".join(f"{story.text}\n" for story in stories),
            [story.words for story in stories],
            [story.log_probability for story in stories],
        )

    def write(self, file: IO[bytes]) -> None:
        """Writes the block to a stream from which `read` reads it."""
        text = self.text.encode("utf-8")
        header = [len(text), self.words, self.log_probabilities]
        file.write(json.dumps(header).encode() + b"\n" + text)
        file.flush()

    @classmethod
    def read(cls, file: IO[bytes]) -> Block:
        """Reads what `write` wrote.

        Raises:
            EOFError: the stream ends before the end of the block.
        """
        header = file.readline()
        if not header.endswith(b"\n"):
            raise EOFError("no block")
        size, words, log_probabilities = json.loads(header)
        text = file.read(size)
        if len(text) < size:
            raise EOFError("half a block")
        return cls(text.decode("utf-8"), words, log_probabilities)


@dataclass(frozen=True)
class Plan:
    """Which stories are written.

    Attributes:
        count: how many; with `passes`, the first pass has ``count / passes`` stories, and every
            other pass has as many words as the first.
        seed: any whole number.
        split: ``train``, ``valid`` or ``test``.
        config: what kind of stories.
        passes: as in `biographies.iterate_stories`.
        people_first: as in `biographies.iterate_stories`.
    """

    count: int
    seed: int
    split: str
    config: StoriesConfig
    passes: int | None = None
    people_first: float = 0.0

    def __post_init__(self) -> None:
        check_split(self.split)

    @property
    def blocks(self) -> int:
        """The number of blocks."""
        return self.passes or math.ceil(self.count / STORIES_PER_BLOCK)


class BlockWriter:
    """Writes the blocks of a plan, in any order."""

    def __init__(self, plan: Plan, first_pass: Sequence[int] = ()) -> None:
        """Prepares to write.

        Args:
            plan: which stories.
            first_pass: for each story of the first pass, the number of words up to its end. It is
                needed for the other passes of a curriculum.
        """
        self._plan, self._first_pass = plan, first_pass
        self._storyteller = Storyteller(plan.config, plan.people_first if plan.passes else 0.0)

    def write(self, number: int) -> Block:
        """Writes one block.

        Args:
            number: of the block, from 0.
        """
        return Block.of(self._tell(number))

    def _tell(self, number: int) -> Iterator[Story]:
        plan = self._plan
        rng = Random(f"biographies/{plan.seed}/{plan.split}/block {number}")
        if plan.passes and number:
            yield from tell_pass_like(self._first_pass, self._storyteller, rng)
        elif plan.passes:
            yield from tell_first_pass(math.ceil(plan.count / plan.passes), self._storyteller, rng)
        else:
            first = number * STORIES_PER_BLOCK
            for _ in range(first, min(first + STORIES_PER_BLOCK, plan.count)):
                yield self._storyteller.tell(1.0, rng)


def send_job(
    file: IO[bytes], plan: Plan, first_pass: Sequence[int], numbers: Sequence[int]
) -> None:
    """Tells a process that runs `work` which blocks to write, in which order."""
    job = {"plan": asdict(plan), "first_pass": list(first_pass), "numbers": list(numbers)}
    file.write(json.dumps(job).encode() + b"\n")
    file.flush()


def work() -> None:
    """Reads a job from standard input and writes its blocks to standard output.

    Ctrl-C in a terminal reaches all processes. Only the one that gave the job acts on it. When that
    process has ended, for whatever reason, nobody reads the blocks, and this process ends.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    job: dict[str, Any] = json.loads(sys.stdin.buffer.readline())
    config = StoriesConfig(**job["plan"].pop("config"))
    writer = BlockWriter(Plan(config=config, **job["plan"]), job["first_pass"])
    try:
        for number in job["numbers"]:
            writer.write(number).write(sys.stdout.buffer)
    except OSError:
        # Nobody reads. Without this, Python would complain again when it closes the stream.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
