"""Measure perplexity on a corpus split or a file.

lstm-lm evaluate runs/wikitext2                       (the valid split)
lstm-lm evaluate runs/wikitext2 --split test
lstm-lm evaluate runs/wikitext2 --file my.txt --reset-per-line --json
"""

from __future__ import annotations

import argparse
from pathlib import Path

from lstm_lm.cli.tables import print_perplexity
from lstm_lm.config import DEVICES, CorpusConfig


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the command's arguments."""
    parser.add_argument(
        "model", metavar="RUN_DIR", help="a run directory, or with --file a model's name on the hub"
    )
    what = parser.add_mutually_exclusive_group()
    what.add_argument(
        "--split", choices=("train", "valid", "test"), default="valid", help="default: valid"
    )
    what.add_argument(
        "--file", type=Path, metavar="PATH", help="a .txt or .parquet, tokenised as the corpus was"
    )
    parser.add_argument(
        "--reset-per-line", action="store_true", help="start every line from a zero state"
    )
    parser.add_argument(
        "--device",
        choices=DEVICES,
        default="auto",
        help="default: auto, which takes cuda, then mps, then cpu",
    )
    parser.add_argument("--json", action="store_true")


def run(args: argparse.Namespace) -> int:
    """Prints the perplexity with all that is needed to compare it."""
    from dataclasses import replace

    from tqdm import tqdm

    from lstm_lm.corpus.readers import checked_file
    from lstm_lm.corpus.sources import build_source
    from lstm_lm.corpus.tokens import load_tokens
    from lstm_lm.errors import RunDirectoryError
    from lstm_lm.evaluation.perplexity import measure_perplexity
    from lstm_lm.model.language_model import LanguageModel
    from lstm_lm.training.run import choose_device
    from lstm_lm.training.run_directory import YAML_FILE, load_model_config

    if args.file:
        checked_file(args.file)
    device = choose_device(args.device, "--device")
    model = LanguageModel.from_pretrained(args.model).to(device)
    folder, corpus, split = Path(args.model), CorpusConfig(), args.split
    if (folder / YAML_FILE).exists():  # a model from the hub comes without
        corpus = load_model_config(folder).corpus
    elif not args.file:
        raise RunDirectoryError(
            f"{folder}: has no {YAML_FILE}, which would say what its {split} split is; give the "
            "text with --file"
        )
    if args.file:
        corpus, split = (
            replace(
                corpus,
                source="files",
                text_file=None,
                train_file=str(args.file),
                valid_file=str(args.file),
                test_file=None,
            ),
            "train",
        )
    source = build_source(corpus)
    tokens = load_tokens(source, split, model.vocabulary, corpus.cache_dir)
    with tqdm(total=len(tokens), desc="scoring", unit=" words", leave=False, disable=None) as bar:
        result = measure_perplexity(
            model, tokens, reset_per_line=args.reset_per_line, on_progress=bar.update
        )
    print_perplexity(
        result,
        model.output.normalization,
        source,
        split,
        f"{args.file or split}",
        as_json=args.json,
    )
    return 0
