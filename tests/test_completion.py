"""Laws of half-typed words, of candidates and of banned words."""

import json
import math

import pytest
import torch

from lstm_lm.config import ModelConfig
from lstm_lm.corpus.half_typed import cut_half_typed, find_half_typed
from lstm_lm.corpus.vocabulary import Vocabulary
from lstm_lm.errors import InputError
from lstm_lm.model.language_model import LanguageModel
from tests.test_cli import say
from tests.test_session import CHINESE, TOKENISED

NATURAL = [
    "I don't like U.S. Paris, Parisian (Pamela) Pariah 3.14 well-known don O'Brien Café Cafeteria.",
    "He said so. It's Paris, paper and part of May; may I'd PARK Éa e-mail a@b.org <3 :-)",
]


def brute_force(model, before, prefix, banned=(), among=None):
    """Every word that begins so, its share of them, and what they have together."""
    every = model.predict_next(before, 10**6)
    kept = [
        p
        for p in every
        if p.word.startswith(prefix)
        and p.word != "<eos>"
        and p.word not in banned
        and (among is None or p.word in among)
    ]
    total = math.fsum(p.probability for p in kept)
    return [(p.word, p.probability / total) for p in kept], total


def shown(predictions):
    return [(p.word, p.probability) for p in predictions]


def close(found, expected):
    assert [word for word, _ in found] == [word for word, _ in expected]
    for (_, one), (_, other) in zip(found, expected, strict=True):
        assert one == pytest.approx(other, abs=1e-9)


@pytest.fixture
def double(model):
    model.network.double()
    return model


@pytest.mark.parametrize("prefix", ["F", "Fr", "French", "h", "a", "."])
def test_completions_are_the_words_that_begin_so_and_their_probabilities_sum_to_one(double, prefix):
    before = "I grew up in France. I speak "
    expected, total = brute_force(double, before, prefix)
    close(shown(double.predict_next(before + prefix, 1000, complete=True)), expected)
    offer = double.offer(before + prefix, 2, complete=True)
    assert len(offer.predictions) == min(2, len(expected))
    assert (offer.words, offer.prefix, offer.typed) == (len(expected), prefix, "")
    assert offer.probability == pytest.approx(total, abs=1e-9)
    session = double.session()
    session.feed(before)
    close(shown(session.predict(1000, prefix)), expected)
    for guess in session.predict(1000, prefix):
        assert guess.log_probability == pytest.approx(math.log(guess.probability))


def test_after_white_space_nothing_is_typed_yet(double):
    for text in ("I grew up in ", "", "I\n", "I grew\t"):
        offer = double.offer(text, 1000, complete=True)
        assert offer.predictions == double.predict_next(text, 1000)
        assert (offer.prefix, offer.words, offer.probability) == ("", None, 1.0)


def test_a_prefix_of_no_word_has_no_completions(double):
    for text in ("I have a Xy", "Xyhome", "I have Frenchy", "9"):
        offer = double.offer(text, complete=True)
        assert offer.predictions == [] and offer.words == 0 and offer.probability == 0
        assert double.predict_next(text, complete=True) == []


CUTS = [  # chunk, words before the prefix, prefix, some word that completes it
    ("Pa", [], "Pa", "Paris"),
    ("Paris", [], "Paris", "Parisian"),
    ("Paris", [], "Paris", "Paris"),
    ("(Pa", ["("], "Pa", "Pamela"),
    ("“Pa", ['"'], "Pa", "Paris"),
    ("don", [], "don", "don"),
    ("don'", ["do"], "n'", "n't"),
    ("don’", ["do"], "n'", "n't"),
    ("don't", ["do"], "n't", "n't"),
    ("It'", ["It"], "'", "'s"),
    ("U.S", [], "U.S", "U.S."),
    ("3.", [], "3.", "3.14"),
    ("well-", [], "well-", "well-known"),
    ("O’B", [], "O'B", "O'Brien"),
    ("Cafe\u0301", [], "Café", "Café"),
    ("Caf", [], "Caf", "Cafeteria"),
    ("Paris,", ["Paris"], ",", ","),
    ("Paris,Pa", ["Paris", ","], "Pa", "Paris"),
    ("<", [], "<", "<3"),
]


@pytest.mark.parametrize(("chunk", "words", "prefix", "word"), CUTS)
def test_a_chunk_is_cut_where_it_is_read_as_several_words(chunk, words, prefix, word):
    vocabulary = Vocabulary.build(NATURAL, tokenization="words")
    half = find_half_typed(vocabulary, chunk)
    assert half.words == words and word in [vocabulary.words[number] for number in half.ids]
    assert vocabulary.normalize(half.prefix) == vocabulary.normalize(prefix)
    assert chunk == half.typed + half.prefix and half.ids == sorted(half.ids)
    for number in half.ids:
        completed = half.typed + vocabulary.words[number]
        assert vocabulary.split_text(completed) == [*words, vocabulary.words[number]]


