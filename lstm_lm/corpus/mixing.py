"""Lays out several encoded texts as one train text, mixed evenly along every training stream.

Training reads a text in B streams at once (see `windows`). So a mix is made of B parts of about
equal length, one for each stream. In each part, blocks of whole lines of all sources take turns,
and at every place of it all sources are read to the same fraction.

A source may be denser at the beginning: it then begins with a larger share of the tokens, which
falls to a quarter of the share that it has on average. The sources that are not, fill what is left.

A source is divided among the streams in one of two ways:

- in order: each stream gets one piece of the text, and reads it as often as the source has passes;
- dealt: the blocks are dealt like cards, so all streams are at the same place of the source at the
  same time. A curriculum needs it. If the source has several curricula one after the other, they
  are read side by side.

Example, 2 streams, one pass. The lines of the first source are a to f, in order; those of the
second are 1 to 4, dealt::

    a 1 b 3 c
    d 2 e 4 f

Nothing is copied: a mix knows from where to where each block reaches in its source, about 40 bytes
for each block.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from lstm_lm.corpus.windows import TokenIds

# Tokens after which every source has had its turn. Shorter blocks tear more texts apart; longer
# ones leave a stream with one source for many updates.
ROUND_TOKENS = 1500
_MIN_BLOCKS_PER_STREAM = 4  # of a source that is small for so many streams
_READ_AT_ONCE = 2**20
_SHARE_AT_END = 0.25  # of a source that is denser at the beginning, over its share on average
_PLACES = np.linspace(0, 1, 1001)  # of a stream, at which it is known how far each source is read


@dataclass(frozen=True)
class Ingredient:
    """One source of a mix, encoded.

    Attributes:
        tokens: its ids; every line ends with ``eos_id``.
        passes: how often it is read, above 0. A part of a pass is its beginning.
        curricula: of how many equally long curricula it consists; its blocks are dealt to the
            streams. None: each stream has a piece of it.
        share_at_start: its share of the tokens at the beginning, at least that of the whole mix.
            None: its share does not change, or is what the others leave.
    """

    tokens: TokenIds
    passes: float = 1.0
    curricula: int | None = None
    share_at_start: float | None = None

    @property
    def size(self) -> float:
        """Tokens of all passes together."""
        return len(self.tokens) * self.passes


class MixedTokens:
    """The ids of a mix; ``mix[a:b]`` is a NumPy int64 array of shape ``(b - a,)``.

    Args:
        ingredients: the sources; each has at least one token.
        streams: for how many training streams it is laid out.
        eos_id: the id that ends a line. A block begins after one.
    """

    def __init__(self, ingredients: Sequence[Ingredient], streams: int, eos_id: int) -> None:
        self._tokens = [ingredient.tokens for ingredient in ingredients]
        total = sum(ingredient.size for ingredient in ingredients)
        by_stream = [
            _divide(
                ingredient,
                _block_bounds(
                    ingredient.tokens,
                    _block_size(ingredient, total, streams),
                    eos_id,
                ),
                streams,
            )
            for ingredient in ingredients
        ]
        progress = _progress(ingredients)
        blocks = [
            block
            for stream in range(streams)
            for block in _take_turns([parts[stream] for parts in by_stream], progress)
        ]
        table = np.array(blocks, dtype=np.int64).reshape(-1, 3)
        self._source, self._first = table[:, 0], table[:, 1]  # of each block
        self._ends = np.cumsum(table[:, 2] - table[:, 1])  # after each block, in the mix

    def __len__(self) -> int:
        return int(self._ends[-1])

    def __getitem__(self, key: slice) -> np.ndarray:
        start, stop, _ = key.indices(len(self))
        pieces = [np.empty(0, dtype=np.int64)]
        number = int(np.searchsorted(self._ends, start, side="right"))
        while start < stop:
            end = min(int(self._ends[number]), stop)
            begin = int(self._ends[number - 1]) if number else 0
            offset = int(self._first[number]) - begin
            tokens = self._tokens[int(self._source[number])]
            pieces.append(np.asarray(tokens[start + offset : end + offset]))
            start, number = end, number + 1
        return np.concatenate(pieces)

    def sizes(self) -> list[int]:
        """Returns how many tokens of the mix come from each source."""
        lengths = np.diff(self._ends, prepend=0)
        return [int(lengths[self._source == number].sum()) for number in range(len(self._tokens))]


Blocks = list[tuple[int, int]]  # (first token, token after the last)


def _block_size(ingredient: Ingredient, total: float, streams: int) -> int:
    """Returns how many tokens a block should have."""
    of_round = ROUND_TOKENS * ingredient.size / total
    of_stream = len(ingredient.tokens) / (streams * _MIN_BLOCKS_PER_STREAM)
    return max(1, round(min(of_round, of_stream)))


def _block_bounds(tokens: TokenIds, size: int, eos_id: int) -> np.ndarray:
    """Returns where blocks of whole lines end, each at the first line end after ``size`` tokens."""
    ends: list[int] = []
    last = 0
    for start in range(0, len(tokens), _READ_AT_ONCE):
        piece = np.asarray(tokens[start : start + _READ_AT_ONCE])
        line_ends = start + np.flatnonzero(piece == eos_id) + 1
        while True:
            next_end = int(np.searchsorted(line_ends, last + size))
            if next_end == len(line_ends):
                break
            last = int(line_ends[next_end])
            ends.append(last)
    if last < len(tokens):
        ends.append(len(tokens))
    return np.array(ends, dtype=np.int64)


def _divide(ingredient: Ingredient, ends: np.ndarray, streams: int) -> list[Blocks]:
    """Divides the blocks of a source among the streams; returns those that each stream reads."""
    size = len(ingredient.tokens)
    starts = np.concatenate([np.zeros_like(ends[:1]), ends[:-1]])
    if ingredient.curricula:
        order = np.argsort(starts * ingredient.curricula % size, kind="stable")
        starts, ends = starts[order], ends[order]
        owners = np.arange(len(ends)) % streams
    else:
        owners = starts * streams // size
    blocks = list(zip(starts.tolist(), ends.tolist(), strict=True))
    own: list[Blocks] = [[] for _ in range(streams)]
    for owner, block in zip(owners.tolist(), blocks, strict=True):
        own[owner].append(block)
    return [_repeat(some, ingredient.passes) for some in own]


def _repeat(blocks: Blocks, passes: float) -> Blocks:
    """Returns the blocks of all passes; of the last pass, those that begin in its part."""
    whole, part = divmod(passes, 1)
    limit = part * sum(end - start for start, end in blocks)
    last_pass, read = [], 0
    for start, end in blocks:
        if read >= limit:
            break
        last_pass.append((start, end))
        read += end - start
    return blocks * int(whole) + last_pass


def _progress(ingredients: Sequence[Ingredient]) -> list[np.ndarray]:
    """Returns for each source which fraction of it is read at each of `_PLACES`."""
    sizes = np.array([ingredient.size for ingredient in ingredients], dtype=np.float64)
    shares = sizes / sizes.sum()
    read = [
        None if ingredient.share_at_start is None else _falling(ingredient.share_at_start / share)
        for ingredient, share in zip(ingredients, shares, strict=True)
    ]
    denser = sum(
        (share * part for share, part in zip(shares, read, strict=True) if part is not None),
        np.zeros_like(_PLACES),
    )
    even = np.maximum.accumulate(_PLACES - denser)
    return [even / even[-1] if part is None else part for part in read]


def _falling(start: float) -> np.ndarray:
    """Returns the part that is read at each of `_PLACES`, of a source that gets sparser.

    Its density falls from ``start`` to `_SHARE_AT_END`; over the whole it is 1 on average.
    """
    power = max(1.0, (start - _SHARE_AT_END) / (1 - _SHARE_AT_END))
    return _SHARE_AT_END * _PLACES + (1 - _SHARE_AT_END) * (1 - (1 - _PLACES) ** power)


def _take_turns(
    sources: Sequence[Blocks], progress: Sequence[np.ndarray]
) -> Iterator[tuple[int, int, int]]:
    """Yields blocks as (source, start, end): always of the source that is furthest behind.

    Args:
        sources: the blocks of each, in order.
        progress: see `_progress`.
    """
    totals = [max(1, sum(end - start for start, end in blocks)) for blocks in sources]
    at, due = [0] * len(sources), [0.0] * len(sources)  # when the next block of each is due
    read = [0] * len(sources)
    while any(at[number] < len(blocks) for number, blocks in enumerate(sources)):
        number = min(
            (number for number, blocks in enumerate(sources) if at[number] < len(blocks)),
            key=lambda number: (due[number], number),
        )
        start, end = sources[number][at[number]]
        yield number, start, end
        read[number] += end - start
        at[number] += 1
        due[number] = float(np.interp(read[number] / totals[number], progress[number], _PLACES))
