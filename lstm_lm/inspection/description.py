"""A trace as plain numbers: what ``gates.json`` holds, and what the page draws."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from lstm_lm.inspection.units import Carrier, carried_loads, half_lives
from lstm_lm.model.language_model import LanguageModel
from lstm_lm.model.trace import Trace

FORMAT_VERSION = 1


def describe_trace(
    model: LanguageModel,
    trace: Trace,
    *,
    digits: int = 6,
    top_k: int = 8,
    carriers: Sequence[Carrier] = (),
    carried: str = "",
) -> dict[str, Any]:
    """Puts a trace into lists and dictionaries that are ready for JSON.

    Args:
        model: that was traced.
        trace: T words.
        digits: decimals of activations, states and probabilities; gradients, which may be tiny, keep 6 figures.
        top_k: how many next words are named at each word.
        carriers: from `find_carriers`.
        carried: what they carry.

    Returns:
        ``words`` (T of them, each with its ``predictions``), ``target``, ``layers`` (each with ``gates``: T lists of H
        numbers by gate name; ``h`` and ``c``: T + 1 lists, the first being the state before the first word;
        ``half_lives`` in words and ``carried_loads``, or None; ``c_gradient``: T), ``word_gradient`` and ``carriers``.
    """
    predictions = [model.most_probable(scores, top_k) for scores in trace.log_probabilities]
    return {
        "format_version": FORMAT_VERSION,
        "model": model.describe(),
        "cell": model.config.cell,
        "words_before": trace.start,
        "words": [
            {
                "word": word,
                "known": known,
                "predictions": [
                    {"word": guess.word, "probability": round(guess.probability, digits)}
                    for guess in guesses
                ],
            }
            for word, known, guesses in zip(trace.words, trace.known, predictions, strict=True)
        ],
        "target": {"word": trace.target, "log_probability": trace.target_log_probability},
        "word_gradient": _figures(trace.word_gradient),
        "layers": [
            {
                "keep_gate": layer.keep_gate,
                "gates": {name: _rounded(values, digits) for name, values in layer.gates.items()},
                "h": _rounded(layer.h, digits),
                "c": _rounded(layer.c, digits),
                "half_lives": None if (lives := half_lives(trace, k)) is None else _figures(lives),
                "carried_loads": None
                if (loads := carried_loads(trace, k)) is None
                else _figures(loads),
                "c_gradient": _figures(layer.c_gradient),
            }
            for k, layer in enumerate(trace.layers)
        ],
        "carried": carried,
        "carriers": [
            {
                "layer": carrier.layer,
                "unit": carrier.unit,
                "words": carrier.words,
                "differences": [round(value, digits) for value in carrier.differences],
            }
            for carrier in carriers
        ],
    }


def _rounded(values: Tensor, digits: int) -> list[list[float]]:
    return [[round(value, digits) for value in row] for row in values.tolist()]


def _figures(values: Tensor) -> list[float]:
    return [float(f"{value:.6g}") for value in values.tolist()]
