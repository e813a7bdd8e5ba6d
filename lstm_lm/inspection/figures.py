"""A trace as one picture: words from left to right, a panel per gate, a row per unit.

Shapes: T words, H hidden_size.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from lstm_lm.files.atomic import write_atomically
from lstm_lm.files.pictures import words_as_they_are
from lstm_lm.inspection.units import Carrier, carried_loads, half_lives
from lstm_lm.model.language_model import LanguageModel
from lstm_lm.model.trace import Trace

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Name in the picture, what it does, and its colour: those of data/pictures/lstm-cell.svg.
GATES = {
    "forget_gate": ("forget gate", "1: keep,  0: let go", "#0072b2"),
    "update_gate": ("update gate", "1: keep,  0: replace", "#0072b2"),
    "reset_gate": ("reset gate", "1: the past counts", "#d55e00"),
    "input_gate": ("input gate", "1: write,  0: ignore", "#009e73"),
    "candidate": ("candidate", "what could be written", "#d55e00"),
    "output_gate": ("output gate", "1: show,  0: hide", "#b8528f"),
}
DARK = {"#0072b2": "#00304d", "#009e73": "#003a2a", "#d55e00": "#5c2900", "#b8528f": "#4f1f3c"}
INK, PALE = "#1b222c", "#7a8699"
MOST_UNITS = 24  # rows that one can tell apart
MOST_NUMBERS = 24  # columns up to which a gate's mean is written out
MOST_CARRIERS = 6  # units that are followed one by one


@words_as_they_are()
def draw_gates(
    model: LanguageModel,
    trace: Trace,
    layer: int,
    path: Path,
    *,
    unit: int | None = None,
    carriers: Sequence[Carrier] = (),
    carried: str = "",
) -> None:
    """Draws one layer of a trace as a PNG.

    From the top: a panel per gate and one for the cell state, in which a row is one of the units that carry most from
    word to word, in the same order everywhere, the one with the longest half-life at the top, and above each gate its
    mean over all units; then the units that were asked for or found, followed one by one; then what the prediction
    hangs on.

    Args:
        model: that was traced.
        trace: of a text; some 60 words are as many as one can read.
        layer: which.
        path: where to write it.
        unit: one unit of the layer to follow.
        carriers: units, of any layer, to follow if ``unit`` is None.
        carried: what the carriers carry, the title of their panel.

    Raises:
        DiskError: if the file cannot be written.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    looked, order = trace.layers[layer], _order(trace, layer)
    followed = carriers[:MOST_CARRIERS] if unit is None else [unit]
    time = len(trace.words)
    heights = [1.25] * len(looked.gates) + [
        1.25,
        *([0.24 * len(followed) + 0.1] if followed else []),
        0.62,
    ]
    width = max(9, 2.6 + 0.62 * min(time, 16) + 0.28 * max(0, time - 16))
    figure = Figure(
        figsize=(width, 1.2 + sum(heights) * 1.08), dpi=120, layout="constrained", facecolor="white"
    )
    figure.get_layout_engine().set(h_pad=0.045, hspace=0.0)
    panels = figure.subplots(len(heights), 1, squeeze=False, height_ratios=heights)[:, 0]
    for axes, (name, activations) in zip(panels, looked.gates.items(), strict=False):
        title, meaning, colour = GATES[name]
        image = _heat(
            axes, activations[:, order], *((-1, 1) if name == "candidate" else (0, 1)), colour
        )
        _label(axes, title, meaning, colour)
        _scale(figure, axes, image)
        if name != "candidate":
            _add_means(axes, activations.mean(1), colour)
    axes = panels[len(looked.gates)]
    limit = float(looked.c.abs().quantile(0.98).clamp(min=1e-6))
    _scale(figure, axes, _heat(axes, looked.c[1:, order], -limit, limit, "#0072b2"))
    _label(
        axes,
        "cell state" if looked.keep_gate == "forget_gate" else "state",
        "what is held after the word",
        INK,
    )
    if unit is not None:
        _follow(
            figure,
            panels[-2],
            looked.c[1:, unit : unit + 1],
            [f"unit {unit}"],
            "the cell state of one unit",
        )
    elif followed:
        _follow(
            figure,
            panels[-2],
            torch.tensor([c.differences for c in followed]).T,
            [f"layer {c.layer}, unit {c.unit}" for c in followed],
            carried,
        )
    _draw_gradient(panels[-1], trace, layer)
    words = [
        _short(word) + ("" if known else " ?")
        for word, known in zip(trace.words, trace.known, strict=True)
    ]
    guesses = [model.most_probable(scores, 1)[0] for scores in trace.log_probabilities]
    _name_columns(panels[0], words, top=True, colour=INK, size=13)
    _name_columns(
        panels[-1],
        [f"{_short(guess.word)} {guess.probability:.0%}" for guess in guesses],
        top=False,
        colour=PALE,
        size=9,
    )
    panels[-1].text(
        -0.015,
        -0.1,
        "next word",
        transform=panels[-1].transAxes,
        ha="right",
        va="top",
        fontsize=9,
        color=PALE,
    )
    figure.suptitle(
        _caption(model, trace, layer, len(order)), fontsize=10, color=PALE, x=0.01, ha="left"
    )
    write_atomically(path, lambda file: FigureCanvasAgg(figure).print_figure(file, format="png"))


