"""Trains for minutes, and predicts 100,000 times, in one process each, and says whether memory stays where it is.

    python scripts/soak.py                               30 minutes of configs/quickstart.yaml, and the prompts
    python scripts/soak.py --minutes 3 --prompts 10000

Flat is: after the first minute (the first tenth of the prompts), never more than 1 % above the most of that time.
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


def resident_megabytes(process: int) -> float:
    """Resident memory of a process, as Linux tells it."""
    pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
    return pages * 4096 / 2**20


def flat(name: str, first: list[float], later: list[float]) -> bool:
    """Prints what samples say, those of warming up and those after it."""
    growth = max(later) / max(first) - 1
    print(f"{name}: at first {max(first):,.1f} MB at most and {first[-1]:,.1f} at last; then {max(later):,.1f} at most "
          f"and {later[-1]:,.1f} at last: {growth:+.2%}, {'flat' if growth <= 0.01 else 'NOT FLAT'}", flush=True)
    return growth <= 0.01


def is_training(run: Path) -> bool:
    """Whether a run has made its first steps."""
    log = run / "metrics.jsonl"
    return log.exists() and log.stat().st_size > 0


def soak_training(minutes: float, folder: Path) -> bool:
    """Trains the quick start's network, stops it by SIGTERM at the end, and samples four times a second.

    The corpus is a tenth of the quick start's, and valid is looked at often, so that the first minute has seen it all.
    """
    process = subprocess.Popen(
        [sys.executable, "-m", "lstm_lm", "train", str(CONFIG), "--output", str(folder / "run"), "corpus.stories=4000",
         "training.max_epochs=1000", "training.checkpoint_every=50", "training.validate_every=25"],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while process.poll() is None and not is_training(folder / "run"):
        time.sleep(0.1)
    begin, first, later = time.monotonic(), [], []
    while (passed := time.monotonic() - begin) < minutes * 60 and process.poll() is None:
        (later if passed > 60 else first).append(resident_megabytes(process.pid))
        time.sleep(0.25)
    process.send_signal(signal.SIGTERM)
    status = process.wait()
    return flat(f"training, {minutes:g} minutes", first, later) and status == 143


def soak_predictions(prompts: int, folder: Path) -> bool:
    """Feeds one ``lstm-lm predict`` so many prompts, all of them different, and samples every hundredth."""
    with subprocess.Popen([sys.executable, "-m", "lstm_lm", "predict", str(folder / "run"), "--json"],
                          stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        first, later = [], []
        for number in range(prompts):
            words = [WORDS[(number // len(WORDS) ** k + k * number) % len(WORDS)] for k in range(1 + number % 30)]
            process.stdin.write(f"{' '.join(words)} {number}\n")
            process.stdin.flush()
            assert process.stdout.readline().startswith("{")
            if number % max(1, prompts // 100) == 0:
                (later if number >= prompts // 10 else first).append(resident_megabytes(process.pid))
        process.stdin.close()
    return flat(f"{prompts:,} prompts", first, later) and process.returncode == 0


def main() -> int:
    """Runs both; returns 1 if memory grew."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=30, help="of training, above 1 (default 30)")
    parser.add_argument("--prompts", type=int, default=100_000, help="to predict after (default 100,000)")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        results = [soak_training(args.minutes, Path(name)), soak_predictions(args.prompts, Path(name))]
    return int(not all(results))


if __name__ == "__main__":
    sys.exit(main())
