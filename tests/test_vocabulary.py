"""Laws of the vocabulary: ids come from train alone, in one order; words follow the rules."""

import hashlib
import json
import subprocess
import sys
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

from lstm_lm.corpus import vocabulary as vocabulary_module
from lstm_lm.corpus.tokenization import TOKENIZATIONS, Recipe, all_recipes, recipe_json
from lstm_lm.corpus.vocabulary import Vocabulary
from lstm_lm.errors import CorpusError, InputError, RunDirectoryError

ROOT = Path(__file__).parent.parent
# A vocabulary with WikiText's habits, the most frequent word first.
WIKITEXT = (
    "the , . @-@ @,@ @.@ ' 't 's 've I it him ( ) \" F C J grew up in France lived U.S. No. No no "
    "no. him. F. C. Mr. Mr don isn well known 000 000. 1 3 5 O 'Brien John vitamin Kennedy real "
    "time"
).split()
VERSION_1 = {
    ("whitespace", False): "ec796fdfdfc5b3cf",
    ("whitespace", True): "b71d9926bb5328fd",
    ("words", False): "63e500bafaa7f225",
    ("words", True): "f4370c3a52fc18ad",
}
# Few letters, so that many strings have words in common, and all kinds of strange characters.
ODD = st.text(
    st.sampled_from(
        "abn'tsdIU.,-… \t\n\r\x00\x1c\x85\u00a0\u2028\ufeff\u00ad\u200b\u200c\u200d\u2019\u201c"
        '\u20115½\u0301\u0308éßİﬁשלΩ한日👍🏽❤️<>unk_()"$'
    )
    | st.characters(codec="utf-8"),
    max_size=60,
)
LINES = st.lists(ODD.map(lambda text: text.replace("\n", " ")), max_size=6)
SETTINGS = settings(max_examples=100, deadline=None)


def vocabulary_of(*lines, tokenization="words", **kwargs):
    return Vocabulary.build(lines, tokenization=tokenization, **kwargs)


def corpus_vocabulary(words, **kwargs):
    """A vocabulary of tokenised text in which the words are known, earlier ones more frequent."""
    return vocabulary_of(
        *(" ".join([word] * (len(words) - at)) for at, word in enumerate(words)),
        tokenization="whitespace",
        **kwargs,
    )


def natural(text, **kwargs):
    return " ".join(vocabulary_of("some words", **kwargs).split_text(text))


def test_ids_are_by_count_then_alphabet():
    vocabulary = vocabulary_of("b a <unk> Z", "c b <unk>", "é c", tokenization="whitespace")
    assert vocabulary.words == ["<unk>", "<eos>", "b", "c", "Z", "a", "é"]
    assert (vocabulary.unk_id, vocabulary.eos_id, len(vocabulary)) == (0, 1, 7)
    assert [vocabulary.id(word) for word in vocabulary.words] == list(range(7))
    assert vocabulary.id("nowhere") is None and vocabulary.word(4) == "Z"
    assert vocabulary.encode_lines(["a <unk> nowhere", "", "b <eos>"]) == [
        [5, 0, 0, 1],
        [1],
        [2, 0, 1],
    ]


def test_rare_words_and_the_limit():
    lines = ["a a a b b c d"]
    assert vocabulary_of(*lines, min_count=2).words[2:] == ["a", "b"]
    assert vocabulary_of(*lines, vocab_size=5).words[2:] == ["a", "b", "c"]
    assert vocabulary_of(*lines, vocab_size=100).words[2:] == ["a", "b", "c", "d"]


@pytest.mark.parametrize(
    ("lines", "kwargs", "message"),
    [
        ([], {}, "no words"),
        ([" ", ""], {}, "no words"),
        (["<unk> <unk>"], {}, "no words"),
        (["one", "one one"], {}, "only the word 'one'"),
        (["a b"], {"min_count": 2}, "corpus.min_count: "),
    ],
)
def test_too_little_text(lines, kwargs, message):
    with pytest.raises(CorpusError, match=message) as caught:
        vocabulary_of(*lines, **kwargs)
    assert "\n" not in str(caught.value)


