"""Finished runs side by side: the part of ``lstm-lm compare`` that trains nothing."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lstm_lm.cli.options import check_overwrite
from lstm_lm.cli.probe import print_suite_notes
from lstm_lm.cli.tables import print_json, print_table, shown, shown_share
from lstm_lm.errors import InputError
from lstm_lm.files.outputs import check_output, marked
from lstm_lm.printing import print_line, print_note, printable

if TYPE_CHECKING:
    from lstm_lm.probes.suites import Suite


def add_text_of_runs(parser: argparse.ArgumentParser) -> None:
    """Adds what decides on which text the perplexity of runs is compared."""
    text = parser.add_mutually_exclusive_group()
    text.add_argument(
        "--split",
        choices=("valid", "test"),
        help="of runs: which part of their corpus (default: valid)",
    )
    text.add_argument(
        "--file",
        type=Path,
        metavar="PATH",
        help="of runs: a text instead: a file, a folder or a pattern",
    )
    parser.add_argument(
        "--reset-per-line",
        action="store_true",
        help="of runs: start every line from a zero state (default: carry the state)",
    )


def check_no_text_of_runs(args: argparse.Namespace) -> None:
    """Checks that none of these options is given where networks are to be trained.

    Raises:
        InputError: one is.
    """
    for option in ("split", "file", "reset_per_line"):
        if getattr(args, option):
            name = option.replace("_", "-")
            raise InputError(f"--{name}: is for runs; name two or more run directories")


def compare_finished(
    args: argparse.Namespace, runs: Sequence[str], suites: Sequence[Suite], measure: str
) -> int:
    """Compares runs, and prints tables of them and of their differences.

    Args:
        args: of ``lstm-lm compare``.
        runs: run directories, or models on the hub.
        suites: the questions.
        measure: a figure of a report, such as ``accuracy``.
    """
    from lstm_lm.training.run_comparison import TextChoice, compare_runs

    check_overwrite(args, "plot")
    inputs = inputs_of(args, suites)
    made, overwrite = marked("compare"), args.overwrite
    check_output("--plot", args.plot, made, overwrite=overwrite, inputs=inputs)
    print_suite_notes(suites, [suite.check() for suite in suites])
    results = compare_runs(
        runs,
        suites,
        text=TextChoice(args.split or "valid", args.file, args.reset_per_line),
        fillers=args.fillers,
        measure=measure,
        device=args.device or "cpu",
        report=print_note,
    )
    for note in results["notes"]:
        print_note(f"note: {note}")
    if args.plot:
        from lstm_lm.training.run_comparison_figure import draw_differences

        draw_differences(args.plot, results)
    if args.json:
        print_json(results)
        return 0
    _print_models(results)
    _print_suites(results)
    if args.plot:
        print_line(args.plot)
    return 0


def inputs_of(args: argparse.Namespace, suites: Sequence[Suite]) -> dict[str, Any]:
    """Returns the files that a comparison reads, by option."""
    files = [suite.entry for suite in suites if isinstance(suite.entry, Path)]
    return {"--suites": files, "--file": args.file, "--fillers": args.fillers or None}


def check_options(args: argparse.Namespace, overrides: Sequence[str]) -> None:
    """Checks that nothing is given which only a comparison of cells can use.

    Raises:
        InputError: something is.
    """
    if overrides:
        raise InputError(f"{overrides[0]}: these runs are trained already, nothing can be changed")
    for option in ("cells", "equal", "output", "order"):
        if getattr(args, option) is not None:
            raise InputError(
                f"--{option}: has no effect on runs that are trained already; leave it out"
            )


def _print_models(results: Mapping[str, Any]) -> None:
    """Prints a row for every model: its size, and its perplexity beside the first model's."""
    found = results["perplexity"]
    by_name = {result["name"]: result for result in found["results"]}
    head = ["", "parameters", "words known"]
    if by_name:
        head += [f"{found['text']} perplexity", "difference", "95 % interval", "in percent"]
    table = [head]
    for model in results["models"]:
        row = [model["name"], f"{model['parameters']:,}", f"{model['vocab_size']:,}"]
        if by_name:
            result = by_name[model["name"]]
            row += [f"{result['perplexity']:,.2f}", *_difference_cells(result)]
        table.append(row)
    print_table(table)
    print_line("".join(f"  {printable(note)}\n" for note in _notes(results)))


def _difference_cells(result: Mapping[str, Any]) -> tuple[str, str, str]:
    if "difference" not in result:
        return "", "", ""
    low, high = result["difference_interval"]
    return (
        f"{result['difference']:+,.2f}",
        f"[{low:+,.2f}, {high:+,.2f}]",
        f"{result['ratio'] - 1:+.1%}",
    )


def _notes(results: Mapping[str, Any]) -> list[str]:
    found, first = results["perplexity"], results["models"][0]["name"]
    if found["why_not"]:
        return [f"perplexity is not compared: {found['why_not']}"]
    notes = [
        f"{found['tokens']:,} tokens in {found['lines']:,} lines, state {found['state']}; "
        f"differences from {first}, by {found['draws']:,} draws of lines"
    ]
    if found["over"] != "all words":
        notes.append(
            f"their vocabularies differ: perplexity is over the {found['shared_words']:,} words "
            f"that all of them have ({found['tokens']:,} of {found['tokens_of_text']:,} tokens), "
            "and probabilities are shares among these words; other perplexities of these models "
            "cannot be compared"
        )
    return notes


def _print_suites(results: Mapping[str, Any]) -> None:
    """Prints a row for every suite: each model, and each difference from the first."""
    first, *others = (model["name"] for model in results["models"])
    asked = [one for one in results["suites"] if one["suite"] not in results["left_out"]]
    if asked:
        head = ["suite", "measure", first]
        for name in others:
            head += [name, "difference", "95 % interval"]
        table = [[*head, "compared"]]
        for one in asked:
            row = [one["suite"], one["measure"].replace("_", " ")]
            row.append(shown_share(one["reports"][first][one["measure"]], None))
            for name in others:
                row.append(shown_share(one["reports"][name][one["measure"]], None))
                row += _share_cells(one["differences"].get(name))
            table.append([*row, f"{one['compared']:,}"])
        print_table(table)
    if results["left_out"]:
        names = ", ".join(results["left_out"])
        print_line(printable(f"left out, nothing can be asked of all models: {names}"))


def _share_cells(found: Mapping[str, Any] | None) -> tuple[str, str]:
    if found is None:
        return "", ""
    low, high = (100 * end for end in found["difference_interval"])
    return shown(100 * found["difference"], "+.1f"), f"[{low:+.1f}, {high:+.1f}]"


def separate_runs(config: str, words: Sequence[str]) -> tuple[list[str], list[str]]:
    """Separates run directories from overrides.

    Args:
        config: the first argument.
        words: those after it.

    Returns:
        The runs, the first argument among them; and the overrides. No runs if no word after the
        first names one: then the first is a configuration.
    """
    runs = [
        word
        for word in words
        if Path(word).exists() or ("=" not in word and ("/" in word or word.startswith("hub:")))
    ]
    others = [word for word in words if word not in runs]
    return ([config, *runs] if runs else []), others
