"""FSPS's parametric star-formation histories (``sfh`` 0, 1, 4, 5) to weights of SSPs.

How mass between two SSPs is shared, and what counts of stars older than the oldest, is
told in `prospect_emu.sps.ages`.
"""

import numpy as np

from ..errors import RangeError
from ..parameters import DEFAULTS
from .ages import LOG_E, limits, line_integrals, shares
from .constants import TINY, find_cell
from .exponential_integral import integral_term

PARAMETRIC = (0, 1, 4, 5)
_LN_10 = float(np.log(10.0))
_GYR = 1e9


def parametric_columns(params):
    """``sfh`` and the parameters of its histories as arrays of one length, defaults filled in."""
    names = ("tage", "tau", "const", "sf_start", "sf_trunc", "sf_slope", "fburst", "tburst")
    values = [np.atleast_1d(np.asarray(params.get(k, DEFAULTS[k]), dtype=float)) for k in names]
    return int(params.get("sfh", DEFAULTS["sfh"])), dict(
        zip(names, np.broadcast_arrays(*values), strict=True)
    )


def parametric_weights(log_age, params):
    """Weights of SSPs for FSPS's ``sfh`` 0, 1, 4 and 5, per Msun formed.

    Parameters
    ----------
    log_age : ndarray, shape (nage,)
    params : dict
        ``sfh`` (one value), ``tage`` and, where the history has them, ``tau``, ``const``,
        ``sf_start``, ``sf_trunc``, ``sf_slope``, ``fburst``, ``tburst``: scalars or (n,).
        Absent ones are FSPS's defaults. Units as in FSPS (Gyr).

    Returns
    -------
    ndarray, shape (n, nage)
        May be negative, see `prospect_emu.sps.ages.light_weights`.

    Raises
    ------
    RangeError
        Where FSPS stops, or returns something else than one spectrum.
    """
    sfh, p = parametric_columns(params)
    _check(sfh, p)
    if sfh == 0:
        return _burst(log_age, p["tage"] * _GYR)
    h = lookback_times(p)
    if sfh == 5:
        return _simha(log_age, p, h)
    out = _unit(_exponential(log_age, h["tq"], h["tage"], h["tau"], delayed=sfh == 4))
    const, fburst = p["const"], np.where(h["tb"] >= 0.0, p["fburst"], 0.0)
    if not ((const > 0.0) | (fburst > TINY)).any():
        return out
    steady = _unit(_linear(log_age, h["tq"], h["tage"], 1.0, 0.0))
    burst = np.where(fburst[:, None] > 0.0, _burst(log_age, np.maximum(h["tb"], 0.0)), 0.0)
    rest = 1.0 - const - fburst
    return rest[:, None] * out + const[:, None] * steady + fburst[:, None] * burst


def _check(sfh, p):
    if sfh not in PARAMETRIC:
        raise RangeError(f"sfh is {sfh}; the parametric histories are 0, 1, 4 and 5.")
    wrong = {
        "tage": (p["tage"] <= 0.0, "at zero FSPS returns a spectrum for each of its ages; give one")
    }
    if sfh != 0:
        wrong["sf_start"] = (
            (p["sf_start"] < 0.0) | (p["sf_start"] >= p["tage"]),
            "star formation must begin between zero and tage",
        )
        wrong["tau"] = (~(p["tau"] > 0.0), "it must be positive")
    if sfh in (1, 4):
        wrong["const"] = ((p["const"] < 0.0) | (p["const"] > 1.0), "it must lie between 0 and 1")
        wrong["fburst"] = (p["const"] + p["fburst"] > 1.0, "const + fburst must not exceed one")
    for name, (bad, why) in wrong.items():
        if bad.any():
            raise RangeError(f"{name} is {p[name][bad].flat[0]:g} with sfh={sfh}: {why}.")


def possible(drawn, fixed):
    """Parameters `drawn` one by one, moved to where FSPS computes them together.

    Parameters
    ----------
    drawn : dict
        (n,) arrays.
    fixed : dict
        The others.

    Returns
    -------
    dict
    """
    _, p = parametric_columns({"sfh": 4, **fixed, **drawn})
    const = np.clip(p["const"], 0.0, 1.0)
    within = {
        "const": const,
        "fburst": np.minimum(p["fburst"], 1.0 - const),
        "sf_start": np.clip(p["sf_start"], 0.0, 0.9 * p["tage"]),
        "tau": np.maximum(p["tau"], 1e-3),
    }
    return drawn | {k: v for k, v in within.items() if k in drawn}


