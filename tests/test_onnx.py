"""The ONNX graph of one step: it equals the model, without torch and without lstm_lm."""

import json
import random
import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch

from lstm_lm import LanguageModel
from lstm_lm.cells import Cell, GateLayer, HiddenState, register_cell
from lstm_lm.config import ModelConfig
from lstm_lm.config.settings import CELLS
from lstm_lm.corpus.tokenization import Recipe
from lstm_lm.corpus.vocabulary import Vocabulary
from lstm_lm.integrations import onnx_graph
from lstm_lm.integrations.onnx_graph import one_step_graph, state_parts
from lstm_lm.integrations.quantization import from_int8, rounded_model, to_int8

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")

# Run by a Python in which neither torch nor lstm_lm can be imported.
READER = """
import sys
sys.modules["torch"] = sys.modules["lstm_lm"] = None
import json, numpy, onnxruntime
about, texts = (json.load(open(name, encoding="utf-8")) for name in ("app.json", "texts.json"))
ids = {word: number for number, word in enumerate(about["words"])}
session, found = onnxruntime.InferenceSession("app.onnx"), []
for words in texts:
    parts = {one["name"]: one["shape"][1] for one in about["inputs"][1:]}
    state = {name: numpy.zeros((1, width), "float32") for name, width in parts.items()}
    for word in ["<eos>", *words]:
        word = numpy.array([ids.get(word, about["unk_id"])])
        scores, *after = session.run(None, {"word": word, **state})
        state = dict(zip(state, after))
    scores[0][about["unk_id"]] = -numpy.inf
    found.append([[about["words"][n], float(scores[0][n])] for n in scores[0].argsort()[:-6:-1]])
print(json.dumps(found))
"""


def python(folder, *arguments):
    done = subprocess.run(
        [sys.executable, "-I", *arguments], cwd=folder, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def read_with_graph(graph, network, ids):
    """Log-probabilities ``(T, B, V)`` after each of ``ids (T, B)``."""
    session = onnxruntime.InferenceSession(graph.SerializeToString())
    state = {
        name: np.zeros((ids.shape[1], width), np.float32) for name, width in state_parts(network)
    }
    scores = []
    for word in ids.numpy():
        found, *after = session.run(None, {"word": word, **state})
        state = dict(zip(state, after, strict=True))
        scores.append(torch.from_numpy(found))
    return torch.stack(scores)


@pytest.mark.slow
@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"tie_weights": False, "output_norm": False, "hidden_size": (5, 9)},
        {"output": "adaptive", "adaptive_cutoffs": (5, 9), "embedding_dim": 8},
        {"output": "mos", "mixture_softmaxes": 3},
    ],
    ids=["tied", "untied", "adaptive", "mixture"],
)
def test_a_graph_equals_the_network(make_model, cell, settings):
    network = make_model(cell=cell, **settings).network
    ids = torch.randint(network.vocab_size, (12, 3))
    with torch.no_grad():
        expected, _ = network(ids)
    torch.testing.assert_close(
        read_with_graph(one_step_graph(network), network, ids), expected, atol=2e-5, rtol=0
    )


@pytest.mark.parametrize("output", ["adaptive", "mos"])
def test_int8_is_the_rounded_network(make_model, output):
    model = make_model(output=output, adaptive_cutoffs=(5, 9), embedding_dim=8)
    ids = torch.randint(model.network.vocab_size, (12, 2))
    before = [parameter.clone() for parameter in model.network.parameters()]
    with torch.no_grad():
        expected, _ = rounded_model(model, "int8").network(ids)
        plain, _ = model.network(ids)
    found = read_with_graph(one_step_graph(model.network, "int8"), model.network, ids)
    torch.testing.assert_close(found, expected, atol=2e-5, rtol=0)
    assert 1e-4 < (found - plain).abs().max() < 0.1
    assert all(map(torch.equal, before, model.network.parameters()))


def test_a_row_of_int8_keeps_its_own_range():
    matrix = torch.tensor([[1e-3, -5e-4, 0], [100, 3, -127], [0, 0, 0]])
    integers, scales = to_int8(matrix)
    assert integers.tolist() == [[127, -64, 0], [100, 3, -127], [0, 0, 0]]
    assert scales.shape == (3, 1) and scales[2] == 1
    assert ((from_int8(integers, scales) - matrix).abs() <= scales / 2 + 1e-9).all()


@pytest.mark.slow
def test_onnxruntime_alone_gives_the_top_five_of_1000_prompts(finished_run, command, tmp_path):
    status, out, _ = command("export", finished_run, tmp_path / "app.onnx", "--json")
    assert status == 0
    told = json.loads(out)
    assert told["files"] == {
        str(tmp_path / name): (tmp_path / name).stat().st_size for name in ("app.onnx", "app.json")
    }
    model, draw = LanguageModel.from_pretrained(finished_run), random.Random(0)
    words = [*model.vocabulary.words[2:], "<eos>", "Xyzzy"]
    texts = [draw.choices(words, k=draw.randint(0, 9)) for _ in range(1000)]
    (tmp_path / "texts.json").write_text(json.dumps(texts))
    found = json.loads(python(tmp_path, "-c", READER))
    assert len(found) == len(texts) == 1000
    for text, guesses in zip(texts, found, strict=True):
        typed = " ".join(text).replace(" <eos> ", "\n").replace("<eos> ", "\n")
        expected = model.predict_next(typed.replace(" <eos>", "\n").replace("<eos>", "\n"))
        assert [word for word, _ in guesses] == [guess.word for guess in expected], text
        for (_, score), guess in zip(guesses, expected, strict=True):
            assert score == pytest.approx(guess.log_probability, abs=1e-4)


