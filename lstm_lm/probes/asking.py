"""Asks a model the questions of a probe suite: what comes next, and would it have without the cue?

Every item starts from the zero state, after an ``<eos>``, as ``lstm-lm score --reset-per-line`` starts a line. It is
the text ``prefix target`` taken apart as typed text is, and the target's log-probability is the one that `score` gives;
both are computed in float64, where it is the same to 1e-12 whatever is scored beside it.
Line ends inside a prefix are ``<eos>``, as for ``lstm-lm predict``, and the state is carried over them.

Items are read in blocks, sorted by length there, and scored side by side; padding stands behind a text, where nothing
that is read out has seen it. Only the last word of a prefix goes through the output layer.

Shapes: T time, B batch, V vocab_size, K words that one item asks about.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Protocol

import torch
from torch import Tensor

from lstm_lm.corpus.vocabulary import Vocabulary
from lstm_lm.corpus.windows import NO_TARGET
from lstm_lm.model.language_model import LanguageModel
from lstm_lm.model.scoring import read_prompt
from lstm_lm.probes.suites import Item

SIDE_BY_SIDE = 128  # texts of one batch
WINDOW = 64  # words of each that are in memory at a time
BLOCK_ITEMS, BLOCK_CHARACTERS = 4096, 4 * 2**20


@dataclass(frozen=True)
class ItemScore:
    """What a model makes of one item.

    Attributes:
        item: the question.
        skipped: why it was not scored; empty if it was. If not, all that follows but `unknown` is None or False.
        unknown: words of the prefix (of both sentences) that the vocabulary lacks, each once; they are read as
            ``<unk>``.
        log_probability: of the target, or of the better sentence and its end, in nats.
        foil_log_probability: of the foil, or of the other sentence; None without a foil.
        rank: how many words are at least as probable as the target, itself and ``<unk>`` and ``<eos>`` included: 1 is
            the model's first choice. None for sentences.
        right: target more probable than foil, not equally so; without a foil, rank 1.
        gain: how many nats the cue brings: the target's log-probability here minus its mean log-probability after
            the prefixes of the other items of its pair. None without a pair, and where the others were skipped or
            have the same prefix.
    """

    item: Item
    skipped: str = ""
    unknown: tuple[str, ...] = ()
    log_probability: float | None = None
    foil_log_probability: float | None = None
    rank: int | None = None
    right: bool = False
    gain: float | None = None

    @property
    def skipped_words(self) -> tuple[str, ...]:
        """The words that are to blame if the item was skipped."""
        if self.item.is_sentence_pair:
            return self.unknown if self.skipped else ()
        return (
            (self.item.target if self.skipped.startswith("target") else self.item.foil,)
            if self.skipped
            else ()
        )


class Reader(Protocol):
    """What the probes need of a model, of whatever kind.

    Attributes:
        vocabulary: the model's words.
    """

    vocabulary: Vocabulary

    def next_word(self, texts: Sequence[list[int]]) -> Tensor:
        """Log-probabilities ``(B, V)`` of the word after each of B texts, in nats, float64 on the CPU."""
        ...

    def whole(self, texts: Sequence[list[int]]) -> list[float]:
        """The log-probability in nats of each text; its first id (``<eos>``) is given, an ``<eos>`` ends it."""
        ...


class BatchReader:
    """A language model as a `Reader`, texts side by side."""

    def __init__(self, model: LanguageModel) -> None:
        self.model = model.in_double_precision()
        self.vocabulary = model.vocabulary

    def next_word(self, texts: Sequence[list[int]]) -> Tensor:
        """See `Reader.next_word`."""
        ends = torch.tensor([len(ids) - 1 for ids in texts])
        last = [torch.empty(0)] * len(texts)
        for start, hidden in self._iterate_hidden(texts):
            for b in ((ends >= start) & (ends < start + len(hidden))).nonzero().flatten().tolist():
                last[b] = hidden[ends[b] - start, b]
        return self.model.output.log_probabilities(torch.stack(last)).cpu()

    def whole(self, texts: Sequence[list[int]]) -> list[float]:
        """See `Reader.whole`."""
        eos = self.vocabulary.eos_id
        targets = _pad([[*ids[1:], eos] for ids in texts], NO_TARGET).to(
            self.model.device
        )  # (T, B)
        total = torch.zeros(len(texts), dtype=torch.float64)
        for start, hidden in self._iterate_hidden(texts):
            wanted = targets[start : start + len(hidden)]
            there = wanted >= 0
            nll = hidden.new_zeros(wanted.shape)
            nll[there] = self.model.output.token_nll(hidden[there], wanted[there])
            total -= nll.sum(0).cpu()
        return total.tolist()

    def _iterate_hidden(self, texts: Sequence[list[int]]) -> Iterator[tuple[int, Tensor]]:
        """Yields where a window begins, and what the output layer sees in it, ``(T, B, E)``."""
        inputs = _pad(texts, self.vocabulary.eos_id).to(self.model.device)
        state = self.model.initial_state(len(texts))
        for start in range(0, len(inputs), WINDOW):
            hidden, state = self.model.hidden(inputs[start : start + WINDOW], state)
            yield start, hidden


def _pad(texts: Sequence[list[int]], filling: int) -> Tensor:
    """Texts side by side, ``(T, B)``."""
    longest = max(map(len, texts))
    return torch.tensor([[*ids, *[filling] * (longest - len(ids))] for ids in texts]).T


def iterate_scores(reader: Reader, items: Iterable[Item]) -> Iterator[ItemScore]:
    """Yields the items' scores in the items' order; memory is that of a block of items, however many there are.

    Args:
        reader: the model.
        items: those of a pair one after another.
    """
    for block in _iterate_blocks(items):
        with torch.no_grad():
            scores = _score_block(reader, block)
        yield from scores


def _iterate_blocks(items: Iterable[Item]) -> Iterator[list[Item]]:
    """Yields lists of items; a pair is never torn."""
    block: list[Item] = []
    size = 0
    for item in items:
        is_full = len(block) >= BLOCK_ITEMS or size >= BLOCK_CHARACTERS
        if is_full and not (item.pair and item.pair == block[-1].pair):
            yield block
            block, size = [], 0
        block.append(item)
        size += len(item.prefix) + len(item.target) + len(item.foil)
    if block:
        yield block


@dataclass(frozen=True)
class _Text:
    """An item as ids: what is read, and the words asked about (or, for sentences, the other sentence)."""

    ids: list[int]
    target: int = 0
    foil: int | None = None
    other: tuple[int, ...] = ()


def _score_block(reader: Reader, items: list[Item]) -> list[ItemScore]:
    scores: list[ItemScore] = []
    texts: dict[int, _Text] = {}
    for k, item in enumerate(items):
        encode = _encode_sentences if item.is_sentence_pair else _encode_item
        skipped, unknown, text = encode(reader, item)
        scores.append(ItemScore(item, skipped, unknown))
        if not skipped:
            texts[k] = text
    for k, good, bad in _iterate_sentence_scores(
        reader, {k: t for k, t in texts.items() if t.other}
    ):
        scores[k] = ItemScore(items[k], "", scores[k].unknown, good, bad, right=good > bad)
    asked = {k: text for k, text in texts.items() if not text.other}
    partners = _partners(items, asked)
    wanted = {
        k: [
            text.target,
            *([text.foil] if text.foil is not None else []),
            *(asked[j].target for j in partners[k]),
        ]
        for k, text in asked.items()
    }
    found = {k: (rank, values) for k, rank, values in _iterate_word_scores(reader, asked, wanted)}
    for k, text in asked.items():
        rank, (own, *others) = found[k]
        foil = others[0] if text.foil is not None else None
        # after partner j's prefix, this item's target stands among the words wanted there, at the place of its index
        without = [found[j][1][-len(partners[j]) + partners[j].index(k)] for j in partners[k]]
        gain = own - sum(without) / len(without) if without else None
        right = rank == 1 if foil is None else own > foil
        scores[k] = ItemScore(items[k], "", scores[k].unknown, own, foil, rank, right, gain)
    return scores


def _partners(items: list[Item], asked: dict[int, _Text]) -> dict[int, list[int]]:
    """The other items of each item's pair whose texts differ from its own."""
    partners: dict[int, list[int]] = {k: [] for k in asked}
    for pair, members in groupby(asked, key=lambda k: items[k].pair):
        members = list(members) if pair else []
        for k in members:
            partners[k] = [j for j in members if asked[j].ids != asked[k].ids]
    return partners


