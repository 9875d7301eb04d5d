"""The posterior with gradients, in torch: for optimisers and gradient samplers.

For networks and for `ExactSPS` (`prospect_emu.training.engines.exact_emulator`).
A prior, a likelihood or an emulator without a torch form is refused by name.
"""

from dataclasses import dataclass

import numpy as np
import torch
from prospect.models import priors as prospect_priors
from scipy.optimize import minimize
from torch.nn.functional import gelu
from torch.special import log_ndtr

from prospect_emu.errors import ModelMismatchError
from prospect_emu.fit.likelihood import Correlated, Emulated, Gaussian
from prospect_emu.fit.posterior import BatchedPosterior
from prospect_emu.networks.emulator_base import REFERENCE_LOGMASS, REFERENCE_MPC
from prospect_emu.networks.error_table import OFFSET, dust_coordinate
from prospect_emu.networks.network_inputs import network_inputs
from prospect_emu.networks.sfh import edges_of_age
from prospect_emu.observe.magnitudes import U0, A, softening
from prospect_emu.prospector import priors

from .engines import ExactEmulator
from .exact_parts import Cosmology

_UNIFORM = (priors.Uniform, prospect_priors.Uniform, prospect_priors.TopHat)
_NORMAL = (priors.TruncatedNormal, prospect_priors.ClippedNormal)


class TorchPosterior:
    """Prior and likelihood of a Prospector model as differentiable functions.

    Parameters
    ----------
    model, obs, sps
        As for `prospect_emu.fit.posterior.BatchedPosterior`.

    Attributes
    ----------
    ndim : int
    labels : list of str
    bounds : ndarray, shape (ndim, 2)
        Of the prior.

    Raises
    ------
    ModelMismatchError
        If a prior, the likelihood or the emulator has no torch form; also all that
        `BatchedPosterior` refuses.
    """

    def __init__(self, model, obs, sps):
        batched = BatchedPosterior(model, obs, sps)
        self.ndim, self.labels = batched.ndim, batched.labels
        mask = np.asarray(obs.get("phot_mask", np.ones(len(obs["maggies"]), dtype=bool)))
        used = [f.name for f, m in zip(sps.filters, mask, strict=True) if m]
        self._flux = _flux_function(sps.emulator.select(used))
        self._lumdist = batched.lumdist
        self._cosmology = Cosmology()
        self._likelihood = _likelihood_function(batched.likelihood)
        template, copied, logarithms = batched.parameter_map
        self._template = torch.tensor(template)
        self._copied = tuple(map(torch.tensor, copied))
        self._logarithms = tuple(map(torch.tensor, logarithms))
        self._zred, self._dust2 = (sps.emulator.index(name) for name in ("zred", "dust2"))
        self._priors, bounds = [], np.empty((self.ndim, 2))
        for name, span in model.theta_index.items():
            prior = model.config_dict[name]["prior"]
            density = _log_density(name, prior)
            self._priors.append((span, density))
            bounds[span] = np.array(
                np.broadcast_arrays(*prior.bounds(), np.zeros(len(prior)))[:2]
            ).T
        self.bounds = bounds

    def log_prior(self, theta):
        """Log prior density (n,) of a tensor (n, ndim); ``-inf`` outside the bounds."""
        total = sum(density(theta[:, span]) for span, density in self._priors)
        lo, hi = torch.tensor(self.bounds.T)
        return torch.where(((theta >= lo) & (theta <= hi)).all(-1), total, -torch.inf)

    def maggies(self, theta):
        """Fluxes (n, nband) in the unmasked bands of a tensor (n, ndim)."""
        return self._maggies(self._vectors(theta))

    def _vectors(self, theta):
        full = self._template.expand(len(theta), -1)
        place, column = self._copied
        full = full.index_copy(1, place, theta[:, column])
        place, column = self._logarithms
        if len(place):
            full = full.index_copy(1, place, torch.log10(theta[:, column]))
        return full

    def _maggies(self, full):
        maggies = self._flux(full)
        if self._lumdist is not None:
            distance = self._cosmology.luminosity_distance(full[:, self._zred])
            maggies = maggies * ((distance / self._lumdist) ** 2)[:, None]
        return maggies

    def log_likelihood(self, theta):
        """Log likelihood (n,) of a tensor (n, ndim), normalised as Prospector's."""
        full = self._vectors(theta)
        return self._likelihood(self._maggies(full), full[:, self._zred], full[:, self._dust2])

    def log_posterior(self, theta):
        """Log of prior times likelihood, (n,), of a tensor (n, ndim) in float64."""
        return self.log_prior(theta) + self.log_likelihood(theta)


