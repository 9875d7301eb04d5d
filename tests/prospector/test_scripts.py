"""Parameter files as users write them, with `EmulatorSPS()` for FSPS: see the folder `scripts`.

Nothing here has FSPS: its data directory is hidden. That what is computed is FSPS's is
tested in `test_stand_in.py` and `test_templates.py`.
"""

import importlib.util
import sys
import warnings
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from prospect.fitting import fit_model as prospector_fit_model
from prospect.fitting import lnprobfn
from prospect.likelihood import lnlike_phot
from prospect.utils.obsutils import fix_obs

from prospect_emu import BatchedPosterior, FitResult, fit_model
from prospect_emu.fit.predictions import ExactFluxes, ModelFluxes

FOLDER = Path(__file__).with_name("scripts")
NAMES = sorted(p.stem for p in FOLDER.glob("*.py") if p.stem != "shared")
# Their likelihood is Prospector's own, row by row: of a spectrum, or of correlated noise.
SPECTRA = ("exspect_spectrum", "line_fluxes", "line_marginalization", "nir_calibration")
# A model class whose photometry is not FSPS's alone.
OWN_CLASS = ("surviving_mass", "agn_lines")
# SPS objects whose spectra are not FSPS's alone.
OWN_BASIS = ("own_basis",)
# The redshift varies: whole spectra.
SLOW = ("age_of_universe", "high_redshift_stack", "photometric_redshift", "uncover_beta")


@pytest.fixture(autouse=True)
def without_fsps(monkeypatch):
    monkeypatch.delenv("SPS_HOME", raising=False)


@cache
def load(name):
    """The module of a parameter file, and its problem: obs, model, sps and noise."""
    # As `python NAME.py` does.
    if str(FOLDER) not in sys.path:
        sys.path.insert(0, str(FOLDER))
    spec = importlib.util.spec_from_file_location(name, FOLDER / f"{name}.py")
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def problem(name, **more):
    module = load(name)
    settings = {**module.run_params, **more}
    parts = [getattr(module, f"build_{part}") for part in ("model", "obs", "sps", "noise")]
    return tuple(build(**settings) for build in parts)


@cache
def compiled(name):
    """Problem and posterior, made once."""
    parts = problem(name)
    with warnings.catch_warnings():
        # What is slow says so; test_what_is_slow_says_so looks at it.
        warnings.filterwarnings("ignore", message="Whole spectra|Transforms|Prospector's own|.*pre")
        return *parts, BatchedPosterior(*parts)


def draws(posterior, n=4, seed=3):
    unit = np.random.default_rng(seed).uniform(0.02, 0.98, (n, posterior.ndim))
    return posterior.prior_transform(unit)


@pytest.mark.parametrize("name", NAMES)
def test_batched_photometry_is_the_models(name):
    """4 prior draws against model.predict with the same sps, binned 1e-4, other histories 1e-3.

    Of bands within 25 mag of the brightest, where the folding is in single precision.
    """
    model, obs, sps, _, posterior = compiled(name)
    if name in SPECTRA:
        pytest.skip("the likelihood is Prospector's own")
    theta = draws(posterior)
    full, used = fix_obs(dict(obs)), bands(obs)
    expected = []
    for row in theta:
        try:
            model.set_parameters(row)
            expected.append(model.predict(row, obs=full, sps=sps)[1][used])
        except ValueError:
            # Bins that FastStepBasis refuses: impossible, and NaN in batches.
            expected.append(np.full(used.sum(), np.nan))
    expected = np.array(expected)
    found = posterior.maggies(theta)
    possible = np.isfinite(expected[:, 0])
    assert possible.any() and np.isnan(found[~possible]).all()
    expected, found = expected[possible], found[possible]
    tolerance = 1e-4 if "agebins" in model.params else 1e-3
    faint = 1e-10 * expected.max(axis=1, keepdims=True)
    assert (np.abs(found - expected) <= tolerance * np.maximum(expected, faint)).all()


def bands(obs):
    """Those that Prospector counts."""
    flux = np.ma.masked_invalid(obs["maggies"])
    return np.asarray(obs.get("phot_mask", True)) & ~np.ma.getmaskarray(flux)


