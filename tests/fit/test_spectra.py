"""Compiled spectra against Prospector's own `model.predict` and `lnprobfn`, vector by vector."""

import re
import warnings
from pathlib import Path

import numpy as np
import pytest
from prospect.fitting import lnprobfn
from prospect.likelihood import NoiseModel
from prospect.likelihood.kernels import Uncorrelated
from prospect.models import PolySpecModel, SpecModel, priors
from prospect.models.templates import TemplateLibrary
from prospect.utils.obsutils import fix_obs
from sedpy.observate import getSED

from prospect_emu import EmulatorSPS, FitResult, fit_model
from prospect_emu.errors import DataError
from prospect_emu.fit.mass_coordinates import mass_coordinates
from prospect_emu.fit.posterior import BatchedPosterior
from prospect_emu.observe.filters import load_filters
from prospect_emu.prospector.line_table import tolerate_missing_sps_home
from prospect_emu.sps.ingredients import find_ingredients

ZRED = 0.7
BANDS = ["sdss_u0", "sdss_r0", "sdss_z0", "twomass_Ks"]
SPS = EmulatorSPS()


def problem(kind=SpecModel, photometry=True, npix=300, **fixed):
    """Model, mock obs and a posterior; `fixed` are parameters of the model."""
    tolerate_missing_sps_home()
    params = TemplateLibrary["continuity_sfh"]
    params.update(TemplateLibrary["nebular"])
    params["zred"] |= {"isfree": False, "init": ZRED}
    params["imf_type"]["init"] = 1
    params["gas_logu"]["init"] = -1.0
    for name, value in fixed.items():
        params[name] = {"N": np.size(value), "isfree": False, "init": value}
    model = kind(params)
    rng = np.random.default_rng(3)
    theta = model.prior_transform(0.3 + 0.4 * rng.random(model.ndim))
    wave = np.linspace(5500.0, 11000.0, npix)
    obs = {
        "wavelength": wave, "spectrum": np.ones(npix), "unc": np.ones(npix),
        "mask": np.ones(npix, dtype=bool), "maggies": None, "filters": None,
    }  # fmt: skip
    if photometry:
        obs |= {"filters": load_filters(BANDS), "maggies": np.ones(4), "maggies_unc": np.ones(4)}
    obs["mask"][40:60] = False
    marginalised = model.params.pop("marginalize_elines", False)
    spec, phot, _ = SpecModel.predict(model, theta, obs=fix_obs(dict(obs)), sps=SPS)
    model.params["marginalize_elines"] = marginalised
    slope = 1.0 + 0.2 * np.linspace(-1.0, 1.0, npix)
    obs["spectrum"] = spec * slope * (1.0 + 0.05 * rng.standard_normal(npix))
    obs["unc"] = 0.05 * np.abs(spec)
    if photometry:
        obs["maggies"], obs["maggies_unc"] = phot * 1.03, 0.05 * phot
    return model, obs


CASES = {
    "lines in the spectrum": (SpecModel, {"sigma_smooth": 300.0}),
    "lines apart": (SpecModel, {"nebemlineinspec": False, "eline_sigma": 400.0}),
    "polynomial": (PolySpecModel, {"polyorder": 6, "nebemlineinspec": False}),
    "regularised": (PolySpecModel, {"polyorder": 4, "poly_regularization": 3.0}),
    "direct, Angstrom": (
        SpecModel, {"smoothtype": "lambda", "fftsmooth": False, "sigma_smooth": 30.0}
    ),
    "no smoothing": (SpecModel, {"sigma_smooth": 0.0}),
}  # fmt: skip


