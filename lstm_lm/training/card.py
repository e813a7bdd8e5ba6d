"""The model card of a run: what was trained on what, for how long, and how good it is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lstm_lm.config import Config
from lstm_lm.corpus.description import describe_corpus
from lstm_lm.files.atomic import write_atomically
from lstm_lm.files.run_files import CARD_FILE
from lstm_lm.model.pretrained import model_card
from lstm_lm.training.starting import Forgetting, Origin
from lstm_lm.training.trainer import Trainer
from lstm_lm.training.validation import best_validation


def write_card(
    trainer: Trainer,
    config: Config,
    origin: Origin | None = None,
    forgetting: Forgetting | None = None,
) -> None:
    """Writes the model card: what was trained on what, for how long, and how good it is.

    Args:
        trainer: whose run is finished.
        config: of the run.
        origin: the model that the run started from, if it did.
        forgetting: how well the run's model reads the corpus of that one, if it is known.
    """
    best = best_validation(trainer.folder)
    if best is None:  # the log of this finished run was lost
        return
    progress = trainer.progress
    rows = [
        ("corpus", describe_corpus(config)),
        *_rows_of_start(config, origin, forgetting),
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


def _rows_of_start(
    config: Config, origin: Origin | None, forgetting: Forgetting | None
) -> list[tuple[str, str]]:
    """The rows of a model card about what the run started from."""
    rows = []
    if config.training.word_vectors:
        rows.append(("word vectors from", config.training.word_vectors))
    if origin:
        rows.append(("started from", f"{origin.name}, run {origin.run_id}, {origin.words:,} words"))
    if forgetting:
        rows.append(
            (
                "valid perplexity of its corpus",
                f"{forgetting}, over {forgetting.tokens:,} tokens",
            )
        )
    return rows


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
