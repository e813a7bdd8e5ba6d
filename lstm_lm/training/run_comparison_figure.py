"""The picture of compared runs: every difference from the first run, with its interval."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lstm_lm.files.pictures import save_figure, text_width, use_fonts_for, words_as_they_are
from lstm_lm.probes.figure import GREY, MEASURE_TITLES, STYLES

if TYPE_CHECKING:
    from matplotlib.axes import Axes

TITLE_SIZE, LABEL_SIZE = 11, 10  # points
SPREAD = 0.5  # of a row's height, over which the models are spread


@words_as_they_are()
def draw_differences(path: Path, results: Mapping[str, Any]) -> None:
    """Writes a PNG: how much better or worse each model is than the first, with 95 % intervals.

    On the left is the perplexity, in percent of the first model's; on the right, in points, how
    much more often the other model is right, a row for each suite.

    Args:
        path: the file.
        results: of `lstm_lm.training.run_comparison.compare_runs`.

    Raises:
        DiskError: it could not be written.
    """
    from matplotlib.figure import Figure

    first, *others = (model["name"] for model in results["models"])
    suites = [one for one in results["suites"] if one["differences"]]
    has_perplexity = bool(results["perplexity"]["results"])
    use_fonts_for([first, *others, *(one["suite"] for one in suites)])
    rows = max(len(suites), 1)
    height = 1.5 + max(0.42 * rows, 0.3 * len(others)) + 0.25 * len(others)
    title = f"difference from {first}, with 95 % intervals"
    count = has_perplexity + bool(suites)
    longest = max(text_width(title, TITLE_SIZE), *(text_width(name, LABEL_SIZE) for name in others))
    width = max(4.8 * max(count, 1), longest + 0.8)  # inches
    figure = Figure(figsize=(width, height), dpi=120, layout="constrained")
    panels = figure.subplots(1, max(count, 1), squeeze=False)[0]
    if has_perplexity:
        _draw_perplexity(panels[0], results["perplexity"], others)
    if suites:
        _draw_suites(panels[-1], suites, others)
    if not count:
        panels[0].set_axis_off()
    handles, labels = panels[0].get_legend_handles_labels()
    if handles:
        figure.legend(
            handles, labels, fontsize=LABEL_SIZE, loc="outside lower center", frameon=False
        )
    figure.suptitle(title, fontsize=TITLE_SIZE)
    figure.set_label("compare")
    save_figure(figure, path)


def _draw_perplexity(panel: Axes, found: Mapping[str, Any], others: Sequence[str]) -> None:
    by_name = {result["name"]: result for result in found["results"]}
    points = {name: (by_name[name]["ratio"], by_name[name]["ratio_interval"]) for name in others}
    for place, (name, (ratio, interval)) in enumerate(points.items()):
        low, high = (100 * (end - 1) for end in interval)
        _draw_point(panel, 0.0, place, len(others), 100 * (ratio - 1), low, high, name)
    over = "" if found["over"] == "all words" else f", {found['over']}"
    _finish(panel, [f"{found['text']}{over}"], "perplexity, %\n(less is better)")


def _draw_suites(panel: Axes, suites: Sequence[Mapping[str, Any]], others: Sequence[str]) -> None:
    for row, one in enumerate(suites):
        for place, name in enumerate(others):
            found = one["differences"][name]
            low, high = (100 * end for end in found["difference_interval"])
            value = 100 * found["difference"]
            label = name if row == 0 else None
            _draw_point(panel, row, place, len(others), value, low, high, label)
    measures = [one["measure"] for one in suites]
    usual = max(measures, key=measures.count)
    names = [
        f"{one['suite']} ({one['compared']:,})"
        + (f"\n{MEASURE_TITLES[one['measure']]}" if one["measure"] != usual else "")
        for one in suites
    ]
    _finish(panel, names, f"{MEASURE_TITLES[usual]}, points\n(more is better)")


def _draw_point(
    panel: Axes,
    row: float,
    place: int,
    count: int,
    value: float,
    low: float,
    high: float,
    label: str | None,
) -> None:
    """Draws a difference and its interval; several models are spread over the row."""
    styles = cycle(STYLES)
    colour, marker = [next(styles) for _ in range(place + 1)][-1]
    y = row + SPREAD * ((place + 0.5) / count - 0.5)
    panel.plot([low, high], [y, y], color=colour, linewidth=2)
    panel.plot([value], [y], marker, color=colour, markersize=6, linestyle="", label=label)


def _finish(panel: Axes, names: Sequence[str], x_label: str) -> None:
    panel.axvline(0, color=GREY, linewidth=1)
    panel.set_yticks(range(len(names)), names)
    panel.set_ylim(len(names) - 0.5, -0.5)
    panel.set_xlabel(x_label)
    panel.grid(axis="x", alpha=0.3)