def test_building_in_pieces_changes_nothing(monkeypatch):
    lines = [f"w{number % 7} x{number % 5}, don't" for number in range(50)] + ["a b, " * 200]
    whole = vocabulary_of(*lines)
    ids = whole.encode_lines(lines)
    for name, value in (
        ("_PIECE_LENGTH", 10),
        ("_BATCH_LENGTH", 40),
        ("_MAX_CHUNKS_KEPT", 3),
        ("_MAX_CHUNK_LENGTH_KEPT", 2),
    ):
        monkeypatch.setattr(vocabulary_module, name, value)
        assert vocabulary_of(*lines).words == whole.words
        assert whole.encode_lines(lines) == ids


@pytest.mark.parametrize("tokenization", TOKENIZATIONS)
@pytest.mark.parametrize("lowercase", [False, True])
def test_one_file_holds_everything(tmp_path, tokenization, lowercase):
    lines = ["Mr. Ünal didn’t say: “well-known”", "3.14 1,000 ﬁ 👍🏽 \x1c <unk>"]
    vocabulary = vocabulary_of(*lines, tokenization=tokenization, lowercase=lowercase)
    path = tmp_path / "tokenizer.json"
    vocabulary.save(path)
    loaded = Vocabulary.load(path)
    assert (loaded.words, loaded.tokenization, loaded.lowercase) == (
        vocabulary.words,
        tokenization,
        lowercase,
    )
    assert loaded.to_json() == vocabulary.to_json() == path.read_text(encoding="utf-8")
    # any binding of `tokenizers` makes the same ids of it
    assert [
        Tokenizer.from_file(str(path)).encode(line).ids for line in lines
    ] == vocabulary.encode_lines(lines)


@pytest.mark.slow
def test_every_process_writes_the_same_file():
    script = (
        "from lstm_lm.corpus.vocabulary import Vocabulary; "
        "print(Vocabulary.build(['b a c d e f a'], tokenization='words').to_json())"
    )
    runs = {
        subprocess.run(
            [sys.executable, "-c", script],
            capture_output=True,
            text=True,
            check=True,
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT)},
        ).stdout
        for seed in "12"
    }
    assert len(runs) == 1


def test_damaged_and_foreign_files(tmp_path):
    good = vocabulary_of("some words here").to_json()
    data = json.loads(good)
    wrong = [
        good[:200],
        good[:-3],
        "",
        "[]",
        "1",
        "{}",
        "[" * 100_000,
        good.replace('"WordLevel"', '"BPE"'),
        good.replace('"<unk>": 0', '"<unk>": 9'),
        good.replace('"<unk>": 0', '"<unk>": 1000000000000'),
        good.replace('"<unk>": 0', '"<unk>": true'),
        good.replace('"some": 3', '"some": 2'),
        good.replace('"some": 3', '"\\ud800": 3'),
        good.replace('"<eos>"', '"</s>"'),
        good.replace("Mrs", "Mxs"),
        json.dumps(data | {"normalizer": None}),
        json.dumps(data | {"pre_tokenizer": {"type": "Whitespace"}}),
        json.dumps(data | {"version": "9.0"}),
    ]
    path = tmp_path / "tokenizer.json"
    for text in wrong:
        assert text != good
        path.write_text(text, encoding="utf-8")
        with pytest.raises(RunDirectoryError) as caught:
            Vocabulary.load(path)
        assert str(path) in str(caught.value) and "\n" not in str(caught.value)
    path.write_bytes(b"\xff")
    for bad in (path, tmp_path / "none.json", tmp_path):
        with pytest.raises(RunDirectoryError):
            Vocabulary.load(bad)


def test_the_version_is_in_the_file(tmp_path):
    """A file without a version has version 1; a later version than ours is named."""
    path = tmp_path / "tokenizer.json"
    for tokenization in TOKENIZATIONS:
        new = vocabulary_of("a b", tokenization=tokenization)
        assert new.version == 2 and "lstm_lm tokenizer, version 2" in new.to_json()
        assert Vocabulary.from_json(new.to_json()).version == 2
        old = vocabulary_of("a b", tokenization=tokenization, version=1)
        assert "version 1" not in old.to_json()
        assert Vocabulary.from_json(old.to_json()).version == 1
        path.write_text(new.to_json().replace("tokenizer, version 2", "tokenizer, version 3"))
        with pytest.raises(RunDirectoryError, match="has version 3 .* knows versions 1 to 2"):
            Vocabulary.load(path)


