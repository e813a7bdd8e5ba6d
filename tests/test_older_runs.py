"""Runs of an older version resume, are evaluated and are compared as they began, or say why not."""

import json
import re
import shutil

import pytest

from lstm_lm import LanguageModel
from lstm_lm.cli.main import main
from lstm_lm.config import load_config
from lstm_lm.corpus.word_rules import LATEST_VERSION
from lstm_lm.training import comparison, run
from tests.torture.hostile import resealed

# Version 2 of the rules keeps the address and the smile whole, and skips the blank lines.
TEXT = [
    "I grew up in France. :-)",
    "",
    "",
    "Write to anna@example.org, please: she has a home in Paris.",
    "",
] * 12
CONFIG = """\
corpus: {source: files, text_file: %s}
model: {embedding_dim: 6, hidden_size: 6, num_layers: 1}
optimizer: {warmup_steps: 2, learning_rate: 0.03, schedule: constant}
training: {batch_size: 2, bptt_length: 10, max_epochs: null, max_steps: 6, device: cpu}
"""
AS_IT_WAS = ["corpus.join_lines=false", "corpus.skip_blank_lines=false"]
SUITE = "id\tprefix\ttarget\tfoil\n1\tI grew up in\tFrance\tParis\n"


def forget_new_settings(folder):
    """Takes from a run's config.yaml what an older version did not have."""
    path = folder / "config.yaml"
    text = re.sub(rb"  (join_lines|skip_blank_lines): false\n", b"", path.read_bytes())
    path.write_bytes(resealed(text))


@pytest.fixture(scope="module")
def older(tmp_path_factory):
    """A folder with a text, its configuration, a run of it and a comparison, all of version 1."""
    folder = tmp_path_factory.mktemp("older")
    (folder / "text.txt").write_text("\n".join(TEXT) + "\n")
    (folder / "suite.tsv").write_text(SUITE)
    config = folder / "own.yaml"
    config.write_text(CONFIG % (folder / "text.txt"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LSTM_LM_CACHE", str(folder / "cache"))
        for module in (run, comparison):
            patch.setattr(module, "LATEST_VERSION", 1)
        assert main(["train", str(config), "--output", str(folder / "run"), *AS_IT_WAS]) == 0
        further = ["--output", str(folder / "further"), "training.max_steps=9"]
        assert main(["train", str(config), *AS_IT_WAS, *further]) == 0
        assert main(comparing(folder, folder / "cells", *AS_IT_WAS)) == 0
    for name in ("run", "cells/lstm", "cells/elman"):
        forget_new_settings(folder / name)
    return folder


def comparing(folder, output, *words):
    """The command of a comparison."""
    command = ["compare", folder / "own.yaml", *words, "--output", output, "--cells", "lstm,elman"]
    return [str(word) for word in [*command, "--suites", folder / "suite.tsv"]]


@pytest.fixture
def run_of_old(older, tmp_path):
    return shutil.copytree(older / "run", tmp_path / "run")


@pytest.fixture
def cells(older, tmp_path):
    return shutil.copytree(older / "cells", tmp_path / "cells")


def version_of(folder):
    return LanguageModel.from_pretrained(folder).vocabulary.version


def learned(folder):
    """The weights of a run, and the last line of its log."""
    network = LanguageModel.from_pretrained(folder).network
    weights = [parameter.tolist() for parameter in network.parameters()]
    return weights, (folder / "metrics.jsonl").read_text().splitlines()[-1]


@pytest.mark.parametrize("name", ["", "config.yaml"])
def test_a_run_resumes_on_the_text_as_it_was_read_when_it_began(command, older, run_of_old, name):
    words = ["train", run_of_old / name, "--output", run_of_old, "--resume"]
    assert command(*words, "training.max_steps=9")[0] == 0
    assert learned(run_of_old) == learned(older / "further")
    assert version_of(run_of_old) == 1
    corpus = load_config(run_of_old / "config.yaml").corpus
    assert (corpus.join_lines, corpus.skip_blank_lines) == (False, False)


def test_another_way_of_reading_is_refused_and_the_remedy_works(
    command, refused, older, run_of_old
):
    words = ["--output", run_of_old, "--resume", "training.max_steps=9"]
    said = refused("train", older / "own.yaml", *words)
    assert "corpus.join_lines was False, is None" in said
    [remedy] = re.findall(r"resume with (\S+config\.yaml)", said)
    assert command("train", remedy, *words)[0] == 0


def test_a_split_of_a_run_is_read_as_in_its_training(command, older):
    found = json.loads(command("evaluate", older / "run", "--json")[1])
    logged = json.loads((older / "run" / "metrics.jsonl").read_text().splitlines()[-1])
    assert found["tokens"] == logged["tokens"]
    assert found["perplexity"] == pytest.approx(logged["perplexity"], rel=1e-5)


def test_a_comparison_is_asked_again_with_the_words_of_its_runs(command, older, cells):
    first = json.loads((cells / "compare.json").read_text())
    status, said, err = command(*comparing(older, cells, *AS_IT_WAS), "--json")
    assert status == 0 and err.count("finished already") == 2
    again = json.loads(said)
    assert again["vocab_size"] == first["vocab_size"] and again["suites"] == first["suites"]
    for now, before in zip(again["models"], first["models"], strict=True):
        assert now["perplexity"] == before["perplexity"]
        assert now.get("parameters") == before.get("parameters")


@pytest.mark.parametrize("cell, kept", [("elman", "lstm"), ("lstm", "elman")])
def test_networks_with_words_of_two_versions_are_not_compared(refused, older, cells, cell, kept):
    shutil.rmtree(cells / cell)
    said = refused(*comparing(older, cells, *AS_IT_WAS))
    assert f"{cells / kept}: its text was split into words by version 1" in said
    assert f"version {LATEST_VERSION}" in said and not (cells / cell).exists()


def test_without_older_runs_a_comparison_has_the_latest_words(command, older, cells):
    for name in ("lstm", "elman"):
        shutil.rmtree(cells / name)
    assert command(*comparing(older, cells, *AS_IT_WAS))[0] == 0
    assert {version_of(cells / name) for name in ("lstm", "elman")} == {LATEST_VERSION}
