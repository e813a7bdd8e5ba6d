"""What is removed of a run that another one replaces: its own files, and nothing of others."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from lstm_lm.errors import ConfigError, RunDirectoryError
from lstm_lm.files.atomic import disk_errors
from lstm_lm.files.outputs import is_model, is_run
from lstm_lm.files.run_files import CARD_FILE, RUN_FILES
from lstm_lm.training.card import build_card
from lstm_lm.training.loggers import remove_event_files
from lstm_lm.training.results import read_results
from lstm_lm.training.revisions import remove_revisions


def remove_run(folder: Path, report: Callable[[str], None]) -> None:
    """Removes the files of the run that is in a folder; if there is none, nothing.

    An edited model card is renamed. The settings go last: they say that it was a run.

    Args:
        folder: the run directory.
        report: receives a line about an edited card.

    Raises:
        DiskError: the system refused.
        RunDirectoryError: a folder in it is a symbolic link.
    """
    if not (is_run(folder) or is_model(folder)):
        return
    if kept := _set_card_aside(folder):
        report(f"note: {folder / CARD_FILE} was edited; it is kept as {kept.name}")
    *files, settings = (name for name in RUN_FILES if name != CARD_FILE)
    with disk_errors(folder):
        for name in files:
            (folder / name).unlink(missing_ok=True)
    remove_event_files(folder)
    remove_revisions(folder)
    with disk_errors(folder):
        (folder / settings).unlink(missing_ok=True)


def _set_card_aside(folder: Path) -> Path | None:
    """Removes the model card; renames an edited one, and returns its new name."""
    path = folder / CARD_FILE
    try:
        is_edited = path.read_bytes() != build_card(folder, read_results(folder)).encode()
    except FileNotFoundError:
        return None
    except (OSError, RunDirectoryError, ConfigError):  # a damaged run: nobody can tell
        is_edited = True
    with disk_errors(path):
        if not is_edited:
            path.unlink()
            return None
        number, kept = 1, path.with_name("README.old.md")
        while os.path.lexists(kept):
            number += 1
            kept = path.with_name(f"README.old-{number}.md")
        os.rename(path, kept)
    return kept
