"""`--with` on the command line and in Python: what is printed, kept and refused."""

import json
import math

import pytest
import torch

from lstm_lm import LanguageModel
from lstm_lm.evaluation.adaptation import CacheSettings
from lstm_lm.files.run_files import ADAPTATION_FILE, GRADIENT_SIZES_FILE
from lstm_lm.training import run_adaptation
from lstm_lm.training.run_adaptation import adaptive_model
from lstm_lm.training.run_evaluation import evaluate_run
from tests.conftest import RUN_FILES

ALL = "cache,dynamic,ngram"


def answer(out):
    return json.loads(out.splitlines()[-1])


def test_evaluate_with_all(command, a_run, tmp_path):
    _, plain, _ = command("evaluate", a_run, "--json", "--device", "cpu")
    words = "evaluate", a_run, "--with", ALL, "--device", "cpu"
    status, out, err = command(*words, "--json", "--plot", tmp_path / "gain.png")
    assert status == 0
    plain, adapted = answer(plain), answer(out)
    assert adapted["perplexity_without"] == plain["perplexity"] != adapted["perplexity"]
    assert adapted["perplexity"] == pytest.approx(math.exp(adapted["nll"] / adapted["tokens"]))
    assert adapted["top_1"] == plain["top_1"] and adapted["tokens"] == plain["tokens"]
    assert list(adapted["with"]) == ["cache", "dynamic", "ngram"]
    gains = adapted["gain_by_distance"]
    saved = sum(gain["bits_per_token"] * gain["tokens"] for gain in gains) * math.log(2)
    assert saved == pytest.approx(plain["nll"] - adapted["nll"], abs=1e-4)
    assert sum(gain["tokens"] for gain in gains) == plain["tokens"]
    assert (tmp_path / "gain.png").read_bytes().startswith(b"\x89PNG")
    assert err.count("defaults, not tuned for this run") == 1
    # the run has one file more, and later calls find the same
    assert {path.name for path in a_run.iterdir()} == RUN_FILES | {
        "results.json",
        GRADIENT_SIZES_FILE,
    }
    again = evaluate_run(a_run, device="cpu", adapt=ALL.split(","))
    assert again.adapted.perplexity.perplexity == adapted["perplexity"]
    status, out, _ = command(*words)
    assert f"with cache, dynamic, ngram: perplexity {adapted['perplexity']:.2f}" in out
    assert "of the model without adaptation" in out


def test_tuned_settings_are_kept_and_taken(command, a_run):
    words = "evaluate", a_run, "--with", "cache,ngram", "--json", "--device", "cpu"
    _, defaults, _ = command(*words)
    status, tuned, err = command(*words, "--tune")
    assert status == 0 and "tuning:" in err and "tuned on the first" in err
    assert answer(tuned)["perplexity"] < answer(defaults)["perplexity"]
    _, later, err = command(*words)
    assert answer(later) == answer(tuned) and "(tuned on valid)" in err
    # other kinds have settings of their own
    _, _, err = command("evaluate", a_run, "--with", "cache", "--device", "cpu")
    assert "defaults, not tuned" in err
    command("evaluate", a_run, "--with", "cache", "--tune", "--device", "cpu")
    found = run_adaptation.load_adaptations(a_run)
    assert set(found) == {"cache", "cache,ngram"}
    assert found["cache,ngram"].ngram.weight == answer(tuned)["with"]["ngram"]["weight"]


@pytest.mark.parametrize(
    "name, kinds", [(ADAPTATION_FILE, "cache"), (GRADIENT_SIZES_FILE, "dynamic")]
)
def test_what_belongs_to_other_weights_is_not_taken(command, a_run, monkeypatch, name, kinds):
    words = "evaluate", a_run, "--with", kinds, "--device", "cpu"
    command(*words, "--tune")
    before = (a_run / name).read_bytes()
    monkeypatch.setattr(run_adaptation, "weights_id", lambda folder: "other weights")
    _, _, err = command(*words)
    assert "defaults, not tuned" in err
    assert ((a_run / name).read_bytes() != before) is (kinds == "dynamic")


def test_damaged_files(refused, command, a_run):
    words = "evaluate", a_run, "--with", "dynamic", "--device", "cpu"
    command(*words, "--tune")
    path = a_run / GRADIENT_SIZES_FILE
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    status, _, err = command(*words)
    assert status == 0 and f"{GRADIENT_SIZES_FILE}: damaged" in err and "measured again" in err
    path = a_run / ADAPTATION_FILE
    path.write_text(path.read_text().replace("step", "stop"))
    assert f"{ADAPTATION_FILE}: damaged" in refused(*words)
    assert command(*words, "--tune")[0] == 0
    assert command(*words)[0] == 0


def test_what_cannot_be(refused, a_run, tmp_path):
    assert "--with: found 'caches', must be" in refused("evaluate", a_run, "--with", "caches")
    assert "--tune: has an effect only together with --with" in refused("evaluate", a_run, "--tune")
    assert "--plot: has an effect only" in refused("evaluate", a_run, "--plot", "a.png")
    folder = tmp_path / "model"
    evaluate_run(a_run, device="cpu")
    LanguageModel.from_pretrained(a_run).save_pretrained(folder)
    text = tmp_path / "text.txt"
    text.write_text("She has a home in Paris .\n" * 5)
    for kinds in ("dynamic", "cache,ngram"):
        assert "use cache alone" in refused("evaluate", folder, "--file", text, "--with", kinds)
    assert "--tune needs the valid split" in refused(
        "evaluate", folder, "--file", text, "--with", "cache", "--tune"
    )


