"""Laws of sources: every line comes once, unchanged; a changed text has another fingerprint."""

import errno
import socket
from types import SimpleNamespace

import pyarrow
import pyarrow.parquet
import pytest

from lstm_lm.config import CorpusConfig, StoriesConfig
from lstm_lm.corpus import fingerprints, hub
from lstm_lm.corpus.readers import iterate_file_lines, split_row
from lstm_lm.corpus.sources import build_source
from lstm_lm.errors import CorpusError, DiskError, HubError


def files(tmp_path, **contents):
    """A source of files, one for each keyword such as train=b"..."."""
    for split, content in contents.items():
        (tmp_path / f"{split}.txt").write_bytes(content)
    return build_source(
        CorpusConfig(
            source="files",
            skip_blank_lines=False,
            **{f"{split}_file": str(tmp_path / f"{split}.txt") for split in contents},
        )
    )


def parquet(path, rows, column="text", kind=None):
    pyarrow.parquet.write_table(
        pyarrow.table({"id": range(len(rows)), column: pyarrow.array(rows, kind)}), path
    )
    return path


def complaint(error, action, *args, **kwargs):
    with pytest.raises(error) as caught:
        result = action(*args, **kwargs)
        list(result.iterate_lines("train") if hasattr(result, "iterate_lines") else result)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("content", "lines"),
    [
        (b"a b\nc\n", ["a b", "c"]),
        (b"a b\nc", ["a b", "c"]),
        (b"a\r\n\r\nb\r\n", ["a", "", "b"]),
        (b"\n \n\n", ["", " ", ""]),
        (b"\xef\xbb\xbfa\n\xef\xbb\xbfb\n", ["a", "\ufeffb"]),
        (b"\xef\xbb\xbf", [""]),
        ("a\u2028b\x85c\x0cd\x1ce\rf\x00g\n".encode(), ["a\u2028b\x85c\x0cd\x1ce\rf\x00g"]),
        ("😀 שלום e\u0301\n".encode(), ["😀 שלום e\u0301"]),
    ],
)
def test_a_text_file_s_lines(tmp_path, content, lines):
    source = files(tmp_path, train=content, valid=b"v\n")
    assert list(source.iterate_lines("train")) == list(source.iterate_lines("train")) == lines
    assert source.splits == ("train", "valid")
    assert source.nll("train") is None


@pytest.mark.parametrize(
    ("row", "lines"),
    [
        ("", [""]),
        (None, [""]),
        ("a", ["a"]),
        (" a \n", [" a "]),
        ("a\n\nb", ["a", "", "b"]),
        ("a\r\nb\r\n", ["a", "b"]),
        ("\n", [""]),
        ("\n\n", ["", ""]),
    ],
)
def test_a_row_s_lines(row, lines):
    assert split_row(row) == lines


@pytest.mark.parametrize(
    "kind", [None, pyarrow.large_string(), pyarrow.dictionary(pyarrow.int32(), pyarrow.string())]
)
def test_a_parquet_file_s_lines(tmp_path, kind):
    path = parquet(tmp_path / "x.parquet", ["", " = A = \n", None, "b\nc"], kind=kind)
    assert list(iterate_file_lines(path)) == ["", " = A = ", "", "b", "c"]


@pytest.mark.parametrize("suffix", ["txt", "parquet"])
@pytest.mark.parametrize(
    ("count", "test_fraction", "sizes"),
    [
        (100, 0.1, (85, 5, 10)),
        (100, 0.0, (95, 5)),
        (3, 0.05, (1, 1, 1)),
        (29, 0.29, (20, 1, 8)),
    ],
)
def test_one_file_is_divided_by_lines(tmp_path, suffix, count, test_fraction, sizes):
    path = tmp_path / f"all.{suffix}"
    lines = [f"line {number}" for number in range(count)]
    if suffix == "txt":
        path.write_text("\n".join(lines))
    else:
        parquet(path, lines)
    source = build_source(
        CorpusConfig(source="files", text_file=str(path), test_fraction=test_fraction)
    )
    parts = [list(source.iterate_lines(split)) for split in source.splits]
    assert tuple(map(len, parts)) == sizes
    assert sum(parts, []) == lines


