"""The built-in stories are written once, by any number of processes, and always the same."""

import hashlib
import io
import itertools
import os
import signal
import subprocess
import sys
import textwrap
import time
from dataclasses import replace
from pathlib import Path
from threading import Thread

import pytest

from lstm_lm.config import CorpusConfig, StoriesConfig
from lstm_lm.corpus import progress as progress_module
from lstm_lm.corpus import story_source
from lstm_lm.corpus.corpus import Corpus
from lstm_lm.corpus.progress import Progress, show_progress
from lstm_lm.corpus.story_source import StoriesSource
from lstm_lm.errors import DiskError
from lstm_lm.files.cache import list_entries
from lstm_lm.stories import biographies, writing
from lstm_lm.stories.biographies import iterate_stories, log_probability_of
from lstm_lm.stories.blocks import STORIES_PER_BLOCK, Block, Plan
from lstm_lm.stories.grammar import count_words
from lstm_lm.stories.writing import iterate_blocks

ROOT = Path(__file__).parent.parent
PARALLEL = StoriesConfig(parallel=True)
# Of `text_of(Plan(...))`; the first was computed before stories could be written in blocks.
GOLDEN_ONE_STREAM = "9c36c2713073"
GOLDEN_BLOCKS = "d3266b947e65"
GOLDEN_PASSES = "35bcf140a026"


def text_of(plan, workers=0):
    return "".join(block.text for block in iterate_blocks(plan, workers))


def digest(text):
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def test_the_stories_of_one_stream_are_the_same_as_ever():
    plan = Plan(3000, 0, "train", StoriesConfig(), passes=8, people_first=0.3)
    assert digest(text_of(plan)) == GOLDEN_ONE_STREAM


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 2, 3])
def test_the_number_of_processes_does_not_change_the_stories(workers):
    assert digest(text_of(Plan(3000, 0, "train", PARALLEL), workers)) == GOLDEN_BLOCKS
    plan = Plan(3000, 0, "train", PARALLEL, passes=8, people_first=0.3)
    assert digest(text_of(plan, workers)) == GOLDEN_PASSES


def test_fewer_stories_in_blocks_are_the_beginning_of_more():
    some = text_of(Plan(STORIES_PER_BLOCK + 1, 0, "train", PARALLEL))
    assert len(some.splitlines()) == STORIES_PER_BLOCK + 1
    assert text_of(Plan(3 * STORIES_PER_BLOCK, 0, "train", PARALLEL)).startswith(some)
    assert text_of(Plan(0, 0, "train", PARALLEL)) == ""


@pytest.mark.slow
def test_every_block_seed_and_split_has_stories_of_its_own():
    count = 2 * STORIES_PER_BLOCK
    plans = [Plan(count, seed, split, PARALLEL) for seed in (0, 1) for split in ("train", "valid")]
    plans.append(Plan(count, 0, "train", StoriesConfig()))
    blocks = [block.text for plan in plans for block in iterate_blocks(plan, 0)]
    assert len(blocks) == len(set(blocks)) == 10


def test_stories_in_blocks_have_the_right_words_and_probabilities():
    block = next(iterate_blocks(Plan(20, 0, "train", PARALLEL)))
    stories = block.text.splitlines()
    assert len(stories) == len(block.words) == len(block.log_probabilities) == 20
    assert block.words == [count_words(story) + 1 for story in stories]
    assert block.log_probabilities == pytest.approx([log_probability_of(text) for text in stories])


def test_every_pass_in_blocks_has_as_many_words_as_the_first():
    plan = Plan(800, 0, "train", PARALLEL, passes=4, people_first=0.5)
    passes = list(iterate_blocks(plan, 0))
    first = passes[0].words
    assert len(passes) == 4 and len(first) == 200
    for words in (block.words for block in passes[1:]):
        assert sum(words[:-1]) < sum(first) <= sum(words)
    # each begins with short stories and ends with long ones
    assert all(max(block.words[:20]) < max(block.words[-50:]) for block in passes)


def test_an_unknown_split_is_refused():
    with pytest.raises(ValueError, match="'dev'.*train, valid or test"):
        Plan(1, 0, "dev", PARALLEL)


# --- the processes --------------------------------------------------------------------------------


def workers_of(monkeypatch):
    """Returns a list to which every started worker is added."""
    started = []
    real = writing._Worker

    def start(*arguments):
        started.append(real(*arguments))
        return started[-1]

    monkeypatch.setattr(writing, "_Worker", start)
    return started


def test_blocks_are_written_by_other_processes_which_end(monkeypatch):
    started = workers_of(monkeypatch)
    monkeypatch.setattr(writing.BlockWriter, "write", None)  # this process cannot write
    blocks = iterate_blocks(Plan(1000, 0, "train", PARALLEL), workers=2)
    assert next(blocks).text
    processes = [worker._process for worker in started]
    assert len(processes) == 2 and all(process.poll() is None for process in processes)
    assert len(list(blocks)) == 4
    assert all(process.poll() is not None for process in processes)


