"""Units of a layer: how long they hold what they hold, and which of them remember a word.

Shapes: T words of a trace, B lines read side by side, H hidden_size. Layers and units count from 0,
as in ``model.network.recurrent.cells``.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import torch
from torch import Tensor

from lstm_lm.cells import states_over
from lstm_lm.errors import InputError
from lstm_lm.model.language_model import LanguageModel
from lstm_lm.model.trace import Trace

MAX_HALF_LIFE = 1e6  # words; float32 cannot tell a gate nearer to 1 from 1
MIN_SHARE_ON = 0.75  # of the selected units: so many must be on together for a match
LINES_AT_ONCE = 64  # lines that are read side by side
# Words of a line to match in. The cell states of LINES_AT_ONCE such lines are in memory together.
MAX_MATCHED_WORDS = 10_000
# By how much two cell states must differ, after tanh, to count as apart. Measured in the quick
# start's model, with France swapped for Italy: 12 units, all in the upper layer, stay apart by this
# from France to the end. Eight of the ten units that change log p(Paris) - log p(Rome) most, when
# their cell state alone is exchanged at that word, are among them.
MIN_DIFFERENCE = 0.1


def half_lives(trace: Trace, layer: int) -> Tensor | None:
    """Measures how many words it takes, on average, until a unit forgets half of what it holds.

    The half-life is ``T / sum_t min(1, -log2 f_t)``, where f is the gate that multiplies the old
    memory. A gate with a constant value f of at least 1/2 has the half-life ``-1 / log2 f``. A
    gate that keeps everything, but erases it at every tenth word, has the half-life 10: an erasure
    counts as one halving, however complete it is. Line ends do not count.

    Args:
        trace: of any text; a longer text gives a better estimate.
        layer: number of the layer.

    Returns:
        Half-lives ``(H,)`` in words, from 1 to `MAX_HALF_LIFE`, float64; None for a cell without
        such a gate.
    """
    traced = trace.layers[layer]
    if traced.keep_gate is None:
        return None
    places = [t for t, word in enumerate(trace.words) if word != "<eos>"]
    places = places or list(range(len(trace.words)))
    halvings = -traced.gates[traced.keep_gate][places].double().log2()
    return (len(places) / halvings.clamp(max=1).sum(0)).clamp(max=MAX_HALF_LIFE)


def carried_loads(trace: Trace, layer: int) -> Tensor | None:
    """Measures how much each unit carries from word to word: what its gate keeps of its old memory.

    Args:
        trace: of any text.
        layer: number of the layer.

    Returns:
        The mean over words of ``f |tanh(c_{t-1})|``, ``(H,)``, in [0, 1); None for a cell without a
        gate that multiplies the old memory.
    """
    traced = trace.layers[layer]
    if traced.keep_gate is None:
        return None
    return (traced.gates[traced.keep_gate] * traced.c[:-1].tanh().abs()).mean(0)


@dataclass(frozen=True)
class Carrier:
    """A unit whose cell state shows which of two words was read.

    Attributes:
        layer: its layer.
        unit: its number there.
        words: for how many words in a row the two cell states stay apart; the swapped word counts.
        differences: first cell state minus second, after each of the T words; 0 before the swapped
            word.
    """

    layer: int
    unit: int
    words: int
    differences: list[float]


def swapped_words(first: Trace, second: Trace) -> list[int]:
    """The places at which two texts differ, as indices into ``first.words``.

    Raises:
        InputError: the texts are equal, or one is longer than the other.
    """
    both = zip(first.words, second.words, strict=False)
    swapped = [t for t, (one, other) in enumerate(both) if one != other]
    lengths = [trace.start + len(trace.words) for trace in (first, second)]
    if lengths[0] == lengths[1] and not swapped and first.start:
        raise InputError(
            f"the two texts are the same in their last {len(first.words)} words, and only those "
            "are compared; shorten the text after the swapped word"
        )
    if lengths[0] != lengths[1] or not swapped:
        raise InputError(
            f"two texts to compare must be equally long and differ; found {lengths[0]} and "
            f"{lengths[1]} words, {len(swapped)} of them different"
        )
    return swapped


def find_carriers(first: Trace, second: Trace, threshold: float = MIN_DIFFERENCE) -> list[Carrier]:
    """Finds the units that remember a word: reads the same text with that word swapped.

    Cell states are compared after tanh, because the output gate shows ``tanh(c)``. A unit that
    counts words up to 8 in one text and 9 in the other therefore carries nothing.

    Args:
        first: the trace of a text.
        second: the trace of that text with another word in one or several places, equally long.
        threshold: two cell states are apart where their tanh differs by at least this, in (0, 2).

    Returns:
        The units that are apart at any word: those apart for the most words first, then those with
        the larger difference at the end.

    Raises:
        InputError: the texts are equal, or one is longer than the other.
    """
    swapped_words(first, second)
    carriers = []
    for layer, (one, other) in enumerate(zip(first.layers, second.layers, strict=True)):
        differences = (one.c - other.c)[1:]  # (T, H)
        seen = (one.c.tanh() - other.c.tanh())[1:].abs()
        run, longest = torch.zeros(2, differences.shape[1], dtype=torch.int64)
        for apart in seen >= threshold:
            run = (run + 1) * apart
            longest = torch.maximum(longest, run)
        carriers += [
            (float(seen[-1, unit]), Carrier(layer, unit, words, differences[:, unit].tolist()))
            for unit, words in enumerate(longest.tolist())
            if words
        ]
    carriers.sort(key=lambda found: (-found[1].words, -found[0]))
    return [carrier for _, carrier in carriers]


def select_units(
    trace: Trace, layer: int, first: int, last: int, threshold: float = 0.3
) -> list[int]:
    """Finds the units that are on from one word to another, and off just before and just after.

    Args:
        trace: of a text.
        layer: number of the layer.
        first: the first of these words, an index into ``trace.words``.
        last: the last of them, likewise.
        threshold: a unit is on where its cell state after a word is above this.

    Raises:
        InputError: the text has no such words.

    Source: LSTMVis, Strobelt et al. 2018 (arXiv 1606.07461).
    """
    if not 0 <= first <= last < len(trace.words):
        raise InputError(
            f"words to select: found {first}:{last}, must be within 0:{len(trace.words) - 1}, the "
            "first before the last"
        )
    on = trace.layers[layer].c > threshold  # (T + 1, H)
    chosen = on[first + 1 : last + 2].all(0) & ~on[first]
    if last + 2 < len(on):
        chosen &= ~on[last + 2]
    return chosen.nonzero().squeeze(1).tolist()


@dataclass(frozen=True)
class Match:
    """Words of a text at which selected units are on together.

    Attributes:
        line: number of the line, from 1.
        words: the line's words.
        first: index of the first of these words.
        last: index of the last of them.
        units_on: the share of the selected units that are on at all these words, in [0, 1].
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
    """Finds where else units from `select_units` are on together: the "match" of LSTMVis.

    A match is words in a row at each of which at least three quarters of the units are on. Every
    line is read from a zero state.

    Args:
        model: in any mode.
        lines: the text to search.
        layer: the units' layer.
        units: at least one.
        length: number of words that were selected; matches of about this length come first.
        threshold: as in `select_units`.
        most: how many to return.

    Raises:
        InputError: a line has more than `MAX_MATCHED_WORDS` words.

    Returns:
        At most ``most`` matches: those with the most units on at all their words first, then those
        nearest in length.
    """
    lines, lines_read = iter(lines), 0
    best: list[tuple[tuple[float, int, int, int], Match]] = []  # a heap, the worst match first
    needed = math.ceil(MIN_SHARE_ON * len(units))
    while some := list(islice(lines, LINES_AT_ONCE)):
        split = [model.vocabulary.split_text(line) for line in some]
        for number, words in enumerate(split, lines_read + 1):
            if len(words) > MAX_MATCHED_WORDS:
                raise InputError(
                    f"line {number} of the text to match has {len(words):,} words, at most "
                    f"{MAX_MATCHED_WORDS:,} are allowed; put its sentences on lines of their own"
                )
        on = (_memories(model, split, layer)[..., list(units)] > threshold).cpu()  # (T, B, units)
        for row, words in enumerate(split):
            line, on_in_line = lines_read + row + 1, on[: len(words), row]  # (T, units)
            for first, last in _runs(on_in_line.sum(1) >= needed):
                share = float(on_in_line[first : last + 1].all(0).double().mean())
                rank = (share, -abs(last - first + 1 - length), -line, -first)
                heapq.heappush(best, (rank, Match(line, words, first, last, share)))
                if len(best) > most:
                    heapq.heappop(best)
        lines_read += len(some)
    return [match for _, match in sorted(best, key=lambda entry: entry[0], reverse=True)]


