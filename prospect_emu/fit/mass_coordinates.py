"""Coordinates of a posterior in which the mass does not depend on the rest.

The mass scales all fluxes. Whatever else changes, it has to follow within the error of
all data together: the thinnest sheet of the posterior. Here the brightness that the mass
gives is a coordinate in its place, and for any values of the others the mass follows from it.
"""

import numpy as np
from scipy.special import ndtr, ndtri

from ..sampling.coordinates import FARTHEST

# Of fluxes in single precision.
_TOLERANCE = 1e-4
_BISECTIONS = 54


class MassCoordinates:
    """As `prospect_emu.sampling.coordinates.UnitCoordinates`, with brightness for mass.

    The parameters that share a prior with the mass stand in their own units, but for one that
    this prior holds fixed; the others are those of `UnitCoordinates`.

    Parameters
    ----------
    posterior : BatchedPosterior
    scale : tuple of (int, bool)
        Column of the mass, and whether it is a logarithm; see `find_scale`.

    Attributes
    ----------
    prior : CompiledPrior
        The one that holds the mass.
    joint, own, rest : ndarray of int
        Columns of this prior, those of them that it lets vary, and all other columns.
    """

    def __init__(self, posterior, scale):
        self._posterior, (self._mass, self._is_log) = posterior, scale
        columns = np.arange(posterior.ndim)
        self.prior = next(p for p in posterior.priors if self._mass in columns[p.columns])
        self.joint = columns[self.prior.columns]
        drawn = self.prior.quantile(np.random.default_rng(0).random((8, self.joint.size)))
        self.own = self.joint[np.ptp(drawn, axis=0) > 0.0]
        self.rest = np.setdiff1d(columns, self.own)
        self._varying = np.isin(self.joint, self.own)
        self._weight = posterior.brightness_weights()

    def start(self, u):
        v = self._posterior.prior_transform(u)
        y = ndtri(u)
        y[:, self.own] = v[:, self.own]
        light = self._posterior.light(v)
        with np.errstate(invalid="ignore"):
            y[:, self._mass] = np.log10(light @ self._weight)
        return y, v, self._density(v), self._posterior.of_light(light, v)

    def cheap_density(self, y):
        x = y[:, self.rest]
        inside = (np.abs(x) < FARTHEST).all(axis=1)
        return np.where(inside, -0.5 * np.einsum("ij,ij->i", x, x), -np.inf)

    def evaluate(self, y):
        u = np.full_like(y, 0.5)
        u[:, self.rest] = ndtr(y[:, self.rest])
        v = self._posterior.prior_transform(u)
        others = self.own[self.own != self._mass]
        v[:, others] = y[:, others]
        # Beyond the range of the parameters that share the prior, models have no meaning.
        possible = np.isfinite(self._density(v))
        light = np.full((len(v), self._weight.size), np.nan)
        if possible.any():
            light[possible] = self._posterior.light(v[possible])
        with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
            change = 10.0 ** y[:, self._mass] / (light @ self._weight)
            light *= change[:, None]
            if self._is_log:
                v[:, self._mass] += np.log10(change)
            else:
                v[:, self._mass] *= change
        density = np.where(possible, self._density(v), -np.inf)
        # Where a prior does not reach, the likelihood of what is outside is of no interest.
        logl = np.full(len(y), -np.inf)
        inside = np.isfinite(density)
        logl[inside] = self._posterior.of_light(light[inside], v[inside])
        return v, density, logl

    def reached(self, y, v):
        if self.prior.inverse is None:
            return np.ones(len(y), dtype=bool)
        u = self._own_unit(v, self.prior.inverse)
        return ((u > 0.0) & (u < 1.0)).all(axis=1)

    def unit(self, y, v):
        u = ndtr(y)
        u[:, self.own] = self._own_unit(v, self.prior.inverse or self._cumulative)
        return u

    def _own_unit(self, v, inverse):
        return inverse(v[:, self.joint])[:, self._varying]

    def _density(self, v):
        density = self.prior.log_density(v[:, self.joint])
        if not self._is_log:
            with np.errstate(invalid="ignore", divide="ignore"):
                density = density + np.log(v[:, self._mass])
        return np.where(np.isfinite(density), density, -np.inf)

    def _cumulative(self, v):
        """The inverse of the prior's quantiles, one column after the other, by bisection."""
        low, high = np.zeros_like(v), np.ones_like(v)
        u = np.full_like(v, 0.5)
        for k in range(v.shape[1]):
            for _ in range(_BISECTIONS):
                u[:, k] = 0.5 * (low[:, k] + high[:, k])
                below = self.prior.quantile(u)[:, k] < v[:, k]
                low[below, k] = u[below, k]
                high[~below, k] = u[~below, k]
        return u

    def agrees(self, u):
        """Whether points of the unit cube come back as they were."""
        y, v, _, logl = self.start(u)
        again, _, value = self.evaluate(y)
        known = np.isfinite(logl) & np.isfinite(y).all(axis=1)
        return (
            known.any()
            and np.allclose(again[known], v[known], rtol=1e-6, atol=1e-6)
            and np.allclose(value[known], logl[known], rtol=1e-3)
            and np.allclose(self.unit(y, v)[known], u[known], atol=1e-9)
        )


def find_scale(posterior, u):
    """The parameter that scales all fluxes, tried at points `u` (n, ndim).

    Returns
    -------
    (int, bool) or None
        Its column, and whether it is a logarithm to base 10; None if there is none.
    """
    theta = posterior.prior_transform(u)
    light = posterior.light(theta)
    # Of a distant galaxy no light is left in the bluest bands, but rounding: these tell nothing.
    seen = light > 1e-12 * light.max(axis=1, keepdims=True)
    for column in range(posterior.ndim):
        changed = theta.copy()
        changed[:, column] = np.roll(theta[:, column], 1)
        scaled = posterior.light(changed)
        before, after = theta[:, column], changed[:, column]
        with np.errstate(all="ignore"):
            for is_log, expected in ((True, 10.0 ** (after - before)), (False, after / before)):
                ratio = np.where(seen, scaled / light, expected[:, None])
                if np.allclose(ratio, expected[:, None], rtol=_TOLERANCE) and (ratio != 1).any():
                    return column, is_log
    return None


def mass_coordinates(posterior):
    """`MassCoordinates` of a posterior, or None where no parameter scales the fluxes."""
    if posterior.predictions is None or not posterior.predictions.quick:
        return None
    if posterior.brightness_weights() is None:
        return None
    u = np.random.default_rng(0).uniform(0.05, 0.95, (8, posterior.ndim))
    scale = find_scale(posterior, u)
    if scale is None:
        return None
    out = MassCoordinates(posterior, scale)
    return out if out.agrees(u) else None
