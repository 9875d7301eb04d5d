"""Mixtures of Student t distributions, fitted to weighted draws."""

from dataclasses import dataclass

import numpy as np
from scipy.special import gammaln, logsumexp

# Degrees of freedom: tails that no posterior of photometry outlasts.
_NU = 8.0
_ITERATIONS = 8
# Draws that a mixture is fitted to.
_ROWS = 3000
# Points whose arrays stay in the processor's cache.
_BATCH = 2048
# Draws that a component must stand for, per dimension, to have a covariance of its own.
_PER_DIMENSION = 4


@dataclass(frozen=True, eq=False)
class Mixture:
    """A mixture of Student t distributions.

    Attributes
    ----------
    share : ndarray, shape (k,)
    mean : ndarray, shape (k, ndim)
    chol : ndarray, shape (k, ndim, ndim)
        Lower Cholesky factors of the scale matrices.
    """

    share: np.ndarray
    mean: np.ndarray
    chol: np.ndarray

    def draw(self, rng, n):
        """Points (n, ndim) and their log density (n,)."""
        which = rng.choice(self.share.size, n, p=self.share)
        normal = rng.standard_normal((n, self.mean.shape[1]))
        normal /= np.sqrt(rng.chisquare(_NU, n) / _NU)[:, None]
        w = np.empty_like(normal)
        for k in range(self.share.size):
            rows = which == k
            w[rows] = self.mean[k] + normal[rows] @ self.chol[k].T
        return w, self.log_density(w)

    def log_density(self, w):
        """Of points (n, ndim), (n,)."""
        return logsumexp(self._terms(w), axis=1)

    def _terms(self, w):
        """Log of share times density of each component, (n, k)."""
        number, ndim = self.mean.shape
        whiten = np.linalg.inv(self.chol)
        # All components in one product, of columns (k ndim).
        across = np.ascontiguousarray(whiten.reshape(-1, ndim).T)
        offset = np.einsum("kij,kj->ki", whiten, self.mean).ravel()
        log_det = np.log(np.diagonal(self.chol, axis1=1, axis2=2)).sum(axis=1)
        const = gammaln(0.5 * (_NU + ndim)) - gammaln(0.5 * _NU) - 0.5 * ndim * np.log(_NU * np.pi)
        out = np.empty((len(w), number))
        for at in range(0, len(w), _BATCH):
            z = w[at : at + _BATCH] @ across
            z -= offset
            z = z.reshape(len(z), number, ndim)
            np.einsum("nkd,nkd->nk", z, z, out=out[at : at + _BATCH])
        out /= _NU
        np.log1p(out, out=out)
        out *= -0.5 * (_NU + ndim)
        out += const - log_det + np.log(self.share)
        return out


def fit_mixture(w, weights, rng, most=6):
    """A mixture for weighted draws, by expectation maximisation.

    Parameters
    ----------
    w : ndarray, shape (n, ndim)
    weights : ndarray, shape (n,)
        They sum to 1.
    rng : numpy.random.Generator
        Chooses where components start.
    most : int
        Components, at most; few effective draws get fewer.

    Returns
    -------
    Mixture
    """
    index, weights = thin(weights, rng, _ROWS)
    w = w[index]
    ndim, effective = w.shape[1], 1.0 / np.sum(weights**2)
    number = int(np.clip(effective / (_PER_DIMENSION * ndim), 1, most))
    overall = _covariance(w, weights, weights @ w)
    # Beside what the draws say, each component has seen `ndim` draws like all together.
    overall += 1e-9 * np.diag(np.diag(overall)) + 1e-12 * np.eye(ndim)
    start = w[rng.choice(len(w), number, p=weights)]
    chol = np.linalg.cholesky(overall)
    mix = Mixture(np.full(number, 1.0 / number), start, np.repeat(chol[None], number, axis=0))
    if number == 1:
        return Mixture(np.ones(1), (weights @ w)[None], chol[None])
    for _ in range(_ITERATIONS):
        terms = mix._terms(w)
        member = np.exp(terms - logsumexp(terms, axis=1, keepdims=True)) * weights[:, None]
        share = member.sum(axis=0)
        alive = share * effective > 1.0
        member, share = member[:, alive], share[alive]
        means = (member.T @ w) / share[:, None]
        chols = []
        for k, mean in enumerate(means):
            seen = effective * share[k]
            own = _covariance(w, member[:, k] / share[k], mean)
            chols.append(np.linalg.cholesky((seen * own + ndim * overall) / (seen + ndim)))
        mix = Mixture(share / share.sum(), means, np.array(chols))
    return mix


def thin(weights, rng, keep):
    """Some of many weighted draws, with weights that mean the same.

    Heavy draws stay as they are. Light ones are kept with a probability that goes with their
    weight, and all have one weight then: no mean is biased.

    Parameters
    ----------
    weights : ndarray, shape (n,)
        They sum to 1.
    rng : numpy.random.Generator
    keep : int
        About so many are kept.

    Returns
    -------
    index : ndarray of int, shape (m,)
    weights : ndarray, shape (m,)
        They sum to 1.
    """
    low, high = 0.0, max(1.0, weights.max() * weights.size)
    for _ in range(40):
        light = 0.5 * (low + high)
        low, high = (light, high) if np.minimum(weights / light, 1.0).sum() > keep else (low, light)
    index = np.flatnonzero(rng.random(weights.size) < weights / high)
    kept = np.maximum(weights[index], high)
    return index, kept / kept.sum()


def _covariance(w, weights, mean):
    centred = w - mean
    return (centred * weights[:, None]).T @ centred
