"""A whole training step of a tied 2x200 model: the output layers of ours, and the plain model."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from benchmarks.measuring import alone, made_up_words, median_seconds
from benchmarks.plain import BATCH, TIME, PlainModel, plain_step
from lstm_lm.config import ModelConfig, OptimizerConfig
from lstm_lm.model.language_model import LanguageModel
from lstm_lm.training.optimizers import build_optimizers, clip_gradients

VOCABULARIES = [10_000, 33_278, 267_735]
OUTPUTS = ["plain", "full", "sampled", "adaptive"]


def benchmark_steps(rounds: int) -> list[dict]:
    """A training step of a tied 2x200 model on 20 x 35 words, a process each: words per second and peak memory."""
    return _beside_plain(rounds, "peak MB")


def benchmark_gpu_steps(rounds: int) -> list[dict]:
    """The same on a CUDA GPU, and peak memory that of the GPU, under autocast to bfloat16."""
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
    """Median of some steps after two that are not counted; on a GPU, of products in bfloat16."""
    counts = 1e7 / torch.arange(1, vocab_size + 1)  # a word's frequency falls with its rank (Zipf)
    draw_window = made_up_text(counts, device)
    if output == "plain":
        step = plain_step(PlainModel(vocab_size, width).to(device), draw_window)
    else:
        model = LanguageModel(
            ModelConfig(embedding_dim=width, hidden_size=width, output=output),
            made_up_words(vocab_size),
        ).to(device)
        model.network.train().output.start_from_counts(counts.long())
        step = our_step(
            model,
            OptimizerConfig(embedding_learning_rate=1e-2 if output == "sampled" else None),
            draw_window,
        )
    with torch.autocast(device, torch.bfloat16, enabled=device == "cuda"):
        median = median_seconds(step, rounds, warm_up=2)
    memory = {"GPU MB": torch.cuda.max_memory_allocated() // 2**20} if device == "cuda" else {}
    return {"ms": round(median * 1e3, 1), "words/s": round(TIME * BATCH / median)} | memory


def made_up_text(counts: Tensor, device: str) -> Callable[[], Tensor]:
    """Draws inputs and targets ``(2, T, B)``, out of a store that is made before anything is timed."""
    store = (
        torch.multinomial(counts, 2 * TIME * BATCH * 16, replacement=True)
        .view(16, 2, TIME, BATCH)
        .to(device)
    )
    turns = iter(range(10**9))
    return lambda: store[next(turns) % len(store)]


def our_step(
    model: LanguageModel, config: OptimizerConfig, draw_window: Callable[[], Tensor]
) -> Callable[[], None]:
    """A training step of ours, as the trainer takes it."""
    optimizers, state = build_optimizers(config, model), model.network.initial_state(BATCH)

    def step() -> None:
        tokens, targets = draw_window()
        model.network.zero_grad()
        loss, _ = model.network.loss(tokens, targets, state)
        (loss / targets.numel()).backward()
        clip_gradients(model.network.parameters(), 1.0)
        for optimizer in optimizers:
            optimizer.step()

    return step
