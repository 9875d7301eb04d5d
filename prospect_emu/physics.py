"""What FSPS computes for the 18-parameter model, as plain functions of arrays.

Formulas are FSPS's for dust_type 4 (Kriek & Conroy 2013 around Calzetti et al.
2000) and for the intergalactic gas (Madau 1995). FSPS writes its constants in
single precision; `single` keeps them.
"""

import numpy as np

from . import sfh

LNU_UNIT = 1e-15  # Lsun/Hz: brings L_nu per Msun near one
PHOTON_UNIT = 1e46  # ionising photons per second, likewise
LYMAN_EDGE = 912.0
# FastStepBasis tabulates the SFR on both sides of each bin edge, this far off
# (relative); between the two FSPS draws a straight line.
EDGE = 1e-4
_LOG_E = float(np.log10(np.e))


def locate(grid, x):
    """How many nodes of an increasing `grid` lie at or below `x`, as FSPS counts them.

    FSPS's `locate` in 1-based indices; one less at the last node itself.
    """
    count = np.searchsorted(grid, x, side="right")
    return np.where(np.asarray(x) == grid[-1], len(grid) - 1, count)


def interpolate(x, y, xnew):
    """Linear interpolation along the last axis of `y`, extrapolating as FSPS does."""
    lo = np.clip(locate(x, xnew), 1, len(x) - 1) - 1
    frac = (xnew - x[lo]) / (x[lo + 1] - x[lo])
    return y[..., lo] + (y[..., lo + 1] - y[..., lo]) * frac


def single(value):
    """A literal as FSPS holds it: rounded to single precision."""
    return float(np.float32(value))


CLIGHT = single(2.9979e18)  # Angstrom/s
_LSUN, _PLANCK, _PI = single(3.839e33), single(6.6261e-27), single(3.14159265)
REFERENCE = 5500.0

_LYMAN = np.array([
    1215.67, 1025.72, 972.537, 949.743, 937.803, 930.748, 926.226, 923.150, 920.963, 919.352,
    918.129, 917.181, 916.429, 915.824, 915.329, 914.919, 914.576,
])  # fmt: skip
_BLANKETING = np.array([
    0.0036, 0.0017, 0.0011846, 0.0009410, 0.0007960, 0.0006967, 0.0006236, 0.0005665, 0.0005200,
    0.0004817, 0.0004487, 0.0004200, 0.0003947, 0.000372, 0.000352, 0.0003334, 0.00031644,
])  # fmt: skip
_METALS = 0.0017
_LYMAN_LIMIT = 911.75


def frequency_weights(wave):
    """Trapezoid weights over frequency (Hz), shape (nwave,), for samples at `wave`."""
    half = 0.5 * np.abs(np.diff(CLIGHT / wave))
    return np.pad(half, (0, 1)) + np.pad(half, (1, 0))


def calzetti(wave):
    """The Calzetti curve in FSPS's normalisation, shape (nwave,), never negative."""
    x = 1e4 / wave
    blue = single(-2.156) + single(1.509) * x - single(0.198) * x**2 + single(0.011) * x**3
    red = single(-1.857) + single(1.04) * x
    curve = single(1.17) * np.where(wave <= 6300.0, blue, red) + single(1.78)
    return np.maximum(curve / single(0.44) / single(4.05), 0.0)


def bump(wave):
    """The 2175 A bump of unit strength over R = 4.05, shape (nwave,)."""
    width = (wave * 350.0) ** 2
    return width / ((wave**2 - 2175.0**2) ** 2 + width) / single(4.05)


def igm_terms(wave):
    """Madau's optical depth as a sum of powers of 1 + z.

    Returns
    -------
    exponent : ndarray, shape (nterm,)
    vector : ndarray, shape (nterm, n)
        ``tau = (1 + z)**exponent @ vector`` on the n wavelengths up to Ly-alpha.
    """
    line = np.float32(_LYMAN).astype(float)
    wave = wave[: np.searchsorted(wave, line[0], side="right")]
    below = wave <= line[:, None]
    strength = np.float32(_BLANKETING).astype(float)[:, None]
    e = {name: single(float(name)) for name in ("3.46", "1.68", "0.46", "0.18", "1.32")}
    y = wave / _LYMAN_LIMIT
    ionising = y <= 1.0
    terms = [
        (e["3.46"], (below * (wave / line[:, None]) ** e["3.46"] * strength).sum(axis=0)),
        (e["1.68"], single(_METALS) * (wave / line[0]) ** e["1.68"]),
        (3.0 + e["0.46"], ionising * 0.25 * y**3 * (1.0 - y ** e["0.46"])),
        (1.5 + e["0.18"], ionising * single(9.4) * y**1.5 * (1.0 - y ** e["0.18"])),
        (3.0 - e["1.32"], ionising * single(0.7) * y**3 * (1.0 - y ** -e["1.32"])),
        (e["1.68"], ionising * single(0.023) * (y ** e["1.68"] - 1.0)),
    ]
    exponent, vector = zip(*terms, strict=True)
    return np.array(exponent), np.array(vector)


