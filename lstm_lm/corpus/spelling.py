"""Words that are spelled alike: where the vectors of new words come from."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence

_SHORTEST, _LONGEST = 3, 6  # characters of the pieces that are compared
_MOST_SHARED = 2000  # a piece that more words than this have says nothing about a word


def alike(
    words: Sequence[str], known: Sequence[str], neighbours: int = 10
) -> list[list[tuple[int, float]]]:
    """Finds, for each word, the known words that share most with its spelling.

    Likeness is the cosine between the sets of pieces of 3 to 6 letters, as in fastText; the
    beginning and the end of a word count as letters, and a capital is one piece more.

    Args:
        words: to find neighbours for.
        known: among which.
        neighbours: how many at most.

    Returns:
        For each word, the places in ``known`` and the likeness in (0, 1], the most alike first;
        empty if it shares nothing with any.

    Source: Bojanowski et al. 2017 (arXiv 1607.04606), for the pieces.
    """
    places: dict[str, list[int]] = defaultdict(list)
    sizes = []
    for place, word in enumerate(known):
        pieces = _pieces(word)
        sizes.append(len(pieces))
        for piece in pieces:
            places[piece].append(place)
    found = []
    for word in words:
        pieces, shared = _pieces(word), Counter[int]()
        for piece in pieces:
            if len(having := places.get(piece, ())) <= _MOST_SHARED:
                shared.update(having)
        scored = [
            (count / (len(pieces) * sizes[place]) ** 0.5, place) for place, count in shared.items()
        ]
        best = sorted(scored, key=lambda pair: (-pair[0], pair[1]))[:neighbours]
        found.append([(place, score) for score, place in best])
    return found


def _pieces(word: str) -> set[str]:
    marked = f"<{word.lower()}>"
    pieces = {
        marked[start : start + length]
        for length in range(_SHORTEST, _LONGEST + 1)
        for start in range(len(marked) - length + 1)
    }
    return pieces | {marked, "A" if word[:1].isupper() else "a"}
