"""A run directory: whose it is, who may train in it, and that its files are those of one run, whole."""

from __future__ import annotations

import contextlib
import io
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lstm_lm.config import Config, config_to_dict, config_to_yaml, load_config
from lstm_lm.errors import RunDirectoryError
from lstm_lm.files.atomic import make_folder
from lstm_lm.files.seal import UNSEALED, is_intact, sealed
from lstm_lm.model.pretrained import (
    CARD_FILE,
    CONFIG_FILE,
    TOKENIZER_FILE,
    WEIGHTS_FILE,
    read_file,
    read_json,
)
from lstm_lm.training.checkpoint import PREVIOUS_FILE, STATE_FILE
from lstm_lm.training.run_log import CURVE_FILE, METRICS_FILE, TIMINGS_FILE

try:
    import fcntl
except ImportError:  # Windows, where nobody keeps two trainings out of one directory
    fcntl = None

YAML_FILE = "config.yaml"
SET_ASIDE_FILE = "metrics.damaged.jsonl"
# in the order in which --overwrite removes them: what is left of a run without its state is not gone on from
RUN_FILES = (
    STATE_FILE,
    PREVIOUS_FILE,
    WEIGHTS_FILE,
    CONFIG_FILE,
    YAML_FILE,
    TOKENIZER_FILE,
    CARD_FILE,
    METRICS_FILE,
    SET_ASIDE_FILE,
    TIMINGS_FILE,
    CURVE_FILE,
)
# what leaves the trained model as it is, and what a run may go on with another value of
INDIFFERENT = {
    "training.device",
    "training.log_every",
    "training.checkpoint_every",
    "corpus.cache_dir",
    "model.recurrence",
    "evaluation.window_length",
    "evaluation.prompts",
    "evaluation.continuation_words",
}
CHANGEABLE = INDIFFERENT | {
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
    "# run {identity}, checksum {checksum}: change settings on the command line, or in a copy\n"
)
_SEALED = re.compile(rb"# run (\S+), checksum ")


@contextmanager
def claim_folder(folder: Path, *, resume: bool, overwrite: bool) -> Iterator[None]:
    """Keeps a run directory, made if need be, for one training, so that none is overwritten and no two are mixed.

    No file in it is changed. While it is entered, other trainings are refused, those in other processes included; the
    system ends that when the process ends, however it does.

    Raises:
        RunDirectoryError: if another training is in there, or if it holds a run and neither ``resume`` nor
            ``overwrite`` is given.
        DiskError: if it cannot be made.
    """
    if os.path.exists(folder) and not os.path.isdir(folder):
        raise RunDirectoryError(f"{folder}: is a file; choose another --output")
    if resume and not holds_run(folder):
        raise RunDirectoryError(
            f"{folder}: nothing to resume; leave --resume out to begin a run there"
        )
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    descriptor = _lock(folder)
    try:
        if holds_run(folder) and not (resume or overwrite):
            raise RunDirectoryError(
                f"{folder}: already holds a run; go on with --resume, choose another --output, or "
                "replace it with --overwrite"
            )
        yield
    finally:
        with contextlib.suppress(OSError):  # a run that began has put something in
            for path in made:
                path.rmdir()
        if descriptor is not None:
            os.close(descriptor)


def holds_run(folder: Path) -> bool:
    """Whether a directory holds any file of a run."""
    return any(os.path.lexists(folder / name) for name in RUN_FILES)


def _lock(folder: Path) -> int | None:
    """Locks a directory itself, so that nothing is left in it; returns what to close, None where that cannot be had."""
    while True:
        make_folder(folder)
        if fcntl is None:
            return None
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.exists(folder) and os.path.samestat(os.fstat(descriptor), os.stat(folder)):
                return descriptor
        except BlockingIOError:
            os.close(descriptor)
            raise RunDirectoryError(
                f"{folder}: another training is going on in there; wait for it or stop it, or "
                "choose another --output"
            ) from None
        except OSError:  # a file system without locks, such as some on a network
            os.close(descriptor)
            return None
        os.close(descriptor)  # whoever had made it has removed it again in this moment


def must_be_same_run(before: Config, config: Config, folder: Path) -> None:
    """Compares the configuration that a run had with the one it is to go on with.

    Raises:
        RunDirectoryError: with every setting that may not change and did.
    """
    if differing := differences(before, config, CHANGEABLE):
        raise RunDirectoryError(
            f"{folder}: cannot be resumed with another configuration: {differing}; resume with "
            f"{folder / YAML_FILE}, or choose another --output"
        )


def differences(before: Config, config: Config, passed_over: set[str]) -> str:
    """Says which settings were others in a run that is there, but for some; empty if none."""
    old = config_to_dict(before)
    return "; ".join(
        f"{section}.{key} was {old[section][key]!r}, is {value!r}"
        for section, values in config_to_dict(config).items()
        for key, value in values.items()
        if old[section][key] != value and f"{section}.{key}" not in passed_over
    )


def run_yaml(config: Config, identity: str) -> bytes:
    """The contents of a run's ``config.yaml``: its settings below a line that says whose they are."""
    first = _FIRST_LINE.format(identity=identity, checksum=UNSEALED)
    return sealed((first + config_to_yaml(config)).encode())


def load_run_config(folder: Path) -> tuple[Config, str | None]:
    """Reads a run's ``config.yaml``, and whose it is; None in format 1, which did not say.

    Raises:
        RunDirectoryError: if it is missing, damaged, or was edited.
        ConfigError: if it is of another version.
    """
    path = folder / YAML_FILE
    content = read_file(path)
    whose = _SEALED.match(content)
    if whose is None and read_json(folder / CONFIG_FILE)["format_version"] == 1:
        return load_config(path), None
    if whose is None or not is_intact(io.BytesIO(content)):
        raise RunDirectoryError(
            f"{path}: damaged, or edited (its checksum is wrong); restore it, or give the settings "
            "of the run in another file"
        )
    return load_config(path), whose[1].decode(errors="replace")


def load_model_config(folder: Path) -> Config:
    """Reads, from a run's ``config.yaml``, what its model was trained on and how it is evaluated.

    Raises:
        RunDirectoryError: if that is missing, as it is of a model from the hub, or damaged, edited, or of another run
            than the model.
    """
    if not os.path.lexists(folder / YAML_FILE):
        raise RunDirectoryError(f"{folder}: has no {YAML_FILE}, which would say what its corpus is")
    config, whose = load_run_config(folder)
    if whose != read_json(folder / CONFIG_FILE).get("identity"):
        raise RunDirectoryError(
            f"{folder / YAML_FILE}: of another run than {CONFIG_FILE}; restore the pair"
        )
    return config


def was_changed(path: Path) -> bool:
    """Whether a configuration file is a run's own that was changed since, by a person or by a failing disk."""
    content = path.read_bytes()
    return _SEALED.match(content) is not None and not is_intact(io.BytesIO(content))