@pytest.mark.parametrize("tokenization", TOKENIZATIONS)
@pytest.mark.parametrize("lowercase", [False, True])
def test_version_1_never_changes(tokenization, lowercase):
    """The digests are those of the files that were written before there was a version 2."""
    recipe = recipe_json(Recipe(tokenization, lowercase, version=1))
    assert hashlib.sha256(recipe.encode()).hexdigest()[:16] == VERSION_1[tokenization, lowercase]


def test_every_recipe_is_found_again():
    recipes = [recipe for version in (1, 2) for recipe in all_recipes(version)]
    assert len(set(recipes)) == len(set(map(recipe_json, recipes))) == 14
    for recipe in recipes:
        loaded = Vocabulary.from_json(Vocabulary(["<unk>", "<eos>", "a"], recipe).to_json())
        assert loaded.recipe == recipe and loaded.words == ["<unk>", "<eos>", "a"]


def test_old_models_split_as_they_did():
    text = "#tag a@b.com :-) it`s 你好"
    assert natural(text, version=1) == "# tag a @ b . com : - ) it ` s 你好"
    assert natural(text) == "#tag a@b.com :-) it 's 你 好"
    old = corpus_vocabulary(["a", "b"], version=1)
    assert old.split_text("#tag") == ["#", "tag"]
    assert corpus_vocabulary(["a", "b"]).split_text("#tag") == ["#tag"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("I grew up in France.", "I grew up in France ."),
        ("don't DON'T can’t won't n't", "do n't DO N'T ca n't wo n't n't"),
        (
            "it's I'm we've they'll he'd you're IT'S John's 's",
            "it 's I 'm we 've they 'll he 'd you 're IT 'S John 's 's",
        ),
        (
            "shouldn't've O'Brien's rock'n'roll o'clock",
            "should n't 've O'Brien 's rock'n'roll o'clock",
        ),
        ("the dogs' 'quoted' “curly” ‘single’", "the dogs ' ' quoted ' \" curly \" ' single '"),
        (
            "well-known mother-in-law’s well‑known a- -b",
            "well-known mother-in-law 's well-known a - - b",
        ),
        ("3.14 1,000,000.50 5. 1914-18 20th $5 50%", "3.14 1,000,000.50 5 . 1914-18 20th $ 5 50 %"),
        (
            "Mr. Mrs. DR. etc. U.S. U.S.A.) e.g., i.e. Ph.D.",
            "Mr. Mrs. DR. etc. U.S. U.S.A. ) e.g. , i.e. Ph.D.",
        ),
        ("Hmr. end.He a.b.c", "Hmr . end . He a . b . c"),
        ("wait... no…yes--no---x", "wait ... no ... yes -- no -- - x"),
        ("<unk> a<unk> <eos>", "<unk> a <unk> < eos >"),
        ("naïve e\u0301te\u0301 שלום नमस्ते می\u200cخواهم ½", "naïve été שלום नमस्ते می\u200cخواهم ½"),
        ("👍🏽! 👨\u200d👩\u200d👧, ❤️.", "👍🏽 ! 👨\u200d👩\u200d👧 , ❤️ ."),
        ("\ufeffso\u00adft \x1c a\x00b \u2028 c\rd", "soft a \x00 b c d"),
    ],
)
def test_natural_text_is_taken_apart(text, words):
    assert natural(text) == words
    assert natural(words) == words


def test_lowercase_folds_typed_text_too():
    vocabulary = vocabulary_of("I LIKE Mr. Straße", lowercase=True)
    assert vocabulary.split_text("i like MR. STRASSE Σ İ") == [
        "i",
        "like",
        "mr.",
        "strasse",
        "σ",
        "i̇",
    ]
    assert (
        vocabulary.decode(vocabulary.ids_of(vocabulary.split_text("I like it"))) == "i like <unk>"
    )
    assert vocabulary_of("a b", "C", tokenization="whitespace", lowercase=True).split_text(
        "B."
    ) == ["b", "."]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("I grew up in France.", "I grew up in France ."),
        ("I don't isn’t", "I don 't isn 't"),
        (
            "well-known real-time U.S.-known unheard-of",
            "well @-@ known real @-@ time U.S. @-@ known unheard @-@ of",
        ),
        ("1,000 3.5 1,000,000.", "1 @,@ 000 3 @.@ 5 1 @,@ 000 @,@ 000 ."),
        ("Mr. O'Brien's “France”", "Mr. O 'Brien 's \" France \""),
        ("John F. Kennedy lived in the U.S. No. 1", "John F. Kennedy lived in the U.S. No. 1"),
        ("I grew up in the U.S.", "I grew up in the U.S."),
        ("no. It 's him. Vitamin C.", "no . It 's him . Vitamin C ."),
        ("<unk> , <eos> @-@ the Mrs.", "<unk> , <unk> @-@ the Mrs."),
    ],
)
def test_text_typed_at_a_tokenised_corpus(text, words):
    vocabulary = corpus_vocabulary(WIKITEXT)
    assert " ".join(vocabulary.split_text(text)) == words
    assert " ".join(vocabulary.split_text(words)) == words


