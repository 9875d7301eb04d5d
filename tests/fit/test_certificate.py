"""Certificates: Pareto smoothing against arviz, corrections against known answers."""

import types

import numpy as np
import pytest
from matplotlib.figure import Figure

from prospect_emu import EmulatorSpecModel, EmulatorSPS
from prospect_emu.commands import cli
from prospect_emu.errors import DataError, SetupError
from prospect_emu.fit import certificate as cert
from prospect_emu.fit.fitting import fit_model
from prospect_emu.fit.result import FitResult
from prospect_emu.networks.vector import PARAMETERS
from prospect_emu.observe.filters import load_filters
from prospect_emu.observe.table_files import write_table
from prospect_emu.observe.tables import make_obs, photometry_table
from prospect_emu.prospector.mathews23 import model_params


@pytest.mark.parametrize(
    ("k", "effective", "shift", "verdict"),
    [
        (0.3, 500, 0.1, "good"),
        (-np.inf, 1000, 0.0, "good"),
        (0.3, 500, -0.4, "corrected"),
        (0.9, 500, 0.1, "refit"),
        (np.inf, 500, 0.1, "refit"),
        (0.3, 50, 0.1, "refit"),
    ],
)
def test_verdicts(k, effective, shift, verdict):
    assert cert.judge(k, 0.7, effective, {"a": 0.0, "b": shift})[0] == verdict


# ---- fits ---------------------------------------------------------------------------


@pytest.fixture
def fitted(make_emulator):
    """Makes a short fit of a mock galaxy; the toy emulator's error is `sigma` magnitudes."""

    def fit(sigma, scale=1.0, seed=1, **extra):
        emulator = make_emulator(sigma=sigma)
        filters = load_filters(emulator.filters)
        sps = EmulatorSPS(emulator, filters)
        model = EmulatorSpecModel(model_params(zred=1.0) | extra)
        model.set_parameters(model.prior_transform(np.full(model.ndim, 0.5)))
        flux = emulator.maggies(sps.theta_from_params(model.params)) * scale
        obs = {"filters": filters, "maggies": flux, "maggies_unc": 0.2 * flux,
               "wavelength": None, "spectrum": None}  # fmt: skip
        obs = sps.inflate(obs)
        output = fit_model(
            obs, model, sps, seed=seed, verbose=False, nested_nlive_init=300, nested_walks=20,
            nested_maxbatch=0,
        )  # fmt: skip
        return FitResult.from_run(output, model, obs, sps), emulator

    return fit


def test_an_emulator_without_errors_is_good(fitted):
    """Exact fluxes equal to the emulated ones, no emulator error: nothing changes."""
    result, emulator = fitted(sigma=1e-9)
    c = cert.certify(result, emulator.maggies, n=400)
    assert c.verdict == "good"
    np.testing.assert_allclose(c.log_ratio, 0.0, atol=1e-3)
    assert c.max_shift == pytest.approx(0.0, abs=1e-3)
    assert c.effective_fraction == pytest.approx(1.0, abs=1e-3)
    assert c.dlogz == pytest.approx(0.0, abs=1e-3)


def test_a_biased_emulator_is_corrected(fitted):
    """Exact fluxes 10 % brighter: the correction is what a fit with them gives.

    A factor on all fluxes is a factor on the mass. Compared with a fit of data
    that are fainter by that factor, whose masses then shift by its logarithm:
    logmass to 4 errors of a short fit (0.2 sigma each: DESIGN section 4), ln Z to 4 errors.
    """
    result, emulator = fitted(sigma=0.05)
    factor = 1.1
    c = cert.certify(result, lambda theta: factor * emulator.maggies(theta), n=2000, seed=2)
    assert c.verdict == "corrected"
    assert c.shift["logmass"] < -0.25
    observed = result.photometry.unc_observed
    assert (result.photometry.unc > observed).all()
    # The fit with the exact fluxes themselves: their errors, no inflation.
    direct, _ = fitted(sigma=1e-9, scale=1.0 / factor, seed=7)
    index = result.parameters.index("logmass")
    exact = direct.samples[:, index]
    mean = direct.weights @ exact
    sigma = np.sqrt(direct.weights @ (exact - mean) ** 2)
    corrected = c.weights @ result.samples[c.index, index]
    assert corrected == pytest.approx(mean, abs=4 * np.hypot(0.2, 0.2) * sigma)
    # Densities of fluxes are larger by the factor where all fluxes are smaller.
    logz = direct.logz - len(emulator.filters) * np.log(factor)
    error = np.hypot(np.hypot(direct.logz_err, result.logz_err), c.dlogz_err)
    assert result.logz + c.dlogz == pytest.approx(logz, abs=4 * error)


def test_a_wrong_emulator_is_told(fitted):
    result, emulator = fitted(sigma=0.02)
    tilt = np.geomspace(0.25, 4.0, len(emulator.filters))
    c = cert.certify(result, lambda theta: tilt * emulator.maggies(theta), n=400)
    assert c.verdict == "refit" and c.pareto_k > c.threshold
    assert "refit" in str(c)


