"""Look inside a prediction: every gate at every word, or the one memory cell that remembers a word.

lstm-lm gates runs/quickstart "I grew up in France. I have a home in"
    gates.png: every gate of the top layer at every word
lstm-lm gates runs/quickstart "I grew up in France. I have a home in" --swap France Italy
    memory.png: the unit that remembers France, and what it holds if Italy stands there instead
lstm-lm gates runs/quickstart "I grew up in France. I have a home in" --output gates.html
    a page to explore in a browser
lstm-lm gates runs/quickstart "I grew up in France. I am" --select 5:7 --match stories.txt
    units that are on from word 5 to word 7, and where else they are on together
lstm-lm gates runs/quickstart "I grew up in France. I have a home in" --fix forget_gate=1
    the same, of the model whose forget gate is always 1
"""

from __future__ import annotations

import argparse
import math
import re
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lstm_lm.cli.options import (
    add_device,
    add_fix,
    add_json,
    add_model,
    add_overwrite,
    load_model,
)
from lstm_lm.cli.tables import print_json
from lstm_lm.cli.texts import add_text, read_texts
from lstm_lm.files.outputs import check_output, marked
from lstm_lm.printing import print_line, print_note, printable

if TYPE_CHECKING:
    from lstm_lm.inspection.units import Carrier, Match
    from lstm_lm.model.language_model import LanguageModel
    from lstm_lm.model.trace import Trace

# The last words of a text that are kept: those that one can read in a picture, those that a browser
# draws without delay, and those that a program loads. A longer text is still read from its start.
MAX_WORDS = {".png": 60, ".html": 120, ".json": 1000}
MAX_ROWS = 10  # units, and matches, that are printed


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the command's arguments."""
    add_model(parser)
    add_text(parser)
    parser.add_argument(
        "--output",
        type=Path,
        metavar="FILE",
        help="the file to write: .png (one picture), .html (a page with everything) or .json (the "
        "numbers); default: gates.png, or memory.png with --swap; none with --select or --json",
    )
    parser.add_argument(
        "--swap",
        nargs=2,
        metavar=("WORD", "OTHER"),
        help="also read the text with OTHER in the place of WORD, and find the units that remember "
        "which of them it was; a .png then shows the first of these units as a line",
    )
    parser.add_argument(
        "--style",
        choices=("heat", "line"),
        help="what a .png shows: heat: every gate of a layer; line: the memory of one unit "
        "(default: line with --swap, otherwise heat)",
    )
    parser.add_argument(
        "--target",
        metavar="WORD",
        help="the next word whose probability is explained (default: the most probable word)",
    )
    parser.add_argument(
        "--layer", type=int, metavar="N", help="the layer, 0 is the lowest (default: the top one)"
    )
    parser.add_argument(
        "--unit", type=int, metavar="N", help="show this unit of the layer (default: chosen)"
    )
    parser.add_argument(
        "--select",
        metavar="FIRST:LAST",
        help="print the layer's units that are on from word FIRST to word LAST of the text, and "
        "off before and after; the first word is 1",
    )
    parser.add_argument(
        "--match",
        type=Path,
        metavar="FILE",
        help="with --select: print where else in this text file these units are on together",
    )
    parser.add_argument(
        "--threshold",
        type=float,
        metavar="X",
        help="with --select: a unit is on where its cell state is above this (default: 0.3)",
    )
    add_fix(parser, "look into")
    add_json(parser, "the numbers as one JSON object instead of the summary")
    add_overwrite(parser)
    add_device(parser)


@dataclass(frozen=True)
class _Found:
    """What the command found in a text.

    Attributes:
        trace: of the text.
        other: of the text with the swapped word; None without ``--swap``.
        carriers: the units that tell the two apart.
        layer: the layer that is shown.
        unit: the unit that was asked for; None if none was.
        selection: the units of ``--select``; None without it.
    """

    trace: Trace
    other: Trace | None
    carriers: list[Carrier]
    layer: int
    unit: int | None
    selection: _Selection | None


@dataclass(frozen=True)
class _Selection:
    """The units of ``--select``.

    Attributes:
        first: number of the first selected word; the text's first word is 1.
        last: of the last one.
        words: the selected words.
        units: those that are on at all of them, and off before and after.
        matches: where else they are on together; None without ``--match``.
    """

    first: int
    last: int
    words: list[str]
    units: list[int]
    matches: list[Match] | None


def run(args: argparse.Namespace) -> int:
    """Writes a picture, a page or the numbers, and prints what was found."""
    output = _check_output(args)
    selected = _check_select(args)
    style = _check_style(args, output)
    text = _read_text(args)
    model = _load(args)
    layer = _check_unit(model, args)
    last = MAX_WORDS[output.suffix.lower() if output else ".json"]
    trace = model.trace(text, args.target, last=last)
    other, carriers = _swap(model, text, trace, args)
    selection = _select(model, trace, layer, selected, args) if selected else None
    found = _Found(trace, other, carriers, layer, args.unit, selection)
    if output:
        _write(model, found, output, style, args)
    if args.json:
        _print_json(model, found, args)
    else:
        _print_summary(found, output, args, model.fixed)
    return 0


