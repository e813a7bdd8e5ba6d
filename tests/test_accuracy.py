"""Laws of accuracy: it equals brute force over `predict_next`, and costs nothing in correctness."""

import json
import math

import pytest
import torch

from lstm_lm.corpus.vocabulary import Vocabulary
from lstm_lm.evaluation import keystrokes
from lstm_lm.evaluation.accuracy import count_characters, measure_accuracy
from lstm_lm.evaluation.keystrokes import Beginnings
from lstm_lm.evaluation.perplexity import measure_perplexity
from tests.conftest import LINES

TEXT = [
    *LINES[:2],
    "France grew a horse in Paris .",
    "",
    "I speak French French .",
    "a a xylophone",
]
OUTPUTS = {
    "full": {},
    "sampled": {"output": "sampled", "sampled_words": 5},
    "adaptive": {"output": "adaptive", "adaptive_cutoffs": (6, 12), "adaptive_factor": 2.0},
    "untied": {"tie_weights": False},
    "mixture": {"output": "mos", "mixture_softmaxes": 3},
}


@pytest.fixture(scope="module")
def vocabulary():
    """Words that share their first letters, as those of real texts do."""
    lines = ["home homes homely horse horses house houses in into inn I Ib", "French Frenchman"]
    return Vocabulary.build([*LINES, *lines], tokenization="words")


@pytest.fixture
def tokens(vocabulary):
    return [i for ids in vocabulary.encode_lines(TEXT) for i in ids]


def questions(model, reset_per_line):
    """Yields each right word, and all candidates after the text before it, the best first."""
    words = [word for line in TEXT for word in (*line.split(), "<eos>")]
    vocabulary, ids = model.vocabulary, []
    for word in words:
        asked = ids
        if reset_per_line:
            last = max((at for at, one in enumerate(ids) if one == vocabulary.eos_id), default=-1)
            asked = ids[last + 1 :]
        with torch.no_grad():
            inputs = torch.tensor([vocabulary.eos_id, *asked]).unsqueeze(1)
            found = model.network(inputs)[0][-1, 0]
        everything = model.most_probable(found, len(vocabulary), include_unknown=True)
        number = vocabulary.ids_of([word])[0]
        yield vocabulary.words[number], everything, -found[number].item()
        ids = [*ids, number]


def by_brute_force(model, reset_per_line):
    """Everything that is measured, from lists of predictions."""
    ranks, all_ranks, keys, letters, known_nll, text_nll = [], [], 0, 0, 0.0, 0.0
    for word, predictions, nll in questions(model, reset_per_line):
        everything = [prediction.word for prediction in predictions]
        all_ranks.append(everything.index(word) + 1)
        if word == "<unk>":
            continue
        text_nll += nll
        if word == "<eos>":
            continue
        shown = [one for one in everything if one != "<unk>"]
        known_nll += nll
        ranks.append(shown.index(word) + 1)
        letters += len(word)
        for typed in range(len(word)):
            offered = [one for one in shown if one.startswith(word[:typed])][:3]
            if word in offered:
                keys += min(typed + 1, len(word))
                break
        else:
            keys += len(word)
    return ranks, all_ranks, keys, letters, known_nll, text_nll


@pytest.mark.parametrize("reset_per_line", [False, True])
@pytest.mark.parametrize("output", OUTPUTS)
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_it_equals_brute_force(make_model, tokens, output, reset_per_line, seed):
    model = make_model(seed, **OUTPUTS[output]).in_double_precision()
    with torch.no_grad():
        model.network.output.bias.normal_(std=2)  # so that the ranks differ
    perplexity, found = measure_accuracy(
        model, tokens, reset_per_line=reset_per_line, window_length=7
    )
    ranks, all_ranks, keys, letters, known_nll, text_nll = by_brute_force(model, reset_per_line)
    for ranking, expected in ((found.words, ranks), (found.all_tokens, all_ranks)):
        assert ranking.tokens == len(expected)
        for k in (1, 3, 5):
            assert ranking.top[k] == sum(rank <= k for rank in expected) / len(expected)
        mean = sum(1 / rank for rank in expected) / len(expected)
        assert ranking.mean_reciprocal_rank == pytest.approx(mean, abs=1e-9)
    assert (found.keys, found.letters) == (keys, letters)
    assert found.keystrokes_saved == pytest.approx(1 - keys / letters, abs=1e-9)
    assert found.perplexity_known == pytest.approx(math.exp(known_nll / len(ranks)), rel=1e-9)
    text = "\n".join(TEXT).replace(" xylophone", "") + "\n"
    assert found.characters == len(text)
    assert found.known_text_tokens == len(tokens) - 1
    assert found.bits_per_character == pytest.approx(text_nll / math.log(2) / len(text), rel=1e-9)
    alone = measure_perplexity(model, tokens, reset_per_line=reset_per_line, window_length=7)
    assert perplexity.nll == pytest.approx(alone.nll, rel=1e-12)
    assert (perplexity.tokens, perplexity.oov_tokens, perplexity.state) == (
        alone.tokens,
        alone.oov_tokens,
        alone.state,
    )


