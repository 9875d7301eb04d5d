"""Priors with closed forms, vectorised over any leading axes.

They are Prospector priors (same call, same attributes), so Prospector's models
take them as they are; unlike Prospector's own, they evaluate a batch of any
shape ``(..., N)`` at once and without `scipy.stats`, which costs a millisecond
a call. ``N`` is the length of the parameter that the prior belongs to.
"""

from functools import lru_cache
from importlib.resources import files

import numpy as np
from prospect.models import priors as prospect_priors
from scipy.special import log_ndtr, ndtr, ndtri


class VectorPrior(prospect_priors.Prior):
    """What the closed-form priors share; subclasses give pdf, cdf and ppf."""

    def _args(self):
        return tuple(np.asarray(self.params[k], dtype=float) for k in self.prior_params)

    def _logpdf(self, x, *args):
        raise NotImplementedError

    def _cdf(self, x, *args):
        raise NotImplementedError

    def _ppf(self, u, *args):
        raise NotImplementedError

    def __call__(self, x, **kwargs):
        """Log density at `x`, shape ``(..., N)``; ``-inf`` outside the bounds."""
        if kwargs:
            self.update(**kwargs)
        x = np.asarray(x, dtype=float)
        lo, hi = self.range
        inside = (x >= lo) & (x <= hi)
        with np.errstate(invalid="ignore", over="ignore"):
            return np.where(inside, self._logpdf(x, *self._args()), -np.inf)

    def unit_transform(self, x, **kwargs):
        """Values at cumulative probabilities `x` (any shape ``(..., N)``)."""
        if kwargs:
            self.update(**kwargs)
        lo, hi = self.range
        # Rounding in the inverse may step over a bound by one ulp.
        return np.clip(self._ppf(np.asarray(x, dtype=float), *self._args()), lo, hi)

    def inverse_unit_transform(self, x, **kwargs):
        """Cumulative probabilities of values `x` (any shape ``(..., N)``)."""
        if kwargs:
            self.update(**kwargs)
        lo, hi = self.range
        return self._cdf(np.clip(np.asarray(x, dtype=float), lo, hi), *self._args())

    def sample(self, nsample=None, rng=None, **kwargs):
        """Draw ``(N,)`` values, or ``(nsample, N)``; `rng` makes it reproducible."""
        if kwargs:
            self.update(**kwargs)
        rng = np.random.default_rng() if rng is None else rng
        shape = (len(self),) if nsample is None else (nsample, len(self))
        return self.unit_transform(rng.random(shape))

    @property
    def range(self):
        """Lower and upper bound, each scalar or of shape ``(N,)``."""
        return self.params["mini"], self.params["maxi"]

    def bounds(self, **kwargs):
        if kwargs:
            self.update(**kwargs)
        return self.range


class Uniform(VectorPrior):
    """Uniform density between `mini` and `maxi`."""

    prior_params = ["mini", "maxi"]  # noqa: RUF012 - Prospector's own convention

    def _logpdf(self, x, lo, hi):
        return np.broadcast_to(-np.log(hi - lo), x.shape)

    def _cdf(self, x, lo, hi):
        return (x - lo) / (hi - lo)

    def _ppf(self, u, lo, hi):
        return lo + u * (hi - lo)


def _lower_tail(mean, sigma, lo, hi):
    """Bounds in sigma, mirrored where `flip`: in the lower tail ndtr keeps its precision."""
    a, b = (lo - mean) / sigma, (hi - mean) / sigma
    flip = a > 0
    return np.where(flip, -b, a), np.where(flip, -a, b), flip


def truncnorm_quantile(mean, sigma, lo, hi):
    """Quantiles of a normal truncated to [lo, hi], accurate in either tail: a function of u."""
    a, b, flip = _lower_tail(mean, sigma, lo, hi)
    start, span = ndtr(a), ndtr(b) - ndtr(a)
    base, slope = np.where(flip, start + span, start), np.where(flip, -span, span)
    sigma = np.where(flip, -sigma, sigma)
    return lambda u: mean + sigma * ndtri(base + u * slope)


