"""Laws of reading times: the regression is that of the books, and finds an effect that is there."""

import json
import math

import numpy as np
import pytest

from lstm_lm.errors import InputError
from lstm_lm.evaluation import reading_times
from lstm_lm.evaluation.regression import fit, held_out_log_likelihoods, mean_and_error

# Anscombe 1973, set I
ANSCOMBE_X = [10, 8, 13, 9, 11, 14, 6, 4, 12, 7, 5]
ANSCOMBE_Y = [8.04, 6.95, 7.58, 8.81, 8.33, 9.96, 7.24, 4.26, 10.84, 4.82, 5.68]


def with_intercept(*columns):
    return np.column_stack([np.ones(len(columns[0])), *columns]).astype(float)


def test_a_published_regression():
    """Anscombe's first set: the figures are those that R's summary(lm(y1 ~ x1)) and logLik give."""
    found = fit(with_intercept(ANSCOMBE_X), np.array(ANSCOMBE_Y))
    assert found.coefficients == pytest.approx([3.0001, 0.5001], abs=5e-5)
    assert found.standard_errors == pytest.approx([1.1247, 0.1179], abs=5e-5)
    assert math.sqrt(found.variance * 11 / 9) == pytest.approx(1.237, abs=5e-4)
    assert found.log_likelihood == pytest.approx(-16.8407, abs=5e-5)


def test_held_out_log_likelihoods_equal_those_of_fits_by_hand():
    rng = np.random.default_rng(0)
    x, folds = rng.normal(size=40), np.arange(40) % 4
    y = 2 + 3 * x + rng.normal(size=40)
    found = held_out_log_likelihoods(with_intercept(x), y, folds)
    for fold in range(4):
        slope, intercept = np.polyfit(x[folds != fold], y[folds != fold], 1)
        rest = y - intercept - slope * x
        variance = (rest[folds != fold] ** 2).mean()
        inside = folds == fold
        expected = -np.log(np.sqrt(2 * np.pi * variance)) - rest[inside] ** 2 / 2 / variance
        assert found[inside] == pytest.approx(expected)


def test_the_standard_error_counts_items():
    values = np.array([1.0, 2.0, 4.0, 3.0])
    mean, error = mean_and_error(values, np.array([0, 1, 2, 3]))
    assert mean == 2.5 and error == pytest.approx(values.std(ddof=1) / 2)
    twice, items = np.repeat(values, 2), np.repeat([0, 1, 2, 3], 2)
    assert mean_and_error(twice, items) == pytest.approx((mean, error))  # no new information


def test_too_few_or_perfect_measurements_are_refused():
    with pytest.raises(InputError, match="3 measurements are too few for 2 coefficients"):
        fit(with_intercept([1, 2, 3]), np.array([1.0, 2.0, 4.0]))
    with pytest.raises(InputError, match="without any error"):
        fit(with_intercept([1, 2, 3, 5]), np.array([1.0, 2.0, 3.0, 5.0]))


SENTENCES = [
    "I grew up in France .",
    "I speak fluent French .",
    "She has a home in Paris , and a cat .",
    "She grew up in Paris , and I speak French .",
    "I has a cat .",
    "a home in France , a cat in Paris .",
]


def write_times(path, model, effect, seed, items=60, unknown=False):
    """Simulates readers: slower for long words, and by ``effect`` ms for each bit of surprisal."""
    rng, lines = np.random.default_rng(seed), ["item\tposition\tword\ttime\tsubject"]
    for item in range(items):
        words = SENTENCES[item % len(SENTENCES)].split()
        rng.shuffle(words)
        if unknown and item == 3:
            words[2] = "xylophone"
        scores = model.score(" ".join(words))[:-1]
        for at, (word, score) in enumerate(zip(words, scores, strict=True), 1):
            time = 200 + 5 * len(word) + effect * score.surprisal + rng.normal(scale=10)
            shown = "NA" if item == 5 and at == 2 else f"{time:.3f}"
            lines.append(f"{item}\t{at}\t{word}\t{shown}\ts1")
    path.write_text("\n".join(lines) + "\n")


@pytest.fixture
def times(finished_run, tmp_path):
    from lstm_lm import LanguageModel

    model = LanguageModel.from_pretrained(finished_run)

    def make(effect, seed=1, **more):
        path = tmp_path / "times.tsv"
        write_times(path, model, effect, seed, **more)
        return path

    return make


