"""Cuts the ids of a corpus into parallel streams, and the streams into windows.

The windows are those of truncated back-propagation through time. Example: the alphabet, 26 tokens
in 4 streams. ``^`` is ``<eos>``, which stands before the first token; ``.`` is no target::

    inputs   ^ a b c d e f      targets  a b c d e f g
             g h i j k l m               h i j k l m n
             n o p q r s                 o p q r s t .
             t u v w x y                 u v w x y z .

Every token is a target exactly once, the tail included. A window of length 3 at position 0 is the
first three columns; its tensors are time first. A stream continues from window to window, and so
does the model's state. If lines are to be read separately, the streams are cut at line ends.

Shapes: T time (columns), B batch (streams).
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

NO_TARGET = -100
LOOK_AHEAD = 2**12  # tokens that are read at a time in search of a line end
# Varied windows, as in Merity et al. (2017): this share has about the full length, the rest half of
# it. No window is shorter than 5 (or the full length, if that is less) or longer than twice the
# full length.
_FULL_LENGTH_SHARE = 0.95
_MIN_VARIED_LENGTH = 5


class TokenIds(Protocol):
    """A sequence of token ids whose slices NumPy takes: an array, a list, `Tokens`."""

    def __len__(self) -> int: ...

    def __getitem__(self, key: slice, /) -> Any: ...


class Streams:
    """A sequence of tokens, cut into contiguous streams of about equal length.

    Args:
        tokens: N ids.
        batch_size: the number of streams B. If B does not divide N, the first streams are one token
            longer than the others.
        eos_id: the id that stands before the first token, and that ends lines.
        whole_lines: cut only at line ends. The lengths then differ more, and there are fewer than
            ``batch_size`` streams if there are few lines or long ones.
        only: which of these streams are read; all by default.

    Attributes:
        starts: the position of each stream's first token, int64 ``(B,)``.
        ends: the position after each stream's last token, int64 ``(B,)``.
        length: of the longest of all streams, read or not; ``ceil(N / B)`` unless ``whole_lines``.
    """

    def __init__(
        self,
        tokens: TokenIds,
        batch_size: int,
        eos_id: int,
        *,
        whole_lines: bool = False,
        only: slice = slice(None),
    ) -> None:
        self.tokens, self.eos_id = tokens, eos_id
        length, remainder = divmod(len(tokens), batch_size)
        lengths = np.full(batch_size, length)
        lengths[:remainder] += 1
        self.ends = np.cumsum(lengths)
        if whole_lines:
            self.ends = self._move_to_line_ends(self.ends)
        self.starts = np.concatenate([np.zeros_like(self.ends[:1]), self.ends[:-1]])
        self.length = int((self.ends - self.starts).max(initial=0))
        self.starts, self.ends = self.starts[only], self.ends[only]

    def _move_to_line_ends(self, cuts: np.ndarray) -> np.ndarray:
        """Returns the cuts, each moved to the end of its line; cuts that meet there become one."""
        ends = [0]
        for cut in cuts.tolist():
            if cut > ends[-1]:
                ends.append(self._line_end(cut - 1))
        return np.array(ends[1:], dtype=np.int64)

    def _line_end(self, position: int) -> int:
        """Returns the position after the line that has a token at ``position``."""
        for start in range(position, len(self.tokens), LOOK_AHEAD):
            piece = np.asarray(self.tokens[start : start + LOOK_AHEAD])
            found = np.flatnonzero(piece == self.eos_id)
            if len(found):
                return start + int(found[0]) + 1
        return len(self.tokens)

    def window(self, start: int, stop: int) -> tuple[Tensor, Tensor]:
        """Returns the columns from ``start`` to ``stop`` of all streams.

        Args:
            start: the first column.
            stop: the column after the last, T = stop - start.

        Returns:
            ``inputs (T, B)`` and ``targets (T, B)``, int64. Where a stream has ended, the input is
            ``eos_id`` and the target `NO_TARGET`.
        """
        inputs = np.full((len(self.starts), stop - start), self.eos_id, dtype=np.int64)
        targets = np.full_like(inputs, NO_TARGET)
        for stream, (first, end) in enumerate(zip(self.starts, self.ends, strict=True)):
            low, high = first + start, min(first + stop, end)
            if low >= high:
                continue
            length = high - low
            piece = np.asarray(self.tokens[max(low - 1, 0) : high])
            targets[stream, :length] = piece[-length:]
            if low == 0:  # no token stands before the first: its input remains eos_id
                inputs[stream, 1:length] = piece[:-1]
            else:
                inputs[stream, :length] = piece[:-1]
        return torch.from_numpy(inputs.T.copy()), torch.from_numpy(targets.T.copy())


def iterate_spans(
    length: int,
    bptt_length: int,
    variation: float = 0.0,
    seed: int = 0,
    epoch: int = 0,
    position: int = 0,
) -> Iterator[tuple[int, int]]:
    """Cuts columns ``0 .. length`` into windows; the same windows for the same seed and epoch.

    Args:
        length: number of columns.
        bptt_length: length of a window, at least 1; with a variation, of most windows on average.
        variation: standard deviation of the length. If it is 0, all windows but the last have the
            same length. If it is above 0, the cuts fall elsewhere in every epoch, and one window in
            twenty is about half as long.
        seed: decides the lengths, together with the epoch.
        epoch: decides the lengths, together with the seed.
        position: where to begin, when resuming: the ``start`` of one of the windows. Windows before
            it are left out.

    Yields:
        ``(start, stop)`` of every window.

    Source:
        Merity et al. 2017, arXiv 1708.02182.
    """
    draw = random.Random(f"windows {seed} {epoch}")
    shortest, longest = min(_MIN_VARIED_LENGTH, bptt_length), 2 * bptt_length
    start = 0
    while start < length:
        size = float(bptt_length)
        if variation:
            mean = size if draw.random() < _FULL_LENGTH_SHARE else size / 2
            size = draw.gauss(mean, variation)
        stop = min(length, start + min(max(round(size), shortest), longest))
        if start >= position:
            yield start, stop
        start = stop
