"""`lstm-lm compare`: an ordinary run for every cell, of equal size and budget, and one report."""

import json
import math
import re
import shlex
import signal
from pathlib import Path

import pytest

from lstm_lm import LanguageModel
from lstm_lm.config import CELLS, ModelConfig, load_config
from lstm_lm.corpus.vocabulary import Vocabulary
from lstm_lm.model.network import Network, count_parameters
from lstm_lm.model.size import match_parameters
from lstm_lm.probes.asking import NetworkReader, iterate_scores
from lstm_lm.probes.report import summarise
from lstm_lm.probes.suites import find_suite
from lstm_lm.training.run_directory import claim_folder
from lstm_lm.training.run_log import read_log
from lstm_lm.training.trainer import Trainer
from tests.conftest import RUN_FILES, write_corpus

ITEMS = """\
id\tprefix\ttarget\tfoil\tdistance\tgroup\tpair
1\tI grew up in France . I speak fluent\tFrench\tParis\t5\tnear\ta
2\tI grew up in Paris . I speak fluent\tFrench\tFrance\t5\tnear\ta
3\tI speak fluent French . She has a home in Paris , and a\tcat\thome\t12\tfar\t
4\tI speak fluent French . She has a\tUtopia\tcat\t7\tfar\t
"""


@pytest.fixture
def suite(tmp_path):
    path = tmp_path / "mine.tsv"
    path.write_text(ITEMS)
    return path


@pytest.fixture(scope="session")
def compared(tmp_path_factory):
    """A comparison that must not be changed: its folder, the configuration and the suite."""
    from lstm_lm.cli.main import main

    folder = tmp_path_factory.mktemp("compared")
    (folder / "mine.tsv").write_text(ITEMS)
    config = write_corpus(folder / "corpus")
    words = comparing(config, folder / "out", folder / "mine.tsv")
    assert main([str(word) for word in words]) == 0
    return folder / "out", folder / "corpus" / "tiny.yaml", folder / "mine.tsv"


def comparing(config, out, suite):
    """The command of `compared`, for another place or once more."""
    return [
        "compare",
        config,
        "--output",
        out,
        "elman.optimizer.learning_rate=0.01",
        "--suites",
        suite,
    ]


def contents(folder):
    return {
        path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }


@pytest.mark.slow
def test_every_cell_has_an_ordinary_run(command, compared, tmp_path):
    out, config, _ = compared
    assert {path.name for path in out.iterdir()} == {
        "lstm",
        "gru",
        "elman",
        "compare.json",
        "compare.png",
    }
    assert (out / "compare.png").read_bytes().startswith(b"\x89PNG")
    for cell in ("lstm", "gru", "elman"):
        assert {path.name for path in (out / cell).iterdir()} == RUN_FILES
        assert command("predict", out / cell, "I grew up in")[0] == 0
        assert load_config(out / cell / "config.yaml").model.cell == cell
    assert command("train", config, "--output", tmp_path / "alone")[0] == 0
    for name in (
        "model.safetensors",
        "metrics.jsonl",
        "config.yaml",
    ):  # as lstm-lm train would have made it
        assert (out / "lstm" / name).read_bytes() == (tmp_path / "alone" / name).read_bytes()
    rates = [
        load_config(out / cell / "config.yaml").optimizer.learning_rate
        for cell in ("lstm", "gru", "elman")
    ]
    assert rates == [0.03, 0.03, 0.01]


