"""`training.noising`: words are replaced as often, and by such words, as Xie et al. 2017 say."""

from collections import Counter

import numpy as np
import pytest
import torch

from lstm_lm.config import load_config
from lstm_lm.errors import ConfigError
from lstm_lm.files.run_files import STATE_FILE
from lstm_lm.model.network import Network
from lstm_lm.training.noising import build_noising
from lstm_lm.training.run import train
from lstm_lm.training.run_log import read_log
from lstm_lm.training.trainer import Trainer

DRAWS = 40_000


@pytest.fixture
def text(vocabulary):
    """Words with different numbers of followers: skewed draws, so that some pairs come often."""
    draw = np.random.default_rng(0)
    words = (len(vocabulary) * draw.random(300) ** 3).astype(np.int64)
    return words[words != 7]  # a word of the vocabulary that does not occur


def shares(chosen, size):
    return torch.bincount(chosen.flatten(), minlength=size) / chosen.numel()


def noised(noising, word, target=3):
    torch.manual_seed(0)
    inputs = torch.full((DRAWS, 1), word)
    return noising.replace(inputs, torch.full_like(inputs, target))


def test_unigram_noise_is_drawn_by_frequency(model, text):
    noising, size = build_noising("unigram:0.3", text, model), len(model.vocabulary)
    counts, absent = Counter(text.tolist()), 7
    inputs, targets = noised(noising, absent)
    assert bool((targets == 3).all())
    found = shares(inputs, size)
    for word in range(size):
        wanted = 0.7 if word == absent else 0.3 * counts[word] / len(text)
        assert float(found[word]) == pytest.approx(wanted, abs=0.01)


def test_kneser_ney_noise_is_by_contexts_and_of_both_words(model, text):
    """Everything is counted again, pair by pair."""
    gamma, size = 0.5, len(model.vocabulary)
    noising = build_noising(f"kneser_ney:{gamma}", text, model)
    pairs = list(zip([model.vocabulary.eos_id, *text.tolist()], text.tolist(), strict=False))
    after, before = Counter(), Counter()
    for x, w in set(pairs):
        after[x] += 1  # N(x, .)
        before[w] += 1  # N(., w)
    occurs = Counter(x for x, _ in pairs)
    for word in (0, 2, 5):
        chance = gamma * after[word] / occurs[word]
        assert 0.02 < chance < 0.5
        inputs, targets = noised(noising, word, target=0)
        for found, kept in ((inputs, word), (targets, 0)):
            found = shares(found, size)
            for w in range(size):
                wanted = chance * before[w] / sum(before.values()) + (1 - chance) * (w == kept)
                assert float(found[w]) == pytest.approx(wanted, abs=0.01)
        both = (inputs == 12) & (targets == 4)  # two draws, of their own each
        wanted = chance * before[12] * before[4] / sum(before.values()) ** 2
        assert float(both.float().mean()) == pytest.approx(wanted, abs=0.004)
    inputs, targets = noised(noising, 7)  # a word that does not occur has no followers
    assert bool((inputs == 7).all()) and bool((targets == 3).all())


def test_where_there_is_no_target_none_is_made(model, text):
    noising = build_noising("kneser_ney:1", text, model)
    _, targets = noised(noising, 2, target=-100)
    assert bool((targets == -100).all())


def test_no_noising(model, text):
    assert build_noising("none", text, model) is None


def test_lines_start_from_zero_where_the_text_says_so(config, tmp_path, monkeypatch):
    """Which states are reset is decided by the words before they are replaced."""

    def resets(noising):
        seen, loss = [], Network.loss

        def note(network, inputs, targets, state, keep, *more):
            seen.append(keep.tolist())
            return loss(network, inputs, targets, state, keep, *more)

        settings = {"training.noising": noising, "training.reset_per_line": 1.0}
        with monkeypatch.context() as patch:
            patch.setattr(Network, "loss", note)
            train(config, tmp_path / noising[:4], report=lambda line: None, **settings)
        return seen

    assert resets("none") == resets("unigram:0.9")


@pytest.mark.parametrize("noising", ["unigram:0.4", "kneser_ney:0.4"])
def test_it_is_the_same_for_the_same_seed_and_when_resumed(config, tmp_path, monkeypatch, noising):
    settings = {"training.noising": noising, "training.max_epochs": 2, "training.max_steps": None}

    def run(name, stop=None, **options):
        update = Trainer.update

        def update_until_stop(trainer):
            update(trainer)
            if trainer.progress.step == stop:
                trainer.signals.received = 15

        with monkeypatch.context() as patch:
            patch.setattr(Trainer, "update", update_until_stop)
            folder = train(
                config, tmp_path / name, report=lambda line: None, **settings, **options
            ).folder
        return (folder / STATE_FILE).read_bytes(), read_log(folder / "metrics.jsonl")

    whole = run("whole")
    assert run("again") == whole
    run("halved", stop=5)
    torch.manual_seed(9)
    assert run("halved", resume=True) == whole
    settings["training.noising"] = "none"
    assert run("plain")[1] != whole[1]


@pytest.mark.parametrize("given", ["unigram:0", "kneser_ney:1.5"])
def test_a_number_out_of_range_is_one_line(config, given):
    with pytest.raises(ConfigError, match="must be above 0 and at most 1"):
        load_config(config, [f"training.noising={given}"])
    assert load_config(config, ["training.noising=kneser_ney"]).training.noising.endswith(":0.2")
