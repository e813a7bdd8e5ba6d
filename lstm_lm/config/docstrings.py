"""Docstrings that people read: those of commands, sections and cells."""

from __future__ import annotations

import ast
import inspect
import sys
import textwrap
from types import ModuleType


def docstring_of(documented: ModuleType | type) -> str:
    """Returns a docstring, from its source where Python has dropped it, as ``python -OO`` does.

    Empty where there is none, or no source either.

    Args:
        documented: a module or a class.
    """
    if sys.flags.optimize < 2:
        return documented.__doc__ or ""
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(documented)))
    except (OSError, TypeError):
        return ""
    node = tree if isinstance(documented, ModuleType) else tree.body[0]
    return ast.get_docstring(node, clean=False) or ""  # type: ignore[arg-type]  # of a class
