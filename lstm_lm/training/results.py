"""What was measured of a run after its training: ``results.json`` in its run directory.

``lstm-lm evaluate`` adds the perplexity of a split of the run's own corpus, ``lstm-lm probe`` the
answers to its suites. The model card shows both. The results are those of the weights that are in
the run directory; when the weights change, they are dropped.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lstm_lm.errors import RunDirectoryError
from lstm_lm.files.run_files import FORMAT_VERSION, RESULTS_FILE, WEIGHTS_FILE, read_json
from lstm_lm.files.seal import UNSEALED, sealed
from lstm_lm.files.tensors import open_tensors

# The figures of a suite that are kept. Words of the questions are not among them.
PROBE_FIGURES = (
    "items",
    "skipped",
    "accuracy",
    "accuracy_interval",
    "accuracy_chance",
    "pairs",
    "pair_accuracy",
    "pair_accuracy_chance",
    "top_1",
    "top_5",
)


@dataclass(frozen=True)
class Results:
    """What was measured of some weights.

    Attributes:
        perplexities: one for each split, source and way to carry the state: ``split``, ``source``,
            ``perplexity``, ``tokens``, ``oov_tokens`` and ``state``.
        probes: name of a suite -> `PROBE_FIGURES` of its report.
        forgetting: of a run that started from another model: ``before`` and ``after``, the
            perplexity of both on the valid split of the other's corpus, and ``tokens``.
    """

    perplexities: Sequence[Mapping[str, Any]] = ()
    probes: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    forgetting: Mapping[str, Any] | None = None

    def joined_with(self, later: Results) -> Results:
        """Returns both; where both have the same measure, the later one."""
        measures = {_key(found): found for found in (*self.perplexities, *later.perplexities)}
        return Results(
            list(measures.values()),
            {**self.probes, **later.probes},
            later.forgetting or self.forgetting,
        )


def _key(found: Mapping[str, Any]) -> tuple[Any, ...]:
    return found["split"], found["source"], found["state"]


def weights_id(folder: Path) -> str:
    """Returns what tells the weights of a run directory from others: the run's id and the step.

    Raises:
        RunDirectoryError: they are missing or damaged.
    """
    with open_tensors(folder / WEIGHTS_FILE) as (_, header):
        return f"{header.get('run_id')} {header.get('step')}"


def read_results(folder: Path) -> Results:
    """Reads the results of a run's present weights; they are empty if there are none.

    Raises:
        RunDirectoryError: the weights are missing or damaged.
    """
    try:
        content = read_json(folder / RESULTS_FILE)
    except RunDirectoryError:  # missing, or damaged: it can be measured again
        return Results()
    if content.get("weights") != weights_id(folder):
        return Results()
    return Results(content["perplexities"], content["probes"], content.get("forgetting"))


def results_json(results: Results, weights: str) -> bytes:
    """Returns the content of ``results.json``.

    Args:
        results: of these weights.
        weights: their `weights_id`.
    """
    content = {
        "checksum": UNSEALED,
        "format_version": FORMAT_VERSION,
        "weights": weights,
        "perplexities": list(results.perplexities),
        "probes": dict(results.probes),
        "forgetting": results.forgetting,
    }
    return sealed((json.dumps(content, indent=2, ensure_ascii=False) + "\n").encode())
