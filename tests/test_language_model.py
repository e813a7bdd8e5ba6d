"""Laws of the language model: causality, tied weights, a sane start, words in and words out."""

import math

import pytest
import torch

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
SHAPES += [{**ADAPTIVE, "tie_weights": tied} for tied in (True, False)]


@pytest.mark.parametrize("settings", SHAPES)
def test_a_score_depends_on_the_past_alone(make_model, settings):
    model = make_model(**settings)
    tokens = torch.randint(len(model.vocabulary), (9, 2))
    scores, _ = model(tokens)
    assert scores.shape == (9, 2, len(model.vocabulary))
    torch.testing.assert_close(scores.exp().sum(-1), torch.ones(9, 2))
    for t in range(9):
        changed = tokens.clone()
        changed[t] = (changed[t] + 1) % len(model.vocabulary)
        after, _ = model(changed)
        assert torch.equal(after[:t], scores[:t]) and not torch.equal(after[t], scores[t])


@pytest.mark.parametrize("settings", SHAPES)
def test_carried_state_makes_halves_a_whole(make_model, settings):
    model = make_model(**settings)
    tokens = torch.randint(len(model.vocabulary), (8, 3))
    whole, last = model(tokens)
    first, state = model(tokens[:3])
    second, last_of_halves = model(tokens[3:], state)
    torch.testing.assert_close(whole, torch.cat([first, second]))
    torch.testing.assert_close(last, last_of_halves)


def test_the_two_recurrences_are_one_function(make_model):
    tokens = torch.randint(10, (8, 3))
    torch.testing.assert_close(
        make_model(recurrence="readable")(tokens), make_model(recurrence="fused")(tokens)
    )


@pytest.mark.parametrize("settings", SHAPES)
def test_loss_at_initialisation_is_near_that_of_guessing(make_model, settings):
    model = make_model(**settings)
    tokens, targets = torch.randint(len(model.vocabulary), (2, 30, 8))
    loss, _ = model.network.loss(tokens, targets, model.network.initial_state(8))
    assert abs(float(loss.detach()) / 240 - math.log(len(model.vocabulary))) < 0.3


def test_loss_leaves_out_what_is_no_target_and_equals_the_sum_of_token_nll(model):
    tokens, targets = torch.randint(10, (2, 6, 4))
    targets[4:, 1] = -100
    nll, _ = model.network.token_nll(tokens, targets)
    loss, _ = model.network.loss(tokens, targets, model.network.initial_state(4))
    torch.testing.assert_close(loss, nll.sum())
    assert torch.equal(nll[4:, 1], torch.zeros(2))
    scores, _ = model(tokens)
    torch.testing.assert_close(nll[0, 0], -scores[0, 0, targets[0, 0]])


@pytest.mark.parametrize(
    "settings",
    [{"cell": cell} for cell in ("lstm", "gru", "elman")]
    + [{"recurrence": "readable"}, {**ADAPTIVE, "tie_weights": True}],
)
def test_loss_of_lines_reset_is_that_of_lines_read_apart(make_model, settings):
    model = make_model(**settings)
    eos = model.vocabulary.eos_id
    lines = [[4, 5, 6, eos], [7, eos], [8, 4, eos]]
    stream = torch.tensor([eos, *(word for line in lines for word in line)]).unsqueeze(1)
    loss, _ = model.network.loss(stream[:-1], stream[1:], model.network.initial_state(1), reset_per_line=1.0)
    apart = sum(nll.sum() for line in lines for nll, _ in iterate_nll(model, line, 9))
    torch.testing.assert_close(loss.double(), apart, rtol=1e-5, atol=1e-5)
    carried, _ = model.network.loss(stream[:-1], stream[1:], model.network.initial_state(1))
    assert (carried - loss).abs() > 1e-3


def test_tied_weights_are_one_storage(make_model):
    tied, untied = make_model(hidden_size=9), make_model(tie_weights=False)
    assert tied.network.output.weight is tied.network.embedding.weight
    assert tied.network.projection.weight.shape == (6, 9)
    assert untied.output.weight is not untied.embedding.weight
    assert untied.output.weight.shape == (len(untied.vocabulary), 7)


def test_a_tied_adaptive_model_shares_vectors_and_projections(make_model):
    tied, untied = make_model(**ADAPTIVE), make_model(**ADAPTIVE, tie_weights=False)
    assert tied.network.output.words is tied.network.embedding
    assert {id(p) for p in untied.output.parameters()}.isdisjoint(
        id(p) for p in untied.embedding.parameters()
    )
    assert tied.network.parameter_count < make_model().parameter_count < untied.parameter_count


def test_a_sampled_model_evaluates_exactly(make_model):
    sampled, full = make_model(output="sampled", sampled_words=3), make_model()
    assert isinstance(sampled.output, SampledOutput)
    tokens = torch.randint(10, (5, 2))
    torch.testing.assert_close(sampled(tokens)[0], full(tokens)[0])


@pytest.mark.parametrize("settings", [{}, ADAPTIVE])
def test_predict_next_gives_sorted_true_probabilities_without_unknown(make_model, settings):
    model = make_model(**settings)
    every = model.predict_next(SENTENCE, top_k=1000)
    assert len(every) == len(model.vocabulary) - 1 and "<unk>" not in [p.word for p in every]
    assert [p.probability for p in every] == sorted((p.probability for p in every), reverse=True)
    with_unknown = model.predict_next(SENTENCE, top_k=1000, include_unknown=True)
    assert sum(p.probability for p in with_unknown) == pytest.approx(1)
    assert [p for p in with_unknown if p.word != "<unk>"] == every
    assert every[0].probability == pytest.approx(math.exp(every[0].log_probability))
    assert model.predict_next(SENTENCE, top_k=2) == every[:2]


def test_the_same_text_gets_the_same_answer_whatever_was_asked_before(model):
    first = model.predict_next(SENTENCE)
    model.predict_next("She has a cat")
    list(model.iterate_words("She", 5))
    assert model.predict_next(SENTENCE) == first


def test_typed_text_reaches_the_model_as_words(model):
    assert model.predict_next("I grew up in France.") == model.predict_next("I grew up in France .")
    assert model.unknown_words("I grew up in Atlantis, in Atlantis.\nOh") == ["Atlantis", "Oh"]
    assert model.predict_next("I grew up in Atlantis") == model.predict_next("I grew up in Utopia")
    assert model.predict_next("") and model.predict_next(" \n") != model.predict_next("")


@pytest.mark.parametrize("settings", [{}, ADAPTIVE])
def test_score_perplexity_and_prediction_are_one_measure(make_model, settings):
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


def test_reset_per_line_forgets_the_line_before(model):
    alone = model.score("She has a cat.")
    assert model.score("I speak.\nShe has a cat.", reset_per_line=True)[4:] == alone
    assert model.score("I speak.\nShe has a cat.")[4:] != alone


def test_a_uniform_model_has_perplexity_v(make_model):
    model = make_model()
    for parameter in model.network.output.parameters():
        torch.nn.init.zeros_(parameter)
    assert float(model.perplexity("I grew up in France.")) == pytest.approx(len(model.vocabulary))
