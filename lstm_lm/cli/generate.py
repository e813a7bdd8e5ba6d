"""Continue a text by drawing words.

lstm-lm generate runs/quickstart --prompt "I grew up in" --words 60
lstm-lm generate runs/wikitext2 --temperature 0.8 --top-p 0.95 --seed 7
"""

from __future__ import annotations

import argparse
import sys

from lstm_lm.cli.texts import printable


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the command's arguments."""
    parser.add_argument(
        "model", metavar="RUN_DIR", help="a run directory, or a model's name on the hub"
    )
    parser.add_argument("--prompt", default="", metavar="TEXT", help="default: a new line")
    parser.add_argument(
        "--words", type=int, default=50, metavar="N", help="how many words to draw (default 50)"
    )
    parser.add_argument(
        "--temperature",
        type=float,
        default=1.0,
        metavar="X",
        help="0: always the most probable word; 1 (default): the model's own distribution",
    )
    parser.add_argument(
        "--top-k", type=int, metavar="K", help="draw among the K most probable words"
    )
    parser.add_argument(
        "--top-p", type=float, metavar="P", help="draw among the likeliest words that sum to P"
    )
    parser.add_argument(
        "--seed", type=int, metavar="S", help="of the draw; default: another one every time"
    )


def run(args: argparse.Namespace) -> int:
    """Prints the prompt and its continuation; a line's end is a line's end."""
    from lstm_lm.model.language_model import LanguageModel

    model = LanguageModel.from_pretrained(args.model)
    text = model.generate(
        args.prompt,
        args.words,
        temperature=args.temperature,
        top_k=args.top_k,
        top_p=args.top_p,
        seed=args.seed,
    )
    print(
        "\n".join(
            printable(line, sys.maxsize) for line in f"{args.prompt} {text}".strip().split("\n")
        )
    )
    return 0
