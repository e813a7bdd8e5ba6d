"""`lstm-lm sweep`: an ordinary run for each combination and seed, resumable, and one table."""

import contextlib
import io
import json
import math
import os
import shlex
import shutil
import signal
import statistics
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lstm_lm.cli.main import main
from lstm_lm.config import load_config
from lstm_lm.errors import ConfigError, DivergedError, InputError, UserError
from lstm_lm.training import sweep as sweeping
from lstm_lm.training import sweep_process, sweep_search, sweep_worker
from lstm_lm.training.run import describe_run, train
from lstm_lm.training.run_directory import holds_run
from lstm_lm.training.sweep_record import Combination, SweepRun
from lstm_lm.training.sweep_settings import load_sweep, split_values
from lstm_lm.training.trainer import Trainer
from tests.conftest import RUN_FILES, write_corpus

RATES = "optimizer.learning_rate=0.003,0.03"


class InThisProcess:
    """Stands for `RunProcess`: trains at once, in this process. One test uses the real one."""

    started = []

    def __init__(self, config, folder):
        self.started.append((folder.parent.name, config.training.seed))
        self.said, self.status = "", 0
        try:
            run = train(config, folder, resume=holds_run(folder), report=self.hear)
            self.status = 0 if run.finished else 128 + run.stopped_by
        except DivergedError as error:
            self.said, self.status = str(error), sweep_worker.DIVERGED
        except UserError as error:
            self.said, self.status = str(error), error.exit_status

    def hear(self, line):
        self.said = line

    def stop(self):
        pass

    kill = stop

    def last_words(self):
        return self.said


@pytest.fixture
def started(monkeypatch):
    """Trains in this process; the list of (combination's folder, seed) that were started."""
    monkeypatch.setattr(sweeping, "RunProcess", InThisProcess)
    monkeypatch.setattr(sweeping, "SECONDS_BETWEEN_LOOKS", 0)
    monkeypatch.setattr(InThisProcess, "started", [])
    return InThisProcess.started


def contents(folder):
    return {
        path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }


# --- what is typed -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text, values",
    [
        ("1e-3,3e-3", ["1e-3", "3e-3"]),
        ("200", ["200"]),
        ("[400, 200], 300 ,[100,100]", ["[400, 200]", "300", "[100,100]"]),
        ('"a, b.txt",c.txt', ['"a, b.txt"', "c.txt"]),
        ("'it''s, x',y", ["'it''s, x'", "y"]),
        (r'"say \", x",y', [r'"say \", x"', "y"]),
        ("don't.txt,won't.txt", ["don't.txt", "won't.txt"]),
        ("['a, b',c],[]", ["['a, b',c]", "[]"]),
        ("{a: 1, b: 2},null", ["{a: 1, b: 2}", "null"]),
        ("", [""]),
    ],
)
def test_commas_inside_brackets_and_quotes_separate_nothing(text, values):
    assert split_values(text) == values


@pytest.mark.parametrize("text", ["[1,2", '"a,b', "1,[2,{3}", "1,,2", "1,", ",1"])
def test_what_is_no_list_of_values(text):
    with pytest.raises(ConfigError, match="^model.hidden_size: found"):
        split_values(text, "model.hidden_size")


def test_values_are_typed_as_in_train(config):
    settings = load_sweep(
        config, ["model.hidden_size=5,[6]", "optimizer.betas=[0.9,0.95]", "training.seed=4"]
    )
    assert settings.seeds == (4,) and [axis.key for axis in settings.axes] == ["model.hidden_size"]
    first, second = settings.combinations()
    built = settings.build(second, 9)
    assert built.model.hidden_size == (6,)
    assert built.optimizer.betas == (0.9, 0.95) and built.training.seed == 9
    overrides = ["model.hidden_size=5", "optimizer.betas=[0.9,0.95]", "training.seed=4"]
    assert settings.build(first, 4) == load_config(config, overrides)


