"""Kills, stops and damages training runs, and prints what was lost.

python -m tests.torture                 everything: half an hour
python -m tests.torture --short         a small part of everything, as in the test suite
python -m tests.torture --only kills    one part
"""

import argparse
import contextlib
import io
import json
import os
import sys
import tempfile
import time
from pathlib import Path

# a process that has used a GPU cannot be forked
os.environ["CUDA_VISIBLE_DEVICES"] = ""

import torch  # noqa: E402

from lstm_lm.cli.main import main as lstm_lm  # noqa: E402
from lstm_lm.files.atomic import write_atomically  # noqa: E402
from lstm_lm.training.run_log import RunLog  # noqa: E402
from tests.torture import (  # noqa: E402
    damage,
    full_disk,
    hostile,
    kills,
    neighbours,
    ranks,
    stops,
    two,
)
from tests.torture.ground import Ground  # noqa: E402

# A kill loses nothing that the system has received, so fsync is not needed, and it is slow.
IN_MEMORY = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


def warm_up(folder: Path) -> None:
    """Imports what training imports, so that forked processes start at once.

    The processes write a few bytes in place of the picture, which takes most of the time of a small
    run; it is written like any other file.
    """
    RunLog.draw = lambda log: write_atomically(log.folder / "training_curve.png", b"a picture")
    ground = Ground(folder, steps=5)
    os.environ["LSTM_LM_CACHE"] = str(ground.cache)
    with contextlib.redirect_stdout(io.StringIO()):
        assert lstm_lm(["train", str(ground.config), "--output", str(ground.whole)]) == 0


def torture_kills(folder: Path, short: bool) -> list:
    """SIGKILL at random moments of one run, and at every system call of a save."""
    ground = Ground(folder, steps=300 if short else 4000)
    ground.run_whole()
    rows = kills.kill_often(ground, 9 if short else 100)
    ground = Ground(folder / "calls", steps=60)
    ground.run_whole()
    return rows + kills.kill_everywhere(ground, every=41 if short else 1)


def torture_stops(folder: Path, short: bool) -> list:
    """Ctrl-C and SIGTERM."""
    ground = Ground(folder, steps=400 if short else 3000)
    ground.run_whole()
    return stops.stop_often(ground, 16 if short else 96) + stops.stop_from_the_start(
        ground, 1 if short else 24
    )


def torture_disk(folder: Path, short: bool) -> list:
    """A full disk."""
    ground = Ground(folder, steps=52)
    ground.run_whole()
    rows = full_disk.fill_everywhere(ground, 31 if short else 1)
    return rows + full_disk.limit_file_sizes(ground, 3 if short else 40)


def torture_files(folder: Path, short: bool) -> list:
    """Damaged, exchanged and hostile files."""
    ground = Ground(folder, steps=20)
    ground.run_whole()
    return damage.damage_files(ground, *((4, 7) if short else (200, 500))) + hostile.attack_run(
        ground, 3 if short else 1
    )


def torture_pairs(folder: Path, short: bool) -> list:
    """Two processes at once."""
    ground = Ground(folder, steps=60)
    ground.run_whole()
    return two.share_a_directory(ground, 1 if short else 10) + two.share_a_cache(
        ground, 2 if short else 20
    )


def torture_neighbours(folder: Path, short: bool) -> list:
    """Other users and containers, strangers' files, little memory."""
    ground = Ground(folder, steps=20)
    ground.run_whole()
    return neighbours.live_with_others(ground, 3 if short else 1)


def torture_ranks(folder: Path, short: bool) -> list:
    """SIGKILL of single ranks of a training on two processes."""
    ground = Ground(folder, steps=60 if short else 500)
    return ranks.kill_ranks(ground, 2 if short else 30)


PARTS = {
    "kills": torture_kills,
    "stops": torture_stops,
    "disk": torture_disk,
    "files": torture_files,
    "pairs": torture_pairs,
    "neighbours": torture_neighbours,
    "ranks": torture_ranks,
}


def main() -> int:
    """Runs the chosen parts and prints a table; returns 0 if nothing was lost."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.torture",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--short", action="store_true")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(1)
    rows = []
    with tempfile.TemporaryDirectory(dir=IN_MEMORY) as folder:
        warm_up(Path(folder))
    for name in args.only:
        begin = time.perf_counter()
        with tempfile.TemporaryDirectory(dir=IN_MEMORY) as folder:
            rows += PARTS[name](Path(folder), args.short)
        print(f"{name}: {time.perf_counter() - begin:,.0f} s", file=sys.stderr)
    if args.json:
        print(json.dumps([vars(row) for row in rows]))
    else:
        for row in rows:
            print(
                f"| {row.what} | {row.times:,} | {row.survived:,} "
                f"| {'; '.join(row.lost[:3]) or 'nothing'} |"
            )
    return int(any(row.lost or not row.times for row in rows))


if __name__ == "__main__":
    sys.exit(main())
