"""Prospector 2: its SpecModel, likelihood, fits and files against ours.

Runs where a Prospector with Observations is importable; Prospector 1.4 has none.
"""

import os
import subprocess
import sys
import warnings

import numpy as np
import pytest

observation = pytest.importorskip(
    "prospect.observation", reason="Prospector 2 is not installed (1.4 has no Observations)"
)

from prospect.fitting import lnprobfn  # noqa: E402
from prospect.io.read_results import results_from  # noqa: E402
from prospect.io.write_results import write_hdf5  # noqa: E402
from prospect.likelihood import noise_model  # noqa: E402
from prospect.likelihood.kernels import Uncorrelated  # noqa: E402
from prospect.models import SpecModel, priors  # noqa: E402
from prospect.models.templates import TemplateLibrary  # noqa: E402

from prospect_emu import (  # noqa: E402
    BatchedPosterior,
    EmulatorSpecModel,
    EmulatorSPS,
    FitResult,
    fit_model,
)
from prospect_emu.errors import DataError, ModelMismatchError  # noqa: E402
from prospect_emu.fit.mass_coordinates import mass_coordinates  # noqa: E402
from prospect_emu.fit.predictions import ModelFluxes  # noqa: E402
from prospect_emu.prospector.mathews23 import model_params  # noqa: E402
from prospect_emu.prospector.v2_noise import _multiplies_chi2  # noqa: E402

Photometry, Spectrum, Lines = observation.Photometry, observation.Spectrum, observation.Lines
BANDS = [
    "sdss_u0", "sdss_g0", "sdss_r0", "sdss_i0", "twomass_J", "twomass_Ks", "spitzer_irac_ch1",
    "spitzer_mips_24",
]  # fmt: skip
ZRED = 0.5


class Calibrated(observation.PolyOptCal, Spectrum):
    """A spectrum with a polynomial."""


@pytest.fixture(scope="module")
def sps():
    return EmulatorSPS()


def fixed(value):
    return {"N": 1, "isfree": False, "init": value}


def free(low, high):
    prior = priors.TopHat(mini=low, maxi=high)
    return {"N": 1, "isfree": True, "init": 0.5 * (low + high), "prior": prior}


def make_model(*names, kind=SpecModel, **more):
    params = {}
    for name in names:
        params |= TemplateLibrary[name]
    params |= {"zred": fixed(ZRED), "logzsol": fixed(-0.3)}
    params |= {k: v if isinstance(v, dict) else fixed(v) for k, v in more.items()}
    params.pop("massmet", None)
    return kind(params)


def filled(model, sps, o, error=0.05):
    """The Observation with what the model predicts at its own values, scattered."""
    o.mask = np.ones(o.ndata, dtype=bool)
    if o.kind == "lines":
        o.resolution = None  # asked for by SpecModel
    value = model.predict(model.theta, observations=[o], sps=sps)[0][0]
    rng = np.random.default_rng(o.ndata)
    o.flux = value * (1.0 + error * rng.normal(size=value.size))
    o.uncertainty = error * np.abs(value)
    o.mask = np.arange(value.size) % 5 != 2
    o.response = None
    return o


def photometry(model, sps, bands=BANDS, **more):
    n = np.ones(len(bands))
    o = Photometry(filters=bands, flux=n, uncertainty=n, name=f"phot{len(bands)}", **more)
    return filled(model, sps, o)


def spectrum(model, sps, kind=Spectrum, low=4500.0, high=14000.0, **more):
    wave, n = np.linspace(low, high, 150), np.ones(150)
    o = kind(wavelength=wave, flux=n, uncertainty=n, name=f"spectrum{low:.0f}", **more)
    return filled(model, sps, o)


def line_fluxes(model, sps):
    wave, n = (1.0 + ZRED) * np.array([4863.0, 6564.0]), np.ones(2)
    o = filled(model, sps, Lines(line_ind=[59, 70], wavelength=wave, flux=n, uncertainty=n))
    o.mask = np.ones(2, dtype=bool)
    return o


def compiled(model, observations, sps, **more):
    """The posterior; a warning that it is left to Prospector fails the test."""
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".* ms ")
        warnings.filterwarnings("ignore", message="The compiled fluxes are off")
        return BatchedPosterior(model, observations, sps, **more)


def own(model, observations, sps, theta):
    """Prospector 2's log likelihoods."""
    values = [
        lnprobfn(t, model=model, observations=observations, sps=sps, nested=True) for t in theta
    ]
    return np.array(values).ravel()


