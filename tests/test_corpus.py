"""Laws of the corpus: one state of one text, encoded with one vocabulary, whatever its source."""

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest

from lstm_lm.config import CorpusConfig, StoriesConfig
from lstm_lm.corpus.corpus import Corpus, encode_file
from lstm_lm.corpus.vocabulary import Vocabulary
from lstm_lm.errors import CorpusError, UserError

TEXT = {"train": "a b c\n\nb c <unk>\nc\n", "valid": "a x y\n", "test": "z\n\n"}


def write_dataset(folder, monkeypatch):
    datasets = pytest.importorskip("datasets")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", folder / "arrow")
    datasets.disable_progress_bars()
    (folder / "dataset").mkdir()
    for split, name in (("train", "train"), ("valid", "validation")):
        table = pyarrow.table({"text": TEXT[split].removesuffix("\n").split("\n")})
        pyarrow.parquet.write_table(table, folder / f"dataset/{name}-00000-of-00001.parquet")
    return folder / "dataset"


@pytest.fixture(params=["files", "one file", "hub", "stories"])
def corpus(request, tmp_path, monkeypatch):
    """A corpus of each source; all but the stories have no test split."""
    cache = {"cache_dir": str(tmp_path / "cache"), "tokenization": "whitespace"}
    if request.param == "stories":
        return Corpus(CorpusConfig(**cache), StoriesConfig(count=20))
    if request.param == "hub":
        dataset = str(write_dataset(tmp_path, monkeypatch))
        return Corpus(CorpusConfig(source="hub", dataset=dataset, test_split=None, **cache))
    for split in ("train", "valid"):
        (tmp_path / f"{split}.txt").write_text(TEXT[split])
    names = {f"{split}_file": str(tmp_path / f"{split}.txt") for split in ("train", "valid")}
    if request.param == "one file":
        names = {"text_file": names["train_file"], "test_fraction": 0.0}
    return Corpus(CorpusConfig(source="files", **names, **cache))


def test_every_source_is_encoded_the_same_way(corpus):
    words = corpus.vocabulary
    for split in corpus.splits:
        lines = list(corpus._source.iterate_lines(split))
        tokens = corpus.tokens(split)
        ids = [i for line in lines for i in (*words.ids_of(line.split()), words.eos_id)]
        assert tokens[:].tolist() == ids
        assert (len(tokens), tokens.lines, tokens.unk_count) == (
            len(ids),
            len(lines),
            ids.count(words.unk_id),
        )


@pytest.mark.parametrize("split", ["test", "dev", "file", ""])
def test_a_split_that_does_not_exist_is_refused_in_one_line(corpus, split, tmp_path):
    if split in corpus.splits:
        pytest.skip("this source has a test split")
    for ask in (corpus.tokens, corpus.source_nll, corpus.fingerprint):
        with pytest.raises(CorpusError) as caught:
            ask(split)
        expected = f"the corpus has no {split} split; it has {', '.join(corpus.splits)}; choose"
        assert str(caught.value).startswith(expected) and "\n" not in str(caught.value)
    assert not (tmp_path / "cache").exists()  # refused before the words of train are counted


def test_fingerprints_differ_by_split_and_are_the_same_next_time(corpus):
    found = [corpus.fingerprint(split) for split in corpus.splits]
    assert len(set(found)) == len(found) == len(set(corpus.splits))
    assert found == [corpus.fingerprint(split) for split in corpus.splits]
    assert all(len(one) == 32 and int(one, 16) >= 0 for one in found)


def test_only_stories_know_their_nll(corpus):
    known = [corpus.source_nll(split) for split in corpus.splits]
    assert all(nll > 0 for nll in known) if corpus.config.source == "stories" else not any(known)


def test_stories_with_a_curriculum_know_the_nll_of_held_out_splits_only():
    corpus = Corpus(CorpusConfig(), StoriesConfig(count=20, curriculum=2))
    assert corpus.source_nll("train") is None and corpus.source_nll("valid") > 0


