"""SyntaxGym: formulas, its JSON, and surprisals of regions that equal those of `score`."""

import json

import pytest

from lstm_lm.errors import UserError
from lstm_lm.evaluation.baseline import NGramReader
from lstm_lm.evaluation.ngram import NGramModel
from lstm_lm.probes.asking import NetworkReader, iterate_scores
from lstm_lm.probes.formula import Term, parse_formula
from lstm_lm.probes.report import summarise
from lstm_lm.probes.suites import find_suite

LESS = "(2;%good%) < (2;%bad%)"


def item(number=1, good=("I grew", "up", "."), bad=("I grew", "France", ".")):
    return {
        "item_number": number,
        "conditions": [
            {
                "condition_name": name,
                "regions": [
                    {"region_number": place, "content": text, "metric_value": {"sum": 0.0}}
                    for place, text in enumerate(texts, 1)
                ],
            }
            for name, texts in (("good", good), ("bad", bad))
        ],
    }


@pytest.fixture
def suite(tmp_path):
    def write(items, *formulas, meta=None):
        path = tmp_path / "number.json"
        content = {
            "meta": meta or {"name": "number", "metric": "sum"},
            "region_meta": {"1": "subject", "2": "verb"},
            "predictions": [{"type": "formula", "formula": f} for f in formulas or [LESS]],
            "items": items,
        }
        path.write_text(json.dumps(content, indent=1))
        return find_suite(str(path))

    return write


# --- formulas -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text, holds",
    [
        ("(1;%a%) < (2;%a%)", True),
        ("(1;%a%)>(2;%a%)", False),
        ("(1;%a%) < (1;%a%)", False),
        ("( 1 ; %a% ) + (2;%a%) < (3;%a%)", False),
        ("(3;%a%) - (1;%a%) > (1;%a%)", True),
        ("(3;%a%) - (1;%a%) - (1;%a%) > 0", True),
        ("(3;%a%) - ((1;%a%) - (1;%a%)) > 2.9", True),
        ("(3;%a%) - ((1;%a%) - (1;%a%)) > 3.0", False),
        ("[(1;%a%) + (2;%a%)] < [(*;%a b%)]", True),
        ("((1;%a%) < (2;%a%)) & ((3;%a%) < (2;%a%))", False),
        ("((1;%a%) < (2;%a%)) & ((2;%a%) < (3;%a%)) & ((1;%a%) < (3;%a%))", True),
        ("((1;%a%) < (2;%a%)) | ((3;%a%) < (2;%a%))", True),
        ("(3;%a%) < (1;%a%) & (1;%a%) < (2;%a%)", False),
        ("(1;%a%) + 1.5 < (2;%a%)", False),
        ("(1;%a%) + 1.001 = (2;%a%)", True),
        ("(1;%a%) + 0.9985 = (2;%a%)", False),
        ("(1;%a%) + 1.0015 = (2;%a%)", False),
        ("((1;%a%) = (2;%a%)) | [(1;%a%) = 1]", True),
        ("(1;%a%) + 0.5 < (2;%a%)", True),
    ],
)
def test_a_formula_holds_or_not(text, holds):
    surprisals = {Term(str(k), "a"): float(k) for k in (1, 2, 3)} | {Term("*", "a b"): 6.0}
    assert parse_formula(text).holds(surprisals) is holds


def test_what_a_formula_compares():
    formula = parse_formula("((1;%a%) < (2;%b c%)) & ((1;%a%) > (*;%d%))")
    assert formula.terms == {Term("1", "a"), Term("2", "b c"), Term("*", "d")}
    assert not formula.is_one_comparison and not parse_formula("(1;%a%) = 2").is_one_comparison
    assert parse_formula(LESS).is_one_comparison and parse_formula("1 > (1;%a%)").is_one_comparison


@pytest.mark.parametrize(
    "text, said",
    [
        ("", "not understood at its end"),
        ("(1;%a%)", "compares nothing"),
        ("(1;%a%) + (2;%a%)", "compares nothing"),
        ("(1;%a%) <", "not understood at its end"),
        ("(1;%a%) * (2;%a%)", "not understood at '* (2;%a%)'"),
        ("(1;%a%) < (2;%a%) < (3;%a%)", "not understood at '< (3;%a%)'"),
        ("(1;%a%) & (2;%a%)", "not understood at '& (2;%a%)'"),
        ("((1;%a%) < (2;%a%)) + 1 > 2", "not understood at '+ 1 > 2'"),
        ("((1;%a%) < (2;%a%)", "not understood at its end"),
        ("[(1;%a%) < (2;%a%))", "not understood at ')'"),
        ("(1;%a%) < (2;%a%) )", "not understood at ')'"),
        ("(1;a) < (2;a)", "not understood at ';a) < (2;a)'"),
        ("mean(1) < 2", "not understood at 'mean(1) < 2'"),
        ("(" * 100_000, "brackets"),
    ],
)
def test_other_formulas_are_refused(text, said):
    with pytest.raises(ValueError, match="it can have regions|inside brackets") as error:
        parse_formula(text)
    assert said in str(error.value)


