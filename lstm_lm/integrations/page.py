"""A model as one HTML file to type into: no network, no server, no library.

The file holds the words, the weights (int8 by default), and the program in ``typing_page/``: the
splitting of typed text (``words.js``), the network (``network.js``), the cell (``cells/NAME.js``,
which reads like ``lstm_lm/cells/NAME.py``), and what is shown (``view.js``). A cell without such a
file is refused.

The browser runs only the script whose hash stands in the page's security policy, and loads nothing.
"""

from __future__ import annotations

import base64
import hashlib
import json
import textwrap
from dataclasses import replace
from importlib.resources import files as packaged_files
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from lstm_lm.cells import find_cell
from lstm_lm.config.docstrings import docstring_of
from lstm_lm.corpus.vocabulary import Vocabulary
from lstm_lm.corpus.word_rules import UNSPACED
from lstm_lm.errors import InputError
from lstm_lm.files.atomic import Content
from lstm_lm.inspection.appearance import gate_styles, memory_title
from lstm_lm.integrations.javascript_patterns import browser_tokenizer
from lstm_lm.integrations.quantization import rounded_model, to_int8
from lstm_lm.model.language_model import LanguageModel

DEFAULT_QUANTIZATION = "int8"  # float16 is twice as large, and no better in what it predicts
FOLDER = "typing_page"
SCRIPTS = ("network.js", "words.js", "view.js")  # the cell's equations stand before them
EXAMPLES, EXAMPLE_WORDS = 3, 7


def files(model: LanguageModel, target: Path, quantize: str | None) -> dict[Path, Content]:
    """The page.

    Args:
        model: of a cell whose equations are in ``typing_page/cells``.
        target: the page's path.
        quantize: ``int8`` (if None) or ``float16``: how matrices are stored.

    Raises:
        InputError: the page has no equations of this cell.
    """
    return {target: render(model, quantize or DEFAULT_QUANTIZATION)}


def render(model: LanguageModel, quantize: str = DEFAULT_QUANTIZATION) -> str:
    """The page as text; arguments and errors are those of `files`."""
    name = model.config.cell
    if name not in cells_with_equations():
        raise InputError(
            f"the page has no equations of the cell {name} in JavaScript; it has "
            + ", ".join(cells_with_equations())
        )
    source = ['"use strict";', _read(f"cells/{name}.js"), *map(_read, SCRIPTS)]
    script, style = "\n".join(source), _read("style.css")
    # Within <script>, HTML looks for "</script" and "<!--". Without any "<" it finds neither.
    data = json.dumps(describe(model, quantize), ensure_ascii=False, separators=(",", ":"))
    policy = (
        f"default-src 'none'; script-src '{_hash(script)}'; style-src '{_hash(style)}'; "
        "base-uri 'none'; form-action 'none'"
    )
    page = _read("page.html")
    for field, text in {
        "POLICY": policy,
        "STYLE": style,
        "SCRIPT": script,
        "DATA": data.replace("<", "\\u003c"),  # last: words are never searched for fields
    }.items():
        page = page.replace(f"{{{{{field}}}}}", text, 1)
    return page


def cells_with_equations() -> list[str]:
    """The names of the cells whose equations the page has in JavaScript."""
    folder = packaged_files("lstm_lm.integrations").joinpath(FOLDER).joinpath("cells")
    return sorted(
        entry.name.removesuffix(".js") for entry in folder.iterdir() if entry.name.endswith(".js")
    )