def test_seeds(config):
    assert load_sweep(config, [], seeds=3).seeds == (0, 1, 2)
    assert load_sweep(config, ["training.seed=7"], seeds=2).seeds == (7, 8)
    listed = load_sweep(config, ["training.seed=7,3", RATES])
    assert listed.seeds == (7, 3) and len(listed.axes) == 1


def test_ranges(config):
    words = [
        "optimizer.learning_rate=1e-4..1e-1",
        "model.hidden_size=8..64",
        "model.embedding_dim=8..128",
        "model.output_dropout=0.01..0.6",
        "training.max_grad_norm=0.5..2",
    ]
    found = {axis.key: axis.range for axis in load_sweep(config, words, search=True).axes}
    kinds = {key.partition(".")[2]: (one.whole, one.logarithmic) for key, one in found.items()}
    assert kinds == {
        "learning_rate": (False, True),
        "hidden_size": (True, False),  # 8 times: not far apart
        "embedding_dim": (True, True),
        "output_dropout": (False, False),  # a fraction, though its ends are 60 times apart
        "max_grad_norm": (False, False),
    }
    rate, width = found["optimizer.learning_rate"], found["model.hidden_size"]
    assert (rate.low, rate.high, width.low, width.high) == (1e-4, 1e-1, 8, 64)
    assert rate.text(0.001234567) == "0.001235" and width.text(12.0) == "12"
    assert rate.text(0.09999999) == "0.1" and rate.text(1.00001e-4) == "0.0001"


@pytest.mark.parametrize(
    "words, said",
    [
        (["optimizer.lerning_rate=1,2"], "optimizer.lerning_rate: unknown key; did you mean"),
        (["model.hidden_size=8,none"], "model.hidden_size: found 'none'"),
        (["model.hidden_size=8,0", RATES], "model.hidden_size: found 0"),  # once, not per rate
        (["optimizer.momentum=0,0.9"], "optimizer.momentum: has no effect while optimizer.name"),
        (["training.log_every=1,2"], "training.log_every: does not change the trained model"),
        (["training.device=cpu,cuda"], "training.device: does not change the trained model"),
        ([RATES, "optimizer.learning_rate=1"], "optimizer.learning_rate: is given twice"),
        (["model.hidden_size=8,9,8"], "list every value once"),
        (["optimizer.learning_rate=0.1,1e-1"], "are the same configuration"),
        (["optimizer.learning_rate=1e-4..1e-1"], "found the range 1e-4..1e-1; list values"),
        (["optimizer.learning_rate=1,,2"], "there is no value between two commas"),
        (["model.hidden_size=[1,2"], "a ] is missing at its end"),
        (["training.seed=1,x"], "training.seed: found 'x'"),
        (["training.seed=1,2", "--seeds", 2], "--seeds and training.seed=1,2: give one"),
        (["training.seed=1..5", "--search", 2], "training.seed: found the range"),
        (["--seeds", 0], "--seeds: found 0, must be at least 1"),
        (["--parallel", 0], "--parallel: found 0"),
        (["--search", -1], "--search: found -1"),
        (["--sampler", "random", RATES], "--sampler: has an effect only together with --search"),
        (["--search", 3], "--search: nothing varies"),
        (["--search", 3, "corpus.min_count=1,2"], "corpus.min_count: cannot be searched"),
        (["--search", 3, "optimizer.learning_rate=0..1"], "optimizer.learning_rate: found 0"),
        (["--search", 3, "optimizer.learning_rate=1..0.1"], "must be the lower one"),
        (["--search", 3, "model.hidden_size=1.5..4"], "ends must be whole numbers"),
        (["corpus.train_file=absent.txt,other.txt"], "absent.txt"),
        (["model.hidden_size=8,100000000"], "GiB"),
        ([f"model.hidden_size={','.join(map(str, range(1, 10002)))}"], "10,001 runs, must be"),
    ],
)
def test_mistakes_are_one_line_and_nothing_is_trained(refused, started, config, words, said):
    out = config.parent / "out"
    assert said in refused("sweep", config, "--output", out, *words)
    assert not started and not out.exists()


# --- a grid --------------------------------------------------------------------------------------


