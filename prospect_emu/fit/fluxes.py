"""Observed and predicted fluxes of a fit."""

from dataclasses import dataclass

import numpy as np

from ..observe import observation
from ..observe.magnitudes import with_emulator_error
from ..prospector.version import adapter
from .description import plain
from .likelihood import upper_limits
from .quantiles import weighted_quantiles

# Draws of the posterior whose fluxes are predicted where each takes milliseconds.
_FEW = 300


@dataclass(frozen=True, eq=False)
class Photometry:
    """Observed and predicted fluxes of a fit, each of shape (nband,), in maggies.

    Attributes
    ----------
    bands : tuple of str
    wavelength : ndarray
        Effective wavelengths in micron.
    maggies, unc : ndarray
        Observed fluxes and the errors the fit used; those at the best sample, where the
        emulator's depends on the parameters.
    unc_observed : ndarray
        The errors before the emulator's was added; `unc` where it was not.
    mask : ndarray of bool
        True where the band was fitted.
    upper_limits : ndarray of bool
        True where the flux is an upper limit; none of those count in `chi2`.
    best : ndarray
        Prediction of the best sample.
    predicted : ndarray, shape (3, nband)
        16th, 50th and 84th percentile of the posterior prediction.
    """

    bands: tuple
    wavelength: np.ndarray
    maggies: np.ndarray
    unc: np.ndarray
    unc_observed: np.ndarray
    mask: np.ndarray
    upper_limits: np.ndarray
    best: np.ndarray
    predicted: np.ndarray

    @property
    def chi2(self):
        """Chi-squared of the best sample over the fitted bands."""
        used = self.mask & ~self.upper_limits
        return float(np.sum(((self.maggies - self.best) / self.unc)[used] ** 2))


def compared(obs, model, sps, fluxes, quick, weights, best, sigma=None):
    """Observed fluxes and those of a posterior.

    Parameters
    ----------
    obs, model, sps
        As they were fitted.
    fluxes : callable
        Indices of samples -> fluxes in all bands of `obs`.
    quick : bool
        Whether that takes microseconds a sample; if not, few are predicted.
    weights : ndarray, shape (nsample,)
    best : ndarray, shape (ndim,)
    sigma : ndarray, shape (nband,), optional
        The emulator's error at `best`, where each vector had its own.

    Returns
    -------
    Photometry
        Of no bands where `obs` has none.
    """
    if not observation.has_photometry(obs):
        return no_photometry()
    filters = observation.filter_list(obs["filters"])
    flux, unc, mask = observation.photometry(obs)
    if sigma is not None:
        total = with_emulator_error(obs["maggies_unc_observed"], flux, sigma)
        unc = np.where(mask, total, unc)
    # Samples of no weight cost time and change no quantile.
    keep = np.flatnonzero(weights > 1e-9 * weights.max())
    weights = weights[keep]
    if not quick and keep.size > _FEW:
        rng = np.random.default_rng(0)
        keep = rng.choice(keep, _FEW, p=weights / weights.sum())
        weights = np.ones(_FEW)
    # Twice in all: a transform may read another that Prospector computes after it.
    model.set_parameters(best)
    return Photometry(
        bands=tuple(f.name for f in filters),
        wavelength=np.array([f.wave_effective for f in filters]) / 1e4,
        maggies=flux,
        unc=unc,
        unc_observed=np.asarray(obs.get("maggies_unc_observed", unc), dtype=float),
        mask=mask,
        upper_limits=upper_limits(obs, mask),
        best=np.asarray(adapter.predict(model, best, adapter.prepared(obs), sps)[1], dtype=float),
        predicted=weighted_quantiles(fluxes(keep), weights, (0.16, 0.5, 0.84)),
    )


def no_photometry():
    """`Photometry` of no bands."""
    none, no = np.zeros(0), np.zeros(0, dtype=bool)
    return Photometry((), none, none, none, none, no, no, none, np.zeros((3, 0)))


def plain_obs(obs):
    """An obs that Prospector writes without pickling: arrays, filters and JSON."""
    out = {"wavelength": None, "spectrum": None, "unc": None}
    out |= {k: v if isinstance(v, np.ndarray) else plain(v) for k, v in obs.items()}
    if obs.get("maggies") is None:
        return {**out, "filters": [], "maggies": None, "maggies_unc": None}
    filters = observation.filter_list(obs["filters"])
    flux, unc, mask = observation.photometry(obs)
    return {**out, "filters": filters, "maggies": flux, "maggies_unc": unc, "phot_mask": mask}
