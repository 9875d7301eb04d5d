"""Arsinh magnitudes: logarithmic when bright, linear through zero flux.

``u(x) = u0 - a arsinh(x exp(u0 / a) / 2)`` with ``a = 2.5 log10(e)`` and ``x`` in
maggies (Lupton et al. 1999; Mathews et al. 2023, section 2.1). For
``x >> 2 exp(-u0/a)`` this is the AB magnitude.
"""

import numpy as np

A = 2.5 * np.log10(np.e)
U0 = 35.0


def softening(u0=U0):
    """Flux in maggies at which the arsinh magnitude turns linear, ``2 exp(-u0/a)``."""
    return 2.0 * np.exp(-u0 / A)


def maggies_to_arsinh(maggies, u0=U0):
    """Arsinh magnitudes of fluxes in maggies (any shape, any sign)."""
    return u0 - A * np.arcsinh(np.asarray(maggies) / softening(u0))


def arsinh_to_maggies(u, u0=U0):
    """Exact inverse of `maggies_to_arsinh`."""
    return softening(u0) * np.sinh((u0 - np.asarray(u)) / A)


def arsinh_error_to_maggies(sigma_u, maggies, u0=U0):
    """Flux error that a magnitude error means at a given flux.

    Mathews et al. (2023), eq. 9:
    ``sigma_x = (2 sigma_u / a) exp(-u0/a) sqrt(1 + x^2 exp(2 u0/a) / 4)``.

    Parameters
    ----------
    sigma_u : array_like
        Standard deviation in arsinh magnitudes, shape broadcastable to `maggies`.
    maggies : array_like
        Observed flux in maggies.

    Returns
    -------
    ndarray
        Standard deviation in maggies.
    """
    s = softening(u0)
    return np.asarray(sigma_u) / A * np.hypot(s, np.asarray(maggies))


def with_emulator_error(unc, maggies, sigma_u):
    """Errors `unc` (maggies) of observed fluxes, an emulator's (arsinh magnitudes) added."""
    return np.hypot(unc, arsinh_error_to_maggies(sigma_u, maggies))
