"""The commands as a person uses them, and a run that is never lost."""

import io
import json
import math
import shutil

import pytest
import torch

from lstm_lm import LanguageModel
from lstm_lm.cli.main import COMMANDS, main
from lstm_lm.training.run_log import read_log
from tests.conftest import RUN_FILES

PROMPT = "I grew up in"


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def say(monkeypatch, text):
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(text.encode()), encoding="utf-8"))


def test_a_run_directory_has_all_that_is_promised(finished_run):
    assert set(contents(finished_run)) == RUN_FILES
    lines = read_log(finished_run / "metrics.jsonl")
    assert [line["step"] for line in lines if line["split"] == "valid"] == [5, 10, 12]


def test_overrides_can_be_anywhere_and_the_resolved_configuration_is_kept(
    command, config, tmp_path
):
    status, out, _ = command(
        "train", config, "model.hidden_size=9", "--output", tmp_path / "x", "training.max_steps=3"
    )
    assert status == 0 and "lstm 9" in out and str(tmp_path / "x") in out
    text = (tmp_path / "x" / "config.yaml").read_text()
    assert "hidden_size: 9" in text and "max_steps: 3" in text
    again = command("train", tmp_path / "x" / "config.yaml", "--output", tmp_path / "y")
    assert again[0] == 0
    assert (tmp_path / "y" / "metrics.jsonl").read_bytes() == (
        tmp_path / "x" / "metrics.jsonl"
    ).read_bytes()


