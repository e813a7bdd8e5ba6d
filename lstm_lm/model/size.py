"""Networks of equal size: how wide a cell must be for as many parameters as another cell's network has."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import replace

import torch

from lstm_lm.config import ModelConfig
from lstm_lm.corpus.vocabulary import Vocabulary
from lstm_lm.model.language_model import LanguageModel


def count_parameters(config: ModelConfig, vocabulary: Vocabulary) -> int:
    """How many parameters a model would have; takes no memory for them."""
    with torch.device("meta"):
        return LanguageModel(config, vocabulary).parameter_count


def match_parameters(config: ModelConfig, vocabulary: Vocabulary, wanted: int) -> ModelConfig:
    """Widens or narrows a model's layers, all by the same factor, until it has about as many parameters as wanted.

    Args:
        config: the model; all but its ``hidden_size`` stays.
        vocabulary: its words.
        wanted: the number of parameters.

    Returns:
        The configuration whose number is nearest. One unit more or less is a fraction of a percent of a network of
        usual size, but several percent of a tiny one.
    """
    base = config.hidden_size if isinstance(config.hidden_size, tuple) else (config.hidden_size,)

    def widened(widest: int) -> ModelConfig:
        widths = tuple(max(1, round(width * widest / max(base))) for width in base)
        return replace(
            config, hidden_size=widths if isinstance(config.hidden_size, tuple) else widths[0]
        )

    def size(widest: int) -> int:
        return count_parameters(widened(widest), vocabulary)

    most = max(base)
    while size(most) < wanted:
        most *= 2
    # where the top layer is as wide as a tied embedding, there is no projection between them, and fewer parameters
    # than with one unit less; all other widths are in the order of their sizes
    top_of = {
        widest: (sizes if isinstance(sizes := widened(widest).hidden_size, tuple) else (sizes,))[-1]
        for widest in range(1, most + 1)
    }
    ordered = [widest for widest, top in top_of.items() if top != config.embedding_dim]
    above = bisect_left(ordered, wanted, key=size)
    candidates = {*ordered[max(0, above - 1) : above + 1], *top_of.keys() - set(ordered)}
    return widened(min(candidates, key=lambda widest: abs(size(widest) - wanted)))
