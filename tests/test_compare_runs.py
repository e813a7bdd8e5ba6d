"""`lstm-lm compare RUN1 RUN2 ...`: finished runs side by side, with intervals of differences."""

import json
import math
import shutil
import signal

import numpy as np
import pytest
import torch

from lstm_lm.cli.main import main
from lstm_lm.config import ModelConfig
from lstm_lm.corpus.vocabulary import Vocabulary
from lstm_lm.evaluation import bootstrap
from lstm_lm.evaluation.bootstrap import interval_of, mean_interval, resampled_sums
from lstm_lm.evaluation.by_line import same_words, score_by_line, shared_ids
from lstm_lm.evaluation.perplexity import measure_perplexity
from lstm_lm.model.language_model import LanguageModel
from lstm_lm.probes.asking import NetworkReader, iterate_scores
from lstm_lm.probes.report import summarise
from lstm_lm.probes.suites import find_suite
from lstm_lm.training.run_comparison import measured_values, names_of
from tests.conftest import write_corpus

ITEMS = """\
id\tprefix\ttarget\tfoil\tdistance\tpair
1\tI grew up in France . I speak fluent\tFrench\tParis\t5\ta
2\tI grew up in Paris . I speak fluent\tFrench\tFrance\t5\ta
3\tI speak fluent French . She has a home in Paris , and a\tcat\thome\t12\t
4\tI speak fluent French . She has a\tUtopia\tcat\t7\t
5\tShe has a\thome\tcat\t2\tb
6\tShe has a home in Paris , and a\tcat\thome\t4\tb
"""


@pytest.fixture(scope="session")
def runs(tmp_path_factory):
    """Three finished runs that must not be changed: two alike, one with a smaller vocabulary."""
    folder = tmp_path_factory.mktemp("runs")
    config = str(write_corpus(folder / "corpus"))
    (folder / "mine.tsv").write_text(ITEMS)
    for name, words in (
        ("first", ["training.max_steps=20"]),
        ("second", ["training.seed=1", "training.max_steps=4"]),
        ("smaller", ["corpus.vocab_size=14", "training.max_steps=4"]),
    ):
        assert main(["train", config, *words, "--output", str(folder / name)]) == 0
    return folder


def compared(command, *words):
    status, out, err = command("compare", *words, "--json")
    assert status == 0, err
    return json.loads(out)


# --- the bootstrap -------------------------------------------------------------------------------


def test_draws_have_the_mean_and_the_spread_of_the_lines():
    random = np.random.default_rng(1)
    values = random.normal(3, 2, 400)
    sums = resampled_sums(np.stack([np.ones(400), values]))
    assert sums.shape == (bootstrap.MOST_DRAWS, 2) and (sums[:, 0] == 400).all()
    means = sums[:, 1] / sums[:, 0]
    assert means.mean() == pytest.approx(values.mean(), abs=0.01)
    assert means.std() == pytest.approx(values.std() / 20, rel=0.03)
    low, high = interval_of(means)
    assert (low, high) == pytest.approx(
        (values.mean() - 1.96 * means.std(), values.mean() + 1.96 * means.std()), abs=0.02
    )


def test_lines_are_drawn_together():
    """Both figures of a draw are of the same lines, so a constant difference has no spread."""
    values = np.arange(50.0)
    sums = resampled_sums(np.stack([values, values + 2]))
    assert np.allclose(sums[:, 1] - sums[:, 0], 100)


def test_draws_are_seeded_and_do_not_depend_on_blocks(monkeypatch):
    columns = np.random.default_rng(0).random((2, 30))
    first = resampled_sums(columns)
    assert np.array_equal(first, resampled_sums(columns))
    assert not np.array_equal(first, resampled_sums(columns, seed=1))
    monkeypatch.setattr(bootstrap, "NUMBERS_AT_ONCE", 70)
    assert np.allclose(first, resampled_sums(columns))


def test_the_number_of_draws():
    draws = [bootstrap.count_draws(lines) for lines in (3, 40_000, 200_000, 10**7)]
    assert draws == [10_000, 10_000, 2_000, 1_000]


