"""Checks that memory does not grow in minutes of training and in 100,000 predictions.

    python scripts/soak.py            30 minutes of configs/long-range.yaml, 100,000 prompts
    python scripts/soak.py --minutes 3 --prompts 10000

Memory is flat if no later peak is more than 1 % above the first. There is one peak per minute of
training, and one per tenth of the prompts. Linux records the peaks, so none is missed.
"""

from __future__ import annotations

import argparse
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

CONFIG = Path(__file__).parent.parent / "configs" / "long-range.yaml"
WORDS = "I grew up in France Italy Spain . She speaks fluent the a and of xyzzy don't".split()


def peak_megabytes(process: int) -> float:
    """The peak resident memory of a process since the last call, from Linux."""
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
        raise SystemExit(f"process {process} ended early")
    (folder / "clear_refs").write_text("5")
    return int(peak.split()[1]) / 1024


def is_flat(name: str, peaks: list[float]) -> bool:
    """Prints the peaks and whether they are flat."""
    growth = max(peaks[1:]) / peaks[0] - 1
    print(
        f"{name}: {', '.join(f'{peak:.1f}' for peak in peaks)} MB: {growth:+.2%} at most, "
        f"{'flat' if growth <= 0.01 else 'NOT FLAT'}",
        flush=True,
    )
    return growth <= 0.01


def is_training(run: Path) -> bool:
    """Whether a run has taken its first steps."""
    log = run / "metrics.jsonl"
    return log.exists() and log.stat().st_size > 0


def soak_training(minutes: int, folder: Path) -> bool:
    """Trains the network of long-range.yaml, reads every minute's peak, and stops it with SIGTERM.

    The corpus is a thirtieth of its own, and the run validates often, so that everything
    happens in the first minute.
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
            "stories.count=4000",
            "training.max_epochs=1000",
            "training.checkpoint_every=50",
            "training.validate_every=25",
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    while process.poll() is None and not is_training(folder / "run"):
        time.sleep(0.1)
    peak_megabytes(process.pid)  # the peak of the start does not count
    peaks = []
    for _ in range(minutes):
        time.sleep(60)
        peaks.append(peak_megabytes(process.pid))
    process.send_signal(signal.SIGTERM)
    status = process.wait()
    return is_flat(f"training, the peak of each of {minutes} minutes", peaks) and status == 143


def soak_predictions(prompts: int, folder: Path) -> bool:
    """Sends one ``lstm-lm predict`` that many different prompts; reads the peak of every tenth."""
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
                peak_megabytes(process.pid)  # the peak of loading does not count
            if (number + 1) % (prompts // 10) == 0:
                peaks.append(peak_megabytes(process.pid))
        process.stdin.close()
    return (
        is_flat(f"{prompts:,} prompts, the peak of each tenth", peaks) and process.returncode == 0
    )


def main() -> int:
    """Runs both parts; returns 1 if memory grew."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--minutes", type=int, default=30, help="minutes of training, at least 2 (default 30)"
    )
    parser.add_argument(
        "--prompts",
        type=int,
        default=100_000,
        help="number of prompts, at least 20 (default 100,000)",
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
