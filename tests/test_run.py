"""Laws of `lstm_lm.train`: what it accepts, reports and returns, and how a run is resumed."""

import inspect
import os
import signal
import threading
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import lstm_lm
from lstm_lm.config import CELLS, config_to_dict, load_config
from lstm_lm.corpus.corpus import Corpus
from lstm_lm.errors import ConfigError, CorpusError, RunDirectoryError
from lstm_lm.evaluation.perplexity import measure_perplexity
from lstm_lm.files import packaged
from lstm_lm.training.checkpoint import STATE_FILE
from lstm_lm.training.run_log import METRICS_FILE, RunLog, read_log
from lstm_lm.training.trainer import Trainer

PACKAGE = Path(lstm_lm.__file__).parent
TRAINED_FILES = (STATE_FILE, "model.safetensors", METRICS_FILE, "config.yaml", "config.json")


@pytest.fixture(autouse=True)
def no_pictures(monkeypatch):
    monkeypatch.setattr(RunLog, "draw", lambda log: None)


@pytest.fixture
def quietly(tmp_path):
    """Trains without printing; the run goes to the folder of that name, its lines to ``lines``."""

    def train(config, name="run", **options):
        options.setdefault("report", train.lines.append)
        return lstm_lm.train(config, name and tmp_path / name, **options)

    train.lines = []
    return train


def contents(folder):
    return {name: (folder / name).read_bytes() for name in TRAINED_FILES}


def test_the_run_says_what_was_trained_and_how_well(quietly, config, tmp_path):
    run = quietly(config)
    assert run.folder == tmp_path / "run"
    assert run.finished and run.stopped_by is None
    assert (run.steps, run.skipped_updates) == (12, 0) and run.seconds > 0
    best = min(
        (line for line in read_log(run.folder / METRICS_FILE) if line["split"] == "valid"),
        key=lambda line: line["loss"],
    )
    assert (run.best_step, run.perplexity) == (best["step"], best["perplexity"])
    valid = Corpus(load_config(config).corpus).tokens("valid")
    model = run.model
    assert isinstance(model, lstm_lm.LanguageModel) and not model.network.training
    assert float(measure_perplexity(model, valid)) == pytest.approx(run.perplexity, rel=1e-6)
    assert len(model.predict_next("I grew up in", top_k=3)) == 3


def test_the_report_receives_every_line_and_nothing_is_printed(quietly, config, capfd):
    run = quietly(config)
    text = "\n".join(quietly.lines)
    assert capfd.readouterr() == ("", "")
    assert run.model.describe() in text and f"into {run.folder}" in text
    validations = [line for line in quietly.lines if "valid perplexity" in line]
    assert [line.partition(",")[0] for line in validations] == ["step 5", "step 10", "step 12"]


def test_without_a_report_the_lines_are_printed(quietly, config, tmp_path, capfd):
    quietly(config, "first")
    lstm_lm.train(config, tmp_path / "second")
    printed = capfd.readouterr().out
    assert printed.count("valid perplexity") == 3 and f"into {tmp_path / 'second'}" in printed


def test_a_path_a_config_and_a_dict_train_the_same(quietly, config):
    whole = contents(quietly(config, "path").folder)
    settings = load_config(config)
    assert contents(quietly(str(config), "text").folder) == whole
    assert contents(quietly(settings, "config").folder) == whole
    assert contents(quietly(config_to_dict(settings), "dict").folder) == whole


@pytest.mark.parametrize("convert", [lambda settings: settings, config_to_dict])
def test_a_config_or_a_dict_needs_an_output(quietly, config, convert):
    with pytest.raises(ConfigError, match="output: is missing") as caught:
        quietly(convert(load_config(config)), name=None)
    assert "\n" not in str(caught.value)


