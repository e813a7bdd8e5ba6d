"""Suites: every format is read, mistakes are reported by line, built-in suites are frozen."""

import hashlib
import json
from pathlib import Path

import pytest

from lstm_lm.corpus.typed_text import natural_words
from lstm_lm.errors import UserError
from lstm_lm.probes import suites
from lstm_lm.probes.formats import COLUMNS
from lstm_lm.probes.items import Item
from lstm_lm.probes.suites import built_in_names, find_suite

ROOT = Path(__file__).parent.parent
HEADER = "\t".join(COLUMNS)


@pytest.fixture
def suite(tmp_path):
    def write(content, name="suite.tsv"):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return find_suite(str(path))

    return write


def test_columns_in_any_order_and_all_but_three_optional(suite):
    assert list(suite("# remark\n\nprefix\tid\ttarget\n a b \tx\tc\r\n")) == [
        Item("x", "a b", "c", line=4)
    ]
    full = suite(f"{HEADER}\n1\ta b\tc\td\t12\tg\tp\n2\ta\td\t\t\t\tp\n3\ta\td\n")
    assert list(full) == [
        Item("1", "a b", "c", "d", 12, "g", "p", 2),
        Item("2", "a", "d", pair="p", line=3),
        Item("3", "a", "d", line=4),
    ]
    (item,) = suite("id\tprefix\ttarget\tclue\tquestion\n1\ta b. c. d\te\ta b.\td\n")
    assert (item.clue, item.question, item.fillers) == ("a b.", "d", ())


@pytest.mark.parametrize(
    "name, content, items",
    [
        ("pairs.tsv", "She is.\tShe are.\n", [Item("1", "", "She is.", "She are.", line=1)]),
        (
            "pairs.tsv",
            "sentence_good\tsentence_bad\n# is.\t# are.\n",
            [Item("2", "", "# is.", "# are.", line=2)],
        ),
        (
            "b.jsonl",
            '{"sentence_good": "a b", "sentence_bad": "b a", "UID": "order", "pairID": "0"}\n',
            [Item("1", "", "a b", "b a", group="order", line=1)],
        ),
        (
            "l.jsonl",
            '{"text": "one two\\nthree four"}\n\n{"text": "a b"}',
            [Item("1", "one two\nthree", "four", line=1), Item("3", "a", "b", line=3)],
        ),
        (
            "mixed.jsonl",
            '{"sentence_good": "", "text": "a b"}\n'
            '{"sentence_good": "a b", "sentence_bad": "b a", "text": "c d", "UID": 7}\n',
            [Item("1", "a", "b", line=1), Item("2", "", "a b", "b a", line=2)],
        ),
        ("last.txt", "I speak fluent  French\n", [Item("1", "I speak fluent", "French", line=1)]),
    ],
)
def test_public_formats(suite, name, content, items):
    assert list(suite(content, name)) == items


def test_the_greatest_distance(suite):
    (item,) = suite(f"{HEADER}\n1\ta\tx\ty\t1000000000\n")
    assert item.distance == 10**9
    with pytest.raises(UserError, match="line 2: distance is '1000000001'; .* 0 to 1000000000"):
        suite(f"{HEADER}\n1\ta\tx\ty\t1000000001\n").check()


