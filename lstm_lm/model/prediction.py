"""Which words are on offer as the next one, and how probable each is.

Shapes: V vocab_size.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from lstm_lm.corpus.half_typed import HalfTyped
from lstm_lm.corpus.vocabulary import Vocabulary
from lstm_lm.errors import InputError

MAX_NAMED = 5  # words that a message names


@dataclass(frozen=True)
class Prediction:
    """One candidate for the next word.

    Attributes:
        word: the word; ``<eos>`` is the line end.
        probability: in [0, 1]: over the whole vocabulary, or over the words on offer; see `Offer`.
        log_probability: its natural logarithm, in nats.
    """

    word: str
    probability: float
    log_probability: float


@dataclass(frozen=True)
class Offer:
    """The words on offer as the next one.

    Attributes:
        predictions: the most probable first.
        prefix: how the next word begins; empty if nothing of it is typed.
        words: the number of words that the probabilities sum to 1 over: those that begin with the
            prefix, or the given candidates. None: the whole vocabulary.
        probability: of these words together, over the whole vocabulary; 1 if that is what is on
            offer. Times a prediction's probability, it is the model's own.
        typed: what was typed of the last chunk before the prefix, such as ``(`` of ``(Pa``.
        ignores_case: whether no word begins with the prefix in this case, so that upper and lower
            case are taken as equal.
    """

    predictions: list[Prediction]
    prefix: str = ""
    words: int | None = None
    probability: float = 1.0
    typed: str = ""
    ignores_case: bool = False


@dataclass(frozen=True)
class Choice:
    """The words that may be predicted.

    Attributes:
        among: ids of the candidates, over which probabilities are normalised; None: all words.
        banned: ids of words that are never among the predictions.
        include_unknown: whether ``<unk>`` may be among them.
    """

    among: Collection[int] | None = None
    banned: frozenset[int] = frozenset()
    include_unknown: bool = False

    @classmethod
    def of_words(
        cls,
        vocabulary: Vocabulary,
        among: Sequence[str] | None = None,
        ban: Sequence[str] = (),
        include_unknown: bool = False,
    ) -> Choice:
        """The choice that is given by words.

        Args:
            vocabulary: of the model.
            among: candidates as typed, each one word of the vocabulary; None for all words.
            ban: words that are never predicted, in upper or lower case. The vocabulary need not
                have them.
            include_unknown: whether ``<unk>`` may be predicted.

        Raises:
            InputError: a candidate is unknown, a word of either list is several words, or
                ``<unk>`` is asked for among candidates.
        """
        if include_unknown and among is not None:
            raise InputError("include_unknown and among: give one of them")
        candidates = None
        if among is not None:
            candidates, unknown = find_candidates(vocabulary, among)
            if unknown:
                raise InputError(
                    f"among: not in the model's vocabulary: {some_of(unknown)}; leave them out"
                )
        return cls(candidates, find_banned(vocabulary, ban), include_unknown)

    def complete(
        self, vocabulary: Vocabulary, half: HalfTyped, log_probabilities: Tensor, top_k: int
    ) -> Offer:
        """The most probable completions of a half-typed word; see `offer` for the others."""
        choice = self
        if half.prefix:
            ids = set(half.ids) if self.among is None else set(half.ids).intersection(self.among)
            choice = replace(self, among=ids)
        offer = choice.offer(vocabulary, log_probabilities, top_k)
        return replace(offer, prefix=half.prefix, typed=half.typed, ignores_case=half.ignores_case)

    def offer(self, vocabulary: Vocabulary, log_probabilities: Tensor, top_k: int) -> Offer:
        """The ``top_k`` most probable words of ``log_probabilities (V,)``; at least 1."""
        if self.among is not None:
            return self._offer_among(vocabulary, log_probabilities, top_k)
        hidden = self.banned if self.include_unknown else self.banned | {vocabulary.unk_id}
        top_k = max(top_k, 1)
        # more than asked for, because hidden words may be among them
        values, ids = log_probabilities.topk(min(top_k + len(hidden), len(vocabulary)))
        best = [
            Prediction(vocabulary.words[number], math.exp(value), value)
            for value, number in zip(values.double().tolist(), ids.tolist(), strict=True)
            if number not in hidden
        ]
        return Offer(best[:top_k])

    def _offer_among(self, vocabulary: Vocabulary, log_probabilities: Tensor, top_k: int) -> Offer:
        assert self.among is not None
        ids = sorted(set(self.among) - self.banned)
        if not ids:
            return Offer([], words=0, probability=0.0)
        values = log_probabilities[torch.tensor(ids)].double()
        total = values.logsumexp(0)
        ranked, order = (values - total).sort(descending=True, stable=True)
        best = [
            Prediction(vocabulary.words[ids[place]], math.exp(value), value)
            for value, place in zip(ranked.tolist(), order.tolist(), strict=True)
        ]
        return Offer(best[: max(top_k, 1)], words=len(ids), probability=math.exp(total))


def find_candidates(
    vocabulary: Vocabulary, words: Sequence[str]
) -> tuple[dict[int, None], list[str]]:
    """The ids of typed words, each once, and the words that the vocabulary does not have.

    Raises:
        InputError: one of them is several words.
    """
    found: dict[int, None] = {}
    unknown = []
    for word in words:
        number = _id_of(vocabulary, word)
        if number is None:
            unknown.append(word)
        else:
            found[number] = None
    return found, unknown


def find_banned(vocabulary: Vocabulary, words: Sequence[str]) -> frozenset[int]:
    """The ids of typed words in upper or lower case; words that are unknown have none.

    Raises:
        InputError: one of them is several words.
    """
    banned: set[int] = set()
    for word in words:
        number = _id_of(vocabulary, word)
        if number is not None:
            banned.add(number)
            word = vocabulary.words[number]
        banned.update(vocabulary.ids_of_any_case(word))
    return frozenset(banned)


def _id_of(vocabulary: Vocabulary, typed: str) -> int | None:
    """The id of a typed word; None if the vocabulary does not have it."""
    number = vocabulary.id(typed)
    if number is None:
        words = vocabulary.split_text(typed)
        if len(words) != 1:
            raise InputError(
                f"{typed!r} is {len(words)} words to this model ({some_of(words)}); give single "
                "words"
            )
        number = vocabulary.id(words[0])
    return None if number == vocabulary.unk_id else number


def some_of(words: Sequence[str]) -> str:
    """The first of some words, for a message."""
    more = f" and {len(words) - MAX_NAMED:,} more" if len(words) > MAX_NAMED else ""
    return ", ".join(words[:MAX_NAMED]) + more
