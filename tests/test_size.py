"""Laws of networks of equal size: no other width is nearer to the wanted number of parameters."""

from dataclasses import replace

import pytest

from lstm_lm.config import CELLS, ModelConfig
from lstm_lm.model.network import Network, count_parameters
from lstm_lm.model.size import match_parameters

V = 30


def scaled_sizes(config, widest):
    """Every width that the network's layers can be scaled to -> number of parameters."""
    sizes = {}
    for size in range(1, widest + 1):
        if isinstance(config.hidden_size, int):
            width = size
        else:
            most = max(config.hidden_size)
            width = tuple(max(1, round(old * size / most)) for old in config.hidden_size)
        sizes[width] = count_parameters(replace(config, hidden_size=width), V)
    return sizes


@pytest.mark.parametrize(
    "cell",
    ["lstm", *(pytest.param(cell, marks=pytest.mark.slow) for cell in CELLS if cell != "lstm")],
)
@pytest.mark.parametrize(
    "settings",
    [
        {"hidden_size": 7, "embedding_dim": 9},
        {"hidden_size": 3, "embedding_dim": 9, "tie_weights": False},
        {"hidden_size": (4, 11), "embedding_dim": 9, "num_layers": 2},
        {"hidden_size": (12, 6, 3), "embedding_dim": 4, "num_layers": 3},
    ],
    ids=str,
)
def test_no_other_width_is_nearer(cell, settings):
    config = ModelConfig(cell=cell, **settings)
    sizes = scaled_sizes(config, 24)
    largest = max(sizes.values())
    for wanted in (1, *range(100, largest, largest // 12)):
        found = match_parameters(config, V, wanted)
        assert replace(found, hidden_size=config.hidden_size) == config
        nearest = min(abs(size - wanted) for size in sizes.values())
        assert abs(sizes[found.hidden_size] - wanted) == nearest, wanted
    for width, size in sizes.items():
        assert count_parameters(match_parameters(config, V, size), V) == size, width


def test_count_parameters_counts_a_tied_matrix_once():
    for tied in (True, False):
        config = ModelConfig(embedding_dim=5, hidden_size=5, num_layers=1, tie_weights=tied)
        cell, norm, bias = 4 * (5 * 5 + 5 * 5 + 5), 2 * 5, V
        expected = cell + norm + bias + (1 if tied else 2) * V * 5
        assert count_parameters(config, V) == Network(config, V).parameter_count == expected
