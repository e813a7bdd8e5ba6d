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
        return torch.isfinite(keep_likely(scores, top_k, top_p)).nonzero().flatten().tolist()

    assert kept() == [0, 1, 2, 3]
    assert kept(top_k=2) == [1, 2] and kept(top_k=100) == [0, 1, 2, 3]
    assert (
        kept(top_p=0.39) == [1] and kept(top_p=0.41) == [1, 2] and kept(top_p=1.0) == [0, 1, 2, 3]
    )
    assert kept(top_k=3, top_p=0.5) == [1, 2]


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
