"""The law of tokens: whatever happens to text, disk or process, the ids are those of the text."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tracemalloc
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lstm_lm.config import CorpusConfig
from lstm_lm.corpus import counting as counting_module
from lstm_lm.corpus import parts as parts_module
from lstm_lm.corpus import tokens as tokens_module
from lstm_lm.corpus import vocabulary as vocabulary_module
from lstm_lm.corpus.corpus import Corpus
from lstm_lm.corpus.sources import SPLITS
from lstm_lm.corpus.tokenization import Recipe
from lstm_lm.corpus.tokens import Tokens
from lstm_lm.corpus.vocabulary import Vocabulary
from lstm_lm.errors import CorpusError, DiskError
from lstm_lm.files.cache import default_cache_dir

ROOT = Path(__file__).parent.parent
TEXT = {"train": "a b c\n\nb c <unk>\nc", "valid": "a x y\n", "test": "z\n\n"}


class Lines:
    """A source that counts how often it is read."""

    splits = SPLITS

    def __init__(self, **texts):
        self.texts = {**TEXT, **texts}
        self.reads = []

    def iterate_lines(self, split):
        self.reads.append(split)
        yield from self.texts[split].removesuffix("\n").split("\n")

    def fingerprint(self, split):
        return self.texts[split]

    def nll(self, split):
        return None


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "cached"


CONFIG = CorpusConfig(tokenization="whitespace")


def corpus_of(source, cache, config=CONFIG, **options):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parts_module, "build_source", lambda *_: source)
        return Corpus(replace(config, cache_dir=cache and str(cache)), **options)


def load(source, cache, split="train", config=CONFIG):
    corpus = corpus_of(source, cache, config)
    return corpus.vocabulary, corpus.tokens(split)


def test_tokens_are_words_and_line_ends(cache):
    corpus = corpus_of(Lines(), cache)
    vocabulary, train = corpus.vocabulary, corpus.tokens("train")
    assert vocabulary.words == ["<unk>", "<eos>", "c", "b", "a"]
    ids = [4, 3, 2, 1, 1, 3, 2, 0, 1, 2, 1]
    assert train[:].tolist() == ids and len(train) == len(ids)
    assert (train.lines, train.unk_count) == (4, 1)
    assert train[2:5].dtype == np.int64 and train[2:5].tolist() == ids[2:5] and train[-1] == 1
    valid, test = (corpus.tokens(split) for split in ("valid", "test"))
    assert valid[:].tolist() == [4, 0, 0, 1] and (valid.lines, valid.unk_count) == (1, 2)
    assert test[:].tolist() == [0, 1, 1] and test.lines == 2


def test_reading_many_times_changes_nothing(cache):
    _, train = load(Lines(train="a b\n" * 500), cache)
    for start in range(1500):
        assert train[start : start + 1].tolist() == [(2, 3, 1)[start % 3]]


def test_pages_are_released_after_many_reads(cache, monkeypatch):
    _, train = load(Lines(train="a b\n" * 500), cache)
    monkeypatch.setattr(tokens_module, "_IDS_PER_PAGE", 50)
    monkeypatch.setattr(tokens_module, "_IDS_UNTIL_RELEASE", 5 * 60)
    released = []

    class Map:
        def madvise(self, advice):
            released.append(advice)

    monkeypatch.setattr(train, "_map", Map())
    counts = []
    for _ in range(24):
        assert train[:10].tolist() == [2, 3, 1] * 3 + [2]
        counts.append(len(released))
    # each read counts 60, 10 ids and a page: every sixth read goes beyond 300
    assert counts == [read // 6 for read in range(1, 25)]


def test_large_vocabularies_fit(cache):
    words = ["<unk>", "<eos>", *(f"w{number}" for number in range(70_000))]
    for size, width in ((70_002, 4), (65_536, 4), (65_535, 2)):
        vocabulary = Vocabulary(words[:size], Recipe("whitespace"))
        source = Lines(train=vocabulary.words[-1])
        train = corpus_of(source, cache / str(size), vocabulary=vocabulary).tokens("train")
        assert train[:].tolist() == [size - 1, 1]
        [ids] = cache.glob(f"{size}/ids-*/ids.bin")
        assert ids.stat().st_size == 2 * width


def test_the_second_time_nothing_is_read(cache):
    source = Lines()
    _, train = load(source, cache)
    assert source.reads == ["train", "train"]
    vocabulary, again = load(source, cache)
    assert source.reads == ["train", "train"]
    assert again[:].tolist() == train[:].tolist() and (again.lines, again.unk_count) == (
        train.lines,
        train.unk_count,
    )


def test_what_ids_depend_on_makes_other_ids(cache):
    source = Lines()
    before = load(source, cache)[1][:].tolist()
    source.texts["train"] = "a b c\n\nb c <unk>\nd"
    assert load(source, cache)[1][:].tolist() != before
    assert (
        len(load(source, cache, config=CorpusConfig(tokenization="whitespace", vocab_size=3))[0])
        == 3
    )
    assert (
        len(load(source, cache, config=CorpusConfig(tokenization="whitespace", min_count=2))[0])
        == 4
    )
    assert load(source, cache, config=CorpusConfig(tokenization="words"))[0].tokenization == "words"
    assert load(source, cache, config=CorpusConfig(lowercase=True))[0].lowercase
    assert len(list(cache.glob("vocabulary-*"))) == 6


def test_a_file_that_changes(tmp_path, cache):
    path = tmp_path / "text.txt"
    path.write_text("a b\nc d\n")
    config = CorpusConfig(
        source="files", train_file=str(path), valid_file=str(path), cache_dir=str(cache)
    )
    corpus = Corpus(config)
    vocabulary, tokens = corpus.vocabulary, corpus.tokens("train")
    path.write_text("a b\nc c\n")  # the same size, and perhaps the same time
    again = Corpus(config, vocabulary=vocabulary).tokens("train")
    assert vocabulary.decode(again[:]) == "a b <eos> c c <eos>"
    assert vocabulary.decode(tokens[:]) == "a b <eos> c d <eos>"
    for split in ("train", "valid"):
        with pytest.raises(CorpusError, match="train split was changed while it was read"):
            corpus.tokens(split)
    assert Corpus(config).vocabulary.words == ["<unk>", "<eos>", "c", "a", "b"]


def test_a_corpus_that_changes_while_it_is_read(cache):
    class Restless(Lines):
        def iterate_lines(self, split):
            yield from super().iterate_lines(split)
            self.texts[split] += "!"

    with pytest.raises(CorpusError, match="train split was changed while it was read"):
        _ = corpus_of(Restless(), cache).vocabulary
    words = Vocabulary.build(["a b"], tokenization="words")
    with pytest.raises(CorpusError, match="valid split was changed"):
        corpus_of(Restless(), cache, vocabulary=words).tokens("valid")
    assert not cache.exists() or not list(cache.iterdir())


@pytest.mark.parametrize("moment", ["before train", "in valid", "after valid"])
def test_all_splits_belong_to_the_text_whose_words_were_counted(cache, moment):
    class Changing(Lines):
        def iterate_lines(self, split):
            yield from super().iterate_lines(split)
            if moment == "in valid" and split == "valid":
                self.texts["train"] += "!"

    source = Changing()
    corpus = corpus_of(source, cache)
    vocabulary = corpus.vocabulary
    if moment == "before train":
        source.texts["train"] += "!"
    if moment == "after valid":
        corpus.tokens("train")
        corpus.tokens("valid")
        source.texts["train"] += "!"
    with pytest.raises(CorpusError, match="train split was changed while it was read; start again"):
        corpus.tokens("train" if moment == "before train" else "valid")
    # words that were not counted in train do not depend on it
    other = corpus_of(source, cache, vocabulary=vocabulary)
    source.texts["train"] += "?"
    assert other.tokens("valid")[:].tolist() == [4, 0, 0, 1]


def test_a_split_without_lines(cache):
    source = Lines()
    source.iterate_lines = lambda split: iter(())
    words = Vocabulary.build(["a b"], tokenization="words")
    with pytest.raises(
        CorpusError, match="^corpus: the test split has no lines; give it some text"
    ):
        corpus_of(source, cache, vocabulary=words).tokens("test")


@pytest.mark.parametrize(
    "damage",
    [
        "shorter",
        "longer",
        "flipped",
        "no content",
        "no meta",
        "meta torn",
        "meta of the future",
        "meta a list",
        "empty folder",
    ],
)
@pytest.mark.parametrize("kind", ["ids", "vocabulary"])
def test_damaged_entries_are_made_again(cache, damage, kind):
    vocabulary, train = load(Lines(), cache)
    ids = train[:].tolist()
    del train
    [folder] = cache.glob(f"{kind}-*")
    content, meta = (
        folder / {"ids": "ids.bin", "vocabulary": "tokenizer.json"}[kind],
        folder / "meta.json",
    )
    data = content.read_bytes()
    {
        "shorter": lambda: content.write_bytes(data[:-1]),
        "longer": lambda: content.write_bytes(data + b"\0\0"),
        "flipped": lambda: content.write_bytes(data[:-2] + bytes([data[-2] ^ 1]) + data[-1:]),
        "no content": content.unlink,
        "no meta": meta.unlink,
        "meta torn": lambda: meta.write_text(meta.read_text()[:9]),
        "meta of the future": lambda: meta.write_text(
            json.dumps(json.loads(meta.read_text()) | {"format_version": 9})
        ),
        "meta a list": lambda: meta.write_text("[1]"),
        "empty folder": lambda: (content.unlink(), meta.unlink()),
    }[damage]()
    source = Lines()
    again, train = load(source, cache)
    assert source.reads == ["train"]
    assert again.words == vocabulary.words and train[:].tolist() == ids
    assert sorted(path.name.partition("-")[0] for path in cache.iterdir()) == ["ids", "vocabulary"]
    load(source, cache)
    assert source.reads == ["train"]


def test_the_default_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("LSTM_LM_CACHE", str(tmp_path / "elsewhere"))
    load(Lines(), None)
    assert (
        default_cache_dir() == tmp_path / "elsewhere"
        and len(list(default_cache_dir().iterdir())) == 2
    )
    monkeypatch.delenv("LSTM_LM_CACHE")
    assert default_cache_dir() == Path.home() / ".cache" / "lstm_lm"


def test_a_cache_that_cannot_be_written(tmp_path):
    file = tmp_path / "file"
    file.write_text("in the way")
    for cache in (file, file / "below"):
        with pytest.raises(
            DiskError, match=r"^corpus.cache_dir: the encoded corpus cannot be written to .*LSTM_"
        ):
            _ = corpus_of(Lines(), cache).vocabulary


SCRIPT = """
import sys
from lstm_lm.config import CorpusConfig
from lstm_lm.corpus.corpus import Corpus
from lstm_lm.errors import DiskError

