"""Every cell's cost: a layer over a window, and a whole training step, over those of the LSTM."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch

from benchmarks.measuring import measure_in_turn
from benchmarks.steps import our_step
from lstm_lm.cells import find_cell, run_fused
from lstm_lm.config import CELLS, load_config
from lstm_lm.model.network import Network

SHAPES = [(35, 20, 200), (70, 32, 512)]  # T, B, H of a layer
STEP_CONFIG = Path(__file__).parents[2] / "configs" / "wikitext2-short.yaml"
VOCAB_SIZE = 33_278  # of its text
BASE = "lstm"


def benchmark_cells(rounds: int) -> list[dict]:
    """Every cell over the LSTM: a layer, forward and backward; a step of wikitext2-short."""
    layers = {shape: _over_base(_layers(*shape), rounds) for shape in SHAPES}
    steps = _over_base(_steps(), rounds)
    return [
        {
            "cell": cell,
            **{f"layer T{t} B{b} H{h}": layers[t, b, h][cell] for t, b, h in SHAPES},
            "training step": steps[cell],
        }
        for cell in CELLS
    ]


def _over_base(candidates: dict[str, Callable[[], None]], rounds: int) -> dict[str, float]:
    times = measure_in_turn(candidates, rounds)
    return {name: round(seconds / times[BASE], 2) for name, seconds in times.items()}


def _layers(time_steps: int, batch: int, width: int) -> dict[str, Callable[[], None]]:
    """For each cell, a function that runs a layer forward and backward."""
    inputs = torch.randn(time_steps, batch, width, requires_grad=True)
    upstream = torch.randn(time_steps, batch, width)

    def layer(name: str) -> Callable[[], None]:
        cell = find_cell(name)(width, width)
        state = cell.zero_state(batch)
        return lambda: run_fused(cell, inputs, state)[0].backward(upstream)

    return {name: layer(name) for name in CELLS}


def _steps() -> dict[str, Callable[[], None]]:
    """For each cell, a function that takes one training step of `STEP_CONFIG` on made-up words."""
    config = load_config(STEP_CONFIG)
    time_steps, batch = config.training.bptt_length, config.training.batch_size
    counts = 1e7 / torch.arange(1, VOCAB_SIZE + 1)  # a word's frequency falls with its rank (Zipf)
    window = torch.multinomial(counts, 2 * time_steps * batch, replacement=True)
    window = window.view(2, time_steps, batch)  # inputs and targets

    def step(name: str) -> Callable[[], None]:
        network = Network(replace(config.model, cell=name), VOCAB_SIZE).train()
        network.output.start_from_counts(counts.long())
        return our_step(network, config.optimizer, lambda: window, batch)

    return {name: step(name) for name in CELLS}
