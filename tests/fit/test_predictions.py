"""Posteriors of any model with `EmulatorSPS()`, against Prospector's own predict and lnprobfn."""

import warnings

import numpy as np
import pytest
from prospect.fitting import lnprobfn
from prospect.likelihood import NoiseModel
from prospect.likelihood.kernels import Uncorrelated
from prospect.models import SedModel, SpecModel, priors
from prospect.models.templates import TemplateLibrary
from prospect.utils.obsutils import fix_obs
from sedpy.observate import FilterSet, load_filters

from prospect_emu import BatchedPosterior, EmulatorSPS, FitResult, fit_model
from prospect_emu.errors import DataError, ModelMismatchError
from prospect_emu.fit.predictions import ExactFluxes, ModelFluxes, predictions

BANDS = ["sdss_u0", "sdss_g0", "sdss_r0", "sdss_i0", "twomass_J", "spitzer_irac_ch1"]


@pytest.fixture(scope="module")
def obs():
    filters = load_filters(BANDS)
    flux = np.array([3e-9, 1e-8, 2e-8, 2.6e-8, 4e-8, 3e-8])
    obs = {"filters": filters, "maggies": flux, "maggies_unc": 0.05 * flux}
    return obs | {"phot_mask": np.ones(6, dtype=bool), "wavelength": None, "spectrum": None}


@pytest.fixture(scope="module")
def sps():
    return EmulatorSPS()


def params(*names, zred=0.1):
    out = {}
    for name in names:
        out |= TemplateLibrary[name]
    out["zred"] = {"N": 1, "isfree": False, "init": zred}
    return out


def reference(model, obs, sps, theta, noise=(None, None)):
    """Prospector's log likelihood, row by row."""
    full = fix_obs(dict(obs))
    return np.array(
        [
            lnprobfn(t, model=model, obs=full, sps=sps, noise=noise, nested=True, verbose=False)
            for t in theta
        ]
    )


def draws(posterior, n=5, seed=3):
    return posterior.prior_transform(np.random.default_rng(seed).random((n, posterior.ndim)))


@pytest.mark.parametrize("kind", [SpecModel, SedModel])
def test_likelihood_is_prospectors(obs, sps, kind):
    """Compiled fluxes are within 1e-4, which chi2 of up to 1e5 multiplies."""
    model = kind(params("parametric_sfh", "nebular", "dust_emission"))
    posterior = BatchedPosterior(model, obs, sps)
    assert isinstance(posterior.predictions, ExactFluxes) and posterior.predictions.quick
    theta = draws(posterior)
    expected = reference(model, obs, sps, theta)
    got = posterior.log_likelihood(theta)
    np.testing.assert_allclose(got, expected, rtol=1e-3)
    prior = [model.prior_product(t) for t in theta]
    np.testing.assert_allclose(posterior.log_prior(theta), prior, rtol=1e-10)


@pytest.mark.parametrize("kind", [SpecModel, SedModel])
def test_units_of_mass_are_the_models(kind, obs, sps):
    """SedModel of 1.4 reads ``mass_units``, SpecModel does not; either is compiled; 1e-4."""
    units = {"mass_units": {"N": 1, "isfree": False, "init": "mstar"}}
    model = kind(params("parametric_sfh") | units)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        posterior = BatchedPosterior(model, obs, sps)
    said = any("mass is the mass formed" in str(w.message) for w in caught)
    assert isinstance(posterior.predictions, ExactFluxes) and said == (kind is SpecModel)
    theta = draws(posterior, 3)
    expected = [model.predict(t, obs=fix_obs(dict(obs)), sps=sps)[1] for t in theta]
    np.testing.assert_allclose(posterior.maggies(theta), expected, rtol=1e-4)


def test_lines_that_the_model_ignores(obs, sps):
    """Before Prospector's first prediction too; 1e-4."""
    extra = {"elines_to_ignore": {"isfree": False, "init": ["[O II] 3726", "[O II] 3729"]}}
    young = {"isfree": False, "N": 1, "init": 0.003}
    config = {**params("ssp", "nebular"), **extra, "tage": young}
    config["nebemlineinspec"] = {"N": 1, "isfree": False, "init": False}
    model = SpecModel(config)
    posterior = BatchedPosterior(model, obs, sps)
    assert isinstance(posterior.predictions, ExactFluxes)
    theta = draws(posterior, 3)
    expected = [model.predict(t, obs=fix_obs(dict(obs)), sps=sps)[1] for t in theta]
    np.testing.assert_allclose(posterior.maggies(theta), expected, rtol=1e-4)


