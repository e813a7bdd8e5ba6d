"""Where the package's own word lists lie, and how they are read.

A word list is a small UTF-8 file of tab-separated cells, one row a line. Blank lines and lines that begin with ``#``
are for the people who keep it.
"""

from __future__ import annotations

import importlib.resources
from pathlib import Path

from lstm_lm.errors import CorpusError


def data_folder():
    """The folder ``data``: inside an installed package, or beside the package folder in a clone.

    Returns:
        A path-like `importlib.resources` entry; it need not be a folder of the file system.
    """
    installed = importlib.resources.files("lstm_lm") / "data"
    if installed.is_dir():
        return installed
    return Path(__file__).resolve().parents[2] / "data"


def read_word_list_text(name: str) -> str:
    """The text of one word list, such as ``biographies/names.tsv``; its line ends are the same on every platform.

    Raises:
        CorpusError: the file is missing.
    """
    entry = data_folder()
    for part in name.split("/"):
        entry = entry / part
    try:
        return entry.read_text(encoding="utf-8")
    except OSError as error:
        raise CorpusError(
            f"word list data/{name} is missing ({entry}): the installation is incomplete; "
            "install lstm-lm again"
        ) from error


def read_word_list(name: str) -> list[list[str]]:
    """The rows of one word list.

    Args:
        name: the file below ``data``, with forward slashes.

    Returns:
        One list of cells a row, in the file's order.
    """
    lines = read_word_list_text(name).splitlines()
    return [line.split("\t") for line in lines if line.strip() and not line.startswith("#")]
