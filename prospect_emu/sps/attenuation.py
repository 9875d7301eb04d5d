"""Attenuation by dust: FSPS's laws, one small function each, and what they let through.

To add a law: write a function that takes the wavelengths and returns a function
of the parameters, and register it with `@law(number, names of its parameters)`.

FSPS multiplies the light of stars younger than ``dust_tesc`` by the transmission of
their birth clouds (a power law), that of older stars by ``exp(-dust3 tau)``, and
both by that of the diffuse dust, ``exp(-dust2 tau)``; a fraction of the young stars
(``frac_obrun``) is outside the clouds, a fraction of all light (``frac_nodust``)
misses the diffuse dust. Sources of the laws: Cardelli et al. (1989), Calzetti et
al. (2000), Witt & Gordon (2000), Gordon et al. (2003), Kriek & Conroy (2013), Reddy
et al. (2015). FSPS writes its constants in single precision; `single` keeps them.
"""

from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..errors import RangeError
from ..files import load_tensors
from ..parameters import DEFAULTS
from .constants import REFERENCE, TINY, column, interpolate, single

CURVES_KIND = "prospect_emu attenuation curves"
CURVES_FILE = Path(__file__).parents[1] / "data" / "ingredients" / "attenuation.safetensors"
WITT_GORDON = 3
# Parameters that every law shares.
COMMON = ("dust1", "dust1_index", "dust2", "dust3", "frac_nodust", "frac_obrun")


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


class Law(NamedTuple):
    """A registered law: names of its own parameters and the function that builds its curve.

    ``build(wave, grid, dtype)`` returns ``tau(p)``, a function of a dict of columns
    (n, 1), which returns a fresh array (n, nwave).
    """

    name: str
    parameters: tuple
    build: Callable


LAWS: dict[int, Law] = {}


def law(dust_type, *parameters):
    """Register a law under FSPS's number."""

    def register(build):
        LAWS[dust_type] = Law(build.__name__, parameters, build)
        return build

    return register


# ---- the laws -------------------------------------------------------------------


@law(0, "dust_index")
def power_law(wave, grid, dtype):
    """A power law of index ``dust_index``."""
    log = np.log(wave / REFERENCE).astype(dtype)

    def tau(p):
        out = p["dust_index"] * log
        return np.exp(out, out=out)

    return tau


@law(1, "mwr", "uvb")
def milky_way(wave, grid, dtype):
    """Cardelli et al. (1989) for R_V = ``mwr``, the 2175 A bump scaled by ``uvb``.

    Linear in 1, 1 / mwr and their products with uvb. FSPS joins the near
    ultraviolet to the optical at the reddest wavelength of its grid below 3030 A.
    """
    a, b = (np.zeros((2, wave.size)) for _ in range(2))
    x = 1e4 / wave
    inside = (x >= single(0.1)) & (x < single(1.1))
    power = x[inside] ** single(1.61)
    a[0, inside], b[0, inside] = single(0.574) * power, -single(0.527) * power
    inside = (x >= single(1.1)) & (x < single(3.3))
    a[0, inside], b[0, inside] = _cardelli_optical(x[inside])
    inside = (x >= single(3.3)) & (x < 8.0)
    a[:, inside], b[:, inside] = _cardelli_ultraviolet(x[inside])
    inside = (x >= single(3.3)) & (x < single(5.9))
    if inside.any():
        joint = 1e4 / grid
        joint = joint[joint >= single(3.3)][-1]
        scale = (joint / x[inside]) ** 6
        optical = _cardelli_optical(joint)
        for curve, there, here in zip(
            (a, b), optical, _cardelli_ultraviolet(np.array([joint])), strict=True
        ):
            curve[0, inside] += scale * (there - here[0])
            curve[1, inside] -= scale * here[1]
    inside = x >= 8.0
    y = np.minimum(x[inside], 12.0) - 8.0
    a[0, inside] = -single(1.073) - single(0.628) * y + single(0.137) * y**2 - single(0.070) * y**3
    b[0, inside] = single(13.67) + single(4.257) * y - single(0.42) * y**2 + single(0.374) * y**3
    a, b = a.astype(dtype), b.astype(dtype)

    def tau(p):
        return a[0] + p["uvb"] * a[1] + (b[0] + p["uvb"] * b[1]) / p["mwr"]

    return tau


@law(2)
def calzetti_law(wave, grid, dtype):
    """Calzetti et al. (2000)."""
    curve = calzetti(wave).astype(dtype)[None]
    return lambda p: curve.copy()


@law(WITT_GORDON, "wgp1", "wgp2", "wgp3")
def witt_gordon(wave, grid, dtype):
    """Witt & Gordon (2000): optical depth ``wgp1``, dust and geometry ``wgp2``, ``wgp3``."""
    curves = tabulated("witt_gordon", wave).astype(dtype)

    def tau(p):
        index = [np.asarray(p[f"wgp{i}"]).astype(int).ravel() - 1 for i in (1, 2, 3)]
        return curves[tuple(np.broadcast_arrays(*index))]

    return tau


