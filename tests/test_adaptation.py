"""Laws of adaptation: equal to the formulas written out; sums to 1; the model stays as it is."""

import copy
import itertools
import math

import numpy as np
import pytest
import torch

from lstm_lm.errors import CorpusError, InputError
from lstm_lm.evaluation import adaptation, dynamic
from lstm_lm.evaluation.adaptation import (
    KINDS,
    Adaptation,
    AdaptiveReader,
    CacheSettings,
    DynamicSettings,
    NGramSettings,
    Parts,
)
from lstm_lm.evaluation.adapted_text import (
    Gain,
    gains_by_distance,
    last_occurrences,
    score_adapted,
)
from lstm_lm.evaluation.dynamic import DynamicNetwork, measure_gradient_sizes, take_step
from lstm_lm.evaluation.neural_cache import NeuralCache
from lstm_lm.evaluation.ngram import NGramModel
from lstm_lm.evaluation.tuning import Tuner, best_weights
from tests.conftest import LINES

CACHE, DYNAMIC = CacheSettings(7, 0.6, 0.3), DynamicSettings(0.05, 5)
NGRAM = NGramSettings(3, 0.2)
ALL = Adaptation(CACHE, DYNAMIC, NGRAM)
COMBINATIONS = [kinds for count in (1, 2, 3) for kinds in itertools.combinations(KINDS, count)]
OUTPUTS = [
    {"output": "full", "tie_weights": True},
    {"output": "full", "tie_weights": False},
    {"output": "sampled", "sampled_words": 5, "hidden_size": 6},
    {"output": "mos", "mixture_softmaxes": 2},
    {"output": "adaptive", "adaptive_cutoffs": (8,), "adaptive_factor": 2.0},
]


def of(kinds):
    return Adaptation(**{kind: getattr(ALL, kind) for kind in kinds})


@pytest.fixture(scope="module")
def tokens(vocabulary):
    return [i for ids in vocabulary.encode_lines([*LINES, "I grew up in Utopia ."]) for i in ids]


@pytest.fixture
def network(make_model):
    return make_model(hidden_size=8, output_norm=True).network.double()


@pytest.fixture
def reader(network, vocabulary, tokens):
    """Makes readers."""
    ngram = NGramModel.train(tokens[:30], len(vocabulary), NGRAM.order, vocabulary.eos_id)
    sizes = measure_gradient_sizes(network, tokens[:40], vocabulary.eos_id)

    def make(kinds=KINDS, **more):
        return AdaptiveReader(
            network, vocabulary.eos_id, more.pop("settings", of(kinds)), ngram=ngram, sizes=sizes
        )

    return make


# --- the cache -----------------------------------------------------------------------------------


def cache_by_hand(states, words, t, size, theta):
    """The distribution {word: probability} before word t; empty if nothing is remembered."""
    found = {}
    for i in range(max(0, t - size), t):
        score = math.exp(
            theta * sum(float(a * b) for a, b in zip(states[t], states[i], strict=True))
        )
        found[int(words[i])] = found.get(int(words[i]), 0.0) + score
    total = sum(found.values())
    return {word: score / total for word, score in found.items()}


@pytest.mark.parametrize("size", [1, 3, 100])
@pytest.mark.parametrize("cuts", [[], [1], [4, 5, 11]])
def test_the_cache_equals_its_formula(size, cuts):
    torch.manual_seed(0)
    states, words = torch.randn(20, 4, dtype=torch.float64), torch.randint(0, 5, (20,))
    cache, found = NeuralCache(size, 0.7), []
    for start, stop in itertools.pairwise([0, *cuts, 20]):
        found += cache.read(states[start:stop], words[start:stop]).tolist()
        ahead = cache.probabilities(states[stop % 20], 5)
        extended = torch.cat([states[:stop], states[stop % 20 : stop % 20 + 1]])
        by_hand = cache_by_hand(extended, words, stop, size, 0.7)
        assert ahead.tolist() == pytest.approx([by_hand.get(word, 0.0) for word in range(5)])
    assert math.isnan(found[0]) and len(found) == 20
    for t in range(1, 20):
        by_hand = cache_by_hand(states, words, t, size, 0.7).get(int(words[t]), 0.0)
        assert math.exp(found[t]) == pytest.approx(by_hand, abs=1e-12)
    assert len(cache) == min(size, 20)


def test_an_empty_cache_knows_nothing_and_a_cleared_one_neither():
    cache, state = NeuralCache(3, 0.1), torch.ones(1, 2)
    assert cache.probabilities(state[0], 4) is None
    cache.read(state, torch.tensor([2]))
    assert cache.probabilities(state[0], 4).tolist() == [0, 0, 1, 0]
    cache.clear()
    assert len(cache) == 0 and cache.probabilities(state[0], 4) is None
    assert cache.read(state, torch.tensor([2])).isnan().all()