SHORT = ["training.max_steps=6", "training.validate_every=null"]


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    """A finished sweep that tests must not change."""
    folder = tmp_path_factory.mktemp("swept")
    config = write_corpus(folder / "corpus")
    words = ["sweep", str(config), RATES, "model.hidden_size=8,12", *SHORT, "--seeds", "2"]
    out, err = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sweeping, "RunProcess", InThisProcess)
        patch.setattr(InThisProcess, "started", started := [])
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            assert main([*words, "--output", str(folder / "out")]) == 0
    return words, folder / "out", out.getvalue(), err.getvalue(), started


@pytest.fixture
def grid(swept, started, tmp_path):
    """A copy of it: its command, its directory, and what it printed."""
    words, folder, out, err, _ = swept
    copy = shutil.copytree(folder, tmp_path / "out")
    return [*words, "--output", copy], copy, out.replace(str(folder), str(copy)), err


@pytest.mark.slow
def test_every_run_is_the_one_that_train_makes(swept, command, tmp_path):
    words, out, _, _, started = swept
    config = words[1]
    # all combinations with the first seed, then with the second
    assert [seed for _, seed in started] == [0] * 4 + [1] * 4
    record = json.loads((out / "sweep.json").read_text())
    assert len(record["combinations"]) == 4
    runs = [run for one in record["combinations"] for run in one["runs"]]
    assert {path.parent for path in out.glob("*/*/config.json")} == {
        out / run["folder"] for run in runs
    }
    assert all({path.name for path in (out / run["folder"]).iterdir()} == RUN_FILES for run in runs)
    (one,) = (
        one
        for one in record["combinations"]
        if one["values"] == {"optimizer.learning_rate": "0.03", "model.hidden_size": "12"}
    )
    alone = tmp_path / "alone"
    words = ["optimizer.learning_rate=0.03", "model.hidden_size=12", "training.seed=1"]
    assert command("train", config, *words, *SHORT, "--output", alone)[0] == 0
    for name in ("model.safetensors", "metrics.jsonl", "config.yaml"):
        assert (out / one["runs"][1]["folder"] / name).read_bytes() == (alone / name).read_bytes()


@pytest.mark.slow
def test_the_figures_are_those_of_the_runs(grid, command):
    words, out, said, err = grid
    record = json.loads((out / "sweep.json").read_text())
    means = []
    for one in record["combinations"]:
        facts = [describe_run(out / run["folder"]) for run in one["runs"]]
        found = [fact["perplexity"] for fact in facts]
        assert [run["perplexity"] for run in one["runs"]] == pytest.approx(found, rel=1e-12)
        assert [run["seconds"] for run in one["runs"]] == [fact["seconds"] for fact in facts]
        assert one["perplexity"] == pytest.approx(sum(found) / 2)
        assert one["deviation"] == pytest.approx(abs(found[0] - found[1]) / math.sqrt(2))
        assert one["seconds"] == pytest.approx(statistics.fmean(fact["seconds"] for fact in facts))
        means.append(one["perplexity"])
    assert means == sorted(means) and record["best"] == record["combinations"][0]["number"]
    lines = said.splitlines()
    assert (
        lines[0].split()
        == (
            "runs learning_rate hidden_size valid perplexity deviation seeds parameters time a run"
        ).split()
    )
    assert [line.split()[3] for line in lines[1:5]] == [f"{mean:,.2f}" for mean in means]
    assert [line.endswith("best") for line in lines[1:5]] == [True, False, False, False]
    assert (
        lines[-1] == str(out / "sweep.png") and (out / "sweep.png").read_bytes()[:4] == b"\x89PNG"
    )
    assert err.count("valid perplexity") == 8 and "8/8" in err
    again = json.loads(command(*words, "--json")[1])
    written = {key: record[key] for key in again}
    assert again == written


