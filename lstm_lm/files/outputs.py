"""The one place that decides what may be written.

A file that a command made says so inside: a picture, a page, JSON, a graph and an ARPA file by the
words of `mark`, a table by its first line, a run by the seals of its files.

| what is at the path | |
|---|---|
| nothing, or what the same command made | is written |
| another regular file, an input of the command | needs ``--overwrite`` |
| a file of a run or of a saved model; a folder, a link, a pipe, a device | is refused |

Training writes into a folder of its own: what others made there is never replaced or deleted, not
even with ``--overwrite``, which is for the run that is in it. All writes are those of
`lstm_lm.files.atomic`.
"""

from __future__ import annotations

import glob
import os
import re
import stat
from collections.abc import Iterable, Mapping
from pathlib import Path

from lstm_lm.errors import InputError, RunDirectoryError
from lstm_lm.files.run_files import (
    CARD_FILE,
    CONFIG_FILE,
    PREVIOUS_FILE,
    REVISIONS_FOLDER,
    RUN_FILES,
    STATE_FILE,
    TOKENIZER_FILE,
    WEIGHTS_FILE,
    YAML_FILE,
)

Made = re.Pattern[bytes]

_HEAD_BYTES = 2**16  # of a file, in which it says what made it
_TENSORS = re.compile(rb'\A.{8}\{"__metadata__": \{"lstm_lm"', re.DOTALL)
_OUR_FILES = {
    YAML_FILE: re.compile(rb"\A# run \S+, checksum "),
    STATE_FILE: _TENSORS,
    PREVIOUS_FILE: _TENSORS,
    CONFIG_FILE: re.compile(rb'\A\s*\{(?=.*"format_version":)(?=.*"model": *\{)', re.DOTALL),
}
_EXPORTED = {CONFIG_FILE: re.compile(b'"LstmLmForCausalLM"'), WEIGHTS_FILE: _TENSORS}
_OF_TRAINING = (YAML_FILE, STATE_FILE, PREVIOUS_FILE)


def mark(command: str) -> str:
    """What a file says inside that a command made, such as ``made by "lstm-lm gates"``."""
    return f'made by "lstm-lm {command}"'


def marked(command: str) -> Made:
    """Finds `mark` in the first bytes of a file; in JSON, the same as ``"made_by": "..."``."""
    return re.compile(rb'made[ _]by"?:? "lstm-lm %s"' % re.escape(command.encode()))


def begins(text: str) -> Made:
    """Finds a text at the very beginning of a file, such as the names of a table's columns."""
    return re.compile(rb"\A" + re.escape(text.encode()))


def was_made(path: Path, made: Made) -> bool:
    """Whether a regular file says inside what made it."""
    try:
        if not stat.S_ISREG(os.lstat(path).st_mode):
            return False
        with path.open("rb") as file:
            return made.search(file.read(_HEAD_BYTES)) is not None
    except OSError:
        return False


def check_output(
    option: str,
    path: Path | None,
    made: Made,
    *,
    overwrite: bool = False,
    inputs: Mapping[str, str | Path | Iterable[str | Path] | None] | None = None,
    makes_folder: bool = False,
) -> None:
    """Checks that a command may write a file, before the work whose result the file will hold.

    Args:
        option: that named the file, for the message.
        path: the file; None is nothing to write.
        made: what a file says that the same command made: `marked` or `begins`.
        overwrite: whether ``--overwrite`` is given.
        inputs: option -> files, folders or patterns that the command reads, or other files that it
            writes.
        makes_folder: whether the command makes the file's folder if it is missing.

    Raises:
        InputError: the table at the top of the module refuses it.
    """
    if path is None:
        return
    if path.is_dir():
        raise InputError(f"{option}: {path} is a directory; give the path of a file")
    if not path.parent.is_dir() and not makes_folder:
        raise InputError(f"{option}: no such directory: {path.parent}; make it first")
    if path.name in RUN_FILES and (is_run(path.parent) or is_model(path.parent)):
        raise InputError(
            f"{option}: {path} is a file of the model in {path.parent}, which would be damaged; "
            "choose another path"
        )
    for other, names in (inputs or {}).items():
        if not overwrite and _is_among(path, names):
            raise InputError(
                f"{option}: {path} is there already, and {other} names it too; choose another "
                "path, or add --overwrite"
            )
    if not os.path.lexists(path):
        return
    check_regular(option, path)
    if not overwrite and not was_made(path, made):
        raise InputError(
            f"{option}: {path} is there already, and this command did not make it; choose another "
            "path, or add --overwrite"
        )


