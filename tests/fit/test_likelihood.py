"""Terms of the likelihood against Prospector's lnprobfn, and scipy where it has none."""

import numpy as np
import pytest
from prospect.fitting import lnprobfn
from prospect.likelihood import NoiseModel
from prospect.likelihood.kernels import ExpSquared, Uncorrelated
from prospect.models import priors
from prospect.utils.obsutils import fix_obs
from scipy.stats import multivariate_normal, norm

from prospect_emu import EmulatorSpecModel, EmulatorSPS
from prospect_emu.errors import DataError, ModelMismatchError, SetupError
from prospect_emu.fit.fitting import fit_model
from prospect_emu.fit.posterior import BatchedPosterior
from prospect_emu.fit.result import FitResult
from prospect_emu.observe.filters import load_filters
from prospect_emu.observe.magnitudes import arsinh_to_maggies, maggies_to_arsinh
from prospect_emu.observe.tables import make_obs
from prospect_emu.prospector.mathews23 import model_params


def parameter(init, prior=None):
    entry = {"N": 1, "isfree": prior is not None, "init": init}
    return entry if prior is None else {**entry, "prior": prior}


def free(mini, maxi):
    return parameter(0.5 * (mini + maxi), priors.Uniform(mini=mini, maxi=maxi))


@pytest.fixture
def problem(double_emulator):
    """Makes model, obs (with one outlier) and sps; keywords are parameters of the likelihood."""

    def make(mask=None, **extra):
        params = model_params(zred=1.1) | extra
        filters = load_filters(double_emulator.filters)
        model, sps = EmulatorSpecModel(params), EmulatorSPS(double_emulator, filters)
        rng = np.random.default_rng(1)
        model.set_parameters(model.prior_transform(0.3 + 0.4 * rng.random(model.ndim)))
        flux = double_emulator.maggies(sps.theta_from_params(model.params))
        flux[3] *= 2.0
        obs = {
            "filters": filters,
            "maggies": flux * (1 + 0.1 * rng.standard_normal(flux.size)),
            "maggies_unc": 0.1 * flux,
            "phot_mask": np.ones(flux.size, bool) if mask is None else mask,
            "wavelength": None,
            "spectrum": None,
        }
        return model, obs, sps

    return make


def jitter_noise(extra=()):
    """sigma^2 = (phot_jitter x error)^2, and more terms."""
    kernels = [Uncorrelated(parnames=["phot_jitter"])]
    weights = ["phot_unc"]
    for name, weight in extra:
        kernels.append(Uncorrelated(parnames=[name]))
        weights.append(weight)
    return NoiseModel(metric_name="filternames", kernels=kernels, weight_by=weights)