def test_the_words_of_a_model_may_encode_another_corpus(corpus, tmp_path):
    words = Vocabulary.build(["c b"], tokenization="whitespace")
    other = Corpus(corpus.config, StoriesConfig(count=20), vocabulary=words)
    assert other.vocabulary is words
    known, tokens = corpus.vocabulary, other.tokens("train")
    decoded = [known.word(i) for i in corpus.tokens("train")[:]]
    assert tokens[:].tolist() == words.ids_of(decoded)


def test_the_words_of_train_are_not_counted_for_a_given_vocabulary(corpus, tmp_path):
    words = Vocabulary.build(["c b"], tokenization="whitespace")
    Corpus(corpus.config, StoriesConfig(count=20), vocabulary=words).tokens("valid")
    kinds = sorted(path.name.partition("-")[0] for path in (tmp_path / "cache").iterdir())
    # of stories, also the text of valid
    assert kinds == ["ids"] + ["stories"] * (corpus.config.source == "stories")


def test_a_setting_of_the_vocabulary_is_followed(tmp_path):
    (tmp_path / "text.txt").write_text(TEXT["train"])
    path = str(tmp_path / "text.txt")

    def words(**settings):
        names = {"train_file": path, "valid_file": path, "cache_dir": str(tmp_path / "cache")}
        return Corpus(CorpusConfig(source="files", **names | settings)).vocabulary.words[2:]

    assert words() == ["c", "b", "a"] and words(min_count=3) == ["c"]
    assert words(vocab_size=4) == ["c", "b"]
    (tmp_path / "text.txt").write_text("A a b")
    assert words() == ["A", "a", "b"] and words(lowercase=True) == ["a", "b"]


@pytest.mark.parametrize("suffix", ["txt", "parquet"])
def test_a_file_is_encoded_with_given_words(tmp_path, suffix):
    path = tmp_path / f"mine.{suffix}"
    if suffix == "txt":
        path.write_text("b nowhere\n\nc")
    else:
        rows = ["b nowhere", "", "c"]
        pyarrow.parquet.write_table(pyarrow.table({"body": rows, "text": ["x"] * 3}), path)
    words = Vocabulary.build(["c b c"], tokenization="whitespace")
    config = CorpusConfig(text_column="body", cache_dir=str(tmp_path / "cache"))
    for _ in range(2):
        tokens = encode_file(path, words, config)
        assert tokens[:].tolist() == [3, 0, 1, 1, 2, 1]
        assert (tokens.lines, tokens.unk_count) == (3, 1)
    assert len(list((tmp_path / "cache").iterdir())) == 1


def test_a_file_that_changes_is_encoded_again(tmp_path):
    path, words = tmp_path / "mine.txt", Vocabulary.build(["c b c"], tokenization="whitespace")
    config = CorpusConfig(cache_dir=str(tmp_path / "cache"))
    for text, ids in (("b", [3, 1]), ("c", [2, 1]), ("b", [3, 1])):
        path.write_text(text)
        assert np.array_equal(encode_file(path, words, config)[:], ids)


def test_a_file_that_cannot_be_encoded(tmp_path):
    words = Vocabulary.build(["c b c"], tokenization="whitespace")
    config = CorpusConfig(cache_dir=str(tmp_path / "cache"))
    (tmp_path / "empty.txt").touch()
    (tmp_path / "latin.txt").write_bytes(b"na\xefve")
    no_rows = pyarrow.table({"text": pyarrow.array([], pyarrow.string())})
    pyarrow.parquet.write_table(no_rows, tmp_path / "empty.parquet")
    for name, said in (
        ("nothing.txt", "no such file: "),
        ("empty.txt", "is empty"),
        ("latin.txt", "line 1: not UTF-8"),
        ("empty.parquet", "empty.parquet has no lines; give it some text"),
    ):
        with pytest.raises(UserError) as caught:
            encode_file(tmp_path / name, words, config)
        message = str(caught.value)
        assert said in message and name in message and "\n" not in message
    assert not (tmp_path / "cache").exists() or not list((tmp_path / "cache").iterdir())
