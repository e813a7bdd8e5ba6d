"""`lstm-lm train --dry-run`: how large and how long, without training."""

import json
import tempfile
from dataclasses import replace

import pytest

from lstm_lm.config import load_config
from lstm_lm.corpus.corpus import Corpus
from lstm_lm.errors import DivergedError
from lstm_lm.model.network import count_parameters
from lstm_lm.training.dry_run import MEASURED_STEPS, WARM_UP_STEPS, dry_run
from lstm_lm.training.run import train
from lstm_lm.training.run_log import read_log
from lstm_lm.training.trainer import Trainer


@pytest.fixture
def temporary_folders(tmp_path, monkeypatch):
    """Where temporary folders are made."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def test_it_says_how_large_and_how_long(command, config, tmp_path, temporary_folders):
    run = tmp_path / "run"
    status, out, err = command(
        "train", config, "--output", run, "--dry-run", "--json", "training.max_epochs=3"
    )
    found = json.loads(out)
    settings = load_config(config)
    corpus = Corpus(settings.corpus)
    assert (status, err) == (0, "")
    assert found["parameters"] == count_parameters(settings.model, len(corpus.vocabulary))
    assert found["vocab_size"] == len(corpus.vocabulary)
    assert (found["train_tokens"], found["valid_tokens"]) == (1560, 14)
    assert (found["device"], found["steps"]) == ("cpu", 12)  # max_steps is less than 3 epochs
    assert found["steps_per_epoch"] == 39  # 1560 tokens in 4 streams, 10 words a window
    assert found["seconds_per_step"] > 0
    assert found["seconds_per_epoch"] == pytest.approx(39 * found["seconds_per_step"])
    assert found["seconds"] == pytest.approx(12 * found["seconds_per_step"])
    assert found["words_per_second"] == pytest.approx(40 / found["seconds_per_step"])
    assert found["memory"] is None or 10**7 < found["memory"] < 10**12
    assert not run.exists() and not list(temporary_folders.iterdir())


def test_for_people(command, config, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    status, out, _ = command("train", config, "--dry-run")
    assert status == 0 and "nothing was trained" in out
    assert out.startswith("lstm 8, embedding 8 tied, 19 words, 731 parameters\n")
    for name in ("parameters", "peak memory", "time per epoch"):
        assert f"\n{name}" in out
    assert not (tmp_path / "runs").exists()


def test_the_number_of_epochs_limits_the_steps(config):
    settings = load_config(config, {"training.max_steps": None, "training.max_epochs": 3})
    assert dry_run(settings).steps == 117


def test_it_trains_as_few_steps_as_it_says(config, monkeypatch):
    steps = []
    update = Trainer.update
    monkeypatch.setattr(Trainer, "update", lambda trainer: (update(trainer), steps.append(1)))
    dry_run(load_config(config))
    assert len(steps) == WARM_UP_STEPS + MEASURED_STEPS


def test_a_slow_model_is_measured_in_one_step(config, monkeypatch):
    monkeypatch.setattr("lstm_lm.training.dry_run.MAX_SECONDS", 0.0)
    steps = []
    update = Trainer.update
    monkeypatch.setattr(Trainer, "update", lambda trainer: (update(trainer), steps.append(1)))
    assert dry_run(load_config(config)).seconds_per_step > 0
    assert len(steps) == WARM_UP_STEPS + 1


def test_a_run_that_is_there_stays_as_it_is(command, config, a_run):
    before = {path.name: path.read_bytes() for path in a_run.iterdir()}
    assert command("train", config, "--output", a_run, "--dry-run")[0] == 0
    assert {path.name: path.read_bytes() for path in a_run.iterdir()} == before


@pytest.mark.slow
def test_training_after_it_is_as_without_it(config, tmp_path):
    settings = load_config(config)
    train(settings, tmp_path / "first")
    dry_run(settings)
    train(settings, tmp_path / "second")
    first, second = (read_log(tmp_path / name / "metrics.jsonl") for name in ("first", "second"))
    assert first == second


def test_mistakes(refused, config, temporary_folders):
    assert "GiB" in refused("train", config, "--dry-run", "model.hidden_size=100000000")
    assert "absent.txt" in refused("train", config, "--dry-run", "corpus.train_file=absent.txt")
    settings = load_config(config)
    ruinous = replace(settings, optimizer=replace(settings.optimizer, learning_rate=1e6))
    with pytest.raises(DivergedError, match="in the first steps; lower optimizer.learning_rate"):
        dry_run(ruinous)
    assert not list(temporary_folders.iterdir())