def test_text_typed_at_corpora_of_other_habits():
    penn = corpus_vocabulary("the . do n't ca well-known 3.5 I".split())
    assert (
        penn.split_text("I don't, can't well-known 3.5.")
        == "I do n't , ca n't well-known 3.5 .".split()
    )
    raw = corpus_vocabulary(
        "the France. I don't dashed - word St".split()
    )  # white space is all that was split at
    assert (
        raw.split_text("I don't France. dashed-word St.")
        == "I don't France. dashed - word St .".split()
    )


@pytest.mark.parametrize(
    "vocab_size, words", [(2, []), (3, ["b"]), (4, ["b", "a"]), (9, ["b", "a"])]
)
def test_the_size_of_a_vocabulary_includes_unk_and_eos(vocab_size, words):
    assert vocabulary_of("b b a", vocab_size=vocab_size).words[2:] == words


class Splits:
    """In place of a vocabulary's tokenizer: remembers which chunks it had to split."""

    def __init__(self, tokenizer):
        self.tokenizer, self.chunks = tokenizer, []

    def encode_batch_fast(self, chunks, **options):
        self.chunks.append(sorted(chunks))
        return self.tokenizer.encode_batch_fast(chunks, **options)


def batches(vocabulary, lines, monkeypatch, **constants):
    """Returns the number of ids in each batch, and the chunks that were split for each."""
    for name, value in constants.items():
        monkeypatch.setattr(vocabulary_module, name, value)
    monkeypatch.setattr(vocabulary_module, "available_cores", lambda: 1)
    splits = vocabulary._tokenizer = Splits(vocabulary._tokenizer)
    return [len(ids) for ids in vocabulary.iterate_ids(lines)], splits.chunks


def test_a_batch_ends_with_the_piece_that_makes_it_too_long(monkeypatch):
    """Each line has 4 characters and a line end, which is counted with the next batch."""
    sizes, _ = batches(vocabulary_of("abcd x"), ["abcd"] * 9, monkeypatch, _BATCH_LENGTH=10)
    assert sizes == [5, 6, 6, 1]


def test_a_chunk_is_split_once_if_it_is_not_long(monkeypatch):
    kept, long = "k" * 64, "l" * 65
    vocabulary, lines = vocabulary_of("abcd x"), [f"{kept} {long}"] * 3
    sizes, chunks = batches(vocabulary, lines, monkeypatch, _BATCH_LENGTH=100)
    assert sizes == [2, 3, 3, 1] and chunks == [[kept, long], [long], [long], []]


def test_only_so_many_chunks_are_remembered(monkeypatch):
    """A line end is remembered too."""
    lines = ["a b", "a c", "a d", "a"]
    _, chunks = batches(
        vocabulary_of("a b"), lines, monkeypatch, _BATCH_LENGTH=1, _MAX_CHUNKS_KEPT=4
    )
    assert chunks == [["a", "b"], ["c"], ["d"], ["a"], []]


@pytest.mark.parametrize(
    "chunk, words",
    [("don't", "don 't"), ("o-can't", "o-can 't"), ("wn't", "wn 't"), ("DON'T", "DON 'T")],
)
def test_the_n_of_a_contraction_stays_where_the_corpus_has_it(chunk, words):
    assert corpus_vocabulary(["don", "'t"]).split_text(chunk) == words.split()
    assert corpus_vocabulary(["do", "n't", "'t"]).split_text(chunk)[-1].lower() == "n't"


def test_ids_of_words():
    vocabulary = vocabulary_of("b b a")
    assert vocabulary.ids_of(["a", "A", "b", "<eos>", "<unk>", ""]) == [3, 0, 2, 1, 0, 0]
    assert vocabulary.ids_of(iter(vocabulary.words)) == [0, 1, 2, 3]


