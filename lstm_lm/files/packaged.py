"""Files that come with the package: word lists, probe suites and configurations.

In a clone they are in ``data`` and ``configs``, beside the package. In an installed package the
same two folders are inside it.
"""

from __future__ import annotations

import importlib.resources
from pathlib import Path

from lstm_lm.errors import CorpusError


def data_folder() -> Path:
    """Returns the folder of the word lists (``biographies``) and the probe suites (``probes``)."""
    return _folder("data")


def config_names() -> list[str]:
    """Returns the names of the packaged configurations, such as ``quickstart``, sorted."""
    return sorted(path.stem for path in _folder("configs").glob("*.yaml"))


def find_config(name: str) -> Path | None:
    """Finds a packaged configuration.

    Args:
        name: the name of the file without ``.yaml``, such as ``quickstart``.

    Returns:
        The path of its YAML file; None if no packaged configuration has this name.
    """
    return _folder("configs") / f"{name}.yaml" if name in config_names() else None


def read_word_list_text(name: str) -> str:
    r"""Reads a word list as one string.

    Args:
        name: the path of the file below ``data``, such as ``biographies/names.tsv``.

    Returns:
        The text. Line ends are ``\n`` on every platform.

    Raises:
        CorpusError: if the file is missing.
    """
    path = data_folder().joinpath(*name.split("/"))
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise CorpusError(
            f"word list data/{name} is missing ({path}): the installation is incomplete; "
            "install lstm_lm again"
        ) from error


def read_word_list(name: str) -> list[list[str]]:
    """Reads the rows of a word list, a UTF-8 file with tab-separated cells and one row per line.

    Blank lines and lines that begin with ``#`` are left out.

    Args:
        name: the path of the file below ``data``, such as ``biographies/names.tsv``.

    Returns:
        One list of cells per row, in the order of the file.

    Raises:
        CorpusError: if the file is missing.
    """
    lines = read_word_list_text(name).splitlines()
    return [line.split("\t") for line in lines if line.strip() and not line.startswith("#")]


def _folder(name: str) -> Path:
    """Returns a folder inside the installed package, or else beside the package in a clone."""
    installed = Path(str(importlib.resources.files("lstm_lm"))) / name
    return installed if installed.is_dir() else Path(__file__).resolve().parents[2] / name
