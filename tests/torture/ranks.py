"""SIGKILL of single ranks of a training on several processes, which then start again together."""

import os
import signal
import socket
import sys
import time
from functools import partial
from pathlib import Path

from torch.distributed import TCPStore

from tests.torture.ground import Ground, Process, Row

# Seconds within which the others end when a rank was killed.
ENDS_WITHIN = 60
# What a rank may say when another one was killed: that it noticed, or that torchrun stopped it.
ENDINGS = ("another rank has ended", "lstm-lm: stopped")
STORES: list[TCPStore] = []  # a store that is not kept is closed


def free_port() -> int:
    """Returns a port at which the ranks can meet."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def environment(rank: int, size: int, port: int) -> dict[str, str]:
    """Returns what torchrun tells a process."""
    return {
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": str(size),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
    }


def start_ranks(ground: Ground, size: int, *words: object) -> list[Process]:
    """Starts ``lstm-lm`` with these words in several processes that train together.

    They meet in this process, as they do in torchrun's.
    """
    store = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    STORES.append(store)

    def become(rank: int) -> None:
        os.environ.update(environment(rank, size, store.port))
        os.environ["TORCHELASTIC_USE_AGENT_STORE"] = "True"
        # pytest has put its own in their place
        sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115
        sys.stderr = open(2, "w", closefd=False)  # noqa: SIM115

    return [ground.start(*words, prepare=partial(become, rank)) for rank in range(size)]


def wait_for_bytes(run: Path, count: int, seconds: float = 100) -> None:
    """Waits until the log of a run has so many bytes, or for so long."""
    log, deadline = run / "metrics.jsonl", time.monotonic() + seconds
    while time.monotonic() < deadline:
        if log.is_file() and log.stat().st_size >= count:
            return
        time.sleep(0.002)


def kill_ranks(ground: Ground, kills: int, size: int = 2) -> list[Row]:
    """One training, of which a random rank is killed so often, as under ``--max-restarts``."""
    ended = Row("SIGKILL of one rank of a training: the others end, and all start again")
    at_end = Row(f"the training after {kills} kills of a rank equals the untouched one")
    command = ("train", ground.config, "--auto-resume", "--output")
    for process in start_ranks(ground, size, *command, ground.whole):
        if process.wait() != 0:
            at_end.note(False, process.err)
            return [ended, at_end]
    run = ground.folder / "ranks"
    while True:
        ranks = start_ranks(ground, size, *command, run)
        if ended.times == kills:
            break
        log = run / "metrics.jsonl"
        size_now = log.stat().st_size if log.is_file() else 0
        wait_for_bytes(run, size_now + ground.draw.randint(1, 4000), seconds=2)
        time.sleep(ground.draw.uniform(0, 0.05))
        killed = ground.draw.choice(ranks)
        killed.send(signal.SIGKILL)
        begun, good = time.monotonic(), True
        for process in ranks:
            if process is not killed:
                killed.wait()
                process.send(signal.SIGTERM)  # as torchrun does
                process.wait()
                is_over = process.returncode == 0 and killed.returncode == 0
                good &= is_over or process.returncode in (1, 143)
                said = process.err.strip().splitlines()
                good &= not said or (len(said) == 1 and any(word in said[0] for word in ENDINGS))
        good &= time.monotonic() - begun < ENDS_WITHIN
        ended.note(good, " ".join(f"{process.returncode} {process.err}" for process in ranks))
    good = all(process.wait() == 0 for process in ranks)
    at_end.note(good and not ground.differences(run), ground.differences(run) + ranks[0].err)
    return [ended, at_end]
