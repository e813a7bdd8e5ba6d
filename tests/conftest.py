"""Shared fixtures: a small vocabulary and model, a small corpus on disk, and a finished run."""

import shutil
import signal
from pathlib import Path

import pytest
import torch

from lstm_lm.cli.main import main
from lstm_lm.config import ModelConfig
from lstm_lm.corpus.vocabulary import Vocabulary
from lstm_lm.model.language_model import LanguageModel

torch.set_num_threads(1)  # the tensors here are small, and the machine may be busy

# Tests under nohup, or in the background of a script, begin with these signals ignored, and so
# would the processes that they start and stop.
for name in ("SIGINT", "SIGHUP"):
    number = getattr(signal, name, None)
    if number is not None and signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(number, signal.default_int_handler if name == "SIGINT" else signal.SIG_DFL)

LINES = [
    "I grew up in France .",
    "I speak fluent French .",
    "",
    "She has a home in Paris , and a cat .",
] * 3

# the files of a finished run
RUN_FILES = {
    "config.json",
    "config.yaml",
    "tokenizer.json",
    "model.safetensors",
    "README.md",
    "metrics.jsonl",
    "timings.jsonl",
    "training_curve.png",
    "training_state.safetensors",
    "training_state.previous.safetensors",
}


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("LSTM_LM_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="session", autouse=True)
def own_extensions(tmp_path_factory):
    """Compiles the C code once for all tests of a process and the commands that they start."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TORCH_EXTENSIONS_DIR", str(tmp_path_factory.mktemp("extensions")))
        yield


@pytest.fixture(scope="session")
def vocabulary():
    return Vocabulary.build(
        LINES, tokenization="words", lowercase=False, min_count=1, vocab_size=None
    )


@pytest.fixture
def make_model(vocabulary):
    def make(seed=0, **settings):
        torch.manual_seed(seed)
        sizes = {"embedding_dim": 6, "hidden_size": 7, "num_layers": 2}
        model = LanguageModel.from_config(ModelConfig(**(sizes | settings)), vocabulary)
        model.network.eval()
        return model

    return make


@pytest.fixture
def model(make_model):
    return make_model()


@pytest.fixture
def latch(make_model):
    """A model made by hand: unit 3 of its one LSTM layer writes at France only, and keeps it."""
    model = make_model(num_layers=1, tie_weights=False)
    cell, france = model.network.recurrent.cells[0], model.vocabulary.id("France")
    with torch.no_grad():
        for parameter in cell.parameters():
            parameter.zero_()
        model.network.embedding.weight.zero_()
        model.network.embedding.weight[france, 0] = 10
        cell.forget_gate.bias[3] = cell.candidate.bias[3] = 20
        cell.input_gate.bias[3], cell.input_gate.input_weight[3, 0] = -20, 10
    return model


TINY = """\
corpus: {source: files, train_file: %s, valid_file: %s, cache_dir: %s, skip_blank_lines: false}
model: {embedding_dim: 8, hidden_size: 8, num_layers: 1, input_dropout: 0.1}
optimizer: {warmup_steps: 2, learning_rate: 0.03, schedule: constant}
training: {batch_size: 4, bptt_length: 10, max_epochs: null, max_steps: 12, log_every: 2,
           validate_every: 5, device: cpu}
"""


@pytest.fixture
def command(capsys):
    """Runs ``lstm-lm`` in this process; returns exit status, standard output and standard error."""

    def run(*words):
        capsys.readouterr()
        try:
            status = main([str(word) for word in words])
        except SystemExit as exited:  # argparse
            status = exited.code
        return status, *capsys.readouterr()

    return run


@pytest.fixture
def refused(command):
    """Runs ``lstm-lm``, which must exit with 2 and one line on standard error; returns it."""

    def run(*words):
        status, out, err = command(*words)
        assert status == 2 and err.startswith("lstm-lm: error: ") and err.count("\n") == 1, (
            status,
            out,
            err,
        )
        return err

    return run


def write_corpus(folder):
    """Writes a small corpus and ``tiny.yaml``; valid has a word that is not in train."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "train.txt").write_text("\n".join(LINES * 20) + "\n")
    (folder / "valid.txt").write_text("She speaks fluent French .\n\nI grew up in Paris .\n")
    config = folder / "tiny.yaml"
    config.write_text(TINY % (folder / "train.txt", folder / "valid.txt", folder / "cache"))
    return config


@pytest.fixture
def config(tmp_path):
    return write_corpus(tmp_path / "corpus")


@pytest.fixture(scope="session")
def new_run(tmp_path_factory):
    """A run directory that nobody measured; its corpus is in the folder beside it."""
    folder = tmp_path_factory.mktemp("finished")
    assert (
        main(["train", str(write_corpus(folder / "corpus")), "--output", str(folder / "run")]) == 0
    )
    return folder / "run"


@pytest.fixture(scope="session")
def finished_run(new_run):
    """A run directory that tests may measure, but must not change otherwise."""
    return Path(shutil.copytree(new_run, new_run.parent / "measured"))


@pytest.fixture
def a_run(new_run, tmp_path):
    """A copy of the run, which a test may change."""
    return Path(shutil.copytree(new_run, tmp_path / "run"))
