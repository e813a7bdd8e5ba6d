"""One text has one perplexity: `evaluate --file`, `score --file` and `model.perplexity` agree."""

import json
import math

import pytest

from lstm_lm import LanguageModel
from lstm_lm.corpus import typed_text
from lstm_lm.corpus.file_reading import choose_reading, tokenised_words
from lstm_lm.corpus.vocabulary import Vocabulary
from lstm_lm.training.run_evaluation import evaluate_run

TOKENISED = """\
I grew up in France , and I do n't speak French .
She has a well @-@ known cat , a home in Paris and 1 @,@ 000 books .

" Where is Mr. Smith ? " , she said .
"""
NATURAL = """\
I grew up in France, and I don't speak French.
She has a well-known cat, a home in Paris and 1,000 books.

"Where is Mr. Smith?", she said.
Smith doesn't know him; the unheard-of cat lives in Rome.
"""
CONFIG = """\
corpus: {source: files, train_file: %s, valid_file: %s, tokenization: %s}
model: {embedding_dim: 8, hidden_size: 8, num_layers: 1}
optimizer: {learning_rate: 0.03, schedule: constant, warmup_steps: 0}
training: {batch_size: 4, bptt_length: 10, max_epochs: null, max_steps: 40, device: cpu}
"""


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A model of a tokenised corpus and a model of natural text, with their corpora beside them."""
    from lstm_lm.cli.main import main

    folder = tmp_path_factory.mktemp("readings")
    found = {}
    for tokenization, text in (("whitespace", TOKENISED), ("words", NATURAL)):
        place = folder / tokenization
        place.mkdir()
        (place / "train.txt").write_text(text * 20)
        (place / "valid.txt").write_text(text)
        config = place / "c.yaml"
        config.write_text(CONFIG % (place / "train.txt", place / "valid.txt", tokenization))
        assert main(["train", str(config), "--output", str(place / "run")]) == 0
        found[tokenization] = place / "run"
    return found


@pytest.fixture
def natural(tmp_path):
    path = tmp_path / "natural.txt"
    path.write_text(NATURAL)
    return path


def scored(command, run, *words):
    """Nats and tokens of what `score` prints."""
    status, out, _ = command("score", run, "--json", *words)
    assert status == 0
    lines = [json.loads(line) for line in out.splitlines()]
    nats = sum(line["surprisal"] for line in lines) * math.log(2)
    return nats, sum(len(line["words"]) for line in lines)


@pytest.mark.parametrize("tokenization", ["whitespace", "words"])
@pytest.mark.parametrize("reset", [False, True])
@pytest.mark.parametrize("flag", [(), ("--natural",)])
def test_a_natural_text_has_one_perplexity(command, runs, natural, tokenization, reset, flag):
    run = runs[tokenization]
    state = ["--reset-per-line"] if reset else []
    status, out, _ = command("evaluate", run, "--file", natural, "--json", *state, *flag)
    assert status == 0
    evaluated = json.loads(out)
    nats, words = scored(command, run, "--file", natural, *([] if reset else ["--carry"]), *flag)
    assert evaluated["tokens"] == words
    assert evaluated["perplexity"] == pytest.approx(math.exp(nats / words), rel=1e-6)
    model = LanguageModel.from_pretrained(run)
    in_python = model.perplexity(NATURAL, reset_per_line=reset)
    assert evaluated["perplexity"] == pytest.approx(float(in_python), rel=1e-6)
    assert evaluated["oov_tokens"] == in_python.oov_tokens > 0 or tokenization == "words"
    assert evaluated.get("reading") == {"whitespace": "natural", "words": None}[tokenization]


@pytest.mark.parametrize("reset", [False, True])
@pytest.mark.parametrize("text, flag", [(TOKENISED, ()), (NATURAL, ("--tokenised",))])
def test_a_tokenised_text_has_one_perplexity(command, runs, tmp_path, reset, text, flag):
    run, path = runs["whitespace"], tmp_path / "tokenised.txt"
    path.write_text(text)
    state = ["--reset-per-line"] if reset else []
    evaluated = json.loads(command("evaluate", run, "--file", path, "--json", *state, *flag)[1])
    nats, words = scored(command, run, "--file", path, *([] if reset else ["--carry"]), *flag)
    assert evaluated["reading"] == "tokenised"
    assert evaluated["tokens"] == words == len(text.split()) + text.count("\n")
    assert evaluated["perplexity"] == pytest.approx(math.exp(nats / words), rel=1e-6)
    if text == TOKENISED:
        by_split = json.loads(command("evaluate", run, "--json", *state)[1])
        assert {**by_split, "reading": "tokenised"} == evaluated


def test_a_line_that_is_too_long_to_be_typed_is_evaluated(command, runs, natural, monkeypatch):
    run = runs["whitespace"]
    natural.write_text(NATURAL.replace("\n", " ") + "\n")
    expected = evaluate_run(run, file=natural, reading="natural").perplexity
    monkeypatch.setattr(typed_text, "MAX_TEXT_LENGTH", 40)
    natural.write_text(NATURAL.replace("\n", " ") + "Rome\n")  # so that it is encoded again
    found = evaluate_run(run, file=natural, reading="natural").perplexity
    assert (found.tokens, found.oov_tokens) == (expected.tokens + 1, expected.oov_tokens + 1)


def test_it_is_said_which_reading_was_chosen(command, runs, natural, tmp_path):
    run, tokenised = runs["whitespace"], tmp_path / "tokenised.txt"
    tokenised.write_text(TOKENISED)
    for name in ("evaluate", "score"):
        for path, flag, said in (
            (natural, (), f"{natural} is read as natural text and spelled as"),
            (natural, ("--tokenised",), f"{natural} is read as tokenised text"),
            (tokenised, (), f"{tokenised} is read as tokenised text"),
            (tokenised, ("--natural",), f"{tokenised} is read as natural text and spelled as"),
        ):
            notes = command(name, run, "--file", path, *flag)[2].splitlines()
            assert sum(said in line for line in notes) == 1, (name, path, flag, notes)
        assert "is read as" not in command(name, runs["words"], "--file", natural)[2]
    assert "is read as" not in command("score", run, "I grew up in France.")[2]


def test_flags_without_effect_are_refused(refused, runs, natural):
    for name in ("evaluate", "score"):
        said = refused(name, runs["words"], "--file", natural, "--tokenised")
        assert "--tokenised" in said and "corpus.tokenization: words" in said
    for flag in ("--natural", "--tokenised"):
        assert f"{flag}: has an effect only together with --file" in refused(
            "evaluate", runs["whitespace"], flag
        )


def test_typed_text_can_be_tokenised(command, runs):
    typed = json.loads(command("score", runs["whitespace"], "--json", "France.")[1])
    assert [word["word"] for word in typed["words"]] == ["France", ".", "<eos>"]
    typed = json.loads(command("score", runs["whitespace"], "--json", "--tokenised", "France.")[1])
    assert [(word["word"], word["known"]) for word in typed["words"]] == [
        ("France.", False),
        ("<eos>", True),
    ]


def test_score_prints_the_perplexity_that_evaluate_prints(command, runs, natural):
    run = runs["whitespace"]
    evaluated = evaluate_run(run, file=natural, reset_per_line=True).perplexity
    shown = f"perplexity {evaluated.perplexity:.2f} ({evaluated.tokens:,} tokens"
    assert shown in command("score", run, "--file", natural)[1]


# --- which reading is chosen ----------------------------------------------------------------------


def build(text, lowercase=False, min_count=1):
    return Vocabulary.build(
        text.splitlines(), tokenization="whitespace", lowercase=lowercase, min_count=min_count
    )


@pytest.mark.parametrize(
    "text, reading",
    [
        (TOKENISED, "tokenised"),
        (NATURAL, "natural"),
        ("I grew up in France", "natural"),
        ("", "natural"),
        ('He said : " do n\'t . " and left well-known things .', "tokenised"),
        ("Where is Mr. Smith? In Paris.", "natural"),
        ("He - who grew up , in France: said no! Why? Why? Yes; but, no.", "natural"),
        ("I GREW . UP , IN FRANCE. ", "tokenised"),
    ],
)
def test_marks_that_are_words_of_their_own_decide(text, reading):
    assert choose_reading(text.split("\n"), build(TOKENISED)) == reading
    for asked in ("natural", "tokenised"):
        assert choose_reading(text.split("\n"), build(TOKENISED), asked) == asked


def test_a_text_without_full_stops_is_recognised_by_its_other_marks():
    """Like the Penn Treebank of Mikolov: no punctuation, but ``n't`` and ``<unk>``."""
    words = build("he does n't know the company 's <unk> in N years\nmr. smith is here")
    assert choose_reading(["the <unk> does n't know mr. smith"], words) == "tokenised"
    assert choose_reading(["The company doesn't know Mr. Smith's name."], words) == "natural"


def test_a_corpus_whose_marks_are_joined_to_its_words_is_read_as_it_stands():
    assert choose_reading(NATURAL.split("\n"), build(NATURAL)) == "tokenised"


def test_only_the_beginning_of_a_text_is_read():
    def lines():
        yield from ["a ."] * 1000
        raise AssertionError("read too far")

    assert choose_reading(lines(), build(TOKENISED)) == "tokenised"


def test_a_lower_case_corpus():
    words = build(TOKENISED, lowercase=True)
    assert choose_reading(["SHE DO N'T SPEAK ."], words) == "tokenised"
    assert tokenised_words("I <eos> Grew\u00a0UP", words) == ["i", "<unk>", "grew", "up"]
