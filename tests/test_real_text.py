"""Suites through real text: which sentences are used, where they stand, and what is reported."""

import json
import math

import pytest

from lstm_lm.corpus import sentences
from lstm_lm.corpus.sentences import iterate_sentences
from lstm_lm.corpus.vocabulary import Vocabulary
from lstm_lm.model.language_model import LanguageModel
from lstm_lm.probes import real_text
from lstm_lm.probes.asking import NetworkReader, iterate_scores
from lstm_lm.probes.encoding import prefix_words
from lstm_lm.probes.figure import _side_by_side
from lstm_lm.probes.real_text import RealText, fill_suites
from lstm_lm.probes.suites import built_in_names, find_suite

HEADER = "id\tprefix\ttarget\tfoil\tdistance\tgroup\tpair\tclue\tquestion\n"
FILLER = "The cat is old and grey. " * 4  # 4 * 7 words

# As WikiText is spelled.
TOKENISED = """\
= Title of a page .
The dog ran to the well @-@ known house .
He said , " It is late . " The boat is small . It ran .
= = Section = =
Many boats ( of 1 @,@ 000 ) were lost there !
Where is the old <unk> house ?
A cat , a dog ( and a boat . The sea is very calm .
<unk> <unk> <unk> .
A line without an end
"""


@pytest.fixture
def tokenised():
    words = "I grew up in Paris France Rome Italy still have a home she he"
    lines = [*TOKENISED.splitlines(), words, "The cat is old and grey .", "An paris"]
    return Vocabulary.build(lines, tokenization="whitespace")


def read(text, vocabulary, name="valid"):
    ids = [
        number
        for line in text.splitlines()
        for number in [*vocabulary.ids_of(line.split()), vocabulary.eos_id]
    ]
    return RealText.from_tokens(name, ids, vocabulary)


def pair(key, distance_less=0, clues=("France", "Italy"), fillers=FILLER, more=""):
    answers = ("Paris", "Rome")
    rows = []
    for k in (0, 1):
        clue, question = f"I grew up in {clues[k]}.", "I still have a home in"
        prefix = f"{clue} {fillers}{question}"
        distance = 7 + 7 * fillers.count(".") - distance_less
        cells = (f"{key}{k}", prefix, answers[k], answers[1 - k], distance, "g", key)
        rows.append("\t".join(map(str, (*cells, clue, question))) + more)
    return "".join(f"{row}\n" for row in rows)


@pytest.fixture
def suite(tmp_path):
    def write(*rows, header=HEADER):
        path = tmp_path / "mine.tsv"
        path.write_text(header + "".join(rows))
        return find_suite(str(path))

    return write


# --- sentences ------------------------------------------------------------------------------------


def test_whole_sentences(tokenised):
    found = [tokenised.decode(sentence) for sentence in read(TOKENISED, tokenised).sentences]
    assert found == [
        "The dog ran to the well @-@ known house .",
        'He said , " It is late . "',
        "The boat is small .",
        "Many boats ( of 1 @,@ 000 ) were lost there !",
        "Where is the old <unk> house ?",
        "The sea is very calm .",
    ]


def test_the_end_of_the_text_may_end_a_sentence(tokenised):
    ids = tokenised.ids_of("The boat is small . The sea is calm .".split())
    assert len(list(iterate_sentences(ids, tokenised))) == 2


def test_of_a_long_text_the_beginning_is_read(tokenised, monkeypatch):
    monkeypatch.setattr(real_text, "MOST_WORDS", 12)
    monkeypatch.setattr(sentences, "_WORDS_AT_ONCE", 5)
    text = read("The boat is small .\n" * 5, tokenised)
    assert len(text.sentences) == 2 and text.is_cut
    monkeypatch.setattr(real_text, "MOST_WORDS", 30)
    text = read("The boat is small .\n" * 5, tokenised)
    assert len(text.sentences) == 5 and not text.is_cut