@pytest.mark.slow
def test_a_finished_sweep_is_kept_and_grows(grid, command, started):
    words, out, _, _ = grid
    before = contents(out)
    status, _, err = command(*words)
    assert status == 0 and not started and "8 of them are there already" in err
    runs = {name: content for name, content in before.items() if len(name.parts) > 1}
    assert all((out / name).read_bytes() == content for name, content in runs.items())
    words[words.index("--seeds") + 1] = 3
    assert command(*words)[0] == 0
    assert [seed for _, seed in started] == [2] * 4
    assert all((out / name).read_bytes() == content for name, content in runs.items())


@pytest.mark.slow
def test_a_directory_belongs_to_one_sweep(grid, refused, started):
    words, out, _, _ = grid
    config, before = Path(words[1]), contents(out)
    start = ["sweep", config, "--output", out, *SHORT, "--seeds", 2]
    wide = "model.hidden_size=8,12"
    for other, said in (
        ([RATES], "model.hidden_size was 8,12, is not varied"),
        ([RATES, "model.hidden_size=8,16"], "model.hidden_size was 8,12, is 8,16"),
        ([wide, RATES], "the order was optimizer.learning_rate model.hidden_size, is"),
        ([RATES, wide, "training.max_steps=13"], "training.max_steps was 6, is 13"),
        ([RATES, wide, "--seeds", 1], "seeds were 0, 1, are 0"),
        ([RATES, wide, "training.seed=5"], "seeds were 0, 1, are 5, 6"),
    ):
        line = refused(*start, *other)
        assert f"{out}: belongs to another sweep: " in line and said in line, other
    assert "is a run directory" in refused(
        "sweep", config, RATES, "--output", next(out.glob("*/seed-0"))
    )
    assert "is not empty and has no sweep.json" in refused(
        "sweep", config, RATES, "--output", config.parent
    )
    assert "is a file" in refused("sweep", config, RATES, "--output", config)
    # a run that was changed by hand is not taken for one of this sweep
    run = next(out.glob("01*/seed-0"))
    other = next(out.glob("02*/seed-0"))
    (run / "config.yaml").write_bytes((other / "config.yaml").read_bytes())
    assert "contains a run of another configuration: model.hidden_size" in refused(*words)
    (run / "config.yaml").write_bytes(before[run.relative_to(out) / "config.yaml"])
    (out / "sweep.json").write_text((out / "sweep.json").read_text().replace("tiny", "tony"))
    assert "sweep.json: damaged or edited" in refused(*words)
    assert not started


@pytest.mark.slow
def test_runs_that_diverge_or_fail_are_rows(command, started, config, tmp_path, monkeypatch):
    out, finish = tmp_path / "out", Trainer._finish_update

    def broken(trainer, nll, words):
        if trainer.config.seed == 1 and trainer.network.config.hidden_size == 12:
            raise UserError("no space")
        diverges = trainer.network.config.hidden_size == 9 and trainer.config.seed == 1
        finish(trainer, math.nan if diverges else nll, words)

    words = ["sweep", config, "model.hidden_size=8,9,12", *SHORT, "--seeds", 2]
    words += ["--output", out]
    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "_finish_update", broken)
        status, said, err = command(*words)
    assert status == 0
    found = {one["values"]["model.hidden_size"]: one for one in _combinations(out)}
    assert [run["state"] for run in found["9"]["runs"]] == ["finished", "diverged"]
    assert [run["state"] for run in found["12"]["runs"]] == ["finished", "failed"]
    assert found["12"]["runs"][1]["why"] == "no space"
    assert found["9"]["runs"][1]["why"].startswith("the loss is not finite after step 0")
    assert found["9"]["deviation"] is None
    lines = said.splitlines()
    assert lines[1].endswith("best") and "2 of 2" in lines[1]  # a broken one is never the best
    assert any(line.endswith("1 diverged") for line in lines[2:4])
    assert any(line.endswith("1 failed") for line in lines[2:4]) and "failed: no space" in err
    assert "seed-1: failed: no space" in said
    # the failed run is tried again; the diverged one would diverge again
    started.clear()
    assert command(*words)[0] == 0
    assert started == [("03-hidden_size-12", 1)]
    found = {one["values"]["model.hidden_size"]: one for one in _combinations(out)}
    assert [run["state"] for run in found["12"]["runs"]] == ["finished"] * 2
    assert found["9"]["runs"][1]["state"] == "diverged"


