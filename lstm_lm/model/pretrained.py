"""A model on disk and on the hub: ``config.json``, ``tokenizer.json``, ``model.safetensors``, ``README.md``.

These four files are all that prediction needs. None is ever unpickled; sizes are checked against the configuration
before memory is taken for them. ``config.json`` and ``model.safetensors`` have checksums inside, ``config.json`` that
of ``tokenizer.json`` too, and all say whose they are; the card is for people, who may change it.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from torch import Tensor

from lstm_lm.config import Config, ModelConfig, config_from_dict, config_to_dict
from lstm_lm.corpus.vocabulary import Vocabulary
from lstm_lm.errors import ConfigError, HubError, RunDirectoryError
from lstm_lm.files.atomic import Content, make_folder, write_atomically, write_together
from lstm_lm.files.seal import UNSEALED, digest, is_intact, sealed, write_sealed
from lstm_lm.files.tensors import (
    FORMAT_VERSION,
    must_not_be_longer,
    open_tensors,
    read_tensors,
    tensor_file,
)

if TYPE_CHECKING:
    from lstm_lm.model.language_model import LanguageModel

CONFIG_FILE, TOKENIZER_FILE, WEIGHTS_FILE, CARD_FILE = (
    "config.json",
    "tokenizer.json",
    "model.safetensors",
    "README.md",
)


def find_folder(name_or_path: str | Path) -> Path:
    """The directory of that path, or the hub's repository of that name, downloaded (or found in its cache)."""
    if os.path.isdir(name_or_path):
        return Path(name_or_path)
    if os.path.exists(name_or_path):
        raise RunDirectoryError(f"{name_or_path}: is a file; give the run directory it lies in")
    if not re.fullmatch(r"[\w-][\w.-]*(/[\w-][\w.-]*)?", str(name_or_path)):
        raise RunDirectoryError(
            f"{name_or_path}: no such directory; `lstm-lm train CONFIG.yaml` makes one"
        )
    from huggingface_hub import snapshot_download

    try:
        return Path(
            snapshot_download(
                str(name_or_path),
                etag_timeout=10,
                allow_patterns=[CONFIG_FILE, TOKENIZER_FILE, WEIGHTS_FILE, CARD_FILE],
            )
        )
    except (
        Exception
    ) as error:  # the hub's client raises many kinds, its HTTP library's own among them
        raise HubError(
            f"{name_or_path}: no such directory here, and the hub did not give a model of that name "
            f"({type(error).__name__}); train one with `lstm-lm train`, check the name, or go online"
        ) from error


def read_file(path: Path) -> bytes:
    """Reads a regular file whole.

    Raises:
        RunDirectoryError: if it is missing, or cannot be read, or is a pipe or a device, which might never end.
    """
    try:
        if path.exists() and not path.is_file():
            raise RunDirectoryError(f"{path}: not a regular file; restore it")
        return path.read_bytes()
    except FileNotFoundError:
        raise RunDirectoryError(
            f"{path}: missing; is this a run directory? Finish the run with `lstm-lm train ... "
            "--resume`, or copy the file from where it was trained"
        ) from None
    except OSError as error:
        raise RunDirectoryError(
            f"{path}: cannot be read ({error.strerror or error}); restore it"
        ) from None


def read_json(path: Path) -> dict[str, Any]:
    """Reads one of our JSON files and checks its format version and its checksum.

    Raises:
        RunDirectoryError: if it is missing, not JSON, of another format, or not what was written.
    """
    text = read_file(path)
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise RunDirectoryError(
            f"{path}: damaged, not readable as JSON ({error}); restore it"
        ) from None
    version = content.get("format_version") if isinstance(content, dict) else None
    if version not in (1, FORMAT_VERSION) or isinstance(version, bool):
        raise RunDirectoryError(
            f"{path}: format_version is {version!r}, this lstm_lm reads {FORMAT_VERSION}; "
            "use the lstm_lm that wrote it, or a newer one"
        )
    if version != 1 and not is_intact(io.BytesIO(text)):
        raise RunDirectoryError(f"{path}: damaged, or edited (its checksum is wrong); restore it")
    return content


@dataclass(frozen=True)
class Description:
    """All that a directory says of its model beside the weights.

    Attributes:
        config: sizes and cell.
        vocabulary: the words.
        identity: what the directory's files must agree on, whose they are; None in format 1, which had none.
    """

    config: ModelConfig
    vocabulary: Vocabulary
    identity: str | None


def load_description(folder: Path) -> Description:
    """Reads everything but the weights.

    Raises:
        RunDirectoryError: if a file is missing or damaged, or the two do not belong together.
    """
    path, words = folder / CONFIG_FILE, folder / TOKENIZER_FILE
    content = read_json(path)
    try:
        config = config_from_dict({"model": content.get("model")}, refuse_unused=False).model
    except ConfigError as error:
        raise RunDirectoryError(f"{path}: {str(error).splitlines()[0]}") from None
    identity = None if content["format_version"] == 1 else str(content.get("identity"))
    if identity is not None and content.get("tokenizer") != digest(read_file(words)):
        raise RunDirectoryError(
            f"{words}: not the one that {CONFIG_FILE} was written with; it is damaged, or of "
            "another run or model: restore it"
        )
    vocabulary = Vocabulary.load(words)
    if content.get("vocab_size") != len(vocabulary):
        raise RunDirectoryError(
            f"{folder}: {CONFIG_FILE} says {content.get('vocab_size')} words, {TOKENIZER_FILE} has "
            f"{len(vocabulary)}; they are of different models: restore the pair"
        )
    return Description(config, vocabulary, identity)


