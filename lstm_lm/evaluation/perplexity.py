"""The exact perplexity of a whole corpus: every token is counted once, none is trimmed.

If the state is carried from line to line, the corpus is one stream (batch size 1). If it is reset
before every line, lines are scored side by side in several streams.
`lstm_lm.model.scoring.Perplexity` has the definition.

Shapes: T time, B batch.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from lstm_lm.corpus.windows import NO_TARGET, Streams, TokenIds, iterate_spans
from lstm_lm.errors import CorpusError
from lstm_lm.model.language_model import LanguageModel
from lstm_lm.model.network import draw_keep_mask
from lstm_lm.model.scoring import Perplexity

STREAMS_OF_LINES = 16  # streams scored side by side, if every line starts from a zero state
COUNTED_AT_ONCE = 2**18  # tokens, when ``<unk>`` is counted


def _no_progress(done: int) -> None:
    """Ignores progress."""


def measure_perplexity(
    model: LanguageModel,
    tokens: TokenIds,
    *,
    reset_per_line: bool = False,
    window_length: int = 256,
    on_progress: Callable[[int], None] = _no_progress,
) -> Perplexity:
    """Scores encoded text.

    Args:
        model: in any mode; it is in evaluation mode while it scores.
        tokens: ids with an ``<eos>`` at the end of every line; sliceable.
        reset_per_line: start every line from a zero state.
        window_length: tokens read at a time; the result does not depend on it.
        on_progress: called with the number of tokens just scored; an exception of it ends the
            scoring.

    Raises:
        CorpusError: there are no tokens.
    """
    if not len(tokens):
        raise CorpusError("nothing to score: the text has no tokens")
    network, eos_id = model.network, model.vocabulary.eos_id
    batch_size = STREAMS_OF_LINES if reset_per_line else 1
    streams = Streams(tokens, batch_size, eos_id, whole_lines=reset_per_line)
    nll, state, was_training = 0.0, None, network.training
    network.eval()
    try:
        for span in iterate_spans(streams.length, max(1, window_length // len(streams.ends))):
            inputs, targets = streams.window(*span)  # (T, B)
            inputs, targets = inputs.to(network.device), targets.to(network.device)
            with torch.inference_mode():
                keep = draw_keep_mask(inputs, eos_id, float(reset_per_line))
                some, state = network.token_nll(inputs, targets, state, keep)
            nll += float(some.cpu().double().sum())
            on_progress(int((targets != NO_TARGET).sum()))
    finally:
        network.train(was_training)
    unknown = _count(tokens, model.vocabulary.unk_id)
    return Perplexity(nll, len(tokens), unknown, "reset" if reset_per_line else "carried")


def _count(tokens: TokenIds, wanted: int) -> int:
    """How many tokens are ``wanted``."""
    blocks = range(0, len(tokens), COUNTED_AT_ONCE)
    return sum(
        int((np.asarray(tokens[start : start + COUNTED_AT_ONCE]) == wanted).sum())
        for start in blocks
    )