def test_predict_next_gives_the_same_ranks(make_model):
    """The definition in words: the rank is the place in the list that `predict_next` returns."""
    model = make_model(4).in_double_precision()
    line = "I grew up in France ."
    words = line.split()
    places = [
        [one.word for one in model.predict_next(" ".join(words[:at]), len(model.vocabulary))].index(
            word
        )
        for at, word in enumerate(words)
    ]
    tokens = model.vocabulary.encode_lines([line])[0]
    _, found = measure_accuracy(model, tokens)
    assert found.words.top[3] == sum(place < 3 for place in places) / 6
    mean = sum(1 / (place + 1) for place in places) / 6
    assert found.words.mean_reciprocal_rank == pytest.approx(mean, abs=1e-9)


@pytest.mark.parametrize("output", OUTPUTS)
def test_a_model_that_knows_nothing_is_never_right(make_model, tokens, output):
    """All words are equally probable: none is among the first, and no completion helps by luck."""
    model = make_model(**OUTPUTS[output])
    with torch.no_grad():
        for parameter in model.network.parameters():
            parameter.zero_()
        if output == "adaptive":  # a cluster has the probability of its words together
            model.network.output.start_from_counts(torch.zeros(len(model.vocabulary)))
    _, found = measure_accuracy(model.in_double_precision(), tokens)
    size = len(model.vocabulary)
    if output in ("adaptive", "mixture"):  # equal up to rounding
        assert found.all_tokens.top[5] < 1
    else:
        assert found.all_tokens.top[5] == found.words.top[5] == 0
        assert found.all_tokens.mean_reciprocal_rank == pytest.approx(1 / size, abs=1e-12)
        assert found.words.mean_reciprocal_rank == pytest.approx(1 / (size - 1), abs=1e-12)


def test_waiting_words_are_counted_in_any_portions(make_model, tokens, monkeypatch):
    model = make_model(5)
    expected = measure_accuracy(model, tokens)
    for waiting, scores in ((1, 1), (3, 7), (1000, 2**20)):
        monkeypatch.setattr(keystrokes, "WAITING", waiting)
        monkeypatch.setattr(keystrokes, "MOST_SCORES", scores)
        assert measure_accuracy(model, tokens) == expected


def test_a_beginning_is_a_range_of_the_alphabetical_order(vocabulary):
    beginnings = Beginnings(vocabulary, torch.device("cpu"))
    ordered = [vocabulary.words[number] for number in beginnings.ids]
    assert ordered == sorted(word for word in vocabulary.words if word != "<unk>")
    for word in ordered:
        number = torch.tensor([vocabulary.id(word)])
        for letters in range(1, len(word) + 1):
            low, high = (int(end) for end in beginnings.ranges(number, letters))
            assert ordered[low:high] == [
                one for one in ordered if one.startswith(word[:letters])
            ] or (letters > len(word))


def test_characters_do_not_depend_on_blocks(vocabulary, monkeypatch):
    tokens = [i for ids in vocabulary.encode_lines(LINES) for i in ids]
    expected = len("\n".join(LINES)) + 1
    for block in (1, 2, 5, 1000):
        monkeypatch.setattr("lstm_lm.evaluation.accuracy.COUNTED_AT_ONCE", block)
        assert count_characters(tokens, vocabulary) == expected


NAMES = ["top_1", "top_3", "top_5", "mean_reciprocal_rank"]


def test_evaluate_prints_it_and_its_json_has_it(command, finished_run):
    found = json.loads(command("evaluate", finished_run, "--json")[1])
    for name in (*NAMES, "keystrokes_saved"):
        assert 0 <= found[name] <= 1
    assert found["top_1"] <= found["top_3"] <= found["top_5"]
    assert found["perplexity_known"] > 1 and found["bits_per_character"] > 0
    # She speaks fluent French . / / I grew up in Paris .
    assert (found["tokens"], found["oov_tokens"], found["known_tokens"]) == (14, 1, 10)
    assert found["all_tokens"]["tokens"] == 14 and set(NAMES) < set(found["all_tokens"])
    assert found["letters"] == len("ShefluentFrench.IgrewupinParis.")
    assert found["bits_per_character_tokens"] == 13
    out = command("evaluate", finished_run)[1]
    assert "known words" in out and f"{found['top_3']:.1%}" in out
    assert f"keystrokes saved: {found['keystrokes_saved']:.1%} of 31 (10 known words" in out


@pytest.mark.parametrize("options", [["--reset-per-line"], []])
def test_a_text_without_known_words_has_no_shares(command, finished_run, tmp_path, options):
    text = tmp_path / "unknown.txt"
    text.write_text("xylophone zebra\n")
    found = json.loads(command("evaluate", finished_run, "--file", text, "--json", *options)[1])
    assert {found[name] for name in (*NAMES, "keystrokes_saved", "perplexity_known")} == {None}
    assert found["all_tokens"]["tokens"] == 3 and found["characters"] == 1
    assert "keystrokes saved: none of 0" in command("evaluate", finished_run, "--file", text)[1]
