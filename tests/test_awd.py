"""The parts of AWD-LSTM (Merity et al. 2018), each against the paper's formula written out here."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from lstm_lm.config import EvaluationConfig, OptimizerConfig, TrainingConfig, load_config
from lstm_lm.model.activation import ActivationPenalty
from lstm_lm.model.network import count_parameters
from lstm_lm.training.run import train
from lstm_lm.training.run_log import RunLog, read_log
from lstm_lm.training.trainer import Trainer
from lstm_lm.training.validation import ValidText

CONFIGS = Path(__file__).parent.parent / "configs"
DROPOUTS = {"input_dropout": 0.3, "output_dropout": 0.4, "hidden_dropout": 0.2}


@pytest.fixture
def window(vocabulary):
    tokens = torch.from_numpy(np.random.default_rng(3).integers(0, len(vocabulary), (7, 4)))
    return tokens[:-1], tokens[1:]


# --- activation and temporal activation regularisation ----------------------------------------


def outputs_of(network, window):
    """The last layer's outputs in training: raw, and as they enter the output layer; with graph."""
    seen = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(network.recurrent, "forward", record(network.recurrent.forward, seen, "raw"))
        patch.setattr(
            network.output, "loss", lambda hidden, targets: seen.update(hidden=hidden) or 0.0
        )
        network.loss(*window, network.initial_state(4))
    return seen["raw"], seen["hidden"].reshape(6, 4, -1)


def record(forward, seen, name):
    def run(*args):
        outputs, state = forward(*args)
        seen[name] = outputs
        return outputs, state

    return run


def formula(alpha, beta, raw, dropped):
    """The two terms of the paper, as means, number by number."""
    small = [alpha * value**2 for value in dropped.flatten()]
    slow = [
        beta * (raw[t, b, k] - raw[t - 1, b, k]) ** 2
        for t in range(1, len(raw))
        for b in range(raw.shape[1])
        for k in range(raw.shape[2])
    ]
    return sum(small) / len(small) + sum(slow) / len(slow)


@pytest.mark.parametrize("recurrence", ["fused", "readable"])
@pytest.mark.parametrize("alpha, beta", [(2.0, 0.0), (0.0, 1.5), (2.0, 1.0)])
def test_each_penalty_is_that_of_the_paper(make_model, window, recurrence, alpha, beta):
    """In float64: the gradients of the loss with it are those of nll + 24 words times the terms."""
    model = make_model(output_norm=False, tie_weights=False, recurrence=recurrence, **DROPOUTS)
    network = model.network.double().train()
    parameters, words = list(network.parameters()), 6 * 4
    torch.manual_seed(5)
    plain, _ = network.loss(*window, network.initial_state(4))
    torch.manual_seed(5)
    with_both, _ = network.loss(
        *window, network.initial_state(4), penalty=ActivationPenalty(alpha, beta)
    )
    torch.manual_seed(5)
    penalty = formula(alpha, beta, *outputs_of(network, window))
    assert torch.equal(plain, with_both)  # what is logged is the nll alone
    expected = torch.autograd.grad(plain + words * penalty, parameters)
    for found, wanted in zip(torch.autograd.grad(with_both, parameters), expected, strict=True):
        torch.testing.assert_close(found, wanted)


def test_the_value_of_a_penalty_by_hand():
    outputs = torch.tensor([[[1.0, 2.0]], [[3.0, -1.0]], [[3.0, 0.0]]])  # (T, B, H) = (3, 1, 2)
    mask = torch.tensor([[[2.0, 0.0]]])
    dropped, slow = (4 + 36 + 36) / 6, (4 + 9 + 0 + 1) / 4
    assert float(ActivationPenalty(0.5, 0.0).of(outputs, None)) == pytest.approx(3 * 0.5 * 24 / 6)
    assert float(ActivationPenalty(0.5, 0.0).of(outputs, mask)) == pytest.approx(3 * 0.5 * dropped)
    assert float(ActivationPenalty(0.0, 0.5).of(outputs, mask)) == pytest.approx(3 * 0.5 * slow)
    assert float(ActivationPenalty(2.0, 0.5).of(outputs[:1], None)) == pytest.approx(2 * 5 / 2)
    assert ActivationPenalty(1.0, 1.0).of(outputs.bfloat16(), mask).dtype == torch.float32