@pytest.mark.slow
def test_compare_json_is_what_the_runs_and_the_other_commands_say(command, compared):
    out, config, suite = compared
    found = json.loads((out / "compare.json").read_text())
    assert (found["equal"], found["source_perplexity"], found["baseline"]) == (
        "parameters",
        None,
        "5-gram",
    )
    *networks, ngram = found["models"]
    assert [model["name"] for model in networks] == ["lstm", "gru", "elman"]
    assert [model["title"] for model in networks] == ["LSTM", "GRU", "Elman"]
    for model in networks:
        run = out / model["name"]
        network = LanguageModel.from_pretrained(run)
        evaluated = json.loads(command("evaluate", run, "--json")[1])
        lines = read_log(run / "metrics.jsonl")
        assert model["run"] == str(run) and model["parameters"] == network.network.parameter_count
        assert model["hidden_sizes"] == [
            cell.hidden_size for cell in network.network.recurrent.cells
        ]
        assert model["perplexity"] == pytest.approx(evaluated["perplexity"], rel=1e-6)
        assert all(model[key] == evaluated[key] for key in ("tokens", "oov_tokens", "state"))
        assert (model["steps"], model["words"]) == (12, lines[-1]["words"])
        assert model["seconds"] == read_log(run / "timings.jsonl")[-1]["seconds"]
        report = summarise(
            iterate_scores(NetworkReader(network), find_suite(str(suite))), len(network.vocabulary)
        )
        assert found["suites"][0]["reports"][model["name"]] == json.loads(json.dumps(report))
    assert [model["overrides"] for model in networks] == [[], [], ["optimizer.learning_rate=0.01"]]
    assert [model["width"] for model in networks] == ["given", "chosen", "chosen"]
    counted = json.loads(command("ngram", config, "--json")[1])
    assert all(ngram[key] == counted[key] for key in counted if key != "nll")
    probed = json.loads(command("probe", out / "gru", suite, "--json")[1])["suites"][0]
    assert found["suites"] == [{"suite": str(suite), "reports": found["suites"][0]["reports"]}]
    assert found["suites"][0]["reports"]["5-gram"] == probed["baseline"]
    assert found["suites"][0]["reports"]["gru"]["skipped_because"] == {"target unknown": 1}


def test_suites_through_real_text(command, compared, tmp_path):
    out, config, _ = compared
    suite, text, picture = tmp_path / "s.tsv", tmp_path / "text.txt", tmp_path / "p.png"
    suite.write_text(
        "id\tprefix\ttarget\tfoil\tdistance\tpair\tclue\tquestion\n"
        "1\tI grew. She has a cat . up\tin\ta\t6\tp\tI grew.\tup\n"
        "2\tI speak. She has a cat . up\ta\tin\t6\tp\tI speak.\tup\n"
    )
    text.write_text("She has Paris.\nFrance, home.\n" * 9)
    words = [*comparing(config, out, suite), "--fillers", text, "--plot", picture, "--order", 0]
    before = (out / "compare.json").read_bytes()
    found = json.loads(command(*words, "--json")[1])
    table = command(*words)[1]
    (out / "compare.json").write_bytes(before)
    name = f"{suite} through {text}"
    assert [part["suite"] for part in found["suites"]] == [str(suite), name]
    assert found["filled"] == {str(suite): name} and picture.exists()
    probed = json.loads(command("probe", out / "gru", suite, "--fillers", text, "--json")[1])
    for k in (0, 1):
        del probed["suites"][k]["baseline"]
        report = found["suites"][k]["reports"]["gru"]
        assert report.items() <= probed["suites"][k].items()
    assert found["notes"] == probed["notes"] and f"  {found['notes'][0]}\n" in table


@pytest.mark.slow
def test_a_finished_comparison_is_not_trained_again(command, refused, compared, tmp_path):
    out, config, suite = compared
    before = contents(out)
    words = ["compare", config, "--output", out, "elman.optimizer.learning_rate=0.01"]
    picture = tmp_path / "other.png"
    status, said, err = command(*words, "--suites", suite, "--json")
    assert (
        status == 0
        and err.count("finished already") == 3
        and said == (out / "compare.json").read_text()
    )
    now, again = (json.loads(text) for text in (said, before[Path("compare.json")]))
    assert (
        now["models"][-1].pop("seconds") >= 0 and again["models"][-1].pop("seconds") >= 0
    )  # of counting anew
    assert now == again
    before = contents(out)
    for other in (
        "training.max_steps=13",
        "optimizer.learning_rate=0.02",
        "evaluation.reset_per_line=true",
        "gru.optimizer.learning_rate=0.01",
        "lstm.model.hidden_size=9",
        "training.seed=1",
    ):
        said = refused(*words, other)
        assert (
            "contains a run of another configuration" in said
            and re.sub(r"=.*", " was", other).split(".")[-1] in said
        )
    assert contents(out) == before
    harmless = ["training.log_every=1", "training.device=auto", "evaluation.window_length=100"]
    assert (
        command(
            *words,
            "--suites",
            suite,
            "--order",
            0,
            "--plot",
            picture,
            "--measure",
            "pairs",
            *harmless,
        )[0]
        == 0
    )
    assert picture.exists() and json.loads((out / "compare.json").read_text())["baseline"] is None
    for path, content in before.items():
        if path.name in ("model.safetensors", "metrics.jsonl", "training_state.safetensors"):
            assert (out / path).read_bytes() == content
        elif path.name in ("compare.json", "config.yaml"):  # for the other tests
            (out / path).write_bytes(content)


