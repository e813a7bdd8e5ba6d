"""One layer, forward and backward, and forward only: ours, ``torch.nn.LSTM``, the readable path.

``products alone`` is a lower bound: as many multiplications in one product, ``nn.Linear(2H, 4H)``
over all T*B words. A layer also computes gates and states, one word after the other.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable

import torch
from torch import Tensor

from benchmarks.measuring import in_milliseconds, measure_in_turn
from lstm_lm.cells import LSTMCell, run_fused, run_readable, to_torch_lstm
from lstm_lm.cells.fast.products import linear

SHAPES = [(35, 20, 200), (35, 20, 650), (70, 64, 256), (70, 32, 512), (70, 40, 1150)]  # T, B, H
GPU_SHAPES = [*SHAPES[:4], (70, 80, 1150)]


def benchmark_layers(rounds: int) -> list[dict]:
    """One layer, training step and inference: ours, ``torch.nn.LSTM``, and the readable path."""
    return _with_summary([measure_layer(*shape, rounds) for shape in SHAPES])


def benchmark_gpu_layers(rounds: int) -> list[dict]:
    """The same on a CUDA GPU (``torch.nn.LSTM`` is cuDNN's), in TF32 and bfloat16."""
    torch.set_float32_matmul_precision("high")  # TF32; cuDNN's default
    return [
        row
        for precision in ("tf32", "bf16")
        for row in _with_summary(
            [
                {"precision": precision, **measure_layer(*shape, rounds, "cuda", precision)}
                for shape in GPU_SHAPES
            ]
        )
    ]


def _with_summary(rows: list[dict]) -> list[dict]:
    ratios = [row["ours / nn.LSTM"] for row in rows]
    return [
        *rows,
        {
            "geometric mean over nn.LSTM": round(statistics.geometric_mean(ratios), 3),
            "worst": max(ratios),
            "readable over ours, smallest": min(row["readable / ours"] for row in rows),
        },
    ]


def measure_layer(
    time_steps: int,
    batch: int,
    width: int,
    rounds: int,
    device: str = "cpu",
    precision: str = "fp32",
) -> dict:
    """Measures one shape; the candidates take turns."""
    cell = LSTMCell(width, width).to(device)
    oracle = to_torch_lstm([cell]).to(device)
    inputs = torch.randn(time_steps, batch, width, device=device, requires_grad=True)
    state = cell.zero_state(batch)
    rows = torch.randn(time_steps * batch, 2 * width, device=device, requires_grad=True)
    stacked = torch.randn(4 * width, 2 * width, device=device, requires_grad=True)

    def in_precision(run: Callable[[], Tensor]) -> Callable[[], Tensor]:
        def outputs() -> Tensor:
            with torch.autocast(device, torch.bfloat16, enabled=precision == "bf16"):
                return run()

        return outputs

    def train_step(run: Callable[[], Tensor]) -> Callable[[], None]:
        upstream = torch.randn_like(run())
        return lambda: run().backward(upstream)

    ways = {
        "ours": in_precision(lambda: run_fused(cell, inputs, state)[0]),
        "nn.LSTM": in_precision(lambda: oracle(inputs)[0]),
        "readable": in_precision(lambda: run_readable(cell, inputs, state)[0]),
        "products alone": in_precision(lambda: linear(rows, stacked)),
    }
    train = measure_in_turn({name: train_step(run) for name, run in ways.items()}, rounds)
    with torch.no_grad():
        read = measure_in_turn(
            {f"{name} inference": ways[name] for name in ("ours", "nn.LSTM")}, rounds
        )
    return {
        "T": time_steps,
        "B": batch,
        "H": width,
        **in_milliseconds(train),
        "ours / nn.LSTM": round(train["ours"] / train["nn.LSTM"], 3),
        "readable / ours": round(train["readable"] / train["ours"], 2),
        "products alone / ours": round(train["products alone"] / train["ours"], 2),
        **in_milliseconds(read),
        "inference, ours / nn.LSTM": round(read["ours inference"] / read["nn.LSTM inference"], 3),
    }
