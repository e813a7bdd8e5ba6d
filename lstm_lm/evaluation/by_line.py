"""The nll of every line of an encoded text, over all words or over words that models share.

Shapes: N tokens, V vocab_size, L lines.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from lstm_lm.corpus.vocabulary import Vocabulary
from lstm_lm.corpus.windows import TokenIds
from lstm_lm.evaluation.perplexity import read_tokens
from lstm_lm.model.language_model import LanguageModel


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
        model: in any mode; it scores as in evaluation mode.
        tokens: ids with an ``<eos>`` at the end of every line; at least one.
        reset_per_line: start every line from a zero state.
        among: ids. Only they are scored, and the probabilities are normalised over them: each is
            the probability of the word if it is known to be one of these. None: all words.
        on_progress: called with the number of tokens just read.
    """
    output = model.network.in_evaluation_mode().output
    scored = np.ones(len(tokens), dtype=bool)
    words = None
    if among is not None:
        words = torch.tensor(among, device=model.device)
        scored = np.isin(np.asarray(tokens[:]), np.asarray(among))
    nll = np.zeros(len(tokens))

    def score(hidden: Tensor, targets: Tensor, places: np.ndarray) -> None:
        if words is None:
            found = output.token_nll(hidden, targets)
        else:
            found = _nll_among(output.log_probabilities(hidden), targets, words)
        nll[places] = found.double().cpu().numpy()

    read_tokens(model, tokens, score, reset_per_line=reset_per_line, on_progress=on_progress)
    nll[~scored] = 0.0
    begins = _line_starts(tokens, model.vocabulary.eos_id)
    return LineScores(
        np.add.reduceat(nll, begins), np.add.reduceat(scored.astype(np.int64), begins)
    )


def _nll_among(log_p: Tensor, targets: Tensor, words: Tensor) -> Tensor:
    """The nll ``(N,)`` of targets, of log-probabilities ``(N, V)``, normalised over some words."""
    own = log_p.gather(1, targets.unsqueeze(1)).squeeze(1)
    return log_p[:, words].logsumexp(1) - own


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