@pytest.mark.parametrize(
    "name, content, said",
    [
        ("s.tsv", "id\ttarget\n1\tx\n", ["line 1", "prefix is missing"]),
        ("s.tsv", "id\tprefix\ttarget\tdistence\n", ["line 1", "'distence' is not a column"]),
        ("s.tsv", "id\tprefix\ttarget\tid\n", ["line 1", "'id' occurs twice"]),
        ("s.tsv", "id,prefix,target\n1,a,b\n", ["line 1", "no header", "1 cells"]),
        ("s.tsv", f"{HEADER}\n1\t \tx\n", ["line 2", "prefix is empty"]),
        ("s.tsv", f"{HEADER}\n1\ta\n", ["line 2", "target is empty"]),
        ("s.tsv", f"{HEADER}\n1\ta\tx y\n", ["line 2", "target", "2 words"]),
        ("s.tsv", f"{HEADER}\n1\ta\tx\ty z\n", ["line 2", "foil", "2 words"]),
        ("s.tsv", f"{HEADER}\n1\ta\tx\tx\n", ["line 2", "both 'x'"]),
        ("s.tsv", f"{HEADER}\n1\ta\tx\ty\t-3\n", ["line 2", "distance", "'-3'"]),
        ("s.tsv", f"{HEADER}\n1\ta\tx\ty\t3\tg\tp\t\t\tmore\n", ["line 2", "10 cells"]),
        ("s.tsv", f"{HEADER}\n1\ta b\tx\ty\t\t\t\tb\t\n", ["line 2", "begin with the clue"]),
        ("s.tsv", f"{HEADER}\n1\ta b\tx\ty\t\t\t\ta\ta\n", ["line 2", "end with the question"]),
        ("s.tsv", f"{HEADER}\n1\ta b a\tx\ty\t\t\t\ta b\tb a\n", ["line 2", "the clue and"]),
        ("s.tsv", f"{HEADER}\n1\ta b\tx\ty\t\t\t\t\tb\n", ["line 2", "without clue"]),
        ("s.tsv", f"{HEADER}\n1\ta\tx\n2\ta\tx\n1\tb\tx\n", ["line 4", "id '1'", "line 2"]),
        ("s.tsv", f"{HEADER}\n1\ta\tx\t\t\t\tp\n", ["line 2", "pair 'p' has only one item"]),
        (
            "s.tsv",
            f"{HEADER}\n"
            + "".join(f"{k}\ta\tx\t\t\t\t{pair}\n" for k, pair in enumerate("ppqqpp")),
            ["line 6", "pair 'p'", "line 2", "directly follow one another"],
        ),
        (
            "s.tsv",
            f"{HEADER}\n" + "".join(f"{k}\ta\tx\t\t\t\tp\n" for k in range(65)),
            ["line 66", "more than 64"],
        ),
        ("s.tsv", HEADER, ["no items"]),
        ("s.tsv", f"{HEADER}\n".encode() + b"1\tcaf\xe9\tx\n", ["line 2", "not UTF-8"]),
        ("s.tsv", b"\xff\xfei\x00d\x00", ["line 1", "UTF-16"]),
        ("s.tsv", b"\x89PNG\r\n\x1a\n", ["line 1", "is a PNG image"]),
        ("p.tsv", "a b\tb a\tc\na b\n", ["line 1", "no header"]),
        ("p.tsv", "a b\t\na b\n", ["line 1", "found 1 sentences", "none of the 2 items"]),
        ("p.tsv", "a b\ta b\n", ["line 1", "the same"]),
        ("s.jsonl", '{"text": "a"}\n{"text": \n', ["line 1", "one word, 'a'"]),
        ("s.jsonl", '{"text": \n', ["line 1", "not JSON"]),
        ("s.jsonl", '{"sentence_good": "a"}\n', ["line 1", "sentence_bad"]),
        ("s.jsonl", '{"text": "\\ud800 b"}\n', ["line 1"]),
        ("s.jsonl", '{"sentence_good": "a", "text": "a b"}\n', ["line 1", "sentence_bad"]),
        ("s.jsonl", '["text"]\n', ["line 1", "sentence_bad"]),
        ("s.txt", "word\n.\n", ["line 1", "one word, 'word'", "none of the 2 items"]),
        ("s.txt", "a\tb\n", ["line 1", ".tsv"]),
    ],
)
def test_a_mistake_is_reported_with_its_line(suite, name, content, said):
    with pytest.raises(UserError) as error:
        suite(content, name).check()
    assert all(part in str(error.value) for part in [name, *said]), error.value


GOOD = "good\tI grew\tup\tin\t3\tg\t\n"


@pytest.mark.parametrize(
    "name, good, bad, said",
    [
        ("s.tsv", HEADER + "\n" + GOOD, "1\ta\tx\tx\n", "target and foil are both 'x'"),
        ("s.tsv", HEADER + "\n" + GOOD, "1\ta\tx y\n", "target 'x y' has 2 words"),
        ("s.tsv", HEADER + "\n" + GOOD, "1\ta\tx\ty z\n", "foil 'y z' has 2 words"),
        ("s.tsv", HEADER + "\n" + GOOD, "1\ta\n", "target is empty"),
        ("s.tsv", HEADER + "\n" + GOOD, "1\n", "prefix is empty"),
        ("s.tsv", HEADER + "\n" + GOOD, "\ta\tx\n", "id is empty"),
        ("s.tsv", HEADER + "\n" + GOOD, "1\ta\tx\ty\tfar\n", "distance is 'far'"),
        ("s.tsv", HEADER + "\n" + GOOD, "1\ta\tx\ty\t3\tg\t\t\t\tmore\n", "found 10 cells"),
        ("s.tsv", HEADER + "\n" + GOOD, "1\ta\tx\ty\t3\tg\tp\n", "pair 'p' has only one item"),
        ("p.tsv", "a b\tb a\n", "a b\n", "found 1 sentences"),
        ("p.tsv", "a b\tb a\n", "a b\ta b\n", "the two sentences are the same"),
        ("b.jsonl", '{"text": "a b"}\n', '{"text": \n', "not JSON"),
        ("b.jsonl", '{"text": "a b"}\n', '{"sentence_good": "a"}\n', "needs sentence_good"),
        ("t.txt", "two words\n", "word\n", "found one word, 'word'"),
        ("t.txt", "two words\n", "a\tb c\n", "found a tab"),
    ],
)
def test_one_bad_item_is_skipped_counted_and_named(suite, name, good, bad, said):
    lines = good.splitlines()
    path = suite("\n".join([*lines, bad.rstrip("\n"), lines[-1].replace("good", "other")]), name)
    size = path.check()
    assert (size.items, size.bad_items) == (2, 1)
    assert len(size.mistakes) == 1
    assert size.mistakes[0].startswith(f"line {len(lines) + 1}: ") and said in size.mistakes[0]
    assert size.note == f"1 of 3 items cannot be asked and are skipped: {size.mistakes[0]}"
    assert [bool(item.problem) for item in path] == [False, True, False]


