"""The rows of other logs: one for each step, made of the lines of ``metrics.jsonl``."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

# Figures of a line of metrics.jsonl that keep their names; the others get their split's.
_OF_THE_RUN = ("epoch", "words", "learning_rate", "grad_norm", "skipped_updates")
_OF_A_SPLIT = ("loss", "perplexity")


@dataclass(frozen=True)
class Row:
    """What is logged of a step.

    Attributes:
        step: optimizer updates.
        figures: name -> number, such as ``train/loss``.
        samples: prompt -> continuation.
        curve: the picture of the training curve, if it is new.
    """

    step: int
    figures: Mapping[str, float]
    samples: Mapping[str, str]
    curve: Path | None = None


class RowBuilder:
    """Makes rows of the lines of ``metrics.jsonl``; the lines of a step are one row."""

    def __init__(self) -> None:
        self._row: Row | None = None
        self._before: tuple[int, float] | None = None  # words and seconds of the last line

    def add(self, line: Mapping[str, Any], seconds: float | None) -> Row | None:
        """Adds a line.

        Args:
            line: of ``metrics.jsonl``.
            seconds: wall time of the run when it was written; None if that is lost.

        Returns:
            The row of the step before, if this line is of another step.
        """
        finished = None
        if self._row and self._row.step != line["step"]:
            finished = self.take()
        row = self._row or Row(line["step"], {}, {})
        figures = dict(row.figures) | _figures(line)
        if seconds is not None:
            figures["seconds"] = seconds
            if self._before and line["split"] == "train" and seconds > self._before[1]:
                words = line["words"] - self._before[0]
                figures["words_per_second"] = words / (seconds - self._before[1])
            self._before = line["words"], seconds
        self._row = replace(row, figures=figures, samples=line.get("samples", row.samples))
        return finished

    def take(self) -> Row | None:
        """Returns the row that the last lines are, and begins another."""
        row, self._row = self._row, None
        return row


def _figures(line: Mapping[str, Any]) -> dict[str, float]:
    split = line["split"]
    figures = {name: line[name] for name in _OF_THE_RUN if name in line}
    figures |= {f"{split}/{name}": line[name] for name in _OF_A_SPLIT}
    for source, of_source in line.get("sources", {}).items():
        figures |= {f"{split}/{source}/{name}": of_source[name] for name in _OF_A_SPLIT}
    return {name: value for name, value in figures.items() if math.isfinite(value)}
