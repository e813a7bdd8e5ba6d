"""Laws of the trace: the cell stepped by hand, finite differences, what units hold and carry."""

import math

import pytest
import torch

from lstm_lm.config import settings
from lstm_lm.errors import InputError
from lstm_lm.inspection.units import (
    MAX_MATCHED_WORDS,
    carried_loads,
    find_carriers,
    find_matches,
    half_lives,
    select_units,
    swapped_words,
)
from lstm_lm.model.reading import prompt_words
from lstm_lm.model.trace import LayerTrace, Trace
from tests.cell_equations import step_by_hand

TEXT = "I grew up in Paris."
CELLS = list(settings.CELLS)


@pytest.fixture
def exact(make_model):
    """A model in float64 whose weights are large enough for the gates to differ."""

    def make(cell, **settings):
        model = make_model(cell=cell, **settings).in_double_precision()
        for parameter in model.network.recurrent.parameters():
            torch.nn.init.normal_(parameter, std=0.7)
        return model

    return make


@torch.no_grad()
def read_by_hand(model, vectors, nudge=None):
    """Reads vectors (T, E) layer by layer; ``nudge``: (layer, word, what to add to its memory)."""
    told = []
    for layer, cell in enumerate(model.network.recurrent.cells):
        zeros = torch.zeros(cell.hidden_size, dtype=torch.float64)
        state, steps = cell.state_type(*(zeros for _ in cell.state_type._fields)), []
        for t, x in enumerate(vectors):
            added = nudge[2] if nudge and nudge[:2] == (layer, t) else zeros
            gates, state = step_by_hand(cell, x, state, added)
            steps.append((gates, state[0], state[-1]))
        told.append(steps)
        vectors = [h for _, h, _ in steps]
    network = model.network
    hidden = network.projection(network.norm(torch.stack(vectors)))
    scores = hidden @ network.output.weight.T + network.output.bias
    return told, torch.log_softmax(scores, dim=-1)


def ids_of(model, text):
    return model.vocabulary.ids_of(prompt_words(model.vocabulary, text))


def vectors_of(model, text):
    vectors = model.network.embedding.weight.detach()[ids_of(model, text)]
    return vectors * math.sqrt(model.config.embedding_dim)


@pytest.mark.parametrize("cell", CELLS)
def test_a_trace_is_the_cell_stepped_by_hand(exact, cell):
    model = exact(cell, hidden_size=(7, 5), num_layers=2)
    trace = model.trace(TEXT)
    told, log_probabilities = read_by_hand(model, vectors_of(model, TEXT))
    for layer, steps in zip(trace.layers, told, strict=True):
        assert layer.h.shape == layer.c.shape == (len(trace.words) + 1, layer.h.shape[1])
        assert not layer.h[0].any() and not layer.c[0].any()
        assert list(layer.gates) == list(steps[0][0])
        for t, (gates, h, c) in enumerate(steps):
            torch.testing.assert_close(layer.h[t + 1], h, rtol=0, atol=1e-12)
            torch.testing.assert_close(layer.c[t + 1], c, rtol=0, atol=1e-12)
            for name, activation in gates.items():
                torch.testing.assert_close(layer.gates[name][t], activation, rtol=0, atol=1e-12)
    torch.testing.assert_close(trace.log_probabilities, log_probabilities, rtol=0, atol=1e-12)
    tokens = torch.tensor(ids_of(model, TEXT)).unsqueeze(1)
    read = model.network(tokens)[0].detach().squeeze(1)
    torch.testing.assert_close(trace.log_probabilities, read, rtol=0, atol=1e-12)


@pytest.mark.parametrize("cell", CELLS)
def test_gradients_are_finite_differences_of_a_loop_by_hand(exact, cell):
    model = exact(cell, embedding_dim=4, hidden_size=3)
    trace = model.trace(TEXT, target="France")
    vectors, target, step = vectors_of(model, TEXT), model.vocabulary.id("France"), 1e-5

    def slope(place, width):
        """The norm of d log p(target) / d what is at ``place``: (word,) or (layer, word)."""

        def read(change):
            if len(place) == 2:
                return read_by_hand(model, vectors, (*place, change))[1][-1, target]
            moved = vectors.clone()
            moved[place] += change
            return read_by_hand(model, moved)[1][-1, target]

        ways = step * torch.eye(width, dtype=torch.float64)
        return float(torch.stack([(read(way) - read(-way)) / (2 * step) for way in ways]).norm())

    for t in range(len(trace.words)):
        assert float(trace.word_gradient[t]) == pytest.approx(slope((t,), 4), rel=1e-5, abs=1e-9)
        for layer in range(2):
            assert float(trace.layers[layer].c_gradient[t]) == pytest.approx(
                slope((layer, t), 3), rel=1e-5, abs=1e-9
            )
    assert trace.target_log_probability == pytest.approx(float(trace.log_probabilities[-1, target]))


