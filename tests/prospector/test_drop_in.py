"""EmulatorSPS inside unmodified Prospector 1.4, with and without SPS_HOME."""

import os
import subprocess
import sys

import numpy as np
import pytest
from prospect.fitting import fit_model, lnprobfn
from prospect.models import SedModel, SpecModel
from prospect.models import priors as prospect_priors

from prospect_emu import EmulatorSpecModel, EmulatorSPS
from prospect_emu.errors import DataError, FilterError, ModelMismatchError, RangeError
from prospect_emu.networks.vector import PARAMETERS
from prospect_emu.observe.filters import load_filters
from prospect_emu.observe.magnitudes import arsinh_error_to_maggies
from prospect_emu.prospector.mathews23 import model_params


@pytest.fixture(autouse=True)
def no_sps_home(monkeypatch):
    """Fitting must never need FSPS."""
    monkeypatch.delenv("SPS_HOME", raising=False)


@pytest.fixture
def obs(obs):
    """With a masked band."""
    return {**obs, "phot_mask": np.arange(obs["maggies"].size) != 3}


def emulator_order(model):
    alias = {"massmet_1": "logmass", "massmet_2": "logzsol"}
    return [PARAMETERS.index(alias.get(n, n)) for n in model.theta_labels()]


@pytest.mark.parametrize("kind", [SpecModel, SedModel, EmulatorSpecModel])
@pytest.mark.parametrize("zred", [None, 1.0])
def test_predict_is_the_emulator(kind, zred, sps, obs, toy_emulator):
    """Photometry to 1e-6 through each of Prospector's roads (float32 network: 3e-7)."""
    model = kind(model_params(zred=zred))
    rng = np.random.default_rng(2)
    for _ in range(5):
        theta = model.prior_transform(rng.random(model.ndim))
        full = np.full(18, 1.0)
        full[emulator_order(model)] = theta
        _, phot, mfrac = model.predict(theta, obs=obs, sps=sps)
        np.testing.assert_allclose(phot, toy_emulator.maggies(full), rtol=1e-6)
        assert mfrac == pytest.approx(toy_emulator.mfrac(full), abs=1e-6)


def test_nested_prior_product_is_prospectors():
    """Against SpecModel's own, in each parameter, with priors of both packages."""
    params = model_params()
    params["gas_logz"]["prior"] = prospect_priors.TopHat(mini=-2.0, maxi=0.5)
    ours, theirs = EmulatorSpecModel(params), SpecModel(params)
    inside = ours.prior_transform(np.random.default_rng(1).random(18))
    cases = [inside]
    for i in range(18):
        for step in (-20.0, 20.0):
            cases.append(inside + step * (np.arange(18) == i))
    for theta in cases:
        want = theirs.prior_product(theta, nested=True)
        assert ours.prior_product(theta, nested=True) == (want if want == 0.0 else -np.inf)
        assert ours.prior_product(theta) == theirs.prior_product(theta)


def test_lnprobfn_and_fit_model(sps, obs):
    """A short fit by Prospector itself; what it stores is its own likelihood."""
    model = SedModel(model_params(zred=1.0))
    theta = model.prior_transform(np.full(model.ndim, 0.5))
    assert np.isfinite(lnprobfn(theta, model=model, obs=obs, sps=sps))
    out = fit_model(
        obs, model, sps, nested_nlive_init=40, nested_maxcall_init=400, nested_maxbatch=0,
        nested_sample="rwalk", nested_walks=5, verbose=False, print_progress=False,
    )  # fmt: skip
    result = out["sampling"][0]
    for theta, logl in zip(result["samples"][-3:], result["logl"][-3:], strict=True):
        assert logl == pytest.approx(
            lnprobfn(theta, model=model, obs=obs, sps=sps, nested=True), abs=1e-3
        )


def test_lines_are_zero(sps, obs, monkeypatch, tmp_path):
    # Without SPS_HOME those of the bundled ingredients, as many as SpecModel's own table has.
    wave, lum = sps.get_galaxy_elines()
    assert np.abs(wave - 6564.6).min() < 0.5 and not lum.any()  # H alpha
    assert wave.size == SpecModel(model_params(zred=1.0)).emline_info.size
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "emlines_info.dat").write_text("1215.6701,Ly alpha\n6564.60,H alpha\n")
    monkeypatch.setenv("SPS_HOME", str(tmp_path))
    wave, lum = sps.get_galaxy_elines()
    assert wave.tolist() == [1215.6701, 6564.60] and not lum.any()
    model = SpecModel(model_params(zred=1.0))
    model.predict(model.theta, obs=obs, sps=sps)


def test_lumdist_is_respected(sps, obs):
    """Prospector's `lumdist` (Mpc) overrides the cosmology: flux falls as its square."""
    theta = None
    phots = []
    for dist in (1000.0, 2000.0):
        for kind in (SpecModel, SedModel):
            params = model_params(zred=1.0)
            params["lumdist"] = {"N": 1, "isfree": False, "init": dist}
            model = kind(params)
            theta = model.theta if theta is None else theta
            phots.append(model.predict(theta, obs=obs, sps=sps)[1])
    np.testing.assert_allclose(phots[0], phots[1], rtol=1e-6)
    np.testing.assert_allclose(phots[0], 4 * phots[2], rtol=1e-6)


