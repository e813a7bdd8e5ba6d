"""Tables as people read them in a terminal."""

from __future__ import annotations

from collections.abc import Sequence

from lstm_lm.cli.texts import printable


def print_table(lines: Sequence[Sequence[str]]) -> None:
    """Prints lines of cells, the first column left-aligned and the others right-aligned; the first line is the head."""
    lines = [[printable(cell) for cell in line] for line in lines]
    widths = [max(len(line[k]) for line in lines) for k in range(len(lines[0]))]
    for first, *others in lines:
        print(first.ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(others, widths[1:], strict=True)),
              sep="  ")


def shown(value: float | None, form: str) -> str:
    """A number in a format; nothing where there is none."""
    return "" if value is None else format(value, form)


def shown_share(share: float | None, interval: Sequence[float] | None) -> str:
    """A share of 1 in percent, with its interval."""
    return shown(share, ".1%") + (" [{:4.1f}, {:5.1f}]".format(*(100 * end for end in interval)) if interval else "")


def shown_reach(reach: float | None, beyond: float | None) -> str:
    """How far a memory reaches in words, or how far it was asked if it reaches farther."""
    return f"> {beyond:,.0f}" if beyond else shown(reach, ",.0f")
