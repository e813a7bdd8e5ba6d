"""A picture of one unit's memory over the words of a text, or of two texts that differ in a word.

The words are below, as a running sentence. The line above a word is the memory after that word. At
the end of the line is the word that the model expects next.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from math import tanh
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lstm_lm.cells import find_cell
from lstm_lm.files.pictures import save_figure, text_width, use_fonts_for, words_as_they_are
from lstm_lm.inspection.appearance import (
    BLUE,
    INK,
    LINE,
    MAX_WORD_LENGTH,
    ORANGE,
    PALE,
    memory_title,
    shown_word,
)
from lstm_lm.inspection.units import MIN_DIFFERENCE, swapped_words
from lstm_lm.model.language_model import LanguageModel
from lstm_lm.model.trace import Trace

if TYPE_CHECKING:
    from matplotlib.axes import Axes

GREY = "#8a94a3"  # the line where both texts are the same
DPI = 120
WORD_SIZE, END_SIZE, TITLE_SIZE, SMALL_SIZE = 17, 19, 21, 11  # points
MIN_WORD_SIZE = 7  # points; words of a long text are made smaller, down to this
MIN_TEXT_WIDTH = 8.0  # inches; a shorter text gets wider spaces
MAX_TEXT_WIDTH = 20.0  # inches of running text at full size; a longer text is made smaller
WORD_GAP = 0.45  # space between two words, as a fraction of the font size
LEFT = 0.56  # inches, for the scale
END_GAP, RIGHT = 0.2, 0.2  # inches, before and after the next words
HEIGHT, MIN_WIDTH = 5.2, 11.6  # inches
MIN_TICK_DISTANCE = 0.08  # of the scale's height; values that are closer to 0 are not written
SAYS = 0.5  # probability from which the title states that the model says a word


@dataclass(frozen=True)
class _Text:
    """One of the texts in the picture.

    Attributes:
        words: the T words as they are shown.
        held: the memory before the first word and after each word, T + 1 values.
        next_word: the word that stands at the end.
        probability: of that word.
        colour: of its line.
    """

    words: list[str]
    held: list[float]
    next_word: str
    probability: float
    colour: str

    @property
    def end(self) -> str:
        """What is written at the end of its line."""
        return f"{self.next_word} {self.probability:.2%}"


@words_as_they_are()
def draw_memory(
    model: LanguageModel,
    trace: Trace,
    layer: int,
    unit: int,
    path: Path,
    *,
    other: Trace | None = None,
    target: str | None = None,
) -> str:
    """Draws the memory of one unit over the words of a text, as a PNG file.

    Args:
        model: the model that was traced.
        trace: of a text; more than about 40 words are hard to read.
        layer: number of the layer.
        unit: number of the unit in it.
        path: the file to write.
        other: the trace of the same text with a word swapped; it gets a second line.
        target: the word whose probability stands at the end of each line; None: the most probable
            next word of each text.

    Returns:
        The characters that no font of this system has; they are boxes in the picture.

    Raises:
        InputError: the two texts are equal, or one is longer than the other.
        DiskError: the file cannot be written.
    """
    from matplotlib.figure import Figure

    first = _text(model, trace, layer, unit, target, BLUE)
    second, swapped = None, []
    if other is not None:
        second = _text(model, other, layer, unit, target, ORANGE)
        skipped = len(trace.words) - len(first.words)
        swapped = [t - skipped for t in swapped_words(trace, other)]
    texts = [first] if second is None else [first, second]
    missing = use_fonts_for(word for text in texts for word in (*text.words, text.next_word))
    title = _title(first, second, swapped)
    which = f"unit {unit} of layer {layer}" if len(trace.layers) > 1 else f"unit {unit}"
    cell = find_cell(model.config.cell).title + (f", with {model.fixed}" if model.fixed else "")
    held = f"{memory_title(model.config.cell)} of {which} ({cell})"
    caption = _caption(held, first, second, swapped)
    size, edges = _lay_out(texts)
    ends = max(text_width(text.end, END_SIZE, bold=True) for text in texts)
    width = RIGHT + max(
        MIN_WIDTH - RIGHT,
        LEFT + edges[-1] + END_GAP + ends,
        LEFT + text_width(title, TITLE_SIZE, bold=True),
        LEFT + text_width(caption, SMALL_SIZE),
    )
    figure = Figure(figsize=(width, HEIGHT), dpi=DPI, facecolor="white")
    axes = figure.add_axes((LEFT / width, 0.27, edges[-1] / width, 0.56))
    _draw_lines(axes, first, second, swapped, edges)
    _name_ends(axes, texts, edges[-1])
    _write_words(axes, first, second, swapped, edges, size)
    figure.text(
        LEFT / width,
        0.925,
        title,
        fontsize=TITLE_SIZE,
        color=INK,
        fontweight="bold",
        va="center",
    )
    figure.text(LEFT / width, 0.045, caption, fontsize=SMALL_SIZE, color=PALE, va="center")
    figure.set_label("gates")
    save_figure(figure, path)
    return missing


def _text(
    model: LanguageModel, trace: Trace, layer: int, unit: int, target: str | None, colour: str
) -> _Text:
    scores = trace.log_probabilities[-1]
    if target is None:
        next_word = model.most_probable(scores, 1)[0].word
    else:
        next_word = trace.target
    probability = float(scores[model.vocabulary.id(next_word)].exp())
    begin = 0 if trace.start or len(trace.words) == 1 else 1  # without the <eos> before the text
    words = [shown_word(word, MAX_WORD_LENGTH) for word in trace.words[begin:]]
    held = trace.layers[layer].c[begin:, unit].tolist()
    return _Text(words, held, shown_word(next_word, MAX_WORD_LENGTH), probability, colour)


def _lay_out(texts: Sequence[_Text]) -> tuple[float, list[float]]:
    """Sets the words as a running sentence.

    Returns:
        The font size in points, and the edges of the words' columns in inches, one more than words.
    """
    widths = []
    for words in zip(*(text.words for text in texts), strict=True):
        swapped = len(set(words)) > 1
        width = max(text_width(word, WORD_SIZE, bold=swapped) for word in words)
        widths.append(width + WORD_GAP * WORD_SIZE / 72)
    size = max(MIN_WORD_SIZE, WORD_SIZE * min(1.0, MAX_TEXT_WIDTH / sum(widths)))
    scale = size / WORD_SIZE
    if sum(widths) < MIN_TEXT_WIDTH:  # a short text is spaced out
        scale = min(2.0, MIN_TEXT_WIDTH / sum(widths))
    return size, [scale * edge for edge in accumulate(widths, initial=0.0)]


def _draw_lines(
    axes: Axes, first: _Text, second: _Text | None, swapped: Sequence[int], edges: Sequence[float]
) -> None:
    """Draws each text's memory as steps; grey up to the first swapped word."""
    texts = [first] if second is None else [second, first]
    values = [0.0, *(value for text in texts for value in text.held)]
    low, high = min(values), max(values)
    margin = 0.12 * (high - low) or 1.0
    axes.set(xlim=(0, edges[-1]), ylim=(low - margin, high + margin))
    for t in swapped:
        axes.axvspan(edges[t], edges[t + 1], color="#f1f3f6", linewidth=0)
    axes.axhline(0, color=LINE, linewidth=1)
    fork = swapped[0] if swapped else 0
    style: dict[str, Any] = {
        "where": "pre",
        "clip_on": False,
        "linewidth": 5,
        "solid_capstyle": "round",
        "solid_joinstyle": "round",
    }
    for text in texts:
        axes.step(edges[fork:], text.held[fork:], color=text.colour, **style)
    if fork:
        axes.step(edges[: fork + 1], first.held[: fork + 1], color=GREY, **style)
    ends = [end for end in (low, high) if abs(end) > MIN_TICK_DISTANCE * (high - low)]
    ticks = sorted({0.0, *map(_rounded, ends)})
    axes.set_xticks([])
    axes.set_yticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.tick_params(axis="y", length=0, labelsize=SMALL_SIZE, labelcolor=PALE)
    axes.spines[:].set_visible(False)


