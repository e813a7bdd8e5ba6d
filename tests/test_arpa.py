"""Laws of ARPA files: KenLM gives every word the probability that our model gives it."""

import json
import math
import re

import numpy as np
import pytest

from lstm_lm.cli.main import main
from lstm_lm.corpus.tokenization import Recipe
from lstm_lm.corpus.vocabulary import Vocabulary
from lstm_lm.errors import InputError
from lstm_lm.evaluation.ngram import NGramModel
from lstm_lm.integrations import arpa
from tests.test_ngram import EOS, UNK, zipf_text

VOCAB_SIZE = 60


def vocabulary(words=()):
    more = [f"w{number}" for number in range(2 + len(words), VOCAB_SIZE)]
    return Vocabulary(["<unk>", "<eos>", *words, *more], Recipe("whitespace"))


def text(seed, lines=200):
    """Ids with unknown words, empty lines, and words that train may not have."""
    return np.array([UNK if word == 7 else word for word in zipf_text(lines, VOCAB_SIZE, seed)])


def write(model, path):
    with path.open("wb") as file:
        arpa.arpa_writer(model, vocabulary())(file)
    return path


def kenlm_model(path):
    kenlm = pytest.importorskip("kenlm")
    return kenlm.Model(str(path))


def lines_of(ids):
    """The words of each line, without its end."""
    lines = [[]]
    for word in ids.tolist():
        if word == EOS:
            lines.append([])
        else:
            lines[-1].append(vocabulary().words[word])
    return [" ".join(line) for line in lines[:-1]]


def logarithms(model, lines):
    """KenLM's log10 p of every word of every line, and of its end."""
    return np.array([p for line in lines for p, _, _ in model.full_scores(line)])


@pytest.mark.parametrize("order", [2, 3, 5, 6])
def test_kenlm_scores_lines_as_a_model_that_reads_lines_apart(order, tmp_path):
    model = NGramModel.train(text(1), VOCAB_SIZE, order, EOS, reset_per_line=True)
    ours = -model.token_nll(text(2)) / math.log(10)
    theirs = logarithms(kenlm_model(write(model, tmp_path / "a.arpa")), lines_of(text(2)))
    assert np.abs(ours - theirs).max() < 1e-6


@pytest.mark.parametrize("order", [2, 3, 5])
def test_kenlm_scores_a_whole_text_as_a_model_whose_contexts_continue(order, tmp_path):
    model = NGramModel.train(text(1), VOCAB_SIZE, order, EOS)
    theirs = kenlm_model(write(model, tmp_path / "a.arpa"))
    ours = -model.token_nll(text(2)) / math.log(10)
    whole = " </s> ".join(lines_of(text(2)))
    assert np.abs(ours - logarithms(theirs, [whole])).max() < 1e-6
    # and a line alone as our model scores it alone
    line = text(3)[: np.flatnonzero(text(3) == EOS)[3] + 1]
    ours = -model.token_nll(line) / math.log(10)
    assert np.abs(ours - logarithms(theirs, [" </s> ".join(lines_of(line))])).max() < 1e-6


def test_the_n_grams_that_the_model_knows_are_found_whole(tmp_path):
    model = NGramModel.train(text(1), VOCAB_SIZE, 3, EOS)
    theirs = kenlm_model(write(model, tmp_path / "a.arpa"))
    whole = " </s> ".join(lines_of(text(1)))
    lengths = [length for _, length, _ in theirs.full_scores(whole)]
    assert lengths[0] == 2 and set(lengths[1:]) == {3}


@pytest.mark.parametrize("reset", [True, False])
@pytest.mark.parametrize("order", [1, 2, 4])
def test_the_header_counts_the_n_grams_and_all_are_different(order, reset, tmp_path):
    model = NGramModel.train(text(1), VOCAB_SIZE, order, EOS, reset_per_line=reset)
    content = write(model, tmp_path / "a.arpa").read_text(encoding="utf-8")
    assert content.startswith('# made by "lstm-lm ngram"\n\n\\data\\\n')
    assert content.endswith("\n\\end\\\n")
    counts = [int(count) for count in re.findall(r"^ngram \d+=(\d+)$", content, re.M)]
    assert len(counts) == order
    for n, count in enumerate(counts, 1):
        section = re.search(rf"\\{n}-grams:\n(.*?)\n\n", content, re.S)[1].split("\n")
        rows = [line.split("\t") for line in section]
        assert len(rows) == len({ngram for _, ngram, *_ in rows}) == count
        assert all(len(ngram.split(" ")) == n for _, ngram, *_ in rows)
        assert all(len(row) == 2 + (n < order) for row in rows)
        assert all(float(p) <= 0 and all(float(rest) <= 0 for rest in more) for p, _, *more in rows)
        assert all("<s>" not in ngram.split(" ")[1:] for _, ngram, *_ in rows)
        if reset:
            assert all("</s>" not in ngram.split(" ")[:-1] for _, ngram, *_ in rows)


