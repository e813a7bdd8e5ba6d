"""Mistakes of a user: one line that begins ``lstm-lm: error: ``, exit status 2, nothing is lost."""

import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from lstm_lm.files.run_files import FORMAT_VERSION

ROOT = Path(__file__).parent.parent


@pytest.mark.parametrize(
    "override, words",
    [
        ("model.hiden_size=3", ["model.hiden_size", "model.hidden_size"]),
        ("modle.hidden_size=3", ["modle", "model"]),
        ("model.hidden_size=wide", ["model.hidden_size", "'wide'", "whole number"]),
        ("model.hidden_size=0", ["model.hidden_size", "found 0", "at least 1"]),
        ("model.hidden_size=1e99", ["model.hidden_size"]),
        ("model.input_dropout=1.5", ["model.input_dropout", "below 1"]),
        ("training.device=cuda", ["training.device", "cpu"]),
        ("training.device=gpu", ["training.device", "'gpu'"]),
        ("model.hidden_size", ["model.hidden_size", "="]),
        ("model.hidden_size=100000000", ["GiB", "lower model.hidden_size"]),
        ("training.batch_size=1000000000000", ["training.batch_size", "at most 1000000"]),
        ("training.bptt_variation=1e307", ["training.bptt_variation", "at most 1000000"]),
        (
            "optimizer.embedding_learning_rate=1e307",
            ["optimizer.embedding_learning_rate", "below 1e+38"],
        ),
        (
            'corpus.train_file="~no-such-user/a\\nb\\x1b[2J"',
            [r"no such file: ~no-such-user/a\nb\x1b[2J (looked in"],
        ),
        ("corpus.train_file=absent.txt", ["corpus.train_file", "absent.txt"]),
        ("corpus.valid_file=lstm_lm/cells", ["corpus.valid_file", "is a folder without text"]),
        ("corpus.min_count=1000000", ["corpus.min_count"]),
        ("corpus.source=hub", ["corpus.dataset"]),
    ],
)
def test_a_setting(refused, config, tmp_path, override, words):
    if "cuda" in override and torch.cuda.is_available():
        pytest.skip("this machine has one")
    said = refused("train", config, override, "--output", tmp_path / "run")
    assert all(word in said for word in words), said
    assert not (tmp_path / "run").exists()


def test_too_little_memory_is_one_line():
    from lstm_lm.errors import ConfigError
    from lstm_lm.machine import out_of_memory_named

    for size in (10**15, 10**18, 2**62):
        with (
            pytest.raises(ConfigError, match="not enough memory for these sizes; lower model"),
            out_of_memory_named(),
        ):
            torch.empty(size)


@pytest.mark.parametrize(
    "said", ["CUDA out of memory. Tried to allocate 2 GiB.", "MPS backend out of memory (x)"]
)
def test_too_little_memory_of_a_gpu_is_one_line(said, monkeypatch, capsys):
    from lstm_lm.cli import evaluate, main

    def fail(args):
        raise RuntimeError(said)

    monkeypatch.setattr(evaluate, "run", fail)
    assert main.main(["evaluate", "some-run", "--device", "auto"]) == 2
    assert capsys.readouterr().err == (
        "lstm-lm: error: the GPU has not enough memory for this command; free some, or add "
        "--device cpu\n"
    )


def test_every_mistake_has_its_own_line(command, config):
    status, _, err = command(
        "train", config, "model.hiden_size=3", "training.seed=x", "optimizer.learning_rate=-1"
    )
    assert status == 2 and err.count("lstm-lm: error: ") == err.count("\n") == 3


@pytest.mark.parametrize(
    "text, words",
    [
        ("", ["empty"]),
        ("model: [1", ["line 1"]),
        ("- 1\n", ["sections"]),
        ("model:\n\thidden_size: 3", ["line 2"]),
        (None, ["absent.yaml"]),
    ],
)
def test_a_configuration_file(refused, tmp_path, text, words):
    path = tmp_path / ("absent.yaml" if text is None else "config.yaml")
    if text is not None:
        path.write_text(text)
    said = refused("train", path)
    assert all(word in said for word in words), said


@pytest.mark.slow
def test_a_training_that_diverges(command, config, tmp_path):
    """Exit status 1 and one line; what was saved is whole, and resumes as the line says."""
    run = tmp_path / "run"
    assert command("train", config, "training.max_steps=5", "--output", run)[0] == 0
    saved = (run / "training_state.safetensors").read_bytes()
    status, _, err = command(
        "train", config, "optimizer.learning_rate=1e6", "--output", run, "--resume"
    )
    assert err.startswith(
        "lstm-lm: error: the perplexity is not finite after step 6 (the last finite loss was 2."
    )
    assert (
        status == 1
        and err.count("\n") == 1
        and (run / "training_state.safetensors").read_bytes() == saved
    )
    again = ["train", config, "training.skip_non_finite=true", "--output", run, "--resume"]
    status, _, err = command(*again, "optimizer.learning_rate=1e6")
    assert (
        status == 1 and "for the 10th update in a row after step 6" in err and err.count("\n") == 1
    )
    status, out, _ = command(*again)
    assert status == 0 and "done: best valid perplexity" in out and "skipped" not in out
    assert command("predict", run, "I")[0] == 0