def test_a_switch_that_varies_is_the_models_own_pace(obs, sps):
    tesc = {"N": 1, "isfree": True, "init": 7.0, "prior": priors.TopHat(mini=6.0, maxi=8.0)}
    model = SpecModel(params("ssp") | {"dust_tesc": tesc})
    with pytest.warns(UserWarning, match="dust_tesc varies: the model predicts each"):
        posterior = BatchedPosterior(model, obs, sps)
    assert isinstance(posterior.predictions, ModelFluxes)


def test_only_unmasked_bands(obs, sps):
    model = SpecModel(params("ssp"))
    some = {**obs, "phot_mask": np.array([True, False, True, True, False, True])}
    posterior = BatchedPosterior(model, some, sps)
    theta = draws(posterior)
    full = BatchedPosterior(model, obs, sps)
    np.testing.assert_allclose(
        posterior.maggies(theta), full.maggies(theta)[:, some["phot_mask"]], rtol=1e-4
    )


@pytest.mark.parametrize("zred", [None, (0.05, 0.3)])
def test_a_filterset_has_its_own_quadrature(zred, obs, sps):
    """sedpy's FilterSet sums on a grid of its own, up to 2 % from lists of filters; 1e-4."""
    config = params("parametric_sfh")
    if zred is not None:
        config["zred"] = {
            "N": 1,
            "isfree": True,
            "init": 0.1,
            "prior": priors.TopHat(mini=zred[0], maxi=zred[1]),
        }
    model, obs = SpecModel(config), obs | {"filters": FilterSet(BANDS)}
    posterior = BatchedPosterior(model, obs, sps)
    theta = draws(posterior, 3)
    expected = []
    for row in theta:
        model.set_parameters(row)
        expected.append(model.predict(row, obs=fix_obs(dict(obs)), sps=sps)[1])
    np.testing.assert_allclose(posterior.maggies(theta), expected, rtol=1e-4)


def test_a_model_with_photometry_of_its_own(obs, sps):
    """What `predict` adds is in the fluxes; a warning says what it costs."""

    class Calibrated(SpecModel):
        def predict_phot(self, filters):
            return super().predict_phot(filters) * (1.0 + self.params["offset"])

    extra = {
        "offset": {"N": 1, "isfree": True, "init": 0.1, "prior": priors.TopHat(mini=0.05, maxi=0.2)}
    }
    model = Calibrated(params("ssp") | extra)
    with pytest.warns(UserWarning, match=r"other photometry .* ms each"):
        posterior = BatchedPosterior(model, obs, sps)
    assert isinstance(posterior.predictions, ModelFluxes)
    theta = draws(posterior, 2)
    expected = [model.predict(t, obs=fix_obs(dict(obs)), sps=sps)[1] for t in theta]
    np.testing.assert_allclose(posterior.maggies(theta), expected, rtol=1e-12)


def test_transforms_that_raise_value_error_have_no_likelihood(obs, sps):
    def young(tage_raw=None, **extras):
        if tage_raw > 5.0:
            raise ValueError("too old")
        return tage_raw

    p = params("ssp")
    p["tage_raw"] = {"N": 1, "isfree": True, "init": 1.0, "prior": priors.TopHat(mini=0.1, maxi=10)}
    p["tage"] = {"N": 1, "isfree": False, "init": 1.0, "depends_on": young}
    model = SpecModel(p)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        posterior = BatchedPosterior(model, obs, sps)
    theta = draws(posterior, 20)
    old = theta[:, model.theta_index["tage_raw"].start] > 5.0
    lnl = posterior.log_likelihood(theta)
    assert old.any() and (lnl[old] == -1e300).all()
    np.testing.assert_allclose(lnl[~old], reference(model, obs, sps, theta[~old]), rtol=1e-3)


def test_correlated_noise_is_left_to_prospector(obs, sps):
    """A kernel that is not compiled: Prospector's own likelihood, to the last bit."""

    class Strange(Uncorrelated):
        pass

    p = params("ssp")
    p["phot_jitter"] = {
        "N": 1,
        "isfree": True,
        "init": 1.0,
        "prior": priors.TopHat(mini=0.5, maxi=2),
    }
    model = SpecModel(p)
    noise = None, NoiseModel(kernels=[Strange(parnames=["phot_jitter"])], metric_name="filternames",
                             weight_by=["phot_unc"])  # fmt: skip
    with pytest.warns(UserWarning, match="Prospector's own likelihood"):
        posterior = BatchedPosterior(model, obs, sps, noise)
    theta = draws(posterior, 2)
    np.testing.assert_array_equal(
        posterior.log_likelihood(theta), reference(model, obs, sps, theta, noise)
    )
    with pytest.raises(ModelMismatchError, match=r"model\.predict"):
        posterior.maggies(theta)


def test_stars_cannot_vary(obs, sps):
    p = params("ssp")
    p["imf_type"] = {"N": 1, "isfree": True, "init": 1, "prior": priors.TopHat(mini=0, maxi=2)}
    with pytest.raises(ModelMismatchError, match="imf_type varies"):
        BatchedPosterior(SpecModel(p), obs, sps)