@pytest.mark.slow
def test_suites_of_which_nothing_can_be_asked_are_left_out(command, compared, tmp_path):
    out, config, suite = compared
    nothing = tmp_path / "nothing.tsv"
    header = ITEMS.partition("\n")[0] + "\n"
    nothing.write_text(header + "1\tI grew\tUtopia\tThule\t3\t\t\n2\ta\tx\tx\t3\t\t\n")
    before = {name: (out / name).read_bytes() for name in ("compare.json", "compare.png")}
    words = ["compare", config, "--output", out, "elman.optimizer.learning_rate=0.01"]
    try:
        status, shown, err = command(*words, "--order", 0, "--suites", suite, nothing)
        assert status == 0
        assert f"note: {nothing}: 1 of 2 items cannot be asked and are skipped: line 3: " in err
        (line,) = [line for line in shown.splitlines() if str(nothing) in line]
        assert line.startswith(f"left out, nothing can be asked: {nothing} (")
        assert "such as Utopia" in line and str(suite) in shown
        results = json.loads((out / "compare.json").read_text())
        assert results["left_out"] == [str(nothing)] and len(results["suites"]) == 2
        (out / "compare.png").unlink()
        status, shown, _ = command(*words, "--order", 0, "--suites", nothing)
        assert status == 0 and not (out / "compare.png").exists()
        assert "no picture: no item with a distance could be asked" in shown
    finally:
        for name, content in before.items():
            (out / name).write_bytes(content)


@pytest.mark.slow
def test_the_tables(command, compared):
    out, config, suite = compared
    words = comparing(config, out, suite)
    lines = command(*words)[1].splitlines()
    assert [line.split()[0] for line in lines[1:5]] == ["LSTM", "GRU", "Elman", "5-gram"]
    results = json.loads((out / "compare.json").read_text())
    first, *others, _ = results["models"]
    assert "per word over LSTM's" in lines[0]
    for line, model in zip(lines[1:4], [first, *others], strict=True):
        cost = model["seconds"] / model["words"] / (first["seconds"] / first["words"])
        assert re.search(rf"  {cost:.2f}  ", line)
    report = results["suites"][0]["reports"]
    head = next(k for k, line in enumerate(lines) if line.startswith(str(suite)))
    assert lines[head].split()[1:] == [
        "target-over-foil:",
        "LSTM",
        "GRU",
        "Elman",
        "5-gram",
        "top-1:",
        "LSTM",
        "GRU",
        "Elman",
        "5-gram",
        "items",
    ]
    shares = re.findall(r"[\d.]+%", lines[head + 1])
    assert shares == [
        f"{report[name][key]:.1%}"
        for key in ("accuracy", "top_1")
        for name in ("lstm", "gru", "elman", "5-gram")
    ]
    assert [line.split("  ")[0] for line in lines[head + 1 : head + 5]] == [
        "all",
        "3 to 5 words",
        "6 to 10 words",
        "11 to 20 words",
    ]
    said = "\n".join(lines)
    for note in (
        "the width of GRU and Elman is chosen",
        "Elman alone: optimizer.learning_rate=0.01",
        "skipped 1: target unknown",
        "chance: 50.00% target-over-foil",
    ):
        assert note in said


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"hidden_size": (300, 200)},
        {"num_layers": 1, "hidden_size": 256},
        {"tie_weights": False},
        {"embedding_dim": 400, "num_layers": 3},
        {"hidden_size": 398},
        {"hidden_size": 402, "embedding_dim": 400},
    ],
    ids=str,
)
def test_equal_parameters_are_equal_to_a_hundredth(settings):
    vocab_size = len(
        Vocabulary.build([" ".join(f"w{k}" for k in range(900))], tokenization="whitespace")
    )
    model = ModelConfig(**settings)
    wanted = count_parameters(model, vocab_size)
    assert wanted == Network(model, vocab_size).parameter_count
    for cell in CELLS:
        other = match_parameters(ModelConfig(**settings, cell=cell), vocab_size, wanted)
        assert count_parameters(other, vocab_size) == pytest.approx(wanted, rel=0.01)
        assert other == ModelConfig(**settings | {"cell": cell, "hidden_size": other.hidden_size})
        if cell == "lstm":
            assert other == model


