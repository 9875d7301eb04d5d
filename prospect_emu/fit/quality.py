"""What makes a posterior suspect although its sampling converged."""

import numpy as np
from scipy.stats import chi2

from ..prospector.batched_priors import compile_priors

# Parameters that widen the errors of a spectrum.
_WIDEN = ("spec_jitter", "f_outlier_spec")
# A best sample this unlikely (probability of a larger chi2) is not a fit.
_MISFIT = 1e-6
# A parameter lies at the edge of its prior if more than half of its posterior does,
# in the outer 1 % of the prior's probability.
_EDGE, _SHARE = 0.01, 0.5
# Of the effective samples, those that are not copies of others.
_UNIQUE = 0.5


def effective_size(samples, weights):
    """Kish's effective number of samples, copies of one counted once.

    Parameters
    ----------
    samples : ndarray, shape (n, ndim)
    weights : ndarray, shape (n,)
        They sum to 1.
    """
    _, which = np.unique(samples, axis=0, return_inverse=True)
    return float(1.0 / np.sum(np.bincount(which.ravel(), weights) ** 2))


def problems(model, samples, weights, photometry, priors=None, spectrum=None):
    """Sentences on what is wrong, for a person to read; empty if nothing is.

    Parameters
    ----------
    model : prospect.models.ProspectorParams
    samples : ndarray, shape (n, ndim)
    weights : ndarray, shape (n,)
    photometry : Photometry
    priors : list of CompiledPrior, optional
        Of `compile_priors`, which takes up to a second.
    spectrum : dict, optional
        Of `prospect_emu.fit.drawn.fitted_spectrum`.

    Returns
    -------
    list of str
    """
    out = []
    used = int((photometry.mask & ~photometry.upper_limits).sum())
    if used and chi2.sf(photometry.chi2, used) < _MISFIT:
        out.append(
            f"chi2 of the best sample is {photometry.chi2:.0f} for {used} bands: the model does "
            "not reach these fluxes within their errors; check their units, errors and the redshift"
        )
    if spectrum is not None and not any(name in model.params for name in _WIDEN):
        residual = (spectrum["flux"] - spectrum["best"]) / spectrum["unc"]
        total, count = float(np.sum(residual[spectrum["mask"]] ** 2)), int(spectrum["mask"].sum())
        if chi2.sf(total, count) < _MISFIT:
            out.append(
                f"chi2 of the best sample is {total:.0f} for {count} pixels: the model does not "
                "reach the spectrum within its errors; look at the residuals, and check redshift, "
                "line-spread function and errors"
            )
    priors = compile_priors(model) if priors is None else priors
    edges = _at_edges(model, priors, samples, weights)
    if edges:
        out.append(f"the posterior lies at the edge of the prior in {', '.join(edges)}")
    kish, unique = 1.0 / np.sum(weights**2), effective_size(samples, weights)
    if unique < _UNIQUE * kish:
        out.append(
            f"of {kish:.0f} effective samples {unique:.0f} are not copies of others: the chains "
            "hardly moved; take more walks or live points"
        )
    return out


def _at_edges(model, priors, samples, weights):
    """Labels of parameters whose posterior is within 1 % of an edge of the prior."""
    labels, out = model.theta_labels(), []
    for prior in priors:
        if getattr(prior, "joint", False):
            # No quantiles of one parameter alone.
            continue
        columns = np.arange(model.ndim)[prior.columns]
        low, high = (
            np.atleast_2d(prior.quantile(np.full((1, columns.size), q)))[0]
            for q in (_EDGE, 1.0 - _EDGE)
        )
        for j, column in enumerate(columns):
            below = weights[samples[:, column] < low[j]].sum()
            above = weights[samples[:, column] > high[j]].sum()
            if max(below, above) > _SHARE:
                out.append(labels[column])
    return out
