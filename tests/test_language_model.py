"""Laws of the language model: causality, tied weights, loss at the start, words in and out."""

import math

import pytest
import torch

from lstm_lm.cells import find_cell
from lstm_lm.config import CELLS
from lstm_lm.model.network import draw_keep_mask
from lstm_lm.model.output import SampledOutput
from lstm_lm.model.scoring import iterate_nll

SENTENCE = "I grew up in France. I speak fluent"
SHAPES = [
    {
        "cell": cell,
        "tie_weights": tied,
        "hidden_size": size,
        "num_layers": 3 if size == (5, 8, 4) else 2,
    }
    for cell in ("lstm", "gru", "elman")
    for tied in (True, False)
    for size in (6, 9, (5, 8, 4))
]
ADAPTIVE = {"output": "adaptive", "adaptive_cutoffs": (5, 12), "adaptive_factor": 2.0}
SHAPES += [{"cell": cell} for cell in CELLS]
MIXTURE = {"output": "mos", "mixture_softmaxes": 3}
SHAPES += [
    {**output, "tie_weights": tied} for output in (ADAPTIVE, MIXTURE) for tied in (True, False)
]


@pytest.mark.parametrize("settings", SHAPES)
def test_a_score_depends_on_the_past_only(make_model, settings):
    model = make_model(**settings)
    tokens = torch.randint(len(model.vocabulary), (9, 2))
    scores, _ = model.network(tokens)
    assert scores.shape == (9, 2, len(model.vocabulary))
    torch.testing.assert_close(scores.exp().sum(-1), torch.ones(9, 2))
    for t in range(9):
        changed = tokens.clone()
        changed[t] = (changed[t] + 1) % len(model.vocabulary)
        after, _ = model.network(changed)
        assert torch.equal(after[:t], scores[:t]) and not torch.equal(after[t], scores[t])


@pytest.mark.parametrize("settings", SHAPES)
def test_two_halves_with_the_state_carried_over_equal_the_whole(make_model, settings):
    model = make_model(**settings)
    tokens = torch.randint(len(model.vocabulary), (8, 3))
    whole, last = model.network(tokens)
    first, state = model.network(tokens[:3])
    second, last_of_halves = model.network(tokens[3:], state)
    torch.testing.assert_close(whole, torch.cat([first, second]))
    torch.testing.assert_close(last, last_of_halves)


def test_fused_and_readable_compute_the_same(make_model):
    tokens = torch.randint(10, (8, 3))
    torch.testing.assert_close(
        make_model(recurrence="readable").network(tokens),
        make_model(recurrence="fused").network(tokens),
    )


@pytest.mark.parametrize("settings", SHAPES)
def test_loss_at_the_start_is_near_that_of_guessing(make_model, settings):
    model = make_model(**settings)
    tokens, targets = torch.randint(len(model.vocabulary), (2, 30, 8))
    loss, _ = model.network.loss(tokens, targets, model.network.initial_state(8))
    assert abs(float(loss.detach()) / 240 - math.log(len(model.vocabulary))) < 0.3


def test_loss_equals_the_sum_of_token_nll_and_skips_positions_without_a_target(model):
    tokens, targets = torch.randint(10, (2, 6, 4))
    targets[4:, 1] = -100
    nll, _ = model.network.token_nll(tokens, targets)
    loss, _ = model.network.loss(tokens, targets, model.network.initial_state(4))
    torch.testing.assert_close(loss, nll.sum())
    assert torch.equal(nll[4:, 1], torch.zeros(2))
    scores, _ = model.network(tokens)
    torch.testing.assert_close(nll[0, 0], -scores[0, 0, targets[0, 0]])