def truncnorm_logpdf(x, mean, sigma, lo, hi):
    """Log density of such a normal between its bounds."""
    a, b, _ = _lower_tail(mean, sigma, lo, hi)
    log_norm = log_ndtr(b) + np.log1p(-np.exp(log_ndtr(a) - log_ndtr(b)))
    z = (x - mean) / sigma
    return -0.5 * z * z - 0.5 * np.log(2 * np.pi) - np.log(sigma) - log_norm


def _truncnorm_cdf(x, mean, sigma, lo, hi):
    a, b, flip = _lower_tail(mean, sigma, lo, hi)
    z = np.where(flip, -1.0, 1.0) * (x - mean) / sigma
    p = (ndtr(z) - ndtr(a)) / (ndtr(b) - ndtr(a))
    return np.where(flip, 1.0 - p, p)


class TruncatedNormal(VectorPrior):
    """Normal density with `mean` and `sigma`, truncated to [`mini`, `maxi`]."""

    prior_params = ["mean", "sigma", "mini", "maxi"]  # noqa: RUF012
    _logpdf = staticmethod(truncnorm_logpdf)
    _cdf = staticmethod(_truncnorm_cdf)

    def _ppf(self, u, *args):
        return truncnorm_quantile(*args)(u)


def _t2_cdf(t):
    """Cumulative distribution of Student's t with two degrees of freedom."""
    return 0.5 + 0.5 * t / np.sqrt(2.0 + t * t)


def t2_quantile(mean, scale, lo, hi):
    """Quantiles of that distribution truncated to [lo, hi]: a function of u."""
    c0, c1 = _t2_cdf((lo - mean) / scale), _t2_cdf((hi - mean) / scale)
    base, slope, scale = 2.0 * c0 - 1.0, 2.0 * (c1 - c0), np.sqrt(2.0) * scale

    def quantile(u):
        s = base + u * slope
        return mean + scale * s / np.sqrt((1.0 - s) * (1.0 + s))

    return quantile


def t2_cumulative(x, mean, scale, lo, hi):
    """Their inverse: probabilities of values between the bounds."""
    c0, c1 = _t2_cdf((lo - mean) / scale), _t2_cdf((hi - mean) / scale)
    return (_t2_cdf((x - mean) / scale) - c0) / (c1 - c0)


def t2_logpdf(x, mean, scale, lo, hi):
    """Its log density between the bounds."""
    t = (x - mean) / scale
    norm = _t2_cdf((hi - mean) / scale) - _t2_cdf((lo - mean) / scale)
    return -1.5 * np.log(2.0 + t * t) - np.log(scale * norm)


class TruncatedStudentT2(VectorPrior):
    """Student's t, two degrees of freedom, truncated to [`mini`, `maxi`].

    The continuity prior of Leja et al. (2019, ApJ 876, 3) on
    ``logsfr_ratios``; with two degrees of freedom all of it is algebraic.
    """

    prior_params = ["mean", "scale", "mini", "maxi"]  # noqa: RUF012

    _logpdf = staticmethod(t2_logpdf)
    _cdf = staticmethod(t2_cumulative)

    def _ppf(self, u, *args):
        return t2_quantile(*args)(u)


