"""Two ranks beside one process, and how a step scales with more ranks, computed from one process.

The first is measured on this machine: one process with two threads and two ranks with one thread
each make the same updates in turn. The second is a simulation: compute is measured here, on one
core, in processor time; networks are not measured, their bandwidth is given and `SECONDS_PER_HOP`
is assumed.
"""

from __future__ import annotations

import multiprocessing
import os
import socket
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
import torch.distributed as dist

from benchmarks.trainers import endless_config, make_trainer, zipf_shares
from lstm_lm.config import Config
from lstm_lm.training.building import count_words
from lstm_lm.training.distributed import Ranks, joined
from lstm_lm.training.following import share_start
from lstm_lm.training.gradient_sums import GradientSums
from lstm_lm.training.trainer import Trainer

# Size, configuration and vocabulary. The first is narrow, the second wide.
IN_TURN = [("quickstart", 873), ("wikitext2-short", 33_278)]
SIMULATED = [("wikitext2-short", 33_278), ("awd-wikitext2", 33_278), ("wikitext103", 267_735)]
GIGABITS, RANKS = [10, 100], [2, 4, 8, 16, 32, 64, 128]
SECONDS_PER_HOP = 30e-6  # of a message from rank to rank, assumed
LONGEST_WINDOW = 35  # of the measured windows; longer ones take proportionally longer
PAYS = 1.2  # twice as many ranks pay if they are this many times as fast
UPDATES = 3  # made in a turn


def benchmark_distributed(rounds: int) -> list[dict]:
    """Two ranks and one process in turn; then a step on N ranks, simulated from one process."""
    rows = [_in_turn(name, vocab_size, rounds) for name, vocab_size in IN_TURN]
    for name, vocab_size in SIMULATED:
        measured = _in_new_process(_measure_compute, name, vocab_size, rounds)
        rows += [_simulate(name, measured, gigabits) for gigabits in GIGABITS]
    return rows


# --- in turn -------------------------------------------------------------------------------------


