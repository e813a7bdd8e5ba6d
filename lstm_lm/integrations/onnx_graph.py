"""A model as an ONNX graph of one step, for phones, browsers and servers without torch.

``lstm-lm export RUN app.onnx`` writes two files. ``app.onnx`` is the graph: one word and the state
before it go in, the log-probabilities of the next word and the state after it come out.
``app.json`` says what a program must know to use it: the words, the shapes, and an example.

The graph is the cell's own `forward`, recorded by `torch.export` and translated operator by
operator (`lstm_lm.integrations.onnx_operators`). So there is no second version of any cell's
equations. A matrix that is used twice, such as the word vectors of a tied model, is stored once.

Shapes: B batch, E embedding_dim, H hidden_size of a layer, V vocab_size.
"""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from lstm_lm.errors import InputError, MissingExtra
from lstm_lm.files.atomic import Content
from lstm_lm.integrations.onnx_operators import GraphBuilder
from lstm_lm.model.language_model import LanguageModel
from lstm_lm.model.network import Network
from lstm_lm.model.recurrent import LayerStates

FORMAT_VERSION = 1
OPSET, IR_VERSION = 17, 8  # read by onnxruntime 1.12 (2022) and newer
MAX_BYTES = 2**31 - 2**24  # of weights: a file of protocol buffers has less than 2 GiB

EXAMPLE = '''\
"""python example.py I grew up in France .     (words as the model's text has them)"""
import json
import sys

import numpy
import onnxruntime

about = json.load(open("{json}", encoding="utf-8"))
ids = {{word: number for number, word in enumerate(about["words"])}}
session = onnxruntime.InferenceSession("{onnx}")
state = {{one["name"]: numpy.zeros((1, one["shape"][1]), "float32") for one in about["inputs"][1:]}}

for word in ["<eos>", *sys.argv[1:]]:  # a line begins after the end of another one
    number = numpy.array([ids.get(word, about["unk_id"])])
    scores, *after = session.run(None, {{"word": number, **state}})
    state = dict(zip(state, after))

for number in scores[0].argsort()[:-6:-1]:
    print(about["words"][number], numpy.exp(scores[0][number]))
'''


def files(model: LanguageModel, target: Path, quantize: str | None) -> dict[Path, Content]:
    """The graph and the description beside it.

    Args:
        model: of any cell.
        target: the graph's path; the description has the same name with the ending ``.json``.
        quantize: None, or ``int8``: matrices as int8 with a scale for each row.

    Returns:
        Path -> content of both files.

    Raises:
        MissingExtra: onnx is not installed.
        InputError: another kind of quantisation, a name that ends in ``.json``, a network that is
            too large for one file, or a cell with an operator that has no translation.
    """
    if quantize not in (None, "int8"):
        raise InputError(f"--quantize {quantize}: an ONNX file has int8, or leave --quantize out")
    beside = target.with_suffix(".json")
    if beside == target:
        raise InputError(f"{target}: is the name of the description; end the graph in .onnx")
    graph = one_step_graph(model.network, quantize)
    description = describe(model, graph, target.name, beside.name)
    text = json.dumps(description, ensure_ascii=False, indent=1) + "\n"
    return {target: graph.SerializeToString(), beside: text}


class OneStep(nn.Module):
    """One word: ``word (B,)`` and the state before it -> what the graph returns."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network

    def forward(self, word: Tensor, state: LayerStates) -> tuple[Tensor, LayerStates]:
        """Log-probabilities ``(B, V)`` of the next word, and the state after ``word (B,)``."""
        network, x, after = self.network, self.network.embed(word), []
        for cell, before in zip(network.recurrent.cells, state, strict=True):
            after.append(cell(x, before))
            x = after[-1][0]
        return network.output.log_probabilities(network.projection(network.norm(x))), after


def one_step_graph(network: Network, quantize: str | None = None) -> Any:
    """The graph of one step, an ``onnx.ModelProto``.

    Inputs are ``word (batch,)``, int64, and every part of every layer's state, ``h_0``, ``c_0``,
    ``h_1``, ..., float32 ``(batch, H)``; zeros before the first word. Outputs are
    ``log_probabilities (batch, V)`` in nats, and ``next_h_0``, ``next_c_0``, ...
    """
    try:
        from onnx import checker
    except ImportError:
        raise MissingExtra("onnx", "onnx", "export to ONNX") from None

    size = network.parameter_count * (1 if quantize else 4)
    if size > MAX_BYTES:
        raise InputError(
            f"the network has {size / 2**30:.1f} GiB of weights, and an ONNX file holds less than "
            "2; " + ("train a smaller one" if quantize else "add --quantize int8")
        )
    step = OneStep(network.to("cpu").float().eval())
    recorded = record(step)
    parts = state_parts(network)
    builder = GraphBuilder(step, recorded, quantize == "int8")
    outputs = ["log_probabilities", *(f"next_{name}" for name, _ in parts)]
    graph = builder.build(["word", *(name for name, _ in parts)], outputs, OPSET, IR_VERSION)
    checker.check_model(graph, full_check=True)
    return graph


def record(step: OneStep) -> torch.export.ExportedProgram:
    """Records one step with a batch of any size."""
    state = step.network.initial_state(2)
    batch = torch.export.Dim("batch")
    sizes: list[Any] = [{0: batch}, [type(one)(*({0: batch} for _ in one)) for one in state]]
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # about torch's own insides
        return torch.export.export(
            step, (torch.zeros(2, dtype=torch.int64), state), dynamic_shapes=sizes
        )


def state_parts(network: Network) -> list[tuple[str, int]]:
    """Name and width H of every part of the state: ``h_0``, ``c_0``, ``h_1``, ...; layer first."""
    return [
        (f"{field}_{layer}", cell.hidden_size)
        for layer, cell in enumerate(network.recurrent.cells)
        for field in cell.state_type._fields
    ]


def describe(model: LanguageModel, graph: Any, onnx_name: str, json_name: str) -> dict[str, Any]:
    """What ``app.json`` has: the words, the shapes, how text is split, and the example."""
    vocabulary, parts = model.vocabulary, state_parts(model.network)
    tokenizer = json.loads(vocabulary.to_json())
    states = [{"dtype": "float32", "shape": ["batch", width]} for _, width in parts]
    names = [name for name, _ in parts]
    return {
        "made_by": "lstm-lm export",
        "format_version": FORMAT_VERSION,
        "model": model.describe(),
        "graph": onnx_name,
        "inputs": [
            {"name": "word", "dtype": "int64", "shape": ["batch"]},
            *({"name": name} | state for name, state in zip(names, states, strict=True)),
        ],
        "outputs": [
            {
                "name": "log_probabilities",
                "dtype": "float32",
                "shape": ["batch", len(vocabulary)],
            },
            *({"name": f"next_{name}"} | state for name, state in zip(names, states, strict=True)),
        ],
        "example": EXAMPLE.format(json=json_name, onnx=onnx_name).splitlines(),
        "tokenization": vocabulary.tokenization,
        "tokenizer": {key: tokenizer[key] for key in ("normalizer", "pre_tokenizer")},
        "unk_id": vocabulary.unk_id,
        "eos_id": vocabulary.eos_id,
        "words": vocabulary.words,
    }
