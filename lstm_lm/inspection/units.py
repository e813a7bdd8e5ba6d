"""Which units of a layer hold something, for how long, and what.

Shapes: T words of a trace, B lines read side by side, H hidden_size. Layers and units count from 0, as in
``model.recurrent.cells``.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import torch
from torch import Tensor

from lstm_lm.errors import InputError
from lstm_lm.model.language_model import LanguageModel
from lstm_lm.model.trace import Trace

LONGEST_HALF_LIFE = 1e6  # words; float32 tells a gate from 1 no better than that
SHARE_TOGETHER = 0.75  # of the selected units that must be on for a match
LINES_SIDE_BY_SIDE = 64
LONGEST_MATCHED_LINE = 10_000  # words; all cell states of the lines side by side are in memory


def half_lives(trace: Trace, layer: int) -> Tensor | None:
    """How many words it takes, on average, until a unit has let go of half of what it holds.

    ``T / sum_t min(1, -log2 f_t)`` with the gate f that multiplies the old memory. A gate that stands still at f, from
    1/2 up, gets its half-life ``-1 / log2 f``; one that keeps everything and erases it at every tenth word gets 10:
    however thorough, an erasure counts as one letting go. Line ends do not count.

    Args:
        trace: of any text; more words tell more.
        layer: which.

    Returns:
        Half-lives ``(H,)`` in words, from 1 to `LONGEST_HALF_LIFE`, float64; None for a cell without such a gate.
    """
    looked = trace.layers[layer]
    if looked.keep_gate is None:
        return None
    inside = [t for t, word in enumerate(trace.words) if word != "<eos>"] or list(
        range(len(trace.words))
    )
    halvings = -looked.gates[looked.keep_gate][inside].double().log2()
    return (len(inside) / halvings.clamp(max=1).sum(0)).clamp(max=LONGEST_HALF_LIFE)


def carried_loads(trace: Trace, layer: int) -> Tensor | None:
    """How much each unit carries from word to word: the part of its old memory that its gate keeps, as it is shown.

    Args:
        trace: of any text.
        layer: which.

    Returns:
        The mean over words of ``f |tanh(c_{t-1})|``, ``(H,)``, in [0, 1); None for a cell without such a gate.
    """
    looked = trace.layers[layer]
    if looked.keep_gate is None:
        return None
    return (looked.gates[looked.keep_gate] * looked.c[:-1].tanh().abs()).mean(0)


@dataclass(frozen=True)
class Carrier:
    """A unit whose cell state tells which of two words was read.

    Attributes:
        layer: its layer.
        unit: its place there.
        words: for how many words in a row, the swapped one included, the two cell states stay apart.
        differences: first cell state less second, after each of the T words; 0 before the swapped one.
    """

    layer: int
    unit: int
    words: int
    differences: list[float]


def find_carriers(first: Trace, second: Trace, threshold: float = 0.5) -> list[Carrier]:
    """The units that carry a choice, found by reading the same text with one word swapped.

    Args:
        first: the trace of a text.
        second: the trace of that text with another word in one or several places, word for word as long.
        threshold: two cell states are apart where they differ by at least this.

    Returns:
        The units that are apart anywhere, those that stay so the longest first.

    Raises:
        InputError: if the texts are the same, or not equally long.
    """
    swapped = [
        t
        for t, (one, other) in enumerate(zip(first.words, second.words, strict=False))
        if one != other
    ]
    lengths = [trace.start + len(trace.words) for trace in (first, second)]
    if lengths[0] != lengths[1] or not swapped:
        raise InputError(
            f"to contrast two texts they must be equally long and differ; found {lengths[0]} and "
            f"{lengths[1]} words, {len(swapped)} of them different"
        )
    carriers = []
    for layer, (one, other) in enumerate(zip(first.layers, second.layers, strict=True)):
        differences = (one.c - other.c)[1:]  # (T, H)
        run, longest = torch.zeros(2, differences.shape[1], dtype=torch.int64)
        for apart in differences.abs() >= threshold:
            run = (run + 1) * apart
            longest = torch.maximum(longest, run)
        carriers += [
            Carrier(layer, unit, words, differences[:, unit].tolist())
            for unit, words in enumerate(longest.tolist())
            if words
        ]
    return sorted(carriers, key=lambda carrier: (-carrier.words, -abs(carrier.differences[-1])))


def select_units(
    trace: Trace, layer: int, first: int, last: int, threshold: float = 0.3
) -> list[int]:
    """The units that are on throughout a stretch of words, and off just before and just after it.

    Args:
        trace: of a text.
        layer: which.
        first: the stretch's first word, as an index into ``trace.words``.
        last: its last word, likewise.
        threshold: a unit is on where its cell state after a word is above this.

    Raises:
        InputError: if there is no such stretch.

    Source: LSTMVis, Strobelt et al. 2018 (arXiv 1606.07461).
    """
    if not 0 <= first <= last < len(trace.words):
        raise InputError(
            f"a stretch of words: found {first}:{last}, must be within 0:{len(trace.words) - 1}, its "
            "first word not behind its last"
        )
    on = trace.layers[layer].c > threshold  # (T + 1, H)
    chosen = on[first + 1 : last + 2].all(0) & ~on[first]
    if last + 2 < len(on):
        chosen &= ~on[last + 2]
    return chosen.nonzero().squeeze(1).tolist()


@dataclass(frozen=True)
class Match:
    """A stretch of a text in which selected units are on together.

    Attributes:
        line: number of the line, from 1.
        words: the line's words.
        first: index of the stretch's first word.
        last: of its last.
        units_on: the share of the selected units that are on throughout it, in [0, 1].
    """

    line: int
    words: list[str]
    first: int
    last: int
    units_on: float


def find_matches(
    model: LanguageModel,
    lines: Iterable[str],
    layer: int,
    units: Sequence[int],
    length: int,
    *,
    threshold: float = 0.3,
    most: int = 10,
) -> list[Match]:
    """Where else units that `select_units` gave switch on together: the "match" of LSTMVis.

    A stretch is words in a row at which three quarters of the units or more are on. Every line is read from a zero
    state.

    Args:
        model: in evaluation mode.
        lines: the text to look in.
        layer: the units' layer.
        units: at least one.
        length: of the selected stretch in words; matches of about this length come first.
        threshold: as in `select_units`.
        most: how many to return.

    Raises:
        InputError: if a line has more than `LONGEST_MATCHED_LINE` words.

    Returns:
        At most ``most`` matches: those with most of the units on throughout first, then those nearest in length.
    """
    lines, best, read = iter(lines), [], 0
    while some := list(islice(lines, LINES_SIDE_BY_SIDE)):
        split = [model.vocabulary.split_text(line) for line in some]
        for row, words in enumerate(split, read + 1):
            if len(words) > LONGEST_MATCHED_LINE:
                raise InputError(
                    f"line {row} of the text to match in has {len(words):,} words, of at most "
                    f"{LONGEST_MATCHED_LINE:,}; set its sentences apart by line ends"
                )
        on = _memories(model, [model.vocabulary.ids_of(words) for words in split], layer)[
            ..., list(units)
        ]
        on = (on > threshold).cpu()  # (T, B, units)
        for row, words in enumerate(split):
            for first, last in _stretches(
                on[: len(words), row].sum(1) >= math.ceil(SHARE_TOGETHER * len(units))
            ):
                share = float(on[first : last + 1, row].all(0).double().mean())
                rank = (share, -abs(last - first + 1 - length), -(read + row), -first)
                heapq.heappush(best, (rank, Match(read + row + 1, words, first, last, share)))
                if len(best) > most:
                    heapq.heappop(best)
        read += len(some)
    return [match for _, match in sorted(best, key=lambda entry: entry[0], reverse=True)]


@torch.no_grad()
def _memories(model: LanguageModel, lines: Sequence[Sequence[int]], layer: int) -> Tensor:
    """The cell states ``(T, B, H)`` of a layer after every word of lines that start from zero, padded at their ends."""
    tokens = torch.full((1 + max(map(len, lines)), len(lines)), model.vocabulary.eos_id)
    for row, line in enumerate(lines):
        tokens[1 : 1 + len(line), row] = torch.tensor(line, dtype=torch.int64)
    outputs, memories = model.embed(tokens.to(model.device)), []
    for cell, state in zip(
        model.recurrent.cells[: layer + 1], model.initial_state(len(lines)), strict=False
    ):
        states = [state]
        for x in outputs:
            states.append(cell(x, states[-1]))
        outputs, memories = (torch.stack(part) for part in zip(*states[1:], strict=True))
    return memories[1:]


def _stretches(on: Tensor) -> Iterator[tuple[int, int]]:
    """Yields first and last index of every run of true in ``on (T,)``."""
    start = None
    for t, there in enumerate([*on.tolist(), False]):
        if there and start is None:
            start = t
        elif not there and start is not None:
            yield start, t - 1
            start = None
