"""A short torture: runs in other processes are killed, stopped and damaged; nothing may be lost."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.torture.damage import READERS

ROOT = Path(__file__).parent.parent

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not hasattr(os, "fork"), reason="the processes are forked"),
]


@pytest.fixture(scope="module")
def rows():
    done = subprocess.run(
        [sys.executable, "-m", "tests.torture", "--short", "--json"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    assert done.returncode in (0, 1) and done.stdout, done.stderr
    return json.loads(done.stdout)


def test_nothing_is_lost(rows):
    assert not [row["lost"] for row in rows if row["lost"]]
    assert all(row["times"] == row["survived"] > 0 for row in rows), rows


@pytest.mark.parametrize(
    "words, times",
    [
        ("SIGKILL between two system calls", 5),
        ("SIGKILL at every system call", 15),
        ("SIGKILL of one rank", 2),
        ("kills of a rank equals", 1),
        ("equals the untouched one", 2),
        ("Ctrl-C or SIGTERM while", 16),
        ("random moment of a new process", 2),
        ("disk full from a system call", 8),
        ("system call of a save refused", 8),
        ("limit on the size of files", 3),
        ("truncated: reported", 24),
        ("bit flipped: reported", 42),
        ("missing: reported", 6),
        ("of another run: reported", 8),
        ("no effect", 45),
        ("command that the error names", 12),
        ("several files damaged", 1),
        ("hostile", 18),
        ("links to files", 9),
        ("second run in the directory", 4),
        ("at the same moment", 1),
        ("encoding one corpus at once", 2),
        ("in the cache", 20),
        ("kill while a corpus is encoded", 8),
        ("corpus changed", 8),
        ("stranger's file", 10),
        ("compiled loop", 1),
        ("two containers", 2),
        ("larger than the memory", 2),
    ],
)
def test_what_was_done(rows, words, times):
    assert sum(row["times"] for row in rows if words in row["what"]) >= times, [
        row["what"] for row in rows
    ]


def test_every_file_of_a_run_is_listed_with_its_readers(new_run):
    assert set(READERS) == {path.name for path in new_run.iterdir()}