def test_a_file_without_mistakes_has_no_note(suite):
    size = suite(f"{HEADER}\n{GOOD}").check()
    assert (size.items, size.with_distance, size.bad_items, size.note) == (1, 1, 0, "")


def test_the_first_three_mistakes_are_named(suite):
    many = suite("a b\tb a\n" + "a\ta\n" * 7000, "p.tsv").check()
    assert (many.items, many.bad_items) == (1, 7000)
    assert [text.partition(":")[0] for text in many.mistakes] == ["line 2", "line 3", "line 4"]
    assert many.note.startswith("7,000 of 7,001 items") and many.note.endswith("; ...")
    assert not suite("a b\tb a\n" + "a\ta\n" * 3, "p.tsv").check().note.endswith("...")


def test_a_pair_may_have_a_bad_item(suite):
    """The pair then counts as skipped; an item whose partner cannot be read is skipped, too."""
    rows = "1\ta\tx\ty\t3\tg\tp\n2\tb\tx\tx\t3\tg\tp\n"
    both = list(suite(f"{HEADER}\n{rows}"))
    assert [(item.pair, bool(item.problem)) for item in both] == [("p", False), ("p", True)]
    size = suite(f"{HEADER}\n3\ta\tx\ty\t3\tg\tq\n4\n5\tc\ty\tx\t3\tg\tq\n{rows}").check()
    assert (size.items, size.with_distance, size.bad_items) == (1, 1, 4)


@pytest.mark.parametrize(
    "text, prefix, word",
    [
        ("He fed the cat.", "He fed the", "cat"),
        ("He fed the cat .", "He fed the", "cat"),
        ('"He fed the cat!"', '"He fed the', "cat"),
        ("“He fed the cat.” ", "“He fed the", "cat"),
        ("He fed the cat . ''", "He fed the", "cat"),
        ("He fed the cat…", "He fed the", "cat"),
        ("He fed the cat...", "He fed the", "cat"),
        ("Was it (the cat)?", "Was it (the", "cat"),
        ("He lives in the U.S.", "He lives in the", "U.S."),
        ("He lives in the U.S.?", "He lives in the", "U.S."),
        ("Ask for Mr.", "Ask for", "Mr."),
        ("It costs 3.50", "It costs", "3.50"),
        ("It is the dog's", "It is the", "dog's"),
        ("He fed the cats'.", "He fed the", "cats"),
        ("a b, c,", "a b,", "c,"),
    ],
)
def test_a_last_word_is_asked_without_its_full_stop(suite, text, prefix, word):
    for name, content in (("t.txt", text), ("t.jsonl", json.dumps({"text": text}))):
        assert list(suite(content, name)) == [Item("1", prefix, word, line=1)]


def test_a_last_word_of_a_million_marks_takes_no_time(suite):
    (item,) = suite("a " + "." * 10**6, "t.txt")
    assert item.target == "." * 10**6


def test_hashes_that_collide_are_no_mistake(suite, monkeypatch):
    monkeypatch.setattr(suites, "hash", lambda text: 7, raising=False)
    many = suite(f"{HEADER}\n" + "".join(f"{k}\ta\tx\t\t\t\t{k // 2}\n" for k in range(10)))
    assert many.check().items == 10
    with pytest.raises(UserError, match="id '3' is already in line 5"):
        suite(f"{HEADER}\n" + "".join(f"{min(k, 3)}\ta\tx\n" for k in range(5))).check()


