"""The part of a batch that a process computes, where several processes share every batch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from lstm_lm.random_numbers import generator_on


@dataclass(frozen=True)
class BatchPart:
    """The streams of a batch that this process computes; other processes compute the rest.

    What is drawn at random is drawn for the whole batch, by generators that are alike in all
    processes, and each process takes what belongs to its streams. So nothing depends on which
    process has a stream, and the random numbers are those of a single process.

    Attributes:
        start: the first stream.
        stop: the stream after the last.
        batch_size: the streams of all processes, B.
        gather: takes a tensor ``(T, stop - start)`` of each process, of the same shape everywhere,
            and returns those of all processes side by side, ``(T, B)``.
    """

    start: int
    stop: int
    batch_size: int
    gather: Callable[[Tensor], Tensor]

    @property
    def size(self) -> int:
        """How many streams it has."""
        return self.stop - self.start

    def own(self, whole: Tensor, dim: int) -> Tensor:
        """Returns the streams of this part out of a tensor that has all B of them in ``dim``."""
        return whole.narrow(dim, self.start, self.size)


def draw_uniform(like: Tensor, part: BatchPart | None) -> Tensor:
    """Draws a number in [0, 1) for each word of a window.

    Args:
        like: ``(T, B)``, or the streams of a part.
        part: which part, if it is one.

    Returns:
        float32, with the shape of ``like``.
    """
    streams = like.shape[1] if part is None else part.batch_size
    generator = generator_on(like.device)
    drawn = torch.rand(len(like), streams, device=like.device, generator=generator)
    return drawn if part is None else part.own(drawn, 1)
