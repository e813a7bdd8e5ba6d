"""Sums up item scores: per suite, per group, per distance, with intervals; and how far a model's memory reaches.

Nothing but counts is kept, so that a suite may be of any length.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from itertools import groupby
from typing import Any

from lstm_lm.probes.asking import ItemScore

CONFIDENCE_95 = 1.959963984540054  # standard normal quantile of 0.975
LEAST_GAIN = 0.5  # nats; a cue that brings less, close by, is not remembered in the first place
SKIPPED_WORDS_NAMED = 5
Row = dict[str, Any]


def wilson_interval(successes: float, trials: int) -> tuple[float, float]:
    """The 95 % score interval of a share, ``(low, high)`` in [0, 1].

    With ``p = successes / trials``, ``n = trials`` and ``z = 1.96``::

        (p + z^2 / 2n -+ z sqrt(p (1 - p) / n + z^2 / 4n^2)) / (1 + z^2 / n)

    Args:
        successes: from 0 to `trials`.
        trials: at least 1.

    Source: Wilson 1927, Journal of the American Statistical Association 22.
    """
    share, z2 = successes / trials, CONFIDENCE_95**2 / trials
    middle, half = share + z2 / 2, math.sqrt(z2 * (share * (1 - share) + z2 / 4))
    return max(0.0, (middle - half) / (1 + z2)), min(1.0, (middle + half) / (1 + z2))


def bucket_of(distance: int) -> tuple[int, int]:
    """The bucket of a distance, its first and last: 0, 1, 2, 3-5, 6-10, 11-20, 21-50, 51-100, and so on."""
    if distance < 2:
        return distance, distance
    scale = 10 ** (len(str(distance - 1)) - 1)  # distance - 1 lies in [scale, 10 scale)
    below, last = next(step for step in ((1, 2), (2, 5), (5, 10)) if distance <= step[1] * scale)
    return below * scale + 1, last * scale


def reach(curve: Sequence[tuple[float, float]]) -> float | None:
    """The distance at which a gain has first fallen to half of what it is at the nearest distance.

    Args:
        curve: (distance, gain) in ascending order of distance.

    Returns:
        The distance in words, interpolated linearly between the two points around it; infinite if the gain never falls
        so far; None if there are fewer than two points, or the gain is below `LEAST_GAIN` to begin with.
    """
    if len(curve) < 2 or curve[0][1] < LEAST_GAIN:
        return None
    half = curve[0][1] / 2
    for (near, more), (far, less) in zip(curve, curve[1:], strict=False):
        if less <= half:
            return near + (far - near) * (more - half) / (more - less)
    return math.inf


class Tally:
    """Counts of the items of one cell of the report: a suite, or one of its groups or distances."""

    def __init__(self) -> None:
        self.skipped: Counter[str] = Counter()
        self.skipped_words: dict[str, None] = {}
        self.ranks: Counter[int] = Counter()
        self.sums: Counter[str] = Counter()

    def add(self, score: ItemScore) -> None:
        """Counts one item; half as right if target and foil are equally probable, as unseen words are to an n-gram."""
        sums = self.sums
        if score.skipped:
            self.skipped[score.skipped] += 1
            if len(self.skipped_words) < SKIPPED_WORDS_NAMED:
                self.skipped_words.update(dict.fromkeys(score.skipped_words))
            return
        sums["items"] += 1
        sums["with_unknown"] += bool(score.unknown)
        sums["log_probability"] += score.log_probability
        if score.item.distance is not None:
            sums["with_distance"] += 1
            sums["distance"] += score.item.distance
        if score.foil_log_probability is not None:
            sums["with_foil"] += 1
            sums["right"] += (
                0.5 if score.log_probability == score.foil_log_probability else score.right
            )
        if score.rank is not None:
            self.ranks[score.rank] += 1
        if score.gain is not None:
            sums["with_gain"] += 1
            sums["gain"] += score.gain

    def add_pair(self, scores: Sequence[ItemScore], vocab_size: int) -> None:
        """Counts a whole pair, which is right if all its items are; one with a skipped item is counted as skipped."""
        if any(score.skipped for score in scores):
            self.sums["pairs_skipped"] += 1
            return
        self.sums["pairs"] += 1
        self.sums["pairs_right"] += all(score.right for score in scores)
        self.sums["pair_chance"] += math.prod(
            0.5 if score.item.foil else 1 / vocab_size for score in scores
        )

    def row(self, vocab_size: int) -> Row:
        """The cell's figures by name; None where there is nothing to divide by."""
        sums, ranked = self.sums, self.ranks.total()

        def share(part: float, whole: str) -> float | None:
            return part / sums[whole] if sums[whole] else None

        def interval(part: float, whole: int) -> list[float] | None:
            return list(wilson_interval(part, whole)) if whole else None

        top_1, top_5 = self.ranks[1], sum(self.ranks[rank] for rank in range(1, 6))
        return {
            "items": sums["items"],
            "skipped": self.skipped.total(),
            "skipped_because": dict(self.skipped),
            "skipped_words": list(self.skipped_words)[:SKIPPED_WORDS_NAMED],
            "items_with_unknown_words_in_prefix": sums["with_unknown"],
            "distance": share(sums["distance"], "with_distance"),
            "accuracy": share(sums["right"], "with_foil"),
            "accuracy_items": sums["with_foil"],
            "accuracy_interval": interval(sums["right"], sums["with_foil"]),
            "accuracy_chance": 0.5 if sums["with_foil"] else None,
            "pairs": sums["pairs"],
            "pairs_skipped": sums["pairs_skipped"],
            "pair_accuracy": share(sums["pairs_right"], "pairs"),
            "pair_accuracy_interval": interval(sums["pairs_right"], sums["pairs"]),
            "pair_accuracy_chance": share(sums["pair_chance"], "pairs"),
            "top_1": top_1 / ranked if ranked else None,
            "top_1_interval": interval(top_1, ranked),
            "top_1_chance": 1 / vocab_size if ranked else None,
            "top_5": top_5 / ranked if ranked else None,
            "median_rank": _median(self.ranks) if ranked else None,
            "log_probability": share(sums["log_probability"], "items"),
            "gain": share(sums["gain"], "with_gain"),
            "gain_items": sums["with_gain"],
        }


