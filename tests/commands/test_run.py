"""`prospect-emu run`, `describe` and `fit --model`: parameter files and templates of Prospector."""

import os
import subprocess
import sys

import numpy as np
import pytest
from astropy.table import Table
from prospect.models import SpecModel
from prospect.models.templates import TemplateLibrary
from sedpy.observate import load_filters

from prospect_emu import (
    BatchedPosterior,
    EmulatorSpecModel,
    EmulatorSPS,
    FitResult,
    load_emulator,
)
from prospect_emu.commands import cli
from prospect_emu.errors import ModelMismatchError, SetupError
from prospect_emu.prospector.mathews23 import model_params
from prospect_emu.prospector.parameter_file import ParameterFile
from prospect_emu.prospector.templates import template_names, template_params
from prospect_emu.sps.fold import Compiled

BANDS = [f"sdss_{b}0" for b in "ugriz"] + ["twomass_J", "twomass_Ks"]
SCRIPT = """
import numpy as np
import fsps
fsps.__version__
from prospect.models import SpecModel, priors
from prospect.models.templates import TemplateLibrary
from prospect.sources import CSPSpecBasis
from sedpy.observate import load_filters

run_params = {"verbose": False, "nested_nlive_init": 60, "nested_walks": 5, "snr": 20.0,
              "nested_target_n_effective": 100, "nested_maxcall": 4000, "object_redshift": 0.08}

def build_obs(snr=20.0, **extras):
    flux = np.array([3e-9, 1e-8, 2e-8, 2.6e-8, 3.1e-8, 4e-8, 4.4e-8])
    return {"filters": load_filters(BANDS), "maggies": flux, "maggies_unc": flux / snr,
            "phot_mask": np.ones(7, dtype=bool), "wavelength": None, "spectrum": None}

def build_model(object_redshift=0.1, add_dust=False, **extras):
    params = TemplateLibrary["parametric_sfh"]
    if add_dust:
        params.update(TemplateLibrary["dust_emission"])
    params["zred"]["init"] = object_redshift
    return SpecModel(params)

def build_sps(zcontinuous=1, **extras):
    return CSPSpecBasis(zcontinuous=zcontinuous)

def build_noise(**extras):
    return None, None

if __name__ == "__main__":
    from prospect import prospect_args
    parser = prospect_args.get_parser()
    parser.add_argument("--add_dust", action="store_true", help="dust emission")
"""


@pytest.fixture
def script(tmp_path):
    path = tmp_path / "params.py"
    path.write_text(SCRIPT.replace("BANDS", repr(BANDS)))
    return path


def test_run(script, tmp_path, capsys):
    out = tmp_path / "out"
    command = ["run", str(script), "--out", str(out), "--seed", "1", "--add_dust", "--snr=10"]
    status = cli.main(command)
    printed = capsys.readouterr().out
    assert status in (0, 3)  # 4,000 calls may or may not be enough
    result = FitResult.read(out / "posterior.h5")
    assert result.parameters == ("mass", "logzsol", "dust2", "tage", "tau")
    assert result.info["zred"] == 0.08 and result.info["libraries"] == "PARSEC/CK04"
    np.testing.assert_allclose(result.photometry.unc / result.photometry.maggies, 0.1)
    assert set(result.derived) >= {"log_stellar_mass", "log_sfr_100", "mass_weighted_age"}
    assert result.history["sfr"].shape == (3, result.history["lookback"].size - 1)
    written = {p.name for p in out.iterdir() if p.suffix != ".safetensors"}
    assert written == {*cli.OUTPUTS} - {"spectrum.png"}
    assert "PARSEC/CK04" in printed and "log_stellar_mass" in printed
    # The quantities follow from the samples: mass formed is `mass`.
    np.testing.assert_allclose(
        result.derived["log_mass_formed"], np.log10(result.samples[:, 0]), rtol=1e-12
    )