# --- items ----------------------------------------------------------------------------------------

SENTENCES = (
    "The boat is small .\nThe sea is very calm .\nAn old boat is paris .\nItaly is old and grey .\n"
    "The dog ran to the well @-@ known house .\nWhere is the old <unk> house ?\n"
)


def test_both_items_of_a_pair_have_the_same_sentences_and_neither_answers(suite, tokenised):
    text = read(SENTENCES, tokenised)
    (own, filled), notes = fill_suites([suite(pair("a"), pair("b", fillers=FILLER[:50]))], text)
    items = list(filled)
    assert [item.id for item in items] == [item.id for item in own] == ["a0", "a1", "b0", "b1"]
    usable = [s for s in text.sentences if not {"paris", "Italy"} & set(words_of(tokenised, s))]
    assert len(usable) == 4
    for one, two in zip(items[::2], items[1::2], strict=True):
        assert one.fillers == two.fillers
        assert one.prefix.replace("France", "Italy") == two.prefix
    for item, before in zip(items, own, strict=True):
        room = before.distance - 7
        assert room - 5 < len(item.fillers) <= room  # 5 words: the shortest sentence
        assert item.distance == 7 + len(item.fillers)
        words = prefix_words(tokenised, item)
        assert words[1:7] == [*"I grew up in".split(), item.clue[13:-1], "."]
        assert words[7:-6] == list(item.fillers) and words[-6:] == item.question.split()
        assert len(words) - 6 == item.distance
        assert sorted(split(item.fillers)) == sorted(set(split(item.fillers)))
        assert set(split(item.fillers)) <= {tuple(words_of(tokenised, s)) for s in usable}
    assert [item.prefix for item in filled] == [item.prefix for item in items]
    assert filled.item_count == 4 and filled.name.endswith("mine.tsv through valid")
    assert notes == [filled.note]
    words = sum(map(len, usable))
    assert f"4 of 6 whole sentences can be used ({words} words, {1 / words:.1%} of them" in notes[0]


def words_of(vocabulary, sentence):
    return [vocabulary.words[number] for number in sentence]


def split(words):
    """The sentences of words that all end with . or ?"""
    text = " ".join(words).replace(" .", " .\n").replace(" ?", " ?\n")
    return [tuple(line.split()) for line in text.splitlines()]


def test_sentences_follow_one_another_as_in_the_text_and_pairs_differ(suite, tokenised):
    nouns = ("boat", "cat", "dog", "house", "sea")
    endings = ("old", "small", "calm", "late")
    text = read("".join(f"The {a} is {b} .\n" for a in nouns for b in endings), tokenised)
    (_, filled), _ = fill_suites([suite(*(pair(key) for key in "abcdef"))], text)
    order = [tuple(words_of(tokenised, sentence)) for sentence in text.sentences]
    firsts = set()
    for item in filled:
        found = [order.index(sentence) for sentence in split(item.fillers)]
        assert len(found) == 5 and len(item.fillers) == 25
        assert found == [(found[0] + k) % len(order) for k in range(5)]
        firsts.add(found[0])
    assert len(firsts) > 2


def test_items_that_no_sentence_fits_are_left_out_and_counted(suite, tokenised):
    text = read(SENTENCES, tokenised)
    too_short, too_long = "The cat. ", FILLER * 40
    own = suite(pair("a", fillers=too_short), pair("b", fillers=too_long), pair("c"), pair("d"))
    (_, filled), (note,) = fill_suites([own], text)
    assert [item.id for item in filled] == ["c0", "c1", "d0", "d1"] and filled.item_count == 4
    assert "4 of 8 items are left out" in note
    own = suite(pair("a", fillers=too_short), pair("b", fillers=too_long))
    asked, (note,) = fill_suites([own], text)
    assert asked == [own] and "4 of 4 items are left out" in note


