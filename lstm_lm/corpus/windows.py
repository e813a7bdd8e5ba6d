"""One long stream of words -> parallel streams -> windows of truncated back-propagation through time.

The alphabet, 26 tokens, in 4 streams (``^`` is ``<eos>``, which stands before the first token; ``.`` is no target)::

    inputs   ^ a b c d e f      targets  a b c d e f g
             g h i j k l m               h i j k l m n
             n o p q r s                 o p q r s t .
             t u v w x y                 u v w x y z .

Every token is a target exactly once, the tail included. A window of length 3 at position 0 is the first three columns,
time first. Streams run on from window to window, and so does the model's state. Where lines are to be read apart, the
cuts are moved to where a line ends.

Shapes: T time, B batch (parallel streams).
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

NO_TARGET = -100
LOOK_AHEAD = 2**12  # tokens looked through at a time for a line's end


class Streams:
    """A token stream cut into contiguous, equally long pieces that are read side by side.

    Args:
        tokens: ids, sliceable to something NumPy takes (a memory map, an array, a list).
        batch_size: number of streams B. The first ones are one token longer where B does not divide the tokens.
        eos_id: the id that stands before the first token.
        whole_lines: cut at nothing but ends of lines: the pieces are about as long then, and fewer than ``batch_size``
            where lines are few or long.

    Attributes:
        length: columns, those of the longest stream; ``ceil(len(tokens) / batch_size)`` unless lines are kept whole.
    """

    def __init__(
        self, tokens: Sequence[int], batch_size: int, eos_id: int, *, whole_lines: bool = False
    ) -> None:
        self.tokens, self.eos_id = tokens, eos_id
        short, longer = divmod(len(tokens), batch_size)
        self.ends = np.cumsum(np.full(batch_size, short) + (np.arange(batch_size) < longer))
        if whole_lines:
            self.ends = self._moved_to_line_ends(self.ends)
        self.starts = np.concatenate([np.zeros_like(self.ends[:1]), self.ends[:-1]])
        self.length = int((self.ends - self.starts).max(initial=0))

    def _moved_to_line_ends(self, cuts: np.ndarray) -> np.ndarray:
        """Each cut moved on to the end of the line that it falls into; those that meet there are one."""
        ends = [0]
        for cut in cuts.tolist():
            if cut > ends[-1]:
                ends.append(self._line_end(cut - 1))
        return np.array(ends[1:], dtype=np.int64)

    def _line_end(self, inside: int) -> int:
        """The position behind the line that the token at ``inside`` is of."""
        for start in range(inside, len(self.tokens), LOOK_AHEAD):
            found = np.flatnonzero(
                np.asarray(self.tokens[start : start + LOOK_AHEAD]) == self.eos_id
            )
            if len(found):
                return start + int(found[0]) + 1
        return len(self.tokens)

    def window(self, start: int, stop: int) -> tuple[Tensor, Tensor]:
        """Columns ``start`` to ``stop`` as int64 ``inputs (T, B)`` and ``targets (T, B)``, padded with `NO_TARGET`."""
        inputs = np.full((len(self.starts), stop - start), self.eos_id, dtype=np.int64)
        targets = np.full_like(inputs, NO_TARGET)
        for row, (first, end) in enumerate(zip(self.starts, self.ends, strict=True)):
            low, high = first + start, min(first + stop, end)
            if low >= high:
                continue
            piece = np.asarray(self.tokens[max(low - 1, 0) : high])
            targets[row, : high - low] = piece[-(high - low) :]
            before = piece[:-1]
            inputs[row, high - low - len(before) : high - low] = before
        return torch.from_numpy(inputs.T.copy()), torch.from_numpy(targets.T.copy())


def iterate_spans(
    length: int,
    bptt_length: int,
    variation: float = 0.0,
    seed: int = 0,
    epoch: int = 0,
    position: int = 0,
) -> Iterator[tuple[int, int]]:
    """Cuts columns ``0 .. length`` into windows, the same ones for the same seed and epoch.

    Args:
        length: number of columns.
        bptt_length: mean window length.
        variation: standard deviation of the length; if above 0, one window in twenty is about half as long, so that
            the cuts fall elsewhere in every epoch (Merity et al. 2017, arXiv 1708.02182).
        seed: of the lengths.
        epoch: of the lengths.
        position: the column to begin at: a ``start`` that this plan has. Earlier windows are left out.

    Yields:
        ``(start, stop)`` of every window.
    """
    chance = random.Random(f"windows {seed} {epoch}")
    start = 0
    while start < length:
        size = float(bptt_length)
        if variation:
            size = chance.gauss(size if chance.random() < 0.95 else size / 2, variation)
        stop = min(length, start + min(max(round(size), min(5, bptt_length)), 2 * bptt_length))
        if start >= position:
            yield start, stop
        start = stop
