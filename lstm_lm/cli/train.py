"""Train a model from a YAML file.

lstm-lm train configs/quickstart.yaml
lstm-lm train configs/wikitext2.yaml model.hidden_size=400 optimizer.learning_rate=1e-3 --output runs/wide
lstm-lm train configs/wikitext2.yaml --resume
"""

from __future__ import annotations

import argparse
import shlex
import sys
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the command's arguments."""
    parser.add_argument("config", metavar="CONFIG.yaml")
    parser.add_argument(
        "overrides",
        nargs="*",
        metavar="section.key=value",
        help="takes the place of the file's value",
    )
    parser.add_argument(
        "--output", type=Path, metavar="RUN_DIR", help="default: runs/ and the configuration's name"
    )
    parser.add_argument(
        "--resume", action="store_true", help="go on from the last checkpoint in RUN_DIR"
    )
    parser.add_argument(
        "--mend",
        action="store_true",
        help="with --resume: go on from what is whole, where something is damaged",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace the run in RUN_DIR")


def run(args: argparse.Namespace) -> int:
    """Trains; returns 0, or 128 + the signal that stopped it."""
    from lstm_lm.errors import DamagedRunError, DivergedError, InputError, RunDirectoryError

    if args.resume and args.overwrite:
        raise InputError("--resume and --overwrite: give one of them")
    if args.mend and not args.resume:
        raise InputError("--mend: give it together with --resume")

    from lstm_lm.training.resolving import resolve

    config, folder = resolve(args.config, args.output, args.overrides)

    from lstm_lm.training.run import train

    again = ["lstm-lm", "train", args.config, *args.overrides, "--output", str(folder), "--resume"]
    try:
        run = train(config, folder, resume=args.resume, overwrite=args.overwrite, mend=args.mend)
    except DamagedRunError as error:
        raise RunDirectoryError(f"{error}: {shlex.join(again)} --mend") from None
    except DivergedError as error:
        raise DivergedError(f"{error}, then --resume") from None
    if run.stopped_by is not None:
        print(
            f"stopped and saved at step {run.steps:,}; resume with:\n  {shlex.join(again)}",
            file=sys.stderr,
        )
        return 128 + run.stopped_by
    if run.skipped_updates:
        print(f"{run.skipped_updates:,} updates skipped, because they were not finite")
    print(
        f"done: best valid perplexity {run.perplexity:.2f} at step {run.best_step:,}; "
        f'{run.seconds:,.0f} s\n  lstm-lm predict {folder} "..."\n'
        f"  training curve: {folder / 'training_curve.png'}"
    )
    return 0
