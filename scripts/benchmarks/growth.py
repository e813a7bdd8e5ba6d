"""Time per word in training when one size grows: vocabulary, width, threads, corpus."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import torch

from benchmarks.measuring import alone, measure_in_turn
from benchmarks.steps import measure_step
from benchmarks.trainers import make_trainer
from lstm_lm.config import Config, ModelConfig, OptimizerConfig, TrainingConfig
from lstm_lm.corpus.tokens import Tokens
from lstm_lm.training.trainer import Trainer

VOCABULARIES, WIDTHS = [1_000, 4_000, 16_000, 64_000, 256_000], [128, 256, 512, 1024]
MILLIONS, CORPUS_VOCABULARY = [2, 20, 200], 10_000


def benchmark_growth(rounds: int) -> list[dict]:
    """Microseconds per word and peak memory when one size grows, each in its own process."""
    threads = torch.get_num_threads()
    rows = [
        _row(
            "vocabulary",
            vocab_size,
            alone(measure_step, threads, output="sampled", vocab_size=vocab_size, rounds=rounds),
        )
        for vocab_size in VOCABULARIES
    ]
    rows += [
        _row(
            "hidden size",
            width,
            alone(
                measure_step,
                threads,
                output="sampled",
                vocab_size=10_000,
                rounds=rounds,
                width=width,
            ),
        )
        for width in WIDTHS
    ]
    rows += [
        _row(
            "threads",
            count,
            alone(measure_step, count, output="sampled", vocab_size=33_278, rounds=rounds),
        )
        for count in range(1, threads + 1)
    ]
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder:
        paths = {
            millions: _write_corpus(Path(folder) / f"{millions}.bin", millions)
            for millions in MILLIONS
        }
        speeds = alone(
            measure_corpora, threads, paths=list(map(str, paths.values())), steps=100 * rounds
        )["words/s"]
        rows += [
            _row(
                "corpus, million words",
                millions,
                alone(measure_corpora, threads, paths=[str(path)], steps=20) | {"words/s": speed},
            )
            for (millions, path), speed in zip(paths.items(), speeds, strict=True)
        ]
    return rows


def _row(what: str, size: int, found: dict) -> dict:
    return {
        "what grows": what,
        "to": size,
        "us per word": round(1e6 / found["words/s"], 1),
        "peak MB": found["peak MB"],
    }


def _write_corpus(path: Path, millions: int) -> Path:
    """Writes random ids as the cache of encoded corpora does: two bytes per word."""
    draw = np.random.default_rng(0)
    with path.open("wb") as file:
        for _ in range(millions):
            file.write(draw.integers(2, CORPUS_VOCABULARY, 10**6, dtype=np.uint16).tobytes())
    return path


def measure_corpora(paths: list[str], steps: int) -> dict:
    """Trains on memory-mapped ids with the real trainer; the corpora take turns."""
    with tempfile.TemporaryDirectory() as folder:
        trainers = {
            path: _trainer(Path(path), Path(folder) / str(number))
            for number, path in enumerate(paths)
        }
        seconds = measure_in_turn(
            {path: trainer.update for path, trainer in trainers.items()}, steps
        )
    words = Config().training.batch_size * Config().training.bptt_length
    return {"words/s": [words / seconds[path] for path in paths]}


def _trainer(path: Path, folder: Path) -> Trainer:
    folder.mkdir()
    config = Config(
        model=ModelConfig(output="sampled"),
        optimizer=OptimizerConfig(embedding_learning_rate=1e-2),
        training=TrainingConfig(max_epochs=None, max_steps=10**9, log_every=10**9, device="cpu"),
    )
    tokens = Tokens(path, "uint16", lines=0, unk_count=0)
    return make_trainer(config, tokens, torch.ones(CORPUS_VOCABULARY), folder)
