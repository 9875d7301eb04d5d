"""Joint priors of several parameters in closed form, and those that hold tables.

`JOINT` maps the exact class of a prior to a function of (prior, number of
columns) that gives its quantile function, (n, k) of cumulative probabilities to
(n, k) values, its log density, (n, k) to (n,), or None where that is left to the
prior itself, whether the prior's own density can be compared, and the inverse of the
quantile function.
"""

import numpy as np
from prospect.models import priors as prospector
from scipy.special import ndtr, ndtri

from . import priors
from .beta_corrected import CorrectedBeta
from .prior_beta import BETA
from .prior_families import clip


def _mass_metallicity(prior, size):
    """As `priors.MassMet`, where the median metallicity lies above the lower bound.

    There the lower tail is where the precision is needed at every mass.
    """
    lo, hi = prior.range
    if not (priors.gallazzi_relation()[:, 1] > lo[1]).all():
        raise NotImplementedError
    width = hi[0] - lo[0]

    def quantile(u):
        out = np.empty(u.shape)
        mass = lo[0] + u[:, 0] * width
        mean, sigma = priors.MassMet.metallicity_mean_sigma(mass)
        start, end = ndtr((lo[1] - mean) / sigma), ndtr((hi[1] - mean) / sigma)
        out[:, 0] = mass
        out[:, 1] = mean + sigma * ndtri(start + u[:, 1] * (end - start))
        return clip(out, lo, hi)

    return quantile, lambda x: prior(x).sum(axis=-1), True, prior.inverse_unit_transform


def _multivariate_normal(prior, size):
    """Draws as Prospector's, which have mean zero whatever the prior's; density to match.

    Prospector's own density of this prior is not one (it takes covariances for widths).
    """
    covariance = np.reshape(np.asarray(prior.params["Sigma"], dtype=float), (size, size))
    root = np.linalg.cholesky(covariance)
    norm = -np.log(np.diag(root)).sum() - 0.5 * size * np.log(2.0 * np.pi)

    def log_density(x):
        z = np.linalg.solve(root, np.asarray(x, dtype=float).T)
        return norm - 0.5 * (z * z).sum(axis=0)

    def cumulative(x):
        return ndtr(np.linalg.solve(root, np.asarray(x, dtype=float).T).T)

    return lambda u: ndtri(u) @ root.T, log_density, False, cumulative


def _tabulated(prior, size):
    inverse = prior.inverse_unit_transform
    return prior.unit_transform, lambda x: prior(x).sum(axis=-1), True, inverse


def _corrected(prior, size):
    joint = prior.joint
    return joint.quantile, lambda x: prior(x).sum(axis=-1), True, joint.cumulative


JOINT = {
    priors.MassMet: _mass_metallicity,
    priors.Tabulated: _tabulated,
    prospector.MultiVariateNormal: _multivariate_normal,
    CorrectedBeta: _corrected,
    **BETA,
}
