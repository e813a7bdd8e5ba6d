"""What a world never says together: what the probe suites ask.

A model must not be able to answer a suite by repeating a story. A sentence is named by its role and
its number in this role, such as ``cue 0``: the first cue of the lists. A return that is listed
beside a clue never follows it in a story, at any distance.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class World:
    """What a world never says together.

    Attributes:
        returns: by clue and by the role of the return, the numbers of the returns.
        words: pairs of groups; in a sentence no word of the second follows one of the first.
    """

    returns: Mapping[str, Mapping[str, frozenset[str]]]
    words: Sequence[tuple[Sequence[str], Sequence[str]]] = ()

    def never_after(self, clue: str, role: str) -> frozenset[str]:
        """Returns the numbers of the sentences of a role that never return to a clue."""
        return self.returns.get(clue, {}).get(role, frozenset())


def _never(role: str, *numbers: int) -> dict[str, frozenset[str]]:
    return {role: frozenset(map(str, numbers))}


# Cue -> answer in the small world. The suite `biographies` asks for one after the other.
NEVER_TOGETHER = {0: "0", 1: "2", 2: "4", 3: "3"}

# The wide world has all sentences of the small one. It keeps every cue of the suites apart from
# every answer that they ask for: their shortest questions have nothing in between.
_ASKED = _never("answer", 0, 1, 2, 3, 4, 5, 6, 7)
_FOUND_TODAY = _never("find it", 0) | _never("find them", 0)
_ITEMS = "key coin letter ring stamp ticket button shell".split()
_CONTAINERS = "box bag jar bowl cup table door".split()

WORLDS = {
    "small": World({f"cue {cue}": _never("answer", int(n)) for cue, n in NEVER_TOGETHER.items()}),
    "wide": World(
        {
            **{f"cue {cue}": _ASKED for cue in NEVER_TOGETHER},
            **{f"lose {number}": _FOUND_TODAY for number in (0, 1)},
            "move 0": _never("moved", 0),
            "trade 0": _never("about", 0, 1, 3, 4, 6),
        },
        [
            (_ITEMS, [*_CONTAINERS, "boxes", *(f"{word}s" for word in _CONTAINERS)]),
            (["Vignesh"], ["Maria"]),
            (["Maria"], ["Vignesh"]),
        ],
    ),
}
