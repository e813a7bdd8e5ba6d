"""Titles, colours and scales of gates and memories: the same in every picture and in the page."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from lstm_lm.cells import find_cell

# The colours of data/pictures/lstm-cell.svg. People with colour blindness can tell them apart.
# Source: Okabe and Ito 2008, https://jfly.uni-koeln.de/color
BLUE, GREEN, ORANGE, PURPLE = "#0072b2", "#009e73", "#d55e00", "#b8528f"
GATE_COLOURS = {
    "forget_gate": BLUE,
    "update_gate": BLUE,
    "input_gate": GREEN,
    "reset_gate": ORANGE,
    "candidate": ORANGE,
    "output_gate": PURPLE,
}
OTHER_COLOURS = ("#8a6d00", "#4d7ea8", "#6b4fa0", "#5d6878")  # for gates that are not named above
MAX_WORD_LENGTH = 40  # characters of a word in a picture; longer ones are cut
INK, PALE, LINE = "#1b222c", "#6b7789", "#c3cbd6"  # text, small text, frames


@dataclass(frozen=True)
class GateStyle:
    """How a gate is shown.

    Attributes:
        title: its name for people, such as ``forget gate``.
        meaning: what its values mean, such as ``1: keep, 0: forget``.
        colour: ``#rrggbb``.
    """

    title: str
    meaning: str
    colour: str


def gate_styles(cell: str) -> dict[str, GateStyle]:
    """Returns the style of every gate of a cell, by gate name.

    Args:
        cell: the cell's name in the configuration, such as ``lstm``.
    """
    styles: dict[str, GateStyle] = {}
    others = 0
    for name, meaning in find_cell(cell).gate_meanings.items():
        colour = GATE_COLOURS.get(name)
        if colour is None:
            colour = OTHER_COLOURS[others % len(OTHER_COLOURS)]
            others += 1
        styles[name] = GateStyle(name.replace("_", " "), meaning, colour)
    return styles


def value_range(name: str, values: Tensor) -> tuple[float, float]:
    """Returns the lowest and the highest value of a gate's colour scale.

    A gate is in (0, 1) and a candidate in (-1, 1). A new cell's gate may have other values; then
    the scale is as wide as they need.
    """
    high = max(1.0, float(values.abs().max()))
    signed = name == "candidate" or bool((values < 0).any())
    return (-high if signed else 0.0), high


def memory_title(cell: str) -> str:
    """Returns the name of a cell's memory for people: ``cell state`` or ``hidden state``."""
    field = find_cell(cell).state_type._fields[-1]
    return {"c": "cell state", "h": "hidden state"}.get(field, field.replace("_", " "))


def shown_word(word: str, longest: int = 14) -> str:
    """Returns a word as pictures show it: cut to a length, and a sign for the line end."""
    if word == "<eos>":
        return "⏎"
    return word if len(word) <= longest else word[: longest - 1] + "…"
