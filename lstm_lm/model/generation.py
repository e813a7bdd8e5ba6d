"""Continuing a text: drawing words one after the other, or searching for the most probable ones.

Shapes: V vocab_size, E embedding_dim.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from lstm_lm.corpus.vocabulary import Vocabulary
from lstm_lm.errors import InputError
from lstm_lm.model.beam import search_beam
from lstm_lm.model.network import Network
from lstm_lm.model.prediction import Prediction, find_banned
from lstm_lm.model.reading import prompt_words, read_ids
from lstm_lm.model.recurrent import LayerStates

SMALLEST_TEMPERATURE = 1e-6  # below it, the most probable word is taken
MAX_BEAM = 1000  # texts; their scores are V numbers each


@dataclass(frozen=True)
class Sampling:
    """How words are drawn.

    Attributes:
        temperature: divides the log-probabilities, at least 0; 0 always takes the most probable
            word.
        top_k: draw among the k most probable words, at least 1; None draws among all.
        top_p: draw among the fewest words whose probabilities sum to this, in (0, 1] (nucleus
            sampling, Holtzman et al. 2020, arXiv 1904.09751); None draws among all.
        min_p: draw among the words that are at least this times as probable as the most probable
            one, in (0, 1] (Nguyen et al. 2024, arXiv 2407.01082); None draws among all.
        repetition_penalty: the log-probability of every word that the text has already is
            multiplied by this; above 0, 1 changes nothing (as in Keskar et al. 2019, arXiv
            1909.05858, where it is the logit). The line end is not penalised.
        seed: seed of the draw; None uses torch's global generator.

    Raises:
        InputError: a value is outside its range.
    """

    temperature: float = 1.0
    top_k: int | None = None
    top_p: float | None = None
    min_p: float | None = None
    repetition_penalty: float = 1.0
    seed: int | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.temperature < math.inf:
            raise InputError(
                f"temperature must be at least 0 and finite, found {self.temperature:g}"
            )
        if self.top_k is not None and self.top_k < 1:
            raise InputError(f"top-k must be at least 1, found {self.top_k}")
        for name, share in (("top-p", self.top_p), ("min-p", self.min_p)):
            if share is not None and not 0 < share <= 1:
                raise InputError(f"{name} must be above 0 and at most 1, found {share:g}")
        if not 0 < self.repetition_penalty < math.inf:
            raise InputError(
                f"repetition-penalty must be above 0 and finite, found {self.repetition_penalty:g}"
            )
        check_seed(self.seed)

    def draw(
        self, log_probabilities: Tensor, seen: Tensor, generator: torch.Generator | None
    ) -> int:
        """Draws a word.

        Args:
            log_probabilities: ``(V,)``; -inf for words that are never drawn.
            seen: bool ``(V,)``: the words that are penalised.
            generator: of the draw; None for torch's global one.
        """
        if self.repetition_penalty != 1:
            penalised = log_probabilities * self.repetition_penalty
            log_probabilities = torch.where(seen, penalised, log_probabilities)
        if self.temperature < SMALLEST_TEMPERATURE:
            return int(log_probabilities.argmax())
        scores = (log_probabilities - log_probabilities.max()) / self.temperature
        probabilities = keep_likely(scores, self.top_k, self.top_p, self.min_p).softmax(0)
        return int(torch.multinomial(probabilities, 1, generator=generator))


def check_seed(seed: int | None) -> None:
    """Refuses a seed that torch cannot use.

    Raises:
        InputError: it does not fit into 64 bits.
    """
    if seed is not None and not -(2**63) <= seed < 2**64:
        raise InputError(f"seed must fit into 64 bits, found {seed}")


def keep_likely(
    scores: Tensor, top_k: int | None, top_p: float | None, min_p: float | None = None
) -> Tensor:
    """Sets ``scores (V,)`` to -inf outside the k highest, the nucleus of mass p, and min-p."""
    ranked, order = scores.sort(descending=True, stable=True)
    kept = len(scores) if top_k is None else min(top_k, len(scores))
    if top_p is not None:
        mass_before = ranked.softmax(0).cumsum(0).roll(1)
        mass_before[0] = 0
        kept = min(kept, int((mass_before < top_p).sum()))
    if min_p is not None:
        kept = min(kept, int((ranked >= ranked[0] + math.log(min_p)).sum()))
    return scores.index_fill(0, order[kept:], -torch.inf)


@dataclass(frozen=True)
class Continuation:
    """What a prompt was continued with.

    Attributes:
        predictions: every word with its own probability over the whole vocabulary, before
            temperature, cuts and penalty; ``<eos>`` is a line end.
        text: the words as natural text.
        seed: of the draw; None if there was none.
    """

    predictions: list[Prediction]
    text: str
    seed: int | None = None

    @property
    def words(self) -> list[str]:
        """The words, in the corpus's own form."""
        return [prediction.word for prediction in self.predictions]

    @property
    def log_probability(self) -> float:
        """Of all words together, in nats."""
        return math.fsum(prediction.log_probability for prediction in self.predictions)


