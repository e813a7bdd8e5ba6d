"""Draws what a probe found: accuracy against the distance between cue and target."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

from lstm_lm.atomic import write_atomically
from lstm_lm.evaluation.probe_report import Row
from lstm_lm.pictures import words_as_they_are

MOST_COLUMNS = 3
LINES = {"accuracy": ("target over foil", "#c2410c", "o"), "top_1": ("top-1 of all words", "#1d4ed8", "s")}


@words_as_they_are()
def draw_accuracy(path: Path, reports: Mapping[str, Row], title: str = "") -> None:
    """Writes a PNG with one panel a suite: target over foil and top-1 against distance, with 95 % intervals.

    Args:
        path: the file.
        reports: suite -> what `probe_report.summarise` returned; suites without distances are left out.
        title: above the panels, such as the model's name.

    Raises:
        DiskError: if the file could not be written.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    shown = {name: report for name, report in reports.items() if report["distances"]}
    columns = min(MOST_COLUMNS, len(shown)) or 1
    rows = math.ceil(len(shown) / columns) or 1
    figure = Figure(figsize=(4.2 * columns + 1.4, 2.7 * rows + 1.2), dpi=120, layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False, sharey=True).flatten()
    farthest = max((row["distance"] or 0 for report in shown.values() for row in report["distances"]), default=0)
    for axes, (name, report) in zip(grid, shown.items(), strict=False):
        _draw_panel(axes, name, report, max(10, farthest) * 1.2)
    for axes in grid[max(0, len(shown) - columns):len(shown)]:
        axes.set_xlabel("words between cue and target")
    for axes in grid[len(shown):]:
        axes.set_axis_off()
    handles = {label: handle for axes in grid for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)}
    figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=len(handles) or 1, frameon=False)
    figure.suptitle(title)
    write_atomically(path, lambda temporary: FigureCanvasAgg(figure).print_figure(temporary, format="png"))


def _draw_panel(axes, name: str, report: Row, end: float) -> None:
    ticks = [0, 2, 5, *(factor * 10 ** power for power in range(1, 9) for factor in (1, 3))]
    axes.set_xscale("function", functions=(_log, lambda y: 10 ** y - 1))
    for key, (label, colour, marker) in LINES.items():
        points = [row for row in report["distances"] if row[key] is not None]
        if not points:
            continue
        x = [row["distance"] for row in points]
        axes.fill_between(x, *zip(*[row[f"{key}_interval"] for row in points], strict=True), color=colour, alpha=0.15,
                          linewidth=0)
        axes.plot(x, [row[key] for row in points], color=colour, marker=marker, markersize=4, label=label)
    if report["accuracy_chance"] is not None:
        axes.axhline(report["accuracy_chance"], color="#666666", linestyle="--", linewidth=1,
                     label="chance, target over foil")
    if report["reach"] is not None:
        axes.axvline(report["reach"], color="#15803d", linestyle=":", linewidth=1.5, label="reach (half the gain)")
    axes.set_xlim(-0.4, end)
    axes.set_xticks([tick for tick in ticks if tick <= end])
    axes.set_ylim(-0.03, 1.03)
    axes.set_yticks([0, 0.25, 0.5, 0.75, 1], ["0", "25 %", "50 %", "75 %", "100 %"])
    axes.set_title(f"{name} ({report['items']:,} items)", fontsize="medium")
    if not report["items"]:
        axes.text(0.5, 0.5, "nothing scored: words unknown", transform=axes.transAxes, ha="center", color="#666666")
    axes.grid(alpha=0.3)


def _log(x):
    import numpy as np

    return np.log10(np.maximum(x, -0.5) + 1)
