"""Trains for minutes, and predicts 100,000 times, in one process each, and says whether memory stays where it is.

    python scripts/soak.py                               30 minutes of configs/quickstart.yaml, and the prompts
    python scripts/soak.py --minutes 3 --prompts 10000

Flat is: the peak of no later minute (of no later tenth of the prompts) is more than 1 % above that of the first. Linux
knows the peaks themselves; samples would miss the short ones in one minute and catch them in thirty.
"""

from __future__ import annotations

import argparse
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

CONFIG = Path(__file__).parent.parent / "configs" / "quickstart.yaml"
WORDS = "I grew up in France Italy Spain . She speaks fluent the a and of xyzzy don't".split()


def peak_megabytes(process: int) -> float:
    """The most resident memory that a process has had since this was last asked, as Linux tells it."""
    folder = Path(f"/proc/{process}")
    peak = next(
        (
            line
            for line in (folder / "status").read_text().splitlines()
            if line.startswith("VmHWM:")
        ),
        None,
    )
    if peak is None:
        raise SystemExit(f"process {process} has ended by itself")
    (folder / "clear_refs").write_text("5")
    return int(peak.split()[1]) / 1024


def flat(name: str, peaks: list[float]) -> bool:
    """Prints what peaks say, the first of them that of warming up."""
    growth = max(peaks[1:]) / peaks[0] - 1
    print(
        f"{name}: {', '.join(f'{peak:.1f}' for peak in peaks)} MB: {growth:+.2%} at most, "
        f"{'flat' if growth <= 0.01 else 'NOT FLAT'}",
        flush=True,
    )
    return growth <= 0.01


def is_training(run: Path) -> bool:
    """Whether a run has made its first steps."""
    log = run / "metrics.jsonl"
    return log.exists() and log.stat().st_size > 0


def soak_training(minutes: int, folder: Path) -> bool:
    """Trains the quick start's network, stops it by SIGTERM at the end, and asks for every minute's peak.

    The corpus is a tenth of the quick start's, and valid is looked at often, so that the first minute has seen it all.
    """
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "lstm_lm",
            "train",
            str(CONFIG),
            "--output",
            str(folder / "run"),
            "corpus.stories=4000",
            "training.max_epochs=1000",
            "training.checkpoint_every=50",
            "training.validate_every=25",
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    while process.poll() is None and not is_training(folder / "run"):
        time.sleep(0.1)
    peak_megabytes(process.pid)  # of beginning; nobody asks
    peaks = []
    for _ in range(minutes):
        time.sleep(60)
        peaks.append(peak_megabytes(process.pid))
    process.send_signal(signal.SIGTERM)
    status = process.wait()
    return flat(f"training, the peak of each of {minutes} minutes", peaks) and status == 143


def soak_predictions(prompts: int, folder: Path) -> bool:
    """Feeds one ``lstm-lm predict`` so many prompts, all of them different, and asks for every tenth's peak."""
    with subprocess.Popen(
        [sys.executable, "-m", "lstm_lm", "predict", str(folder / "run"), "--json"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        peaks = []
        for number in range(prompts):
            words = [
                WORDS[(number // len(WORDS) ** k + k * number) % len(WORDS)]
                for k in range(1 + number % 30)
            ]
            process.stdin.write(f"{' '.join(words)} {number}\n")
            process.stdin.flush()
            assert process.stdout.readline().startswith("{")
            if number == 0:
                peak_megabytes(process.pid)  # of loading
            if (number + 1) % (prompts // 10) == 0:
                peaks.append(peak_megabytes(process.pid))
        process.stdin.close()
    return flat(f"{prompts:,} prompts, the peak of each tenth", peaks) and process.returncode == 0


def main() -> int:
    """Runs both; returns 1 if memory grew."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--minutes", type=int, default=30, help="of training, at least 2 (default 30)"
    )
    parser.add_argument(
        "--prompts",
        type=int,
        default=100_000,
        help="to predict after, at least 20 (default 100,000)",
    )
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        results = [
            soak_training(args.minutes, Path(name)),
            soak_predictions(args.prompts, Path(name)),
        ]
    return int(not all(results))


if __name__ == "__main__":
    sys.exit(main())
