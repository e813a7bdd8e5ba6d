"""Prints what is fast here and what is not, measured in alternation, as medians and ratios.

    python scripts/benchmark.py                             layers, step, predict, growth
    python scripts/benchmark.py --only layers step          some parts
    python scripts/benchmark.py --only reach --run RUN_DIR --perplexity 130.3
    python scripts/benchmark.py --only memory               trains on text of 10, 100 and 1000 MB (minutes, disk)

layers      a layer against torch.nn.LSTM and the readable path
step        a training step against the plain model (nn.LSTM, all logits at once), at three vocabularies
reach       a run's time to a perplexity on valid against the plain model's time a batch times its batches
predict     `predict`, cold and warm, and `evaluate`
growth      what a word costs as vocabulary, width, corpus (to 200 million words: 0.5 GB of disk) and cores grow
gpu-layers, gpu-step      the first two on a CUDA GPU
probe, checkpoint, memory      what probes and checkpoints cost, and memory as the text grows

Run it on a machine that does nothing else. Nothing here asserts: machines differ and are noisy.
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path

import torch
from benchmarks.growth import benchmark_growth
from benchmarks.layers import benchmark_gpu_layers, benchmark_layers
from benchmarks.measuring import print_table
from benchmarks.picture import draw
from benchmarks.prediction import benchmark_prediction
from benchmarks.reaching import benchmark_reaching
from benchmarks.running import benchmark_checkpoint, benchmark_memory, benchmark_probe
from benchmarks.steps import benchmark_gpu_steps, benchmark_steps

from lstm_lm.cells.fast import on_cpu

PARTS = {
    "layers": benchmark_layers,
    "step": benchmark_steps,
    "predict": benchmark_prediction,
    "growth": benchmark_growth,
    "probe": benchmark_probe,
    "checkpoint": benchmark_checkpoint,
    "memory": benchmark_memory,
    "reach": benchmark_reaching,
    "gpu-layers": benchmark_gpu_layers,
    "gpu-step": benchmark_gpu_steps,
}
USUAL = ["layers", "step", "predict", "growth"]


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", nargs="+", choices=PARTS, default=USUAL, metavar="PART")
    parser.add_argument(
        "--rounds", type=int, default=9, help="measurements per candidate (default 9)"
    )
    parser.add_argument("--threads", type=int, help="torch's threads (default: torch's choice)")
    parser.add_argument("--run", type=Path, metavar="RUN_DIR", help="reach: the run")
    parser.add_argument(
        "--perplexity", type=float, default=130.3, help="reach: on valid (default 130.3)"
    )
    parser.add_argument(
        "--plain-epochs", type=int, default=6, help="reach: what the plain model needs (default 6)"
    )
    parser.add_argument(
        "--train-tokens", type=int, default=2_088_628, help="reach: default WikiText-2's"
    )
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw layers, step and growth")
    args = parser.parse_args()
    if any(part.startswith("gpu") for part in args.only) and not torch.cuda.is_available():
        parser.error("gpu-layers and gpu-step need a CUDA GPU; torch sees none")
    if "reach" in args.only and args.run is None:
        parser.error("reach needs --run RUN_DIR")
    return args


def main() -> None:
    """Runs the parts asked for."""
    args = parse_arguments()
    if args.threads:
        torch.set_num_threads(args.threads)
    machine = {
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "cores": os.cpu_count(),
        "compiled": on_cpu.is_compiled(),
        "rounds": args.rounds,
    }
    results: dict = {"machine": machine}
    if not args.json:
        print(", ".join(f"{key} {value}" for key, value in machine.items()))
    for name in args.only:
        options = (
            {
                "run": args.run,
                "perplexity": args.perplexity,
                "plain_epochs": args.plain_epochs,
                "train_tokens": args.train_tokens,
            }
            if name == "reach"
            else {}
        )
        results[name] = PARTS[name](args.rounds, **options)
        if not args.json:
            print(f"\n{name}: {PARTS[name].__doc__.splitlines()[0]}")
            print_table(results[name])
    if args.json:
        print(json.dumps(results, indent=2))
    if args.plot:
        draw(results, args.plot)


if __name__ == "__main__":
    main()
