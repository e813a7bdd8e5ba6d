"""`corpus.streaming`: a data set is encoded while it is read; no copy of it is made."""

import gzip
import io
import json
import subprocess
import sys

import pyarrow
import pyarrow.parquet
import pytest
import yaml

from lstm_lm.config import CorpusConfig, load_config
from lstm_lm.corpus.corpus import Corpus
from lstm_lm.corpus.hub import HubSource
from lstm_lm.corpus.sources import build_source
from lstm_lm.corpus.streaming import StreamedSource
from lstm_lm.errors import ConfigError, CorpusError
from tests.hub_server import ROOT, run_commands, run_python, running_hub

NAME = "anna/texts"
TRAIN = ["I grew up in France .", "", "I speak fluent French .\nShe has a cat .", None] * 700
VALID, TEST = ["I speak French ."] * 40, ["I grew up ."] * 10
SPLITS = {"train": TRAIN, "validation": VALID, "test": TEST}
TINY = [
    "optimizer.schedule=constant",
    "model.embedding_dim=8",
    "model.hidden_size=8",
    "model.num_layers=1",
] + [
    f"training.{setting}"
    for setting in ("batch_size=4", "bptt_length=10", "max_epochs=null", "device=cpu")
]


def parquet(rows, row_group=1000):
    file = io.BytesIO()
    table = pyarrow.table(
        {
            "meta": [f"{number} {'x' * 60}" for number in range(len(rows))],
            "text": pyarrow.array(rows, pyarrow.string()),
        }
    )
    pyarrow.parquet.write_table(table, file, row_group_size=row_group, compression="none")
    return file.getvalue()


def jsonl(rows):
    return "".join(json.dumps({"text": row}) + "\n" for row in rows).encode()


def csv(rows):
    return b"id,text\n" + b"".join(b'1,"%s"\n' % (row or "").encode() for row in rows)


def text(rows):
    return "".join(f"{row}\n" for row in rows if row and "\n" not in row).encode()


FORMATS = {
    "parquet": parquet,
    "jsonl": jsonl,
    "jsonl.gz": lambda rows: gzip.compress(jsonl(rows)),
    "csv": csv,
    "txt": text,
}


def data_files(suffix="parquet", splits=SPLITS):
    """Files of a data set: train in two, as the hub names them."""
    write = FORMATS[suffix]
    train = splits["train"]
    parts = {
        "train-00000-of-00002": train[: len(train) // 2],
        "train-00001-of-00002": train[len(train) // 2 :],
        "validation-00000-of-00001": splits["validation"],
        "test-00000-of-00001": splits["test"],
    }
    return {f"data/{name}.{suffix}": write(rows) for name, rows in parts.items()}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Writes a local data set; returns its folder. The library's cache is beside it."""
    datasets = pytest.importorskip("datasets")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "arrow")
    datasets.disable_progress_bars()

    def write(files):
        place = tmp_path / "dataset"
        for name, content in files.items():
            (place / name).parent.mkdir(parents=True, exist_ok=True)
            (place / name).write_bytes(content)
        return place

    return write


def settings(place, **more):
    return CorpusConfig(source="hub", dataset=str(place), streaming=True, **more)


# --- local data sets ------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", FORMATS)
def test_the_lines_are_those_of_the_data_set_that_is_kept(folder, tmp_path, suffix):
    place = folder(data_files(suffix))
    streamed = build_source(settings(place))
    assert isinstance(streamed, StreamedSource) and streamed.splits == ("train", "valid", "test")
    lines = {split: list(streamed.iterate_lines(split)) for split in streamed.splits}
    assert len(lines["train"]) >= 700 and "I grew up in France ." in lines["train"]
    assert list(streamed.iterate_lines("train")) == lines["train"]  # a second time
    assert not list((tmp_path / "arrow").rglob("*.arrow"))
    kept = HubSource(CorpusConfig(source="hub", dataset=str(place)))
    assert {split: list(kept.iterate_lines(split)) for split in kept.splits} == lines
    assert list((tmp_path / "arrow").rglob("*.arrow"))  # which shows that the test can see a copy


def test_the_ids_are_equal_too(folder):
    place = folder(data_files())
    one, other = (
        Corpus(CorpusConfig(source="hub", dataset=str(place), streaming=streaming))
        for streaming in (True, False)
    )
    assert one.vocabulary.to_json() == other.vocabulary.to_json()
    for split in one.splits:
        assert one.tokens(split)[:].tolist() == other.tokens(split)[:].tolist()


def test_the_fingerprint_follows_the_files_and_what_is_taken_from_them(folder):
    place = folder(data_files("jsonl"))
    source = build_source(settings(place))
    train = source.fingerprint("train")
    assert train == build_source(settings(place)).fingerprint("train")
    assert train != source.fingerprint("valid") != source.fingerprint("test")
    assert train != build_source(settings(place, text_column="body")).fingerprint("train")
    both = settings(place, train_split="train+validation")
    before = build_source(both).fingerprint("train")
    folder({"data/validation-00000-of-00001.jsonl": jsonl(["changed"])})
    assert source.fingerprint("train") == train
    assert build_source(both).fingerprint("train") != before


def test_a_text_that_changes_while_it_is_read_is_refused(folder, monkeypatch):
    place = folder(data_files("jsonl"))
    corpus = Corpus(settings(place))
    assert len(corpus.vocabulary) > 5
    folder({"data/train-00000-of-00002.jsonl": jsonl(["quite", "another"])})
    with pytest.raises(CorpusError, match="changed"):
        corpus.tokens("train")


@pytest.mark.parametrize(
    ("more", "start"),
    [
        ({"valid_split": "dev"}, "corpus.train_split, valid_split or test_split: "),
        ({"text_column": "body"}, "corpus.text_column: "),
        ({"dataset_config": "nope"}, "corpus.dataset_config: "),
    ],
)
def test_a_wrong_setting_is_found_before_train_is_read(folder, more, start):
    place = folder(data_files())
    source = build_source(settings(place, **more))
    with pytest.raises(Exception) as caught:
        next(source.iterate_lines("train"))
    assert str(caught.value).startswith(start) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"data/train-00000-of-00002.jsonl": jsonl(TRAIN[:9]) + b'{"text": "cu'}, "JSON"),
        ({"data/train-00000-of-00002.jsonl": b'{"text": 7}\n'}, "holds int64, not text"),
        ({"data/train-00001-of-00002.jsonl.gz": gzip.compress(jsonl(TRAIN))[:-9]}, "broke off"),
    ],
)
def test_damaged_files_are_one_sentence_and_leave_nothing(folder, tmp_path, files, said):
    suffix = "jsonl.gz" if any(name.endswith("gz") for name in files) else "jsonl"
    place = folder(data_files(suffix) | files)
    corpus = Corpus(settings(place, cache_dir=str(tmp_path / "kept")))
    with pytest.raises(CorpusError) as caught:
        corpus.tokens("train")
    assert "\n" not in str(caught.value) and said in str(caught.value)
    assert str(caught.value).startswith("corpus.")
    assert not (tmp_path / "kept").exists() or not list((tmp_path / "kept").iterdir())