def test_without_fillers_an_item_is_asked_as_it_is(suite, tokenised):
    (own, filled), (note,) = fill_suites([suite(pair("a", fillers=""))], read(SENTENCES, tokenised))
    assert list(filled) == list(own) and "left out" not in note


def test_a_suite_that_does_not_say_where_its_fillers_are_is_asked_alone(suite, tokenised):
    mine = suite("1\tI grew\tup\tin\t3\n", header="id\tprefix\ttarget\tfoil\tdistance\n")
    asked, (note,) = fill_suites([mine], read(SENTENCES, tokenised))
    assert asked == [mine]
    assert note.startswith(f"{mine.name}: cannot be asked through valid") and "clue" in note


def test_items_without_a_clue_and_with_a_mistake_are_left_out(suite, tokenised):
    mine = suite(pair("a"), "1\tI grew\tup\tin\n", "2\tI grew\tup\tup\t\t\t\tI\tgrew\n", pair("b"))
    (_, filled), (note,) = fill_suites([mine], read(SENTENCES, tokenised))
    assert [item.id for item in filled] == ["a0", "a1", "b0", "b1"] and "left out" not in note


@pytest.mark.parametrize("name", ["capital", "pronoun", "subject", "quotes", "agreement", "story"])
def test_no_built_in_suite_meets_its_answers_or_clues(name):
    """Also if they begin a sentence; both items of every pair have the same words in between."""
    plain = [f"The {noun} is {kind} ." for noun in ("cat", "sea") for kind in ("old", "calm")]
    own = find_suite(name)
    banned = {word for item in own for word in (item.target, item.foil) if item.clue}
    clues = {"pronoun": {"Hannah", "mother"}, "capital": {"France"}, "quotes": {"("}}.get(
        name, set()
    )
    bad = [f"{word.title()} is here and there ." for word in sorted(banned | clues)]
    lines = [*plain, *bad, *(item.prefix for item in own)]
    vocabulary = Vocabulary.build(lines, tokenization="words")
    text = read("\n".join([*plain * 99, *bad]), vocabulary)
    (_, filled), _ = fill_suites([own], text)
    items, used = list(filled), set()
    for one, two in zip(items[::2], items[1::2], strict=True):
        assert one.pair == two.pair and one.fillers == two.fillers
        assert one.distance == two.distance <= 1000
        used.update(" ".join(sentence) for sentence in split(one.fillers))
    assert len(items) > 50 and used == set(plain)
    assert max(item.distance for item in items) > 600


def test_every_built_in_suite_can_be_asked_through_text_or_is_named(tokenised):
    suites = [find_suite(name) for name in built_in_names()]
    asked, notes = fill_suites(suites, read(SENTENCES, tokenised))
    assert {one.name for one in asked} - {one.name for one in suites} == {
        f"{name} through valid"
        for name in (
            *("agreement", "capital", "language", "nationality", "pronoun", "quotes", "story"),
            "subject",
        )
    }
    assert notes[-1].startswith("biographies, controls: cannot be asked through valid")


# --- answers --------------------------------------------------------------------------------------


def test_the_answers_are_those_of_the_same_words_typed(suite, tokenised):
    import torch

    from lstm_lm.config import ModelConfig

    torch.manual_seed(0)
    sizes = ModelConfig(embedding_dim=6, hidden_size=7, num_layers=1)
    model = LanguageModel.from_config(sizes, tokenised)
    model.network.eval()
    model = model.in_double_precision()
    (_, filled), _ = fill_suites([suite(pair("a"))], read(SENTENCES, tokenised))
    for score in iterate_scores(NetworkReader(model), filled):
        item = score.item
        typed = f"{item.clue} {' '.join(item.fillers)} {item.question} {item.target}"
        surprisal = model.score(typed, reset_per_line=True)[-2].surprisal
        assert score.log_probability == pytest.approx(-surprisal * math.log(2), abs=1e-9)