def check_regular(option: str, path: Path) -> None:
    """Checks that nothing but a regular file has a name.

    Raises:
        InputError: a link, a device, a pipe or a folder has it.
    """
    if os.path.islink(path):
        raise InputError(
            f"{option}: {path} is a symbolic link, and is not followed; give the path of a file"
        )
    if os.path.lexists(path) and not path.is_file():
        raise InputError(f"{option}: {path} is not a regular file; give the path of a file")


def _is_among(path: Path, names: str | Path | Iterable[str | Path] | None) -> bool:
    """Whether a file is one of those that an option names, or is in a folder that it names."""
    for name in [names] if isinstance(names, str | Path) else names or ():
        expanded = os.path.expanduser(str(name))
        found = [expanded] if os.path.lexists(expanded) else glob.glob(expanded, recursive=True)
        real = os.path.realpath(path)
        for other in map(os.path.realpath, found or [expanded]):
            is_inside = os.path.isdir(other) and os.path.lexists(path)
            if real == other or (is_inside and real.startswith(other + os.sep)):
                return True
            if os.path.exists(real) and os.path.exists(other) and os.path.samefile(real, other):
                return True
    return False


def why_no_folder(path: Path) -> str:
    """Why no folder can be made at a path, such as ``is a file``; empty if one is there or can."""
    if path.is_dir() or not os.path.lexists(path):
        return ""
    if not path.exists():
        return "is a symbolic link that leads nowhere"
    return "is a file" if path.is_file() else "is not a directory"


def check_export(folder: Path, *, overwrite: bool) -> None:
    """Checks that a folder for transformers may be written; it may be missing.

    Raises:
        InputError: it is not a folder, has a run or a model of this package, or others made it and
            ``overwrite`` is not given.
    """
    if why := why_no_folder(folder):
        raise InputError(f"{folder}: {why}, and this format is a folder; choose another path")
    if is_run(folder) or is_model(folder):
        raise InputError(
            f"{folder}: has files of a run or of another model; export into a folder of its own"
        )
    # transformers, too, saves models of this class; their weights do not have this header
    is_export = all(was_made(folder / name, made) for name, made in _EXPORTED.items())
    if folder.exists() and not overwrite and not is_export:
        raise InputError(
            f"{folder}: is there already, and this command did not make it; choose another path, "
            "or add --overwrite"
        )


def is_run(folder: Path) -> bool:
    """Whether training made a folder: its settings or a checkpoint say so."""
    return any(was_made(folder / name, _OUR_FILES[name]) for name in _OF_TRAINING)


def is_model(folder: Path) -> bool:
    """Whether a folder has a model of this package, with or without a run."""
    return was_made(folder / CONFIG_FILE, _OUR_FILES[CONFIG_FILE])


def check_run_folder(folder: Path) -> None:
    """Checks that a run that begins in a folder replaces nothing that others made.

    A folder that has a run or a model of this package is one; only its card may be of others.

    Raises:
        RunDirectoryError: it has a file with the name of a run's file that others made.
    """
    if is_run(folder) or is_model(folder):
        return
    for name in RUN_FILES:
        if name != CARD_FILE and os.path.lexists(folder / name):
            raise RunDirectoryError(
                f"{folder / name}: is there already, and no run of lstm-lm made it; choose another "
                "--output, or move the file away"
            )


def check_inside(folder: Path) -> None:
    """Checks that a folder inside a run directory is no symbolic link, which is never followed.

    Raises:
        RunDirectoryError: it is one.
    """
    if folder.is_symlink():
        raise RunDirectoryError(
            f"{folder}: is a symbolic link, and nothing is written through it; remove it"
        )


def check_model_folder(folder: Path, *, overwrite: bool) -> None:
    """Checks that a model may be saved in a folder.

    Raises:
        RunDirectoryError: it has a run, whose files belong together, or a model that others made
            and ``overwrite`` is not given.
    """
    if why := why_no_folder(folder):
        raise RunDirectoryError(f"{folder}: {why}; choose another folder")
    revisions = folder.resolve().parent
    if is_run(folder) or (revisions.name == REVISIONS_FOLDER and is_run(revisions.parent)):
        raise RunDirectoryError(
            f"{folder}: belongs to a run, whose files belong together; choose another folder"
        )
    if overwrite or is_model(folder):
        return
    for name in (CONFIG_FILE, TOKENIZER_FILE, WEIGHTS_FILE):
        if os.path.lexists(folder / name):
            raise RunDirectoryError(
                f"{folder / name}: is there already, and lstm_lm did not make it; choose another "
                "folder, or give overwrite=True"
            )
