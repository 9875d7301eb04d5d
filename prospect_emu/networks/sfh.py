"""Star-formation histories in seven bins, and what follows from them.

Everything is vectorised over leading axes ``(...)``. Times are lookback times;
masses are total masses formed in Msun. Cosmology: WMAP9, as in Prospector.
"""

from functools import lru_cache

import numpy as np

from ..cosmology import age_of_universe, luminosity_distance

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
    t = np.asarray(age_of_universe(zred))
    edges = np.empty((*t.shape, NBINS + 1))
    edges[..., 0] = 0.0
    edges[..., 1] = np.log10(3e7)
    edges[..., 2:7] = 8.0 + (np.log10(0.9 * t)[..., None] - 8.0) * np.linspace(0.0, 1.0, 5)
    edges[..., 7] = np.log10(t)
    return edges


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
    dt = bin_durations(zred)
    log_sfr = np.zeros((*np.broadcast_shapes(dt.shape[:-1], np.shape(logsfr_ratios)[:-1]), NBINS))
    log_sfr[..., 1:] = -np.cumsum(logsfr_ratios, axis=-1)
    m = dt * 10.0 ** (log_sfr - log_sfr.max(axis=-1, keepdims=True))
    return 10.0 ** np.asarray(logmass)[..., None] * m / m.sum(axis=-1, keepdims=True)


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