def test_the_mean_of_items():
    """Drawing how often each value occurs is the same as drawing items."""
    values = [1.0] * 30 + [0.0] * 50 + [-1.0] * 20
    low, high = mean_interval(values)
    assert (low, high) == mean_interval(list(reversed(values)))
    by_items = resampled_sums(np.array([values]))[:, 0] / 100
    assert (low, high) == pytest.approx(interval_of(by_items), abs=0.011)
    assert low < 0.1 < high and mean_interval([0.0] * 9) == (0.0, 0.0)


@pytest.mark.slow
def test_the_interval_holds_the_truth_as_often_as_it_says():
    random, inside = np.random.default_rng(3), 0
    for k in range(200):
        differences = random.choice([1.0, 0.0, -1.0], p=[0.3, 0.5, 0.2], size=150)
        low, high = mean_interval(differences, seed=k)
        inside += low <= 0.1 <= high
    assert 0.90 <= inside / 200 <= 0.99


# --- lines ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("reset", [False, True])
def test_lines_add_up_to_the_perplexity(model, reset):
    lines = ["I grew up in France .", "", "She has a home in Paris , and a cat .", "I"] * 20
    tokens = [number for ids in model.vocabulary.encode_lines(lines) for number in ids]
    whole = measure_perplexity(model, tokens, reset_per_line=reset)
    found = score_by_line(model, tokens, reset_per_line=reset)
    assert found.nll.sum() == pytest.approx(whole.nll, rel=1e-5)
    assert found.tokens.tolist() == [len(ids) for ids in model.vocabulary.encode_lines(lines)]
    if reset:
        for place, line in enumerate(lines[:4]):
            alone = measure_perplexity(model, model.vocabulary.encode_lines([line])[0])
            assert found.nll[place] == pytest.approx(alone.nll, rel=1e-4)
    everything = score_by_line(
        model, tokens, reset_per_line=reset, among=range(len(model.vocabulary))
    )
    np.testing.assert_allclose(everything.nll, found.nll, rtol=1e-4)


@pytest.mark.parametrize("output", ["full", "adaptive", "mos"])
@torch.no_grad()
def test_probabilities_among_words_sum_to_one(make_model, output):
    model = make_model(output=output, adaptive_cutoffs=(5,))
    vocabulary = model.vocabulary
    among = vocabulary.ids_of(["I", "France", "Paris", "in", "<eos>"])
    prefix = vocabulary.ids_of(["I", "grew"])
    total = 0.0
    for word in among[:-1]:
        found = score_by_line(model, [*prefix, word, vocabulary.eos_id], among=among)
        assert found.tokens.tolist() == [3]  # I, the word, <eos>: `grew` is not one of them
        start = score_by_line(model, [*prefix, vocabulary.eos_id], among=among)
        # the nll of `I`, which all have, taken from the shorter text
        log_p, _ = model.network(torch.tensor([[vocabulary.eos_id], *[[w] for w in prefix]]))
        own = log_p[:, 0, among].log_softmax(1)
        first, third = own[0, among.index(prefix[0])], own[2, among.index(word)]
        after, _ = model.network(
            torch.tensor([[vocabulary.eos_id], *[[w] for w in (*prefix, word)]])
        )
        last = after[3, 0, among].log_softmax(0)[-1]
        assert found.nll[0] == pytest.approx(-float(first + third + last), rel=1e-4)
        assert start.tokens.tolist() == [2]
        total += math.exp(third)
    assert total + math.exp(own[2, -1]) == pytest.approx(1, rel=1e-5)


def build(lines):
    return Vocabulary.build(lines, tokenization="whitespace", min_count=1, vocab_size=None)


def test_words_that_vocabularies_share():
    one, two, three = build(["a b c"]), build(["c b d"]), build(["c a"])
    ids = shared_ids([one, two])
    words = [
        [vocabulary.words[k] for k in some]
        for vocabulary, some in zip((one, two), ids, strict=True)
    ]
    assert words[0] == words[1] and set(words[0]) == {"b", "c", "<eos>"}
    assert {one.words[k] for k in shared_ids([one, two, three])[0]} == {"c", "<eos>"}

    def are_same(first, second):
        texts = [
            [number for ids in vocabulary.encode_lines(lines) for number in ids]
            for vocabulary, lines in ((one, first), (two, second))
        ]
        return same_words(texts, ids, [len(one), len(two)])

    assert are_same(["a b c d e"], ["a b c d e"])
    assert not are_same(["a b c"], ["a c b"])
    assert not are_same(["a b"], ["a b", "c"])
    assert not are_same(["a b c"], ["a b e"])  # `c` is known to both, and only one has it