def test_special_words_are_never_completions():
    vocabulary = Vocabulary.build(NATURAL, tokenization="words")
    for chunk in ("<", "<e", "<eos>", "<u", "<unk>"):
        assert not {0, 1}.intersection(find_half_typed(vocabulary, chunk).ids)


@pytest.mark.parametrize(
    ("chunk", "words", "word"),
    [
        ("well-kn", ["well", "@-@"], "known"),
        ("1,0", ["1", "@,@"], "000"),
        ("don'", [], "don't"),
        ("can'", ["ca"], "n't"),
        ("(hi", None, None),
        ("“li", None, None),
        ('"li', ['"'], "like"),
        ("No", [], "No."),
        ("@", [], "@-@"),
    ],
)
def test_a_tokenised_corpus_has_its_own_spelling(chunk, words, word):
    vocabulary = Vocabulary.build(TOKENISED, tokenization="whitespace")
    half = find_half_typed(vocabulary, chunk)
    if word is not None:
        assert half.words == words and vocabulary.id(word) in half.ids
    for number in half.ids[:5]:
        shown_word = vocabulary.display([vocabulary.words[number]])
        completed = vocabulary.split_text(half.typed + shown_word)
        assert not half.typed or completed == [*half.words, vocabulary.words[number]]


def test_an_initial_before_a_half_typed_word_is_no_end_of_a_sentence():
    vocabulary = Vocabulary.build([*TOKENISED, "F F F"], tokenization="whitespace")
    torch.manual_seed(0)
    model = LanguageModel.from_config(
        ModelConfig(embedding_dim=6, hidden_size=7, num_layers=1), vocabulary
    )
    model.network.double().eval()
    split = vocabulary.split_text("John F.")
    assert split != vocabulary.split_text("John F. Kennedy")[:2]  # or this tests nothing
    session = model.session()
    session.feed("John F. ")
    for prefix in ("K", "Kennedy"):
        (found,) = model.predict_next(f"John F. {prefix}", complete=True)
        assert found.word == "Kennedy"
        assert session.words == ["<eos>", *split] and session.predict(5, prefix) == [found]
    ids = vocabulary.ids_of(["<eos>", "John", "F."])
    with torch.no_grad():
        expected, _ = model.network(torch.tensor(ids).unsqueeze(1))
    offer = model.offer("John F. K", complete=True)
    kennedy = vocabulary.id("Kennedy")
    assert offer.probability == pytest.approx(float(expected[-1, 0, kennedy].exp()), abs=1e-12)


def test_case_is_ignored_only_if_no_word_begins_so_in_this_case():
    cased = Vocabulary.build(NATURAL, tokenization="words")

    def words(vocabulary, chunk):
        half = find_half_typed(vocabulary, chunk)
        return {vocabulary.words[number] for number in half.ids}, half.ignores_case

    assert words(cased, "pa") == ({"paper", "part"}, False)
    assert words(cased, "Par") == ({"Paris", "Parisian", "Pariah"}, False)
    assert words(cased, "PAR") == ({"PARK"}, False)
    assert words(cased, "pari") == ({"Paris", "Parisian", "Pariah"}, True)
    assert words(cased, "PARi") == ({"Paris", "Parisian", "Pariah"}, True)
    assert words(cased, "éa") == ({"Éa"}, True)
    folded = Vocabulary.build(NATURAL, tokenization="words", lowercase=True)
    assert words(folded, "PAR") == ({"paris", "parisian", "pariah", "park", "part"}, False)


def test_a_character_of_chinese_is_a_whole_word():
    vocabulary = Vocabulary.build(CHINESE, tokenization="words")
    assert vocabulary.recipe.separate_characters
    half = find_half_typed(vocabulary, "我喜欢")
    assert (half.words, half.prefix, half.ids) == (["我", "喜", "欢"], "", [])
    assert find_half_typed(vocabulary, "我喜欢I").prefix == "I"


def test_the_text_is_cut_after_its_last_white_space():
    assert cut_half_typed("a b c") == ("a b ", "c") and cut_half_typed("c") == ("", "c")
    assert cut_half_typed("a b ") == ("a b ", "") and cut_half_typed("") == ("", "")
    assert cut_half_typed("a\nb") == ("a\n", "b") and cut_half_typed("a\u3000b") == ("a\u3000", "b")
    with pytest.raises(InputError, match="white space"):
        find_half_typed(Vocabulary.build(NATURAL, tokenization="words"), "a b")