def test_certificates_are_stored(fitted, tmp_path):
    """Written, read, and in the summary; a damaged one fails the checksum."""
    import h5py

    result, emulator = fitted(sigma=0.05)
    result = result.certified(emulator.maggies, n=300, engine="toy")
    result.write(tmp_path / "fit.h5")
    read = FitResult.read(tmp_path / "fit.h5")
    for name, array in result.certificate.arrays.items():
        np.testing.assert_array_equal(getattr(read.certificate, name), array)
    assert read.certificate.numbers == result.certificate.numbers
    summary = read.summary()
    assert summary.meta["certificate"]["verdict"] == result.certificate.verdict
    assert summary.meta["certificate"]["engine"] == "toy"
    row = summary[list(summary["parameter"]).index("dust2")]
    column = result.samples[result.certificate.index, result.parameters.index("dust2")]
    assert column.min() < row["corrected_p16"] < row["corrected_p50"] < row["corrected_p84"]
    with h5py.File(tmp_path / "fit.h5", "r+") as f:
        f["prospect_emu/certificate/weights"][0] += 0.1
    with pytest.raises(DataError, match="checksum"):
        FitResult.read(tmp_path / "fit.h5")


def test_what_cannot_be_certified_is_refused(fitted):
    result, emulator = fitted(
        sigma=0.05, f_outlier_phot={"N": 1, "isfree": False, "init": 0.3}
    )  # fmt: skip
    with pytest.raises(DataError, match="outliers"):
        cert.certify(result, emulator.maggies, n=300)
    with pytest.raises(DataError, match="too few"):
        cert.certify(result, emulator.maggies, n=100)


def test_fluxes_that_are_not_finite_are_refused(fitted):
    result, emulator = fitted(sigma=0.05)
    with pytest.raises(DataError, match="finite"):
        cert.certify(result, lambda theta: np.nan * emulator.maggies(theta), n=300)


# ---- engines and the command line ------------------------------------------------------


class Entry:
    def __init__(self, name, function):
        self.name, self.load = name, lambda: function


def absent(emulator, tables):
    raise SetupError("it is not there")


def twin(emulator, tables):
    return "a twin", lambda theta: emulator.maggies(theta, check=False)


@pytest.fixture
def engines(monkeypatch):
    def use(*functions):
        entries = [Entry(f"{i} {f.__name__}", f) for i, f in enumerate(functions)]
        fake = types.SimpleNamespace(entry_points=lambda group: entries)
        monkeypatch.setattr(cert, "entry_points", fake.entry_points)

    return use


def test_the_first_engine_that_works_is_used(engines, toy_emulator):
    engines(absent, twin)
    assert cert.find_engine(toy_emulator)[0] == "a twin"


def test_without_engines_each_reason_is_given(engines, toy_emulator):
    engines(absent, absent)
    with pytest.raises(SetupError, match="0 absent: it is not there; 1 absent"):
        cert.find_engine(toy_emulator)
    engines()
    with pytest.raises(SetupError, match=r"prospect_emu.training is not installed"):
        cert.find_engine(toy_emulator)


def test_tables_that_are_named_must_serve(engines, toy_emulator):
    engines(absent, twin)
    with pytest.raises(SetupError, match="my tables cannot certify"):
        cert.find_engine(toy_emulator, "my tables")


@pytest.fixture
def table(toy_emulator, prior_draws, tmp_path):
    theta = prior_draws(1)[0]
    theta[PARAMETERS.index("zred")] = 1.0
    flux = toy_emulator.maggies(theta)
    write_table(
        photometry_table(make_obs(toy_emulator.filters, flux, 0.05 * flux, 1.0)),
        tmp_path / "galaxy.ecsv",
    )
    toy_emulator.save(tmp_path / "toy.safetensors")
    return tmp_path / "galaxy.ecsv"


def test_certify_on_the_command_line(table, tmp_path, engines, monkeypatch, capsys):
    """Without an engine it says so before the fit; with one the verdict is printed and stored."""
    monkeypatch.setattr("prospect_emu.fit.plots.corner_figure", lambda result: Figure())
    command = [
        "fit", str(table), "--emulator", str(tmp_path / "toy.safetensors"), "--nlive", "50",
        "--walks", "5", "--dlogz", "1", "--n-eff", "50", "--max-error", "9", "--seed", "3",
        "--out", str(tmp_path / "out"), "--certify",
    ]  # fmt: skip
    engines(absent)
    assert cli.main([*command, "300"]) == 2
    assert "Nothing here computes exact fluxes" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    engines(twin)
    assert cli.main([*command, "10"]) == 2
    assert "--certify 10" in capsys.readouterr().err
    assert cli.main([*command, "300"]) == 0
    out = capsys.readouterr().out
    stored = FitResult.read(tmp_path / "out" / "posterior.h5").certificate
    assert f"Certificate: {stored}" in out and stored.engine == "a twin"
