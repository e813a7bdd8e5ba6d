"""Prints what is fast here and what is not, measured in alternation, as medians and ratios.

    python scripts/benchmark.py                     every part but the slow one
    python scripts/benchmark.py --only layers step  some parts
    python scripts/benchmark.py --only checkpoint   a training that saves every 200 steps
    python scripts/benchmark.py --only memory       trains on generated text of 10, 100 and 1000 MB (minutes, disk)

A ratio below 1 means ours is faster, or smaller. Nothing here asserts: machines differ and are noisy.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lstm_lm.cells import LSTMCell, LSTMState, run_fused, run_readable, to_torch_lstm
from lstm_lm.config import ModelConfig, OptimizerConfig, load_config
from lstm_lm.corpus.suites import Item
from lstm_lm.corpus.vocabulary import Vocabulary
from lstm_lm.evaluation.probe_report import summarise
from lstm_lm.evaluation.probes import BatchReader, iterate_scores
from lstm_lm.model.language_model import LanguageModel
from lstm_lm.model.pretrained import WEIGHTS_FILE
from lstm_lm.training.checkpoint import STATE_FILE
from lstm_lm.training.optimizers import build_optimizers
from lstm_lm.training.trainer import Trainer

LAYER_SHAPES = [(35, 20, 200), (35, 20, 650), (70, 64, 256), (70, 32, 512)]       # T, B, H
STEP_SHAPES = [(200, 10_000), (200, 33_278), (650, 10_000), (650, 33_278)]        # H of two layers, V


def measure_in_turn(candidates: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Median seconds of each candidate, run one after the other, round after round, after one round not counted."""
    times: dict[str, list[float]] = {name: [] for name in candidates}
    for round_number in range(rounds + 1):
        for name, run in candidates.items():
            begin = time.perf_counter()
            run()
            if round_number:
                times[name].append(time.perf_counter() - begin)
    return {name: statistics.median(values) for name, values in times.items()}


def in_milliseconds(times: dict[str, float]) -> dict[str, float]:
    """Table cells of measured seconds."""
    return {f"{name} ms": round(seconds * 1e3, 1) for name, seconds in times.items()}


def benchmark_layers(rounds: int) -> list[dict]:
    """One layer's forward and backward: ours against ``torch.nn.LSTM`` and against the readable path."""
    rows = []
    for time_steps, batch, width in LAYER_SHAPES:
        cell = LSTMCell(width, width)
        oracle = to_torch_lstm([cell])
        inputs = torch.randn(time_steps, batch, width, requires_grad=True)
        upstream, zeros = torch.randn(time_steps, batch, width), torch.zeros(batch, width)
        state = LSTMState(zeros, zeros)

        def train(run, inputs=inputs, upstream=upstream):
            run(inputs).backward(upstream)

        times = measure_in_turn({
            "fused": lambda: train(lambda x: run_fused(cell, x, state)[0]),                    # noqa: B023
            "torch.nn.LSTM": lambda: train(lambda x: oracle(x)[0]),                            # noqa: B023
            "readable": lambda: train(lambda x: run_readable(cell, x, state)[0]),              # noqa: B023
        }, rounds)
        rows.append({"T": time_steps, "B": batch, "H": width, **in_milliseconds(times),
                     "fused / nn.LSTM": round(times["fused"] / times["torch.nn.LSTM"], 2),
                     "fused / readable": round(times["fused"] / times["readable"], 2)})
    return rows


class TorchRecurrence(nn.Module):
    """A model's recurrent stack, its cells copied into one ``torch.nn.LSTM``."""

    def __init__(self, stack: nn.Module) -> None:
        super().__init__()
        self.lstm = to_torch_lstm(list(stack.cells))
        self.initial_state = stack.initial_state

    def forward(self, inputs: Tensor, state: list[LSTMState]) -> tuple[Tensor, list[LSTMState]]:
        """The contract of ``RecurrentStack.forward``."""
        h, c = (torch.stack(part) for part in zip(*state, strict=True))
        outputs, (h, c) = self.lstm(inputs, (h, c))
        return outputs, [LSTMState(*layer) for layer in zip(h, c, strict=True)]


