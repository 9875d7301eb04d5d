"""`prospect-emu fit --spectrum`: a mock of PRISM, from its files to the figures."""

import numpy as np
import pytest
from astropy import units as u
from astropy.table import Table
from matplotlib.figure import Figure

from prospect_emu import BatchedPosterior, EmulatorSPS, FitResult
from prospect_emu.commands import cli
from prospect_emu.fit.one_galaxy import _with_spectrum, prepare
from prospect_emu.observe.tables import make_obs
from prospect_emu.prospector.version import adapter

MODEL, ZRED, BANDS = "continuity_sfh+nebular", 2.0, ["jwst_f115w", "jwst_f200w", "jwst_f444w"]
QUICK = ["--nlive", "40", "--walks", "10", "--dlogz", "20", "--n-eff", "10", "--max-calls", "3000"]

pytestmark = pytest.mark.skipif(
    not hasattr(adapter, "PolySpecModel"), reason="Prospector 2 has spectra of its own"
)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Photometry and a spectrum of R = 100, tilted threefold, of a galaxy of the model."""
    folder = tmp_path_factory.mktemp("mock")
    wave, n = np.geomspace(0.7e4, 5e4, 120), 120
    obs = make_obs(BANDS, np.ones(3), np.ones(3), ZRED)
    data = {
        "wavelength": wave, "spectrum": np.ones(n), "unc": np.ones(n), "mask": np.ones(n, bool),
        "dispersion": np.full(n, 1273.0), "spectrum_notes": [],
    }  # fmt: skip
    obs, model = _with_spectrum(obs, data, MODEL, None, 0)
    spec, phot, _ = model.predict(model.theta, obs=adapter.prepared(obs), sps=EmulatorSPS())
    rng = np.random.default_rng(0)
    noisy = spec * np.linspace(0.5, 1.5, n) * (1.0 + 0.05 * rng.standard_normal(n))
    flux, jy = noisy * 3631e6 * u.uJy, 3631e6 * u.uJy
    table = Table({"wave": wave / 1e4 * u.um, "flux": flux, "err": 0.05 * spec * jy})
    table["use"] = np.arange(n) % 40 != 7
    table.write(folder / "spec.ecsv")
    photometry = Table({"band": BANDS, "flux": phot * jy, "error": 0.05 * phot * jy})
    photometry.meta["zred"] = ZRED
    photometry.write(folder / "phot.ecsv")
    return folder


def command(files, *more):
    return ["fit", str(files / "phot.ecsv"), "--spectrum", str(files / "spec.ecsv"), *more]


def test_fit_with_a_spectrum(files, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("prospect_emu.fit.plots.corner_figure", lambda result: Figure())
    out = tmp_path / "out"
    more = ["--model", MODEL, "--resolution", "R=100", "--polyorder", "3", "--out", str(out)]
    status = cli.main(command(files, *more, "--seed", "1", *QUICK))
    printed = capsys.readouterr().out
    assert status in (0, 3)  # 3,000 calls may or may not be enough
    assert "3 of 3 bands, 117 pixels" in printed and "polynomial of order 3" in printed
    assert {p.name for p in out.iterdir() if p.suffix != ".safetensors"} == {*cli.OUTPUTS}
    spectrum = FitResult.read(out / "posterior.h5").spectrum
    assert spectrum["mask"].sum() == 117
    # The polynomial follows the tilt, if roughly, after so few calls.
    ends = spectrum["calibration"][1][[0, -1]]
    assert ends[1] > ends[0]


@pytest.mark.parametrize(
    ("more", "match"),
    [
        (["--model", MODEL], "line-spread function of the spectrum is not known"),
        (["--resolution", "R=100", "--emulator", "mathews23-factored"], "computed exactly"),
        (["--resolution", "R=100", "--certify", "500"], "--spectrum is computed exactly"),
        (["--resolution", "nothing.csv"], "Cannot read nothing.csv"),
        (["--resolution", "R=100", "--polyorder", "-1"], "does not suit a spectrum of 117 pixels"),
        (["--resolution", "R=100", "--polyorder", "117"], "does not suit a spectrum of 117"),
        (["--resolution", "R=100", "--spectrum-floor", "-1"], "is not a fraction"),
        (["--resolution", "R=100", "--zred-prior", "uniform:1,3"], "narrower than 10 % of 1 + z"),
        (["--resolution", "R=100", "--lines", "nothing.csv"], "Cannot read nothing.csv"),
    ],
)
def test_one_sentence(files, tmp_path, capsys, more, match):
    assert cli.main(command(files, "--out", str(tmp_path / "out"), *more)) == 2
    assert match in capsys.readouterr().err


def test_a_narrow_redshift_prior_and_lines(files, tmp_path):
    """The redshift is free, the resolution that of the prior's middle; lines join the data."""
    lines = tmp_path / "lines.csv"
    lines.write_text("line,flux [erg/s/cm2],error [erg/s/cm2]\nBa-alpha 6563,1e-17,1e-18\n")
    obs, model, sps = prepare(
        files / "phot.ecsv", None, MODEL, zred_prior="uniform:1.98,2.02", lines=lines,
        spectrum=files / "spec.ecsv", resolution="R=100", polyorder=2,
    )  # fmt: skip
    _, fixed, _ = prepare(
        files / "phot.ecsv", 2.0, MODEL, spectrum=files / "spec.ecsv", resolution="R=100",
        polyorder=2,
    )  # fmt: skip
    assert "zred" in model.free_params
    np.testing.assert_array_equal(model.params["sigma_smooth"], fixed.params["sigma_smooth"])
    posterior = BatchedPosterior(model, obs, sps)
    theta = posterior.prior_transform(np.full((2, model.ndim), 0.5))
    assert np.isfinite(posterior.log_likelihood(theta)).all()
    assert posterior.predictions.quick and posterior.lines is not None
    # The preset model is then computed exactly too.
    assert isinstance(prepare(None, lines=lines)[2], EmulatorSPS)


