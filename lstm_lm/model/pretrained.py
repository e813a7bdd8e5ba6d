"""A model on disk and on the hub: ``config.json``, ``tokenizer.json``, ``model.safetensors``, ``README.md``.

These four files are all that prediction needs. None is ever unpickled; sizes are checked against the configuration
before memory is taken for them.
"""

from __future__ import annotations

import json
import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from lstm_lm.atomic import make_folder, write_atomically
from lstm_lm.config import Config, ModelConfig, config_from_dict, config_to_dict
from lstm_lm.corpus.vocabulary import Vocabulary
from lstm_lm.errors import ConfigError, HubError, RunDirectoryError

if TYPE_CHECKING:
    from lstm_lm.model.language_model import LanguageModel

FORMAT_VERSION = 1
CONFIG_FILE, TOKENIZER_FILE, WEIGHTS_FILE, CARD_FILE = "config.json", "tokenizer.json", "model.safetensors", "README.md"


def find_folder(name_or_path: str | Path) -> Path:
    """The directory of that path, or the hub's repository of that name, downloaded (or found in its cache)."""
    if os.path.isdir(name_or_path):
        return Path(name_or_path)
    if os.path.exists(name_or_path):
        raise RunDirectoryError(f"{name_or_path}: is a file; give the run directory it lies in")
    if not re.fullmatch(r"[\w-][\w.-]*(/[\w-][\w.-]*)?", str(name_or_path)):
        raise RunDirectoryError(f"{name_or_path}: no such directory; `lstm-lm train CONFIG.yaml` makes one")
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(str(name_or_path), etag_timeout=10, allow_patterns=[
            CONFIG_FILE, TOKENIZER_FILE, WEIGHTS_FILE, CARD_FILE]))
    except Exception as error:      # the hub's client raises many kinds, its HTTP library's own among them
        raise HubError(f"{name_or_path}: no such directory here, and the hub did not give a model of that name "
                       f"({type(error).__name__}); train one with `lstm-lm train`, check the name, or go online"
                       ) from error


def read_json(path: Path) -> dict[str, Any]:
    """Reads one of our JSON files and checks its format version.

    Raises:
        RunDirectoryError: if it is missing, not JSON, or of another format.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise RunDirectoryError(f"{path}: missing; is this a run directory? Finish the run with `lstm-lm train ... "
                                "--resume`, or copy the file from where it was trained") from None
    except (ValueError, RecursionError, OSError) as error:
        raise RunDirectoryError(f"{path}: damaged, not readable as JSON ({error}); restore it") from None
    version = content.get("format_version") if isinstance(content, dict) else None
    if version != FORMAT_VERSION:
        raise RunDirectoryError(f"{path}: format_version is {version!r}, this lstm_lm reads {FORMAT_VERSION}; "
                                "use the lstm_lm that wrote it, or a newer one")
    return content


def load_description(folder: Path) -> tuple[ModelConfig, Vocabulary]:
    """Reads everything but the weights.

    Raises:
        RunDirectoryError: if a file is missing or damaged, or the two do not belong together.
    """
    path = folder / CONFIG_FILE
    content = read_json(path)
    try:
        config = config_from_dict({"model": content.get("model")}).model
    except ConfigError as error:
        raise RunDirectoryError(f"{path}: {str(error).splitlines()[0]}") from None
    vocabulary = Vocabulary.load(folder / TOKENIZER_FILE)
    if content.get("vocab_size") != len(vocabulary):
        raise RunDirectoryError(f"{folder}: {CONFIG_FILE} says {content.get('vocab_size')} words, {TOKENIZER_FILE} has "
                                f"{len(vocabulary)}; they are of different models: restore the pair")
    return config, vocabulary


@contextmanager
def open_tensors(path: Path) -> Iterator[safe_open]:
    """Opens a safetensors file; what is wrong with it, then or while it is read, is said in one sentence.

    Raises:
        RunDirectoryError: if the file is missing or damaged.
    """
    if not path.is_file():
        raise RunDirectoryError(f"{path}: missing; finish the run with `lstm-lm train ... --resume`, or copy the file "
                                "from where it was trained")
    try:
        with safe_open(path, framework="pt") as file:
            yield file
    except (SafetensorError, OSError) as error:
        raise RunDirectoryError(f"{path}: damaged ({error}); restore it, or train again") from None


def load_tensors(path: Path, shapes: dict[str, tuple[int, ...]]) -> dict[str, Tensor]:
    """Reads a safetensors file, refusing it before any tensor is read if it holds other names or shapes than asked.

    Raises:
        RunDirectoryError: if the file is missing, damaged, or of another model.
    """
    with open_tensors(path) as file:
        found = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}
        for name in sorted(shapes.keys() | found.keys()):
            if found.get(name) != shapes.get(name):
                raise RunDirectoryError(f"{path}: {name} has shape {found.get(name)}, the configuration asks for "
                                        f"{shapes.get(name)}; these weights are of another model")
        return {name: file.get_tensor(name) for name in found}


def weights_of(model: LanguageModel) -> dict[str, Tensor]:
    """The model's tensors by name, each storage once: a tied output weight is the embedding's and not repeated."""
    tied = {"output.weight"} if model.config.tie_weights else set()
    return {name: tensor.detach() for name, tensor in model.state_dict().items() if name not in tied}


def load_weights(model: LanguageModel, folder: Path) -> None:
    """Fills a model (on the meta device or not) with a directory's weights."""
    shapes = {name: tuple(tensor.shape) for name, tensor in weights_of(model).items()}
    model.load_state_dict(load_tensors(folder / WEIGHTS_FILE, shapes), strict=False, assign=True)
    model.tie_weights()


def save_weights(model: LanguageModel, folder: Path) -> None:
    """Writes ``model.safetensors``."""
    write_tensors(folder / WEIGHTS_FILE, weights_of(model), {"format": "pt"})


def write_tensors(path: Path, tensors: dict[str, Tensor], metadata: dict[str, str]) -> None:
    """Writes a safetensors file atomically; tensors may be on any device and laid out in any way.

    Raises:
        DiskError: if it could not be written.
    """
    tensors = {name: tensor.detach().contiguous().cpu() for name, tensor in tensors.items()}

    def write(temporary: Path) -> None:
        try:
            save_file(tensors, temporary, metadata=metadata)
        except SafetensorError as error:        # how safetensors says that the disk is full
            raise OSError(str(error)) from error

    write_atomically(path, write)


def save_description(model: LanguageModel, folder: Path) -> None:
    """Writes ``config.json`` and ``tokenizer.json``."""
    content = {"format_version": FORMAT_VERSION, "model_type": "lstm_lm", "vocab_size": len(model.vocabulary),
               "model": config_to_dict(Config(model=model.config))["model"]}
    write_atomically(folder / CONFIG_FILE, json.dumps(content, indent=2) + "\n")
    write_atomically(folder / TOKENIZER_FILE, model.vocabulary.to_json())


def save(model: LanguageModel, folder: Path) -> None:
    """Writes all four files into ``folder``, which is made if need be; a model card that is there stays."""
    make_folder(folder)
    save_description(model, folder)
    save_weights(model, folder)
    if not (folder / CARD_FILE).exists():
        write_atomically(folder / CARD_FILE, model_card(model))


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
            api.upload_folder(repo_id=address.repo_id, folder_path=folder, commit_message="Upload an lstm_lm model")
        return str(address)
    except Exception as error:      # the hub's client raises many kinds, its HTTP library's own among them
        raise HubError(f"{name}: the hub did not take the model ({type(error).__name__}: {error}); log in with "
                       "`hf auth login`, check the name, or go online") from error
