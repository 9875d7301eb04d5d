"""Coordinates without walls, in which chains of nested sampling walk.

A model that knows better ones, say such that take out a strong degeneracy, hands an
object with the methods of `UnitCoordinates` to `prospect_emu.sampling.nested.run_nested`.
"""

import numpy as np
from scipy.special import ndtr, ndtri

# Beyond it a double of the unit cube has no digits left.
FARTHEST = 8.0


class UnitCoordinates:
    """Each side of the unit cube as a normal variate: the prior is a Gaussian.

    Parameters
    ----------
    prior_transform, log_likelihood : callable
        Of batches: (n, ndim) -> (n, ndim), and (n, ndim) -> (n,).
    """

    def __init__(self, prior_transform, log_likelihood):
        self._prior_transform, self._log_likelihood = prior_transform, log_likelihood

    def start(self, u):
        """Coordinates `y` (n, ndim) of points of the unit cube, and `evaluate` of them."""
        v = self._prior_transform(u)
        return ndtri(u), v, np.zeros(len(u)), self._log_likelihood(v)

    def cheap_density(self, y):
        """A factor of the prior density of `y`, logarithm (n,), that costs nothing."""
        inside = (np.abs(y) < FARTHEST).all(axis=1)
        return np.where(inside, -0.5 * np.einsum("ij,ij->i", y, y), -np.inf)

    def evaluate(self, y):
        """What costs a likelihood.

        Returns
        -------
        v : ndarray, shape (n, ndim)
            Parameters.
        density : ndarray, shape (n,)
            Logarithm of the other factor of the prior density of `y`.
        logl : ndarray, shape (n,)
        """
        v = self._prior_transform(ndtr(y))
        return v, np.zeros(len(y)), self._log_likelihood(v)

    def reached(self, y, v):
        """Whether points of the unit cube lead there, (n,): a density may be wider than that."""
        return np.ones(len(y), dtype=bool)

    def unit(self, y, v):
        """Points of the unit cube, shape (n, ndim)."""
        return ndtr(y)
