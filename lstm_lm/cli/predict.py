"""Predict the next word.

lstm-lm predict runs/quickstart "I grew up in France. I speak fluent"
lstm-lm predict runs/quickstart < prompts.txt
lstm-lm predict runs/quickstart          (asks for text)
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

from lstm_lm.cli.texts import LONGEST_WORD, iterate_input_lines, printable

if TYPE_CHECKING:
    from lstm_lm.model.language_model import LanguageModel

BAR_WIDTH = 32


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the command's arguments."""
    parser.add_argument(
        "model", metavar="RUN_DIR", help="a run directory, or a model's name on the hub"
    )
    parser.add_argument("text", nargs="?", help="default: every line of standard input")
    parser.add_argument(
        "--top-k", type=int, default=5, metavar="K", help="how many words (default 5)"
    )
    parser.add_argument("--include-unknown", action="store_true", help="let <unk> be one of them")
    parser.add_argument("--json", action="store_true", help="one JSON object per text")


def run(args: argparse.Namespace) -> int:
    """Prints the most probable next words of every text."""
    from lstm_lm.errors import InputError

    if args.top_k < 1:
        raise InputError(f"--top-k: found {args.top_k}, must be at least 1")
    from lstm_lm.model.language_model import LanguageModel

    model = LanguageModel.from_pretrained(args.model)
    texts = (
        [args.text]
        if args.text is not None
        else _iterate_asked()
        if sys.stdin.isatty()
        else iterate_input_lines()
    )
    for text in texts:
        _answer(model, text, args)
    return 0


def _iterate_asked() -> Iterator[str]:
    """Yields what a person types, until the end of input."""
    import contextlib

    with contextlib.suppress(ImportError):
        import readline  # noqa: F401  (line editing and history for input())
    print("type the beginning of a sentence; end with Ctrl-D")
    while True:
        try:
            yield input("> ")
        except EOFError:
            print()
            return


def _answer(model: LanguageModel, text: str, args: argparse.Namespace) -> None:
    predictions = model.predict_next(text, args.top_k, include_unknown=args.include_unknown)
    unknown = model.unknown_words(text)
    if args.json:
        print(
            json.dumps(
                {
                    "text": text,
                    "unknown_words": unknown,
                    "predictions": [
                        {
                            "word": p.word,
                            "probability": p.probability,
                            "log_probability": p.log_probability,
                        }
                        for p in predictions
                    ],
                },
                ensure_ascii=False,
            ),
            flush=True,
        )
        return
    print(f"{text} ...")
    if unknown:
        print(f"  (not in the model's vocabulary, read as <unk>: {printable(', '.join(unknown))})")
    words = [printable(p.word, LONGEST_WORD) for p in predictions]
    width = max(map(len, words))
    for p, word in zip(predictions, words, strict=True):
        bar = "█" * round(p.probability * BAR_WIDTH)
        print(f"  {word:<{width}}  {p.probability:7.2%}  {bar}".rstrip(), flush=True)
