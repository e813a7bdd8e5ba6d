"""`push_run`: a run's model on the Hugging Face hub, with the model card of the run."""

from __future__ import annotations

import json
import re
import shutil
import tempfile
from pathlib import Path

from lstm_lm.errors import RunDirectoryError
from lstm_lm.files.atomic import disk_errors, write_atomically
from lstm_lm.files.run_files import (
    CARD_FILE,
    CONFIG_FILE,
    TOKENIZER_FILE,
    WEIGHTS_FILE,
    YAML_FILE,
    read_json,
)
from lstm_lm.files.seal import UNSEALED, sealed
from lstm_lm.model import pretrained
from lstm_lm.model.hub import Pushed, check_name, check_token, upload
from lstm_lm.model.network import Network
from lstm_lm.training.card import current_card
from lstm_lm.training.results import read_results
from lstm_lm.training.run_directory import load_model_config

_COPIED = (CONFIG_FILE, TOKENIZER_FILE, WEIGHTS_FILE)


def push_run(
    folder: str | Path,
    name: str,
    *,
    private: bool = False,
    revision: str | None = None,
    token: str | None = None,
    overwrite: bool = False,
) -> Pushed:
    """Uploads the model of a run and its model card; nothing else of the run directory.

    The four files are copied and checked before anything is uploaded, so the training that is
    perhaps still running cannot mix two states of the model.

    Args:
        folder: a run directory.
        name: ``user/name``.
        private: see `lstm_lm.model.hub.upload`, as all others.
        revision: the branch.
        token: access token.
        overwrite: replace files that lstm_lm did not make.

    Raises:
        InputError: the name is wrong.
        RunDirectoryError: the directory is missing, no run, or damaged.
        HubError: there is no token, or the hub is out of reach or refuses.
        DiskError: there is no space for the copy.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise RunDirectoryError(
            f"{folder}: no such run directory; `lstm-lm train CONFIG.yaml` makes one"
        )
    repository = check_name(name)
    is_run = (folder / YAML_FILE).exists()
    if is_run:
        load_model_config(folder)
    with tempfile.TemporaryDirectory() as temporary:
        copy = Path(temporary)
        for file in _COPIED:
            if not (folder / file).is_file():
                raise RunDirectoryError(
                    f"{folder / file}: is missing; push a run that was trained, or finish this one "
                    "with `lstm-lm train RUN_DIR --resume`"
                )
            with disk_errors(copy / file):
                shutil.copyfile(folder / file, copy / file)
        _remove_places(copy / CONFIG_FILE)
        network, _ = pretrained.load(copy)
        write_atomically(copy / CARD_FILE, _card(folder, network, repository, is_run=is_run))
        check_token(token)
        return upload(
            copy,
            repository,
            private=private,
            revision=revision,
            token=token,
            overwrite=overwrite,
            message=f"Upload {pretrained.describe(network)}",
        )


def _remove_places(path: Path) -> None:
    """Removes from ``config.json`` where this machine keeps the model and text of the start."""
    content = read_json(path)
    origin = content.get("origin")
    if not isinstance(origin, dict):
        return
    name = str(origin.get("name", "")).rstrip("/\\")
    content |= {
        "checksum": UNSEALED,
        "origin": {
            "name": re.split(r"[/\\]", name)[-1],
            "run_id": origin.get("run_id"),
            "words": origin.get("words"),
        },
    }
    write_atomically(path, sealed((json.dumps(content, indent=2) + "\n").encode()))


def _card(folder: Path, network: Network, repository: str, *, is_run: bool) -> str:
    """Returns the card to upload; its example loads the model by its name on the hub."""
    if is_run:
        name = repository.partition("/")[2]
        text = current_card(folder, read_results(folder), name)
    elif (folder / CARD_FILE).exists():  # what save_pretrained wrote
        text = (folder / CARD_FILE).read_text(encoding="utf-8", errors="replace")
    else:
        text = pretrained.model_card(network)
    return text.replace(pretrained.CARD_PLACE, repository)
