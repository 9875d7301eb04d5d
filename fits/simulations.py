"""Galaxies without end, as a campaign's catalog would show them, for a learnt proposal.

Parameters come from the priors, fluxes from the model that the campaign fits, errors and
missing bands from the galaxies of its catalog. A few galaxies have errors larger than they
say, or bands that are wrong, so that what is learnt does not trust data too far.
"""

from dataclasses import dataclass

import numpy as np

from ..files import digest
from ..fit.proposal_coordinates import ProposalCoordinates
from ..networks.proposal import features, signal_to_noise

_GOLDEN = (np.sqrt(5) - 1) / 2
# Real galaxies of about a redshift that errors and masks are taken from.
_NEIGHBOURS = 64
_BATCH = 8192
# Of the unit interval, below the faintest mass that is seen among a batch.
_MARGIN = 0.05


@dataclass(frozen=True)
class Noise:
    """Errors of a catalog.

    Attributes
    ----------
    unc : ndarray, shape (ngalaxy, nband)
        One-sigma errors in maggies, without the floor; NaN where a band is missing.
    zred : ndarray, shape (ngalaxy,)
    floor : float
        Relative error that is added in quadrature.
    negative : float
        Fluxes negative by more than so many errors are masked, as the catalog's are.
    snr : float
        Galaxies of less signal to noise, all bands together, are drawn again.
    scatter : (float, float)
        By which errors of all bands, and of each, are scattered, in dex.
    dropped : float
        Share of galaxies that lack further bands.
    underestimated, outliers : float
        Shares of galaxies whose errors are up to twice as large as they say, and of which one
        to four bands are wrong by a normal deviate of 30 %.
    """

    unc: np.ndarray
    zred: np.ndarray
    floor: float = 0.05
    negative: float = np.inf
    snr: float = 10.0
    scatter: tuple = (0.15, 0.05)
    dropped: float = 0.2
    underestimated: float = 0.1
    outliers: float = 0.05

    def described(self):
        """All but the errors themselves, which are told by their checksum; JSON."""
        out = {k: v for k, v in vars(self).items() if k not in ("unc", "zred")}
        errors = digest({"unc": self.unc, "zred": self.zred}, {})
        return {**out, "scatter": list(self.scatter), "galaxies": len(self.zred), "errors": errors}

    def draw(self, rng, zred, n):
        """Errors (n, nband) of galaxies at a redshift, NaN where a band is missing."""
        near = np.argsort(np.abs(self.zred - zred), kind="stable")[:_NEIGHBOURS]
        unc = self.unc[rng.choice(near, n)]
        all_bands, each = (s * rng.normal(size=(n, k)) for s, k in zip(
            self.scatter, (1, unc.shape[1]), strict=True))  # fmt: skip
        unc = unc * 10.0 ** (all_bands + each)
        share = np.where(rng.random(n) < self.dropped, 0.5 * rng.random(n), 0.0)
        unc[rng.random(unc.shape) < share[:, None]] = np.nan
        return unc

    def observe(self, rng, maggies, unc):
        """Fluxes, errors and masks, each (n, nband), of true fluxes and a catalog's errors."""
        n, nband = maggies.shape
        sigma = np.hypot(unc, self.floor * maggies)
        factor = np.where(rng.random(n) < self.underestimated, 1.0 + rng.random(n), 1.0)
        flux = maggies + sigma * factor[:, None] * rng.normal(size=maggies.shape)
        wrong = rng.integers(1, 5, n) * (rng.random(n) < self.outliers)
        hit = rng.random(maggies.shape) < (wrong / nband)[:, None]
        flux += np.where(hit, 0.3 * maggies * rng.normal(size=maggies.shape), 0.0)
        with np.errstate(invalid="ignore"):
            mask = np.isfinite(unc) & (flux > -self.negative * unc)
            return flux, np.hypot(unc, self.floor * flux), mask


class Simulator:
    """Chunks of simulated galaxies; chunk i is the same whenever it is made.

    Parameters
    ----------
    posterior_at : callable
        Redshift, and if given fluxes, errors and mask (nband,) -> `BatchedPosterior`; without
        them any of all bands.
    noise : Noise
    zred_range : (float, float)
    size : int
        Galaxies of a chunk, which share their redshift.
    seed : int
    """

    def __init__(self, posterior_at, noise, zred_range, size=32768, seed=0):
        self.posterior_at, self.noise, self.zred_range = posterior_at, noise, zred_range
        self.size, self.seed = size, seed

    def redshift(self, index):
        """Of a chunk: any number of chunks covers the range evenly in ln(1 + z)."""
        low, high = np.log1p(self.zred_range)
        return float(np.expm1(low + (high - low) * ((index + 0.5) * _GOLDEN % 1.0)))

    def galaxies(self, index, n):
        """`n` galaxies of a chunk: coordinates, parameters, fluxes, errors and masks."""
        rng = np.random.default_rng([self.seed, index])
        zred = self.redshift(index)
        posterior = self.posterior_at(zred)
        coordinates = ProposalCoordinates(posterior)
        parts, have, faintest = [], 0, 0.0
        while have < n:
            u = rng.random((_BATCH, posterior.ndim))
            u[:, coordinates.mass] = faintest + (1.0 - faintest) * u[:, coordinates.mass]
            theta = posterior.prior_transform(u)
            true = posterior.maggies(theta)
            flux, unc, mask = self.noise.observe(rng, true, self.noise.draw(rng, zred, _BATCH))
            keep = signal_to_noise(flux, unc, mask) >= self.noise.snr
            u, theta, true, flux, unc, mask = (a[keep] for a in (u, theta, true, flux, unc, mask))
            w = coordinates.of_draws(u, theta, true, flux, unc, mask)
            # A model far from its own data has no place in these coordinates.
            keep = np.isfinite(w).all(axis=1)
            if not parts and keep.any():  # masses far below any that is seen are not drawn again
                faintest = max(0.0, u[keep, coordinates.mass].min() - _MARGIN)
            parts.append([a[keep] for a in (w, theta, flux, unc, mask)])
            have += int(keep.sum())
        return tuple(np.concatenate(a)[:n] for a in zip(*parts, strict=True))

    def chunk(self, index, n=None):
        """Features (n, nfeature) and coordinates (n, ndim), single precision; `size` of them."""
        w, _, flux, unc, mask = self.galaxies(index, n or self.size)
        x = features(flux, unc, mask, np.full(len(w), self.redshift(index)))
        return x.astype("f4"), w.astype("f4")
