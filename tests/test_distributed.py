"""Laws of training on several processes: it is the training of one process."""

import dataclasses
import os

import numpy as np
import pytest
import torch

from lstm_lm.config import EvaluationConfig, ModelConfig, OptimizerConfig, TrainingConfig
from lstm_lm.errors import ConfigError
from lstm_lm.model.language_model import LanguageModel
from lstm_lm.training.distributed import Ranks
from lstm_lm.training.following import share_start
from lstm_lm.training.run_log import read_log
from lstm_lm.training.trainer import Trainer
from lstm_lm.training.validation import ValidText
from tests.ranks import run_ranks

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="the processes are forked")

TRAINING = TrainingConfig(
    batch_size=4,
    bptt_length=5,
    max_epochs=None,
    max_steps=40,
    log_every=1,
    validate_every=20,
    checkpoint_every=None,
    device="cpu",
)
MODEL = ModelConfig(embedding_dim=6, hidden_size=7, num_layers=2)
OPTIMIZER = OptimizerConfig(warmup_steps=3)
SPARSE = {"embedding_learning_rate": 1e-2}
DROPS = {
    "embedding_dropout": 0.1,
    "input_dropout": 0.2,
    "hidden_dropout": 0.3,
    "output_dropout": 0.2,
    "weight_dropout": 0.3,
}


@pytest.fixture
def train(vocabulary, tmp_path):
    """Trains in float64; returns the log, all weights, the carried state and the moments."""
    words = np.random.default_rng(0).integers(2, len(vocabulary), 303)

    def run(ranks, model=MODEL, optimizer=OPTIMIZER, **changes):
        torch.manual_seed(5)
        made = LanguageModel.from_config(model, vocabulary)
        counts = np.bincount(words, minlength=len(vocabulary))
        made.network.output.start_from_counts(torch.from_numpy(counts))
        made.network.double()
        folder = tmp_path / f"{ranks.size}"
        folder.mkdir(exist_ok=True)
        trainer = Trainer(
            made,
            words,
            [ValidText("files", words[:50]), ValidText("lines", words[:70], True)],
            optimizer,
            dataclasses.replace(TRAINING, **changes),
            EvaluationConfig(window_length=16),
            folder,
            ranks=ranks,
        )
        share_start(trainer)
        trainer.run()
        state = ranks.gather_state(trainer.state)
        found = {name: weight.detach() for name, weight in made.network.named_parameters()}
        if trainer.average.network:
            averaged = trainer.average.network.named_parameters()
            found |= {f"average {name}": weight for name, weight in averaged}
        found |= {f"state {n} {k}": p for n, parts in enumerate(state) for k, p in enumerate(parts)}
        for optimizer in trainer.optimizers:
            for number, slots in enumerate(optimizer.state.values()):
                found |= {f"moments {number} {name}": value for name, value in slots.items()}
        log = [
            {key: value for key, value in line.items() if isinstance(value, (int, float))}
            for line in read_log(folder / "metrics.jsonl")
        ]
        return log, {name: value.detach().numpy() for name, value in found.items()}

    return run


def assert_equal(one, other, tolerance=1e-9):
    log, tensors = one
    other_log, other_tensors = other
    assert len(log) == len(other_log) and tensors.keys() == other_tensors.keys()
    for line, other_line in zip(log, other_log, strict=True):
        assert line == pytest.approx(other_line, rel=tolerance, abs=tolerance)
    for name, tensor in tensors.items():
        np.testing.assert_allclose(tensor, other_tensors[name], tolerance, tolerance, err_msg=name)


@pytest.mark.parametrize(
    "model, optimizer, changes",
    [
        ({}, {}, {"max_steps": 200}),
        ({"tie_weights": False}, {"name": "sgd", "momentum": 0.9}, {"accumulation_steps": 3}),
        (DROPS, {"name": "muon", **SPARSE}, {"bptt_variation": 2.0}),
        (DROPS | {"output": "sampled", "sampled_words": 6}, SPARSE, {"reset_per_line": 0.5}),
        (
            {"output": "sampled", "sampled_words": 6, "tie_weights": False},
            SPARSE,
            {"accumulation_steps": 2, "max_grad_norm": 0.3},
        ),
        ({}, SPARSE, {"average": "ema:0.9"}),
        ({"output": "adaptive", "adaptive_cutoffs": (8, 14), **DROPS}, {}, {"bptt_length": 1}),
    ],
)
def test_two_ranks_train_as_one_process_does(train, model, optimizer, changes):
    """Everything is drawn as in one process, so this holds with dropout, too."""
    model = dataclasses.replace(MODEL, **model)
    optimizer = dataclasses.replace(OPTIMIZER, **optimizer)
    one = train(Ranks(), model, optimizer, **changes)
    first, second = run_ranks(2, lambda ranks: train(ranks, model, optimizer, **changes))
    assert_equal(first, one)
    for name, tensor in first[1].items():
        assert np.array_equal(tensor, second[1][name]), name


def test_four_ranks_train_as_one_process_does(train):
    assert_equal(run_ranks(4, train)[0], train(Ranks()))


def test_a_batch_that_cannot_be_shared_is_refused(train):
    message = "training.batch_size: found 6, which 4 processes .* set it to 4 or 8, or start"
    with pytest.raises(ConfigError, match=message):
        Ranks(dataclasses.replace(Ranks()._launch, size=4)).part_of(6)
