"""The priors of a Prospector model, evaluated for a whole batch of vectors at once.

Priors of the same family are merged into one operation on all their columns:
a model has a dozen priors, and a dozen small NumPy calls cost more than one.
Every closed form is compared with the prior object; what has none, or does not
agree, is evaluated by its own methods, in batches if these can, else row by row.
"""

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from prospect.models.parameters import ProspectorParams
from scipy.integrate import IntegrationWarning
from scipy.stats import qmc

from ..errors import ModelMismatchError
from .prior_families import FAMILIES
from .prior_joint import JOINT

# A prior with closed form must agree with the prior object itself to the first; to
# the second in the last 1e-9 of either tail, where Prospector's own forms lose digits,
# and for joint priors, which hold differences of lookback times.
_TOLERANCE, _TAIL = 1e-10, 1e-8
_PROBES = 24


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
    spans : tuple of (str, slice)
        Parameters and their places in the vector.
    joint : bool
        Whether one of the columns depends on the others.
    rows : bool
        Whether `quantile` runs row by row.
    inverse : callable, optional
        Of `quantile`, where there is a closed form.
    """

    columns: Any
    quantile: Any
    log_density: Any
    spans: tuple = ()
    joint: bool = False
    rows: bool = False
    inverse: Any = None


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
    if not _plain(model):
        return _whole(model)
    families: dict[Any, list] = {}
    compiled = []
    for name, span in model.theta_index.items():
        prior = model.config_dict[name]["prior"]
        member = _Member(name, prior, span)
        expected = member.probe()
        family = FAMILIES.get(type(prior))
        if family is not None and _agrees(_merged(family, [member]), member, expected):
            families.setdefault(id(family), [family]).append(member)
        else:
            compiled.append(_single(member, expected))
    return [_merged(family, members) for family, *members in families.values()] + compiled


def ranges(model_or_compiled, q=1e-4):
    """Ranges of the free parameters that hold all but `q` of the prior on either side.

    Returns
    -------
    dict
        Parameter -> (lo, hi), ndarray of shape (k,) each. For joint priors from draws,
        with 2 % of their range added on both sides (`widened`).
    """
    given = model_or_compiled
    compiled = given if isinstance(given, list) else compile_priors(given)
    out = {}
    for prior in compiled:
        size = sum(span.stop - span.start for _, span in prior.spans)
        u = np.repeat([[q], [1.0 - q]], size, axis=1)
        if prior.joint:
            u = unit_draws(size, 1024 if prior.rows else 4096, q)
        values = prior.quantile(u)
        lo, hi = values.min(axis=0), values.max(axis=0)
        if prior.joint:
            lo, hi = widened(lo, hi, 0.02)
        start = 0
        for name, span in prior.spans:
            stop = start + span.stop - span.start
            out[name] = (lo[start:stop], hi[start:stop])
            start = stop
    return out


def widened(lo, hi, margin):
    """A range with `margin` of it added on both sides, less where that would change a sign."""
    pad = margin * (hi - lo)
    low = np.where(lo >= 0.0, np.maximum(lo - pad, lo * (1.0 - margin)), lo - pad)
    high = np.where(hi <= 0.0, np.minimum(hi + pad, hi * (1.0 - margin)), hi + pad)
    return low, high


def unit_draws(ndim, n, tail=1e-4):
    """Points of the unit cube that explore it and its corners, (n, ndim).

    Half of them a Sobol sequence, a quarter with some coordinates at `tail` or
    1 - `tail`, a quarter with all of them there; first the lowest and the highest corner.
    """
    if ndim == 0:
        return np.empty((n, 0))
    u = qmc.Sobol(ndim, seed=1).random(1 << max(n - 1, 1).bit_length())[:n]
    corner = np.where(u < 0.5, tail, 1.0 - tail)
    rng = np.random.default_rng(1)
    kind = np.arange(n) % 4
    extreme = (kind == 3)[:, None] | ((kind == 2)[:, None] & (rng.random(u.shape) < 0.3))
    u = np.where(extreme, corner, tail + (1.0 - 2.0 * tail) * u)
    u[0], u[-1] = tail, 1.0 - tail
    return u


def prior_draws(compiled, u):
    """Parameter vectors (n, ndim) at points `u` (n, ndim) of the unit cube."""
    theta = np.empty(u.shape)
    for prior in compiled:
        theta[:, prior.columns] = prior.quantile(u[:, prior.columns])
    return theta


@dataclass(frozen=True)
class _Member:
    """A prior and its place in the vector."""

    name: str
    prior: Any
    span: slice

    @property
    def size(self):
        return self.span.stop - self.span.start

    @property
    def index(self):
        return np.arange(self.span.start, self.span.stop)

    @property
    def points(self):
        """Where closed forms are compared, tails included."""
        inner = np.random.default_rng(1).random((_PROBES, self.size))
        return np.concatenate([inner, [[1e-9] * self.size, [1 - 1e-9] * self.size]])

    def probe(self):
        """What the prior itself gives, row by row."""
        kind = type(self.prior).__name__
        try:
            expected = _Rows(self.prior.unit_transform)(self.points)
        except Exception as err:
            raise ModelMismatchError(
                f"The prior of {self.name!r} ({kind}) has no usable unit_transform "
                f"({type(err).__name__}: {err}); give it another prior."
            ) from err
        if not np.isfinite(expected).all():
            raise ModelMismatchError(
                f"The prior of {self.name!r} ({kind}) does not map the unit cube to finite values "
                f"of {self.size} parameters; give it another prior."
            )
        return expected

    def log_density(self, x):
        """Of the prior itself, (n,)."""
        with np.errstate(all="ignore"):
            return np.array([np.sum(self.prior(row)) for row in x], dtype=float)


def _merged(family, members):
    """One operation for all priors of a family."""
    index = np.concatenate([m.index for m in members])
    arguments = [
        np.concatenate(parts)
        for parts in zip(
            *(
                [
                    np.broadcast_to(np.asarray(a, float), (m.size,))
                    for a in family.arguments(m.prior)
                ]
                for m in members
            ),
            strict=True,
        )
    ]
    density = _FamilyDensity(family.log_density, arguments)
    spans = tuple((m.name, m.span) for m in members)
    return CompiledPrior(_columns(index), family.quantile(*arguments), density, spans)


def _single(member, expected):
    """A prior by a joint closed form, by its own methods in batches, or row by row."""
    prior, columns = member.prior, _columns(member.index)
    spans, joint = ((member.name, member.span),), member.size > 1
    make = JOINT.get(type(prior))
    if make is not None:
        try:
            quantile, density, comparable, inverse = make(prior, member.size)
            density_of = density or member.log_density
            compiled = CompiledPrior(columns, quantile, density_of, spans, joint, inverse=inverse)
        except Exception:  # a prior of another version: its own methods are right
            pass
        else:
            if _agrees(compiled, member, expected, density is not None and comparable):
                return compiled
    good = _close(_attempt(prior.unit_transform, member.points), expected, 1e-12)
    good &= _close(_attempt(prior.unit_transform, member.points[:3]), expected[:3], 1e-12)
    quantile = prior.unit_transform if good else _Rows(prior.unit_transform)
    return CompiledPrior(columns, quantile, member.log_density, spans, joint, not good)


def _agrees(compiled, member, expected, density=True):
    """Whether a closed form gives what the prior itself gives, tails and outside included."""
    got = _attempt(compiled.quantile, member.points)
    inner = _TAIL if compiled.joint else _TOLERANCE
    if not _close(got, expected, _TAIL) or not _close(got[:-2], expected[:-2], inner):
        return False
    width = expected.max(axis=0) - expected.min(axis=0)
    x = np.concatenate([expected, expected[:2] - 2.0 * width, expected[:2] + 2.0 * width])
    if not density:
        return True
    # Prospector's own are NaN in places (powers of negative numbers): nothing to compare.
    with warnings.catch_warnings():
        # Of astropy's age of the universe far outside a prior.
        warnings.simplefilter("ignore", IntegrationWarning)
        own = member.log_density(x)
    got = _attempt(compiled.log_density, x)
    known = ~np.isnan(own)
    return got is not None and _close(got[known], own[known], 1e-7)


def _attempt(function, x):
    try:
        with np.errstate(all="ignore"):
            return np.asarray(function(x), dtype=float)
    except Exception:  # a prior is free to know single vectors only
        return None


def _close(a, b, tolerance):
    return a is not None and a.shape == b.shape and np.allclose(a, b, tolerance, tolerance)


def _columns(index):
    """A slice where the columns are neighbours: indexing with it copies nothing."""
    if np.array_equal(index, np.arange(index[0], index[0] + index.size)):
        return slice(int(index[0]), int(index[0]) + index.size)
    return index


class _Rows:
    """A function of one vector, applied to each row."""

    def __init__(self, function):
        self.function = function

    def __call__(self, x):
        return np.array([np.broadcast_to(self.function(row), row.shape) for row in x], dtype=float)


class _FamilyDensity:
    """Sum of log densities of a family's columns."""

    def __init__(self, log_density, arguments):
        self.log_density, self.arguments = log_density, arguments

    def __call__(self, x):
        with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
            return self.log_density(np.asarray(x, dtype=float), *self.arguments).sum(axis=1)


def _plain(model):
    """Whether the model's prior is the product of those of its parameters."""
    kind = type(model)
    return all(
        getattr(kind, name, None) is getattr(ProspectorParams, name)
        for name in ("prior_transform", "_prior_product")
    )


def _whole(model):
    """A model with a prior of its own (such as ProspectorHyperParams), vector by vector."""
    spans = tuple(model.theta_index.items())
    rows = _Rows(model.prior_transform)
    try:
        good = np.isfinite(rows(unit_draws(model.ndim, 4))).all()
    except Exception as err:
        raise ModelMismatchError(
            f"{type(model).__name__}.prior_transform fails ({type(err).__name__}: {err}); check "
            "the model's priors."
        ) from err
    if not good:
        raise ModelMismatchError(
            f"{type(model).__name__}.prior_transform does not map the unit cube to finite values; "
            "check the model's priors."
        )

    def log_density(x):
        with np.errstate(all="ignore"):
            return np.array([np.sum(model._prior_product(row)) for row in x], dtype=float)

    return [CompiledPrior(slice(0, model.ndim), rows, log_density, spans, True, True)]
