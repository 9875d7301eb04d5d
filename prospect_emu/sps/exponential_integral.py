"""The exponential integral of many arguments, from a table.

``r(u) = exp(-u) (Ei(u) - ln u - gamma - exp(u) + 1)`` is smooth in ln u: -u^2 / 4 where u is small,
1 / u - 1 where it is large. Cubics between nodes that have its value and slope give it to 1e-9 of
itself, an order of magnitude faster than `scipy.special.expi`.
"""

from functools import lru_cache

import numpy as np
from scipy.special import expi

# Range of ln u, and step: a year in 1e5 Gyr, the age of the universe in a hundred years.
_LOW, _HIGH, _STEP = -33.0, 19.0, 0.01
# Below the first the power series is summed, above the second the asymptotic one.
_SMALL, _LARGE = 1.0, 500.0


@lru_cache(maxsize=1)
def _table():
    """Four coefficients (ncell,) of cubics in the place inside a cell, 0 to 1."""
    x = np.arange(_LOW, _HIGH + _STEP, _STEP)
    u = np.exp(x)
    value, slope = np.zeros(u.size), np.zeros(u.size)
    small, large = u < _SMALL, u > _LARGE
    middle = ~small & ~large
    term = u[small].copy()
    for k in range(2, 26):
        term *= u[small] / k
        value[small] += term * (1.0 / k - 1.0)
        slope[small] += term * (1.0 - k)
    slope[small] -= u[small] * value[small]
    for part in (value, slope):
        part[small] *= np.exp(-u[small])
    some = u[middle]
    q = np.exp(-some) * (expi(some) - x[middle] - np.euler_gamma)
    value[middle] = q + np.expm1(-some)
    slope[middle] = 1.0 - some * q - (1.0 + some) * np.exp(-some)
    v = 1.0 / u[large]
    rest = v * (1.0 + 2.0 * v * (1.0 + 3.0 * v * (1.0 + 4.0 * v)))
    value[large], slope[large] = v + v * rest - 1.0, -rest
    slope *= _STEP
    gap = np.diff(value)
    square = 3.0 * gap - 2.0 * slope[:-1] - slope[1:]
    return value[:-1].copy(), slope[:-1].copy(), square, slope[:-1] + slope[1:] - 2.0 * gap


def integral_term(log_u):
    """``exp(-u) (Ei(u) - ln u - gamma - exp(u) + 1)`` of ln u, of any shape."""
    value, slope, square, cube = _table()
    place = (log_u - _LOW) * (1.0 / _STEP)
    np.clip(place, 0.0, value.size - 1e-9, out=place)
    cell = place.astype(np.intp)
    place -= cell
    out = cube.take(cell)
    for part in (square, slope, value):
        out *= place
        out += part.take(cell)
    return out
