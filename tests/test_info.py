"""`lstm-lm info`: what a run directory says about itself."""

import json

import pytest

from lstm_lm import LanguageModel
from lstm_lm.training.run_log import read_log


def info(command, folder):
    status, out, err = command("info", folder, "--json")
    assert (status, err) == (0, "")
    return json.loads(out)


def test_a_finished_run(command, finished_run):
    found = info(command, finished_run)
    network = LanguageModel.from_pretrained(finished_run).network
    lines = read_log(finished_run / "metrics.jsonl")
    best = min((line for line in lines if line["split"] == "valid"), key=lambda line: line["loss"])
    assert (found["cell"], found["parameters"]) == ("lstm", network.parameter_count)
    assert (found["vocab_size"], found["seed"]) == (network.vocab_size, 0)
    assert (found["steps"], found["words"]) == (12, lines[-1]["words"])
    assert found["seconds"] == read_log(finished_run / "timings.jsonl")[-1]["seconds"]
    assert (found["perplexity"], found["perplexity_step"]) == (best["perplexity"], best["step"])
    assert (found["perplexity_tokens"], found["oov_tokens"], found["state"]) == (14, 1, "carried")
    assert "train.txt" in found["corpus"] and found["train_tokens"] == 1560
    assert (found["finished"], found["resumable"]) == (True, True)
    files = {path.name: path.stat().st_size for path in finished_run.iterdir()}
    assert {file["name"]: file["bytes"] for file in found["files"]} == files


def test_for_people(command, finished_run):
    status, out, _ = command("info", finished_run)
    assert status == 0 and "lstm 8, embedding 8 tied" in out and "model.safetensors" in out
    facts = dict(line.strip().split("  ", 1) for line in out.split("\n\n")[0].splitlines()[1:])
    assert facts["finished"].strip() == "yes" and "14 tokens" in facts["valid perplexity"]
    assert f"lstm-lm train {finished_run} --resume" in facts["resumable"]


@pytest.mark.slow
def test_a_stopped_run_is_not_finished_and_can_be_resumed(command, config, tmp_path, monkeypatch):
    from lstm_lm.training.trainer import Trainer

    update = Trainer.update

    def stop_after_one(trainer):
        update(trainer)
        trainer.signals.received = 2

    run = tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "update", stop_after_one)
        assert command("train", config, "--output", run)[0] == 130
    found = info(command, run)
    assert (found["steps"], found["finished"], found["resumable"]) == (1, False, True)
    assert found["perplexity"] is None
    assert "not measured yet" in command("info", run)[1]
    assert command("train", run, "--resume")[0] == 0
    assert info(command, run)["finished"] is True


@pytest.mark.parametrize(
    "name", ["training_state.safetensors", "config.yaml", "metrics.jsonl", "model.safetensors"]
)
def test_a_damaged_run_says_why_it_cannot_be_resumed(command, a_run, name):
    (a_run / name).write_bytes((a_run / name).read_bytes()[:50])
    found = info(command, a_run)
    assert found["steps"] == 12
    assert not found["resumable"] and name in found["not_resumable_because"]
    assert f"no: {found['not_resumable_because'][:30]}" in command("info", a_run)[1]


def test_a_saved_model_has_no_training(command, model, tmp_path):
    model.save_pretrained(tmp_path / "saved")
    found = info(command, tmp_path / "saved")
    assert found["parameters"] == model.network.parameter_count
    assert (found["steps"], found["finished"], found["corpus"]) == (None, None, None)
    assert not found["resumable"] and "config.yaml" in found["not_resumable_because"]
    assert {file["name"] for file in found["files"]} == {
        "config.json",
        "tokenizer.json",
        "model.safetensors",
        "README.md",
    }


def test_no_run(refused, tmp_path, a_run):
    assert "no such directory" in refused("info", tmp_path / "absent")
    (a_run / "config.json").unlink()
    assert "config.json: is missing" in refused("info", a_run)
