"""Prospector's priors in closed form: quantiles and log densities of many columns at once.

`FAMILIES` maps the exact class of a prior to its family: the arguments that the
prior holds, as one array each, and the functions of these. Priors of one family
are merged into one operation on all their columns.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from prospect.models import priors as prospector
from scipy import special
from scipy.special import ndtri

from . import priors


@dataclass(frozen=True)
class Family:
    """Priors that share a formula.

    Attributes
    ----------
    arguments : callable
        Prior -> tuple of what describes it, each scalar or of the prior's length.
    quantile : callable
        Of the arguments, (k,) each: gives a function of u (n, k).
    log_density : callable
        Of x (n, k) and the arguments: (n, k), -inf outside.
    """

    arguments: Callable
    quantile: Callable
    log_density: Callable


def clip(x, lo, hi):
    """`numpy.clip` in place, without its cost per call."""
    np.maximum(x, lo, out=x)
    np.minimum(x, hi, out=x)
    return x


def _of_params(*keys):
    return lambda prior: tuple(prior.params[k] for k in keys)


def _inside(log_density, x, lo, hi):
    return np.where((x >= lo) & (x <= hi), log_density, -np.inf)


# ---- uniform ---------------------------------------------------------------------


def _uniform(lo, hi):
    width = hi - lo
    return lambda u: clip(lo + u * width, lo, hi)


def _uniform_log(x, lo, hi):
    return _inside(-np.log(hi - lo), x, lo, hi)


def _loguniform(lo, hi):
    ratio = np.log(hi / lo)
    return lambda u: clip(lo * np.exp(u * ratio), lo, hi)


def _loguniform_log(x, lo, hi):
    return _inside(-np.log(x) - np.log(np.log(hi / lo)), x, lo, hi)


# ---- normal ------------------------------------------------------------------------


def _normal(mean, sigma):
    return lambda u: mean + sigma * ndtri(u)


def _normal_log(x, mean, sigma):
    z = (x - mean) / sigma
    return -0.5 * z * z - np.log(sigma) - 0.5 * np.log(2.0 * np.pi)


def _clipped(quantile):
    """A family's quantiles, within its last two arguments."""

    def make(*arguments):
        inner = quantile(*arguments)
        return lambda u: clip(inner(u), *arguments[-2:])

    return make


def _within(log_density):
    """Its log density, -inf outside of them."""
    return lambda x, *arguments: _inside(log_density(x, *arguments), x, *arguments[-2:])


def _lognormal(scale, sigma):
    return lambda u: scale * np.exp(sigma * ndtri(u))


def _lognormal_log(x, scale, sigma):
    x = np.where(x > 0.0, x, np.nan)
    out = _normal_log(np.log(x / scale), 0.0, sigma) - np.log(x)
    return np.where(np.isnan(out), -np.inf, out)


def _of_lognormal(prior):
    return prior.scale, prior.args[0]


# ---- Student's t -------------------------------------------------------------------


def _student(mean, scale, df):
    one, two = df == 1.0, df == 2.0
    if two.all():
        return lambda u: mean + scale * (2.0 * u - 1.0) / np.sqrt(2.0 * u * (1.0 - u))
    if one.all():
        # By the nearer end, where the distance to it is exact.
        return lambda u: mean + np.copysign(scale / np.tan(np.pi * np.minimum(u, 1.0 - u)), u - 0.5)
    return lambda u: mean + scale * special.stdtrit(df, u)


def _student_log(x, mean, scale, df):
    z = (x - mean) / scale
    norm = special.gammaln(0.5 * (df + 1.0)) - special.gammaln(0.5 * df)
    return norm - 0.5 * np.log(df * np.pi) - np.log(scale) - 0.5 * (df + 1.0) * np.log1p(z * z / df)


def _even_t2(half, scale):
    """Prospector's truncated t with two degrees of freedom, centred."""
    return _clipped(priors.t2_quantile)(np.zeros_like(half), scale, -half, half)


def _even_t2_log(x, half, scale):
    """Normalised as Prospector's, which is right for a scale of one only."""
    t = x / scale
    norm = np.sqrt(1.0 + 0.5 * half**2) / (2.0 * scale * half)
    return _inside(np.log(norm) - 1.5 * np.log1p(0.5 * t * t), x, -half, half)


# ---- beta --------------------------------------------------------------------------


def _of_beta(prior):
    lo, hi = prior.params.get("mini", 0.0), prior.params.get("maxi", 1.0)
    return lo, hi, prior.params["alpha"], prior.params["beta"]


def _beta(lo, hi, alpha, beta):
    width = hi - lo
    if (beta == 1.0).all():
        # The case of Dirichlet histories.
        power = 1.0 / alpha
        return lambda u: lo + width * u**power
    return lambda u: lo + width * special.betaincinv(alpha, beta, u)


def _beta_log(x, lo, hi, alpha, beta):
    y = (x - lo) / (hi - lo)
    inner = special.xlog1py(beta - 1.0, -y) + special.xlogy(alpha - 1.0, y)
    return _inside(inner - special.betaln(alpha, beta) - np.log(hi - lo), x, lo, hi)


_UNIFORM = Family(_of_params("mini", "maxi"), _uniform, _uniform_log)
_NORMAL = _clipped(priors.truncnorm_quantile), _within(priors.truncnorm_logpdf)
_TRUNCATED = Family(_of_params("mean", "sigma", "mini", "maxi"), *_NORMAL)
_LOGNORMAL = Family(_of_lognormal, _lognormal, _lognormal_log)
_EVEN = Family(lambda p: (p.hw, p.sig), _even_t2, _even_t2_log)

# By exact class: a subclass may differ.
FAMILIES = {
    prospector.Uniform: _UNIFORM,
    prospector.TopHat: _UNIFORM,
    priors.Uniform: _UNIFORM,
    prospector.FastUniform: Family(lambda p: (p.a, p.b), _uniform, _uniform_log),
    prospector.LogUniform: Family(_of_params("mini", "maxi"), _loguniform, _loguniform_log),
    prospector.Normal: Family(_of_params("mean", "sigma"), _normal, _normal_log),
    prospector.ClippedNormal: _TRUNCATED,
    priors.TruncatedNormal: _TRUNCATED,
    prospector.FastTruncatedNormal: Family(lambda p: (p.mu, p.sig, p.a, p.b), *_NORMAL),
    prospector.LogNormal: _LOGNORMAL,
    prospector.LogNormalLinpar: _LOGNORMAL,
    prospector.StudentT: Family(_of_params("mean", "scale", "df"), _student, _student_log),
    priors.TruncatedStudentT2: Family(
        _of_params("mean", "scale", "mini", "maxi"),
        _clipped(priors.t2_quantile),
        _within(priors.t2_logpdf),
    ),
    prospector.FastTruncatedEvenStudentTFreeDeg2: _EVEN,
    prospector.FastTruncatedEvenStudentTFreeDeg2Scalar: _EVEN,
    prospector.Beta: Family(_of_beta, _beta, _beta_log),
}