def test_a_data_set_without_a_place():
    with pytest.raises(CorpusError, match="no such folder"):
        build_source(settings("./nowhere"))


def test_streaming_has_an_effect_only_for_data_sets(tmp_path):
    path = tmp_path / "a.yaml"
    path.write_text(yaml.safe_dump({"corpus": {"source": "stories", "streaming": True}}))
    with pytest.raises(ConfigError, match="corpus.streaming"):
        load_config(path)


MEMORY = """
import resource, sys
from lstm_lm.config import CorpusConfig
from lstm_lm.corpus.sources import build_source
source = build_source(CorpusConfig(source="hub", dataset=sys.argv[1], streaming=True))
size = 0
for number, line in enumerate(source.iterate_lines("train")):
    size += len(line)
    if number == 3000:
        begun = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(size, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - begun)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="the unit of ru_maxrss is that of Linux")
def test_memory_does_not_grow_with_the_data_set(folder):
    long = "the cat sat on the mat and " * 40
    train = [f"{number} {long}" for number in range(100_000)]
    place = folder(data_files(splits=SPLITS | {"train": train}))
    done = subprocess.run(
        [sys.executable, "-c", MEMORY, place], capture_output=True, text=True, cwd=ROOT
    )
    assert done.returncode == 0, done.stderr
    size, grown = map(int, done.stdout.split())
    assert size > 100e6 and grown * 1024 < size / 3, (size, grown)


# --- the hub --------------------------------------------------------------------------------------


@pytest.fixture
def hub():
    with running_hub() as hub:
        yield hub


READ = """
import json, sys, time
sleeps = []
time.sleep = sleeps.append  # the libraries wait before they connect again
import datasets
from lstm_lm.config import CorpusConfig
from lstm_lm.corpus.corpus import Corpus
from lstm_lm.errors import UserError
datasets.config.STREAMING_READ_MAX_RETRIES = 3
name, cache, settings = sys.argv[1:]
found = {}
try:
    more = json.loads(settings)
    config = CorpusConfig(source="hub", dataset=name, streaming=True, cache_dir=cache, **more)
    corpus = Corpus(config)
    found["fingerprint"] = corpus.fingerprint("train")
    found["notes"] = corpus.notes()
    found["ids"] = {split: corpus.tokens(split)[:].tolist() for split in corpus.splits}
except UserError as error:
    found["error"] = f"{type(error).__name__}: {error}"