# --- dynamic evaluation --------------------------------------------------------------------------


def gradients_by_hand(network, inputs, targets, state):
    """nll of every word, gradients of their mean by name, and the state: autograd alone."""
    scores, state = network(inputs, state)
    nll = -scores.gather(2, targets.unsqueeze(2)).flatten()
    names, weights = zip(*network.named_parameters(), strict=True)
    found = torch.autograd.grad(nll.mean(), weights, allow_unused=True)
    whole = {
        name: torch.zeros_like(weight) if gradient is None else gradient
        for name, weight, gradient in zip(names, weights, found, strict=True)
    }
    probabilities = scores.exp().flatten(0, 1).detach()
    return nll.detach(), whole, [s.detach() for s in state], probabilities


def gradients_from_logits(network, inputs, state, d):
    """The gradients by name, if that of the logits is d: autograd alone."""
    hidden, _ = network.hidden(inputs, state)
    logits = hidden.squeeze(1) @ network.output.weight.T + network.output.bias
    names, weights = zip(*network.named_parameters(), strict=True)
    return dict(zip(names, torch.autograd.grad((logits * d).sum(), weights), strict=True))


def learner(network):
    return copy.deepcopy(network).eval().requires_grad_(True)


@pytest.mark.parametrize("settings", OUTPUTS, ids=str)
def test_gradient_sizes_are_root_mean_squares(make_model, vocabulary, tokens, settings):
    network = make_model(**settings).network.double()
    many = tokens * 20  # 16 streams of 60 or 61 words: three batches of 20
    found = measure_gradient_sizes(network, many, vocabulary.eos_id)
    own, state = learner(network), network.initial_state(16)
    length, more = divmod(len(many), 16)
    starts = [b * length + min(b, more) for b in range(16)]
    text = [vocabulary.eos_id, *many]
    squares, batches = {}, length // 20
    for k in range(batches):
        window = torch.tensor([text[s + 20 * k : s + 20 * k + 21] for s in starts]).T
        _, gradient, state, _ = gradients_by_hand(own, window[:-1], window[1:], state)
        for name, part in gradient.items():
            squares[name] = squares.get(name, 0) + part**2 / batches
    assert batches >= 2 and found.keys() == squares.keys()
    for name, square in squares.items():
        assert torch.allclose(found[name], square.sqrt(), rtol=1e-6, atol=1e-12), name


@pytest.mark.parametrize("least", [0.0, 0.08])
@pytest.mark.parametrize("settings", OUTPUTS, ids=str)
def test_dynamic_evaluation_equals_plain_autograd(
    make_model, vocabulary, tokens, settings, least, monkeypatch
):
    monkeypatch.setattr(dynamic, "LEAST_PROBABILITY", least)
    network = make_model(**settings).network.double()
    sizes = measure_gradient_sizes(network, tokens, vocabulary.eos_id)
    steps = Adaptation(dynamic=DynamicSettings(rate=0.02, step=5))
    found = -AdaptiveReader(network, vocabulary.eos_id, steps, sizes=sizes).read(tokens)

    own, state, expected = learner(network), network.initial_state(), []
    text = torch.tensor([vocabulary.eos_id, *tokens])
    for start in range(0, len(tokens), 5):
        inputs, targets = text[:-1][start : start + 5, None], text[1:][start : start + 5, None]
        before = state
        nll, gradient, state, p = gradients_by_hand(own, inputs, targets, before)
        expected += nll.tolist()
        if len(targets) < 5:
            break
        if least and settings["output"] in ("full", "sampled"):
            # words that were improbable everywhere and did not occur are left out of the gradient
            is_left_out = p.amax(0) < least
            is_left_out[targets.flatten()] = False
            assert is_left_out.any() and not is_left_out.all()
            d = p - torch.nn.functional.one_hot(targets.flatten(), p.shape[1])
            d = d * ~is_left_out / 5
            gradient = gradients_from_logits(own, inputs, before, d)
        with torch.no_grad():
            for name, weight in own.named_parameters():
                weight -= 0.02 * gradient[name] / (sizes[name] + 3 * sizes[name].mean())
    assert found.tolist() == pytest.approx(expected, rel=1e-9)


def test_a_weight_whose_gradient_was_always_zero_stays(network):
    sizes = {name: torch.zeros_like(weight) for name, weight in network.named_parameters()}
    own = DynamicNetwork(network, sizes, 1.0)
    own.learn(torch.tensor([1, 2]), torch.tensor([2, 3]), network.initial_state())
    for now, before in zip(own.network.parameters(), network.parameters(), strict=True):
        assert torch.equal(now, before)


