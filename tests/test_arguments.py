"""How a command line is read: any order, near names, one habit for texts, devices, notes."""

import gzip
import io
import json
import zipfile

import pyarrow
import pyarrow.parquet
import pytest
import torch

from lstm_lm import LanguageModel
from lstm_lm.cli.main import COMMANDS, build_parsers

NOT_HERE = "mps" if torch.cuda.is_available() else "cuda"
RUNS_A_MODEL = {
    "predict": ["I"],
    "score": ["I"],
    "generate": ["I"],
    "evaluate": [],
    "probe": ["SUITE", "--order", "0"],
}


@pytest.fixture
def suite(tmp_path):
    path = tmp_path / "mine.tsv"
    path.write_text("id\tprefix\ttarget\tfoil\n1\tI speak fluent\tFrench\tParis\n")
    return path


@pytest.fixture
def refused_with_usage(command):
    """Runs ``lstm-lm`` and returns the error; after its one line there is the usage, one line."""

    def run(*words):
        status, out, err = command(*words)
        assert (status, out) == (2, ""), (status, out, err)
        error, usage = err.splitlines()
        assert error.startswith("lstm-lm: error: ") and usage.startswith("usage: lstm-lm"), err
        return error, usage

    return run


@pytest.mark.parametrize(
    "words, meant",
    [
        (["--epochs", "10"], "training.max_epochs=10?"),
        (["--epochs=10"], "training.max_epochs=10?"),
        (["--lr", "1e-3"], "optimizer.learning_rate=1e-3?"),
        (["--hidden_size", "400"], "model.hidden_size=400?"),
        (["--batch-size=20"], "training.batch_size=20?"),
        (["--seed"], "training.seed=...?"),
        (["--lr", "--resume"], "optimizer.learning_rate=...?"),
        (["--ouput", "x"], "--output?"),
        (["--over"], "--overwrite?"),  # not taken for it, only suggested
        (["--overwite"], "--overwrite?"),
        (["--xyzzy"], "`lstm-lm train --help` lists the options"),
    ],
    ids=str,
)
def test_an_unknown_option_of_train(refused_with_usage, config, words, meant):
    error, usage = refused_with_usage("train", config, *words)
    assert f"unknown option {words[0].partition('=')[0]}; " in error and error.endswith(meant)
    assert usage == "usage: lstm-lm train CONFIG [section.key=value ...] [options]"


def test_settings_are_suggested_only_where_they_can_be_given(refused_with_usage):
    assert "optimizer.learning_rate=3?" in refused_with_usage("ngram", "x", "--lr", "3")[0]
    error, usage = refused_with_usage("predict", "run", "--lr", "3")
    assert error.endswith("unknown option --lr; `lstm-lm predict --help` lists the options")
    assert usage == "usage: lstm-lm predict RUN_DIR [TEXT] [options]"
    assert "did you mean --top-k?" in refused_with_usage("predict", "run", "--topk", "3")[0]


@pytest.mark.parametrize(
    "words, said",
    [
        (["trian"], "unknown command 'trian'; did you mean train?"),
        (["xyzzy", "x"], "unknown command 'xyzzy'; commands are train, predict, "),
        ([], "a command is missing; commands are train, predict, "),
        (["--verison"], "unknown option --verison; did you mean --version?"),
        (["predict"], "RUN_DIR is missing"),
        (["predict", "run", "two", "words"], "unexpected argument 'words'; put a text of several"),
        (["predict", "run", "--top-k", "many"], "--top-k: found 'many', must be a whole number"),
        (["predict", "run", "--top-k"], "--top-k: needs a value"),
        (["generate", "run", "--top-p", "x"], "--top-p: found 'x', must be a number"),
        (["evaluate", "run", "--split", "dev"], "--split: found 'dev', must be one of "),
        (["evaluate", "run", "--split", "test", "--file", "x"], "--file: not allowed with"),
        (["score", "run", "--reset-per-line"], "unknown option --reset-per-line"),
        (["predict", "run", "--\x1b[2J"], r"unknown option --\x1b[2J"),
    ],
    ids=str,
)
def test_one_line_and_the_usage(refused_with_usage, words, said):
    assert said in refused_with_usage(*words)[0]


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_is_explained(name):
    parser = build_parsers()[1][name]
    assert not [action.dest for action in parser._actions if not action.help]
    assert "\n" not in parser.format_usage().strip()


def test_any_order(command, finished_run):
    answers = [
        command(*words)
        for words in (
            ["predict", finished_run, "I speak", "--top-k", 3],
            ["predict", finished_run, "--top-k", 3, "I speak"],
            ["predict", "--top-k", 3, finished_run, "I speak"],
        )
    ]
    assert answers[0][0] == 0 and answers[0] == answers[1] == answers[2]
    dashed = command("predict", finished_run, "--top-k", 3, "--", "--speak")
    assert dashed[0] == 0 and dashed[1].startswith("--speak ...")