text, cache, what = sys.argv[1:]
config = CorpusConfig(source="files", train_file=text, valid_file=text, cache_dir=cache)
corpus = Corpus(config)
vocabulary = corpus.vocabulary
lines = corpus._source.iterate_lines
def slowly(split):
    yield from lines(split)
    print("encoding", flush=True)
    sys.stdin.readline()
corpus._source.iterate_lines = slowly
if what == "full disk":
    import resource
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    print(vocabulary.decode(corpus.tokens("train")[:5]))
except DiskError as error:
    print("DiskError:", error)
"""


@pytest.fixture
def in_another_process(tmp_path, cache):
    """Starts a process that stops in the middle of encoding until a line is sent to it."""
    text = tmp_path / "text.txt"
    text.write_text("all of one line\n" * 20_000)
    started = []

    def start(what=""):
        process = subprocess.Popen(
            [sys.executable, "-c", SCRIPT, str(text), str(cache), what],
            cwd=ROOT,
            text=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def temporary(cache):
    return [path for path in cache.iterdir() if path.suffix == ".tmp"]


@pytest.mark.slow
def test_two_processes_at_once(cache, in_another_process):
    processes = [in_another_process() for _ in range(2)]
    assert [process.stdout.readline() for process in processes] == ["encoding\n"] * 2
    assert len(temporary(cache)) == 2
    outputs = [process.communicate("\n", timeout=30)[0] for process in processes]
    assert outputs == ["all of one line <eos>\n"] * 2
    assert sorted(path.name.partition("-")[0] for path in cache.iterdir()) == ["ids", "vocabulary"]


@pytest.mark.slow
def test_a_kill_in_the_middle(cache, in_another_process):
    killed = in_another_process()
    assert killed.stdout.readline() == "encoding\n"
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    assert len(temporary(cache)) == 1 and not list(cache.glob("ids-*[0-9a-f]/meta.json"))
    next_one = in_another_process()
    assert next_one.communicate("\n", timeout=30)[0] == "encoding\nall of one line <eos>\n"
    assert not temporary(cache)


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="needs a limit on file sizes")
def test_a_full_disk(cache, in_another_process):
    output = in_another_process("full disk").communicate("\n", timeout=30)[0].splitlines()[-1]
    assert output.startswith("DiskError: corpus.cache_dir: ") and str(cache) in output
    assert [path.name.partition("-")[0] for path in cache.iterdir()] == ["vocabulary"]


def test_an_entry_that_is_removed_while_it_is_read(cache, monkeypatch):
    vocabulary, train = load(Lines(), cache)
    ids = train[:].tolist()
    del train
    found, removed = tokens_module.read_entry, []

    def then_removed(folder, name):
        meta = found(folder, name)
        if meta and len(removed) < 2:
            removed.append(folder)
            shutil.rmtree(folder)
        return meta

    monkeypatch.setattr(counting_module, "read_entry", then_removed)
    monkeypatch.setattr(tokens_module, "read_entry", then_removed)
    again, train = load(Lines(), cache)
    assert again.words == vocabulary.words and train[:].tolist() == ids and len(removed) == 2


def test_an_entry_that_is_always_removed(cache, monkeypatch):
    monkeypatch.setattr(Tokens, "__init__", lambda *_: open(cache / "nothing"))
    with pytest.raises(DiskError, match="^corpus.cache_dir: another process removes .*/ids-"):
        load(Lines(), cache)


def test_memory_does_not_grow_with_the_corpus(monkeypatch):
    monkeypatch.setattr(vocabulary_module, "_BATCH_LENGTH", 1 << 13)
    vocabulary = Vocabulary.build(["a b"], tokenization="words")
    peaks = []
    for count in (30, 300):
        tracemalloc.start()
        assert (
            sum(map(len, vocabulary.iterate_ids("a b " * 250 for _ in range(count)))) == count * 501
        )
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < peaks[0] * 1.1