def test_the_whole_gradient_is_taken_where_no_probability_is_too_small(network):
    own, state = learner(network), network.initial_state()
    inputs = torch.tensor([[1], [2], [3]])
    step = take_step(own, inputs, inputs, state, least_probability=0.0)
    assert next(piece for piece in step.pieces if piece.parameter == "output.bias").rows is None


# --- all together --------------------------------------------------------------------------------


@pytest.mark.parametrize("kinds", COMBINATIONS, ids=",".join)
def test_probabilities_sum_to_one_and_are_those_of_the_scores(reader, tokens, kinds):
    own, scored = reader(kinds), reader(kinds).read(tokens)
    for place, word in enumerate(tokens):
        if place in (0, 1, 4, 5, 6, 23, len(tokens) - 1):
            ahead = own.next_word_log_probabilities()
            assert float(ahead.exp().sum()) == pytest.approx(1, abs=1e-9)
            assert float(ahead[word]) == pytest.approx(float(scored[place]), abs=1e-9)
        own.read([word])


@pytest.mark.parametrize("kinds", COMBINATIONS, ids=",".join)
def test_a_text_may_be_read_in_any_pieces(reader, tokens, kinds):
    whole, own = reader(kinds).read(tokens), reader(kinds)
    cuts = [0, 1, 1, 8, 10, 11, 30, len(tokens)]
    pieces = [own.read(tokens[start:stop]) for start, stop in itertools.pairwise(cuts)]
    assert torch.allclose(torch.cat(pieces), whole, atol=1e-9)
    own.restart()
    assert torch.allclose(own.read(tokens), whole, atol=1e-9)


@pytest.mark.parametrize("kinds", COMBINATIONS, ids=",".join)
def test_no_word_has_an_effect_on_what_was_scored_before_it(reader, tokens, kinds):
    changed = [*tokens[:12], *((word + 1) % 4 for word in tokens[12:])]
    before, after = reader(kinds).read(tokens), reader(kinds).read(changed)
    assert torch.allclose(before[:12], after[:12], atol=1e-12)
    assert not torch.allclose(before[13:], after[13:], atol=1e-3)


def test_the_mixture_equals_its_formula(reader, tokens):
    parts, mixed = reader().read_parts(tokens), reader().read(tokens)
    for t in range(len(tokens)):
        network, ngram = math.exp(parts.network[t]), math.exp(parts.ngram[t])
        cache = math.exp(parts.cache[t]) if t else network
        expected = 0.5 * network + 0.3 * cache + 0.2 * ngram
        assert math.exp(mixed[t]) == pytest.approx(expected, rel=1e-9)


def test_the_parts_are_those_of_each_alone(reader, tokens, network, vocabulary):
    parts = reader().read_parts(tokens)
    ngram = NGramModel.train(tokens[:30], len(vocabulary), 3, vocabulary.eos_id)
    assert torch.allclose(parts.ngram, -torch.from_numpy(ngram.token_nll(tokens)))
    assert torch.allclose(parts.network, reader(("dynamic",)).read(tokens))
    plain = reader(("cache",)).read_parts(tokens)
    with torch.no_grad():
        inputs = torch.tensor([vocabulary.eos_id, *tokens[:-1]]).unsqueeze(1)
        hidden, _ = network.hidden(inputs)
    assert torch.allclose(plain.hidden, hidden.squeeze(1))
    for t in range(1, len(tokens)):
        by_hand = cache_by_hand(hidden.squeeze(1), tokens, t, 7, 0.6).get(tokens[t], 0.0)
        assert math.exp(plain.cache[t]) == pytest.approx(by_hand, abs=1e-9)


@pytest.mark.parametrize("training", [True, False])
def test_the_model_is_as_before_also_after_an_exception(reader, tokens, network, training):
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    network.train(training)

    def stop(done):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        score_adapted(reader(), tokens, on_progress=stop)
    assert network.training is training
    assert all(torch.equal(before[name], now) for name, now in network.state_dict().items())
    assert all(parameter.grad is None for parameter in network.parameters())


def test_lines_that_are_reset_have_no_effect_on_each_other(reader, tokens, vocabulary):
    scored = score_adapted(reader(), tokens, reset_per_line=True)
    ends = np.flatnonzero(np.array(tokens) == vocabulary.eos_id) + 1
    alone = [-reader().read(line).numpy() for line in np.split(tokens, ends) if len(line)]
    assert np.allclose(scored, np.concatenate(alone), atol=1e-9)
    assert not np.allclose(scored, score_adapted(reader(), tokens), atol=1e-3)


