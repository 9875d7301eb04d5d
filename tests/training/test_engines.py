"""Exact engines: `ExactSPS` as an emulator, and what certificates ask of engines."""

import types

import numpy as np
import pytest
from prospect.fitting import lnprobfn
from prospect.utils.obsutils import fix_obs

from prospect_emu import EmulatorSpecModel, EmulatorSPS
from prospect_emu.errors import SetupError
from prospect_emu.files import save_tensors
from prospect_emu.fit.certificate import certify
from prospect_emu.fit.fitting import fit_model
from prospect_emu.fit.posterior import BatchedPosterior
from prospect_emu.fit.result import FitResult
from prospect_emu.observe.filters import load_filters
from prospect_emu.prospector.mathews23 import model_params

torch = pytest.importorskip("torch", reason="torch (the train extra) is not installed")

from prospect_emu.training import engines  # noqa: E402
from prospect_emu.training.exact import ExactSPS  # noqa: E402
from prospect_emu.training.exact_tables import KIND  # noqa: E402

BANDS = ("cfht_megacam_us_9301", "acs_wfc_f814w", "wfc3_ir_f160w", "spitzer_irac_ch4",
         "spitzer_mips_24")  # fmt: skip


@pytest.fixture(scope="module")
def exact(toy_tables):
    return engines.exact_emulator(ExactSPS(toy_tables), load_filters(BANDS))


def test_fluxes_are_exact_sps(exact, prior_draws):
    """ExactSPS.photometry and mfrac to 1e-7 (two codes for the distance), in any shape."""
    theta = prior_draws(12)
    expected = exact.exact.photometry(theta, load_filters(BANDS)).numpy()
    np.testing.assert_allclose(exact.maggies(theta), expected, rtol=1e-7)
    assert exact.maggies(theta.reshape(3, 4, 18)).shape == (3, 4, 5)
    np.testing.assert_allclose(exact.mfrac(theta), exact.exact.mfrac(theta).numpy(), rtol=1e-12)
    assert exact.maggies(theta[0]).shape == (5,) and exact.mfrac(theta[0]).shape == ()


def test_bands_can_be_selected(exact, prior_draws):
    theta = prior_draws(4)
    some = exact.select(BANDS[3:0:-2])
    np.testing.assert_allclose(some.maggies(theta), exact.maggies(theta)[:, 3:0:-2], rtol=1e-6)


@pytest.fixture
def problem(exact):
    def make(**kwargs):
        filters = load_filters(BANDS)
        sps = EmulatorSPS(exact, filters)
        model = EmulatorSpecModel(model_params(**kwargs))
        model.set_parameters(model.prior_transform(np.full(model.ndim, 0.5)))
        flux = exact.maggies(sps.theta_from_params(model.params))
        obs = {"filters": filters, "maggies": flux, "maggies_unc": 0.1 * flux,
               "wavelength": None, "spectrum": None}  # fmt: skip
        return sps.inflate(obs), model, sps

    return make


def test_the_posterior_is_prospectors(problem):
    """lnprobfn with the exact engine as sps, to 1e-6; no error is added."""
    obs, model, sps = problem(zred=1.1)
    np.testing.assert_array_equal(obs["maggies_unc"], obs["maggies_unc_observed"])
    post = BatchedPosterior(model, obs, sps)
    theta = post.prior_transform(np.random.default_rng(2).random((8, post.ndim)))
    full = fix_obs(dict(obs))
    expected = [lnprobfn(row, model=model, obs=full, sps=sps, nested=True) for row in theta]
    np.testing.assert_allclose(post.log_likelihood(theta), expected, rtol=1e-6)


def test_a_fit_runs_on_the_exact_engine(problem, tmp_path):
    """fit_model, result, file and certificate: its own fluxes change nothing."""
    obs, model, sps = problem(zred=1.1)
    output = fit_model(
        obs, model, sps, seed=1, verbose=False, nested_nlive_init=60, nested_walks=5,
        nested_maxbatch=0, nested_dlogz_init=1.0,
    )  # fmt: skip
    result = FitResult.from_run(output, model, obs, sps)
    certificate = certify(result, sps.emulator.maggies, n=300)
    assert certificate.verdict == "good"
    np.testing.assert_allclose(certificate.log_ratio, 0.0, atol=1e-6)
    result.write(tmp_path / "fit.h5")
    assert FitResult.read(tmp_path / "fit.h5").info["emulator"] == "exact"


# ---- engines of certificates ---------------------------------------------------------


def emulator(**versions):
    base = {"libraries": ["a", "b"], "n_ages": 93}
    return types.SimpleNamespace(
        name="net", filters=BANDS, fixed={}, libraries="A/B",
        manifest={"versions": base | versions, "recipe": {}},
    )  # fmt: skip


def test_without_tables_the_option_is_named(monkeypatch):
    monkeypatch.delenv("PROSPECT_EMU_TABLES", raising=False)
    with pytest.raises(SetupError, match="--tables"):
        engines.exact_engine(emulator())


def test_tables_of_other_libraries_are_refused(monkeypatch, exact):
    manifest = {"versions": {"libraries": ["a", "c"], "n_ages": 93}}
    other = types.SimpleNamespace(manifest=manifest)
    monkeypatch.setattr(engines, "exact_emulator", lambda *args, **kwargs: other)
    with pytest.raises(SetupError, match="other libraries"):
        engines.exact_engine(emulator(), "tables")
    other.manifest = {"versions": {"libraries": ["a", "b"], "n_ages": 93}}
    name, _ = engines.exact_engine(emulator(), "tables")
    assert name == "ExactSPS, A/B"


def test_the_engine_fixes_what_the_emulator_does(toy_tables, tmp_path):
    """ExactSPS with the same parameters to 1e-7 (two codes for the distance), or a refusal."""
    net, path = emulator(), tmp_path / "tables.safetensors"
    save_tensors(path, toy_tables, {"kind": KIND, "versions": net.manifest["versions"]})
    net.fixed = {"gas_logu": -2.0}
    theta = central()[None]
    expected = ExactSPS(toy_tables, fixed=net.fixed).photometry(theta, load_filters(BANDS))
    np.testing.assert_allclose(engines.exact_engine(net, path)[1](theta), expected, rtol=1e-7)
    net.fixed = {"nebemlineinspec": False}
    with pytest.raises(SetupError, match="cannot change nebemlineinspec"):
        engines.exact_engine(net, path)


def test_without_fsps_the_reason_is_given(monkeypatch):
    monkeypatch.delenv("SPS_HOME", raising=False)
    with pytest.raises(SetupError, match="SPS_HOME"):
        engines.fsps_engine(emulator())


@pytest.mark.fsps
def test_fsps_engine_is_fsps_photometry(fsps_ready):
    """python-fsps row by row: finite fluxes that fall with dust (one metallicity node)."""
    from prospect_emu.training.generate import fsps_versions

    net = emulator(**fsps_versions())
    net.fixed = model_fixed()
    name, maggies = engines.fsps_engine(net)
    theta = np.tile(central(), (2, 1))
    theta[1, 8] += 1.0
    flux = maggies(theta)
    assert name.startswith("python-fsps") and flux.shape == (2, 5)
    assert (flux[1, :2] < flux[0, :2]).all()


def model_fixed():
    from prospect_emu.networks.vector import FIXED

    return dict(FIXED)


def central():
    from prospect_emu.networks.vector import BOX, PARAMETERS

    return np.array([np.mean(BOX[p]) for p in PARAMETERS])
