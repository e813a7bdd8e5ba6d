"""Laws of a saved model: the same after loading; any damage is a one-line error."""

import errno
import json
import os
import struct

import pytest
import torch

from lstm_lm import LanguageModel
from lstm_lm.errors import DiskError, HubError, RunDirectoryError
from lstm_lm.model.hub import find_folder
from lstm_lm.model.pretrained import CARD_FILE, CONFIG_FILE, TOKENIZER_FILE, WEIGHTS_FILE
from tests.torture.hostile import resealed

ADAPTIVE = {"output": "adaptive", "adaptive_cutoffs": (5, 12), "adaptive_factor": 2.0}
FILES = [CONFIG_FILE, TOKENIZER_FILE, WEIGHTS_FILE, CARD_FILE]


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"tie_weights": False},
        {"hidden_size": (9, 4), "cell": "gru"},
        {"output": "sampled", "output_norm": False},
        ADAPTIVE,
        {**ADAPTIVE, "tie_weights": False},
        {"output": "mos", "mixture_softmaxes": 3},
        {"cell": "mogrifier_lstm", "mogrifier_rounds": 3, "mogrifier_rank": 2},
        {"output": "sampled_mos", "mixture_softmaxes": 2, "tie_weights": False},
    ],
)
def test_saved_and_loaded_is_the_same_model(make_model, tmp_path, settings):
    model = make_model(**settings)
    model.save_pretrained(tmp_path / "saved")
    assert sorted(path.name for path in (tmp_path / "saved").iterdir()) == sorted(FILES)
    before = torch.get_rng_state()
    loaded = LanguageModel.from_pretrained(tmp_path / "saved")
    assert torch.equal(torch.get_rng_state(), before)
    assert loaded.config == model.config and not loaded.network.training
    assert loaded.device.type == "cpu"
    shared = {id(p) for p in loaded.network.embedding.parameters()} & {
        id(p) for p in loaded.network.output.parameters()
    }
    assert bool(shared) == model.config.tie_weights and not any(
        p.is_meta for p in loaded.network.parameters()
    )
    tokens = torch.randint(10, (5, 2))
    assert torch.equal(loaded.network(tokens)[0], model.network(tokens)[0])
    if "sampled" not in model.config.output:  # which first needs the words' counts
        state = loaded.network.initial_state(2)
        loaded.network.train().loss(tokens, tokens, state)[0].backward()


def test_an_existing_card_is_kept(model, tmp_path):
    (tmp_path / CARD_FILE).write_text("mine")
    model.save_pretrained(tmp_path)
    assert (tmp_path / CARD_FILE).read_text() == "mine"


@pytest.fixture
def saved(model, tmp_path):
    model.save_pretrained(tmp_path)
    return tmp_path


def refusal(folder):
    with pytest.raises(RunDirectoryError) as caught:
        LanguageModel.from_pretrained(folder)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("name", FILES[:3])
def test_a_missing_file(saved, name):
    (saved / name).unlink()
    assert name in refusal(saved) and "missing" in refusal(saved)


@pytest.mark.parametrize("name", FILES[:3])
@pytest.mark.parametrize("kept", [0, 1, 20, 0.5, 0.99])
def test_a_torn_file(saved, name, kept):
    content = (saved / name).read_bytes()
    (saved / name).write_bytes(
        content[: int(kept * len(content)) if isinstance(kept, float) else kept]
    )
    assert name in refusal(saved)


def test_a_newer_format(saved):
    content = json.loads((saved / CONFIG_FILE).read_text())
    (saved / CONFIG_FILE).write_text(json.dumps(content | {"format_version": 99}))
    assert "format_version is 99" in refusal(saved)


def test_files_of_another_model(saved, make_model, tmp_path):
    make_model(hidden_size=8).save_pretrained(tmp_path / "other")
    (saved / WEIGHTS_FILE).write_bytes((tmp_path / "other" / WEIGHTS_FILE).read_bytes())
    assert "another model" in refusal(saved)


