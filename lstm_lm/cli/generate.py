"""Continue a text: draw one word after the other, or search for the most probable words.

lstm-lm generate runs/quickstart "I grew up in" --words 60
lstm-lm generate runs/wikitext2 --temperature 0.8 --top-p 0.95 --seed 7
lstm-lm generate runs/quickstart --prompt "I grew up in" --prompt "She has a" --samples 3
lstm-lm generate runs/quickstart --file prompts.txt --beam 8 --words 10 --json
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from lstm_lm.cli.options import add_ban, add_device, add_json, add_model, load_model, read_ban
from lstm_lm.cli.tables import print_json
from lstm_lm.cli.texts import add_text, read_texts
from lstm_lm.errors import InputError
from lstm_lm.printing import print_line

if TYPE_CHECKING:
    from lstm_lm.corpus.vocabulary import Vocabulary
    from lstm_lm.model.generation import Continuation

SAMPLING = ("temperature", "top_k", "top_p", "min_p", "repetition_penalty", "seed")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the command's arguments."""
    add_model(parser)
    add_text(parser, "PROMPT", "standard input; at a terminal, an empty text")
    parser.add_argument(
        "--prompt",
        action="append",
        metavar="TEXT",
        help="another way to give PROMPT; may be given several times",
    )
    parser.add_argument(
        "--words",
        type=int,
        default=50,
        metavar="N",
        help="how many words to add; a line end counts as a word (default: 50)",
    )
    parser.add_argument(
        "--until-eos", action="store_true", help="stop at the first line end, or after --words"
    )
    parser.add_argument(
        "--samples",
        type=int,
        default=1,
        metavar="N",
        help="how many continuations of each prompt; with --seed S, their seeds are S, S+1, ... "
        "(default: 1)",
    )
    _add_sampling(parser)
    parser.add_argument(
        "--beam",
        type=int,
        metavar="K",
        help="draw nothing, but search for the most probable continuations, by keeping the K most "
        "probable ones after each word; --samples of them are printed",
    )
    add_ban(parser, "add")
    add_device(parser)
    add_json(
        parser, "one JSON object for each continuation, with its words and their probabilities"
    )


def _add_sampling(parser: argparse.ArgumentParser) -> None:
    """Declares how words are drawn; an option that is not given is None."""
    parser.add_argument(
        "--temperature",
        type=float,
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
        "--min-p",
        type=float,
        metavar="P",
        help="draw only among words that are at least P times as probable as the most probable "
        "one, above 0 and at most 1 (default: all words)",
    )
    parser.add_argument(
        "--repetition-penalty",
        type=float,
        metavar="X",
        help="multiply the log-probability of words that the text has already by X; above 1: "
        "they are drawn more rarely (default: 1)",
    )
    parser.add_argument(
        "--seed",
        type=int,
        metavar="N",
        help="the same seed draws the same words (default: different words every time)",
    )


def run(args: argparse.Namespace) -> int:
    """Prints every prompt with its continuations."""
    if args.prompt is not None:
        if args.text is not None:
            raise InputError("PROMPT and --prompt: give one of them")
        args.text = args.prompt
    prompts = read_texts(args, at_terminal=iter([""]))
    banned = read_ban(args)
    model = load_model(args)
    options: dict[str, Any] = {"ban": banned(model), "until_eos": args.until_eos}
    options |= {name: getattr(args, name) for name in SAMPLING if getattr(args, name) is not None}
    is_first = True
    for prompt in _or_empty(prompts):
        found = model.iterate_continuations(
            prompt, args.words, samples=args.samples, beam=args.beam, **options
        )
        for number, continuation in enumerate(found, 1):
            if args.json:
                _print_json(prompt, number, continuation)
            else:
                _print_text(model.vocabulary, prompt, continuation, is_first)
            is_first = False
    return 0


def _print_json(prompt: str, number: int, continuation: Continuation) -> None:
    print_json(
        {
            "prompt": prompt,
            "sample": number,
            "seed": continuation.seed,
            "continuation": continuation.text,
            "words": continuation.words,
            "probabilities": [guess.probability for guess in continuation.predictions],
            "log_probability": continuation.log_probability,
        }
    )


def _print_text(
    vocabulary: Vocabulary, prompt: str, continuation: Continuation, is_first: bool
) -> None:
    text = vocabulary.join(prompt, continuation.words).strip()
    lines = [line.rstrip() for line in text.split("\n")]
    print_line("\n".join(lines if is_first else ["", *lines]))


def _or_empty(prompts: Iterator[str]) -> Iterator[str]:
    """The prompts; an empty one, which is a new line, if there are none."""
    yield next(prompts, "")
    yield from prompts
