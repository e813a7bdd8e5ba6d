"""`lstm-lm cache`: encoded corpora are listed and removed, and nothing else is."""

import json
import os
import time

import pytest

from lstm_lm.config import load_config
from lstm_lm.corpus.corpus import Corpus
from lstm_lm.files.cache import list_entries


@pytest.fixture
def cache(config):
    """The cache of a small corpus: its vocabulary and two splits."""
    corpus = Corpus(load_config(config).corpus)
    corpus.tokens("train")
    corpus.tokens("valid")
    return config.parent / "cache"


def listed(command, *words):
    status, out, err = command("cache", *words, "--json")
    assert (status, err) == (0, "")
    return json.loads(out)


def make_old(entry, days):
    then = time.time() - days * 24 * 3600
    os.utime(entry.path / "meta.json", (then, then))


def test_what_is_there_is_listed(command, cache):
    found = listed(command, "--dir", cache)
    assert found["cache"] == str(cache) and not found["removed"]
    assert sorted(entry["kind"] for entry in found["entries"]) == ["ids", "ids", "vocabulary"]
    on_disk = sum(path.stat().st_size for path in cache.rglob("*") if path.is_file())
    assert found["bytes"] == on_disk == sum(entry["bytes"] for entry in found["entries"])
    assert {entry["path"] for entry in found["entries"]} == {str(p) for p in cache.iterdir()}
    out = command("cache", "--dir", cache)[1]
    assert out.count("ids ") == 2 and f"{cache}: 3 encoded corpora" in out


def test_the_default_folder_may_be_missing(command, tmp_path):
    assert listed(command) == {
        "cache": str(tmp_path / "cache"),
        "bytes": 0,
        "removed": False,
        "entries": [],
    }
    assert "0 encoded corpora" in command("cache", "--clean")[1]


def test_using_an_entry_makes_it_recent(config, cache):
    for entry in list_entries(cache):
        make_old(entry, 10)
    Corpus(load_config(config).corpus).tokens("valid")
    ages = {entry.path.name: time.time() - entry.last_used for entry in list_entries(cache)}
    assert sorted(age > 9 * 24 * 3600 for age in ages.values()) == [False, False, True]
    newest = list_entries(cache)[0]
    assert newest.last_used == max(entry.last_used for entry in list_entries(cache))


@pytest.mark.slow
def test_cleaning_removes_what_is_old(command, config, cache):
    entries = list_entries(cache)
    make_old(entries[0], 40)
    make_old(entries[1], 20)
    assert len(listed(command, "--dir", cache, "--older-than", 30)["entries"]) == 1
    found = listed(command, "--dir", cache, "--clean", "--older-than", 30)
    assert found["removed"] and [e["path"] for e in found["entries"]] == [str(entries[0].path)]
    assert {path.name for path in cache.iterdir()} == {entry.path.name for entry in entries[1:]}
    status, out, _ = command("cache", "--dir", cache, "--clean")
    assert status == 0 and "removed 2 encoded corpora" in out
    assert not list(cache.iterdir())
    assert command("train", config, "--output", config.parent / "run")[0] == 0  # encoded again


def test_what_others_made_is_kept(command, cache):
    name = list_entries(cache)[0].path.name
    (cache / "notes.txt").write_text("mine")
    (cache / "mine").mkdir()
    (cache / "mine" / "meta.json").write_text("{}")
    (cache / "ids-12").mkdir()
    alike = cache / ("ids-" + "0" * 32)  # the name of an entry, with a person's files
    alike.mkdir()
    for file in ("meta.json", "ids.bin", "thesis.txt"):
        (alike / file).write_text("mine")
    without_meta = cache / ("ids-" + "1" * 32)
    without_meta.mkdir()
    (without_meta / "thesis.txt").write_text("mine")
    with_folder = cache / ("ids-" + "2" * 32)
    (with_folder / "ids.bin").mkdir(parents=True)
    (with_folder / "meta.json").write_text("{}")
    elsewhere = cache.parent / "elsewhere"
    (cache / name).rename(elsewhere)
    (cache / name).symlink_to(elsewhere)
    before = {path.name for path in cache.iterdir()}
    assert len(listed(command, "--dir", cache, "--clean")["entries"]) == 2
    kept = {path.name for path in cache.iterdir()}
    assert kept == {
        "notes.txt",
        "mine",
        "ids-12",
        alike.name,
        without_meta.name,
        with_folder.name,
        name,
    }
    assert len(before - kept) == 2 and (elsewhere / "meta.json").exists()
    assert (alike / "thesis.txt").read_text() == "mine"


def test_what_a_killed_process_left_is_removed_too(command, cache):
    import socket

    entry = list_entries(cache)[0]
    left = cache / f"{entry.path.name}.{socket.gethostname()}.{2**22 + 1}.0000000f.tmp"
    left.mkdir()
    command("cache", "--dir", cache, "--clean")
    assert not left.exists()


def test_mistakes(refused, cache):
    assert "--older-than: found -1" in refused("cache", "--older-than", "-1")
    assert "--older-than: found nan" in refused("cache", "--clean", "--older-than", "nan")
    assert len(list_entries(cache)) == 3
