"""Words in pictures, which may be anybody's."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def words_as_they_are() -> Iterator[None]:
    """While entered, dollar signs are no mathematics, and a letter that the font lacks is a box without a warning.

    Also a decorator, for a function that draws.
    """
    import matplotlib

    with matplotlib.rc_context({"text.parse_math": False}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r"Glyph .* missing from")
        yield
