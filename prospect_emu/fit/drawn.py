"""Spectra of a posterior: the whole SED, and what was fitted to an observed spectrum."""

import warnings

import numpy as np

from ..prospector.version import adapter
from .predictions import predictions
from .quantiles import weighted_quantiles

# Draws of the posterior, each of which takes milliseconds.
_DRAWS = 64
# By how much the SED exceeds the data at either end.
_MARGIN = 1.8
_QUANTILES = (0.16, 0.5, 0.84)


def draws(samples, weights):
    """Some samples of the posterior, (_DRAWS, ndim)."""
    rng = np.random.default_rng(0)
    return samples[rng.choice(len(samples), _DRAWS, p=weights / weights.sum())]


def model_sed(predicted, theta, reach):
    """Percentiles of the model's SED.

    Parameters
    ----------
    predicted : ExactFluxes
    theta : ndarray, shape (n, ndim)
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


def sed_components(model, obs, sps, best):
    """What is added to the SED of a vector (ndim,); see `FitResult.components`."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # which the fit has given
        predicted = predictions(model, obs, sps)
    theta = best[None]
    wave = predicted.ingredients.wave * (1.0 + predicted.zred(theta)[0]) / 1e4
    parts = {k: v[0] for k, v in predicted.components(theta).items()}
    return {"wavelength": wave, **parts}


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
