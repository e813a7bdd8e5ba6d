"""One picture of the measured parts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lstm_lm.files.pictures import save_figure

COLOURS = {
    "plain": "#8da0b6",
    "nn.LSTM": "#8da0b6",
    "readable": "#d6c9a8",
    "ours": "#c2410c",
    "full": "#f2b48c",
    "sampled": "#c2410c",
    "adaptive": "#7c2d12",
}


def draw(results: dict, path: Path) -> None:
    """Draws a panel for each measured part that has one (layers, step, growth), as a PNG file."""
    panels = [(part, PANELS[part]) for part in PANELS if part in results]
    figure = Figure(figsize=(6.5, 3.6 * len(panels)), dpi=120, layout="constrained")
    for place, (part, draw_panel) in enumerate(panels, 1):
        draw_panel(figure.add_subplot(len(panels), 1, place), results[part])
    figure.set_label("benchmark")
    save_figure(figure, path)


def _draw_bars(axes: Axes, groups: list[str], bars: dict[str, list[float]]) -> None:
    width = 0.8 / len(bars)
    for k, (name, values) in enumerate(bars.items()):
        places = [group + (k - (len(bars) - 1) / 2) * width for group in range(len(groups))]
        axes.bar(places, values, width, label=name, color=COLOURS[name])
    axes.set_xticks(range(len(groups)), groups)
    axes.legend(fontsize=8)
    axes.grid(axis="y", alpha=0.3)


def _draw_layers(axes: Axes, rows: list[dict]) -> None:
    rows = [row for row in rows if "T" in row]
    _draw_bars(
        axes,
        [f"{row['T']}, {row['B']}, {row['H']}" for row in rows],
        {
            name: [row[f"{name} ms"] / row["nn.LSTM ms"] for row in rows]
            for name in ("ours", "nn.LSTM", "readable")
        },
    )
    axes.set(title="one layer, forward and backward: time relative to nn.LSTM", xlabel="T, B, H")


def _draw_steps(axes: Axes, rows: list[dict]) -> None:
    sizes, outputs = (list(dict.fromkeys(row[key] for row in rows)) for key in ("words", "output"))
    _draw_bars(
        axes,
        [f"{size:,} words" for size in sizes],
        {output: [row["words/s"] for row in rows if row["output"] == output] for output in outputs},
    )
    axes.set(title="one training step, 2x200, tied", ylabel="words per second", yscale="log")


def _draw_growth(axes: Axes, rows: list[dict]) -> None:
    for what in dict.fromkeys(row["what grows"] for row in rows):
        some = [row for row in rows if row["what grows"] == what]
        first = some[0]
        axes.plot(
            [row["to"] / first["to"] for row in some],
            [row["us per word"] / first["us per word"] for row in some],
            marker="o",
            markersize=4,
            label=f"{what}, {first['to']:,} to {some[-1]['to']:,}",
        )
    axes.set(
        title="time per word when one size grows",
        xlabel="size relative to the smallest",
        ylabel="time per word relative to the smallest",
        xscale="log",
        yscale="log",
    )
    axes.legend(fontsize=8)
    axes.grid(alpha=0.3)


PANELS: dict[str, Callable[[Axes, list[dict]], None]] = {
    "layers": _draw_layers,
    "step": _draw_steps,
    "growth": _draw_growth,
}