@pytest.mark.parametrize("photometry", [True, False], ids=["both", "spectrum"])
@pytest.mark.parametrize("case", CASES)
def test_equals_prospector(case, photometry):
    """Spectrum to 1e-5 of its median; ln L to 0.002 and 5e-6 of chi^2.

    The compiled physics is single precision and compressed to 1e-6: ln L moves by as much of
    chi^2 far from the data, where chi^2 is tens of thousands.
    """
    kind, fixed = CASES[case]
    model, obs = problem(kind, photometry, **fixed)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        posterior = BatchedPosterior(model, obs, SPS)
    assert posterior.predictions is not None
    theta = posterior.prior_transform(np.random.default_rng(1).random((6, model.ndim)))
    full = fix_obs(dict(obs))
    spectra, lnl = posterior.spectrum(theta), posterior.log_likelihood(theta)
    for row, spectrum, value in zip(theta, spectra, lnl, strict=True):
        want, phot, _ = model.predict(row, obs=full, sps=SPS)
        used = full["mask"]
        np.testing.assert_allclose(
            spectrum[used], want[used], rtol=1e-5, atol=1e-5 * np.median(np.abs(want))
        )
        expected = lnprobfn(row, model=model, obs=full, sps=SPS, nested=True)
        chi2 = (((want - full["spectrum"]) / full["unc"])[used] ** 2).sum()
        if photometry:
            chi2 += (((phot - full["maggies"]) / full["maggies_unc"]) ** 2).sum()
        assert value == pytest.approx(expected, rel=0.0, abs=2e-3 + 5e-6 * chi2)
        if photometry:
            np.testing.assert_allclose(posterior.maggies(row[None])[0], phot, rtol=2e-4)


def test_brightness_of_a_spectrum():
    """Weights of samples give the weighted mean of the pixels that the model predicts."""
    model, obs = problem(photometry=False, sigma_smooth=300.0)
    posterior = BatchedPosterior(model, obs, SPS)
    theta = posterior.prior_transform(np.random.default_rng(4).random((5, model.ndim)))
    got = posterior.light(theta) @ posterior.brightness_weights()
    flux, weight = obs["spectrum"], np.where(obs["mask"], obs["spectrum"] / obs["unc"] ** 2, 0.0)
    expected = posterior.spectrum(theta) @ weight / (flux @ weight)
    np.testing.assert_allclose(got, expected, rtol=1e-5)  # single precision


@pytest.mark.parametrize(
    "case, photometry, found",
    [
        ("lines apart", False, True),
        ("polynomial", True, True),
        # The polynomial takes up any brightness.
        ("polynomial", False, False),
    ],
)
def test_brightness_in_place_of_mass(case, photometry, found):
    """Fits walk in these coordinates where the data tell a brightness; ln L is the same there."""
    kind, fixed = CASES[case]
    model, obs = problem(kind, photometry, **fixed)
    posterior = BatchedPosterior(model, obs, SPS)
    coordinates = mass_coordinates(posterior)
    assert (coordinates is not None) == found
    if found:
        u = np.random.default_rng(5).uniform(0.2, 0.8, (20, model.ndim))
        y, v, _, logl = coordinates.start(u)
        np.testing.assert_allclose(v, posterior.prior_transform(u), rtol=1e-12)
        np.testing.assert_allclose(logl, posterior.log_likelihood(v), rtol=1e-12)
        np.testing.assert_allclose(coordinates.unit(y, v), u, atol=1e-9)
        y[:, model.theta_labels().index("logmass")] += 0.1
        brighter, _, value = coordinates.evaluate(y)
        np.testing.assert_allclose(value, posterior.log_likelihood(brighter), rtol=1e-5)


FREE = {
    "sigma_smooth": priors.TopHat(mini=10.0, maxi=600.0),
    "eline_sigma": priors.TopHat(mini=60.0, maxi=700.0),
    "zred": priors.TopHat(mini=ZRED - 0.02, maxi=ZRED + 0.03),
}
WAVE = find_ingredients(imf_type=1).wave
ALONE = {"nebemlineinspec": False, "eline_sigma": 250.0}
FITTED = ALONE | {"marginalize_elines": True}
PRIOR = FITTED | {"use_eline_prior": True, "eline_prior_width": 0.3}
SOME = PRIOR | {"elines_to_fit": np.array(["Ba-beta 4861", "[O III] 4959", "[O III] 5007"])}
MARGINALISED = {
    "fitted": (SpecModel, FITTED, ()),
    "prior": (SpecModel, PRIOR, ()),
    "some lines, polynomial": (PolySpecModel, SOME | {"polyorder": 4}, ()),
    "shifted, polynomial": (PolySpecModel, PRIOR | {"polyorder": 4, "eline_delta_zred": 0.002}, ()),
    "free smoothing": (PolySpecModel, ALONE | {"polyorder": 4}, ("sigma_smooth",)),
    "free width": (SpecModel, ALONE, ("eline_sigma",)),
    "free width, fitted": (SpecModel, FITTED, ("eline_sigma",)),
    "free width, prior": (PolySpecModel, PRIOR | {"polyorder": 4}, ("eline_sigma",)),
    "all": (PolySpecModel, SOME | {"polyorder": 4}, ("sigma_smooth", "eline_sigma")),
    "redshift": (SpecModel, {"smoothtype": "lambda", "sigma_smooth": 9.0}, ("zred",)),
    "redshift, line-spread function": (
        PolySpecModel,
        ALONE | {"polyorder": 4, "smoothtype": "lsf", "sigma_smooth": 4.0 + WAVE / 1000.0},
        ("zred",),
    ),
    "redshift, all": (PolySpecModel, PRIOR | {"polyorder": 4}, ("sigma_smooth", "zred")),
}  # fmt: skip


