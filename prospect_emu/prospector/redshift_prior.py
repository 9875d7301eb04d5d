"""Priors of a free redshift, from words or a table of p(z).

Plain data describe them, ``{"uniform": [lo, hi]}``, ``{"normal": [mean, sigma]}`` or
``{"table": [[z, ...], [p, ...]]}``, which JSON holds and workers are sent; ``{"model": []}`` is
the model's own (Prospector-beta's).
"""

from pathlib import Path

import numpy as np

from ..errors import DataError, RangeError
from ..observe.table_files import read_columns
from . import priors
from .beta_models import OWN

DEFAULT = "uniform:0.01,12"
# Redshifts that priors may reach, those of Prospector-beta.
LIMITS = (0.001, 20.0)
# Standard deviations at which a normal prior ends: a network covers so many redshifts only.
_WIDTH = 5.0
# How a prior begins that is not a file.
WORDS = ("uniform:", "normal:")
_COLUMNS = {"z": ("z", "zred", "redshift"), "p": ("p", "pz", "p(z)", "pdf", "density")}


def describe_prior(text):
    """A prior as plain data.

    Parameters
    ----------
    text : str or path-like
        ``uniform:LO,HI``, ``normal:MEAN,SIGMA``, "model", or a table with the columns z and p.

    Returns
    -------
    dict

    Raises
    ------
    DataError
        If it is none of these.
    RangeError
        If it reaches outside `LIMITS`.
    """
    if str(text) == OWN:
        return {OWN: []}
    if not str(text).startswith(WORDS):
        return {"table": _table(Path(text))}
    kind, _, values = str(text).partition(":")
    try:
        a, b = (float(v) for v in values.split(","))
    except ValueError:
        raise DataError(
            f"The prior {str(text)!r} is not {kind}:A,B with two numbers; write {DEFAULT} or "
            "normal:1.2,0.1."
        ) from None
    return {kind: check_normal(a, b) if kind == "normal" else _check_range(a, b)}


def check_normal(mean, sigma):
    """[mean, sigma] of a normal prior that `LIMITS` do not cut to nothing."""
    if not (LIMITS[0] <= mean <= LIMITS[1] and 0.0 < sigma < np.inf):
        raise RangeError(
            f"A normal prior of the redshift, mean {mean:g} and sigma {sigma:g}, needs a mean "
            f"from {LIMITS[0]:g} to {LIMITS[1]:g} and a positive sigma."
        )
    return [mean, sigma]


def redshift_prior(described):
    """The Prospector prior of what `describe_prior` gave; "model" for the model's own."""
    if OWN in described:
        return OWN
    if "uniform" in described:
        low, high = described["uniform"]
        return priors.Uniform(mini=low, maxi=high)
    if "normal" in described:
        mean, sigma = described["normal"]
        low, high = np.clip([mean - _WIDTH * sigma, mean + _WIDTH * sigma], *LIMITS).tolist()
        return priors.TruncatedNormal(mean=mean, sigma=sigma, mini=low, maxi=high)
    x, density = (np.asarray(v, dtype=float) for v in described["table"])
    return priors.Tabulated(x=x, density=density)


def _check_range(low, high):
    if not LIMITS[0] <= low < high <= LIMITS[1]:
        raise RangeError(
            f"A prior of the redshift from {low:g} to {high:g} is not a range inside "
            f"{LIMITS[0]:g} to {LIMITS[1]:g}; narrow it."
        )
    return [low, high]


def _table(path):
    z, p = read_columns(path, _COLUMNS)
    good = z.size > 1 and np.isfinite(z).all() and np.isfinite(p).all()
    if not good or not (np.diff(z) > 0).all() or (p < 0).any() or not (p > 0).any():
        raise DataError(
            f"{path} is not a table of p(z): z must increase, and p be finite, not negative and "
            "somewhere positive."
        )
    # The prior ends where the table's density does.
    some = np.flatnonzero(p > 0)
    keep = slice(max(some[0] - 1, 0), some[-1] + 2)
    z, p = z[keep], p[keep]
    _check_range(z[0], z[-1])
    return [z.tolist(), p.tolist()]
