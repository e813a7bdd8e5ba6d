"""What each part of a mix teaches: one model for each part, the same budget, the same questions.

    python scripts/mix_parts.py english --output runs/parts

Four models are trained, with the same settings and for the same number of updates:

- text alone: the corpus's own text, without the mix;
- stories alone: the stories of the mix's last entry, as a corpus of their own;
- own fillers: the mix; its stories have only sentences of their own;
- real fillers: the mix as it is.

The text is read once, and the stories keep their shares: about a quarter of the updates of
configs/english.yaml. Each model is asked the suites, as they are and through sentences of the
text's valid split. Prints a table and writes ``parts.png`` and ``parts.json``. A finished model is
not trained again. ``section.key=value`` changes a setting of all models.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from lstm_lm.config import Config
from lstm_lm.errors import UserError
from lstm_lm.files.atomic import write_atomically
from lstm_lm.files.outputs import check_output, marked
from lstm_lm.files.packaged import find_config
from lstm_lm.probes.figure import draw_comparison
from lstm_lm.probes.suites import find_suite
from lstm_lm.training.resolving import resolve
from lstm_lm.training.run import train
from lstm_lm.training.run_directory import holds_run
from lstm_lm.training.run_probe import ProbeResult, probe_run
from lstm_lm.training.validation import best_validation

SUITES = ("capital", "language", "nationality")
REAL_FILLERS = "real fillers"
# how parts.json begins
PARTS = re.compile(rb'\A\[\{"model": "[a-z ]+", "perplexity": ')


def parts_of(config: Config) -> dict[str, Config]:
    """Returns a configuration for each part of a mix.

    Raises:
        UserError: the configuration has no mix with stories.
    """
    corpus = replace(config.corpus, passes=1)
    stories = [entry for entry in corpus.mix if entry.corpus.source == "stories"]
    if not stories:
        raise UserError("corpus.mix: has no stories; give a configuration such as english")
    own = [replace(entry, mix=replace(entry.mix, fillers="own")) for entry in corpus.mix]
    alone = replace(
        Config().corpus, cache_dir=corpus.cache_dir, source="stories", tokenization="words"
    )
    return {
        "text alone": replace(config, corpus=replace(corpus, mix=())),
        "stories alone": replace(config, corpus=alone, stories=stories[-1].stories),
        "own fillers": replace(config, corpus=replace(corpus, mix=tuple(own))),
        REAL_FILLERS: replace(config, corpus=corpus),
    }


def train_parts(config: Config, folder: Path) -> dict[str, Path]:
    """Trains a model for each part; returns their run directories.

    The mix with real fillers is trained first: its number of updates is that of all.
    """
    runs: dict[str, Path] = {}
    parts = parts_of(config)
    steps = None
    for name in (REAL_FILLERS, *(name for name in parts if name != REAL_FILLERS)):
        runs[name] = folder / name.replace(" ", "-")
        budget: dict[str, Any] = {}
        if steps is not None:
            budget = {"training.max_steps": steps, "training.max_epochs": None}
        print(f"--- {name}", flush=True)
        run = train(parts[name], runs[name], resume=holds_run(runs[name]), **budget)
        if not run.finished:
            raise UserError(f"stopped; the same command continues {runs[name]}")
        steps = run.steps if steps is None else steps
    return {name: runs[name] for name in parts}


def probe_part(folder: Path, *, has_text: bool) -> ProbeResult:
    """Asks a model the suites; through real text if it knows its words."""
    suites = [find_suite(name) for name in SUITES]
    return probe_run(folder, suites, order=0, fillers="valid" if has_text else "")


def rows_of(name: str, folder: Path, result: ProbeResult) -> list[dict[str, Any]]:
    """Returns the figures of a model: a row for each suite, as it is and through real text."""
    best = best_validation(folder) or {}
    perplexity = None if name == "stories alone" else best["perplexity"]
    return [
        {
            "model": name,
            "perplexity": perplexity,
            "suite": suite,
            "top_1": report["top_1"],
            "pair_accuracy": report["pair_accuracy"],
            "items": report["items"],
        }
        for suite, report in result.reports.items()
    ]


def print_rows(rows: Sequence[dict[str, Any]]) -> None:
    """Prints the figures as a table in Markdown."""
    print("| model | perplexity of the text | suite | top-1 | pairs | items |")
    print("|---|---|---|---|---|---|")
    for row in rows:
        perplexity = "" if row["perplexity"] is None else f"{row['perplexity']:.2f}"
        shares = [
            "" if row[key] is None else f"{row[key]:.0%}" for key in ("top_1", "pair_accuracy")
        ]
        cells = (row["model"], perplexity, row["suite"], *shares, str(row["items"]))
        print(f"| {' | '.join(cells)} |")


def main(arguments: Sequence[str] | None = None) -> int:
    """Trains, asks, prints and draws; see the module."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("config", help="a configuration with a mix, such as english")
    parser.add_argument("overrides", nargs="*", metavar="section.key=value")
    parser.add_argument("--output", type=Path, required=True, metavar="DIR")
    args = parser.parse_args(arguments)
    path = find_config(args.config) or args.config
    config, _ = resolve(path, args.output, args.overrides)
    check_output("--output", args.output / "parts.json", PARTS, makes_folder=True)
    check_output("--output", args.output / "parts.png", marked("compare"), makes_folder=True)
    runs = train_parts(config, args.output)
    results = {
        name: probe_part(folder, has_text=name != "stories alone") for name, folder in runs.items()
    }
    rows = [row for name, folder in runs.items() for row in rows_of(name, folder, results[name])]
    print_rows(rows)
    write_atomically(args.output / "parts.json", json.dumps(rows) + "\n")
    reports = {name: result.reports for name, result in results.items()}
    filled = results[REAL_FILLERS].filled
    draw_comparison(args.output / "parts.png", reports, "pair_accuracy", "", "", filled)
    print(args.output / "parts.png")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except UserError as error:
        sys.exit(f"error: {error}")
