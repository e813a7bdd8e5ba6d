"""Suites through real text: sentences of a text stand between clue and question.

A suite's own fillers are simple sentences, all of the same kind. Here they are replaced by whole
sentences of a real text, such as the run's own valid split. The clue, the question and the answers
stay as they are.

A sentence is not used if it has a word that is an answer of the suite (a target or a foil), or by
which the items of a pair differ (their clues): it could give the answer away, or contradict it.
Capital and small letters are not told apart for this.

Both items of a pair have the same sentences. They follow one another as in the text, from a place
on that depends on the suite and the pair alone. A sentence is left out if it would make the
distance greater than that of the suite's item. So the distance is a little smaller, and it is the
one that is reported.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from random import Random

from lstm_lm.corpus.sentences import Sentence, iterate_sentences
from lstm_lm.corpus.vocabulary import Vocabulary
from lstm_lm.corpus.windows import TokenIds
from lstm_lm.probes.encoding import differing_words
from lstm_lm.probes.items import Item
from lstm_lm.probes.suites import Suite

MOST_WORDS = 1_000_000  # of a text that are read


@dataclass(frozen=True)
class RealText:
    """The whole sentences of a text.

    Attributes:
        name: what the text is called, such as ``valid``.
        vocabulary: of the ids.
        sentences: in the order of the text.
        is_cut: whether the text has more than `MOST_WORDS` words, of which the first were read.
    """

    name: str
    vocabulary: Vocabulary
    sentences: Sequence[Sentence]
    is_cut: bool = False

    @classmethod
    def from_tokens(cls, name: str, tokens: TokenIds, vocabulary: Vocabulary) -> RealText:
        """Divides a text into sentences.

        Args:
            name: what the text is called.
            tokens: its ids.
            vocabulary: of the ids.
        """
        sentences = tuple(iterate_sentences(tokens, vocabulary, MOST_WORDS))
        return cls(name, vocabulary, sentences, len(tokens) > MOST_WORDS)


class FilledSuite:
    """A suite with sentences of a real text in place of its own fillers.

    Iterating over it yields its items. Those of the suite that have no `clue` are left out.

    Attributes:
        suite: the suite.
        name: of both, such as ``capital through valid``.
        item_count: number of items.
        note: one line for people: how many sentences can be used, and what is left out.
    """

    def __init__(self, suite: Suite, text: RealText) -> None:
        """Reads the suite and chooses the sentences that can be used.

        Args:
            suite: some of its items have a clue; see `can_be_filled`.
            text: the sentences.
        """
        self.suite, self._text = suite, text
        self.name = f"{suite.name} through {text.name}"
        banned = self._answers_and_clues()
        self._sentences = [one for one in text.sentences if banned.isdisjoint(one)]
        self._words = sum(map(len, self._sentences))
        self._shortest = min(map(len, self._sentences), default=0)
        pairs = [(len(pair), self._is_possible(self._wanted(pair))) for pair in self._pairs()]
        self.item_count = sum(size for size, is_possible in pairs if is_possible)
        self.note = self._describe(sum(size for size, _ in pairs))

    def __iter__(self) -> Iterator[Item]:
        """Yields the items, in the order of the suite's."""
        for pair in self._pairs():
            wanted = self._wanted(pair)
            if not self._is_possible(wanted):
                continue
            passage = self._choose(wanted, f"{self.suite.name} {pair[0].id}")
            words = self._text.vocabulary.words
            fillers = tuple(words[number] for number in passage)
            yield from (self._fill(item, fillers) for item in pair)

    def _pairs(self) -> Iterator[list[Item]]:
        """Yields the items that have a clue, a pair at a time; an item without a pair is alone."""
        for pair, members in groupby(self.suite, key=lambda item: item.pair):
            items = [item for item in members if item.clue and not item.problem]
            if pair and items:
                yield items
            elif not pair:
                yield from ([item] for item in items)

    def _answers_and_clues(self) -> set[int]:
        """The ids of the words that no sentence may have, in any case."""
        vocabulary, banned = self._text.vocabulary, set[str]()
        split = vocabulary.split_text
        for pair in self._pairs():
            for item in pair:
                answers = (split(item.target), split(item.foil))
                banned.update(words[0].lower() for words in answers if len(words) == 1)
            words = {k: split(f"{item.clue} {item.question}") for k, item in enumerate(pair)}
            for clues in differing_words(pair, words).values():
                banned.update(word.lower() for word in clues)
        return {number for number, word in enumerate(vocabulary.words) if word.lower() in banned}

    def _own_fillers(self, item: Item) -> int:
        """How many words the item's prefix has between clue and question."""
        count = self._text.vocabulary.split_text
        return len(count(item.prefix)) - len(count(item.clue)) - len(count(item.question))

    def _wanted(self, pair: Sequence[Item]) -> int:
        """How many words the sentences of a pair may have at most."""
        return min(map(self._own_fillers, pair))

    def _is_possible(self, wanted: int) -> bool:
        """Whether the text has a sentence that is short enough, and enough words."""
        return wanted == 0 or 0 < self._shortest <= wanted <= self._words

    def _choose(self, wanted: int, seed: str) -> list[int]:
        """The ids of sentences of at most `wanted` words together, and nearly as many."""
        passage: list[int] = []
        first = int(Random(seed).random() * len(self._sentences))
        for sentence in (*self._sentences[first:], *self._sentences[:first]):
            if len(passage) + len(sentence) <= wanted:
                passage += sentence
            if wanted - len(passage) < self._shortest:
                break
        return passage

    def _fill(self, item: Item, fillers: tuple[str, ...]) -> Item:
        """The item with other fillers; without any, as it is."""
        if not fillers:
            return item
        distance = item.distance
        if distance is not None:
            distance += len(fillers) - self._own_fillers(item)
        middle = self._text.vocabulary.display(fillers)
        prefix = f"{item.clue} {middle} {item.question}".strip()
        return replace(item, prefix=prefix, distance=distance, fillers=fillers)

    def _describe(self, items: int) -> str:
        unk, whole = self._text.vocabulary.unk_id, len(self._text.sentences)
        unknown = sum(sentence.count(unk) for sentence in self._sentences)
        share = f", {unknown / self._words:.1%} of them <unk>" if unknown else ""
        note = (
            f"{self.name}: {len(self._sentences):,} of {whole:,} whole sentences can be used "
            f"({self._words:,} words{share}); the others have an answer or a clue of the suite"
        )
        if self._text.is_cut:
            note += f"; only the first {MOST_WORDS:,} words were read"
        if items > self.item_count:
            note += (
                f"; {items - self.item_count:,} of {items:,} items are left out, because there is "
                "no sentence that is short enough, or there are too few"
            )
        return note