@pytest.mark.parametrize("case", MARGINALISED)
def test_lines_and_free_widths_equal_prospector(case):
    """Spectra, photometry (which sees fitted lines) and ln L with its penalty, as above.

    At a free redshift bands are read from tables to 5e-5, a thousandth of their errors here: ln L
    moves by that times the root of their chi^2, times two for four bands.
    """
    kind, fixed, free = MARGINALISED[case]
    model, obs = problem(kind, npix=600, **fixed)
    params = dict(model.config_dict)
    for name in free:
        init = ZRED if name == "zred" else 200.0
        params[name] = {"N": 1, "isfree": True, "init": init, "prior": FREE[name]}
    model = kind(params)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        posterior = BatchedPosterior(model, obs, SPS)
    theta = posterior.prior_transform(0.3 + 0.4 * np.random.default_rng(1).random((6, model.ndim)))
    full = fix_obs(dict(obs))
    spectra, lnl = posterior.spectrum(theta), posterior.log_likelihood(theta)
    for row, spectrum, value in zip(theta, spectra, lnl, strict=True):
        want, phot, _ = model.predict(row, obs=full, sps=SPS)
        used = full["mask"]
        scale = np.median(np.abs(want))
        np.testing.assert_allclose(spectrum[used], want[used], rtol=1e-5, atol=1e-5 * scale)
        np.testing.assert_allclose(posterior.maggies(row[None])[0], phot, rtol=2e-4)
        expected = lnprobfn(row, model=model, obs=full, sps=SPS, nested=True)
        chi2 = (((want - full["spectrum"]) / full["unc"])[used] ** 2).sum()
        of_bands = (((phot - full["maggies"]) / full["maggies_unc"]) ** 2).sum()
        off = 2e-3 + 5e-6 * (chi2 + of_bands) + ("zred" in free) * 2e-3 * np.sqrt(of_bands)
        assert value == pytest.approx(expected, rel=0.0, abs=off)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"wavelength": np.full(40, 6000.0)}, "do not increase"),
        ({"mask": np.zeros(40, dtype=bool)}, "All pixels"),
        ({"unc": None}, "no unc"),
        ({"unc": np.ones(3)}, "one of each per pixel"),
    ],
)
def test_bad_spectra_are_refused(change, match):
    model, obs = problem(npix=40)
    obs["mask"] = np.ones(40, dtype=bool)
    with pytest.raises(DataError, match=match):
        BatchedPosterior(model, obs | change, SPS)


def test_lines_that_cannot_be_told_apart_are_left_to_prospector():
    model, obs = problem(npix=60, **PRIOR)
    with pytest.warns(UserWarning, match="tell some marginalised lines apart"):
        assert BatchedPosterior(model, obs, SPS).predictions is None


