"""`training.keep_at_words`: the model as it was after so many words of training."""

import filecmp

import pytest
import torch

from lstm_lm import LanguageModel
from lstm_lm.config import load_config
from lstm_lm.training.revisions import reached, revision_name
from lstm_lm.training.run import train

FILES = ["config.json", "model.safetensors", "tokenizer.json"]


def revisions(run):
    """Name -> content of every file of every revision."""
    return {
        str(path.relative_to(run / "revisions")): path.read_bytes()
        for path in sorted((run / "revisions").rglob("*"))
        if path.is_file()
    }


def test_names_are_those_of_babylm():
    numbers = (1_000_000, 10_000_000, 1_000_000_000, 500_000, 1_234)
    names = ["chck_1M", "chck_10M", "chck_1000M", "chck_500k", "chck_1234"]
    assert list(map(revision_name, numbers)) == names


def test_a_number_is_reached_by_exactly_one_update():
    keep = (10, 20, 20, 15, 31)
    assert reached(keep, 0, 9) == []
    assert reached(keep, 9, 10) == [10]
    assert reached(keep, 10, 20) == [15, 20]
    assert reached(keep, 20, 30) == []


def test_numbers_may_be_written_short(config):
    found = load_config(config, ["training.keep_at_words=[1k, 2M, 40]"])
    assert found.training.keep_at_words == (1000, 2_000_000, 40)


def test_a_revision_is_the_model_of_that_many_words(config, tmp_path):
    """A run that ends at the same update has the same weights."""
    kept = train(config, tmp_path / "kept", **{"training.keep_at_words": [100, 321]})
    assert sorted(revisions(kept.folder)) == [
        f"{name}/{file}" for name in ("chck_100", "chck_321") for file in FILES
    ]
    for words, steps in ((100, 3), (321, 9)):  # 40 words an update
        model = LanguageModel.from_pretrained(kept.folder / "revisions" / f"chck_{words}")
        settings = {"training.max_steps": steps, "training.validate_every": steps}
        shorter = train(config, tmp_path / f"shorter-{words}", **settings).model
        for name, weight in shorter.network.state_dict().items():
            assert torch.equal(weight, model.network.state_dict()[name]), (words, name)
    plain = train(config, tmp_path / "plain")
    for name in ("model.safetensors", "metrics.jsonl"):
        # without the run ids, which depend on the configuration
        assert (plain.folder / name).stat().st_size == (kept.folder / name).stat().st_size
    assert filecmp.cmp(plain.folder / "metrics.jsonl", kept.folder / "metrics.jsonl", False)
    assert not (plain.folder / "revisions").exists()


def test_a_run_that_is_resumed_has_the_same_revisions(config, tmp_path):
    settings = {"training.keep_at_words": [100, 321, 400], "training.checkpoint_every": 1}
    straight = train(config, tmp_path / "straight", **settings)
    resumed = tmp_path / "resumed"
    train(config, resumed, **settings, **{"training.max_steps": 11})  # after the last of them
    first = revisions(resumed)
    train(config, resumed, resume=True, **settings)
    assert revisions(resumed).keys() == first.keys() == revisions(straight.folder).keys()
    for name, content in revisions(resumed).items():
        assert content == first[name]  # not written anew with other weights
    ours = LanguageModel.from_pretrained(resumed / "revisions" / "chck_321").network.state_dict()
    theirs = LanguageModel.from_pretrained(straight.folder / "revisions" / "chck_321")
    assert all(torch.equal(w, ours[name]) for name, w in theirs.network.state_dict().items())


def test_a_kill_after_a_revision_changes_nothing(config, tmp_path, monkeypatch):
    """The run resumes from a checkpoint before the revision, and writes the same one again."""
    from lstm_lm.training import trainer

    settings = {"training.keep_at_words": [321], "training.checkpoint_every": 5}
    straight = train(config, tmp_path / "straight", **settings)
    killed, real = tmp_path / "killed", trainer.save_revision

    class Killed(Exception):
        pass

    def save_and_die(*arguments, **options):
        real(*arguments, **options)
        raise Killed

    monkeypatch.setattr(trainer, "save_revision", save_and_die)
    with pytest.raises(Killed):
        train(config, killed, **settings)
    monkeypatch.setattr(trainer, "save_revision", real)
    assert revisions(killed) == revisions(straight.folder)
    train(config, killed, resume=True, **settings)
    assert revisions(killed) == revisions(straight.folder)
    for name in ("model.safetensors", "metrics.jsonl"):
        assert filecmp.cmp(killed / name, straight.folder / name, False), name


def test_overwriting_a_run_removes_its_revisions_and_nothing_else(config, tmp_path):
    run = tmp_path / "run"
    train(config, run, **{"training.keep_at_words": [100, 200]})
    (run / "revisions" / "chck_200" / "notes.txt").write_text("mine")
    train(config, run, overwrite=True, **{"training.keep_at_words": [300]})
    assert sorted({name.partition("/")[0] for name in revisions(run)}) == ["chck_200", "chck_300"]
    assert (run / "revisions" / "chck_200" / "notes.txt").read_text() == "mine"
    assert not (run / "revisions" / "chck_100").exists()
    assert len(list((run / "revisions" / "chck_200").iterdir())) == 1


def test_a_number_that_is_never_reached_is_refused(config, tmp_path, refused):
    error = refused(
        "train", config, "--output", tmp_path / "run", "training.keep_at_words=[100, 1M]"
    )
    assert "training.keep_at_words: found 1,000,000, but this run reads at most 480 words" in error
    assert not (tmp_path / "run").exists()


def test_what_is_not_a_number_of_words_is_refused(config, tmp_path, refused):
    for value in ("[1.5]", "[xM]", "[0]", "1M", "[1G]"):
        error = refused(
            "train", config, "--output", tmp_path / "run", f"training.keep_at_words={value}"
        )
        assert "training.keep_at_words" in error and "must be" in error