@pytest.mark.parametrize(
    "settings",
    [{"cell": cell} for cell in CELLS] + [{"recurrence": "readable"}, ADAPTIVE, MIXTURE],
)
def test_loss_with_a_reset_at_every_line_is_that_of_separate_lines(make_model, settings):
    model = make_model(**settings)
    eos = model.vocabulary.eos_id
    lines = [[4, 5, 6, eos], [7, eos], [8, 4, eos]]
    stream = torch.tensor([eos, *(word for line in lines for word in line)]).unsqueeze(1)
    state, keep = model.network.initial_state(1), draw_keep_mask(stream[:-1], eos, 1.0)
    loss, _ = model.network.loss(stream[:-1], stream[1:], state, keep)
    apart = sum(nll.sum() for line in lines for nll, _ in iterate_nll(model.network, line, eos, 9))
    torch.testing.assert_close(loss.double(), apart, rtol=1e-5, atol=1e-5)
    carried, _ = model.network.loss(stream[:-1], stream[1:], state)
    assert (carried - loss).abs() > 1e-3


def test_the_mask_keeps_all_but_a_random_fraction_of_the_lines():
    eos, (time, batch) = 1, (200, 50)
    torch.manual_seed(0)
    tokens = torch.randint(4, (time, batch))
    assert draw_keep_mask(tokens, eos, 0.0) is None
    assert torch.equal(draw_keep_mask(tokens, eos, 1.0), tokens != eos)
    for fraction in (0.2, 0.7):
        keep = draw_keep_mask(tokens, eos, fraction)
        assert keep.dtype == torch.bool and keep[tokens != eos].all()
        reset = 1 - float(keep[tokens == eos].float().mean())
        assert reset == pytest.approx(fraction, abs=0.04)


@pytest.mark.parametrize("settings", [{}, ADAPTIVE])
def test_word_vectors_are_multiplied_by_the_root_of_their_size(make_model, settings):
    network, tokens = make_model(**settings).network, torch.arange(12).view(6, 2)
    torch.testing.assert_close(network.embed(tokens), network.embedding(tokens) * 6**0.5)


def test_double_precision_is_a_copy_in_evaluation_mode_unless_it_is_so_already(make_model):
    network = make_model(output_dropout=0.5).network
    double = network.in_double_precision()
    assert {p.dtype for p in double.parameters()} == {torch.float64}
    assert {p.dtype for p in network.parameters()} == {torch.float32}
    assert not double.training and double.in_double_precision() is double
    assert double.output.weight is double.embedding.weight is not network.embedding.weight
    double.train()
    again = double.in_double_precision()
    assert again is not double and double.training and not again.training
    network.train()
    assert not network.in_double_precision().training and network.training


def test_tied_weights_are_one_tensor(make_model):
    tied, untied = (
        make_model(**settings).network for settings in ({"hidden_size": 9}, {"tie_weights": False})
    )
    assert tied.output.weight is tied.embedding.weight
    assert tied.projection.weight.shape == (6, 9)
    assert untied.output.weight is not untied.embedding.weight
    assert untied.output.weight.shape == (untied.vocab_size, 7)


def test_a_tied_adaptive_model_shares_vectors_and_projections(make_model):
    tied = make_model(**ADAPTIVE).network
    untied = make_model(**ADAPTIVE, tie_weights=False).network
    assert tied.output.words is tied.embedding
    assert {id(p) for p in untied.output.parameters()}.isdisjoint(
        id(p) for p in untied.embedding.parameters()
    )
    full = make_model().network
    assert tied.parameter_count < full.parameter_count < untied.parameter_count


def test_a_mixture_has_vectors_of_its_own_for_each_softmax(make_model):
    plain, tied, untied = (
        make_model(**settings).network
        for settings in ({}, MIXTURE, {**MIXTURE, "tie_weights": False})
    )
    words = plain.vocab_size
    assert tied.output.weight is tied.embedding.weight
    assert untied.output.weight.shape == (words, 6)  # E, as of a tied model: the vectors d_k are
    assert untied.parameter_count == tied.parameter_count + 6 * words
    by_each = (7 + 1) * 6 + 7  # W_k, b_k, and a row of U, in place of the projection 7 -> 6
    assert tied.parameter_count == plain.parameter_count - 7 * 6 + 3 * by_each
    hidden, _ = tied.hidden(torch.zeros(4, 2, dtype=torch.int64))
    assert hidden.shape == (4, 2, 3 * (6 + 1))


