"""Priors of a free redshift, and templates with one."""

import json
import warnings

import numpy as np
import pytest
from astropy.cosmology import WMAP9
from astropy.table import Table
from scipy import stats

from prospect_emu import EmulatorSPS
from prospect_emu.errors import DataError, ModelMismatchError, RangeError
from prospect_emu.fit.predictions import predictions
from prospect_emu.observe.tables import make_obs
from prospect_emu.prospector.batched_priors import compile_priors, prior_draws
from prospect_emu.prospector.priors import Tabulated
from prospect_emu.prospector.redshift_prior import describe_prior, redshift_prior
from prospect_emu.prospector.templates import template_model, template_params

U = np.linspace(0.001, 0.999, 301)[:, None]


def test_words():
    uniform = redshift_prior(describe_prior("uniform:0.5,3"))
    np.testing.assert_allclose(uniform.unit_transform(U), stats.uniform(0.5, 2.5).ppf(U))
    normal = redshift_prior(json.loads(json.dumps(describe_prior("normal:1.2,0.1"))))
    # It ends at 5 sigma, 6e-7 of scipy's, which has no ends.
    np.testing.assert_allclose(normal.unit_transform(U), stats.norm(1.2, 0.1).ppf(U), rtol=1e-5)
    assert normal.range == pytest.approx((0.7, 1.7))


def test_a_table_against_scipy():
    """Straight lines between points are a triangular distribution, exactly."""
    prior = Tabulated(x=np.array([1.0, 2.0, 4.0]), density=np.array([0.0, 7.0, 0.0]))
    exact = stats.triang(c=1 / 3, loc=1.0, scale=3.0)
    x = exact.ppf(U)
    np.testing.assert_allclose(prior.unit_transform(U), x, rtol=1e-12)
    np.testing.assert_allclose(prior.inverse_unit_transform(x), U, rtol=1e-12)
    np.testing.assert_allclose(prior(x), exact.logpdf(x), rtol=1e-12)
    assert np.isneginf(prior(np.array([0.9, 4.1]))).all()


def test_two_peaks_and_nothing_between(tmp_path):
    """The odds of two peaks are those of their areas; no draw falls where p is zero."""
    z = np.arange(0.1, 4.01, 0.1)
    p = np.where((z > 0.45) & (z < 0.75), 1.0, 0.0) + np.where((z > 2.75) & (z < 3.05), 3.0, 0.0)
    Table({"z": z, "p": p}).write(tmp_path / "pz.csv")
    prior = redshift_prior(describe_prior(tmp_path / "pz.csv"))
    draws = prior.unit_transform((np.arange(4000)[:, None] + 0.5) / 4000)[:, 0]
    assert np.mean(draws < 2.0) == pytest.approx(0.25, abs=5e-4)
    assert not ((draws > 0.8) & (draws < 2.7)).any() and np.isfinite(draws).all()


@pytest.mark.parametrize(
    ("text", "error", "words"),
    [
        ("uniform:3", DataError, "two numbers"),
        ("uniform:3,1", RangeError, "3 to 1"),
        ("uniform:0.1,30", RangeError, "0.001 to 20"),
        ("normal:1.2,0", RangeError, "positive sigma"),
        ("flat", DataError, "check the path"),
    ],
)
def test_what_is_no_prior(text, error, words):
    with pytest.raises(error, match=words):
        describe_prior(text)


def test_what_is_no_table(tmp_path):
    for columns in ({"z": [1.0, 0.5], "p": [1.0, 1.0]}, {"z": [0.5, 1.0], "p": [1.0, -1.0]}):
        Table(columns).write(tmp_path / "pz.csv", overwrite=True)
        with pytest.raises(DataError, match="not a table of p"):
            describe_prior(tmp_path / "pz.csv")
    Table({"z": [0.5, 1.0], "q": [1.0, 1.0]}).write(tmp_path / "pz.csv", overwrite=True)
    with pytest.raises(DataError, match="one column 'p'"):
        describe_prior(tmp_path / "pz.csv")
    velocity = Table({"z": [0.5, 1.0], "p": [1.0, 1.0]}, units={"z": "km/s"})
    velocity.write(tmp_path / "cz.ecsv")
    with pytest.raises(DataError, match="'z' is in km / s, and what it should hold has no unit"):
        describe_prior(tmp_path / "cz.ecsv")


@pytest.mark.parametrize("name", ["continuity_sfh+nebular+igm", "parametric_sfh+igm"])
def test_templates_with_a_free_redshift(name):
    """Histories end at astropy's age of the universe; compiled fluxes are the model's own.

    2e-3 where `predictions` itself compares: of Prospector's prediction with these
    parameters, whole spectra one by one. Its own errors are far below a band's.
    """
    prior = redshift_prior(describe_prior("uniform:0.05,12"))
    model, notes = template_model(name, zred_prior=prior)
    assert len(notes) == 1 and "zred" in model.free_params
    bands = ["acs_wfc_f606w", "wfc3_ir_f160w", "spitzer_irac_ch2"]
    obs = make_obs(bands, np.ones(3), np.ones(3), "free")
    sps = EmulatorSPS()
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        compiled = predictions(model, obs, sps)
    assert compiled.quick
    theta = prior_draws(compile_priors(model), np.random.default_rng(4).random((5, model.ndim)))
    got = compiled.maggies(theta)
    for row, flux in zip(theta, got, strict=True):
        np.testing.assert_allclose(flux, model.predict(row, obs, sps)[1], rtol=2e-3, atol=1e-16)
        age = WMAP9.age(float(model.params["zred"][0])).value
        if "agebins" in model.params:
            bins = 10.0 ** (model.params["agebins"] - 9.0)
            assert bins[-1, 1] == pytest.approx(age, rel=1e-6) and (np.diff(bins) > 0).all()
            np.testing.assert_array_equal(bins[1:, 0], bins[:-1, 1])
        else:
            ratio = float(model.params["tage_tuniv"][0])
            assert float(model.params["tage"][0]) == pytest.approx(ratio * age, rel=1e-6)


def test_templates_whose_redshift_is_tied():
    prior = redshift_prior(describe_prior("uniform:0.05,12"))
    for name, words in (("beta", "prior of its redshift already"), ("stochastic_sfh", "number")):
        with pytest.raises(ModelMismatchError, match=words):
            template_params(name, zred_prior=prior)