print(json.dumps(found | {"sleeps": len(sleeps)}))
"""


def read(address, tmp_path, name=NAME, **more):
    cache = tmp_path / "kept"
    done = run_python(READ, address, tmp_path / "hf", name, cache, json.dumps(more))
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def entries(tmp_path):
    kept = tmp_path / "kept"
    return sorted(path.name.partition("-")[0] for path in kept.iterdir()) if kept.exists() else []


def size_of(folder):
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


@pytest.mark.slow
def test_a_data_set_of_the_hub_is_encoded_without_a_copy(hub, folder, tmp_path):
    splits = SPLITS | {"train": TRAIN * 20}
    files = data_files(splits=splits)
    hub.add("datasets", NAME, files)
    found = read(hub.address, tmp_path)
    local = Corpus(CorpusConfig(source="hub", dataset=str(folder(files))))
    assert found["ids"] == {split: local.tokens(split)[:].tolist() for split in local.splits}
    assert found["notes"] == [] and entries(tmp_path) == ["commit", *["ids"] * 3, "vocabulary"]
    size = sum(map(len, files.values()))
    assert size > 4e6 and size_of(tmp_path / "hf") < size / 50
    # the column alone is fetched, to count the words of train and to encode them
    assert hub.sent["data/train-00001-of-00002.parquet"] < 2.2 * len(
        files["data/train-00001-of-00002.parquet"]
    )
    asked = len(hub.asked)
    again = read(hub.address, tmp_path)
    assert again["ids"] == found["ids"]
    assert not any("/resolve/" in request for request in hub.asked[asked:])  # from the cache

    hub.repositories["datasets", NAME].branches["main"].append(data_files())
    changed = read(hub.address, tmp_path)
    assert changed["fingerprint"] != found["fingerprint"]
    assert len(changed["ids"]["train"]) == len(found["ids"]["train"]) / 20


@pytest.mark.slow
@pytest.mark.parametrize("suffix", ["parquet", "jsonl", "jsonl.gz"])
def test_a_connection_that_breaks_is_made_again(hub, tmp_path, suffix):
    files = data_files(suffix)
    hub.add("datasets", NAME, files)
    whole = read(hub.address, tmp_path)
    (tmp_path / "kept").rename(tmp_path / "before")
    hub.cut.update(dict.fromkeys(files, 2))
    again = read(hub.address, tmp_path)
    assert again["ids"] == whole["ids"] and again["sleeps"] >= 2 and not +hub.cut


@pytest.mark.slow
@pytest.mark.parametrize("suffix", ["parquet", "jsonl"])
def test_a_connection_that_stays_broken_is_one_sentence_and_leaves_nothing(hub, tmp_path, suffix):
    hub.add("datasets", NAME, data_files(suffix))
    hub.cut[f"data/train-00001-of-00002.{suffix}"] = 10**6
    found = read(hub.address, tmp_path)
    assert found["error"].startswith(f"HubError: corpus.dataset: reading {NAME} (train) broke off")
    assert "nothing of it is kept" in found["error"] and "\n" not in found["error"]
    assert entries(tmp_path) == ["commit"]
    hub.cut.clear()
    assert len(read(hub.address, tmp_path)["ids"]["train"]) > 1000


@pytest.mark.slow
def test_what_the_hub_does_not_have(hub, tmp_path):
    hub.add("datasets", NAME, data_files(), private=True)
    for name in (NAME, "anna/none"):
        found = read(hub.address, tmp_path, name)
        assert found["error"].startswith(f"HubError: corpus.dataset: cannot load {name} from the ")
        assert "\n" not in found["error"]
    with running_hub() as gone:
        address = gone.address
    assert read(address, tmp_path)["error"].startswith("HubError: corpus.dataset: cannot load ")


@pytest.mark.slow
def test_a_run_resumes_without_a_network(hub, tmp_path):
    hub.add("datasets", NAME, data_files())
    corpus = ["corpus.source=hub", f"corpus.dataset={NAME}", "corpus.streaming=true"]
    corpus.append(f"corpus.cache_dir={tmp_path / 'kept'}")
    config = tmp_path / "streamed.yaml"
    config.write_text("corpus: {source: hub, dataset: anna/texts, streaming: true}\n")
    train = ["train", config, *corpus, *TINY, "--output", tmp_path / "run"]
    (begun,) = run_commands([[*train, "training.max_steps=6"]], hub.address, tmp_path / "hf")
    assert begun[0] == 0, begun
    with running_hub() as gone:
        address = gone.address
    resumed, evaluated, unread, whole = run_commands(
        [
            ["train", tmp_path / "run", "--resume", "training.max_steps=12"],
            ["evaluate", tmp_path / "run", "--reset-per-line", "--json"],
            ["evaluate", tmp_path / "run", "--split", "test"],  # was never encoded
            [*train[:-1], tmp_path / "whole", "training.max_steps=12"],
        ],
        address,
        tmp_path / "hf",
    )
    assert resumed[0] == whole[0] == 0, (resumed, whole)
    assert "the hub is out of reach; anna/texts is read as it was at commit" in resumed[1]
    ours, theirs = (
        (tmp_path / run / "metrics.jsonl").read_text().splitlines()[-1] for run in ("run", "whole")
    )
    assert json.loads(ours)["loss"] == json.loads(theirs)["loss"]
    assert evaluated[0] == 0 and json.loads(evaluated[1])["tokens"] == 200, evaluated
    assert unread[0] == 2 and unread[2].startswith("lstm-lm: error: corpus.dataset: cannot load ")
    assert unread[2].count("\n") == 1
    card = (tmp_path / "run" / "README.md").read_text()
    assert "type: anna/texts" in card and "state: reset" in card
