"""Drawing words from the model, one after the other. Shapes: V vocab_size."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from lstm_lm.errors import InputError
from lstm_lm.model import scoring

if TYPE_CHECKING:
    from lstm_lm.model.language_model import LanguageModel


SMALLEST_TEMPERATURE = 1e-6  # below it a draw is the most probable word, but for ties


def iterate_words(
    model: LanguageModel,
    prompt: str = "",
    words: int = 50,
    *,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    seed: int | None = None,
) -> Iterator[str]:
    """Continues a prompt, word by word, to its line's end or beyond it.

    Args:
        model: in evaluation mode.
        prompt: natural text; may be empty, then a line begins.
        words: how many words to draw, at least 0; ``<eos>`` counts as one.
        temperature: divides the log-probabilities; 0 takes the most probable word every time.
        top_k: draw among the k most probable words only.
        top_p: draw among the fewest words whose probabilities sum to this, in (0, 1] (Holtzman et al. 2020,
            arXiv 1904.09751).
        seed: of the draw; None takes torch's generator as it stands.

    Yields:
        Words; ``<eos>`` for a line's end. ``<unk>`` is never drawn.

    Raises:
        InputError: if an argument is out of its range.
    """
    if words < 0 or not 0 <= temperature < math.inf:
        raise InputError(
            f"words and temperature must be at least 0 and finite, found {words} and {temperature:g}"
        )
    if top_k is not None and top_k < 1:
        raise InputError(f"top-k must be at least 1, found {top_k}")
    if top_p is not None and not 0 < top_p <= 1:
        raise InputError(f"top-p must be above 0 and at most 1, found {top_p:g}")
    if seed is not None and not -(2**63) <= seed < 2**64:
        raise InputError(f"seed must fit into 64 bits, found {seed}")
    generator = None if seed is None else torch.Generator().manual_seed(seed)
    return _iterate_drawn(model, prompt, words, temperature, top_k, top_p, generator)


def _iterate_drawn(
    model: LanguageModel,
    prompt: str,
    words: int,
    temperature: float,
    top_k: int | None,
    top_p: float | None,
    generator: torch.Generator | None,
) -> Iterator[str]:
    tokens, state = scoring.read_prompt(model.vocabulary, prompt), None
    for _ in range(words):
        hidden, state = scoring.read_ids(model, tokens, state)
        with torch.no_grad():
            log_probabilities = model.output.log_probabilities(hidden).cpu()
        log_probabilities[model.vocabulary.unk_id] = -torch.inf
        if temperature < SMALLEST_TEMPERATURE:
            word = int(log_probabilities.argmax())
        else:
            kept = keep_likely(
                (log_probabilities - log_probabilities.max()) / temperature, top_k, top_p
            )
            word = int(torch.multinomial(kept.softmax(0), 1, generator=generator))
        yield model.vocabulary.word(word)
        tokens = [word]


def keep_likely(scores: Tensor, top_k: int | None, top_p: float | None) -> Tensor:
    """Sets the ``scores (V,)`` of all words outside the top k, and outside the nucleus of mass p, to -inf."""
    ranked, order = scores.sort(descending=True, stable=True)
    kept = len(scores) if top_k is None else min(top_k, len(scores))
    if top_p is not None:
        mass_before = ranked.softmax(0).cumsum(0).roll(1)
        mass_before[0] = 0
        kept = min(kept, int((mass_before < top_p).sum()))
    return scores.index_fill(0, order[kept:], -torch.inf)
