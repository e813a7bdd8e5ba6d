"""Training on a text as large as WikiText-103: words a second and memory, and no perplexity."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import torch

from benchmarks.measuring import alone, median_seconds
from benchmarks.trainers import endless_config, make_trainer, zipf_shares
from lstm_lm.corpus.tokens import Tokens

MILLIONS, VOCABULARY = 103, 267_735
ROWS_ALONE = "optimizer.embedding_learning_rate=8e-3"
SMALL = [
    *("model.embedding_dim=150", "model.hidden_size=400", "model.sampled_words=4000"),
    *("training.batch_size=80", "training.bptt_length=35"),
]
CHANGES = {
    "none": [],
    ROWS_ALONE: [ROWS_ALONE],
    f"{ROWS_ALONE}, sizes of wikitext2": [ROWS_ALONE, *SMALL],
}


def benchmark_large(rounds: int) -> list[dict]:
    """Updates of wikitext103.yaml, in fp32, on 103 million made-up words of 267,735 kinds."""
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder:
        path = _write_corpus(Path(folder) / "ids.bin")
        threads = torch.get_num_threads()
        return [
            {"changes": name}
            | alone(measure_updates, threads, path=str(path), changes=changes, rounds=rounds)
            for name, changes in CHANGES.items()
        ]


def _write_corpus(path: Path) -> Path:
    """Writes ids as the cache of encoded corpora does: four bytes per word."""
    draw, limits = np.random.default_rng(0), zipf_shares(VOCABULARY).cumsum()
    with path.open("wb") as file:
        for _ in range(MILLIONS):
            ids = np.minimum(limits.searchsorted(draw.random(10**6)), VOCABULARY - 1)
            file.write(ids.astype("<i4").tobytes())
    return path


def measure_updates(path: str, changes: list[str], rounds: int) -> dict:
    """Makes updates with the real trainer on memory-mapped ids."""
    config = endless_config("wikitext103", changes)
    counts = torch.from_numpy(zipf_shares(VOCABULARY) * MILLIONS * 10**6)
    with tempfile.TemporaryDirectory() as folder:
        tokens = Tokens(Path(path), "int32", lines=0, unk_count=0)
        trainer = make_trainer(config, tokens, counts, Path(folder))
        seconds = median_seconds(trainer.update, rounds, warm_up=1)
    words = config.training.batch_size * config.training.bptt_length
    return {
        "parameters": trainer.network.parameter_count,
        "words an update": words,
        "seconds": round(seconds, 2),
        "words/s": round(words / seconds),
        "passes an hour": round(3600 * words / seconds / len(tokens), 3),
    }
