"""`EmulatorSPS()` against FSPS through Prospector's own classes, and without FSPS at all."""

import pickle
import subprocess
import sys
import warnings

import numpy as np
import pytest
from prospect.models import SpecModel
from prospect.models.sedmodel import PolySpecModel
from prospect.models.templates import TemplateLibrary
from sedpy.observate import load_filters

from prospect_emu import BatchedPosterior, EmulatorSPS
from prospect_emu.errors import ModelMismatchError, SetupError
from prospect_emu.prospector.stand_in import ExactBasis

BANDS = [
    "galex_NUV", "sdss_g0", "acs_wfc_f606w", "wfc3_ir_f160w", "twomass_Ks", "spitzer_irac_ch3",
    "spitzer_mips_24", "herschel_pacs_100",
]  # fmt: skip
DUSTY = ("dust_emission", "nebular", "igm", "agn")
# Template, the additions, and the tolerance of every flux: 1e-4 for bins; 1e-3 for
# parametric histories and single populations, whose faint ultraviolet pixels are
# rounded more coarsely in the 16-bit tables (measured: 3e-4 at most).
MODELS = [
    ("continuity_sfh", (), 1e-4),
    ("continuity_sfh", DUSTY, 1e-4),
    ("continuity_flex_sfh", DUSTY, 1e-4),
    ("dirichlet_sfh", ("nebular",), 1e-4),
    ("alpha", (), 1e-4),
    ("parametric_sfh", (), 1e-3),
    ("parametric_sfh", DUSTY, 1e-3),
    ("burst_sfh", (), 1e-3),
    ("ssp", (), 1e-3),
]


def make_model(template, extra, kind=SpecModel, **fixed):
    params = dict(TemplateLibrary[template])
    if template == "burst_sfh":
        params = {**TemplateLibrary["parametric_sfh"], **params}
    for name in extra:
        params.update(TemplateLibrary[name])
    params["zred"] = {"N": 1, "isfree": False, "init": 0.8}
    # One metallicity: each new one costs FSPS ten seconds.
    params["logzsol"] = {"N": 1, "isfree": False, "init": -0.3}
    params.pop("massmet", None)
    for name, value in fixed.items():
        params[name] = {"N": 1, "isfree": False, "init": value}
    return kind(params)


def observation(**more):
    return {
        "filters": load_filters(BANDS), "maggies": np.ones(len(BANDS)),
        "maggies_unc": np.ones(len(BANDS)), "wavelength": None, "spectrum": None, "unc": None,
        "mask": None, **more,
    }  # fmt: skip


@pytest.fixture
def basis(fsps_ready):
    """Prospector's own class for a model; new each time, since FSPS keeps parameters."""
    from prospect.sources import CSPSpecBasis, FastStepBasis

    return lambda params: (FastStepBasis if "agebins" in params else CSPSpecBasis)(zcontinuous=1)


@pytest.mark.fsps
@pytest.mark.parametrize(("template", "extra", "tolerance"), MODELS)
def test_templates_against_fsps(template, extra, tolerance, basis):
    """Photometry of three prior draws, through Prospector's SpecModel and sedpy alike."""
    model = make_model(template, extra)
    fsps = basis(model.params)
    ours, obs = EmulatorSPS(zcontinuous=1), observation()
    rng = np.random.default_rng(4)
    for _ in range(3):
        theta = model.prior_transform(rng.uniform(0.1, 0.9, model.ndim))
        _, expected, mfrac = model.predict(theta, obs=obs, sps=fsps)
        _, found, ours_mfrac = model.predict(theta, obs=obs, sps=ours)
        np.testing.assert_allclose(found, expected, rtol=tolerance)
        assert ours_mfrac == pytest.approx(mfrac, abs=1e-6)
        for name in ("stellar_mass", "log_lbol", "log_age"):
            assert getattr(ours.ssp, name) == pytest.approx(getattr(fsps.ssp, name), rel=1e-6)


@pytest.mark.fsps
@pytest.mark.parametrize("kind", [SpecModel, PolySpecModel])
def test_spectrum_and_lines_against_fsps(kind, basis):
    """Lines apart, added by Prospector at 300 km/s: 1e-4 of the median flux of each pixel."""
    model = make_model("continuity_sfh", DUSTY, kind, nebemlineinspec=False, sigma_smooth=300.0)
    wave = np.linspace(7000.0, 14000.0, 400)
    obs = observation(
        wavelength=wave, spectrum=np.ones(wave.size), unc=np.ones(wave.size),
        mask=np.ones(wave.size, dtype=bool),
    )  # fmt: skip
    theta = model.prior_transform(np.full(model.ndim, 0.4))
    expected = model.predict(theta, obs=obs, sps=basis(model.params))
    found = model.predict(theta, obs=obs, sps=EmulatorSPS())
    for a, b in zip(found[:2], expected[:2], strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4 * np.median(b))


