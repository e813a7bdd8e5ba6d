"""Train runs that differ in some settings, side by side, and show which is best.

  lstm-lm sweep quickstart optimizer.learning_rate=1e-3,3e-3,1e-2 --seeds 3
  lstm-lm sweep my.txt model.hidden_size=100,200,[200,100] model.num_layers=2 --output runs/sizes
  lstm-lm sweep quickstart optimizer.learning_rate=1e-4..1e-1 model.cell=lstm,gru --search 20

A comma separates values, except inside [], {} and quotes; a..b is a range for --search. A setting
with one value is for every run. Each run is an ordinary run directory in DIR. The same command
again continues: finished runs are kept, stopped ones are resumed. It may have more seeds, or more
trials.
"""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from lstm_lm.cli.options import add_config, add_json, add_training_device, overrides_of
from lstm_lm.cli.tables import print_json, print_table, shown, shown_seconds
from lstm_lm.errors import InputError
from lstm_lm.files.outputs import why_no_folder
from lstm_lm.printing import print_line, print_note, printable

if TYPE_CHECKING:
    from lstm_lm.training.sweep_record import Combination, SweepRecord

SAMPLERS = ("tpe", "random")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the command's arguments."""
    add_config(parser, "section.key=value,...")
    parser.add_argument(
        "--output",
        type=Path,
        metavar="DIR",
        help="where the runs go (default: runs/, the configuration's name and -sweep)",
    )
    parser.add_argument(
        "--seeds",
        type=int,
        metavar="N",
        help="train each combination with N seeds, from the configuration's training.seed on "
        "(default: 1)",
    )
    parser.add_argument(
        "--parallel",
        type=int,
        metavar="N",
        help="train N runs side by side, each with one thread (default: one a core, as far as "
        "memory suffices; one on an accelerator)",
    )
    parser.add_argument(
        "--search",
        type=int,
        metavar="N",
        help="do not train all combinations, but N that optuna chooses (pip install "
        "'lstm_lm[search]')",
    )
    parser.add_argument(
        "--sampler",
        choices=SAMPLERS,
        help="with --search: tpe learns from the trials so far; random does not (default: tpe)",
    )
    add_training_device(parser)
    add_json(
        parser, "the results, which are also in DIR/sweep.json; progress goes to standard error"
    )


def run(args: argparse.Namespace) -> int:
    """Trains what is not finished, draws and prints; returns 1 if no run is finished."""
    for option, value in (
        ("--seeds", args.seeds),
        ("--parallel", args.parallel),
        ("--search", args.search),
    ):
        if value is not None and value < 1:
            raise InputError(f"{option}: found {value}, must be at least 1")
    if args.sampler and not args.search:
        raise InputError("--sampler: has an effect only together with --search N")

    from lstm_lm.training.sweep_settings import load_sweep

    settings = load_sweep(
        args.config, overrides_of(args), seeds=args.seeds, search=args.search is not None
    )
    for line in (*settings.chosen, *(f"note: {note}" for note in settings.notes)):
        print_note(line)
    folder = args.output or Path("runs") / f"{Path(args.config).stem}-sweep"
    if why := why_no_folder(folder):
        raise InputError(f"--output: {folder} {why}; name a directory")

    from lstm_lm.training.signals import HeldSignals

    with HeldSignals():
        from lstm_lm.training.sweep import Search, sweep
    from lstm_lm.training.sweep_figure import draw_sweep
    from lstm_lm.training.sweep_record import PICTURE_FILE

    search = Search(args.search, args.sampler or SAMPLERS[0]) if args.search else None
    try:
        record = sweep(settings, folder, search=search, parallel=args.parallel, report=print_note)
    except KeyboardInterrupt:
        print_note("stopped; what was trained is kept, continue with:")
        print_note(f"  {shlex.join(['lstm-lm', *args.argv])}")
        raise
    any_finished = any(one.finished for one in record.combinations)
    if any_finished:
        draw_sweep(folder / PICTURE_FILE, record, settings.axes)
    if args.json:
        print_json(record.to_dict())
    else:
        _print_record(record)
        if any_finished:
            print_line(folder / PICTURE_FILE)
    return 0 if any_finished else 1


def _print_record(record: SweepRecord) -> None:
    """Prints a row for every combination, the best first; then what went wrong."""
    from lstm_lm.training.sweep_record import SWEEP_FILE

    names = short_names(list(record.description["swept"]))
    with_seeds = len(record.seeds) > 1
    head = ["runs", *names.values(), "valid perplexity"]
    if with_seeds:
        head += ["deviation", "seeds"]
    table = [[*head, "parameters", "time a run", ""]]
    for one in record.ranked:
        row = [Path(one.runs[0].folder).parent.name.partition("-")[0]]
        row += [one.values[key] for key in names]
        row.append(shown(one.perplexity, ",.2f"))
        if with_seeds:
            row += [shown(one.deviation, ",.2f"), f"{len(one.finished)} of {len(one.runs)}"]
        row.append(shown(one.parameters, ","))
        row.append("" if one.seconds is None else shown_seconds(one.seconds))
        table.append([*row, "best" if one is record.best else _trouble(one)])
    print_table(table)
    for one in record.ranked:
        for run in one.runs:
            if run.why:
                print_line(printable(f"  {run.folder}: {run.state}: {run.why}"))
    if not record.comparable:
        print_line(
            "  no best: these perplexities are of different texts or vocabularies, and cannot be "
            "compared (lstm-lm compare RUN1 RUN2 compares what can be)"
        )
    if (
        "mix" in record.description["base"]["corpus"]
        and record.description["base"]["corpus"]["mix"]
    ):
        print_line("  perplexity: of the sources of the mix by which the best weights are chosen")
    print_line(record.folder / SWEEP_FILE)


def _trouble(one: Combination) -> str:
    """What became of the runs that are not finished."""
    states = [run.state for run in one.runs if run not in one.finished]
    return ", ".join(
        f"{states.count(state)} {state}" if len(one.runs) > 1 else state
        for state in dict.fromkeys(states)
    )


def short_names(keys: Sequence[str]) -> Mapping[str, str]:
    """The last part of each dotted name; the whole name where two have the same."""
    last = [key.rpartition(".")[2] for key in keys]
    return {
        key: name if last.count(name) == 1 else key for key, name in zip(keys, last, strict=True)
    }