@dataclass(frozen=True)
class Optimum:
    """One optimisation: where it ended, ln posterior there, and its cost.

    Attributes
    ----------
    theta : ndarray, shape (ndim,)
    log_posterior : float
    calls : int
        Of the posterior with its gradient.
    converged : bool
    """

    theta: np.ndarray
    log_posterior: float
    calls: int
    converged: bool


def maximum_a_posteriori(posterior, starts, maxiter=2000):
    """Climb from each start to a maximum of the posterior density (L-BFGS-B).

    Parameters
    ----------
    posterior : TorchPosterior
    starts : array_like, shape (n, ndim)
        Parameter vectors inside the prior's bounds.
    maxiter : int

    Returns
    -------
    list of Optimum
        Best first.
    """
    lo, hi = posterior.bounds.T
    width = hi - lo

    def negative(x):
        # At a bound, rounding must not step outside.
        theta = torch.tensor(np.clip(lo + x * width, lo, hi)[None], requires_grad=True)
        value = -posterior.log_posterior(theta)[0]
        value.backward()
        return value.item(), theta.grad[0].numpy() * width

    found = []
    for start in np.atleast_2d(starts):
        result = minimize(
            negative, np.clip((start - lo) / width, 0.0, 1.0), jac=True, method="L-BFGS-B",
            bounds=[(0.0, 1.0)] * posterior.ndim,
            options={"maxiter": maxiter, "maxfun": 10 * maxiter, "maxcor": 30, "ftol": 1e-12},
        )  # fmt: skip
        found.append(
            Optimum(
                np.clip(lo + result.x * width, lo, hi),
                -float(result.fun),
                result.nfev,
                bool(result.success),
            )
        )
    return sorted(found, key=lambda o: -o.log_posterior)


# ---- fluxes --------------------------------------------------------------------------


def _flux_function(emulator):
    """Vectors (n, 18) -> apparent fluxes (n, nband)."""
    if isinstance(emulator, ExactEmulator):
        return lambda theta: emulator.exact.photometry(theta, emulator.projector).double()
    if getattr(emulator, "flux_net", None) is None:
        raise ModelMismatchError(
            f"{emulator!r} has no gradients; use a network of one range of redshifts or "
            "prospect_emu.training.engines.exact_emulator."
        )
    net = emulator.flux_net
    layers = [
        (torch.tensor(w), torch.tensor(b)) for w, b in zip(net.weights, net.biases, strict=True)
    ]
    mean, std, out_mean, out_std = (
        torch.tensor(np.asarray(a, dtype=float))
        for a in (net.in_mean, net.in_std, net.out_mean, net.out_std)
    )
    cosmology, zred = Cosmology(), emulator.index("zred")
    size = len(layers[0][0])

    def flux(theta):
        edges = 10.0 ** edges_of_age(cosmology.age(theta[:, zred]))
        inputs = network_inputs(theta, size, torch.diff(edges))
        h = ((inputs - mean) / std).to(layers[0][0].dtype)
        for w, b in layers[:-1]:
            h = gelu(h @ w + b, approximate="tanh")
        magnitude = (h @ layers[-1][0] + layers[-1][1]).double() * out_std + out_mean
        flux = torch.clamp(softening() * torch.sinh((U0 - magnitude) / A), min=0.0)
        z, mass = theta[:, zred], 10.0 ** (theta[:, 0] - REFERENCE_LOGMASS)
        ratio = REFERENCE_MPC / cosmology.luminosity_distance(z)
        return flux * (mass * (1.0 + z) * ratio**2)[:, None]

    return flux


