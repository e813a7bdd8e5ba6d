"""Finding the words of a vocabulary by their beginning, or with upper and lower case as equal."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from functools import cached_property
from itertools import islice, takewhile


class WordSearch:
    """The words of a vocabulary in alphabetical order.

    ``<unk>`` and ``<eos>`` are no words that one types, and never found. Threads may share a
    search: two may make the same list at once, which does no harm.

    Args:
        words: by id; the first two are ``<unk>`` and ``<eos>``.
    """

    def __init__(self, words: Sequence[str]) -> None:
        self._words = words

    def beginning(self, prefix: str, *, any_case: bool = False) -> list[int]:
        """Returns the ids of the words that begin with a prefix, in exactly this spelling.

        They ascend, so the most frequent word is the first.

        Args:
            prefix: in the corpus's own form; see `Vocabulary.normalize`.
            any_case: whether upper and lower case are taken as equal.
        """
        prefix = prefix.casefold() if any_case else prefix
        words = self._folded if any_case else self._sorted
        start = bisect_left(words, (prefix, 0))
        found = takewhile(lambda pair: pair[0].startswith(prefix), islice(words, start, None))
        return sorted(number for _, number in found)

    def of_any_case(self, word: str) -> list[int]:
        """Returns the ids of a word, with upper and lower case taken as equal."""
        folded = word.casefold()
        start = bisect_left(self._folded, (folded, 0))
        found = takewhile(lambda pair: pair[0] == folded, islice(self._folded, start, None))
        return [number for _, number in found]

    @cached_property
    def _sorted(self) -> list[tuple[str, int]]:
        return sorted((word, number) for number, word in enumerate(self._words[2:], 2))

    @cached_property
    def _folded(self) -> list[tuple[str, int]]:
        return sorted((word.casefold(), number) for word, number in self._sorted)