def near(model, posterior, n=5):
    """Vectors near the one that made the data: one, and others within 1 % of the prior's range."""
    unit = np.random.default_rng(3).random((n, posterior.ndim))
    wide = posterior.prior_transform(unit)
    return np.concatenate([model.theta[None], model.theta + 0.01 * (wide - model.theta)])


# ---- drop-in --------------------------------------------------------------------------

TEMPLATES = [
    (("continuity_sfh",), {}),
    (("alpha",), {}),
    (("dirichlet_sfh", "nebular", "dust_emission"), {"nebemlineinspec": False}),
    (("continuity_sfh", "nebular", "igm", "agn", "dust_emission"), {"sigma_smooth": 0.0}),
    (("parametric_sfh",), {}),
]


@pytest.mark.fsps
@pytest.mark.slow
@pytest.mark.parametrize(("names", "more"), TEMPLATES, ids=["+".join(n) for n, _ in TEMPLATES])
def test_predictions_are_those_with_fsps(sps, fsps_ready, names, more):
    """Photometry, lines: 1e-4 of each; spectrum 1e-4 of its median; mfrac 1e-6.

    Three draws of the prior, with Prospector's own basis in place of ours.
    """
    from prospect.sources import CSPSpecBasis, FastStepBasis

    model = make_model(*names, **more)
    basis = (FastStepBasis if "agebins" in model.params else CSPSpecBasis)(zcontinuous=1)
    observations = [spectrum(model, sps), photometry(model, sps)]
    if "nebular" in names:
        observations.append(line_fluxes(model, sps))
    rng = np.random.default_rng(5)
    for _ in range(3):
        theta = model.prior_transform(rng.uniform(0.05, 0.95, model.ndim))
        got, left = model.predict(theta, observations=observations, sps=sps)
        expected, left_fsps = model.predict(theta, observations=observations, sps=basis)
        assert left == pytest.approx(left_fsps, rel=1e-6)
        for mine, fsps, o in zip(got, expected, observations, strict=True):
            scale = np.median(fsps) if o.kind == "spectrum" else fsps
            assert np.max(np.abs(mine - fsps) / scale) < 1e-4


def test_import_without_sps_home(tmp_path):
    """Prospector 2 alone cannot be imported where FSPS's data are not."""
    environment = {k: v for k, v in os.environ.items() if k != "SPS_HOME"}
    run = (
        "from prospect_emu import EmulatorSPS\n"
        "from prospect.models import SpecModel\n"
        "from prospect.models.templates import TemplateLibrary\n"
        "from prospect.observation import Photometry\n"
        "model = SpecModel(TemplateLibrary['parametric_sfh'])\n"
        "o = Photometry(filters=['sdss_g0'])\n"
        "print(model.predict(model.theta, observations=[o], sps=EmulatorSPS())[0][0] > 0)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", run], env=environment, cwd=tmp_path, capture_output=True, text=True
    )
    assert done.stdout.strip() == "[ True]", done.stderr


@pytest.mark.parametrize(("name", "parameter"), [("agn_bbb", "fagn_bbb"), ("dust4", "dust4")])
def test_light_of_other_bases_is_refused_by_name(sps, name, parameter):
    model = make_model("continuity_sfh", name)
    with pytest.raises(ModelMismatchError, match=f"{parameter} belongs to"):
        photometry(model, sps)


# ---- likelihood -----------------------------------------------------------------------


def jitter(kind, names=("a", "b"), weights=("uncertainty", "flux"), metric="wavelength"):
    kernels = [Uncorrelated([n], weight_by=w) for n, w in zip(names, weights, strict=True)]
    more = {"weight_by": list(weights)} if kind is noise_model.NoiseModelCov else {}
    return kind(metric_name=metric, kernels=kernels, **more)


