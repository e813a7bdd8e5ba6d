"""Draws what adaptation brings, by the distance to a word's last occurrence."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lstm_lm.evaluation.adapted_text import NEVER, Gain
from lstm_lm.files.pictures import save_figure, words_as_they_are

GAIN_COLOUR, LOSS_COLOUR = "#0072b2", "#d55e00"


@words_as_they_are()
def draw_gains(path: Path, gains: Sequence[Gain], title: str) -> None:
    """Writes a PNG: a bar for each group of distances, and how many tokens it has.

    Args:
        path: the file.
        gains: at least one, the smallest distance first.
        title: above the picture.

    Raises:
        DiskError: if the file could not be written.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4.5), layout="constrained", label="evaluate")
    axes = figure.subplots()
    # words that did not occur before come last: they are farther than any
    shown = sorted(gains, key=lambda gain: (gain.first == NEVER, gain.first))
    heights = [gain.bits_per_token for gain in shown]
    colours = [GAIN_COLOUR if height >= 0 else LOSS_COLOUR for height in heights]
    bars = axes.bar(range(len(shown)), heights, color=colours)
    total = sum(gain.tokens for gain in shown)
    axes.bar_label(bars, [f"{gain.tokens / total:.0%}" for gain in shown], padding=2, fontsize=8)
    axes.set_xticks(range(len(shown)), [_label(gain) for gain in shown], rotation=45, ha="right")
    axes.axhline(0, color="black", linewidth=0.8)
    axes.margins(y=0.12)
    axes.set_xlabel("words since the same word occurred last")
    axes.set_ylabel("bits saved per word")
    axes.set_title(f"{title}\n(above a bar: its share of all tokens)", fontsize=10)
    save_figure(figure, path)


def _label(gain: Gain) -> str:
    if gain.first == NEVER:
        return "first time"
    return f"{gain.first:,}" if gain.first == gain.last else f"{gain.first:,} to {gain.last:,}"