def test_long_and_odd_chunks_are_answered(double):
    for chunk in ("x" * 5000, "(" * 300, "\xad", "\u200b", "\u0301", "🇩", "'", "''''", "\ufeff"):
        double.predict_next(f"I {chunk}", complete=True)


def test_among_compares_candidates(double):
    text, among = "I grew up in", ["Paris", "France", "cat", "Paris", "<eos>"]
    every = {p.word: p.probability for p in double.predict_next(text, 1000)}
    total = sum(every[word] for word in set(among))
    found = double.predict_next(text, 1000, among=among)
    assert {p.word: p.probability for p in found} == pytest.approx(
        {word: every[word] / total for word in set(among)}
    )
    assert [p.probability for p in found] == sorted((p.probability for p in found), reverse=True)
    offer = double.offer(text, 1, among=among)
    assert offer.words == 4 and offer.probability == pytest.approx(total)
    assert offer.predictions == found[:1]
    assert double.predict_next(f"{text} Fr", 5, complete=True, among=among)[0].word == "France"
    assert double.predict_next(f"{text} Sh", 5, complete=True, among=among) == []
    with pytest.raises(InputError, match="not in the model's vocabulary: xyzzy"):
        double.predict_next(text, among=["France", "xyzzy"])
    with pytest.raises(InputError, match="'New York' is 2 words"):
        double.predict_next(text, among=["New York"])


def test_banned_words_are_never_shown_and_the_others_stay_as_they_are(double):
    text = "I grew up in"
    every = double.predict_next(text, 1000)
    banned = [every[0].word, every[2].word.upper(), "xyzzy", "<eos>"]
    hidden = {every[0].word, every[2].word, "<eos>"}
    found = double.predict_next(text, 1000, ban=banned)
    assert found == [p for p in every if p.word.lower() not in {w.lower() for w in hidden}]
    assert double.predict_next(text, 3, ban=banned) == found[:3]
    expected, _ = brute_force(double, "I speak ", "F", banned={"French"})
    close(shown(double.predict_next("I speak F", ban=["french"], complete=True)), expected)
    assert double.predict_next("I speak Fren", ban=["french"], complete=True) == []
    session = double.session()
    session.feed(text)
    assert [p.word for p in session.predict(1000, ban=banned)] == [p.word for p in found]
    with pytest.raises(InputError, match="'New York' is 2 words"):
        double.predict_next(text, ban=["New York"])
    assert double.predict_next(text, 1000, ban=double.vocabulary.words[1:]) == []


def test_options_without_effect_are_refused(double):
    for options in ({"complete": True}, {"among": ["cat"]}):
        with pytest.raises(InputError, match="include_unknown and"):
            double.predict_next("I F", include_unknown=True, **options)
    with pytest.raises(InputError, match="include_unknown and"):
        double.session().predict(5, "F", include_unknown=True)


# --- the command line ----------------------------------------------------------------------------


def test_predict_complete(command, finished_run, tmp_path):
    model = LanguageModel.from_pretrained(finished_run)
    status, out, err = command("predict", finished_run, "I have a home in F", "--complete")
    offer = model.offer("I have a home in F", complete=True)
    assert (status, err) == (0, "") and out.startswith("I have a home in F...\n")
    assert (
        f'(over the {offer.words} words that begin with "F": {offer.probability:.2%} of the '
        "probability of all words)" in out
    )
    rows = [line.split()[0] for line in out.splitlines() if "█" in line]
    assert rows and set(rows) <= {p.word for p in offer.predictions}
    words = ["predict", finished_run, "xyzzy home in F", "--complete", "--json"]
    answer = json.loads(command(*words)[1])
    assert answer["prefix"] == "F" and answer["unknown_words"] == ["xyzzy", "home"][:1]
    assert answer["among"] == offer.words and 0 < answer["among_probability"] < 1
    assert sum(p["probability"] for p in answer["predictions"]) == pytest.approx(1)
    status, out, err = command("predict", finished_run, "She has Xy", "--complete")
    assert (status, err) == (0, "")
    assert out == 'She has Xy...\n  (the vocabulary has no words that begin with "Xy")\n'
    (tmp_path / "lines.txt").write_text("I speak fluent Fr\nShe has a Xy\nI grew up in\n")
    lines = command(
        "predict", finished_run, "--file", tmp_path / "lines.txt", "--complete", "--json"
    )[1].splitlines()
    assert [json.loads(line)["prefix"] for line in lines] == ["Fr", "Xy", "in"]
    assert [len(json.loads(line)["predictions"]) for line in lines] == [2, 0, 1]
    out = command("predict", finished_run, "I grew up IN", "--complete")[1]
    assert 'over the 1 word that begins with "IN", in upper or lower case: ' in out


