"""Linear regression, and how much better one predicts with more predictors; NumPy only.

The figure of merit of models of reading is the gain in log-likelihood (Goodkind and Bicknell 2018):
how much more probable measured times are if surprisal is a predictor too. It is cross-validated, so
that predictors without use bring no gain.

Shapes: N measurements, K predictors.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from lstm_lm.errors import InputError


@dataclass(frozen=True)
class Regression:
    """A linear regression by least squares: ``y = X b + noise``, the noise being normal.

    Attributes:
        coefficients: b, ``(K,)``.
        standard_errors: of each coefficient, ``(K,)``; of noise with equal variance.
        variance: of the noise, the maximum likelihood estimate RSS / N.
        log_likelihood: of the measurements, in nats.
    """

    coefficients: np.ndarray
    standard_errors: np.ndarray
    variance: float
    log_likelihood: float


def fit(predictors: np.ndarray, measured: np.ndarray) -> Regression:
    """Fits a regression.

    Args:
        predictors: X ``(N, K)``; a column of ones if there is an intercept.
        measured: y ``(N,)``.

    Raises:
        InputError: there are too few measurements, or the predictors explain them without rest.
    """
    count, size = predictors.shape
    if count <= size + 1:
        raise InputError(
            f"{count} measurements are too few for {size} coefficients; give more words with a time"
        )
    inverse = np.linalg.pinv(predictors)
    coefficients = inverse @ measured
    rest = float(((measured - predictors @ coefficients) ** 2).sum())
    variance = rest / count
    if variance <= 1e-24 * max(1.0, float((measured**2).mean())):
        raise InputError(
            "the times are predicted without any error, so no log-likelihood can be compared; "
            "check that they are measured times"
        )
    errors = np.sqrt((inverse**2).sum(1) * rest / (count - size))
    found = _log_densities(predictors, measured, coefficients, variance)
    return Regression(coefficients, errors, variance, float(found.sum()))


def held_out_log_likelihoods(
    predictors: np.ndarray, measured: np.ndarray, folds: np.ndarray
) -> np.ndarray:
    """Returns each measurement's log-likelihood (nats) under a fit to all other folds, ``(N,)``.

    Args:
        predictors: ``(N, K)``.
        measured: ``(N,)``.
        folds: the number of each measurement's fold, ``(N,)``.

    Raises:
        InputError: see `fit`.
    """
    found = np.empty(len(measured))
    for fold in np.unique(folds):
        inside = folds == fold
        model = fit(predictors[~inside], measured[~inside])
        found[inside] = _log_densities(
            predictors[inside], measured[inside], model.coefficients, model.variance
        )
    return found


def mean_and_error(values: np.ndarray, items: np.ndarray) -> tuple[float, float]:
    """Returns the mean of values, and its standard error if values of one item go together.

    With ``d_i`` the sum of an item's deviations from the mean, and I items, the error is
    ``sqrt(I / (I - 1) sum d_i^2) / N``.

    Args:
        values: ``(N,)``.
        items: the number of each value's item, ``(N,)``; at least two different ones.
    """
    mean = float(values.mean())
    _, places = np.unique(items, return_inverse=True)
    sums = np.bincount(places, weights=values - mean)
    count = len(sums)
    return mean, math.sqrt(count / (count - 1) * float((sums**2).sum())) / len(values)


def _log_densities(
    predictors: np.ndarray, measured: np.ndarray, coefficients: np.ndarray, variance: float
) -> np.ndarray:
    deviations = measured - predictors @ coefficients
    return -0.5 * (math.log(2 * math.pi * variance) + deviations**2 / variance)