@pytest.mark.parametrize("fixed", [ALONE, PRIOR], ids=["added", "marginalised"])
def test_jitter_and_outliers(fixed):
    """A noise model of the spectrum and outlier pixels, against `lnprobfn`."""
    model, obs = problem(npix=600, **fixed)
    params = dict(model.config_dict)
    params["spec_jitter"] = {
        "N": 1, "isfree": True, "init": 1.0, "prior": priors.TopHat(mini=0.5, maxi=3.0)
    }  # fmt: skip
    params["f_outlier_spec"] = {
        "N": 1, "isfree": True, "init": 0.01, "prior": priors.TopHat(mini=1e-4, maxi=0.2)
    }  # fmt: skip
    params["nsigma_outlier_spec"] = {"N": 1, "isfree": False, "init": 50.0}
    model = SpecModel(params)
    kernel = Uncorrelated(parnames=["spec_jitter"])
    noise = NoiseModel(metric_name="unc", kernels=[kernel], weight_by=["unc"]), None
    posterior = BatchedPosterior(model, obs, SPS, noise)
    assert posterior.predictions is not None
    theta = posterior.prior_transform(np.random.default_rng(1).random((3, model.ndim)))
    full = fix_obs(dict(obs))
    want = [lnprobfn(t, model=model, obs=full, sps=SPS, noise=noise, nested=True) for t in theta]
    np.testing.assert_allclose(posterior.log_likelihood(theta), want, rtol=1e-4, atol=0.02)


def _sed_passes_through_bands(again, result):
    """The drawn SED through the bands is the photometry; components sum to the whole (1e-6)."""
    assert any(line.get_label() == "model" for line in again.plot_sed().axes[0].lines)
    wave, maggies = again.sed["wavelength"] * 1e4, again.sed["maggies"][1]
    flux = getSED(wave, 3.631e-20 * maggies * 2.998e18 / wave**2, load_filters(BANDS))
    np.testing.assert_allclose(10.0 ** (-0.4 * flux), result.photometry.predicted[1], rtol=0.1)
    parts = result.components()
    wave, best = parts.pop("wavelength") * 1e4, result.photometry.best
    assert set(parts) == {"stars", "nebular", "dust"}
    whole = sum(parts.values())
    flux = getSED(wave, 3.631e-20 * whole * 2.998e18 / wave**2, load_filters(BANDS))
    np.testing.assert_allclose(10.0 ** (-0.4 * flux), best, rtol=1e-3)


@pytest.mark.parametrize("photometry", [True, False], ids=["both", "spectrum"])
def test_fit_end_to_end(photometry, tmp_path):
    """`fit_model`, result, file and back; the best sample is near the data (chi^2 per pixel)."""
    model, obs = problem(PolySpecModel, photometry, npix=80, polyorder=3)
    obs["mask"] = np.ones(80, dtype=bool)
    output = fit_model(
        obs, model, SPS, seed=1, verbose=False,
        nested_nlive_init=60, nested_walks=12, nested_maxcall_init=20_000, nested_maxbatch=0,
    )  # fmt: skip
    result = FitResult.from_run(output, model, obs, SPS)
    result.write(tmp_path / "fit.h5")
    again = FitResult.read(tmp_path / "fit.h5")
    np.testing.assert_array_equal(again.samples, result.samples)
    for kept, had in ((again.spectrum, result.spectrum), (again.sed, result.sed)):
        assert all(np.array_equal(kept[k], v) for k, v in had.items())
    assert np.ptp(again.spectrum["calibration"]) > 0.0
    assert again.plot_spectrum().axes[-1].get_ylabel() == "calibration"
    if photometry:
        _sed_passes_through_bands(again, result)
    spectrum = BatchedPosterior(model, obs, SPS).spectrum(result.best[None])[0]
    assert np.mean(((spectrum - obs["spectrum"]) / obs["unc"]) ** 2) < 2.0


def test_example_of_the_documentation(tmp_path, monkeypatch):
    """docs/spectra.md runs as it stands, here with fewer calls."""
    page = Path(__file__).parents[2] / "docs" / "spectra.md"
    if not page.exists():
        pytest.skip("the documentation is not beside the tests")
    code = re.search(r"```python\n(.*?)```", page.read_text(), re.S)[1]
    monkeypatch.chdir(tmp_path)
    exec(code.replace("nested_maxbatch=0", "nested_maxbatch=0, nested_maxcall=3000"), {})
    assert {p.name for p in tmp_path.iterdir()} == {"spectrum.png", "sed.png"}