@torch.no_grad()
def _memories(model: LanguageModel, lines: Sequence[Sequence[str]], layer: int) -> Tensor:
    """Reads lines from a zero state, and returns a layer's memory after every word, ``(T, B, H)``.

    Shorter lines are padded at their ends.
    """
    network, vocabulary = model.network.in_evaluation_mode(), model.vocabulary
    tokens = torch.full((1 + max(map(len, lines)), len(lines)), vocabulary.eos_id)  # (1 + T, B)
    for row, words in enumerate(lines):
        tokens[1 : 1 + len(words), row] = torch.tensor(vocabulary.ids_of(words), dtype=torch.int64)
    inputs = network.embed(tokens.to(network.device))
    cells, before = network.recurrent.cells[: layer + 1], network.initial_state(len(lines))
    for cell, state in zip(cells, before, strict=False):
        states = states_over(cell, inputs, state)
        inputs = torch.stack([after[0] for after in states])
    return torch.stack([after[-1] for after in states[1:]])


def _runs(on: Tensor) -> Iterator[tuple[int, int]]:
    """Yields the first and the last index of every run of true in ``on (T,)``."""
    start = None
    for t, value in enumerate([*on.tolist(), False]):
        if value and start is None:
            start = t
        elif not value and start is not None:
            yield start, t - 1
            start = None
