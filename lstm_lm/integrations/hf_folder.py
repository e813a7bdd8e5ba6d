"""A folder that the transformers library reads, with or without `lstm_lm` beside it.

It has the weights, the tokenizer, and the Python files of both, which are copied from this package;
see `lstm_lm.integrations.bundling`. Nothing here needs transformers.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

from tokenizers import AddedToken, Regex, Tokenizer
from tokenizers.normalizers import Replace
from tokenizers.normalizers import Sequence as NormalizerSequence
from tokenizers.pre_tokenizers import Split
from tokenizers.processors import TemplateProcessing

from lstm_lm.cells import find_cell
from lstm_lm.config import MIXTURES
from lstm_lm.corpus.tokenization import END_OF_LINE, UNKNOWN, build_normalizer, build_tokenizer
from lstm_lm.corpus.vocabulary import Vocabulary
from lstm_lm.errors import InputError
from lstm_lm.files.atomic import Content
from lstm_lm.files.run_files import CARD_FILE, CONFIG_FILE, TOKENIZER_FILE, WEIGHTS_FILE
from lstm_lm.files.seal import write_sealed
from lstm_lm.files.tensors import tensor_file
from lstm_lm.integrations.bundling import bundle
from lstm_lm.model.language_model import LanguageModel
from lstm_lm.model.network import Network, cell_settings
from lstm_lm.model.pretrained import describe, weights_of

MODELING, TOKENIZATION = "modeling_lstm_lm", "tokenization_lstm_lm"
_CLASSES = {
    "AutoConfig": f"{MODELING}.LstmLmConfig",
    "AutoModel": f"{MODELING}.LstmLmModel",
    "AutoModelForCausalLM": f"{MODELING}.LstmLmForCausalLM",
}


def files(model: LanguageModel, target: Path, quantize: str | None) -> dict[Path, Content]:
    """Returns the files of the folder.

    Args:
        model: the model.
        target: the folder; it may be missing.
        quantize: None; nothing else is possible.

    Raises:
        InputError: weights are to be quantized, or the model's cell is not one of this package.
    """
    if quantize is not None:
        raise InputError(
            f"quantize: found {quantize}, but a folder for transformers holds full weights; leave "
            "it out, or export to .onnx or .html"
        )
    network, vocabulary = model.network, model.vocabulary
    weights = {_name_there(name): weight for name, weight in weights_of(network).items()}

    def write_weights(file: BinaryIO) -> None:
        write_sealed(file, tensor_file(weights, {}))

    contents: dict[str, Content] = {
        CONFIG_FILE: _json(_config(network, vocabulary)),
        "generation_config.json": _json(_generation_config(vocabulary)),
        TOKENIZER_FILE: _tokenizer(vocabulary).to_str(pretty=True),
        "tokenizer_config.json": _json(_tokenizer_config(vocabulary)),
        f"{MODELING}.py": _modeling(network.config.cell),
        f"{TOKENIZATION}.py": bundle(f"lstm_lm.integrations.{TOKENIZATION}"),
        CARD_FILE: _card(network),
        WEIGHTS_FILE: write_weights,
    }
    return {target / name: content for name, content in contents.items()}


def _name_there(name: str) -> str:
    """The name of a parameter of `Network` in `LstmLmForCausalLM`."""
    if name.startswith("output."):
        return name
    return "model." + name.removeprefix("recurrent.")


def _config(network: Network, vocabulary: Vocabulary) -> dict[str, Any]:
    config = network.config
    is_adaptive, is_mixture = config.output == "adaptive", config.output in MIXTURES
    sizes = [cell.hidden_size for cell in network.recurrent.cells]
    width = config.embedding_dim if config.tie_weights else sizes[-1]
    if is_mixture:
        width = config.mixture_softmaxes * (config.embedding_dim + 1)
    return {
        "architectures": ["LstmLmForCausalLM"],
        "auto_map": _CLASSES,
        "tokenizer_class": "LstmLmTokenizer",  # lets `pipeline` of transformers 4 look for it
        "model_type": "lstm_lm",
        "vocab_size": len(vocabulary),
        "cell": config.cell,
        "cell_settings": cell_settings(config),
        "embedding_dim": config.embedding_dim,
        "hidden_sizes": sizes,
        "hidden_size": width,
        "num_hidden_layers": len(sizes),
        "output_norm": config.output_norm,
        "adaptive_cutoffs": list(config.adaptive_cutoffs) if is_adaptive else None,
        "adaptive_factor": config.adaptive_factor,
        "mixture_softmaxes": config.mixture_softmaxes if is_mixture else None,
        "tie_word_embeddings": config.tie_weights,
        "bos_token_id": vocabulary.eos_id,
        "eos_token_id": vocabulary.eos_id,
        "pad_token_id": vocabulary.eos_id,
        "use_cache": True,
        "torch_dtype": str(network.output.bias.dtype).removeprefix("torch."),
    }


def _generation_config(vocabulary: Vocabulary) -> dict[str, Any]:
    return {
        "bos_token_id": vocabulary.eos_id,
        "eos_token_id": vocabulary.eos_id,
        "pad_token_id": vocabulary.eos_id,
        "suppress_tokens": [vocabulary.unk_id],  # as in `LanguageModel.generate`
    }


def _tokenizer(vocabulary: Vocabulary) -> Tokenizer:
    """The tokenizer for typed text: ``<eos>`` before it and at every line end, none behind it."""
    ids = {word: number for number, word in enumerate(vocabulary.words)}
    tokenizer = build_tokenizer(ids, vocabulary.recipe)
    pattern = json.loads(tokenizer.pre_tokenizer.__getstate__())["pattern"]["Regex"]
    tokenizer.normalizer = NormalizerSequence(
        [build_normalizer(vocabulary.recipe), Replace("\n", f" {END_OF_LINE} ")]
    )
    tokenizer.pre_tokenizer = Split(Regex(f"{END_OF_LINE}|{pattern}"), "removed", invert=True)
    tokenizer.post_processor = TemplateProcessing(
        single=f"{END_OF_LINE}:0 $A:0",
        pair=f"{END_OF_LINE}:0 $A:0 {END_OF_LINE}:1 $B:1",
        special_tokens=[(END_OF_LINE, vocabulary.eos_id)],
    )
    tokenizer.add_special_tokens(
        [AddedToken(word, special=True, normalized=False) for word in (UNKNOWN, END_OF_LINE)]
    )
    return tokenizer


def _tokenizer_config(vocabulary: Vocabulary) -> dict[str, Any]:
    return {
        "auto_map": {"AutoTokenizer": [None, f"{TOKENIZATION}.LstmLmTokenizer"]},
        "tokenizer_class": "LstmLmTokenizer",
        "recipe": dataclasses.asdict(vocabulary.recipe),
        "unk_token": UNKNOWN,
        "bos_token": END_OF_LINE,
        "eos_token": END_OF_LINE,
        "pad_token": END_OF_LINE,
        "padding_side": "left",
        "clean_up_tokenization_spaces": False,
    }


def _modeling(cell: str) -> str:
    """The modelling file, with the equations of one cell."""
    cell_type = find_cell(cell)
    module, name = cell_type.__module__, cell_type.__name__
    if not module.startswith("lstm_lm.cells."):
        raise InputError(
            f"cell {cell}: is not one of this package, so its equations cannot be put into the "
            "folder; move its class into lstm_lm/cells"
        )
    found = (
        f"from {module} import {name}\n\n\n"
        f"def find_cell(name: str) -> type[{name}]:\n"
        f'    """Returns the one cell that this file has."""\n'
        f'    assert name == "{cell}", f"this file has the cell {cell}, not {{name}}"\n'
        f"    return {name}\n"
    )
    linear = "from torch.nn import functional as F\n\nlinear = F.linear\n"
    return bundle(f"lstm_lm.integrations.{MODELING}", {"find_cell": found, "linear": linear})


def _json(content: Mapping[str, Any]) -> str:
    return json.dumps(content, indent=2) + "\n"


def _card(network: Network) -> str:
    return f"""---
library_name: transformers
pipeline_tag: text-generation
tags: [lstm_lm, word-level, {network.config.cell}]
---

# A word-level language model

{describe(network)}. Trained with `lstm_lm`; the files here do not need it.

```python
from transformers import pipeline

folder = "path/to/this/folder"
generate = pipeline("text-generation", model=folder, trust_remote_code=True)
generate("I grew up in France. I speak fluent", max_new_tokens=20)
```

The tokenizer splits typed text into words, and puts `<eos>`, the line end, before it. The logits
are log-probabilities of the next word.
"""