# --- runs of one vocabulary ----------------------------------------------------------------------


def test_perplexity_and_probes_are_those_of_the_other_commands(command, runs):
    first, second, suite = runs / "first", runs / "second", runs / "mine.tsv"
    found = compared(command, first, second, "--suites", suite)
    assert [model["name"] for model in found["models"]] == ["first", "second"]
    assert found["same_vocabulary"] and found["perplexity"]["over"] == "all words"
    one, two = found["perplexity"]["results"]
    for run, result in ((first, one), (second, two)):
        evaluated = json.loads(command("evaluate", run, "--json")[1])
        assert result["perplexity"] == pytest.approx(evaluated["perplexity"], rel=1e-5)
        assert found["perplexity"]["tokens"] == evaluated["tokens"]
        probed = json.loads(command("probe", run, suite, "--order", 0, "--json")[1])
        report = found["suites"][0]["reports"][run.name]
        assert report.items() <= probed["suites"][0].items()
    assert two["difference"] == pytest.approx(two["perplexity"] - one["perplexity"])
    assert two["ratio"] == pytest.approx(two["perplexity"] / one["perplexity"])
    for figure in ("difference", "ratio"):
        low, high = two[f"{figure}_interval"]
        assert low < two[figure] < high
    assert "difference" not in one
    difference = found["suites"][0]["differences"]["second"]
    reports = found["suites"][0]["reports"]
    expected = reports["second"]["accuracy"] - reports["first"]["accuracy"]
    assert difference["difference"] == pytest.approx(expected)
    assert found["suites"][0]["compared"] == 5  # Utopia is no word of theirs
    low, high = difference["difference_interval"]
    assert low <= expected <= high and -1 <= low and high <= 1


@pytest.mark.parametrize("option, figure", [("pairs", "pair_accuracy"), ("top-1", "top_1")])
def test_measures(command, runs, option, figure):
    suite = runs / "mine.tsv"
    words = [runs / "first", runs / "second", "--suites", suite, "--measure", option]
    found = compared(command, *words)
    reports = found["suites"][0]["reports"]
    expected = reports["second"][figure] - reports["first"][figure]
    difference = found["suites"][0]["differences"]["second"]["difference"]
    assert found["suites"][0]["measure"] == figure and difference == pytest.approx(expected)


def test_what_a_figure_is_the_mean_of(runs):
    model = LanguageModel.from_pretrained(runs / "first")
    scores = list(iterate_scores(NetworkReader(model), find_suite(str(runs / "mine.tsv"))))
    report = summarise(scores, len(model.vocabulary))
    for figure in ("accuracy", "pair_accuracy", "top_1"):
        values = measured_values(scores, figure)
        assert sum(values) / len(values) == pytest.approx(report[figure])
    assert len(measured_values(scores, "pair_accuracy")) == report["pairs"] == 2


def test_the_same_model_does_not_differ(command, runs, tmp_path):
    shutil.copytree(runs / "first", tmp_path / "copy")
    found = compared(command, runs / "first", tmp_path / "copy", "--suites", runs / "mine.tsv")
    _, two = found["perplexity"]["results"]
    assert two["difference"] == 0 and two["difference_interval"] == [0, 0]
    assert two["ratio"] == 1 and two["ratio_interval"] == [1, 1]
    (difference,) = found["suites"][0]["differences"].values()
    assert difference == {"difference": 0, "difference_interval": [0, 0]}


