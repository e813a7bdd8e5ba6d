"""Laws of training on several processes: it is the training of one process."""

import dataclasses
import json
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
import torch

import lstm_lm
from lstm_lm.config import EvaluationConfig, ModelConfig, OptimizerConfig, TrainingConfig
from lstm_lm.errors import ConfigError
from lstm_lm.files.atomic import write_atomically
from lstm_lm.files.run_files import CURVE_FILE, STATE_FILE
from lstm_lm.model.language_model import LanguageModel
from lstm_lm.training.checkpoint import read_progress
from lstm_lm.training.distributed import Ranks
from lstm_lm.training.following import share_start
from lstm_lm.training.run_log import RunLog, read_log
from lstm_lm.training.trainer import Trainer
from lstm_lm.training.validation import ValidText
from tests.ranks import run_ranks
from tests.torture.ground import Ground
from tests.torture.ranks import environment, free_port, start_ranks, wait_for_bytes

IN_MEMORY = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None

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
        (
            DROPS,
            SPARSE,
            {
                "average": "ema:0.9",
                "activation_regularization": 2.0,
                "temporal_activation_regularization": 1.0,
                "noising": "kneser_ney:0.2",
            },
        ),
        (
            DROPS | {"output": "sampled_mos", "mixture_dropout": 0.2, "mixture_softmaxes": 2},
            SPARSE,
            {"noising": "unigram:0.2"},
        ),
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


# --- the command ---------------------------------------------------------------------------------


@pytest.fixture
def ground(new_run, monkeypatch):
    """A place in memory to train in, without pictures: a disk and they take most of the time."""
    monkeypatch.setattr(
        RunLog, "_draw_curve", lambda log: write_atomically(log.folder / CURVE_FILE, b"a picture")
    )
    # `new_run` was trained in this process, so that those forked from it have nothing to import
    with tempfile.TemporaryDirectory(dir=IN_MEMORY) as folder:
        yield Ground(Path(folder), steps=60)


def ended(ranks):
    return [process.wait() for process in ranks], "".join(process.err for process in ranks)


def train_together(ground, run, *words, size=2):
    return start_ranks(ground, size, "train", ground.config, "--output", run, *words)


def log_of(run):
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def test_two_processes_make_the_run_that_one_makes_and_one_of_them_prints(ground):
    ground.run_whole()
    run = ground.folder / "run"
    first, second = train_together(ground, run)
    assert (first.wait(), second.wait()) == (0, 0), first.err + second.err
    assert second.out == second.err == ""
    assert "into " + str(run) + ", in 2 processes" in first.out
    names = {path.name for path in run.iterdir()}
    assert names == {path.name for path in ground.whole.iterdir()}
    for line, other in zip(log_of(run), log_of(ground.whole), strict=True):
        assert line.keys() == other.keys()
        assert line["loss"] == pytest.approx(other["loss"], rel=1e-4)
    assert LanguageModel.from_pretrained(run).predict_next("Maria has a", top_k=1)


@pytest.mark.slow
@pytest.mark.parametrize("who", [0, 1])
def test_a_signal_to_one_rank_stops_all_and_they_resume_bit_for_bit(ground, who):
    assert ended(train_together(ground, ground.whole, "training.max_steps=200"))[0] == [0, 0]
    run = ground.folder / "stopped"
    ranks = train_together(ground, run, "training.max_steps=200")
    wait_for_bytes(run, 1000)
    ranks[who].send(signal.SIGTERM)
    assert ended(ranks)[0] == [143, 143]
    assert "stopped and saved" in ranks[0].err and ranks[1].err == ""
    assert "torchrun --nproc_per_node 2 -m lstm_lm train" in ranks[0].err
    steps = read_progress(run / STATE_FILE).step
    assert 0 < steps < 200
    ranks = train_together(ground, run, "training.max_steps=200", "--auto-resume")
    assert ended(ranks)[0] == [0, 0], ranks[0].err
    assert not ground.differences(run)


@pytest.mark.slow
def test_a_run_resumes_with_another_number_of_processes_and_says_so(ground):
    """The checkpoint has the state of every stream, so any number of processes can share them."""
    words = ["optimizer.schedule=constant"]
    whole, run = ground.folder / "whole", ground.folder / "run"
    process = ground.start("train", ground.config, "--output", whole, *words)
    assert process.wait() == 0, process.err
    for size, steps in ((2, 20), (4, 40), (1, 60)):
        command = ["train", ground.config, "--output", run, f"training.max_steps={steps}", *words]
        ranks = start_ranks(ground, size, *command, "--auto-resume")
        assert ended(ranks)[0] == [0] * size, ranks[0].err
        if steps > 20:
            assert f"and now has {size}: it is the same training" in ranks[0].out
    losses, of_whole = (
        {line["step"]: line["loss"] for line in log_of(folder) if line["split"] == "train"}
        for folder in (run, whole)
    )
    assert losses == pytest.approx(of_whole, rel=1e-4) and len(losses) == 20