def test_the_belt_keeps_a_gradient_that_an_elman_cell_loses(make_model):
    text = "I grew up in France . " * 8
    kept = {}
    for cell in ("lstm", "elman"):
        model = make_model(cell=cell, num_layers=1).in_double_precision()
        with torch.no_grad():
            for gate in model.network.recurrent.cells[0].children():
                gate.recurrent_weight.mul_(0.5)
            if cell == "lstm":
                model.network.recurrent.cells[0].forget_gate.bias.fill_(6.0)
        slope = model.trace(text).layers[0].c_gradient
        kept[cell] = float(slope[0] / slope[-1])
    assert kept["lstm"] > 0.1 and kept["elman"] < 1e-6


@pytest.mark.parametrize("cell", CELLS)
def test_the_last_words_are_those_of_the_whole(exact, cell):
    model = exact(cell)
    whole, last = (
        model.trace("I grew.\n" + TEXT, "Paris"),
        model.trace("I grew.\n" + TEXT, "Paris", last=4),
    )
    assert (
        whole.start == 0 and last.start == len(whole.words) - 4 and last.words == whole.words[-4:]
    )
    torch.testing.assert_close(last.log_probabilities, whole.log_probabilities[-4:])
    torch.testing.assert_close(last.word_gradient, whole.word_gradient[-4:])
    for some, all_of in zip(last.layers, whole.layers, strict=True):
        torch.testing.assert_close(some.c, all_of.c[-5:])
        torch.testing.assert_close(some.c_gradient, all_of.c_gradient[-4:])


def test_words_are_as_the_model_reads_them(model):
    trace = model.trace("I grew in Atlantis.\n\nOh")
    assert trace.words == "<eos> I grew in Atlantis . <eos> <eos> Oh".split()
    assert [word for word, known in zip(trace.words, trace.known, strict=True) if not known] == [
        "Atlantis",
        "Oh",
    ]
    assert trace.target == model.predict_next("I grew in Atlantis.\n\nOh", 1)[0].word
    assert model.trace("").words == ["<eos>"]
    assert not any(parameter.grad is not None for parameter in model.network.parameters())
    with torch.no_grad():
        assert model.trace("I").word_gradient.shape == (2,)


def test_a_target_must_be_one_known_word(model):
    assert model.trace("I", "<eos>").target == "<eos>"
    for wrong, said in (("Atlantis", "'Atlantis'"), ("in Paris", "2 words"), ("", "0 words")):
        with pytest.raises(InputError, match=said):
            model.trace("I", wrong)
    with pytest.raises(InputError, match="found 0"):
        model.trace("I", last=0)


def made_trace(f=None, c=None, words=None):
    """A trace of one layer with the given forget gate (T, H), or cell state (T + 1, H)."""
    time = len(f) if f is not None else len(c) - 1
    c = torch.zeros(time + 1, f.shape[1]) if c is None else c
    layer = LayerTrace(
        {} if f is None else {"forget_gate": f},
        c,
        c,
        None if f is None else "forget_gate",
        torch.ones(time),
    )
    return Trace(
        words or ["a"] * time,
        [True] * time,
        0,
        [layer],
        torch.zeros(time, 3),
        "a",
        0.0,
        torch.ones(time),
    )


def test_half_lives():
    f = torch.stack(
        [
            torch.full((100,), 0.9),
            torch.full((100,), 0.5),
            torch.full((100,), 0.01),
            torch.ones(100),
            (torch.arange(100) % 10 > 0).float(),
        ],
        dim=1,
    )
    lives = half_lives(made_trace(f), 0).tolist()
    assert lives == pytest.approx([math.log(0.5) / math.log(0.9), 1, 1, 1e6, 10], rel=1e-5)
    assert half_lives(made_trace(f[:3], words=["<eos>", "a", "b"]), 0).tolist()[4] == 1e6
    assert half_lives(made_trace(c=torch.zeros(3, 2)), 0) is None


