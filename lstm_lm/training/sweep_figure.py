"""The picture of a sweep: perplexity against each setting that was varied."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING

from lstm_lm.files.pictures import save_figure, use_fonts_for, words_as_they_are
from lstm_lm.probes.figure import GREY, STYLES
from lstm_lm.training.sweep_record import DIVERGED, Combination, SweepRecord
from lstm_lm.training.sweep_settings import Axis

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import XAxis, YAxis

MAX_COLUMNS = 3
MOST_LINES = 8  # with a colour and a name of their own
LONGEST_TICK = 18  # characters
LOGARITHMIC_FROM = 3  # times the lowest perplexity
# Where the ticks of a logarithmic axis are within 1 to 10, for an axis below such a factor.
TICKS = ((10, (1, 1.5, 2, 3, 5, 7)), (1000, (1, 2, 5)), (math.inf, (1,)))
BESIDE = 0.05  # between points at the same value, where two values are 1 apart
SEED_AXIS = Axis("training.seed", (), "")


@words_as_they_are()
def draw_sweep(path: Path, record: SweepRecord, axes: Sequence[Axis]) -> None:
    """Writes a PNG with a panel for every setting that was varied.

    A point is the mean of a combination's finished runs, with the standard deviation between seeds
    as a bar. Points that differ in the panel's setting alone are joined by a line. The best
    combination has a ring.

    Args:
        path: the file.
        record: the sweep; at least one run is finished.
        axes: what was varied; if nothing was, the seeds are shown.

    Raises:
        DiskError: it could not be written.
    """
    from matplotlib.figure import Figure

    use_fonts_for(text for one in record.combinations for text in one.values.values())
    panels = list(axes) or [SEED_AXIS]
    columns = min(MAX_COLUMNS, len(panels))
    rows = math.ceil(len(panels) / columns)
    width, height = (4.2, 3.2) if len(panels) > 1 else (6.6, 4.0)  # of a panel, in inches
    figure = Figure(figsize=(width * columns + 0.8, height * rows + 0.6), dpi=120)
    figure.set_layout_engine("constrained")
    grid = figure.subplots(rows, columns, squeeze=False, sharey=True)
    found = [one.perplexity for one in record.combinations if one.perplexity is not None]
    factor = max(found) / min(found)
    for axis, panel in zip(panels, grid.flatten(), strict=False):
        if axis is SEED_AXIS:
            _draw_seeds(panel, record)
        else:
            _draw_panel(panel, record, axis)
        if factor > LOGARITHMIC_FROM:
            _set_scale(panel.yaxis, factor)
        panel.grid(alpha=0.3)
        panel.set_xlabel(axis.key)
    for panel in grid[:, 0]:
        panel.set_ylabel("valid perplexity")
    for panel in grid.flatten()[len(panels) :]:
        panel.set_axis_off()
    figure.suptitle(_title(record))
    figure.set_label("sweep")
    save_figure(figure, path)


def _set_scale(axis: XAxis | YAxis, largest_factor: float) -> None:
    """Makes an axis logarithmic, with plain numbers at its ticks."""
    from matplotlib.ticker import LogLocator, NullFormatter

    subdivisions = next(subs for factor, subs in TICKS if largest_factor < factor)
    set_scale = axis.axes.set_xscale if axis.axis_name == "x" else axis.axes.set_yscale
    set_scale("log")
    axis.set_major_locator(LogLocator(subs=subdivisions))
    axis.set_major_formatter("{x:g}")
    axis.set_minor_formatter(NullFormatter())


def _title(record: SweepRecord) -> str:
    seeds, count = len(record.seeds), len(record.combinations)
    parts = [Path(record.description["config"]).stem]
    if count > 1:
        parts.append(f"{count:,} combinations")
    if seeds > 1 and count > 1:
        parts.append(f"{seeds} seeds: mean and standard deviation")
    if not record.comparable:
        parts.append("of different texts or vocabularies: not comparable")
    return ", ".join(parts)


def _draw_seeds(panel: Axes, record: SweepRecord) -> None:
    runs = [run for run in record.runs if run.perplexity is not None]
    places = range(len(runs))
    panel.plot(places, [run.perplexity or 0.0 for run in runs], "o", color=STYLES[0][0])
    panel.set_xticks(list(places), [str(run.seed) for run in runs])


def _draw_panel(panel: Axes, record: SweepRecord, axis: Axis) -> None:
    groups: dict[str, list[Combination]] = {}
    for one in record.combinations:
        if one.perplexity is not None:
            others = [
                f"{key.rpartition('.')[2]} {text}"
                for key, text in one.values.items()
                if key != axis.key
            ]
            groups.setdefault(", ".join(others), []).append(one)
    place = _places(panel, axis)
    is_search = record.description["sampler"] is not None  # then points have nothing in common
    is_named = 1 < len(groups) <= MOST_LINES and not is_search
    is_only = len(groups) == 1
    styles = cycle(STYLES)
    for number, (name, members) in enumerate(groups.items()):
        beside = 0.0 if is_search else BESIDE * (number - (len(groups) - 1) / 2)
        colour, marker = next(styles) if is_named or is_only else (GREY, "o")
        members.sort(key=lambda one: place(one.values[axis.key]))
        panel.errorbar(
            [place(one.values[axis.key]) + beside for one in members],
            [one.perplexity or 0.0 for one in members],
            [one.deviation or 0.0 for one in members],
            color=colour,
            marker=marker,
            markersize=5,
            linestyle="" if is_search else "-",
            linewidth=1,
            elinewidth=1,
            capsize=3 if len(record.seeds) > 1 else 0,
            label=name if is_named else None,
        )
        if record.best in members:
            _draw_ring(panel, place(record.best.values[axis.key]) + beside, record.best)
    diverged = {
        place(one.values[axis.key])
        for one in record.combinations
        if any(run.state == DIVERGED for run in one.runs)
    }
    if diverged:
        panel.plot(
            sorted(diverged),
            [0.96] * len(diverged),
            "x",
            color="#b91c1c",
            transform=panel.get_xaxis_transform(),  # at the top, whatever the scale
            label="diverged",
        )
    if panel.get_legend_handles_labels()[1]:
        panel.legend(fontsize="small", frameon=False)


def _draw_ring(panel: Axes, x: float, best: Combination) -> None:
    """Draws a ring around the best combination."""
    panel.plot(
        [x],
        [best.perplexity or 0.0],
        "o",
        markersize=12,
        markerfacecolor="none",
        markeredgecolor="#15803d",
        markeredgewidth=2,
        label="best",
    )


def _places(panel: Axes, axis: Axis) -> Callable[[str], float]:
    """Sets up the horizontal axis; returns the function from a value to its place on it."""
    if axis.range:
        if axis.range.logarithmic:
            _set_scale(panel.xaxis, axis.range.high / axis.range.low)
        return float
    panel.set_xticks(
        range(len(axis.values)),
        [
            text if len(text) <= LONGEST_TICK else f"{text[: LONGEST_TICK - 1]}…"
            for text in axis.values
        ],
    )
    panel.set_xlim(-0.4, len(axis.values) - 0.6)
    return axis.values.index