@pytest.mark.slow
def test_no_other_width_is_nearer():
    """A top layer as wide as a tied embedding has no projection: sizes do not grow steadily."""
    vocab_size = len(Vocabulary.build(["a few words"], tokenization="whitespace"))
    for cell in ("gru", "elman"):
        sizes = {
            width: count_parameters(
                ModelConfig(cell=cell, embedding_dim=20, hidden_size=width), vocab_size
            )
            for width in range(1, 60)
        }
        for wanted in range(100, 9000, 137):
            found = match_parameters(
                ModelConfig(cell=cell, embedding_dim=20, hidden_size=7), vocab_size, wanted
            )
            assert abs(sizes[found.hidden_size] - wanted) == min(
                abs(size - wanted) for size in sizes.values()
            )


@pytest.mark.slow
def test_any_cells_are_compared(command, config, suite, tmp_path):
    """A setting that one of them has no use for is dropped for it alone, and said."""
    out, cells = tmp_path / "out", ["coupled_lstm", "mogrifier_lstm", "min_gru"]
    words = ["compare", config, "--output", out, "--cells", ",".join(cells), "--suites", suite]
    own = ("mogrifier_lstm.model.mogrifier_rounds=2", "model.weight_dropout=0.2")
    status, said, err = command(*words, "training.max_steps=2", *own)
    assert status == 0 and "per word over coupled LSTM's" in said
    assert "min_gru: not used, because model.cell is min_gru: model.weight_dropout" in err
    assert err.count("not used") == 1
    models = json.loads((out / "compare.json").read_text())["models"]
    assert [model["name"] for model in models] == [*cells, "5-gram"]
    rates = [load_config(out / cell / "config.yaml").model.weight_dropout for cell in cells]
    assert rates == [0.2, 0.2, 0.0]
    assert load_config(out / "mogrifier_lstm" / "config.yaml").model.mogrifier_rounds == 2


@pytest.mark.parametrize(
    "words, widths",
    [
        (["--equal", "width"], {"lstm": 8, "gru": 8, "elman": 8}),
        ([], {"lstm": 8, "gru": 9, "elman": 16}),
        (["elman.model.hidden_size=5"], {"lstm": 8, "gru": 9, "elman": 5}),
        (["--cells", "elman,gru"], {"elman": 8, "gru": 3}),
    ],
)
def test_widths(command, config, suite, tmp_path, words, widths):
    out = tmp_path / "out"
    status, said, _ = command(
        "compare",
        config,
        "--output",
        out,
        "training.max_steps=1",
        "--suites",
        suite,
        "evaluation.reset_per_line=true",
        *words,
    )
    found = json.loads((out / "compare.json").read_text())
    assert [model["state"] for model in found["models"]] == ["reset"] * (len(widths) + 1)
    hidden = {model["name"]: model["hidden_sizes"] for model in found["models"][:-1]}
    assert status == 0 and hidden == {cell: [width] for cell, width in widths.items()}
    assert ("is chosen so that" in said) == ("width" not in words)


