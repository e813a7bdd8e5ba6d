"""How often a model is right: top-k accuracy, mean reciprocal rank, keystrokes saved.

It is measured in the same pass as the perplexity, and equals what one gets by asking `predict_next`
before every word. There are two sets of questions:

===========  ================================  ===================================
name         questions                         candidates
===========  ================================  ===================================
words        every known word                  all but ``<unk>``: what ``predict_next(text)`` shows
all tokens   line ends and ``<unk>`` as well   all: ``predict_next(text, include_unknown=True)``
===========  ================================  ===================================

A word's rank is the number of candidates that are at least as probable, itself included.

Shapes: N targets, E embedding_dim, V vocab_size.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from lstm_lm.corpus.vocabulary import Vocabulary
from lstm_lm.corpus.windows import TokenIds
from lstm_lm.evaluation.keystrokes import Typist, word_lengths
from lstm_lm.evaluation.perplexity import COUNTED_AT_ONCE, perplexity_of, read_tokens
from lstm_lm.model.language_model import LanguageModel
from lstm_lm.model.scoring import Perplexity, perplexity_from

TOP = (1, 3, 5)


@dataclass(frozen=True)
class Ranking:
    """How high the right words stand among the candidates.

    Attributes:
        tokens: the number of questions. If it is 0, all shares are NaN.
        top: k -> the share of questions whose right word is among the first k, in [0, 1].
        mean_reciprocal_rank: the mean of ``1 / rank``, in (0, 1].
    """

    tokens: int
    top: dict[int, float]
    mean_reciprocal_rank: float


@dataclass(frozen=True)
class Accuracy:
    """What is measured beside a perplexity.

    Attributes:
        words: over the known words.
        all_tokens: over all tokens, line ends and ``<unk>`` included.
        keys: keys pressed with completions, see `keystrokes`.
        letters: keys pressed without, the letters of the known words.
        known_nll: nll of the known words, in nats.
        known_text_nll: the same and that of the line ends.
        known_text_tokens: known words and line ends.
        characters: of the known words and line ends; a space counts before every word that does
            not begin its line. Without unknown words, these are the characters of the text with
            one space between words.
    """

    words: Ranking
    all_tokens: Ranking
    keys: int
    letters: int
    known_nll: float
    known_text_nll: float
    known_text_tokens: int
    characters: int

    @property
    def keystrokes_saved(self) -> float:
        """The share of keys that completions save, in [0, 1); NaN without known words."""
        return 1 - self.keys / self.letters if self.letters else math.nan

    @property
    def perplexity_known(self) -> float:
        """The perplexity over the known words alone; NaN if there are none."""
        count = self.words.tokens
        return perplexity_from(self.known_nll, count) if count else math.nan

    @property
    def bits_per_character(self) -> float:
        """Bits of the known words and line ends over their characters; NaN without any."""
        return self.known_text_nll / math.log(2) / self.characters if self.characters else math.nan


class _Ranks:
    """Ranks, of which only the sums are kept."""

    def __init__(self) -> None:
        self.tokens, self.hits, self.reciprocal = 0, dict.fromkeys(TOP, 0), 0.0

    def add(self, rank: Tensor) -> None:
        self.tokens += len(rank)
        for k in TOP:
            self.hits[k] += int((rank <= k).sum())
        self.reciprocal += float((1 / rank.cpu().double()).sum())

    def ranking(self) -> Ranking:
        count = self.tokens or math.nan
        top = {k: hits / count for k, hits in self.hits.items()}
        return Ranking(self.tokens, top, self.reciprocal / count)


class _Meter:
    """Adds up what is measured window by window."""

    def __init__(self, model: LanguageModel, token_nll: np.ndarray | None) -> None:
        self.token_nll = token_nll
        self.output = model.network.in_evaluation_mode().output
        vocabulary = model.vocabulary
        self.unk_id, self.eos_id = vocabulary.unk_id, vocabulary.eos_id
        self.words, self.all_tokens = _Ranks(), _Ranks()
        self.typist = Typist(self.output, vocabulary)
        self.nll = self.unknown_nll = self.line_end_nll = 0.0

    def score(self, hidden: Tensor, targets: Tensor, places: np.ndarray) -> None:
        """See `read_tokens`."""
        nll, rank, behind_unknown, _ = self.output.token_measures(hidden, targets, self.unk_id)
        is_unknown, is_line_end = targets == self.unk_id, targets == self.eos_id
        nll = nll.cpu().double()
        if self.token_nll is not None:
            self.token_nll[places] = nll.numpy()
        self.nll += float(nll.sum())
        self.unknown_nll += float(nll[is_unknown.cpu()].sum())
        self.line_end_nll += float(nll[is_line_end.cpu()].sum())
        self.all_tokens.add(rank)
        is_word = ~(is_unknown | is_line_end)
        shown_rank = (rank - behind_unknown.to(rank.dtype))[is_word]
        self.words.add(shown_rank)
        self.typist.type(hidden[is_word], targets[is_word], shown_rank)


def measure_accuracy(
    model: LanguageModel,
    tokens: TokenIds,
    *,
    reset_per_line: bool = False,
    window_length: int = 256,
    on_progress: Callable[[int], None] = lambda done: None,
    token_nll: np.ndarray | None = None,
) -> tuple[Perplexity, Accuracy]:
    """Measures the perplexity of encoded text, and how often the model is right about it.

    The other arguments are those of `measure_perplexity`; so is the perplexity.

    Args:
        model: in any mode.
        tokens: ids.
        reset_per_line: start every line from a zero state.
        window_length: tokens read at a time.
        on_progress: called with the number of tokens just scored.
        token_nll: receives the nll of every token in nats, float64 ``(len(tokens),)``.

    Raises:
        CorpusError: there are no tokens.
    """
    meter = _Meter(model, token_nll)
    read_tokens(
        model,
        tokens,
        meter.score,
        reset_per_line=reset_per_line,
        window_length=window_length,
        on_progress=on_progress,
    )
    with torch.inference_mode():
        keys = meter.typist.keys
    perplexity = perplexity_of(model, tokens, meter.nll, reset_per_line=reset_per_line)
    known_text_nll = meter.nll - meter.unknown_nll
    accuracy = Accuracy(
        meter.words.ranking(),
        meter.all_tokens.ranking(),
        keys,
        meter.typist.letters,
        known_text_nll - meter.line_end_nll,
        known_text_nll,
        perplexity.tokens - perplexity.oov_tokens,
        count_characters(tokens, model.vocabulary),
    )
    return perplexity, accuracy


def count_characters(tokens: TokenIds, vocabulary: Vocabulary) -> int:
    """The characters of a text, as `Accuracy.characters` defines them."""
    unk_id, eos_id = vocabulary.unk_id, vocabulary.eos_id
    lengths = word_lengths(vocabulary).numpy()
    lengths[unk_id], lengths[eos_id] = 0, 1
    count, before = 0, eos_id
    for start in range(0, len(tokens), COUNTED_AT_ONCE):
        ids = np.asarray(tokens[start : start + COUNTED_AT_ONCE])
        follows_word = np.concatenate([[before], ids[:-1]]) != eos_id
        is_word = (ids != eos_id) & (ids != unk_id)
        count += int(lengths[ids].sum()) + int((follows_word & is_word).sum())
        before = int(ids[-1])
    return count
