"""The likelihood of photometry, for many model fluxes at once.

Prospector's own terms (Gaussian errors, a noise model of independent errors such
as ``phot_jitter``, outlier bands) and two that it does not have: upper limits,
and errors correlated between bands.
"""

from dataclasses import dataclass, field

import numpy as np
from scipy.linalg import solve_triangular
from scipy.special import log_ndtr

from ..errors import DataError, ModelMismatchError
from ..observe import observation
from .noise_terms import noise_terms, outlier_terms

_LN_2PI = float(np.log(2.0 * np.pi))
# What a sampler is given where Prospector's likelihood is zero.
IMPOSSIBLE = -1e300


@dataclass(frozen=True)
class Gaussian:
    """Independent Gaussian errors: the usual case, and the fastest.

    ``-1/2 sum_b [((f_b - m_b) / sigma_b)^2 + ln(2 pi sigma_b^2)]``
    """

    flux: np.ndarray
    unc: np.ndarray
    weight: np.ndarray = field(init=False)
    log_norm: float = field(init=False)

    def __post_init__(self):
        object.__setattr__(self, "weight", 1.0 / self.unc)
        object.__setattr__(self, "log_norm", -0.5 * np.log(2.0 * np.pi * self.unc**2).sum())

    def __call__(self, maggies, theta):
        """Log likelihood (n,) of fluxes (n, nband), which are overwritten."""
        chi = maggies
        chi -= self.flux
        chi *= self.weight
        lnl = np.einsum("ij,ij->i", chi, chi)
        lnl *= -0.5
        lnl += self.log_norm
        return lnl

    def log_norm_at(self, theta):
        """`log_norm`, the same for all vectors (n, ndim)."""
        return np.full(len(theta), self.log_norm)


@dataclass(frozen=True)
class VectorErrors:
    """Variances that an emulator's error makes different for each vector.

    Attributes
    ----------
    weights : callable
        Parameter vectors (n, ndim) -> weights (n, node) that sum to 1.
    variance : ndarray, shape (node, nband)
        Of data and emulator, in units of the data's.
    table : ErrorTable
        Whose nodes these are.
    """

    weights: object
    variance: np.ndarray
    table: object

    def __call__(self, theta):
        """Shape (n, nband)."""
        return self.weights(theta) @ self.variance


@dataclass(frozen=True)
class Emulated:
    """`Gaussian` with the emulator's error where each vector is.

    Attributes
    ----------
    flux, unc : ndarray, shape (nband,)
        `unc` with the emulator's typical error, as in the data that were fitted.
    observed : ndarray, shape (nband,)
        Errors without it.
    errors : VectorErrors
    """

    flux: np.ndarray
    unc: np.ndarray
    observed: np.ndarray
    errors: VectorErrors

    def __call__(self, maggies, theta):
        """Log likelihood (n,) of fluxes (n, nband), overwritten, of vectors (n, ndim)."""
        var, chi = self.errors(theta), maggies
        chi -= self.flux
        chi /= self.observed
        chi *= chi
        chi /= var
        return self._log_norm(var) - 0.5 * chi.sum(axis=1)

    def log_norm_at(self, theta):
        """Log likelihood (n,) of a perfect fit at vectors (n, ndim)."""
        return self._log_norm(self.errors(theta))

    def _log_norm(self, var):
        # Logarithms of products: fewer, and of eight ratios they cannot overflow.
        log_var = np.log(np.multiply.reduceat(var, np.arange(0, self.flux.size, 8), axis=1))
        norm = np.log(self.observed).sum() + 0.5 * self.flux.size * _LN_2PI
        return -0.5 * log_var.sum(axis=1) - norm


@dataclass(frozen=True)
class Correlated:
    """Gaussian errors with a covariance between the bands, shape (nband, nband)."""

    flux: np.ndarray
    covariance: np.ndarray
    whiten: np.ndarray = field(init=False)
    log_norm: float = field(init=False)

    def __post_init__(self):
        # In units of sigma: fluxes of 1e-9 have variances near the smallest numbers.
        unc = np.sqrt(np.diag(self.covariance))
        chol = np.linalg.cholesky(self.covariance / np.outer(unc, unc))
        inverse = solve_triangular(chol, np.eye(unc.size), lower=True)
        object.__setattr__(self, "whiten", (inverse / unc).T)
        log_det = 2.0 * (np.log(np.diag(chol)).sum() + np.log(unc).sum())
        object.__setattr__(self, "log_norm", -0.5 * (log_det + unc.size * _LN_2PI))

    def __call__(self, maggies, theta):
        """Log likelihood (n,) of fluxes (n, nband)."""
        chi = (maggies - self.flux) @ self.whiten
        return self.log_norm - 0.5 * np.einsum("ij,ij->i", chi, chi)


