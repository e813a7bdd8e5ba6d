"""Train one network per cell on the same data with the same budget, and see what each of them remembers.

  lstm-lm compare configs/quickstart.yaml --output runs/cells
  lstm-lm compare configs/quickstart.yaml --cells lstm,elman elman.optimizer.learning_rate=1e-3 --suites capital

section.key=value holds for every network, CELL.section.key=value for the one of that cell: model.*, optimizer.* and
training.max_grad_norm. Each network is an ordinary run in DIR/CELL. One that is there already is taken as it is, and
one that was stopped is gone on with.
"""

from __future__ import annotations

import argparse
import json
import re
import shlex
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lstm_lm.cli.probe import bucket_named, check_order
from lstm_lm.cli.tables import print_table, shown, shown_reach, shown_share
from lstm_lm.config import CELLS, Config, load_config
from lstm_lm.errors import ConfigError, InputError

if TYPE_CHECKING:
    from lstm_lm.probes.report import ReportRow

MEASURES = {"target-over-foil": "accuracy", "pairs": "pair_accuracy", "top-1": "top_1"}
NAMES = {"lstm": "LSTM", "gru": "GRU", "elman": "Elman"}
OVERRIDE = re.compile(r"[\w ]+(\.[\w ]+)+=")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the command's arguments."""
    parser.add_argument("config", metavar="CONFIG.yaml")
    parser.add_argument(
        "overrides",
        nargs="*",
        metavar="[CELL.]section.key=value",
        help="takes the place of the file's value, for one cell or for all",
    )
    parser.add_argument(
        "--cells",
        default=",".join(CELLS),
        metavar="CELL,...",
        help=f"default: {','.join(CELLS)}; the first one has the configuration's width",
    )
    parser.add_argument(
        "--output",
        type=Path,
        metavar="DIR",
        help="default: runs/ and the configuration's name and -compare",
    )
    parser.add_argument(
        "--equal",
        choices=("parameters", "width"),
        default="parameters",
        help="parameters (default): the others are as wide as makes them equally large; width: all "
        "have the configuration's model.hidden_size",
    )
    parser.add_argument(
        "--suites",
        nargs="+",
        default=[],
        metavar="SUITE",
        help="what to probe, as for lstm-lm probe; default: all built-in suites",
    )
    parser.add_argument(
        "--order",
        type=int,
        metavar="N",
        help="of the n-gram model beside them (default 5); 0: none",
    )
    parser.add_argument(
        "--measure",
        choices=MEASURES,
        default="target-over-foil",
        help="what picture and tables show; default: target-over-foil",
    )
    parser.add_argument(
        "--plot", type=Path, metavar="FILE", help="the picture, a PNG; default: DIR/compare.png"
    )
    parser.add_argument(
        "--json", action="store_true", help="print what is written into DIR/compare.json"
    )


def run(args: argparse.Namespace) -> int:
    """Trains, probes, draws and prints; returns 0, or 128 + the signal that stopped it."""
    from lstm_lm.probes.suites import built_in_names, find_suite

    cells = _read_cells(args.cells)
    misplaced = [
        word for word in args.suites if OVERRIDE.match(word)
    ]  # --suites takes all words behind it
    shared, own = _split_overrides([*args.overrides, *misplaced], cells)
    configs = _load_configs(args.config, shared, own)
    names = [word for word in args.suites if word not in misplaced]
    suites = [find_suite(name) for name in dict.fromkeys(names or built_in_names())]
    drawn = any([suite.check().with_distance for suite in suites])
    folder = args.output or Path("runs") / f"{Path(args.config).stem}-compare"
    if folder.exists() and not folder.is_dir():
        raise InputError(f"--output: {folder} is a file; name a directory")
    if args.plot and not drawn:
        raise InputError("--plot: no item has a distance; give a suite with a distance column")
    if args.plot and (args.plot.is_dir() or not args.plot.parent.is_dir()):
        raise InputError(
            f"--plot: {args.plot} cannot be a file; name one in a directory that is there"
        )
    given = [
        cell
        for cell, words in own.items()
        if any(re.match(r"model\.hidden_size\s*=", word) for word in words)
    ]

    from lstm_lm.training.comparison import equalise, measure

    check_order(args.order)
    again = ["lstm-lm", *args.argv]
    try:
        if args.equal == "parameters":
            configs = equalise(configs, given)
        if status := _train_all(configs, folder, again):
            return status
        comparison = {
            "config": args.config,
            "overrides": shared,
            "equal": args.equal,
            **measure(
                {cell: folder / cell for cell in cells}, configs[cells[0]], suites, args.order
            ),
        }
    except KeyboardInterrupt:
        print(
            f"\nstopped; what was trained is kept, go on with:\n  {shlex.join(again)}",
            file=sys.stderr,
        )
        return 130
    for model, cell in zip(comparison["models"], cells, strict=False):
        is_chosen = args.equal == "parameters" and cell != cells[0] and cell not in given
        model |= {"width": "chosen" if is_chosen else "given", "overrides": own[cell]}
    _publish(comparison, folder, (args.plot or folder / "compare.png") if drawn else None, args)
    return 0