@pytest.mark.fsps
@pytest.mark.parametrize("outwave", [None, np.linspace(4000.0, 9000.0, 50)])
def test_get_spectrum_is_prospectors(outwave, basis):
    """Smoothing, units, distance: SSPBasis.get_spectrum with FSPS."""
    model = make_model("parametric_sfh", ())
    params = {**model.params, "lumdist": 3000.0}
    filters = load_filters(BANDS)
    expected = basis(params).get_spectrum(outwave=outwave, filters=filters, peraa=True, **params)
    found = EmulatorSPS().get_spectrum(outwave=outwave, filters=filters, peraa=True, **params)
    bright = expected[0] > 1e-6 * expected[0].max()
    np.testing.assert_allclose(found[0][bright], expected[0][bright], rtol=1e-3)
    np.testing.assert_allclose(found[1], expected[1], rtol=1e-3)


@pytest.mark.fsps
@pytest.mark.parametrize("fixed", [{"tage": [1.0, 5.0]}, {"sfh": [0, 4], "dust_type": [0, 2]}])
def test_components_against_fsps(fixed, basis):
    """One component for each mass, of its own age, history or law: 1e-3, as `MODELS`."""
    mass = np.array([1e9, 1e10])
    model = make_model("parametric_sfh", (), **fixed)
    model.params["mass"] = mass
    expected = basis(model.params).get_galaxy_spectrum(**model.params)
    found = EmulatorSPS().get_galaxy_spectrum(**model.params)
    np.testing.assert_allclose(found[1][found[0] > 912.0], expected[1][found[0] > 912.0], rtol=1e-3)
    assert found[2] == pytest.approx(expected[2], abs=1e-6)
    # The same in batches.
    config = model.config_dict | {"mass": {"N": 2, "isfree": False, "init": mass}}
    model, obs = SpecModel(config), observation(phot_mask=np.ones(len(BANDS), dtype=bool))
    theta = model.prior_transform(np.full(model.ndim, 0.5))
    with warnings.catch_warnings(action="ignore"):
        found = BatchedPosterior(model, obs, EmulatorSPS()).maggies(theta[None])[0]
    expected = model.predict(theta, obs=obs, sps=EmulatorSPS())[1]
    np.testing.assert_allclose(found, expected, rtol=1e-10)


def test_models_run_without_fsps():
    """A script that imports prospect_emu and makes a model before `EmulatorSPS()`."""
    code = (
        "from prospect_emu import EmulatorSPS\n"
        "import sys, numpy as np\n"
        "from prospect.models import SpecModel\n"
        "from prospect.models.templates import TemplateLibrary\n"
        "from sedpy.observate import load_filters\n"
        "p = {**TemplateLibrary['parametric_sfh'], **TemplateLibrary['nebular']}\n"
        "p['nebemlineinspec'] = {'N': 1, 'isfree': False, 'init': False}\n"
        "model = SpecModel(p)\n"
        "obs = {'filters': load_filters(['sdss_r0']), 'wavelength': None, 'spectrum': None}\n"
        "print(model.predict(model.theta, obs=obs, sps=EmulatorSPS())[1][0] > 0)\n"
    )
    env = {"PATH": "/usr/bin", "PYTHONPATH": ":".join(p for p in sys.path if p)}
    run = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True)
    assert run.stdout.strip() == "True", run.stderr


def test_a_pickle_is_small_and_gives_the_same():
    """For pools: no tables inside, lines of the last call included."""
    sps = EmulatorSPS()
    params = {"mass": 1e10, "tage": 3.0, "tau": 1.0, "sfh": 4, "imf_type": 2}
    before = sps.get_galaxy_spectrum(**params)
    data = pickle.dumps(sps)
    assert len(data) < 5000
    again = pickle.loads(data)
    np.testing.assert_array_equal(again.get_galaxy_elines()[1], sps.get_galaxy_elines()[1])
    np.testing.assert_array_equal(again.get_galaxy_spectrum(**params)[1], before[1])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [({"zcontinuous": 2}, "zcontinuous=2"), ({"vactoair_flag": True}, "vacuum")],
)
def test_what_only_fsps_can_do_is_refused(arguments, words):
    with pytest.raises(ModelMismatchError, match=words):
        EmulatorSPS(**arguments)