@dataclass(frozen=True)
class Independent:
    """Independent errors with a noise model, outliers and upper limits.

    Attributes
    ----------
    flux, unc : ndarray, shape (nband,)
        In a band with an upper limit, the limit and the width of its edge.
    upper : ndarray of bool, shape (nband,)
    noise : tuple of (Scalar, ndarray)
        Amplitudes a and weights w (nband,) of ``sigma_b^2 = sum a^2 w_b^2``;
        empty for ``unc**2``.
    outliers : tuple of (Scalar, Scalar), optional
        The fraction f of bands whose errors are nsigma times as large, and nsigma.
    errors : VectorErrors, optional
        In units of ``unc**2``, where an emulator's error follows the vector.
    """

    flux: np.ndarray
    unc: np.ndarray
    upper: np.ndarray
    noise: tuple = ()
    outliers: tuple | None = None
    errors: VectorErrors | None = None

    def __call__(self, maggies, theta):
        """Log likelihood (n,) of fluxes (n, nband) at parameter vectors (n, ndim)."""
        var = self.unc**2
        if self.noise:
            var = sum(amplitude(theta) ** 2 * weight**2 for amplitude, weight in self.noise)
        elif self.errors is not None:
            var = var * self.errors(theta)
        var = np.broadcast_to(var, maggies.shape)
        delta = self.flux - maggies
        lnl = log_normal(delta, var)
        if self.outliers is not None:
            fraction, nsigma = (value(theta) for value in self.outliers)
            with np.errstate(divide="ignore"):  # the logarithm of no outliers is -inf, rightly
                lnl = np.logaddexp(
                    lnl + np.log1p(-fraction),
                    log_normal(delta, var * nsigma**2) + np.log(fraction),
                )
        if self.upper.any():
            lnl[:, self.upper] = log_ndtr(delta[:, self.upper] / np.sqrt(var[:, self.upper]))
        return lnl.sum(axis=1)


def log_normal(delta, var):
    """Log density of a Gaussian of variance `var` at a distance `delta` from its mean."""
    return -0.5 * (delta**2 / var + np.log(2.0 * np.pi * var))


@dataclass(frozen=True)
class Sets:
    """Sets of bands with errors of their own kinds: columns and the likelihood of each."""

    parts: tuple

    def __call__(self, maggies, theta):
        """Log likelihood (n,) of fluxes (n, nband), which may be overwritten."""
        return sum(part(maggies[:, columns], theta) for columns, part in self.parts)

    def __getattr__(self, name):
        """``flux``, ``unc`` and ``upper`` of all bands."""
        if name not in ("flux", "unc", "upper"):
            raise AttributeError(name)
        none = {"upper": False}.get(name)
        return np.concatenate(
            [np.broadcast_to(getattr(p, name, none), p.flux.shape) for _, p in self.parts]
        )


@dataclass(frozen=True)
class WeightedChi2:
    """A Gaussian likelihood whose chi-squared is multiplied by ln(2 pi), in its errors.

    What Prospector 2's ``NoiseModel`` computes: ``-1/2 [ln(2 pi) chi2 + sum_b ln sigma_b^2]``.
    """

    scaled: object
    nband: int

    def __call__(self, maggies, theta):
        """Log likelihood (n,) of fluxes (n, nband), which may be overwritten."""
        return self.scaled(maggies, theta) + 0.5 * self.nband * (_LN_2PI - np.log(_LN_2PI))

    @property
    def flux(self):
        """Of the bands, (nband,)."""
        return self.scaled.flux

    @property
    def unc(self):
        """As they count, (nband,)."""
        return self.scaled.unc


def brightness(likelihood):
    """How fluxes are weighted for the mean that the data know best.

    Returns
    -------
    weight : ndarray, shape (nband,)
        Of model fluxes; none for negative fluxes and for upper limits, which are no fluxes.
    norm : float
        What these weights give for the fluxes observed.
    """
    flux, covariance = likelihood.flux, getattr(likelihood, "covariance", None)
    variance = likelihood.unc**2 if covariance is None else np.diag(covariance)
    use = (flux > 0) & ~getattr(likelihood, "upper", np.zeros(1, dtype=bool))
    weight = np.where(use, flux / variance, 0.0)
    return weight, float(weight @ flux)


