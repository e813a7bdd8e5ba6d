"""Predict the next word, or complete a word that is half typed.

lstm-lm predict runs/quickstart "I grew up in France. I speak fluent"
lstm-lm predict runs/quickstart "I grew up in France. I still have a home in Pa" --complete
lstm-lm predict runs/quickstart --file prompts.txt --json
lstm-lm predict runs/wikitext2 --file letter.txt --with cache     (knows the names of the text)
lstm-lm predict runs/quickstart          (asks for texts; Tab completes a word)

With --complete or --among, probabilities sum to 1 over the words on offer, and a line says how
probable these words are together. Otherwise they are over the whole vocabulary.
"""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, Any

from lstm_lm.cli.options import (
    add_ban,
    add_device,
    add_json,
    add_model,
    add_with,
    load_adaptive,
    load_model,
    parse_with,
    read_ban,
)
from lstm_lm.cli.tables import print_json
from lstm_lm.cli.texts import MAX_WORD_SHOWN, add_text, ask_at_terminal, read_texts, read_word_list
from lstm_lm.errors import InputError
from lstm_lm.printing import print_line, print_note, printable

if TYPE_CHECKING:
    from lstm_lm.evaluation.adaptive_model import AdaptiveModel
    from lstm_lm.model.language_model import LanguageModel
    from lstm_lm.model.prediction import Offer
    from lstm_lm.model.session import Session

BAR_WIDTH = 32  # characters of a bar for probability 1
TOP_K = 5


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the command's arguments."""
    add_model(parser)
    add_text(parser)
    parser.add_argument(
        "--top-k",
        type=int,
        metavar="K",
        help=f"how many words to print (default: {TOP_K}; with --among, all)",
    )
    parser.add_argument(
        "--complete",
        action="store_true",
        help="the last word of the text is half typed: print the words that begin so",
    )
    parser.add_argument(
        "--among",
        metavar="PATH",
        help="compare only the words of this file, one word a line",
    )
    add_ban(parser, "print")
    parser.add_argument(
        "--include-unknown", action="store_true", help="<unk>, the unknown word, may be among them"
    )
    add_with(parser, "to the words of the text")
    add_device(parser)
    add_json(parser, "one JSON object for each text")


def run(args: argparse.Namespace) -> int:
    """Prints the most probable next words of every text."""
    if args.top_k is not None and args.top_k < 1:
        raise InputError(f"--top-k: found {args.top_k}, must be at least 1")
    for option in ("complete", "among"):
        if getattr(args, option) and args.include_unknown:
            raise InputError(f"--{option} and --include-unknown: give one of them")
    kinds = parse_with(args)
    asks = args.text is None and args.file is None and sys.stdin.isatty()
    texts = read_texts(
        args, ask_at_terminal(lambda line: _completed(session, adaptive, line, words))
    )
    candidates = None if args.among is None else read_word_list("--among", args.among)
    banned = read_ban(args)
    model = load_model(args)
    session, adaptive = model.session(), load_adaptive(args, kinds, model)
    words = _known_words(model, args.among, candidates) | {"ban": banned(model)}
    top_k = args.top_k or (TOP_K if candidates is None else len(candidates))
    for text in texts:
        if asks and not adaptive:
            offer = _offer_of_session(session, text, top_k, args, words)
        else:
            offer = (adaptive or model).offer(
                text,
                top_k,
                complete=args.complete,
                include_unknown=args.include_unknown,
                **words,
            )
        (_print_json if args.json else _print_bars)(model, text, offer, args.complete)
    return 0


def _known_words(
    model: LanguageModel, path: str | None, candidates: list[str] | None
) -> dict[str, Any]:
    """The candidates that the vocabulary has. A note names the others."""
    from lstm_lm.model.prediction import find_candidates, some_of

    if candidates is None:
        return {"among": None}
    try:
        found, unknown = find_candidates(model.vocabulary, candidates)
    except InputError as error:
        raise InputError(f"--among {path}: {error}") from error
    if not found:
        raise InputError(f"--among {path}: the model's vocabulary has none of these words")
    if unknown:
        print_note(f"note: left out, not in the model's vocabulary: {some_of(unknown)}")
    return {"among": [model.vocabulary.words[number] for number in found]}


