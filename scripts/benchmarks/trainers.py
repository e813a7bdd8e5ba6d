"""Trainers on made-up words, for parts that measure whole updates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from benchmarks.measuring import SCRIPTS, made_up_words
from lstm_lm.config import Config, EvaluationConfig, load_config
from lstm_lm.corpus.windows import TokenIds
from lstm_lm.model.language_model import LanguageModel
from lstm_lm.training.distributed import Ranks
from lstm_lm.training.trainer import Trainer
from lstm_lm.training.validation import ValidText


def endless_config(name: str, changes: Sequence[str] = ()) -> Config:
    """A shipped configuration for updates without end, in fp32 on the CPU, without noise or logs.

    Args:
        name: of the file, without ``.yaml``.
        changes: overrides, such as ``model.hidden_size=400``.
    """
    config = load_config(SCRIPTS.parent / "configs" / f"{name}.yaml", changes)
    training = replace(
        config.training,
        precision="fp32",
        device="cpu",
        noising="none",
        log_every=10**9,
        max_epochs=None,
        max_steps=10**9,
    )
    return replace(config, training=training)


def make_trainer(
    config: Config, tokens: TokenIds, counts: Tensor, folder: Path, ranks: Ranks | None = None
) -> Trainer:
    """Returns a trainer that prints nothing.

    Args:
        config: its model, optimizer and training.
        tokens: ids of train.
        counts: how often each word occurs, ``(V,)``.
        folder: where checkpoints would be written.
        ranks: of several processes; by default there is one.
    """
    torch.manual_seed(0)
    model = LanguageModel.from_config(config.model, made_up_words(len(counts)))
    model.network.output.start_from_counts(counts)
    return Trainer(
        model,
        tokens,
        [ValidText("files", tokens[:100])],
        config.optimizer,
        config.training,
        EvaluationConfig(),
        folder,
        ranks=ranks,
        report=lambda line: None,
    )


def zipf_shares(vocab_size: int) -> np.ndarray:
    """The shares of words whose frequencies fall with their ranks, ``(V,)``; they sum to 1."""
    shares = 1 / np.arange(1, vocab_size + 1)
    return shares / shares.sum()
