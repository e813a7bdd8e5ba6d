"""Revisions: the model as it was after so many words of training, kept for later.

``revisions/chck_1M`` in the run directory is the model after a million words, with the files that
prediction needs. The names are those of BabyLM, whose evaluation draws learning curves from them.
Other than ``model.safetensors`` of the run, they are not chosen by validation.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from lstm_lm.config import TrainingConfig
from lstm_lm.errors import ConfigError
from lstm_lm.files.atomic import disk_errors, make_folder, remove_leftovers
from lstm_lm.files.outputs import check_inside, is_model
from lstm_lm.files.run_files import (
    CONFIG_FILE,
    REVISIONS_FOLDER,
    TOKENIZER_FILE,
    WEIGHTS_FILE,
)
from lstm_lm.model.language_model import LanguageModel
from lstm_lm.model.pretrained import save_description, save_weights

_FILES = (CONFIG_FILE, TOKENIZER_FILE, WEIGHTS_FILE)
_PREFIX = "chck_"


def revision_name(words: int) -> str:
    """Returns a revision's name, such as ``chck_1M``, ``chck_500k`` or ``chck_1234``."""
    for unit, size in (("M", 10**6), ("k", 10**3)):
        if words % size == 0:
            return f"{_PREFIX}{words // size}{unit}"
    return f"{_PREFIX}{words}"


def reached(keep_at_words: Iterable[int], before: int, after: int) -> list[int]:
    """Returns those numbers of words that an update has reached, ascending, each once.

    Args:
        keep_at_words: the numbers.
        before: words seen before the update.
        after: words seen after it.
    """
    return sorted({words for words in keep_at_words if before < words <= after})


def save_revision(model: LanguageModel, run: Path, words: int, run_id: str, step: int) -> None:
    """Writes a revision into its folder, or the same one again if the run was resumed before it.

    Args:
        model: as it is now.
        run: the run directory.
        words: that the revision is named after.
        run_id: of the run.
        step: optimizer updates so far.

    Raises:
        DiskError: it could not be written.
    """
    folder = run / REVISIONS_FOLDER / revision_name(words)
    check_inside(folder.parent)
    check_inside(folder)
    make_folder(folder)
    remove_leftovers(folder, _FILES)
    save_description(model.network, model.vocabulary, folder, run_id)
    save_weights(model.network, folder, run_id, step)


def remove_revisions(run: Path) -> None:
    """Removes the revisions of a run; what else is in their folders stays, and so do these.

    Raises:
        DiskError: the system refused.
    """
    check_inside(run / REVISIONS_FOLDER)
    folders = [
        folder
        for folder in (run / REVISIONS_FOLDER).glob(f"{_PREFIX}*")
        if not folder.is_symlink() and is_model(folder)
    ]
    for folder in folders:
        remove_leftovers(folder, _FILES)
        with disk_errors(folder):
            for name in reversed(_FILES):  # config.json last: it says whose they are
                (folder / name).unlink(missing_ok=True)
    for folder in [*folders, run / REVISIONS_FOLDER]:
        with disk_errors(folder):
            if folder.is_dir() and not any(folder.iterdir()):
                folder.rmdir()


def check_reachable(config: TrainingConfig, train_tokens: int) -> None:
    """Checks that the run reads as many words as its last revision needs.

    Args:
        config: of the run.
        train_tokens: length of train.

    Raises:
        ConfigError: it ends before.
    """
    limits = []
    if config.max_epochs:
        limits.append(config.max_epochs * train_tokens)
    if config.max_steps:
        longest = config.bptt_length * (2 if config.bptt_variation else 1)
        limits.append(config.max_steps * config.batch_size * longest * config.accumulation_steps)
    most = min(limits)
    beyond = [words for words in config.keep_at_words if words > most]
    if beyond:
        raise ConfigError(
            f"training.keep_at_words: found {min(beyond):,}, but this run reads at most {most:,} "
            "words (line ends count); leave it out, or raise training.max_epochs or "
            "training.max_steps"
        )
