"""Train a model from a YAML file.

lstm-lm train configs/quickstart.yaml
lstm-lm train configs/wikitext2.yaml model.hidden_size=400 optimizer.learning_rate=1e-3 --output runs/wide
lstm-lm train configs/wikitext2.yaml --resume
"""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lstm_lm.config import Config
    from lstm_lm.training.resuming import ResumePoint
    from lstm_lm.training.trainer import Trainer


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
    from lstm_lm.config import load_config
    from lstm_lm.errors import DamagedRunError, InputError, RunDirectoryError

    if args.resume and args.overwrite:
        raise InputError("--resume and --overwrite: give one of them")
    if args.mend and not args.resume:
        raise InputError("--mend: give it together with --resume")
    notes: list[str] = []
    config = load_config(args.config, args.overrides, notes)
    for note in notes:
        print(f"note: {note}", file=sys.stderr)
    folder = args.output or Path("runs") / Path(args.config).stem

    from lstm_lm.training.run import choose_resume_point
    from lstm_lm.training.run_directory import YAML_FILE, claim_folder, load_run_config, was_changed

    with claim_folder(folder, resume=args.resume, overwrite=args.overwrite):
        if args.resume and Path(args.config).resolve() == (folder / YAML_FILE).resolve():
            load_run_config(folder)  # what is damaged must not become the settings to go on with
        try:
            point = choose_resume_point(folder, config, mend=args.mend) if args.resume else None
        except DamagedRunError as error:
            raise RunDirectoryError(
                f"{error}: {shlex.join(_to_go_on(args, folder))} --mend"
            ) from None
        if point is None and was_changed(Path(args.config)):
            print(f"note: {args.config} was changed since its run wrote it", file=sys.stderr)
        return _train(args, config, folder, point)


def _train(
    args: argparse.Namespace, config: Config, folder: Path, point: ResumePoint | None
) -> int:
    from lstm_lm.model.scoring import perplexity_from

    trainer, status = carry_out(
        config,
        folder,
        point,
        again=_to_go_on(args, folder),
        if_finished=(
            "this run is finished already; to go on, raise training.max_steps, max_epochs or patience"
        ),
        if_diverged=", then --resume",
    )
    if status == 0:
        print(
            f"done: best valid perplexity {perplexity_from(trainer.progress.best_loss, 1):.2f} at step "
            f'{trainer.progress.best_step:,}; {trainer.log.seconds:,.0f} s\n  lstm-lm predict {folder} "..."\n'
            f"  training curve: {folder / 'training_curve.png'}"
        )
    return status


def _to_go_on(args: argparse.Namespace, folder: Path) -> list[str]:
    return ["lstm-lm", "train", args.config, *args.overrides, "--output", str(folder), "--resume"]


def carry_out(
    config: Config,
    folder: Path,
    point: ResumePoint | None,
    *,
    again: Sequence[str],
    if_finished: str,
    if_diverged: str,
) -> tuple[Trainer, int]:
    """Trains to the end, or to Ctrl-C, in a run directory that has been claimed.

    Args:
        config: the whole of it.
        folder: the run directory.
        point: what to go on from, if anything.
        again: the command to go on with after Ctrl-C.
        if_finished: what to say if there is nothing left to train.
        if_diverged: what to do then, beside lowering the learning rate.

    Returns:
        The trainer, and the exit status: 0, or 128 + the signal that stopped it.

    Raises:
        DivergedError: if the loss stops being finite.
    """
    from lstm_lm.cells.fast import on_cpu
    from lstm_lm.errors import DivergedError
    from lstm_lm.training.memory import memory_named
    from lstm_lm.training.run import build_trainer, tiny_as_zero, write_card

    with memory_named(), tiny_as_zero():
        trainer = build_trainer(config, folder, point)
        print(
            f"{trainer.model.describe()}\ntrain {len(trainer.streams.tokens):,} tokens, valid "
            f"{len(trainer.valid):,}, on {trainer.model.device}, into {folder}"
            + (f", from step {trainer.progress.step:,}" if point else ""),
            flush=True,
        )
        if (config.model.cell, config.model.recurrence, trainer.model.device.type) == (
            "lstm",
            "fused",
            "cpu",
        ) and (not on_cpu.is_compiled()):
            print(
                "(an LSTM on a CPU is trained faster where there is gcc, as `cc` or `$CC`)",
                flush=True,
            )
        if trainer.finished:
            print(if_finished)
        try:
            finished = trainer.run()
        except DivergedError as error:
            raise DivergedError(f"{error}{if_diverged}") from None
    if not finished:
        print(
            f"stopped and saved at step {trainer.progress.step:,}; go on with:\n  {shlex.join(again)}",
            file=sys.stderr,
        )
        return trainer, 128 + trainer.signals.received
    write_card(trainer, config)
    if skipped := trainer.progress.skipped_updates:
        print(
            f"{skipped:,} update{'s' * (skipped > 1)} skipped, whose loss or gradient was not finite"
        )
    return trainer, 0
