"""Measure the perplexity of a corpus split or of a file, and how often the model is right.

lstm-lm evaluate runs/wikitext2                       (the valid split)
lstm-lm evaluate runs/wikitext2 --split test
lstm-lm evaluate runs/wikitext2 --file my.txt --reset-per-line --json
lstm-lm evaluate runs/wikitext2 --with cache,dynamic,ngram --tune         (tunes on valid)
lstm-lm evaluate runs/wikitext2 --with cache,dynamic,ngram --split test --plot gain.png

The result for a split is also kept in the run directory, and shown in its model card.

Beside the perplexity:

top 1, 3, 5           how often the right word is the best, or among the best 3 or 5, of all words
mean reciprocal rank  the mean of 1 / rank of the right word
keystrokes saved      by a person who types the words and takes completions: three are on offer
                      before every letter, and one key takes one
bits per character    a line end counts, and a space before every word but the first of a line

"known words" leaves out line ends and <unk>; it is what `lstm-lm predict` shows.

With --with, the text is read once more by a model that adapts to it. Every word is scored before
anything is learned from it, and probabilities sum to 1 over the vocabulary:

cache    words that followed similar states are more probable again (Grave et al. 2016)
dynamic  the weights go on learning from the text (Krause et al. 2018)
ngram    an n-gram model of train has a share of the probability

The run itself never changes. Accuracy and keystrokes are those of the model as it is.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lstm_lm.cli.options import (
    add_device,
    add_json,
    add_model,
    add_overwrite,
    add_with,
    check_overwrite,
    parse_with,
)
from lstm_lm.cli.tables import (
    accuracy_figures,
    adapted_figures,
    perplexity_figures,
    print_perplexity,
)
from lstm_lm.cli.texts import add_reading, add_text_column
from lstm_lm.errors import InputError
from lstm_lm.files.outputs import check_output, marked
from lstm_lm.printing import print_note

if TYPE_CHECKING:
    from lstm_lm.evaluation.adaptation import Adaptation
    from lstm_lm.training.run_evaluation import Adapted, Evaluation


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the command's arguments."""
    add_model(parser)
    what = parser.add_mutually_exclusive_group()
    what.add_argument(
        "--split",
        choices=("train", "valid", "test"),
        default="valid",
        help="which part of the run's corpus (default: valid)",
    )
    what.add_argument(
        "--file",
        type=Path,
        metavar="PATH",
        help="a text instead: a file, a folder or a pattern such as 'books/*.txt'",
    )
    add_text_column(parser)
    add_reading(parser)
    parser.add_argument(
        "--reset-per-line",
        action="store_true",
        help="start every line from a zero state (default: carry the state from line to line)",
    )
    adapting = parser.add_argument_group("adaptation at test time")
    add_with(adapting, "to the text while it is scored")
    adapting.add_argument(
        "--tune",
        action="store_true",
        help="first find the settings of --with on valid, and keep them in RUN_DIR for later calls",
    )
    adapting.add_argument(
        "--plot",
        type=Path,
        metavar="FILE",
        help="draw what --with brings against the distance to the word's last occurrence, as PNG",
    )
    add_overwrite(adapting)
    add_device(parser, "auto")
    add_json(parser, "one JSON object")


def run(args: argparse.Namespace) -> int:
    """Prints the perplexity and what is needed to compare it."""
    from lstm_lm.corpus.file_reading import reading_note
    from lstm_lm.training.run_evaluation import evaluate_run

    kinds = parse_with(args)
    if args.plot and not kinds:
        raise InputError("--plot: has an effect only together with --with")
    check_overwrite(args, "plot")
    inputs = {"--file": args.file}
    check_output("--plot", args.plot, marked("evaluate"), overwrite=args.overwrite, inputs=inputs)
    evaluation = evaluate_run(
        args.model,
        args.split,
        file=args.file,
        reading=args.reading,
        text_column=args.text_column,
        reset_per_line=args.reset_per_line,
        device=args.device,
        adapt=kinds,
        tune=args.tune,
        on_trial=_print_trial,
    )
    title = str(args.file or args.split)
    print_perplexity(
        evaluation.perplexity,
        evaluation.normalization,
        evaluation.source_perplexity,
        f"{title} of {evaluation.name}" if evaluation.others else title,
        as_json=args.json,
        reading=evaluation.reading,
        sources=_sources(evaluation),
        accuracy=evaluation.accuracy,
        adapted=evaluation.adapted,
    )
    for other in () if args.json else evaluation.others:
        print_perplexity(
            other.perplexity,
            other.normalization,
            other.source_perplexity,
            f"{title} of {other.name}",
            accuracy=other.accuracy,
            adapted=other.adapted,
        )
    if args.plot and evaluation.adapted:
        _draw(args.plot, title, evaluation.adapted)
    if evaluation.reading:
        print_note(f"note: {reading_note(args.file, evaluation.reading)}")
    for note in evaluation.notes:
        print_note(f"note: {note}")
    return 0


def _draw(path: Path, title: str, adapted: Adapted) -> None:
    from lstm_lm.evaluation.gain_figure import draw_gains

    kinds = ", ".join(adapted.adaptation.kinds)
    draw_gains(path, adapted.gains, f"{title}: what {kinds} brings")


def _print_trial(adaptation: Adaptation, perplexity: float) -> None:
    print_note(f"tuning: {perplexity:8.2f}  {adaptation.describe()}")


def _sources(evaluation: Evaluation) -> dict[str, dict[str, Any]]:
    """The figures of every source of a mix, by name; empty without a mix."""
    if not evaluation.others:
        return {}
    return {
        one.name: {
            **perplexity_figures(one.perplexity),
            **adapted_figures(one.perplexity, one.adapted),
            **accuracy_figures(one.accuracy),
            "source_perplexity": one.source_perplexity,
        }
        for one in (evaluation, *evaluation.others)
    }