def test_a_file_and_lines_apart(command, a_run, tmp_path):
    text = tmp_path / "text.txt"
    text.write_text("She has a home in Paris .\n" * 5)
    words = "evaluate", a_run, "--file", text, "--with", ALL, "--json", "--device", "cpu"
    carried, reset = answer(command(*words)[1]), answer(command(*words, "--reset-per-line")[1])
    assert carried["perplexity"] < carried["perplexity_without"]
    assert reset["state"] == "reset" and reset["perplexity"] > carried["perplexity"]


@pytest.fixture
def copier(make_model, tmp_path):
    """A model whose states tell contexts apart, and that itself gives each word 1 / V."""
    model = make_model(num_layers=1, tie_weights=False, output_norm=True)
    with torch.no_grad():
        model.network.embedding.weight.mul_(30)
        model.network.norm.weight.fill_(30)
        for parameter in model.network.output.parameters():
            parameter.zero_()
    model.save_pretrained(tmp_path / "copier")
    return tmp_path / "copier"


TEXT = "I speak fluent French . " + "I grew up in France . " * 50 + "I speak fluent"


def test_a_cache_copies_a_word_that_was_seen_300_words_ago(command, copier):
    words = "predict", copier, TEXT, "--json", "--include-unknown"
    plain, adapted = (answer(command(*words, *more)[1]) for more in ([], ["--with", "cache"]))
    size = len(LanguageModel.from_pretrained(copier).vocabulary)
    assert plain["predictions"][0]["probability"] == pytest.approx(1 / size)
    best = adapted["predictions"][0]
    weight = CacheSettings().weight
    assert best["word"] == "French"
    assert best["probability"] == pytest.approx(weight + (1 - weight) / size, abs=0.02)
    # the same in Python
    own = adaptive_model(copier, ["cache"])
    assert own.predict_next(TEXT)[0].probability == pytest.approx(best["probability"])
    assert own.adaptation.cache == CacheSettings()
    half = "predict", copier, TEXT + " Fr", "--complete", "--with", "cache", "--json"
    half = answer(command(*half)[1])
    assert half["predictions"][0]["word"] == "French"


def test_score_with_a_cache(command, copier, a_run):
    lines = "I grew up in France .\nI grew up in France .\n"
    bits = {}
    for options in ([], ["--with", "cache"], ["--with", "cache", "--carry"]):
        status, out, err = command("score", copier, lines, "--json", *options)
        rows = [json.loads(line) for line in out.splitlines()]
        assert status == 0 and ("with" in rows[0]) is bool(options)
        bits[" ".join(options)] = [[word["surprisal"] for word in row["words"]] for row in rows]
    size = len(LanguageModel.from_pretrained(copier).vocabulary)
    assert bits[""] == [pytest.approx([math.log2(size)] * 7)] * 2
    # lines apart are the same; carried, the second line was seen before
    reset, carried = bits["--with cache"], bits["--with cache --carry"]
    assert reset[0] == pytest.approx(reset[1]) and carried[0] == pytest.approx(reset[0])
    assert sum(carried[1]) < sum(carried[0])
    # the same in Python, and with all kinds
    own = adaptive_model(a_run, ALL.split(","))
    for reset_per_line in (False, True):
        scored = own.score(lines.strip(), reset_per_line=reset_per_line)
        options = [] if reset_per_line else ["--carry"]
        _, out, _ = command("score", a_run, lines, "--json", "--with", ALL, *options)
        rows = [json.loads(row)["words"] for row in out.splitlines()]
        printed = [word["surprisal"] for row in rows for word in row]
        assert [score.surprisal for score in scored] == pytest.approx(printed)


def test_probe_asks_the_model_that_adapts_too(command, a_run, tmp_path):
    suite = tmp_path / "suite.tsv"
    suite.write_text(
        "id\tprefix\ttarget\tfoil\n1\tI grew up in France . She has a home in\tFrance\tParis\n"
    )
    words = "probe", a_run, suite, "--with", "cache,ngram"
    status, out, err = command(*words, "--json")
    assert status == 0, err
    [report] = json.loads(out)["suites"]
    assert status == 0 and json.loads(out)["adapted"] == "with cache, ngram"
    assert report["adapted"]["items"] == 1 and report["baseline"] is None
    assert report["adapted"]["log_probability"] != report["log_probability"]
    own = adaptive_model(a_run, ["cache", "ngram"])
    ids = own.vocabulary.ids_of(["<eos>", *"I grew up in France . She has a home in".split()])
    expected = own.next_word_log_probabilities([ids])[0, own.vocabulary.id("France")]
    assert report["adapted"]["log_probability"] == pytest.approx(float(expected), abs=1e-6)
    whole = own.text_log_probabilities([ids])[0]
    bits = sum(score.surprisal for score in own.score("I grew up in France . She has a home in"))
    assert whole == pytest.approx(-bits * math.log(2))
    _, out, _ = command(*words)
    assert "with cache, ngram" in out and "difference" in out


def test_what_the_other_commands_refuse(refused, a_run, tmp_path):
    assert "--with and --tsv" in refused("score", a_run, "Yes", "--with", "cache", "--tsv", "-")
    assert "--with: found" in refused("predict", a_run, "Yes", "--with", "cash")
    fix = "--fix", "forget_gate=1"
    assert "--fix and --with" in refused("probe", a_run, "capital", "--with", "cache", *fix)
    assert "with --with" in refused("probe", a_run, "capital", "--with", "cache", "--order", 3)
