"""The nll of every line of an encoded text, over all words or over words that models share.

Shapes: T time, B batch, N tokens, V vocab_size, L lines.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from lstm_lm.corpus.vocabulary import Vocabulary
from lstm_lm.corpus.windows import Streams, TokenIds, iterate_spans
from lstm_lm.evaluation.perplexity import STREAMS_OF_LINES
from lstm_lm.model.language_model import LanguageModel
from lstm_lm.model.network import Network, draw_keep_mask

WINDOW_LENGTH = 256  # tokens read at a time; the result does not depend on it


@dataclass(frozen=True)
class LineScores:
    """The lines of a text under one model.

    Attributes:
        nll: of each line, in nats, summed; float64 ``(L,)``.
        tokens: how many of its tokens were scored; int64 ``(L,)``.
    """

    nll: np.ndarray
    tokens: np.ndarray

    @property
    def loss(self) -> float:
        """Nats per token."""
        return float(self.nll.sum() / self.tokens.sum())


def score_by_line(
    model: LanguageModel,
    tokens: TokenIds,
    *,
    reset_per_line: bool = False,
    among: Sequence[int] | None = None,
    on_progress: Callable[[int], None] = lambda done: None,
) -> LineScores:
    """Scores encoded text line by line; over all words, as `measure_perplexity` does in all.

    Args:
        model: in any mode; it is in evaluation mode while it scores.
        tokens: ids with an ``<eos>`` at the end of every line; at least one.
        reset_per_line: start every line from a zero state.
        among: ids. Only they are scored, and the probabilities are normalised over them: each is
            the probability of the word if it is known to be one of these. None: all words.
        on_progress: called with the number of tokens just read.
    """
    network, eos_id = model.network, model.vocabulary.eos_id
    scored = np.ones(len(tokens), dtype=bool)
    words = None
    if among is not None:
        words = torch.tensor(among, device=network.device)
        scored = np.isin(np.asarray(tokens[:]), np.asarray(among))
    batch_size = STREAMS_OF_LINES if reset_per_line else 1
    streams = Streams(tokens, batch_size, eos_id, whole_lines=reset_per_line)
    nll, state, was_training = np.zeros(len(tokens)), None, network.training
    network.eval()
    try:
        for start, stop in iterate_spans(
            streams.length, max(1, WINDOW_LENGTH // len(streams.ends))
        ):
            inputs, targets = streams.window(start, stop)  # (T, B)
            inputs, targets = inputs.to(network.device), targets.to(network.device)
            with torch.inference_mode():
                keep = draw_keep_mask(inputs, eos_id, float(reset_per_line))
                if words is None:
                    some, state = network.token_nll(inputs, targets, state, keep)
                else:
                    hidden, state = network.hidden(inputs, state, keep)
                    some = _nll_among(network, hidden, targets, words)
            found = some.double().cpu().numpy()
            for stream, (first, end) in enumerate(zip(streams.starts, streams.ends, strict=True)):
                low, high = first + start, min(first + stop, end)
                if low < high:
                    nll[low:high] = found[: high - low, stream]
            on_progress(int((targets >= 0).sum()))
    finally:
        network.train(was_training)
    nll[~scored] = 0.0
    begins = _line_starts(tokens, eos_id)
    return LineScores(
        np.add.reduceat(nll, begins), np.add.reduceat(scored.astype(np.int64), begins)
    )


def _nll_among(network: Network, hidden: Tensor, targets: Tensor, words: Tensor) -> Tensor:
    """The nll ``(T, B)`` of targets under probabilities that sum to 1 over some words."""
    is_target = targets >= 0
    log_p = network.output.log_probabilities(hidden[is_target])  # (N, V)
    total = log_p[:, words].logsumexp(1)
    own = log_p.gather(1, targets[is_target].unsqueeze(1)).squeeze(1)
    nll = hidden.new_zeros(targets.shape, dtype=own.dtype)
    return nll.masked_scatter(is_target, total - own)


def _line_starts(tokens: TokenIds, eos_id: int) -> np.ndarray:
    """The positions of the first tokens of all lines, int64 ``(L,)``."""
    ends = np.flatnonzero(np.asarray(tokens[:]) == eos_id) + 1
    return np.concatenate([[0], ends[ends < len(tokens)]])


def shared_ids(vocabularies: Sequence[Vocabulary]) -> list[list[int]]:
    """The ids of the words that all vocabularies have, in one order; without ``<unk>``.

    Args:
        vocabularies: at least one.
    """
    first, *others = vocabularies
    known = [set(vocabulary.words) for vocabulary in others]
    unknown = first.words[first.unk_id]
    words = [
        word for word in first.words if word != unknown and all(word in some for some in known)
    ]
    return [vocabulary.ids_of(words) for vocabulary in vocabularies]


def same_words(
    texts: Sequence[TokenIds], ids: Sequence[Sequence[int]], sizes: Sequence[int]
) -> bool:
    """Whether texts, each encoded with its own vocabulary, are one text, word for word.

    Args:
        texts: ids of the same text in every vocabulary.
        ids: of the words that all vocabularies have, see `shared_ids`.
        sizes: of the vocabularies.
    """
    found = []
    for tokens, shared, size in zip(texts, ids, sizes, strict=True):
        number = np.full(size, -1)
        number[list(shared)] = np.arange(len(shared))
        found.append(number[np.asarray(tokens[:])])
    # A word that all of them know is itself in all; any other is no shared word in any.
    return all(np.array_equal(found[0], other) for other in found[1:])
