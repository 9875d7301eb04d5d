"""Prospector's parameter transforms for whole batches.

Each function takes the arguments of the transform of the same name in
`prospect.models.transforms` (or of the 18-parameter preset), as arrays with the
batch in front: ``(n, k)``, ``(n, nbin, 2)`` for age bins, with n = 1 where the
parameter does not vary. It returns such an array. `VECTORISED` says which
function replaces which; `ParameterMap` checks each on draws before it is used.
"""

import dis
import functools
import types

import numpy as np
from astropy.cosmology import WMAP9
from prospect.models import transforms as prospector

from .. import cosmology
from ..errors import RangeError
from ..networks import sfh
from . import mathews23 as preset
from .magnification import magnified_distance

# The tables of the cosmology end here; beyond it astropy integrates.
_ZMAX = 20.0


def age_of_universe(zred):
    """Age of the universe in years at `zred`, any shape."""
    age = np.array(cosmology.age_of_universe(zred))
    far = ~((zred >= 0.0) & (zred <= _ZMAX))
    if far.any():
        age[far] = WMAP9.age(zred[far]).to_value("yr")
    return age


def _stack(*parts):
    """Concatenate along the last axis, with the batch axes made equal."""
    n = max(len(p) for p in parts)
    return np.concatenate([np.broadcast_to(p, (n, p.shape[1])) for p in parts], axis=1)


def _bins(edges):
    """Edges (n, nbin + 1) -> bins (n, nbin, 2)."""
    return np.stack([edges[:, :-1], edges[:, 1:]], axis=-1)


def _durations(agebins):
    """Lengths of bins in years, (n, nbin)."""
    years = 10.0**agebins
    return years[..., 1] - years[..., 0]


# ---- copies, products, logarithms ----------------------------------------------


def stellar_logzsol(logzsol):
    return logzsol


def delogify_mass(logmass):
    return 10.0**logmass


def total_mass(mass):
    return mass.sum(axis=1, keepdims=True)


def tburst_from_fage(tage, fage_burst):
    return tage * fage_burst


def tage_from_tuniv(zred, tage_tuniv):
    return tage_tuniv * (age_of_universe(zred) / 1e9)


def dustratio_to_dust1(dust2, dust_ratio):
    return dust2 * dust_ratio


def _column(argument, index, power=False):
    """A transform that takes one element (or a slice) of a vector of parameters."""
    where = slice(index, index + 1) if isinstance(index, int) else index

    def pick(**values):
        part = values[argument][:, where]
        return 10.0**part if power else part

    pick.inputs = (argument,)  # type: ignore[attr-defined]
    return pick


# ---- age bins that depend on redshift --------------------------------------------


def zred_to_agebins(zred, agebins):
    log_age = np.log10(age_of_universe(zred))
    first = agebins[:, 0]
    middle = np.linspace(
        np.broadcast_to(agebins[:, 1, 1], log_age.shape[:1]),
        np.log10(0.85 * 10.0 ** log_age[:, 0]),
        agebins.shape[1] - 2,
        axis=-1,
    )
    return _bins(_stack(first, middle, log_age))


def zred_to_agebins_pbeta(zred, agebins):
    age, nbin = age_of_universe(zred[:, 0]), agebins.shape[1]
    oldest = np.log10(0.9 * age)
    edges = np.empty((age.size, nbin + 1))
    edges[:, 0], edges[:, 1] = 0.0, 7.47712
    edges[:, 2:nbin] = np.linspace(8.0, oldest, nbin - 2, axis=-1)
    early = ~(zred[:, 0] <= 3.0)
    if early.any():
        edges[early, :nbin] = np.linspace(7.1295, oldest[early], nbin, axis=-1)
        edges[early, 0] = 0.0
    edges[:, nbin] = np.log10(age)
    return _bins(edges)


# ---- continuity ------------------------------------------------------------------


def _continuity(logmass, logsfr_ratios, durations, limit=10.0):
    """Masses in bins whose rates have the ratios `logsfr_ratios`, younger over older."""
    steps = np.clip(logsfr_ratios, -limit, limit)
    rate = np.ones((len(steps), durations.shape[1]))
    rate[:, 1:] = np.cumprod(10.0**-steps, axis=1)[:, : durations.shape[1] - 1]
    share = rate * durations
    share *= 10.0**logmass / share.sum(axis=1, keepdims=True)
    return share


