"""Laws of a run directory: one run at a time trains in it; damage is noticed and can be mended."""

import os
import shlex

import pytest
from safetensors.torch import load_file

from lstm_lm import LanguageModel
from lstm_lm.config import load_config
from lstm_lm.errors import RunDirectoryError
from lstm_lm.training.checkpoint import PREVIOUS_FILE, STATE_FILE, read_progress
from lstm_lm.training.run_directory import claim_folder, load_run_config, run_yaml
from lstm_lm.training.run_log import read_log
from tests.torture.hostile import resealed


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def flip(path, place=-20):
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)


def resume(folder, *words):
    return ["train", folder / "config.yaml", "--output", folder, "--resume", *words]


@pytest.fixture
def own_config(finished_run):
    """The configuration file of the finished run; its corpus still exists."""
    return finished_run.parent / "corpus" / "tiny.yaml"


def test_one_training_at_a_time(tmp_path):
    with claim_folder(tmp_path / "run", resume=False, overwrite=False):
        for options in (
            {"resume": False, "overwrite": False},
            {"resume": False, "overwrite": True},
        ):
            with pytest.raises(RunDirectoryError, match="another run is training in it"):
                with claim_folder(tmp_path / "run", **options):
                    pass
    with claim_folder(tmp_path / "run", resume=False, overwrite=False):
        pass


def test_claiming_a_folder_leaves_no_trace(tmp_path, a_run):
    with claim_folder(tmp_path / "new" / "run", resume=False, overwrite=False):
        assert (tmp_path / "new" / "run").is_dir()
    assert not (tmp_path / "new").exists()
    before = contents(a_run)
    with claim_folder(a_run, resume=True, overwrite=False):
        pass
    assert contents(a_run) == before


def test_a_file_system_without_locks_is_accepted(tmp_path, monkeypatch):
    import fcntl

    def refuse(*args):
        raise OSError("no locks here")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with claim_folder(tmp_path, resume=False, overwrite=False):
        pass


def test_config_yaml_has_the_run_id_and_reads_as_before(config, tmp_path):
    settings = load_config(config)
    (tmp_path / "config.yaml").write_bytes(run_yaml(settings, "some-run"))
    assert (
        load_run_config(tmp_path) == (settings, "some-run")
        and load_config(tmp_path / "config.yaml") == settings
    )


@pytest.mark.slow
def test_an_edited_config_yaml_is_refused_in_its_run_and_noted_elsewhere(
    command, refused, a_run, tmp_path
):
    path = a_run / "config.yaml"
    path.write_text(path.read_text().replace("learning_rate: 0.03", "learning_rate: 0.04"))
    assert "config.yaml" in refused(*resume(a_run)) and "config.yaml" in refused(
        *resume(a_run, "--mend")
    )
    assert "config.yaml" in refused("evaluate", a_run)
    status, _, err = command("train", path, "--output", tmp_path / "new")
    assert status == 0 and err.startswith(f"note: {path} was changed")
    assert (
        command("train", tmp_path / "new" / "config.yaml", "--output", tmp_path / "newer")[2] == ""
    )


def test_the_printed_command_resumes_from_the_checkpoint_before_a_damaged_one(
    command, refused, a_run, finished_run, own_config
):
    assert read_progress(a_run / PREVIOUS_FILE).step < read_progress(a_run / STATE_FILE).step == 12
    flip(a_run / STATE_FILE)
    before = contents(a_run)
    message = refused("train", own_config, "--output", a_run, "--resume")
    assert (
        STATE_FILE in message
        and f"resumes from step {read_progress(a_run / PREVIOUS_FILE).step}" in message
    )
    assert contents(a_run) == before
    name, *words = shlex.split(message.rpartition(": ")[2])
    assert name == "lstm-lm" and command(*words)[0] == 0
    for name in (STATE_FILE, "model.safetensors", "metrics.jsonl"):
        assert (a_run / name).read_bytes() == (finished_run / name).read_bytes(), name


