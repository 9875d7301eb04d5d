"""Pareto-smoothed importance weights: how far they can be trusted, and what they sum to."""

import numpy as np

# Weights that differ by less are equal: likelihoods in batches have such rounding, whose tail
# means nothing, and no mean is moved by it.
EQUAL = 1e-3


def pareto_smooth(log_ratio):
    """Pareto-smoothed importance weights (Vehtari et al. 2024, JMLR 25, 72).

    A generalised Pareto distribution is fitted to the largest weights, which are
    replaced by its quantiles, none larger than the largest raw weight.

    Parameters
    ----------
    log_ratio : ndarray, shape (n,)
        ln of the raw weights, up to a constant.

    Returns
    -------
    log_weights : ndarray, shape (n,)
        Normalised.
    k : float
        Shape of the tail; infinite if it could not be fitted, -inf if the
        weights are all equal (to `EQUAL`).
    """
    log_ratio = np.asarray(log_ratio, dtype=float)
    n = log_ratio.size
    x = log_ratio - log_ratio.max()
    if np.ptp(x) < EQUAL:
        return np.full(n, -np.log(n)), -np.inf
    size = int(min(0.2 * n, 3.0 * np.sqrt(n)))
    k = np.inf
    if size >= 5:
        order = np.argsort(x)
        tail = order[-size:]
        # Weights that underflow are no tail to fit.
        cut = np.exp(max(x[order[-size - 1]], np.log(np.finfo(float).tiny)))
        excess = np.exp(x[tail]) - cut
        if excess[0] >= 0 and excess[-1] > 0:
            k, scale = fit_generalised_pareto(excess)
        if np.isfinite(k):
            quantile = generalised_pareto_quantile((np.arange(size) + 0.5) / size, k, scale)
            x = x.copy()
            x[tail] = np.minimum(np.log(quantile + cut), 0.0)
    peak = x.max()
    return x - (peak + np.log(np.exp(x - peak).sum())), float(k)


def pareto_threshold(n):
    """Largest Pareto k at which `n` draws estimate a mean: ``min(1 - 1/log10 n, 0.7)``."""
    return float(min(1.0 - 1.0 / np.log10(n), 0.7))


def fit_generalised_pareto(x):
    """Shape k and scale of a generalised Pareto distribution (Zhang & Stephens 2009).

    Their quasi-Bayesian estimate: a profile likelihood in b = -k / scale, averaged
    over a grid of b that follows from the data; then k is drawn towards 0.5 as ten
    further observations would draw it (Vehtari et al. 2024, appendix G).

    Parameters
    ----------
    x : ndarray, shape (n,)
        Excesses over the threshold, sorted, not negative.
    """
    n = x.size
    m = 30 + int(np.sqrt(n))
    quartile = max(x[int(n / 4 + 0.5) - 1], np.finfo(float).tiny)
    grid = 1.0 / x[-1] + (1.0 - np.sqrt(m / (np.arange(1, m + 1) - 0.5))) / (3.0 * quartile)
    shape = np.log1p(-grid[:, None] * x).mean(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        profile = n * (np.log(-grid / shape) - shape - 1.0)
    usable = np.isfinite(profile)
    if not usable.any():
        return np.inf, np.nan
    weight = np.exp(profile[usable] - profile[usable].max())
    b = float((grid[usable] * weight).sum() / weight.sum())
    k = float(np.log1p(-b * x).mean())
    scale = -k / b
    return (n * k + 10.0 * 0.5) / (n + 10.0), scale


def generalised_pareto_quantile(p, k, scale):
    """Quantiles at probabilities `p`."""
    if abs(k) < 1e-12:
        return -scale * np.log1p(-p)
    return scale * np.expm1(-k * np.log1p(-p)) / k


def log_mean_ratio(log_ratio, log_weights):
    """ln of the mean of the smoothed weights in units of the raw ones, and its error.

    The mean ratio of likelihoods over the posterior is the ratio of evidences.
    """
    # Smoothing leaves all but the tail as it was: the constant between the two follows.
    lowest = int(np.argmin(np.where(np.isfinite(log_ratio), log_ratio, np.inf)))
    mean = log_ratio[lowest] - log_weights[lowest] - np.log(log_ratio.size)
    relative = np.exp(log_weights) * log_ratio.size
    return float(mean), float(np.std(relative) / np.sqrt(log_ratio.size))
