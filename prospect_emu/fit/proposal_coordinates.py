"""Coordinates in which posteriors of photometry look alike, so that a network can learn them.

Those of `prospect_emu.fit.mass_coordinates` in units of what the data can tell: the brightness
that the mass gives, relative to the data and in units of its error, and normal variates for
all else. A parameter that shares a prior with the mass becomes one over its own range.
"""

import numpy as np
from scipy.special import ndtr, ndtri

from ..errors import ModelMismatchError
from ..networks.proposal import signal_to_noise
from .mass_coordinates import MassCoordinates, find_scale

_LN10 = np.log(10.0)
_HALF_LN_2PI = 0.5 * np.log(2.0 * np.pi)


class ProposalCoordinates:
    """Between the coordinates `w` (n, ndim) of a proposal and a posterior's parameters.

    Parameters
    ----------
    posterior : BatchedPosterior

    Raises
    ------
    ModelMismatchError
        If no parameter scales all fluxes, or one that shares its prior has no finite range.
    """

    def __init__(self, posterior):
        u = np.random.default_rng(0).uniform(0.05, 0.95, (8, posterior.ndim))
        scale = None
        if posterior.likelihood is not None and posterior.predictions.quick:
            scale = find_scale(posterior, u)
        if scale is None:
            raise ModelMismatchError(
                "A learnt proposal needs photometry, a fast model, and a free mass that scales all "
                "fluxes; fit this one by nested sampling."
            )
        self.mass, self._is_log = scale
        self._posterior = posterior
        self._inner = MassCoordinates(posterior, scale)
        self.others = np.setdiff1d(self._inner.own, [self.mass])
        self.rest = self._inner.rest
        self._low, self._width = self._ranges()
        likelihood = posterior.likelihood
        every = np.ones((1, likelihood.flux.size), dtype=bool)
        # Of the galaxy that the posterior is of.
        self.snr = float(signal_to_noise(likelihood.flux[None], likelihood.unc[None], every)[0])

    def _ranges(self):
        """Lowest value and width of each of `others`, from the corners of their prior."""
        own = self._inner.own
        corners = np.array(np.meshgrid(*[[0.0, 1.0]] * own.size)).reshape(own.size, -1).T
        at = np.isin(own, self.others)
        values = self._inner.prior.quantile(corners)[:, at]
        low, width = values.min(axis=0), np.ptp(values, axis=0)
        if not np.isfinite(width).all():
            raise ModelMismatchError(
                "A parameter that shares its prior with the mass has no finite range; fit this "
                "model by nested sampling."
            )
        return low, width

    def of_draws(self, u, theta, maggies, flux, unc, mask):
        """Coordinates `w` (n, ndim) of parameters, for as many galaxies.

        Parameters
        ----------
        u, theta : ndarray, shape (n, ndim)
            Points of the unit cube, and the parameters there.
        maggies : ndarray, shape (n, nband)
            The model's fluxes there.
        flux, unc, mask : ndarray, shape (n, nband)
            Of the galaxies.
        """
        with np.errstate(all="ignore"):
            weight = np.where(mask & (flux > 0), flux / unc**2, 0.0)
            norm = (weight * np.where(mask, flux, 0.0)).sum(axis=1)
            ratio = (weight * maggies).sum(axis=1) / norm
            w = ndtri(u)
            w[:, self.mass] = np.log(ratio) * np.sqrt(norm)
            w[:, self.others] = ndtri((theta[:, self.others] - self._low) / self._width)
        return w

    def target(self, w):
        """What a proposal is judged by.

        Returns
        -------
        theta : ndarray, shape (n, ndim)
        logl : ndarray, shape (n,)
        log_prior : ndarray, shape (n,)
            Of `w`, normalised.
        """
        y = w.copy()
        y[:, self.mass] = w[:, self.mass] / (_LN10 * self.snr)
        y[:, self.others] = self._low + self._width * ndtr(w[:, self.others])
        theta, density, logl = self._inner.evaluate(y)
        others = w[:, self.others]
        log_prior = density + self._inner.cheap_density(y) - _HALF_LN_2PI * self.rest.size
        # Of a logarithm to base 10; where the mass is none, the density is that of ln(mass).
        log_prior -= np.log((_LN10 if self._is_log else 1.0) * self.snr)
        log_prior += (np.log(self._width) - 0.5 * others**2 - _HALF_LN_2PI).sum(axis=1)
        return theta, logl, log_prior
