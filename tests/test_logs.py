"""Laws of `training.log_to`: every log has every step once, also after a kill and a resume."""

import csv
import json
import os
import signal
import struct
import subprocess
import sys
from pathlib import Path

import pytest

import lstm_lm
from lstm_lm.errors import ConfigError, MissingExtra
from lstm_lm.training import loggers
from lstm_lm.training.log_rows import RowBuilder
from lstm_lm.training.loggers import Logs
from tests.conftest import write_corpus

ROOT = Path(__file__).parent.parent
SETTINGS = {
    "training.log_every": 2,
    "training.validate_every": 4,
    "training.checkpoint_every": 4,
    "training.max_steps": 12,
    "evaluation.prompts": ["I speak", "She has"],
    "evaluation.continuation_words": 3,
}
STEPS = [2, 4, 6, 8, 10, 12]
FIGURES = {
    *("epoch", "words", "seconds", "learning_rate", "grad_norm", "skipped_updates"),
    *("train/loss", "train/perplexity", "valid/loss", "valid/perplexity", "words_per_second"),
}


@pytest.fixture(scope="module", autouse=True)
def trackio_folder(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:  # trackio reads it when it is imported
        patch.setenv("TRACKIO_DIR", str(tmp_path_factory.mktemp("trackio")))
        yield


@pytest.fixture(autouse=True)
def local_logs(tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    monkeypatch.setenv("TRACKIO_PROJECT", tmp_path.name)
    for name in ("WANDB_PROJECT", "WANDB_SERVICE", "TRACKIO_SPACE_ID", "TRACKIO_SERVER_URL"):
        monkeypatch.delenv(name, raising=False)


def quiet(line):
    pass


def train(config, output, log_to, **more):
    settings = {**SETTINGS, "training.log_to": log_to, **more.pop("settings", {})}
    return lstm_lm.train(config, output=output, report=quiet, **more, **settings)


# --- reading the logs back: each returns [(step, {name: value})] ------------------------------


def read_csv(run):
    with (run / "metrics.csv").open(encoding="utf-8", newline="") as file:
        return [(int(row.pop("step")), row) for row in csv.DictReader(file)]


def read_tensorboard(run):
    """Every event, as the files have them: an event that is there twice shows."""
    from tensorboard.backend.event_processing.event_file_loader import EventFileLoader

    steps, seen = {}, set()
    for path in sorted((run / "tensorboard").iterdir()):
        for event in EventFileLoader(str(path)).Load():
            for value in event.summary.value:
                if value.tag == "settings/text_summary":
                    continue
                assert (event.step, value.tag) not in seen
                seen.add((event.step, value.tag))
                numbers = value.tensor.float_val or value.tensor.string_val
                tag = value.tag.removesuffix("/text_summary")
                steps.setdefault(event.step, {})[tag] = numbers[0]
    return sorted(steps.items())


def read_wandb(run):
    """The history of the only offline run in its folder."""
    from wandb.proto import wandb_internal_pb2

    (path,) = (run / "wandb").glob("offline-run-*/*.wandb")
    rows = []
    for record in _wandb_records(path.read_bytes()):
        parsed = wandb_internal_pb2.Record()
        parsed.ParseFromString(record)
        if parsed.WhichOneof("record_type") == "history":
            row = {}
            for item in parsed.history.item:
                name, *inside = item.nested_key or [item.key]  # a table is several items
                value = json.loads(item.value_json)
                row[name] = {**row.get(name, {}), inside[0]: value} if inside else value
            rows.append((int(row.pop("_step")), row))
    return rows


def _wandb_records(content):
    """The records of a file in LevelDB's log format, after a header of seven bytes."""
    at, parts = 7, b""
    while at + 7 <= len(content):
        left = 2**15 - at % 2**15
        if left < 7:
            at += left
            continue
        _, length, kind = struct.unpack("<IHB", content[at : at + 7])
        parts += content[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):  # a whole record, or its last part
            yield parts
            parts = b""


def read_trackio(run):
    from trackio.sqlite_storage import SQLiteStorage

    project = os.environ["TRACKIO_PROJECT"]
    (name,) = SQLiteStorage.get_runs(project)
    assert name.startswith(f"{run.name}-")
    rows = SQLiteStorage.get_logs(project, name)
    return [(row.pop("step"), row) for row in rows]


READ = {
    "csv": read_csv,
    "tensorboard": read_tensorboard,
    "wandb": read_wandb,
    "trackio": read_trackio,
}
PACKAGES = {"tensorboard": "2.18", "wandb": "0.19", "trackio": "0.20"}
slow_logs = [pytest.param(kind, marks=pytest.mark.slow) for kind in PACKAGES]


def need(kind):
    if kind != "csv":
        pytest.importorskip(kind, minversion=PACKAGES[kind])


# --- what is logged -------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["csv", *slow_logs])
def test_every_step_is_there_once_with_all_figures(kind, config, tmp_path):
    need(kind)
    run = tmp_path / "run"
    train(config, run, [kind])
    rows = READ[kind](run)
    assert [step for step, _ in rows] == STEPS
    for step, row in rows:
        filled = {name for name, value in row.items() if value not in ("", None)}
        validated = step % 4 == 0
        expected = {name for name in FIGURES if validated or not name.startswith("valid/")}
        assert expected - {"words_per_second"} <= filled
        assert ("words_per_second" in filled) == (step > STEPS[0])
        assert ("samples" in filled) == validated
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    for line in lines:
        row = dict(rows)[line["step"]]
        for name in ("loss", "perplexity"):
            assert float(row[f"{line['split']}/{name}"]) == pytest.approx(line[name], rel=1e-6)


def test_samples_are_readable(config, tmp_path):
    run = tmp_path / "run"
    train(config, run, ["csv"])
    last = read_csv(run)[-1][1]["samples"]
    assert last.startswith("I speak ... ") and " | She has ... " in last
    line = json.loads((run / "metrics.jsonl").read_text().splitlines()[-1])
    assert last == " | ".join(f"{prompt} ... {text}" for prompt, text in line["samples"].items())


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["wandb", "tensorboard"])
def test_samples_and_curve_are_in_the_log(kind, config, tmp_path):
    need(kind)
    run = tmp_path / "run"
    train(config, run, [kind])
    last = dict(READ[kind](run))[12]
    if kind == "tensorboard":
        assert b"*I speak* ... " in last["samples"]
        assert "training_curve" in last
    else:
        assert last["samples"]["_type"] == "table-file"
        assert last["training_curve"]["_type"] == "image-file"


def test_logs_do_not_change_the_run(config, tmp_path):
    plain, logged = tmp_path / "plain", tmp_path / "logged"
    train(config, plain, [])
    train(config, logged, ["csv"])
    for name in ("metrics.jsonl",):
        assert (plain / name).read_bytes() == (logged / name).read_bytes()
    assert not (plain / "metrics.csv").exists() and not (plain / "log_id.txt").exists()


def test_a_mix_logs_every_source():
    line = {"step": 5, "split": "valid", "epoch": 1, "words": 9, "loss": 2.0, "perplexity": 7.4}
    parts = {"files": {"loss": 2.0, "perplexity": 7.4}, "stories": {"loss": 1.0, "perplexity": 2.7}}
    rows = RowBuilder()
    assert rows.add({**line, "sources": parts}, 3.0) is None
    row = rows.take()
    assert row.figures["valid/stories/perplexity"] == 2.7 and row.figures["valid/loss"] == 2.0


def test_words_per_second_leave_the_validation_out():
    rows, line = RowBuilder(), {"epoch": 0, "loss": 1.0, "perplexity": 2.7}
    rows.add({**line, "step": 2, "split": "train", "words": 100}, 10.0)
    rows.add({**line, "step": 2, "split": "valid", "words": 100}, 50.0)
    first = rows.add({**line, "step": 4, "split": "train", "words": 300}, 60.0)
    assert "words_per_second" not in first.figures
    assert rows.take().figures["words_per_second"] == 20


def test_what_is_not_finite_is_left_out():
    rows = RowBuilder()
    line = {"step": 1, "split": "train", "epoch": 0, "words": 1, "loss": 800.0}
    rows.add({**line, "perplexity": float("inf")}, None)
    assert rows.take().figures == {"epoch": 0, "words": 1, "train/loss": 800.0}


# --- resuming -------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["csv", *slow_logs])
def test_a_resumed_run_goes_on_in_the_same_log(kind, config, tmp_path):
    need(kind)
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    train(config, parts, [kind], settings={"training.max_steps": 8})
    train(config, parts, [kind], resume=True)
    rows = READ[kind](parts)
    assert [step for step, _ in rows] == STEPS
    train(config, whole, ["csv"])
    for (_, row), (_, expected) in zip(rows, read_csv(whole), strict=True):
        for name in ("train/loss", "valid/perplexity"):
            if expected[name]:
                assert float(row[name]) == pytest.approx(float(expected[name]), rel=1e-6)


KILLED = """
import os, signal, sys
import lstm_lm
from lstm_lm.training.trainer import Trainer
from tests.test_logs import train, quiet

at = int(sys.argv[4])
update = Trainer.update

def killing_update(self):
    if self.progress.step == at:
        os.kill(os.getpid(), signal.SIGKILL)
    update(self)

Trainer.update = killing_update
train(sys.argv[1], sys.argv[2], [sys.argv[3]], resume=os.path.exists(sys.argv[2]))
"""


def killed(config, run, kind, at):
    """Trains until a step, and there dies without a word."""
    command = [sys.executable, "-c", KILLED, str(config), str(run), kind, str(at)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    environment.pop("WANDB_SERVICE", None)  # that of this process would outlive the other one
    if "PYTHONPATH" in os.environ:
        environment["PYTHONPATH"] += os.pathsep + os.environ["PYTHONPATH"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=environment)
    assert done.returncode == -signal.SIGKILL, done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("kind", READ)
def test_no_step_is_missing_or_twice_after_kills(kind, config, tmp_path):
    """Killed between a log and the next checkpoint, twice at one place, and then resumed."""
    need(kind)
    run = tmp_path / "run"
    killed(config, run, kind, at=7)  # the checkpoint is of step 4, the log has step 6
    killed(config, run, kind, at=7)
    killed(config, run, kind, at=11)
    train(config, run, [kind], resume=True)
    rows = READ[kind](run)
    assert [step for step, _ in rows] == STEPS
    whole = tmp_path / "whole"
    train(config, whole, ["csv"])
    for (_, row), (_, expected) in zip(rows, read_csv(whole), strict=True):
        assert float(row["train/loss"]) == pytest.approx(float(expected["train/loss"]), rel=1e-6)


def test_a_log_that_is_added_later_has_all_steps(config, tmp_path):
    run = tmp_path / "run"
    train(config, run, [], settings={"training.max_steps": 8})
    train(config, run, ["csv"], resume=True)
    assert [step for step, _ in read_csv(run)] == STEPS


def test_a_run_stopped_while_it_validates_logs_the_step_whole(config, tmp_path, monkeypatch):
    from lstm_lm.training.signals import StopRequested
    from lstm_lm.training.trainer import Trainer

    run, measure = tmp_path / "run", Trainer._measure_valid

    def stopped(self):
        if self.progress.step == 8:
            raise StopRequested
        return measure(self)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "_measure_valid", stopped)
        assert not train(config, run, ["csv"]).finished
    train(config, run, ["csv"], resume=True)
    rows = read_csv(run)
    assert [step for step, _ in rows] == STEPS
    assert dict(rows)[8]["train/loss"] and dict(rows)[8]["valid/loss"]


@pytest.mark.slow
def test_a_run_that_begins_again_has_only_its_own_events(config, tmp_path):
    need("tensorboard")
    run = tmp_path / "run"
    train(config, run, ["tensorboard"])
    other = run / "tensorboard" / "events.out.tfevents.1.mine"
    other.write_bytes(b"")
    train(config, run, ["csv"], overwrite=True)
    assert [path.name for path in (run / "tensorboard").iterdir()] == [other.name]


def test_a_run_keeps_its_id_and_another_has_its_own(config, tmp_path):
    run = tmp_path / "run"
    train(config, run, ["csv"], settings={"training.max_steps": 8})
    first = (run / "log_id.txt").read_text()
    train(config, run, ["csv"], resume=True)
    assert (run / "log_id.txt").read_text() == first
    train(config, run, ["csv"], overwrite=True)
    assert (run / "log_id.txt").read_text() != first


# --- mistakes -------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["tensorboard", "wandb", "trackio"])
def test_a_missing_package_is_one_sentence_before_anything_is_done(
    kind, config, tmp_path, monkeypatch
):
    find = loggers.find_spec
    monkeypatch.setattr(loggers, "find_spec", lambda name: None if name == kind else find(name))
    with pytest.raises(MissingExtra) as caught:
        train(config, tmp_path / "run", ["csv", kind])
    assert str(caught.value) == (
        f"training.log_to: {kind} needs the package {kind}, which is not installed; "
        'run: pip install "lstm_lm[logs]"'
    )
    assert not (tmp_path / "run").exists()


def test_an_unknown_log_is_named(refused, config, tmp_path):
    error = refused("train", config, "--output", tmp_path / "run", "training.log_to=[wandbb]")
    assert "training.log_to[0]" in error and "did you mean wandb?" in error


def test_a_log_that_does_not_begin_is_one_line(config, tmp_path, monkeypatch):
    wandb = pytest.importorskip("wandb")

    def refuse(**settings):
        raise wandb.errors.UsageError("api_key not configured (no-tty).\nmore")

    monkeypatch.setattr(wandb, "init", refuse)
    with pytest.raises(ConfigError) as caught:
        train(config, tmp_path / "run", ["wandb"])
    assert str(caught.value) == (
        "training.log_to: wandb does not begin (api_key not configured (no-tty).); run `wandb "
        "login`, or set WANDB_MODE=offline"
    )


def test_no_log_is_no_work(tmp_path):
    logs = Logs((), tmp_path, {})
    logs.begin(iter([]))
    logs.write({"step": 1}, 0.0)
    logs.send()
    logs.close(failed=False)
    assert not list(tmp_path.iterdir())


def test_the_package_does_not_import_the_logs(tmp_path):
    write_corpus(tmp_path)
    code = (
        "import sys, lstm_lm.training.run\n"
        "assert not {'wandb', 'trackio', 'tensorboard'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)
