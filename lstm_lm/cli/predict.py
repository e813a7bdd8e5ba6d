"""Predict the next word.

lstm-lm predict runs/quickstart "I grew up in France. I speak fluent"
lstm-lm predict runs/quickstart --file prompts.txt --json
lstm-lm predict runs/quickstart          (asks for texts)
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from lstm_lm.cli.options import add_device, add_json, add_model, load_model
from lstm_lm.cli.tables import print_json
from lstm_lm.cli.texts import MAX_WORD_SHOWN, add_text, printable, read_texts
from lstm_lm.errors import InputError

if TYPE_CHECKING:
    from lstm_lm.model.language_model import LanguageModel, Prediction

BAR_WIDTH = 32  # characters of a bar for probability 1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the command's arguments."""
    add_model(parser)
    add_text(parser)
    parser.add_argument(
        "--top-k", type=int, default=5, metavar="K", help="how many words to print (default: 5)"
    )
    parser.add_argument(
        "--include-unknown", action="store_true", help="<unk>, the unknown word, may be among them"
    )
    add_device(parser)
    add_json(parser, "one JSON object for each text")


def run(args: argparse.Namespace) -> int:
    """Prints the most probable next words of every text."""
    if args.top_k < 1:
        raise InputError(f"--top-k: found {args.top_k}, must be at least 1")
    texts = read_texts(args)
    model = load_model(args)
    for text in texts:
        predictions = model.predict_next(text, args.top_k, include_unknown=args.include_unknown)
        if args.json:
            _print_json(model, text, predictions)
        else:
            _print_bars(model, text, predictions)
    return 0


def _print_json(model: LanguageModel, text: str, predictions: list[Prediction]) -> None:
    print_json(
        {
            "text": text,
            "unknown_words": model.unknown_words(text),
            "predictions": [
                {
                    "word": prediction.word,
                    "probability": prediction.probability,
                    "log_probability": prediction.log_probability,
                }
                for prediction in predictions
            ],
        }
    )


def _print_bars(model: LanguageModel, text: str, predictions: list[Prediction]) -> None:
    print(f"{text} ...")
    if unknown := model.unknown_words(text):
        print(f"  (not in the model's vocabulary, read as <unk>: {printable(', '.join(unknown))})")
    words = [printable(prediction.word, MAX_WORD_SHOWN) for prediction in predictions]
    width = max(map(len, words))
    for prediction, word in zip(predictions, words, strict=True):
        bar = "█" * round(prediction.probability * BAR_WIDTH)
        print(f"  {word:<{width}}  {prediction.probability:7.2%}  {bar}".rstrip(), flush=True)
