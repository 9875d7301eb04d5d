"""The batched posterior against Prospector's own functions, point by point."""

import functools

import numpy as np
import pytest
from prospect.fitting import lnprobfn
from prospect.models import SpecModel, priors
from prospect.models.sedmodel import SedModel
from prospect.utils.obsutils import fix_obs

from prospect_emu import EmulatorSpecModel, EmulatorSPS
from prospect_emu.errors import DataError, ModelMismatchError, ProspectEmuError, RangeError
from prospect_emu.fit.posterior import BatchedPosterior
from prospect_emu.observe.filters import load_filters
from prospect_emu.prospector.line_table import tolerate_missing_sps_home
from prospect_emu.prospector.mathews23 import model_params
from prospect_emu.sampling.checkpoint import same_likelihood


@pytest.fixture
def problem(double_emulator):
    """Makes model, obs (mock photometry at a prior draw) and sps."""
    return functools.partial(make_problem, double_emulator)


def make_problem(emulator, params=None, kind=EmulatorSpecModel, mask=None, seed=1, error=0.1):
    filters = load_filters(emulator.filters)
    tolerate_missing_sps_home()
    model = kind(params or model_params(zred=1.1))
    sps = EmulatorSPS(emulator, filters)
    rng = np.random.default_rng(seed)
    model.set_parameters(model.prior_transform(0.3 + 0.4 * rng.random(model.ndim)))
    flux = emulator.maggies(sps.theta_from_params(model.params))
    obs = {
        "filters": filters,
        "maggies": flux * (1 + error * rng.standard_normal(flux.size)),
        "maggies_unc": error * flux,
        "phot_mask": np.ones(flux.size, bool) if mask is None else mask,
        "wavelength": None,
        "spectrum": None,
    }
    return model, obs, sps


def with_priors():
    """Every standard family of Prospector on some parameter, and some parameters fixed."""
    params = model_params()
    six = np.zeros(6)
    params["massmet"]["prior"].update(mass_mini=8.0)
    params["dust2"]["prior"] = priors.ClippedNormal(mean=0.5, sigma=0.3, mini=0.1, maxi=3.0)
    params["dust_index"]["prior"] = priors.TopHat(mini=-1.0, maxi=0.4)
    params["duste_umin"]["prior"] = priors.LogUniform(mini=0.1, maxi=25.0)
    params["duste_qpah"]["prior"] = priors.Beta(mini=0.5, maxi=7.0, alpha=2.0, beta=3.0)
    params["zred"]["prior"] = priors.Uniform(mini=0.6, maxi=2.5)
    params["logsfr_ratios"]["prior"] = priors.Uniform(
        mini=six - 3.0, maxi=six + np.arange(1, 7) / 2
    )
    params["log_fagn"] |= {"isfree": False}
    params["gas_logz"] |= {"isfree": False}
    return params


def fagn_free():
    """The AGN fraction itself free, instead of its logarithm."""
    params = model_params(zred=2.0)
    del params["log_fagn"]
    params["fagn"] = {
        "N": 1, "isfree": True, "init": 0.1, "prior": priors.LogUniform(mini=1e-4, maxi=2.0)
    }  # fmt: skip
    return params


def lumdist_given():
    params = model_params()
    params["lumdist"] = {"N": 1, "isfree": False, "init": 5000.0}
    return params


CASES = {
    "fixed zred": lambda: model_params(zred=1.1),
    "free zred": model_params,
    "other priors": with_priors,
    "fagn": fagn_free,
    "lumdist": lumdist_given,
}