def test_names(suite, tmp_path):
    for name, said in (
        ("capitol", "did you mean capital"),
        (str(tmp_path / "no.tsv"), "no such file"),
        (str(tmp_path), "no such suite"),
        ("questions.csv", ".tsv or .jsonl or .txt or .json"),
    ):
        with pytest.raises(UserError, match=said):
            find_suite(name)
    assert find_suite("capital").name == "capital"


# --- the built-in ones ----------------------------------------------------------------------------


# The SHA-256 of the first seven columns of all built-in suites, the generated one included.
SUITES_SHA256 = "1fcbfc994fde812564d2395114565ab1f5c2e977fdcacd4b795622f041b9ccb4"


def test_the_built_in_suites_are_frozen():
    """Published accuracies depend on these bytes: a changed suite needs another name.

    The columns clue and question are checked below; they change no question.
    """
    digest = hashlib.sha256()
    for name in built_in_names():
        with find_suite(name).entry.open("rb") as file:
            rows = [line.rstrip(b"\n").split(b"\t")[:7] for line in file]
        asked = b"".join(b"\t".join(row) + b"\n" for row in rows)
        digest.update(name.encode() + b"\0" + hashlib.sha256(asked).digest())
    assert digest.hexdigest() == SUITES_SHA256


@pytest.fixture(scope="module")
def built_in():
    return {name: list(find_suite(name)) for name in built_in_names()}


def test_there_are_enough_items_at_near_and_far_distances(built_in):
    sizes = [find_suite(name).check() for name in built_in]
    assert sum(size.items for size in sizes) == sum(size.with_distance for size in sizes) >= 1000
    for name in set(built_in) - {"controls"}:
        distances = [item.distance for item in built_in[name]]
        assert min(distances) <= 10 and max(distances) > 700 and max(distances) <= 1000, name
        for low, high in ((20, 50), (50, 100), (100, 200), (200, 500)):
            assert any(low < distance <= high for distance in distances), (name, low)
    folder = ROOT / "data" / "probes"
    assert sum(path.stat().st_size for path in folder.glob("*.tsv")) < 1_500_000


def test_the_items_of_a_pair_differ_only_in_their_cue_and_are_each_other_s_foil(built_in):
    for name, items in built_in.items():
        for one, two in zip(items[::2], items[1::2], strict=True):
            assert (
                one.pair == two.pair and one.prefix != two.prefix and one.distance == two.distance
            ), (name, one.id)
            assert (one.target, one.foil) == (two.foil, two.target)
            words = natural_words(one.prefix), natural_words(two.prefix)
            behind = 0
            while min(map(len, words)) > behind and words[0][-1 - behind] == words[1][-1 - behind]:
                behind += 1
            # in these groups the items differ in more than the cue
            if not one.group.startswith(("is or are", "two people", "moved", "narrator second")):
                assert behind == one.distance, (name, one.id)


def test_fillers_do_not_give_the_answer_away(built_in):
    """Neither target nor foil occurs between the cue and the question."""
    for name in ("capital", "language", "nationality", "pronoun"):
        for item in built_in[name]:
            behind = natural_words(item.prefix)[-item.distance :]
            assert not {item.target, item.foil} & set(behind), item.id


def test_clue_fillers_and_question_are_the_prefix(built_in):
    """Where a built-in item says where its fillers are, they are whole sentences, or none."""
    with_clue = {name: [item for item in built_in[name] if item.clue] for name in built_in}
    assert {name for name, items in with_clue.items() if len(items) == len(built_in[name])} == {
        *("capital", "language", "nationality", "pronoun", "subject", "quotes")
    }
    assert {group for item in with_clue["story"] for group in [item.group]} == {
        *("France", "Vignesh, language")
    }
    for items in with_clue.values():
        for item in items:
            fillers = item.prefix[len(item.clue) : len(item.prefix) - len(item.question)]
            assert item.prefix == item.clue + fillers + item.question
            assert not fillers.strip() or fillers.strip().endswith("."), item.id
            assert item.clue.endswith((".", '"', "(")) and "." not in item.question, item.id
            words = [natural_words(text) for text in (item.clue, fillers, item.question)]
            assert sum(words, []) == natural_words(item.prefix), item.id
    for items in with_clue.values():
        for one, two in zip(items[::2], items[1::2], strict=True):
            assert (
                one.prefix[len(one.clue) : -len(one.question) or None]
                == (two.prefix[len(two.clue) : -len(two.question) or None])
            ), one.id


def test_the_story_is_there_word_for_word(built_in):
    asked = {item.prefix: item.target for item in built_in["story"]}
    assert asked["The sun rises in the"] == "east"
    assert asked["I grew up in France. I still have a home in"] == "Paris"
    assert (
        asked["Vignesh is a year older than Maria. Maria is French. She speaks fluent"] == "French"
    )
