"""Print the surprisal of every word, in bits.

lstm-lm score runs/quickstart "I grew up in France. I speak fluent French."
lstm-lm score runs/quickstart --file sentences.txt --json
lstm-lm score runs/quickstart --file stimuli.csv --text-column sentence --tsv surprisals.tsv

A word's surprisal is -log2 of its probability after the words before it: 1 bit if the model gives
it one half, 10 bits if it gives it a thousandth. Every line starts from a zero state, so lines do
not influence each other; with --carry, the state is carried from line to line. With --with, the
model adapts to what it has read: of the line, or with --carry of all lines.

With --tsv, the lines are stimuli: they are read as they stand, and a table gets a row for every
word and line end:

sentence_id token_id  the number of the line, and of the word in it, from 1
token                 the word; with --by word or --regions as it was typed
surprisal             of the word; of several words, their sum
entropy               of the distribution from which the word comes, over the whole vocabulary
entropy_reduction     this entropy minus that after the word; may be negative
rank                  how many words are at least as probable, the word included
log_frequency         logarithm of the word's share of all tokens of train
known                 whether the vocabulary has the word
start end             its place in the line, in characters from 0; end is the character after it

All columns of a .csv or .tsv file follow. A cell without a value is empty.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator
from itertools import chain
from typing import TYPE_CHECKING

from lstm_lm.cli.options import (
    add_device,
    add_json,
    add_model,
    add_with,
    load_adaptive,
    load_model,
    parse_with,
)
from lstm_lm.cli.score_table import add_table, check_table, write_table
from lstm_lm.cli.tables import print_json
from lstm_lm.cli.texts import MAX_WORD_SHOWN, add_reading, add_text, read_texts
from lstm_lm.errors import InputError
from lstm_lm.printing import print_line, print_note, printable

if TYPE_CHECKING:
    from lstm_lm.corpus.vocabulary import Vocabulary
    from lstm_lm.model.scoring import WordScore


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the command's arguments."""
    add_model(parser)
    add_text(parser)
    add_reading(parser)
    parser.add_argument(
        "--carry",
        action="store_true",
        help="carry the state from line to line (default: every line starts from a zero state)",
    )
    add_with(parser, "to the words before")
    table = parser.add_argument_group("table")
    add_table(table)
    add_device(parser)
    add_json(parser, "one JSON object for each line of text")


def run(args: argparse.Namespace) -> int:
    """Prints every word with its surprisal, or writes the table."""
    kinds = parse_with(args)
    if kinds and args.tsv:
        raise InputError("--with and --tsv: give one of them; --adapt learns from line to line")
    if check_table(args):
        texts = read_texts(args)
        model = load_model(args)
        return write_table(args, texts, model, _choose_reading(args, model.vocabulary))

    from lstm_lm.model.scoring import iterate_line_scores, lines_of, perplexity_from

    texts = read_texts(args)
    model = load_model(args)
    tokenised = _choose_reading(args, model.vocabulary) == "tokenised"
    if args.file not in (None, "-"):
        texts = _lines_of_file(args, tokenised)
    lines = chain.from_iterable(map(lines_of, texts))
    adaptive = load_adaptive(args, kinds, model)
    if adaptive:
        scored = adaptive.iterate_line_scores(lines, carry=args.carry, tokenised=tokenised)
    else:
        scored = iterate_line_scores(
            model.network, model.vocabulary, lines, carry=args.carry, tokenised=tokenised
        )
    nll, words = 0.0, 0
    for number, scores in enumerate(scored, 1):
        nll += sum(score.surprisal for score in scores) * math.log(2)
        words += len(scores)
        if args.json:
            _print_json(number, scores, "carried" if args.carry else "reset", kinds)
        else:
            _print_bars(scores)
    if not args.json:
        if words:
            perplexity = perplexity_from(nll, words)
            print_line(f"perplexity {perplexity:.2f} ({words:,} tokens, line ends included)")
        print_line("state carried from line to line" if args.carry else "state reset per line")
    return 0


def _choose_reading(args: argparse.Namespace, vocabulary: Vocabulary) -> str:
    """How the text is read; the lines of a file decide, unless it is said. Prints a note."""
    from lstm_lm.corpus.file_reading import choose_reading, has_two_readings, reading_note
    from lstm_lm.corpus.readers import iterate_file_lines
    from lstm_lm.training.run_evaluation import corpus_settings

    is_file = args.file not in (None, "-")
    sample: Iterator[str] = iter(())
    if is_file:
        column = args.text_column or corpus_settings(args.model).text_column
        sample = iterate_file_lines(args.file, column)
    reading = choose_reading(sample, vocabulary, args.reading)
    if is_file and has_two_readings(vocabulary):
        print_note(f"note: {reading_note(args.file, reading)}")
    return reading


def _lines_of_file(args: argparse.Namespace, tokenised: bool) -> Iterator[str]:
    """The lines of a file, laid out as `lstm-lm evaluate --file` does it. Prints notes."""
    from lstm_lm.corpus.sources import FileSource
    from lstm_lm.training.run_evaluation import corpus_settings

    settings = corpus_settings(args.model, args.text_column)
    source = FileSource(args.file, settings, "whitespace" if tokenised else "words")
    for note in source.notes():
        print_note(f"note: {note}")
    return source.iterate_lines("file")


def _print_json(line: int, scores: list[WordScore], state: str, kinds: tuple[str, ...]) -> None:
    print_json(
        {
            "line": line,
            "surprisal": sum(score.surprisal for score in scores),
            "words": [
                {"word": score.word, "surprisal": score.surprisal, "known": score.known}
                for score in scores
            ],
            "state": state,
        }
        | ({"with": kinds} if kinds else {})
    )


def _print_bars(scores: list[WordScore]) -> None:
    words = [
        printable(score.word, MAX_WORD_SHOWN) + ("" if score.known else " ?") for score in scores
    ]
    width = max(map(len, words))
    for score, word in zip(scores, words, strict=True):
        bar = "▪" * round(score.surprisal)  # one for each bit
        print_line(f"{word:<{width}} {score.surprisal:7.2f}  {bar}".rstrip())
    total = sum(score.surprisal for score in scores)
    print_line(f"{'':<{width}} {total:7.2f} bits, {total / len(scores):.2f} per word\n")