def test_an_unknown_setting(saved):
    content = json.loads((saved / CONFIG_FILE).read_text())
    content["model"]["hiden_size"] = 3
    (saved / CONFIG_FILE).write_bytes(resealed(json.dumps(content).encode()))
    assert "model.hiden_size" in refusal(saved)


def test_a_header_with_huge_sizes_is_refused_before_memory_is_allocated(saved):
    claim = {"dtype": "F32", "shape": [10**6, 10**6], "data_offsets": [0, 4 * 10**12]}
    header = json.dumps({"embedding.weight": claim})
    (saved / WEIGHTS_FILE).write_bytes(struct.pack("<Q", len(header)) + header.encode())
    assert WEIGHTS_FILE in refusal(saved)


def test_no_such_directory_and_no_hub(monkeypatch, tmp_path):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(HubError, match="no such directory here"):
        LanguageModel.from_pretrained("nobody/nothing")
    assert "no such directory" in refusal(tmp_path / "absent")
    (tmp_path / "file").write_text("")
    assert "is a file" in refusal(tmp_path / "file")


def test_a_full_disk_keeps_the_old_files(saved, make_model, monkeypatch):
    before = {path.name: path.read_bytes() for path in saved.iterdir()}

    def full(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(DiskError, match="No space left"):
        make_model(seed=5).save_pretrained(saved)
    assert {path.name: path.read_bytes() for path in saved.iterdir()} == before


@pytest.fixture
def asked(monkeypatch, tmp_path):
    """A stand-in for the hub: every name leads to the same folder; records what was asked of it."""
    requests = []

    def download(name, **options):
        requests.append((name, options["revision"], options["token"]))
        return str(tmp_path)

    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    return requests


def test_a_model_of_the_hub_has_a_revision_and_needs_a_token(saved, model, asked):
    loaded = LanguageModel.from_pretrained("user/model", "meta", revision="v2", token="secret")
    assert asked == [("user/model", "v2", "secret")]
    assert loaded.device.type == "meta" and not loaded.network.training
    loaded = LanguageModel.from_pretrained("user/model", device=torch.device("cpu"))
    assert asked[1:] == [("user/model", None, None)]
    assert loaded.predict_next("I grew") == model.predict_next("I grew")


@pytest.mark.parametrize(
    "name, expected",
    [
        ("user/model", "user/model"),
        ("gpt2", "gpt2"),
        ("hub:user/model", "user/model"),
        ("hub:runs/model", "runs/model"),
        ("hub:here/model", "here/model"),
        ("hub:here", "here"),
        ("Some-User/model.v2_1", "Some-User/model.v2_1"),
    ],
)
def test_a_name_means_the_hub(asked, tmp_path, monkeypatch, name, expected):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path)
    assert find_folder(name) == tmp_path and asked == [(expected, None, None)]


@pytest.mark.parametrize(
    "name",
    [
        "here/model",
        "runs/model",
        "runs",
        "./user/model",
        "../user/model",
        "/user",
        "a/b/c",
        "user/",
        "",
        "~/x",
    ],
)
def test_a_name_means_a_directory_that_is_missing(asked, tmp_path, monkeypatch, name):
    (tmp_path / "work" / "here").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "work")
    with pytest.raises(RunDirectoryError, match="no such directory") as caught:
        find_folder(name)
    assert "\n" not in str(caught.value) and asked == []


def test_a_path_that_exists_is_never_looked_up_on_the_hub(asked, tmp_path, monkeypatch):
    (tmp_path / "user" / "model").mkdir(parents=True)
    (tmp_path / "user" / "file").write_text("")
    monkeypatch.chdir(tmp_path)
    for name in ("user/model", "user", "./user/model", tmp_path / "user"):
        assert find_folder(name).samefile(tmp_path / name)
    with pytest.raises(RunDirectoryError, match="user/file: is a file"):
        find_folder("user/file")
    assert asked == []