def test_dropout_of_a_mixture_is_that_of_the_window_and_of_its_setting(make_model):
    network = make_model(**MIXTURE, mixture_dropout=0.5).network.train()
    tokens = torch.randint(10, (6, 40))
    plain, _ = network.eval().hidden(tokens)
    dropped, _ = network.train().hidden(tokens)
    factor = (dropped / plain)[..., :18]
    torch.testing.assert_close(factor, factor[:1].expand_as(factor))
    assert 0.3 < float((factor == 0).float().mean()) < 0.7
    network.set_dropout_share(0.0)
    torch.testing.assert_close(network.hidden(tokens)[0], plain)


@pytest.mark.parametrize("mixture", [False, True])
def test_a_sampled_model_evaluates_exactly(make_model, mixture):
    names = ("sampled_mos", "mos") if mixture else ("sampled", "full")
    sampled, full = (make_model(output=name, sampled_words=3) for name in names)
    assert isinstance(sampled.network.output, SampledOutput)
    words = torch.randint(10, (5, 2))
    for model in (sampled, full):
        model.network.output.start_from_counts(torch.arange(len(model.vocabulary)))
        state = model.network.initial_state(2)
        with torch.no_grad():
            exact, trained = (
                model.network.train(mode).loss(words, words, state)[0] for mode in (False, True)
            )
        assert bool((exact - trained).abs() > 1e-3) == (model is sampled)
        model.network.eval()
    tokens = torch.randint(10, (5, 2))
    torch.testing.assert_close(sampled.network(tokens)[0], full.network(tokens)[0])


@pytest.mark.parametrize("settings", [{}, ADAPTIVE, MIXTURE])
def test_predict_next_returns_sorted_probabilities_without_unknown(make_model, settings):
    model = make_model(**settings)
    every = model.predict_next(SENTENCE, top_k=1000)
    assert len(every) == len(model.vocabulary) - 1 and "<unk>" not in [p.word for p in every]
    assert [p.probability for p in every] == sorted((p.probability for p in every), reverse=True)
    with_unknown = model.predict_next(SENTENCE, top_k=1000, include_unknown=True)
    assert sum(p.probability for p in with_unknown) == pytest.approx(1)
    assert [p for p in with_unknown if p.word != "<unk>"] == every
    assert every[0].probability == pytest.approx(math.exp(every[0].log_probability))
    assert model.predict_next(SENTENCE, top_k=2) == every[:2]


def test_an_answer_does_not_depend_on_earlier_questions(model):
    first = model.predict_next(SENTENCE)
    model.predict_next("She has a cat")
    list(model.iterate_words("She", 5))
    assert model.predict_next(SENTENCE) == first


def test_typed_text_is_split_into_words(model):
    assert model.predict_next("I grew up in France.") == model.predict_next("I grew up in France .")
    assert model.unknown_words("I grew up in Atlantis, in Atlantis.\nOh") == ["Atlantis", "Oh"]
    assert model.predict_next("I grew up in Atlantis") == model.predict_next("I grew up in Utopia")
    assert model.predict_next("") and model.predict_next(" \n") != model.predict_next("")


@pytest.mark.parametrize("settings", [{}, ADAPTIVE, MIXTURE])
def test_score_perplexity_and_prediction_agree(make_model, settings):
    model = make_model(**settings)
    scores = model.score("I grew up in Atlantis.\nShe speaks French.")
    assert [
        s.word for s in scores
    ] == "I grew up in Atlantis . <eos> She speaks French . <eos>".split()
    assert [s.word for s in scores if not s.known] == ["Atlantis", "speaks"]
    result = model.perplexity("I grew up in Atlantis.\nShe speaks French.")
    assert float(result) == pytest.approx(2 ** (sum(s.surprisal for s in scores) / len(scores)))
    assert (result.tokens, result.oov_tokens, result.state) == (12, 2, "carried")
    by_word = {p.word: p.log_probability for p in model.predict_next("I grew", top_k=1000)}
    assert scores[2].surprisal == pytest.approx(-by_word["up"] / math.log(2), rel=1e-5)


