"""Emulator against FSPS on a test set: statistics per band, and a table of them."""

import numpy as np
from astropy.table import Table
from scipy.stats import norm

from prospect_emu.magnitudes import maggies_to_arsinh

# Probabilities of -4..4 Gaussian sigma, as in Mathews et al. (2023).
PROBABILITIES = norm.cdf(np.arange(-4, 5))


def residuals(emulator, theta, maggies):
    """Emulator minus FSPS in arsinh magnitudes, shape (n, nband)."""
    return emulator.magnitudes(theta) - maggies_to_arsinh(maggies)


def residual_statistics(emulator, theta, maggies):
    """Statistics that an emulator carries with it.

    Parameters
    ----------
    emulator : Emulator
    theta : ndarray, shape (n, nparam)
    maggies : ndarray, shape (n, nband)
        FSPS's photometry of `theta`.

    Returns
    -------
    dict
        ``bias_mag``, ``sigma_mag`` (nband,), ``covariance`` (nband, nband) and
        ``quantiles`` (nband, 9), all of emulator minus FSPS in arsinh magnitudes.
    """
    r = residuals(emulator, theta, maggies)
    return {
        "bias_mag": r.mean(axis=0),
        "sigma_mag": r.std(axis=0, ddof=1),
        "covariance": np.cov(r, rowvar=False),
        "quantiles": np.quantile(r, PROBABILITIES, axis=0).T,
    }


def band_table(emulator, theta, maggies):
    """Bias and standard deviation per band as an astropy table (magnitudes)."""
    stats = residual_statistics(emulator, theta, maggies)
    return Table(
        {
            "band": emulator.filters,
            "bias": stats["bias_mag"],
            "std": stats["sigma_mag"],
            "p2.3": stats["quantiles"][:, 2],
            "p97.7": stats["quantiles"][:, 6],
        }
    )


def summary(table):
    """One sentence on a `band_table`: median and worst standard deviation and bias."""
    worst, skewed = np.argmax(table["std"]), np.argmax(np.abs(table["bias"]))
    return (
        f"{len(table)} bands: std median {np.median(table['std']):.2g}, worst "
        f"{table['std'][worst]:.2g} ({table['band'][worst]}); |bias| median "
        f"{np.median(np.abs(table['bias'])):.2g}, worst {abs(table['bias'][skewed]):.2g} "
        f"({table['band'][skewed]}) mag."
    )