def describe(model: LanguageModel, quantize: str) -> dict[str, Any]:
    """Everything that the page's program needs to know: sizes, weights, words and titles."""
    network, vocabulary, config = model.network, model.vocabulary, model.config
    cell = find_cell(config.cell)
    natural = None
    if vocabulary.tokenization == "whitespace":
        recipe = replace(vocabulary.recipe, tokenization="words", lowercase=False)
        natural = browser_tokenizer(Vocabulary(vocabulary.words[:2], recipe))
    return {
        "model": model.describe(),
        "weights": f"Its weights are stored as {quantize}.",
        "equations": equations(config.cell),
        "examples": examples(model, quantize),
        "memory": memory_title(config.cell),
        "gates": {
            gate: {
                "title": style.title,
                "meaning": style.meaning,
                "colour": style.colour,
                "signed": gate == "candidate",
            }
            for gate, style in gate_styles(config.cell).items()
        },
        "keep_gate": cell.keep_gate,
        "state": list(cell.state_type._fields),
        "hidden_sizes": [cell.hidden_size for cell in network.recurrent.cells],
        "scale": config.embedding_dim**0.5,
        "epsilon": getattr(network.norm, "eps", 0),
        "ends": getattr(network.output, "ends", [len(vocabulary)]),
        "tensors": {
            name: stored(parameter.detach(), quantize)
            for name, parameter in network.named_parameters()
        },
        "tokenizer": browser_tokenizer(vocabulary),
        "natural": natural,
        "words": vocabulary.words,
        **written_forms(vocabulary),
    }


def stored(tensor: Tensor, quantize: str) -> dict[str, Any]:
    """A parameter as the page reads it: its shape, its type, and its numbers in base 64."""
    tensor = tensor.detach().to("cpu").float()
    shape, scales = list(tensor.shape), {}
    kind = quantize if tensor.ndim == 2 else "float32"
    if kind == "int8":
        tensor, row_scales = to_int8(tensor)
        scales = {"scales": _base64(row_scales.numpy().astype("<f4"))}
    numbers = tensor.numpy().astype({"int8": "i1", "float16": "<f2", "float32": "<f4"}[kind])
    return {"shape": shape, "type": kind, "values": _base64(numbers), **scales}


def equations(cell: str) -> str:
    """The equations of a cell, from its docstring."""
    lines = docstring_of(find_cell(cell)).split("::\n", 1)[-1].split("\n")
    start = next((k for k, line in enumerate(lines) if " = " in line), 0)
    block = []
    for line in lines[start:]:
        if not line.strip():
            break
        block.append(line)
    return textwrap.dedent("\n".join(block))


def examples(model: LanguageModel, quantize: str) -> list[str]:
    """The beginnings of some texts of the model's own, the same at every export."""
    model = rounded_model(model, quantize)
    eos = model.vocabulary.words[model.vocabulary.eos_id]
    found = []
    for seed in range(4 * EXAMPLES):
        words = list(model.iterate_words("", EXAMPLE_WORDS, temperature=0.8, top_k=20, seed=seed))
        text = model.vocabulary.display(words[: (words + [eos]).index(eos)])
        if text and text not in found:
            found.append(text)
    return found[:EXAMPLES]


def written_forms(vocabulary: Vocabulary) -> dict[str, Any]:
    """How the words of a vocabulary are written into a text.

    Returns:
        ``shown``: id -> what is written, where it is not the word itself (``@-@`` is ``-``);
        ``tight_before`` and ``tight_after``: ids of words without a space before, or after them;
        ``unspaced``: characters between which no space stands, as ranges of a character class.
    """
    shown, before, after = {}, [], []
    for number, word in enumerate(vocabulary.words):
        if number in (vocabulary.unk_id, vocabulary.eos_id):
            continue
        form = vocabulary.display([word])
        if form != word:
            shown[number] = form
        if vocabulary.display(["a", word]) == f"a{form}":
            before.append(number)
        if vocabulary.display([word, "a"]) == f"{form}a":
            after.append(number)
    return {
        "shown": shown,
        "tight_before": before,
        "tight_after": after,
        "unspaced": UNSPACED if vocabulary.recipe.separate_characters else "",
    }


def _read(name: str) -> str:
    found = packaged_files("lstm_lm.integrations").joinpath(FOLDER)
    for part in name.split("/"):
        found = found.joinpath(part)
    return found.read_text(encoding="utf-8")


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _base64(numbers: np.ndarray) -> str:
    return base64.b64encode(numbers.tobytes()).decode()
