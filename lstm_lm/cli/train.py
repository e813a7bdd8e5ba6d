"""Train a model.

lstm-lm train my.txt                                     (a text; sizes are chosen to suit it)
lstm-lm train quickstart                                 (a configuration that comes with lstm-lm)
lstm-lm train my.yaml model.hidden_size=400 optimizer.learning_rate=1e-3 --output runs/wide
lstm-lm train runs/wide --resume                         (continue a stopped run)
lstm-lm train my.txt --init-from runs/english            (start from what a model knows already)
lstm-lm train my.yaml --dry-run                          (how large, how long; trains nothing)
torchrun --nproc_per_node 2 -m lstm_lm train my.yaml     (on two processes, such as two GPUs)

Ctrl-C or a closed terminal saves the run and stops; --resume continues as if it had never stopped.
"""

from __future__ import annotations

import argparse
import json
import shlex
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from lstm_lm.cli.options import add_config, add_json, add_training_device, overrides_of
from lstm_lm.cli.tables import print_json, print_table, shown_bytes, shown_seconds
from lstm_lm.errors import DamagedRunError, DivergedError, InputError, RunDirectoryError
from lstm_lm.printing import print_line, print_note
from lstm_lm.training.launch import find_launch

if TYPE_CHECKING:
    from lstm_lm.config import Config
    from lstm_lm.training.run import Run


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the command's arguments."""
    add_config(parser)
    parser.add_argument(
        "--output",
        type=Path,
        metavar="RUN_DIR",
        help="where the run goes (default: CONFIG if it is a run directory, otherwise runs/NAME, "
        "such as runs/my for my.txt)",
    )
    parser.add_argument(
        "--resume", action="store_true", help="continue the run in RUN_DIR from its last checkpoint"
    )
    parser.add_argument(
        "--auto-resume",
        action="store_true",
        help="continue the run in RUN_DIR if there is one, otherwise begin it: the same command "
        "then does after a failure what it should, as torchrun --max-restarts needs it",
    )
    parser.add_argument(
        "--mend",
        action="store_true",
        help="with --resume or --auto-resume: if files of the run are damaged, continue from those "
        "that are whole",
    )
    parser.add_argument(
        "--overwrite", action="store_true", help="replace the run in RUN_DIR by a new one"
    )
    parser.add_argument(
        "--init-from",
        metavar="RUN",
        help="start from the words and weights of a run, or of a model on the hub, or from the "
        "vectors of a word2vec or GloVe text file",
    )
    parser.add_argument(
        "--dry-run",
        action="store_true",
        help="print the number of parameters, the memory and the time per epoch, measured in a few "
        "training steps; write nothing but the encoded corpus in the cache",
    )
    add_training_device(parser)
    add_json(parser, "one JSON object at the end; progress goes to standard error")


def run(args: argparse.Namespace) -> int:
    """Trains; returns 0, or 128 + the signal that stopped the run."""
    launch = find_launch()
    if not launch.is_first:  # the first one checks the arguments, reads the configuration, prints
        from lstm_lm.training.run import train

        followed = train(args.config)
        return 0 if followed.stopped_by is None else 128 + followed.stopped_by
    if (args.resume or args.auto_resume) and args.overwrite:
        option = "--resume" if args.resume else "--auto-resume"
        raise InputError(f"{option} and --overwrite: give one of them")
    if args.mend and not (args.resume or args.auto_resume):
        raise InputError("--mend: needs --resume")
    if args.dry_run and launch.size > 1:
        raise InputError("--dry-run: measures one process; start it without torchrun")

    from lstm_lm.training.resolving import has_run, resolve, start_override

    resume = args.resume or (args.auto_resume and has_run(args.config, args.output))
    overrides = overrides_of(args)
    if args.init_from:
        for name, value in start_override(args.init_from).items():
            overrides.append(f"{name}={json.dumps(value, ensure_ascii=False)}")
    config, folder = resolve(args.config, args.output, overrides, print_note, resume=resume)
    if args.dry_run:
        _dry_run(config, as_json=args.json)
        return 0

    from lstm_lm.training.run import train

    try:
        run = train(
            config,
            folder,
            resume=resume,
            overwrite=args.overwrite,
            mend=args.mend,
            report=print_note if args.json else print_line,
        )
    except DamagedRunError as error:
        again = ["lstm-lm", "train", args.config, *overrides, "--output", str(folder), "--resume"]
        raise RunDirectoryError(f"{error}: {shlex.join(again)} --mend") from None
    except DivergedError as error:
        raise DivergedError(f"{error}, then --resume") from None
    if args.json:
        _print_json(run)
    if run.stopped_by is not None:
        again = ["lstm-lm", "train", str(folder), "--resume"]
        if launch.size > 1:
            again[:1] = ["torchrun", "--nproc_per_node", str(launch.size), "-m", "lstm_lm"]
        print_note(f"stopped and saved at step {run.steps:,}; resume with:")
        print_note(f"  {shlex.join(again)}")
        return 128 + run.stopped_by
    if not args.json:
        _print_result(run)
    return 0


def _dry_run(config: Config, *, as_json: bool) -> None:
    """Prints how large the model is, and how long its training would take."""
    from lstm_lm.training.dry_run import dry_run

    estimate = dry_run(config)
    if as_json:
        print_json(asdict(estimate))
        return
    memory = "not known" if estimate.memory is None else shown_bytes(estimate.memory)
    print_line(estimate.description)
    print_table(
        [
            ("parameters", f"{estimate.parameters:,}"),
            ("train tokens", f"{estimate.train_tokens:,}"),
            ("valid tokens", f"{estimate.valid_tokens:,}"),
            ("device", estimate.device),
            ("peak memory", memory),
            ("words per second", f"{estimate.words_per_second:,.0f}"),
            ("steps per epoch", f"{estimate.steps_per_epoch:,}"),
            ("time per epoch", shown_seconds(estimate.seconds_per_epoch)),
            ("steps, at most", f"{estimate.steps:,}"),
            ("time, at most", shown_seconds(estimate.seconds)),
        ]
    )
    print_line("times are without validation; nothing was trained")


def _print_json(run: Run) -> None:
    print_json(
        {
            "run": str(run.folder),
            "finished": run.finished,
            "steps": run.steps,
            "best_step": run.best_step,
            "perplexity": run.perplexity,
            "seconds": run.seconds,
            "skipped_updates": run.skipped_updates,
            "forgetting": asdict(run.forgetting) if run.forgetting else None,
        }
    )


def _print_result(run: Run) -> None:
    if run.skipped_updates:
        print_line(f"{run.skipped_updates:,} updates skipped, because they were not finite")
    best = ""
    if run.perplexity is not None and run.best_step is not None:
        best = f"best valid perplexity {run.perplexity:.2f} at step {run.best_step:,}; "
    folder = shlex.quote(str(run.folder))
    print_line(
        f"done: {best}{run.seconds:,.0f} s\n"
        f'  lstm-lm predict {folder} "..."\n'
        f"  training curve: {run.folder / 'training_curve.png'}"
    )
