"""Networks of equal size: how wide a cell must be to give its network a number of parameters."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import replace

from lstm_lm.config import ModelConfig
from lstm_lm.model.network import count_parameters


def match_parameters(config: ModelConfig, vocab_size: int, wanted: int) -> ModelConfig:
    """Scales the width of a network's layers until it has about ``wanted`` parameters.

    Args:
        config: the network; everything but its ``hidden_size`` stays. All layers are scaled by the
            same factor.
        vocab_size: the number of words.
        wanted: the number of parameters.

    Returns:
        The configuration whose number of parameters is nearest. One unit more or less changes a
        network of usual size by a fraction of a percent, and a tiny one by several percent.
    """
    is_list = isinstance(config.hidden_size, tuple)
    base = config.hidden_size if isinstance(config.hidden_size, tuple) else (config.hidden_size,)

    def widths(widest: int) -> tuple[int, ...]:
        return tuple(max(1, round(width * widest / max(base))) for width in base)

    def scaled(widest: int) -> ModelConfig:
        return replace(config, hidden_size=widths(widest) if is_list else widths(widest)[0])

    def size(widest: int) -> int:
        return count_parameters(scaled(widest), vocab_size)

    most = max(base)
    while size(most) < wanted:
        most *= 2
    # A tied network whose top layer is as wide as its embedding has no projection, and so fewer
    # parameters than one that is a unit narrower. Without these widths, size grows with width.
    without_projection = {k for k in range(1, most + 1) if widths(k)[-1] == config.embedding_dim}
    growing = [k for k in range(1, most + 1) if k not in without_projection]
    above = bisect_left(growing, wanted, key=size)
    candidates = {*growing[max(0, above - 1) : above + 1], *without_projection}
    return scaled(min(candidates, key=lambda widest: abs(size(widest) - wanted)))
