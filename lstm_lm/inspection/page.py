"""A trace as one HTML file to explore in a browser. It needs no network and no library."""

from __future__ import annotations

import json
from importlib.resources import files
from typing import Any

import torch

from lstm_lm.inspection.appearance import gate_styles, memory_title, value_range

TEMPLATE = "page.html"


def render_page(description: dict[str, Any], *, layer: int, unit: int | None = None) -> str:
    """Returns the page as text, with the trace inside it.

    Args:
        description: from `lstm_lm.inspection.description.describe_trace`.
        layer: number of the layer that is shown first.
        unit: the unit that is selected first; None for the first carrier, or, without carriers, for
            the unit that carries most from word to word.
    """
    content = {
        "trace": description,
        "layer": layer,
        "unit": unit,
        "memory": memory_title(description["cell"]),
        "gates": _gates(description),
    }
    # Within <script>, HTML looks for "</script" and "<!--". Without any "<" it finds neither.
    data = json.dumps(content, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")
    template = files("lstm_lm.inspection").joinpath(TEMPLATE).read_text(encoding="utf-8")
    return template.replace("{{DATA}}", data)


def _gates(description: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """What the page shows of each gate: title, meaning, colour, and the range of its values."""
    gates = {}
    for name, style in gate_styles(description["cell"]).items():
        values = torch.tensor(
            [row for layer in description["layers"] for row in layer["gates"][name]]
        )
        low, high = value_range(name, values)
        gates[name] = {
            "title": style.title,
            "meaning": style.meaning,
            "colour": style.colour,
            "low": low,
            "high": high,
        }
    return gates