@pytest.mark.parametrize("split", ["train", "valid"])
@pytest.mark.parametrize(
    "content, words",
    [
        (b"", ["empty"]),
        (b"caf\xe9 noir\n", ["line 1", "not UTF-8"]),
        (b"\xff\xfea\x00\n\x00", ["UTF-16"]),
        (None, ["no such file"]),
    ],
)
def test_a_corpus_file(refused, config, tmp_path, split, content, words):
    path = config.parent / f"{split}.txt"
    path.unlink() if content is None else path.write_bytes(content)
    said = refused("train", config, "--output", tmp_path / "run")
    assert all(word in said for word in [f"{split}.txt", *words]), said
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("text", ["word\n", "word word word\n" * 9, "\n\n\n", "<unk>\n"])
def test_a_corpus_of_one_word(refused, config, text):
    (config.parent / "train.txt").write_text(text)
    refused("train", config)


def test_tiny_corpora_and_strange_prompts_work(command, config, tmp_path):
    """A valid split shorter than a window, train shorter than a batch, strange prompts."""
    (config.parent / "valid.txt").write_text("one\n")
    (config.parent / "train.txt").write_text("two words\n")
    assert command("train", config, "training.batch_size=20", "--output", tmp_path / "run")[0] == 0
    for prompt in ("xyzzy plugh", "", "\N{SNOWMAN}\N{PILE OF POO}"):
        assert command("predict", tmp_path / "run", prompt)[0] == 0
        assert command("generate", tmp_path / "run", "--prompt", prompt, "--words", "3")[0] == 0
    assert command("evaluate", tmp_path / "run")[0] == 0


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "model.safetensors"])
@pytest.mark.parametrize("damage", ["missing", "torn"])
def test_a_damaged_run_directory(refused, a_run, name, damage):
    path = a_run / name
    content = path.read_bytes()
    path.unlink() if damage == "missing" else path.write_bytes(content[: len(content) // 2])
    for words in (["predict", a_run, "I"], ["generate", a_run, "I"], ["evaluate", a_run]):
        assert name in refused(*words)


@pytest.mark.parametrize("damage", ["torn", "gone"])
@pytest.mark.parametrize(
    "name",
    [
        "training_state.safetensors",
        "config.yaml",
        "config.json",
        "tokenizer.json",
        "metrics.jsonl",
        "model.safetensors",
    ],
)
def test_a_damaged_run_directory_is_not_resumed(refused, finished_run, a_run, name, damage):
    path = a_run / name
    content = path.read_bytes()
    path.unlink() if damage == "gone" else path.write_bytes(content[: len(content) // 2])
    assert name in refused(
        "train", finished_run.parent / "corpus" / "tiny.yaml", "--output", a_run, "--resume"
    )


def test_not_a_run_directory(refused, tmp_path, config):
    assert "no such directory" in refused("predict", tmp_path / "absent", "I")
    (tmp_path / "empty").mkdir()
    assert "config.json: is missing" in refused("predict", tmp_path / "empty", "I")
    assert "is a file" in refused("predict", config, "I")
    assert "is a file" in refused("train", config, "--output", config)
    refused("train", config, "--output", config / "below-a-file")
    refused("train", config, "--output", tmp_path / ("x" * 300))
    refused("predict", "x" * 300, "I")


def test_a_newer_format(refused, a_run):
    content = json.loads((a_run / "config.json").read_text())
    (a_run / "config.json").write_text(json.dumps(content | {"format_version": FORMAT_VERSION + 1}))
    assert f"format_version is {FORMAT_VERSION + 1}" in refused("predict", a_run, "I")


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["model.safetensors", "tokenizer.json", "training_state.safetensors"]
)
def test_a_file_of_another_model(command, refused, config, a_run, tmp_path, name):
    (config.parent / "train.txt").write_text("a few other words\n" * 9)
    assert command("train", config, "model.hidden_size=9", "--output", tmp_path / "other")[0] == 0
    (a_run / name).write_bytes((tmp_path / "other" / name).read_bytes())
    words = (
        ["train", a_run / "config.yaml", "--output", a_run, "--resume"]
        if "state" in name
        else ["predict", a_run]
    )
    assert name in (said := refused(*words)) and "another" in said


def test_a_changed_corpus_is_not_resumed(command, refused, config, tmp_path):
    assert command("train", config, "--output", tmp_path / "run")[0] == 0
    with (config.parent / "train.txt").open("a") as file:
        file.write("Paris\n")
    assert "corpus" in refused("train", config, "--output", tmp_path / "run", "--resume")


NOT_HERE = "mps" if torch.cuda.is_available() else "cuda"


@pytest.mark.parametrize(
    "words, said",
    [
        (["generate", "RUN", "I", "--words", "-1"], "-1"),
        (["generate", "RUN", "I", "--top-p", "2"], "top-p"),
        (["generate", "RUN", "I", "--temperature", "nan"], "nan"),
        (["generate", "RUN", "I", "--seed", "9" * 30], "seed"),
        (["generate", "RUN", "I", "--top-k", "0"], "top-k"),
        (["predict", "RUN", "I", "--top-k", "0"], "--top-k"),
        (["evaluate", "RUN", "--split", "test"], "no test split"),
        (["evaluate", "RUN", "--file", "absent.txt"], "absent.txt"),
        (["evaluate", "RUN", "--device", NOT_HERE], f"--device: found '{NOT_HERE}'"),
        (["score", "RUN", "--file", "absent.txt"], "absent.txt"),
        (["score", "RUN", "--file", os.devnull], "regular file"),
        (["predict", "RUN", "\udcff"], "UTF-8"),
        (["generate", "RUN", "--prompt", "\udcff"], "UTF-8"),
    ],
    ids=str,
)
def test_an_option(refused, finished_run, words, said):
    assert said in refused(*(finished_run if word == "RUN" else word for word in words))


@pytest.mark.parametrize("command_name, option", [("score", ["--file"]), ("evaluate", ["--file"])])
@pytest.mark.parametrize("content, said", [(b"", "empty"), (b"\xff\n", "not UTF-8")])
def test_a_file_to_read(refused, finished_run, tmp_path, command_name, option, content, said):
    (tmp_path / "text.txt").write_bytes(content)
    assert said in refused(command_name, finished_run, *option, tmp_path / "text.txt")


def test_a_model_without_config_yaml(command, refused, a_run):
    (a_run / "config.yaml").unlink()
    assert "--file" in refused("evaluate", a_run)
    assert command("evaluate", a_run, "--file", a_run / "README.md")[0] == 0


def test_a_full_disk_loses_nothing(command, refused, a_run):
    before = {path.name: path.read_bytes() for path in a_run.iterdir()}
    limits = resource.getrlimit(
        resource.RLIMIT_FSIZE
    )  # Python ignores the signal, and writing fails
    resource.setrlimit(
        resource.RLIMIT_FSIZE, (len(before["training_state.safetensors"]) - 1, limits[1])
    )
    again = ["train", a_run / "config.yaml", "--output", a_run, "--resume", "training.max_steps=14"]
    try:
        assert "could not be written" in refused(*again)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert (a_run / "training_state.safetensors").read_bytes() == before[
        "training_state.safetensors"
    ]
    assert not list(a_run.glob(".*.tmp"))
    assert command("predict", a_run, "I")[0] == 0
    assert command(*again)[0] == 0


def run(*words, **environment):
    return subprocess.run(
        [sys.executable, "-m", "lstm_lm", *map(str, words)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"} | environment,
        stdin=subprocess.DEVNULL,
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    "words, offline",
    [
        (
            [
                "train",
                "CONFIG",
                "corpus.source=hub",
                "corpus.dataset=Salesforce/wikitext",
                "corpus.train_file=null",
                "corpus.valid_file=null",
                "corpus.skip_blank_lines=null",
            ],
            "1",
        ),  # 0: retries for 20 s
        (["predict", "nobody/nothing", "I"], "0"),
    ],
    ids=["data set", "model"],
)
def test_no_hub(config, tmp_path, words, offline):
    done = run(
        *(config if word == "CONFIG" else word for word in words),
        HF_ENDPOINT="http://127.0.0.1:9",
        HF_HUB_OFFLINE=offline,
        HF_HOME=str(tmp_path),
    )
    assert done.returncode == 2 and done.stderr.count("\n") == 1, done.stderr
    assert done.stderr.startswith("lstm-lm: error: ") and "hub" in done.stderr


@pytest.mark.slow
def test_standard_output_that_cannot_be_written_to(finished_run):
    if not os.path.exists("/dev/full"):
        pytest.skip("needs /dev/full")
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "lstm_lm", "predict", finished_run, "I"],
            cwd=ROOT,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
        )
    assert (
        done.returncode == 2
        and done.stderr == "lstm-lm: error: standard output: No space left on device\n"
    )
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        [sys.executable, "-m", "lstm_lm", "--help"], cwd=ROOT, stdout=write, stderr=subprocess.PIPE
    )
    os.close(write)
    assert b"Traceback" not in done.stderr
