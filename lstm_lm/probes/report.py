"""Sums up item scores: per suite, per group and per distance, with confidence intervals.

The report also states the reach: up to which distance a model remembers the cue. Only counts and
sums are kept, so a suite can have any number of items.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import groupby
from typing import Any

from lstm_lm.probes.asking import ItemScore

CONFIDENCE_95 = 1.959963984540054  # standard normal quantile of 0.975
# Nats. If a cue helps less than this at the nearest distance, the model has no reach.
MIN_GAIN = 0.5
SKIPPED_WORDS_SHOWN = 5

# The figures of a suite, of one of its groups or of one of its distances, by name.
ReportRow = dict[str, Any]
Bucket = tuple[int, int]  # first and last distance


def wilson_interval(successes: float, trials: int) -> tuple[float, float]:
    """Returns the 95 % score interval of a proportion, ``(low, high)`` in [0, 1].

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


def bucket_of(distance: int) -> Bucket:
    """Returns the first and the last distance of the bucket that a distance belongs to.

    The buckets are 0, 1, 2, 3-5, 6-10, 11-20, 21-50, 51-100, and so on.

    Args:
        distance: words, at least 0.
    """
    if distance < 2:
        return distance, distance
    scale = 10 ** (len(str(distance - 1)) - 1)  # scale <= distance - 1 < 10 scale
    if distance <= 2 * scale:
        return scale + 1, 2 * scale
    if distance <= 5 * scale:
        return 2 * scale + 1, 5 * scale
    return 5 * scale + 1, 10 * scale


def reach(curve: Sequence[tuple[float, float]]) -> float | None:
    """Returns the distance at which a gain first falls to half of its first value.

    Args:
        curve: (distance, gain) in ascending order of distance.

    Returns:
        The distance in words, interpolated linearly between the two points around it. Infinite if
        the gain never falls to half. None if there are fewer than two points, or if the first gain
        is below `MIN_GAIN`.
    """
    if len(curve) < 2 or curve[0][1] < MIN_GAIN:
        return None
    half = curve[0][1] / 2
    for (near, near_gain), (far, far_gain) in zip(curve, curve[1:], strict=False):
        if far_gain <= half:
            return near + (far - near) * (near_gain - half) / (near_gain - far_gain)
    return math.inf


