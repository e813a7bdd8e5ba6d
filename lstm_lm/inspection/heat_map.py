"""A picture of one layer while it reads: a column for each word, a panel for each gate.

Shapes: T words, H hidden_size.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from lstm_lm.cells import find_cell
from lstm_lm.files.pictures import save_figure, text_width, use_fonts_for, words_as_they_are
from lstm_lm.inspection.appearance import (
    BLUE,
    INK,
    LINE,
    MAX_WORD_LENGTH,
    PALE,
    GateStyle,
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
WIDE_COLUMNS = 16  # words; the columns of further words are narrow
SIGNED_COLOURS = ("#8a2f00", "#e8894a", "#ffffff", "#4a9fd0", "#003f63")  # negative to positive
PANEL_HEIGHT, UNIT_HEIGHT, GRADIENT_HEIGHT = 1.25, 0.24, 0.62  # inches
TITLE_SIZE, MEANING_SIZE, WORD_SIZE = 12, 9, 13  # points
COLUMN_WIDTHS, NARROW_COLUMN = (0.62, 0.9), 0.28  # inches; wide columns are as wide as their words
ANGLE = 50  # degrees, of words that are wider than their columns
WORD_SPACE = 0.08  # inches, between two names side by side
SCALE_WIDTH = 0.9  # inches, for the colour scales at the right


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
) -> str:
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

    Returns:
        The characters that no font of this system has; they are boxes in the picture.

    Raises:
        DiskError: the file cannot be written.
    """
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    traced, order = trace.layers[layer], _choose_rows(trace, layer)
    words, next_words = _column_names(model, trace)
    missing = use_fonts_for([*words, *next_words, trace.target])
    shown_carriers = carriers[:MAX_CARRIERS] if unit is None else []
    single_units = len(shown_carriers) if unit is None else 1
    heights = [PANEL_HEIGHT] * (len(traced.gates) + 1)
    if single_units:
        heights.append(UNIT_HEIGHT * single_units + 0.1)
    heights.append(GRADIENT_HEIGHT)
    memory = memory_title(model.config.cell)
    left_labels = _left_labels(gate_styles(model.config.cell).values(), memory, trace)
    width, column = _widths(words, next_words, left_labels)
    above, below = _Names(words, WORD_SIZE, column), _Names(next_words, MEANING_SIZE, column)
    figure = Figure(
        figsize=(width, 0.6 + sum(heights) * 1.08 + above.height + below.height),
        dpi=120,
        layout=ConstrainedLayoutEngine(h_pad=0.045, hspace=0.0),
        facecolor="white",
    )
    grid = figure.subplots(len(heights), 1, squeeze=False, height_ratios=heights)
    panels: list[Axes] = list(grid[:, 0])
    above.write_above(_draw_layer(figure, panels, model, trace, layer, order))
    if unit is not None:
        held = traced.c[1:, unit : unit + 1]
        _draw_units(figure, panels[-2], held, [f"unit {unit}"], f"the {memory} of one unit")
    elif shown_carriers:
        held = torch.tensor([carrier.differences for carrier in shown_carriers]).T
        names = [f"layer {carrier.layer}, unit {carrier.unit}" for carrier in shown_carriers]
        _draw_units(figure, panels[-2], held, names, carried)
    _draw_gradient(panels[-1], trace, layer, memory)
    below.write_below(panels[-1])
    caption = _caption(model, trace, layer, len(order))
    figure.suptitle(caption, fontsize=10, color=PALE, x=0.01, ha="left")
    figure.set_label("gates")
    save_figure(figure, path)
    return missing


def _draw_layer(
    figure: Figure,
    panels: Sequence[Axes],
    model: LanguageModel,
    trace: Trace,
    layer: int,
    order: Tensor,
) -> Axes:
    """Draws a panel for each gate and one for the memory.

    Returns:
        What is highest: the strip above the first panel, or the panel itself.
    """
    traced, top = trace.layers[layer], panels[0]
    styles, memory = gate_styles(model.config.cell), memory_title(model.config.cell)
    for axes, (name, activations) in zip(panels, traced.gates.items(), strict=False):
        style, scale = styles[name], value_range(name, activations)
        _add_heat(figure, axes, activations[:, order], scale, style.colour)
        _add_label(axes, style.title, style.meaning, style.colour)
        if scale[0] == 0:
            strip = _add_means(axes, activations.mean(1), scale, style.colour)
            top = strip if axes is panels[0] else top
    limit = float(traced.c.abs().quantile(0.98).clamp(min=1e-6))
    axes = panels[len(traced.gates)]
    _add_heat(figure, axes, traced.c[1:, order], (-limit, limit), BLUE)
    _add_label(axes, memory, "the memory after the word", INK)
    return top


