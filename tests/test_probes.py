"""Probes: scores equal those of `score`, whatever else is in the batch; the report sums them up."""

import itertools
import json
import math
import shutil
from dataclasses import replace
from random import Random

import pytest
import torch

from lstm_lm import LanguageModel
from lstm_lm.evaluation import baseline
from lstm_lm.evaluation.baseline import NGramReader
from lstm_lm.evaluation.ngram import NGramModel
from lstm_lm.probes import asking as probes
from lstm_lm.probes.asking import ItemScore, NetworkReader, iterate_scores
from lstm_lm.probes.items import Item
from lstm_lm.probes.report import bucket_of, reach, summarise, wilson_interval

WORDS = "I grew up in France . speak fluent French She has a home Paris , and cat".split()
HEADER = "id\tprefix\ttarget\tfoil\tdistance\tgroup\tpair\n"


def draw_items(count, longest, seed=0):
    rng = Random(seed)
    items = []
    for k in range(count):
        prefix = " ".join(rng.choices(WORDS, k=rng.randint(1, longest)))
        target, foil = rng.sample(WORDS, 2)
        items.append(Item(str(k), prefix, target, foil, k % 7, f"g{k % 2}", str(k // 2)))
    return items


def log_probability(model, text):
    """The log-probability that `score` gives the last word of a text."""
    return -model.score(text, reset_per_line=True)[-2].surprisal * math.log(2)


# --- the scores -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "settings", [{}, {"cell": "gru"}, {"cell": "elman"}, {"tie_weights": False}], ids=str
)
def test_a_score_equals_score_s(make_model, settings):
    model = make_model(**settings).in_double_precision()
    items = draw_items(40, 150)
    for k, score in enumerate(iterate_scores(NetworkReader(model), items)):
        item, partner = items[k], items[k + 1 if k % 2 == 0 else k - 1]
        own = log_probability(model, f"{item.prefix} {item.target}")
        assert score.item is item and score.log_probability == pytest.approx(own, abs=1e-9)
        foil = log_probability(model, f"{item.prefix} {item.foil}")
        assert score.foil_log_probability == pytest.approx(foil, abs=1e-9)
        assert score.gain == pytest.approx(
            own - log_probability(model, f"{partner.prefix} {item.target}"), abs=1e-9
        )
        assert score.right == (score.log_probability > score.foil_log_probability)
        better = sum(
            p.log_probability > own + 1e-9
            for p in model.predict_next(item.prefix, len(model.vocabulary), include_unknown=True)
        )
        assert score.rank == better + 1


def test_the_scores_of_a_float32_checkpoint_equal_score_s_in_any_order(make_model, tmp_path):
    """To a millionth: computed in float32, half of these items would differ by more."""
    model = make_model(tie_weights=False)
    with torch.no_grad():
        # as certain as a trained model: log-probabilities down to -20
        model.network.output.weight.mul_(10)
    model.save_pretrained(tmp_path)
    model, items = LanguageModel.from_pretrained(tmp_path), draw_items(60, 100)
    expected = {item.id: log_probability(model, f"{item.prefix} {item.target}") for item in items}
    for seed in range(3):
        pairs = [items[k : k + 2] for k in range(0, 60, 2)]
        Random(seed).shuffle(pairs)
        shuffled = list(
            iterate_scores(NetworkReader(model), [item for pair in pairs for item in pair])
        )
        found = {score.item.id: score.log_probability for score in shuffled}
        assert found == {
            key: pytest.approx(value, abs=1e-6, rel=0) for key, value in expected.items()
        }
    assert {parameter.dtype for parameter in model.network.parameters()} == {torch.float32}


@pytest.mark.parametrize(
    "side_by_side, window, block", [(1, 64, 4096), (3, 5, 4), (128, 1, 1), (128, 1000, 4096)]
)
def test_a_score_does_not_depend_on_the_other_items_of_a_batch(
    model, monkeypatch, side_by_side, window, block
):
    model = model.in_double_precision()
    items = draw_items(30, 20)
    expected = {score.item.id: score for score in iterate_scores(NetworkReader(model), items)}
    monkeypatch.setattr(probes, "BATCH_SIZE", side_by_side)
    monkeypatch.setattr(probes, "WINDOW_LENGTH", window)
    monkeypatch.setattr(probes, "BLOCK_ITEMS", block)
    pairs = [items[k : k + 2] for k in range(0, 30, 2)]
    Random(1).shuffle(pairs)
    shuffled = [item for pair in pairs for item in reversed(pair)]
    scores = list(iterate_scores(NetworkReader(model), shuffled))
    assert [score.item for score in scores] == shuffled
    for score in scores:
        other = expected[score.item.id]
        assert score.log_probability == pytest.approx(other.log_probability, abs=1e-9)
        assert score.gain == pytest.approx(other.gain, abs=1e-9) and score.rank == other.rank


def test_in_a_pair_of_three_the_gain_is_relative_to_the_mean_of_the_others(model):
    model = model.in_double_precision()
    items = [
        Item(str(k), prefix, target, pair="p")
        for k, (prefix, target) in enumerate(
            [("I grew up", "in"), ("She has", "a"), ("speak fluent", "French")]
        )
    ]
    for k, score in enumerate(iterate_scores(NetworkReader(model), items)):
        others = [
            log_probability(model, f"{items[j].prefix} {items[k].target}")
            for j in range(3)
            if j != k
        ]
        assert score.gain == pytest.approx(score.log_probability - sum(others) / 2, abs=1e-9)
        assert score.right == (score.rank == 1)


def test_whole_sentences_have_score_s_sum(model):
    model = model.in_double_precision()
    pairs = list(
        itertools.combinations(["I grew up in France.", "She speak fluent French.", "a cat"], 2)
    )
    items = [Item(str(k), "", good, bad) for k, (good, bad) in enumerate(pairs)]
    for (good, bad), score in zip(pairs, iterate_scores(NetworkReader(model), items), strict=True):
        nll = [
            sum(word.surprisal for word in model.score(text)) * math.log(2) for text in (good, bad)
        ]
        assert (-score.log_probability, -score.foil_log_probability) == pytest.approx(nll, abs=1e-9)
        assert score.right == (nll[0] < nll[1]) and score.rank is None


@pytest.mark.parametrize(
    "item, skipped, unknown",
    [
        (Item("", "I grew", "Utopia", "in"), "target unknown", ()),
        (Item("", "I grew", "in", "Utopia"), "foil unknown", ()),
        (Item("", "Ada lives in", "Paris", "France"), "", ("Ada", "lives")),
        (Item("", "I", "don't", "in"), "target is several words", ()),
        (Item("", "I", "<unk>", "in"), "target unknown", ()),
        (Item("", "", "I grew Utopia", "I grew in"), "target unknown", ("Utopia",)),
        (Item("", "", "I grew in", "I grew Utopia"), "foil unknown", ("Utopia",)),
        (Item("", "", "Utopia has a cat", "Utopia a has cat"), "", ("Utopia",)),
        (Item("", "", "Utopia has a cat", "Utopia has a Utopia"), "foil unknown", ("Utopia",)),
        (
            Item("", "Ada and Ada\nlives", "in", "in "),
            "target and foil are the same word",
            ("Ada", "lives"),
        ),
    ],
)
def test_unknown_words(model, item, skipped, unknown):
    (score,) = iterate_scores(NetworkReader(model), [item])
    assert (score.skipped, score.unknown) == (skipped, unknown)
    assert (score.log_probability is None) == bool(skipped) == bool(score.skipped_words)


@pytest.mark.parametrize(
    "prefixes, skipped, words",
    [
        # what tells the items apart is unknown: the model cannot know the answer
        (("Ada grew up in Utopia .", "Ada grew up in France ."), ("clue unknown", ""), ("Utopia",)),
        (("Utopia is in France", "Thule is in Thule"), ("clue unknown",) * 2, ("Utopia",)),
        # what both items have may be unknown
        (("Ada lives in Paris .", "Ada lives in France ."), ("", ""), ()),
        (("Ada and Bob lives", "Bob and Ada lives"), ("", ""), ()),
    ],
)
def test_an_item_whose_clue_is_unknown_is_skipped(model, prefixes, skipped, words):
    items = [Item(str(k), prefix, "a", "cat", pair="p") for k, prefix in enumerate(prefixes)]
    scores = list(iterate_scores(NetworkReader(model), items))
    assert tuple(score.skipped for score in scores) == skipped
    assert scores[0].skipped_words[:1] == words and scores[1].gain is None or not any(skipped)
    alone = [replace(item, pair="") for item in items]
    assert not any(score.skipped for score in iterate_scores(NetworkReader(model), alone))


def test_sentences_that_are_the_same_for_the_model_are_skipped(model):
    (score,) = iterate_scores(NetworkReader(model), [Item("", "", "I grew  in", "I grew in")])
    assert score.skipped == "the sentences are the same" and score.skipped_words == ()


def test_a_skipped_item_leaves_its_partner_without_gain(model):
    items = [Item("1", "I grew", "Utopia", pair="p"), Item("2", "I speak", "fluent", pair="p")]
    _, score = iterate_scores(NetworkReader(model), items)
    assert not score.skipped and score.gain is None
    row = summarise(iterate_scores(NetworkReader(model), items), 20)
    assert (row["items"], row["skipped"], row["pairs"], row["pairs_skipped"]) == (1, 1, 0, 1)
    assert row["skipped_words"] == ["Utopia"] and row["pair_accuracy"] is None


def test_an_n_gram_model_is_probed_the_same_way(vocabulary):
    """Each answer comes from the model's own distribution, whatever else is in the batch."""
    text = [
        number
        for line in (
            "I grew up in France .",
            "I have a cat .",
            "She has a home in Paris .",
            "a cat",
        )
        * 2
        for number in [*vocabulary.ids_of(vocabulary.split_text(line)), vocabulary.eos_id]
    ]
    for order in (1, 3, 5):
        model = NGramModel.train(text, len(vocabulary), order, vocabulary.eos_id)
        items = draw_items(40, 6)
        for item, score in zip(
            items, iterate_scores(NGramReader(model, vocabulary), items), strict=True
        ):
            expected = model.next_word_probabilities(
                [vocabulary.eos_id, *vocabulary.ids_of(vocabulary.split_text(item.prefix))]
            )
            target, foil = (expected[vocabulary.id(word)] for word in (item.target, item.foil))
            assert (score.log_probability, score.foil_log_probability) == pytest.approx(
                (math.log(target), math.log(foil)), rel=1e-12
            )
            assert score.rank == (expected >= target).sum()
        (score,) = iterate_scores(
            NGramReader(model, vocabulary), [Item("", "", "I grew up in Paris .", "up grew in")]
        )
        assert score.log_probability == pytest.approx(
            -model.token_nll(
                [
                    *vocabulary.ids_of(vocabulary.split_text("I grew up in Paris .")),
                    vocabulary.eos_id,
                ]
            ).sum(),
            rel=1e-12,
        )


class UniformModel:
    """Every word and every text is equally probable."""

    def __init__(self, vocabulary):
        self.vocabulary = vocabulary

    def next_word_log_probabilities(self, texts):
        size = len(self.vocabulary)
        return torch.full((len(texts), size), -math.log(size), dtype=torch.float64)

    def text_log_probabilities(self, texts):
        return [-1.0 for _ in texts]


def test_what_is_equally_probable_is_not_right(vocabulary):
    items = [
        Item("1", "I grew", "in", "cat"),
        Item("2", "I grew", "in"),
        Item("3", "", "I grew in", "in grew I"),
    ]
    scores = list(iterate_scores(UniformModel(vocabulary), items))
    assert [score.right for score in scores] == [False, False, False]
    assert [score.rank for score in scores] == [len(vocabulary), len(vocabulary), None]
    assert summarise(scores, len(vocabulary))["accuracy"] == 0.5


def block_sizes(lengths_and_pairs):
    items = [
        Item(str(k), "p" * (length - 2), "t", "f", pair=pair)
        for k, (length, pair) in enumerate(lengths_and_pairs)
    ]
    blocks = list(probes._iterate_blocks(items))
    assert [item for block in blocks for item in block] == items
    return [len(block) for block in blocks]


def test_a_block_ends_at_a_number_of_items_but_not_inside_a_pair(monkeypatch):
    monkeypatch.setattr(probes, "BLOCK_ITEMS", 3)
    assert block_sizes([(3, "")] * 7) == [3, 3, 1]
    assert block_sizes([(3, pair) for pair in "aabbccdd"]) == [4, 4]
    assert block_sizes([(3, pair) for pair in "aaaaab"]) == [5, 1]


def test_a_block_ends_at_a_number_of_characters(monkeypatch):
    monkeypatch.setattr(probes, "BLOCK_CHARACTERS", 10)
    assert block_sizes([(3, "")] * 9) == [4, 4, 1]
    assert block_sizes([(5, "")] * 5) == [2, 2, 1]


# --- the report -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "successes, trials, low, high",
    # Newcombe 1998, Statistics in Medicine 17, table I; the last one is n / (n + z^2)
    [
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
        (29, 29, 0.8830, 1.0),
    ],
)
def test_wilson(successes, trials, low, high):
    assert wilson_interval(successes, trials) == pytest.approx((low, high), abs=6e-5)


def test_an_interval_is_inside_0_and_1():
    for trials in range(1, 2000):
        assert wilson_interval(0, trials)[0] == 0 and wilson_interval(trials, trials)[1] <= 1


def test_every_distance_has_one_bucket():
    buckets = [bucket_of(distance) for distance in range(3000)]
    assert all(low <= distance <= high for distance, (low, high) in enumerate(buckets))
    assert list(dict.fromkeys(buckets))[:9] == [
        (0, 0),
        (1, 1),
        (2, 2),
        (3, 5),
        (6, 10),
        (11, 20),
        (21, 50),
        (51, 100),
        (101, 200),
    ]


def test_reach():
    # 4 is halfway between 6 at distance 10 and 2 at distance 20
    assert reach([(5, 8), (10, 6), (20, 2), (40, 7)]) == 15
    assert reach([(5, 8), (10, 4)]) == 10
    assert reach([(5, 8), (10, 9), (1000, 4.1)]) == math.inf
    assert (
        reach([(5, -1), (10, -2)])
        is reach([(5, 0.01), (10, 0)])
        is reach([(5, 8)])
        is reach([])
        is None
    )


def scored(pair, right, distance=3, group="", rank=1, gain=None, foil="f"):
    item = Item("", "p", "t", foil, distance, group, pair)
    own = -1.0 - rank
    return ItemScore(
        item, "", (), own, (own - 1 if right else own + 1) if foil else None, rank, right, gain
    )


def test_a_pair_is_right_if_all_its_items_are():
    row = summarise(
        [
            scored("1", True),
            scored("1", True),
            scored("2", True),
            scored("2", False, rank=9),
            scored("3", False, rank=3),
            scored("3", False, rank=4),
            scored("", True),
        ],
        100,
    )
    assert (row["pairs"], row["pair_accuracy"], row["accuracy"]) == pytest.approx((3, 1 / 3, 4 / 7))
    assert row["pair_accuracy_chance"] == 0.25 and row["top_1"] == pytest.approx(4 / 7)
    assert row["top_5"] == pytest.approx(6 / 7) and row["median_rank"] == 1
    assert row["log_probability"] == pytest.approx(-(2 * 4 + 10 + 4 + 5) / 7)
    row = summarise([scored("1", True, foil=""), scored("1", False, foil="", rank=4)], 100)
    assert (
        row["accuracy"] is None
        and row["pair_accuracy_chance"] == pytest.approx(1e-4)
        and row["median_rank"] == 2.5
    )


def test_ranks_are_summed_up():
    def row(*ranks):
        return summarise([scored("", rank == 1, rank=rank, foil="") for rank in ranks], 200)

    assert [row(*ranks)["median_rank"] for ranks in ((3,), (9, 1, 2), (1, 7, 5, 1), (4, 4, 8))] == [
        3,
        2,
        3,
        4,
    ]
    assert (row(1, 5, 6, 1)["top_1"], row(1, 5, 6, 1)["top_5"]) == (0.5, 0.75)
    assert row(1)["top_1_chance"] == 1 / 200 and row(1)["accuracy_chance"] is None
    assert summarise([scored("", True)], 200)["accuracy_chance"] == 0.5
    assert summarise([], 200)["top_1_chance"] is None


def test_a_tie_counts_half_and_makes_its_pair_wrong():
    tie = replace(scored("1", False), foil_log_probability=-2.0)
    assert tie.log_probability == tie.foil_log_probability
    row = summarise([tie, scored("1", True)], 100)
    assert (row["accuracy"], row["pair_accuracy"]) == (0.75, 0)
    assert row["accuracy_interval"] == list(wilson_interval(1.5, 2))


def test_groups_and_distances_add_up():
    scores = [
        scored(str(k // 2), bool(k % 3), distance=k // 2, group="ab"[k // 2 % 2]) for k in range(60)
    ]
    row = summarise(scores, 100)
    for part in (
        row["groups"],
        row["distances"],
        [cell for group in row["groups"] for cell in group["distances"]],
    ):
        assert (
            sum(cell["items"] for cell in part) == 60 and sum(cell["pairs"] for cell in part) == 30
        )
        right = sum(cell["accuracy"] * cell["accuracy_items"] for cell in part)
        assert right == pytest.approx(sum(score.right for score in scores))


def test_a_suite_has_a_reach_if_its_groups_begin_in_the_same_bucket():
    def curve(group, first):
        return [
            scored("", True, distance, group, gain=gain)
            for distance, gain in ((first, 8), (20, 6), (50, 2))
        ]

    assert summarise(curve("a", 5), 9)["reach"] == pytest.approx(35)
    assert summarise(curve("a", 5) + curve("b", 5), 9)["reach"] == pytest.approx(35)
    mixed = summarise(curve("a", 5) + curve("b", 9), 9)
    assert mixed["reach"] is None and [
        group["reach"] for group in mixed["groups"]
    ] == pytest.approx([35, 35])
    far = summarise([replace(score, gain=8) for score in curve("a", 5)], 9)
    assert (far["reach"], far["reach_beyond"]) == (None, 50)


# --- the command ----------------------------------------------------------------------------------


@pytest.fixture
def suite(tmp_path):
    path = tmp_path / "mine.tsv"
    path.write_text(
        HEADER
        + "".join(
            f"{i.id}\t{i.prefix}\t{i.target}\t{i.foil}\t{i.distance}\t{i.group}\t{i.pair}\n"
            for i in draw_items(20, 9)
        )
        + "x\tI grew\tUtopia\n"
    )
    return path


@pytest.mark.slow
def test_the_command_gives_a_report_a_picture_and_every_item(
    command, finished_run, suite, tmp_path
):
    items, picture = tmp_path / "items.jsonl", tmp_path / "p.png"
    status, out, _ = command(
        "probe", finished_run, suite, "controls", "--json", "--items", items, "--plot", picture
    )
    report = json.loads(out)
    mine, controls = report["suites"]
    assert status == 0 and (mine["suite"], controls["suite"]) == (str(suite), "controls")
    assert (mine["items"], mine["skipped"], mine["skipped_because"]) == (
        20,
        1,
        {"target unknown": 1},
    )
    lines = [json.loads(line) for line in items.read_text().splitlines()]
    assert len(lines) == 21 + controls["items"] + controls["skipped"]
    assert [line["id"] for line in lines[:21]] == [*map(str, range(20)), "x"]
    assert lines[20]["skipped"] == "target unknown"
    assert mine["log_probability"] == pytest.approx(
        sum(line["log_probability"] for line in lines[:20]) / 20
    )
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_the_table(command, finished_run, suite):
    status, out, _ = command("probe", finished_run, suite)
    lines = out.splitlines()
    assert status == 0 and lines[0].split()[:3] == [str(suite), "items", "skipped"]
    assert [line.split()[:3] for line in lines[1:4]] == [
        ["all", "20", "1"],
        ["g0", "10", lines[2].split()[2]],
        ["g1", "10", lines[3].split()[2]],
    ]
    assert any("Utopia" in line for line in lines)


def test_the_n_gram_model_is_shown_beside_the_network(command, finished_run, suite):
    vocabulary = LanguageModel.from_pretrained(finished_run).vocabulary
    text = (finished_run.parent / "corpus" / "train.txt").read_text().splitlines()
    tokens = [
        number
        for line in text
        for number in [*vocabulary.ids_of(vocabulary.split_text(line)), vocabulary.eos_id]
    ]
    for words, order in (((), 5), (("--order", 2), 2)):
        model = NGramModel.train(tokens, len(vocabulary), order, vocabulary.eos_id)
        report = json.loads(command("probe", finished_run, suite, "--json", *words)[1])
        assert report["baseline"] == {
            "name": f"{order}-gram",
            "order": order,
            "state": "carried",
            "ngrams": len(vocabulary) + sum(len(table.keys) for table in model.tables),
            "normalization": f"interpolated over all {len(vocabulary):,} words",
        }
        expected = summarise(
            iterate_scores(
                NGramReader(model, vocabulary), [*draw_items(20, 9), Item("x", "I grew", "Utopia")]
            ),
            len(vocabulary),
        )
        assert report["suites"][0]["baseline"] == json.loads(json.dumps(expected))
        lines = command("probe", finished_run, suite, *words)[1].splitlines()
        assert lines[0].endswith(f"{order}-gram over foil  top-1")
        assert lines[1].split()[-2:] == [f"{expected['accuracy']:.1%}", f"{expected['top_1']:.1%}"]


@pytest.mark.slow
def test_without_an_n_gram_model_the_network_is_still_probed(
    command, refused, config, suite, tmp_path, monkeypatch
):
    run = tmp_path / "run"
    assert command("train", config, "--output", run)[0] == 0
    with_it = json.loads(command("probe", run, suite, "--json")[1])

    def left_out(why, *words):
        status, out, _ = command("probe", run, suite, *words)
        assert status == 0 and "-gram over foil" not in out
        assert sum(
            "no n-gram model beside it: " in line and why in line for line in out.splitlines()
        ) == bool(why)
        report = json.loads(command("probe", run, suite, "--json", *words)[1])
        assert report["baseline"] is None and why in report["no_baseline_because"]
        assert report["suites"] == [{**with_it["suites"][0], "baseline": None}]

    left_out("", "--order", 0)
    with monkeypatch.context() as patch:
        patch.setattr(baseline, "MOST_TOKENS_BY_DEFAULT", 99)
        left_out("too many to be counted by default; give --order 5")
        assert json.loads(command("probe", run, suite, "--json", "--order", 5)[1]) == with_it
    with (config.parent / "train.txt").open("a") as file:
        file.write("Paris\n" * 99)
    left_out("has changed")
    shutil.rmtree(config.parent)
    left_out("no such file")
    settings = run / "config.yaml"
    settings.write_text(settings.read_text().replace("lowercase: false", "lowercase: true"))
    left_out("damaged or edited")
    settings.unlink()
    left_out("no config.yaml")
    for order in (-1, 21):
        assert f"--order: found {order}" in refused("probe", run, suite, "--order", order)


def test_mistakes(refused, finished_run, suite, tmp_path):
    bad = tmp_path / "bad.tsv"
    bad.write_text(HEADER + "1\ta\tb\n1\ta\tb\n")
    for words, said in (
        ((suite, "nothing"), "no such suite"),
        ((suite, bad), "bad.tsv, line 3"),
        ((suite, "--items", tmp_path / "no" / "f"), "--items"),
        ((suite, "--plot", tmp_path), "--plot"),
    ):
        assert said in refused("probe", finished_run, *words)
    suite.write_text("id\tprefix\ttarget\n1\ta\tb\n")
    assert "no item has a distance" in refused(
        "probe", finished_run, suite, "--plot", tmp_path / "p.png"
    )


def test_buckets_without_a_score_are_shown(model):
    row = summarise(iterate_scores(NetworkReader(model), [Item("1", "I", "Utopia", "in", 3)]), 20)
    assert [(cell["items"], cell["skipped"], cell["accuracy"]) for cell in row["distances"]] == [
        (0, 1, None)
    ]


# --- suites of which little or nothing can be asked -----------------------------------------------


def write_suite(path, *rows):
    path.write_text(HEADER + "".join("\t".join(map(str, row)) + "\n" for row in rows))
    return path


def test_a_bad_item_is_skipped_and_named(command, finished_run, tmp_path):
    path = write_suite(
        tmp_path / "some.tsv",
        (1, "I grew", "up", "in", 3, "g", "p"),
        (2, "I speak", "up", "up", 3, "g", "p"),
        (3, "I grew up", "in", "up", 3, "g", ""),
    )
    status, out, err = command("probe", finished_run, path, "--order", 0)
    assert status == 0 and err.splitlines() == [
        f"note: {path}: 1 of 3 items cannot be asked and are skipped: line 3: target and foil are "
        "both 'up'; give two different words"
    ]
    assert "skipped 1: a mistake in the file" in out
    report = json.loads(command("probe", finished_run, path, "--order", 0, "--json")[1])
    (found,) = report["suites"]
    assert (found["items"], found["skipped"]) == (2, 1)
    assert (found["pairs"], found["pairs_skipped"]) == (0, 1)
    assert found["skipped_words"] == [] and report["left_out"] == []


def test_suites_of_which_nothing_can_be_asked_are_left_out_in_one_line(
    command, finished_run, tmp_path
):
    asked = write_suite(tmp_path / "asked.tsv", (1, "I grew", "up", "in", 3))
    first = write_suite(tmp_path / "first.tsv", (1, "I grew", "Utopia", "in", 3))
    second = write_suite(tmp_path / "second.tsv", (1, "I", "Ys", "in"), (2, "I", "Thule"))
    picture = tmp_path / "p.png"
    words = ("probe", finished_run, first, asked, second, "--order", 0)
    status, out, err = command(*words, "--plot", picture)
    assert status == 0 and not err
    (line,) = [line for line in out.splitlines() if "left out" in line]
    assert line == (
        f"left out, nothing can be asked: {first}, {second} (target unknown, such as Utopia, Ys, "
        "Thule)"
    )
    assert out.count(str(first)) == out.count(str(second)) == 1
    assert out.startswith(str(asked)) and picture.exists()
    found = json.loads(command(*words, "--json")[1])
    assert found["left_out"] == [str(first), str(second)]
    assert [row["skipped"] for row in found["suites"]] == [1, 0, 2]


def test_a_picture_of_nothing_is_not_drawn(command, finished_run, tmp_path):
    nothing = write_suite(tmp_path / "nothing.tsv", (1, "I grew", "Utopia", "in", 3))
    picture = tmp_path / "p.png"
    status, out, err = command("probe", finished_run, nothing, "--plot", picture, "--order", 0)
    assert status == 0 and not picture.exists()
    assert f"{picture} is not written: no item with a distance could be asked" in err
    assert out.splitlines() == [
        f"left out, nothing can be asked: {nothing} (target unknown, such as Utopia)"
    ]
