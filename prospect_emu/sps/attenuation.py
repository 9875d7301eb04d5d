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
# Terms of a power series in a law's own parameter, and its error relative to a curve's largest.
_TERMS, _ERROR = 16, 3e-6

# Where FSPS runs; it stops elsewhere.
_LIMITS = {
    "frac_obrun": (0.0, 1.0),
    "frac_nodust": (0.0, 1.0),
    "uvb": (0.0, np.inf),
    "dust_clumps": (-np.inf, 0.0),
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

    def __init__(self, dust_type, wave, fixed=None, grid=None, dtype=float, ranges=None):
        wave = np.asarray(wave, dtype=float)
        grid = wave if grid is None else np.asarray(grid, dtype=float)
        self.dust_type, self.dtype = check_type(dust_type), np.dtype(dtype)
        self._own = LAWS[self.dust_type].parameters
        self.parameters = self._own + COMMON
        values = DEFAULTS | dict(fixed or {})
        self._fixed = {k: column(values[k], self.dtype) for k in self.parameters}
        self._nonzero = {k: v.any() for k, v in self._fixed.items()}
        # Double precision where it is computed once.
        precise = {k: column(values[k]) for k in self.parameters}
        build = LAWS[self.dust_type].build
        self._tau_fixed = build(wave, grid, np.dtype(float))(precise).astype(self.dtype)
        self._tau = build(wave, grid, self.dtype)
        self._series = None
        own = [k for k in self._own if k in (ranges or {})]
        if len(own) == 1 and "dust2" in ranges:
            exact = build(wave, grid, np.dtype(float))
            self._series = _Series.good(
                lambda p: exact(precise | p), own[0], *ranges[own[0]], self.dtype
            )
        log = np.log(wave / REFERENCE)
        self._cloud_fixed = (-np.exp(precise["dust1_index"] * log)).astype(self.dtype)
        self._log = log.astype(self.dtype)

    def __call__(self, params):
        """`Transmission` for `params`."""
        p = self._columns(params)
        seen = self._exponents(params, p, [slice(None)])[0]
        return self._transmission(params, p, self._dustless(p), *seen)

    def _transmission(self, params, p, none, at, diffuse, cloud, third):
        """`Transmission` from exponents at the wavelengths `at`, which become it."""
        old = diffuse = np.exp(diffuse, out=diffuse)
        young = np.exp(cloud, out=cloud)
        if self._some("frac_obrun", p):
            young = young * (1.0 - p["frac_obrun"]) + p["frac_obrun"]
        if self._some("frac_nodust", p):
            old = (1.0 - p["frac_nodust"]) * old + p["frac_nodust"]
        in_place = len(young) == np.broadcast(young, old).shape[0]
        young = np.multiply(young, old, out=young if in_place else None)
        if third is not None:
            old = old * np.exp(third)
        if none is not None:
            young, old = np.where(none, 1.0, young), np.where(none, 1.0, old)
        agn = diffuse
        if self.dust_type == WITT_GORDON:
            agn = np.exp(-p["dust2"] * self._curve(params, p)[:, at])
        return Transmission(young, old, diffuse, agn)

    def absorbed(self, params):
        """Fractions of young and old light that are absorbed, (n or 1, nwave) each.

        One minus the transmission, exact to rounding where that is close to one.
        """
        p = self._columns(params)
        lost = self._exponents(params, p, [slice(None)])[0]
        return self._absorbed(p, self._dustless(p), *lost[1:])

    def _absorbed(self, p, none, diffuse, cloud, third):
        # Nothing is left there, and where single precision ends numpy is ten times slower.
        for exponent in (diffuse, cloud):
            np.maximum(exponent, -80.0, out=exponent)
        old = np.negative(np.expm1(diffuse, out=diffuse), out=diffuse)
        np.negative(np.expm1(cloud, out=cloud), out=cloud)
        if self._some("frac_obrun", p):
            cloud = cloud * (1.0 - p["frac_obrun"])
        if self._some("frac_nodust", p):
            old = old * (1.0 - p["frac_nodust"])
        young = cloud + old - cloud * old
        if third is not None:
            extra = -np.expm1(third)
            old = extra + old - extra * old
        if none is not None:
            young, old = np.where(none, 0.0, young), np.where(none, 0.0, old)
        return young, old

    def in_turn(self, params, *sets):
        """Three results at three sets of wavelengths for less than thrice.

        Parameters
        ----------
        params : dict
        *sets : slice
            Of the wavelengths, three.

        Returns
        -------
        Transmission, (ndarray, ndarray), ndarray
            At the first set, `absorbed` at the second, `Transmission.diffuse` at the third.
        """
        p = self._columns(params)
        seen, lost, rest = self._exponents(params, p, sets)
        none = self._dustless(p)
        return (
            self._transmission(params, p, none, *seen),
            self._absorbed(p, none, *lost[1:]),
            np.exp(rest[1], out=rest[1]),
        )

    def emits(self, params):
        """Whether FSPS adds dust emission, bool (n or 1,): with dust1 or dust2 above zero."""
        return self._dusty(self._columns(params))[:, 0]

    @staticmethod
    def _dusty(p):
        return (p["dust1"] > TINY) | (p["dust2"] > TINY)

    def _columns(self, params):
        return self._fixed | {
            k: column(params[k], self.dtype) for k in self.parameters if k in params
        }

    def _some(self, name, p):
        """Whether a parameter is other than zero anywhere."""
        return self._nonzero[name] if p[name] is self._fixed[name] else p[name].any()

    def _curve(self, params, p):
        """tau(lambda); not to be changed in place."""
        if any(k in params for k in self._own):
            return self._tau(p)
        return self._tau_fixed

    def _exponents(self, params, p, sets):
        """At sets of wavelengths: which, and of the diffuse dust, the clouds and dust3 (or None).

        Arrays of their own, for passes over them to be quick.
        """
        third = self._some("dust3", p)
        if self._series is not None and [k for k in self._own if k in params] == [
            self._series.name
        ]:
            powers = self._series.powers(p, -p["dust2"])
            diffuse = [powers @ self._series.coefficients[:, at] for at in sets]
        else:
            whole = self._exponent(params, p)
            diffuse = [np.ascontiguousarray(whole[:, at]) for at in sets]
        return [
            (
                at,
                d,
                self._cloud(params, p, at),
                -p["dust3"] * self._curve(params, p)[:, at] if third else None,
            )
            for at, d in zip(sets, diffuse, strict=True)
        ]

    def _exponent(self, params, p):
        """Exponent of the diffuse dust, (n, nwave), the caller's own."""
        scale = -1.0 if self.dust_type == WITT_GORDON else -p["dust2"]
        if any(k in params for k in self._own):
            tau = self._tau(p)
            in_place = np.ndim(scale) == 0 or len(scale) <= len(tau)
            return np.multiply(tau, scale, out=tau if in_place else None)
        return self._tau_fixed * scale

    def _cloud(self, params, p, at):
        """Exponent of the birth clouds at some wavelengths, (n, m), the caller's own."""
        if "dust1_index" not in params:
            return p["dust1"] * self._cloud_fixed[:, at]
        out = p["dust1_index"] * self._log[at]
        return -p["dust1"] * np.exp(out, out=out)

    def _dustless(self, p):
        """Rows (n or 1, 1) in which FSPS does not call its dust routine, or None."""
        if self.dust_type == WITT_GORDON:
            return None
        none = ~self._dusty(p)
        return none if none.any() else None


class _Series:
    """A curve that one parameter changes, as a power series in it: one matrix product.

    Attributes
    ----------
    coefficients : ndarray, shape (_TERMS, nwave)
    """

    def __init__(self, tau, name, low, high, dtype):
        self.name, self._middle, self._half = name, 0.5 * (low + high), 0.5 * (high - low)
        # At Chebyshev's nodes; the coefficients of these curves, exponentials, fall steeply.
        x = np.cos(np.pi * (np.arange(_TERMS) + 0.5) / _TERMS)[:, None]
        powers = np.vander(x[:, 0], _TERMS, increasing=True)
        self.coefficients = np.linalg.solve(powers, tau({name: self._middle + self._half * x}))
        self.coefficients = self.coefficients.astype(dtype)

    @classmethod
    def good(cls, tau, name, low, high, dtype):
        """A series of ``tau({name: (n, 1)})``, or None if it is off by more than `_ERROR`."""
        if not high > low:
            return None
        made = cls(tau, name, low, high, dtype)
        x = {name: np.linspace(low, high, 50)[:, None]}
        exact = tau(x)
        off = np.abs(made.powers(x, 1.0) @ made.coefficients - exact).max(axis=0)
        return made if (off <= _ERROR * np.maximum(np.abs(exact).max(axis=0), 0.01)).all() else None

    def powers(self, p, scale):
        """What multiplies the coefficients for ``p[name]`` (n, 1), times `scale`."""
        x = (p[self.name][:, 0] - self._middle) / self._half
        powers = np.empty((_TERMS, x.size), self.coefficients.dtype)
        powers[0], powers[1] = np.broadcast_to(scale, (len(x), 1))[:, 0], x
        powers[1] *= powers[0]
        for k in (2, 4, 8):
            x = x * x
            np.multiply(powers[:k], x, out=powers[k : 2 * k])
        return powers.T


def prepare(dust_type, wave, fixed=None, grid=None, dtype=float, ranges=None):
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
    ranges : dict, optional
        ``{name: (low, high)}`` of parameters that vary within these alone. Where that is
        ``dust2`` and one more of the law's own, its curves become a series in it.

    Returns
    -------
    PreparedLaw
        ``law(params) -> Transmission``, ``law.absorbed(params) -> (young, old)``.

    Raises
    ------
    RangeError
        If FSPS has no such law.
    """
    return PreparedLaw(dust_type, wave, fixed, grid, dtype, ranges)


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
