"""A run directory: its files, its lock, and the check that all files belong to one run."""

from __future__ import annotations

import contextlib
import io
import os
import re
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

from lstm_lm.config import Config, config_to_dict, config_to_yaml, load_config
from lstm_lm.config.strict_yaml import parse_yaml, read_text
from lstm_lm.errors import ConfigError, RunDirectoryError
from lstm_lm.files.atomic import make_folder
from lstm_lm.files.outputs import check_run_folder, why_no_folder
from lstm_lm.files.run_files import (
    CARD_FILE,
    CONFIG_FILE,
    RUN_FILES,
    YAML_FILE,
    read_file,
    read_json,
)
from lstm_lm.files.seal import UNSEALED, is_intact, sealed

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

# Settings that do not change the trained model.
WITHOUT_EFFECT_ON_MODEL = {
    "training.device",
    "training.log_every",
    "training.log_to",
    "training.checkpoint_every",
    "training.keep_at_words",
    "corpus.cache_dir",
    "corpus.streaming",
    "model.recurrence",
    "evaluation.window_length",
    "evaluation.prompts",
    "evaluation.continuation_words",
}
# Settings that a run may have another value of when it resumes.
CHANGEABLE = WITHOUT_EFFECT_ON_MODEL | {
    "training.max_epochs",
    "training.max_steps",
    "training.patience",
    "training.validate_every",
    "training.max_grad_norm",
    "training.skip_non_finite",
    "optimizer.learning_rate",
    "optimizer.embedding_learning_rate",
    "optimizer.muon_learning_rate",
    "evaluation.reset_per_line",
}
_FIRST_LINE = (
    "# run {run_id}, checksum {checksum}: change settings on the command line, or in a copy\n"
)
_SEALED = re.compile(rb"# run (\S+), checksum ")


@contextmanager
def claim_folder(folder: Path, *, resume: bool, overwrite: bool) -> Iterator[None]:
    """Reserves a run directory for one training run; makes it if it is missing.

    Changes no file in it. While entered, other training runs are refused, also those of other
    processes. The system ends the reservation when the process ends, however it ends.

    Raises:
        RunDirectoryError: another run is training in it; or it contains a run and neither
            ``resume`` nor ``overwrite`` is given; or it has files that others made, which a run
            would replace.
        DiskError: it cannot be made.
    """
    if why := why_no_folder(folder):
        raise RunDirectoryError(f"{folder}: {why}; choose another --output")
    if resume and not holds_run(folder):
        raise RunDirectoryError(f"{folder}: nothing to resume; start a run without --resume")
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    unlock = _lock(folder)
    try:
        if not resume:
            check_run_folder(folder)
        if holds_run(folder) and not (resume or overwrite):
            raise RunDirectoryError(
                f"{folder}: already contains a run; continue it with --resume, replace it with "
                "--overwrite, or choose another --output"
            )
        yield
    finally:
        with contextlib.suppress(OSError):  # not empty any more if a run has begun
            for path in made:
                path.rmdir()
        unlock()


def holds_run(folder: Path) -> bool:
    """Whether a directory has any file of a run; a ``README.md`` alone is none."""
    return any(os.path.lexists(folder / name) for name in RUN_FILES if name != CARD_FILE)


def _lock(folder: Path) -> Callable[[], None]:
    """Makes and locks a directory; returns the function that unlocks it."""
    try:
        return _lock_directory(folder) if fcntl else _lock_by_file(folder)
    except BlockingIOError:
        raise RunDirectoryError(
            f"{folder}: another run is training in it; wait for it, stop it, or choose another "
            "--output"
        ) from None


def _lock_directory(folder: Path) -> Callable[[], None]:
    """Locks the directory itself, so that no lock file is left.

    Raises:
        BlockingIOError: it is locked.
    """
    while True:
        make_folder(folder)
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.exists(folder) and os.path.samestat(os.fstat(descriptor), os.stat(folder)):
                return lambda: os.close(descriptor)
        except BlockingIOError:
            os.close(descriptor)
            raise
        except OSError:  # a file system without locks, such as some network file systems
            os.close(descriptor)
            return lambda: None
        os.close(descriptor)  # the process that had made the directory has just removed it


