"""The torch posterior against the NumPy one, its gradients against finite differences."""

from dataclasses import replace

import numpy as np
import pytest
from prospect.models import priors

from prospect_emu import EmulatorSpecModel, EmulatorSPS
from prospect_emu.errors import ModelMismatchError
from prospect_emu.fit.posterior import BatchedPosterior
from prospect_emu.networks.error_table import ErrorTable
from prospect_emu.networks.network_inputs import ALL
from prospect_emu.observe.filters import load_filters
from prospect_emu.prospector.mathews23 import model_params

torch = pytest.importorskip("torch", reason="torch (the train extra) is not installed")

from prospect_emu.training import gradients  # noqa: E402
from prospect_emu.training.engines import exact_emulator  # noqa: E402
from prospect_emu.training.exact import ExactSPS  # noqa: E402


def other_priors():
    params = model_params()
    params["dust2"]["prior"] = priors.ClippedNormal(mean=0.5, sigma=0.3, mini=0.1, maxi=3.0)
    params["dust_index"]["prior"] = priors.TopHat(mini=-1.0, maxi=0.4)
    params["duste_umin"]["prior"] = priors.LogUniform(mini=0.1, maxi=25.0)
    del params["log_fagn"]
    params["fagn"] = {
        "N": 1, "isfree": True, "init": 0.1, "prior": priors.LogUniform(mini=1e-4, maxi=2.0)
    }  # fmt: skip
    return params


def lumdist_given():
    return model_params() | {"lumdist": {"N": 1, "isfree": False, "init": 5000.0}}


CASES = {
    "fixed zred": lambda: model_params(zred=1.1),
    "free zred": model_params,
    "other priors": other_priors,
    "lumdist": lumdist_given,
}


@pytest.fixture(params=["network", "network of combinations", "network with errors", "exact"])
def engine(request, toy_emulator, make_emulator, toy_tables):
    """An emulator and the precision of its fluxes: the network is single precision."""
    if request.param == "network":
        return toy_emulator, 1e-5
    if request.param == "network of combinations":
        return make_emulator(inputs=ALL), 1e-5
    if request.param == "network with errors":
        sigma = np.random.default_rng(1).uniform(0.02, 0.5, (3, 4, len(toy_emulator.filters)))
        nodes = np.array([0.5, 1.0, 3.0]), np.array([0.0, 0.05, 0.5, 4.0])
        return replace(toy_emulator, errors=ErrorTable(*nodes, sigma)), 1e-5
    filters = load_filters(toy_emulator.filters)
    return exact_emulator(ExactSPS(toy_tables), filters, zred=(0.5, 3.0)), 1e-6


def make_problem(emulator, params, covariance=False):
    filters = load_filters(emulator.filters)
    sps = EmulatorSPS(emulator, filters)
    model = EmulatorSpecModel(params)
    model.set_parameters(model.prior_transform(np.full(model.ndim, 0.45)))
    flux = emulator.maggies(sps.theta_from_params(model.params))
    mask = np.ones(flux.size, bool)
    mask[1] = False
    obs = {"filters": filters, "maggies": flux, "maggies_unc": 0.1 * flux, "phot_mask": mask,
           "wavelength": None, "spectrum": None}  # fmt: skip
    return model, sps.inflate(obs, covariance=covariance), sps