def logsfr_ratios_to_masses(logmass, logsfr_ratios, agebins):
    return _continuity(logmass, logsfr_ratios, _durations(agebins))


def logsfr_ratios_to_sfrs(logmass, logsfr_ratios, agebins):
    durations = _durations(agebins)
    return _continuity(logmass, logsfr_ratios, durations) / durations


# ---- flexible bins of equal mass --------------------------------------------------
# In the order of Prospector's operations, as narrow bins are differences of large
# numbers: other orders round differently by far more than the last digit.


def _flexible_edges(start, total, logsfr_ratios, limit):
    """Edges in years after `start` (n, 1) of bins that share `total` (n, 1) years."""
    products = np.cumprod(10.0 ** np.clip(logsfr_ratios, -limit, limit), axis=1)
    first = total / (1.0 + products.sum(axis=1, keepdims=True))
    return np.cumsum(_stack(start, first, first * products), axis=1)


def logsfr_ratios_to_agebins(logsfr_ratios, agebins):
    durations = _durations(agebins)
    end = 10.0 ** agebins[:, -1:, 1]
    youngest, oldest = durations[:, :1], durations[:, -1:]
    inner = _flexible_edges(youngest, end - oldest - youngest, logsfr_ratios, 10.0)
    return _bins(np.log10(_stack(np.ones((1, 1)), inner, end)))


def logsfr_ratios_to_masses_flex(
    logmass, logsfr_ratios, logsfr_ratio_young, logsfr_ratio_old, agebins
):
    durations = _durations(logsfr_ratios_to_agebins(logsfr_ratios, agebins))
    young = 10.0 ** np.clip(logsfr_ratio_young, -10.0, 10.0)
    old = 10.0 ** np.clip(logsfr_ratio_old, -10.0, 10.0)
    nflex = durations.shape[1] - 2
    first, last = durations[:, 1:2], durations[:, -2:-1]
    youngest, oldest = durations[:, :1], durations[:, -1:]
    each = 10.0**logmass / (young * youngest / first + old * oldest / last + nflex)
    return _stack(
        young * each * youngest / first, np.repeat(each, nflex, axis=1), old * each * oldest / last
    )


def psb_logsfr_ratios_to_agebins(logsfr_ratios, agebins, tlast, tflex, nflex, nfixed):
    fixed = 10.0 ** agebins[:, -int(nfixed.flat[0]) :, 1]
    inner = _flexible_edges(tlast * 1e9, (tflex - tlast) * 1e9, logsfr_ratios, 7.0)
    return _bins(np.log10(_stack(np.ones((1, 1)), inner, fixed)))


def logsfr_ratios_to_masses_psb(
    logmass, logsfr_ratios, logsfr_ratio_young, logsfr_ratio_old,
    tlast, tflex, nflex, nfixed, agebins,
):  # fmt: skip
    bins = psb_logsfr_ratios_to_agebins(logsfr_ratios, agebins, tlast, tflex, nflex, nfixed)
    durations, count, nold = _durations(bins), int(nflex.flat[0]), int(nfixed.flat[0])
    young = 10.0 ** np.clip(logsfr_ratio_young, -7.0, 7.0)
    falls = np.cumprod(10.0 ** np.clip(logsfr_ratio_old, -7.0, 7.0), axis=1)[:, :nold]
    before = durations[:, -nold - 1 : -nold]
    factors = durations[:, -nold:] / before / falls
    youngest, first = durations[:, :1], durations[:, 1:2]
    each = 10.0**logmass / (young * youngest / first + factors.sum(axis=1, keepdims=True) + count)
    return _stack(young * each * youngest / first, np.repeat(each, count, axis=1), each * factors)


# ---- Dirichlet --------------------------------------------------------------------


def zfrac_to_sfrac(z_fraction):
    remaining = np.cumprod(z_fraction, axis=1)
    share = np.empty((len(remaining), remaining.shape[1] + 1))
    share[:, 0] = 1.0 - z_fraction[:, 0]
    share[:, 1:-1] = remaining[:, :-1] * (1.0 - z_fraction[:, 1:])
    share[:, -1] = 1.0 - share[:, :-1].sum(axis=1)
    if (share < 0.0).any():
        if (share < -1e-8).any():
            raise RangeError("z_fraction gives negative masses; its values must be in [0, 1].")
        np.maximum(share, 0.0, out=share)
    return share