def benchmark_steps(rounds: int) -> list[dict]:
    """A whole training step of a tied two-layer model (35 x 20 words): our cells against ``torch.nn.LSTM`` inside it.

    The third column is the usual model: ``torch.nn.LSTM`` and a plain cross-entropy over all logits at once.
    """
    rows = []
    for width, vocab_size in STEP_SHAPES:
        words = Vocabulary.build([" ".join(f"w{k}" for k in range(vocab_size - 2))], tokenization="whitespace")
        steps = {}
        for name in ("ours", "nn.LSTM inside", "nn.LSTM, plain softmax"):
            torch.manual_seed(0)
            model = LanguageModel(ModelConfig(embedding_dim=width, hidden_size=width), words)
            if name != "ours":
                model.recurrent = TorchRecurrence(model.recurrent)
            if "plain" in name:
                model.output.loss = lambda hidden, targets, output=model.output: F.cross_entropy(
                    F.linear(hidden, output.weight, output.bias), targets, reduction="sum")
            steps[name] = make_step(model)
        times = measure_in_turn(steps, rounds)
        rows.append({"model": f"2x{width}, {vocab_size:,} words", **in_milliseconds(times),
                     "ours / nn.LSTM inside": round(times["ours"] / times["nn.LSTM inside"], 2),
                     "ours / plain": round(times["ours"] / times["nn.LSTM, plain softmax"], 2)})
    return rows


def make_step(model: LanguageModel, time_steps: int = 35, batch: int = 20) -> Callable[[], None]:
    """A training step on random words: forward, backward, clipping, AdamW."""
    optimizer, = build_optimizers(OptimizerConfig(), model)
    tokens, targets = torch.randint(len(model.vocabulary), (2, time_steps, batch))
    state = model.initial_state(batch)

    def step() -> None:
        optimizer.zero_grad()
        loss, _ = model.loss(tokens, targets, state)
        (loss / targets.numel()).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()

    return step


def benchmark_output(rounds: int) -> list[dict]:
    """The output layer's loss and gradients on 700 words: ours, torch's chunked one, and all logits at once."""
    rows = []
    for width, vocab_size in STEP_SHAPES:
        hidden = torch.randn(700, width, requires_grad=True)
        targets = torch.randint(vocab_size, (700,))
        model = LanguageModel(ModelConfig(embedding_dim=width, num_layers=1, hidden_size=width), Vocabulary.build(
            [" ".join(f"w{k}" for k in range(vocab_size - 2))], tokenization="whitespace"))
        output = model.output
        candidates = {
            "ours": lambda: output.loss(hidden, targets).backward(),                                       # noqa: B023
            "all logits": lambda: F.cross_entropy(F.linear(hidden, output.weight, output.bias), targets,   # noqa: B023
                                                  reduction="sum").backward()}                            # noqa: B023
        if hasattr(F, "linear_cross_entropy"):
            candidates["torch chunked"] = lambda: F.linear_cross_entropy(
                hidden, output.weight, targets, linear_bias=output.bias, reduction="sum",                  # noqa: B023
                options=nn.LinearCrossEntropyOptions()).backward()
        times = measure_in_turn(candidates, rounds)
        rows.append({"V": vocab_size, "E": width, **in_milliseconds(times)})
    return rows


def benchmark_start(rounds: int) -> list[dict]:
    """Whole processes: ``--help`` and ``import lstm_lm``, which import no torch, and an import of torch beside them."""
    commands = {"lstm-lm --help": ["-m", "lstm_lm", "--help"], "import lstm_lm": ["-c", "import lstm_lm"],
                "import torch": ["-c", "import torch"]}
    times = measure_in_turn({name: lambda words=words: subprocess.run(
        [sys.executable, *words], check=True, stdout=subprocess.DEVNULL) for name, words in commands.items()}, rounds)
    return [{"process": name, "seconds": round(seconds, 2)} for name, seconds in times.items()]