def test_degraded_and_of_another_brightness(files, tmp_path):
    """Of a flat spectrum of R = 1000, 40 times as bright as the flat photometry."""
    wave = np.geomspace(0.9e4, 2.4e4, 3000)
    table = Table({"wave": wave * u.AA, "flux": np.full(3000, 40.0) * u.uJy})
    table["err"] = 0.1 * table["flux"]
    table.write(tmp_path / "spec.ecsv")
    photometry = Table({"band": BANDS, "flux": [1, 1, 1] * u.uJy, "error": [0.1] * 3 * u.uJy})
    photometry.write(tmp_path / "phot.ecsv")
    args = tmp_path / "phot.ecsv", ZRED, MODEL
    spectral = {"spectrum": tmp_path / "spec.ecsv", "resolution": "R=1000"}
    obs, model, _ = prepare(*args, **spectral)
    assert any("40 times as bright" in n and "jwst_f115w, jwst_f200w" in n for n in obs["notes"])
    assert any("Use --degrade" in n for n in obs["notes"])
    obs, model, _ = prepare(*args, **spectral, degrade=True, spectrum_floor=0.02)
    assert any("3000 pixels were smoothed" in n for n in obs["notes"])
    assert not any("Use --degrade" in n for n in obs["notes"])
    assert 50 < obs["mask"].sum() < 100
    np.testing.assert_allclose(obs["spectrum"][obs["mask"]], 40.0 / 3631e6, rtol=1e-6)
    assert np.all(obs["unc"][obs["mask"]] > 0.02 * 40.0 / 3631e6)
    # Lines as wide as the library: 1273 km/s.
    np.testing.assert_allclose(np.median(model.params["eline_sigma"]), 1273.0, rtol=1e-2)


def test_a_spectrum_beyond_the_library(files, tmp_path, capsys):
    table = Table.read(files / "spec.ecsv")
    table["wave"] = table["wave"] * 1e9
    table.write(tmp_path / "far.ecsv")
    more = ["--model", MODEL, "--resolution", "R=100", "--out", str(tmp_path / "out"), *QUICK]
    argv = ["fit", str(files / "phot.ecsv"), "--spectrum", str(tmp_path / "far.ecsv"), *more]
    assert cli.main(argv) == 2
    assert "cut the spectrum, or check the unit" in capsys.readouterr().err
