"""How long a run took to reach a perplexity on valid, and how long the plain model would take."""

from __future__ import annotations

import math
from pathlib import Path

import torch

from benchmarks.measuring import alone
from benchmarks.plain import BATCH, TIME
from benchmarks.steps import measure_step
from lstm_lm.model.pretrained import load_description
from lstm_lm.training.run_log import METRICS_FILE, TIMINGS_FILE, read_log


def benchmark_reaching(
    rounds: int, run: Path, perplexity: float, plain_epochs: int, train_tokens: int
) -> list[dict]:
    """Seconds of a run to a perplexity on valid, and those of the plain model for its epochs."""
    metrics, timings = read_log(run / METRICS_FILE), read_log(run / TIMINGS_FILE)
    reached = next(
        (
            k
            for k, line in enumerate(metrics)
            if line["split"] == "valid" and line["perplexity"] <= perplexity
        ),
        None,
    )
    if reached is None:
        return [
            {
                "run": run.name,
                "never reached": perplexity,
                "best": min(
                    (round(line["perplexity"], 2) for line in metrics if line["split"] == "valid"),
                    default=None,
                ),
            }
        ]
    plain = alone(
        measure_step,
        torch.get_num_threads(),
        output="plain",
        vocab_size=len(load_description(run).vocabulary),
        rounds=rounds,
    )
    batches = math.ceil(math.ceil(train_tokens / BATCH) / TIME) * plain_epochs
    hours = plain["ms"] / 1e3 * batches / 3600
    return [
        {
            "run": run.name,
            "valid": round(metrics[reached]["perplexity"], 2),
            "seconds": timings[reached]["seconds"],
            "words seen": metrics[reached]["words"],
            "plain ms per batch": plain["ms"],
            "plain batches": batches,
            "plain hours": round(hours, 2),
            "plain over run": round(hours * 3600 / timings[reached]["seconds"], 1),
        }
    ]