def test_another_parameterisation(sps, obs, toy_emulator):
    """Plain FSPS parameters, as a user's own script has them."""
    theta = np.array([10.2, -0.3, *[0.1] * 6, 0.5, -0.3, 1.2, -1.0, 1.3, -0.4, 1.0, 3.0, 2.0, -2.0])
    from prospect_emu.networks import sfh
    from prospect_emu.networks.vector import FIXED

    params = dict(FIXED) | {
        "mass": sfh.bin_masses(10.2, theta[2:8], 1.0), "agebins": sfh.agebins(1.0), "zred": 1.0,
        "logzsol": -0.3, "dust2": 0.5, "dust_index": -0.3, "dust1": 0.6, "fagn": 0.1,
        "agn_tau": 10**1.3, "gas_logz": -0.4, "duste_qpah": 3.0, "duste_umin": 2.0,
        "duste_gamma": 0.01,
    }  # fmt: skip
    phot, _ = sps.photometry(**params)
    np.testing.assert_allclose(phot, toy_emulator.maggies(theta), rtol=1e-6)


# ---- checks ---------------------------------------------------------------


def test_unknown_filter(toy_emulator):
    with pytest.raises(FilterError, match=r"acs_wfc_f850lp \(nearest: acs_wfc"):
        EmulatorSPS(toy_emulator, filters=load_filters(["acs_wfc_f814w", "acs_wfc_f850lp"]))


def test_other_curve_under_the_same_name(toy_emulator):
    filters = load_filters(toy_emulator.filters)
    filters[2]._transmission = filters[2]._transmission ** 2
    with pytest.raises(FilterError, match="transmission curve of subaru_suprimecam_B differs"):
        EmulatorSPS(toy_emulator, filters=filters)


def test_prior_outside_the_box_is_tabled(toy_emulator):
    params = model_params(zred=4.0)
    params["dust2"]["prior"] = prospect_priors.TopHat(mini=0.0, maxi=6.0)
    params["dust_index"]["prior"] = prospect_priors.Normal(mean=0.0, sigma=0.1)
    with pytest.raises(RangeError) as err:
        EmulatorSPS(toy_emulator, model=SedModel(params))
    text = str(err.value)
    assert all(name in text for name in ("dust2", "dust_index", "zred"))
    assert "gas_logz" not in text


def test_good_model_passes(toy_emulator):
    EmulatorSPS(toy_emulator, model=SedModel(model_params()))
    EmulatorSPS(toy_emulator, model=SpecModel(model_params(zred=2.0)))


@pytest.mark.parametrize(
    ("name", "value"), [("imf_type", 2), ("dust_type", 0), ("nebemlineinspec", False),
                        ("add_igm_absorption", None), ("dust3", 0.3), ("mass_units", "mstar")],
)  # fmt: skip
def test_other_assumptions_are_refused(sps, obs, name, value):
    params = model_params(zred=1.0)
    if value is None:
        del params[name]  # FSPS's default then holds, and it is another one
    else:
        params[name] = {"N": 1, "isfree": False, "init": value}
    model = SedModel(params)
    with pytest.raises(ModelMismatchError, match=name):
        sps.check_model(model)
    with pytest.raises(ModelMismatchError, match=name):
        model.predict(model.theta, obs=obs, sps=sps)


def test_other_age_bins_are_refused(sps, obs):
    params = model_params(zred=1.0)
    bins = np.linspace(7, 9.7, 8)
    params["agebins"] = {
        "N": 7, "isfree": False, "init": np.stack([bins[:-1], bins[1:]], axis=1),
    }  # fmt: skip
    model = SedModel(params)
    with pytest.raises(ModelMismatchError, match="age bins"):
        model.predict(model.theta, obs=obs, sps=sps)


def test_spectra_are_refused(sps, obs):
    with pytest.raises(ModelMismatchError, match="photometry, not spectra"):
        SedModel(model_params(zred=1.0)).predict(
            SedModel(model_params(zred=1.0)).theta,
            obs={**obs, "wavelength": np.linspace(5e3, 1e4, 9)}, sps=sps,
        )  # fmt: skip


def test_errors_are_not_value_errors():
    """Prospector's lnprobfn turns a ValueError into -inf, which would bias the evidence."""
    from prospect_emu.errors import ProspectEmuError

    assert not issubclass(ProspectEmuError, ValueError)


def test_leaving_the_box_stops_a_fit(sps, obs):
    model = SedModel(model_params(zred=1.0))
    theta = model.theta.copy()
    theta[model.theta_index["dust2"]] = 4.2
    model.config_dict["dust2"]["prior"] = prospect_priors.TopHat(mini=0.0, maxi=5.0)
    with pytest.raises(RangeError, match=r"dust2 = 4\.2"):
        lnprobfn(theta, model=model, obs=obs, sps=sps)


