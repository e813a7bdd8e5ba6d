"""Pictures: how they are saved, and how they show words that anybody may have written."""

from __future__ import annotations

import threading
import unicodedata
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from lstm_lm.files.atomic import write_atomically
from lstm_lm.files.outputs import mark

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from matplotlib.font_manager import FontEntry


PLACEHOLDER_FONT = "Last Resort"  # comes with matplotlib; it has a box for every character

_drawing = threading.RLock()


@contextmanager
def words_as_they_are() -> Iterator[None]:
    """Makes matplotlib show words literally.

    While it is entered, dollar signs do not begin a formula, and a letter that is missing from the
    font is shown as a box without a warning. It can also decorate a function that draws. These are
    settings of the whole process: one thread draws at a time, and then puts back what was there.
    """
    import matplotlib

    with (
        _drawing,
        matplotlib.rc_context({"text.parse_math": False}),
        warnings.catch_warnings(),
    ):
        warnings.filterwarnings("ignore", message=r"Glyph .* missing from")
        yield


def save_figure(figure: Figure, path: Path) -> None:
    """Writes a matplotlib figure as a PNG file, atomically; no display is needed.

    Args:
        figure: made with ``matplotlib.figure.Figure``, not with pyplot. Its label is the command
            that draws it; the file says so inside (`lstm_lm.files.outputs.mark`).
        path: the file; its directory must exist.

    Raises:
        DiskError: if the file could not be written; the file that was there before is untouched.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas = FigureCanvasAgg(figure)
    about = {"Software": mark(str(figure.get_label()))}
    write_atomically(path, lambda file: canvas.print_figure(file, format="png", metadata=about))


def use_fonts_for(texts: Iterable[str]) -> str:
    """Finds fonts for all characters of texts; call it while `words_as_they_are` is entered.

    Characters that the usual font does not have are drawn from the first font of this system that
    has them.

    Args:
        texts: everything that a picture shows of what people wrote.

    Returns:
        The characters that no font has, each once; they are drawn as boxes.
    """
    from matplotlib import font_manager, rcParams

    missing = {
        character: None
        for text in texts
        for character in text
        if unicodedata.category(character)[0] not in "CZ"
        and not 0xFE00 <= ord(character) <= 0xFE0F  # how an emoji looks
    }
    families = list(rcParams["font.family"])
    usual = font_manager.findfont(font_manager.FontProperties(family=families))
    _remove_known(missing, usual)
    for entry in sorted(font_manager.fontManager.ttflist, key=_preference):
        if not missing:
            break
        before = len(missing)
        if entry.name not in families and not entry.name.startswith(PLACEHOLDER_FONT):
            _remove_known(missing, entry.fname)
        if len(missing) < before:
            families.append(entry.name)
    rcParams["font.family"] = families
    return "".join(missing)


def _remove_known(missing: dict[str, None], font_file: str) -> None:
    """Removes the characters that a font has; none if the font cannot be read."""
    from matplotlib import font_manager

    try:
        known = font_manager.get_font(font_file).get_charmap()
    except (OSError, RuntimeError):  # such as coloured emoji, which matplotlib cannot draw
        return
    for character in list(missing):
        if ord(character) in known:
            del missing[character]


def _preference(entry: FontEntry) -> tuple[bool, bool, str]:
    """Sorts fonts: those without serifs, upright and of ordinary weight come first."""
    is_ordinary = entry.style == "normal" and entry.weight in (400, "normal", "regular")
    return not is_ordinary, "Sans" not in entry.name, entry.name


def text_width(text: str, size: float, *, bold: bool = False) -> float:
    """Returns the width of a line of text in inches.

    Args:
        text: the line.
        size: its font size in points.
        bold: whether it is bold.
    """
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import TextToPath

    font = FontProperties(size=size, weight="bold" if bold else "normal")
    width, _, _ = TextToPath().get_text_width_height_descent(text, font, ismath=False)
    return width / 72
