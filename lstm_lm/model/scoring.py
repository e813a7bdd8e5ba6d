"""How surprised the model is: per word, and summed into the one perplexity of this project.

A word's own score is computed in float64, so that it does not depend on what is read beside it; the sum over a corpus,
which has no use for that, in the model's own precision.

Shapes: T time, B batch.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from lstm_lm.corpus.windows import Streams, iterate_spans

if TYPE_CHECKING:
    from lstm_lm.corpus.vocabulary import Vocabulary
    from lstm_lm.model.language_model import LanguageModel, State

READ_AT_A_TIME = 4096  # words: a text of any length is read in the memory of so many


@dataclass(frozen=True)
class Perplexity:
    """A perplexity with all that is needed to compare it with another.

    Attributes:
        nll: negative log-likelihood in nats, summed over *all* tokens, line ends included.
        tokens: how many tokens were predicted.
        oov_tokens: how many of them are ``<unk>``.
        state: ``carried`` from line to line, or ``reset`` to zero before each.
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
        """``exp(nll / tokens)``: sum over everything, divide once, exponentiate once."""
        return perplexity_from(self.nll, self.tokens)

    def __float__(self) -> float:
        return self.perplexity

    def __str__(self) -> str:
        return f"{self.perplexity:.2f} ({self.tokens:,} tokens, {self.oov_tokens:,} <unk>, state {self.state})"


def perplexity_from(nll: float, tokens: int) -> float:
    """``exp(nll / tokens)``, infinite where that overflows."""
    return math.exp(nll / tokens) if nll / tokens < 709 else math.inf


@dataclass(frozen=True)
class WordScore:
    """One word and how unexpected it was.

    Attributes:
        word: as the model's vocabulary spells it, or as it was typed if unknown; ``<eos>`` is a line's end.
        surprisal: ``-log2 p(word | everything before it)``, in bits; of ``<unk>`` for an unknown word.
        known: whether the vocabulary has the word.
    """

    word: str
    surprisal: float
    known: bool


def lines_of(text: str) -> list[str]:
    """The lines of a text; only ``\\n`` ends one, and a last line end opens no further line."""
    return text.removesuffix("\n").split("\n")


def iterate_nll(
    model: LanguageModel, tokens: Sequence[int], window: int, state: State | None = None
) -> Iterator[tuple[Tensor, State]]:
    """Scores one stream of ids, its state carried from the first to the last.

    Args:
        model: in evaluation mode.
        tokens: ids, sliceable (a list, an array, a memory map); ``<eos>`` stands before the first.
        window: how many are read at a time; the result does not depend on it.
        state: before them; that before any text by default.

    Yields:
        float64 nll in nats of consecutive tokens, ``(T,)`` with T <= window, on the CPU; and the state after them.
    """
    stream = Streams(tokens, 1, model.vocabulary.eos_id)
    for start, stop in iterate_spans(stream.length, window):
        inputs, targets = (ids.to(model.device) for ids in stream.window(start, stop))
        with torch.no_grad():
            nll, state = model.token_nll(inputs, targets, state)
        yield nll.squeeze(1).double().cpu(), state


def iterate_line_scores(
    model: LanguageModel, lines: Iterable[str], reset_per_line: bool = False
) -> Iterator[list[WordScore]]:
    """Yields, for every line typed by a person, a `WordScore` for each of its words and for its end."""
    model = model.in_double_precision()
    vocabulary, state = model.vocabulary, None
    for line in lines:
        words = [*vocabulary.split_text(line), vocabulary.word(vocabulary.eos_id)]
        ids = [*vocabulary.encode_text(line), vocabulary.eos_id]
        nll, states = zip(
            *iterate_nll(model, ids, READ_AT_A_TIME, None if reset_per_line else state), strict=True
        )
        state = states[-1]
        yield [
            WordScore(word, bits, identifier != vocabulary.unk_id)
            for word, identifier, bits in zip(
                words, ids, (torch.cat(nll) / math.log(2)).tolist(), strict=True
            )
        ]


def perplexity_of_text(
    model: LanguageModel, lines: Iterable[str], reset_per_line: bool = False
) -> Perplexity:
    """The perplexity of lines typed by a person; the same sum as `iterate_line_scores`."""
    scores = [score for line in iterate_line_scores(model, lines, reset_per_line) for score in line]
    return Perplexity(
        sum(score.surprisal for score in scores) * math.log(2),
        len(scores),
        sum(not score.known for score in scores),
        "reset" if reset_per_line else "carried",
    )


def read_prompt(vocabulary: Vocabulary, text: str) -> list[int]:
    """The ids that a typed text reaches a model as: ``<eos>`` before it, and for every line end inside it."""
    ids: list[int] = []
    for line in text.split("\n"):
        ids += [vocabulary.eos_id, *vocabulary.encode_text(line)]
    return ids


def read_ids(
    model: LanguageModel, ids: Sequence[int], state: State | None = None
) -> tuple[Tensor, State]:
    """Reads ids, at least one, without gradients: what the output layer sees after them, ``(E,)``, and the state."""
    with torch.no_grad():
        for start in range(0, len(ids), READ_AT_A_TIME):
            window = torch.tensor(ids[start : start + READ_AT_A_TIME], device=model.device)
            hidden, state = model.hidden(window.unsqueeze(1), state)
    return hidden[-1, 0], state


def next_word_log_probabilities(model: LanguageModel, text: str) -> Tensor:
    """Log-probabilities ``(V,)`` of the word after a typed text, in nats, on the CPU."""
    hidden, _ = read_ids(model, read_prompt(model.vocabulary, text))
    with torch.no_grad():
        return model.output.log_probabilities(hidden).cpu()
