"""``lstm-lm predict`` as a process, `predict_next` as a call, and the speed of ``evaluate``."""

from __future__ import annotations

import subprocess
import sys
import tempfile

import torch

from benchmarks.measuring import alone, made_up_words, measure_in_turn
from benchmarks.plain import PlainModel
from lstm_lm.config import ModelConfig
from lstm_lm.evaluation.perplexity import measure_perplexity
from lstm_lm.model.language_model import LanguageModel

VOCABULARY, WIDTH, WINDOW = 33_278, 200, 256


def benchmark_prediction(rounds: int) -> list[dict]:
    """A tied 2x200 model of 33,278 words: prediction as a process and as a call, and evaluation."""
    model, prompt = _model(), "w1 w22 w333 w1 w4444 w2 w5"
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        cold = measure_in_turn(
            {
                name: lambda command=command: subprocess.run(
                    [sys.executable, *command], check=True, stdout=subprocess.DEVNULL
                )
                for name, command in {
                    "predict": ["-m", "lstm_lm", "predict", folder, prompt],
                    "import torch": ["-c", "import torch"],
                    "--help": ["-m", "lstm_lm", "--help"],
                }.items()
            },
            rounds,
        )
    warm = measure_in_turn({"predict_next": lambda: model.predict_next(prompt)}, 10 * rounds)
    return [
        *(
            {
                "process": name,
                "seconds": round(seconds, 2),
                "relative to import torch": round(seconds / cold["import torch"], 2),
            }
            for name, seconds in cold.items()
        ),
        {"warm call": "predict_next", "ms": round(warm["predict_next"] * 1e3, 2)},
        alone(measure_evaluation, torch.get_num_threads(), rounds=rounds),
    ]


def measure_evaluation(rounds: int, words: int = 32 * WINDOW) -> dict:
    """Words per second of evaluation: ours and the plain model. Run it `alone`, like ``evaluate``.

    A process that has trained already has memory for the plain model's logits; a new one
    allocates it.
    """
    model, tokens = _model(), torch.randint(VOCABULARY, (words,)).numpy()
    plain = PlainModel(VOCABULARY, WIDTH).copy(model).eval()
    ways = {
        "ours": lambda: measure_perplexity(model, tokens).nll,
        "plain": lambda: sum(
            float(nll.double().sum())
            for nll in plain.iterate_nll(tokens, model.vocabulary.eos_id, WINDOW)
        ),
    }
    nll = {name: score() for name, score in ways.items()}
    scored = measure_in_turn(ways, rounds)
    return {
        "evaluate, words/s": round(words / scored["ours"]),
        "plain words/s": round(words / scored["plain"]),
        "ours over plain": round(scored["plain"] / scored["ours"], 2),
        "nll differs by": f"{abs(nll['ours'] / nll['plain'] - 1):.0e}",
    }


def _model() -> LanguageModel:
    torch.manual_seed(0)
    config = ModelConfig(embedding_dim=WIDTH, hidden_size=WIDTH, output_norm=False)
    model = LanguageModel.from_config(config, made_up_words(VOCABULARY))
    model.network.eval()
    return model
