"""Emulator against FSPS on a test set: statistics per band, and a table of them."""

import numpy as np
from astropy.table import Table
from scipy.stats import norm

from prospect_emu.observe.magnitudes import maggies_to_arsinh

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
    return statistics(residuals(emulator, theta, maggies))


def statistics(r):
    """`residual_statistics` of residuals (n, nband)."""
    return {
        "bias_mag": r.mean(axis=0),
        "sigma_mag": r.std(axis=0, ddof=1),
        "covariance": np.cov(r, rowvar=False),
        "quantiles": np.quantile(r, PROBABILITIES, axis=0).T,
    }


def band_table(emulator, theta, maggies):
    """Bias, standard deviation and quantiles per band as an astropy table (magnitudes)."""
    return table_of(emulator.filters, residuals(emulator, theta, maggies))


def table_of(filters, r):
    """`band_table` of residuals (n, nband).

    Columns ``-4 sigma`` to ``+4 sigma`` hold the quantiles at the probabilities of so
    many Gaussian standard deviations; ``0 sigma`` is the median.
    """
    stats = statistics(r)
    columns = {"band": filters, "bias": stats["bias_mag"], "std": stats["sigma_mag"]}
    for level, quantile in zip(range(-4, 5), stats["quantiles"].T, strict=True):
        columns[f"{level:+d} sigma" if level else "0 sigma"] = quantile
    return Table(columns)


def summary(table):
    """One sentence on a `band_table`: median and worst standard deviation and bias."""
    worst, skewed = np.argmax(table["std"]), np.argmax(np.abs(table["bias"]))
    return (
        f"{len(table)} bands: std median {np.median(table['std']):.2g}, worst "
        f"{table['std'][worst]:.2g} ({table['band'][worst]}); |bias| median "
        f"{np.median(np.abs(table['bias'])):.2g}, worst {abs(table['bias'][skewed]):.2g} "
        f"({table['band'][skewed]}) mag."
    )