def test_a_text_is_scored_in_blocks(reader, tokens, monkeypatch):
    monkeypatch.setattr("lstm_lm.evaluation.adapted_text.READ_AT_ONCE", 9)
    seen = []
    for reset in (False, True):
        blocks = score_adapted(reader(), tokens, reset_per_line=reset, on_progress=seen.append)
        monkeypatch.undo()
        assert np.allclose(blocks, score_adapted(reader(), tokens, reset_per_line=reset))
        monkeypatch.setattr("lstm_lm.evaluation.adapted_text.READ_AT_ONCE", 9)
    assert sum(seen) == 2 * len(tokens) and max(seen) == 9
    with pytest.raises(CorpusError, match="no tokens"):
        score_adapted(reader(), [])


@pytest.mark.parametrize("cache, ngram", [(0.5, 0.5), (-0.1, 0.2), (1.0, 0.0)])
def test_weights_that_leave_the_network_nothing_are_refused(reader, cache, ngram):
    settings = Adaptation(CacheSettings(weight=cache), None, NGramSettings(3, ngram))
    with pytest.raises(InputError, match="sum to less than 1"):
        reader(settings=settings)


def test_kinds_are_named_once():
    assert Adaptation.of_kinds(["ngram", "cache"]).kinds == ("cache", "ngram")
    assert Adaptation.of_kinds(KINDS).without("dynamic").kinds == ("cache", "ngram")
    for kinds in ([], ["cache", "cache"], ["memory"]):
        with pytest.raises(InputError, match="cache, dynamic, ngram"):
            Adaptation.of_kinds(kinds)


def test_memory_of_reading_is_bounded(reader, tokens):
    own = reader(("cache",))
    for _ in range(50):
        own.read(tokens)
    assert len(own._cache._words) <= 2 * CACHE.words + adaptation.WINDOW


# --- gains by distance ---------------------------------------------------------------------------


@pytest.mark.parametrize("reset", [False, True])
def test_last_occurrences_are_counted(tokens, vocabulary, reset):
    found, seen = last_occurrences(tokens, vocabulary.eos_id, reset_per_line=reset), {}
    for place, word in enumerate(tokens):
        assert found[place] == (place - seen[word] if word in seen else 0)
        seen[word] = place
        if reset and word == vocabulary.eos_id:
            seen = {}


def test_gains_are_summed_in_octaves():
    distances = np.array([0, 1, 2, 3, 4, 7, 8, 0])
    without, adapted = np.arange(8.0), np.array([1.0, 0, 0, 0, 0, 0, 0, 0])
    assert gains_by_distance(distances, without, adapted) == [
        Gain(0, 0, 2, 6.0), Gain(1, 1, 1, 1.0), Gain(2, 3, 2, 5.0), Gain(4, 7, 2, 9.0),
        Gain(8, 15, 1, 6.0),
    ]  # fmt: skip
    assert Gain(1, 1, 2, math.log(8)).bits_per_token == pytest.approx(1.5)


# --- tuning --------------------------------------------------------------------------------------


def test_the_best_weights_are_the_best():
    torch.manual_seed(0)
    network, cache, ngram = torch.rand(3, 40, dtype=torch.float64).log()
    cache[0] = math.nan
    cache[1:9] = -math.inf
    parts = Parts(network, cache, ngram, torch.empty(0))
    best = best_weights(parts)
    grid = [(a / 20, b / 20) for a in range(20) for b in range(20 - a)]
    top = max(float(parts.mixed(*weights).mean()) for weights in grid)
    assert float(parts.mixed(*best).mean()) >= top - 1e-5
    assert best_weights(Parts(network, None, ngram, torch.empty(0)))[0] == 0
    assert best_weights(Parts(network, None, None, torch.empty(0))) == (0, 0)


def test_tuning_never_ends_worse_than_it_began_and_shows_what_it_tries(network, vocabulary, tokens):
    ngram = NGramModel.train(tokens[:30], len(vocabulary), 3, vocabulary.eos_id)
    sizes = measure_gradient_sizes(network, tokens[:40], vocabulary.eos_id)
    tried = []
    tuner = Tuner(
        network,
        vocabulary.eos_id,
        tokens,
        ngram=ngram,
        sizes=sizes,
        on_trial=lambda settings, perplexity: tried.append((perplexity, settings)),
    )
    best, perplexity = tuner.tune(ALL)
    assert best.kinds == KINDS and perplexity <= tried[0][0]
    assert perplexity == pytest.approx(min(perplexity for perplexity, _ in tried), rel=2e-4)
    # what it says is what one gets, and other settings were tried in every direction
    again = AdaptiveReader(network, vocabulary.eos_id, best, ngram=ngram, sizes=sizes)
    assert math.exp(-float(again.read(tokens).mean())) == pytest.approx(perplexity, rel=1e-9)
    assert len({settings.dynamic.rate for _, settings in tried}) > 2
    assert len({settings.cache.words for _, settings in tried}) > 2
    assert len({settings.cache.theta for _, settings in tried}) > 2