def benchmark_memory(rounds: int, sizes: tuple[int, ...] = (10, 100, 1000)) -> list[dict]:
    """Peak memory of ``lstm-lm train`` (encoding included) on generated text files of growing size."""
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
            config.write_text(f"corpus: {{source: files, tokenization: whitespace, train_file: {text}, "
                              f"valid_file: {valid}, cache_dir: {folder}/cache}}\ntraining: {{max_steps: 100}}\n")
            begin = time.perf_counter()
            process = subprocess.Popen([sys.executable, "-m", "lstm_lm", "train", str(config), "--output",
                                        f"{folder}/run"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            _, status, usage = os.wait4(process.pid, 0)
            rows.append({"text MB": megabytes, "peak memory MB": usage.ru_maxrss // 1024, "exit status": status,
                         "seconds": round(time.perf_counter() - begin)})
    return rows


def benchmark_probe(rounds: int, count: int = 10_000, vocab_size: int = 33_278) -> list[dict]:
    """Probe items on a tied 2x200 model of 33,278 words, once: prefixes of 10 to 200 words, in pairs, with foils."""
    words = [f"w{k}" for k in range(vocab_size - 2)]
    model = LanguageModel(ModelConfig(embedding_dim=200, hidden_size=200), Vocabulary.build(
        [" ".join(words)], tokenization="whitespace")).eval()
    draw = random.Random(0)
    items = []
    for k in range(count):
        prefix = " ".join(draw.choices(words, k=(10, 20, 50, 100, 200)[k // 2 % 5]))
        target, foil = draw.sample(words, 2)
        items.append(Item(str(k), prefix, target, foil, distance=9, pair=str(k // 2)))
    begin = time.perf_counter()
    summarise(iterate_scores(BatchReader(model), items), vocab_size)
    return [{"items": count, "words in prefixes": sum(len(item.prefix.split()) for item in items),
             "seconds": round(time.perf_counter() - begin, 1)}]


def benchmark_checkpoint(rounds: int, steps: int = 50, every: int = 200) -> list[dict]:
    """What a checkpoint every 200 steps costs: of two configs' models, on random words, in alternation with steps."""
    rows = []
    for name, vocab_size in (("quickstart", 1_000), ("wikitext2", 33_278)):
        config = load_config(Path(__file__).parent.parent / "configs" / f"{name}.yaml")
        training = replace(config.training, log_every=10**9, max_epochs=None, max_steps=10**9, device="cpu")
        words = Vocabulary.build([" ".join(f"w{k}" for k in range(vocab_size - 2))], tokenization="whitespace")
        tokens = torch.randint(vocab_size, (200_000,)).numpy()
        model = LanguageModel(config.model, words)
        model.output.start_from_counts(torch.ones(vocab_size))
        with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder:
            trainer = Trainer(model, tokens, tokens[:100], config.optimizer, training, config.evaluation, Path(folder))
            times = measure_in_turn({"steps": lambda: [trainer.update() for _ in range(steps)],            # noqa: B023
                                     "checkpoint": lambda: trainer.save()}, rounds)                        # noqa: B023
            size = sum((Path(folder) / name).stat().st_size for name in (WEIGHTS_FILE, STATE_FILE))
        many = times["steps"] / steps * every
        rows.append({"config": name, "checkpoint MB": round(size / 1e6, 1), f"{every} steps s": round(many, 1),
                     "checkpoint s": round(times["checkpoint"], 3),
                     "share %": round(100 * times["checkpoint"] / many, 2)})
    return rows


PARTS = {"layers": benchmark_layers, "step": benchmark_steps, "output": benchmark_output, "start": benchmark_start,
         "probe": benchmark_probe, "checkpoint": benchmark_checkpoint, "memory": benchmark_memory}


def print_table(rows: list[dict]) -> None:
    """Prints rows of equal keys, in columns."""
    table = [list(rows[0]), *([str(value) for value in row.values()] for row in rows)]
    widths = [max(len(line[k]) for line in table) for k in range(len(table[0]))]
    for line in table:
        print("  " + "  ".join(f"{cell:>{width}}" for cell, width in zip(line, widths, strict=True)))


def main() -> None:
    """Runs the parts asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=PARTS, default=[name for name in PARTS if name != "memory"])
    parser.add_argument("--rounds", type=int, default=9, help="measurements per candidate (default 9)")
    parser.add_argument("--threads", type=int, help="torch's threads (default: torch's choice)")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
    machine = {"torch": torch.__version__, "threads": torch.get_num_threads(), "rounds": args.rounds}
    results = {"machine": machine}
    if not args.json:
        print(", ".join(f"{key} {value}" for key, value in machine.items()))
    for name in args.only:
        results[name] = PARTS[name](args.rounds)
        if not args.json:
            print(f"\n{name}: {PARTS[name].__doc__.splitlines()[0]}")
            print_table(results[name])
    if args.json:
        print(json.dumps(results, indent=2))


if __name__ == "__main__":
    main()