@pytest.mark.parametrize("case", CASES)
def test_prior_transform_is_prospectors(problem, case):
    """1e-10 of Prospector's own unit transforms, tails included."""
    model, obs, sps = problem(CASES[case]())
    post = BatchedPosterior(model, obs, sps)
    u = np.random.default_rng(5).random((40, post.ndim))
    u[0], u[1] = 1e-7, 1 - 1e-7
    expected = np.array([model.prior_transform(row) for row in u])
    np.testing.assert_allclose(post.prior_transform(u), expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("case", CASES)
def test_log_prior_is_prospectors(problem, case):
    """1e-10 of model.prior_product, which sums the log densities of its priors."""
    model, obs, sps = problem(CASES[case]())
    post = BatchedPosterior(model, obs, sps)
    theta = post.prior_transform(np.random.default_rng(6).random((20, post.ndim)))
    expected = [model.prior_product(row) for row in theta]
    np.testing.assert_allclose(post.log_prior(theta), expected, rtol=1e-10, atol=1e-10)


def test_log_prior_is_minus_infinity_outside(problem):
    model, obs, sps = problem()
    post = BatchedPosterior(model, obs, sps)
    theta = post.prior_transform(np.full((1, post.ndim), 0.5))
    theta[0, model.theta_index["dust2"]] = 5.0
    assert post.log_prior(theta)[0] == -np.inf


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("kind", [EmulatorSpecModel, SedModel, SpecModel])
def test_likelihood_is_prospectors(problem, case, kind):
    """lnprobfn(nested=True) to 1e-8 of its value, or 1e-8 where it is small.

    Relative, because |ln L| reaches 1e9 at prior draws. The network is double
    precision: what is left is the rounding of the parameter map (1e-10) times the
    slope of ln L, with a margin of ten. SpecModel sees a pseudo-spectrum whose flux
    in a band with a steep edge is exact to 1e-5 only; its ln L changes accordingly: 1e-4.
    """
    model, obs, sps = problem(CASES[case](), kind)
    post = BatchedPosterior(model, obs, sps)
    theta = post.prior_transform(np.random.default_rng(7).random((25, post.ndim)))
    full = fix_obs(dict(obs))
    expected = [lnprobfn(row, model=model, obs=full, sps=sps, nested=True) for row in theta]
    rtol, atol = (1e-4, 1e-3) if kind is SpecModel else (1e-8, 1e-8)
    np.testing.assert_allclose(post.log_likelihood(theta), expected, rtol=rtol, atol=atol)


def test_single_precision_is_not_seen_in_a_posterior(toy_emulator, double_emulator):
    """ln L of a float32 network in any batch against the same network in double precision.

    A product of 16 terms in float32 rounds to 16 x 6e-8 of magnitudes of order 1, four
    layers to 4e-6: 1e-5 is allowed in magnitude, whatever the order of the sums. With
    errors of a tenth, ln L near its peak then moves by less than 12 bands x 10 x 1e-5
    = 1.2e-3, small against 1; at prior draws by 1e-4 of itself (`same_likelihood`).
    """
    model, obs, sps = make_problem(toy_emulator)
    exact = BatchedPosterior(*make_problem(double_emulator))
    post = BatchedPosterior(model, obs, sps)
    peak = np.tile(model.theta, (64, 1))
    anywhere = post.prior_transform(np.random.default_rng(4).random((64, post.ndim)))
    for batch in (1, 3, 64):

        def value(function, theta, n=batch):
            return np.concatenate([function(theta[i : i + n]) for i in range(0, 64, n)])

        ratio = value(post.maggies, anywhere) / exact.maggies(anywhere)
        assert np.abs(2.5 * np.log10(ratio)).max() < 1e-5
        near = value(post.log_likelihood, peak) - exact.log_likelihood(peak)
        assert np.abs(near).max() < 1.2e-3
        assert same_likelihood(
            value(post.log_likelihood, anywhere), exact.log_likelihood(anywhere)
        )  # fmt: skip


def test_only_unmasked_bands_count(problem):
    """A masked band may hold anything, NaN included, and ln L is Prospector's.

    To 1e-8, as in `test_likelihood_is_prospectors`.
    """
    mask = np.ones(12, bool)
    mask[[1, 4]] = False
    model, obs, sps = problem(mask=mask)
    obs["maggies"][1], obs["maggies_unc"][4] = np.nan, -1.0
    post = BatchedPosterior(model, obs, sps)
    assert post.emulator.filters == tuple(np.array(sps.emulator.filters)[mask])
    theta = post.prior_transform(np.random.default_rng(8).random((10, post.ndim)))
    full = fix_obs(dict(obs))
    expected = [lnprobfn(row, model=model, obs=full, sps=sps, nested=True) for row in theta]
    np.testing.assert_allclose(post.log_likelihood(theta), expected, rtol=1e-8, atol=1e-8)


def test_emulator_theta_is_the_models(problem):
    """The compiled map equals set_parameters + theta_from_params to 1e-10."""
    model, obs, sps = problem(model_params())
    post = BatchedPosterior(model, obs, sps)
    for theta in post.prior_transform(np.random.default_rng(9).random((10, post.ndim))):
        model.set_parameters(theta)
        expected = sps.theta_from_params(model.params)
        np.testing.assert_allclose(post.predictions.vectors(theta[None])[0], expected, atol=1e-10)


def test_building_leaves_the_model_as_it_was(problem):
    model, obs, sps = problem()
    before, keys = model.theta.copy(), set(obs)
    BatchedPosterior(model, obs, sps)
    np.testing.assert_array_equal(model.theta, before)
    assert set(obs) == keys


# ---- refusals: the message names the parameter ---------------------------------


def jitter(params):
    params["phot_jitter"] = {
        "N": 1, "isfree": True, "init": 1.0, "prior": priors.Uniform(mini=0.5, maxi=2.0)
    }  # fmt: skip


def other_dust1(params):
    params["dust1"]["depends_on"] = lambda dust2=None, **extras: 0.5 * dust2


def other_tau(params):
    params["agn_tau"]["depends_on"] = lambda log_agn_tau=None, **extras: 9.0 * 1.01**log_agn_tau


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (jitter, "phot_jitter"),
        (other_dust1, "dust1_fraction"),
        (other_tau, "log_agn_tau"),
    ],
)
def test_other_models_are_refused_by_name(problem, change, named):
    params = model_params(zred=1.1)
    change(params)
    model, obs, sps = problem(params)
    with pytest.raises(ModelMismatchError, match=named):
        BatchedPosterior(model, obs, sps)