def test_typed_text_that_is_no_text():
    for vocabulary in (vocabulary_of("a b"), corpus_vocabulary(["a", "b"])):
        assert vocabulary.split_text("") == vocabulary.split_text(" \n\t") == []
        with pytest.raises(InputError, match=r"not UTF-8 \(found U\+DCFF at column 3\)"):
            vocabulary.split_text("a \udcff")


@given(ODD, st.booleans())
@SETTINGS
def test_decoded_text_is_the_normalised_text(text, lowercase):
    vocabulary = vocabulary_of("a b", text.replace("\n", " "), lowercase=lowercase)
    once = vocabulary.decode(vocabulary.ids_of(vocabulary.split_text(text)))
    assert once == " ".join(vocabulary.split_text(text))  # nothing is unknown in its own vocabulary
    assert vocabulary.decode(vocabulary.ids_of(vocabulary.split_text(once))) == once
    kept = [c for c in unicodedata.normalize("NFC", text) if not c.isspace()]
    if text.isascii() and not lowercase:  # white space apart, nothing is lost or added
        assert [c for c in once if not c.isspace()] == kept


@given(ODD)
@SETTINGS
def test_tokenised_text_comes_back_as_it_is(text):
    line = text.replace("\n", " ").replace("<eos>", "<unk>")
    vocabulary = vocabulary_of("a b", line, tokenization="whitespace")
    [ids] = vocabulary.encode_lines([line])
    assert vocabulary.decode(ids) == " ".join([*line.split(), "<eos>"])
    assert len(ids) == len(line.split()) + 1
    partly = corpus_vocabulary(["b", "a"])
    assert partly.decode(partly.encode_lines([line])[0]).split() == [
        word if word in ("a", "b") else "<unk>" for word in line.split()
    ] + ["<eos>"]


@given(LINES, st.sampled_from(TOKENIZATIONS), st.booleans())
@SETTINGS
def test_chunk_by_chunk_is_as_good_as_line_by_line(lines, tokenization, lowercase):
    """Counting and encoding look at chunks between white space; tokenizer.json, at whole lines."""
    vocabulary = vocabulary_of(
        "a a b b", *lines, tokenization=tokenization, lowercase=lowercase, min_count=2
    )
    whole = [
        encoding.ids for encoding in Tokenizer.from_str(vocabulary.to_json()).encode_batch(lines)
    ]
    assert vocabulary.encode_lines(lines) == whole
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(vocabulary_module, "_MIN_CORES_FOR_WHOLE_LINES", 1)
        assert vocabulary.encode_lines(lines) == whole


@given(ODD)
@SETTINGS
def test_typed_text_is_settled_once_it_is_spelled_out(text):
    vocabulary = corpus_vocabulary(WIKITEXT)
    words = vocabulary.split_text(text)
    assert vocabulary.split_text(" ".join(words)) == words
    assert all(words) and not any(char.isspace() for word in words for char in word)
    assert len(vocabulary.ids_of(vocabulary.split_text(text))) == len(words)


@pytest.mark.parametrize(
    "text",
    [
        "a" * 300_000,
        "a-" * 100_000,
        "'" * 100_000,
        "don't" * 50_000,
        "1,0.0" * 50_000,
        "A." * 100_000,
        "\u0301" * 100_000,
    ],
)
def test_endless_words(text):
    vocabulary = vocabulary_of("a b", text)
    [ids] = vocabulary.encode_lines([text])
    assert vocabulary.unk_id not in ids and vocabulary.decode(ids[:-1]).replace(" ", "") == text


@pytest.mark.parametrize(
    "text",
    [
        "I grew up in France. I don't know!",
        "She said: \"It's well-known (really), isn't it?\"",
        "The students' books cost $1,000.50, or 3%...",
        "“He'd go,” they'll say; 'we've been' [there].".replace("“", '"').replace("”", '"'),
        "Odd!--Yet it did.",
    ],
)
def test_display_prints_english(text):
    vocabulary = vocabulary_of("a b")
    assert vocabulary.display(vocabulary.split_text(text)) == text


def test_display_of_other_tokenisations():
    display = vocabulary_of("a b").display
    assert (
        display("I don 't : a well @-@ known 1 @,@ 000 @.@ 5".split())
        == "I don't: a well-known 1,000.5"
    )
    assert display("( `` x '' )".split()) == "(``x'')"
    assert display('a . <eos> <eos> " b " <eos>'.split()) == 'a.\n\n"b"\n'
    assert display([]) == ""