def test_what_several_processes_cannot_do_is_refused_in_one_line(ground):
    run = ground.folder / "run"
    for words, message in (
        (["train", ground.config, "--output", run, "training.batch_size=5"], "4 or 6"),
        (["train", ground.config, "--output", run, "--dry-run"], "without torchrun"),
        (["train", ground.config, "--output", run, "model.cell=what"], "model.cell"),
        (["predict", ground.whole, "a text"], "predict: runs in one process"),
        (["train"], "CONFIG"),
    ):
        ranks = start_ranks(ground, 2, *words)
        assert ranks[0].wait() == 2 and message in ranks[0].err
        ranks[1].send(signal.SIGTERM)  # as torchrun does
        assert ranks[1].wait() in (1, 2, 143, -signal.SIGTERM)
        assert not [line for line in ranks[1].err.splitlines() if "another rank" not in line]
    assert not run.exists()


@pytest.mark.slow
def test_a_second_training_in_the_directory_is_refused(ground):
    run = ground.folder / "run"
    ranks = train_together(ground, run, "training.max_steps=2000")
    wait_for_bytes(run, 1000)
    others = train_together(ground, run, "training.max_steps=2000", "--auto-resume")
    assert others[0].wait() == 2 and "another run is training in it" in others[0].err
    others[1].send(signal.SIGTERM)
    others[1].wait()
    for process in ranks:
        process.send(signal.SIGTERM)
    assert ended(ranks)[0] == [143, 143]


@pytest.mark.slow
def test_all_ranks_diverge_together_and_one_says_so(ground):
    words = ["optimizer.learning_rate=1e30", "optimizer.warmup_steps=0"]
    ranks = train_together(ground, ground.folder / "run", *words)
    assert ended(ranks)[0] == [1, 1]
    assert "is not finite" in ranks[0].err and ranks[1].err == ""


@pytest.mark.slow
def test_torchrun_starts_a_training_again_after_a_kill(ground):
    assert ended(train_together(ground, ground.whole, "training.max_steps=300"))[0] == [0, 0]
    run, root = ground.folder / "run", Path(__file__).parent.parent
    torchrun = subprocess.Popen(
        [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2"]
        + ["--max-restarts", "1", "--master-port", str(free_port())]
        + ["-m", "lstm_lm", "train", str(ground.config), "--output", str(run), "--auto-resume"]
        + ["training.max_steps=300"],
        cwd=root,
        env=os.environ | {"OMP_NUM_THREADS": "1", "LSTM_LM_CACHE": str(ground.cache)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    wait_for_bytes(run, 3000, seconds=300)
    mine = subprocess.run(
        ["pgrep", "-P", str(torchrun.pid)], capture_output=True, text=True, check=True
    )
    os.kill(int(mine.stdout.split()[-1]), signal.SIGKILL)
    out, _ = torchrun.communicate(timeout=500)
    assert torchrun.returncode == 0, out
    assert out.count("in 2 processes") == 2 and ", from step" in out, out
    assert not ground.differences(run), out


def test_auto_resume_begins_a_run_and_then_continues_it(config, tmp_path, command):
    run = tmp_path / "run"
    assert command("train", config, "--output", run, "--auto-resume")[0] == 0
    status, out, _ = command(
        "train", config, "--output", run, "--auto-resume", "training.max_steps=14"
    )
    assert status == 0 and ", from step 12" in out
    found = lstm_lm.train(config, run, auto_resume=True, report=str, **{"training.max_steps": 15})
    assert found.steps == 15


def test_auto_resume_does_not_go_with_overwrite(config, tmp_path, refused):
    error = refused("train", config, "--output", tmp_path / "run", "--auto-resume", "--overwrite")
    assert "--auto-resume and --overwrite" in error


@pytest.mark.parametrize(
    "name, value, message",
    [
        ("RANK", "one", "RANK: found 'one' in the environment"),
        ("WORLD_SIZE", "-2", "WORLD_SIZE: found '-2'"),
        ("RANK", "7", "RANK: found 7; it must be below WORLD_SIZE, which is 2"),
    ],
)
def test_a_wrong_environment_is_refused(monkeypatch, refused, name, value, message):
    for variable, text in (environment(1, 2, 1) | {name: value}).items():
        monkeypatch.setenv(variable, text)
    assert message in refused("info", "runs/x")


def test_a_single_process_of_torchrun_is_an_ordinary_one(monkeypatch, config, tmp_path, command):
    for variable, text in environment(0, 1, 1).items():
        monkeypatch.setenv(variable, text)
    assert command("train", config, "--output", tmp_path / "run")[0] == 0
    assert command("info", tmp_path / "run")[0] == 0