def _load(args: argparse.Namespace) -> LanguageModel:
    """The model, with the gates of ``--fix`` fixed."""
    if not args.fix:
        return load_model(args)

    from lstm_lm.model.fixing import parse_fixes
    from lstm_lm.training.run_probe import with_fixed_gates

    fixes = parse_fixes(args.fix)
    notes: list[str] = []
    model = with_fixed_gates(load_model(args), fixes, args.model, notes)
    for note in notes:
        print_note(f"note: {note}")
    return model


def _check_output(args: argparse.Namespace) -> Path | None:
    """The file to write, or None."""
    from lstm_lm.errors import InputError

    output = args.output
    if output is None and not (args.select or args.json):
        line = args.style == "line" or (args.swap and args.style is None)
        output = Path("memory.png" if line else "gates.png")
    if output and output.suffix.lower() not in MAX_WORDS:
        raise InputError(f"--output: found {str(output)!r}, must end in .png, .html or .json")
    inputs = {"--file": args.file, "--match": args.match}
    made = marked("gates")
    check_output("--output", output, made, overwrite=args.overwrite, inputs=inputs)
    return output


def _check_style(args: argparse.Namespace, output: Path | None) -> str:
    """What a picture shows: ``heat`` or ``line``."""
    from lstm_lm.errors import InputError

    if args.style and not (output and output.suffix.lower() == ".png"):
        raise InputError("--style: has an effect only with an --output that ends in .png")
    return args.style or ("line" if args.swap else "heat")


def _check_select(args: argparse.Namespace) -> tuple[int, int] | None:
    """The numbers of the first and the last word of ``--select``."""
    from lstm_lm.corpus.readers import checked_file
    from lstm_lm.errors import InputError

    for option in ("match", "threshold"):
        if getattr(args, option) is not None and not args.select:
            raise InputError(f"--{option}: needs --select, which chooses the units")
    if args.threshold is not None and not math.isfinite(args.threshold):
        raise InputError(f"--threshold: found {args.threshold}, must be a finite number")
    if not args.select:
        return None
    numbers = re.fullmatch(r"(\d{1,9}):(\d{1,9})", args.select)
    if not numbers or not 1 <= int(numbers[1]) <= int(numbers[2]):
        raise InputError(
            f"--select: found {args.select!r}, must be the numbers of two words, such as 5:7"
        )
    if args.match:
        checked_file(args.match)
    return int(numbers[1]), int(numbers[2])


def _read_text(args: argparse.Namespace) -> str:
    """The whole text: the argument, or all lines of the file or of standard input."""
    from lstm_lm.errors import InputError

    text = "\n".join(read_texts(args))
    if not text.strip():
        raise InputError("the text is empty; give at least one word")
    return text


def _check_unit(model: LanguageModel, args: argparse.Namespace) -> int:
    """Checks ``--layer`` and ``--unit``, and returns the layer."""
    widths = [state.h.shape[1] for state in model.network.initial_state()]
    layer = len(widths) - 1 if args.layer is None else args.layer
    _check_number("--layer", layer, len(widths))
    if args.unit is not None:
        _check_number("--unit", args.unit, widths[layer])
    return layer


def _check_number(option: str, number: int, count: int) -> None:
    from lstm_lm.errors import InputError

    if not 0 <= number < count:
        raise InputError(f"{option}: found {number}, must be from 0 to {count - 1}")


def _swap(
    model: LanguageModel, text: str, trace: Trace, args: argparse.Namespace
) -> tuple[Trace | None, list[Carrier]]:
    """Reads the text with the other word, and finds the units that tell the two words apart."""
    from lstm_lm.errors import InputError
    from lstm_lm.inspection.units import find_carriers

    if not args.swap:
        return None, []
    old, new = args.swap
    swapped = re.sub(rf"(?<!\w){re.escape(old)}(?!\w)", lambda _: new, text)
    if swapped == text:
        raise InputError(f"--swap: the text has no word {old!r}, or {new!r} is the same word")
    if unknown := model.unknown_words(f"{old} {new}"):
        raise InputError(f"--swap: not in the model's vocabulary: {', '.join(unknown)}")
    other = model.trace(swapped, trace.target, last=len(trace.words))
    return other, find_carriers(trace, other)


def _select(
    model: LanguageModel,
    trace: Trace,
    layer: int,
    selected: tuple[int, int],
    args: argparse.Namespace,
) -> _Selection:
    """Finds the units that are on at the selected words, and their matches in another text."""
    from lstm_lm.corpus.progress import Bar
    from lstm_lm.corpus.readers import iterate_file_lines
    from lstm_lm.errors import InputError
    from lstm_lm.inspection.units import find_matches, select_units

    first, last = selected
    lowest, highest = max(trace.start, 1), trace.start + len(trace.words) - 1
    if first < lowest or last > highest:
        raise InputError(f"--select: found {args.select}, must be within {lowest}:{highest}")
    threshold = 0.3 if args.threshold is None else args.threshold
    begin, end = first - trace.start, last - trace.start
    units = select_units(trace, layer, begin, end, threshold)
    matches = None
    if args.match:
        matches = []
    if args.match and units:
        lines = iterate_file_lines(args.match)
        with Bar(lines, desc="matching", unit=" lines", leave=False, disable=None) as shown:
            matches = find_matches(
                model, shown, layer, units, end - begin + 1, threshold=threshold, most=MAX_ROWS
            )
    return _Selection(first, last, trace.words[begin : end + 1], units, matches)


