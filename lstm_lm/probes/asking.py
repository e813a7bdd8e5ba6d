"""Asks a model the questions of a probe suite.

Every item starts from the zero state, after an ``<eos>``, as a line of ``lstm-lm score`` does. The
text ``prefix target`` is split into words as any typed text is. A line end inside a prefix is an
``<eos>``, and the state is carried over it, as in ``lstm-lm predict``.

The log-probabilities are those of ``lstm-lm score``. Both are computed in float64, where they do
not depend on the other texts of a batch by more than 1e-12.

Items are read in blocks. Within a block they are sorted by length and scored in batches. Padding
follows a text, so it has no effect on the values that are used.

Shapes: T time, B batch, V vocab_size, K words that one item asks about.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Protocol

import torch
from torch import Tensor

from lstm_lm.corpus.vocabulary import Vocabulary
from lstm_lm.corpus.windows import NO_TARGET
from lstm_lm.model.language_model import LanguageModel
from lstm_lm.probes.encoding import (
    SentencePair,
    WordQuestion,
    differing_words,
    encode_question,
    encode_sentences,
    prefix_words,
)
from lstm_lm.probes.items import Item
from lstm_lm.probes.regions import encode_regions, region_surprisals

BATCH_SIZE = 128  # texts that are scored together
WINDOW_LENGTH = 64  # words of each text that are read at a time; limits memory
# A block ends after one of these; limits memory, however many items a suite has.
BLOCK_ITEMS = 4096
BLOCK_CHARACTERS = 4 * 2**20
HAS_MISTAKE = "a mistake in the file"  # why an item with a `problem` is skipped


@dataclass(frozen=True)
class ItemScore:
    """The result of one item.

    Attributes:
        item: the question.
        skipped: why the item was not scored; empty if it was scored. If it was not, the attributes
            below, except for `unknown`, are None or False.
        unknown: the words of the prefix (of both sentences) that are not in the vocabulary, each
            once. They are read as ``<unk>``.
        log_probability: of the target, or of the better sentence with its end, in nats. None if
            regions are compared.
        foil_log_probability: of the foil, or of the other sentence with its end; None without foil.
        rank: how many words of the vocabulary are at least as probable as the target, including
            itself, ``<unk>`` and ``<eos>``. Rank 1 is the model's first choice. None for sentences
            and regions.
        right: whether the target is more probable than the foil; without a foil, whether the rank
            is 1; if regions are compared, whether the formula holds. If both are equally probable,
            it is False.
        gain: how much the cue helps, in nats: the target's log-probability here, minus its mean
            log-probability after the prefixes of the other items of the pair. None without a pair,
            and if the other items were skipped or have the same prefix.
        skipped_words: the words because of which the item was skipped.
    """

    item: Item
    skipped: str = ""
    unknown: tuple[str, ...] = ()
    log_probability: float | None = None
    foil_log_probability: float | None = None
    rank: int | None = None
    right: bool = False
    gain: float | None = None
    skipped_words: tuple[str, ...] = ()


class NextWordModel(Protocol):
    """What the probes need from a model of any kind.

    Attributes:
        vocabulary: the model's words.
    """

    vocabulary: Vocabulary

    def next_word_log_probabilities(self, texts: Sequence[list[int]]) -> Tensor:
        """Returns the log-probabilities of all words after each of B texts.

        Args:
            texts: ids; the first of each is ``<eos>``.

        Returns:
            Nats, ``(B, V)``, float64, on the CPU.
        """
        ...

    def text_log_probabilities(self, texts: Sequence[list[int]]) -> list[float]:
        """Returns the log-probability of each text and its line end, in nats.

        Args:
            texts: ids; the first of each is ``<eos>``, which is not scored. The line end, an
                ``<eos>`` after the last id, is not part of the ids, but it is scored.
        """
        ...


class NetworkReader:
    """A language model as a `NextWordModel`."""

    def __init__(self, model: LanguageModel) -> None:
        """Takes the model, in float64 (as a copy if it is not)."""
        self.vocabulary = model.vocabulary
        self._network = model.network.in_double_precision()

    def next_word_log_probabilities(self, texts: Sequence[list[int]]) -> Tensor:
        """See `NextWordModel.next_word_log_probabilities`."""
        last_position = torch.tensor([len(ids) - 1 for ids in texts])
        last_hidden = [torch.empty(0)] * len(texts)
        for start, hidden in self._iterate_hidden(texts):
            is_inside = (last_position >= start) & (last_position < start + len(hidden))
            for b in is_inside.nonzero().flatten().tolist():
                last_hidden[b] = hidden[last_position[b] - start, b]
        return self._network.output.log_probabilities(torch.stack(last_hidden)).cpu()

    def text_log_probabilities(self, texts: Sequence[list[int]]) -> list[float]:
        """See `NextWordModel.text_log_probabilities`."""
        eos = self.vocabulary.eos_id
        targets = _pad([[*ids[1:], eos] for ids in texts], NO_TARGET).to(self._network.device)
        total = torch.zeros(len(texts), dtype=torch.float64)
        for start, hidden in self._iterate_hidden(texts):
            some = targets[start : start + len(hidden)]
            is_target = some >= 0
            nll = hidden.new_zeros(some.shape)
            nll[is_target] = self._network.output.token_nll(hidden[is_target], some[is_target])
            total -= nll.sum(0).cpu()
        return total.tolist()

    def _iterate_hidden(self, texts: Sequence[list[int]]) -> Iterator[tuple[int, Tensor]]:
        """Yields the first position of a window, and the inputs of the output layer, (T, B, E)."""
        inputs = _pad(texts, self.vocabulary.eos_id).to(self._network.device)  # (T, B)
        state = None
        for start in range(0, len(inputs), WINDOW_LENGTH):
            hidden, state = self._network.hidden(inputs[start : start + WINDOW_LENGTH], state)
            yield start, hidden


def _pad(texts: Sequence[list[int]], filling: int) -> Tensor:
    """Makes one tensor ``(T, B)`` of texts of different lengths."""
    longest = max(len(ids) for ids in texts)
    return torch.tensor([ids + [filling] * (longest - len(ids)) for ids in texts]).T


def iterate_scores(model: NextWordModel, items: Iterable[Item]) -> Iterator[ItemScore]:
    """Yields the scores of items, in their order.

    Args:
        model: the model.
        items: the items of a pair directly follow one another. Any number of them: only one block
            is in memory.

    Yields:
        One score per item.
    """
    for block in _iterate_blocks(items):
        with torch.no_grad():
            scores = _score_block(model, block)
        yield from scores


def _iterate_blocks(items: Iterable[Item]) -> Iterator[list[Item]]:
    """Yields lists of items; all items of a pair are in one list."""
    block: list[Item] = []
    characters = 0
    for item in items:
        is_full = len(block) >= BLOCK_ITEMS or characters >= BLOCK_CHARACTERS
        if is_full and not (item.pair and item.pair == block[-1].pair):
            yield block
            block, characters = [], 0
        block.append(item)
        characters += len(item.prefix) + len(item.target) + len(item.foil)
    if block:
        yield block


@dataclass(frozen=True)
class _Answer:
    """What a model predicts after the prefix of one item.

    Attributes:
        rank: of the target.
        log_probabilities: in nats, by the id of a word: the item's target and foil, and the targets
            of its partners.
    """

    rank: int
    log_probabilities: Mapping[int, float]


def _score_block(model: NextWordModel, items: Sequence[Item]) -> list[ItemScore]:
    vocabulary, scores = model.vocabulary, list[ItemScore]()
    questions: dict[int, WordQuestion] = {}  # by the item's index, as all dictionaries below
    sentences: dict[int, SentencePair] = {}
    words = {
        index: prefix_words(vocabulary, item)
        for index, item in enumerate(items)
        if item.prefix and not item.problem
    }
    clues = differing_words(items, words)
    for index, item in enumerate(items):
        if item.problem:
            scores.append(ItemScore(item, HAS_MISTAKE))
            continue
        if item.regions:
            scores.append(_score_regions(model, item))
            continue
        if item.is_sentence_pair:
            skip, unknown, sentences_of_item = encode_sentences(vocabulary, item)
            if not skip.why:
                sentences[index] = sentences_of_item
        else:
            skip, unknown, question = encode_question(vocabulary, item, words[index], clues[index])
            if question:
                questions[index] = question
        scores.append(ItemScore(item, skip.why, unknown, skipped_words=skip.words))

    for index, better, other in _iterate_sentence_scores(model, sentences):
        scores[index] = ItemScore(
            items[index], "", scores[index].unknown, better, other, right=better > other
        )

    partners = _find_partners(items, questions)
    answers = _ask(model, questions, partners)
    for index, question in questions.items():
        answer = answers[index]
        own = answer.log_probabilities[question.target]
        foil = None if question.foil is None else answer.log_probabilities[question.foil]
        right = answer.rank == 1 if foil is None else own > foil
        without_cue = [answers[j].log_probabilities[question.target] for j in partners[index]]
        gain = own - sum(without_cue) / len(without_cue) if without_cue else None
        scores[index] = ItemScore(
            items[index], "", scores[index].unknown, own, foil, answer.rank, right, gain
        )
    return scores


def _score_regions(model: NextWordModel, item: Item) -> ItemScore:
    assert item.regions
    words, unknown_compared, unknown = encode_regions(model.vocabulary, item.regions)
    if unknown_compared:
        compared = tuple(unknown_compared)
        return ItemScore(
            item, "unknown word in a compared region", compared, skipped_words=compared
        )
    surprisals = region_surprisals(words, item.regions, model.next_word_log_probabilities)
    return ItemScore(item, "", tuple(unknown), right=item.regions.formula.holds(surprisals))


def _find_partners(
    items: Sequence[Item], questions: Mapping[int, WordQuestion]
) -> dict[int, list[int]]:
    """Returns, for each item, the other items of its pair whose prefixes differ from its own."""
    partners: dict[int, list[int]] = {index: [] for index in questions}
    for pair, members in groupby(questions, key=lambda index: items[index].pair):
        if not pair:
            continue
        indices = list(members)
        for index in indices:
            prefix = questions[index].prefix
            partners[index] = [j for j in indices if questions[j].prefix != prefix]
    return partners


def _ask(
    model: NextWordModel,
    questions: Mapping[int, WordQuestion],
    partners: Mapping[int, list[int]],
) -> dict[int, _Answer]:
    """Reads the prefixes of all questions, and returns what the model predicts after each."""
    answers: dict[int, _Answer] = {}
    for batch in _iterate_batches(questions, lambda index: len(questions[index].prefix)):
        log_probabilities = model.next_word_log_probabilities(
            [questions[index].prefix for index in batch]
        )  # (B, V)
        for index, row in zip(batch, log_probabilities, strict=True):
            question = questions[index]
            words = [question.target, *(questions[j].target for j in partners[index])]
            if question.foil is not None:
                words.append(question.foil)
            rank = int((row >= row[question.target]).sum())
            answers[index] = _Answer(rank, {word: float(row[word]) for word in words})
    return answers


def _iterate_sentence_scores(
    model: NextWordModel, sentences: Mapping[int, SentencePair]
) -> Iterator[tuple[int, float, float]]:
    """Yields an item's index and the log-probabilities of its better and its other sentence."""

    def length(index: int) -> int:
        return max(len(sentences[index].better), len(sentences[index].other))

    for batch in _iterate_batches(sentences, length):
        texts = []
        for index in batch:
            texts += [sentences[index].better, sentences[index].other]
        values = model.text_log_probabilities(texts)
        for place, index in enumerate(batch):
            yield index, values[2 * place], values[2 * place + 1]


def _iterate_batches(indices: Iterable[int], length: Callable[[int], int]) -> Iterator[list[int]]:
    """Yields lists of indices of texts of similar length.

    The longest come first, so that a lack of memory shows at once.
    """
    order = sorted(indices, key=length, reverse=True)
    for start in range(0, len(order), BATCH_SIZE):
        yield order[start : start + BATCH_SIZE]