def weights_of(model: LanguageModel) -> dict[str, Tensor]:
    """The model's tensors by name, each once: the word vectors of a tied output are the embedding's, not repeated."""
    return {name: parameter.detach() for name, parameter in model.named_parameters()}


def load_weights(model: LanguageModel, folder: Path, identity: str | None) -> None:
    """Fills a model (on the meta device or not) with a directory's weights.

    Args:
        model: of the directory's configuration.
        folder: the directory.
        identity: its `Description`'s.

    Raises:
        RunDirectoryError: if the file is missing or damaged, or of another model or run.
    """
    path, like = folder / WEIGHTS_FILE, weights_of(model)
    must_not_be_longer(path, like)
    with open_tensors(path, seal=identity is not None) as (file, header):
        if header.get("identity") != identity:
            raise RunDirectoryError(
                f"{path}: of another model or run than {CONFIG_FILE}; restore the pair"
            )
        tensors = read_tensors(file, path, like)
    model.load_state_dict(tensors, strict=False, assign=True)
    model.tie_weights()


def save_weights(model: LanguageModel, folder: Path, identity: str, step: int) -> None:
    """Writes ``model.safetensors``, of a run at a step.

    Raises:
        DiskError: if it could not be written.
    """
    write_atomically(folder / WEIGHTS_FILE, _weights_writer(model, identity, step))


def save_description(model: LanguageModel, folder: Path, identity: str) -> None:
    """Writes ``config.json`` and ``tokenizer.json``.

    Raises:
        DiskError: if they could not be written.
    """
    write_together(_description(model, folder, identity))


def save(model: LanguageModel, folder: Path) -> None:
    """Writes all four files into ``folder``, which is made if need be; a model card that is there stays.

    Raises:
        DiskError: if they could not be written; what was there is untouched.
    """
    make_folder(folder)
    checksum = hashlib.sha256()
    for part in tensor_file(weights_of(model), {}):
        checksum.update(part)
    identity = checksum.hexdigest()[: len(UNSEALED)]
    contents = _description(model, folder, identity)
    contents[folder / WEIGHTS_FILE] = _weights_writer(model, identity, step=0)
    if not (folder / CARD_FILE).exists():
        contents[folder / CARD_FILE] = model_card(model)
    write_together(contents)


def _weights_writer(model: LanguageModel, identity: str, step: int) -> Callable[[BinaryIO], None]:
    return lambda file: write_sealed(
        file, tensor_file(weights_of(model), {"identity": identity, "step": step})
    )


def _description(model: LanguageModel, folder: Path, identity: str) -> dict[Path, Content]:
    tokenizer = model.vocabulary.to_json().encode()
    content = {
        "checksum": UNSEALED,
        "format_version": FORMAT_VERSION,
        "model_type": "lstm_lm",
        "identity": identity,
        "tokenizer": digest(tokenizer),
        "vocab_size": len(model.vocabulary),
        "model": config_to_dict(Config(model=model.config))["model"],
    }
    return {
        folder / CONFIG_FILE: sealed((json.dumps(content, indent=2) + "\n").encode()),
        folder / TOKENIZER_FILE: tokenizer,
    }


def model_card(model: LanguageModel, results: str = "") -> str:
    """The README of a saved model, with the header that the hub reads."""
    return f"""---
library_name: lstm_lm
pipeline_tag: text-generation
tags: [lstm_lm, word-level, {model.config.cell}]
---

# A word-level language model

{model.describe()}.

```python
from lstm_lm import LanguageModel

model = LanguageModel.from_pretrained("path/to/this/directory")
model.predict_next("I grew up in France. I speak fluent", top_k=5)
```
{results}"""


def push_to_hub(model: LanguageModel, name: str, *, private: bool) -> str:
    """Uploads the four files as one commit and returns the repository's address.

    Raises:
        HubError: if the hub is out of reach or refuses.
    """
    from huggingface_hub import HfApi

    try:
        api = HfApi()
        address = api.create_repo(name, private=private, exist_ok=True)
        with tempfile.TemporaryDirectory() as folder:
            save(model, Path(folder))
            api.upload_folder(
                repo_id=address.repo_id,
                folder_path=folder,
                commit_message="Upload an lstm_lm model",
            )
        return str(address)
    except (
        Exception
    ) as error:  # the hub's client raises many kinds, its HTTP library's own among them
        raise HubError(
            f"{name}: the hub did not take the model ({type(error).__name__}: {error}); log in with "
            "`hf auth login`, check the name, or go online"
        ) from error