def test_a_model_that_changes_the_photometry_is_refused(problem):
    class Brighter(EmulatorSpecModel):
        def predict(self, theta, obs=None, sps=None, **extras):
            spec, phot, mfrac = super().predict(theta, obs=obs, sps=sps, **extras)
            return spec, 1.01 * phot, mfrac

    model, obs, sps = problem(kind=Brighter)
    with pytest.raises(ModelMismatchError, match="Brighter"):
        BatchedPosterior(model, obs, sps)


def test_a_prior_outside_the_box_is_refused(problem):
    params = model_params(zred=1.1)
    params["dust2"]["prior"] = priors.Uniform(mini=0.0, maxi=6.0)
    model, obs, sps = problem()
    model = EmulatorSpecModel(params)
    with pytest.raises(RangeError, match="dust2"):
        BatchedPosterior(model, obs, sps)


def test_a_spectrum_is_refused(problem):
    model, obs, sps = problem()
    with pytest.raises(ModelMismatchError, match="spectrum"):
        BatchedPosterior(model, {**obs, "spectrum": np.ones(5)}, sps)


def test_an_unmasked_nan_is_refused(problem):
    model, obs, sps = problem()
    obs["maggies"][2] = np.nan
    with pytest.raises(DataError, match=sps.emulator.filters[2]):
        BatchedPosterior(model, obs, sps)


def test_nan_never_reaches_the_sampler(problem):
    model, obs, sps = problem()
    post = BatchedPosterior(model, obs, sps)
    theta = post.prior_transform(np.full((3, post.ndim), 0.5))
    theta[1, model.theta_index["dust2"]] = np.nan
    with pytest.raises(ProspectEmuError, match="dust2=nan"):
        post.log_likelihood(theta)
