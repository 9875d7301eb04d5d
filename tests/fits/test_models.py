"""Campaigns with Prospector's templates, with a parameter file, and with exact fluxes."""

import numpy as np
import pytest
from astropy.table import Table

from prospect_emu import EmulatorSPS, FitResult, fit_model
from prospect_emu.errors import OutputError, SetupError
from prospect_emu.fits import compare, fingerprints
from prospect_emu.fits.backends import nested_keywords
from prospect_emu.fits.campaign import Options, campaign_status, make_plan, run_campaign
from prospect_emu.fits.campaign_report import write_summary
from prospect_emu.fits.config import read_config
from prospect_emu.fits.results import read_results
from prospect_emu.fits.store import Store
from prospect_emu.fits.work import obs_of
from prospect_emu.prospector import stand_in
from prospect_emu.prospector.templates import template_model

FILE = """
from prospect.models import SpecModel
from prospect.models.templates import TemplateLibrary

run_params = {"dust": 0.5}

def build_obs(**extras):
    return {}

def build_model(zred=None, dust=None, **extras):
    params = TemplateLibrary["ssp"]
    params["zred"]["init"] = ZRED
    params["dust2"] = {"N": 1, "isfree": False, "init": dust}
    return SpecModel(params)
"""


@pytest.fixture
def model_config(workshop):
    """A campaign of three galaxies at two redshifts, with other settings of [fit]."""
    path = workshop.catalog(3)
    table = Table.read(path, format="ascii.ecsv")
    table["zred"] = [0.8, 1.2, 0.8]
    for j in range(len(workshop.emulator.filters)):
        table[f"e{j}"] = 3.0 * table[f"f{j}"]  # the toy's fluxes are no galaxy's: short fits
    table.write(path, format="ascii.ecsv", overwrite=True)

    def make(fit, emulators="", name="c"):
        path = workshop.toml(name, fit=fit)
        text = path.read_text().replace('emulators = ["toy.safetensors"]', emulators)
        path.write_text(text)
        return read_config(path)

    return make


@pytest.fixture
def compilations(monkeypatch):
    """Redshifts for which the physics was compiled."""
    made, compile_sps = [], stand_in.compile_sps

    def counted(ingredients, filters, fixed, *args, **kwargs):
        made.append(float(np.squeeze(fixed["zred"])))
        return compile_sps(ingredients, filters, fixed, *args, **kwargs)

    monkeypatch.setattr(stand_in, "compile_sps", counted)
    return made


def test_templates(model_config, inline, compilations):
    """A campaign's fit is the single fit of `fit_model`; columns are those of the model."""
    config = model_config('model = ["parametric_sfh", "nebular"]')
    assert config.emulators == ("exact",)
    assert run_campaign(config, executor=inline) == {"done": 3}
    assert sorted(compilations) == [0.8, 1.2]  # the fit and its result share one
    assert run_campaign(config, executor=inline) == {"done": 3} and len(inline.seen) == 3

    results = read_results(config.output)
    free = {"mass", "logzsol", "dust2", "tage", "tau"}
    formed = {"log_mass_formed", "log_stellar_mass", "log_sfr_100", "mass_weighted_age"}
    names = {c.removesuffix("_p50") for c in results.table.colnames if c.endswith("_p50")}
    assert free | formed <= names and "logmass" not in names
    assert list(results.table["zred"]) == [0.8, 1.2, 0.8]
    assert set(results.table["problems"]) == {"none"}
    np.testing.assert_allclose(
        np.log10(results.table["mass_best"]), results.table["log_mass_formed_best"], rtol=1e-9
    )

    store = Store(config.output)
    task = next(iter(make_plan(config, store).tasks.values()))
    model, _ = template_model("parametric_sfh+nebular", 0.8)
    obs, sps = obs_of(task.photometry), EmulatorSPS()
    settings = {**nested_keywords(config.fit), "queue_size": 4, "nested_moves": "differences"}
    output = fit_model(obs, model, sps, seed=task.seed, progress=False, **settings)
    single = FitResult.from_run(output, model, obs, sps)
    stored = FitResult.read(store.fit_path(task.key))
    np.testing.assert_array_equal(stored.samples, single.samples)
    for name in single.quantities:
        np.testing.assert_array_equal(stored.quantities[name], single.quantities[name])