def test_the_output_is_by_default_in_runs(quietly, config, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = quietly(config, name=None)
    assert run.folder == Path("runs/tiny") and (tmp_path / "runs/tiny" / STATE_FILE).exists()


def test_a_packaged_configuration_is_found_by_its_name(quietly, config, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(packaged, "_folder", lambda name: config.parent)
    run = quietly("tiny", name=None)
    assert run.folder == Path("runs/tiny") and run.steps == 12
    with pytest.raises(ConfigError, match=r"^huge: no such run directory, .* \(tiny\)$"):
        quietly("huge")
    with pytest.raises(ConfigError, match=r"absent\.yaml"):
        quietly(tmp_path / "absent.yaml")


def test_a_directory_without_a_run_and_without_text_is_refused(quietly, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(CorpusError, match="empty is a folder without text"):
        quietly(tmp_path / "empty")


def test_overrides_are_keywords(quietly, config):
    overrides = {"training.max_steps": 3, "model.num_layers": 2, "model.hidden_size": [5, 6]}
    run = quietly(config, **overrides)
    settings = load_config(run.folder / "config.yaml")
    assert run.steps == settings.training.max_steps == 3
    assert [cell.hidden_size for cell in run.model.network.recurrent.cells] == [5, 6]
    with pytest.raises(ConfigError) as caught:
        quietly(config, "other", **{"training.max_step": 3, "model.hidden_size": 0})
    assert {line.partition(":")[0] for line in str(caught.value).splitlines()} == {
        "training.max_step",
        "model.hidden_size",
    }
    assert not (run.folder.parent / "other").exists()


def test_settings_that_an_override_puts_out_of_use_are_reported(quietly, config):
    text = config.read_text().replace("constant}", "plateau, plateau_factor: 0.5}")
    config.write_text(text)
    quietly(config, **{"optimizer.schedule": "linear", "training.max_steps": 1})
    assert quietly.lines[0].startswith("note: not used")
    assert "optimizer.plateau_factor" in quietly.lines[0]


def test_training_in_a_thread_is_the_same(quietly, config):
    runs = [quietly(config, "main")]
    thread = threading.Thread(target=lambda: runs.append(quietly(config, "thread")))
    thread.start()
    thread.join()
    assert len(runs) == 2 and contents(runs[0].folder) == contents(runs[1].folder)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_stops_the_run_which_can_be_resumed(quietly, config, number):
    whole = quietly(config, "whole")

    def send_at_step_5(line):
        if line.startswith("step 5"):
            os.kill(os.getpid(), number)
            if number == signal.SIGHUP:
                os.kill(os.getpid(), number)  # a closed terminal sends it twice

    before = signal.getsignal(number)
    stopped = quietly(config, report=send_at_step_5)
    assert signal.getsignal(number) == before
    assert not stopped.finished and stopped.stopped_by == number and 5 <= stopped.steps < 12
    assert stopped.best_step == 5 and stopped.model.predict_next("I")
    logged = read_log(stopped.folder / "timings.jsonl")[-1]["seconds"]
    resumed = quietly(stopped.folder, resume=True)
    assert resumed.finished and resumed.stopped_by is None and resumed.steps == 12
    assert resumed.seconds > logged > 0  # the clock goes on where the log of the stopped run ends
    assert contents(resumed.folder) == contents(whole.folder)


def test_resuming_a_finished_run_changes_nothing(quietly, config):
    run = quietly(config)
    before = contents(run.folder)
    again = quietly(config, resume=True)
    assert contents(run.folder) == before
    assert again.finished and (again.steps, again.best_step) == (12, run.best_step)
    assert again.perplexity == run.perplexity
    assert any("this run is finished already" in line for line in quietly.lines)


def test_a_finished_run_can_be_trained_further(quietly, config):
    run = quietly(config)
    further = quietly(run.folder, name=None, resume=True, **{"training.max_steps": 15})
    assert further.finished and further.steps == 15 and further.folder == run.folder
    assert load_config(run.folder / "config.yaml").training.max_steps == 15
    longer = quietly(config, "longer", **{"training.max_steps": 15})
    ours, theirs = (load_file(run.folder / STATE_FILE) for run in (further, longer))
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_a_run_is_replaced_only_with_overwrite(quietly, config):
    run = quietly(config)
    before = contents(run.folder)
    with pytest.raises(RunDirectoryError, match="already contains a run"):
        quietly(config, **{"training.seed": 1})
    assert contents(run.folder) == before
    again = quietly(config, overwrite=True, **{"training.seed": 1, "training.max_steps": 4})
    assert again.steps == 4 and load_config(run.folder / "config.yaml").training.seed == 1


def test_there_must_be_something_to_resume(quietly, config, tmp_path):
    with pytest.raises(RunDirectoryError, match="nothing to resume"):
        quietly(config, resume=True)
    assert not (tmp_path / "run").exists()


def test_another_configuration_cannot_resume_a_run(quietly, config):
    run = quietly(config)
    with pytest.raises(RunDirectoryError, match=r"model\.hidden_size was 8, is 9"):
        quietly(config, resume=True, **{"model.hidden_size": 9})
    assert quietly(config, resume=True, **{"optimizer.learning_rate": 0.5}).steps == run.steps


def test_a_resumed_run_keeps_the_rules_that_its_words_have(quietly, config):
    """A run of version 1 of the tokenizer's rules resumes, though new runs have version 2."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("lstm_lm.training.run.LATEST_VERSION", 1)
        old = quietly(config)
    further = quietly(config, resume=True, **{"training.max_steps": 15})
    assert old.model.vocabulary.version == further.model.vocabulary.version == 1
    assert further.steps == 15 and quietly(config, "new").model.vocabulary.version == 2


def test_a_new_run_tells_about_its_words_once(quietly, config):
    quietly(config)
    [line] = [line for line in quietly.lines if line.startswith("vocabulary: ")]
    assert "no <unk> in train" in line or "<unk> is " in line
    quietly(config, resume=True)
    assert sum(line.startswith("vocabulary: ") for line in quietly.lines) == 1


@pytest.mark.parametrize("mend", [False, True])
def test_an_edited_config_yaml_cannot_resume_its_run(quietly, config, mend):
    folder = quietly(config).folder
    path = folder / "config.yaml"
    path.write_text(path.read_text().replace("learning_rate: 0.03", "learning_rate: 0.04"))
    before = contents(folder)
    for edited in (path, folder):
        with pytest.raises(RunDirectoryError, match=r"config\.yaml: damaged or edited"):
            quietly(edited, resume=True, mend=mend)
    assert contents(folder) == before
    run = quietly(path, "other", **{"training.max_steps": 1})
    [note] = [line for line in quietly.lines if line.startswith("note: ")]
    assert note.startswith(f"note: {path} was changed") and run.finished


def test_mend_writes_an_edited_config_yaml_again(quietly, config):
    folder = quietly(config).folder
    path, before = folder / "config.yaml", contents(folder)
    path.write_text(path.read_text().replace("learning_rate: 0.03", "learning_rate: 0.04"))
    with pytest.raises(RunDirectoryError, match=r"config\.yaml: damaged or edited"):
        quietly(config, resume=True)
    quietly(config, resume=True, mend=True)
    assert contents(folder) == before


def test_three_calls_lead_from_train_to_the_gradient(quietly, config, monkeypatch):
    stacks, backward = [], torch.Tensor.backward

    def record(tensor, *args, **options):
        called = [frame.function for frame in inspect.stack(0) if is_ours(frame.filename)]
        stacks.append(called[::-1])
        return backward(tensor, *args, **options)

    def is_ours(filename):
        return Path(filename).is_relative_to(PACKAGE)

    monkeypatch.setattr(torch.Tensor, "backward", record)
    quietly(config, **{"training.max_steps": 2})
    assert stacks == [["train", "run", "update"]] * 2


@pytest.mark.slow
@pytest.mark.parametrize("cell", [cell for cell in CELLS if cell != "lstm"])
def test_every_cell_is_trained_stopped_resumed_and_asked(command, config, tmp_path, cell):
    """A run that is stopped and resumed is, byte for byte, that which was never stopped."""
    words = ["train", config, f"model.cell={cell}", "optimizer.name=muon", "--output"]
    assert command(*words, tmp_path / "whole")[0] == 0
    update = Trainer.update

    def stop_at_seven(trainer):
        update(trainer)
        if trainer.progress.step == 7:
            trainer.signals.received = signal.SIGINT

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Trainer, "update", stop_at_seven)
        assert command(*words, tmp_path / "halved")[0] == 130
    assert command("train", tmp_path / "halved", "--resume")[0] == 0
    assert contents(tmp_path / "halved") == contents(tmp_path / "whole")
    assert f"{cell} 8" in command("info", tmp_path / "halved")[1]
    for name in ("predict", "score", "gates"):
        status, out, _ = command(name, tmp_path / "halved", "I grew up in", "--json")
        assert status == 0 and "NaN" not in out and "grew" in out
