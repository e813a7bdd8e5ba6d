"""A word-level next-word language model on a hand-written LSTM whose gates you can name and watch.

The public names are imported at their first use, so ``import lstm_lm`` does not wait for torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lstm_lm.cells import (
        Cell,
        CoupledLSTMCell,
        ElmanCell,
        GateLayer,
        GRUCell,
        HiddenState,
        InputLayer,
        LSTMCell,
        LSTMState,
        MinGRUCell,
        MinLSTMCell,
        PeepholeLSTMCell,
        SLSTMCell,
        SLSTMState,
        from_torch_lstm,
        register_cell,
        to_torch_lstm,
    )
    from lstm_lm.config import Config, load_config
    from lstm_lm.corpus.corpus import Corpus
    from lstm_lm.corpus.vocabulary import Vocabulary
    from lstm_lm.errors import UserError
    from lstm_lm.model.language_model import LanguageModel
    from lstm_lm.model.network import Network
    from lstm_lm.model.prediction import Prediction
    from lstm_lm.model.reading import Reading
    from lstm_lm.model.scoring import Perplexity, WordScore
    from lstm_lm.model.session import Session
    from lstm_lm.model.trace import Trace
    from lstm_lm.training.run import Run, train
    from lstm_lm.training.run_adaptation import adaptive_model

__version__ = "0.1.0"
__all__ = [
    "Cell",
    "Config",
    "Corpus",
    "CoupledLSTMCell",
    "ElmanCell",
    "GRUCell",
    "GateLayer",
    "HiddenState",
    "InputLayer",
    "LSTMCell",
    "LSTMState",
    "LanguageModel",
    "MinGRUCell",
    "MinLSTMCell",
    "Network",
    "PeepholeLSTMCell",
    "Perplexity",
    "Prediction",
    "Reading",
    "Run",
    "SLSTMCell",
    "SLSTMState",
    "Session",
    "Trace",
    "UserError",
    "Vocabulary",
    "WordScore",
    "adaptive_model",
    "from_torch_lstm",
    "load_config",
    "register_cell",
    "to_torch_lstm",
    "train",
]

_MODULES = {
    "lstm_lm.cells": (
        "Cell",
        "CoupledLSTMCell",
        "ElmanCell",
        "GRUCell",
        "GateLayer",
        "HiddenState",
        "InputLayer",
        "LSTMCell",
        "LSTMState",
        "MinGRUCell",
        "MinLSTMCell",
        "PeepholeLSTMCell",
        "SLSTMCell",
        "SLSTMState",
        "from_torch_lstm",
        "register_cell",
        "to_torch_lstm",
    ),
    "lstm_lm.config": ("Config", "load_config"),
    "lstm_lm.corpus.corpus": ("Corpus",),
    "lstm_lm.corpus.vocabulary": ("Vocabulary",),
    "lstm_lm.errors": ("UserError",),
    "lstm_lm.model.language_model": ("LanguageModel",),
    "lstm_lm.model.network": ("Network",),
    "lstm_lm.model.prediction": ("Prediction",),
    "lstm_lm.model.reading": ("Reading",),
    "lstm_lm.model.scoring": ("Perplexity", "WordScore"),
    "lstm_lm.model.session": ("Session",),
    "lstm_lm.model.trace": ("Trace",),
    "lstm_lm.training.run": ("Run", "train"),
    "lstm_lm.training.run_adaptation": ("adaptive_model",),
}


def __getattr__(name: str) -> Any:
    for module, names in _MODULES.items():
        if name in names:
            return getattr(import_module(module), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
