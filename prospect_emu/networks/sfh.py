"""Star-formation histories in seven bins, and what follows from them.

Everything is vectorised over leading axes ``(...)``. Times are lookback times;
masses are total masses formed in Msun. Cosmology: WMAP9, as in Prospector.
"""

from functools import lru_cache

import numpy as np

from ..cosmology import age_of_universe, luminosity_distance
from ..sps.constants import namespace

NBINS = 7


def dimming(zred, lumdist):
    """Factor on a flux at `zred` where Prospector's ``lumdist`` (Mpc) sets the distance."""
    return (luminosity_distance(zred) / lumdist) ** 2


def bin_edges(zred):
    """Edges of the seven age bins in log10(years).

    ``[0, log10(3e7), linspace(8, log10(0.9 t), 5), log10(t)]`` with ``t`` the age
    of the universe at `zred`.

    Parameters
    ----------
    zred : array_like, shape (...)

    Returns
    -------
    ndarray, shape (..., 8)
    """
    if np.ndim(zred) == 0:
        return _bin_edges_at(float(zred)).copy()
    return _bin_edges(np.asarray(zred, dtype=float))


@lru_cache(maxsize=64)
def _bin_edges_at(zred):
    """One redshift: Prospector's transforms ask for the same one at every call of a fit."""
    return _bin_edges(np.float64(zred))


def _bin_edges(zred):
    return edges_of_age(np.asarray(age_of_universe(zred)))


def edges_of_age(age):
    """`bin_edges` from the age of the universe in years, of numpy or torch."""
    xp = namespace(age)
    late = xp.log10(0.9 * age)
    middle = [8.0 + (late - 8.0) * step for step in (0.0, 0.25, 0.5, 0.75, 1.0)]
    return xp.stack([0.0 * age, 0.0 * age + np.log10(3e7), *middle, xp.log10(age)], -1)


def agebins(zred):
    """The same bins in Prospector's form: shape ``(..., 7, 2)``, log10(years)."""
    edges = bin_edges(zred)
    return np.stack([edges[..., :-1], edges[..., 1:]], axis=-1)


def bin_durations(zred):
    """Lengths of the bins in years, shape ``(..., 7)``."""
    return np.diff(10.0 ** bin_edges(zred), axis=-1)


def bin_masses(logmass, logsfr_ratios, zred):
    """Mass formed in each bin.

    ``m_i`` is proportional to ``dt_i / prod_{j<i} 10**r_j`` with
    ``r_j = log10(SFR_j / SFR_{j+1})``, younger over older (Leja et al. 2019).

    Parameters
    ----------
    logmass : array_like, shape (...)
        log10 of the total mass formed in Msun.
    logsfr_ratios : array_like, shape (..., 6)
    zred : array_like, shape (...)

    Returns
    -------
    ndarray, shape (..., 7)
        Msun, youngest bin first; sums to ``10**logmass``.
    """
    return masses_in(bin_durations(zred), np.asarray(logmass), np.asarray(logsfr_ratios))


def masses_in(durations, logmass, logsfr_ratios):
    """`bin_masses` from the lengths of the bins (..., 7), of numpy or torch."""
    xp = namespace(durations)
    steps = xp.concatenate([0.0 * logsfr_ratios[..., :1], logsfr_ratios], -1)
    log_sfr = -xp.cumsum(steps, -1)
    m = durations * 10.0 ** (log_sfr - xp.amax(log_sfr, axis=-1, keepdims=True))
    return 10.0 ** logmass[..., None] * m / m.sum(-1)[..., None]


def sfr_ratios_from_masses(masses, zred):
    """Inverse of `bin_masses`: ``(logmass, logsfr_ratios)`` from masses ``(..., 7)``."""
    masses = np.asarray(masses, dtype=float)
    log_sfr = np.log10(masses / bin_durations(zred))
    return np.log10(masses.sum(axis=-1)), log_sfr[..., :-1] - log_sfr[..., 1:]


def mean_sfr(masses, zred, years=1e8):
    """Star-formation rate averaged over the last `years`, Msun/yr, shape (...)."""
    edges = 10.0 ** bin_edges(zred)
    overlap = np.clip(np.minimum(edges[..., 1:], years) - edges[..., :-1], 0.0, None)
    return (masses * overlap / np.diff(edges, axis=-1)).sum(axis=-1) / years


def mass_weighted_age(masses, zred):
    """Mean age of the stars formed, weighted by mass formed, in Gyr, shape (...)."""
    edges = 10.0 ** bin_edges(zred)
    mid = 0.5 * (edges[..., 1:] + edges[..., :-1])
    return (masses * mid).sum(axis=-1) / masses.sum(axis=-1) / 1e9


def half_mass_time(masses, zred):
    """Lookback time since which half of the mass has formed, in Gyr, shape (...)."""
    edges = 10.0 ** bin_edges(zred)
    share = masses / masses.sum(axis=-1, keepdims=True)
    until = np.cumsum(share, axis=-1)
    at = (until < 0.5).sum(axis=-1)[..., None]
    share, until, low, high = (
        np.take_along_axis(a, at, -1) for a in (share, until, edges[..., :-1], edges[..., 1:])
    )
    return (high - (high - low) * (until - 0.5) / share)[..., 0] / 1e9
