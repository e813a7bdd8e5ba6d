"""A training draws from generators of its own: nothing else of the process changes its numbers."""

import copy
import threading

import pytest
import torch

import lstm_lm
from lstm_lm.config import CELLS, load_config
from lstm_lm.corpus.corpus import Corpus
from lstm_lm.model.language_model import LanguageModel
from lstm_lm.random_numbers import RandomNumbers, generator_on
from lstm_lm.training.building import build_model

CPU = torch.device("cpu")
DROPS = {
    f"model.{name}": 0.3
    for name in (
        *("embedding_dropout", "input_dropout", "hidden_dropout"),
        *("output_dropout", "weight_dropout"),
    )
} | {"model.num_layers": 2}
# Everything that draws at random while a model is trained.
DRAWS = {
    "full": DROPS,
    "sampled": DROPS | {"model.output": "sampled", "model.sampled_words": 6},
    "adaptive": {"model.output": "adaptive", "model.adaptive_cutoffs": [5]},
    "mixture": DROPS
    | {"model.output": "sampled_mos", "model.mixture_softmaxes": 2, "model.mixture_dropout": 0.2}
    | {"model.sampled_words": 6},
    "lines": {"training.reset_per_line": 0.5, "training.bptt_variation": 2.0},
    "noising": {"training.noising": "kneser_ney:0.3"},
    "memory": {"model.memory_words": 20},
}
CHANGES = {"training.max_steps": 3, "training.validate_every": None}


@pytest.fixture(autouse=True)
def global_generator():
    before = torch.get_rng_state()
    yield
    torch.set_rng_state(before)


def trained(config, folder, **settings):
    lstm_lm.train(config, folder, report=lambda line: None, **(CHANGES | settings))
    return {
        path.name: path.read_bytes()
        for path in sorted(folder.iterdir())
        if path.suffix == ".safetensors" or path.name == "metrics.jsonl"
    }


@pytest.mark.parametrize("draws", DRAWS)
def test_a_training_neither_uses_nor_changes_the_global_generator(config, tmp_path, draws):
    found = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        before = torch.get_rng_state()
        found.append(trained(config, tmp_path / str(seed), **DRAWS[draws]))
        assert torch.equal(torch.get_rng_state(), before)
    assert found[0] == found[1]
    other = trained(config, tmp_path / "other", **DRAWS[draws], **{"training.seed": 5})
    assert other["metrics.jsonl"] != found[0]["metrics.jsonl"]


def test_trainings_in_two_threads_equal_those_apart(config, tmp_path):
    settings = {seed: DRAWS["full"] | {"training.seed": seed} for seed in (1, 2)}
    apart = {seed: trained(config, tmp_path / f"apart-{seed}", **settings[seed]) for seed in (1, 2)}
    together, both = {}, threading.Barrier(2)

    def work(seed):
        both.wait()
        together[seed] = trained(config, tmp_path / f"together-{seed}", **settings[seed])

    threads = [threading.Thread(target=work, args=(seed,)) for seed in (1, 2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert together == apart and apart[1] != apart[2]


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("memory_words", [None, 20])
def test_the_first_weights_are_those_of_the_global_generator_with_this_seed(
    config, cell, memory_words
):
    if cell == "elman" and memory_words:
        pytest.skip("it has no memory to set")
    settings = {"model.cell": cell, "training.seed": 3, "model.memory_words": memory_words}
    loaded = load_config(config, settings)
    corpus = Corpus(loaded.corpus, loaded.stories)
    before = torch.get_rng_state()
    built = build_model(loaded, corpus.vocabulary, corpus.training_tokens(4)).network
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(3)
    expected = LanguageModel.from_config(loaded.model, corpus.vocabulary).network
    weights = dict(expected.named_parameters())
    for name, weight in built.named_parameters():
        assert name == "output.bias" or weight.equal(weights[name]), name
    after = built.random_numbers.states(CPU)["cpu"]
    assert torch.equal(after, torch.get_rng_state())  # and what is drawn next


@pytest.mark.parametrize(
    "draw",
    [
        lambda: torch.rand(3),
        lambda: torch.randn(2, 2, dtype=torch.float64, device="cpu"),
        lambda: torch.randint(100, (3,)),
        lambda: torch.randperm(9),
        lambda: torch.rand_like(torch.zeros(3, dtype=torch.float64)),
        lambda: torch.randn_like(torch.zeros(3)),
        lambda: torch.zeros(9).bernoulli_(0.5),
        lambda: torch.bernoulli(torch.full((9,), 0.5)),
        lambda: torch.multinomial(torch.ones(9), 3),
        lambda: torch.normal(torch.zeros(3), 1.0),
        lambda: torch.nn.init.normal_(torch.zeros(3)),
        lambda: torch.nn.init.uniform_(torch.zeros(3)),
        lambda: torch.nn.init.trunc_normal_(torch.zeros(3)),
        lambda: torch.nn.init.xavier_uniform_(torch.zeros(3, 3)),
        lambda: torch.nn.init.kaiming_normal_(torch.zeros(3, 3)),
        lambda: torch.nn.init.orthogonal_(torch.zeros(3, 3)),
        lambda: torch.nn.Linear(3, 3).weight.detach(),
        lambda: torch.nn.Embedding(3, 3).weight.detach(),
    ],
)
def test_a_cell_of_other_people_draws_its_weights_from_them_too(draw):
    torch.manual_seed(4)
    expected = draw()
    before, numbers = torch.get_rng_state(), RandomNumbers(4)
    with numbers.used_by_all():
        found = draw()
        assert not draw().equal(found)
    assert found.equal(expected) and found.dtype == expected.dtype
    assert torch.equal(torch.get_rng_state(), before)


def test_a_given_generator_stays():
    own = torch.Generator().manual_seed(1)
    with RandomNumbers(0).used_by_all():
        found = torch.rand(3, generator=own)
    assert found.equal(torch.rand(3, generator=torch.Generator().manual_seed(1)))


def test_numbers_inside_others():
    outer, inner = RandomNumbers(0), RandomNumbers(1)
    assert generator_on(CPU) is None
    with outer.used():
        with inner.used():
            assert generator_on(CPU) is inner.on(CPU)
        assert generator_on(CPU) is outer.on(CPU) is not None
        found = []
        thread = threading.Thread(target=lambda: found.append(generator_on(CPU)))
        thread.start()
        thread.join()
        assert found == [None]
    assert generator_on(CPU) is None


@pytest.mark.parametrize("seed", [None, 7])
def test_states_are_put_back(seed):
    numbers = RandomNumbers(seed)
    torch.manual_seed(7)

    def draw():
        return torch.rand(3, generator=numbers.on(CPU))

    expected = [draw(), draw()]
    numbers = RandomNumbers(seed)
    torch.manual_seed(7)
    assert draw().equal(expected[0])
    states = numbers.states(CPU)
    assert draw().equal(expected[1]) and list(states) == ["cpu"]
    numbers.set_states({}, CPU)
    assert not draw().equal(expected[1])
    numbers.set_states(states, CPU)
    assert draw().equal(expected[1])
    with pytest.raises(RuntimeError):
        numbers.set_states({"cpu": states["cpu"][:5]}, CPU)


def test_a_copy_of_a_network_shares_its_numbers(model):
    assert copy.deepcopy(model.network).random_numbers is model.network.random_numbers
