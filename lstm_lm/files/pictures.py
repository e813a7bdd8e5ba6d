"""Pictures: how they are saved, and how they show words that anybody may have written."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from lstm_lm.files.atomic import write_atomically

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@contextmanager
def words_as_they_are() -> Iterator[None]:
    """Makes matplotlib show words literally.

    While it is entered, dollar signs do not begin a formula, and a letter that is missing from the
    font is shown as a box without a warning. It can also decorate a function that draws.
    """
    import matplotlib

    with matplotlib.rc_context({"text.parse_math": False}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r"Glyph .* missing from")
        yield


def save_figure(figure: Figure, path: Path) -> None:
    """Writes a matplotlib figure as a PNG file, atomically; no display is needed.

    Args:
        figure: made with ``matplotlib.figure.Figure``, not with pyplot.
        path: the file; its directory must exist.

    Raises:
        DiskError: if the file could not be written; the file that was there before is untouched.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas = FigureCanvasAgg(figure)
    write_atomically(path, lambda file: canvas.print_figure(file, format="png"))
