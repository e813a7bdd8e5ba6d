"""The exact perplexity of a whole corpus: every token is counted once, none is trimmed.

If the state is carried from line to line, the corpus is one stream (batch size 1). If it is reset
before every line, lines are scored side by side in several streams.
`lstm_lm.model.scoring.Perplexity` has the definition.

Shapes: T time, B batch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from lstm_lm.corpus.windows import NO_TARGET, Streams, TokenIds, iterate_spans
from lstm_lm.errors import CorpusError
from lstm_lm.model.language_model import LanguageModel
from lstm_lm.model.network import draw_keep_mask
from lstm_lm.model.scoring import Perplexity
from lstm_lm.shared_cores import SharedCores

STREAMS_OF_LINES = 16  # streams scored side by side, if every line starts from a zero state
COUNTED_AT_ONCE = 2**18  # tokens, when ``<unk>`` is counted


def _no_progress(done: int) -> None:
    """Ignores progress."""


def _always(number: int) -> bool:
    """Says that every window is scored here."""
    return True


def add_in_order(numbers: Sequence[float]) -> float:
    """Adds up numbers; unlike `sum`, with the same rounding in every version of Python."""
    total = 0.0
    for number in numbers:
        total += number
    return total


def measure_perplexity(
    model: LanguageModel,
    tokens: TokenIds,
    *,
    reset_per_line: bool = False,
    window_length: int = 256,
    on_progress: Callable[[int], None] = _no_progress,
    has_turn: Callable[[int], bool] = _always,
    add_up: Callable[[Sequence[float]], float] = add_in_order,
) -> Perplexity:
    """Scores encoded text.

    Args:
        model: in any mode; it scores as in evaluation mode.
        tokens: ids with an ``<eos>`` at the end of every line; sliceable.
        reset_per_line: start every line from a zero state.
        window_length: tokens read at a time; the result does not depend on it.
        on_progress: called with the number of tokens just scored; an exception of it ends the
            scoring.
        has_turn: takes the number of a window, from 0, and says whether this process scores it;
            several processes may share the windows.
        add_up: adds up the nll of all windows, in order, with 0 for those without a turn.

    Raises:
        CorpusError: there are no tokens.
    """
    nlls: list[float] = []
    output = model.network.in_evaluation_mode().output

    def score(hidden: Tensor, targets: Tensor, places: np.ndarray) -> None:
        nll = 0.0
        if has_turn(len(nlls)):
            nll = float(output.token_nll(hidden, targets).cpu().double().sum())
        nlls.append(nll)

    read_tokens(
        model,
        tokens,
        score,
        reset_per_line=reset_per_line,
        window_length=window_length,
        on_progress=on_progress,
    )
    return perplexity_of(model, tokens, add_up(nlls), reset_per_line=reset_per_line)


def read_tokens(
    model: LanguageModel,
    tokens: TokenIds,
    score: Callable[[Tensor, Tensor, np.ndarray], None],
    *,
    reset_per_line: bool,
    window_length: int = 256,
    on_progress: Callable[[int], None] = _no_progress,
) -> None:
    """Reads encoded text; the arguments are those of `measure_perplexity`.

    Args:
        model: in any mode; it reads as in evaluation mode.
        tokens: ids.
        score: is called, in inference mode, for the N targets of every window: with the output
            layer's input before each, ``(N, E)``, the targets ``(N,)``, and their places in
            ``tokens``, int64 ``(N,)``. Every token is a target once.
        reset_per_line: start every line from a zero state.
        window_length: tokens read at a time.
        on_progress: called with the number of tokens just scored.

    Raises:
        CorpusError: there are no tokens.
    """
    if not len(tokens):
        raise CorpusError("nothing to score: the text has no tokens")
    network, eos_id = model.network.in_evaluation_mode(), model.vocabulary.eos_id
    batch_size = STREAMS_OF_LINES if reset_per_line else 1
    streams = Streams(tokens, batch_size, eos_id, whole_lines=reset_per_line)
    state = None
    with SharedCores(network.device):
        for span in iterate_spans(streams.length, max(1, window_length // len(streams.ends))):
            inputs, targets = streams.window(*span)  # (T, B)
            is_target = targets != NO_TARGET
            places = np.add.outer(np.arange(*span), streams.starts)[is_target.numpy()]
            inputs, targets = inputs.to(network.device), targets.to(network.device)
            is_target = is_target.to(network.device)
            with torch.inference_mode():
                keep = draw_keep_mask(inputs, eos_id, float(reset_per_line))
                hidden, state = network.hidden(inputs, state, keep)
                score(hidden[is_target], targets[is_target], places)
            on_progress(len(places))


def perplexity_of(
    model: LanguageModel, tokens: TokenIds, nll: float, *, reset_per_line: bool
) -> Perplexity:
    """The perplexity of tokens whose nll is known."""
    unknown = _count(tokens, model.vocabulary.unk_id)
    return Perplexity(nll, len(tokens), unknown, "reset" if reset_per_line else "carried")


def _count(tokens: TokenIds, wanted: int) -> int:
    """How many tokens are ``wanted``."""
    blocks = range(0, len(tokens), COUNTED_AT_ONCE)
    return sum(
        int((np.asarray(tokens[start : start + COUNTED_AT_ONCE]) == wanted).sum())
        for start in blocks
    )