def test_the_panel_of_a_suite_is_beside_that_of_its_real_text():
    names = ["controls", "a", "a through valid", "b", "b through valid", "c"]
    filled = {"a": "a through valid", "b": "b through valid", "x": "x through valid"}
    assert _side_by_side(names, filled) == [
        *("a", "a through valid", "b", "b through valid", "controls", "c")
    ]
    assert _side_by_side(names, {}) == names


# --- the command ----------------------------------------------------------------------------------

ROWS = [
    (
        "1",
        "I grew up in France. I have a cat and I speak fluent French. She has a home in",
        "Paris",
    ),
    (
        "2",
        "I grew up in Paris. I have a cat and I speak fluent French. She has a home in",
        "France",
    ),
]


@pytest.fixture
def mine(tmp_path):
    path = tmp_path / "mine.tsv"
    rows = [
        (*row, ROWS[1 - k][2], 17, "g", "p", row[1].split(".")[0] + ".", "She has a home in")
        for k, row in enumerate(ROWS)
    ]
    path.write_text(HEADER + "".join("\t".join(map(str, row)) + "\n" for row in rows))
    return path


def test_the_command_asks_both_and_draws_both(command, finished_run, mine, tmp_path):
    text, picture, items = tmp_path / "text.txt", tmp_path / "p.png", tmp_path / "items.jsonl"
    text.write_text("I speak fluent French . She has a cat . I grew up in France .\n" * 3)
    words = ("probe", finished_run, mine, "controls", "--order", 0, "--fillers", text)
    status, out, err = command(*words, "--json", "--plot", picture, "--items", items)
    report = json.loads(out)
    names = [str(mine), f"{mine} through {text}", "controls"]
    assert status == 0 and [row["suite"] for row in report["suites"]] == names
    assert [row["filled"] for row in report["suites"]] == [names[1], None, None]
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert err.splitlines() == [f"note: {note}" for note in report["notes"]]
    assert "6 of 9 whole sentences can be used" in report["notes"][0]
    assert report["notes"][1].startswith("controls: cannot be asked through")
    lines = [json.loads(line) for line in items.read_text().splitlines()]
    middle = "I speak fluent French. She has a cat."
    others = "She has a cat. I speak fluent French."
    filled = [line for line in lines if line["suite"] == names[1]]
    assert [line["prefix"] for line in filled] in [
        [f"I grew up in {clue}. {text} She has a home in" for clue in ("France", "Paris")]
        for text in (middle, others)
    ]
    assert [line["distance"] for line in filled] == [17, 17]
    status, table, _ = command(*words)
    assert [line.split("  ")[0] for line in table.splitlines() if " items " in line] == names[:2]


def test_the_run_s_own_valid_split(command, finished_run, mine):
    words = ("probe", finished_run, mine, "--order", 0, "--fillers", "valid", "--json")
    report = json.loads(command(*words)[1])
    assert [row["suite"] for row in report["suites"]] == [str(mine)]
    assert "1 of 2 whole sentences can be used (5 words, 20.0% of them <unk>)" in report["notes"][0]
    assert "2 of 2 items are left out" in report["notes"][0]
    mine.write_text(mine.read_text().replace("I have a cat and I", "I").replace("\t17\t", "\t12\t"))
    report = json.loads(command(*words)[1])
    assert [row["suite"] for row in report["suites"]] == [str(mine), f"{mine} through valid"]
    filled = report["suites"][1]
    assert (filled["items"], filled["distance"]) == (2, 12)
    assert filled["items_with_unknown_words_in_prefix"] == 2


def test_mistakes(refused, finished_run, mine, tmp_path):
    empty = tmp_path / "empty.txt"
    empty.write_text("no sentence here\nutopia thule .\n")
    for text, said in (
        ("test", "must be valid, or a text file"),
        ("train", "must be valid, or a text file"),
        (tmp_path / "nothing.txt", "no such file"),
        (empty, "has no whole sentence"),
    ):
        assert said in refused("probe", finished_run, mine, "--fillers", text)