def test_reset_per_line_starts_each_line_from_zero(model):
    alone = model.score("She has a cat.")
    assert model.score("I speak.\nShe has a cat.", reset_per_line=True)[4:] == alone
    assert model.score("I speak.\nShe has a cat.")[4:] != alone
    for reset, state in ((True, "reset"), (False, "carried")):
        found = model.perplexity("I speak.\nShe has a cat.", reset_per_line=reset)
        assert found.state == state


@pytest.mark.parametrize("window", [1, 2, 3, 5])
def test_long_texts_are_read_in_windows(model, monkeypatch, window):
    text = "I grew up in France.\nI speak fluent French."
    whole, scores = model.predict_next(text, top_k=3), model.score(text)
    monkeypatch.setattr("lstm_lm.model.reading.WINDOW", window)
    monkeypatch.setattr("lstm_lm.model.scoring.WINDOW", window)
    for one, other in zip(model.predict_next(text, top_k=3), whole, strict=True):
        assert one.word == other.word
        assert one.log_probability == pytest.approx(other.log_probability, abs=1e-5)
    for one, other in zip(model.score(text), scores, strict=True):
        assert one.word == other.word and one.surprisal == pytest.approx(other.surprisal)


@pytest.mark.parametrize("settings", [{}, MIXTURE])
def test_a_uniform_model_has_perplexity_v(make_model, settings):
    model = make_model(**settings)
    for parameter in model.network.output.parameters():
        torch.nn.init.zeros_(parameter)
    assert float(model.perplexity("I grew up in France.")) == pytest.approx(len(model.vocabulary))


@pytest.mark.parametrize("cell", CELLS)
def test_read_returns_words_ids_and_the_states_of_every_layer(make_model, cell):
    model = make_model(cell=cell, hidden_size=(5, 7))
    text = "I grew up in Atlantis.\nShe"
    reading, trace = model.read(text), model.trace(text)
    assert reading.words == "<eos> I grew up in Atlantis . <eos> She".split() == trace.words
    assert reading.ids == model.vocabulary.ids_of(reading.words)
    assert reading.ids[5] == model.vocabulary.unk_id
    assert len(reading.states) == len(trace.layers) == 2
    for states, layer, size in zip(reading.states, trace.layers, (5, 7), strict=True):
        assert type(states) is find_cell(cell).state_type
        assert all(part.shape == (9, size) and not part.requires_grad for part in states)
        assert torch.equal(states.h, layer.h[1:]) and torch.equal(states[-1], layer.c[1:])
    _, last = model.network.hidden(torch.tensor(reading.ids).unsqueeze(1))
    for states, after in zip(reading.states, last, strict=True):
        for part, expected in zip(states, after, strict=True):
            torch.testing.assert_close(part[-1], expected[0])


TEXTS = ["I grew up in", "", "I speak.\nShe has a cat.", "I grew up in"]


@pytest.mark.parametrize("options", [{}, {"top_k": 2, "include_unknown": True}])
def test_predict_next_reads_each_text_of_a_list_from_a_zero_state(model, options):
    found = model.predict_next(TEXTS, **options)
    assert found == [model.predict_next(text, **options) for text in TEXTS]
    assert found[0] == found[3] != found[1] != found[2]
    assert model.predict_next(tuple(TEXTS), **options) == found and model.predict_next([]) == []


@pytest.mark.parametrize("reset_per_line", [False, True])
def test_score_reads_each_text_of_a_list_from_a_zero_state(model, reset_per_line):
    found = model.score(TEXTS, reset_per_line=reset_per_line)
    assert found == [model.score(text, reset_per_line=reset_per_line) for text in TEXTS]
    assert found[0] == found[3] and [len(scores) for scores in found] == [5, 1, 10, 5]
    assert model.score([]) == []


def test_a_model_moves_to_another_device(model):
    assert model.to("meta") is model and model.device.type == "meta"
    assert model.network.embedding.weight.is_meta and model.config is model.network.config
