"""Absorption by the intergalactic gas (Madau 1995), as FSPS has it."""

import numpy as np

from .constants import TINY, column, namespace, single

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


def terms(wave):
    """Madau's optical depth as a sum of powers of 1 + z.

    Returns
    -------
    exponent : ndarray, shape (nterm,)
    vector : ndarray, shape (nterm, m)
        ``tau = (1 + z)**exponent @ vector`` on the m wavelengths up to Ly-alpha.
    """
    line = np.float32(_LYMAN).astype(float)
    wave = wave[: np.searchsorted(wave, line[0], side="right")]
    below = wave <= line[:, None]
    strength = np.float32(_BLANKETING).astype(float)[:, None]
    e = {name: single(float(name)) for name in ("3.46", "1.68", "0.46", "0.18", "1.32")}
    y = wave / _LYMAN_LIMIT
    ionising = y <= 1.0
    found = [
        (e["3.46"], (below * (wave / line[:, None]) ** e["3.46"] * strength).sum(axis=0)),
        (e["1.68"], single(_METALS) * (wave / line[0]) ** e["1.68"]),
        (3.0 + e["0.46"], ionising * 0.25 * y**3 * (1.0 - y ** e["0.46"])),
        (1.5 + e["0.18"], ionising * single(9.4) * y**1.5 * (1.0 - y ** e["0.18"])),
        (3.0 - e["1.32"], ionising * single(0.7) * y**3 * (1.0 - y ** -e["1.32"])),
        (e["1.68"], ionising * single(0.023) * (y ** e["1.68"] - 1.0)),
    ]
    exponent, vector = zip(*found, strict=True)
    return np.array(exponent), np.array(vector)


def transmission(wave_terms, zred, igm_factor=1.0):
    """What passes the gas, on the m wavelengths of `terms`.

    The fit for ionising light turns down at short wavelengths; FSPS holds the largest
    depth from there on. Nothing is absorbed at redshift zero.

    Parameters
    ----------
    wave_terms : tuple
        Of `terms`.
    zred, igm_factor : array_like, scalar or (n,)
        Or torch's, if all are.

    Returns
    -------
    ndarray, shape (n, m)
    """
    exponent, vector = wave_terms
    zred = column(zred)
    xp = namespace(zred)

    def rounded(x):
        """In the precision of the terms."""
        return x.astype(vector.dtype) if xp is np else x.to(vector.dtype)

    tau = rounded((1.0 + zred) ** exponent) @ vector
    top = tau.argmax(axis=1)[:, None]
    place = xp.cumsum(xp.ones_like(tau[0]), 0) - 1.0
    tau = xp.where(place <= top, xp.amax(tau, axis=1, keepdims=True), tau)
    factor = igm_factor if np.ndim(igm_factor) == 0 else column(igm_factor)
    minus = xp.where(zred > TINY, 0.0 * zred - factor, 0.0)
    return xp.exp(tau * rounded(minus))