def test_it_is_deterministic_and_the_tables_say_the_same(command, runs, tmp_path):
    words = [runs / "first", runs / "second", "--suites", runs / "mine.tsv"]
    found = compared(command, *words)
    assert found == compared(command, *words)
    picture = tmp_path / "p.png"
    status, out, _ = command("compare", *words, "--plot", picture)
    assert status == 0 and picture.read_bytes().startswith(b"\x89PNG")
    lines = out.splitlines()
    one, two = found["perplexity"]["results"]
    assert lines[0].split() == (
        "parameters words known valid perplexity difference 95 % interval in percent".split()
    )
    assert lines[1].split()[-1] == f"{one['perplexity']:.2f}"
    low, high = two["difference_interval"]
    assert f"{two['difference']:+.2f}  [{low:+,.2f}, {high:+,.2f}]" in " ".join(lines[2:3])
    assert f"{found['perplexity']['tokens']} tokens in 3 lines, state carried" in out
    assert "difference" in lines[5] and str(picture) == lines[-1]
    shown = found["suites"][0]["differences"]["second"]
    assert f"{100 * shown['difference']:+.1f}" in lines[6]


def test_state_and_file(command, runs, tmp_path):
    text = tmp_path / "text.txt"
    text.write_text("I speak French .\nShe has a cat .\n" * 5)
    words = [runs / "first", runs / "second", "--suites", runs / "mine.tsv"]
    for more in ([], ["--reset-per-line"]):
        found = compared(command, *words, "--file", text, *more)["perplexity"]
        evaluated = json.loads(
            command("evaluate", runs / "second", "--file", text, "--json", *more)[1]
        )
        assert found["state"] == evaluated["state"] and found["lines"] == 10
        assert found["results"][1]["perplexity"] == pytest.approx(evaluated["perplexity"], rel=1e-5)


def test_fillers(command, refused, runs, tmp_path):
    suite = tmp_path / "s.tsv"
    suite.write_text(
        "id\tprefix\ttarget\tfoil\tdistance\tpair\tclue\tquestion\n"
        "1\tI grew. She has a cat . up\tin\ta\t6\tp\tI grew.\tup\n"
        "2\tI speak. She has a cat . up\ta\tin\t6\tp\tI speak.\tup\n"
    )
    text = tmp_path / "text.txt"
    text.write_text("She has Paris.\nFrance, home.\n" * 9)
    words = ["--suites", suite, "--fillers", text]
    found = compared(command, runs / "first", runs / "second", *words)
    assert [one["suite"] for one in found["suites"]] == [str(suite), f"{suite} through {text}"]
    line = refused("compare", runs / "first", runs / "smaller", *words)
    assert "--fillers: these models have different vocabularies" in line


# --- runs that differ more -----------------------------------------------------------------------


def test_different_vocabularies_are_compared_over_the_words_they_share(command, runs):
    words = [runs / "first", runs / "smaller", "--suites", runs / "mine.tsv"]
    found = compared(command, *words)
    perplexity = found["perplexity"]
    assert not found["same_vocabulary"] and perplexity["over"] == "shared words"
    models = [LanguageModel.from_pretrained(runs / name) for name in ("first", "smaller")]
    sizes = [len(model.vocabulary) for model in models]
    assert sizes[1] < sizes[0] and perplexity["shared_words"] == sizes[1] - 1  # without <unk>
    assert perplexity["tokens"] < perplexity["tokens_of_text"]
    # items that only one of them knows are asked of neither
    reports = found["suites"][0]["reports"]
    assert (
        reports["first"]["items"] == reports["smaller"]["items"] == found["suites"][0]["compared"]
    )
    alone = json.loads(
        command("probe", runs / "first", runs / "mine.tsv", "--order", 0, "--json")[1]
    )
    assert alone["suites"][0]["items"] > found["suites"][0]["compared"]
    out = command("compare", *words)[1]
    assert "their vocabularies differ: perplexity is over the" in out
    assert "other perplexities of these models cannot be compared" in out


def test_different_texts_are_not_compared(command, runs, tmp_path):
    config = write_corpus(tmp_path / "other")
    (config.parent / "valid.txt").write_text("I grew up in France .\n")
    assert command("train", config, "training.max_steps=2", "--output", tmp_path / "run")[0] == 0
    words = [runs / "first", tmp_path / "run", "--suites", runs / "mine.tsv"]
    found = compared(command, *words)
    assert found["perplexity"]["results"] == []
    assert "their valid splits are different texts" in found["perplexity"]["why_not"]
    assert found["suites"][0]["differences"]
    picture = tmp_path / "p.png"
    out = command("compare", *words, "--plot", picture)[1]
    assert "perplexity is not compared: their valid splits" in out and picture.exists()
    text = tmp_path / "text.txt"
    text.write_text("I grew up in Paris .\n")
    assert compared(command, *words, "--file", text)["perplexity"]["why_not"] == ""


