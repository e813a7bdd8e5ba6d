"""Settings that are ``auto``: chosen by the size of the text that a model is trained on.

A small text is read many times by a small network with much dropout, a large text a few times by a
wide network with little. The values were measured on novels: see "Your own text" in
``configs/README.md``.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path
from typing import Any

from lstm_lm.config import Config, OptimizerConfig, TrainingConfig
from lstm_lm.config.effect import unmet_conditions, value_of, value_text

COLUMN_LIMITS = (10_000, 80_000, 450_000, 3_000_000)
"""Most train tokens, line ends included, of each column of `TABLE`; the last column has no limit.

They lie between the sizes that were measured: about 4,000, 28,000, 192,000 and 2 million tokens.
"""

TABLE: dict[str, tuple[Any, Any, Any, Any, Any]] = {
    "corpus.passes": (1, 1, 1, 1, 1),
    "model.embedding_dim": (100, 200, 150, 150, 200),
    "model.hidden_size": (100, 200, 400, 400, 500),
    "model.num_layers": (1, 1, 1, 2, 2),
    "model.memory_words": (None, None, None, None, None),
    "model.embedding_dropout": (0.1, 0.2, 0.1, 0.12, 0.0),
    "model.input_dropout": (0.5, 0.6, 0.4, 0.28, 0.1),
    "model.hidden_dropout": (0.0, 0.0, 0.0, 0.24, 0.1),
    "model.output_dropout": (0.5, 0.6, 0.4, 0.36, 0.1),
    "model.output": ("full", "full", "sampled", "sampled", "sampled"),
    "model.sampled_words": (2000, 2000, 1000, 1000, 2000),
    "optimizer.name": ("adamw", "adamw", "adamw", "adamw", "adamw"),
    "optimizer.learning_rate": (3e-3, 3e-3, 4e-3, 4e-3, 4e-3),
    "optimizer.embedding_learning_rate": (None, None, 1e-2, 8e-3, 8e-3),
    "optimizer.weight_decay": (0.15, 0.15, 0.15, 0.15, 0.15),
    "optimizer.final_fraction": (0.5, 0.5, 0.5, 0.5, 0.5),
    "training.batch_size": (5, 20, 40, 80, 80),
    "training.bptt_length": (35, 35, 35, 35, 35),
    "training.max_epochs": (30, 30, 8, 10, 2),
    "training.average": ("last:0.5",) * 5,
}
"""The value of every setting that may be ``auto``, a column for each size."""

LIKE_DEFAULTS: dict[str, tuple[Any, Any, Any, Any, Any]] = {
    "optimizer.weight_decay": (OptimizerConfig.weight_decay,) * 5,
    "optimizer.final_fraction": (OptimizerConfig.final_fraction,) * 5,
    "training.average": (TrainingConfig.average,) * 5,
}
"""Values as everywhere else, where weight decay and averaging have not been measured."""

MIXED: dict[str, tuple[Any, Any, Any, Any, Any]] = {
    "corpus.passes": TABLE["training.max_epochs"],
    "model.embedding_dim": (150, 150, 150, 150, 200),
    "model.hidden_size": (200, 200, 400, 400, 500),
    "model.num_layers": (2, 2, 2, 2, 2),
    "model.memory_words": (1000, 1000, 1000, 1000, 1000),
    "model.embedding_dropout": (0.05, 0.05, 0.05, 0.05, 0.0),
    "model.input_dropout": (0.12, 0.12, 0.12, 0.12, 0.1),
    "model.hidden_dropout": (0.12, 0.12, 0.12, 0.12, 0.1),
    "model.output_dropout": (0.18, 0.18, 0.18, 0.18, 0.1),
    "optimizer.name": ("muon", "muon", "muon", "muon", "muon"),
    **LIKE_DEFAULTS,
    "training.batch_size": (32, 32, 32, 32, 32),
    "training.bptt_length": (64, 64, 64, 64, 64),
    "training.max_epochs": (1, 1, 1, 1, 1),
}
"""The values that differ from `TABLE` for a text that is read in turn with other sources.