def test_run_needs_no_fsps(script, tmp_path):
    """In a process where python-fsps cannot be imported and SPS_HOME is not set."""
    (tmp_path / "fsps.py").write_text("raise ImportError('not here')")
    env = {k: v for k, v in os.environ.items() if k != "SPS_HOME"}
    env["PYTHONPATH"] = os.pathsep.join([str(tmp_path), env.get("PYTHONPATH", "")])
    code = "import sys; from prospect_emu.commands.cli import main; sys.exit(main())"
    command = [sys.executable, "-P", "-c", code, "run", str(script), "--describe"]
    done = subprocess.run(
        command, env=env, cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert "compiled for 7 bands" in done.stdout and "tage" in done.stdout


@pytest.mark.parametrize(
    ("text", "options", "words"),
    [
        ("x = 1", (), "no function build_obs"),
        ("def build_obs(", (), "cannot be read as Python"),
        ("raise OSError('no disk')", (), "OSError: no disk"),
        (None, ("--nothing=3",), "unrecognized arguments: --nothing=3"),
        (None, ("--snr=high",), "build_obs of"),
    ],
)
def test_bad_files(script, text, options, words):
    if text is not None:
        script.write_text(text)
    with pytest.raises(SetupError, match=words.split(":")[0]) as err:
        ParameterFile(script, options).build()
    assert words in str(err.value)


def test_older_names_and_build_all(script):
    text = script.read_text()
    for what in ("obs", "model", "sps"):
        text = text.replace(f"build_{what}", f"load_{what}")
    script.write_text(text.replace("build_noise", "load_gp"))
    old = ParameterFile(script).build()
    everything = "\ndef build_all(**k):\n    return (build_obs(**k), build_model(**k), "
    script.write_text(SCRIPT.replace("BANDS", repr(BANDS)) + everything
                      + "build_sps(**k), build_noise(**k))\n")  # fmt: skip
    new = ParameterFile(script).build()
    for obs, model, sps, noise in (old, new):
        assert model.ndim == 5 and len(obs["filters"]) == 7 and noise == (None, None)
        assert sps.label == "PARSEC/CK04"


def test_mocks_and_arguments(script):
    """A mock of the file's own SPS and model; ``folder`` is no key of run_params."""
    text = script.read_text().replace("def build_obs(snr=20.0", "def build_data(snr=20.0")
    mock = """
def build_obs(folder, snr=20.0, **extras):
    obs, model, sps = build_data(snr), build_model(**extras), build_sps()
    obs["folder"], obs["maggies"] = folder, model.predict(model.theta, obs, sps)[1]
    return obs
"""
    script.write_text(text + mock)
    file = ParameterFile(script, ["--folder=here"])
    obs, model, sps, _ = file.build()
    assert obs["folder"] == "here" and "folder" in file.chosen
    np.testing.assert_array_equal(obs["maggies"], model.predict(model.theta, obs, sps)[1])


def test_fit_a_template(tmp_path, capsys):
    flux = np.array([3.0, 10.0, 20.0, 26.0, 31.0, 40.0, 44.0])
    table = Table({"band": BANDS, "flux": flux, "error": 0.1 * flux})
    table["flux"].unit = table["error"].unit = "uJy"
    table.meta["zred"] = 2.0
    table.write(tmp_path / "galaxy.ecsv")
    out = tmp_path / "out"
    command = ["fit", str(tmp_path / "galaxy.ecsv"), "--model", "continuity_sfh+nebular"]
    quick = ["--nlive", "60", "--walks", "5", "--n-eff", "50", "--max-calls", "3000", "--seed", "2"]
    assert cli.main([*command, *quick, "--out", str(out)]) in (0, 3)
    assert "The age bins end at 3.3" in capsys.readouterr().out
    result = FitResult.read(out / "posterior.h5")
    assert result.parameters[-2:] == ("logsfr_ratios_1", "logsfr_ratios_2")
    assert cli.main([*command, "--emulator", "mathews23-64"]) == 2
    assert "leave it out" in capsys.readouterr().err


def test_fit_a_free_redshift(tmp_path, capsys):
    flux = np.array([3.0, 10.0, 20.0, 26.0, 31.0, 40.0, 44.0])
    table = Table({"band": BANDS, "flux": flux, "error": 0.1 * flux})
    table["flux"].unit = table["error"].unit = "uJy"
    table.write(tmp_path / "galaxy.ecsv")
    command = ["fit", str(tmp_path / "galaxy.ecsv"), "--model", "parametric_sfh"]
    assert cli.main(command) == 2
    assert "--zred free" in capsys.readouterr().err
    assert cli.main([*command, "--zred", "1", "--zred-prior", "uniform:1,2"]) == 2
    assert "give one of them" in capsys.readouterr().err
    assert cli.main([*command, "--zred", "free", "--certify", "500"]) == 2
    assert "leave it out" in capsys.readouterr().err
    out = tmp_path / "out"
    quick = ["--nlive", "60", "--walks", "5", "--n-eff", "50", "--max-calls", "2000", "--seed", "2"]
    prior = ["--zred-prior", "normal:1.5,0.1", "--restframe", "UVJ, M_UV"]
    assert cli.main([*command, *prior, *quick, "--out", str(out)]) in (0, 3)
    assert "z free" in capsys.readouterr().out
    result = FitResult.read(out / "posterior.h5")
    assert result.info["zred"] is None and {"zred", "tage_tuniv"} <= set(result.parameters)
    assert result.info["settings"]["zred_prior"] == "normal:1.5,0.1"
    assert np.ptp(result.samples[:, result.parameters.index("zred")]) <= 1.0  # 5 sigma a side
    columns, summary = result.columns(), Table.read(out / "summary.ecsv")
    color = columns["rest_bessell_U"] - columns["rest_bessell_V"]
    np.testing.assert_array_equal(columns["rest_bessell_U-bessell_V"], color)
    assert np.isfinite(columns["M_UV"]).all() and summary["unit"][-1] == "mag(AB)"


def test_templates_by_name():
    assert "parametric_sfh" in template_names()
    with pytest.raises(ModelMismatchError, match="did you mean parametric_sfh"):
        template_params("parametric_shf")
    params, notes = template_params("parametric_sfh+igm", 5.0)
    # WMAP9: 1.19 Gyr at z = 5.
    assert params["tage"]["prior"].params["maxi"] == pytest.approx(1.19, abs=0.01)
    assert params["zred"]["init"] == 5.0 and len(notes) == 1
    assert params["add_igm_absorption"]["init"]


def test_describe(capsys):
    assert cli.main(["describe", "continuity_sfh+igm", "--zred", "1"]) == 0
    text = capsys.readouterr().out
    assert "StudentT(" in text and "logsfr_ratios_to_masses" in text and "PARSEC/CK04" in text


def test_a_file_with_a_network_of_its_own_is_described(tmp_path, capsys):
    """`build_sps` gives an emulator, plain or of a derived class."""
    script = tmp_path / "own.py"
    script.write_text(f"""
import numpy as np
from sedpy.observate import load_filters
from prospect_emu import EmulatorSpecModel, load_emulator
from prospect_emu.prospector.drop_in import NetworkSPS
from prospect_emu.prospector.mathews23 import model_params

class Mine(NetworkSPS):
    pass

def build_obs(**extras):
    return {{"filters": load_filters({BANDS}), "maggies": np.full(7, 1e-8),
            "maggies_unc": np.full(7, 1e-9), "wavelength": None, "spectrum": None}}

def build_model(**extras):
    return EmulatorSpecModel(model_params(zred=1.0))

def build_sps(**extras):
    return Mine(load_emulator("mathews23-64"), load_filters({BANDS}))
""")
    assert cli.main(["run", str(script), "--describe"]) == 0
    assert "emulator mathews23-64" in capsys.readouterr().out


def test_folding_is_done_once(monkeypatch):
    """A fit, its posterior and its result ask for the same compiled model."""
    from prospect_emu.prospector import stand_in

    calls = []
    real = stand_in.compile_sps
    monkeypatch.setattr(stand_in, "compile_sps", lambda *a, **k: calls.append(1) or real(*a, **k))
    filters = load_filters(BANDS)
    obs = {
        "filters": filters, "maggies": np.full(7, 1e-8), "maggies_unc": np.full(7, 1e-9),
        "phot_mask": np.ones(7, dtype=bool), "wavelength": None, "spectrum": None,
    }  # fmt: skip
    sps, model = EmulatorSPS(), SpecModel(TemplateLibrary["ssp"])
    for _ in range(3):
        BatchedPosterior(model, obs, sps)
    assert len(calls) == 1
    obs["phot_mask"][2] = False
    BatchedPosterior(model, obs, sps)
    assert len(calls) == 2


def test_folding_an_emulator_is_done_once(monkeypatch):
    """Of all bands once, for the model's own photometry too; with one masked, once more."""
    calls = []
    real = Compiled.fold
    monkeypatch.setattr(Compiled, "fold", lambda self: calls.append(1) or real(self))
    emulator, filters = load_emulator("mathews23-factored"), load_filters(BANDS)
    obs = {
        "filters": filters, "maggies": np.full(7, 1e-8), "maggies_unc": np.full(7, 1e-9),
        "phot_mask": np.ones(7, dtype=bool), "wavelength": None, "spectrum": None,
    }  # fmt: skip
    sps, model = EmulatorSPS(emulator, filters), EmulatorSpecModel(model_params(zred=1.0))
    for _ in range(3):
        BatchedPosterior(model, obs, sps)
    assert len(calls) == 1
    obs["phot_mask"][2] = False
    BatchedPosterior(model, obs, sps)
    assert len(calls) == 2