def test_with_a_layer_norm_the_outputs_before_it_are_meant(make_model, window):
    network = make_model(output_norm=True, tie_weights=False).network.train()
    raw, _ = outputs_of(network, window)
    penalty = 24 * formula(2.0, 1.0, raw, raw)
    expected = torch.autograd.grad(penalty, list(network.recurrent.parameters()))
    plain, _ = network.loss(*window, network.initial_state(4))
    with_both, _ = network.loss(
        *window, network.initial_state(4), penalty=ActivationPenalty(2.0, 1.0)
    )
    for found, without, wanted in zip(
        torch.autograd.grad(with_both, list(network.recurrent.parameters())),
        torch.autograd.grad(plain, list(network.recurrent.parameters())),
        expected,
        strict=True,
    ):
        torch.testing.assert_close(found, without + wanted, rtol=1e-4, atol=1e-5)


def test_the_logged_perplexity_is_without_them(config, tmp_path):
    settings = {"training.max_steps": 3, "training.log_every": 1, "optimizer.name": "sgd"}

    def losses(name, **regularization):
        values = {f"training.{key}": value for key, value in regularization.items()}
        run = train(config, tmp_path / name, report=lambda line: None, **settings, **values)
        return [
            line["loss"]
            for line in read_log(run.folder / "metrics.jsonl")
            if line["split"] == "train"
        ]

    plain = losses("plain")
    for n, key in enumerate(("activation_regularization", "temporal_activation_regularization")):
        with_it = losses(str(n), **{key: 9.0})
        assert with_it[0] == plain[0] and with_it[1:] != plain[1:]


# --- the rate, and the length of a window ---------------------------------------------------------


def step_of(make_model, folder, tokens, limit, rate_by_length, **optimizer):
    """One SGD update over a window of 3 words in 4 streams, of the 5 that a full one has."""
    model = make_model(tie_weights=False)
    before = [p.detach().clone() for p in model.network.parameters()]
    folder.mkdir()
    trainer = Trainer(
        model,
        tokens,
        [ValidText("files", tokens)],
        OptimizerConfig(
            warmup_steps=0, schedule="constant", rate_by_length=rate_by_length, **optimizer
        ),
        TrainingConfig(batch_size=4, bptt_length=5, max_steps=1, max_grad_norm=limit, device="cpu"),
        EvaluationConfig(),
        folder,
    )
    trainer.update()
    assert trainer.progress.words == 12
    return [p.detach() - start for p, start in zip(model.network.parameters(), before, strict=True)]


def test_the_rate_is_multiplied_by_the_share_of_a_full_window(make_model, vocabulary, tmp_path):
    """As the paper's program: clip the gradient of the mean loss, then step by 3/5 of the rate."""
    tokens = np.random.default_rng(0).integers(2, len(vocabulary), 12)
    sgd = {"name": "sgd", "learning_rate": 0.5}
    model = make_model(tie_weights=False)
    inputs = np.concatenate([[vocabulary.eos_id], tokens[:-1]]).reshape(4, 3).T.copy()
    targets = torch.from_numpy(tokens.reshape(4, 3).T.copy())
    nll, _ = model.network.loss(torch.from_numpy(inputs), targets, model.network.initial_state(4))
    (nll / 12).backward()
    nn.utils.clip_grad_norm_(model.network.parameters(), 0.1)
    moved = step_of(make_model, tmp_path / "true", tokens, 0.1, True, **sgd)
    for found, p in zip(moved, model.network.parameters(), strict=True):
        torch.testing.assert_close(found, -0.5 * 3 / 5 * p.grad, rtol=1e-4, atol=1e-7)
    # without a limit, SGD does the same either way
    summed = step_of(make_model, tmp_path / "summed", tokens, None, False, **sgd)
    mean = step_of(make_model, tmp_path / "mean", tokens, None, True, **sgd)
    for left, right in zip(summed, mean, strict=True):
        torch.testing.assert_close(left, right, rtol=1e-4, atol=1e-7)
    # the first update of Adam is as long as its rate
    for scaled, length in ((False, 1.0), (True, 0.6)):
        adam = {"name": "adamw", "learning_rate": 0.01}
        moved = step_of(make_model, tmp_path / f"adam{scaled}", tokens, None, scaled, **adam)
        assert float(moved[-1].abs().max()) == pytest.approx(0.01 * length, rel=1e-2)