def _lock_by_file(folder: Path) -> Callable[[], None]:
    """Locks a file beside the directory, for Windows.

    Raises:
        BlockingIOError: it is locked.
    """
    import filelock

    make_folder(folder)
    lock = filelock.FileLock(folder.with_name(f".{folder.name}.lock"))
    try:
        lock.acquire(blocking=False)
    except filelock.Timeout:
        raise BlockingIOError from None
    return lock.release


def check_same_run(before: Config, config: Config, folder: Path) -> None:
    """Compares the configuration of a run with the one that it is to resume with.

    Raises:
        RunDirectoryError: names every setting that changed and may not change.
    """
    if differing := differences(before, config, CHANGEABLE):
        raise RunDirectoryError(
            f"{folder}: cannot be resumed with another configuration: {differing}; resume with "
            f"{folder / YAML_FILE}, or choose another --output"
        )


def differences(before: Config, config: Config, ignored: Collection[str]) -> str:
    """Names the settings that differ, apart from ignored dotted keys; empty if none do."""
    old = config_to_dict(before)
    return "; ".join(
        f"{section}.{key} was {old[section][key]!r}, is {value!r}"
        for section, values in config_to_dict(config).items()
        for key, value in values.items()
        if old[section][key] != value and f"{section}.{key}" not in ignored
    )


def run_yaml(config: Config, run_id: str) -> bytes:
    """The content of ``config.yaml``: a line with run id and checksum, then all settings."""
    first = _FIRST_LINE.format(run_id=run_id, checksum=UNSEALED)
    return sealed((first + config_to_yaml(config)).encode())


def load_run_config(folder: Path) -> tuple[Config, str]:
    """Reads a run's ``config.yaml`` and its run id.

    Raises:
        RunDirectoryError: it is missing, damaged, or was edited.
        ConfigError: it was written by another version.
    """
    path = folder / YAML_FILE
    content = read_file(path)
    first_line = _SEALED.match(content)
    if first_line is None or not is_intact(io.BytesIO(content)):
        raise RunDirectoryError(
            f"{path}: damaged or edited (its checksum is wrong); restore it, or put changed "
            "settings on the command line"
        )
    try:
        config = load_config(path, base_overrides=old_reading(path))
    except ConfigError as error:  # the file is intact, so another version of lstm_lm wrote it
        lines = [line.removeprefix(f"{path}: ") for line in str(error).split("\n")]
        raise ConfigError(
            "\n".join(f"{path}: {line} (another version wrote this run)" for line in lines)
        ) from None
    return config, first_line[1].decode(errors="replace")


def old_reading(path: Path) -> tuple[str, ...]:
    """Returns the overrides with which a text is read as it was when an older run began.

    They are empty unless the file is the ``config.yaml`` of a run on files that does not have
    `corpus.join_lines`: such a run read every line, blank ones too, and its position in the text
    and its perplexity depend on that.

    Args:
        path: of a YAML file.

    Raises:
        ConfigError: it cannot be read, or is not YAML.
    """
    if not path.is_file():  # whoever loads it says so
        return ()
    text = read_text(path)
    if not _SEALED.match(text.encode()):
        return ()
    data = parse_yaml(text, str(path), {})
    corpus = data.get("corpus") if isinstance(data, dict) else None
    if not isinstance(corpus, dict) or corpus.get("source") != "files" or "join_lines" in corpus:
        return ()
    return ("corpus.join_lines=false", "corpus.skip_blank_lines=false")


def load_model_config(folder: Path) -> Config:
    """Reads, from a run's ``config.yaml``, what its model was trained on and how it is evaluated.

    Raises:
        RunDirectoryError: it is missing (as in a model from the hub), damaged, edited, or from
            another run than the model.
    """
    if not os.path.lexists(folder / YAML_FILE):
        raise RunDirectoryError(f"{folder}: has no {YAML_FILE}, so its corpus is not known")
    config, run_id = load_run_config(folder)
    if run_id != read_json(folder / CONFIG_FILE).get("run_id"):
        raise RunDirectoryError(
            f"{folder / YAML_FILE}: from another run than {CONFIG_FILE}; restore the pair"
        )
    return config


def was_changed(path: Path) -> bool:
    """Whether a configuration file is a run's own ``config.yaml`` and was changed since."""
    content = path.read_bytes()
    return _SEALED.match(content) is not None and not is_intact(io.BytesIO(content))
