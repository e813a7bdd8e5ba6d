"""A network in which gates always have the same value; see `lstm_lm.cells.fixing`.

Shapes: T time, E input size, H hidden size of a layer.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from lstm_lm.cells import fix_gate_, states_over
from lstm_lm.corpus.windows import TokenIds
from lstm_lm.errors import InputError
from lstm_lm.model.network import Network
from lstm_lm.model.scoring import WINDOW

MEAN = "mean"
MEAN_WORDS = 10_000  # at most so many words of a text are read for the means

# Gate name, or LAYER.gate name -> its value, or `MEAN`.
Fixes = Mapping[str, float | str]


def parse_fixes(words: Sequence[str]) -> dict[str, float | str]:
    """Reads what was typed as ``GATE=VALUE``.

    Raises:
        InputError: it is something else, or a gate is named twice.
    """
    fixes: dict[str, float | str] = {}
    for word in words:
        gate, equals, typed = (part.strip() for part in word.partition("="))
        try:
            value = typed if typed == MEAN else float(typed)
        except ValueError:
            value = math.nan
        if not gate or not equals or value != value:
            raise InputError(
                f"fix: found {word!r}, must be GATE=VALUE, such as forget_gate=1, "
                "0.output_gate=0.5 (only layer 0) or input_gate=mean"
            )
        if gate in fixes:
            raise InputError(f"fix {gate}: is given twice; give one value")
        fixes[gate] = value
    return fixes


def describe_fixes(fixes: Fixes) -> str:
    """The fixed gates as they are typed, such as ``forget_gate=1, 0.output_gate=mean``."""
    return ", ".join(
        f"{gate}={value if isinstance(value, str) else format(value, 'g')}"
        for gate, value in fixes.items()
    )


def fix_gates(network: Network, fixes: Fixes, mean_over: TokenIds | None = None) -> Network:
    """Returns a copy of a network in which gates always have the same value.

    Args:
        network: stays as it is.
        fixes: gate name -> its value in all layers, or ``LAYER.gate`` -> its value in one; layer 0
            is the lowest. `MEAN` stands for the mean of each unit's own values in `network`.
        mean_over: the ids over which the mean is taken; at most `MEAN_WORDS` of them are read.

    Raises:
        InputError: there is no such layer or gate, the gate cannot have this value, or a mean is
            asked for and there is nothing to take it over.
    """
    fixed = copy.deepcopy(network).eval()
    means: list[dict[str, Tensor]] = []
    done: set[tuple[int, str]] = set()
    for name, value in fixes.items():
        gate, layers = _find_layers(name, len(network.recurrent.cells))
        if value == MEAN and not means:
            if mean_over is None or not len(mean_over):
                raise InputError(f"fix {name}: the mean needs a text to take it over; give one")
            means = mean_gates(network, mean_over)
        for layer in layers:
            if (layer, gate) in done:
                raise InputError(f"fix {name}: {gate} of layer {layer} is fixed twice")
            done.add((layer, gate))
            cell = fixed.recurrent.cells[layer]
            # without a mean, the cell has no such gate and says so
            fix_gate_(cell, gate, means[layer].get(gate, 0.0) if value == MEAN else float(value))
    return fixed


def _find_layers(name: str, num_layers: int) -> tuple[str, Sequence[int]]:
    """The gate's name, and the layers in which it is fixed."""
    layer, dot, gate = name.partition(".")
    if not dot:
        return name, range(num_layers)
    if not (layer.isascii() and layer.isdecimal() and int(layer) < num_layers):
        raise InputError(
            f"fix {name}: there is no layer {layer}; the layers are 0 to {num_layers - 1}"
        )
    return gate, [int(layer)]


@torch.no_grad()
def mean_gates(network: Network, tokens: TokenIds) -> list[dict[str, Tensor]]:
    """The mean activation of every gate's units over a text, whose state is carried.

    Args:
        network: in evaluation mode.
        tokens: ids, at least one; at most `MEAN_WORDS` of them are read.

    Returns:
        For every layer, the lowest first: gate name -> means ``(H,)``, float64, on the CPU.
    """
    cells, state = network.recurrent.cells, network.initial_state()
    count = min(len(tokens), MEAN_WORDS)
    sums: list[dict[str, Tensor]] = [{} for _ in cells]
    for start in range(0, count, WINDOW):
        ids = torch.as_tensor(tokens[start : min(start + WINDOW, count)], device=network.device)
        inputs = network.embed(ids.unsqueeze(1))  # (T, 1, E)
        for layer, cell in enumerate(cells):
            states = [state[layer], *states_over(cell, inputs, state[layer])]
            parts = (torch.stack(part) for part in zip(*states[:-1], strict=True))
            before = cell.state_type(*parts)  # (T, 1, H)
            for gate, values in cell.activations(inputs, before).items():
                total = values.double().sum((0, 1)).cpu()
                sums[layer][gate] = sums[layer].get(gate, 0) + total
            state[layer] = states[-1]
            inputs = torch.stack([after.h for after in states[1:]])  # (T, 1, H)
    return [{gate: total / count for gate, total in layer.items()} for layer in sums]