def test_too_few_lines_to_divide(tmp_path):
    path = tmp_path / "all.txt"
    path.write_text("one\ntwo")
    message = complaint(
        CorpusError, build_source, CorpusConfig(source="files", text_file=str(path))
    )
    assert message.startswith("corpus.text_file: ") and "has 2 lines" in message


def test_the_fingerprint_follows_the_content_and_what_is_taken_from_it(tmp_path):
    source = files(tmp_path, train=b"one two\n", valid=b"one two\n")
    before = source.fingerprint("train")
    assert (
        before
        == source.fingerprint("valid")
        == files(tmp_path, train=b"one two\n", valid=b"x\n").fingerprint("train")
    )
    (tmp_path / "train.txt").write_bytes(b"one twO\n")
    assert source.fingerprint("train") != before

    whole = str(tmp_path / "train.txt")
    found = [
        build_source(
            CorpusConfig(source="files", text_file=whole, valid_fraction=fraction)
        ).fingerprint(split)
        for fraction in (0.1, 0.2)
        for split in ("train", "valid")
    ]
    assert len(set(found)) == 4


def test_an_untouched_file_is_hashed_once(tmp_path, monkeypatch):
    source = files(tmp_path, train=b"one two\n", valid=b"x\n")
    monkeypatch.setattr(fingerprints, "_CLOCK_TICK_NS", -1)
    digest = source.fingerprint("train")
    monkeypatch.setattr(fingerprints, "digest_of_files", lambda *_: pytest.fail("hashed again"))
    assert source.fingerprint("train") == digest


@pytest.mark.parametrize(
    ("settings", "start"),
    [
        ({}, "corpus.train_file: missing"),
        ({"train_file": "a.txt"}, "corpus.valid_file: missing"),
        (
            {"train_file": "a.txt", "text_file": "a.txt"},
            "corpus.text_file: set together with corpus.train_file",
        ),
        (
            {"train_file": "a.txt", "valid_file": "none.txt"},
            "corpus.valid_file: no such file: none.txt (looked in ",
        ),
        (
            {"text_file": "folder"},
            "corpus.text_file: folder is a folder without text; its files must end in .txt",
        ),
        ({"text_file": "empty.txt"}, "corpus.text_file: empty.txt is empty"),
        ({"text_file": "/dev/null"}, "corpus.text_file: /dev/null is not a regular file"),
        ({"text_file": "x" * 300}, "corpus.text_file: cannot read xxx"),
        ({"source": "hub"}, "corpus.dataset: missing"),
        ({"source": "hub", "dataset": "./nowhere"}, "corpus.dataset: no such folder: nowhere"),
    ],
)
def test_settings_that_name_no_corpus(tmp_path, monkeypatch, settings, start):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.txt").write_text("a\n")
    (tmp_path / "empty.txt").touch()
    (tmp_path / "folder").mkdir()
    assert complaint(
        CorpusError, build_source, CorpusConfig(**{"source": "files"} | settings)
    ).startswith(start)


@pytest.mark.parametrize(
    ("content", "where"),
    [
        (
            b"fine\nna\xefve\n",
            "line 2: not UTF-8 (byte 0xef at column 3); its bytes fit windows-1252; convert it: ",
        ),
        ("é".encode() + b"\xff", "line 1: not UTF-8 (byte 0xff at column 2)"),
        (b"\xed\xa0\x80\n", "line 1: not UTF-8 (byte 0xed at column 1)"),
    ],
)
def test_a_file_that_is_not_utf8(tmp_path, content, where):
    path = tmp_path / "bad.txt"
    path.write_bytes(content)
    message = complaint(CorpusError, iterate_file_lines, path)
    assert message.startswith(f"{path}, line ") and where in message


def test_a_file_that_vanishes(tmp_path):
    source = files(tmp_path, train=b"a\n", valid=b"b\n")
    (tmp_path / "train.txt").unlink()
    assert complaint(CorpusError, source.fingerprint, "train").startswith(
        "corpus.train_file: no such file"
    )
    assert complaint(CorpusError, source.iterate_lines, "train").startswith(
        "corpus.train_file: no such file"
    )