def _combinations(out):
    return json.loads((out / "sweep.json").read_text())["combinations"]


def test_if_nothing_finishes_the_status_says_so(command, started, config, tmp_path, monkeypatch):
    def broken(trainer, nll, words):
        raise UserError("no space")

    monkeypatch.setattr(Trainer, "_finish_update", broken)
    out = tmp_path / "out"
    status, said, _ = command("sweep", config, RATES, "--output", out)
    assert status == 1 and said.count("failed: no space") == 2
    assert not (out / "sweep.png").exists()


@pytest.mark.slow
def test_different_vocabularies_have_no_best(command, started, config, tmp_path):
    out = tmp_path / "out"
    words = ["sweep", config, "corpus.min_count=1,100", "training.max_steps=2", "--output", out]
    status, said, _ = command(*words)
    assert (
        status == 0
        and "no best: " in said
        and not any(line.endswith("best") for line in said.splitlines())
    )
    record = json.loads((out / "sweep.json").read_text())
    assert record["comparable"] is False and record["best"] is None
    assert {one["values"]["corpus.min_count"] for one in record["combinations"]} == {"1", "100"}


@pytest.mark.slow
def test_a_text_and_seeds_alone(command, started, config, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = config.parent / "train.txt"
    words = ["training.max_epochs=1", "model.hidden_size=6", "model.embedding_dim=6", "--seeds", 2]
    status, said, err = command("sweep", text, *words)
    assert status == 0 and "chosen for this size" in err
    folder = tmp_path / "runs" / "train-sweep"
    assert {path.name for path in folder.glob("*/*")} == {"seed-0", "seed-1"}
    assert "2 of 2" in said and (folder / "sweep.png").exists()


# --- stopping ------------------------------------------------------------------------------------


@pytest.mark.slow
def test_stopped_by_ctrl_c_and_continued(command, started, config, tmp_path, monkeypatch):
    """In this process; the last test does the same with real ones."""
    out = tmp_path / "out"
    words = ["sweep", config, RATES, "--output", out]
    update = Trainer.update

    def updating(trainer):
        update(trainer)
        if trainer.optimizer_config.learning_rate == 0.03 and trainer.progress.step == 7:
            signal.raise_signal(signal.SIGINT)

    def look(session):
        sweeping_look(session)
        if any(run.state == "stopped" for run in session.record.runs):
            raise KeyboardInterrupt

    sweeping_look = sweeping._Session._look
    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "update", updating)
        patch.setattr(sweeping._Session, "_look", look)
        status, said, err = command(*words)
    assert status in (130, 143) or said == ""
    assert f"  {shlex.join(['lstm-lm', *map(str, words)])}" in err.splitlines()
    states = {run["folder"]: run["state"] for one in _combinations(out) for run in one["runs"]}
    assert sorted(states.values()) == ["finished", "stopped"]
    started.clear()
    assert command(*words)[0] == 0
    assert started == [("02-learning_rate-0.03", 0)]
    alone = tmp_path / "alone"
    assert command("train", config, "optimizer.learning_rate=0.03", "--output", alone)[0] == 0
    for name in ("model.safetensors", "metrics.jsonl"):
        whole = out / "02-learning_rate-0.03" / "seed-0" / name
        assert whole.read_bytes() == (alone / name).read_bytes()


def start(*words, **more):
    root = Path(__file__).parent.parent
    environment = os.environ | {"PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, "-m", "lstm_lm", *map(str, words)],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        **more,
    )