class Tally:
    """Counts and sums of the items of a suite, of one of its groups or of one of its distances."""

    def __init__(self) -> None:
        """Starts at zero."""
        self.skipped: Counter[str] = Counter()
        self.skipped_words: dict[str, None] = {}
        self.ranks: Counter[int] = Counter()
        self.counts: Counter[str] = Counter()
        self.sums: defaultdict[str, float] = defaultdict(float)

    def add(self, score: ItemScore) -> None:
        """Counts one item.

        If target and foil are equally probable, the item counts as half right. This happens with
        n-gram models: all words that they have not seen after the prefix can be equally probable.
        """
        counts, sums = self.counts, self.sums
        if score.skipped:
            self.skipped[score.skipped] += 1
            if len(self.skipped_words) < SKIPPED_WORDS_SHOWN:
                self.skipped_words.update(dict.fromkeys(score.skipped_words))
            return
        counts["items"] += 1
        counts["with_unknown"] += bool(score.unknown)
        if score.item.regions:
            counts["with_foil"] += 1
            counts["two_answers"] += score.item.regions.formula.is_one_comparison
            sums["right"] += score.right
        if score.log_probability is not None:
            counts["with_log_probability"] += 1
            sums["log_probability"] += score.log_probability
        if score.item.distance is not None:
            counts["with_distance"] += 1
            sums["distance"] += score.item.distance
        if score.foil_log_probability is not None:
            is_tie = score.log_probability == score.foil_log_probability
            counts["with_foil"] += 1
            counts["two_answers"] += 1
            sums["right"] += 0.5 if is_tie else score.right
        if score.rank is not None:
            self.ranks[score.rank] += 1
        if score.gain is not None:
            counts["with_gain"] += 1
            sums["gain"] += score.gain

    def add_pair(self, scores: Sequence[ItemScore], vocab_size: int) -> None:
        """Counts a whole pair, which is right if all its items are.

        A pair with a skipped item is only counted as skipped.

        Args:
            scores: of all items of the pair.
            vocab_size: of the model, for the level of chance.
        """
        if any(score.skipped for score in scores):
            self.counts["pairs_skipped"] += 1
            return
        self.counts["pairs"] += 1
        self.counts["pairs_right"] += all(score.right for score in scores)
        self.sums["pair_chance"] += math.prod(
            0.5 if score.item.foil else 1 / vocab_size for score in scores
        )

    def row(self, vocab_size: int) -> ReportRow:
        """Returns the figures by name; a figure without any item to count is None.

        Args:
            vocab_size: of the model, for the level of chance.
        """
        counts, sums, ranked = self.counts, self.sums, self.ranks.total()

        def ratio(part: float, whole: int) -> float | None:
            return part / whole if whole else None

        def interval(part: float, whole: int) -> list[float] | None:
            return list(wilson_interval(part, whole)) if whole else None

        top_1 = self.ranks[1]
        top_5 = sum(self.ranks[rank] for rank in range(1, 6))
        return {
            "items": counts["items"],
            "skipped": self.skipped.total(),
            "skipped_because": dict(self.skipped),
            "skipped_words": list(self.skipped_words)[:SKIPPED_WORDS_SHOWN],
            "items_with_unknown_words_in_prefix": counts["with_unknown"],
            "distance": ratio(sums["distance"], counts["with_distance"]),
            "accuracy": ratio(sums["right"], counts["with_foil"]),
            "accuracy_items": counts["with_foil"],
            "accuracy_interval": interval(sums["right"], counts["with_foil"]),
            "accuracy_chance": 0.5 if 0 < counts["with_foil"] == counts["two_answers"] else None,
            "pairs": counts["pairs"],
            "pairs_skipped": counts["pairs_skipped"],
            "pair_accuracy": ratio(counts["pairs_right"], counts["pairs"]),
            "pair_accuracy_interval": interval(counts["pairs_right"], counts["pairs"]),
            "pair_accuracy_chance": ratio(sums["pair_chance"], counts["pairs"]),
            "top_1": ratio(top_1, ranked),
            "top_1_interval": interval(top_1, ranked),
            "top_1_chance": 1 / vocab_size if ranked else None,
            "top_5": ratio(top_5, ranked),
            "median_rank": _median(self.ranks) if ranked else None,
            "log_probability": ratio(sums["log_probability"], counts["with_log_probability"]),
            "gain": ratio(sums["gain"], counts["with_gain"]),
            "gain_items": counts["with_gain"],
        }


