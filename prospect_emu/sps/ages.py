"""Star formation to weights of simple stellar populations (SSPs), as FSPS does it.

FSPS interpolates SSPs linearly in log(age). Between two SSPs at x0 < x1 (log10 of
years of lookback time), with ``I = int SFR dt`` and ``J = int SFR (log10(t) - x0) dt``,
the older takes ``J / (x1 - x0)`` and the younger the rest. Stars younger than the
youngest SSP count as it.

Stars older than the oldest SSP are never there, but their mass is treated in two ways,
both FSPS's: in steps and tables it still counts as formed, so that the sum of the weights
is less than the mass formed; in the parametric histories of ``sfh`` 1, 4 and 5 each
component is brought back to its share of one Msun. A single burst (``sfh=0``) older than
the oldest SSP is extrapolated: one weight is negative, which FSPS counts in mass and
bolometric luminosity and skips in the spectrum (`light_weights`).
"""

import numpy as np

from ..errors import RangeError
from .constants import TINY, locate, namespace

# FastStepBasis tabulates the SFR on both sides of each bin edge, this far off
# (relative); between the two FSPS draws a straight line.
EDGE = 1e-4
MIN_SFR = 1e-30  # Msun/yr; FSPS raises what is lower in a table
LOG_E = float(np.log10(np.e))
_GYR = 1e9


def light_weights(weights):
    """Weights that count in the spectrum: FSPS leaves out those not above zero."""
    return np.maximum(weights, 0.0)


# ---- steps and tables ------------------------------------------------------------


def step_weights(log_age, agebins):
    """Weights of SSPs per Msun formed in each bin of constant star formation.

    As Prospector's FastStepBasis hands bins to FSPS: the first edge moved outwards and the
    last inwards by `EDGE`, lookback time no less than a year and no more than the age of
    the oldest SSP. (The ramps that FSPS draws across the inner edges are so short that a
    step in their middle differs by 1e-8.)

    Parameters
    ----------
    log_age : ndarray, shape (nage,)
        Ages of the SSPs, log10(years), increasing.
    agebins : array_like, shape (..., nbin, 2)
        Edges in log10(years) of lookback time, youngest bin first, each bin beginning
        where the one before ends.

    Returns
    -------
    ndarray, shape (..., nbin, nage)

    Raises
    ------
    RangeError
        If bins overlap, leave gaps or are not in order.
    """
    edges, rate = _steps(agebins)
    return np.diff(constant_since(log_age, edges), axis=-2) * rate[..., None]


def step_sums(log_age, agebins, mass):
    """``mass @ step_weights(log_age, agebins)`` for rows of bins of their own.

    Parameters
    ----------
    log_age : ndarray, shape (nage,)
    agebins : ndarray, shape (n, nbin, 2)
    mass : ndarray, shape (n, nbin)

    Returns
    -------
    ndarray, shape (n, nage)
    """
    edges, rate = _steps(agebins)
    # What one Msun/yr up to each edge counts for.
    jump = -np.diff(mass * rate, axis=1, prepend=0.0, append=0.0)
    full, cell, young, share = _since(log_age, edges)
    n, size = len(edges), len(log_age)
    at = (cell + size * np.arange(n)[:, None]).ravel()
    whole, young, older = (
        np.bincount(place, (jump * part).ravel(), n * size).reshape(n, size)
        for place, part in ((at, 1.0), (at, young), (at + 1, share))
    )
    # Whole intervals are those younger than the one an edge lies in.
    before = np.cumsum(whole[:, ::-1], axis=1)[:, ::-1] - whole
    return before * full + young + older


def _steps(agebins):
    """Edges (..., nbin + 1) in years as FSPS is given them, and 1 / length (..., nbin)."""
    edges = 10.0 ** bin_edges(agebins)
    rate = 1.0 / np.diff(edges, axis=-1)
    edges[..., 0] *= 1.0 + EDGE
    edges[..., -1] *= 1.0 - EDGE
    return edges, rate


def constant_since(log_age, t):
    """Weights (..., nage) of one Msun/yr from lookback times t (...) in years to 1 yr.

    Both of numpy or both of torch.
    """
    xp = namespace(t)
    full, c, young, share = _since(log_age, t)
    out = xp.where(log_age < log_age[c][..., None], full, 0.0)
    put = np.put_along_axis if xp is np else _scatter
    put(out, c[..., None], young[..., None], -1)
    put(out, c[..., None] + 1, share[..., None], -1)
    return out


def _since(log_age, t):
    """Of `constant_since`: whole intervals (nage,); the interval of t, its young and old node."""
    xp = namespace(t)
    x, node = log_age, 10.0**log_age
    t = xp.clip(t, 1.0, None)
    # What whole intervals give to the node at their young end and at their old end.
    mass, dx = xp.diff(node), xp.diff(x)
    old = node[1:] - LOG_E * mass / dx
    left = xp.concatenate([node[:1] - 1.0, old])
    full = left + xp.concatenate([mass - old, 0.0 * mass[:1]])
    cell = xp.searchsorted(node, t, side="right") - 1
    # The interval that t lies in gives a part; beyond the oldest node nothing.
    c = xp.clip(cell, 0, len(x) - 2)
    end = xp.minimum(t, node[-1])
    part = end - node[c]
    share = (end * (xp.log10(end) - x[c]) - LOG_E * part) / dx[c]
    inside = cell >= 0
    young = xp.where(inside, left[c] + part - share, end - 1.0)
    return full, c, young, xp.where(inside, share, 0.0)