def wait_for(condition, process, seconds=240):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end and process.poll() is None, process.stdout.read()
        time.sleep(0.2)


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_real_processes_are_saved_when_the_sweep_ends(command, config, tmp_path, number):
    """After Ctrl-C, and also if the sweep itself is killed, no run goes on and none is lost."""
    out = tmp_path / "out"
    words = ["sweep", config, RATES, "--output", out, "--parallel", 2]
    words += ["training.max_steps=1000000", "training.checkpoint_every=1000000"]
    folders = [out / f"0{k}-learning_rate-{rate}" / "seed-0" for k, rate in ((1, 0.003), (2, 0.03))]

    def both_have_begun():
        logs = [folder / "metrics.jsonl" for folder in folders]
        return all(log.exists() and log.stat().st_size > 1500 for log in logs)

    process = start(*words)
    try:
        wait_for(both_have_begun, process)
        process.send_signal(number)
        said = process.communicate(timeout=240)[0]
    finally:
        process.kill()
    if number == signal.SIGINT:
        assert process.returncode == 130 and "continue with:" in said and "Traceback" not in said
    for folder in folders:
        end = time.monotonic() + 240
        log = sweep_process.log_file(folder)
        while "step" not in (found := log.read_text()) or _is_training(folder):
            assert time.monotonic() < end, found
            time.sleep(0.2)
        facts = json.loads(command("info", folder, "--json")[1])
        assert facts["resumable"] and facts["finished"] is False and facts["steps"] >= 10
        last = json.loads((folder / "metrics.jsonl").read_text().splitlines()[-1])
        assert facts["steps"] - last["step"] < 2  # saved where it stopped, not at a checkpoint


def _is_training(folder):
    from lstm_lm.errors import RunDirectoryError
    from lstm_lm.training.run_directory import claim_folder

    try:
        with claim_folder(folder, resume=True, overwrite=False):
            return False
    except RunDirectoryError:
        return True


@pytest.mark.slow
def test_a_real_process_trains_with_one_thread(config, tmp_path):
    built = load_sweep(config, []).build({}, 0)
    process = sweep_process.RunProcess(built, tmp_path / "runs" / "one")
    while process.status is None:
        time.sleep(0.1)
    assert process.status == 0, process.last_words()
    process.stop()
    alone = train(config, tmp_path / "alone", report=lambda line: None)
    for name in ("model.safetensors", "metrics.jsonl", "config.yaml"):
        assert (tmp_path / "runs" / "one" / name).read_bytes() == (alone.folder / name).read_bytes()
    assert "valid perplexity" in (tmp_path / "runs" / "one.log").read_text()


def test_what_a_killed_process_leaves(tmp_path):
    """A run that the system ends, such as for lack of memory, is a row that says so."""

    class Killed:
        status = -9

        def stop(self):
            pass

        def last_words(self):
            return "step 3"

    session = object.__new__(sweeping._Session)
    session.record = type("Record", (), {"folder": tmp_path})
    run = SweepRun(0, "01/seed-0")
    session._take(Killed(), run)
    assert run.state == "failed" and "signal 9, perhaps for lack of memory" in run.why


# --- how many side by side -----------------------------------------------------------------------


def test_how_many_fit_side_by_side(monkeypatch):
    monkeypatch.setattr(sweep_process, "available_cores", lambda: 8)
    monkeypatch.setattr(sweep_process, "available_memory", lambda: 10 * 10**9)
    for needed, runs, wanted in ((10**9, 100, 8), (3 * 10**9, 100, 3), (10**9, 5, 5)):
        assert sweep_process.fitting_processes("cpu", needed, runs) == wanted
    assert sweep_process.fitting_processes("cpu", 20 * 10**9, 100) == 1
    assert sweep_process.fitting_processes("cpu", 10**9, 0) == 1
    monkeypatch.setattr(sweep_process, "available_memory", lambda: None)
    assert sweep_process.fitting_processes("cpu", 20 * 10**9, 100) == 8


def test_a_larger_network_needs_more_memory(config):
    sizes = [
        sweep_process.estimate_memory(load_config(config, words), 1000)
        for words in (
            ["model.hidden_size=8"],
            ["model.hidden_size=800"],
            ["model.hidden_size=[800,800]", "model.num_layers=2"],
        )
    ]
    assert sweep_process.BASE_BYTES < sizes[0] < sizes[1] < sizes[2]


# --- a search ------------------------------------------------------------------------------------


