"""Measure what counting alone can do: an n-gram model of the same corpus, interpolated modified Kneser-Ney.

lstm-lm ngram configs/wikitext2.yaml
lstm-lm ngram configs/text-files.yaml corpus.text_file=my-novel.txt --order 3 --json
"""

from __future__ import annotations

import argparse

from lstm_lm.cli.tables import print_perplexity


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the command's arguments."""
    parser.add_argument("config", metavar="CONFIG.yaml")
    parser.add_argument(
        "overrides",
        nargs="*",
        metavar="section.key=value",
        help="takes the place of the file's value",
    )
    parser.add_argument(
        "--order", type=int, default=5, metavar="N", help="words in the longest n-gram; default: 5"
    )
    parser.add_argument(
        "--split", choices=("train", "valid", "test"), default="valid", help="default: valid"
    )
    parser.add_argument(
        "--reset-per-line", action="store_true", help="read every line by itself, train's too"
    )
    parser.add_argument("--json", action="store_true")


def run(args: argparse.Namespace) -> int:
    """Counts train, and prints the split's perplexity as ``lstm-lm evaluate`` does."""
    from lstm_lm.config import load_config

    corpus = load_config(args.config, args.overrides).corpus

    from lstm_lm.corpus.sources import build_source
    from lstm_lm.corpus.tokens import load_tokens, load_vocabulary
    from lstm_lm.errors import InputError
    from lstm_lm.evaluation.baseline import count_corpus
    from lstm_lm.evaluation.ngram import LARGEST_ORDER

    if not 1 <= args.order <= LARGEST_ORDER:
        raise InputError(f"--order: found {args.order}, must be from 1 to {LARGEST_ORDER}")
    source = build_source(corpus)
    vocabulary = load_vocabulary(source, corpus, corpus.cache_dir)
    tokens = load_tokens(source, args.split, vocabulary, corpus.cache_dir)
    model = count_corpus(
        source,
        vocabulary,
        args.order,
        reset_per_line=args.reset_per_line,
        cache_dir=corpus.cache_dir,
    )
    result = model.perplexity(tokens)
    print_perplexity(
        result,
        model.normalization,
        source,
        args.split,
        f"{args.split}, {model.name}",
        as_json=args.json,
        order=model.order,
    )
    return 0