def zfrac_to_masses(total_mass, z_fraction, agebins):
    mass = zfrac_to_sfrac(z_fraction) * _durations(agebins)
    mass *= total_mass / mass.sum(axis=1, keepdims=True)
    return mass


def zfrac_to_sfr(total_mass, z_fraction, agebins):
    return zfrac_to_masses(total_mass, z_fraction, agebins) / _durations(agebins)


# ---- the 18-parameter preset --------------------------------------------------------


def preset_agebins(zred):
    return sfh.agebins(zred[:, 0])


def preset_mass(logmass, logsfr_ratios, zred):
    return sfh.bin_masses(logmass[:, 0], logsfr_ratios, zred[:, 0])


VECTORISED = {
    getattr(prospector, function.__name__): function
    for function in (
        stellar_logzsol, delogify_mass, total_mass, tburst_from_fage, tage_from_tuniv,
        dustratio_to_dust1, zred_to_agebins, zred_to_agebins_pbeta, logsfr_ratios_to_masses,
        logsfr_ratios_to_sfrs, logsfr_ratios_to_masses_flex, logsfr_ratios_to_agebins,
        logsfr_ratios_to_masses_psb, psb_logsfr_ratios_to_agebins, zfrac_to_sfrac,
        zfrac_to_masses, zfrac_to_sfr,
    )
} | {
    prospector.zredmassmet_to_zred: _column("zredmassmet", 0),
    prospector.zredmassmet_to_logmass: _column("zredmassmet", 1),
    prospector.zredmassmet_to_mass: _column("zredmassmet", 1, power=True),
    prospector.zredmassmet_to_logzsol: _column("zredmassmet", 2),
    prospector.nzsfh_to_zred: _column("nzsfh", 0),
    prospector.nzsfh_to_logmass: _column("nzsfh", 1),
    prospector.nzsfh_to_mass: _column("nzsfh", 1, power=True),
    prospector.nzsfh_to_logzsol: _column("nzsfh", 2),
    prospector.nzsfh_to_logsfr_ratios: _column("nzsfh", slice(3, None)),
    preset.massmet_to_logmass: _column("massmet", 0),
    preset.massmet_to_logzsol: _column("massmet", 1),
    preset.zred_to_agebins: preset_agebins,
    preset.logsfr_ratios_to_mass: preset_mass,
    preset.dust1_fraction_to_dust1: lambda dust1_fraction, dust2: dust1_fraction * dust2,
    preset.log_fagn_to_fagn: lambda log_fagn: 10.0**log_fagn,
    preset.log_agn_tau_to_agn_tau: lambda log_agn_tau: 10.0**log_agn_tau,
    # The table is fixed: one row.
    magnified_distance: lambda zred, magnification, magnification_zred: magnified_distance(
        zred, magnification[0], magnification_zred[0]
    ),
    preset.log_duste_gamma_to_duste_gamma: lambda log_duste_gamma: 10.0**log_duste_gamma,
}  # fmt: skip


def vectorised(function):
    """The batched form of a transform, and which function it stands for; (None, None) if unknown.

    A verbatim copy of a known transform in a user's own file is recognised by its bytecode.
    """
    if function in VECTORISED:
        return VECTORISED[function], function
    if isinstance(function, types.FunctionType):
        known = _by_code().get(_signature(function))
        if known is not None:
            return VECTORISED[known], known
    return None, None


@functools.lru_cache(maxsize=1)
def _by_code():
    return {_signature(f): f for f in VECTORISED}


def _signature(function):
    code = function.__code__
    return code.co_varnames[: code.co_argcount + code.co_kwonlyargcount], _operations(code)


def _operations(code):
    """What a function does, without its name, place and docstring."""
    return tuple(
        (
            i.opname,
            _operations(i.argval) if isinstance(i.argval, types.CodeType) else repr(i.argval),
        )
        for i in dis.get_instructions(code)
        # Names of nested functions hold the name of the outer one.
        if not (i.opname == "LOAD_CONST" and isinstance(i.argval, str) and "<locals>" in i.argval)
    )