def test_predict_among_and_ban(command, refused, finished_run, tmp_path):
    among, ban = tmp_path / "among.txt", tmp_path / "ban.txt"
    among.write_text("Paris\n\nFrance \ncat\nhome\nhas\nI\nxyzzy\n")
    ban.write_text("france\nplugh\n")
    words = ["predict", finished_run, "I grew up in"]
    status, out, err = command(*words, "--among", among)
    assert status == 0 and err == "note: left out, not in the model's vocabulary: xyzzy\n"
    assert "(over the 6 words on offer: " in out and out.count("%  ") + out.count("%\n") >= 6
    answer = json.loads(command(*words, "--among", among, "--json")[1])
    assert {p["word"] for p in answer["predictions"]} == set("Paris France cat home has I".split())
    assert sum(p["probability"] for p in answer["predictions"]) == pytest.approx(1)
    assert (
        len(json.loads(command(*words, "--among", among, "--json", "--top-k", 2)[1])["predictions"])
        == 2
    )
    status, out, err = command(*words, "--ban", ban, "--top-k", 1000)
    assert status == 0 and "France" not in out and "Paris" in out
    assert err == f"note: --ban {ban}: the model's vocabulary does not have 1 of 2 words\n"
    assert "France" not in command(*words, "--among", among, "--ban", ban)[1]
    for name, text in (("several.txt", "New York\n"), ("none.txt", "xyzzy\n"), ("blank.txt", "\n")):
        (tmp_path / name).write_text(text)
    assert "'New York' is 2 words" in refused(*words, "--ban", tmp_path / "several.txt")
    assert "several.txt: 'New York'" in refused(*words, "--among", tmp_path / "several.txt")
    assert "has none of these" in refused(*words, "--among", tmp_path / "none.txt")
    for option in ("--among", "--ban"):
        assert "has no words" in refused(*words, option, tmp_path / "blank.txt")
        said = refused(*words, option, tmp_path / "absent.txt")
        assert option in said and "absent.txt" in said
    for option in (["--complete"], ["--among", among]):
        said = refused(*words, *option, "--include-unknown")
        assert f"{option[0]} and --include-unknown: give one of them" in said


def test_the_tab_key_completes_with_the_most_probable_word(
    command, finished_run, monkeypatch, tmp_path
):
    import types

    model = LanguageModel.from_pretrained(finished_run)
    bound = {}
    readline = types.SimpleNamespace(
        __doc__="",
        get_line_buffer=lambda: bound["line"],
        get_endidx=lambda: len(bound["line"]),
        set_completer=lambda function: bound.update(completer=function),
        set_completer_delims=lambda delimiters: bound.update(delimiters=delimiters),
        parse_and_bind=lambda line: bound.update(binding=line),
    )
    monkeypatch.setitem(__import__("sys").modules, "readline", readline)
    completed = []

    def typed(prompt):
        """A person who presses Tab after each text, then Enter, then Ctrl-D."""
        if completed:
            raise EOFError
        for line in ("I have a home in Pa", "(Fr", "She ", "Xyz", "\udcff", ""):
            bound["line"] = line
            chunk = line[max(line.rfind(mark) for mark in bound["delimiters"]) + 1 :]
            completed.append(bound["completer"](chunk, 0))
            assert bound["completer"](chunk, 1) is None
        return "I speak fluent Fr"

    monkeypatch.setattr("builtins.input", typed)
    say(monkeypatch, "")
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    status, out, _ = command("predict", finished_run, "--complete")
    assert status == 0 and bound["binding"] == "tab: complete"

    def first(text, complete):
        guesses = model.predict_next(text, 3, complete=complete)
        return next(guess.word for guess in guesses if guess.word != "<eos>")

    french = find_half_typed(model.vocabulary, "(Fr")
    expected = [first("I have a home in Pa", True), None, first("She ", False), None, None]
    assert completed[0] == expected[0] == "Paris"
    assert completed[1] == (f"({first('( Fr', True)}" if french.words == ["("] else None)
    assert completed[2:5] == expected[2:] and completed[5] == first("", False)
    best = model.predict_next("I speak fluent Fr", complete=True)[0]
    assert "Tab completes" in out and "I speak fluent Fr...\n" in out and f"  {best.word} " in out


def test_a_text_that_is_a_file_is_pointed_out(command, finished_run, tmp_path):
    path = tmp_path / "my.txt"
    path.write_text("I grew up in\n")
    _, _, err = command("predict", finished_run, path, "--complete")
    assert err == f"note: {path} is a file; did you mean --file {path}?\n"
