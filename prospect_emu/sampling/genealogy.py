"""Errors of a nested-sampling run from one run alone: who descends from whom.

A new live point begins as a copy of another and walks. Where the walks forget where they
began, descendants of one ancestor are no more alike than others; where they do not, the run
holds as many independent points as ancestors. The variance between clans, as in
particle filters (Chan & Lai 2013, Ann. Stat. 41, 2877; Lee & Whiteley 2018, Biometrika 105,
609), tells without a second run.
"""

from dataclasses import dataclass

import numpy as np

# See `errors`.
_LAG, _STUCK = 5.0, 0.995


@dataclass(frozen=True)
class Errors:
    """What a run does not know of its posterior.

    Attributes
    ----------
    mean : ndarray, shape (ndim,)
        Standard errors of the posterior means of the coordinates of the unit cube, in
        posterior standard deviations.
    logz : float
        Standard error of ln Z.
    n_clan : float
        Effective number of ancestors.
    """

    mean: np.ndarray
    logz: float
    n_clan: float

    @property
    def n_effective(self):
        """Independent samples that would give the mean of the worst parameter as well."""
        return float(1.0 / np.max(self.mean) ** 2)


def clans(births, ids, born, nlive):
    """Ancestor of each sample of an initial run.

    Parameters
    ----------
    births : sequence of int
        Clan of the point born in each iteration, the first of which is 1.
    ids, born : ndarray of int, shape (n,)
        dynesty's ``samples_id`` and ``samples_it``.
    nlive : int
    """
    first = np.arange(nlive)
    return np.where(born > 0, np.append(births, first)[born - 1], ids)


def errors(clan, samples, weights, information, nlive, correlation=np.nan):
    """Errors of means and ln Z.

    Parameters
    ----------
    clan : ndarray of int, shape (n,)
    samples : ndarray, shape (n, ndim)
    weights : ndarray, shape (n,)
        They sum to 1.
    information : float
        The Kullback-Leibler divergence H of the posterior from the prior.
    nlive : int
    correlation : float
        Of the ends of the last walks with their starts, in the worst coordinate. What all
        clans have in common, that they lag behind the falling volume, the variance between
        them does not show: errors are raised by ``sqrt(1 + t / 5)``, with ``t`` the number of
        e-folds of the volume, one walk each, after which a walk is forgotten. Measured
        (docs/sampling.md), not derived.

    Returns
    -------
    Errors
    """
    _, clan = np.unique(clan, return_inverse=True)
    mean = weights @ samples
    sigma = np.sqrt(weights @ (samples - mean) ** 2)
    sums = np.zeros((clan.max() + 1, samples.shape[1]))
    np.add.at(sums, clan, weights[:, None] * (samples - mean))
    share = np.bincount(clan, weights)
    of_mean = np.sqrt((sums**2).sum(axis=0)) / np.where(sigma > 0, sigma, 1.0)
    # Of perfect walks, clans grow and shrink by chance alone, which is no error of ln Z.
    excess = np.sum(share**2) - information / nlive
    of_logz = np.sqrt(max(excess, information / nlive))
    lag = np.sqrt(1.0 + _e_folds(correlation) / _LAG)
    return Errors(lag * of_mean, float(lag * of_logz), float(1.0 / np.sum(share**2)))


def _e_folds(correlation):
    """Walks after which a correlation has fallen by e."""
    if not correlation > 0:
        return 0.0
    return -1.0 / np.log(min(correlation, _STUCK))


def combined(runs):
    """Errors of several equal runs together."""
    n = len(runs)
    mean = np.sqrt(np.sum([e.mean**2 for e in runs], axis=0)) / n
    logz = float(np.sqrt(np.sum([e.logz**2 for e in runs])) / n)
    return Errors(mean, logz, float(sum(e.n_clan for e in runs)))
