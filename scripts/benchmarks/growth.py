"""What a word costs in training as something grows: vocabulary, width, corpus, cores."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from benchmarks.measuring import alone, made_up_words, median_seconds
from benchmarks.steps import measure_step
from lstm_lm.config import Config, EvaluationConfig, ModelConfig, OptimizerConfig
from lstm_lm.corpus.tokens import Tokens
from lstm_lm.model.language_model import LanguageModel
from lstm_lm.training.trainer import Trainer

VOCABULARIES, WIDTHS = [1_000, 4_000, 16_000, 64_000, 256_000], [128, 256, 512, 1024]
MILLIONS, CORPUS_VOCABULARY = [2, 20, 200], 10_000


def benchmark_growth(rounds: int) -> list[dict]:
    """Microseconds a word and peak memory, a process each, as one thing grows and the others stay (sampled output)."""
    threads = torch.get_num_threads()
    rows = [_row("vocabulary", vocab_size, alone(measure_step, threads, output="sampled", vocab_size=vocab_size,
                                                 rounds=rounds)) for vocab_size in VOCABULARIES]
    rows += [_row("hidden size", width, alone(measure_step, threads, output="sampled", vocab_size=10_000,
                                              rounds=rounds, width=width)) for width in WIDTHS]
    rows += [_row("threads", count, alone(measure_step, count, output="sampled", vocab_size=33_278, rounds=rounds))
             for count in range(1, threads + 1)]
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder:
        paths = {millions: _write_corpus(Path(folder) / f"{millions}.bin", millions) for millions in MILLIONS}
        found: dict[int, list[dict]] = {millions: [] for millions in MILLIONS}
        for _ in range(3):                                  # in turn, the quietest counts
            for millions, path in paths.items():
                found[millions].append(alone(measure_corpus, threads, path=str(path), steps=20 * rounds))
        rows += [_row("corpus, million words", millions, min(each, key=lambda one: one["ms"]))
                 for millions, each in found.items()]
    return rows


def _row(what: str, size: int, found: dict) -> dict:
    return {"what grows": what, "to": size, "us a word": round(1e6 / found["words/s"], 1), "peak MB": found["peak MB"]}


def _write_corpus(path: Path, millions: int) -> Path:
    """Ids as they lie in the cache: two bytes a word."""
    draw = np.random.default_rng(0)
    with path.open("wb") as file:
        for _ in range(millions):
            file.write(draw.integers(2, CORPUS_VOCABULARY, 10**6, dtype=np.uint16).tobytes())
    return path


def measure_corpus(path: str, steps: int) -> dict:
    """Trains for some steps on memory-mapped ids, with all that the trainer does beside, and 20 that do not count."""
    tokens, config = Tokens(Path(path), "uint16", lines=0, unk_count=0), Config()
    model = LanguageModel(ModelConfig(output="sampled"), made_up_words(CORPUS_VOCABULARY))
    model.output.start_from_counts(torch.ones(CORPUS_VOCABULARY))
    training = replace(config.training, max_epochs=None, max_steps=10**9, log_every=10**9, device="cpu")
    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(model, tokens, tokens[:100], OptimizerConfig(embedding_learning_rate=1e-2), training,
                          EvaluationConfig(), Path(folder))
        median = median_seconds(trainer.update, steps, warm_up=20)
    return {"ms": median * 1e3, "words/s": training.batch_size * training.bptt_length / median}
