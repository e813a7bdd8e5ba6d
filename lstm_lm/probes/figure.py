"""Draws what probes found: how often models are right against the distance between cue and target."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path

from lstm_lm.files.atomic import write_atomically
from lstm_lm.files.pictures import words_as_they_are
from lstm_lm.probes.report import Row

MEASURES = {
    "accuracy": "target more probable than foil",
    "pair_accuracy": "pairs with every item right",
    "top_1": "target first of all words",
}
MOST_COLUMNS = 3
# Told apart by people who see few colours as well: Okabe and Ito 2008, https://jfly.uni-koeln.de/color
STYLES = (("#d55e00", "o"), ("#0072b2", "s"), ("#009e73", "^"), ("#cc79a7", "v"))
GREY = "#6b7280"


@dataclass(frozen=True)
class Curve:
    """One line of a panel.

    Attributes:
        label: what the legend calls it.
        report: what `probe_report.summarise` returned for the panel's suite.
        measure: which of its figures, one of `MEASURES`.
        colour: of line and band.
        marker: of its points.
        dashed: for what is there to be compared with.
    """

    label: str
    report: Row
    measure: str
    colour: str
    marker: str
    dashed: bool = False

    @property
    def points(self) -> list[Row]:
        """The distances that it has a figure for."""
        return [row for row in self.report["distances"] if row[self.measure] is not None]


def draw_probe(
    path: Path,
    reports: Mapping[str, Row],
    baseline: Mapping[str, Row] | None = None,
    baseline_name: str = "",
    title: str = "",
) -> None:
    """Writes a PNG with one panel a suite: target over foil and top-1 against distance, with 95 % intervals.

    Args:
        path: the file.
        reports: suite -> what `probe_report.summarise` returned; suites without distances are left out.
        baseline: the same of the n-gram model, if there is one.
        baseline_name: what to call it.
        title: above the panels, such as the model's name.

    Raises:
        DiskError: if the file could not be written.
    """
    panels = {}
    for suite, report in reports.items():
        panels[suite] = [
            Curve("target over foil", report, "accuracy", *STYLES[0]),
            Curve("top-1 of all words", report, "top_1", *STYLES[1]),
        ]
        if baseline:
            panels[suite] += [
                Curve(
                    f"{baseline_name}, target over foil",
                    baseline[suite],
                    "accuracy",
                    GREY,
                    "o",
                    True,
                ),
                Curve(f"{baseline_name}, top-1", baseline[suite], "top_1", GREY, "s", True),
            ]
    _draw(path, panels, title, "", {name: report["reach"] for name, report in reports.items()})


def draw_comparison(
    path: Path,
    reports: Mapping[str, Mapping[str, Row]],
    measure: str,
    baseline_name: str = "",
    title: str = "",
) -> None:
    """Writes a PNG with one panel a suite: a measure against distance, a line a model, with 95 % intervals and chance.

    Args:
        path: the file.
        reports: model -> suite -> what `probe_report.summarise` returned; suites without distances are left out.
        measure: one of `MEASURES`; a panel whose items have no foil shows top-1 in its place.
        baseline_name: which of the models is grey and dashed.
        title: above the panels.

    Raises:
        DiskError: if the file could not be written.
    """
    panels: dict[str, list[Curve]] = {}
    styles = cycle(STYLES)
    for model, suites in reports.items():
        colour, marker = (GREY, "D") if model == baseline_name else next(styles)
        for suite, report in suites.items():
            shown = (
                measure if any(row[measure] is not None for row in report["distances"]) else "top_1"
            )
            panels.setdefault(suite, []).append(
                Curve(model, report, shown, colour, marker, model == baseline_name)
            )
    _draw(path, panels, title, MEASURES[measure], {})


@words_as_they_are()
def _draw(
    path: Path,
    panels: Mapping[str, Sequence[Curve]],
    title: str,
    measured: str,
    reaches: Mapping[str, float | None],
) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch

    shown = {name: curves for name, curves in panels.items() if curves[0].report["distances"]}
    columns = min(MOST_COLUMNS, len(shown)) or 1
    rows = math.ceil(len(shown) / columns) or 1
    width, height = (4.2, 2.7) if len(shown) > 1 else (6.6, 3.7)
    figure = Figure(
        figsize=(width * columns + 1.4, height * rows + 1.2), dpi=120, layout="constrained"
    )
    grid = figure.subplots(rows, columns, squeeze=False, sharey=True)
    panel_of = dict(zip(shown, grid.flatten(), strict=False))
    there = [
        row["distance"] for curves in shown.values() for curve in curves for row in curve.points
    ] or [0]
    limits = (0.7 * min(there) - 0.4, max(10, *there) * 1.2)
    for name, axes in panel_of.items():
        _draw_panel(axes, name, shown[name], measured, reaches.get(name), limits)
    for axes in list(panel_of.values())[-columns:]:
        axes.set_xlabel("words between cue and target")
    for axes in grid[:, 0]:
        axes.set_ylabel(measured)
    for axes in grid.flatten()[len(shown) :]:
        axes.set_axis_off()
    handles = {
        label: handle
        for axes in panel_of.values()
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)
    }
    handles["95 % interval"] = Patch(color=GREY, alpha=0.25, linewidth=0)
    inches_each = 0.45 + 0.065 * max(map(len, handles))
    figure.legend(
        handles.values(),
        handles.keys(),
        loc="outside lower center",
        frameon=False,
        ncols=min(len(handles), max(1, int(figure.get_figwidth() / inches_each))),
    )
    figure.suptitle(title)
    write_atomically(path, lambda file: FigureCanvasAgg(figure).print_figure(file, format="png"))


def _draw_panel(
    axes,
    name: str,
    curves: Sequence[Curve],
    measured: str,
    reach: float | None,
    limits: tuple[float, float],
) -> None:
    ticks = [
        tick
        for tick in (
            0,
            1,
            2,
            5,
            *(factor * 10**power for power in range(1, 9) for factor in (1, 3)),
        )
        if limits[0] <= tick <= limits[1]
    ]
    axes.set_xscale("function", functions=(_log, lambda y: 10**y - 1))
    for place, curve in enumerate(curves):
        if not curve.points:
            continue
        x = [row["distance"] for row in curve.points]
        intervals = zip(*[row[f"{curve.measure}_interval"] for row in curve.points], strict=True)
        axes.fill_between(x, *intervals, color=curve.colour, alpha=0.12, linewidth=0)
        axes.plot(
            x,
            [row[curve.measure] for row in curve.points],
            label=curve.label,
            color=curve.colour,
            linestyle="--" if curve.dashed else "-",
            linewidth=1 if curve.dashed else 1.6,
            marker=curve.marker,
            markersize=4 + place,
            zorder=3 + len(curves) - place,
        )  # where they meet, all are to be seen
    report, measure = curves[0].report, curves[0].measure
    if report[f"{measure}_chance"] is not None:
        axes.axhline(
            report[f"{measure}_chance"],
            color="#111111",
            linestyle=":",
            linewidth=1.2,
            label="chance" if measured else "chance, target over foil",
        )
    if reach is not None:
        axes.axvline(
            reach, color="#15803d", linestyle=":", linewidth=1.5, label="reach (half the gain)"
        )
    axes.set_xlim(*limits)
    axes.set_xticks(ticks, [f"{tick:,}" for tick in ticks])
    axes.set_ylim(-0.03, 1.03)
    axes.set_yticks([0, 0.25, 0.5, 0.75, 1], ["0", "25 %", "50 %", "75 %", "100 %"])
    other = f", {MEASURES[measure]}" if measured not in ("", MEASURES[measure]) else ""
    axes.set_title(f"{name} ({report['items']:,} items{other})", fontsize="medium")
    if not report["items"]:
        axes.text(
            0.5,
            0.5,
            "nothing scored: words unknown",
            transform=axes.transAxes,
            ha="center",
            color="#666666",
        )
    axes.grid(alpha=0.3)


def _log(x):
    import numpy as np

    return np.log10(np.maximum(x, -0.5) + 1)