def test_a_search_needs_optuna(refused, started, config, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    line = refused(
        *("sweep", config, "optimizer.learning_rate=1e-4..1e-1", "--search", 2),
        *("--output", tmp_path / "out"),
    )
    assert "needs optuna" in line and "pip install 'lstm_lm[search]'" in line
    assert not (tmp_path / "out").exists()


def test_what_a_search_learns_from():
    def of(*states):
        runs = [
            SweepRun(k, "", state, perplexity=10.0 + k if state == "finished" else None)
            for k, state in enumerate(states)
        ]
        return Combination(1, {}, runs).outcome

    assert of("finished", "finished") == 10.5
    assert of("finished", "diverged") == math.inf
    assert of("finished", "training") is None and of("failed") is None


def propose_many(config, count, sampler, seed=0, axes=None):
    """Asks for combinations one after another; a known function stands for the training."""
    words = axes or ["optimizer.learning_rate=1e-4..1e-1", "model.cell=lstm,gru"]
    found = load_sweep(config, words, search=True).axes
    trials = []
    for _ in range(count):
        values = sweep_search.propose(found, trials, sampler=sampler, seed=seed)
        if values is None:
            break
        rate = math.log10(float(values.get("optimizer.learning_rate", 0.1)))
        loss = math.inf if rate > -1.2 else 10 + (rate + 2.5) ** 2
        trials.append(sweep_search.Trial(values, loss + (values.get("model.cell") == "gru")))
    return trials


@pytest.mark.slow
def test_a_search_is_seeded_learns_and_stays_inside(config):
    pytest.importorskip("optuna")
    best = {}
    for sampler in sweep_search.SAMPLERS:
        trials = propose_many(config, 24, sampler)
        assert trials == propose_many(config, 24, sampler)
        assert trials != propose_many(config, 24, sampler, seed=1)
        rates = [float(trial.values["optimizer.learning_rate"]) for trial in trials]
        assert all(1e-4 <= rate <= 1e-1 for rate in rates) and len(set(rates)) > 20
        assert {trial.values["model.cell"] for trial in trials} == {"lstm", "gru"}
        late = [trial.perplexity for trial in trials[12:] if trial.perplexity < math.inf]
        best[sampler] = statistics.median(late)
    assert best["tpe"] < best["random"]


def test_a_search_ends_when_all_is_tried(config):
    pytest.importorskip("optuna")
    trials = propose_many(config, 10, "tpe", axes=["model.cell=lstm,gru,elman"])
    assert sorted(trial.values["model.cell"] for trial in trials) == ["elman", "gru", "lstm"]


@pytest.mark.slow
def test_a_search_continues_as_if_it_had_not_been_stopped(command, refused, started, config):
    pytest.importorskip("optuna")
    words = ["sweep", config, "optimizer.learning_rate=1e-3..1", "training.max_steps=3"]
    words += ["--parallel", 1]
    whole, parts = config.parent / "whole", config.parent / "parts"
    assert command(*words, "--search", 4, "--output", whole)[0] == 0
    for count in (1, 3, 4):
        assert command(*words, "--search", count, "--output", parts)[0] == 0
    tried = [
        sorted((one["number"], one["values"]) for one in _combinations(out))
        for out in (whole, parts)
    ]
    assert str(tried[0]) == str(tried[1]) and len(tried[0]) == 4
    assert len(started) == 8
    line = refused(*words, "--search", 4, "--sampler", "random", "--output", parts)
    assert "it was --search with --sampler tpe, is --search with --sampler random" in line
    assert "--search" in refused(*words[:2], RATES, "--output", parts)
    said = command(*words, "--search", 2, "--output", parts)
    assert said[0] == 0 and len(started) == 8  # nothing new, and nothing is lost
    assert (parts / "sweep.png").exists() and said[1].count("\n") >= 6


def test_a_wrong_sampler_or_option(command, config):
    assert command("sweep", config, RATES, "--search", 2, "--sampler", "grid")[0] == 2
    with pytest.raises(InputError, match="range"):
        load_sweep(config, ["model.hidden_size=4..8"])