@dataclass(frozen=True)
class Task:
    """What is to be continued, and where it ends.

    Attributes:
        network: in evaluation mode.
        vocabulary: its words.
        prompt: natural text; if empty, a new line begins.
        words: the most words to add, at least 0; ``<eos>`` counts as a word.
        until_eos: whether the first ``<eos>`` is the end.
        ban: words that are never added, in upper or lower case. ``<unk>`` is never added.

    Raises:
        InputError: a value is outside its range, or no word is left.
    """

    network: Network
    vocabulary: Vocabulary
    prompt: str = ""
    words: int = 50
    until_eos: bool = False
    ban: Sequence[str] = ()

    def __post_init__(self) -> None:
        if self.words < 0:
            raise InputError(f"words must be at least 0, found {self.words}")
        if len(self.never()) == len(self.vocabulary):
            raise InputError("ban must leave a word, found every word of the vocabulary")

    def never(self) -> Collection[int]:
        """The ids that are never added."""
        return find_banned(self.vocabulary, self.ban) | {self.vocabulary.unk_id}

    def ids(self) -> list[int]:
        """The ids of the prompt."""
        return self.vocabulary.ids_of(prompt_words(self.vocabulary, self.prompt))

    def continuation(
        self, drawn: Sequence[tuple[int, float]], seed: int | None = None
    ) -> Continuation:
        """The continuation by these ids, each with its log-probability."""
        found = [_prediction(self.vocabulary, *word) for word in drawn]
        words = [prediction.word for prediction in found]
        if self.until_eos and drawn and drawn[-1][0] == self.vocabulary.eos_id:
            words.pop()
        return Continuation(found, self.vocabulary.display(words), seed)


def _prediction(vocabulary: Vocabulary, number: int, log_probability: float) -> Prediction:
    return Prediction(vocabulary.words[number], math.exp(log_probability), log_probability)


def iterate_words(task: Task, sampling: Sampling) -> Iterator[Prediction]:
    """Draws the words of a continuation, also over line ends.

    Yields:
        Each word with its own probability; see `Continuation`.
    """
    ids = task.ids()  # a mistake in the prompt is found now, not when the first word is drawn
    drawn = _iterate_drawn(task, ids, sampling, None)
    return (_prediction(task.vocabulary, *word) for word in drawn)


def iterate_continuations(
    task: Task, *, samples: int = 1, beam: int | None = None, **sampling: Any
) -> Iterator[Continuation]:
    """Continues a prompt several times. The prompt is read once.

    Args:
        task: prompt and length.
        samples: how many continuations, at least 1. The second has the seed after the first one's,
            and so on.
        beam: search for the most probable continuations, keeping this many texts after each word,
            from 1 to `MAX_BEAM`, at least ``samples``; None draws them.
        sampling: of `Sampling`; none of it with ``beam``.

    Yields:
        Continuations; with ``beam``, the most probable first.

    Raises:
        InputError: an argument is outside its range, or has no effect.
    """
    if samples < 1:
        raise InputError(f"samples must be at least 1, found {samples}")
    if beam is None:
        check_seed(None if sampling.get("seed") is None else sampling["seed"] + samples - 1)
        return _iterate_samples(task, task.ids(), Sampling(**sampling), samples)
    if sampling:
        names = ", ".join(name.replace("_", "-") for name in sampling)
        raise InputError(f"beam and {names}: a beam search draws nothing; give one of them")
    if not 1 <= beam <= MAX_BEAM:
        raise InputError(f"beam must be from 1 to {MAX_BEAM:,}, found {beam}")
    if samples > beam:
        raise InputError(f"samples must be at most beam ({beam}), found {samples}")
    return _iterate_best(task, task.ids(), samples, beam)


def _iterate_best(
    task: Task, ids: Sequence[int], samples: int, beam: int
) -> Iterator[Continuation]:
    eos_id = task.vocabulary.eos_id if task.until_eos else None
    found = search_beam(task.network, ids, task.words, beam, never=task.never(), end_id=eos_id)
    for text in found[:samples]:
        yield task.continuation(text.words)


def _iterate_samples(
    task: Task, ids: Sequence[int], sampling: Sampling, samples: int
) -> Iterator[Continuation]:
    read = read_ids(task.network, ids) if task.words else None
    for number in range(samples):
        seed = None if sampling.seed is None else sampling.seed + number
        drawn = _iterate_drawn(task, ids, replace(sampling, seed=seed), read)
        yield task.continuation(list(drawn), seed)


def _iterate_drawn(
    task: Task,
    ids: Sequence[int],
    sampling: Sampling,
    read: tuple[Tensor, LayerStates] | None,
) -> Iterator[tuple[int, float]]:
    """Draws words after ``ids``; ``read`` is what `read_ids` returns for them.

    Yields:
        The id of each word, and its own log-probability.
    """
    network, vocabulary = task.network, task.vocabulary
    seed = sampling.seed
    generator = None if seed is None else torch.Generator().manual_seed(seed)
    never = torch.tensor(sorted(task.never()))
    seen = torch.zeros(len(vocabulary), dtype=torch.bool)
    seen[list(ids)] = True
    state = None
    for _ in range(task.words):
        hidden, state = read or read_ids(network, ids, state)
        with torch.no_grad():
            own = network.output.log_probabilities(hidden).cpu()
        seen[vocabulary.eos_id] = False
        drawn = sampling.draw(own.index_fill(0, never, -torch.inf), seen, generator)
        yield drawn, float(own[drawn])
        if task.until_eos and drawn == vocabulary.eos_id:
            return
        seen[drawn] = True
        ids, read = [drawn], None