def test_a_log_damaged_at_its_end_is_mended_from_the_checkpoint_before(
    command, refused, a_run, finished_run, own_config
):
    flip(a_run / "metrics.jsonl", -5)
    assert "without" not in refused("train", own_config, "--output", a_run, "--resume")
    assert command("train", own_config, "--output", a_run, "--resume", "--mend")[0] == 0
    assert (a_run / "metrics.jsonl").read_bytes() == (finished_run / "metrics.jsonl").read_bytes()


@pytest.mark.slow
def test_a_log_damaged_at_its_beginning_is_renamed(command, refused, a_run, own_config):
    flip(a_run / "metrics.jsonl", 3)
    damaged = (a_run / "metrics.jsonl").read_bytes()
    again = ["train", own_config, "--output", a_run, "--resume", "training.max_steps=20"]
    assert "without its log" in refused(*again)
    assert command(*again, "--mend")[0] == 0
    assert (a_run / "metrics.damaged.jsonl").read_bytes() == damaged
    assert [line["step"] for line in read_log(a_run / "metrics.jsonl")] == [14, 15, 16, 18, 20, 20]
    assert command(*again)[0] == 0


def test_lost_weights_are_replaced_by_those_of_the_checkpoint(command, refused, a_run, own_config):
    (a_run / "model.safetensors").unlink()
    again = ["train", own_config, "--output", a_run, "--resume"]
    assert "without the best weights" in refused(*again)
    assert command(*again, "--mend")[0] == 0 and command("predict", a_run, "I")[0] == 0
    assert load_file(a_run / "model.safetensors").keys() == {
        name.removeprefix("model.")
        for name in load_file(a_run / STATE_FILE)
        if name.startswith("model.")
    }


def test_older_weights_of_the_same_run_are_noticed(command, refused, a_run, own_config):
    older = resealed(
        (a_run / "model.safetensors").read_bytes().replace(b'step\\": 12', b'step\\": 10')
    )
    (a_run / "model.safetensors").write_bytes(older)
    assert "the weights of step 10, not those of step 12" in refused(
        "train", own_config, "--output", a_run, "--resume"
    )


@pytest.mark.slow
def test_weights_that_a_kill_left_ahead_of_the_checkpoint_are_replaced(command, a_run, own_config):
    """Resumed with another learning rate, the run must not keep weights that it did not train."""
    ahead = resealed(
        (a_run / "model.safetensors").read_bytes().replace(b'step\\": 12', b'step\\": 99')
    )
    (a_run / "model.safetensors").write_bytes(ahead)
    again = [
        "train",
        own_config,
        "--output",
        a_run,
        "--resume",
        "training.max_steps=15",
        "optimizer.learning_rate=1",
    ]
    assert command(*again)[0] == 0
    assert read_progress(a_run / STATE_FILE).best_step == 15


@pytest.mark.slow
def test_without_hard_links_there_is_no_previous_checkpoint(
    command, refused, config, tmp_path, monkeypatch
):
    def refuse(*args):
        raise PermissionError

    monkeypatch.setattr(os, "link", refuse)
    assert command("train", config, "--output", tmp_path / "run")[0] == 0
    assert not (tmp_path / "run" / PREVIOUS_FILE).exists()
    flip(tmp_path / "run" / STATE_FILE)
    assert "--mend" not in refused("train", config, "--output", tmp_path / "run", "--resume")
    assert "no checkpoint" in refused(
        "train", config, "--output", tmp_path / "run", "--resume", "--mend"
    )


def test_mend_needs_resume(refused, config):
    assert "--resume" in refused("train", config, "--mend")


def test_a_run_resumes_without_its_times_picture_and_card(command, a_run):
    (a_run / "README.md").write_text("mine")
    (a_run / "training_curve.png").unlink()
    (a_run / "timings.jsonl").write_text('{"step": 2, "seconds": "long"}\n[]\n')
    assert command(*resume(a_run, "training.max_steps=14"))[0] == 0
    assert LanguageModel.from_pretrained(a_run)