def test_another_model_is_another_fit(model_config, workshop, inline):
    """It is named, refused, and made with --refit; two models can be compared."""
    first = model_config('model = ["ssp"]')
    run_campaign(first, executor=inline)
    assert write_summary(read_results(first.output), first.output).is_file()
    second = model_config('model = ["ssp", "nebular"]')
    with pytest.raises(OutputError, match=r"another settings\.model \(3\)"):
        run_campaign(second, executor=inline)
    run_campaign(model_config('model = ["parametric_sfh"]', name="d"), executor=inline)
    (pair,) = compare.make_pairs(str(workshop.folder / "c"), [str(workshop.folder / "d")])
    assert pair.quantities[:2] == ["logmass", "logzsol"]
    own = read_results(workshop.folder / "c").table
    np.testing.assert_array_equal(pair.a.levels("logmass")[1], own["log_mass_formed_p50"])
    assert run_campaign(second, Options(refit=True), executor=inline) == {"done": 3}
    assert campaign_status(second.output)["states"] == {"done": 3}


def test_a_parameter_file(model_config, workshop, inline):
    """Its options and its text are part of what a fit is."""
    file = workshop.folder / "params.py"
    file.write_text(FILE.replace("ZRED", "zred"))
    config = model_config('params = "params.py"\nparams_options = ["--dust=0.2"]')
    assert run_campaign(config, executor=inline) == {"done": 3}
    table = read_results(config.output).table
    assert {"mass_p50", "logzsol_p50", "tage_p50"} <= set(table.colnames)
    result = FitResult.read(Store(config.output).fit_path(inline.seen[0]))
    assert "dust2" not in result.parameters and result.info["zred"] == 0.8
    with pytest.raises(OutputError, match=r"another settings\.params_options \(3\)"):
        run_campaign(model_config('params = "params.py"'), executor=inline)
    file.write_text(file.read_text() + "# changed\n")
    with pytest.raises(OutputError, match=r"another settings\.params \(3\)"):
        run_campaign(config, executor=inline)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (FILE.replace("ZRED", "0.3"), "gives zred = 0.3 where 1 was asked for"),
        (FILE.replace("ZRED", 'zred\n    params["lumdist"] = {"N": 1, "isfree": False, "init": 9}'),
         "sets lumdist, the distance of one galaxy"),
        ("def build_obs(**e): pass\n", "has no function build_model"),
    ],
)  # fmt: skip
def test_parameter_files_of_one_galaxy(model_config, workshop, inline, text, message):
    (workshop.folder / "params.py").write_text(text)
    with pytest.raises(SetupError, match=message):
        run_campaign(model_config('params = "params.py"'), executor=inline)


def test_the_18_parameters_exactly(model_config, inline):
    """Without an emulator's errors; fingerprints of other fits do not know of models."""
    config = model_config("", 'emulators = ["exact"]')
    assert run_campaign(config, executor=inline) == {"done": 3}
    table = read_results(config.output).table
    assert {"logmass_p50", "logzsol_p50", "dust1_fraction_p50"} <= set(table.colnames)
    assert "settings.model" not in fingerprints.fingerprint_of(
        inline.seen[0], 0, config.fit, make_plan(config, Store(config.output)).tasks[
            inline.seen[0]].photometry, {}, {},
    )  # fmt: skip


@pytest.mark.parametrize(
    ("fit", "emulators", "message"),
    [
        ('model = ["ssp"]', 'emulators = ["toy.safetensors"]', "'toy' is of the 18-parameter"),
        ('model = ["spp"]', "", "no template 'spp'; did you mean ssp"),
        ('model = ["ssp"]\nparams = "cat.ecsv"', "", "fit.model and fit.params are two models"),
        ('params = "none.py"', "", "there is no file fit.params = 'none.py'"),
        ('params_options = ["--x"]', 'emulators = ["exact"]', "belong to fit.params"),
        ('model = "ssp"', "", "fit.model = 'ssp' must be a list"),
    ],
)
def test_faults_are_told_before_anything_runs(model_config, inline, fit, emulators, message):
    with pytest.raises(Exception, match=message):
        run_campaign(model_config(fit, emulators), executor=inline)
    assert not inline.seen
