"""A picture of one layer while it reads: a column for each word, a panel for each gate.

Shapes: T words, H hidden_size.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from lstm_lm.cells import find_cell
from lstm_lm.files.pictures import save_figure, words_as_they_are
from lstm_lm.inspection.appearance import (
    BLUE,
    INK,
    LINE,
    PALE,
    gate_styles,
    memory_title,
    shown_word,
    value_range,
)
from lstm_lm.inspection.units import Carrier, carried_loads, half_lives
from lstm_lm.model.language_model import LanguageModel
from lstm_lm.model.trace import Trace

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap
    from matplotlib.figure import Figure
    from matplotlib.image import AxesImage

MAX_ROWS = 24  # units in a panel; more rows are too thin to tell apart
MAX_WRITTEN_MEANS = 24  # words; above this there is no room to write a gate's mean as a number
MAX_CARRIERS = 6  # units with a row of their own below the panels
MAX_LEVEL_WORDS = 16  # words; above this they are written at an angle
SIGNED_COLOURS = ("#8a2f00", "#e8894a", "#ffffff", "#4a9fd0", "#003f63")  # negative to positive
PANEL_HEIGHT, UNIT_HEIGHT, GRADIENT_HEIGHT = 1.25, 0.24, 0.62  # inches


@words_as_they_are()
def draw_heat_map(
    model: LanguageModel,
    trace: Trace,
    layer: int,
    path: Path,
    *,
    unit: int | None = None,
    carriers: Sequence[Carrier] = (),
    carried: str = "",
) -> None:
    """Draws one layer of a trace as a PNG file.

    There is a panel for each gate and one for the memory. A row is a unit. All panels have the same
    units in the same order: those that carry most from word to word, the longest half-life first. A
    strip above each gate is its mean over all units. Below are single units, if some are given, and
    what the prediction depends on.

    Args:
        model: the model that was traced.
        trace: of a text; more than about 60 words are hard to read.
        layer: number of the layer.
        path: the file to write.
        unit: a unit of the layer that gets a row of its own.
        carriers: units of any layer that get rows of their own, if ``unit`` is None.
        carried: title of the carriers' rows.

    Raises:
        DiskError: the file cannot be written.
    """
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    traced, order = trace.layers[layer], _choose_rows(trace, layer)
    shown_carriers = carriers[:MAX_CARRIERS] if unit is None else []
    single_units = len(shown_carriers) if unit is None else 1
    heights = [PANEL_HEIGHT] * (len(traced.gates) + 1)
    if single_units:
        heights.append(UNIT_HEIGHT * single_units + 0.1)
    heights.append(GRADIENT_HEIGHT)
    figure = Figure(
        figsize=(_width(len(trace.words)), 1.2 + sum(heights) * 1.08),
        dpi=120,
        layout=ConstrainedLayoutEngine(h_pad=0.045, hspace=0.0),
        facecolor="white",
    )
    grid = figure.subplots(len(heights), 1, squeeze=False, height_ratios=heights)
    panels: list[Axes] = list(grid[:, 0])
    styles, memory = gate_styles(model.config.cell), memory_title(model.config.cell)
    for axes, (name, activations) in zip(panels, traced.gates.items(), strict=False):
        style, scale = styles[name], value_range(name, activations)
        _add_heat(figure, axes, activations[:, order], scale, style.colour)
        _add_label(axes, style.title, style.meaning, style.colour)
        if scale[0] == 0:
            _add_means(axes, activations.mean(1), scale, style.colour)
    limit = float(traced.c.abs().quantile(0.98).clamp(min=1e-6))
    axes = panels[len(traced.gates)]
    _add_heat(figure, axes, traced.c[1:, order], (-limit, limit), BLUE)
    _add_label(axes, memory, "the memory after the word", INK)
    if unit is not None:
        held = traced.c[1:, unit : unit + 1]
        _draw_units(figure, panels[-2], held, [f"unit {unit}"], f"the {memory} of one unit")
    elif shown_carriers:
        held = torch.tensor([carrier.differences for carrier in shown_carriers]).T
        names = [f"layer {carrier.layer}, unit {carrier.unit}" for carrier in shown_carriers]
        _draw_units(figure, panels[-2], held, names, carried)
    _draw_gradient(panels[-1], trace, layer, memory)
    _name_words(model, trace, panels)
    caption = _caption(model, trace, layer, len(order))
    figure.suptitle(caption, fontsize=10, color=PALE, x=0.01, ha="left")
    save_figure(figure, path)


def _width(words: int) -> float:
    """Width of the figure in inches."""
    level = min(words, MAX_LEVEL_WORDS)
    return max(9, 2.6 + 0.62 * level + 0.28 * (words - level))


def _choose_rows(trace: Trace, layer: int) -> Tensor:
    """The units that get a row, from the top.

    They are those that carry most, the longest half-life first. In a cell without a gate that
    keeps, they are those whose output varies most.
    """
    lives, loads = half_lives(trace, layer), carried_loads(trace, layer)
    if lives is None or loads is None:
        varies = trace.layers[layer].h.std(0, correction=0)
        return varies.argsort(descending=True, stable=True)[:MAX_ROWS]
    most = loads.argsort(descending=True, stable=True)[:MAX_ROWS]
    return most[lives[most].argsort(descending=True, stable=True)]


def _caption(model: LanguageModel, trace: Trace, layer: int, shown: int) -> str:
    traced, title = trace.layers[layer], find_cell(model.config.cell).title
    units = traced.h.shape[1]
    where = f"{title}, one layer"
    if len(trace.layers) > 1:
        where = f"{title}, layer {layer} of layers 0 to {len(trace.layers) - 1}"
    which = ""
    if shown < units:
        chosen = "carry most, by half-life" if traced.keep_gate else "vary most"
        which = f": the {shown} of {units} that {chosen}"
    strips = "; strips: mean of all units" if len(traced.gates) > 1 else ""
    return f"{where} · each row is a unit{which}{strips}"


def _name_words(model: LanguageModel, trace: Trace, panels: Sequence[Axes]) -> None:
    """Writes the words above the panels, and the most probable next words below them."""
    words = [
        shown_word(word) + ("" if known else " ?")
        for word, known in zip(trace.words, trace.known, strict=True)
    ]
    guesses = [model.most_probable(scores, 1)[0] for scores in trace.log_probabilities]
    next_words = [f"{shown_word(guess.word)} {guess.probability:.0%}" for guess in guesses]
    _name_columns(panels[0], words, top=True, colour=INK, size=13)
    _name_columns(panels[-1], next_words, top=False, colour=PALE, size=9)
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


def _name_columns(axes: Axes, names: Sequence[str], *, top: bool, colour: str, size: int) -> None:
    slanted = len(names) > MAX_LEVEL_WORDS or max(map(len, names)) > 9
    side = "left" if top else "right"
    axes.set_xticks(
        range(len(names)),
        names,
        fontsize=size if len(names) <= 30 else min(size, 10),
        color=colour,
        rotation=50 if slanted else 0,
        rotation_mode="anchor",
        ha=side if slanted else "center",
    )
    axes.xaxis.set_tick_params(
        top=top, labeltop=top, bottom=False, labelbottom=not top, length=0, pad=16 if top else 4
    )


def _colour_map(low: float, colour: str) -> Colormap:
    """White to a colour to its dark shade; orange to white to blue if there are negative values."""
    from matplotlib.colors import LinearSegmentedColormap, to_hex, to_rgb

    red, green, blue = to_rgb(colour)
    dark = to_hex((0.42 * red, 0.42 * green, 0.42 * blue))
    stops = SIGNED_COLOURS if low < 0 else ("#ffffff", colour, dark)
    return LinearSegmentedColormap.from_list("", stops)


def _heat(axes: Axes, values: Tensor, scale: tuple[float, float], colour: str) -> AxesImage:
    """Shows ``values (T, units)``, a column for each word."""
    low, high = scale
    image = axes.imshow(
        values.T.float().numpy(),
        aspect="auto",
        interpolation="nearest",
        vmin=low,
        vmax=high,
        cmap=_colour_map(low, colour),
    )
    between = np.arange(0.5, values.shape[0] - 1)
    axes.vlines(between, -0.5, values.shape[1] - 0.5, color="white", linewidth=1.5)
    axes.set(xticks=[], yticks=[])
    for spine in axes.spines.values():
        spine.set_color(LINE)
    return image


def _add_heat(
    figure: Figure, axes: Axes, values: Tensor, scale: tuple[float, float], colour: str
) -> None:
    """Shows ``values (T, units)`` with their colour scale at the right."""
    bar = figure.colorbar(
        _heat(axes, values, scale, colour), ax=axes, fraction=0.015, pad=0.01, aspect=9
    )
    bar.set_ticks(scale, labels=[f"{end:.2g}" for end in scale], fontsize=8, color=PALE)
    bar.outline.set_visible(False)


def _add_label(axes: Axes, title: str, meaning: str, colour: str) -> None:
    place: dict[str, Any] = {"transform": axes.transAxes, "ha": "right"}
    axes.text(
        -0.015, 0.56, title, va="bottom", fontsize=12, color=colour, fontweight="bold", **place
    )
    axes.text(-0.015, 0.48, meaning, va="top", fontsize=9, color=PALE, **place)


def _add_means(axes: Axes, means: Tensor, scale: tuple[float, float], colour: str) -> None:
    """Adds a strip above a gate's panel: its mean over all the layer's units at every word."""
    strip = axes.inset_axes((0, 1.04, 1, 0.17))
    _heat(strip, means.unsqueeze(1), scale, colour)
    if len(means) > MAX_WRITTEN_MEANS:
        return
    for t, mean in enumerate(means.tolist()):
        strip.text(
            t,
            0.05,
            f"{mean:.2f}".removeprefix("0"),
            ha="center",
            va="center",
            fontsize=9,
            color="white" if mean > 0.42 * scale[1] else INK,
        )


def _draw_units(
    figure: Figure, axes: Axes, values: Tensor, names: Sequence[str], title: str
) -> None:
    """Shows single units, ``values (T, units)``, in a row each."""
    limit = float(values.abs().max().clamp(min=1e-6))
    _add_heat(figure, axes, values, (-limit, limit), INK)
    axes.set_yticks(range(len(names)), names, fontsize=9, color=INK)
    axes.tick_params(axis="y", length=0)
    axes.set_title(title, fontsize=10, color=INK, loc="left", pad=3)


def _draw_gradient(axes: Axes, trace: Trace, layer: int, memory: str) -> None:
    """Draws what the prediction depends on; each curve is divided by its largest value."""
    words, cells = (
        slope.float() / slope.max().clamp(min=1e-30)
        for slope in (trace.word_gradient, trace.layers[layer].c_gradient)
    )
    places = range(len(words))
    axes.bar(places, words.numpy(), width=0.66, color=LINE)
    axes.plot(places, cells.numpy(), color=BLUE, marker="o", markersize=4, linewidth=1.5)
    axes.set(ylim=(0, 1.12), xlim=(-0.5, len(words) - 0.5), yticks=[])
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_color(LINE)
    title = f"what p({shown_word(trace.target)}) depends on"
    _add_label(axes, title, f"bars: words, line: {memory}", INK)
