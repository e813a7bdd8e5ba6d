"""Which combination a search tries next; uses `optuna`, which is an extra (``lstm_lm[search]``).

Nothing is kept between two questions: the answer depends on the trials so far and on the seed
alone. So a search that was stopped continues as if it had not been, and nothing of optuna's is
stored.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from lstm_lm.errors import InputError
from lstm_lm.training.sweep_settings import Axis, Values

SAMPLERS = ("tpe", "random")
# TPE draws so many trials at random before it learns from them.
RANDOM_TRIALS = 10
MOST_REPEATS = 50  # how often the same combination is proposed before there is nothing new


@dataclass(frozen=True)
class Trial:
    """A combination that was tried, or is being tried.

    Attributes:
        values: of every axis.
        perplexity: the mean of the seeds; infinite if one of them diverged; None if it is not known
            yet, or never will be.
    """

    values: Values
    perplexity: float | None


def import_optuna() -> ModuleType:
    """Imports optuna.

    Raises:
        InputError: it is not installed.
    """
    try:
        import optuna
    except ImportError:
        raise InputError(
            "--search: needs optuna, which is not installed; pip install 'lstm_lm[search]'"
        ) from None
    return optuna


@contextmanager
def _without_messages(optuna: ModuleType) -> Iterator[None]:
    """While entered, optuna prints errors only."""
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        yield
    finally:
        optuna.logging.set_verbosity(before)


def propose(
    axes: Sequence[Axis], trials: Sequence[Trial], *, sampler: str, seed: int
) -> dict[str, str] | None:
    """Returns the combination to try next.

    Args:
        axes: what is varied.
        trials: all trials so far, in their order.
        sampler: ``tpe`` (tree-structured Parzen estimator, Bergstra et al. 2011) or ``random``.
        seed: of the search.

    Returns:
        A value for every axis, which no trial has; None if every combination seems to be tried.

    Raises:
        InputError: optuna is not installed.
    """
    optuna = import_optuna()
    distributions = {axis.key: _distribution(optuna, axis) for axis in axes}
    tried = [dict(trial.values) for trial in trials]
    for repeat in range(MOST_REPEATS):
        of_this = (seed * 1_000_003 + len(trials)) * MOST_REPEATS + repeat
        with _without_messages(optuna):
            study = _study(optuna, axes, trials, distributions, sampler, of_this % 2**32)
            found = study.ask(distributions).params
        values = {axis.key: _text(axis, found[axis.key]) for axis in axes}
        if values not in tried:
            return values
    return None


def _study(
    optuna: ModuleType,
    axes: Sequence[Axis],
    trials: Sequence[Trial],
    distributions: dict[str, Any],
    sampler: str,
    seed: int,
) -> Any:
    """A study in memory with all trials so far."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # `constant_liar` is called experimental
        chosen = (
            optuna.samplers.RandomSampler(seed=seed)
            if sampler == "random"
            else optuna.samplers.TPESampler(
                seed=seed,
                n_startup_trials=RANDOM_TRIALS,
                multivariate=True,
                constant_liar=True,  # keeps away from the trials that are running
            )
        )
    study = optuna.create_study(sampler=chosen)
    states = optuna.trial.TrialState
    for trial in trials:
        known = trial.perplexity is not None
        study.add_trial(
            optuna.trial.create_trial(
                state=states.COMPLETE if known else states.RUNNING,
                value=trial.perplexity,
                params={axis.key: _value(axis, trial.values[axis.key]) for axis in axes},
                distributions=distributions,
            )
        )
    return study


def _distribution(optuna: ModuleType, axis: Axis) -> Any:
    span = axis.range
    if span is None:
        return optuna.distributions.CategoricalDistribution(axis.values)
    if span.whole:
        return optuna.distributions.IntDistribution(
            int(span.low), int(span.high), log=span.logarithmic
        )
    return optuna.distributions.FloatDistribution(span.low, span.high, log=span.logarithmic)


def _value(axis: Axis, text: str) -> Any:
    """What optuna calls a value."""
    if axis.range is None:
        return text
    return int(text) if axis.range.whole else float(text)


def _text(axis: Axis, value: Any) -> str:
    """What the command line calls a value."""
    return str(value) if axis.range is None else axis.range.text(value)
