"""The model card of a run: what was trained on what, for how long, and how good it is."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lstm_lm.config import Config
from lstm_lm.corpus.description import describe_corpus
from lstm_lm.files.atomic import write_atomically
from lstm_lm.files.run_files import CARD_FILE, METRICS_FILE
from lstm_lm.model.pretrained import model_card
from lstm_lm.training.run_log import read_log
from lstm_lm.training.trainer import Trainer
from lstm_lm.training.validation import loss_to_choose_by


def best_validation(folder: Path) -> dict[str, Any] | None:
    """The line of a run's log with its best validation; None if there is none."""
    lines = [line for line in read_log(folder / METRICS_FILE) if line["split"] == "valid"]
    return min(lines, key=loss_to_choose_by, default=None)


def write_card(trainer: Trainer, config: Config) -> None:
    """Writes the model card: what was trained on what, for how long, and how good it is."""
    best = best_validation(trainer.folder)
    if best is None:  # the log of this finished run was lost
        return
    progress = trainer.progress
    rows = [
        ("corpus", describe_corpus(config)),
        ("train tokens", f"{progress.train_tokens:,}"),
        (
            "steps, epochs, seed",
            f"{progress.step:,}, {progress.epoch}, {config.training.seed}",
        ),
        *_perplexity_rows(best),
    ]
    table = "\n".join(f"| {what} | {value} |" for what, value in rows)
    text = f"""
## Training

| what | value |
|---|---|
{table}

`config.yaml` repeats the run: `lstm-lm train config.yaml`.
"""
    write_atomically(trainer.folder / CARD_FILE, model_card(trainer.network, text))


def _perplexity_rows(best: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The rows of a model card about valid: one for each source."""
    sources = best.get("sources", {"": best})
    return [
        (
            f"valid perplexity{' of ' * bool(name)}{name}",
            f"{found['perplexity']:.2f} over {found['tokens']:,} tokens, {found['oov_tokens']:,} "
            f"of them `<unk>`, state {found['state']}",
        )
        for name, found in sources.items()
    ]
