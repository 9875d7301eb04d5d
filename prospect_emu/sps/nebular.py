"""Nebular emission: what Cloudy's tables give per ionising photon (Byler et al. 2017).

FSPS replaces the ionising light of young populations by continuum and lines. Their
log luminosity per photon is linear in log gas metallicity, log age and log U between
the nodes of the tables, and constant outside. Runaway stars (``frac_obrun``) keep
their ionising light, and give no photons.
"""

import numpy as np

from ..errors import RangeError
from .constants import CLIGHT, LSUN, LYMAN_EDGE, PI, PLANCK, find_cell, locate, single

_LN10 = float(np.log(10.0))


def ionising(wave):
    """How many wavelengths FSPS counts as ionising (up to 912 A)."""
    return int(np.searchsorted(wave, LYMAN_EDGE, side="right"))


def frequency_weights(wave):
    """Trapezoid weights over frequency (Hz), shape (nwave,), for samples at `wave`."""
    half = 0.5 * np.abs(np.diff(CLIGHT / wave))
    return np.pad(half, (0, 1)) + np.pad(half, (1, 0))


def ionising_photons(wave, lnu):
    """Ionising photons per second, shape (...), of populations (..., nwave) in Lsun/Hz."""
    wave = wave[: ionising(wave)]
    per_photon = frequency_weights(wave) / (CLIGHT / wave)
    return lnu[..., : wave.size] @ per_photon / PLANCK * LSUN


def continuum(ingredients, gas_logz, gas_logu):
    """Continuum of each population with nebulae, per unit of photons.

    Parameters
    ----------
    ingredients : Ingredients
    gas_logz, gas_logu : array_like, shape (n,)

    Returns
    -------
    ndarray, shape (n, nneb, nwave)
    """
    return _light(ingredients, ingredients.neb_logcont, gas_logz, gas_logu)


def lines(ingredients, gas_logz, gas_logu):
    """Line luminosities of each population with nebulae, (n, nneb, nline), likewise."""
    return _light(ingredients, ingredients.neb_logline, gas_logz, gas_logu)


def _light(g, table, gas_logz, gas_logu):
    z, fz = _position("gas_logz", g.neb_logz, gas_logz)
    u, fu = _position("gas_logu", g.neb_logu, gas_logu)
    age, fa = _position("age", g.neb_log_age, g.log_age[: g.nneb])
    shape = (-1, 1, 1)
    fz, fu, fa = fz.reshape(shape), fu.reshape(shape), fa.reshape(1, -1, 1)
    z1, u1, a1 = (np.minimum(i + 1, n - 1) for i, n in zip((z, u, age), _lengths(g), strict=True))
    log = (1.0 - fz) * ((1.0 - fu) * table[z, :, u] + fu * table[z, :, u1])
    log = log + fz * ((1.0 - fu) * table[z1, :, u] + fu * table[z1, :, u1])
    log = log[:, age] * (1.0 - fa) + log[:, a1] * fa
    log *= _LN10
    return np.exp(log, out=log)


def at_ages(ingredients, table, gas_logz, log_age):
    """A table (log10) at one gas metallicity and some ages, single precision.

    Parameters
    ----------
    table : ndarray, shape (nlogz, nlogage, nlogu, m)
        Or of `at_logu`, (nlogz, nlogage, m).

    Returns
    -------
    ndarray, shape (nage, nlogu, m) or (nage, m)
    """
    g = ingredients
    z, fz = _position("gas_logz", g.neb_logz, gas_logz)
    age, fa = _position("age", g.neb_log_age, log_age)
    z1, a1 = (np.minimum(i + 1, n - 1) for i, n in zip((z, age), _lengths(g)[::2], strict=True))
    fz, fa = np.float32(fz[0]), fa.astype(np.float32).reshape(-1, *[1] * (table.ndim - 2))
    log = (np.float32(1.0) - fz) * table[z[0]] + fz * table[z1[0]]
    return (log[age] * (np.float32(1.0) - fa) + log[a1] * fa).astype(np.float32, copy=False)


def at_logu(ingredients, log, gas_logu):
    """A table (..., nlogu, m) at one log U, (..., m), single precision."""
    u, fu = _position("gas_logu", ingredients.neb_logu, gas_logu)
    u1 = min(u[0] + 1, ingredients.neb_logu.size - 1)
    fu = np.float32(fu[0])
    return (np.float32(1.0) - fu) * log[..., u[0], :] + fu * log[..., u1, :]


def from_log10(log):
    """``10**log``, in place."""
    log *= np.float32(_LN10)
    return np.exp(log, out=log)


def _lengths(g):
    return g.neb_logz.size, g.neb_logu.size, g.neb_log_age.size


def _position(name, axis, x):
    """`find_cell` on an axis that may have a single node."""
    x = np.atleast_1d(np.asarray(x, dtype=float))
    if axis.size > 1:
        return find_cell(axis, x)
    wrong = np.abs(x - axis[0]) > 1e-9
    if wrong.any():
        raise RangeError(
            f"{name} is {x[wrong][0]:g}; these ingredients hold {axis[0]:g} alone: use a file with "
            "the whole table."
        )
    return np.zeros(x.size, dtype=int), np.zeros(x.size)


def line_profiles(wave, resolution, line_wave):
    """Flux per Hz of lines of one Lsun, shape (nline, nwave), as FSPS samples them.

    Gaussians as wide as the library's resolution and no narrower than two
    pixels (full width at half maximum); sampled at the wavelengths, not renormalised.
    """
    j = np.clip(locate(wave, line_wave), 1, wave.size - 1) - 1
    pixel = (wave[j + 1] - wave[j]) * 2.0 / single(2.355)
    sigma = np.maximum(pixel, line_wave * np.abs(resolution[j]) / CLIGHT * 1e13)
    u = (wave - line_wave[:, None]) / sigma[:, None]
    scale = line_wave**2 / CLIGHT / np.sqrt(2.0 * PI) / sigma
    return np.exp(-0.5 * u**2) * scale[:, None]
