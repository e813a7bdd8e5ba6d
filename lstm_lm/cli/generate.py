"""Continue a text: draw one word after the other.

lstm-lm generate runs/quickstart "I grew up in" --words 60
lstm-lm generate runs/wikitext2 --temperature 0.8 --top-p 0.95 --seed 7
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator

from lstm_lm.cli.options import add_device, add_json, add_model, load_model
from lstm_lm.cli.tables import print_json
from lstm_lm.cli.texts import add_text, printable, read_texts
from lstm_lm.errors import InputError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the command's arguments."""
    add_model(parser)
    add_text(parser, "PROMPT", "standard input; at a terminal, an empty text")
    parser.add_argument("--prompt", metavar="TEXT", help="another way to give PROMPT")
    parser.add_argument(
        "--words",
        type=int,
        default=50,
        metavar="N",
        help="how many words to draw; a line end counts as a word (default: 50)",
    )
    parser.add_argument(
        "--temperature",
        type=float,
        default=1.0,
        metavar="X",
        help="at least 0; 1: draw from the model's own distribution; below 1: probable words are "
        "drawn more often; 0: always the most probable word (default: 1)",
    )
    parser.add_argument(
        "--top-k",
        type=int,
        metavar="K",
        help="draw among the K most probable words only (default: all)",
    )
    parser.add_argument(
        "--top-p",
        type=float,
        metavar="P",
        help="draw among the most probable words whose probabilities sum to P only, above 0 and "
        "at most 1 (default: all words)",
    )
    parser.add_argument(
        "--seed",
        type=int,
        metavar="N",
        help="the same seed draws the same words (default: different words every time)",
    )
    add_device(parser)
    add_json(parser, "one JSON object for each prompt")


def run(args: argparse.Namespace) -> int:
    """Prints every prompt with its continuation."""
    if args.prompt is not None:
        if args.text is not None:
            raise InputError("PROMPT and --prompt: give one of them")
        args.text = args.prompt
    prompts = read_texts(args, at_terminal=iter([""]))
    model = load_model(args)
    for number, prompt in enumerate(_or_empty(prompts)):
        words = list(
            model.iterate_words(
                prompt,
                args.words,
                temperature=args.temperature,
                top_k=args.top_k,
                top_p=args.top_p,
                seed=args.seed,
            )
        )
        continuation = model.vocabulary.display(words)
        if args.json:
            print_json({"prompt": prompt, "continuation": continuation, "words": words})
        else:
            text = model.vocabulary.join(prompt, words).strip()
            lines = [printable(line.rstrip(), sys.maxsize) for line in text.split("\n")]
            print("\n".join(["", *lines] if number else lines), flush=True)
    return 0


def _or_empty(prompts: Iterator[str]) -> Iterator[str]:
    """The prompts; an empty one, which is a new line, if there are none."""
    yield next(prompts, "")
    yield from prompts
