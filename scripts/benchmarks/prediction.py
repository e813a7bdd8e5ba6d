"""``lstm-lm predict`` as a process, `predict_next` as a call, and the speed of ``evaluate``."""

from __future__ import annotations

import subprocess
import sys
import tempfile

import torch

from benchmarks.measuring import alone, made_up_words, measure_in_turn
from benchmarks.plain import PlainModel
from lstm_lm.config import ModelConfig
from lstm_lm.corpus.stimuli import Stimulus
from lstm_lm.corpus.vocabulary import Vocabulary
from lstm_lm.evaluation.accuracy import measure_accuracy
from lstm_lm.evaluation.perplexity import measure_perplexity
from lstm_lm.evaluation.surprisal_table import TableOptions, iterate_rows
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
        *measure_accuracy_and_table(rounds),
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


def measure_accuracy_and_table(rounds: int, words: int = 32 * WINDOW) -> list[dict]:
    """Times of ``evaluate`` and of ``score --tsv`` over those of the nll alone.

    Words are drawn with the frequencies that Zipf's law gives, and the model's bias knows them:
    completions need time where a word is not among the most probable.
    """
    model = _model(
        Vocabulary.build(
            [" ".join(_letters(k) for k in range(VOCABULARY - 2))], tokenization="whitespace"
        )
    )
    chances = 1 / torch.arange(1, VOCABULARY + 1, dtype=torch.float64)
    model.network.output.start_from_counts(chances * words)
    tokens = torch.multinomial(chances, words, replacement=True).numpy()
    corpus = measure_in_turn(
        {
            "nll": lambda: measure_perplexity(model, tokens),
            "accuracy": lambda: measure_accuracy(model, tokens),
        },
        rounds,
    )
    double = model.in_double_precision()
    line = " ".join(model.vocabulary.words[number] for number in tokens[:WINDOW])
    scored = measure_in_turn(
        {
            "nll": lambda: double.score(line),
            "table": lambda: list(iterate_rows([double], [Stimulus(line)], TableOptions())),
        },
        rounds,
    )
    return [
        {"evaluate with accuracy over nll alone": round(corpus["accuracy"] / corpus["nll"], 2)},
        {"table with entropy over score": round(scored["table"] / scored["nll"], 2)},
    ]


def _letters(number: int) -> str:
    """A number as a word of letters; consecutive numbers differ in the first letter."""
    word = ""
    while number or not word:
        number, letter = divmod(number, 26)
        word += chr(ord("a") + letter)
    return word + "ing"


def _model(vocabulary: Vocabulary | None = None) -> LanguageModel:
    torch.manual_seed(0)
    config = ModelConfig(embedding_dim=WIDTH, hidden_size=WIDTH, output_norm=False)
    model = LanguageModel.from_config(config, vocabulary or made_up_words(VOCABULARY))
    model.network.eval()
    return model