def test_half_lives_are_those_of_a_real_cell_s_gate(make_model):
    model = make_model(num_layers=1)
    cell = model.network.recurrent.cells[0]
    with torch.no_grad():
        for weight in (cell.forget_gate.input_weight, cell.forget_gate.recurrent_weight):
            weight.zero_()
        cell.forget_gate.bias.copy_(torch.linspace(0, 6, 7))
    expected = -math.log(2) / torch.sigmoid(torch.linspace(0, 6, 7).double()).log()
    torch.testing.assert_close(half_lives(model.trace(TEXT), 0), expected, rtol=1e-4, atol=0)


def test_carriers_are_ranked_by_how_long_they_tell_two_words_apart():
    same = torch.zeros(6, 4)
    other = same.clone()
    other[3:6, 1] = torch.tensor([-1.0, -1, -2])  # from word 2 to the end
    other[3, 2] = 5.0  # at once forgotten
    other[3:6, 3] = torch.tensor([1.0, 0, 1])  # not in a row
    found = find_carriers(
        made_trace(c=same, words=list("abcde")), made_trace(c=other, words=list("abXde"))
    )
    assert [(carrier.unit, carrier.words) for carrier in found] == [(1, 3), (3, 1), (2, 1)]
    assert found[0].differences == [0, 0, 1, 1, 2]
    for words in (list("abcde"), list("abXd")):
        with pytest.raises(InputError, match="equally long"):
            find_carriers(
                made_trace(c=same, words=list("abcde")),
                made_trace(c=same[: len(words) + 1], words=words),
            )


def test_a_unit_that_counts_words_carries_nothing():
    """The output gate shows tanh(c), and tanh(8) is tanh(9)."""
    one, other = torch.zeros(2, 4, 3)
    one[2:, 0], other[2:, 0] = torch.tensor([8.0, 9]), torch.tensor([9.0, 10])
    one[2:, 1], other[2:, 1] = 0.3, -0.2  # small and steady
    one[2:, 2], other[2:, 2] = 0.04, -0.04  # apart by less than MIN_DIFFERENCE
    traces = [
        made_trace(c=c, words=words) for c, words in ((one, list("abc")), (other, list("aXc")))
    ]
    (carrier,) = find_carriers(*traces)
    assert (carrier.layer, carrier.unit, carrier.words) == (0, 1, 2)
    assert carrier.differences == pytest.approx([0, 0.5, 0.5])
    assert [found.unit for found in find_carriers(*traces, threshold=0.07)] == [1, 2]
    assert find_carriers(*traces, threshold=0.6) == []


def test_carriers_that_last_equally_long_are_ranked_by_what_they_show():
    one, other = torch.zeros(2, 3, 2)
    one[2], other[2] = torch.tensor([0.4, 3.0]), torch.tensor([-0.4, 1.0])  # tanh: 0.76, 0.23
    traces = [made_trace(c=c, words=words) for c, words in ((one, ["a", "b"]), (other, ["a", "X"]))]
    assert [carrier.unit for carrier in find_carriers(*traces)] == [0, 1]


def test_texts_to_compare_differ_in_the_words_that_are_kept(model):
    texts = [f"I grew up in {country} . I have a cat" for country in ("France", "Paris")]
    whole = [model.trace(text) for text in texts]
    assert swapped_words(*whole) == [5]
    with pytest.raises(InputError, match="last 3 words"):
        swapped_words(*(model.trace(text, last=3) for text in texts))
    short = model.trace(texts[1].replace(" .", ""), last=9)
    with pytest.raises(InputError, match="found 11 and 10 words"):
        swapped_words(model.trace(texts[0], last=9), short)
    with pytest.raises(InputError, match="11 and 11 words, 0 of them different"):
        swapped_words(whole[0], whole[0])


def test_carried_loads():
    f = torch.tensor([[1.0, 0.5, 0], [1, 0.5, 1]])
    c = torch.tensor([[1.0, 2, 5], [0, -2, 0], [9, 9, 9]])
    expected = [math.tanh(1) / 2, math.tanh(2) / 2, 0]
    assert carried_loads(made_trace(f, c), 0).tolist() == pytest.approx(expected)
    assert carried_loads(made_trace(c=c), 0) is None


