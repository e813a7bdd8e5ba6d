"""See every gate at every word of a text.

lstm-lm gates runs/quickstart "Vignesh is a year older than Maria. Maria is French." --output gates.png
lstm-lm gates runs/quickstart "I grew up in France. I have a home in" --target Paris --output gates.html
lstm-lm gates runs/quickstart "I grew up in France. I have a home in" --swap France Italy --output gates.png
lstm-lm gates runs/quickstart "I grew up in France. I have a home in" --select 5:7 --match stories.txt
"""

from __future__ import annotations

import argparse
import math
import re
from pathlib import Path
from typing import TYPE_CHECKING

from lstm_lm.cli.texts import printable

if TYPE_CHECKING:
    from lstm_lm.inspection.units import Carrier
    from lstm_lm.model.language_model import LanguageModel
    from lstm_lm.model.trace import Trace

# What is read at a glance, what a browser draws at once, and what a program loads; a longer text is read all the same.
MOST_WORDS = {".png": 60, ".html": 120, ".json": 1000}
MOST_ROWS = 10


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the command's arguments."""
    parser.add_argument(
        "model", metavar="RUN_DIR", help="a run directory, or a model's name on the hub"
    )
    parser.add_argument("text", metavar="TEXT")
    parser.add_argument(
        "--output",
        type=Path,
        metavar="FILE",
        help="a .png (one layer), a .html (everything, to play with) or a .json; default: gates.png, "
        "but with --select nothing",
    )
    parser.add_argument(
        "--target",
        metavar="WORD",
        help="ask what its probability after the text hangs on; default: the most probable word",
    )
    parser.add_argument(
        "--layer", type=int, metavar="N", help="0 is the lowest; default: the top one"
    )
    parser.add_argument("--unit", type=int, metavar="N", help="follow this unit of the layer")
    parser.add_argument(
        "--swap",
        nargs=2,
        metavar=("WORD", "OTHER"),
        help="read the text also with OTHER for WORD, and find the units that carry the choice",
    )
    parser.add_argument(
        "--select",
        metavar="FIRST:LAST",
        help="print the layer's units that are on from one word (1 is the text's first) to "
        "another, and off around them",
    )
    parser.add_argument(
        "--match",
        type=Path,
        metavar="FILE",
        help="with --select: find where else in a text these units switch on together",
    )
    parser.add_argument(
        "--threshold",
        type=float,
        default=0.3,
        metavar="X",
        help="with --select: on is a cell state above this (default 0.3)",
    )


def run(args: argparse.Namespace) -> int:
    """Writes the picture, the page or the numbers, and prints what was found."""
    from lstm_lm.corpus.readers import checked_file
    from lstm_lm.errors import InputError

    output = args.output or (None if args.select else Path("gates.png"))
    suffix = output.suffix.lower() if output else ".json"
    if suffix not in MOST_WORDS:
        raise InputError(f"--output: found {str(output)!r}, must end in .png, .html or .json")
    if not args.text.strip():
        raise InputError("the text is empty; give at least one word")
    if args.match and not args.select:
        raise InputError("--match: needs --select, which chooses the units to look for")
    if not math.isfinite(args.threshold):
        raise InputError(f"--threshold: found {args.threshold}, must be a number")
    first, last = _stretch(args.select) if args.select else (0, 0)
    if args.match:
        checked_file(args.match)

    from lstm_lm.model.language_model import LanguageModel

    model = LanguageModel.from_pretrained(args.model)
    layer = _checked(
        "--layer", args.layer, len(model.recurrent.cells), len(model.recurrent.cells) - 1
    )
    unit = _checked("--unit", args.unit, model.recurrent.cells[layer].hidden_size, None)
    trace = model.trace(args.text, args.target, last=MOST_WORDS[suffix])
    carriers = _find_carriers(model, trace, args) if args.swap else []
    if output:
        _write(model, trace, output, layer, unit, carriers, args.swap)
        cut = f", the last of {len(trace.words) + trace.start:,}" if trace.start else ""
        print(
            f"{output}: {len(trace.words)} words{cut}; the next is {printable(trace.target)} "
            f"({math.exp(trace.target_log_probability):.1%})"
        )
    for carrier in carriers[:MOST_ROWS]:
        print(
            f"  layer {carrier.layer}, unit {carrier.unit:>4}: apart for {carrier.words} words, "
            f"{carrier.differences[-1]:+.2f} at the end"
        )
    if args.select:
        _select(model, trace, layer, first, last, args)
    return 0