# --- the file -------------------------------------------------------------------------------------


def test_an_item_for_each_item_and_prediction(suite):
    (one,) = suite([item(7)])
    assert (one.id, one.prefix, one.target, one.group, one.problem) == ("7", "", LESS, "", "")
    assert one.regions.sentences["bad"] == {"1": "I grew", "2": "France", "3": "."}
    assert not one.is_sentence_pair
    four = list(suite([item(7), item(8)], LESS, "(*;%good%) < (*;%bad%)"))
    assert [(i.id, i.group) for i in four] == [
        (f"{number}.{which}", f"prediction {which}") for number in (7, 8) for which in (1, 2)
    ]


def test_regions_are_in_the_order_of_their_numbers(suite):
    row = item()
    row["conditions"][0]["regions"].reverse()
    (one,) = suite([row])
    assert list(one.regions.sentences["good"].values()) == ["I grew", "up", "."]


@pytest.mark.parametrize(
    "change, said",
    [
        (lambda row: row["conditions"].pop(), "item 2: condition 'bad' is missing"),
        (lambda row: row["conditions"][0]["regions"].pop(1), "item 2: condition 'good' has no reg"),
        (lambda row: row.pop("conditions"), "item 2: needs conditions"),
        (lambda row: row["conditions"][0]["regions"][0].pop("content"), "item 2: needs conditions"),
        (lambda row: row["conditions"][0].pop("condition_name"), "item 2: needs conditions"),
        (
            lambda row: row["conditions"][0]["regions"][0].update(region_number="first"),
            "item 2: needs conditions",
        ),
        (
            lambda row: row["conditions"][0]["regions"][0].update(content=7),
            "item 2: the content of a region is not a text",
        ),
        (
            lambda row: row["conditions"][0]["regions"][0].update(content="\ud800"),
            "item 2: the content of a region is not a text",
        ),
        (lambda row: row.update(item_number=1), "item 1: this item_number occurs twice"),
    ],
)
def test_one_bad_item_is_skipped_counted_and_named(suite, change, said):
    bad = item(2)
    change(bad)
    size = suite([item(1), bad, item(3)]).check()
    assert (size.items, size.bad_items) == (2, 1)
    assert size.mistakes[0].startswith(said)
    with pytest.raises(UserError, match="number.json, item "):
        bad["item_number"] = 2
        rows = [bad] if "twice" not in said else [{}]
        suite(rows).check()


@pytest.mark.parametrize(
    "content, said",
    [
        ("{", "line 1: not JSON; a .json suite is a file of SyntaxGym"),
        ("[" * 100_000, "not JSON"),
        ("[]", "needs a list of predictions and a list of items"),
        ('{"items": []}', "needs a list of predictions and a list of items"),
        ('{"predictions": [{}], "items": [{}]}', "prediction 1: has no formula"),
        ('{"predictions": ["(1;%a%) * 2"], "items": [{}]}', "prediction 1: '(1;%a%) * 2' is not"),
        (
            '{"meta": {"metric": "mean"}, "predictions": [{}], "items": [{}]}',
            "meta.metric is 'mean'; must be \"sum\"",
        ),
    ],
)
def test_other_files_are_refused(tmp_path, content, said):
    path = tmp_path / "s.json"
    path.write_text(content)
    with pytest.raises(UserError) as error:
        find_suite(str(path)).check()
    assert str(error.value).startswith(str(path)) and said in str(error.value)


def test_a_metric_among_others(suite):
    assert suite([item()], meta={"metric": ["mean", "sum"]}).check().items == 1
    assert suite([item()], meta={"name": "x"}).check().items == 1


# --- the answers ----------------------------------------------------------------------------------


def bits(model, text, first, last):
    """What `score` gives the words first to last (from 0) of a text."""
    return sum(score.surprisal for score in model.score(text)[first:last])