def _offer_of_session(
    session: Session, text: str, top_k: int, args: argparse.Namespace, words: dict[str, Any]
) -> Offer:
    """Like `LanguageModel.offer`; what the Tab key has read already is not read again."""
    from lstm_lm.corpus.half_typed import cut_half_typed

    before, chunk = cut_half_typed(text) if args.complete else (text, "")
    session.set_text(before)
    return session.offer(top_k, chunk, include_unknown=args.include_unknown, **words)


def _completed(
    session: Session, adaptive: AdaptiveModel | None, line: str, words: dict[str, Any]
) -> str | None:
    """The line with its half-typed word completed by the most probable one; None if none fits."""
    from lstm_lm.corpus.half_typed import cut_half_typed

    before, chunk = cut_half_typed(line)
    if adaptive:
        offer = adaptive.offer(line, 2, complete=True, **words)
    else:
        session.set_text(before)
        offer = session.offer(2, chunk, **words)
    vocabulary = session.vocabulary
    end_of_line = vocabulary.words[vocabulary.eos_id]
    best = [guess.word for guess in offer.predictions if guess.word != end_of_line]
    return before + offer.typed + vocabulary.display(best[:1]) if best else None


def _print_json(model: LanguageModel, text: str, offer: Offer, complete: bool) -> None:
    answer: dict[str, Any] = {"text": text, "unknown_words": _unknown_words(model, text, complete)}
    if complete:
        answer["prefix"] = offer.prefix
    if offer.words is not None:
        answer |= {"among": offer.words, "among_probability": offer.probability}
    answer["predictions"] = [
        {
            "word": prediction.word,
            "probability": prediction.probability,
            "log_probability": prediction.log_probability,
        }
        for prediction in offer.predictions
    ]
    print_json(answer)


def _unknown_words(model: LanguageModel, text: str, complete: bool) -> list[str]:
    """The unknown words of a text; a half-typed word is none."""
    from lstm_lm.corpus.half_typed import cut_half_typed

    return model.unknown_words(cut_half_typed(text)[0] if complete else text)


def _print_bars(model: LanguageModel, text: str, offer: Offer, complete: bool) -> None:
    print_line(f"{text}..." if complete and offer.prefix else f"{text} ...")
    if unknown := _unknown_words(model, text, complete):
        print_line(
            f"  (not in the model's vocabulary, read as <unk>: {printable(', '.join(unknown))})"
        )
    if note := _basis(offer):
        print_line(f"  ({note})")
    guesses = [printable(prediction.word, MAX_WORD_SHOWN) for prediction in offer.predictions]
    width = max(map(len, guesses), default=0)
    for prediction, word in zip(offer.predictions, guesses, strict=True):
        bar = "█" * round(prediction.probability * BAR_WIDTH)
        print_line(f"  {word:<{width}}  {prediction.probability:7.2%}  {bar}".rstrip())


def _basis(offer: Offer) -> str:
    """What the probabilities sum to 1 over; empty for the whole vocabulary."""
    if offer.words is None:
        return ""
    prefix = printable(offer.prefix, MAX_WORD_SHOWN)
    begin = f'that begin with "{prefix}"' if offer.prefix else "on offer"
    if not offer.words:
        return f"the vocabulary has no words {begin}"
    any_case = ", in upper or lower case" if offer.ignores_case else ""
    noun, verb = ("word", "begins") if offer.words == 1 else ("words", "begin")
    begin = begin.replace("begin ", f"{verb} ")
    return (
        f"over the {offer.words:,} {noun} {begin}{any_case}: {offer.probability:.2%} of the "
        "probability of all words"
    )