def test_there_is_nothing_else_in_a_large_file(tmp_path):
    model = NGramModel.train(text(1, lines=20_000), VOCAB_SIZE, 5, EOS)
    number, word = rb"-?\d+(?:\.\d+)?(?:e-\d+)?", rb"(?:<?w\d+|<unk>|</?s>)"
    line = re.compile(rb"%s\t%s(?: %s)*(?:\t%s)?" % (number, word, word, number))
    lines = write(model, tmp_path / "a.arpa").read_bytes().split(b"\n")
    others = [other for other in lines if not line.fullmatch(other)]
    assert len(lines) - len(others) > 100_000
    assert others[0] == b'# made by "lstm-lm ngram"'  # a comment
    assert all(re.fullmatch(rb"ngram \d=\d+|\\\S+|", other) for other in others[1:])


def test_order_one_is_the_unigrams(tmp_path):
    model = NGramModel.train(text(1), VOCAB_SIZE, 1, EOS)
    content = write(model, tmp_path / "a.arpa").read_text(encoding="utf-8")
    found = {word: float(p) for p, word in re.findall(r"^(-\S+)\t(\S+)$", content, re.M)}
    assert found.pop("<s>") == -99
    expected = dict(zip(vocabulary().words, np.log10(model.unigrams), strict=True))
    expected["</s>"] = expected.pop("<eos>")
    assert found == pytest.approx(expected, rel=1e-6)


def test_the_file_does_not_depend_on_the_size_of_the_blocks(tmp_path, monkeypatch):
    model = NGramModel.train(text(1), VOCAB_SIZE, 3, EOS)
    whole = write(model, tmp_path / "a.arpa").read_bytes()
    monkeypatch.setattr(arpa, "BLOCK", 7)
    in_blocks = write(model, tmp_path / "b.arpa").read_bytes()
    assert sorted(in_blocks.split(b"\n")) == sorted(whole.split(b"\n"))


@pytest.mark.parametrize("word", ["<s>", "</s>", "<UNK>", "no\u0000word"])
def test_a_word_that_the_format_cannot_have_is_refused(word):
    model = NGramModel.train(text(1), VOCAB_SIZE, 2, EOS)
    with pytest.raises(InputError, match=re.escape(repr(word))):
        arpa.arpa_writer(model, vocabulary([word]))


@pytest.fixture
def corpus(tmp_path):
    path = tmp_path / "novel.txt"
    lines = ["The old man spoke .", "He spoke of the sea .", "", "The sea is old ."] * 20
    path.write_text("\n".join(lines), encoding="utf-8")
    return str(path)


def test_the_command_writes_what_it_measures(corpus, tmp_path, capsys):
    path = tmp_path / "novel.arpa"
    assert main(["ngram", corpus, "--order", "3", "--arpa", str(path), "--json"]) == 0
    printed = capsys.readouterr()
    assert str(path) in printed.err
    result = json.loads(printed.out)
    model = kenlm_model(path)
    assert model.order == 3
    assert result["order"] == 3
    assert "The" in model and "ship" not in model


def test_the_commands_file_has_the_scores_of_the_commands_model(corpus, tmp_path, capsys):
    """Scored by KenLM, the valid split has the perplexity that the command prints."""
    from lstm_lm.corpus.corpus import Corpus
    from lstm_lm.training.resolving import resolve

    path = tmp_path / "novel.arpa"
    main(["ngram", corpus, "--order", "3", "--reset-per-line", "--arpa", str(path), "--json"])
    printed = json.loads(capsys.readouterr().out)
    config, _ = resolve(corpus, None, {}, lambda line: None, choose=False)
    found = Corpus(config.corpus, config.stories)
    words = [found.vocabulary.words[number] for number in found.tokens("valid")[:]]
    lines = " ".join(words).removesuffix("<eos>").split("<eos>")
    scores = logarithms(kenlm_model(path), [line.strip() for line in lines])
    assert len(scores) == printed["tokens"]
    assert -scores.sum() * math.log(10) == pytest.approx(printed["nll"], rel=1e-6)


def test_a_file_is_replaced_only_if_asked(corpus, tmp_path, capsys):
    path = tmp_path / "novel.arpa"
    path.write_text("mine", encoding="utf-8")
    assert main(["ngram", corpus, "--arpa", str(path)]) == 2
    assert "is there already" in capsys.readouterr().err
    assert path.read_text(encoding="utf-8") == "mine"
    assert main(["ngram", corpus, "--arpa", str(path), "--overwrite"]) == 0
    assert "\\data\\" in path.read_text(encoding="utf-8")
    assert main(["ngram", corpus, "--order", "2", "--arpa", str(path)]) == 0  # its own file
    assert "ngram 3=" not in path.read_text(encoding="utf-8")
    assert not list(tmp_path.glob(".novel.arpa.*"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--overwrite"], "has no effect without --arpa"),
        (["--arpa", "{}"], "is a directory"),
        (["--arpa", "{}/missing/a.arpa"], "no such directory"),
    ],
)
def test_mistakes_are_one_line(corpus, tmp_path, capsys, arguments, message):
    arguments = [argument.format(tmp_path) for argument in arguments]
    assert main(["ngram", corpus, *arguments]) == 2
    error = capsys.readouterr().err.strip()
    assert message in error and "\n" not in error