def _iterate_word_scores(
    reader: Reader, texts: dict[int, _Text], wanted: dict[int, list[int]]
) -> Iterator[tuple[int, int, list[float]]]:
    """Yields, for every text, its target's rank and the log-probabilities of its wanted words, the target's first."""
    for some in _iterate_batches(texts, key=lambda k: len(texts[k].ids)):
        rows = reader.next_word([texts[k].ids for k in some])  # (B, V)
        values = rows.gather(1, _pad([wanted[k] for k in some], 0).T)  # (B, K)
        ranks = (rows >= values[:, :1]).sum(1)
        for k, rank, row in zip(some, ranks.tolist(), values.tolist(), strict=True):
            yield k, rank, row[: len(wanted[k])]


def _iterate_sentence_scores(
    reader: Reader, texts: dict[int, _Text]
) -> Iterator[tuple[int, float, float]]:
    """Yields the log-probabilities of the better and of the other sentence."""
    for some in _iterate_batches(texts, key=lambda k: max(len(texts[k].ids), len(texts[k].other))):
        both = reader.whole([ids for k in some for ids in (texts[k].ids, list(texts[k].other))])
        yield from zip(some, both[::2], both[1::2], strict=True)


def _iterate_batches(texts: dict[int, _Text], key: Callable[[int], int]) -> Iterator[list[int]]:
    """Yields the indices of texts of like length, the longest first, so that memory runs out at once or never."""
    order = sorted(texts, key=key, reverse=True)
    for start in range(0, len(order), SIDE_BY_SIDE):
        yield order[start : start + SIDE_BY_SIDE]