def test_half_of_the_units_are_no_match(latch):
    """Three quarters of the units, rounded up, must be on together."""
    cell = latch.network.recurrent.cells[0]
    with torch.no_grad():  # units 3 and 2 are on at France, units 0 and 1 never
        for gate in (cell.forget_gate, cell.candidate, cell.input_gate):
            gate.bias[2] = gate.bias[3]
            gate.input_weight[2] = gate.input_weight[3]
    lines = ["a home in France ."]
    assert find_matches(latch, lines, 0, [0, 1, 2, 3], 2) == []
    assert find_matches(latch, lines, 0, [0, 2, 3], 2) == []
    (match,) = find_matches(latch, lines, 0, [2, 3], 2)
    assert (match.line, match.first, match.last, match.units_on) == (1, 3, 4, 1)
    with torch.no_grad():
        for gate in (cell.forget_gate, cell.candidate, cell.input_gate):
            gate.bias[1] = gate.bias[3]
            gate.input_weight[1] = gate.input_weight[3]
    (match,) = find_matches(latch, lines, 0, [0, 1, 2, 3], 2)
    assert (match.line, match.first, match.last, match.units_on) == (1, 3, 4, 0.75)


def test_matches_are_numbered_through_a_long_text_and_the_best_are_kept(latch):
    lines = ["I have a cat"] * 200
    for number in (64, 65, 190):
        lines[number - 1] = "in France " + "a " * (number % 5)
    matches = find_matches(latch, lines, 0, [3], length=1)
    assert [(match.line, match.last - match.first + 1) for match in matches] == [
        (65, 1),
        (190, 1),
        (64, 5),
    ]
    assert find_matches(latch, lines, 0, [3], length=1, most=2) == matches[:2]
    assert find_matches(latch, ["France France"], 0, [3], 1)[0].first == 0


@pytest.mark.parametrize("cell", CELLS)
def test_matches_are_where_the_trace_is_above_the_threshold(exact, cell):
    """In the upper layer, of lines that are read side by side and are not equally long."""
    model, total = exact(cell), 0
    lines = ["I grew up in Paris .", "She has a cat , and a home in France", "French"]
    after = [model.trace(line).layers[1].c[2:] for line in lines]  # each word of the line
    for unit in range(7):
        expected = set()
        for number, memory in enumerate(after, 1):
            on = (memory[:, unit] > 0.1).tolist()
            for first in [t for t, value in enumerate(on) if value and not (t and on[t - 1])]:
                length = [*on[first:], False].index(False)
                expected.add((number, first, first + length - 1))
        matches = find_matches(model, lines, 1, [unit], 1, threshold=0.1, most=100)
        assert {(match.line, match.first, match.last) for match in matches} == expected
        total += len(matches)
    assert 7 <= total < 7 * len(" ".join(lines).split())


@pytest.mark.slow
def test_a_line_to_match_has_a_longest_length(latch):
    longest = "a " * MAX_MATCHED_WORDS
    assert find_matches(latch, ["", longest], 0, [3], 1) == []
    with pytest.raises(InputError, match="line 2 .* 10,001 words"):
        find_matches(latch, ["", longest + "a"], 0, [3], 1)


def test_a_unit_that_latches_a_word_carries_it(latch):
    text = "I have in France a cat, a home."
    trace = latch.trace(text)
    at = trace.words.index("France")
    carriers = find_carriers(trace, latch.trace(text.replace("France", "Paris")))
    assert [(carrier.unit, carrier.words) for carrier in carriers] == [(3, len(trace.words) - at)]
    assert select_units(trace, 0, at, len(trace.words) - 1, 0.5) == [3]
    assert (
        select_units(trace, 0, at, len(trace.words) - 2, 0.5)
        == select_units(trace, 0, at + 1, at + 2, 0.5)
        == []
    )
    lines = ["I have a cat", "", "France , Paris", "a home in France .", "in Paris"]
    matches = find_matches(latch, lines, 0, [3], length=2, threshold=0.5)
    assert [(m.line, m.words[m.first : m.last + 1], m.units_on) for m in matches] == [
        (4, ["France", "."], 1.0),
        (3, ["France", ",", "Paris"], 1.0),
    ]
    assert find_matches(latch, lines, 0, [3], length=2, threshold=0.5, most=1) == matches[:1]


def test_select_asks_for_on_within_and_off_around():
    c = torch.tensor(
        [[0.0, 0, 1, 0], [1, 0, 1, 0], [1, 1, 1, 0], [0, 1, 0, 1]]
    )  # (T + 1, H): before, a, b, c
    trace = made_trace(c=c)
    assert select_units(trace, 0, 0, 1) == [0]
    assert select_units(trace, 0, 1, 2) == [1]
    assert select_units(trace, 0, 2, 2) == [3]
    for first, last in ((-1, 0), (1, 0), (0, 3)):
        with pytest.raises(InputError, match="within 0:2"):
            select_units(trace, 0, first, last)