JITTER = {"a": free(0.5, 2.0), "b": free(0.0, 0.1)}
SIMPLE = ("parametric_sfh",)
GAS = ("continuity_sfh", "nebular", "dust_emission")
APART = {"nebemlineinspec": False}
CASES = {
    "300 km/s": (SIMPLE, {}, lambda m, s: [photometry(m, s)]),
    "not broadened": (SIMPLE, {"sigma_smooth": 0.0}, lambda m, s: [photometry(m, s)]),
    "free redshift": (SIMPLE, {"zred": free(0.4, 0.6)}, lambda m, s: [photometry(m, s)]),
    "lines apart": (GAS, APART, lambda m, s: [photometry(m, s)]),
    "outliers": (SIMPLE, {"f_outlier": free(1e-4, 0.3)}, lambda m, s: [photometry(m, s)]),
    "jitter, covariance": (
        SIMPLE, JITTER, lambda m, s: [photometry(m, s, noise=jitter(noise_model.NoiseModelCov))],
    ),
    "jitter": (
        SIMPLE, JITTER, lambda m, s: [photometry(m, s, noise=jitter(noise_model.NoiseModel1D))],
    ),
    "jitter that Prospector drops": (
        SIMPLE, {"a": free(0.5, 2.0)},
        lambda m, s: [
            photometry(m, s, noise=jitter(noise_model.NoiseModelCov, ("a",), (None,)))
        ],
    ),
    "two sets": (
        SIMPLE, {"f1": free(1e-4, 0.3), "f2": free(1e-4, 0.3), "n2": free(2.0, 20.0)},
        lambda m, s: [
            photometry(m, s, BANDS[:5], noise=noise_model.NoiseModel("f1", "n1")),
            photometry(m, s, BANDS[4:], noise=noise_model.NoiseModel("f2", "n2")),
        ],
    ),
    "spectrum, photometry and lines": (
        GAS, APART, lambda m, s: [spectrum(m, s), photometry(m, s), line_fluxes(m, s)],
    ),
    "polynomial": (
        GAS, APART,
        lambda m, s: [spectrum(m, s, Calibrated, polynomial_order=5), photometry(m, s)],
    ),
    "two spectra, one with a line-spread function": (
        GAS, {},
        lambda m, s: [
            spectrum(m, s, resolution=np.full(150, 2000.0)),
            spectrum(m, s, low=14500.0, high=22000.0),
        ],
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_likelihood_is_prospectors(sps, case):
    """lnprobfn of Prospector 2 with its weight of chi2: 1e-6 of ln L, or 1e-4 where it is small.

    Near the vector that made the data: compiled fluxes are within 1e-5, some bands and pixels
    within 1e-4, of the drop-in's, which the chi2 of bad vectors multiplies.
    """
    names, more, make = CASES[case]
    model = make_model(*names, **more)
    observations = make(model, sps)
    posterior = compiled(model, observations, sps, likelihood="prospector2")
    theta = near(model, posterior)
    expected = own(model, observations, sps, theta)
    rough = case == "not broadened" or any(o.kind == "spectrum" for o in observations)
    got = posterior.log_likelihood(theta)
    np.testing.assert_allclose(got, expected, rtol=1e-4 if rough else 1e-6, atol=1e-4)


@pytest.mark.parametrize("case", ["spectrum, photometry and lines", "polynomial"])
def test_brightness_in_place_of_mass(sps, case):
    """Fits walk in these coordinates; it is about 1 near the data."""
    names, more, make = CASES[case]
    model = make_model(*names, **more)
    posterior = compiled(model, make(model, sps), sps)
    coordinates = mass_coordinates(posterior)
    theta = near(model, posterior)
    assert posterior.light(theta) @ posterior.brightness_weights() == pytest.approx(1.0, abs=0.1)
    u = np.random.default_rng(5).uniform(0.3, 0.7, (9, model.ndim))
    y = coordinates.start(u)[0]
    y[:, model.theta_labels().index("logmass")] += 0.1
    brighter, _, value = coordinates.evaluate(y)
    np.testing.assert_allclose(value, posterior.log_likelihood(brighter), rtol=1e-5)


@pytest.mark.parametrize("case", ["300 km/s", "not broadened", "free redshift", "lines apart"])
def test_bands_are_prospectors(sps, case):
    """Of whole spectra, before anything is folded: fluxes of SpecModel.predict to 1e-8."""
    names, more, make = CASES[case]
    model = make_model(*names, **more)
    (o,) = make(model, sps)
    posterior = compiled(model, [o], sps)
    theta = near(model, posterior)
    expected = [model.predict(t, observations=[o], sps=sps)[0][0][o.mask] for t in theta]
    predictions = posterior.predictions
    got = predictions.compiled.direct(predictions._parameters(theta)[0])
    np.testing.assert_allclose(got, expected, rtol=1e-8)


def gaussian(model, observations, sps, theta):
    """Sum of independent Gaussians."""
    values, _ = model.predict(theta, observations=observations, sps=sps)
    out = 0.0
    for value, o in zip(values, observations, strict=True):
        chi = ((o.flux - value) / o.uncertainty)[o.mask]
        out += -0.5 * (chi**2 + np.log(2.0 * np.pi * o.uncertainty[o.mask] ** 2)).sum()
    return out


def test_default_is_a_gaussian(sps):
    """Chi-squared is not multiplied: the density of independent Gaussians, to 1e-6."""
    model = make_model(*GAS, **APART)
    observations = [spectrum(model, sps), photometry(model, sps)]
    posterior = compiled(model, observations, sps)
    theta = near(model, posterior)
    expected = [gaussian(model, observations, sps, t) for t in theta]
    np.testing.assert_allclose(posterior.log_likelihood(theta), expected, rtol=1e-6)


def test_row_by_row_is_a_gaussian_too(sps):
    """A spectrum that is not compiled, for its width varies: exactly the same density."""
    model = make_model(*SIMPLE, sigma_smooth=free(200.0, 400.0))
    observations = [spectrum(model, sps)]
    with pytest.warns(UserWarning, match="sigma_smooth varies"):
        posterior = BatchedPosterior(model, observations, sps)
    theta = near(model, posterior, 2)
    expected = [gaussian(model, observations, sps, t) for t in theta]
    np.testing.assert_allclose(posterior.log_likelihood(theta), expected, rtol=1e-12)


def test_the_installed_noise_model_multiplies_chi2():
    """Why there is a choice; should Prospector change it, docs/prospector2.md has to."""
    assert _multiplies_chi2()


def test_free_width_of_photometry(sps):
    model = make_model(*SIMPLE, sigma_smooth=free(200.0, 400.0))
    with pytest.warns(UserWarning, match="sigma_smooth varies"):
        posterior = BatchedPosterior(model, [photometry(model, sps)], sps)
    assert isinstance(posterior.predictions, ModelFluxes)


def test_what_is_refused(sps):
    model = make_model(*SIMPLE)
    o = photometry(model, sps)
    with pytest.raises(ModelMismatchError, match="noise"):
        BatchedPosterior(model, [o], sps, noise=(None, object()))
    with pytest.raises(ModelMismatchError, match="likelihood"):
        BatchedPosterior(model, [o], sps, likelihood="other")
    with pytest.raises(DataError, match="list"):
        BatchedPosterior(model, [{}], sps)
    o.mask = np.zeros(o.ndata, dtype=bool)
    with pytest.raises(DataError, match="masked"):
        BatchedPosterior(model, [o], sps)


def test_a_dictionary_is_the_same_data(sps):
    """An obs of Prospector 1.4; its curves are not resampled, which is 1 % in twomass_J."""
    model = make_model(*SIMPLE)
    o = photometry(model, sps)
    obs = {"filters": BANDS, "maggies": o.flux, "maggies_unc": o.uncertainty, "phot_mask": o.mask}
    a, b = compiled(model, [o], sps), compiled(model, obs, sps)
    np.testing.assert_allclose(
        a.maggies(model.theta[None]), b.maggies(model.theta[None]), rtol=2e-2
    )


# ---- fits and files -------------------------------------------------------------------

SETTINGS = {
    "nested_sampler": "dynesty", "nested_nlive": 40, "walks": 5, "bound": "multi",
    "sample": "auto", "nested_target_n_effective": 50, "verbose": False, "seed": 1,
}  # fmt: skip


def test_a_fit_is_written_and_read_by_both(sps, tmp_path):
    """What fit_model returns goes through Prospector's writer, and our file through its reader."""
    model = make_model(*SIMPLE)
    observations = [Spectrum(), photometry(model, sps)]
    output = fit_model(observations, model, sps, **SETTINGS)
    sampling = output["sampling"]
    assert np.exp(sampling["log_weight"]).sum() == pytest.approx(1.0)
    path = tmp_path / "theirs.h5"
    write_hdf5(
        str(path), SETTINGS, model, observations[1:], sampling, output["optimization"], sps=sps
    )
    theirs, read, _ = results_from(str(path), dangerous=False)
    np.testing.assert_array_equal(theirs["unstructured_chain"], sampling["points"])
    np.testing.assert_array_equal(read[0].flux, observations[1].flux)

    result = FitResult.from_run(output, model, observations, sps)
    result.write(tmp_path / "ours.h5")
    again = FitResult.read(tmp_path / "ours.h5")
    np.testing.assert_array_equal(again.samples, result.samples)
    np.testing.assert_array_equal(again.weights, result.weights)
    assert again.summary()["parameter"].tolist() == result.summary()["parameter"].tolist()
    found, read, _ = results_from(str(tmp_path / "ours.h5"), dangerous=False)
    np.testing.assert_array_equal(found["chain"]["tau"][:, 0], result.samples[:, -1])
    np.testing.assert_array_equal(found["lnlike"], result.log_likelihood)
    np.testing.assert_array_equal(read[0].flux, observations[1].flux)
    np.testing.assert_array_equal(read[0].mask, observations[1].mask)


def test_a_spectrum_is_written(sps, tmp_path):
    model = make_model(*SIMPLE)
    observations = [spectrum(model, sps), photometry(model, sps)]
    output = fit_model(observations, model, sps, **SETTINGS, nested_maxcall=2000)
    FitResult.from_run(output, model, observations, sps).write(tmp_path / "fit.h5")
    _, read, _ = results_from(str(tmp_path / "fit.h5"), dangerous=False)
    found = {o.kind: o for o in read}
    np.testing.assert_array_equal(found["spectrum"].flux, observations[0].flux)
    assert FitResult.read(tmp_path / "fit.h5").photometry.bands == tuple(BANDS)


def test_nothing_is_fitted_without_a_sampler(sps):
    model = make_model(*SIMPLE)
    with pytest.warns(UserWarning, match="nested_sampler"):
        output = fit_model([photometry(model, sps)], model, sps, nested_sampler="")
    assert output == {"optimization": None, "sampling": None}


def test_prospectors_own_fit_as_a_result(sps):
    """Its fit_model with our sps, for a few hundred calls."""
    from prospect.fitting import fit_model as prospectors

    model = make_model(*SIMPLE)
    observations = [photometry(model, sps)]
    more = {"nested_sampler": "dynesty", "nested_nlive": 30, "maxcall": 200, "sample": "unif"}
    output = prospectors(observations, model, sps, **more, return_sampler_result_object=True)
    result = FitResult.from_run(output, model, observations, sps)
    np.testing.assert_array_equal(result.samples, output["sampling"]["points"])
    with pytest.raises(DataError, match="return_sampler_result_object"):
        FitResult.from_run({"sampling": {"points": 0}}, model, observations, sps)


# ---- networks -------------------------------------------------------------------------


def test_a_network_through_prospectors_models(double_emulator):
    """The emulated photometry, to 1e-5 by SpecModel's pseudo-spectrum.

    The first band sees 912 Angstrom, where Prospector 2 smooths with an edge: 5e-3.
    """
    sps = EmulatorSPS(double_emulator)
    bands = list(double_emulator.filters)
    model = SpecModel(model_params(zred=1.0))
    n = np.ones(len(bands))
    observations = [Photometry(filters=bands, flux=n, uncertainty=n)]
    (phot,), left = model.predict(model.theta, observations=observations, sps=sps)
    direct = EmulatorSpecModel(model_params(zred=1.0))
    (expected,), same = direct.predict(model.theta, observations=observations, sps=sps)
    np.testing.assert_allclose(phot[1:], expected[1:], rtol=1e-5)
    np.testing.assert_allclose(phot[0], expected[0], rtol=5e-3)
    assert left == same
    # Curves that Photometry has resampled are taken for those that were emulated.
    again = EmulatorSPS(double_emulator, filters=observations[0].filters)
    np.testing.assert_array_equal(again.photometry(**direct.params)[0], expected)
    del model.params["sigma_smooth"]
    with pytest.raises(ModelMismatchError, match="sigma_smooth"):
        model.predict(model.theta, observations=observations, sps=sps)


def test_inflated_observations(double_emulator):
    """sps.inflate gives Observations whose errors hold the emulator's, once."""
    sps = EmulatorSPS(double_emulator)
    model = EmulatorSpecModel(model_params(zred=1.0))
    bands = list(double_emulator.filters)
    n = np.ones(len(bands))
    o = Photometry(filters=bands, flux=n, uncertainty=n)
    (flux,), _ = model.predict(model.theta, observations=[o], sps=sps)
    o.flux, o.uncertainty = flux, 0.05 * flux
    (inflated,) = sps.inflate([o])
    assert (inflated.uncertainty > o.uncertainty).all()
    np.testing.assert_array_equal(sps.inflate([inflated])[0].uncertainty, inflated.uncertainty)
    posterior = compiled(model, [inflated], sps, likelihood="prospector2")
    theta = model.theta[None]
    expected = own(model, [inflated], sps, theta)
    np.testing.assert_allclose(posterior.log_likelihood(theta), expected, rtol=1e-6)