def _median(counts: Counter[int]) -> float:
    """The median of at least one number, given how often each value occurs."""
    total = counts.total()
    # Of an odd number of values, both are the middle one.
    lower, upper = _value_at((total - 1) // 2, counts), _value_at(total // 2, counts)
    return (lower + upper) / 2


def _value_at(position: int, counts: Counter[int]) -> int:
    """The value at a position, from 0, of numbers in ascending order."""
    for value in sorted(counts):
        position -= counts[value]
        if position < 0:
            return value
    raise AssertionError("there are fewer numbers")


def nothing_asked(reports: Mapping[str, ReportRow]) -> list[str]:
    """Returns the suites of which no item could be asked.

    Args:
        reports: suite -> what `summarise` returned.
    """
    return [suite for suite, report in reports.items() if not report["items"]]


def left_out_line(reports: Mapping[str, ReportRow]) -> str:
    """One line that names the suites of which no item could be asked, and why; empty if none.

    Args:
        reports: suite -> what `summarise` returned.
    """
    suites = nothing_asked(reports)
    if not suites:
        return ""
    reasons: Counter[str] = Counter()
    words: dict[str, None] = {}
    for suite in suites:
        reasons.update(reports[suite]["skipped_because"])
        words.update(dict.fromkeys(reports[suite]["skipped_words"]))
    (reason, _), *_ = reasons.most_common(1)
    examples = list(words)[:SKIPPED_WORDS_SHOWN]
    such_as = f", such as {', '.join(examples)}" if examples else ""
    return f"left out, nothing can be asked: {', '.join(suites)} ({reason}{such_as})"


class _SuiteTallies:
    """The tallies of a suite: one of all items, and one of each group, distance, and both.

    A key is (group, bucket). None stands for all groups, or for all distances.
    """

    def __init__(self, vocab_size: int) -> None:
        self._vocab_size = vocab_size
        self._tallies: dict[tuple[str | None, Bucket | None], Tally] = {(None, None): Tally()}

    def add(self, score: ItemScore) -> set[tuple[str | None, Bucket | None]]:
        """Counts one item; returns the keys of the tallies that it belongs to."""
        distance = score.item.distance
        bucket = None if distance is None else bucket_of(distance)
        keys = {(group, place) for group in (None, score.item.group) for place in (None, bucket)}
        for key in keys:
            self._tallies.setdefault(key, Tally()).add(score)
        return keys

    def add_pair(self, scores: Sequence[ItemScore], keys: Iterable) -> None:
        """Counts a pair in these tallies."""
        for key in keys:
            self._tallies[key].add_pair(scores, self._vocab_size)

    @property
    def groups(self) -> list[str]:
        """The names of the groups, in the order of their first items; "" if some have no group."""
        return [group for group, bucket in self._tallies if group is not None and bucket is None]

    def report(self, group: str | None) -> ReportRow:
        """The figures of a group (of all items if None), its reach, and a row per distance."""
        buckets = sorted(
            bucket for of, bucket in self._tallies if of == group and bucket is not None
        )
        distances = []
        curve: list[tuple[float, float]] = []
        nearest = None  # the first bucket with a gain
        for bucket in buckets:
            row = self._tallies[group, bucket].row(self._vocab_size)
            distances.append({"from": bucket[0], "to": bucket[1], **row})
            if row["gain"] is not None:
                nearest = nearest or bucket
                curve.append((row["distance"], row["gain"]))
        found = reach(curve)
        if group is None and not self._all_groups_have(nearest):
            found = None
        return {
            **self._tallies[group, None].row(self._vocab_size),
            "reach": None if found == math.inf else found,
            "reach_beyond": curve[-1][0] if found == math.inf else None,
            "distances": distances,
        }

    def _all_groups_have(self, bucket: Bucket | None) -> bool:
        """Whether every group with a gain has items in a bucket."""
        return all(
            (group, bucket) in self._tallies
            for group in self.groups
            if self._tallies[group, None].counts["with_gain"]
        )


def summarise(
    scores: Iterable[ItemScore],
    vocab_size: int,
    on_score: Callable[[ItemScore], None] = lambda score: None,
) -> ReportRow:
    """Returns the report on one suite.

    Args:
        scores: of its items, in their order.
        vocab_size: of the model, for the levels of chance.
        on_score: called with every score.

    Returns:
        The figures of `Tally.row` for the whole suite, and:

        - ``reach``: see `reach`. If the gain never falls to half, it is None, and ``reach_beyond``
          is the farthest distance. A suite has no reach if one of its groups has no items in the
          nearest bucket: farther buckets would then differ in more than their distance.
        - ``distances``: a list with a row per bucket, with its ``from`` and ``to``.
        - ``groups``: a list with a row per group, with its name (``group``), its own reach and
          ``distances``.

        A pair counts in every row that all its items belong to.
    """
    tallies = _SuiteTallies(vocab_size)
    for pair, members in groupby(scores, key=lambda score: score.item.pair):
        pair_scores: list[ItemScore] = []
        keys_of_items = []
        for score in members:
            on_score(score)
            keys = tallies.add(score)
            if pair:
                pair_scores.append(score)
                keys_of_items.append(keys)
        if pair:
            tallies.add_pair(pair_scores, set.intersection(*keys_of_items))
    groups = [{"group": group, **tallies.report(group)} for group in tallies.groups if group]
    return {**tallies.report(None), "groups": groups}