def _unit_to_draw(found: _Found) -> tuple[int, int]:
    """Layer and unit of a line picture: as asked for, the first carrier, or the most loaded."""
    from lstm_lm.inspection.units import carried_loads

    if found.unit is not None:
        return found.layer, found.unit
    if found.carriers:
        return found.carriers[0].layer, found.carriers[0].unit
    loads = carried_loads(found.trace, found.layer)
    if loads is None:
        loads = found.trace.layers[found.layer].h.std(0, correction=0)
    return found.layer, int(loads.argmax())


def _write(
    model: LanguageModel, found: _Found, output: Path, style: str, args: argparse.Namespace
) -> None:
    """Writes the file in the format of its ending."""
    import json

    from lstm_lm.files.atomic import write_atomically
    from lstm_lm.inspection.heat_map import draw_heat_map
    from lstm_lm.inspection.memory_figure import draw_memory
    from lstm_lm.inspection.page import render_page

    suffix = output.suffix.lower()
    if suffix == ".html":
        page = render_page(_describe(model, found, args, 3), layer=found.layer, unit=found.unit)
        write_atomically(output, page)
    elif suffix == ".json":
        numbers = json.dumps(_describe(model, found, args), ensure_ascii=False)
        write_atomically(output, numbers + "\n")
    elif style == "line":
        layer, unit = _unit_to_draw(found)
        missing = draw_memory(
            model, found.trace, layer, unit, output, other=found.other, target=args.target
        )
        _print_missing(missing, output)
    else:
        missing = draw_heat_map(
            model,
            found.trace,
            found.layer,
            output,
            unit=found.unit,
            carriers=found.carriers,
            carried=_carried(args),
        )
        _print_missing(missing, output)


def _print_missing(characters: str, output: Path) -> None:
    """Prints a note about characters that a picture shows as boxes."""
    if not characters:
        return
    shown = printable(characters if len(characters) <= 10 else f"{characters[:10]}…")
    page = printable(shlex.quote(str(output.with_suffix(".html"))))
    print_note(
        f"note: no font of this system has {shown} ({printable(str(output))} shows boxes); install "
        f"a font that has them, or use --output {page}, which a browser shows"
    )


def _carried(args: argparse.Namespace) -> str:
    return "units that tell {} from {}".format(*args.swap) if args.swap else ""


def _describe(
    model: LanguageModel, found: _Found, args: argparse.Namespace, digits: int = 6
) -> dict[str, Any]:
    from lstm_lm.inspection.description import describe_trace

    return describe_trace(
        model, found.trace, digits=digits, carriers=found.carriers, carried=_carried(args)
    )


def _print_json(model: LanguageModel, found: _Found, args: argparse.Namespace) -> None:
    """Prints the numbers, and the selected units if there are any."""
    from dataclasses import asdict

    numbers = _describe(model, found, args)
    if found.selection:
        numbers["selection"] = {"layer": found.layer} | asdict(found.selection)
    print_json(numbers)


def _print_summary(
    found: _Found, output: Path | None, args: argparse.Namespace, fixed: str
) -> None:
    trace = found.trace
    with_fixed = f", with {fixed}," if fixed else ""
    if output:
        total = trace.start + len(trace.words)
        cut = f", the last of {total:,}" if trace.start else ""
        print_line(
            f"{printable(str(output))}: {len(trace.words)} words{cut}; the next{with_fixed} is "
            f"{printable(trace.target)} ({math.exp(trace.target_log_probability):.2%})"
        )
    for carrier in found.carriers[:MAX_ROWS]:
        print_line(
            f"  layer {carrier.layer}, unit {carrier.unit:>4}: apart for {carrier.words} words, "
            f"{carrier.differences[-1]:+.2f} at the end"
        )
    if args.swap and not found.carriers:
        print_line("  no unit tells {} from {}".format(*map(printable, args.swap)))
    if found.selection:
        _print_selection(found.layer, found.selection, args)


def _print_selection(layer: int, selection: _Selection, args: argparse.Namespace) -> None:
    units = ", ".join(f"unit {unit}" for unit in selection.units)
    print_line(
        f"on at “{printable(' '.join(selection.words))}”, off before and after, in layer {layer}: "
        + (units or "no unit; try other words, --layer or --threshold")
    )
    if not selection.units or selection.matches is None:
        return
    for match in selection.matches:
        words, first, stop = match.words, match.first, match.last + 1
        before, after = words[max(0, first - 4) : first], words[stop : stop + 3]
        shown = " ".join([*before, f"[{' '.join(words[first:stop])}]", *after])
        print_line(printable(f"  line {match.line}: {shown}"))
    if not selection.matches:
        print_line(f"  {printable(str(args.match))}: they are on together nowhere")