def test_the_example_of_the_description_runs_as_it_is(make_model, tmp_path):
    model = make_model(cell="gru")
    for path, content in onnx_graph.files(model, tmp_path / "app.onnx", "int8").items():
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    about = json.loads((tmp_path / "app.json").read_text(encoding="utf-8"))
    assert 15 <= len(about["example"]) <= 25 and about["words"] == model.vocabulary.words
    assert {name for name in ("json", "numpy", "onnxruntime", "sys")} == {
        line.split()[1] for line in about["example"] if line.startswith("import ")
    }
    (tmp_path / "example.py").write_text("\n".join(about["example"]))
    out = python(tmp_path, "example.py", "I", "grew", "up", "in", "France", ".")
    wanted = rounded_model(model, "int8").predict_next("I grew up in France.", include_unknown=True)
    assert [line.split()[0] for line in out.splitlines()] == [guess.word for guess in wanted]
    assert [float(line.split()[1]) for line in out.splitlines()] == [
        pytest.approx(guess.probability, abs=1e-4) for guess in wanted
    ]
    shapes = {one["name"]: one["shape"] for one in about["inputs"] + about["outputs"]}
    graph = onnx.load(tmp_path / "app.onnx").graph
    assert shapes == {
        value.name: [size.dim_param or size.dim_value for size in value.type.tensor_type.shape.dim]
        for value in (*graph.input, *graph.output)
    }


def test_sizes(tmp_path):
    """A keyboard's model: 2 million parameters, 16,384 words, tied."""
    words = ["<unk>", "<eos>", *(f"w{number}" for number in range(16_382))]
    vocabulary = Vocabulary(words, Recipe("words"))
    config = ModelConfig(embedding_dim=96, hidden_size=256, num_layers=1)
    model = LanguageModel.from_config(config, vocabulary)
    assert 1.9e6 < model.network.parameter_count < 2.1e6
    sizes = {}
    for kind in (None, "int8"):
        contents = onnx_graph.files(model, tmp_path / "app.onnx", kind)
        sizes[kind] = [len(content) for content in contents.values()]
    assert sizes["int8"][0] <= 2.5e6 and sum(sizes["int8"]) <= 2.5e6
    # a tied matrix is stored once
    assert sizes[None][0] < 4 * model.network.parameter_count + 20_000


@pytest.mark.slow
def test_int8_keeps_the_perplexity(command, config, tmp_path):
    settings = ["model.hidden_size=48", "model.embedding_dim=32", "training.max_steps=150"]
    assert command("train", config, *settings, "--output", tmp_path / "run")[0] == 0
    model = LanguageModel.from_pretrained(tmp_path / "run")
    text = "She has a home in Paris, and a cat.\nI speak fluent French.\nI grew up in Paris.\n"
    rounded = rounded_model(model, "int8")
    assert float(model.perplexity(text)) < 5
    assert float(rounded.perplexity(text)) == pytest.approx(float(model.perplexity(text)), rel=0.01)
    assert float(rounded.perplexity(text)) != float(model.perplexity(text))


@pytest.mark.parametrize(
    "name, options, problem",
    [
        ("app.onnx", ["--quantize", "float16"], "float16"),
        ("app.json", ["--format", "onnx"], "end the graph in .onnx"),
        ("app.xyz", [], "its ending says no format"),
        ("there.onnx", [], "is there already"),
        ("beside.onnx", [], "is there already"),
    ],
)
def test_mistakes_are_one_line(refused, finished_run, tmp_path, name, options, problem):
    (tmp_path / "there.onnx").write_text("kept")
    (tmp_path / "beside.json").write_text("kept")
    assert problem in refused("export", finished_run, tmp_path / name, *options)
    assert {path.read_text() for path in tmp_path.glob("*.*")} == {"kept"}


def test_a_missing_package_and_a_damaged_run_are_one_line(refused, a_run, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "onnx", None)
        assert 'pip install "lstm_lm[onnx]"' in refused("export", a_run, tmp_path / "app.onnx")
    weights = a_run / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    assert "model.safetensors" in refused("export", a_run, tmp_path / "app.onnx")
    shutil.rmtree(a_run)
    assert "no such directory" in refused("export", a_run, tmp_path / "app.onnx")
    assert not list(tmp_path.glob("app.*"))


class WaveCell(Cell):
    """A stranger's cell with an operator that has no translation."""

    title = "wave"
    gate_meanings = {"candidate": "what could be written"}

    def __init__(self, input_size, hidden_size, memory_words=None):
        super().__init__(input_size, hidden_size)
        self.candidate = GateLayer(input_size, hidden_size)

    def activations(self, x, state):
        return {"candidate": torch.sin(self.candidate(x, state.h))}

    def forward(self, x, state):
        return HiddenState(self.activations(x, state)["candidate"])


def test_a_cell_without_a_graph_is_refused(make_model):
    register_cell("wave", WaveCell)
    try:
        with pytest.raises(onnx_graph.InputError, match=r"sin\.default.*no translation"):
            one_step_graph(make_model(cell="wave").network)
    finally:
        del CELLS["wave"]


def test_a_network_above_two_gigabytes_is_refused(make_model, monkeypatch):
    monkeypatch.setattr(onnx_graph, "MAX_BYTES", 100)
    with pytest.raises(onnx_graph.InputError, match="--quantize int8"):
        one_step_graph(make_model().network)
