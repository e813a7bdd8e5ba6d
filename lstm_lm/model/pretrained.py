"""A model on disk and on the hub.

Its files are ``config.json``, ``tokenizer.json``, ``model.safetensors`` and the model card
``README.md``. Prediction needs the first three. None is ever unpickled, and sizes are checked
against the configuration before memory is allocated. ``config.json`` and ``model.safetensors``
contain their own checksums; ``config.json`` also contains that of ``tokenizer.json``. All contain
the id of their run. The model card ``README.md`` may be edited.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from torch import Tensor

from lstm_lm.config import MIXTURES, Config, ModelConfig, config_from_dict, config_to_dict
from lstm_lm.corpus.vocabulary import Vocabulary
from lstm_lm.errors import ConfigError, RunDirectoryError
from lstm_lm.files.atomic import Content, make_folder, write_atomically, write_together
from lstm_lm.files.outputs import check_model_folder
from lstm_lm.files.run_files import (
    CARD_FILE,
    CONFIG_FILE,
    FORMAT_VERSION,
    TOKENIZER_FILE,
    WEIGHTS_FILE,
    read_file,
    read_json,
)
from lstm_lm.files.seal import UNSEALED, digest, sealed, write_sealed
from lstm_lm.files.tensors import (
    must_not_be_longer,
    open_tensors,
    read_tensors,
    tensor_file,
)
from lstm_lm.model.hub import Pushed, is_ours, upload
from lstm_lm.model.network import Network, empty_network

CARD_PLACE = "path/to/this/directory"  # in the example of a model card


@dataclass(frozen=True)
class Description:
    """What a directory says about its model, without the weights.

    Attributes:
        config: sizes and cell.
        vocabulary: the words.
        run_id: the id that all files of the run contain.
        origin: what its run started from, as `lstm_lm.training.starting` wrote it; None for a run
            that started from nothing.
    """

    config: ModelConfig
    vocabulary: Vocabulary
    run_id: str
    origin: dict[str, Any] | None = None


def load_description(folder: Path) -> Description:
    """Reads everything but the weights.

    Raises:
        RunDirectoryError: a file is missing or damaged, or the files do not belong together.
    """
    path, words = folder / CONFIG_FILE, folder / TOKENIZER_FILE
    _check_program(path)
    content = read_json(path)
    try:
        config = config_from_dict({"model": content.get("model")}, refuse_unused=False).model
    except ConfigError as error:
        raise RunDirectoryError(f"{path}: {str(error).splitlines()[0]}") from None
    if content.get("tokenizer") != digest(read_file(words)):
        raise RunDirectoryError(
            f"{words}: not the file that {CONFIG_FILE} was written with; it is damaged, or from "
            "another run: restore it"
        )
    vocabulary = Vocabulary.load(words)
    if content.get("vocab_size") != len(vocabulary):
        raise RunDirectoryError(
            f"{folder}: {CONFIG_FILE} has {content.get('vocab_size')} words, {TOKENIZER_FILE} has "
            f"{len(vocabulary)}; they are from different models: restore the pair"
        )
    return Description(config, vocabulary, str(content.get("run_id")), content.get("origin"))


def _check_program(path: Path) -> None:
    """Refuses the ``config.json`` of a model that another program reads.

    Raises:
        RunDirectoryError: it is one.
    """
    try:
        content = json.loads(read_file(path))
    except (ValueError, RecursionError):
        return  # damaged: `read_json` says so
    if is_ours(content) or not isinstance(content, dict) or "model_type" not in content:
        return
    if content["model_type"] == "lstm_lm" and "architectures" in content:
        raise RunDirectoryError(
            f"{path.parent}: is an export for transformers (`lstm-lm export --format hf`); load it "
            "with AutoModelForCausalLM.from_pretrained, or give the run that it was made from"
        )
    if content["model_type"] != "lstm_lm":
        raise RunDirectoryError(
            f"{path.parent}: is a model of another program (model_type "
            f"{str(content['model_type'])[:40]!r}); give a model of lstm_lm"
        )


def load(folder: Path) -> tuple[Network, Vocabulary]:
    """Loads a model from a directory, on the CPU.

    Raises:
        RunDirectoryError: a file is missing or damaged, or the files do not belong together.
    """
    description = load_description(folder)
    try:
        # shapes without memory: those of the file are compared with them before any is allocated
        network = empty_network(description.config, len(description.vocabulary))
    except RuntimeError as error:
        raise RunDirectoryError(
            f"{folder}: its configuration has sizes that no machine can hold "
            f"({str(error).splitlines()[0]}); restore it"
        ) from None
    path, like = folder / WEIGHTS_FILE, weights_of(network)
    must_not_be_longer(path, like)
    with open_tensors(path) as (file, header):
        if header.get("run_id") != description.run_id:
            raise RunDirectoryError(
                f"{path}: from another model or run than {CONFIG_FILE}; restore the pair"
            )
        tensors = read_tensors(file, path, like)
    network.load_state_dict(tensors, strict=False, assign=True)
    network.tie_weights()
    return network, description.vocabulary


def weights_of(network: Network) -> dict[str, Tensor]:
    """The network's tensors by name, each once: a tied output has no word vectors of its own."""
    return {name: parameter.detach() for name, parameter in network.named_parameters()}