@pytest.mark.slow
def test_a_source_that_knows_its_own_perplexity(command, config, suite, tmp_path):
    run = tmp_path / "out" / "gru"
    words = [
        "corpus.source=stories",
        "corpus.train_file=null",
        "corpus.valid_file=null",
        "stories.count=20",
    ]
    status, out, _ = command(
        "compare",
        config,
        *words,
        "training.max_steps=1",
        "--cells",
        "gru",
        "--suites",
        suite,
        "--output",
        run.parent,
    )
    found = json.loads((run.parent / "compare.json").read_text())
    assert (
        status == 0
        and f"the source itself: {found['source_perplexity']:.2f}" in command("evaluate", run)[1]
    )
    ratio = found["models"][0]["perplexity"] / found["source_perplexity"]
    assert ratio > 1 and f"{ratio:.3f}" in out


def stop_at(monkeypatch, cell, step, number=signal.SIGINT):
    """Sends a signal to this process when the network of a cell has made so many steps."""
    update = Trainer.update

    def updating(trainer):
        update(trainer)
        if trainer.network.config.cell == cell and trainer.progress.step == step:
            signal.raise_signal(number)

    monkeypatch.setattr(Trainer, "update", updating)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_stopped_and_continued(command, compared, monkeypatch, tmp_path, number):
    whole, config, suite = compared
    out = tmp_path / "an output"
    words = comparing(config, out, suite)
    with monkeypatch.context() as patch:
        stop_at(patch, "gru", 7, number)
        status, said, err = command(*words)
    assert status == 128 + number and said == "" and not (out / "compare.json").exists()
    assert "stopped and saved at step 7" in err and not (out / "elman").exists()
    name, *again = shlex.split(err.splitlines()[-1])
    assert name == "lstm-lm" and again == [str(word) for word in words]
    status, _, err = command(*again)
    assert status == 0 and err.count("finished already") == 1 and "gru, from step 7" in err
    for path in (path.relative_to(whole) for path in whole.glob("*/m*")):
        assert (out / path).read_bytes() == (whole / path).read_bytes()
    ours, theirs = (json.loads((folder / "compare.json").read_text()) for folder in (out, whole))
    assert ours["suites"] == theirs["suites"]


