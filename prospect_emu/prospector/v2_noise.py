"""Noise models of Prospector 2's Observations as ours, and its likelihood as it should be."""

import copy
import warnings
from functools import cache
from types import MethodType

import numpy as np
from prospect.fitting import lnprobfn
from prospect.likelihood.kernels import Uncorrelated
from prospect.likelihood.noise_model import NoiseModel, NoiseModel1D, NoiseModelCov

from ..errors import DataError
from ..observe.observation import Noise

WEIGHTED = "prospector2"
_NOTE = (
    "Prospector 2's NoiseModel multiplies chi-squared by ln(2 pi) = 1.84, which makes errors 26 % "
    "too small; here it is not. For its numbers pass likelihood='prospector2'."
)
# What its kernels are weighted by, and our names.
_WEIGHTS = {"uncertainty": "unc", "flux": "flux"}
# Where a model does not have the parameter.
_NSIGMA_OUTLIER = 50.0


@cache
def _multiplies_chi2():
    """Whether the installed NoiseModel has the fault."""
    noise = NoiseModel()
    noise.Sigma, noise.log_det = np.ones(1), 0.0
    return np.isclose(noise.lnlikelihood(np.zeros(1), np.ones(1)), -0.5 * np.log(2.0 * np.pi))


@cache
def say_once():
    """Warn that the likelihood is not Prospector's, where that has the fault."""
    if _multiplies_chi2():
        warnings.warn(_NOTE, stacklevel=5)


def used(o):
    """Which data are used, as ``rectify`` has it."""
    mask = np.zeros(o.ndata, dtype=bool)
    mask[o.mask] = True
    flux, unc = np.asarray(o.flux, dtype=float), np.asarray(o.uncertainty, dtype=float)
    if unc.shape != flux.shape:
        raise DataError(
            f"{o.name} has {flux.size} fluxes, but uncertainty of shape {unc.shape}; give one for "
            "each flux."
        )
    return mask & np.isfinite(flux) & np.isfinite(unc) & (unc > 0.0)


def described(noise, likelihood):
    """A noise model of an Observation as our `Noise`."""
    weighted = likelihood == WEIGHTED and bool(_multiplies_chi2())
    kind = type(noise)
    if noise is None:
        return Noise(weighted_chi2=weighted)
    names = (
        getattr(noise, "frac_out_name", ""), getattr(noise, "nsigma_out_name", ""), _NSIGMA_OUTLIER
    )  # fmt: skip
    if kind is NoiseModel:
        return Noise((), *names, weighted_chi2=weighted)
    kernels = getattr(noise, "kernels", ())
    weights = [
        kernel.weight_by or given
        for kernel, given in zip(
            kernels, getattr(noise, "weight_names", [None] * len(kernels)), strict=True
        )
    ]
    plain = all(type(k) is Uncorrelated for k in kernels)
    if kind not in (NoiseModel1D, NoiseModelCov) or not kernels or not plain:
        kernel = ", ".join(type(k).__name__ for k in kernels) or "no kernels"
        return Noise((), *names, why=f"a {kind.__name__} of {kernel} is not compiled")
    if not all(w in (None, *_WEIGHTS) for w in weights):
        return Noise((), *names, why=f"a kernel weighted by {weights} is not compiled")
    if weighted and not (
        noise.metric_name in ("wavelength", *_WEIGHTS) and all(k.weight_by for k in kernels)
    ):
        # Its computation ends with an error, for which Prospector takes the errors as they are.
        return Noise(weighted_chi2=True)
    terms = tuple(
        (kernel.param_alias["amplitude"], _WEIGHTS.get(weight))
        for kernel, weight in zip(kernels, weights, strict=True)
    )
    return Noise(terms, *names, weighted_chi2=weighted and kind is NoiseModel1D)


def row_likelihood(model, data, sps):
    """The likelihood of one vector: Prospector's own, with chi-squared as it should be.

    With ``likelihood="prospector2"`` as it is there.
    """
    if data.get("likelihood") == WEIGHTED:

        def own(theta):
            return lnprobfn(theta, model=model, observations=data.native, sps=sps, nested=True)

        return own
    observations = [_with_right_noise(o) for o in data.native]

    def log_likelihood(theta):
        if not np.isfinite(model.prior_product(theta, nested=True)):
            return -np.inf
        model.set_parameters(theta)
        for o in observations:
            o.noise.update(**model.params)
        try:
            values, _ = model.predict(theta, observations=observations, sps=sps)
        except ValueError:
            return -np.inf
        parts = [o.noise.lnlike(value, o) for value, o in zip(values, observations, strict=True)]
        return sum(parts) + getattr(model, "_ln_eline_penalty", 0.0)

    return log_likelihood


def _with_right_noise(o):
    """A copy whose noise model has chi-squared times one, and all of the normalisation."""
    o = copy.copy(o)
    o.mask = used(o)
    o.noise = NoiseModel() if o.noise is None else copy.copy(o.noise)
    if getattr(type(o.noise), "lnlikelihood", None) is NoiseModel.lnlikelihood:
        o.noise.lnlikelihood = MethodType(_gaussian, o.noise)
    return o


def _gaussian(noise, pred, data):
    return -0.5 * np.sum((data - pred) ** 2 / noise.Sigma + np.log(2.0 * np.pi * noise.Sigma))