def test_a_run_has_a_default_place(command, config, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert command("train", config, "training.max_steps=1")[0] == 0
    assert (tmp_path / "runs" / "tiny" / "model.safetensors").exists()


def test_a_configuration_that_comes_with_the_package_is_found_by_name(
    command, refused, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    small = ["stories.count=20", "training.max_steps=1", "evaluation.prompts=[]"]
    assert command("train", "quickstart", *small, "model.hidden_size=8")[0] == 0
    assert "hidden_size: 8" in (tmp_path / "runs" / "quickstart" / "config.yaml").read_text()
    assert command("ngram", "quickstart", *small, "--order", 2)[0] == 0
    said = refused("train", "quikstart")
    assert "quikstart: no such run directory" in said and "did you mean quickstart?" in said
    assert "mean" not in (said := refused("train", "xyzzy")) and "text-files" in said


@pytest.mark.slow
def test_a_run_directory_is_enough_to_resume(command, config, tmp_path):
    run, whole = tmp_path / "run", tmp_path / "whole"
    settings = ["model.weight_dropout=0.2", "training.log_every=1"]
    assert command("train", config, *settings, "--output", whole)[0] == 0
    assert command("train", config, *settings, "training.max_steps=7", "--output", run)[0] == 0
    status, out, _ = command("train", run, "--resume", "training.max_steps=12")
    assert status == 0 and "from step 7" in out
    first, second = (read_log(folder / "metrics.jsonl") for folder in (whole, run))
    assert [line for line in first if line["split"] == "train"] == [
        line for line in second if line["split"] == "train"
    ]


@pytest.mark.slow
def test_train_json(command, config, tmp_path):
    run = tmp_path / "run"
    status, out, err = command("train", config, "--output", run, "--json")
    found = json.loads(out)
    best = min(
        (line for line in read_log(run / "metrics.jsonl") if line["split"] == "valid"),
        key=lambda line: line["loss"],
    )
    assert status == 0 and "valid perplexity" in err
    lines = err.splitlines()
    words = [at for at, line in enumerate(lines) if line.startswith(("vocabulary: ", "warning: "))]
    assert words == [0, 1, 2]  # what is said about the words of so small a corpus comes first
    assert lines[4].startswith("train 1,560 tokens, valid 14, on cpu, into ")
    assert (found["run"], found["finished"], found["steps"]) == (str(run), True, 12)
    assert found["best_step"] == best["step"]
    assert found["perplexity"] == pytest.approx(best["perplexity"])


def test_train_is_scored_too(command, finished_run):
    config = finished_run.parent / "corpus" / "tiny.yaml"
    evaluated = json.loads(command("evaluate", finished_run, "--split", "train", "--json")[1])
    counted = json.loads(command("ngram", config, "--split", "train", "--json")[1])
    assert evaluated["tokens"] == counted["tokens"] == 1560 and evaluated["oov_tokens"] == 0
    train = finished_run.parent / "corpus" / "train.txt"
    assert json.loads(command("evaluate", finished_run, "--file", train, "--json")[1]) == evaluated


@pytest.mark.slow
def test_the_splits_of_stories_are_scored_with_their_own_perplexity(command, tmp_path):
    config, run = tmp_path / "stories.yaml", tmp_path / "run"
    config.write_text(
        "corpus: {source: stories}\nstories: {count: 20}\n"
        "model: {embedding_dim: 8, hidden_size: 8, num_layers: 1}\n"
        "training: {max_epochs: null, max_steps: 1, device: cpu}\n"
    )
    assert command("train", config, "--output", run)[0] == 0
    for split in ("train", "valid"):
        status, out, _ = command("evaluate", run, "--split", split)
        assert status == 0 and out.startswith(f"{split}: perplexity ")
        own = out.splitlines()[1]
        assert own.startswith("the source itself: ")
        assert own in command("ngram", config, "--split", split)[1]


def test_where_there_is_no_terminal_lines_show_the_progress(command, config, tmp_path, monkeypatch):
    monkeypatch.setattr("lstm_lm.training.progress.SECONDS_BETWEEN_LINES", 0.0)
    run = tmp_path / "run"
    settings = ["training.max_steps=3", "training.log_every=1"]
    status, out, _ = command("train", config, "--output", run, *settings)
    lines = [line for line in out.splitlines() if "words/s" in line]
    assert status == 0 and len(lines) == 3
    logged = [line for line in read_log(run / "metrics.jsonl") if line["split"] == "train"]
    for line, wanted in zip(lines, logged, strict=True):
        assert line.startswith(f"step {wanted['step']}, epoch 0.0")
        assert f"loss {wanted['loss']:.3f}, perplexity {wanted['perplexity']:.2f}, " in line
    monkeypatch.undo()
    assert "words/s" not in command("train", config, "--output", run, "--overwrite", *settings)[1]


def test_predict_draws_bars_and_lists_unknown_words(command, finished_run):
    status, out, err = command("predict", finished_run, f"Xyzzy said {PROMPT}", "--top-k", 3)
    assert (status, err) == (0, "") and "Xyzzy, said" in out and "<unk>:" in out
    rows = [line for line in out.splitlines() if "%" in line]
    assert len(rows) == 3 and not any(row.split()[0] == "<unk>" for row in rows)


@pytest.mark.parametrize(
    "text", [PROMPT, "", "xyzzy plugh", "two\nlines", "  ", "I can't believe it's “Paris”…"]
)
def test_predict_json(command, finished_run, text):
    status, out, _ = command("predict", finished_run, text, "--json", "--top-k", 1000)
    answer = json.loads(out)
    assert (
        status == 0
        and list(answer) == ["text", "unknown_words", "predictions"]
        and answer["text"] == text
    )
    assert all(list(p) == ["word", "probability", "log_probability"] for p in answer["predictions"])
    words = [p["word"] for p in answer["predictions"]]
    assert "<unk>" not in words and "<eos>" in words and len(set(words)) == len(words)
    everything = json.loads(
        command("predict", finished_run, text, "--json", "--top-k", 1000, "--include-unknown")[1]
    )
    assert sorted(p["word"] for p in everything["predictions"]) == sorted([*words, "<unk>"])
    assert sum(p["probability"] for p in everything["predictions"]) == pytest.approx(1, abs=1e-5)
    assert all(
        p["probability"] == pytest.approx(math.exp(p["log_probability"]))
        for p in everything["predictions"]
    )


def test_predict_answers_every_line_of_standard_input(command, finished_run, monkeypatch):
    say(monkeypatch, f"{PROMPT}\nxyzzy\n")
    status, out, _ = command("predict", finished_run, "--json")
    answers = [json.loads(line) for line in out.splitlines()]
    assert status == 0 and [a["text"] for a in answers] == [PROMPT, "xyzzy"]
    assert [a["unknown_words"] for a in answers] == [[], ["xyzzy"]]
    model = LanguageModel.from_pretrained(finished_run)
    assert answers[0]["predictions"][0]["word"] == model.predict_next(PROMPT)[0].word


def test_predict_asks_a_person(command, finished_run, monkeypatch):
    say(monkeypatch, f"{PROMPT}\n")
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    status, out, _ = command("predict", finished_run)
    assert status == 0 and "Ctrl-D" in out and f"{PROMPT} ..." in out


def test_a_terminal_that_cannot_show_bars(finished_run, monkeypatch):
    written = io.BytesIO()
    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(written, encoding="ascii"))
    assert main(["predict", str(finished_run), "caf\xe9"]) == 0
    assert b"caf? ..." in written.getvalue()


def test_evaluate(command, finished_run):
    valid = finished_run.parent / "corpus" / "valid.txt"
    by_split = json.loads(command("evaluate", finished_run, "--json")[1])
    assert list(by_split)[:6] == [
        "perplexity",
        "nll",
        "tokens",
        "oov_tokens",
        "state",
        "normalization",
    ]
    assert by_split["perplexity"] == pytest.approx(math.exp(by_split["nll"] / by_split["tokens"]))
    assert (by_split["tokens"], by_split["oov_tokens"], by_split["state"]) == (14, 1, "carried")
    assert json.loads(command("evaluate", finished_run, "--file", valid, "--json")[1]) == by_split
    assert (
        json.loads(command("evaluate", finished_run, "--split", "valid", "--json")[1]) == by_split
    )
    best = min(
        line["loss"]
        for line in read_log(finished_run / "metrics.jsonl")
        if line["split"] == "valid"
    )
    assert by_split["nll"] / by_split["tokens"] == pytest.approx(best, rel=1e-6)
    reset = json.loads(command("evaluate", finished_run, "--reset-per-line", "--json")[1])
    assert reset["state"] == "reset" and reset["tokens"] == 14 and reset["nll"] != by_split["nll"]
    assert by_split["normalization"].startswith("softmax over all ")
    assert (
        f"14 tokens, 1 <unk>, state reset), {by_split['normalization']}\n"
        in command("evaluate", finished_run, "--reset-per-line")[1]
    )


def test_score_in_bits_is_what_evaluate_sums(command, finished_run, monkeypatch):
    valid = finished_run.parent / "corpus" / "valid.txt"
    lines = [
        json.loads(line)
        for line in command("score", finished_run, "--file", valid, "--carry", "--json")[
            1
        ].splitlines()
    ]
    assert [line["line"] for line in lines] == [1, 2, 3]
    assert {line["state"] for line in lines} == {"carried"}
    assert [[w["word"] for w in line["words"] if not w["known"]] for line in lines] == [
        ["speaks"],
        [],
        [],
    ]
    nll = json.loads(command("evaluate", finished_run, "--file", valid, "--json")[1])["nll"]
    assert sum(line["surprisal"] for line in lines) * math.log(2) == pytest.approx(nll, rel=1e-6)
    say(monkeypatch, valid.read_text())
    out = command("score", finished_run)[1]
    assert "speaks ?" in out and out.endswith("\nstate reset per line\n")
    apart = [
        json.loads(line)
        for line in command("score", finished_run, "--file", valid, "--json")[1].splitlines()
    ]
    assert {line["state"] for line in apart} == {"reset"} and apart[0]["words"] == lines[0]["words"]
    evaluated = command("evaluate", finished_run, "--file", valid, "--reset-per-line", "--json")[1]
    assert sum(line["surprisal"] for line in apart) * math.log(2) == pytest.approx(
        json.loads(evaluated)["nll"], rel=1e-6
    )


def test_generate_repeats_with_its_seed(command, finished_run):
    said = [
        command("generate", finished_run, PROMPT, "--words", 30, "--seed", seed)[1]
        for seed in (3, 3, 4)
    ]
    assert said[0] == said[1] != said[2] and said[0].startswith(PROMPT) and "<unk>" not in said[0]
    by_option = ["--prompt", PROMPT, "--words", 30, "--seed", 3]
    assert command("generate", finished_run, *by_option)[1] == said[0]
    assert command("generate", finished_run, "", "--words", 0)[:2] == (0, "\n")
    greedy = [
        command("generate", finished_run, "", "--temperature", 0, "--words", 8)[1] for _ in range(2)
    ]
    assert (
        greedy[0]
        == greedy[1]
        == command("generate", finished_run, "--prompt", "", "--top-k", 1, "--words", 8)[1]
    )


def test_generate_continues_every_line_and_otherwise_begins_one(
    command, finished_run, monkeypatch, tmp_path
):
    settings = ["--words", 5, "--temperature", 0, "--json"]
    (tmp_path / "prompts.txt").write_text(f"{PROMPT}\nShe has\n")
    status, out, _ = command(
        "generate", finished_run, "--file", tmp_path / "prompts.txt", *settings
    )
    answers = [json.loads(line) for line in out.splitlines()]
    assert status == 0 and [answer["prompt"] for answer in answers] == [PROMPT, "She has"]
    assert all(len(answer["words"]) == 5 for answer in answers)
    model = LanguageModel.from_pretrained(finished_run)
    assert answers[1]["continuation"] == model.generate("She has", 5, temperature=0)
    begun = json.loads(command("generate", finished_run, "", *settings)[1])
    say(monkeypatch, "")
    assert json.loads(command("generate", finished_run, *settings)[1]) == begun
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    assert json.loads(command("generate", finished_run, *settings)[1]) == begun


@pytest.mark.slow
def test_what_works_without_the_corpus(command, refused, config, tmp_path):
    run = tmp_path / "run"
    assert command("train", config, "--output", run)[0] == 0
    text = tmp_path / "text.txt"
    text.write_text(f"{PROMPT} France .\n")
    shutil.rmtree(config.parent)
    for words in (
        ["predict", run, PROMPT],
        ["score", run, "--file", text],
        ["generate", run, "I", "--words", 3],
        ["evaluate", run, "--file", text],
    ):
        assert command(*words)[0] == 0
    assert "no such file" in refused("evaluate", run)


@pytest.mark.parametrize("name", [None, *COMMANDS])
def test_help(command, name):
    status, out, err = command(*[name] if name else [], "--help")
    assert (status, err) == (0, "") and out.startswith("usage: lstm-lm") and "%(" not in out


def test_a_run_that_is_there_is_not_overwritten(command, refused, config, a_run):
    before = contents(a_run)
    said = refused("train", config, "--output", a_run)
    assert "--resume" in said and "--overwrite" in said
    assert (
        command("train", config, "--output", a_run, "--over")[0] == 2
    )  # not an abbreviation of --overwrite
    assert contents(a_run) == before
    assert "one of them" in refused("train", config, "--output", a_run, "--resume", "--overwrite")
    changes = ["training.max_steps=3", "corpus.lowercase=true"]
    assert command("train", config, "--output", a_run, "--overwrite", *changes)[0] == 0
    assert [line["step"] for line in read_log(a_run / "metrics.jsonl")] == [2, 3]


@pytest.mark.parametrize(
    "mistake",
    [
        "corpus.train_file=absent.txt",
        "model.hidden_size=100000000",
        "training.batch_size=100000000000",
        "training.device=cuda",
        "model.hiden_size=3",
    ],
)
def test_a_mistake_together_with_overwrite_removes_no_run(refused, config, a_run, mistake):
    if "cuda" in mistake and torch.cuda.is_available():
        pytest.skip("this machine has one")
    before = contents(a_run)
    refused("train", config, "--output", a_run, "--overwrite", mistake)
    assert contents(a_run) == before


def test_resume_finds_nothing(refused, config, tmp_path):
    assert "nothing to resume" in refused(
        "train", config, "--output", tmp_path / "absent", "--resume"
    )
    assert not (tmp_path / "absent").exists()


def test_resume_with_another_setting_is_refused_by_name(refused, finished_run):
    before = contents(finished_run)
    said = refused(
        "train",
        finished_run / "config.yaml",
        "--output",
        finished_run,
        "--resume",
        "model.hidden_size=9",
        "training.seed=4",
    )
    assert "model.hidden_size was 8, is 9" in said and "training.seed was 0, is 4" in said
    assert contents(finished_run) == before


def test_resume_of_a_finished_run_says_so_and_trains_nothing(command, a_run):
    before = contents(a_run)
    status, out, _ = command("train", a_run / "config.yaml", "--output", a_run, "--resume")
    assert status == 0 and "finished already" in out and contents(a_run) == before


@pytest.mark.slow
def test_resume_with_a_larger_budget_trains_further(command, a_run):
    status, out, _ = command(
        "train", a_run / "config.yaml", "--output", a_run, "--resume", "training.max_steps=20"
    )
    assert status == 0 and "from step 12" in out and "finished already" not in out
    assert read_log(a_run / "metrics.jsonl")[-1]["step"] == 20
    timings = read_log(a_run / "timings.jsonl")
    assert [line["step"] for line in timings] == [
        line["step"] for line in read_log(a_run / "metrics.jsonl")
    ]


@pytest.mark.slow
def test_an_incomplete_last_line_of_a_log_is_dropped(command, a_run):
    for steps in (14, 16):
        for name in ("metrics.jsonl", "timings.jsonl"):
            with open(a_run / name, "a") as file:
                file.write('{"step": 99, "spl')
        goal = f"training.max_steps={steps}"
        assert command("train", a_run / "config.yaml", "--output", a_run, "--resume", goal)[0] == 0
        for name in ("metrics.jsonl", "timings.jsonl"):
            assert [json.loads(line)["step"] for line in (a_run / name).read_text().splitlines()][
                -1
            ] == steps


@pytest.mark.slow
def test_a_run_stopped_before_its_first_checkpoint_begins_again(command, a_run, finished_run):
    for path in a_run.iterdir():
        if path.name not in ("config.yaml", "config.json", "tokenizer.json"):
            path.unlink()
    assert command("train", a_run / "config.yaml", "--output", a_run, "--resume")[0] == 0
    now, before = contents(a_run), contents(finished_run)
    assert set(now) == set(before)
    assert all(
        now[name] == before[name]
        for name in before
        if name not in ("timings.jsonl", "training_curve.png")
    )
