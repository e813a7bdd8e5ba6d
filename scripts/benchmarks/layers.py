"""A layer's forward and backward, and its forward alone: ours, ``torch.nn.LSTM``, the readable path."""

from __future__ import annotations

import statistics

import torch

from benchmarks.measuring import in_milliseconds, measure_in_turn
from lstm_lm.cells import LSTMCell, LSTMState, run_fused, run_readable, to_torch_lstm

SHAPES = [(35, 20, 200), (35, 20, 650), (70, 64, 256), (70, 32, 512), (70, 40, 1150)]       # T, B, H


def benchmark_layers(rounds: int) -> list[dict]:
    """One layer, training step and inference: ours against ``torch.nn.LSTM`` and against the readable path."""
    rows = [measure_layer(*shape, rounds) for shape in SHAPES]
    ratios = [row["ours / nn.LSTM"] for row in rows]
    return [*rows, {"geometric mean over nn.LSTM": round(statistics.geometric_mean(ratios), 3), "worst": max(ratios),
                    "readable over ours, least": min(row["readable / ours"] for row in rows)}]


def measure_layer(time_steps: int, batch: int, width: int, rounds: int) -> dict:
    """Times of one shape, the candidates in alternation."""
    cell = LSTMCell(width, width)
    oracle = to_torch_lstm([cell])
    inputs = torch.randn(time_steps, batch, width, requires_grad=True)
    upstream, zeros = torch.randn(time_steps, batch, width), torch.zeros(batch, width)
    state = LSTMState(zeros, zeros)
    ways = {"ours": lambda: run_fused(cell, inputs, state)[0], "nn.LSTM": lambda: oracle(inputs)[0],
            "readable": lambda: run_readable(cell, inputs, state)[0]}
    train = measure_in_turn({name: lambda run=run: run().backward(upstream) for name, run in ways.items()}, rounds)
    with torch.no_grad():
        read = measure_in_turn({f"{name} inference": ways[name] for name in ("ours", "nn.LSTM")}, rounds)
    return {"T": time_steps, "B": batch, "H": width, **in_milliseconds(train),
            "ours / nn.LSTM": round(train["ours"] / train["nn.LSTM"], 3),
            "readable / ours": round(train["readable"] / train["ours"], 2), **in_milliseconds(read),
            "inference, ours / nn.LSTM": round(read["ours inference"] / read["nn.LSTM inference"], 3)}
