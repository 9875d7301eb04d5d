"""Numbers as FSPS holds them, and its interpolation.

Functions that take a `namespace` of their arguments work on torch's tensors too, with
gradients.
"""

import sys
from functools import partial

import numpy as np


def single(value):
    """A literal as FSPS holds it: rounded to single precision."""
    return float(np.float32(value))


CLIGHT = single(2.9979e18)  # Angstrom/s
LSUN, PLANCK, PI = single(3.839e33), single(6.6261e-27), single(3.14159265)
REFERENCE = 5500.0  # Angstrom, where optical depths are given
LYMAN_EDGE = 912.0  # Angstrom
TINY = 1e-70  # FSPS takes what is no larger for zero
LNU_UNIT = 1e-15  # Lsun/Hz: brings L_nu per Msun near one
PHOTON_UNIT = 1e46  # ionising photons per second, likewise


def namespace(x):
    """torch for its tensors, otherwise numpy."""
    if type(x) is np.ndarray:
        return np
    torch = sys.modules.get("torch")
    return torch if torch is not None and isinstance(x, torch.Tensor) else np


def locate(grid, x):
    """How many nodes of an increasing `grid` lie at or below `x`, as FSPS counts them.

    FSPS's `locate` in 1-based indices; one less at the last node itself.
    """
    count = np.searchsorted(grid, x, side="right")
    return np.where(np.asarray(x) == grid[-1], len(grid) - 1, count)


def interpolate(x, y, xnew):
    """Linear interpolation along the last axis of `y`, extrapolating as FSPS does."""
    lo = np.clip(locate(x, xnew), 1, len(x) - 1) - 1
    frac = (xnew - x[lo]) / (x[lo + 1] - x[lo])
    return y[..., lo] + (y[..., lo + 1] - y[..., lo]) * frac


def find_cell(axis, x, extrapolate=False):
    """Cell of an increasing axis and the position in it, 0 at its start and 1 at its end.

    Outside the axis the position is that of the nearest end, or (`extrapolate`)
    the end cells are continued.
    """
    xp, inner = namespace(x), axis[1:-1]
    # numpy's functions take longer than its methods, which torch lacks.
    search = inner.searchsorted if xp is np else partial(xp.searchsorted, inner)
    cell = search(x, side="right")
    low = axis[cell]
    frac = (x - low) / (axis[cell + 1] - low)
    if extrapolate:
        return cell, frac
    # numpy.clip takes several times as long on a batch.
    return cell, np.minimum(np.maximum(frac, 0.0), 1.0) if xp is np else xp.clip(frac, 0.0, 1.0)


def mixture(axes, coordinates):
    """Nodes of a grid around points, as rows of the flattened grid, and their weights.

    Coordinates (n,), one array for each of the axes; the ends of an axis hold beyond it.
    Both results have the shape (n, 2**naxes).
    """
    index = weight = None
    for axis, x in zip(axes, coordinates, strict=True):
        cell, f = find_cell(axis, x)
        stack = namespace(f).stack
        nodes, shares = stack([cell, cell + 1], -1), stack([1.0 - f, f], -1)
        if index is not None:
            nodes = ((index * len(axis))[..., None] + nodes[:, None]).reshape(len(f), -1)
            shares = (weight[..., None] * shares[:, None]).reshape(len(f), -1)
        index, weight = nodes, shares
    return index, weight


def between(table, cell, frac):
    """Rows (n, ...) of a table between those of `cell` and the next, see `find_cell`."""
    frac = frac[:, None]
    return table[cell] * (1.0 - frac) + table[cell + 1] * frac


def column(value, dtype=float):
    """A parameter, scalar or (n,), as a column (n, 1), n = 1 for a scalar."""
    value = np.asarray(value, dtype=dtype) if namespace(value) is np else value
    return value.reshape(-1, 1)
