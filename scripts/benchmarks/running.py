"""What runs cost besides their steps: probes, checkpoints, and memory for larger texts."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

import torch

from benchmarks.measuring import made_up_words, measure_in_turn
from benchmarks.trainers import endless_config, make_trainer
from lstm_lm.config import ModelConfig
from lstm_lm.files.run_files import STATE_FILE, WEIGHTS_FILE
from lstm_lm.machine import in_own_thread, keep_free_memory
from lstm_lm.model.language_model import LanguageModel
from lstm_lm.probes.asking import NetworkReader, iterate_scores
from lstm_lm.probes.items import Item
from lstm_lm.probes.report import summarise
from lstm_lm.training.trainer import Trainer


def benchmark_memory(rounds: int, sizes: tuple[int, ...] = (10, 100, 1000)) -> list[dict]:
    """Peak memory of ``lstm-lm train``, encoding included, on generated texts of growing size."""
    rows = []
    for megabytes in sizes:
        with tempfile.TemporaryDirectory() as folder:
            text, valid = Path(folder) / "train.txt", Path(folder) / "valid.txt"
            line = " ".join(f"word{(k * k) % 5000}" for k in range(200)) + "\n"
            with open(text, "w") as file:
                for _ in range(megabytes * 10**6 // len(line)):
                    file.write(line)
            valid.write_text(line * 20)
            config = Path(folder) / "config.yaml"
            config.write_text(
                f"corpus: {{source: files, tokenization: whitespace, train_file: {text}, "
                f"valid_file: {valid}, cache_dir: {folder}/cache}}\ntraining: {{max_steps: 100}}\n"
            )
            begin = time.perf_counter()
            process = subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    "lstm_lm",
                    "train",
                    str(config),
                    "--output",
                    f"{folder}/run",
                ],
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            _, status, usage = os.wait4(process.pid, 0)
            rows.append(
                {
                    "text MB": megabytes,
                    "peak memory MB": usage.ru_maxrss // 1024,
                    "exit status": status,
                    "seconds": round(time.perf_counter() - begin),
                }
            )
    return rows


def benchmark_probe(rounds: int, count: int = 10_000, vocab_size: int = 33_278) -> list[dict]:
    """Probe items on a tied 2x200 model of 33,278 words: prefixes of 10 to 200 words, in pairs."""
    words = [f"w{k}" for k in range(vocab_size - 2)]
    config = ModelConfig(embedding_dim=200, hidden_size=200)
    model = LanguageModel.from_config(config, made_up_words(vocab_size))
    model.network.eval()
    draw = random.Random(0)
    items = []
    for k in range(count):
        prefix = " ".join(draw.choices(words, k=(10, 20, 50, 100, 200)[k // 2 % 5]))
        target, foil = draw.sample(words, 2)
        items.append(Item(str(k), prefix, target, foil, distance=9, pair=str(k // 2)))
    begin = time.perf_counter()
    summarise(iterate_scores(NetworkReader(model), items), vocab_size)
    return [
        {
            "items": count,
            "words in prefixes": sum(len(item.prefix.split()) for item in items),
            "seconds": round(time.perf_counter() - begin, 1),
        }
    ]


def benchmark_checkpoint(rounds: int, steps: int = 50, every: int = 200) -> list[dict]:
    """What a checkpoint every 200 steps costs, for two configs, on random words.

    Also whether steps take longer after a checkpoint than before the first one.
    """
    rows = []
    for name, vocab_size in (("long-range", 1_000), ("wikitext2", 33_278)):
        tokens = torch.randint(vocab_size, (200_000,)).numpy()
        with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder:
            trainer = make_trainer(
                endless_config(name), tokens, torch.ones(vocab_size), Path(folder)
            )
            keep_free_memory()
            work = {"steps": partial(_take_steps, trainer, steps)}
            before = measure_in_turn(work, rounds)["steps"]
            work["checkpoint"] = partial(in_own_thread, trainer.save)
            times = measure_in_turn(work, rounds)
            size = sum((Path(folder) / name).stat().st_size for name in (WEIGHTS_FILE, STATE_FILE))
        many = times["steps"] / steps * every
        rows.append(
            {
                "config": name,
                "checkpoint MB": round(size / 1e6, 1),
                f"{every} steps s": round(many, 1),
                "checkpoint s": round(times["checkpoint"], 3),
                "share %": round(100 * times["checkpoint"] / many, 2),
                "steps after / before": round(times["steps"] / before, 2),
            }
        )
    return rows


def _take_steps(trainer: Trainer, steps: int) -> None:
    for _ in range(steps):
        trainer.update()