def _rounded(value: float) -> float:
    """A value with one significant figure."""
    return float(f"{value:.1g}")


def _name_ends(axes: Axes, texts: Sequence[_Text], right: float) -> None:
    """Writes the next word at the end of each line."""
    low, high = axes.get_ylim()
    heights = [text.held[-1] for text in texts]
    room = 0.13 * (high - low)  # the height of a line of text
    if len(heights) == 2 and abs(heights[0] - heights[1]) < room:
        middle, half = sum(heights) / 2, room / 2
        first_above = heights[0] >= heights[1]
        heights = [middle + half, middle - half] if first_above else [middle - half, middle + half]
    for text, height in zip(texts, heights, strict=True):
        axes.text(
            right + END_GAP,
            height,
            text.end,
            fontsize=END_SIZE,
            color=text.colour,
            fontweight="bold",
            va="center",
            clip_on=False,
        )


def _write_words(
    axes: Axes,
    first: _Text,
    second: _Text | None,
    swapped: Sequence[int],
    edges: Sequence[float],
    size: float,
) -> None:
    """Writes the sentence below, the swapped words in the colours of their lines."""
    place: dict[str, Any] = {
        "transform": axes.get_xaxis_transform(),
        "ha": "center",
        "va": "top",
        "fontsize": size,
    }
    axes.text(edges[-1] + END_GAP, -0.06, "?", color=PALE, **(place | {"ha": "left"}))
    for t, word in enumerate(first.words):
        middle = (edges[t] + edges[t + 1]) / 2
        if second is None or t not in swapped:
            axes.text(middle, -0.06, word, color=INK, **place)
            continue
        axes.text(middle, -0.06, word, color=first.colour, fontweight="bold", **place)
        axes.text(middle, -0.19, second.words[t], color=second.colour, fontweight="bold", **place)


def _title(first: _Text, second: _Text | None, swapped: Sequence[int]) -> str:
    if second is None:
        return "One memory cell while the model reads"
    word, other = first.words[swapped[0]], second.words[swapped[0]]
    after = slice(swapped[0] + 1, None)
    apart = zip(first.held[after], second.held[after], strict=True)
    if any(abs(tanh(one) - tanh(another)) < MIN_DIFFERENCE for one, another in apart):
        return f"One memory cell after “{word}” and after “{other}”"
    if first.probability < SAYS:
        return f"One memory cell keeps “{word}” to the end of the text"
    return f"One memory cell keeps “{word}” until the model says “{first.next_word}”"


def _caption(held: str, first: _Text, second: _Text | None, swapped: Sequence[int]) -> str:
    if second is None:
        return f"The line: the {held} after each word. At its end: the next word."
    word, other = first.words[swapped[0]], second.words[swapped[0]]
    return (
        f"Blue: the text with “{word}”. Orange: with “{other}”. "
        f"The lines: the {held} after each word. At their ends: the next word."
    )
