"""A trace as one HTML file to play with: no network, no library, light and dark, on a narrow screen too."""

from __future__ import annotations

import json
from importlib.resources import files
from typing import Any

from lstm_lm.inspection.figures import GATES

TEMPLATE = "page.html"


def render_page(description: dict[str, Any], *, layer: int, unit: int | None = None) -> str:
    """Returns the page, with the trace inside it.

    Args:
        description: from `lstm_lm.inspection.description.describe_trace`.
        layer: shown first.
        unit: picked first; None for the first carrier, or the one that carries most from word to word.
    """
    content = {
        "trace": description,
        "layer": layer,
        "unit": unit,
        "gates": {
            name: {"title": title, "meaning": meaning, "colour": colour}
            for name, (title, meaning, colour) in GATES.items()
        },
    }
    # inside <script>, HTML reads on until "</script" and minds "<!--": without a "<" there is neither
    data = json.dumps(content, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")
    return (
        files("lstm_lm.inspection")
        .joinpath(TEMPLATE)
        .read_text(encoding="utf-8")
        .replace("{{DATA}}", data)
    )