def test_surprisal_that_matters_is_found(command, times, finished_run):
    status, out, _ = command("reading-times", finished_run, "--file", times(8.0), "--json")
    found = json.loads(out)
    assert status == 0 and found["gain"] > 5 * found["standard_error"] > 0
    surprisal = found["coefficients"]["surprisal"]
    assert abs(surprisal["coefficient"] - 8) < 4 * surprisal["standard_error"] < 4
    last = found["coefficients"]["surprisal_last"]
    assert abs(last["coefficient"]) < 4 * last["standard_error"]
    length = found["coefficients"]["length"]
    assert abs(length["coefficient"] - 5) < 4 * length["standard_error"]
    assert (found["items"], found["folds"]) == (60, 10)
    assert found["log_likelihood"] == pytest.approx(
        found["baseline_log_likelihood"] + found["gain"]
    )


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_surprisal_that_does_not_matter_brings_nothing(command, times, finished_run, seed):
    out = command("reading-times", finished_run, "--file", times(0.0, seed), "--json")[1]
    found = json.loads(out)
    assert found["gain"] < 3 * found["standard_error"]
    assert abs(found["gain"]) < 0.02


def test_what_is_left_out_is_said_and_the_predictors_are_joined_on(
    command, times, finished_run, tmp_path
):
    pandas = pytest.importorskip("pandas")
    path, joined = times(8.0, unknown=True), tmp_path / "joined.tsv"
    status, out, _ = command("reading-times", finished_run, "--file", path, "--tsv", joined)
    assert status == 0 and "nats per word, standard error" in out
    assert "left out: 60 first word of an item" in out and "left out: 1 without a time" in out
    assert "left out: 2 unknown to the model, or after an unknown word" in out
    before, after = (pandas.read_csv(one, sep="\t") for one in (path, joined))
    assert list(after.columns) == [*reading_times.JOINED, *before.columns]
    assert len(after) == len(before) and (after["used"].sum() == len(before) - 63)
    item = after[after["item"] == 7]
    text = " ".join(item["word"])
    scored = json.loads(command("score", finished_run, text, "--json")[1])["words"]
    assert item["surprisal"].tolist() == pytest.approx(
        [word["surprisal"] for word in scored[:-1]], abs=1e-9
    )
    assert item["surprisal_last"].tolist()[1:] == item["surprisal"].tolist()[:-1]
    assert math.isnan(item["surprisal_last"].tolist()[0])
    assert item["length"].tolist() == [len(word) for word in item["word"]]
    # the same command may write its own file again, but no other file
    assert command("reading-times", finished_run, "--file", path, "--tsv", joined)[0] == 0


def test_a_frequency_column_is_used_instead(command, finished_run, tmp_path, times):
    lines = times(8.0).read_text().splitlines()
    rng = np.random.default_rng(0)
    table = tmp_path / "with.tsv"
    table.write_text(
        "\n".join([f"{lines[0]}\tlog_frequency", *(f"{x}\t{rng.normal()}" for x in lines[1:])])
    )
    out = [
        json.loads(command("reading-times", finished_run, "--file", path, "--json")[1])
        for path in (times(8.0), table)
    ]
    assert out[0]["words"] == out[1]["words"] and out[0]["gain"] != out[1]["gain"]


@pytest.mark.parametrize(
    "change, said",
    [
        (lambda text: text.replace("position\t", "place\t", 1), "no column 'position'"),
        (lambda text: text.replace("\n0\t2\t", "\n0\tx\t", 1), "row 2: position: found 'x'"),
        (lambda text: text.replace("\n0\t3\t", "\n0\t33\t", 1), "item '0': position 3 is missing"),
        (lambda text: text + "0\t1\tzebra\t300\ts2\n", "must have the same word"),
        (lambda text: text.replace("\ts1\n", "1e999\ts1\n", 1), "time: found"),
        (lambda text: text[: text.index("\n1\t") + 1], "1 items have words that can be used"),
    ],
)
def test_mistakes_are_named(refused, times, finished_run, change, said):
    path = times(8.0)
    path.write_text(change(path.read_text()))
    assert said in refused("reading-times", finished_run, "--file", path)


def test_another_file_is_not_replaced(refused, times, finished_run, tmp_path):
    path, other = times(8.0), tmp_path / "other.tsv"
    other.write_text("mine")
    assert "--overwrite" in refused("reading-times", finished_run, "--file", path, "--tsv", other)
    assert other.read_text() == "mine"
    assert "--json" in refused(
        "reading-times", finished_run, "--file", path, "--json", "--tsv", "-"
    )
    text = tmp_path / "text.txt"
    text.write_text("I grew up .\n")
    assert "must be one .tsv or .csv" in refused("reading-times", finished_run, "--file", text)
