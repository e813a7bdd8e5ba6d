"""A model answers alike in every mode of torch, and leaves the mode as it was."""

import copy
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch

import lstm_lm
from lstm_lm.evaluation.accuracy import measure_accuracy
from lstm_lm.evaluation.perplexity import measure_perplexity
from lstm_lm.model.measuring import LineReader
from lstm_lm.probes.asking import NetworkReader, iterate_scores
from lstm_lm.probes.items import Item

ROOT = Path(__file__).parent.parent
TEXT = "I grew up in France ."
DROPS = dict.fromkeys(
    ["embedding_dropout", "input_dropout", "hidden_dropout", "output_dropout", "weight_dropout"],
    0.5,
)
OUTPUTS = {
    "full": {},
    "untied": {"tie_weights": False},
    "sampled": {"output": "sampled"},
    "adaptive": {"output": "adaptive", "adaptive_cutoffs": (5,)},
}


def _session(model):
    session = model.session()
    session.feed(TEXT)
    return session.predict()


def _probed(model):
    items = [Item("a", "I grew up in", "France", "Paris")]
    return list(map(str, iterate_scores(NetworkReader(model), items)))


ANSWERS = {
    "predict_next": lambda model: model.predict_next(TEXT),
    "score": lambda model: model.score(TEXT),
    "scores": lambda model: model.score([TEXT, TEXT]),
    "perplexity": lambda model: model.perplexity(TEXT),
    "session": _session,
    "generate": lambda model: model.generate("I", 5, seed=1),
    "beam": lambda model: model.generate("I", 5, beam=2),
    "words": lambda model: list(model.iterate_words("I", 5, seed=1)),
    "trace": lambda model: model.trace(TEXT).word_gradient.tolist(),
    "read": lambda model: [state.h.tolist() for state in model.read(TEXT).states],
    "probe": _probed,
    "measure": lambda model: measure_perplexity(model, model.vocabulary.ids_of(TEXT.split())),
    "accuracy": lambda model: measure_accuracy(model, model.vocabulary.ids_of(TEXT.split())),
}


@pytest.mark.parametrize("answer", ANSWERS)
def test_a_model_that_is_trained_answers_as_in_evaluation(make_model, answer):
    model = make_model(**DROPS)
    expected = ANSWERS[answer](model)
    model.network.train()
    assert ANSWERS[answer](model) == expected
    assert all(module.training for module in model.network.modules())


def test_threads_may_ask_a_model_that_is_trained(make_model):
    model = make_model(**DROPS)
    expected = model.predict_next(TEXT)
    model.network.train()
    with ThreadPoolExecutor(4) as threads:
        assert set(map(str, threads.map(model.predict_next, [TEXT] * 40))) == {str(expected)}


@pytest.mark.parametrize("output", OUTPUTS)
def test_an_answer_in_training_is_that_of_the_weights_of_now(make_model, output):
    model = make_model(**DROPS, **OUTPUTS[output])
    model.network.train()
    session = model.session()
    evaluated = model.network.in_evaluation_mode()
    assert {id(p) for p in evaluated.parameters()} == {id(p) for p in model.network.parameters()}
    with torch.no_grad():
        for parameter in model.network.parameters():
            parameter.add_(0.1)
    session.feed(TEXT)
    found = session.predict()
    assert [p.word for p in found] == [p.word for p in model.predict_next(TEXT)]
    assert model.network.eval() and model.network.in_evaluation_mode() is model.network


@pytest.mark.parametrize("answer", ANSWERS)
@pytest.mark.parametrize("mode", [torch.inference_mode, torch.no_grad, torch.enable_grad])
def test_a_model_answers_alike_in_every_mode_of_torch(make_model, answer, mode):
    model = make_model()
    expected = ANSWERS[answer](model)
    with mode():
        assert ANSWERS[answer](model) == expected


@pytest.mark.parametrize("mode", [torch.inference_mode, torch.no_grad])
def test_a_reader_that_learns_does_so_where_the_caller_needs_no_gradients(make_model, mode):
    model, found = make_model(), []
    ids = [*model.vocabulary.ids_of(TEXT.split()), model.vocabulary.eos_id]
    for context in (torch.enable_grad, mode):
        with context():
            reader = LineReader(model.network, model.vocabulary, carry=True, adapt=0.1)
            found.append([reader.read(ids).nll.tolist() for _ in range(2)])
    assert found[0] == found[1] and found[0][0] != found[0][1]


@pytest.mark.parametrize("output", OUTPUTS)
def test_a_model_that_was_made_in_inference_mode_can_be_traced(make_model, output):
    model = make_model(**OUTPUTS[output])
    with torch.inference_mode():
        made = copy.deepcopy(model)
    assert made.trace(TEXT).word_gradient.equal(model.trace(TEXT).word_gradient)


@pytest.mark.parametrize("mode", [torch.inference_mode, torch.no_grad])
def test_training_works_where_the_caller_needs_no_gradients(config, tmp_path, mode):
    settings = {"training.max_steps": 2}
    expected = lstm_lm.train(config, tmp_path / "expected", **settings)
    with mode():
        run = lstm_lm.train(config, tmp_path / "run", **settings)
        assert torch.is_inference_mode_enabled() == (mode is torch.inference_mode)
    assert run.perplexity == expected.perplexity


@pytest.mark.parametrize("output", OUTPUTS)
@pytest.mark.parametrize("inside", [False, True])
def test_tied_weights_stay_tied_when_a_state_dict_is_assigned(make_model, output, inside):
    model, other = make_model(**OUTPUTS[output]), make_model(seed=1, **OUTPUTS[output])
    network = copy.deepcopy(model.network)  # a hook must not keep the first one
    if inside:
        outer = torch.nn.ModuleDict({"network": network})
        outer.load_state_dict(
            {f"network.{name}": t for name, t in other.network.state_dict().items()}, assign=True
        )
    else:
        network.load_state_dict(other.network.state_dict(), assign=True)
    assert network.parameter_count == other.network.parameter_count
    is_tied = output in ("full", "sampled")
    if is_tied or output == "untied":
        assert (network.output.weight is network.embedding.weight) == is_tied
    expected = other.network(torch.tensor([[1], [2]]))[0]
    assert network(torch.tensor([[1], [2]]))[0].equal(expected)


@pytest.mark.slow
def test_python_without_docstrings_has_the_same_help(finished_run, tmp_path):
    shown = []
    for options in ([], ["-OO"]):
        out = tmp_path / f"page{len(options)}.html"
        done = [
            subprocess.run(
                [sys.executable, *options, "-m", "lstm_lm", *words],
                cwd=ROOT,
                capture_output=True,
                text=True,
                check=True,
            ).stdout.replace(str(out), "")
            for words in (
                ["--help"],
                ["train", "--help"],
                ["settings"],
                ["predict", str(finished_run), TEXT],
                ["export", str(finished_run), str(out)],
            )
        ]
        shown.append([*done, out.read_text()])
    assert shown[0] == shown[1] and "Ctrl-C" in shown[0][1]
