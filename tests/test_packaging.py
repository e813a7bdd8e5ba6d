"""The wheel: what is in it, and that it works outside the clone."""

import json
import os
import subprocess
import sys
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest

import lstm_lm
from lstm_lm.config import load_config
from lstm_lm.errors import CorpusError
from lstm_lm.files import packaged

ROOT = Path(__file__).parent.parent
CLONE_ONLY = {"pictures", "__pycache__"}  # folders that are not installed


def python(*arguments, folder, site=None):
    """Runs Python in a folder; with `site`, packages in that folder are found first."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    if site is not None:
        environment["PYTHONPATH"] = str(site)
    done = subprocess.run(
        [sys.executable, *map(str, arguments)],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        encoding="utf-8",
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """A wheel of this clone, built without a network."""
    folder = tmp_path_factory.mktemp("wheel")
    python("-m", "hatchling", "build", "-t", "wheel", "-d", folder, folder=ROOT)
    (path,) = folder.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def site(wheel, tmp_path_factory):
    """A folder in which the wheel is installed. Other packages come from this environment."""
    folder = tmp_path_factory.mktemp("site")
    python(
        *("-m", "pip", "install", "-q", "--no-deps", "--no-index", "--no-compile"),
        *("--target", folder, wheel),
        folder=folder,
    )
    return folder


# --- in the clone --------------------------------------------------------------------------------


def test_every_config_of_the_clone_is_found_by_its_name():
    files = sorted((ROOT / "configs").glob("*.yaml"), key=lambda path: path.stem)
    assert packaged.config_names() == [path.stem for path in files] and files
    assert [packaged.find_config(path.stem) for path in files] == files


@pytest.mark.parametrize(
    "name", ["", "no-such-config", "quickstart.yaml", "../configs/quickstart", "README"]
)
def test_what_is_not_the_name_of_a_config(name):
    assert packaged.find_config(name) is None


def test_an_installed_config_comes_first(monkeypatch, tmp_path):
    monkeypatch.setattr(packaged.importlib.resources, "files", lambda package: tmp_path)
    assert packaged.find_config("quickstart") == ROOT / "configs" / "quickstart.yaml"
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "mine.yaml").write_text("", encoding="utf-8")
    assert packaged.config_names() == ["mine"]
    assert packaged.find_config("mine") == tmp_path / "configs" / "mine.yaml"
    assert packaged.find_config("quickstart") is None


def test_a_word_list_that_is_missing_is_named():
    with pytest.raises(CorpusError, match=r"data/biographies/no\.tsv is missing .*install"):
        packaged.read_word_list("biographies/no.tsv")


# --- in the wheel --------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_wheel_has_every_file_of_the_package(wheel):
    wanted = set()
    for folder, place in (("lstm_lm", ""), ("data", "lstm_lm/"), ("configs", "lstm_lm/")):
        for path in (ROOT / folder).rglob("*"):
            name = path.relative_to(ROOT)
            if path.is_file() and not CLONE_ONLY & set(name.parts):
                wanted.add(place + name.as_posix())
    with zipfile.ZipFile(wheel) as archive:
        found = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert found == wanted
    assert {"lstm_lm/py.typed", "lstm_lm/cells/fast/on_cpu.c"} < found


@pytest.mark.slow
def test_the_wheel_says_what_it_is(wheel):
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith("/METADATA"))
        metadata = Parser().parsestr(archive.read(name).decode("utf-8"))
    assert metadata["Name"] == "lstm_lm" and metadata["Version"] == lstm_lm.__version__
    assert metadata["License-Expression"] == "MIT" and metadata.get_all("Project-URL")
    assert any(line.startswith("pyarrow>=") for line in metadata.get_all("Requires-Dist"))


@pytest.mark.slow
def test_the_installed_package_finds_its_files(site, tmp_path):
    code = """
import importlib.resources, json, lstm_lm
from lstm_lm.files import packaged
from lstm_lm.probes.suites import built_in_names
print(json.dumps({
    "package": lstm_lm.__file__,
    "config": str(packaged.find_config("quickstart")),
    "configs": packaged.config_names(),
    "suites": built_in_names(),
    "names": len(packaged.read_word_list("biographies/names.tsv")),
    "typed": (importlib.resources.files("lstm_lm") / "py.typed").is_file(),
    "page": (importlib.resources.files("lstm_lm.inspection") / "page.html").is_file(),
    "typing_page": (
        importlib.resources.files("lstm_lm.integrations") / "typing_page" / "cells" / "lstm.js"
    ).is_file(),
    "settings": lstm_lm.load_config(packaged.find_config("quickstart")) is not None,
}))
"""
    found = json.loads(python("-c", code, folder=tmp_path, site=site))
    assert Path(found["package"]) == site / "lstm_lm" / "__init__.py"
    assert Path(found["config"]) == site / "lstm_lm" / "configs" / "quickstart.yaml"
    assert found["configs"] == packaged.config_names() and "quickstart" in found["configs"]
    assert {"capital", "agreement"} < set(found["suites"])
    assert found["names"] == len(packaged.read_word_list("biographies/names.tsv"))
    assert found["typed"] and found["page"] and found["typing_page"] and found["settings"]


@pytest.mark.slow
def test_the_installed_command_helps(site, tmp_path):
    (script,) = (path for path in (site / "bin").iterdir() if path.stem == "lstm-lm")
    environment = os.environ | {"PYTHONPATH": str(site)}
    done = subprocess.run(
        [str(script), "--help"], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "train" in done.stdout and "predict" in done.stdout


@pytest.mark.slow
def test_a_packaged_config_is_trained_and_asked_outside_the_clone(site, tmp_path):
    config = load_config(packaged.find_config("quickstart"))
    smaller = [
        "stories.count=200",
        "model.embedding_dim=8",
        "model.hidden_size=8",
        "training.max_steps=2",
        "evaluation.prompts=[]",
    ]
    assert config.stories.count > 200  # these settings exist, and make the run smaller
    command = ["-m", "lstm_lm"]
    python(*command, "train", "quickstart", *smaller, folder=tmp_path, site=site)
    asked = ["predict", "runs/quickstart", "I grew up in France. I speak fluent", "--json"]
    answer = json.loads(python(*command, *asked, folder=tmp_path, site=site))
    assert answer["predictions"][0]["probability"] > 0