@pytest.mark.parametrize("name", NAMES)
def test_likelihood_is_prospectors(name):
    """lnprobfn(nested=True) as far as the photometry allows.

    Fluxes that agree to `e` move the sum of chi^2 by 2 e |chi| m / sigma each. 1e-4 of ln L
    where that is large (prior draws are off by hundreds of sigma), doubled for its sums, and
    1e-4 times the bands' signal-to-noise of 20 and their number near 0.
    """
    model, obs, sps, noise, posterior = compiled(name)
    theta = draws(posterior)
    full = fix_obs(dict(obs))
    if name == "stochastic_bursts":
        # lnprobfn of 1.4.1 stops at the density of its MultiVariateNormal.
        expected = []
        for row in theta:
            model.set_parameters(row)
            expected.append(lnlike_phot(model.predict(row, obs=full, sps=sps)[1], obs=full))
    else:
        expected = [
            lnprobfn(row, model=model, obs=full, sps=sps, noise=noise, nested=True) for row in theta
        ]
    found = posterior.log_likelihood(theta)
    found[found == -1e300] = -np.inf
    np.testing.assert_allclose(found, expected, rtol=2e-4, atol=0.05)


@pytest.mark.parametrize("name", NAMES)
def test_what_is_slow_says_so(name):
    """And the rest is compiled, without a warning."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        parts = problem(name)
        posterior = BatchedPosterior(*parts)
    said = [str(w.message) for w in caught if issubclass(w.category, UserWarning)]
    # Several scripts let tage reach beyond the age of the universe, and are told.
    said = " ".join(s for s in said if not s.startswith("tage reaches"))
    if name in SPECTRA:
        assert "Prospector's own likelihood" in said or posterior.predictions is not None
    elif name in OWN_CLASS:
        assert isinstance(posterior.predictions, ModelFluxes)
        assert f"{type(parts[0]).__name__}.predict gives other photometry" in said
    elif name in OWN_BASIS:
        assert isinstance(posterior.predictions, ModelFluxes)
        assert f"{type(parts[2]).__name__} has spectra of its own" in said
    else:
        assert isinstance(posterior.predictions, ExactFluxes)
        assert (not posterior.predictions.quick) == bool(said)


@pytest.mark.parametrize("name", NAMES)
def test_a_fit_end_to_end(name, tmp_path):
    """Fit by `fit_model`, result collected, written, read again, the same."""
    model, obs, sps, noise, _ = compiled(name)
    fast = name not in SPECTRA + OWN_CLASS + OWN_BASIS + SLOW
    settings = {"nested_nlive_init": 50, "nested_walks": 5, "nested_maxbatch": 0}
    settings["nested_maxcall"] = 2000 if fast else 150
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        output = fit_model(obs, model, sps, noise, seed=1, progress=False, **settings)
        result = FitResult.from_run(output, model, obs, sps)
    result.write(tmp_path / "result.h5")
    again = FitResult.read(tmp_path / "result.h5")
    np.testing.assert_array_equal(again.samples, result.samples)
    np.testing.assert_array_equal(again.weights, result.weights)
    assert list(again.summary()["parameter"]) == list(result.summary()["parameter"])
    assert np.isfinite(result.log_likelihood).all()


@pytest.mark.parametrize("name", ["tutorial_sdss", "supernova_host"])
def test_prospectors_own_fit(name):
    """`prospect.fitting.fit_model` with dynesty, as the script would call it."""
    model, obs, sps, noise = problem(name)
    output = prospector_fit_model(
        fix_obs(obs), model, sps, noise, nested_nlive_init=20, nested_maxcall_init=60,
        nested_maxbatch=0, nested_walks=3, optimize=False, emcee=False, dynesty=True,
        print_progress=False, nested_maxcall=60,
    )  # fmt: skip
    assert np.isfinite(output["sampling"][0]["logl"]).all()


def test_a_switch_of_the_script():
    """One file, two models: a burst or a truncation."""
    model, obs, sps, noise = problem("burst_and_truncation", truncated=True)
    posterior = BatchedPosterior(model, obs, sps, noise)
    assert posterior.labels[-2:] == ["sf_trunc", "sf_slope"]
    theta = draws(posterior)
    expected = [lnprobfn(t, model=model, obs=obs, sps=sps, nested=True) for t in theta]
    np.testing.assert_allclose(posterior.log_likelihood(theta), expected, rtol=2e-4, atol=0.05)
