"""Spectra of a posterior: the whole SED, and what was fitted to an observed spectrum."""

import warnings

import numpy as np

from ..cosmology import flux_factor
from ..errors import DataError
from ..networks.vector import PARAMETERS
from ..prospector.version import adapter
from .predictions import predictions
from .quantiles import weighted_quantiles

# Draws of the posterior, each of which takes milliseconds.
_DRAWS = 64
# By how much the SED exceeds the data at either end.
_MARGIN = 1.8
_QUANTILES = (0.16, 0.5, 0.84)


def draws(weights):
    """Indices of some samples of the posterior, (_DRAWS,)."""
    return np.random.default_rng(0).choice(weights.size, _DRAWS, p=weights / weights.sum())


class EmulatedSED:
    """Whole spectra of a factored emulator's vectors, as `ExactFluxes` has them of a model's.

    Parameters
    ----------
    emulator : FactoredEmulator
    lumdist : float or None
        Luminosity distance in Mpc in place of the cosmology's.
    """

    def __init__(self, emulator, lumdist=None):
        self._emulator, self._lumdist = emulator, lumdist
        self.ingredients = emulator.ingredients

    def zred(self, vectors):
        """Redshifts (n,)."""
        return vectors[:, PARAMETERS.index("zred")]

    def sed(self, vectors, **switches):
        """Maggies (n, nwave) as observed; `switches` in place of FSPS's parameters."""
        scale = flux_factor(self.zred(vectors), self._lumdist)
        return self._emulator.spectrum(vectors, check=False, **switches) * scale[:, None]


def model_sed(predicted, theta, reach):
    """Percentiles of the model's SED.

    Parameters
    ----------
    predicted : ExactFluxes or EmulatedSED
    theta : ndarray, shape (n, ndim)
        Vectors of what predicts.
    reach : ndarray
        Wavelengths of the data, micron.

    Returns
    -------
    dict
        ``wavelength`` (m,), micron as observed at the median redshift; ``maggies`` (3, m).
    """
    wave = predicted.ingredients.wave * (1.0 + np.median(predicted.zred(theta))) / 1e4
    some = (wave > reach.min() / _MARGIN) & (wave < reach.max() * _MARGIN)
    seds = predicted.sed(theta)[:, some]
    maggies = weighted_quantiles(seds, np.ones(len(seds)), _QUANTILES)
    return {"wavelength": wave[some], "maggies": maggies.astype(np.float32)}


def predicted_at_best(result):
    """What predicts the SED of a result's fit, and its vector (1, ndim) of the best sample."""
    _, _, model, obs, sps = result._run
    if result.vectors is None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # which the fit has given
            return predictions(model, obs, sps), result.best[None]
    if not hasattr(sps.emulator, "ingredients"):
        raise DataError(
            f"{sps.emulator.name} is made of networks, which give no spectrum; fit with "
            "mathews23-factored or EmulatorSPS() for components."
        )
    best = result.vectors[np.argmax(result.log_posterior)]
    return EmulatedSED(sps.emulator, model.params.get("lumdist")), best[None]


def sed_components(predicted, theta):
    """What is added to the SED of a vector (1, ndim); see `FitResult.components`.

    Each is what its switch adds to those before it, so that they sum to the whole.
    """
    off = {"add_dust_emission": False, "fagn": 0.0}
    switches = {
        "stars": {"add_neb_emission": False, **off}, "nebular": off, "dust": {"fagn": 0.0},
        "AGN": {},
    }  # fmt: skip
    parts, before = {}, 0.0
    for name, some in switches.items():
        flux = predicted.sed(theta, **some)[0]
        parts[name], before = flux - before, flux
    wave = predicted.ingredients.wave * (1.0 + predicted.zred(theta)[0]) / 1e4
    return {"wavelength": wave, **{k: v for k, v in parts.items() if np.any(v)}}


def fitted_spectrum(model, obs, sps, theta, best):
    """An observed spectrum beside percentiles of the model's and of its calibration.

    Returns
    -------
    dict
        ``wavelength`` (npix,), micron; ``flux``, ``unc`` (npix,), maggies; ``mask`` (npix,);
        ``best`` (npix,), the model at the best sample; ``predicted`` and ``calibration``,
        (3, npix), the former with the latter.
    """
    full, before = adapter.prepared(obs), model.theta.copy()
    spectra, factors = [], []
    try:
        for row in [*theta, best]:
            model.set_parameters(row)
            spectra.append(adapter.predict(model, row, full, sps)[0])
            factors.append(np.broadcast_to(getattr(model, "_speccal", 1.0), spectra[-1].shape))
    finally:
        model.set_parameters(before)
    equal = np.ones(len(theta))
    return {
        "wavelength": full["wavelength"] / 1e4,
        "flux": full["spectrum"],
        "unc": full["unc"],
        "mask": full["mask"],
        "best": spectra[-1],
        "predicted": weighted_quantiles(np.array(spectra[:-1]), equal, _QUANTILES),
        "calibration": weighted_quantiles(np.array(factors[:-1]), equal, _QUANTILES),
    }