def _likelihood_function(likelihood):
    flux = torch.tensor(likelihood.flux)
    if type(likelihood) is Gaussian:
        weight = torch.tensor(likelihood.weight)
        return lambda m, *_: likelihood.log_norm - 0.5 * (((m - flux) * weight) ** 2).sum(-1)
    if type(likelihood) is Correlated:
        whiten = torch.tensor(likelihood.whiten)
        return lambda m, *_: likelihood.log_norm - 0.5 * (((m - flux) @ whiten) ** 2).sum(-1)
    if type(likelihood) is Emulated:
        table, observed = likelihood.errors.table, torch.tensor(likelihood.observed)
        variance = torch.tensor(likelihood.errors.variance)
        redshifts, depths = (
            torch.tensor(np.asarray(a, dtype=float))
            for a in (table.zred, dust_coordinate(table.dust2))
        )

        def emulated(m, zred, dust2):
            across = _hats(zred, redshifts), _hats(torch.log(dust2 + OFFSET), depths)
            var = torch.einsum("ni,nj->nij", *across).flatten(1) @ variance
            chi2 = (((m - flux) / observed) ** 2 / var).sum(-1)
            return -0.5 * (chi2 + torch.log(2.0 * np.pi * var * observed**2).sum(-1))

        return emulated
    raise ModelMismatchError(
        "Noise models, outliers and upper limits have no gradients here; leave them out."
    )


def _hats(x, nodes):
    """`prospect_emu.networks.error_table.hats` of a tensor (n,)."""
    x = x.clamp(nodes[0], nodes[-1])[:, None]
    rising = ((x - nodes[:-1]) / torch.diff(nodes)).clamp(0.0, 1.0)
    one = torch.ones_like(x)
    return torch.cat([one, rising], -1) - torch.cat([rising, 0.0 * one], -1)


# ---- priors --------------------------------------------------------------------------


def _log_density(name, prior):
    """Values (n, k) inside the bounds -> (n,)."""
    kind = type(prior)
    if kind is priors.MassMet:
        return _mass_met(prior)
    known = (*_UNIFORM, *_NORMAL, prospect_priors.LogUniform, priors.TruncatedStudentT2)
    if kind not in known:
        raise ModelMismatchError(
            f"The prior of {name!r} ({kind.__name__}) has no gradients; use one of "
            f"{', '.join(dict.fromkeys(k.__name__ for k in known))}."
        )
    p = {k: torch.tensor(np.asarray(v, dtype=float)) for k, v in prior.params.items()}
    lo, hi = p["mini"], p["maxi"]
    if kind in _UNIFORM:
        return lambda x: (0.0 * x - torch.log(hi - lo)).sum(-1)
    if kind is prospect_priors.LogUniform:
        return lambda x: (-torch.log(x) - torch.log(torch.log(hi / lo))).sum(-1)
    if kind in _NORMAL:
        mean, sigma = p["mean"], p["sigma"]
        constant = torch.broadcast_to(_normal_constant(mean, sigma, lo, hi), (len(prior),)).sum()
        return lambda x: constant - 0.5 * (((x - mean) / sigma) ** 2).sum(-1)
    mean, scale = p["mean"], p["scale"]

    def cdf(t):
        return 0.5 + 0.5 * t / torch.sqrt(2.0 + t * t)

    norm = scale * (cdf((hi - mean) / scale) - cdf((lo - mean) / scale))
    return lambda x: (-1.5 * torch.log(2.0 + ((x - mean) / scale) ** 2) - torch.log(norm)).sum(-1)


def _normal_constant(mean, sigma, lo, hi):
    """Log density of a truncated normal at its mean, were that inside."""
    a, b = (lo - mean) / sigma, (hi - mean) / sigma
    flip = a > 0  # in the lower tail the logarithms keep their digits
    a, b = torch.where(flip, -b, a), torch.where(flip, -a, b)
    log_norm = log_ndtr(b) + torch.log1p(-torch.exp(log_ndtr(a) - log_ndtr(b)))
    return -0.5 * np.log(2 * np.pi) - torch.log(sigma) - log_norm


def _mass_met(prior):
    lo, hi = prior.range
    mass, p50, p16, p84 = (torch.tensor(c.copy()) for c in priors.gallazzi_relation().T)
    relation = torch.stack([p50, p84 - p16], dim=-1)
    slope = torch.diff(relation, dim=0) / torch.diff(mass)[:, None]
    log_width = float(np.log(hi[0] - lo[0]))
    z0, z1 = torch.tensor(lo[1]), torch.tensor(hi[1])

    def density(x):
        at = torch.clamp(x[:, 0], mass[0], mass[-1])
        cell = (torch.searchsorted(mass, at.detach(), right=True) - 1).clamp(0, len(slope) - 1)
        mean, sigma = (relation[cell] + slope[cell] * (at - mass[cell])[:, None]).unbind(-1)
        z = (x[:, 1] - mean) / sigma
        return _normal_constant(mean, sigma, z0, z1) - 0.5 * z * z - log_width

    return density
