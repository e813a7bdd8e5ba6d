"""Measure an n-gram model of the same corpus (interpolated modified Kneser-Ney).

lstm-lm ngram configs/wikitext2.yaml
lstm-lm ngram my-novel.txt --order 3 --json
lstm-lm ngram my-novel.txt --arpa my-novel.arpa

An n-gram model predicts a word from the counts of the few words before it. A network is worth its
training time only if its perplexity is lower.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from lstm_lm.cli.options import add_config, add_json, add_overwrite, check_order, check_overwrite
from lstm_lm.cli.tables import print_perplexity
from lstm_lm.files.outputs import check_output, marked
from lstm_lm.printing import print_note


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the command's arguments."""
    add_config(parser)
    parser.add_argument(
        "--order", type=int, default=5, metavar="N", help="words in the longest n-gram (default: 5)"
    )
    parser.add_argument(
        "--split",
        choices=("train", "valid", "test"),
        default="valid",
        help="which part of the corpus is scored; counted is always train (default: valid)",
    )
    parser.add_argument(
        "--reset-per-line",
        action="store_true",
        help="read every line by itself, in train too (default: lines are one text)",
    )
    parser.add_argument(
        "--arpa",
        type=Path,
        metavar="FILE",
        help="also write the model as an ARPA file, which KenLM and other programs read",
    )
    add_overwrite(parser)
    add_json(parser, "one JSON object")


def run(args: argparse.Namespace) -> int:
    """Counts train, and prints the split's perplexity as ``lstm-lm evaluate`` does."""
    from lstm_lm.training.resolving import resolve

    check_overwrite(args, "arpa")
    inputs = {"CONFIG": args.config}
    check_output("--arpa", args.arpa, marked("ngram"), overwrite=args.overwrite, inputs=inputs)
    config, folder = resolve(args.config, None, args.overrides, print_note, choose=False)

    from lstm_lm.evaluation.baseline import count_corpus
    from lstm_lm.model.scoring import perplexity_from
    from lstm_lm.training.starting import open_corpus

    check_order(args.order, zero=False)
    is_run = Path(args.config) == folder
    corpus = open_corpus(config, folder if is_run else None)
    tokens = corpus.tokens(args.split)
    model = count_corpus(corpus, args.order, reset_per_line=args.reset_per_line)
    if args.arpa:
        from lstm_lm.files.atomic import write_atomically
        from lstm_lm.integrations.arpa import arpa_writer

        write_atomically(args.arpa, arpa_writer(model, corpus.vocabulary))
        print_note(f"{args.arpa}: {args.arpa.stat().st_size:,} bytes, state {model.state}")
    result = model.perplexity(tokens)
    nll = corpus.source_nll(args.split)
    print_perplexity(
        result,
        model.normalization,
        None if nll is None else perplexity_from(nll, result.tokens),
        f"{args.split}, {model.name}",
        as_json=args.json,
        order=model.order,
    )
    return 0
