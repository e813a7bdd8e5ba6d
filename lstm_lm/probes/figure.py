"""Draws the results of probes: accuracy against the distance between cue and target."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING

from lstm_lm.files.pictures import save_figure, use_fonts_for, words_as_they_are
from lstm_lm.probes.report import ReportRow

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Figure of a report -> what the vertical axis calls it.
MEASURE_TITLES = {
    "accuracy": "target more probable than foil",
    "pair_accuracy": "pairs with every item right",
    "top_1": "target first of all words",
}
MAX_COLUMNS = 3
# Colour and marker of each line. People with colour blindness can tell these colours apart.
# Source: Okabe and Ito 2008, https://jfly.uni-koeln.de/color; the last is in the place of their
# yellow, which is too bright for a line.
STYLES = (
    ("#d55e00", "o"),
    ("#0072b2", "s"),
    ("#009e73", "^"),
    ("#cc79a7", "v"),
    ("#e69f00", "P"),
    ("#56b4e9", "X"),
    ("#000000", "D"),
    ("#8a8a00", "*"),
)
GREY = "#6b7280"


@dataclass(frozen=True)
class Curve:
    """One line of a panel.

    Attributes:
        label: its name in the legend.
        report: what `report.summarise` returned for the panel's suite.
        measure: which figure of it is drawn, a key of `MEASURE_TITLES`.
        colour: of line and interval.
        marker: of its points.
        dashed: whether it is a baseline, which is drawn dashed.
    """

    label: str
    report: ReportRow
    measure: str
    colour: str
    marker: str
    dashed: bool = False

    @property
    def points(self) -> list[ReportRow]:
        """The rows of the distances for which the figure exists."""
        return [row for row in self.report["distances"] if row[self.measure] is not None]


def draw_probe(
    path: Path,
    reports: Mapping[str, ReportRow],
    beside: Mapping[str, ReportRow] | None = None,
    beside_name: str = "",
    title: str = "",
    filled: Mapping[str, str] | None = None,
) -> None:
    """Writes a PNG with one panel per suite, with 95 % intervals.

    A panel shows against the distance how often the target is more probable than the foil, and how
    often it is the model's first choice. A suite through real text has its panel beside that of the
    suite with its own fillers.

    Args:
        path: the file.
        reports: suite -> what `report.summarise` returned. Suites without distances are left out.
        beside: the same for another model, such as an n-gram model, if there is one.
        beside_name: its name in the legend.
        title: above the panels, such as the model's name.
        filled: suite -> the name of the same suite through real text.

    Raises:
        DiskError: if the file could not be written.
    """
    panels = {}
    for suite, report in reports.items():
        curves = [
            Curve("target over foil", report, "accuracy", *STYLES[0]),
            Curve("top-1 of all words", report, "top_1", *STYLES[1]),
        ]
        if beside:
            over_foil, top_1 = f"{beside_name}, target over foil", f"{beside_name}, top-1"
            curves += [
                Curve(over_foil, beside[suite], "accuracy", GREY, "o", dashed=True),
                Curve(top_1, beside[suite], "top_1", GREY, "s", dashed=True),
            ]
        panels[suite] = curves
    reaches = {name: report["reach"] for name, report in reports.items()}
    _draw(path, panels, title, "", reaches, filled or {}, "probe")


def draw_comparison(
    path: Path,
    reports: Mapping[str, Mapping[str, ReportRow]],
    measure: str,
    baseline_name: str = "",
    title: str = "",
    filled: Mapping[str, str] | None = None,
) -> None:
    """Writes a PNG with one panel per suite and one line per model, with 95 % intervals.

    Args:
        path: the file.
        reports: model -> suite -> what `report.summarise` returned. Suites without distances are
            left out.
        measure: what is drawn, a key of `MEASURE_TITLES`. A panel whose items have no foil shows
            top-1 instead.
        baseline_name: the model whose line is grey and dashed.
        title: above the panels.
        filled: as in `draw_probe`.

    Raises:
        DiskError: if the file could not be written.
    """
    panels: dict[str, list[Curve]] = {}
    styles = cycle(STYLES)
    for model, suites in reports.items():
        is_baseline = model == baseline_name
        colour, marker = (GREY, "d") if is_baseline else next(styles)
        for suite, report in suites.items():
            has_measure = any(row[measure] is not None for row in report["distances"])
            shown = measure if has_measure else "top_1"
            curve = Curve(model, report, shown, colour, marker, is_baseline)
            panels.setdefault(suite, []).append(curve)
    _draw(path, panels, title, MEASURE_TITLES[measure], {}, filled or {}, "compare")


@words_as_they_are()
def _draw(
    path: Path,
    panels: Mapping[str, Sequence[Curve]],
    title: str,
    y_label: str,
    reaches: Mapping[str, float | None],
    filled: Mapping[str, str],
    command: str,
) -> None:
    from matplotlib.figure import Figure

    use_fonts_for([title, *panels])
    shown = {
        name: panels[name]
        for name in _side_by_side(list(panels), filled)
        if panels[name][0].report["distances"]
    }
    columns = min(2 if filled else MAX_COLUMNS, len(shown)) or 1
    rows = math.ceil(len(shown) / columns) or 1
    width, height = (4.2, 2.7) if len(shown) > 1 else (6.6, 3.7)  # of a panel, in inches
    figure = Figure(
        figsize=(width * columns + 1.4, height * rows + 1.2), dpi=120, layout="constrained"
    )
    grid = figure.subplots(rows, columns, squeeze=False, sharey=True)
    axes_of = dict(zip(shown, grid.flatten(), strict=False))
    limits = _x_limits(shown)
    for name, axes in axes_of.items():
        _draw_panel(axes, name, shown[name], y_label, reaches.get(name), limits)
    for axes in list(axes_of.values())[-columns:]:
        axes.set_xlabel("words between cue and target")
    for axes in grid[:, 0]:
        axes.set_ylabel(y_label)
    for axes in grid.flatten()[len(shown) :]:
        axes.set_axis_off()
    _draw_legend(figure, axes_of.values())
    figure.suptitle(title)
    figure.set_label(command)
    save_figure(figure, path)


def _side_by_side(names: Sequence[str], filled: Mapping[str, str]) -> list[str]:
    """The suites in an order in which each is beside itself through real text.

    In two columns, suites that have no such neighbour come last.
    """
    pairs = [(name, filled[name]) for name in names if filled.get(name) in names]
    paired = [name for pair in pairs for name in pair]
    return [*paired, *(name for name in names if name not in paired)]


def _x_limits(panels: Mapping[str, Sequence[Curve]]) -> tuple[float, float]:
    distances = [
        row["distance"] for curves in panels.values() for curve in curves for row in curve.points
    ]
    return 0.7 * min(distances, default=0) - 0.4, max(10, *distances, 0) * 1.2


def _draw_legend(figure: Figure, panels: Iterable[Axes]) -> None:
    """Draws one legend for all panels, in as many columns as fit."""
    from matplotlib.patches import Patch

    handles = {
        label: handle
        for axes in panels
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)
    }
    handles["95 % interval"] = Patch(color=GREY, alpha=0.25, linewidth=0)
    inches, width = [0.67 + 0.075 * len(label) for label in handles], figure.get_figwidth()
    fits_one_row = sum(inches) <= width
    figure.legend(
        handles.values(),
        handles.keys(),
        loc="outside lower center",
        frameon=False,
        ncols=len(handles) if fits_one_row else max(1, int(width / max(inches))),
    )


def _draw_panel(
    axes: Axes,
    name: str,
    curves: Sequence[Curve],
    y_label: str,
    reach: float | None,
    limits: tuple[float, float],
) -> None:
    axes.set_xscale("function", functions=(_to_log_scale, _from_log_scale))
    for place, curve in enumerate(curves):
        _draw_curve(axes, curve, place, len(curves))
    report, measure = curves[0].report, curves[0].measure
    chance = report[f"{measure}_chance"]
    if chance is not None:
        label = "chance" if y_label else "chance, target over foil"
        axes.axhline(chance, color="#111111", linestyle=":", linewidth=1.2, label=label)
    if reach is not None:
        label = "reach (half the gain)"
        axes.axvline(reach, color="#15803d", linestyle=":", linewidth=1.5, label=label)
    axes.set_xlim(*limits)
    ticks = [tick for tick in _possible_ticks() if limits[0] <= tick <= limits[1]]
    axes.set_xticks(ticks, [f"{tick:,}" for tick in ticks])
    axes.set_ylim(-0.03, 1.03)
    axes.set_yticks([0, 0.25, 0.5, 0.75, 1], ["0", "25 %", "50 %", "75 %", "100 %"])
    # A panel that shows another measure than the axis says names it.
    differs = y_label not in ("", MEASURE_TITLES[measure])
    other = f", {MEASURE_TITLES[measure]}" if differs else ""
    axes.set_title(f"{name} ({report['items']:,} items{other})", fontsize="medium")
    if not report["items"]:
        text = "nothing scored: words unknown"
        axes.text(0.5, 0.5, text, transform=axes.transAxes, ha="center", color="#666666")
    axes.grid(alpha=0.3)


def _draw_curve(axes: Axes, curve: Curve, place: int, count: int) -> None:
    """Draws one of `count` curves of a panel.

    Where curves meet, all can be seen: the later ones are below and have larger markers.
    """
    points = curve.points
    if not points:
        return
    x = [row["distance"] for row in points]
    low, high = zip(*(row[f"{curve.measure}_interval"] for row in points), strict=True)
    shade = min(0.12, 0.5 / count)  # of many intervals at the same place
    axes.fill_between(x, low, high, color=curve.colour, alpha=shade, linewidth=0)
    axes.plot(
        x,
        [row[curve.measure] for row in points],
        label=curve.label,
        color=curve.colour,
        linestyle="--" if curve.dashed else "-",
        linewidth=1 if curve.dashed else 1.6,
        marker=curve.marker,
        markersize=4 + place * min(1, 5 / count),
        zorder=3 + count - place,
    )


def _possible_ticks() -> list[int]:
    """0, 1, 2, 5, 10, 30, 100, 300, and so on."""
    ticks = [0, 1, 2, 5]
    for power in range(1, 9):
        ticks += [10**power, 3 * 10**power]
    return ticks


def _to_log_scale(x: np.ndarray) -> np.ndarray:
    """``log10(1 + x)``, which is defined at 0; matplotlib also asks for values left of the axis."""
    import numpy as np

    return np.log10(np.maximum(x, -0.5) + 1)


def _from_log_scale(y: np.ndarray) -> np.ndarray:
    return 10**y - 1
