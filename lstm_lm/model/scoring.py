"""Surprisal per word, and the one perplexity of this project.

Scores of single words are computed in float64, so that they do not depend on the texts scored
beside them. The sum over a whole corpus is computed in the network's own precision.

Shapes: T time, B batch, E embedding_dim.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from lstm_lm.corpus.file_reading import tokenised_words
from lstm_lm.corpus.vocabulary import Vocabulary
from lstm_lm.corpus.windows import Streams, TokenIds, iterate_spans
from lstm_lm.model.network import Network
from lstm_lm.model.recurrent import LayerStates

WINDOW = 4096  # words read at a time, so that a text of any length needs little memory
LARGEST_EXPONENT = 709  # exp() of more overflows a float64


@dataclass(frozen=True)
class Perplexity:
    """A perplexity and what is needed to compare it with another.

    Attributes:
        nll: negative log-likelihood in nats, summed over *all* tokens, line ends included.
        tokens: the number of tokens predicted.
        oov_tokens: how many of them are ``<unk>``.
        state: ``carried`` from line to line, or ``reset`` to zero before each line.
    """

    nll: float
    tokens: int
    oov_tokens: int
    state: str

    @property
    def loss(self) -> float:
        """Nats per token."""
        return self.nll / self.tokens

    @property
    def perplexity(self) -> float:
        """``exp(nll / tokens)``: one sum over all tokens, one division, one exponential."""
        return perplexity_from(self.nll, self.tokens)

    def __float__(self) -> float:
        return self.perplexity

    def __str__(self) -> str:
        return (
            f"{self.perplexity:.2f} ({self.tokens:,} tokens, {self.oov_tokens:,} <unk>, "
            f"state {self.state})"
        )


def perplexity_from(nll: float, tokens: int) -> float:
    """``exp(nll / tokens)``; infinite where that overflows."""
    loss = nll / tokens
    return math.exp(loss) if loss < LARGEST_EXPONENT else math.inf


@dataclass(frozen=True)
class WordScore:
    """The surprisal of one word.

    Attributes:
        word: in the vocabulary's spelling, or as typed if it is unknown; ``<eos>`` is a line end.
        surprisal: ``-log2 p(word | everything before it)``, in bits; that of ``<unk>`` if unknown.
        known: whether the vocabulary has the word.
    """

    word: str
    surprisal: float
    known: bool


def lines_of(text: str) -> list[str]:
    r"""The lines of a text: only ``\n`` ends a line, and a final one does not start another."""
    return text.removesuffix("\n").split("\n")


def words_of_line(line: str, vocabulary: Vocabulary, *, tokenised: bool) -> list[str]:
    """The words of a line as the network reads them, ``<eos>`` at its end.

    Args:
        line: without its line end.
        vocabulary: of the model.
        tokenised: whether it is tokenised as the model's corpus was; otherwise natural text.
    """
    split = tokenised_words(line, vocabulary) if tokenised else vocabulary.split_text(line)
    return [*split, vocabulary.words[vocabulary.eos_id]]


def iterate_nll(
    network: Network,
    tokens: TokenIds,
    eos_id: int,
    window: int,
    state: LayerStates | None = None,
) -> Iterator[tuple[Tensor, LayerStates]]:
    """Scores one stream of ids; the state is carried through it.

    Args:
        network: in evaluation mode.
        tokens: ids, sliceable (a list, an array, a memory map); an ``<eos>`` is read before the
            first.
        eos_id: the id of ``<eos>``.
        window: tokens read at a time; the result does not depend on it.
        state: the state before the stream; zeros if None.

    Yields:
        The nll in nats of consecutive tokens, float64 ``(T,)`` on the CPU with T <= window; and the
        state after them.
    """
    stream = Streams(tokens, 1, eos_id)
    for start, stop in iterate_spans(stream.length, window):
        inputs, targets = (ids.to(network.device) for ids in stream.window(start, stop))
        with torch.no_grad():
            nll, state = network.token_nll(inputs, targets, state)
        yield nll.squeeze(1).double().cpu(), state


def iterate_line_scores(
    network: Network,
    vocabulary: Vocabulary,
    lines: Iterable[str],
    *,
    carry: bool,
    tokenised: bool = False,
) -> Iterator[list[WordScore]]:
    """Scores lines.

    Args:
        network: in any mode; a copy in float64 is used.
        vocabulary: its words.
        lines: without line ends.
        carry: whether a line starts from the state after the line before it, or from a zero state.
        tokenised: whether the lines are tokenised as the model's corpus was; otherwise they are
            natural text.

    Yields:
        For every line a `WordScore` for each word and for the line end.
    """
    network, state = network.in_double_precision(), None
    for line in lines:
        words = words_of_line(line, vocabulary, tokenised=tokenised)
        ids = vocabulary.ids_of(words)
        scored = list(
            iterate_nll(network, ids, vocabulary.eos_id, WINDOW, state if carry else None)
        )
        state = scored[-1][1]
        bits = torch.cat([nll for nll, _ in scored]) / math.log(2)
        yield [
            WordScore(word, surprisal, number != vocabulary.unk_id)
            for word, number, surprisal in zip(words, ids, bits.tolist(), strict=True)
        ]


def sum_scores(scores: Iterable[WordScore], *, carry: bool) -> Perplexity:
    """The perplexity of scored words, the same sum as their surprisals."""
    scores = list(scores)
    nll = sum(score.surprisal for score in scores) * math.log(2)
    unknown = sum(not score.known for score in scores)
    return Perplexity(nll, len(scores), unknown, "carried" if carry else "reset")
