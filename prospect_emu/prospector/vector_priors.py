"""The priors of a Prospector model, evaluated for a whole batch of vectors at once.

Priors of the same family are merged into one operation on all their columns:
a model has a dozen priors, and a dozen small NumPy calls cost more than one.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from prospect.models import priors as prospect_priors
from scipy.special import ndtr, ndtri

from ..errors import ModelMismatchError
from . import priors

# A prior with closed form must agree with the prior object itself to this.
_TOLERANCE = 1e-10


@dataclass(frozen=True)
class CompiledPrior:
    """Some columns of the parameter vector and their joint prior.

    Attributes
    ----------
    columns : ndarray of int, shape (k,), or slice
    quantile : callable
        (n, k) of cumulative probabilities -> (n, k) values.
    log_density : callable
        (n, k) values -> (n,).
    """

    columns: Any
    quantile: Any
    log_density: Any


def compile_priors(model):
    """Priors of all free parameters of a Prospector model.

    Returns
    -------
    list of CompiledPrior
        Together they cover every column once.

    Raises
    ------
    ModelMismatchError
        If a prior has no `unit_transform` that gives finite values.
    """
    families: dict[str, tuple] = {}
    compiled = []
    for name, span in model.theta_index.items():
        prior = model.config_dict[name]["prior"]
        columns = np.arange(span.start, span.stop)
        family = _family(prior)
        if family is not None and _agrees(_merged(family, [(prior, columns)]), prior):
            # A joint prior has its columns to itself.
            key = name if family == "massmet" else family
            families.setdefault(key, (family, []))[1].append((prior, columns))
        else:
            compiled.append(_single(name, prior, columns))
    return [_merged(family, members) for family, members in families.values()] + compiled


def _family(prior):
    """Which closed form a prior has; exact types, as a subclass may differ."""
    kind = type(prior)
    if kind in (priors.Uniform, prospect_priors.Uniform, prospect_priors.TopHat):
        return "uniform"
    if kind is prospect_priors.LogUniform:
        return "loguniform"
    if kind in (priors.TruncatedNormal, prospect_priors.ClippedNormal):
        return "truncnorm"
    if kind is priors.TruncatedStudentT2:
        return "student"
    if kind is priors.MassMet and _MassMet.holds(prior):
        return "massmet"
    return None


def _merged(family, members):
    columns = np.concatenate([c for _, c in members])
    density = _LogDensity([(p, c.size) for p, c in members])
    if family == "massmet":
        return CompiledPrior(_columns(columns), _MassMet(members[0][0]), density)

    def values(key):
        return np.concatenate(
            [np.broadcast_to(np.asarray(p.params[key], float), c.shape) for p, c in members]
        )

    lo, hi = values("mini"), values("maxi")
    if family == "uniform":
        quantile = _Uniform(lo, hi)
    elif family == "loguniform":
        quantile = _LogUniform(lo, hi)
    elif family == "truncnorm":
        quantile = _TruncatedNormal(values("mean"), values("sigma"), lo, hi)
    else:
        quantile = _Student(values("mean"), values("scale"), lo, hi)
    return CompiledPrior(_columns(columns), quantile, density)


def _columns(index):
    """A slice where the columns are neighbours: indexing with it copies nothing."""
    if np.array_equal(index, np.arange(index[0], index[0] + index.size)):
        return slice(int(index[0]), int(index[0]) + index.size)
    return index


def _clip(x, lo, hi):
    """`numpy.clip` in place, without its cost per call."""
    np.maximum(x, lo, out=x)
    np.minimum(x, hi, out=x)
    return x


def _single(name, prior, columns):
    """A prior by its own methods: in batches if it can, else row by row."""
    probe = np.random.default_rng(1).random((5, columns.size))
    rows = _Rows(prior.unit_transform)
    try:
        expected = rows(probe)
    except Exception as err:
        raise ModelMismatchError(
            f"The prior of {name!r} ({type(prior).__name__}) has no usable unit_transform "
            f"({err}); give it another prior."
        ) from err
    if expected.shape != probe.shape or not np.isfinite(expected).all():
        raise ModelMismatchError(
            f"The prior of {name!r} ({type(prior).__name__}) does not map the unit cube to finite "
            f"values of {columns.size} parameters; give it another prior."
        )
    try:
        batch = np.asarray(prior.unit_transform(probe), dtype=float)
        good = batch.shape == probe.shape and np.allclose(batch, expected, rtol=1e-12, atol=1e-12)
    except Exception:  # the prior is free to know single vectors only
        good = False
    quantile = prior.unit_transform if good else rows
    return CompiledPrior(_columns(columns), quantile, _LogDensity([(prior, columns.size)]))


def _agrees(compiled, prior):
    """Whether a closed form gives what the prior itself gives, tails included."""
    k = len(prior)
    u = np.concatenate([np.random.default_rng(1).random((8, k)), [[1e-9] * k, [1 - 1e-9] * k]])
    expected = _Rows(prior.unit_transform)(u)
    return np.allclose(compiled.quantile(u), expected, rtol=_TOLERANCE, atol=_TOLERANCE)


class _Rows:
    """A function of one vector, applied to each row."""

    def __init__(self, function):
        self.function = function

    def __call__(self, x):
        return np.array([np.broadcast_to(self.function(row), row.shape) for row in x], dtype=float)


class _LogDensity:
    """Sum of log densities; not on the sampler's path, so the priors' own code."""

    def __init__(self, members):
        self.members = members

    def __call__(self, x):
        total, start = np.zeros(len(x)), 0
        for prior, size in self.members:
            part = x[:, start : start + size]
            start += size
            if isinstance(prior, priors.VectorPrior):
                total += prior(part).sum(axis=1)
            else:
                total += np.array([np.sum(prior(row)) for row in part])
        return total


class _Uniform:
    def __init__(self, lo, hi):
        self.lo, self.hi, self.width = lo, hi, hi - lo

    def __call__(self, u):
        return _clip(self.lo + u * self.width, self.lo, self.hi)


class _LogUniform:
    def __init__(self, lo, hi):
        self.lo, self.hi, self.ratio = lo, hi, np.log(hi / lo)

    def __call__(self, u):
        return _clip(self.lo * np.exp(u * self.ratio), self.lo, self.hi)


class _TruncatedNormal:
    """As `priors.TruncatedNormal`, with everything that does not depend on u done before."""

    def __init__(self, mean, sigma, lo, hi):
        self.lo, self.hi, self.mean = lo, hi, mean
        a, b = (lo - mean) / sigma, (hi - mean) / sigma
        flip = a > 0  # work in the lower tail, where ndtr keeps its relative precision
        a, b = np.where(flip, -b, a), np.where(flip, -a, b)
        start, span = ndtr(a), ndtr(b) - ndtr(a)
        self.base = np.where(flip, start + span, start)
        self.slope = np.where(flip, -span, span)
        self.sigma = np.where(flip, -sigma, sigma)

    def __call__(self, u):
        return _clip(self.mean + self.sigma * ndtri(self.base + u * self.slope), self.lo, self.hi)


class _Student:
    def __init__(self, mean, scale, lo, hi):
        self.lo, self.hi, self.mean = lo, hi, mean
        c0, c1 = priors._t2_cdf((lo - mean) / scale), priors._t2_cdf((hi - mean) / scale)
        self.base, self.slope = 2.0 * c0 - 1.0, 2.0 * (c1 - c0)
        self.scale = np.sqrt(2.0) * scale

    def __call__(self, u):
        s = self.base + u * self.slope
        return _clip(self.mean + self.scale * s / np.sqrt((1.0 - s) * (1.0 + s)), self.lo, self.hi)


class _MassMet:
    """As `priors.MassMet`, where the median metallicity lies above the lower bound."""

    def __init__(self, prior):
        self.lo, self.hi = prior.range
        self.width = self.hi[0] - self.lo[0]

    @staticmethod
    def holds(prior):
        """Whether the lower tail is where the precision is needed at every mass."""
        return bool((priors.gallazzi_relation()[:, 1] > prior.range[0][1]).all())

    def __call__(self, u):
        out = np.empty(u.shape)
        mass = self.lo[0] + u[:, 0] * self.width
        mean, sigma = priors.MassMet.metallicity_mean_sigma(mass)
        start, end = ndtr((self.lo[1] - mean) / sigma), ndtr((self.hi[1] - mean) / sigma)
        out[:, 0] = mass
        out[:, 1] = mean + sigma * ndtri(start + u[:, 1] * (end - start))
        return _clip(out, self.lo, self.hi)
