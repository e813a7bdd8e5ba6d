"""The perplexity of a whole corpus, exactly: no token trimmed, none counted twice.

The state is carried from line to line, so the corpus is one stream (batch size 1); or it is reset before every line,
and then there are several streams of lines, scored side by side. `lstm_lm.model.scoring.Perplexity` holds the
definition.

Shapes: T time, B batch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch

from lstm_lm.corpus.windows import NO_TARGET, Streams, iterate_spans
from lstm_lm.errors import CorpusError
from lstm_lm.model.language_model import LanguageModel
from lstm_lm.model.scoring import Perplexity

SIDE_BY_SIDE = 16  # streams of lines, where each line is read by itself
BLOCK = 2**18  # tokens looked at together when they are counted


def measure_perplexity(
    model: LanguageModel,
    tokens: Sequence[int],
    *,
    reset_per_line: bool = False,
    window_length: int = 256,
    on_progress: Callable[[int], None] = lambda done: None,
) -> Perplexity:
    """Scores encoded text.

    Args:
        model: any; it is put into evaluation mode for the time being.
        tokens: ids with an ``<eos>`` at every line's end; sliceable.
        reset_per_line: start every line from a zero state.
        window_length: tokens read at a time; the result does not depend on it.
        on_progress: called with the number of tokens just scored; whatever it raises ends the scoring.

    Raises:
        CorpusError: if there is nothing to score.
    """
    if not len(tokens):
        raise CorpusError("nothing to score: the text has no tokens")
    streams = Streams(
        tokens,
        SIDE_BY_SIDE if reset_per_line else 1,
        model.vocabulary.eos_id,
        whole_lines=reset_per_line,
    )
    nll, state, was_training = 0.0, None, model.training
    model.eval()
    try:
        for span in iterate_spans(streams.length, max(1, window_length // len(streams.ends))):
            inputs, targets = streams.window(*span)  # (T, B) each
            with torch.inference_mode():
                some, state = model.token_nll(
                    inputs.to(model.device),
                    targets.to(model.device),
                    state,
                    reset_lines=float(reset_per_line),
                )
            nll += float(some.cpu().double().sum())
            on_progress(int((targets != NO_TARGET).sum()))
    finally:
        model.train(was_training)
    return Perplexity(
        nll,
        len(tokens),
        _count(tokens, model.vocabulary.unk_id),
        "reset" if reset_per_line else "carried",
    )


def _count(tokens: Sequence[int], wanted: int) -> int:
    return sum(
        int((np.asarray(tokens[start : start + BLOCK]) == wanted).sum())
        for start in range(0, len(tokens), BLOCK)
    )