def compile_likelihood(model, data, photometry):
    """The likelihood that Prospector would use, and its free parameters.

    Parameters
    ----------
    model : prospect.models.ProspectorParams
        Parameters of outliers may be free or fixed, as may the amplitudes of a noise model.
    data : Observed
        ``upper_limits`` (nband,) and ``maggies_covariance`` (nband, nband) are ours.
    photometry : (ndarray, ndarray, ndarray)
        From `prospect_emu.observe.observation.photometry`.

    Returns
    -------
    likelihood : callable
        Fluxes (n, nband) of the unmasked bands, which it may overwrite, and
        parameter vectors (n, ndim) -> (n,).
    names : frozenset of str
        The model's free parameters that it reads.

    Raises
    ------
    ModelMismatchError
        If a term is not one of those above; the term is named.
    DataError
        If ``upper_limits`` or ``maggies_covariance`` cannot be used.
    """
    flux, unc, mask = photometry
    used: set = set()
    number = np.cumsum(mask) - 1
    parts, upper = [], upper_limits(data, mask)
    for where, noise in data.sets:
        inside = mask[where]
        if inside.any():
            columns = number[where][inside]
            values = flux[where][inside], unc[where][inside], upper[where][inside]
            parts.append((columns, set_likelihood(model, noise, *values, used)))
    if "phot_jitter" in model.theta_index and "phot_jitter" not in used:
        raise ModelMismatchError(
            "phot_jitter is free but changes nothing without a noise model; pass fit_model "
            "noise=(None, phot_noise) as to Prospector, or remove it."
        )
    covariance = data.get("maggies_covariance")
    if covariance is None:
        return (parts[0][1] if len(parts) == 1 else Sets(tuple(parts))), frozenset(used)
    _, *others = [part for _, part in parts]
    if others or type(parts[0][1]) is not Gaussian:
        found = "several noise models" if others else _beside_covariance(parts[0][1])
        raise ModelMismatchError(
            f"obs has maggies_covariance, which excludes {found}; leave one of them out "
            "(sps.inflate(obs) adds the emulator's errors without their covariance)."
        )
    return Correlated(flux[mask], _covariance(covariance, unc, mask)), frozenset()


def set_likelihood(model, noise, flux, unc, upper, used):
    """The likelihood of bands that share a noise model; `used` gains its parameters."""
    outliers = outlier_terms(model, noise, used)
    # Its mixture of outliers is as it should be.
    weighted = noise.weighted_chi2 and outliers is None
    scale = 1.0 / np.sqrt(_LN_2PI) if weighted else 1.0
    terms = noise_terms(model, noise, {"unc": scale * unc, "flux": scale * flux}, used, scale)
    if weighted and upper.any():
        raise ModelMismatchError(
            'likelihood="prospector2" knows no upper limits; leave one of them out.'
        )
    if terms or outliers or upper.any():
        part = Independent(flux, scale * unc, upper, terms, outliers)
    else:
        part = Gaussian(flux, scale * unc)
    return WeightedChi2(part, flux.size) if weighted else part


def _beside_covariance(part):
    if isinstance(part, WeightedChi2):
        return 'likelihood="prospector2"'
    if part.outliers:
        return "f_outlier_phot"
    return "a noise model" if part.noise else "upper limits"


def upper_limits(obs, mask):
    """Bands (nband,) whose flux is an upper limit.

    Raises
    ------
    DataError
        Unless ``obs["upper_limits"]`` is one boolean per filter.
    """
    given = obs.get("upper_limits")
    if given is None:
        return np.zeros(mask.size, dtype=bool)
    return mask & observation.plain_flags(
        given, "upper_limits", mask.shape, "maggies is an upper limit"
    )


def _covariance(covariance, unc, mask):
    if covariance.shape != (mask.size, mask.size):
        raise DataError(
            f"maggies_covariance of obs has shape {covariance.shape} for {mask.size} filters; give "
            "one row and column per filter."
        )
    covariance = covariance[np.ix_(mask, mask)]
    if not np.isfinite(covariance).all():
        raise DataError("maggies_covariance of obs is masked or not finite in bands that are used.")
    if not np.allclose(np.sqrt(np.diag(covariance)), unc[mask], rtol=1e-6, atol=0.0):
        raise DataError(
            "The diagonal of obs['maggies_covariance'] is not maggies_unc squared; call "
            "sps.inflate(obs, covariance=True) after changing errors."
        )
    scaled = covariance / np.outer(unc[mask], unc[mask])
    if not np.allclose(scaled, scaled.T, atol=1e-9) or np.linalg.eigvalsh(scaled)[0] < 1e-10:
        raise DataError(
            "maggies_covariance of obs is not symmetric and positive definite; correct it."
        )
    return covariance