# --- weight drop ----------------------------------------------------------------------------------


@pytest.mark.parametrize("recurrence", ["fused", "readable"])
def test_weights_are_dropped_once_per_window(make_model, window, recurrence):
    """A weight that is dropped for a whole window has no gradient; for one word, it would have."""
    network = make_model(
        weight_dropout=0.5, recurrence=recurrence, hidden_size=20, num_layers=1
    ).network.train()
    dropped = []
    for _ in range(2):
        network.zero_grad()
        network.loss(*window, network.initial_state(4))[0].backward()
        dropped.append(
            [
                gate.recurrent_weight.grad == 0
                for gate in network.recurrent.cells[0].gates().values()
            ]
        )
    for first, second in zip(*dropped, strict=True):
        assert 0.4 < float(first.float().mean()) < 0.6
        assert 0.15 < float((first & second).float().mean()) < 0.35  # drawn anew in each window


# --- finetuning -----------------------------------------------------------------------------------


def test_finetuning_averages_from_its_first_step_and_starts_at_the_kept_weights(
    config, tmp_path, monkeypatch
):
    monkeypatch.setattr(RunLog, "draw", lambda self: None)
    sgd = {"optimizer.name": "sgd", "optimizer.warmup_steps": 0, "optimizer.learning_rate": 0.5}
    first = train(
        config, tmp_path / "first", **sgd, **{"training.average": "last:0.5"}, report=lambda _: None
    )
    start = {name: p.detach().clone() for name, p in first.model.network.named_parameters()}
    history, lines, update = [], [], Trainer.update

    def update_and_note(trainer):
        update(trainer)
        history.append({name: p.detach() for name, p in trainer.network.named_parameters()})
        history[-1] = {name: p.clone() for name, p in history[-1].items()}

    monkeypatch.setattr(Trainer, "update", update_and_note)
    then = {"training.average": "last:1", "training.max_steps": 4, "training.validate_every": 4}
    tiny = {"optimizer.learning_rate": 1e-6}
    train(config, tmp_path / "then", init_from=first.folder, report=lines.append,
          **(sgd | then | tiny))  # fmt: skip
    assert any(line.startswith("step 1: averaging of the weights begins") for line in lines)
    for name, weight in history[0].items():
        torch.testing.assert_close(weight, start[name], rtol=0, atol=1e-5)
    log = [line for line in read_log(tmp_path / "then" / "metrics.jsonl")]
    valid = [line["perplexity"] for line in log if line["split"] == "valid"]
    assert valid == pytest.approx([first.perplexity] * 2, rel=1e-4)


# --- the published sizes --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name, vocab_size, published", [("awd-wikitext2", 33_278, 33), ("awd-ptb", 10_000, 24)]
)
def test_the_published_networks_have_as_many_parameters(name, vocab_size, published):
    """Counted again with torch's modules; the paper's gates have two biases each, ours one."""
    with torch.device("meta"):
        layers = [nn.LSTM(400, 1150), nn.LSTM(1150, 1150), nn.LSTM(1150, 400)]
        parts = [nn.Embedding(vocab_size, 400), *layers]  # tied
    theirs = sum(p.numel() for part in parts for p in part.parameters()) + vocab_size
    assert theirs // 10**6 == published
    ours = count_parameters(load_config(CONFIGS / f"{name}.yaml").model, vocab_size)
    assert ours == theirs - 4 * (1150 + 1150 + 400)
    assert abs(ours / theirs - 1) < 0.01


def test_the_published_settings_at_a_small_size_learn(config, tmp_path):
    """The configuration on another text, with few units."""
    published, own = load_config(CONFIGS / "awd-ptb.yaml"), load_config(config)
    small = replace(
        published,
        corpus=own.corpus,
        model=replace(published.model, embedding_dim=16, hidden_size=(24, 24, 16)),
        training=replace(
            published.training,
            batch_size=4,
            bptt_length=20,
            max_epochs=None,
            max_steps=60,
            validate_every=20,
            device="cpu",
        ),
    )
    run = train(small, tmp_path / "awd", report=lambda line: None)
    first, *_ = [
        line for line in read_log(run.folder / "metrics.jsonl") if line["split"] == "valid"
    ]
    assert run.perplexity < first["perplexity"]