def _read_cells(text: str) -> list[str]:
    cells = [cell.strip() for cell in text.split(",")]
    for cell in cells:
        if cell not in CELLS:
            raise InputError(
                f"--cells: found {cell!r}, must be some of {', '.join(CELLS)}, parted by commas"
            )
        if cells.count(cell) > 1:
            raise InputError(f"--cells: {cell} is there twice; name each cell once")
    return cells


def _split_overrides(
    overrides: Sequence[str], cells: Sequence[str]
) -> tuple[list[str], dict[str, list[str]]]:
    """Those for every network, and those for the network of one cell."""
    shared: list[str] = []
    own: dict[str, list[str]] = {cell: [] for cell in cells}
    for override in overrides:
        cell, _, rest = override.partition(".")
        key = (rest if cell in CELLS else override).partition("=")[0].strip()
        section = key.partition(".")[0].strip()
        if key == "model.cell":
            raise InputError(f"{override}: the cells are those of --cells, now {','.join(cells)}")
        if cell not in CELLS:
            shared.append(override)
        elif cell not in cells:
            raise InputError(
                f"{override}: {cell} is not among --cells, which are {','.join(cells)}"
            )
        elif section not in ("model", "optimizer") and key != "training.max_grad_norm":
            raise InputError(
                f"{override}: data and budget are the same for all cells; one of them may have a model.*, "
                "an optimizer.* and a training.max_grad_norm of its own"
            )
        else:
            own[cell].append(rest)
    return shared, own


def _load_configs(
    path: str, shared: Sequence[str], own: Mapping[str, Sequence[str]]
) -> dict[str, Config]:
    load_config(path, shared)  # a mistake in it is reported once, and not once per cell
    configs = {}
    for cell, overrides in own.items():
        notes: list[str] = []
        try:
            configs[cell] = load_config(
                path, [*overrides, f"model.cell={cell}"], notes, base_overrides=shared
            )
        except ConfigError as error:
            raise ConfigError(
                "\n".join(f"{cell}.{line}" for line in str(error).split("\n"))
            ) from None
        for note in notes:
            print(f"note: {cell}: {note}", file=sys.stderr)
    return configs


def _train_all(configs: Mapping[str, Config], folder: Path, again: Sequence[str]) -> int:
    """Trains what is not trained yet; what training says goes to standard error, like its progress."""
    from lstm_lm.training.run import claim_for_comparison

    with ExitStack() as claims:
        points = {
            cell: claims.enter_context(claim_for_comparison(folder / cell, config))
            for cell, config in configs.items()
        }  # before any is trained
        for cell, config in configs.items():
            place = folder / cell
            with redirect_stdout(sys.stderr):
                _, status = carry_out(
                    config,
                    place,
                    points[cell],
                    again=again,
                    if_finished="this run is finished already, and taken as it is",
                    if_diverged=(
                        f" ({cell}.optimizer.learning_rate=... for this cell alone), remove {place}, start again"
                    ),
                )
            if status:
                return status
    return 0


def _publish(
    comparison: dict[str, Any], folder: Path, picture: Path | None, args: argparse.Namespace
) -> None:
    """Writes ``compare.json`` and the picture, and prints the former or the tables."""
    from lstm_lm.files.atomic import write_atomically
    from lstm_lm.probes.figure import draw_comparison

    text = json.dumps(comparison, ensure_ascii=False)
    write_atomically(folder / "compare.json", text + "\n")
    if picture:
        reports = {
            model["name"]: {
                suite["suite"]: suite["reports"][model["name"]] for suite in comparison["suites"]
            }
            for model in comparison["models"]
        }
        draw_comparison(
            picture,
            {NAMES.get(name, name): report for name, report in reports.items()},
            MEASURES[args.measure],
            comparison["baseline"] or "",
            _title(comparison),
        )
    if args.json:
        print(text)
        return
    _print_models(comparison)
    for suite in comparison["suites"]:
        _print_suite(suite["suite"], suite["reports"], args.measure)
    print(f"{picture or 'no picture: no item has a distance'}\n{folder / 'compare.json'}")