def test_an_imf_without_ingredients_is_refused():
    with pytest.raises(SetupError, match="imf_type"):
        EmulatorSPS().get_galaxy_spectrum(mass=1.0, tage=1.0, imf_type=4)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("imf_type", 3), ("imf_type", 5), ("use_wr_spectra", 0), ("tpagb_norm_type", 1),
        ("fbhb", 0.2), ("sbss", 0.1), ("redgb", 0.5), ("agb", 0.5), ("fcstar", 0.5),
        ("pagb", 0.0), ("evtype", 3), ("masscut", 50.0), ("imf1", 1.1), ("imf2", 2.0),
        ("imf3", 2.7), ("imf_upper_limit", 100.0), ("use_lw_tpagb", 1), ("add_xrb_emission", 1),
    ],
)  # fmt: skip
def test_stellar_parameters_are_refused_by_name(name, value, monkeypatch, tmp_path):
    """Drop-in and batched alike: the name, the value, the command. FSPS's default passes."""
    from prospect_emu.fit.predictions import ExactFluxes
    from prospect_emu.parameters import DEFAULTS

    monkeypatch.setenv("PROSPECT_EMU_INGREDIENTS", str(tmp_path))
    words = f"{name}={value}; make .*`prospect-emu ingredients {name}={value}`"
    with pytest.raises(SetupError, match=words):
        EmulatorSPS().get_galaxy_spectrum(**{"mass": 1.0, "tage": 1.0, name: value})
    EmulatorSPS().get_galaxy_spectrum(**{"mass": 1.0, "tage": 1.0, name: DEFAULTS[name]})
    model = make_model("ssp", (), **{"imf_type": 2, name: value})
    with pytest.raises(SetupError, match=words):
        ExactFluxes(model, load_filters(BANDS[:1]), EmulatorSPS())


def test_a_pool_of_spawned_processes(monkeypatch, tmp_path):
    """Two fresh processes give what this one gives; compiled models are not in the pickle."""
    from concurrent.futures import ProcessPoolExecutor
    from multiprocessing import get_context

    monkeypatch.setenv("PROSPECT_EMU_INGREDIENTS", str(tmp_path))
    sps = EmulatorSPS()
    params = [{"mass": 1e10, "tage": t, "tau": 1.0, "sfh": 4, "imf_type": 2} for t in (2.0, 5.0)]
    expected = [sps.get_galaxy_spectrum(**p)[1] for p in params]
    sps._compiled["x"] = np.zeros(10**6)
    assert len(pickle.dumps(sps)) < 5000
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        jobs = [pool.submit(sps.get_galaxy_spectrum, **p) for p in params]
        found = [job.result(timeout=120)[1] for job in jobs]
    np.testing.assert_array_equal(found, expected)


def test_what_scripts_read_of_python_fsps():
    """Names of its StellarPopulation; what cannot be had is refused, never ignored."""
    sps = EmulatorSPS()
    sps.update(imf_type=2, dust2=np.array([0.4]))
    ssp = sps.ssp
    assert ssp.libraries[0] == b"prsc" and ssp.params["dust2"] == 0.4 and ssp.params["sfh"] == 0
    np.testing.assert_array_equal(ssp.wavelengths, sps.wavelengths)
    # Z of PARSEC's grid.
    np.testing.assert_allclose(ssp.zlegend[[0, -1]], [1e-4, 0.06], rtol=1e-6)
    with pytest.raises(AttributeError, match=r"ssp\.set_lsf of python-fsps is not available"):
        ssp.set_lsf(None, None)
    with pytest.raises(ModelMismatchError, match="cannot be set without FSPS"):
        ssp.params["smooth_lsf"] = True
    with pytest.raises(ModelMismatchError, match="'dust_2' is not a parameter"):
        ssp.params["dust_2"] = 1.0


def test_settings_of_a_script_hold_for_all_calls():
    """As with python-fsps: what a model does not say is what ``ssp.params`` was set to."""
    sps, params = EmulatorSPS(), {"mass": 1e10, "tage": 3.0, "tau": 1.0, "sfh": 4, "imf_type": 2}
    sps.ssp.params["dust2"] = 0.5
    expected = EmulatorSPS().get_galaxy_spectrum(**params, dust2=0.5)[1]
    np.testing.assert_array_equal(sps.get_galaxy_spectrum(**params)[1], expected)
    # A pool's copies have them too.
    again = pickle.loads(pickle.dumps(sps))
    np.testing.assert_array_equal(again.get_galaxy_spectrum(**params)[1], expected)


class OwnBins(EmulatorSPS):
    """What `FastStepBasis` does, and light of its own."""

    def get_galaxy_spectrum(self, **params):
        self.update(**params)
        total = self.params["mass"].sum()
        time, sfr, tage = self.convert_sfh(self.params["agebins"], self.params["mass"])
        self.ssp.params["sfh"] = 3
        self.ssp.set_tabular_sfh(time, sfr)
        wave, spectrum = self.ssp.get_spectrum(tage=tage)
        return wave, 2.0 * spectrum / total, self.ssp.stellar_mass / total


