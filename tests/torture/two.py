"""Two runs in one run directory, and two with one cache of encoded corpora."""

import dataclasses
import os
import shutil
import signal
import time
from pathlib import Path

import numpy as np

from lstm_lm.config import load_config
from lstm_lm.corpus.corpus import Corpus
from lstm_lm.corpus.sources import FilesSource
from lstm_lm.corpus.vocabulary import Vocabulary
from tests.torture.ground import Ground, Row, write_text
from tests.torture.points import Points


def share_a_directory(ground: Ground, times: int) -> list[Row]:
    """Starts a second training beside a first, one after a kill, and two at the same moment."""
    beside, killed = (
        Row("a second run in the directory of a running one, with every option"),
        Row("a run resumed after a kill"),
    )
    together = Row("two runs started at the same moment in a new directory")
    for number in range(times):
        run = ground.folder / f"shared{number}"
        first = ground.train(run)
        while not (run / "training_state.safetensors").exists() and first.running():
            time.sleep(0.002)
        for words in ([], ["--resume"], ["--overwrite"], ["--resume", "--mend"]):
            second = ground.start("train", ground.config, "--output", run, *words)
            good = second.refused() and (
                "another run is training" in second.err or not first.running()
            )
            beside.note(good, second.err)
        first.send(signal.SIGKILL)
        first.wait()
        third = ground.train(run)
        killed.note(third.wait() == 0 and not ground.differences(run), third.err)
        run = ground.folder / f"raced{number}"
        both = [ground.start("train", ground.config, "--output", run) for _ in range(2)]
        ended = sorted(process.wait() for process in both)
        err = "".join(process.err for process in both)
        together.note(
            ended == [0, 2] and err.count("\n") == 1 and not ground.differences(run),
            f"{ended} {err}",
        )
    return [beside, killed, together]


def share_a_cache(ground: Ground, times: int) -> list[Row]:
    """Encodes in two processes at once, with kills, with damage, and while the corpus changes."""
    at_once, killed = (
        Row("two processes encoding one corpus at once"),
        Row("a kill while a corpus is encoded"),
    )
    for number in range(times):
        cache = ground.folder / f"both{number}"
        both = [
            ground.train(
                ground.folder / f"encoded{number}{k}", cache=cache, prepare=stop_before_training
            )
            for k in range(2)
        ]
        at_once.note(
            [process.wait() for process in both] == [99, 99] and is_right(ground, cache), str(both)
        )
    cache = ground.folder / "killed"
    for number in range(1, 4 * times + 1):
        points = Points(number if number % 3 else 10**9, "die" if number % 2 else "tear")
        process = ground.train(
            ground.folder / "encoded",
            cache=cache,
            prepare=lambda points=points: (points.install(), stop_before_training()),
        )
        if not number % 3:
            time.sleep(ground.draw.uniform(0, 0.05))
            process.send(signal.SIGKILL)
        process.wait()
        killed.note(is_right(ground, cache), f"call {number}")
        if number % 7 == 0:
            shutil.rmtree(cache)
    return [at_once, killed, _damage_a_cache(ground, times), _change_a_corpus(ground, times)]


def stop_before_training() -> None:
    """Makes the process end, with status 99, as soon as the corpus is encoded."""
    from lstm_lm.training import run

    run.check_memory = lambda *args: os._exit(99)


def is_right(ground: Ground, cache: Path) -> bool:
    """Whether the cache returns what encoding the present text again returns."""
    config = dataclasses.replace(load_config(ground.config).corpus, cache_dir=str(cache))
    source, corpus = FilesSource(config), Corpus(config)
    words = Vocabulary.build(source.iterate_lines("train"), tokenization=config.tokenization)
    right = corpus.vocabulary.to_json() == words.to_json()
    for split in ("train", "valid"):
        wanted = np.concatenate([*words.iterate_ids(source.iterate_lines(split))])
        tokens = corpus.tokens(split)
        unknown = int((wanted == words.unk_id).sum())
        right = right and np.array_equal(tokens[:], wanted) and tokens.unk_count == unknown
    return right


def _damage_a_cache(ground: Ground, times: int) -> Row:
    row = Row("a bit flipped or a file truncated in the cache")
    cache = ground.folder / "damaged"
    is_right(ground, cache)
    for _ in range(10 * times):
        path = ground.draw.choice(sorted(path for path in cache.rglob("*") if path.is_file()))
        content = bytearray(path.read_bytes())
        if ground.draw.random() < 0.7:
            content[ground.draw.randrange(len(content))] ^= 1 << ground.draw.randrange(8)
        else:
            del content[ground.draw.randrange(len(content)) :]
        path.write_bytes(content)
        row.note(is_right(ground, cache), str(path))
    return row


def _change_a_corpus(ground: Ground, times: int) -> Row:
    """Replaces the text, by as much or by more, while it is counted and encoded."""
    row = Row("a corpus changed while it is encoded: refused, or right")
    path = ground.folder / "train.txt"
    before = path.read_bytes()
    for number in range(4 * times):
        cache, run = ground.folder / f"changed{number}", ground.folder / f"trained{number}"

        def slowly() -> None:
            lines = FilesSource.iterate_lines
            FilesSource.iterate_lines = lambda *args: (
                time.sleep(0.0002) or line for line in lines(*args)
            )
            stop_before_training()

        process = ground.train(run, cache=cache, prepare=slowly)
        time.sleep(ground.draw.uniform(0, 0.3))
        after = before.replace(b"Rome", b"Oslo")
        if number % 2:
            write_text(ground.folder / "other.txt", 300 + number, seed=number)
            after = (ground.folder / "other.txt").read_bytes()
        with open(path, "r+b") as file:  # in place, so that it is never empty
            file.write(after)
            file.truncate()
        status = process.wait()
        good = (process.refused() and "changed" in process.err or status == 99) and is_right(
            ground, cache
        )
        row.note(good, f"status {status}: {process.err}")
        path.write_bytes(before)
    return row
