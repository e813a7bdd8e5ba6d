"""Fixed gates: the equations with a number in the gate's place; every cell; nothing else moves."""

import json
import math

import pytest
import torch

from lstm_lm.cells import (
    GRUCell,
    LSTMCell,
    fix_gate_,
    run_fused,
    run_readable,
    states_over,
)
from lstm_lm.cells.registry import find_cell
from lstm_lm.config import settings
from lstm_lm.errors import InputError
from lstm_lm.model.fixing import mean_gates, parse_fixes
from tests.test_cells import E, H, T, random_cell, random_state

CELLS = list(settings.CELLS)
# In these, forget and input gate are shares of each other.
NORMALISED = [
    (name, gate) for name in ("slstm", "min_lstm") for gate in ("forget_gate", "input_gate")
]
LAYERS = [
    (name, gate)
    for name in CELLS
    for gate in find_cell(name)(2, 2).gates()
    if (name, gate) not in NORMALISED
]


@pytest.fixture
def large(make_model):
    """A model whose gates differ from word to word."""

    def make(**changes):
        model = make_model(**changes)
        for parameter in model.network.recurrent.parameters():
            torch.nn.init.normal_(parameter, std=0.7)
        return model

    return make


# --- cells ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("forget", [0.0, 1.0, 0.25])
def test_an_lstm_with_a_fixed_forget_gate_computes_the_equations_with_that_number(forget):
    cell = random_cell(LSTMCell)
    inputs, state = torch.randn(T, 1, E, dtype=torch.float64), random_state(cell, batch=1)
    whole = {
        name: (gate.input_weight, gate.recurrent_weight) for name, gate in cell.gates().items()
    }
    kept = {name: [part.clone() for part in parts] for name, parts in whole.items()}
    fix_gate_(cell, "forget_gate", forget)
    h, c = state
    for x, after in zip(inputs, states_over(cell, inputs, state), strict=True):
        a = {
            name: x @ kept[name][0].T + h @ kept[name][1].T + cell.gates()[name].bias
            for name in ("input_gate", "candidate", "output_gate")
        }
        c = forget * c + torch.sigmoid(a["input_gate"]) * torch.tanh(a["candidate"])
        h = torch.sigmoid(a["output_gate"]) * torch.tanh(c)
        torch.testing.assert_close((after.h, after.c), (h, c))


def test_a_gate_at_its_end_is_exactly_there():
    """So c is exactly the sum, or exactly the last product; in float32, too."""
    for dtype in (torch.float32, torch.float64):
        cell = random_cell(LSTMCell).to(dtype)
        x, state = torch.randn(2, E, dtype=dtype), cell.zero_state(2)
        for gate, ends in (("forget_gate", (0, 1)), ("candidate", (-1, 1))):
            for end in ends:
                fix_gate_(cell, gate, end)
                assert (cell.activations(x, state)[gate] == end).all()


@pytest.mark.parametrize("name, gate", LAYERS)
@pytest.mark.parametrize("value", [0.0, 0.3, 1.0])
def test_every_gate_of_every_cell(name, gate, value):
    """It has the value, the others' layers are untouched, and both ways to run agree."""
    cell = random_cell(find_cell(name))
    before = {key: parameter.clone() for key, parameter in cell.named_parameters()}
    fix_gate_(cell, gate, value)
    inputs, state = torch.randn(T, 4, E, dtype=torch.float64), random_state(cell)
    found = cell.activations(inputs[0], state)[gate]
    torch.testing.assert_close(found, torch.full_like(found, value), rtol=0, atol=1e-12)
    for key, parameter in cell.named_parameters():
        assert key.startswith(gate) or torch.equal(parameter, before[key])
    torch.testing.assert_close(
        run_fused(cell, inputs, state), run_readable(cell, inputs, state), rtol=1e-9, atol=1e-12
    )