def _encode_item(reader: Reader, item: Item) -> tuple[str, tuple[str, ...], _Text]:
    """Why an item is skipped, its prefix's unknown words, and its ids."""
    vocabulary = reader.vocabulary
    prefix = read_prompt(vocabulary, f"{item.prefix} {item.target}")
    targets, foils = vocabulary.encode_text(item.target), vocabulary.encode_text(item.foil)
    ids = prefix[: len(prefix) - len(targets)]
    unknown = _unknown_words(vocabulary, item.prefix) if vocabulary.unk_id in ids else ()
    skipped = ""
    for name, word, found in (("target", item.target, targets), ("foil", item.foil, foils)):
        if word and len(found) != 1:
            skipped = skipped or f"{name} is several words"
        elif word and found[0] == vocabulary.unk_id:
            skipped = skipped or f"{name} unknown"
    if not skipped and targets == foils:
        skipped = "target and foil are one word"
    return skipped, unknown, _Text(ids, targets[0] if targets else 0, foils[0] if foils else None)


def _encode_sentences(reader: Reader, item: Item) -> tuple[str, tuple[str, ...], _Text]:
    """The same for two sentences, which are compared only if every word that one of them has more often is known."""
    vocabulary = reader.vocabulary
    good, bad = read_prompt(vocabulary, item.target), read_prompt(vocabulary, item.foil)
    words = [
        _unknown_words(vocabulary, text) if vocabulary.unk_id in ids else ()
        for text, ids in ((item.target, good), (item.foil, bad))
    ]
    skipped = ""
    if set(words[0]) != set(words[1]) or good.count(vocabulary.unk_id) != bad.count(
        vocabulary.unk_id
    ):
        skipped = "target unknown" if set(words[0]) - set(words[1]) else "foil unknown"
    elif good == bad:
        skipped = "target and foil are one word"
    return skipped, tuple(dict.fromkeys((*words[0], *words[1]))), _Text(good, other=tuple(bad))


def _unknown_words(vocabulary: Vocabulary, text: str) -> tuple[str, ...]:
    """The words that a vocabulary lacks, each once, in their order."""
    words, ids = vocabulary.split_text(text), vocabulary.encode_text(text)
    return tuple(
        dict.fromkeys(
            word for word, number in zip(words, ids, strict=True) if number == vocabulary.unk_id
        )
    )