def test_processes_end_when_the_stories_are_no_longer_wanted(monkeypatch):
    started = workers_of(monkeypatch)
    blocks = iterate_blocks(Plan(100_000, 0, "train", PARALLEL), workers=2)
    next(blocks)
    processes = [worker._process for worker in started]
    blocks.close()
    assert [process.poll() is None for process in processes] == [False, False]


@pytest.mark.slow
def test_the_blocks_of_a_killed_process_are_written_all_the_same(monkeypatch):
    started = workers_of(monkeypatch)
    blocks = iterate_blocks(Plan(3000, 0, "train", PARALLEL), workers=2)
    text = next(blocks).text
    started[1]._process.kill()
    assert digest(text + "".join(block.text for block in blocks)) == GOLDEN_BLOCKS


@pytest.mark.slow
@pytest.mark.parametrize("python", [None, "", "/usr/sbin/uwsgi", "/no/such/python"])
def test_without_a_python_program_this_process_writes(monkeypatch, python):
    monkeypatch.setattr(sys, "executable", python)
    assert digest(text_of(Plan(3000, 0, "train", PARALLEL), workers=2)) == GOLDEN_BLOCKS


def test_few_stories_start_no_process(monkeypatch):
    monkeypatch.setattr(writing, "_Worker", None)
    assert len(list(iterate_blocks(Plan(300, 0, "train", PARALLEL)))) == 2


def test_half_a_block_is_not_taken_for_a_block():
    whole = io.BytesIO()
    block = Block("One.\nTwo.\n", [2, 2], [-1.5, -0.1])
    block.write(whole)
    content = whole.getvalue()
    assert Block.read(io.BytesIO(content)) == block
    for size in (0, 3, len(content) - 1):
        with pytest.raises(EOFError):
            Block.read(io.BytesIO(content[:size]))


SCRIPT = """
    from lstm_lm.stories import writing
    from lstm_lm.stories.blocks import Plan
    from lstm_lm.config import StoriesConfig
    writing.MIN_STORIES_FOR_WORKERS = 1
    writing.available_cores = lambda: 2
    writing.BlockWriter.write = None  # this process cannot write
    plan = Plan(500, 0, "train", StoriesConfig(parallel=True))
    print(sum(len(block.words) for block in writing.iterate_blocks(plan)))
"""


