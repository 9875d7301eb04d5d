"""Attenuation by dust: what each of FSPS's laws lets through.

FSPS multiplies the light of stars younger than ``dust_tesc`` by the transmission of
their birth clouds (a power law), that of older stars by ``exp(-dust3 tau)``, and
both by that of the diffuse dust, ``exp(-dust2 tau)``; a fraction of the young stars
(``frac_obrun``) is outside the clouds, a fraction of all light (``frac_nodust``)
misses the diffuse dust. The curves tau are in `prospect_emu.sps.dust_laws`.
"""

from typing import NamedTuple

import numpy as np

from ..errors import RangeError
from ..parameters import DEFAULTS
from .constants import REFERENCE, TINY, column, single
from .dust_laws import LAWS, MILKY_WAY, WITT_GORDON

# Parameters that every law shares.
COMMON = ("dust1", "dust1_index", "dust2", "dust3", "frac_nodust", "frac_obrun")

# Where FSPS runs; it stops elsewhere.
_LIMITS = {
    "frac_obrun": (0.0, 1.0),
    "frac_nodust": (0.0, 1.0),
    "uvb": (0.0, np.inf),
    "dust_clumps": (-np.inf, TINY),
    "dust_tesc": (single(5.5), np.inf),
}


class Transmission(NamedTuple):
    """What multiplies light of each kind, each of shape (n or 1, nwave).

    Attributes
    ----------
    young, old : ndarray
        For light of stars and gas younger and older than ``dust_tesc``.
    diffuse : ndarray
        For the emission of the dust itself.
    agn : ndarray
        For the AGN torus. Equal to `diffuse` but for ``dust_type=3``, where FSPS
        scales the curve by ``dust2`` here and nowhere else.
    """

    young: np.ndarray
    old: np.ndarray
    diffuse: np.ndarray
    agn: np.ndarray


class PreparedLaw:
    """A law at given wavelengths; made by `prepare`.

    Call it with a dict of parameters, (n,) or scalars. What it names takes the place
    of `fixed`, and what neither names is FSPS's default. Names of other parameters are
    not looked at.
    """

    def __init__(self, dust_type, wave, fixed=None, grid=None, dtype=float):
        wave = np.asarray(wave, dtype=float)
        grid = wave if grid is None else np.asarray(grid, dtype=float)
        self.dust_type, self.dtype = check_type(dust_type), np.dtype(dtype)
        self._own = LAWS[self.dust_type].parameters
        self.parameters = self._own + COMMON
        values = DEFAULTS | dict(fixed or {})
        self._fixed = {k: column(values[k], self.dtype) for k in self.parameters}
        # Double precision where it is computed once.
        precise = {k: column(values[k]) for k in self.parameters}
        build = LAWS[self.dust_type].build
        self._tau_fixed = build(wave, grid, np.dtype(float))(precise).astype(self.dtype)
        self._tau = build(wave, grid, self.dtype)
        log = np.log(wave / REFERENCE)
        self._cloud_fixed = (-np.exp(precise["dust1_index"] * log)).astype(self.dtype)
        self._log = log.astype(self.dtype)

    def __call__(self, params):
        """`Transmission` for `params`."""
        p = self._columns(params)
        diffuse = self._exponent(params, p)
        old = np.exp(diffuse, out=diffuse)
        diffuse = old
        young = self._cloud(params, p)
        np.exp(young, out=young)
        if np.any(p["frac_obrun"]):
            young = young * (1.0 - p["frac_obrun"]) + p["frac_obrun"]
        if np.any(p["frac_nodust"]):
            old = (1.0 - p["frac_nodust"]) * old + p["frac_nodust"]
        young = young * old
        if np.any(p["dust3"]):
            old = old * np.exp(-p["dust3"] * self._curve(params, p))
        none = self._dustless(p)
        if none.any():
            young, old = np.where(none, 1.0, young), np.where(none, 1.0, old)
        return Transmission(young, old, diffuse, self._agn(params, p, diffuse))

    def absorbed(self, params):
        """Fractions of young and old light that are absorbed, (n or 1, nwave) each.

        One minus the transmission, exact to rounding where that is close to one.
        """
        p = self._columns(params)
        diffuse = self._exponent(params, p)
        old = np.negative(np.expm1(diffuse, out=diffuse), out=diffuse)
        cloud = self._cloud(params, p)
        np.negative(np.expm1(cloud, out=cloud), out=cloud)
        if np.any(p["frac_obrun"]):
            cloud = cloud * (1.0 - p["frac_obrun"])
        if np.any(p["frac_nodust"]):
            old = old * (1.0 - p["frac_nodust"])
        young = cloud + old - cloud * old
        if np.any(p["dust3"]):
            extra = -np.expm1(-p["dust3"] * self._curve(params, p))
            old = extra + old - extra * old
        none = self._dustless(p)
        if none.any():
            young, old = np.where(none, 0.0, young), np.where(none, 0.0, old)
        return young, old

    def diffuse(self, params):
        """`Transmission.diffuse` alone, (n or 1, nwave)."""
        out = self._exponent(params, self._columns(params))
        return np.exp(out, out=out)

    def agn(self, params):
        """`Transmission.agn` alone, (n or 1, nwave)."""
        p = self._columns(params)
        out = self._curve(params, p) * -p["dust2"]
        return np.exp(out, out=out)

    def emits(self, params):
        """Whether FSPS adds dust emission, bool (n or 1,): with dust1 or dust2 above zero."""
        p = self._columns(params)
        return ((p["dust1"] > TINY) | (p["dust2"] > TINY))[:, 0]

    def _columns(self, params):
        return self._fixed | {
            k: column(params[k], self.dtype) for k in self.parameters if k in params
        }

    def _curve(self, params, p):
        """tau(lambda); not to be changed in place."""
        if any(k in params for k in self._own):
            return self._tau(p)
        return self._tau_fixed

    def _exponent(self, params, p):
        """Exponent of the diffuse dust, (n, nwave), the caller's own."""
        scale = -1.0 if self.dust_type == WITT_GORDON else -p["dust2"]
        if any(k in params for k in self._own):
            tau = self._tau(p)
            in_place = np.ndim(scale) == 0 or len(scale) <= len(tau)
            return np.multiply(tau, scale, out=tau if in_place else None)
        return self._tau_fixed * scale

    def _cloud(self, params, p):
        """Exponent of the birth clouds, (n, nwave), the caller's own."""
        if "dust1_index" not in params:
            return p["dust1"] * self._cloud_fixed
        out = p["dust1_index"] * self._log
        return -p["dust1"] * np.exp(out, out=out)

    def _dustless(self, p):
        """Rows (n or 1, 1) in which FSPS does not call its dust routine."""
        if self.dust_type == WITT_GORDON:
            return np.zeros((1, 1), dtype=bool)
        return ~((p["dust1"] > TINY) | (p["dust2"] > TINY))

    def _agn(self, params, p, diffuse):
        if self.dust_type != WITT_GORDON:
            return diffuse
        return np.exp(-p["dust2"] * self._curve(params, p))


