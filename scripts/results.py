"""Prints the results table of finished runs, in Markdown, from the files of their run directories.

    python scripts/results.py runs/quickstart runs/wikitext2-fast

The test column is filled where the run directory has a ``test.json``, which is the output of

    lstm-lm evaluate runs/wikitext2-fast --split test --json > runs/wikitext2-fast/test.json

Nothing is computed again: size, budget and perplexity are those that training and evaluation wrote.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from pathlib import Path
from typing import Any

from lstm_lm.config import Config, CorpusConfig
from lstm_lm.errors import RunDirectoryError, UserError
from lstm_lm.files.tensors import open_tensors
from lstm_lm.model.pretrained import WEIGHTS_FILE
from lstm_lm.training.run import describe_run
from lstm_lm.training.run_directory import load_run_config
from lstm_lm.training.run_log import METRICS_FILE, read_log

TEST_FILE = "test.json"
HEADER = (
    "run",
    "corpus",
    "parameters",
    "seed",
    "epochs",
    "train tokens seen",
    "seconds",
    "valid perplexity (tokens)",
    "test perplexity (tokens)",
)


def corpus_name(config: Config) -> str:
    """The sources of a corpus, each in one or two words: a file's name, or the hub's name for it.

    The stories are ``stories``.
    """
    names = map(source_name, (config.corpus, *(entry.corpus for entry in config.corpus.mix)))
    return " + ".join(dict.fromkeys(names))


def source_name(corpus: CorpusConfig) -> str:
    """One source in one or two words."""
    if corpus.source == "hub":
        return f"{corpus.dataset} {corpus.dataset_config or ''}".strip()
    if corpus.source == "files":
        named = corpus.text_file or corpus.train_file or ""
        return ", ".join(Path(name).name for name in ([named] if isinstance(named, str) else named))
    return corpus.source


def count_parameters(weights: Path) -> int:
    """The number of trained values in a file of weights. A tied matrix is stored once.

    Raises:
        RunDirectoryError: if the file is missing or damaged.
    """
    with open_tensors(weights) as (file, _):
        return sum(math.prod(file.get_slice(name).get_shape()) for name in file.keys())


def read_test_result(folder: Path) -> str:
    """The test perplexity and its token count, or an empty text if the run has no ``test.json``.

    Raises:
        RunDirectoryError: if the file is not the output of ``lstm-lm evaluate --json``.
    """
    path = folder / TEST_FILE
    if not path.exists():
        return ""
    try:
        return _perplexity(json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, KeyError, TypeError):
        raise RunDirectoryError(
            f"{path}: is not the output of lstm-lm evaluate {folder} --split test --json"
        ) from None


def row_of(folder: Path) -> tuple[str, ...]:
    """One line of the table, a cell for each name of ``HEADER``.

    Args:
        folder: the directory of a finished run.

    Raises:
        UserError: if a file of the run is missing or damaged.
    """
    config, _ = load_run_config(folder)
    run = describe_run(folder)
    return (
        folder.resolve().name,
        corpus_name(config),
        f"{count_parameters(folder / WEIGHTS_FILE):,}",
        str(config.training.seed),
        str(read_log(folder / METRICS_FILE)[-1]["epoch"]),
        f"{run['words']:,}",
        f"{run['seconds']:,.0f}",
        _perplexity(run),
        read_test_result(folder),
    )


def _perplexity(result: dict[str, Any]) -> str:
    return f"{result['perplexity']:.2f} ({result['tokens']:,})"


def format_table(rows: list[tuple[str, ...]]) -> str:
    """Rows as a Markdown table below ``HEADER``."""
    lines = [HEADER, ("---",) * len(HEADER), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def main() -> int:
    """Prints the table; returns 2 after one line of error if a run cannot be read."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN_DIR")
    folders = parser.parse_args().runs
    try:
        print(format_table([row_of(folder) for folder in folders]))
    except UserError as error:
        print(f"results.py: error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