@dataclass(frozen=True)
class _Names:
    """A name for each column, above the panels or below them.

    Attributes:
        names: of the T columns.
        largest: font size in points, if there are not many names.
        column: width of a column in inches.
    """

    names: list[str]
    largest: int
    column: float

    @property
    def size(self) -> int:
        """Font size in points."""
        return self.largest if len(self.names) <= 30 else min(self.largest, 10)

    @property
    def width(self) -> float:
        """Width of the longest name in inches."""
        return max(text_width(name, self.size) for name in self.names)

    @property
    def is_level(self) -> bool:
        """Whether the names fit side by side; otherwise they are written at an angle."""
        return self.width < self.column - WORD_SPACE

    @property
    def height(self) -> float:
        """Their height in inches."""
        line = 1.6 * self.size / 72
        return line if self.is_level else line + self.width * math.sin(math.radians(ANGLE))

    def write_above(self, axes: Axes) -> None:
        """Writes them above a panel or the strip on it."""
        self._write(axes, INK, "left")
        axes.xaxis.set_tick_params(
            top=True, labeltop=True, bottom=False, labelbottom=False, length=0, pad=4
        )

    def write_below(self, axes: Axes) -> None:
        """Writes them below a panel, with a title at the left."""
        self._write(axes, PALE, "right")
        axes.xaxis.set_tick_params(length=0, pad=4)
        axes.text(
            -0.015,
            -0.1,
            "next word",
            transform=axes.transAxes,
            ha="right",
            va="top",
            fontsize=MEANING_SIZE,
            color=PALE,
        )

    def _write(self, axes: Axes, colour: str, side: str) -> None:
        axes.set_xticks(
            range(len(self.names)),
            self.names,
            fontsize=self.size,
            color=colour,
            rotation=0 if self.is_level else ANGLE,
            rotation_mode="anchor",
            ha="center" if self.is_level else side,
        )


def _widths(
    words: Sequence[str],
    next_words: Sequence[str],
    left_labels: Sequence[tuple[str, int, bool]],
) -> tuple[float, float]:
    """Width of the figure and of a column, in inches.

    Args:
        words: the names above the columns.
        next_words: the names below them.
        left_labels: of `_left_labels`.
    """
    left = max(text_width(text, size, bold=bold) for text, size, bold in left_labels)
    sides = max(2.6, left + SCALE_WIDTH)
    widest = max(
        *(text_width(word, WORD_SIZE) for word in words),
        *(text_width(word, MEANING_SIZE) for word in next_words),
    )
    low, high = COLUMN_WIDTHS
    wide_column = min(high, max(low, widest + 1.5 * WORD_SPACE))
    wide = min(len(words), WIDE_COLUMNS)
    width = max(9, sides + wide_column * wide + NARROW_COLUMN * (len(words) - wide))
    return width, (width - sides) / len(words)


def _left_labels(
    styles: Iterable[GateStyle], memory: str, trace: Trace
) -> list[tuple[str, int, bool]]:
    """What is written left of the panels: text, font size, and whether it is bold."""
    titles = [*(style.title for style in styles), memory, _gradient_title(trace)]
    meanings = [*(style.meaning for style in styles), f"bars: words, line: {memory}"]
    return [
        *((title, TITLE_SIZE, True) for title in titles),
        *((meaning, MEANING_SIZE, False) for meaning in meanings),
    ]


def _gradient_title(trace: Trace) -> str:
    return f"what p({shown_word(trace.target, MAX_WORD_LENGTH)}) depends on"


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
    fixed = f", with {model.fixed}" if model.fixed else ""
    return f"{where}{fixed} · each row is a unit{which}{strips}"


def _column_names(model: LanguageModel, trace: Trace) -> tuple[list[str], list[str]]:
    """The words, with a sign at unknown ones, and the most probable next word after each."""
    words = [
        shown_word(word, MAX_WORD_LENGTH) + ("" if known else " ?")
        for word, known in zip(trace.words, trace.known, strict=True)
    ]
    guesses = [model.most_probable(scores, 1)[0] for scores in trace.log_probabilities]
    return words, [
        f"{shown_word(guess.word, MAX_WORD_LENGTH)} {guess.probability:.0%}" for guess in guesses
    ]


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
        -0.015,
        0.56,
        title,
        va="bottom",
        fontsize=TITLE_SIZE,
        color=colour,
        fontweight="bold",
        **place,
    )
    axes.text(-0.015, 0.48, meaning, va="top", fontsize=MEANING_SIZE, color=PALE, **place)


def _add_means(axes: Axes, means: Tensor, scale: tuple[float, float], colour: str) -> Axes:
    """Adds a strip above a gate's panel: its mean over all the layer's units at every word."""
    strip = axes.inset_axes((0, 1.04, 1, 0.17))
    _heat(strip, means.unsqueeze(1), scale, colour)
    if len(means) > MAX_WRITTEN_MEANS:
        return strip
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
    return strip


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
    _add_label(axes, _gradient_title(trace), f"bars: words, line: {memory}", INK)
