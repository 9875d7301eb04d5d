"""FSPS's laws of attenuation: optical depth over wavelength, one small function each.

To add a law: write a function that takes the wavelengths and returns a function
of the parameters, and register it with `@law(number, names of its parameters)`.

Sources: Cardelli et al. (1989), Calzetti et al. (2000), Witt & Gordon (2000), Gordon et al.
(2003), Kriek & Conroy (2013), Reddy et al. (2015). FSPS writes its constants in
single precision; `single` keeps them.
"""

from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..files import load_tensors
from .constants import REFERENCE, interpolate, single

CURVES_KIND = "prospect_emu attenuation curves"
CURVES_FILE = Path(__file__).parents[1] / "data" / "ingredients" / "attenuation.safetensors"
MILKY_WAY, WITT_GORDON = 1, 3


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


@law(MILKY_WAY, "mwr", "uvb")
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
