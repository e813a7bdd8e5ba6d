"""Gives huge texts to the commands; prints exit status, time, memory and the last line of output.

    python scripts/torture_inputs.py       100 MB and 10 million lines: ten minutes, 1 GB of disk
    python scripts/torture_inputs.py --megabytes 3 --commands train predict score evaluate probe
    python scripts/torture_inputs.py --only "blank lines"      texts whose name contains this

Memory is that of the process, minus that of a process with a text of two lines; "x size" is this
divided by the size of the text. Exit status 0: the text was read. 2: it was refused in one line.
Anything else, or a traceback, makes this script fail.
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
corpus: {source: files, train_file: FOLDER/small.txt, valid_file: FOLDER/small.txt,
         cache_dir: FOLDER/cache}
model: {embedding_dim: 8, hidden_size: 8, num_layers: 1}
training: {max_steps: 3, max_epochs: null, device: cpu}
"""
SMALL = b"the quick brown fox jumps over the lazy dog\nand runs on\n"
WORDS = SMALL.replace(b"\n", b" ")
MOST_MEMORY = 12 << 30  # bytes of address space; a process that needs more fails


def repeated(unit: bytes, size: int, end: bytes = b"\n") -> Iterator[bytes]:
    """Yields about ``size`` bytes: one unit, repeated."""
    block = unit * (2**20 // len(unit) + 1)
    for _ in range(size // len(block)):
        yield block
    yield unit * (size % len(block) // len(unit)) + end


def texts(size: int, lines: int) -> dict[str, Callable[[], Iterator[bytes]]]:
    """Name -> function that yields the parts of the text."""
    return {
        "one line of words": lambda: repeated(WORDS, size),
        "one line of emoji and right-to-left words": lambda: repeated(
            "שלום 👍🏽 日本 e\u0301 ".encode(), size
        ),
        "one line without white space": lambda: repeated(b"abcdefghij", size),
        "one line of punctuation without white space": lambda: repeated(b"a,b.c-d'e", size),
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
    """Writes a .parquet with a row for every line of a .txt; writes nothing if that is not UTF-8.

    This happens in another process, because this process's peak memory counts for its children.
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
    """Runs ``lstm-lm``; returns exit status, CPU seconds, peak memory in MB, and its last line."""
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
    """Yields the commands for a text: name, the words after ``lstm-lm``, and standard input."""
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
        "--lines", type=int, help="lines of the texts of many lines; default: 100,000 per megabyte"
    )
    parser.add_argument(
        "--commands",
        nargs="+",
        default=["train"],
        help="train (default), predict, score, evaluate, probe; train is the fastest",
    )
    parser.add_argument("--only", default="", metavar="NAME", help="texts whose name contains this")
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
            f"two lines: {base:,.0f} MB\n"
            f"{'text':44}{'size':>8}  {'command':15}{'exit':>4}{'seconds':>9}"
            f"{'MB more':>9}{'x size':>8}  last line"
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
                        f"{label:44}{size:6,.0f}MB  {command:15}{status:4}{seconds:9,.1f}"
                        f"{more:9,.0f}{more / size:8.1f}  {said}",
                        flush=True,
                    )
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