MASK = np.arange(12) % 5 != 2
CASES = {
    "jitter": ({"phot_jitter": free(0.5, 3.0)}, jitter_noise(), None),
    "jitter, fixed": ({"phot_jitter": parameter(1.7)}, jitter_noise(), MASK),
    "jitter and a fraction of the flux": (
        {"phot_jitter": free(0.5, 3.0), "calibration": free(0.0, 0.2)},
        jitter_noise([("calibration", "phot")]),
        MASK,
    ),
    "outliers": ({"f_outlier_phot": free(1e-5, 0.5)}, None, None),
    "outliers, nsigma fixed": (
        {"f_outlier_phot": free(1e-5, 0.5), "nsigma_outlier_phot": parameter(50.0)},
        None,
        MASK,
    ),
    "outliers, all fixed": (
        {"f_outlier_phot": parameter(0.01), "nsigma_outlier_phot": parameter(20.0)},
        None,
        None,
    ),
    "outliers, all free": (
        {"f_outlier_phot": free(1e-5, 0.5), "nsigma_outlier_phot": free(2.0, 50.0)},
        None,
        None,
    ),
    "outliers and jitter": (
        {"f_outlier_phot": free(1e-5, 0.5), "phot_jitter": free(0.5, 3.0)},
        jitter_noise(),
        MASK,
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_likelihood_is_prospectors(problem, case):
    """lnprobfn(nested=True) to 1e-8 of its value, or 1e-8 where it is small.

    The network is double precision; the parameter map rounds to 1e-10, times the slope of ln L.
    """
    extra, phot_noise, mask = CASES[case]
    noise = (None, phot_noise)
    model, obs, sps = problem(mask, **extra)
    post = BatchedPosterior(model, obs, sps, noise)
    theta = post.prior_transform(np.random.default_rng(7).random((25, post.ndim)))
    full = fix_obs(dict(obs))
    expected = [
        lnprobfn(row, model=model, obs=full, sps=sps, noise=noise, nested=True).item()
        for row in theta
    ]
    np.testing.assert_allclose(post.log_likelihood(theta), expected, rtol=1e-8, atol=1e-8)
    assert post.ndim == 17 + sum(entry["isfree"] for entry in extra.values())


def test_masked_arrays_with_a_noise_model(problem):
    """A masked value masks its band: the likelihood is that of the other bands, 1e-9 by scipy.

    Prospector agrees where ``phot_mask`` masks them. Given masked arrays, its noise model
    counts each masked band as one of no residual and of variance jitter**2, with no unit, in
    ``log_det`` and in ``n ln(2 pi)``: each draws a free jitter towards small values.
    """
    phot_noise = jitter_noise()
    model, obs, sps = problem(phot_jitter=parameter(1.7))
    hidden = {k: np.ma.array(obs[k], mask=~MASK) for k in ("maggies", "maggies_unc")}
    post = BatchedPosterior(model, obs | hidden, sps, (None, phot_noise))
    theta = post.prior_transform(np.random.default_rng(7).random((3, post.ndim)))
    fluxes = [model.predict(row, obs, sps=sps)[1] for row in theta]
    flux, unc = obs["maggies"], 1.7 * obs["maggies_unc"]
    expected = np.array([norm.logpdf(flux, m, unc)[MASK].sum() for m in fluxes])
    np.testing.assert_allclose(post.log_likelihood(theta), expected, rtol=1e-9)

    def prospectors(given):
        full = fix_obs({**obs, **given})
        return [
            lnprobfn(row, model=model, obs=full, sps=sps, noise=(None, phot_noise), nested=True)
            for row in theta
        ]

    np.testing.assert_allclose(prospectors({"phot_mask": MASK}), expected, rtol=1e-9)
    each = 0.5 * np.log(2 * np.pi) + np.log(1.7)
    np.testing.assert_allclose(prospectors(hidden), expected - 2 * each, rtol=1e-9)


def test_the_prior_of_likelihood_parameters_is_prospectors(problem):
    """1e-10 of model.prior_product and prior_transform with jitter and outliers free."""
    extra, phot_noise, _ = CASES["outliers and jitter"]
    model, obs, sps = problem(**extra)
    post = BatchedPosterior(model, obs, sps, (None, phot_noise))
    u = np.random.default_rng(8).random((10, post.ndim))
    theta = post.prior_transform(u)
    np.testing.assert_allclose(theta, [model.prior_transform(row) for row in u], rtol=1e-10)
    expected = [model.prior_product(row) for row in theta]
    np.testing.assert_allclose(post.log_prior(theta), expected, rtol=1e-10)


@pytest.mark.parametrize("mask", [None, MASK])
def test_upper_limits_are_gaussian_tails(problem, mask):
    """scipy's log CDF in limited bands, its log density in others: 1e-6 of the sum."""
    model, obs, sps = problem(mask)
    upper = np.zeros(12, bool)
    upper[[0, 2, 7]] = True
    obs["upper_limits"] = upper
    post = BatchedPosterior(model, obs, sps)
    theta = post.prior_transform(np.random.default_rng(9).random((25, post.ndim)))
    used = obs["phot_mask"]
    flux, unc, limit = obs["maggies"][used], obs["maggies_unc"][used], upper[used]
    maggies = post.maggies(theta)
    terms = np.where(
        limit, norm.logcdf(flux, maggies, unc), norm.logpdf(flux, maggies, unc)
    )  # fmt: skip
    np.testing.assert_allclose(post.log_likelihood(theta), terms.sum(axis=1), rtol=1e-6)


def test_upper_limits_are_no_outliers(problem):
    """The mixture is of detections only; with its weight near zero it is the plain likelihood."""
    model, obs, sps = problem(f_outlier_phot=parameter(1e-12))
    obs["upper_limits"] = np.arange(12) < 2
    mixed = BatchedPosterior(model, obs, sps)
    plain = BatchedPosterior(problem()[0], obs, sps)
    # Near the data, where one part in 1e12 of outliers has no say.
    theta = np.tile(model.theta, (2, 1))
    np.testing.assert_allclose(
        mixed.log_likelihood(theta), plain.log_likelihood(theta), rtol=1e-6
    )  # fmt: skip


@pytest.mark.parametrize("mask", [None, MASK])
def test_residual_covariance_is_scipys(problem, mask):
    """scipy's multivariate normal to 1e-6, its covariance by finite differences.

    Covariance in flux: observed variance plus the emulator's covariance in
    magnitudes, times the slope of flux against magnitude at the observed flux.
    """
    model, obs, sps = problem(mask)
    obs["maggies_unc"][:] *= 0.3
    observed = obs["maggies_unc"].copy()
    obs = sps.inflate(obs, covariance=True)
    used = obs["phot_mask"]
    mag, step = maggies_to_arsinh(obs["maggies"]), 1e-4
    slope = (arsinh_to_maggies(mag + step) - arsinh_to_maggies(mag - step)) / (2 * step)
    full = np.diag(observed**2) + np.outer(slope, slope) * sps.emulator.covariance
    full = full[np.ix_(used, used)]
    assert np.abs(full - np.diag(np.diag(full))).max() > 0
    np.testing.assert_allclose(obs["maggies_unc"][used] ** 2, np.diag(full), rtol=1e-6)
    post = BatchedPosterior(model, obs, sps)
    theta = post.prior_transform(np.random.default_rng(9).random((20, post.ndim)))
    # scipy takes eigenvalues near 1e-20 for zero: in units of the flux.
    unit = np.sqrt(np.diag(full))
    scaled = multivariate_normal(
        obs["maggies"][used] / unit, full / np.outer(unit, unit)
    )  # fmt: skip
    expected = [scaled.logpdf(m / unit) - np.log(unit).sum() for m in post.maggies(theta)]
    np.testing.assert_allclose(post.log_likelihood(theta), expected, rtol=1e-6)


def test_inflating_again_forgets_the_covariance(problem):
    _, obs, sps = problem()
    again = sps.inflate(sps.inflate(obs, covariance=True))
    assert "maggies_covariance" not in again
    np.testing.assert_array_equal(again["maggies_unc"], sps.inflate(obs)["maggies_unc"])


def test_a_fit_with_jitter_and_limits_is_written_and_read(problem, tmp_path):
    """fit_model takes the noise model; the result knows the extra parameter and the limits."""
    model, obs, sps = problem(phot_jitter=free(0.5, 3.0))
    obs["upper_limits"] = np.arange(12) < 2
    obs = sps.inflate(obs)
    output = fit_model(
        obs, model, sps, noise=(None, jitter_noise()), seed=1, verbose=False,
        nested_nlive_init=50, nested_walks=5, nested_maxbatch=0,
    )  # fmt: skip
    result = FitResult.from_run(output, model, obs, sps)
    result.write(tmp_path / "fit.h5")
    read = FitResult.read(tmp_path / "fit.h5")
    assert "phot_jitter" in read.summary()["parameter"]
    np.testing.assert_array_equal(read.photometry.upper_limits, obs["upper_limits"])
    p = read.photometry
    expected = (((p.maggies - p.best) / p.unc)[2:] ** 2).sum()
    assert p.chi2 == pytest.approx(expected, rel=1e-12)


# ---- refusals ---------------------------------------------------------------------


def squared(outlier=None, **extras):
    return np.atleast_1d(outlier) ** 2


REFUSED = {
    "no noise model": ({"phot_jitter": free(0.5, 2.0)}, None, "phot_jitter"),
    "correlated": (
        {"a": parameter(1.0), "l": parameter(1.0)},
        NoiseModel("phot", kernels=[ExpSquared(parnames=["a", "l"])], weight_by=[None]),
        "ExpSquared",
    ),
    "weight": (
        {"phot_jitter": parameter(1.0)},
        NoiseModel("phot", kernels=[Uncorrelated(["phot_jitter"])], weight_by=["wavelength"]),
        "wavelength",
    ),
    "foreign": ({}, object(), "object"),
    "depends": (
        {
            "outlier": free(0.1, 0.2),
            "f_outlier_phot": {"N": 1, "isfree": False, "init": 0.1, "depends_on": squared},
        },
        None,
        "f_outlier_phot depends",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_not_compiled_is_refused_by_name(problem, case):
    extra, phot_noise, named = REFUSED[case]
    model, obs, sps = problem(**extra)
    with pytest.raises(ModelMismatchError, match=named):
        BatchedPosterior(model, obs, sps, (None, phot_noise))


def test_a_spectral_noise_model_is_refused(problem):
    model, obs, sps = problem()
    with pytest.raises(ModelMismatchError, match="spectrum"):
        BatchedPosterior(model, obs, sps, (jitter_noise(), None))


def test_covariance_and_outliers_are_refused_together(problem):
    model, obs, sps = problem(f_outlier_phot=free(1e-5, 0.5))
    with pytest.raises(ModelMismatchError, match="f_outlier_phot"):
        BatchedPosterior(model, sps.inflate(obs, covariance=True), sps)


def spoil_limits(obs):
    obs["upper_limits"] = np.zeros(12)


def spoil_diagonal(obs):
    obs["maggies_unc"] = obs["maggies_unc"] * 2


def spoil_shape(obs):
    obs["maggies_covariance"] = obs["maggies_covariance"][:5]


def spoil_definite(obs):
    obs["maggies_covariance"] = np.outer(obs["maggies_unc"], obs["maggies_unc"])


@pytest.mark.parametrize(
    ("spoil", "named"),
    [
        (spoil_limits, "upper_limits"),
        (spoil_diagonal, "diagonal"),
        (spoil_shape, "shape"),
        (spoil_definite, "positive definite"),
    ],
)
def test_data_that_cannot_be_used_are_refused(problem, spoil, named):
    model, obs, sps = problem()
    obs = sps.inflate(obs, covariance=True)
    spoil(obs)
    with pytest.raises(DataError, match=named):
        BatchedPosterior(model, obs, sps)


def test_rows_do_not_meet(problem):
    """One by one or together, the same to 1e-12."""
    for extra, phot_noise, mask in CASES.values():
        model, obs, sps = problem(mask, **extra)
        post = BatchedPosterior(model, obs, sps, (None, phot_noise))
        theta = post.prior_transform(np.random.default_rng(3).random((4, post.ndim)))
        maggies = post.maggies(theta)
        together = post._likelihood(maggies.copy(), theta)
        apart = [post._likelihood(maggies[i : i + 1].copy(), theta[i : i + 1]) for i in range(4)]
        np.testing.assert_allclose(together, np.concatenate(apart), rtol=1e-12)


def test_a_noise_parameter_that_the_model_lacks(toy_emulator):
    """Prospector ends with a KeyError; no likelihood can be computed without it."""
    sps = EmulatorSPS(toy_emulator)
    model = EmulatorSpecModel(model_params(zred=1.0))
    flux = np.full(len(sps.filters), 1e-9)
    obs = make_obs(sps.filters, flux, 0.1 * flux, 1.0)
    kernel = Uncorrelated(parnames=["phot_jitter"])
    noise = NoiseModel(metric_name="filternames", kernels=[kernel], weight_by=["phot_unc"])
    with pytest.raises(SetupError, match="'phot_jitter', which the model does not have; add it"):
        fit_model(obs, model, sps, noise=(None, noise))
