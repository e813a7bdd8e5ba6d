"""One training step of a tied 2x200 model: each of our output layers, and the plain model."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from benchmarks.measuring import alone, median_seconds
from benchmarks.plain import BATCH, TIME, PlainModel, plain_step
from lstm_lm.config import ModelConfig, OptimizerConfig
from lstm_lm.model.network import Network
from lstm_lm.training.optimizers import build_optimizers, clip_gradients

VOCABULARIES = [10_000, 33_278, 267_735]
OUTPUTS = ["plain", "full", "sampled", "adaptive"]


def benchmark_steps(rounds: int) -> list[dict]:
    """One training step of a tied 2x200 model on 20 x 35 words, each model in its own process."""
    return _beside_plain(rounds, "peak MB")


def benchmark_gpu_steps(rounds: int) -> list[dict]:
    """The same on a CUDA GPU, under autocast to bfloat16; the memory is the GPU's."""
    return _beside_plain(rounds, "GPU MB", device="cuda")


def _beside_plain(rounds: int, memory: str, **where: str) -> list[dict]:
    rows = []
    for vocab_size in VOCABULARIES:
        found = {
            output: alone(
                measure_step,
                torch.get_num_threads(),
                output=output,
                vocab_size=vocab_size,
                rounds=rounds,
                **where,
            )
            for output in OUTPUTS
        }
        rows += [
            {
                "words": vocab_size,
                "output": output,
                "ms": each["ms"],
                "words/s": each["words/s"],
                memory: each[memory],
                "speed over plain": round(each["words/s"] / found["plain"]["words/s"], 2),
                "memory over plain": round(each[memory] / found["plain"][memory], 2),
            }
            for output, each in found.items()
        ]
    return rows


def measure_step(
    output: str, vocab_size: int, rounds: int, width: int = 200, device: str = "cpu"
) -> dict:
    """Median time of a step after two steps that are not counted; bfloat16 products on a GPU."""
    counts = 1e7 / torch.arange(1, vocab_size + 1)  # a word's frequency falls with its rank (Zipf)
    draw_window = made_up_text(counts, device)
    if output == "plain":
        step = plain_step(PlainModel(vocab_size, width).to(device), draw_window)
    else:
        config = ModelConfig(embedding_dim=width, hidden_size=width, output=output)
        network = Network(config, vocab_size).to(device).train()
        network.output.start_from_counts(counts.long())
        step = our_step(
            network,
            OptimizerConfig(embedding_learning_rate=1e-2 if output == "sampled" else None),
            draw_window,
        )
    with torch.autocast(device, torch.bfloat16, enabled=device == "cuda"):
        median = median_seconds(step, rounds, warm_up=2)
    memory = {"GPU MB": torch.cuda.max_memory_allocated() // 2**20} if device == "cuda" else {}
    return {"ms": round(median * 1e3, 1), "words/s": round(TIME * BATCH / median)} | memory


def made_up_text(counts: Tensor, device: str) -> Callable[[], Tensor]:
    """Returns a function that returns inputs and targets ``(2, T, B)``, drawn beforehand."""
    store = (
        torch.multinomial(counts, 2 * TIME * BATCH * 16, replacement=True)
        .view(16, 2, TIME, BATCH)
        .to(device)
    )
    turns = iter(range(10**9))
    return lambda: store[next(turns) % len(store)]


def our_step(
    network: Network,
    config: OptimizerConfig,
    draw_window: Callable[[], Tensor],
    batch: int = BATCH,
) -> Callable[[], None]:
    """Returns a function that takes one training step as the trainer does."""
    optimizers, state = build_optimizers(config, network), network.initial_state(batch)

    def step() -> None:
        tokens, targets = draw_window()
        network.zero_grad()
        loss, _ = network.loss(tokens, targets, state)
        (loss / targets.numel()).backward()
        clip_gradients(network.parameters(), 1.0)
        for optimizer in optimizers:
            optimizer.step()

    return step
