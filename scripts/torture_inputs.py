"""Feeds real processes with text of absurd sizes, and prints what became of it: time, memory and the last line said.

    python scripts/torture_inputs.py                        100 MB and 10 million lines (some ten minutes, 1 GB of disk)
    python scripts/torture_inputs.py --megabytes 3 --commands train predict score evaluate probe
    python scripts/torture_inputs.py --only "blank lines"   those whose name has this in it

Memory is what a process needed beyond one that was fed two lines, and that over the size of its text. Exit status 0 is
text that was read, 2 one sentence about text that was not; anything else, or a traceback, makes this script fail.
"""

from __future__ import annotations

import argparse
import contextlib
import multiprocessing
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

CONFIG = """\
corpus: {source: files, train_file: FOLDER/small.txt, valid_file: FOLDER/small.txt, cache_dir: FOLDER/cache}
model: {embedding_dim: 8, hidden_size: 8, num_layers: 1}
training: {max_steps: 3, max_epochs: null, device: cpu}
"""
SMALL = b"the quick brown fox jumps over the lazy dog\nand runs on\n"
WORDS = SMALL.replace(b"\n", b" ")
MOST_MEMORY = 12 << 30  # bytes of addresses; a process that needs more is refused it, and fails


def repeated(unit: bytes, size: int, end: bytes = b"\n") -> Iterator[bytes]:
    """Yields about ``size`` bytes of one unit again and again."""
    block = unit * (2**20 // len(unit) + 1)
    for _ in range(size // len(block)):
        yield block
    yield unit * (size % len(block) // len(unit)) + end


def texts(size: int, lines: int) -> dict[str, Callable[[], Iterator[bytes]]]:
    """Name -> what makes the text."""
    return {
        "one line of words": lambda: repeated(WORDS, size),
        "one line of emoji and right-to-left words": lambda: repeated(
            "שלום 👍🏽 日本 e\u0301 ".encode(), size
        ),
        "one line without white space": lambda: repeated(b"abcdefghij", size),
        "one line of marks without white space": lambda: repeated(b"a,b.c-d'e", size),
        "one line of NUL": lambda: repeated(b"\0", size),
        "one line of spaces": lambda: repeated(b" ", size),
        "a word of a million characters": lambda: iter([b"x" * 10**6, b" and another one\n"]),
        "a million combining marks": lambda: iter(
            [b"e" + "\u0301".encode() * 10**6, b" two words\n"]
        ),
        "many lines": lambda: repeated(SMALL, lines // 2 * len(SMALL), b""),
        "blank lines": lambda: repeated(b"\n", lines, SMALL),
        "random bytes": lambda: (os.urandom(2**20) for _ in range(size // 2**20 + 1)),
    }


def write_parquet(path: Path, text: Path) -> None:
    """Writes a .parquet with a row for every line of a .txt, or nothing if that is not UTF-8.

    In a process of its own: what this one has needed would count as needed by those that it starts.
    """
    process = multiprocessing.get_context("fork").Process(target=_write_parquet, args=(path, text))
    process.start()
    process.join()


def _write_parquet(path: Path, text: Path) -> None:
    import pyarrow
    import pyarrow.parquet

    with (
        contextlib.suppress(UnicodeDecodeError),
        text.open(encoding="utf-8", newline="\n") as lines,
    ):
        first = lines.readlines(2**22)
        kind = pyarrow.large_string()
        with pyarrow.parquet.ParquetWriter(path, pyarrow.schema({"text": kind})) as file:
            while first:
                file.write_table(pyarrow.table({"text": pyarrow.array(first, kind)}))
                first = lines.readlines(2**22)


def run(words: list[str], stdin: Path | None = None) -> tuple[int, float, float, str]:
    """Runs ``lstm-lm``: exit status, seconds of processor, peak memory in MB, the last line that it said."""
    with tempfile.TemporaryFile() as said, open(stdin or os.devnull, "rb") as fed:
        process = subprocess.Popen(
            [sys.executable, "-m", "lstm_lm", *words],
            stdin=fed,
            stdout=said,
            stderr=subprocess.STDOUT,
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (MOST_MEMORY,) * 2),
        )
        _, status, usage = os.wait4(process.pid, 0)
        said.seek(max(0, said.seek(0, os.SEEK_END) - 4096))
        last = said.read().decode("utf-8", "replace").strip().splitlines()[-1:] or [""]
    return (
        os.waitstatus_to_exitcode(status),
        usage.ru_utime + usage.ru_stime,
        usage.ru_maxrss / 1024,
        last[0],
    )


def cases(folder: Path, text: Path) -> Iterator[tuple[str, list[str], Path | None]]:
    """Yields what is done with a text: name, the words after ``lstm-lm``, and standard input."""
    config, model = str(folder / "config.yaml"), str(folder / "model")
    train = ["train", config, "--output", str(folder / "fresh"), "--overwrite"]
    yield "train", [*train, f"corpus.train_file={text}"], None
    parquet = text.with_suffix(".parquet")
    write_parquet(parquet, text)
    if parquet.exists():
        yield "train, Parquet", [*train, f"corpus.train_file={parquet}"], None
    parquet.unlink(missing_ok=True)
    yield "predict", ["predict", model], text
    yield "score", ["score", model], text
    yield "evaluate", ["evaluate", model, "--file", str(text), "--reset-per-line"], None
    suite = text.rename(text.with_name("suite.txt"))
    yield "probe", ["probe", model, str(suite)], None
    suite.unlink()


def main() -> int:
    """Prints a row for every text and command; returns 1 if anything failed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--megabytes", type=int, default=100, help="size of a text (default 100)")
    parser.add_argument(
        "--lines", type=int, help="of texts of many lines; default: 100,000 a megabyte"
    )
    parser.add_argument(
        "--commands",
        nargs="+",
        default=["train"],
        help="train (default), predict, score, evaluate, probe; all but train take minutes for 100 MB",
    )
    parser.add_argument(
        "--only", default="", metavar="NAME", help="texts whose name has this in it"
    )
    args = parser.parse_args()
    failed = 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "config.yaml").write_text(CONFIG.replace("FOLDER", name))
        (folder / "small.txt").write_bytes(SMALL)
        status, _, base, said = run(
            ["train", str(folder / "config.yaml"), "--output", str(folder / "model")]
        )
        assert status == 0, said
        print(
            f"two lines: {base:,.0f} MB\n{'text':44}{'size':>8}  {'command':15}{'exit':>4}{'seconds':>9}"
            f"{'MB more':>9}{'x size':>8}  said last"
        )
        for label, make in texts(
            args.megabytes * 10**6, args.lines or args.megabytes * 100_000
        ).items():
            if args.only not in label:
                continue
            text = folder / "text.txt"
            with text.open("wb") as file:
                file.writelines(make())
            size = text.stat().st_size / 1e6
            for command, words, stdin in cases(folder, text):
                if command.split(",")[0] in args.commands:
                    status, seconds, peak, said = run(words, stdin)
                    failed += status not in (0, 2) or "Error" in said
                    more = max(0.0, peak - base)
                    said = said.replace(f"{folder}/", "").removeprefix("lstm-lm: error: ")[:100]
                    print(
                        f"{label:44}{size:6,.0f}MB  {command:15}{status:4}{seconds:9,.1f}{more:9,.0f}"
                        f"{more / size:8.1f}  {said}",
                        flush=True,
                    )
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