def _caption(model: LanguageModel, trace: Trace, layer: int, shown: int) -> str:
    units = trace.layers[layer].h.shape[1]
    where = (
        f"layer {layer} of {model.config.cell} layers 0 to {len(trace.layers) - 1}"
        if len(trace.layers) > 1
        else (f"{model.config.cell}, one layer")
    )
    which = (
        f"the {shown} that carry most, by half-life"
        if trace.layers[layer].keep_gate
        else "those that swing most"
    )
    return (
        f"{where} · a row is a unit: {which}, of {units}"
        if shown < units
        else f"{where} · a row is a unit"
    ) + ("; strips: mean of all units" if len(trace.layers[layer].gates) > 1 else "")


def _name_columns(axes: Axes, names: Sequence[str], *, top: bool, colour: str, size: int) -> None:
    slanted = len(names) > 16 or max(map(len, names)) > 9
    axes.set_xticks(
        range(len(names)),
        names,
        fontsize=size if len(names) <= 30 else min(size, 10),
        color=colour,
        rotation=50 if slanted else 0,
        rotation_mode="anchor",
        ha="center" if not slanted else "left" if top else "right",
    )
    axes.xaxis.set_tick_params(
        top=top, labeltop=top, bottom=False, labelbottom=not top, length=0, pad=16 if top else 4
    )


def _order(trace: Trace, layer: int) -> Tensor:
    """The units worth a row: those that carry most, by half-life, or, without a gate that keeps, that swing most."""
    lives, loads = half_lives(trace, layer), carried_loads(trace, layer)
    if loads is None:
        return (
            trace.layers[layer]
            .h.std(0, correction=0)
            .argsort(descending=True, stable=True)[:MOST_UNITS]
        )
    most = loads.argsort(descending=True, stable=True)[:MOST_UNITS]
    return most[lives[most].argsort(descending=True, stable=True)]


def _heat(axes: Axes, values: Tensor, low: float, high: float, colour: str):
    from matplotlib.colors import LinearSegmentedColormap

    stops = (
        ["#ffffff", colour, DARK[colour]]
        if low == 0
        else ["#8a2f00", "#e8894a", "#ffffff", "#4a9fd0", "#003f63"]
    )
    image = axes.imshow(
        values.T.float().numpy(),
        aspect="auto",
        interpolation="nearest",
        vmin=low,
        vmax=high,
        cmap=LinearSegmentedColormap.from_list("", stops),
    )
    axes.vlines(
        np.arange(0.5, values.shape[0] - 1),
        -0.5,
        values.shape[1] - 0.5,
        color="white",
        linewidth=1.5,
    )
    axes.set(xticks=[], yticks=[])
    for spine in axes.spines.values():
        spine.set_color("#c3cbd6")
    return image


def _label(axes: Axes, title: str, meaning: str, colour: str) -> None:
    axes.text(
        -0.015,
        0.56,
        title,
        transform=axes.transAxes,
        ha="right",
        va="bottom",
        fontsize=12,
        color=colour,
        fontweight="bold",
    )
    axes.text(
        -0.015,
        0.48,
        meaning,
        transform=axes.transAxes,
        ha="right",
        va="top",
        fontsize=9,
        color=PALE,
    )


def _scale(figure: Figure, axes: Axes, image) -> None:
    bar = figure.colorbar(image, ax=axes, fraction=0.015, pad=0.01, aspect=9)
    low, high = image.get_clim()
    bar.set_ticks([low, high], labels=[f"{low:.2g}", f"{high:.2g}"], fontsize=8, color=PALE)
    bar.outline.set_visible(False)


def _add_means(axes: Axes, means: Tensor, colour: str) -> None:
    """A strip above a gate's panel: its mean over all the layer's units at every word."""
    strip = axes.inset_axes([0, 1.04, 1, 0.17])
    _heat(strip, means.unsqueeze(1), 0, 1, colour)
    if len(means) <= MOST_NUMBERS:
        for t, mean in enumerate(means.tolist()):
            strip.text(
                t,
                0.05,
                f"{mean:.2f}".removeprefix("0"),
                ha="center",
                va="center",
                fontsize=9,
                color="white" if mean > 0.42 else INK,
            )


def _follow(figure: Figure, axes: Axes, values: Tensor, names: Sequence[str], title: str) -> None:
    """Single units ``(T, units)``, a row each."""
    limit = float(values.abs().max().clamp(min=1e-6))
    _scale(figure, axes, _heat(axes, values, -limit, limit, INK))
    axes.set_yticks(range(len(names)), names, fontsize=9, color=INK)
    axes.tick_params(axis="y", length=0)
    axes.set_title(title, fontsize=10, color=INK, loc="left", pad=3)


def _draw_gradient(axes: Axes, trace: Trace, layer: int) -> None:
    """What the prediction hangs on, each curve as a share of its largest value."""
    words, cells = (
        slope.float() / slope.max().clamp(min=1e-30)
        for slope in (trace.word_gradient, trace.layers[layer].c_gradient)
    )
    axes.bar(range(len(words)), words.numpy(), width=0.66, color="#c3cbd6")
    axes.plot(
        range(len(cells)), cells.numpy(), color="#0072b2", marker="o", markersize=4, linewidth=1.5
    )
    axes.set(ylim=(0, 1.12), xlim=(-0.5, len(words) - 0.5), yticks=[])
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_color("#c3cbd6")
    _label(axes, f"what p({_short(trace.target)}) hangs on", "bars: words,  line: cell states", INK)


def _short(word: str) -> str:
    return "⏎" if word == "<eos>" else word if len(word) <= 14 else word[:13] + "…"