@pytest.mark.slow
def test_stopped_while_probing(command, compared, monkeypatch):
    out, config, suite = compared

    def stop(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr("lstm_lm.training.comparison.summarise", stop)
    words = comparing(config, out, suite)
    status, _, err = command(*words)
    assert status == 130 and shlex.split(err.splitlines()[-1]) == ["lstm-lm", *map(str, words)]


@pytest.mark.slow
def test_a_half_finished_run(command, refused, config, suite, tmp_path):
    """A run killed before its first checkpoint begins again; one without a file is damaged."""
    out = tmp_path / "out"
    words = ["compare", config, "--output", out, "--cells", "lstm", "--suites", suite]
    assert command(*words)[0] == 0
    whole = contents(out / "lstm")
    (out / "lstm" / "training_state.safetensors").unlink()
    assert f"--resume --mend; or remove {out / 'lstm'} to train it again" in refused(*words)
    (out / "lstm" / "training_state.previous.safetensors").unlink()
    assert "training_state.safetensors" in refused(*words)
    (out / "lstm" / "model.safetensors").unlink()
    for name in ("metrics.jsonl", "timings.jsonl"):
        (out / "lstm" / name).unlink()
    assert "training.seed was 0, is 3" in refused(*words, "training.seed=3")
    assert command(*words)[0] == 0
    assert all(
        (out / "lstm" / name).read_bytes() == content
        for name, content in whole.items()
        if name.name in ("model.safetensors", "metrics.jsonl")
    )
    for name in ("config.yaml", "training_state.safetensors", "metrics.jsonl"):
        path = out / "lstm" / name
        content = path.read_bytes()
        path.write_bytes(content[: len(content) // 2])
        assert name in refused(*words)
        path.write_bytes(content)
    (out / "lstm" / "config.yaml").unlink()
    assert "config.yaml" in refused(*words)


@pytest.mark.slow
def test_a_network_that_diverges_names_its_cell(command, config, suite, tmp_path, monkeypatch):
    finish_update = Trainer._finish_update

    def broken(trainer, nll, words):
        is_elman = trainer.network.config.cell == "elman"
        finish_update(trainer, math.nan if is_elman else nll, words)

    monkeypatch.setattr(Trainer, "_finish_update", broken)
    status, out, err = command("compare", config, "--output", tmp_path / "out", "--suites", suite)
    last = err.splitlines()[-1]
    assert (
        status == 1
        and last.startswith("lstm-lm: error: the loss is not finite")
        and "--resume" not in last
    )
    assert (
        "elman.optimizer.learning_rate=" in last and f"remove {tmp_path / 'out' / 'elman'}" in last
    )


def test_a_suite_without_distances_has_a_table_and_no_picture(command, refused, config, tmp_path):
    plain, words_asked = tmp_path / "plain.tsv", tmp_path / "words.txt"
    plain.write_text("id\tprefix\ttarget\tfoil\n1\tI speak fluent\tFrench\tParis\n")
    words_asked.write_text("I speak fluent French\n")
    words = [
        "compare",
        config,
        "--output",
        tmp_path / "out",
        "--cells",
        "lstm",
        "--suites",
        plain,
        words_asked,
    ]
    status, out, _ = command(
        *words, "training.max_steps=1"
    )  # where --suites would take it for a suite
    assert status == 0 and "no picture: no item has a distance" in out
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"lstm", "compare.json"}
    assert "top-1: LSTM" in out and out.count("target-over-foil: LSTM") == 1
    assert "no item has a distance" in refused(*words, "--plot", tmp_path / "p.png")
    plain.write_text("id\tprefix\ttarget\tdistance\n1\tI speak fluent\tFrench\t2\n")
    assert command(*words, "training.max_steps=1")[0] == 0  # without foils: the picture shows top-1
    assert (tmp_path / "out" / "compare.png").read_bytes().startswith(b"\x89PNG")


def test_mistakes(command, refused, config, suite, tmp_path):
    out, a_file = tmp_path / "out", tmp_path / "file"
    a_file.write_text("")
    shared = ["compare", config, "--suites", suite, "--output", out]
    for words, said in (
        (["--cells", ""], "--cells: found ''"),
        (["--cells", "lstm,rnn"], "'rnn', must be some of lstm, gru,"),
        (["--cells", "gru,gru"], "gru is named twice"),
        (["--cells", "lstm,"], "found ''"),
        (["model.cell=gru"], "--cells chooses the cells"),
        (["gru.model.cell=lstm"], "--cells chooses the cells"),
        (["--cells", "lstm", "gru.model.num_layers=2"], "gru is not one of --cells"),
        (["gru.training.max_steps=3"], "same for all cells"),
        (["gru.corpus.lowercase=true"], "same for all cells"),
        (["gru.training.batch_size=2"], "same for all cells"),
        (
            ["gru.optimizer.learning_rat=3"],
            "gru.optimizer.learning_rat: unknown key; did you mean optimizer.",
        ),
        (["gru.optimizer"], "gru.optimizer: an override must be section.key=value"),
        (["optimizer.learning_rat=3"], "error: optimizer.learning_rat: unknown key"),
        (["rnn.optimizer.learning_rate=3"], "rnn: unknown section"),
        (["corpus.train_file=absent.txt"], "absent.txt"),
        (["model.hidden_size=100000000"], "GiB"),
        (["--order", 21], "--order: found 21"),
        (["--plot", tmp_path], "--plot"),
        (["--plot", tmp_path / "no" / "p.png"], "--plot"),
    ):
        assert said in refused(*shared, *words), words
    assert "no such suite" in refused("compare", config, "--output", out, "--suites", "capitl")
    assert "is a file" in refused("compare", config, "--output", a_file, "--suites", suite)
    assert "absent.yaml" in refused("compare", tmp_path / "absent.yaml", "--output", out)
    assert not out.exists()
    out.mkdir()
    (out / "gru").write_text("")
    assert "gru: is a file" in refused(*shared)
    assert not (out / "lstm").exists()  # nothing is trained before all is in order
    assert command(*shared, "--measure", "luck")[0] == command(*shared, "--equal", "weight")[0] == 2


def test_no_two_trainings_in_one_network(refused, config, suite, tmp_path):
    out = tmp_path / "out"
    with claim_folder(out / "gru", resume=False, overwrite=False):
        assert "gru: another run is training in it" in refused(
            "compare", config, "--output", out, "--suites", suite
        )
        assert not (out / "lstm").exists()