def line_profiles(wave, resolution, line_wave):
    """Flux per Hz of lines of one Lsun, shape (nline, nwave), as FSPS samples them.

    Gaussians as wide as the library's resolution and no narrower than two
    pixels (full width at half maximum).
    """
    j = np.clip(locate(wave, line_wave), 1, wave.size - 1) - 1
    pixel = (wave[j + 1] - wave[j]) * 2.0 / single(2.355)
    sigma = np.maximum(pixel, line_wave * np.abs(resolution[j]) / CLIGHT * 1e13)
    u = (wave - line_wave[:, None]) / sigma[:, None]
    scale = line_wave**2 / CLIGHT / np.sqrt(2.0 * _PI) / sigma
    return np.exp(-0.5 * u**2) * scale[:, None]


def ionising_photons(wave, lnu):
    """Ionising photons per second, shape (...), of populations (..., nwave)."""
    wave = wave[: np.searchsorted(wave, LYMAN_EDGE, side="right")]
    per_photon = frequency_weights(wave) / (CLIGHT / wave)
    return lnu[..., : wave.size] @ per_photon / _PLANCK * _LSUN


def igm_transmission(terms, zred):
    """Transmission of the intergalactic gas on the wavelengths of `terms` (see `igm_terms`).

    The fit for ionising light turns down at short wavelengths; FSPS holds the
    largest depth from there on.
    """
    exponent, vector = terms
    tau = (1.0 + zred) ** exponent @ vector
    top = int(np.argmax(tau))
    tau[:top] = tau[top]
    return np.exp(-tau)


def find_cell(axis, x):
    """Cell of an increasing axis and the position in it, 0 at its start and 1 at its end.

    Outside the axis the end cells are continued.
    """
    cell = np.clip(np.searchsorted(axis, x, side="right") - 1, 0, axis.size - 2)
    return cell, (x - axis[cell]) / (axis[cell + 1] - axis[cell])


def between(table, cell, frac):
    """Rows (n, ...) of a table between those of `cell` and the next, see `find_cell`."""
    frac = frac[:, None]
    return table[cell] * (1.0 - frac) + table[cell + 1] * frac


def age_weights(log_age, zred):
    """Share of each simple stellar population in the stars of each age bin.

    FSPS interpolates populations linearly in log(age): with ``I = int SFR dt`` and
    ``J = int SFR log10(t) dt`` between two populations at x0 < x1, the older takes
    ``(J - x0 I) / (x1 - x0)`` and the younger the rest. Stars younger than the
    youngest population count as it; stars older than the oldest are lost. The
    ramps of the SFR across the inner edges are so short (`EDGE`) that a
    step in their middle differs by 1e-8.

    Parameters
    ----------
    log_age : ndarray, shape (nage,)
        log10(years), increasing.
    zred : array_like, shape (...)

    Returns
    -------
    ndarray, shape (..., 7, nage)
        Per Msun formed in a bin.
    """
    x = np.concatenate([[0.0], log_age])
    edges = 10.0 ** sfh.bin_edges(zred)
    rate = 1.0 / np.diff(edges, axis=-1)
    edges[..., 0] *= 1.0 + EDGE
    edges[..., -1] *= 1.0 - EDGE
    start, stop = edges[..., :-1, None], edges[..., 1:, None]
    t = np.clip(10.0**x, start, stop)
    moment = t * (np.clip(x, np.log10(start), np.log10(stop)) - _LOG_E)
    mass, moment = np.diff(t, axis=-1), np.diff(moment, axis=-1)
    older = (moment[..., 1:] - x[1:-1] * mass[..., 1:]) / np.diff(x[1:])
    weights = np.zeros((*t.shape[:-1], log_age.size))
    weights[..., 0] = mass[..., 0]
    weights[..., :-1] += mass[..., 1:] - older
    weights[..., 1:] += older
    return weights * rate[..., None]
