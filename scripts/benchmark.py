"""Measures speed and memory; candidates take turns, and times are medians.

    python scripts/benchmark.py                        layers, step, predict, growth
    python scripts/benchmark.py --only layers step     some parts
    python scripts/benchmark.py --only reach --run RUN_DIR --perplexity 130.3
    python scripts/benchmark.py --only memory         trains on 10, 100, 1000 MB of text (minutes)

layers      one layer: ours, torch.nn.LSTM, the readable path
cells       every cell: a layer, and a training step, over those of the LSTM
step        one training step: ours, the plain model (nn.LSTM, all logits at once); 3 vocabularies
predict     `lstm-lm predict` as a new process, a call of predict_next, and `lstm-lm evaluate`
growth      time per word with larger vocabulary, width, corpus (200 million words: 0.5 GB of disk)
            and with more threads
large       updates of wikitext103.yaml on 103 million made-up words (0.4 GB of disk, 5 GB of RAM)
reach       a run's time to a perplexity on valid, and the plain model's time for its epochs
export      a word in an exported ONNX graph (one core), and in page.html (headless Chromium)
distributed two ranks beside one process; a step on N ranks, simulated (on few cores: --rounds 3)
probe, checkpoint, memory     cost of probes, of checkpoints, and memory for larger texts
beside      a training step beside another program that keeps a core busy
gpu-layers, gpu-step          layers and step on a CUDA GPU

Run it on an idle machine. It only prints: no figure is checked.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path

import torch
from benchmarks.beside import benchmark_beside
from benchmarks.cells import benchmark_cells
from benchmarks.distributed import benchmark_distributed
from benchmarks.exporting import benchmark_export
from benchmarks.growth import benchmark_growth
from benchmarks.large import benchmark_large
from benchmarks.layers import benchmark_gpu_layers, benchmark_layers
from benchmarks.measuring import print_table
from benchmarks.picture import draw
from benchmarks.prediction import benchmark_prediction
from benchmarks.reaching import benchmark_reaching
from benchmarks.running import benchmark_checkpoint, benchmark_memory, benchmark_probe
from benchmarks.steps import benchmark_gpu_steps, benchmark_steps

from lstm_lm.cells.fast import on_cpu
from lstm_lm.errors import UserError
from lstm_lm.files.outputs import check_output, marked

PARTS = {
    "layers": benchmark_layers,
    "cells": benchmark_cells,
    "step": benchmark_steps,
    "predict": benchmark_prediction,
    "growth": benchmark_growth,
    "large": benchmark_large,
    "export": benchmark_export,
    "distributed": benchmark_distributed,
    "probe": benchmark_probe,
    "checkpoint": benchmark_checkpoint,
    "memory": benchmark_memory,
    "reach": benchmark_reaching,
    "beside": benchmark_beside,
    "gpu-layers": benchmark_gpu_layers,
    "gpu-step": benchmark_gpu_steps,
}
USUAL = ["layers", "step", "predict", "growth"]


def parse_arguments() -> argparse.Namespace:
    """Parses the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", nargs="+", choices=PARTS, default=USUAL, metavar="PART")
    parser.add_argument(
        "--rounds", type=int, default=9, help="measurements per candidate (default 9)"
    )
    parser.add_argument("--threads", type=int, help="torch's threads (default: torch's own)")
    parser.add_argument("--run", type=Path, metavar="RUN_DIR", help="reach: a finished run")
    parser.add_argument(
        "--perplexity", type=float, default=130.3, help="reach: perplexity on valid (default 130.3)"
    )
    parser.add_argument(
        "--plain-epochs",
        type=int,
        default=6,
        help="reach: epochs that the plain model needs (default 6)",
    )
    parser.add_argument(
        "--train-tokens", type=int, default=2_088_628, help="reach: default: those of WikiText-2"
    )
    parser.add_argument("--json", action="store_true")
    parser.add_argument(
        "--plot", type=Path, metavar="FILE", help="draw layers, step and growth as a PNG"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace any FILE")
    args = parser.parse_args()
    if any(part.startswith("gpu") for part in args.only) and not torch.cuda.is_available():
        parser.error("gpu-layers and gpu-step need a CUDA GPU; torch sees none")
    if "reach" in args.only and args.run is None:
        parser.error("reach needs --run RUN_DIR")
    return args


def main() -> None:
    """Measures the chosen parts and prints tables or JSON."""
    args = parse_arguments()
    check_output("--plot", args.plot, marked("benchmark"), overwrite=args.overwrite)
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
    try:
        main()
    except UserError as error:
        sys.exit(f"error: {error}")