def save_weights(network: Network, folder: Path, run_id: str, step: int) -> None:
    """Writes ``model.safetensors`` of a run at a step.

    Raises:
        DiskError: it could not be written.
    """
    write_atomically(folder / WEIGHTS_FILE, _weights_writer(network, run_id, step))


def save_description(
    network: Network,
    vocabulary: Vocabulary,
    folder: Path,
    run_id: str,
    origin: dict[str, Any] | None = None,
) -> None:
    """Writes ``config.json`` and ``tokenizer.json``; `origin` as in `Description`.

    Raises:
        DiskError: they could not be written.
    """
    write_together(_description_files(network, vocabulary, folder, run_id, origin))


def save(
    network: Network, vocabulary: Vocabulary, folder: Path, *, overwrite: bool = False
) -> None:
    """Writes all four files into a folder, which is made if missing; a model card is kept.

    Raises:
        RunDirectoryError: the folder has a run, or files that others made and ``overwrite`` is not
            given.
        DiskError: they could not be written; the files that were there are unchanged.
    """
    check_model_folder(folder, overwrite=overwrite)
    make_folder(folder)
    checksum = hashlib.sha256()
    for part in tensor_file(weights_of(network), {}):
        checksum.update(part)
    run_id = checksum.hexdigest()[: len(UNSEALED)]
    contents = _description_files(network, vocabulary, folder, run_id)
    contents[folder / WEIGHTS_FILE] = _weights_writer(network, run_id, step=0)
    if not os.path.lexists(folder / CARD_FILE):
        contents[folder / CARD_FILE] = model_card(network)
    write_together(contents)


def _weights_writer(network: Network, run_id: str, step: int) -> Callable[[BinaryIO], None]:
    header = {"run_id": run_id, "step": step}
    return lambda file: write_sealed(file, tensor_file(weights_of(network), header))


def _description_files(
    network: Network,
    vocabulary: Vocabulary,
    folder: Path,
    run_id: str,
    origin: dict[str, Any] | None = None,
) -> dict[Path, Content]:
    tokenizer = vocabulary.to_json().encode()
    content = {
        "checksum": UNSEALED,
        "format_version": FORMAT_VERSION,
        "model_type": "lstm_lm",
        "run_id": run_id,
        "tokenizer": digest(tokenizer),
        "vocab_size": len(vocabulary),
        "model": config_to_dict(Config(model=network.config))["model"],
    }
    if origin is not None:
        content["origin"] = origin
    return {
        folder / CONFIG_FILE: sealed((json.dumps(content, indent=2) + "\n").encode()),
        folder / TOKENIZER_FILE: tokenizer,
    }


def describe(network: Network) -> str:
    """One line for people: cell, sizes, number of words and of parameters."""
    sizes = "+".join(str(cell.hidden_size) for cell in network.recurrent.cells)
    tied = " tied" if network.config.tie_weights else ""
    is_mixture = network.config.output in MIXTURES
    softmaxes = f"{network.config.mixture_softmaxes} softmaxes, " if is_mixture else ""
    return (
        f"{network.config.cell} {sizes}, embedding {network.config.embedding_dim}{tied}, "
        f"{softmaxes}{network.vocab_size:,} words, {network.parameter_count:,} parameters"
    )


def model_card(network: Network, results: str = "", metadata: str = "") -> str:
    """The README of a saved model, with the header that the hub reads.

    Args:
        network: the model's.
        results: Markdown, what was trained on what and how good it is.
        metadata: more lines of the header, YAML.
    """
    return f"""---
library_name: lstm_lm
pipeline_tag: text-generation
tags:
- lstm_lm
- word-level
- {network.config.cell}
{metadata}---

# A word-level language model

{describe(network)}.

```python
from lstm_lm import LanguageModel

model = LanguageModel.from_pretrained("{CARD_PLACE}")
model.predict_next("I grew up in France. I speak fluent", top_k=5)
```
{results}
## Private text

A language model can repeat what it was trained on, word for word. A model of private text is as
private as the text. `corpus.min_count` keeps words that are rare in the text, such as names and
numbers, out of a vocabulary. `lstm-lm predict --ban words.txt` never shows the words of a list.
Neither hides everything.
"""


def push_to_hub(
    network: Network,
    vocabulary: Vocabulary,
    name: str,
    *,
    private: bool = False,
    revision: str | None = None,
    token: str | None = None,
    overwrite: bool = False,
) -> Pushed:
    """Uploads a model with a short model card; arguments and errors are those of `hub.upload`."""
    with tempfile.TemporaryDirectory() as folder:
        save(network, vocabulary, Path(folder))
        return upload(
            Path(folder),
            name,
            private=private,
            revision=revision,
            token=token,
            overwrite=overwrite,
        )
