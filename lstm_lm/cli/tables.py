"""Results as people read them in a terminal, or programs as JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

from lstm_lm.cli.texts import printable

if TYPE_CHECKING:
    from lstm_lm.corpus.sources import Source
    from lstm_lm.model.scoring import Perplexity


def print_perplexity(
    result: Perplexity,
    normalization: str,
    source: Source,
    split: str,
    name: str,
    *,
    as_json: bool,
    **described: int,
) -> None:
    """Prints a perplexity with all that is needed to compare it, and beside it the source's own where that is known.

    Args:
        result: of a split of the source.
        normalization: over what the probabilities sum to 1.
        source: what was read.
        split: of it.
        name: what the line begins with.
        as_json: print a line of JSON instead, without the source's own.
        described: what it begins with.
    """
    from lstm_lm.model.scoring import perplexity_from

    if as_json:
        print(
            json.dumps(
                {
                    **described,
                    "perplexity": result.perplexity,
                    "nll": result.nll,
                    "tokens": result.tokens,
                    "oov_tokens": result.oov_tokens,
                    "state": result.state,
                    "normalization": normalization,
                }
            )
        )
        return
    print(f"{name}: perplexity {result}, {normalization}")
    if (source_nll := source.nll(split)) is not None:
        print(f"the source itself: {perplexity_from(source_nll, result.tokens):.2f}")


def print_table(lines: Sequence[Sequence[str]]) -> None:
    """Prints lines of cells, the first column left-aligned and the others right-aligned; the first line is the head."""
    lines = [[printable(cell) for cell in line] for line in lines]
    widths = [max(len(line[k]) for line in lines) for k in range(len(lines[0]))]
    for first, *others in lines:
        print(
            first.ljust(widths[0]),
            *(cell.rjust(width) for cell, width in zip(others, widths[1:], strict=True)),
            sep="  ",
        )


def shown(value: float | None, form: str) -> str:
    """A number in a format; nothing where there is none."""
    return "" if value is None else format(value, form)


def shown_share(share: float | None, interval: Sequence[float] | None) -> str:
    """A share of 1 in percent, with its interval."""
    return shown(share, ".1%") + (
        " [{:4.1f}, {:5.1f}]".format(*(100 * end for end in interval)) if interval else ""
    )


def shown_reach(reach: float | None, beyond: float | None) -> str:
    """How far a memory reaches in words, or how far it was asked if it reaches farther."""
    return f"> {beyond:,.0f}" if beyond else shown(reach, ",.0f")