@pytest.mark.parametrize("case", CASES)
def test_values_are_those_of_the_batched_posterior(engine, case):
    """Prior to 1e-10; likelihood to the precision of the fluxes."""
    emulator, precision = engine
    problem = make_problem(emulator, CASES[case]())
    batched, ours = BatchedPosterior(*problem), gradients.TorchPosterior(*problem)
    theta = batched.prior_transform(np.random.default_rng(4).random((12, batched.ndim)))
    x = torch.tensor(theta)
    np.testing.assert_allclose(ours.log_prior(x), batched.log_prior(theta), rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(ours.maggies(x), batched.maggies(theta), rtol=precision)
    np.testing.assert_allclose(
        ours.log_likelihood(x), batched.log_likelihood(theta), rtol=10 * precision
    )
    assert (ours.bounds[:, 0] <= theta).all() and (theta <= ours.bounds[:, 1]).all()


def test_the_covariance_is_the_batched_ones(toy_emulator):
    problem = make_problem(toy_emulator, model_params(zred=1.0), covariance=True)
    batched, ours = BatchedPosterior(*problem), gradients.TorchPosterior(*problem)
    theta = batched.prior_transform(np.random.default_rng(5).random((5, batched.ndim)))
    np.testing.assert_allclose(
        ours.log_likelihood(torch.tensor(theta)), batched.log_likelihood(theta), rtol=1e-4
    )


def test_outside_the_bounds_is_impossible(toy_emulator):
    ours = gradients.TorchPosterior(*make_problem(toy_emulator, model_params(zred=1.0)))
    theta = torch.tensor(ours.bounds.mean(axis=1))[None].repeat(2, 1)
    theta[1, 0] = 99.0
    value = ours.log_prior(theta)
    assert torch.isfinite(value[0]) and value[1] == -torch.inf


@pytest.mark.parametrize("case", ["free zred", "other priors"])
def test_gradients_are_finite_differences(engine, case):
    """Central differences of the same function: 1e-3 of the largest component.

    The network is made double precision for this: single precision has no digits
    left for differences.
    """
    emulator, _ = engine
    posterior = gradients.TorchPosterior(*make_problem(emulator, CASES[case]()))
    if hasattr(emulator, "flux_net"):
        net = emulator.flux_net
        posterior._flux = gradients._flux_function(_double(emulator, net))
    rng = np.random.default_rng(6)
    width = np.diff(posterior.bounds, axis=1)[:, 0]
    point = posterior.bounds[:, 0] + width * (0.4 + 0.2 * rng.random(posterior.ndim))
    x = torch.tensor(point[None], requires_grad=True)
    posterior.log_posterior(x).sum().backward()
    gradient = x.grad[0].numpy() * width
    steps = np.diag(1e-5 * width)
    with torch.no_grad():
        high, low = (
            posterior.log_posterior(torch.tensor(point + sign * steps)).numpy() for sign in (1, -1)
        )
    numeric = (high - low) / 2e-5
    np.testing.assert_allclose(gradient, numeric, atol=1e-3 * np.abs(numeric).max())


def _double(emulator, net):
    weights = tuple(w.astype(float) for w in net.weights)
    biases = tuple(b.astype(float) for b in net.biases)
    select = replace(emulator, flux_net=replace(net, weights=weights, biases=biases))
    mask = [n for i, n in enumerate(emulator.filters) if i != 1]
    return select.select(mask)


def test_the_maximum_is_found(toy_emulator):
    """Climbing from random starts reaches at least the density at the true parameters.

    And no point near the best one is better (200 draws within 1e-3 of the box, tolerance 0.01).
    """
    model, obs, sps = make_problem(toy_emulator, model_params(zred=1.0))
    posterior = gradients.TorchPosterior(model, obs, sps)
    truth = model.theta.copy()
    batched = BatchedPosterior(model, obs, sps)
    starts = batched.prior_transform(np.random.default_rng(7).random((4, posterior.ndim)))
    found = gradients.maximum_a_posteriori(posterior, np.vstack([starts, truth]))
    values = [o.log_posterior for o in found]
    assert values == sorted(values, reverse=True)
    best = found[0]
    at_truth = batched.log_prior(truth[None]) + batched.log_likelihood(truth[None])
    assert best.log_posterior >= at_truth[0]
    lo, hi = posterior.bounds.T
    near = best.theta + 1e-3 * (hi - lo) * np.random.default_rng(8).standard_normal((200, len(lo)))
    near = np.clip(near, lo, hi)
    density = batched.log_prior(near) + batched.log_likelihood(near)
    assert density.max() <= best.log_posterior + 0.01


def test_what_has_no_gradient_is_refused(toy_emulator):
    params = model_params(zred=1.0)
    params["duste_qpah"]["prior"] = priors.Beta(mini=0.5, maxi=7.0, alpha=2.0, beta=3.0)
    with pytest.raises(ModelMismatchError, match="duste_qpah"):
        gradients.TorchPosterior(*make_problem(toy_emulator, params))
    model, obs, sps = make_problem(toy_emulator, model_params(zred=1.0))
    obs["upper_limits"] = np.arange(12) == 3
    with pytest.raises(ModelMismatchError, match="upper limits"):
        gradients.TorchPosterior(model, obs, sps)