def test_an_unfinished_run_is_named(command, runs, tmp_path, monkeypatch):
    from lstm_lm.training.trainer import Trainer

    update = Trainer.update

    def updating(trainer):
        update(trainer)
        if trainer.progress.step == 7:
            signal.raise_signal(signal.SIGINT)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "update", updating)
        config = runs / "corpus" / "tiny.yaml"
        assert command("train", config, "--output", tmp_path / "run")[0] == 130
    words = [runs / "first", tmp_path / "run", "--suites", runs / "mine.tsv"]
    status, _, err = command("compare", *words)
    assert status == 0 and f"note: {tmp_path / 'run'} is not finished: 7 steps so far" in err
    assert "not finished" not in command("compare", *words[:1], runs / "second", *words[2:])[2]


# --- mistakes ------------------------------------------------------------------------------------


def test_mistakes(command, refused, runs, tmp_path):
    first, second, suite = runs / "first", runs / "second", runs / "mine.tsv"
    both = ["compare", first, second]
    for words, said in (
        ([first], "first: is named twice"),
        ([f"{first}/"], "is named twice"),
        (["training.max_steps=3"], "training.max_steps=3: these runs are trained already"),
        (["--cells", "lstm"], "--cells: has no effect on runs that are trained already"),
        (["--equal", "width"], "--equal: has no effect"),
        (["--order", 3], "--order: has no effect"),
        (["--output", tmp_path / "o"], "--output: has no effect"),
        ([tmp_path / "absent"], "absent: no such directory"),
        ([suite], "mine.tsv: is a file"),
        (["--split", "test"], "first: the corpus has no test split"),
        (["--file", tmp_path / "absent.txt"], "absent.txt"),
        (["--plot", tmp_path], "--plot"),
    ):
        assert said in refused(*both, *words, "--suites", suite), words
    assert "no such suite" in refused("compare", first, second, "--suites", "capitl")
    config = runs / "corpus" / "tiny.yaml"
    out = tmp_path / "out"
    for words in (["--split", "test"], ["--file", suite], ["--reset-per-line"]):
        line = refused("compare", config, "--output", out, *words)
        assert f"{words[0]}: is for runs; name two or more" in line
    assert command(*both, "--split", "train")[0] == 2


def test_names_of_runs():
    assert names_of(["runs/a", "runs/b"]) == ["a", "b"]
    assert names_of(["runs/x/seed-0", "runs/y/seed-0", "runs/y/seed-1"]) == [
        "x/seed-0",
        "y/seed-0",
        "y/seed-1",
    ]
    assert names_of(["runs/a", "runs/a/b"]) == ["a", "b"]
    assert names_of(["user/model", "runs/a"]) == ["user/model", "runs/a"]


@pytest.mark.slow
def test_a_single_run_directory_is_a_configuration(command, runs, tmp_path):
    """As before: networks of other cells are trained like it."""
    words = [runs / "first", "training.max_steps=1", "--cells", "lstm,gru"]
    words += ["--suites", runs / "mine.tsv", "--order", 0, "--output", tmp_path / "out"]
    assert command("compare", *words)[0] == 0
    assert (tmp_path / "out" / "gru" / "model.safetensors").exists()


def test_an_adaptive_output_has_probabilities_among_words(vocabulary):
    torch.manual_seed(0)
    config = ModelConfig(embedding_dim=6, hidden_size=6, output="adaptive", adaptive_cutoffs=(4,))
    model = LanguageModel.from_config(config, vocabulary)
    tokens = [number for ids in vocabulary.encode_lines(["I grew up"]) for number in ids]
    among = list(range(len(vocabulary)))
    whole, all_words = score_by_line(model, tokens), score_by_line(model, tokens, among=among)
    assert whole.loss == pytest.approx(all_words.loss, rel=1e-5)
