"""Drawing words from the model, one after the other. Shapes: V vocab_size."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from lstm_lm.corpus.vocabulary import Vocabulary
from lstm_lm.errors import InputError
from lstm_lm.model.network import Network
from lstm_lm.model.reading import prompt_words, read_ids

SMALLEST_TEMPERATURE = 1e-6  # below it, the most probable word is taken


def iterate_words(
    network: Network,
    vocabulary: Vocabulary,
    prompt: str = "",
    words: int = 50,
    *,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    seed: int | None = None,
) -> Iterator[str]:
    """Continues a prompt, word by word, also over line ends.

    Args:
        network: in evaluation mode.
        vocabulary: its words.
        prompt: natural text; if empty, a new line begins.
        words: how many words to draw, at least 0; ``<eos>`` counts as a word.
        temperature: divides the log-probabilities, at least 0; 0 always takes the most probable
            word.
        top_k: draw among the k most probable words, at least 1; None draws among all.
        top_p: draw among the fewest words whose probabilities sum to this, in (0, 1] (nucleus
            sampling, Holtzman et al. 2020, arXiv 1904.09751); None draws among all.
        seed: seed of the draw; None uses torch's global generator.

    Yields:
        Words; ``<eos>`` is a line end. ``<unk>`` is never drawn.

    Raises:
        InputError: an argument is outside its range.
    """
    if words < 0 or not 0 <= temperature < math.inf:
        raise InputError(
            "words and temperature must be at least 0 and finite, "
            f"found {words} and {temperature:g}"
        )
    if top_k is not None and top_k < 1:
        raise InputError(f"top-k must be at least 1, found {top_k}")
    if top_p is not None and not 0 < top_p <= 1:
        raise InputError(f"top-p must be above 0 and at most 1, found {top_p:g}")
    if seed is not None and not -(2**63) <= seed < 2**64:
        raise InputError(f"seed must fit into 64 bits, found {seed}")
    generator = None if seed is None else torch.Generator().manual_seed(seed)
    ids = vocabulary.ids_of(prompt_words(vocabulary, prompt))
    return _iterate_drawn(network, vocabulary, ids, words, temperature, top_k, top_p, generator)


def _iterate_drawn(
    network: Network,
    vocabulary: Vocabulary,
    ids: list[int],
    words: int,
    temperature: float,
    top_k: int | None,
    top_p: float | None,
    generator: torch.Generator | None,
) -> Iterator[str]:
    state = None
    for _ in range(words):
        hidden, state = read_ids(network, ids, state)
        with torch.no_grad():
            log_probabilities = network.output.log_probabilities(hidden).cpu()
        log_probabilities[vocabulary.unk_id] = -torch.inf
        if temperature < SMALLEST_TEMPERATURE:
            drawn = int(log_probabilities.argmax())
        else:
            scores = (log_probabilities - log_probabilities.max()) / temperature
            probabilities = keep_likely(scores, top_k, top_p).softmax(0)
            drawn = int(torch.multinomial(probabilities, 1, generator=generator))
        yield vocabulary.words[drawn]
        ids = [drawn]


def keep_likely(scores: Tensor, top_k: int | None, top_p: float | None) -> Tensor:
    """Sets ``scores (V,)`` to -inf outside the k highest, and outside the nucleus of mass p."""
    ranked, order = scores.sort(descending=True, stable=True)
    kept = len(scores) if top_k is None else min(top_k, len(scores))
    if top_p is not None:
        mass_before = ranked.softmax(0).cumsum(0).roll(1)
        mass_before[0] = 0
        kept = min(kept, int((mass_before < top_p).sum()))
    return scores.index_fill(0, order[kept:], -torch.inf)
