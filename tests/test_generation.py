"""Laws of generation: greedy is the argmax chain; filters; wrong arguments are one line."""

import math

import pytest
import torch

from lstm_lm.errors import InputError
from lstm_lm.model.generation import keep_likely


def test_greedy_is_the_argmax_chain_and_its_nll_is_that_of_scoring(model):
    words, text, nll = list(model.iterate_words("I grew", 8, temperature=0)), "I grew", 0.0
    for word in words:
        best = model.predict_next(text, top_k=1)[0]
        assert best.word == word
        nll -= best.log_probability
        text += "\n" if word == "<eos>" else f" {word}"
    scored = model.score(text.removesuffix("\n") if words[-1] == "<eos>" else text)[
        2 : 2 + len(words)
    ]
    assert sum(s.surprisal for s in scored) * math.log(2) == pytest.approx(nll, rel=1e-5)


def test_a_seed_repeats_a_text_and_does_not_change_torchs_generator(model):
    before = torch.get_rng_state()
    draws = [model.generate("I", 20, seed=seed) for seed in (1, 1, 2)]
    assert draws[0] == draws[1] != draws[2]
    assert torch.equal(torch.get_rng_state(), before)


def test_unknown_is_never_drawn(make_model):
    model = make_model()
    model.network.output.bias.data[model.vocabulary.unk_id] = 50.0
    assert "<unk>" not in list(model.iterate_words("I", 50, seed=0))


def test_keep_likely():
    scores = torch.tensor([0.1, 0.4, 0.3, 0.2]).log()

    def kept(top_k=None, top_p=None):
        found = keep_likely(scores, top_k, top_p)
        is_kept = found == scores
        assert (found[~is_kept] == -math.inf).all()
        return is_kept.nonzero().flatten().tolist()

    assert kept() == [0, 1, 2, 3]
    assert kept(top_k=2) == [1, 2] and kept(top_k=100) == [0, 1, 2, 3]
    assert (
        kept(top_p=0.39) == [1] and kept(top_p=0.41) == [1, 2] and kept(top_p=1.0) == [0, 1, 2, 3]
    )
    assert kept(top_k=3, top_p=0.5) == [1, 2]


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"temperature": 0.5},
        {"temperature": 3.0, "top_k": 4},
        {"temperature": 0.7, "top_p": 0.6},
        {"top_k": 5, "top_p": 0.4},
    ],
)
def test_words_are_drawn_from_the_model_s_own_distribution(model, monkeypatch, options):
    """Without <unk>, sharpened by the temperature, then cut to the most probable words."""
    drawn_from = []

    def multinomial(probabilities, count, generator=None):
        drawn_from.append(probabilities)
        return probabilities.argmin(dim=0, keepdim=True)  # a word that greedy would not take

    monkeypatch.setattr(torch, "multinomial", multinomial)
    text, words = "I grew", list(model.iterate_words("I grew", 3, **options))
    for word, found in zip(words, drawn_from, strict=True):
        every = {p.word: p.probability for p in model.predict_next(text, top_k=1000)}
        expected = torch.tensor([every.get(word, 0.0) for word in model.vocabulary.words])
        expected = expected ** (1 / options.get("temperature", 1.0))
        expected /= expected.sum()
        ranked = expected.argsort(descending=True)
        kept = ranked[: options.get("top_k")]
        if "top_p" in options:
            mass_before = expected[ranked].cumsum(0) - expected[ranked]
            kept = kept[: int((mass_before < options["top_p"]).sum())]
        expected = torch.zeros_like(expected).index_copy(0, kept, expected[kept])
        torch.testing.assert_close(found, expected / expected.sum())
        text += "\n" if word == "<eos>" else f" {word}"


def test_the_smallest_options_are_allowed_and_take_the_most_probable_words(model):
    greedy = list(model.iterate_words("I grew", temperature=0))
    assert len(greedy) == 50  # the default
    for options in ({"top_k": 1}, {"top_p": 1e-9}, {"temperature": 1e-9}):
        assert list(model.iterate_words("I grew", seed=0, **options)) == greedy


def test_no_words_and_the_limits_of_a_seed_are_allowed(model):
    assert list(model.iterate_words("I", 0)) == [] and model.generate("I", 0) == ""
    for seed in (-(2**63), 0, 2**64 - 1):
        assert len(list(model.iterate_words("I", 3, seed=seed))) == 3
    for seed in (-(2**63) - 1, 2**64):
        with pytest.raises(InputError, match="seed must fit into 64 bits"):
            model.generate("I", seed=seed)


@pytest.mark.parametrize("temperature", [1e-300, 1e-3, 100.0])
def test_any_temperature_draws(model, temperature):
    assert len(list(model.iterate_words("I", 5, temperature=temperature, seed=0))) == 5


@pytest.mark.parametrize(
    "options",
    [
        {"temperature": -1.0},
        {"top_k": 0},
        {"top_p": 0.0},
        {"top_p": 1.5},
        {"words": -1},
        {"temperature": math.nan},
        {"top_p": math.nan},
    ],
)
def test_wrong_arguments(model, options):
    with pytest.raises(InputError, match="must be"):
        model.generate("I", **options)