@pytest.mark.slow
def test_a_script_without_main_guard_in_a_folder_with_bad_names_writes_on_all_cores(tmp_path):
    (tmp_path / "json.py").write_text("raise SystemExit('the wrong json')\n")
    (tmp_path / "scripts").mkdir()
    (tmp_path / "scripts" / "script.py").write_text(textwrap.dedent(SCRIPT))
    done = subprocess.run(
        [sys.executable, "scripts/script.py"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "500\n", "")


def test_stories_can_be_written_in_a_thread(monkeypatch):
    monkeypatch.setattr(writing.BlockWriter, "write", None)
    found = []
    plan = Plan(500, 0, "train", PARALLEL)
    thread = Thread(target=lambda: found.append(text_of(plan, 2)))
    thread.start()
    thread.join()
    assert len(found[0].splitlines()) == 500


# --- the source -----------------------------------------------------------------------------------


@pytest.mark.parametrize("parallel", [False, True])
def test_stories_are_written_once_and_later_runs_read_them(monkeypatch, tmp_path, parallel):
    stories = StoriesConfig(count=300, seed=3, parallel=parallel)
    config = CorpusConfig(cache_dir=str(tmp_path))
    written = []
    real = story_source.iterate_blocks

    def count_writings(plan):
        written.append(plan.split)
        return real(plan)

    monkeypatch.setattr(story_source, "iterate_blocks", count_writings)
    first = Corpus(config, stories)
    lines = len(first.vocabulary), len(first.tokens("train")), first.source_nll("train")
    assert written == ["train"]
    assert first.tokens("valid").lines == 200 and first.source_nll("valid") > 0
    assert written == ["train", "valid"]
    again = Corpus(config, stories)
    assert lines == (len(again.vocabulary), len(again.tokens("train")), again.source_nll("train"))
    # other tokens of the same text
    Corpus(replace(config, lowercase=True), stories).tokens("train")
    assert written == ["train", "valid"]
    Corpus(config, replace(stories, parallel=not parallel)).tokens("train")
    assert written == ["train", "valid", "train"]


def test_the_source_has_the_stories_of_the_generator(tmp_path):
    config = StoriesConfig(count=60, curriculum=3, people_first=0.4)
    source = StoriesSource(config, tmp_path)
    expected = iterate_stories(60, 0, "train", config, passes=3, people_first=0.4)
    assert list(source.iterate_lines("train")) == [story.text for story in expected]
    expected = iterate_stories(200, 0, "test", config)
    assert list(source.iterate_lines("test")) == [story.text for story in expected]
    assert source.nll("train") is None
    assert source.nll("test") == biographies.source_nll(200, 0, "test", config)


def test_damaged_or_removed_stories_are_written_again(tmp_path):
    source = StoriesSource(StoriesConfig(count=10), tmp_path)
    lines = list(source.iterate_lines("train"))
    (entry,) = list_entries(tmp_path)
    assert entry.kind == "stories"
    text = entry.path / "stories.txt"
    text.write_bytes(text.read_bytes().replace(b"I", b"J"))
    assert list(StoriesSource(StoriesConfig(count=10), tmp_path).iterate_lines("train")) == lines
    text.unlink()
    assert list(source.iterate_lines("train")) == lines


def test_stories_that_always_vanish_are_reported(monkeypatch, tmp_path):
    source = StoriesSource(StoriesConfig(count=10), tmp_path)
    monkeypatch.setattr(story_source, "_TEXT", "stories.txt")
    monkeypatch.setattr(story_source, "read_entry", lambda folder, name: {"nll": 1.0})
    with pytest.raises(DiskError, match="another process removes .*stories-"):
        next(source.iterate_lines("train"))


def test_an_error_while_writing_leaves_nothing(monkeypatch, tmp_path):
    def fail(plan):
        yield Block("One.\n", [2], [-1.0])
        raise KeyboardInterrupt

    monkeypatch.setattr(story_source, "iterate_blocks", fail)
    with pytest.raises(KeyboardInterrupt):
        next(StoriesSource(StoriesConfig(count=10), tmp_path).iterate_lines("train"))
    assert list(tmp_path.iterdir()) == []


def children_of(process):
    children = Path(f"/proc/{process}/task/{process}/children")
    return children.read_text().split()


WRITE = """
    import sys
    from lstm_lm.config import StoriesConfig
    from lstm_lm.corpus.story_source import StoriesSource
    from lstm_lm.stories import writing
    writing.available_cores = lambda: 2
    source = StoriesSource(StoriesConfig(count=10**6, parallel=True), sys.argv[1])
    print(next(source.iterate_lines("train")))
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="needs Linux's /proc")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_a_stopped_writer_leaves_no_process_and_the_next_one_cleans_up(tmp_path, number):
    writer = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(WRITE), str(tmp_path)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    try:
        deadline = time.monotonic() + 60
        while not any(file.stat().st_size for file in tmp_path.glob("*.tmp/stories.txt")):
            assert time.monotonic() < deadline and writer.poll() is None
            time.sleep(0.05)
        children = children_of(writer.pid)
        assert len(children) == 2
        # as a terminal does it: all processes of the group get Ctrl-C
        if number == signal.SIGINT:
            os.killpg(writer.pid, number)
        else:
            os.kill(writer.pid, number)
        writer.communicate(timeout=60)
        while any(is_running(child) for child in children):
            assert time.monotonic() < deadline
            time.sleep(0.05)
    finally:
        if writer.poll() is None:
            os.killpg(writer.pid, signal.SIGKILL)
            writer.communicate()
    if number == signal.SIGINT:
        assert list(tmp_path.iterdir()) == []
    next(StoriesSource(StoriesConfig(count=10), tmp_path).iterate_lines("train"))
    assert [path.suffix for path in tmp_path.iterdir()] == [""]


def is_running(process):
    try:
        status = Path(f"/proc/{process}/stat").read_text()
    except OSError:
        return False
    return status.rpartition(")")[2].split()[0] != "Z"


# --- progress -------------------------------------------------------------------------------------


def test_without_a_terminal_long_work_prints_a_line_now_and_then(monkeypatch, capsys):
    clock = itertools.count(0, 6)
    monkeypatch.setattr(progress_module.time, "monotonic", lambda: next(clock))
    with Progress("writing train stories", "stories", total=8000) as progress:
        for _ in range(7):
            progress.add(1000)
    # 18 and 36 seconds after the first
    assert capsys.readouterr().err.splitlines() == [
        "writing train stories: 4,000 stories, 50%",
        "writing train stories: 7,000 stories, 88%",
    ]


def test_short_work_prints_nothing_without_a_terminal(capsys):
    assert list(show_progress(iter("abc"), "counting words", "lines")) == ["a", "b", "c"]
    captured = capsys.readouterr()
    assert captured.err == captured.out == ""


def test_the_lines_show_all_that_is_done(monkeypatch, capsys):
    monkeypatch.setattr(progress_module, "SECONDS_BETWEEN_LINES", 0)
    assert len(list(show_progress(range(100), "encoding train", "lines"))) == 100
    assert capsys.readouterr().err.splitlines() == [
        "encoding train: 64 lines",
        "encoding train: 100 lines",
    ]