def lookback_times(p):
    """FSPS's quantities in years of lookback time, (n,) each."""
    start = p["sf_start"] * _GYR
    tage = p["tage"] * _GYR - start
    trunc = p["sf_trunc"] * _GYR - start
    cut = (trunc > 0.0) & (trunc <= tage)
    tq = np.where(cut, tage - trunc, 0.0)
    slope = -p["sf_slope"] / _GYR  # positive: SFR rises with lookback time
    with np.errstate(divide="ignore"):
        zero = np.where(slope > TINY, tq - 1.0 / slope, 0.0)
    return {
        "tage": tage,
        "tau": p["tau"] * _GYR,
        "tq": tq,
        "tb": tage - (p["tburst"] * _GYR - start),
        "slope": slope,
        "t0": np.where((zero > tq) | (zero <= 0.0), 0.0, zero),
        "t_linear": np.maximum(tage - trunc, 0.0),
    }


def _burst(log_age, lookback):
    """Weights of a burst at a lookback time (n,) in years, interpolated in log age."""
    with np.errstate(divide="ignore"):
        x = np.log10(lookback)
    cell, frac = find_cell(log_age, np.maximum(x, log_age[0]), extrapolate=True)
    out = np.zeros((x.size, log_age.size))
    rows = np.arange(x.size)
    out[rows, cell], out[rows, cell + 1] = 1.0 - frac, frac
    return out


def _unit(weights):
    total = weights.sum(axis=-1, keepdims=True)
    return weights / np.where(total < TINY, 1.0, total)


def _exponential(log_age, start, stop, tau, delayed):
    """``SFR = exp(t / tau)``, times ``(stop of time - t)`` if `delayed`; t is lookback time.

    Scaled by exp(-stop / tau), so that it never overflows. Integrals begin where t is zero: of
    their differences nothing cancels, however long tau is.
    """
    # The last SSP ends the integral, and the largest exponent.
    top = np.minimum(stop, 10.0 ** log_age[-1])[:, None]
    x, t = limits(log_age, start[:, None], stop[:, None])
    begin, tau = stop[:, None], tau[:, None]
    u = t / tau
    e = np.exp(u - top / tau)
    # exp(u) - 1; and the integral of that over u, less itself.
    grown = -np.expm1(-u) * e
    term = integral_term(x * _LN_10 - np.log(tau)) * e
    if delayed:
        mass = begin * grown + tau * (grown - u * e)
        moment = (begin + tau) * term + begin * grown
    else:
        mass, moment = grown, term + grown
    older = np.diff((mass * x - LOG_E * moment)[:, 1:], axis=-1)
    mass = np.diff(mass, axis=-1)
    older -= log_age[:-1] * mass[:, 1:]
    return shares(log_age, tau * mass, tau * older)


def _linear(log_age, start, stop, rate, slope):
    """``SFR = rate + slope t`` between two lookback times (n,)."""
    x, t = limits(log_age, start[:, None], stop[:, None])
    rate, slope = (np.broadcast_to(a, start.shape)[:, None] for a in (rate, slope))
    return shares(log_age, *line_integrals(log_age, x, t, rate, slope))


def _simha(log_age, p, h):
    """Delayed exponential, then a straight line from ``sf_trunc`` (Simha et al. 2014)."""
    late = _unit(_linear(log_age, h["t0"], h["tq"], 1.0 - h["slope"] * h["t_linear"], h["slope"]))
    early = _unit(_exponential(log_age, h["tq"], h["tage"], h["tau"], delayed=True))
    share = linear_fraction(log_age, p)[:, None]
    return early * (1.0 - share) + late * share


def linear_fraction(log_age, p):
    """Share of the mass formed by ``tage`` in the straight part, (n,), as FSPS computes it."""
    tau, slope = p["tau"], -p["sf_slope"]
    oldest = 10.0 ** (log_age[-1] - 9.0) - p["sf_start"]
    now = p["tage"] - p["sf_start"]
    none = (p["sf_trunc"] < TINY) | (p["sf_trunc"] < p["sf_start"])
    trunc = np.where(none, oldest, p["sf_trunc"] - p["sf_start"])
    x = np.minimum(now, trunc) / tau
    mass = tau * (1.0 - np.exp(-x) - x * np.exp(-x))
    with np.errstate(divide="ignore"):
        zero = np.where(slope > 0.0, trunc + 1.0 / slope, oldest)
    end = np.minimum(zero, now)
    line = (end - trunc) - 0.5 * slope * (end**2 + trunc**2) + slope * end * trunc
    line = line * trunc / tau * np.exp(-trunc / tau)
    line = np.where((trunc <= 0.0) | (trunc > oldest) | (trunc >= now), 0.0, line)
    return line / (line + mass)