class Tabulated(VectorPrior):
    """Density of one parameter from a table: straight lines between its points, zero beyond.

    ``x`` (m,) increases, and ``density`` (m,) is not negative; it need not be normalised.
    """

    prior_params = ["x", "density"]  # noqa: RUF012

    def __len__(self):
        return 1

    @property
    def range(self):
        x = self.params["x"]
        return x[0], x[-1]

    @staticmethod
    def _cumulative(x, density):
        """Normalised density and its integral up to each point, (m,) each."""
        until = np.append(0.0, np.cumsum(0.5 * (density[1:] + density[:-1]) * np.diff(x)))
        return density / until[-1], until / until[-1]

    def _logpdf(self, value, x, density):
        with np.errstate(divide="ignore"):
            return np.log(np.interp(value, x, self._cumulative(x, density)[0]))

    def _cdf(self, value, x, density):
        p, until = self._cumulative(x, density)
        at = np.clip(np.searchsorted(x, value, side="right") - 1, 0, x.size - 2)
        return until[at] + 0.5 * (p[at] + np.interp(value, x, p)) * (value - x[at])

    def _ppf(self, u, x, density):
        p, until = self._cumulative(x, density)
        at = np.clip(np.searchsorted(until, u, side="right") - 1, 0, x.size - 2)
        rest, slope = u - until[at], (np.diff(p) / np.diff(x))[at]
        root = p[at] + np.sqrt(np.maximum(p[at] ** 2 + 2.0 * slope * rest, 0.0))
        return x[at] + 2.0 * rest / np.where(root > 0.0, root, 1.0)


@lru_cache(maxsize=1)
def gallazzi_relation():
    """Mass-metallicity relation of Gallazzi et al. (2005), from Prospector's files.

    Returns
    -------
    ndarray, shape (16, 4)
        Columns log10(mass / Msun) (Chabrier), and the 50th, 16th and 84th
        percentile of log10(Z / Zsun).
    """
    path = files("prospect.models").joinpath("prior_data", "gallazzi_05_massmet.txt")
    table = np.loadtxt(str(path))
    table.flags.writeable = False
    return table


class MassMet(VectorPrior):
    """Joint prior on the 2-vector (log10 mass formed, log10 Z/Zsun).

    Uniform in log mass; at each mass the metallicity is a truncated normal
    around the Gallazzi et al. (2005) median, with the 16-84 % width as its
    standard deviation (Leja et al. 2019, ApJ 877, 140). Masses beyond the
    table take its first or last row.
    """

    prior_params = ["mass_mini", "mass_maxi", "z_mini", "z_maxi"]  # noqa: RUF012

    def __len__(self):
        return 2

    @property
    def range(self):
        p = self.params
        return (
            np.array([p["mass_mini"], p["z_mini"]], dtype=float),
            np.array([p["mass_maxi"], p["z_maxi"]], dtype=float),
        )

    @staticmethod
    def metallicity_mean_sigma(logmass):
        """Mean and standard deviation of log10(Z/Zsun) at log10 mass (any shape)."""
        mass, p50, p16, p84 = gallazzi_relation().T
        return np.interp(logmass, mass, p50), np.interp(logmass, mass, p84 - p16)

    def _logpdf(self, x, m0, m1, z0, z1):
        mean, sigma = self.metallicity_mean_sigma(x[..., 0])
        out = np.empty(x.shape)
        out[..., 0] = -np.log(m1 - m0)
        out[..., 1] = truncnorm_logpdf(x[..., 1], mean, sigma, z0, z1)
        # One component outside makes the pair impossible, whichever it is.
        outside = (x < self.range[0]) | (x > self.range[1])
        return np.where(outside.any(axis=-1, keepdims=True), -np.inf, out)

    def _cdf(self, x, m0, m1, z0, z1):
        mean, sigma = self.metallicity_mean_sigma(x[..., 0])
        mass = (x[..., 0] - m0) / (m1 - m0)
        return np.stack([mass, _truncnorm_cdf(x[..., 1], mean, sigma, z0, z1)], axis=-1)

    def _ppf(self, u, m0, m1, z0, z1):
        logmass = m0 + u[..., 0] * (m1 - m0)
        mean, sigma = self.metallicity_mean_sigma(logmass)
        return np.stack([logmass, truncnorm_quantile(mean, sigma, z0, z1)(u[..., 1])], axis=-1)
