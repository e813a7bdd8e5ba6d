"""A trace as plain numbers: what ``gates.json`` contains, and what the page draws."""

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
    """Returns a trace as lists and dictionaries that can be written as JSON.

    Args:
        model: the model that was traced.
        trace: of T words.
        digits: decimals of activations, states and probabilities. Gradients may be tiny: they keep
            6 significant figures.
        top_k: how many next words are given after each word.
        carriers: from `find_carriers`.
        carried: what they carry.

    Returns:
        A dictionary with these entries:

        - ``words``: T of them, each with its ``predictions``;
        - ``target``: the word whose probability is differentiated;
        - ``word_gradient``: T numbers;
        - ``layers``: each with ``gates`` (gate name -> T lists of H numbers), ``h`` and ``c``
          (T + 1 lists; the first is the state before the first word), ``half_lives`` in words and
          ``carried_loads`` (H numbers, or None), and ``c_gradient`` (T numbers);
        - ``carriers``, and what they carry in ``carried``;
        - ``model``, ``cell``, ``words_before``, ``format_version``, and ``made_by``.
    """
    return {
        "made_by": "lstm-lm gates",
        "format_version": FORMAT_VERSION,
        "model": model.describe(),
        "cell": model.config.cell,
        "words_before": trace.start,
        "words": _words(model, trace, digits, top_k),
        "target": {"word": trace.target, "log_probability": trace.target_log_probability},
        "word_gradient": _figures(trace.word_gradient),
        "layers": [_layer(trace, number, digits) for number in range(len(trace.layers))],
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


def _words(model: LanguageModel, trace: Trace, digits: int, top_k: int) -> list[dict[str, Any]]:
    """The words of a trace, each with what the model expects after it."""
    described = []
    for word, known, scores in zip(trace.words, trace.known, trace.log_probabilities, strict=True):
        predictions = [
            {"word": guess.word, "probability": round(guess.probability, digits)}
            for guess in model.most_probable(scores, top_k)
        ]
        described.append({"word": word, "known": known, "predictions": predictions})
    return described


def _layer(trace: Trace, number: int, digits: int) -> dict[str, Any]:
    layer = trace.layers[number]
    lives, loads = half_lives(trace, number), carried_loads(trace, number)
    return {
        "keep_gate": layer.keep_gate,
        "gates": {name: _rounded(values, digits) for name, values in layer.gates.items()},
        "h": _rounded(layer.h, digits),
        "c": _rounded(layer.c, digits),
        "half_lives": None if lives is None else _figures(lives),
        "carried_loads": None if loads is None else _figures(loads),
        "c_gradient": _figures(layer.c_gradient),
    }


def _rounded(values: Tensor, digits: int) -> list[list[float]]:
    return [[round(value, digits) for value in row] for row in values.tolist()]


def _figures(values: Tensor) -> list[float]:
    return [float(f"{value:.6g}") for value in values.tolist()]