They are those of ``configs/english.yaml``. A single epoch, one pass over the mix, has the passes
over the text that otherwise are epochs.
"""

STARTED: dict[str, tuple[Any, Any, Any, Any, Any]] = {
    "model.embedding_dropout": (0.2, 0.2, 0.1, 0.12, 0.0),
    "model.input_dropout": (0.4, 0.4, 0.3, 0.28, 0.1),
    "model.hidden_dropout": (0.3, 0.3, 0.3, 0.24, 0.1),
    "model.output_dropout": (0.4, 0.4, 0.4, 0.36, 0.1),
    "optimizer.name": ("adamw", "adamw", "adamw", "adamw", "adamw"),
    "optimizer.learning_rate": (1e-3, 1e-3, 1e-3, 1e-3, 1e-3),
    "optimizer.embedding_learning_rate": (5e-3, 5e-3, 5e-3, 5e-3, 5e-3),
    **LIKE_DEFAULTS,
    "training.batch_size": (5, 20, 40, 80, 80),
    "training.max_epochs": (12, 12, 6, 4, 2),
}
"""The values that differ for a run that starts from another model, whose sizes it has."""


class SizeChooser:
    """Chooses the settings that are ``auto``; `lstm_lm.config.load_config` calls it as ``choose``.

    Attributes:
        train_tokens: words and line ends of train, once it has been called.
        names: dotted names of the settings that it chose.
        resumed: the directory of the run, if it is resumed.
    """

    def __init__(self) -> None:
        self.resumed: Path | None = None
        self.train_tokens = 0
        self.names: list[str] = []

    def __call__(self, config: Config, names: Collection[str]) -> dict[str, Any]:
        """Reads and encodes train (the cache keeps the result) and chooses by its length.

        Args:
            config: its sections `corpus` and `stories` are used.
            names: dotted names of the settings to choose.

        Returns:
            Their values by dotted name.

        Raises:
            CorpusError: train cannot be read.
            HubError: the hub is out of reach, or does not have the data set.
            DiskError: the cache cannot be written.
        """
        # imports torch, which a wrong setting need not wait for
        from lstm_lm.training.starting import open_corpus

        own_text = replace(config, corpus=replace(config.corpus, mix=()))
        self.train_tokens = len(open_corpus(own_text, self.resumed).tokens("train"))
        self.names = list(names)
        is_started = config.training.init_from is not None
        chosen = choose_by_size(
            self.train_tokens,
            names,
            is_mixed=bool(config.corpus.mix),
            is_started=is_started,
        )
        sizes = config.model.hidden_size
        if isinstance(sizes, tuple) and "model.num_layers" in chosen:
            chosen["model.num_layers"] = len(sizes)  # the list was given, and decides
        if is_started and config.model.num_layers == 1 and "model.hidden_dropout" in chosen:
            chosen["model.hidden_dropout"] = 0.0  # the model has nothing between its layers
        return chosen

    def describe(self, config: Config) -> list[str]:
        """Returns lines for people: the size of train, and what was chosen and has an effect.

        Args:
            config: the configuration with the chosen values.
        """
        settings = [
            f"{name}={value_text(value_of(config, name))}"
            for name in self.names
            if not unmet_conditions(config, name)
        ]
        if not settings:
            return []
        of_model = [text for text in settings if text.startswith("model.")]
        others = [text for text in settings if text not in of_model]
        return [
            f"train has {self.train_tokens:,} tokens; chosen for this size:",
            *(f"  {' '.join(line)}" for line in (of_model, others) if line),
        ]


def choose_by_size(
    train_tokens: int,
    names: Collection[str],
    *,
    is_mixed: bool = False,
    is_started: bool = False,
) -> dict[str, Any]:
    """Returns the values of settings for a text of this size, by dotted name.

    Args:
        train_tokens: words and line ends of train.
        names: dotted names of the settings; each may be ``auto``.
        is_mixed: whether the text is read in turn with other sources; see `MIXED`.
        is_started: whether the run starts from another model; see `STARTED`.
    """
    column = bisect_left(COLUMN_LIMITS, train_tokens)
    table = TABLE | MIXED if is_mixed else TABLE
    if is_started:
        table = table | STARTED
    return {name: table[name][column] for name in names}
