"""Show what a run directory contains: what was trained on what, for how long, and how good it is.

lstm-lm info runs/quickstart
lstm-lm info runs/quickstart --json
"""

from __future__ import annotations

import argparse
import shlex
from datetime import datetime
from typing import TYPE_CHECKING

from lstm_lm.cli.options import add_json, add_model
from lstm_lm.cli.tables import print_json, print_table, shown_bytes, shown_seconds
from lstm_lm.printing import print_line, printable

if TYPE_CHECKING:
    from lstm_lm.training.run_summary import RunSummary


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the command's arguments."""
    add_model(parser)
    add_json(parser, "one JSON object")


def run(args: argparse.Namespace) -> int:
    """Prints the facts, then the files."""
    from lstm_lm.training.run_summary import summarise_run

    summary = summarise_run(args.model)
    if args.json:
        print_json(summary.to_dict())
        return 0
    facts = _facts(summary)
    width = max(map(len, facts))
    print_line(printable(summary.folder))
    for name, fact in facts.items():
        print_line(f"  {name:<{width}}  {printable(fact)}")
    print_line()
    rows = [("file", "size", "written")]
    for file in summary.files:
        written = f"{datetime.fromtimestamp(file.modified):%Y-%m-%d %H:%M}"
        rows.append((file.name, shown_bytes(file.bytes), written))
    print_table(rows)
    return 0


def _facts(summary: RunSummary) -> dict[str, str]:
    """What is known, by its name."""
    facts = {"model": summary.description}
    if summary.corpus is not None:
        facts["corpus"] = summary.corpus
    if summary.started_from is not None:
        facts["started from"] = summary.started_from
    if summary.train_tokens is not None:
        facts["train tokens"] = f"{summary.train_tokens:,}"
    if summary.steps is not None:
        facts["steps"] = f"{summary.steps:,} optimizer updates, {summary.words:,} training words"
        facts["whole epochs"] = f"{summary.epochs:,}"
    if summary.seconds is not None:
        facts["time"] = shown_seconds(summary.seconds)
    if summary.seed is not None:
        facts["seed"] = str(summary.seed)
    if summary.perplexity is not None:
        facts["valid perplexity"] = (
            f"{summary.perplexity:.2f} at step {summary.perplexity_step:,} "
            f"({summary.perplexity_tokens:,} tokens, {summary.oov_tokens:,} <unk>, "
            f"state {summary.state})"
        )
    elif summary.steps is not None:
        facts["valid perplexity"] = "not measured yet"
    if summary.finished is not None:
        facts["finished"] = "yes" if summary.finished else "no"
    resume = f"lstm-lm train {shlex.quote(summary.folder)} --resume"
    if summary.resumable and summary.finished:
        facts["resumable"] = f"yes, with a larger budget: {resume} training.max_epochs=..."
    elif summary.resumable:
        facts["resumable"] = f"yes: {resume}"
    else:
        facts["resumable"] = f"no: {summary.not_resumable_because}"
    return facts
