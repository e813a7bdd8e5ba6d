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
    parser.add_argument("overrides", nargs="*", metavar="section.key=value", help="takes the place of the file's value")
    parser.add_argument("--output", type=Path, metavar="RUN_DIR", help="default: runs/ and the configuration's name")
    parser.add_argument("--resume", action="store_true", help="go on from the last checkpoint in RUN_DIR")
    parser.add_argument("--overwrite", action="store_true", help="replace the run in RUN_DIR")


def run(args: argparse.Namespace) -> int:
    """Trains; returns 0, or 128 + the signal that stopped it."""
    from lstm_lm.config import load_config
    from lstm_lm.errors import InputError

    if args.resume and args.overwrite:
        raise InputError("--resume and --overwrite: give one of them")
    config = load_config(args.config, args.overrides)
    folder = args.output or Path("runs") / Path(args.config).stem

    from lstm_lm.training.memory import memory_named
    from lstm_lm.training.run import build_trainer, claim_folder, write_card

    resume = claim_folder(folder, config, resume=args.resume, overwrite=args.overwrite)
    with memory_named():
        trainer = build_trainer(config, folder, resume=resume)
        print(f"{trainer.model.describe()}\ntrain {len(trainer.streams.tokens):,} tokens, valid "
              f"{len(trainer.valid):,}, on {trainer.model.device}, into {folder}"
              + (f", from step {trainer.progress.step:,}" if resume else ""), flush=True)
        if trainer.finished:
            print("this run is finished already; to go on, raise training.max_steps, max_epochs or patience")
        finished = trainer.run()
    if not finished:
        again = ["lstm-lm", "train", args.config, *args.overrides, "--output", str(folder), "--resume"]
        print(f"stopped and saved at step {trainer.progress.step:,}; go on with:\n  {shlex.join(again)}",
              file=sys.stderr)
        return 128 + trainer.signals.received
    write_card(trainer, config)
    from lstm_lm.model.scoring import perplexity_from

    if skipped := trainer.progress.skipped_updates:
        print(f"{skipped:,} update{'s' * (skipped > 1)} skipped, whose loss or gradient was not finite")
    print(f"done: best valid perplexity {perplexity_from(trainer.progress.best_loss, 1):.2f} at step "
          f"{trainer.progress.best_step:,}; {trainer.log.seconds:,.0f} s\n  lstm-lm predict {folder} \"...\"\n"
          f"  training curve: {folder / 'training_curve.png'}")
    return 0