def test_parquet_that_is_none_or_lacks_text(tmp_path):
    path = tmp_path / "x.parquet"
    path.write_bytes(b"PAR1 not really PAR1")
    assert "cannot be read as Parquet" in complaint(
        CorpusError, iterate_file_lines, path, key="corpus.train_file"
    )
    parquet(path, ["a"], column="body")
    assert complaint(CorpusError, iterate_file_lines, path) == (
        f"--text-column: {path} has no column 'text'; it has 'id', 'body'; name the one with "
        "the text"
    )
    for rows, found in (([1, 2], "int64"), ([["a"]], "list")):
        parquet(path, rows)
        assert f"holds {found}" in complaint(CorpusError, iterate_file_lines, path)
    bad = pyarrow.StringArray.from_buffers(
        1, pyarrow.array([0, 1], pyarrow.int32()).buffers()[1], pyarrow.py_buffer(b"\xff")
    )
    pyarrow.parquet.write_table(pyarrow.table({"text": bad}), path)
    assert "row 1: not UTF-8 (byte 0xff)" in complaint(CorpusError, iterate_file_lines, path)


@pytest.fixture
def dataset_folder(tmp_path, monkeypatch):
    datasets = pytest.importorskip("datasets")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "arrow")
    datasets.disable_progress_bars()
    folder = tmp_path / "dataset"
    folder.mkdir()
    for split, rows in (
        ("train", ["", " = A = \n", "b\nc"]),
        ("validation", ["v"]),
        ("test", ["t"]),
    ):
        parquet(folder / f"{split}-00000-of-00001.parquet", rows)
    return folder


def test_a_local_data_set(dataset_folder):
    config = CorpusConfig(source="hub", dataset=str(dataset_folder))
    source = build_source(config)
    assert source.splits == ("train", "valid", "test")
    assert list(source.iterate_lines("train")) == ["", " = A = ", "b", "c"]
    fingerprint = source.fingerprint("train")
    assert fingerprint == build_source(config).fingerprint("train") != source.fingerprint("test")
    # a data set in memory has no files to hash, so its lines are hashed
    source._datasets["train"] = SimpleNamespace(
        cache_files=[], select_columns=source._datasets["train"].select_columns
    )
    assert source.fingerprint("train") not in ("", fingerprint)

    parquet(dataset_folder / "train-00000-of-00001.parquet", ["changed"])
    assert build_source(config).fingerprint("train") != fingerprint


def test_a_local_data_set_that_lacks_something(dataset_folder):
    def load(**settings):
        return complaint(
            (CorpusError, HubError),
            build_source,
            CorpusConfig(**{"source": "hub", "dataset": str(dataset_folder)} | settings),
        )

    assert load(valid_split="dev").startswith("corpus.train_split, valid_split or test_split: ")
    assert "has no column 'body'; it has 'id', 'text'" in load(text_column="body")
    assert "holds int64, not text" in load(text_column="id")
    assert load(dataset_config="nope").startswith("corpus.dataset_config: ")
    (dataset_folder.parent / "empty").mkdir()
    assert "cannot be loaded" in load(dataset=str(dataset_folder.parent / "empty"))


def test_no_hub(monkeypatch, tmp_path):
    datasets = pytest.importorskip("datasets")

    def no_address(*args):
        raise socket.gaierror("Name or service not known")

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path)
    monkeypatch.setattr(socket, "getaddrinfo", no_address)
    offline = datasets.config.HF_HUB_OFFLINE
    monkeypatch.setattr(hub.urllib.request, "getproxies", dict)
    config = CorpusConfig(source="hub", dataset="nobody/nothing", dataset_config="x")
    message = complaint(HubError, build_source, config)
    assert message.startswith("corpus.dataset: cannot load nobody/nothing from the hub: ")
    assert "corpus.source=files corpus.train_file=" in message and "HF_ENDPOINT" in message
    assert datasets.config.HF_HUB_OFFLINE == offline

    def full(*args, **kwargs):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(datasets, "load_dataset", full)
    assert "HF_HOME" in complaint(DiskError, build_source, config)


def test_stories():
    source = build_source(CorpusConfig(), StoriesConfig(count=30, seed=1))
    assert source.splits == ("train", "valid", "test")
    train, valid = (list(source.iterate_lines(split)) for split in ("train", "valid"))
    assert len(train) == 30 and len(valid) == 200 and all(train)
    assert source.nll("valid") > 0
    other = build_source(CorpusConfig(), StoriesConfig(count=30, seed=2))
    found = [
        corpus.fingerprint(split)
        for corpus in (source, other)
        for split in ("train", "valid", "test")
    ]
    assert len(set(found)) == 6