def _stretch(text: str) -> tuple[int, int]:
    from lstm_lm.errors import InputError

    found = re.fullmatch(r"(\d{1,9}):(\d{1,9})", text)
    if not found or not 1 <= int(found[1]) <= int(found[2]):
        raise InputError(f"--select: found {text!r}, must be the numbers of two words, such as 5:7")
    return int(found[1]), int(found[2])


def _checked(option: str, number: int | None, count: int, default: int | None) -> int | None:
    from lstm_lm.errors import InputError

    if number is not None and not 0 <= number < count:
        raise InputError(f"{option}: found {number}, must be between 0 and {count - 1}")
    return default if number is None else number


def _find_carriers(model: LanguageModel, trace: Trace, args: argparse.Namespace) -> list[Carrier]:
    from lstm_lm.errors import InputError
    from lstm_lm.inspection.units import find_carriers

    old, new = args.swap
    swapped = re.sub(rf"(?<!\w){re.escape(old)}(?!\w)", lambda _: new, args.text)
    if swapped == args.text:
        raise InputError(f"--swap: the text has no word {old!r}, or {new!r} is the same")
    if unknown := model.unknown_words(f"{old} {new}"):
        raise InputError(f"--swap: not in the model's vocabulary: {', '.join(unknown)}")
    return find_carriers(trace, model.trace(swapped, trace.target, last=len(trace.words)))


def _write(
    model: LanguageModel,
    trace: Trace,
    output: Path,
    layer: int,
    unit: int | None,
    carriers: list[Carrier],
    swap: list[str] | None,
) -> None:
    import json

    from lstm_lm.files.atomic import write_atomically
    from lstm_lm.inspection.description import describe_trace
    from lstm_lm.inspection.figures import draw_gates
    from lstm_lm.inspection.page import render_page

    carried = "units that tell {} from {}".format(*swap) if swap else ""
    if output.suffix.lower() == ".png":
        draw_gates(model, trace, layer, output, unit=unit, carriers=carriers, carried=carried)
    elif output.suffix.lower() == ".html":
        description = describe_trace(model, trace, digits=3, carriers=carriers, carried=carried)
        write_atomically(output, render_page(description, layer=layer, unit=unit))
    else:
        description = describe_trace(model, trace, carriers=carriers, carried=carried)
        write_atomically(output, json.dumps(description, ensure_ascii=False) + "\n")


def _select(
    model: LanguageModel, trace: Trace, layer: int, first: int, last: int, args: argparse.Namespace
) -> None:
    """Prints the units of a stretch of words, and their matches elsewhere."""
    from tqdm import tqdm

    from lstm_lm.corpus.readers import iterate_file_lines
    from lstm_lm.errors import InputError
    from lstm_lm.inspection.units import find_matches, select_units

    if first < max(trace.start, 1) or last >= trace.start + len(trace.words):
        raise InputError(
            f"--select: found {args.select}, must be within {max(trace.start, 1)}:"
            f"{trace.start + len(trace.words) - 1}"
        )
    first, last = first - trace.start, last - trace.start
    units = select_units(trace, layer, first, last, args.threshold)
    stretch = " ".join(trace.words[first : last + 1])
    print(
        f"on throughout “{printable(stretch)}”, off around it, in layer {layer}: "
        + (
            ", ".join(f"unit {unit}" for unit in units)
            or "no unit; try another stretch, --layer or --threshold"
        )
    )
    if not (units and args.match):
        return
    with tqdm(
        iterate_file_lines(args.match), desc="matching", unit=" lines", leave=False, disable=None
    ) as lines:
        matches = find_matches(
            model, lines, layer, units, last - first + 1, threshold=args.threshold, most=MOST_ROWS
        )
    for match in matches:
        words, first, stop = match.words, match.first, match.last + 1
        around = f"{' '.join(words[max(0, first - 4) : first])} [{' '.join(words[first:stop])}] "
        print(
            printable(f"  line {match.line}: {around}{' '.join(words[stop : stop + 3])}".rstrip())
        )
    if not matches:
        print(f"  {args.match}: nowhere together")