def _in_turn(name: str, vocab_size: int, rounds: int) -> dict:
    """Compares one process with one and with two threads, and two ranks with a thread each."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    candidates = {"one thread": [(0, 1, 1)], "two threads": [(0, 1, 2)]}
    candidates |= {"two ranks": [(0, 2, 1), (1, 2, 1)]}
    workers = {
        who: [_start(_train_in_turn, name, vocab_size, port, *how) for how in started]
        for who, started in candidates.items()
    }
    facts = {who: [pipe.recv() for pipe, _ in some] for who, some in workers.items()}
    seconds: dict[str, list[float]] = {who: [] for who in workers}
    work: dict[str, list[float]] = {who: [] for who in workers}
    for number in range(rounds + 1):
        for who, some in workers.items():
            for pipe, _ in some:
                pipe.send("train")
            took = [pipe.recv() for pipe, _ in some]
            if number:
                seconds[who].append(max(wall for wall, _ in took))
                work[who].append(sum(processor for _, processor in took))
    for pipe, process in (worker for some in workers.values() for worker in some):
        pipe.send("end")
        process.join()
    words = UPDATES * facts["one thread"][0]["words"]
    two, sent = "two ranks", facts["two ranks"][0]
    return {
        "shape": name,
        **{f"{who}, words/s": round(words / statistics.median(seconds[who])) for who in seconds},
        "two ranks over two threads": _median_ratio(seconds["two threads"], seconds[two]),
        "their work over one thread's": _median_ratio(work[two], work["one thread"]),
        "KB an update": round(sent["bytes"] / 1e3),
        "ms in the last wait": round(1e3 * sent["waited"], 1),
    }


def _median_ratio(some: list[float], others: list[float]) -> float:
    return round(statistics.median(a / b for a, b in zip(some, others, strict=True)), 2)


def _train_in_turn(
    pipe: Connection, name: str, vocab_size: int, port: int, rank: int, size: int, threads: int
) -> None:
    """Makes updates whenever it is told to, and answers their wall and processor time."""
    torch.set_num_threads(threads)
    if size > 1:
        names = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
        values = (rank, rank, size, "127.0.0.1", port)
        os.environ.update(zip(names, map(str, values), strict=True))
    with joined() as ranks, tempfile.TemporaryDirectory() as folder:
        if size > 1:
            ranks.connect()
        trainer = _trainer(endless_config(name), vocab_size, Path(folder), ranks)
        share_start(trainer)
        trainer.update()
        words_before = trainer.progress.words
        with _counted() as counted:
            trainer.update()
        pipe.send({"words": trainer.progress.words - words_before} | counted)
        while pipe.recv() == "train":
            wall, processor = time.perf_counter(), time.process_time()
            for _ in range(UPDATES):
                trainer.update()
            pipe.send((time.perf_counter() - wall, time.process_time() - processor))


@contextmanager
def _counted() -> Iterator[dict[str, float]]:
    """While entered, counts the bytes that a rank hands to the others, and its last wait."""
    counted = {"bytes": 0.0, "waited": 0.0}

    def counting(function: Callable[..., Any], place: int) -> Callable[..., Any]:
        def run(*args: Any, **options: Any) -> Any:
            counted["bytes"] += args[place].numel() * args[place].element_size()
            return function(*args, **options)

        return run

    def waiting(ranks: Ranks, *args: Any) -> Any:
        begun = time.perf_counter()
        answer = finish(ranks, *args)
        counted["waited"] = time.perf_counter() - begun
        return answer

    finish = Ranks.finish_update
    with (
        mock.patch.object(dist, "all_reduce", counting(dist.all_reduce, 0)),
        mock.patch.object(dist, "all_gather", counting(dist.all_gather, 1)),
        mock.patch.object(Ranks, "finish_update", waiting),
    ):
        yield counted


# --- simulated -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Compute:
    """What one process needs for an update, and what it would send.

    Attributes:
        parameters: of the network.
        words: of an update.
        fixed: seconds of an update without words.
        per_word: seconds of a word, forward and backward.
        buckets: bytes of each, and when it is there: which part of forward and backward is done.
        sparse: bytes of the sparse gradients.
    """

    parameters: int
    words: int
    fixed: float
    per_word: float
    buckets: list[tuple[int, float]]
    sparse: int

    def seconds(self, ranks: int, gigabits: float) -> float:
        """Seconds of an update of the same batch on that many ranks, each on its own machine."""
        passes = self.per_word * self.words / ranks
        if ranks == 1:
            return self.fixed + passes
        end = 0.0
        for size, part in self.buckets:
            end = max(end, passes * part) + _sum_seconds(size, ranks, gigabits)
        end = max(end, passes) + 2 * _sum_seconds(64, ranks, gigabits)  # losses, number of rows
        return self.fixed + end + _sum_seconds(self.sparse, ranks, gigabits)


def _sum_seconds(size: int, ranks: int, gigabits: float) -> float:
    """Seconds in which ranks in a ring sum ``size`` bytes: each sends twice almost all of them."""
    hops = 2 * (ranks - 1)
    return hops / ranks * size / (gigabits * 1e9 / 8) + hops * SECONDS_PER_HOP


def _measure_compute(pipe: Connection, name: str, vocab_size: int, rounds: int) -> None:
    """Sends the `Compute` of a configuration: processor times of one core."""
    torch.set_num_threads(1)
    config = endless_config(name)
    batch, length = config.training.batch_size, config.training.bptt_length
    medians, found = {}, {}
    for streams in (batch, max(1, batch // 4)):
        with tempfile.TemporaryDirectory() as folder:
            short = replace(
                config.training,
                batch_size=streams,
                bptt_length=min(length, LONGEST_WINDOW),
                bptt_variation=0.0,
            )
            short_config = replace(config, training=short)
            trainer = _trainer(short_config, vocab_size, Path(folder), Ranks())
            times = []
            for _ in range(rounds + 1):
                begun = time.process_time()
                trainer.update()
                times.append(time.process_time() - begun)
            words = streams * short.bptt_length
            medians[words] = statistics.median(times[1:])
            if streams == batch:
                found = _note_sends(trainer)
    (many, slow), (few, fast) = medians.items()
    per_word = (slow - fast) / (many - few)
    pipe.send(
        Compute(
            trainer.network.parameter_count,
            batch * length,
            max(0.0, fast - per_word * few),
            per_word,
            found["buckets"],
            found["sparse"],
        )
    )


def _note_sends(trainer: Trainer) -> dict[str, Any]:
    """Makes an update of one process, and notes when its buckets would be sent, and how large."""
    sums, sent = GradientSums(trainer.network), []

    def note(bucket: Any) -> None:
        size = sum(parameter.numel() for parameter in bucket.parameters)
        sent.append((4 * size, time.process_time()))

    begun = time.process_time()
    with (
        mock.patch("lstm_lm.training.gradient_sums._Bucket.send", note),
        mock.patch.object(trainer.ranks, "begin_last_backward", sums.begin),
        mock.patch.object(trainer.ranks, "finish_update", lambda *args: (*args[:2],)),
        mock.patch.object(trainer, "_finish_update", lambda *args: None),
    ):
        trainer.update()
        passes = time.process_time() - begun
        rows = sums.row_counts()
    width = trainer.network.config.embedding_dim
    buckets = [(size, (moment - begun) / passes) for size, moment in sent]
    return {"buckets": buckets, "sparse": sum(count * (4 * width + 8) for count in rows)}


def _simulate(name: str, compute: Compute, gigabits: int) -> dict:
    alone = compute.seconds(1, gigabits)
    row: dict[str, Any] = {
        "simulated": name,
        "million parameters": round(compute.parameters / 1e6, 1),
        "MB an update": round((sum(size for size, _ in compute.buckets) + compute.sparse) / 1e6, 1),
        "Gbit/s": gigabits,
        "1 rank, ms": round(1e3 * alone),
    }
    times = {1: alone} | {ranks: compute.seconds(ranks, gigabits) for ranks in RANKS}
    for ranks in RANKS:
        row[f"{ranks}"] = f"{1e3 * times[ranks]:.0f} ms ({alone / times[ranks]:.1f}x)"
    row["pays to"] = 1
    for ranks in RANKS:
        if times[ranks // 2] / times[ranks] < PAYS:
            break
        row["pays to"] = ranks
    return row


# --- both ----------------------------------------------------------------------------------------


def _trainer(config: Config, vocab_size: int, folder: Path, ranks: Ranks) -> Trainer:
    size = config.training.batch_size * config.training.bptt_length * 100
    tokens = np.random.default_rng(0).choice(vocab_size, size, p=zipf_shares(vocab_size))
    return make_trainer(config, tokens, count_words(tokens, vocab_size), folder, ranks)


def _start(work: Callable[..., None], *args: Any) -> tuple[Connection, Any]:
    spawn = multiprocessing.get_context("spawn")
    here, there = spawn.Pipe()
    process = spawn.Process(target=work, args=(there, *args), daemon=True)
    process.start()
    there.close()
    return here, process


def _in_new_process(work: Callable[..., None], *args: Any) -> Any:
    pipe, process = _start(work, *args)
    answer = pipe.recv()
    process.join()
    return answer