@pytest.mark.parametrize("name, gate", LAYERS)
def test_fast_equals_readable_in_float32(name, gate):
    """There the loops are those in C, where this machine has a compiler."""
    cell = random_cell(find_cell(name)).float()
    inputs, state = torch.randn(T, 4, E), random_state(cell)
    for value in (0.0, 1.0):
        fix_gate_(cell, gate, value)
        with torch.no_grad():
            fast, slow = run_fused(cell, inputs, state), run_readable(cell, inputs, state)
        torch.testing.assert_close(fast, slow, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name, gate", NORMALISED)
def test_a_gate_that_is_a_share_of_another_is_refused(name, gate):
    with pytest.raises(InputError, match=f"fix {gate}: "):
        fix_gate_(random_cell(find_cell(name)), gate, 0.5)


def test_a_value_for_every_unit():
    cell, values = random_cell(GRUCell), torch.linspace(0.0, 1.0, H, dtype=torch.float64)
    fix_gate_(cell, "update_gate", values)
    found = cell.activations(torch.randn(3, E, dtype=torch.float64), random_state(cell, batch=3))
    torch.testing.assert_close(found["update_gate"], values.expand(3, H), rtol=0, atol=1e-12)


class ShiftedLSTM(LSTMCell):
    """Its input gate has a bias that is named after nothing."""

    def __init__(self, *sizes):
        super().__init__(*sizes)
        self.extra = torch.nn.Parameter(torch.ones(self.hidden_size))

    def activations(self, x, state):
        shifted = self.input_gate(x, state.h) + self.extra * x.sum()
        return super().activations(x, state) | {"input_gate": torch.sigmoid(shifted)}


def test_what_cannot_be_fixed_is_refused_and_changes_nothing():
    cell = random_cell(ShiftedLSTM)
    before = [parameter.clone() for parameter in cell.parameters()]
    for gate, value, said in (
        ("input_gate", 0.5, "also depends on other gates"),
        ("update_gate", 1, "choose forget_gate or input_gate or candidate or output_gate"),
        ("forget_gate", 1.01, "found 1.01, must be from 0 to 1"),
        ("forget_gate", -0.01, "found -0.01, must be from 0 to 1"),
        ("candidate", -2, "must be from -1 to 1"),
        ("candidate", math.nan, "found nan"),
    ):
        with pytest.raises(InputError, match=said):
            fix_gate_(cell, gate, value)
    assert all(map(torch.equal, before, cell.parameters()))
    fix_gate_(cell, "output_gate", 0.5)


# --- models ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("recurrence", ["fused", "readable"])
def test_the_model_stays_as_it_is(large, recurrence):
    model = large(recurrence=recurrence)
    before = model.score("I grew up in France.")
    weights = {key: value.clone() for key, value in model.network.state_dict().items()}
    fixed = model.with_fixed_gates({"forget_gate": 0.0, "1.output_gate": 1.0})
    layers = fixed.trace("I grew up in France.").layers
    assert all((layer.gates["forget_gate"] == 0).all() for layer in layers)
    assert (layers[1].gates["output_gate"] == 1).all()
    assert (layers[0].gates["output_gate"] != 1).all()
    assert fixed.score("I grew up in France.") != before
    assert model.score("I grew up in France.") == before
    after = model.network.state_dict()
    assert all(torch.equal(weights[key], after[key]) for key in weights)


def test_tied_weights_stay_tied(large):
    fixed = large(tie_weights=True).with_fixed_gates({"forget_gate": 1.0}).network
    assert fixed.output.weight is fixed.embedding.weight


def test_the_mean_is_that_of_the_trace(large):
    model, text = large().in_double_precision(), "I grew up in France. She has a cat."
    traced = model.trace(text).layers
    fixed = model.with_fixed_gates({"forget_gate": "mean", "0.candidate": "mean"}, text)
    layers = fixed.trace("I speak fluent French.").layers
    for layer, gate in ((0, "forget_gate"), (1, "forget_gate"), (0, "candidate")):
        mean = traced[layer].gates[gate].mean(0)
        found = layers[layer].gates[gate]
        torch.testing.assert_close(found, mean.expand_as(found), rtol=0, atol=1e-9)
    assert layers[1].gates["candidate"].std(0).min() > 1e-3


@pytest.mark.parametrize("cell", CELLS)
def test_means_are_taken_over_windows_with_the_state_carried(large, cell, monkeypatch):
    network = large(cell=cell).in_double_precision().network
    ids = [k % network.vocab_size for k in range(23)]
    once = mean_gates(network, ids)
    monkeypatch.setattr("lstm_lm.model.fixing.WINDOW", 5)
    monkeypatch.setattr("lstm_lm.model.fixing.MEAN_WORDS", 20)
    for part, whole in zip(mean_gates(network, ids), mean_gates(network, ids[:20]), strict=True):
        for gate in whole:
            torch.testing.assert_close(part[gate], whole[gate], rtol=0, atol=1e-12)
    monkeypatch.setattr("lstm_lm.model.fixing.MEAN_WORDS", 23)
    for part, whole in zip(mean_gates(network, ids), once, strict=True):
        for gate in whole:
            torch.testing.assert_close(part[gate], whole[gate], rtol=0, atol=1e-12)


def test_what_is_typed():
    typed = ["forget_gate=1", " 0.output_gate = 0.5 ", "candidate=mean", "input_gate=-1e-3"]
    fixes = parse_fixes(typed)
    assert list(fixes.items()) == [
        ("forget_gate", 1.0),
        ("0.output_gate", 0.5),
        ("candidate", "mean"),
        ("input_gate", -0.001),
    ]
    for words in (["forget_gate"], ["=1"], ["forget_gate=high"], ["forget_gate=nan"]):
        with pytest.raises(InputError, match="must be GATE=VALUE"):
            parse_fixes(words)
    with pytest.raises(InputError, match="fix forget_gate: is given twice"):
        parse_fixes(["forget_gate=1", "forget_gate=0"])


def test_layers_and_texts_that_are_not_there(model):
    for fixes, said in (
        ({"2.forget_gate": 1}, "there is no layer 2; the layers are 0 to 1"),
        ({"-1.forget_gate": 1}, "there is no layer -1"),
        ({"forget_gate": 1, "1.forget_gate": 0}, "forget_gate of layer 1 is fixed twice"),
        ({"forget_gate": "mean"}, "the mean needs a text"),
    ):
        with pytest.raises(InputError, match=said):
            model.with_fixed_gates(fixes)
    with pytest.raises(InputError, match="no such gate that can be fixed"):
        model.with_fixed_gates({"update_gate": "mean"}, "I grew up")


def test_the_latch_without_its_gates(latch):
    """It remembers France by its forget gate: with 0 there it is gone after a word."""
    texts = ("France . I speak", "Paris . I speak")

    def memories(model):
        return [float(model.read(text).states[0].c[-1, 3]) for text in texts]

    assert memories(latch)[0] > 0.9 and abs(memories(latch)[1]) < 1e-6
    assert memories(latch.with_fixed_gates({"forget_gate": 0.0})) == pytest.approx([0, 0], abs=1e-6)
    assert memories(latch.with_fixed_gates({"input_gate": 0.0})) == [0, 0]
    always = memories(latch.with_fixed_gates({"input_gate": 1.0}))
    assert always[0] == pytest.approx(always[1]) and always[0] > 3


# --- the command ----------------------------------------------------------------------------------


@pytest.fixture
def suite(tmp_path):
    path = tmp_path / "mine.tsv"
    path.write_text(
        "id\tprefix\ttarget\tfoil\tdistance\tgroup\tpair\n"
        "1\tI grew up in France. I speak fluent\tFrench\tParis\t5\tg\tp\n"
        "2\tI grew up in Paris. I speak fluent\tParis\tFrench\t5\tg\tp\n"
        "3\tI grew\tup\tin\t0\tg\t\n"
    )
    return path


def test_the_command_shows_both_and_the_difference(command, finished_run, suite, tmp_path):
    picture = tmp_path / "p.png"
    words = ("probe", finished_run, suite, "--fix", "forget_gate=0", "--fix", "0.output_gate=mean")
    status, out, err = command(*words, "--plot", picture)
    assert status == 0 and picture.read_bytes().startswith(b"\x89PNG")
    title = "forget_gate=0, 0.output_gate=mean"
    head, first, *_ = out.splitlines()
    assert head.count(title) == 3 and head.count("difference") == 3 and "-gram" not in out
    assert "note: mean: of each unit, over the first 14 words of the valid split" in err
    report = json.loads(command(*words, "--json")[1])
    (found,) = report["suites"]
    alone = json.loads(command("probe", finished_run, suite, "--json")[1])["suites"][0]
    assert report["fixed"] == title and report["baseline"] is None
    assert {**alone, "baseline": None, "fixed": found["fixed"]} == found
    cells = first.split()
    assert cells[:2] == ["all", "3"]
    for k, figure in enumerate(("accuracy", "pair_accuracy", "top_1")):
        before, after = found[figure], found["fixed"][figure]
        assert cells[2 + 3 * k : 5 + 3 * k] == [
            f"{before:.1%}",
            f"{after:.1%}",
            f"{100 * (after - before):+.1f}",
        ]


def test_the_answers_are_those_of_the_fixed_model(command, finished_run, suite):
    from lstm_lm import LanguageModel
    from lstm_lm.probes.asking import NetworkReader, iterate_scores
    from lstm_lm.probes.report import summarise
    from lstm_lm.probes.suites import find_suite

    model = LanguageModel.from_pretrained(finished_run).with_fixed_gates({"input_gate": 0.0})
    scores = iterate_scores(NetworkReader(model), find_suite(str(suite)))
    expected = summarise(scores, len(model.vocabulary))
    report = json.loads(command("probe", finished_run, suite, "--fix", "input_gate=0", "--json")[1])
    assert report["suites"][0]["fixed"] == json.loads(json.dumps(expected))
    assert report["suites"][0]["fixed"]["gain"] == 0  # what is not written is not remembered


def test_mistakes(refused, finished_run, suite):
    for words, said in (
        (("--fix", "forget_gate"), "must be GATE=VALUE"),
        (("--fix", "update_gate=1"), "LSTM has no such gate"),
        (("--fix", "forget_gate=2"), "must be from 0 to 1, or mean"),
        (("--fix", "3.forget_gate=1"), "there is no layer 3"),
        (("--fix", "forget_gate=1", "--order", 3), "--order: has no effect with --fix"),
    ):
        assert said in refused("probe", finished_run, suite, *words)
