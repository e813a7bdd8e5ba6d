"""Trainers on made-up words, for parts that measure whole updates."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from benchmarks.measuring import made_up_words
from lstm_lm.config import Config, EvaluationConfig
from lstm_lm.corpus.windows import TokenIds
from lstm_lm.model.language_model import LanguageModel
from lstm_lm.training.distributed import Ranks
from lstm_lm.training.trainer import Trainer
from lstm_lm.training.validation import ValidText


def make_trainer(
    config: Config, tokens: TokenIds, counts: Tensor, folder: Path, ranks: Ranks | None = None
) -> Trainer:
    """Returns a trainer that prints nothing and may be updated for ever.

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