def test_surprisals_of_regions_equal_score_s(model, suite):
    model = model.in_double_precision()
    good, bad = ("I grew", "up in", "France."), ("I grew", "a cat", "in Paris.")
    whole = {name: " ".join(texts) for name, texts in (("good", good), ("bad", bad))}
    two = {name: bits(model, text, 2, 4) for name, text in whole.items()}
    rest = {"good": bits(model, whole["good"], 4, 6), "bad": bits(model, whole["bad"], 4, 7)}
    everything = {"good": bits(model, whole["good"], 0, 6), "bad": bits(model, whole["bad"], 0, 7)}
    for formula, left, right in (
        (LESS, two["good"], two["bad"]),
        ("(3;%good%) < (3;%bad%)", rest["good"], rest["bad"]),
        ("(*;%good%) < (*;%bad%)", everything["good"], everything["bad"]),
        ("(2;%good%) + (3;%good%) < (*;%bad%)", two["good"] + rest["good"], everything["bad"]),
    ):
        for shift, expected in ((-1e-6, True), (1e-6, False)):
            # the formula changes its answer within a millionth of score's own difference
            amount = f"{abs(right - left + shift):.9f}"
            moved = (
                formula.replace("<", f"+ {amount} <")
                if right - left + shift > 0
                else f"{formula} + {amount}"
            )
            (score,) = iterate_scores(NetworkReader(model), suite([item(1, good, bad)], moved))
            assert (score.right, score.skipped) == (expected, ""), (moved, left, right)
    assert (score.log_probability, score.rank, score.foil_log_probability) == (None, None, None)


def test_unknown_words(model, suite):
    compared = item(1, good=("I grew", "Utopia", "."))
    elsewhere = item(2, good=("I Ada", "up", "."))
    first, second = iterate_scores(NetworkReader(model), suite([compared, elsewhere]))
    assert first.skipped == "unknown word in a compared region"
    assert first.unknown == first.skipped_words == ("Utopia",)
    assert (second.skipped, second.unknown) == ("", ("Ada",))


def test_an_empty_region_has_no_surprisal(model, suite):
    rows = [item(1, good=("I grew", "", "up"))]
    (score,) = iterate_scores(NetworkReader(model), suite(rows))
    assert score.right
    (score,) = iterate_scores(NetworkReader(model), suite(rows, "(2;%good%) > (2;%bad%)"))
    assert not score.right


def test_an_n_gram_model_is_asked_the_same_way(vocabulary, suite):
    lines = ["I grew up in France .", "I speak fluent French ."] * 3
    ids = [number for line in vocabulary.encode_lines(lines) for number in line]
    reader = NGramReader(NGramModel.train(ids, len(vocabulary), 3, vocabulary.eos_id), vocabulary)
    rows = [item(1), item(2, good=("I grew", "France", "."), bad=("I grew", "up", "."))]
    assert [score.right for score in iterate_scores(reader, suite(rows))] == [True, False]


def test_the_report(model, suite):
    rows = [item(1), item(2, good=("I grew", "Utopia", "."))]
    row = summarise(iterate_scores(NetworkReader(model), suite(rows)), 20)
    assert (row["items"], row["skipped"], row["accuracy_items"]) == (1, 1, 1)
    assert row["skipped_words"] == ["Utopia"] and row["accuracy"] in (0, 1)
    assert row["accuracy_chance"] == 0.5
    assert row["log_probability"] is row["top_1"] is row["gain"] is None
    both = suite(rows[:1], f"({LESS}) & ((1;%good%) < (*;%bad%))")
    row = summarise(iterate_scores(NetworkReader(model), both), 20)
    assert row["items"] == 1 and row["accuracy_chance"] is None


def test_the_command(command, finished_run, suite, tmp_path):
    bad = item(3)
    bad["conditions"].pop()
    path = suite([item(1), item(2), bad], LESS, "(*;%good%) < (*;%bad%)").name
    items = tmp_path / "items.jsonl"
    status, out, err = command("probe", finished_run, path, "--json", "--items", items)
    assert status == 0
    assert "2 of 6 items cannot be asked and are skipped: item 3.1: condition 'bad'" in err
    (report,) = json.loads(out)["suites"]
    assert (report["items"], report["skipped"]) == (4, 2)
    assert report["skipped_because"] == {"a mistake in the file": 2}
    assert [group["group"] for group in report["groups"]] == ["prediction 1", "prediction 2"]
    lines = [json.loads(line) for line in items.read_text().splitlines()]
    assert [line["id"] for line in lines] == ["1.1", "1.2", "2.1", "2.2", "3.1", "3.2"]
    right = [line["right"] for line in lines[:4]]
    assert report["accuracy"] == sum(right) / 4
    assert lines[4]["skipped"] == "a mistake in the file"
    assert lines[4]["problem"].startswith("condition 'bad' is missing")
    assert lines[0]["problem"] == "" and lines[0]["log_probability"] is None
    status, out, _ = command("probe", finished_run, path)
    assert status == 0 and out.splitlines()[1].split()[:3] == ["all", "4", "2"]