def test_an_argument_is_a_text_and_a_file_is_an_option(
    command, refused, finished_run, tmp_path, monkeypatch
):
    text = tmp_path / "text.txt"
    text.write_text("I grew up in\nShe has a\n")
    for name, key in (("predict", "text"), ("generate", "prompt")):
        answers = command(name, finished_run, "--file", text, "--json")[1].splitlines()
        assert [json.loads(line)[key] for line in answers] == ["I grew up in", "She has a"]
    for name in ("predict", "score", "generate"):
        settings = ["--json"] + ["--temperature", "0"] * (name == "generate")
        by_file = command(name, finished_run, "--file", text, *settings)
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(text.read_bytes())))
        assert by_file[0] == 0 and command(name, finished_run, *settings) == by_file
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(text.read_bytes())))
        assert command(name, finished_run, "--file", "-", *settings) == by_file
        said = refused(name, finished_run, "I", "--file", text)
        assert said == "lstm-lm: error: a text and --file: give one of them\n"
        status, _, err = command(name, finished_run, text)
        assert (status, err) == (0, f"note: {text} is a file; did you mean --file {text}?\n")
        assert command(name, finished_run, "I grew up in")[2] == ""
        assert "absent.txt" in refused(name, finished_run, "--file", "absent.txt")
    assert "PROMPT and --prompt: give one" in refused(
        "generate", finished_run, "I", "--prompt", "I"
    )


def test_score_of_an_argument_takes_its_lines_apart(command, finished_run):
    both = command("score", finished_run, "I speak\nShe has", "--json")[1].splitlines()
    alone = command("score", finished_run, "She has", "--json")[1]
    assert len(both) == 2 and json.loads(both[1]) == json.loads(alone) | {"line": 2}
    carried = command("score", finished_run, "I speak\nShe has", "--carry")[1]
    assert carried.endswith("\nstate carried from line to line\n")
    model = LanguageModel.from_pretrained(finished_run)
    total = sum(score.surprisal for score in model.score("I speak\nShe has"))
    lines = [
        json.loads(line)
        for line in command("score", finished_run, "I speak\nShe has", "--carry", "--json")[
            1
        ].splitlines()
    ]
    assert sum(line["surprisal"] for line in lines) == pytest.approx(total, rel=1e-12)


@pytest.mark.parametrize("name", RUNS_A_MODEL)
def test_device(command, refused, finished_run, suite, name):
    words = [name, finished_run, *(suite if w == "SUITE" else w for w in RUNS_A_MODEL[name])]
    assert command(*words, "--device", "cpu")[0] == 0
    said = refused(*words, "--device", NOT_HERE)
    assert f"--device: found '{NOT_HERE}'" in said and "cpu" in said


@pytest.mark.parametrize("name", ["train", "compare"])
def test_device_of_training(command, refused, config, suite, tmp_path, name):
    words = [name, config, "--output", tmp_path / "run", "training.max_steps=1"]
    words += ["--suites", suite, "--order", 0, "--cells", "lstm"] if name == "compare" else []
    said = refused(*words, "--device", NOT_HERE)
    assert f"training.device: found '{NOT_HERE}'" in said
    assert command(*words, "--device", "cpu")[0] == 0


def test_settings_put_out_of_use_are_noted_on_standard_error(command, config, tmp_path):
    words = ["corpus.source=stories", "stories.count=20", "training.max_steps=1"]
    unused = "corpus.train_file, corpus.valid_file, corpus.skip_blank_lines"
    note = f"note: not used, because corpus.source is stories: {unused}"
    status, out, err = command("train", config, *words, "--output", tmp_path / "run")
    assert status == 0 and err.splitlines() == [note] and "note" not in out
    assert command("ngram", config, *words[:2], "--order", 2)[2].splitlines() == [note]
    # The note is about the file; the run's own configuration has nothing that is out of use.
    assert command("train", tmp_path / "run", "--resume")[2] == ""


def test_every_command_reads_every_format_alike(command, finished_run, tmp_path):
    lines = ["I grew up in France.", "I speak fluent French."]
    texts = tmp_path / "texts"
    texts.mkdir()
    (texts / "a.txt").write_text("\n".join(lines))
    rows = "".join(json.dumps({"text": line}) + "\n" for line in lines)
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(rows.encode(), mtime=0))
    (tmp_path / "a.tsv").write_text("id\ttext\n" + "".join(f"1\t{line}\n" for line in lines))
    pyarrow.parquet.write_table(pyarrow.table({"text": lines}), tmp_path / "a.parquet")
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.write(texts / "a.txt", "a.txt")
    forms = [texts, f"{texts}/*.txt", *(tmp_path / f"a.{x}" for x in ("jsonl.gz", "tsv", "zip"))]
    for name in ("evaluate", "score", "predict"):
        expected = command(name, finished_run, "--file", texts / "a.txt", "--json")
        assert expected[0] == 0
        for form in [*forms, tmp_path / "a.parquet"]:
            assert command(name, finished_run, "--file", form, "--json") == expected, form


def test_one_s_own_text_is_never_left_unread(command, refused):
    """The commonest step after a quick start, with a text that is not there."""
    said = refused("train", "quickstart", "corpus.text_file=my.txt")
    assert "corpus.text_file: has no effect while corpus.source is stories" in said
    assert "set corpus.source=files" in said
    followed = ["corpus.text_file=my.txt", "corpus.source=files"]
    status, _, err = command("train", "quickstart", *followed)
    assert status == 2 and "corpus.text_file: no such file: my.txt" in err.splitlines()[-1]