def can_be_filled(suite: Suite) -> bool:
    """Whether a suite says of some item where other text can be set: has the column `clue`."""
    return any(item.clue and not item.problem for item in suite)


def fill_suites(
    suites: Sequence[Suite], text: RealText
) -> tuple[list[Suite | FilledSuite], list[str]]:
    """Returns every suite, followed by itself through a text; and notes, a line each.

    Args:
        suites: the suites. One that has no clues, or too long or too short fillers for the text, is
            only asked as it is, and a note says so.
        text: the sentences that are set between clue and question.
    """
    asked: list[Suite | FilledSuite] = []
    without, notes = [], []
    for suite in suites:
        asked.append(suite)
        if not can_be_filled(suite):
            without.append(suite.name)
            continue
        filled = FilledSuite(suite, text)
        if filled.item_count:
            asked.append(filled)
        notes.append(filled.note)
    if without:
        notes.append(
            f"{', '.join(without)}: cannot be asked through {text.name}, because no item says "
            "where clue and question are (columns clue and question, see data/probes/README.md)"
        )
    return asked, notes


def filled_names(suites: Iterable[Suite | FilledSuite]) -> dict[str, str]:
    """Returns, for the name of a suite, the name of the same suite through real text."""
    return {one.suite.name: one.name for one in suites if isinstance(one, FilledSuite)}