def _scatter(out, index, value, axis):
    """`numpy.put_along_axis` for torch."""
    out.scatter_(axis, index, value)


def bin_edges(agebins):
    """Edges (..., nbin + 1) of adjoining bins (..., nbin, 2); refuses others."""
    bins = np.asarray(agebins, dtype=float)
    if bins.ndim < 2 or bins.shape[-1] != 2:
        raise RangeError(f"agebins have shape {bins.shape}; give (nbin, 2), log10(years).")
    if not (np.isfinite(bins).all() and (np.diff(bins, axis=-1) > 0.0).all()):
        raise RangeError("an age bin does not end after it begins; give (younger, older) edges.")
    gap = bins[..., 1:, 0] - bins[..., :-1, 1]
    if (np.abs(gap) > 1e-6).any():
        where = np.unravel_index(np.argmax(np.abs(gap)), gap.shape)
        if (bins[..., 1:, 0] < bins[..., :-1, 0]).any():
            raise RangeError("age bins are not in order of age; give the youngest first.")
        raise RangeError(
            f"age bins {where[-1] + 1} and {where[-1] + 2} "
            f"{'overlap' if gap[where] < 0 else 'leave a gap'} (one ends at "
            f"{bins[..., :-1, 1][where]:.6g}, the next begins at {bins[..., 1:, 0][where]:.6g} in "
            "log10(years)); let each begin where the one before ends."
        )
    return np.concatenate([bins[..., :1, 0], bins[..., 1]], axis=-1)


def tabular_weights(log_age, time, sfr, tage):
    """Weights of SSPs for a table of star-formation rates, linear between its entries.

    Parameters
    ----------
    log_age : ndarray, shape (nage,)
    time : array_like, shape (ntime,) or (n, ntime)
        Gyr since star formation could begin, increasing.
    sfr : array_like, shape (ntime,) or (n, ntime)
        Msun/yr; FSPS raises it to 1e-30.
    tage : array_like, scalar or (n,)
        When the galaxy is seen, Gyr in the same time. Later entries do not count.

    Returns
    -------
    ndarray, shape (n, nage)
        Msun.
    """
    time, sfr = np.broadcast_arrays(np.atleast_2d(time), np.maximum(np.atleast_2d(sfr), MIN_SFR))
    if not (np.diff(time, axis=-1) >= 0.0).all():
        raise RangeError("times of a tabular star-formation history must increase.")
    lookback = (np.reshape(tage, (-1, 1)) - time) * _GYR
    late, early = lookback[:, 1:, None], lookback[:, :-1, None]
    sfr = np.broadcast_to(sfr, lookback.shape)
    with np.errstate(divide="ignore", invalid="ignore"):
        slope = (sfr[:, :-1, None] - sfr[:, 1:, None]) / (early - late)
    slope = np.where(early > late, slope, 0.0)
    out = np.zeros((len(lookback), log_age.size))
    for i in range(late.shape[1]):
        # Segment by segment, to keep memory and cancellation small.
        x, t = limits(log_age, late[:, i], early[:, i])
        # Across the present, FSPS keeps a segment's slope and mass but lets its rate start
        # at the present from what it is at the segment's end.
        rate = sfr[:, i + 1, None] - slope[:, i] * np.maximum(late[:, i], 1.0)
        part = shares(log_age, *line_integrals(log_age, x, t, rate, slope[:, i]))
        true = sfr[:, i + 1, None] - slope[:, i] * late[:, i]
        low, high = t[:, :1], t[:, -1:]
        mass = (high - low) * (true + 0.5 * slope[:, i] * (high + low))
        total = part.sum(axis=-1, keepdims=True)
        out += np.where(early[:, i] >= 0.0, part * (mass / np.where(total < TINY, 1.0, total)), 0.0)
    return out


def limits(log_age, start, stop):
    """Lookback times 1 yr and the SSPs', clipped to (..., 1) limits: log10 and years."""
    x = np.concatenate([[0.0], log_age])
    start, stop = np.maximum(start, 1.0), np.maximum(stop, 1.0)
    return np.clip(x, np.log10(start), np.log10(stop)), np.clip(10.0**x, start, stop)


def _moment(log_age, x, f):
    """``[f (x - x0)]`` across each interval between SSPs, x0 the younger's, (..., nage - 1)."""
    return f[..., 2:] * (x[..., 2:] - log_age[:-1]) - f[..., 1:-1] * (x[..., 1:-1] - log_age[:-1])


def line_integrals(log_age, x, t, rate, slope):
    """Masses (..., nage) and moments (..., nage - 1) of intervals for ``SFR = rate + slope t``."""
    step = _moment(log_age, x, t) - LOG_E * np.diff(t, axis=-1)[..., 1:]
    square = _moment(log_age, x, t**2) - 0.5 * LOG_E * np.diff(t**2, axis=-1)[..., 1:]
    return np.diff(rate * t + 0.5 * slope * t**2, axis=-1), rate * step + 0.5 * slope * square


def shares(log_age, mass, older):
    """Weights (..., nage) from masses (..., nage) and moments (..., nage - 1) of intervals."""
    older = older / np.diff(log_age)
    out = np.zeros_like(mass)
    out[..., 0] = mass[..., 0]
    out[..., :-1] += mass[..., 1:] - older
    out[..., 1:] += older
    return out


def young(log_age, dust_tesc):
    """How many SSPs count as younger than ``dust_tesc`` (log10 years), int."""
    return int(locate(log_age, dust_tesc))
