"""A Prospector model's parameters as FSPS is handed them by `FastStepBasis` and `CSPSpecBasis`."""

import numpy as np

from ..parameters import DEFAULTS
from ..sps.ages import EDGE

# Of binned histories FastStepBasis sets these itself; smoothing is Prospector's.
_OWN = {True: ("sfh", "tage", "sigma_smooth"), False: ("sigma_smooth",)}
# FastStepBasis asks for a million years; its own templates have a bin from 1 year to 1 Myr.
_SHORTEST = 0.999e6
_GYR = 1e9


def bare(value):
    """A value, as a scalar where it is one."""
    value = np.asarray(value)
    return value.reshape(-1)[0].item() if value.size == 1 else value


def too_short(agebins):
    """Whether a bin is shorter than Prospector's FastStepBasis allows, (...) of (..., nbin, 2)."""
    return (np.diff(10.0 ** np.asarray(agebins), axis=-1) < _SHORTEST).any(axis=(-2, -1))


def fsps_parameters(params, binned):
    """What `prospect_emu.sps` reads of a model's parameters, and what Prospector does of distance.

    Parameters
    ----------
    params : dict
    binned : bool
        Whether the model has age bins: Prospector then sets ``sfh`` and ``tage`` itself.
    """
    known = {*DEFAULTS, "mass", "agebins", "mass_units", "lumdist"}
    return {k: v for k, v in params.items() if k in known and k not in _OWN[binned]}


def one_row(params):
    """FSPS's parameters among a model's, as one galaxy for `prospect_emu.sps.spectrum`."""
    binned = "agebins" in params
    known = fsps_parameters(params, binned)
    given = {k: bare(v) for k, v in known.items() if k in DEFAULTS}
    mass = np.atleast_1d(np.asarray(params.get("mass", 1.0), dtype=float))
    if binned:
        bins = np.asarray(params["agebins"], dtype=float).reshape(-1, 2)
        return given | {"mass": mass[None], "agebins": bins}
    given["mass_units"] = str(bare(params.get("mass_units", "mformed")))
    for name, value in given.items():
        if isinstance(value, np.ndarray):
            given[name] = of_components(value.reshape(1, -1), mass.size)
    return given | {"mass": mass[None]}


def of_components(values, size):
    """Values (n, size) of `CSPSpecBasis`'s components, one a mass; the last of fewer goes on."""
    return values[:, np.minimum(np.arange(size), values.shape[1] - 1)]


def bins_as_table(agebins, mformed, epsilon=EDGE):
    """Age bins as the table of star-formation rates that `FastStepBasis` hands to FSPS.

    Parameters
    ----------
    agebins : ndarray, shape (nbin, 2)
        log10(years) of lookback time.
    mformed : ndarray, shape (nbin,)
        Msun.
    epsilon : float
        Relative distance of the entries on both sides of an edge.

    Returns
    -------
    time : ndarray, shape (2 nbin,)
        Gyr since the oldest edge.
    sfr : ndarray, shape (2 nbin,)
        Msun/yr.
    tage : float
        Gyr.
    """
    bins = 10.0 ** np.asarray(agebins)
    rate = np.asarray(mformed) / (bins[:, 1] - bins[:, 0])
    lookback = bins * np.array([1.0 + epsilon, 1.0 - epsilon])
    tage = bins.max()
    return ((tage - lookback.ravel()) / _GYR)[::-1], np.repeat(rate, 2)[::-1], tage / _GYR