@law(4, "dust_index")
def kriek_conroy(wave, grid, dtype):
    """Kriek & Conroy (2013): Calzetti times a power law, with a bump that follows its index."""
    plain, drude = calzetti(wave), bump(wave)
    plain, drude = (plain + single(0.85) * drude).astype(dtype), (single(1.9) * drude).astype(dtype)
    log = np.log(wave / REFERENCE).astype(dtype)

    def tau(p):
        # In place: these are the largest arrays of a fit.
        index = p["dust_index"]
        out = index * log
        np.exp(out, out=out)
        curve = index * -drude
        curve += plain
        out *= curve
        return out

    return tau


@law(5)
def small_magellanic_cloud(wave, grid, dtype):
    """The bar of the SMC (Gordon et al. 2003)."""
    curve = tabulated("smc", wave).astype(dtype)[None]
    return lambda p: curve.copy()


@law(6)
def reddy(wave, grid, dtype):
    """Reddy et al. (2015): constant below 1500 A, zero beyond 2.85 um.

    The constant is the value at the last wavelength of FSPS's grid up to 1500 A,
    and the red branch begins at the last one up to 6000 A.
    """
    starts = [grid[np.searchsorted(grid, edge, side="right") - 1] for edge in (1500.0, 6000.0)]
    x = 1e4 / np.maximum(wave, starts[0])
    blue = -single(5.726) + single(4.004) * x - single(0.525) * x**2 + single(0.029) * x**3
    red = -single(2.672) - single(0.010) / x * x**2 + single(1.532) * x**2 - single(0.412) * x**3
    curve = np.where(wave < starts[1], blue, red - single(0.036221981)) + single(2.505)
    curve = (np.where(wave <= 28500.0, curve, 0.0) / single(2.505)).astype(dtype)[None]
    return lambda p: curve.copy()


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


def _cardelli_optical(x):
    y = x - single(1.82)
    a = (1.0, 0.17699, -0.50447, -0.02427, 0.72085, 0.01979, -0.77530, 0.32999)
    b = (0.0, 1.41338, 2.28305, 1.07233, -5.38434, -0.62251, 5.3026, -2.09002)
    return tuple(np.polynomial.polynomial.polyval(y, [single(c) for c in k]) for k in (a, b))


def _cardelli_ultraviolet(x):
    """Coefficients of 1 and of 1 / mwr, each (2, n): plain, and to be scaled by ``uvb``."""
    y = np.where(x >= single(5.9), x - single(5.9), 0.0)
    a = np.array([
        single(1.752) - single(0.316) * x - single(0.04473) * y**2 - single(0.009779) * y**3,
        -single(0.104) / ((x - single(4.67)) ** 2 + single(0.341)),
    ])  # fmt: skip
    b = np.array([
        -single(3.09) + single(1.825) * x + single(0.2130) * y**2 + single(0.1207) * y**3,
        single(1.206) / ((x - single(4.62)) ** 2 + single(0.263)),
    ])  # fmt: skip
    return a, b


@lru_cache(maxsize=1)
def _curves():
    return load_tensors(CURVES_FILE, CURVES_KIND)[0]


def tabulated(name, wave):
    """A tabulated curve (..., nwave): constant below its first wavelength, zero beyond its last."""
    nodes, values = _curves()[f"{name}_wave"], _curves()[f"{name}_tau"]
    out = interpolate(nodes, values, np.clip(wave, nodes[0], nodes[-1]))
    return np.where(wave > nodes[-1], 0.0, out)


# ---- what the dust lets through ----------------------------------------------------


class PreparedLaw:
    """A law at given wavelengths; made by `prepare`.

    Call it with a dict of parameters, (n,) or scalars. What it names takes the place
    of `fixed`, and what neither names is FSPS's default. Names of other parameters are
    not looked at.
    """

    def __init__(self, dust_type, wave, fixed=None, grid=None, dtype=float):
        if dust_type not in LAWS:
            known = ", ".join(f"{k} ({v.name})" for k, v in sorted(LAWS.items()))
            raise RangeError(f"dust_type is {dust_type!r}; FSPS has the laws {known}.")
        wave = np.asarray(wave, dtype=float)
        grid = wave if grid is None else np.asarray(grid, dtype=float)
        self.dust_type, self.dtype = int(dust_type), np.dtype(dtype)
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
            young *= 1.0 - p["frac_obrun"]
            young += p["frac_obrun"]
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
            cloud *= 1.0 - p["frac_obrun"]
        if np.any(p["frac_nodust"]):
            old *= 1.0 - p["frac_nodust"]
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


def check(params):
    """Refuse parameters of the dust for which FSPS stops.

    Parameters
    ----------
    params : dict
        Scalars or arrays; absent ones are FSPS's defaults.

    Raises
    ------
    RangeError
        Names the parameter, the value and what FSPS allows.
    """
    ranges = {
        "frac_obrun": (0.0, 1.0),
        "frac_nodust": (0.0, 1.0),
        "uvb": (0.0, np.inf),
        "dust_clumps": (-np.inf, TINY),
        "dust_tesc": (single(5.5), np.inf),
    }
    if np.any(np.asarray(params.get("dust_type", 0)) == WITT_GORDON):
        ranges |= {"wgp1": (1, 18), "wgp2": (1, 6), "wgp3": (1, 2)}
    for name, (low, high) in ranges.items():
        value = np.asarray(params.get(name, DEFAULTS[name]))
        bad = ~((value >= low) & (value <= high))
        if bad.any():
            raise RangeError(
                f"{name} is {float(value[bad].flat[0]):g}; FSPS allows {low:g} to {high:g}."
            )