def prepare(dust_type, wave, fixed=None, grid=None, dtype=float):
    """A law at given wavelengths, with all that depends only on them computed once.

    Parameters
    ----------
    dust_type : int
        FSPS's number, see `LAWS`.
    wave : array_like, shape (nwave,)
        Angstrom, any.
    fixed : dict, optional
        Parameters that stay, scalars. Others than the law's are not looked at.
    grid : array_like, optional
        FSPS's wavelengths, increasing, where `wave` is only some of them: two laws (1
        and 6) are joined at wavelengths of that grid.
    dtype : numpy dtype
        Of what it returns.

    Returns
    -------
    PreparedLaw
        ``law(params) -> Transmission``, ``law.absorbed(params) -> (young, old)``.

    Raises
    ------
    RangeError
        If FSPS has no such law.
    """
    return PreparedLaw(dust_type, wave, fixed, grid, dtype)


def transmission(dust_type, wave, params, grid=None):
    """What dust lets through at `wave`: `Transmission` of arrays (n or 1, nwave).

    See `prepare`, which is for repeated use.
    """
    return prepare(dust_type, wave, grid=grid)(params)


def limits(dust_type):
    """Lowest and highest values {name: (low, high)} with which FSPS runs."""
    out = dict(_LIMITS)
    if dust_type == WITT_GORDON:
        out |= {"wgp1": (1, 18), "wgp2": (1, 6), "wgp3": (1, 2)}
    return out


def check(params):
    """Refuse parameters of the dust for which FSPS stops.

    Parameters
    ----------
    params : dict
        Scalars or arrays, ``dust_type`` one value; absent ones are FSPS's defaults.

    Raises
    ------
    RangeError
        Names the parameter, the value and what FSPS allows.
    """
    dust_type = check_type(params.get("dust_type", DEFAULTS["dust_type"]))
    for name, (low, high) in limits(dust_type).items():
        value = np.asarray(params.get(name, DEFAULTS[name]))
        bad = ~((value >= low) & (value <= high))
        if bad.any():
            raise RangeError(
                f"{name} is {float(value[bad].flat[0]):g}; FSPS allows {low:g} to {high:g}."
            )
        if name.startswith("wgp") and np.any(value != np.round(value)):
            raise RangeError(
                f"{name} is {_broken(value):g}; it counts models of Witt & Gordon: give a whole "
                "number."
            )
    if dust_type == MILKY_WAY and not np.all(np.asarray(params.get("mwr", DEFAULTS["mwr"])) > 0.0):
        raise RangeError(
            "mwr is not above zero, but the law divides by it; it is R_V, such as 3.1."
        )


def check_type(dust_type):
    """The number of a law, an int; refuses others."""
    if dust_type not in LAWS:
        known = ", ".join(f"{k} ({v.name})" for k, v in sorted(LAWS.items()))
        raise RangeError(f"dust_type is {dust_type!r}; FSPS has the laws {known}.")
    return int(dust_type)


def _broken(value):
    return float(value[value != np.round(value)].flat[0])