def test_bad_photometry(obs, sps):
    broken = {**obs, "maggies_unc": np.zeros(6)}
    with pytest.raises(DataError, match="not a positive number"):
        BatchedPosterior(SpecModel(params("ssp")), broken, sps)


def test_wings_of_a_curve_count(sps):
    """SPHEREx's band 4, whose wings matter, within 1e-4 of the whole spectrum's photometry."""
    filters = load_filters(["spherex_band4"])
    one = {"filters": filters, "maggies": np.ones(1), "maggies_unc": np.ones(1)}
    model = SpecModel(params("parametric_sfh", zred=0.5))
    full = fix_obs({**one, "wavelength": None, "spectrum": None})
    expected = model.predict(model.theta, obs=full, sps=sps)[1]
    found = predictions(model, one, sps).maggies(model.theta[None])[0]
    np.testing.assert_allclose(found, expected, rtol=1e-4)


@pytest.mark.parametrize("lumdist", [0.0, -1.0, np.nan, "far", [1.0, 2.0]])
def test_distances_that_are_none(obs, sps, lumdist):
    p = params("ssp") | {"lumdist": {"N": np.size(lumdist), "isfree": False, "init": lumdist}}
    with pytest.raises(ModelMismatchError, match=r"lumdist = .* is not a distance; give Mpc"):
        BatchedPosterior(SpecModel(p), obs, sps)


def test_a_nearby_galaxy_by_its_distance(obs, sps):
    """At z = 0.0001 with lumdist, fluxes are those at z = 0.001 but for distance and redshift."""

    def flux(zred, lumdist):
        p = params("ssp", zred=zred)
        p["lumdist"] = {"N": 1, "isfree": False, "init": lumdist}
        model = SpecModel(p)
        return predictions(model, obs, sps).maggies(model.theta[None])[0]

    near, far = flux(1e-4, 2.0), flux(1e-3, 20.0)
    # A shift of 1e-3 in wavelength moves these bands by less than 2 %.
    np.testing.assert_allclose(near / far, 100.0, rtol=0.02)


def test_fit_and_result(obs, sps, tmp_path):
    model = SpecModel(params("continuity_sfh", "nebular", zred=0.3))
    one = dict(obs)
    output = fit_model(
        one, model, sps, nested_nlive_init=60, nested_walks=5, nested_maxcall=3000,
        nested_target_n_effective=50, seed=4, progress=False,
    )  # fmt: skip
    result = FitResult.from_run(output, model, one, sps)
    result.write(tmp_path / "r.h5")
    again = FitResult.read(tmp_path / "r.h5")
    np.testing.assert_array_equal(again.samples, result.samples)
    for name, values in result.derived.items():
        np.testing.assert_array_equal(again.derived[name], values)
    # Mass formed is what the sampler drew, and SFR x time what formed.
    logmass = result.samples[:, result.parameters.index("logmass")]
    np.testing.assert_allclose(result.derived["log_mass_formed"], logmass, rtol=1e-9)
    history = result.history
    total = (history["sfr"][1] * np.diff(history["lookback"])).sum()
    assert np.log10(total) == pytest.approx(np.median(logmass), abs=0.7)
    assert again.vectors is None and again.info["emulator"] == "exact"
    assert again.summary()["parameter"][0] == result.parameters[0]


def test_one_sps_for_several_models(obs):
    """What one model sets does not stay for the next, as it would with FSPS."""
    sps = EmulatorSPS()
    plain, rich = (
        SpecModel(params(*names)) for names in (("ssp",), ("ssp", "nebular", "dust_emission"))
    )
    before = plain.predict(plain.theta, obs=fix_obs(dict(obs)), sps=sps)[1]
    rich.predict(rich.theta, obs=fix_obs(dict(obs)), sps=sps)
    after = plain.predict(plain.theta, obs=fix_obs(dict(obs)), sps=sps)[1]
    np.testing.assert_array_equal(before, after)


def test_bins_that_are_too_short_have_no_likelihood(obs, sps):
    """FastStepBasis raises ValueError for bins below 1 Myr, Prospector's likelihood is -inf."""
    model = SpecModel(params("continuity_flex_sfh"))
    posterior = BatchedPosterior(model, obs, sps)
    theta = draws(posterior, 40)
    where = model.theta_index["logsfr_ratios"]
    theta[:20, where] = 4.0  # the flexible bins shrink with the ratio of their rates
    lnl, expected = posterior.log_likelihood(theta), reference(model, obs, sps, theta)
    short = np.isneginf(expected)
    assert short.any() and not short.all()
    np.testing.assert_array_equal(lnl == -1e300, short)