def _median(counts: Counter[int]) -> float:
    """The median of numbers of which there are so many."""
    total, passed, low = counts.total(), 0, None
    for value in sorted(counts):
        passed += counts[value]
        if low is None and 2 * passed >= total:
            low = value
        if 2 * passed > total:
            return (low + value) / 2
    raise AssertionError("no numbers")


def summarise(
    scores: Iterable[ItemScore],
    vocab_size: int,
    on_score: Callable[[ItemScore], None] = lambda score: None,
) -> Row:
    """The report on one suite.

    Args:
        scores: of its items, in their order.
        vocab_size: of the model, for the levels of chance.
        on_score: called with every score.

    Returns:
        What `Tally.row` counts, of the whole suite; its ``reach``, or, if the gain never falls to half,
        ``reach_beyond``, the farthest distance; a list ``distances``, a row for each bucket, with ``from`` and ``to``;
        a list ``groups``, a row for each, with ``group``, and its own reach and ``distances``. A pair counts in every
        row that all its items belong to. A suite has no reach where its nearest bucket lacks one of its groups: farther
        buckets would differ in more than distance.
    """
    tallies: dict[tuple[str | None, tuple[int, int] | None], Tally] = {(None, None): Tally()}
    for pair, members in groupby(scores, key=lambda score: score.item.pair):
        cells: set = set()
        unit: list[ItemScore] = []
        for score in members:
            on_score(score)
            bucket = None if score.item.distance is None else bucket_of(score.item.distance)
            keys = {(group, at) for group in (None, score.item.group) for at in (None, bucket)}
            for key in keys:
                tallies.setdefault(key, Tally()).add(score)
            if pair:
                cells = cells & keys if unit else keys
                unit.append(score)
        for key in cells:
            tallies[key].add_pair(unit, vocab_size)

    groups = [of for of, bucket in tallies if of is not None and bucket is None]

    def part(group: str | None) -> Row:
        buckets = sorted(bucket for of, bucket in tallies if of == group and bucket is not None)
        distances = [
            {"from": bucket[0], "to": bucket[1], **tallies[group, bucket].row(vocab_size)}
            for bucket in buckets
        ]
        curve = [(row["distance"], row["gain"]) for row in distances if row["gain"] is not None]
        first = next(
            (
                bucket
                for bucket, row in zip(buckets, distances, strict=True)
                if row["gain"] is not None
            ),
            None,
        )
        is_mixed = group is None and any(
            tallies[of, None].sums["with_gain"] and (of, first) not in tallies for of in groups
        )
        found = None if is_mixed else reach(curve)
        return {
            **tallies[group, None].row(vocab_size),
            "reach": None if found == math.inf else found,
            "reach_beyond": curve[-1][0] if found == math.inf else None,
            "distances": distances,
        }

    return {**part(None), "groups": [{"group": group, **part(group)} for group in groups if group]}