class OwnComponents(EmulatorSPS):
    """What `CSPSpecBasis` does."""

    def __init__(self, brighter=1.0, **more):
        super().__init__(**more)
        self.brighter = brighter

    def get_galaxy_spectrum(self, **params):
        self.update(**params)
        mass, out = np.atleast_1d(self.params["mass"]), 0.0
        for i, m in enumerate(mass):
            self.update_component(i)
            wave, spectrum = self.ssp.get_spectrum(tage=self.ssp.params["tage"])
            out = out + self.brighter * m * spectrum
        return wave, out / mass.sum(), self.ssp.stellar_mass


def test_a_class_of_the_scripts_own():
    """Derived from the swapped class, as scripts derive from Prospector's: nothing is ignored."""
    model = make_model("continuity_sfh", ("nebular",))
    own, obs = OwnBins(zcontinuous=1), observation()
    expected = model.predict(model.theta, obs=obs, sps=EmulatorSPS())[1]
    found = model.predict(model.theta, obs=obs, sps=own)[1]
    np.testing.assert_allclose(found, 2.0 * expected, rtol=1e-10)
    np.testing.assert_allclose(own.get_galaxy_elines()[1].sum(), sum_of_lines(model))
    parts = {"mass": [3e9, 1e10], "tage": [0.5, 5.0], "sfh": 0, "dust2": [0.4, 0.1]}
    given = {k: np.array(v) for k, v in parts.items()}
    expected = EmulatorSPS().get_galaxy_spectrum(**given)[1]
    found = OwnComponents(brighter=3.0).get_galaxy_spectrum(**given)[1]
    # FSPS leaves 0.01 Lsun of what dust emits, of one Msun and not of all.
    np.testing.assert_allclose(found, 3.0 * expected, rtol=1e-6)


def sum_of_lines(model):
    sps = EmulatorSPS()
    sps.get_galaxy_spectrum(**model.params)
    return sps.get_galaxy_elines()[1].sum()


def test_a_batched_fit_asks_a_class_of_the_scripts_own():
    from prospect_emu import BatchedPosterior

    model, obs = make_model("continuity_sfh", ()), observation(maggies=np.full(len(BANDS), 1e-9))
    with pytest.warns(UserWarning, match="OwnBins has spectra of its own"):
        posterior = BatchedPosterior(model, obs, OwnBins())
    theta = posterior.prior_transform(np.full((2, model.ndim), 0.4))
    expected = model.predict(theta[0], obs=obs, sps=EmulatorSPS())[1]
    np.testing.assert_allclose(posterior.maggies(theta)[0], 2.0 * expected, rtol=1e-10)


@pytest.mark.fsps
@pytest.mark.parametrize("tage", [0.0, 4.0])
def test_spectra_of_ssp_against_fsps(tage, fsps_ready):
    """python-fsps's own calls: spectrum in both units, masses, lines; 1e-3 as `MODELS`."""
    import fsps

    settings = {"imf_type": 2, "logzsol": -0.3, "sfh": 0, "dust2": 0.3, "add_neb_emission": True}
    expected = fsps.StellarPopulation(zcontinuous=1)
    found = EmulatorSPS().ssp
    for name, value in settings.items():
        expected.params[name] = found.params[name] = value
    for peraa in (False, True):
        wave, light = expected.get_spectrum(tage=tage, peraa=peraa)
        ours = found.get_spectrum(tage=tage, peraa=peraa)
        bright = (light > 1e-4 * light.max(axis=-1, keepdims=True)) & (wave > 912.0)
        np.testing.assert_allclose(ours[1][bright], light[bright], rtol=1e-3)
    # An old population has no ionising photons: lines of 1e-70 Lsun in FSPS, none here.
    names = "stellar_mass emline_luminosity log_lbol log_age zlegend solar_metallicity"
    for name in names.split():
        ours, theirs = getattr(found, name), getattr(expected, name)
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-60 + 1e-8 * np.max(theirs))


def test_lines_before_a_spectrum_are_refused():
    with pytest.raises(ModelMismatchError, match="get_galaxy_spectrum first"):
        EmulatorSPS().get_galaxy_elines()


def test_an_emulator_takes_no_parameters_of_fsps(toy_emulator):
    assert isinstance(EmulatorSPS(imf_type=1), ExactBasis)
    with pytest.raises(ModelMismatchError, match="imf_type belong to"):
        EmulatorSPS(toy_emulator, imf_type=1)
