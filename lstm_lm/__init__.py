"""A word-level next-word language model on a hand-written LSTM whose gates you can name, open and watch.

The public names below are imported when they are first used, so that `import lstm_lm` does not wait for torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lstm_lm.cells import ElmanCell, GateLayer, GRUCell, LSTMCell, LSTMState
    from lstm_lm.config import Config, load_config
    from lstm_lm.model.language_model import LanguageModel, Prediction

__version__ = "0.1.0"
__all__ = [
    "Config",
    "ElmanCell",
    "GRUCell",
    "GateLayer",
    "LSTMCell",
    "LSTMState",
    "LanguageModel",
    "Prediction",
    "load_config",
]

_HOMES = {
    "lstm_lm.cells": ("ElmanCell", "GRUCell", "GateLayer", "LSTMCell", "LSTMState"),
    "lstm_lm.config": ("Config", "load_config"),
    "lstm_lm.model.language_model": ("LanguageModel", "Prediction"),
}


def __getattr__(name: str) -> Any:
    for home, names in _HOMES.items():
        if name in names:
            return getattr(import_module(home), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
