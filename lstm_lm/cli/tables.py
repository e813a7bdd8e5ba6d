"""Results as people read them in a terminal, or as JSON for programs."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from lstm_lm.printing import print_line, printable, printable_json

if TYPE_CHECKING:
    from lstm_lm.evaluation.accuracy import Accuracy, Ranking
    from lstm_lm.model.scoring import Perplexity
    from lstm_lm.training.run_evaluation import Adapted


def print_json(value: Any) -> None:
    """Prints a value as one line of JSON, at once, also into a pipe."""
    print(printable_json(json.dumps(value, ensure_ascii=False)), flush=True)


def print_perplexity(
    result: Perplexity,
    normalization: str,
    source_perplexity: float | None,
    title: str,
    *,
    as_json: bool = False,
    reading: str = "",
    sources: Mapping[str, Any] | None = None,
    accuracy: Accuracy | None = None,
    adapted: Adapted | None = None,
    **first: int,
) -> None:
    """Prints a perplexity and what is needed to compare it with another.

    Args:
        result: the perplexity.
        normalization: over which words the probabilities sum to 1.
        source_perplexity: of the process that wrote the text, if known; not part of the JSON.
        title: the beginning of the line.
        as_json: print one JSON object instead.
        reading: part of the JSON if there is one: how the text was read.
        sources: part of the JSON if there are any: the figures of all sources of a mix, by name.
        accuracy: how often the model is right, if it was measured.
        adapted: the same text with adaptation, if it was measured.
        first: what the JSON object begins with.
    """
    if as_json:
        figures = perplexity_figures(result) | {"normalization": normalization}
        figures |= adapted_figures(result, adapted)
        figures |= accuracy_figures(accuracy) if accuracy else {}
        more = {"reading": reading, "sources": sources}
        print_json(first | figures | {key: value for key, value in more.items() if value})
        return
    print_line(f"{title}: perplexity {result}, {normalization}")
    if source_perplexity is not None:
        print_line(f"the source itself: {source_perplexity:.2f}")
    if adapted:
        kinds = ", ".join(adapted.adaptation.kinds)
        print_line(f"with {kinds}: perplexity {adapted.perplexity.perplexity:.2f}")
    if accuracy:
        if adapted:
            print_line("accuracy and keystrokes are those of the model without adaptation:")
        _print_accuracy(accuracy)


def _print_accuracy(accuracy: Accuracy) -> None:
    """Prints how often a model is right, each figure with its number of tokens."""
    rows = [["", *(f"top {k}" for k in accuracy.words.top), "mean reciprocal rank", "tokens"]]
    for title, ranking in (("known words", accuracy.words), ("all tokens", accuracy.all_tokens)):
        shares = [_measured(share, ".1%") for share in ranking.top.values()]
        mean = _measured(ranking.mean_reciprocal_rank, ".3f")
        rows.append([title, *shares, mean, f"{ranking.tokens:,}"])
    print_table(rows)
    words = f"{accuracy.words.tokens:,} known words"
    print_line(
        f"keystrokes saved: {_measured(accuracy.keystrokes_saved, '.1%')} of "
        f"{accuracy.letters:,} ({words}, three completions on offer)"
    )
    print_line(
        f"perplexity of known words: {_measured(accuracy.perplexity_known, '.2f')} ({words})"
    )
    print_line(
        f"bits per character: {_measured(accuracy.bits_per_character, '.3f')} "
        f"({accuracy.characters:,} characters of {accuracy.known_text_tokens:,} tokens, without "
        "<unk>)"
    )


def _measured(value: float, form: str) -> str:
    """A number in a format; ``none`` if nothing was measured."""
    return "none" if math.isnan(value) else format(value, form)


def accuracy_figures(accuracy: Accuracy) -> dict[str, Any]:
    """How often a model is right, for JSON; None where there was nothing to measure."""
    words = _ranking_figures(accuracy.words)
    return words | {
        "keystrokes_saved": _number(accuracy.keystrokes_saved),
        "perplexity_known": _number(accuracy.perplexity_known),
        "known_tokens": accuracy.words.tokens,
        "letters": accuracy.letters,
        "bits_per_character": _number(accuracy.bits_per_character),
        "bits_per_character_tokens": accuracy.known_text_tokens,
        "characters": accuracy.characters,
        "all_tokens": _ranking_figures(accuracy.all_tokens)
        | {"tokens": accuracy.all_tokens.tokens},
    }


def _ranking_figures(ranking: Ranking) -> dict[str, float | None]:
    top = {f"top_{k}": _number(share) for k, share in ranking.top.items()}
    return top | {"mean_reciprocal_rank": _number(ranking.mean_reciprocal_rank)}


def _number(value: float) -> float | None:
    """A number for JSON; None if nothing was measured."""
    return None if math.isnan(value) else value


def perplexity_figures(result: Perplexity) -> dict[str, Any]:
    """A perplexity and what is needed to compare it, for JSON."""
    return {
        "perplexity": result.perplexity,
        "nll": result.nll,
        "tokens": result.tokens,
        "oov_tokens": result.oov_tokens,
        "state": result.state,
    }


def adapted_figures(without: Perplexity, adapted: Adapted | None) -> dict[str, Any]:
    """What replaces and follows the figures of a perplexity, for JSON; empty without adaptation.

    Args:
        without: the perplexity of the model as it is.
        adapted: the same text with adaptation.
    """
    if adapted is None:
        return {}
    settings = adapted.adaptation
    return {
        "perplexity": adapted.perplexity.perplexity,
        "nll": adapted.perplexity.nll,
        "perplexity_without": without.perplexity,
        "with": {kind: asdict(getattr(settings, kind)) for kind in settings.kinds},
        "gain_by_distance": [
            {
                "from": gain.first,
                "to": gain.last,
                "tokens": gain.tokens,
                "bits_per_token": gain.bits_per_token,
            }
            for gain in adapted.gains
        ],
    }


def print_table(lines: Sequence[Sequence[str]]) -> None:
    """Prints rows of cells; the first column is left-aligned, the others are right-aligned."""
    lines = [[printable(cell) for cell in line] for line in lines]
    widths = [max(len(line[k]) for line in lines) for k in range(len(lines[0]))]
    for first, *others in lines:
        cells = [cell.rjust(width) for cell, width in zip(others, widths[1:], strict=True)]
        print_line("  ".join([first.ljust(widths[0]), *cells]).rstrip())


def shown(value: float | None, form: str) -> str:
    """A number in a format; empty for None."""
    return "" if value is None else format(value, form)


def shown_share(share: float | None, interval: Sequence[float] | None) -> str:
    """A share of 1 in percent, with its confidence interval."""
    if not interval:
        return shown(share, ".1%")
    low, high = (100 * end for end in interval)
    return f"{shown(share, '.1%')} [{low:4.1f}, {high:5.1f}]"


def shown_reach(reach: float | None, beyond: float | None) -> str:
    """How far a memory reaches, in words; ``> 50`` if it reaches beyond the farthest question."""
    return f"> {beyond:,.0f}" if beyond else shown(reach, ",.0f")


def shown_distance(row: Mapping[str, Any]) -> str:
    """The distances of a row of a probe's report, such as ``3 to 5 words``."""
    first, last = row["from"], row["to"]
    return f"{first:,} words" if first == last else f"{first:,} to {last:,} words"


def shown_bytes(size: int) -> str:
    """A number of bytes, such as ``1.5 MB`` (1 MB is 1,000,000 bytes)."""
    if size < 1000:
        return f"{size} B"
    value, unit = size / 1e3, "kB"
    for larger in ("MB", "GB", "TB"):
        if value >= 999.5:
            value, unit = value / 1e3, larger
    return f"{value:.1f} {unit}"


def shown_seconds(seconds: float) -> str:
    """A time in the unit that fits it, such as ``12 s``, ``3.5 min`` or ``2.1 h``."""
    if seconds < 120:
        return f"{seconds:.2g} s" if seconds < 10 else f"{seconds:.0f} s"
    if seconds < 2 * 3600:
        return f"{seconds / 60:.1f} min"
    return f"{seconds / 3600:.1f} h"
