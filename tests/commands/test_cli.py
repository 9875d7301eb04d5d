"""The command line: the main job end to end with a toy emulator, and each bad input."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from astropy.table import Table
from matplotlib.figure import Figure

from prospect_emu.commands import cli, fit_output, installation
from prospect_emu.fit.one_galaxy import mock_galaxy
from prospect_emu.fit.result import FitResult
from prospect_emu.networks.vector import PARAMETERS
from prospect_emu.observe.table_files import write_table
from prospect_emu.observe.tables import make_obs, photometry_table, read_photometry

# A fit of a second: enough to test every part but the sampler.
QUICK = [
    "--nlive",
    "50",
    "--walks",
    "5",
    "--dlogz",
    "1",
    "--n-eff",
    "50",
    "--seed",
    "3",
    "--max-error",
    "9",
]


@pytest.fixture(autouse=True)
def no_sps_home(monkeypatch):
    """Fitting must never need FSPS."""
    monkeypatch.delenv("SPS_HOME", raising=False)


@pytest.fixture
def emulator_file(toy_emulator, tmp_path):
    toy_emulator.save(tmp_path / "toy.safetensors")
    return tmp_path / "toy.safetensors"


@pytest.fixture
def obs(toy_emulator, prior_draws):
    theta = prior_draws(1)[0]
    theta[PARAMETERS.index("zred")] = 1.0
    flux = toy_emulator.maggies(theta)
    truth = dict(zip(PARAMETERS, map(float, theta), strict=True))
    return make_obs(toy_emulator.filters, flux, 0.05 * flux, 1.0, truth=truth)


@pytest.fixture
def table(obs, tmp_path):
    write_table(photometry_table(obs), tmp_path / "galaxy.ecsv")
    return tmp_path / "galaxy.ecsv"


@pytest.fixture
def fit(table, emulator_file, tmp_path, capsys, monkeypatch):
    """Runs ``prospect-emu fit``; returns status, stdout, stderr.

    The corner plot, which takes longer than all the rest, is replaced by an
    empty figure unless asked for; test_result tests it too.
    """

    def fit(*args, table=table, out=tmp_path / "out", corner=False):
        if not corner:
            monkeypatch.setattr("prospect_emu.fit.plots.corner_figure", lambda result: Figure())
        command = ["fit", str(table), "--emulator", str(emulator_file), "--out", str(out)]
        status = cli.main([*command, *QUICK, *map(str, args)])
        return status, *capsys.readouterr()

    return fit


# ---- fit ------------------------------------------------------------------------------------


def test_fit(fit, tmp_path, obs):
    status, out, err = fit(corner=True)
    assert status == 0
    folder = tmp_path / "out"
    assert {p.name for p in folder.iterdir()} == {*cli.OUTPUTS} - {"spectrum.png"}
    result = FitResult.read(folder / "posterior.h5")
    assert result.info["seed"] == 3 and result.info["zred"] == 1.0
    assert result.truth == obs["truth"]
    assert result.info["inflated"]  # the emulator's errors are in
    assert (result.photometry.unc > result.photometry.unc_observed).all()
    summary = Table.read(folder / "summary.ecsv")
    np.testing.assert_array_equal(summary["p50"], result.summary()["p50"])
    assert "ln Z = " in out and "of 17 true parameters" in out and "logmass" in out
    assert "converged" in out and "Traceback" not in err


def test_the_same_seed_gives_the_same_posterior(fit, tmp_path):
    fit("--quiet")
    fit("--quiet", out=tmp_path / "again")
    one, two = (FitResult.read(tmp_path / d / "posterior.h5") for d in ("out", "again"))
    np.testing.assert_array_equal(one.samples, two.samples)


def test_quiet_and_settings(fit, tmp_path):
    status, out, err = fit("--quiet", "--error-floor", "0.2", "--zred", "1.01")
    assert (status, out, err) == (0, "", "")
    result = FitResult.read(tmp_path / "out" / "posterior.h5")
    assert result.info["zred"] == 1.01
    settings = result.info["settings"]
    assert (settings["nested_nlive_init"], settings["nested_walks"]) == (50, 5)
    assert settings["error_floor"] == 0.2


def test_a_budget_is_said_even_when_quiet(fit):
    status, _, err = fit("--quiet", "--max-calls", "300")
    assert status == 3
    assert "not converged (budget: maxcall" in err


def test_masked_bands_are_said(fit, obs, tmp_path):
    photometry = photometry_table(obs)
    photometry["flux"][4] = np.nan
    write_table(photometry, tmp_path / "nan.ecsv")
    status, out, _ = fit(table=tmp_path / "nan.ecsv")
    assert status == 0
    assert "11 of 12 bands" in out and "acs_wfc_f814w is masked" in out


def test_overwrite(fit):
    assert fit("--quiet")[0] == 0
    assert fit("--quiet", "--overwrite")[0] == 0


def test_bundled_mock_galaxy_is_readable():
    path = mock_galaxy()
    if not path.is_file():
        pytest.skip("the mock galaxy is not bundled yet")
    obs = read_photometry(path)
    assert set(obs["truth"]) == set(PARAMETERS) and obs["phot_mask"].all()


# ---- bad input: exit status 2 and one sentence, before any fit ---------------------------------


@pytest.fixture
def refused(fit, monkeypatch):
    """Asserts that a fit is refused before it starts; returns the sentence."""

    def sample(*args, **kwargs):
        raise AssertionError("the fit was started")

    def refused(*args, **kwargs):
        with monkeypatch.context() as patch:
            patch.setattr(fit_output, "sample", sample)
            status, out, err = fit(*args, **kwargs)
        assert status == 2 and out == ""
        assert err.startswith("prospect-emu fit: ") and err.count("\n") == 1
        return err

    return refused


def rewrite(obs, path, **columns):
    photometry = photometry_table(obs)
    for name, values in columns.items():
        photometry[name] = values
    write_table(photometry, path)
    return path


def test_unknown_filter(refused, obs, tmp_path):
    bands = [f.name for f in obs["filters"]]
    bands[0] = "galex_nuv"
    err = refused(table=rewrite(obs, tmp_path / "x.ecsv", band=bands))
    assert "'galex_nuv'" in err and "galex_NUV" in err


def test_filter_that_is_not_emulated(refused, obs, tmp_path):
    bands = [f.name for f in obs["filters"]]
    bands[0] = "sdss_r0"
    err = refused(table=rewrite(obs, tmp_path / "x.ecsv", band=bands))
    assert "does not know 1 of the bands asked for: sdss_r0" in err


def test_unknown_truth(refused, obs, tmp_path):
    photometry = photometry_table(obs)
    photometry.meta["truth"] = {"mass": 1.0}
    write_table(photometry, tmp_path / "x.ecsv")
    assert "unknown parameters (mass)" in refused(table=tmp_path / "x.ecsv")


def test_all_masked(refused, obs, tmp_path):
    path = rewrite(obs, tmp_path / "x.ecsv", error=np.zeros(12))
    assert "All bands are masked" in refused(table=path)


@pytest.mark.parametrize(("unit", "words"), [(None, "does not say the unit"), ("adu", "'adu'")])
def test_missing_and_wrong_unit(refused, obs, tmp_path, unit, words):
    photometry = photometry_table(obs)
    photometry["flux"].unit = photometry["error"].unit = unit
    write_table(photometry, tmp_path / "x.ecsv")
    assert words in refused(table=tmp_path / "x.ecsv")


@pytest.mark.parametrize("zred", ["0.1", "3.5"])
def test_redshift_outside_the_box(refused, zred):
    err = refused("--zred", zred)
    assert f"redshift {zred} lies outside 0.5 to 3" in err


def test_unknown_emulator(refused):
    assert "There is no emulator 'nothing'" in refused("--emulator", "nothing")


def test_missing_table(refused, tmp_path):
    assert "Cannot read" in refused(table=tmp_path / "none.ecsv")


@pytest.mark.parametrize("name", cli.OUTPUTS)
def test_existing_output(refused, tmp_path, name):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / name).write_bytes(b"precious")
    err = refused()
    assert f"{name} exists already" in err and "--overwrite" in err
    assert (tmp_path / "out" / name).read_bytes() == b"precious"


def test_output_is_a_file(refused, tmp_path):
    """Not writable for root either."""
    (tmp_path / "file").write_text("")
    assert "Cannot write in" in refused(out=tmp_path / "file" / "sub")


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="needs a Linux /proc")
def test_output_on_a_read_only_file_system(refused):
    """/proc takes no new folders, from root either."""
    assert "Cannot write in" in refused(out=Path("/proc/prospect_emu_out"))


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may write anywhere")
def test_output_without_permission(refused, tmp_path):
    (tmp_path / "locked").mkdir(mode=0o500)
    assert "Cannot write in" in refused(out=tmp_path / "locked")


@pytest.mark.parametrize("args", [["--nlive", "0"], ["--walks", "x"], ["--max-calls", "-5"]])
def test_argparse_refuses(fit, args):
    with pytest.raises(SystemExit) as err:
        fit(*args)
    assert err.value.code == 2


# ---- list, check, help -----------------------------------------------------------------------


def test_list_with_a_file(emulator_file, toy_emulator, capsys):
    assert cli.main(["list", str(emulator_file)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[1:]] == list(toy_emulator.filters)


def test_list_bundled(toy_emulator, monkeypatch, capsys):
    monkeypatch.setattr("prospect_emu.networks.loading.list_emulators", lambda: ["toy"])
    monkeypatch.setattr("prospect_emu.networks.loading.load_emulator", lambda name: toy_emulator)
    assert cli.main(["list"]) == 0
    out = capsys.readouterr().out
    for words in ("bands      12", "0.5 to 3", "median 0.05, worst 0.05", "none", "sha256"):
        assert words in out


def test_check_names_each_part(capsys):
    status = cli.main(["check"])
    out = capsys.readouterr().out
    for part in ("python", "numpy", "astro-prospector", "dynesty", "astro-sedpy", "torch", "fsps"):
        assert f" {part} " in out
    assert status == ("FAULT" in out)
    assert ("Ready to fit" in out) == (status == 0)


@pytest.mark.parametrize(
    ("found", "state", "words"),
    [
        ("2.1.5", installation.OK, ""),
        ("2.0.3", installation.FAULT, "not supported"),
        ("3.0.0", installation.OK, "not with Prospector's own"),
        ("3.2.0", installation.FAULT, "not supported"),
    ],
)
def test_check_dynesty(monkeypatch, found, state, words):
    monkeypatch.setattr(installation, "version", lambda name: found)
    item = installation.check_package("dynesty<3,>=2.1.4")
    assert item.state == state and words in item.detail
    assert ("pip install" in item.fix) == (found != "2.1.5")


@pytest.mark.parametrize(
    ("requirement", "here"),
    [
        ("numpy>=2", True),
        ('tomli>=2; python_version < "3.11"', False),  # no Python that we support
        ('torch>=2.9; extra == "train"', False),
        ('numpy>=2; python_version >= "3.11"', True),
        ('pywin32; sys_platform == "win32"', sys.platform == "win32"),
    ],
)
def test_check_reads_environment_markers(requirement, here):
    # A package for another Python or system, or of an extra, is not missing.
    assert installation.applies(requirement) is here


def test_check_missing_and_broken_packages(monkeypatch):
    item = installation.check_package("no-such-package-here >= 1")
    assert item.state == installation.FAULT and 'pip install "no-such' in item.fix

    def broken(name):
        raise ImportError("numpy.core.multiarray failed to import")

    monkeypatch.setattr(installation, "import_module", broken)
    item = installation.check_package("scipy >= 1")
    assert item.state == installation.FAULT and "multiarray" in item.detail


def test_check_finds_a_damaged_emulator(monkeypatch, emulator_file):
    data = bytearray(emulator_file.read_bytes())
    data[-5] ^= 0xFF
    emulator_file.write_bytes(data)
    monkeypatch.setattr(
        "prospect_emu.networks.loading.list_emulators", lambda: [str(emulator_file)]
    )
    (item,) = installation.check_emulators()
    assert item.state == installation.FAULT and "checksum" in item.detail and item.fix


def test_check_sps_home(monkeypatch, tmp_path):
    assert installation.check_fsps().state == installation.ABSENT
    monkeypatch.setenv("SPS_HOME", str(tmp_path))
    item = installation.check_fsps()
    assert item.state == installation.FAULT and "unset SPS_HOME" in item.fix


@pytest.mark.parametrize("command", [[], ["fit"], ["list"], ["check"]])
def test_help(command, capsys):
    with pytest.raises(SystemExit) as err:
        cli.main([*command, "--help"])
    assert err.value.code == 0 and "usage: prospect-emu" in capsys.readouterr().out


def test_help_imports_nothing_heavy(tmp_path):
    """The parser alone: none of the packages whose import takes seconds.

    Away from the checkout, whose folders would stand before the installed package.
    """
    code = (
        "import sys; from prospect_emu.commands.cli import build_parser; build_parser(); "
        "print([m for m in ('numpy', 'prospect', 'matplotlib', 'torch') if m in sys.modules])"
    )
    command = [sys.executable, "-c", code]
    run = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path)
    assert run.stdout.strip() == "[]"


def test_commands_of_other_packages(monkeypatch):
    """An entry point adds a subcommand; one of ours is not replaced."""

    class Entry:
        def __init__(self, name):
            self.name = name

        def load(self):
            def register(subparsers):
                subparsers.add_parser(self.name).set_defaults(run=lambda args: 5)

            return register

    monkeypatch.setattr(cli, "entry_points", lambda group: [Entry("extra"), Entry("fit")])
    assert cli.main(["extra"]) == 5
    assert cli.build_parser().parse_args(["fit"]).run is cli._fit


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("--seed", "-1", "seed = -1 is negative"),
        ("--dlogz", "0", "dlogz_init = 0.0 is not a positive number"),
        ("--dlogz", "nan", "dlogz_init = nan is not a positive number"),
        ("--max-seconds", "-3", "max_seconds = -3.0 leaves no time"),
        ("--nlive", "1", "nlive_init = 1 is too small"),
        ("--error-floor", "5", "error floor 5.0 is not a fraction"),
        ("--resolution", "R=100", "are of a spectrum, and none is given"),
        ("--tables", "x.safetensors", "--tables is for --certify"),
    ],
)
def test_absurd_settings(fit, option, value, message):
    status, _, err = fit(option, value)
    assert status == 2
    assert message in err and len(err.strip().splitlines()) == 1


def test_a_notebooks_backend(tmp_path):
    """Jupyter hands its MPLBACKEND on to ``!prospect-emu``, where it cannot be imported."""
    env = os.environ | {"MPLBACKEND": "module://no_such_backend"}
    code = "import sys; from prospect_emu.commands.cli import main; status = main(['list']); "
    code += "import matplotlib.pyplot; sys.exit(status)"
    command = [sys.executable, "-P", "-c", code]
    done = subprocess.run(command, env=env, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