def _title(comparison: dict[str, Any]) -> str:
    """What the networks of a picture have in common."""
    networks = [model for model in comparison["models"] if "parameters" in model]
    words, parameters = ([model[key] for model in networks] for key in ("words", "parameters"))
    parts = [Path(comparison["config"]).stem]
    if min(words) == max(words):
        parts.append(f"{words[0]:,} words seen")
    if max(parameters) <= 1.02 * min(parameters):
        parts.append(f"{parameters[0] / 1e6:,.2f}M parameters")
    return ", ".join(parts) + (", each network" if len(parts) > 1 and len(networks) > 1 else "")


def _print_models(comparison: dict[str, Any]) -> None:
    source = comparison["source_perplexity"]
    table = [
        (
            "",
            "width",
            "parameters",
            "words seen",
            "seconds",
            "valid perplexity",
            "over the source's",
        )
    ]
    for model in comparison["models"]:
        table.append(
            (
                model["name"],
                "+".join(map(str, model.get("hidden_sizes", ()))),
                f"{model['parameters']:,}"
                if "parameters" in model
                else f"{model['ngrams']:,} n-grams",
                f"{model['words']:,}",
                f"{model['seconds']:,.0f}",
                f"{model['perplexity']:,.2f}",
                shown(source and model["perplexity"] / source, ".3f"),
            )
        )
    if source:
        table.append(("the source itself", "", "", "", "", f"{source:,.2f}", "1.000"))
    print_table(table)
    networks = [model for model in comparison["models"] if "parameters" in model]
    first = networks[0]
    apart = [
        f"{model['name']} {model['parameters'] / first['parameters'] - 1:+.2%}"
        for model in networks[1:]
    ]
    chosen = [model["name"] for model in networks[1:] if model["width"] == "chosen"]
    if chosen:
        print(
            f"  equal parameters: the width of {' and '.join(chosen)} is chosen so that there are as many as in "
            f"{first['name']}"
        )
    if apart:
        print(f"  parameters against {first['name']}: {', '.join(apart)}")
    print(
        "".join(
            f"  {model['name']} alone: {' '.join(model['overrides'])}\n"
            for model in networks
            if model["overrides"]
        )
        + (
            f"  no n-gram model beside them: {comparison['no_baseline_because']}\n"
            if comparison["no_baseline_because"]
            else ""
        )
    )


def _print_suite(name: str, reports: Mapping[str, ReportRow], measure: str) -> None:
    """Prints a suite's rows, all items and every distance: the measure with its interval, and top-1, of every model."""
    parts = {
        model: [("all", report), *((bucket_named(row), row) for row in report["distances"])]
        for model, report in reports.items()
    }
    first = next(iter(reports.values()))
    measures = [
        label for label in dict.fromkeys((measure, "top-1")) if first[MEASURES[label]] is not None
    ]
    table = [
        (
            name,
            *(
                f"{label}: {model}" if model == next(iter(reports)) else model
                for label in measures
                for model in reports
            ),
            "items",
        )
    ]
    for line in zip(*parts.values(), strict=True):
        cells = [
            shown_share(
                row[MEASURES[label]],
                row[f"{MEASURES[label]}_interval"] if label == measures[0] else None,
            )
            for label in measures
            for _, row in line
        ]
        table.append((line[0][0], *cells, f"{line[0][1]['items']:,}"))
    print_table(table)
    notes = [f"skipped {count:,}: {why}" for why, count in first["skipped_because"].items()]
    if (chance := first[f"{MEASURES[measure]}_chance"]) is not None:
        notes.append(f"chance: {chance:.2%} {measure}")
    reaches = {
        model: shown_reach(report["reach"], report["reach_beyond"])
        for model, report in reports.items()
    }
    if any(reaches.values()):
        notes.append(
            "reach in words: "
            + ", ".join(f"{model} {found or '-'}" for model, found in reaches.items())
        )
    print("".join(f"  {note}\n" for note in notes))