# ---- inflate ---------------------------------------------------------------


def test_inflate_is_equation_9_once(sps, obs, toy_emulator):
    new = sps.inflate(obs)
    use = obs["phot_mask"]
    extra = arsinh_error_to_maggies(toy_emulator.sigma_mag, obs["maggies"])
    want = np.sqrt(obs["maggies_unc"] ** 2 + extra**2)
    np.testing.assert_allclose(new["maggies_unc"][use], want[use], rtol=1e-14)
    np.testing.assert_array_equal(new["maggies_unc_observed"], obs["maggies_unc"])
    np.testing.assert_array_equal(sps.inflate(new)["maggies_unc"], new["maggies_unc"])
    assert "emulator" not in obs


def test_inflate_rules(sps, obs, toy_emulator):
    """Masked bands keep their entry; negative fluxes count by size; NaN must be masked."""
    obs["maggies"] = obs["maggies"].copy()
    obs["maggies"][3] = np.nan  # masked already
    obs["maggies"][4] *= -1
    new = sps.inflate(obs)
    assert new["maggies_unc"][3] == obs["maggies_unc"][3]
    assert new["maggies_unc"][4] > obs["maggies_unc"][4]
    obs["maggies"][5] = np.nan
    with pytest.raises(DataError, match=f"flux in {toy_emulator.filters[5]} is not finite"):
        sps.inflate(obs)
    obs["phot_mask"] = np.zeros(len(toy_emulator.filters), dtype=bool)
    with pytest.raises(DataError, match="All bands of obs are masked"):
        sps.inflate(obs)


def test_inflate_with_two_emulators(sps, obs, make_emulator):
    """Another emulator, or a band unmasked later, starts from the original errors."""
    from dataclasses import replace

    other = EmulatorSPS(replace(make_emulator(seed=1, sigma=0.2), name="other"), sps.filters)
    again = other.inflate(sps.inflate(obs))
    np.testing.assert_array_equal(again["maggies_unc"], other.inflate(obs)["maggies_unc"])
    assert again["emulator"] == "other"
    unmasked = {**sps.inflate(obs), "phot_mask": np.ones(len(sps.filters), dtype=bool)}
    assert sps.inflate(unmasked)["maggies_unc"][3] > obs["maggies_unc"][3]


@pytest.mark.parametrize("mask", [np.arange(3), np.ones(12, dtype=int), np.ones(5, dtype=bool)])
def test_ambiguous_masks_are_refused(sps, obs, mask):
    with pytest.raises(DataError, match="one boolean per filter"):
        sps.inflate({**obs, "phot_mask": mask})


@pytest.mark.parametrize("name", ["gas_logu", "igm_factor"])
def test_free_parameter_that_the_emulator_ignores(sps, name):
    params = model_params(zred=1.0)
    prior = prospect_priors.TopHat(mini=-4.0, maxi=-1.0)
    init = {"gas_logu": -1.0, "igm_factor": 1.0}[name]
    params[name] = {"N": 1, "isfree": True, "init": init, "prior": prior}
    with pytest.raises(ModelMismatchError, match=f"{name} vary in the model"):
        sps.check_model(SedModel(params))


def test_second_model_is_checked_too(sps, obs):
    good = SedModel(model_params(zred=1.0))
    good.predict(good.theta, obs=obs, sps=sps)
    params = model_params(zred=1.0)
    params["imf_type"]["init"] = 2
    bad = SedModel(params)
    with pytest.raises(ModelMismatchError, match="imf_type"):
        bad.predict(bad.theta, obs=obs, sps=sps)


def test_prior_without_bounds_method(sps):
    params = model_params(zred=1.0)
    params["dust_index"]["prior"] = prospect_priors.FastUniform(a=-1.0, b=0.4)
    with pytest.raises(RangeError, match="prior of dust_index, FastUniform, does not tell"):
        sps.check_model(SedModel(params))


def test_no_agn_is_explained(sps, obs):
    params = model_params(zred=1.0)
    params["fagn"] = {"N": 1, "isfree": False, "init": 0.0}
    model = SedModel(params)
    with pytest.raises(RangeError, match=r"fagn = 0 .* must be positive"):
        model.predict(model.theta, obs=obs, sps=sps)


def test_model_before_sps_without_sps_home(tmp_path):
    """In a fresh process, in the order of the README: the model comes first."""
    code = (
        "from prospect.models import SpecModel\n"
        "from prospect_emu.prospector.mathews23 import model_params\n"
        "model = SpecModel(model_params(zred=1.0))\n"
    )
    for home in ({}, {"SPS_HOME": str(tmp_path)}):
        env = {k: v for k, v in os.environ.items() if k != "SPS_HOME"} | home
        command = [sys.executable, "-c", code]
        run = subprocess.run(command, env=env, capture_output=True, text=True, cwd=tmp_path)
        assert run.returncode == 0, run.stderr
        assert "Could not read" not in run.stdout
