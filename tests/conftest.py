"""Fixtures: a small emulator with random weights, FSPS and the shared data where present."""

import itertools
import os
from pathlib import Path

import numpy as np
import pytest

from prospect_emu import EmulatorSPS
from prospect_emu.networks.emulator import Emulator
from prospect_emu.networks.network import MLP
from prospect_emu.networks.network_inputs import PLAIN
from prospect_emu.networks.vector import BOX, FIXED, PARAMETERS
from prospect_emu.observe.filters import curve_hash, load_filters

BANDS = (
    "galex_NUV", "cfht_megacam_us_9301", "subaru_suprimecam_B", "acs_wfc_f606w", "acs_wfc_f814w",
    "wfc3_ir_f125w", "wfc3_ir_f160w", "mayall_newfirm_K", "cfht_wircam_Ks_8302",
    "spitzer_irac_ch1", "spitzer_irac_ch4", "spitzer_mips_24",
)  # fmt: skip


# Ranges of what a network may see besides the parameters: `prospect_emu.networks.network_inputs`.
COMBINED = [(-8.0, 0.0)] * 7 + [(-7.0, 1.4), (0.0, 8.0), (0.0, 12.0), (0.0, 28.0), (0.0, 12.0),
                                (0.0, 6.2), (-2.3, 3.2)]  # fmt: skip


def random_emulator(width=16, bands=BANDS, seed=0, sigma=0.05, dtype="f4", inputs=PLAIN):
    """An untrained emulator with plausible magnitudes: right interface, no physics.

    With `dtype` "f8" its network runs in double precision: batches and single
    vectors then agree to 1e-13 in magnitude on every processor. Weights are the same.
    """
    rng = np.random.default_rng(seed)
    bounds = np.array([BOX[p] for p in PARAMETERS])

    def net(sizes, spread, out_mean, out_std, in_bounds):
        pairs = list(itertools.pairwise(sizes))
        weights = [rng.normal(0, spread / np.sqrt(a), (a, b)).astype("f4") for a, b in pairs]
        biases = [rng.normal(0, 0.1, b).astype("f4") for _, b in pairs]
        weights, biases = ([a.astype(dtype) for a in arrays] for arrays in (weights, biases))
        mid, half = in_bounds.mean(axis=1), np.diff(in_bounds, axis=1)[:, 0] / np.sqrt(12)
        return MLP(tuple(weights), tuple(biases), mid, half, out_mean, out_std)

    n = len(bands)
    seen = np.concatenate([bounds[1:], COMBINED])[:inputs]
    flux = net([inputs, *[width] * 3, n], 1.5, np.linspace(19.0, 14.0, n), np.full(n, 1.0), seen)
    mfrac = net([2, 8, 7], 1.0, np.linspace(0.9, 0.6, 7), np.full(7, 0.01), bounds[[1, 14]])
    half = rng.normal(0, sigma, (n, 3 * n))
    return Emulator(
        name="random",
        parameters=PARAMETERS,
        bounds=bounds,
        filters=tuple(bands),
        filter_hashes=tuple(curve_hash(f) for f in load_filters(bands)),
        bias_mag=np.zeros(n),
        sigma_mag=np.full(n, sigma),
        covariance=half @ half.T / (3 * n),
        quantiles=np.outer(np.full(n, sigma), np.arange(-4.0, 5.0)),
        manifest={"recipe": {"fixed": dict(FIXED)}, "versions": {"libraries": ["none"]}},
        flux_net=flux,
        mfrac_net=mfrac,
    )


@pytest.fixture(scope="session")
def toy_emulator():
    return random_emulator()


@pytest.fixture(scope="session")
def double_emulator():
    """`toy_emulator` in double precision: tests of formulas do not see the batch's rounding."""
    return random_emulator(dtype="f8")


@pytest.fixture(scope="session")
def make_emulator():
    return random_emulator


@pytest.fixture(scope="session")
def shared():
    """The project's folder of reference data."""
    folder = Path(__file__).resolve().parents[2] / "shared"
    if not folder.is_dir():
        pytest.skip(f"reference data not present at {folder}")
    return folder


def pytest_runtest_setup(item):
    """The marker alone is enough, whatever fixtures a test has."""
    if item.get_closest_marker("fsps"):
        need_fsps()


@pytest.fixture(scope="session")
def fsps_ready():
    """Skips unless python-fsps and SPS_HOME are there."""
    need_fsps()


def need_fsps():
    if not os.environ.get("SPS_HOME"):
        pytest.skip("SPS_HOME is not set: FSPS tests need python-fsps and its data")
    pytest.importorskip("fsps", reason="python-fsps is not installed")


@pytest.fixture
def prior_draws():
    """Parameter vectors from the fit priors, inside the box, shape (n, 18)."""
    from prospect_emu.training.recipe import Recipe, draw_parameters

    def draw(n, seed=7, **settings):
        return draw_parameters(Recipe(distribution="prior", seed=seed, **settings), n, (9,))

    return draw


@pytest.fixture(scope="session")
def toy_tables():
    """Smooth tables with every axis and no physics."""
    rng = np.random.default_rng(3)
    wave = np.geomspace(100.0, 1e8, 400)
    log_age = np.arange(5.5, 10.15, 0.2)
    metallicity = np.array([0.0002, 0.002, 0.01, 0.03])
    bump = np.exp(-0.5 * (np.log(wave / 5000.0) / 1.2) ** 2)
    level = 10.0 ** (-14.0 - 0.6 * (log_age - 5.5))
    ssp = metallicity[:, None, None] ** 0.1 * level[:, None] * bump
    grey = np.exp(-0.5 * (np.log(wave / np.geomspace(3e5, 2e6, 30)[:, None]) / 0.6) ** 2)
    neb = rng.uniform(-1.0, 0.0, (3, 4, 2))
    return {
        "wave": wave,
        "resolution": np.full(wave.size, 500.0),
        "log_age": log_age,
        "metallicity": metallicity,
        "zsol": np.array([0.015]),
        "ssp_lnu": ssp * rng.uniform(0.8, 1.2, ssp.shape[:2])[..., None],
        "ssp_mass": rng.uniform(0.5, 1.0, ssp.shape[:2]),
        "ssp_loglbol": np.log10(level / 1e-14) + rng.uniform(0, 0.1, ssp.shape[:2]),
        "neb_logz": np.array([-2.0, -0.5, 0.3]),
        "neb_log_age": np.array([5.7, 6.3, 7.0, 7.3]),
        "neb_logu": np.array([-4.0, -1.0]),
        "neb_logcont": -61.0 + neb[..., None] + 0.3 * np.log10(wave / 5000.0),
        "neb_logline": -46.0 + rng.uniform(-1.0, 0.0, (3, 4, 2, 5)),
        "line_wave": np.array([1215.67, 3728.0, 4862.7, 5008.2, 6564.6]),
        "dust_qpah": np.array([0.5, 2.0, 4.6]),
        "dust_umin": np.array([0.1, 1.0, 5.0, 25.0, 30.0]),
        "dust_lnu": (grey * 1e-20).reshape(3, 5, 2, -1) * (wave > 1e4),
        "agn_tau": np.array([5.0, 20.0, 150.0]),
        "agn_lnu": grey[::10] * 1e-15,
    }


@pytest.fixture
def sps(toy_emulator):
    return EmulatorSPS(toy_emulator, filters=load_filters(toy_emulator.filters))


@pytest.fixture
def obs(sps, toy_emulator, prior_draws):
    """Photometry of a draw from the priors at redshift one, no band masked."""
    theta = prior_draws(1)[0]
    theta[PARAMETERS.index("zred")] = 1.0
    flux = toy_emulator.maggies(theta)
    return {
        "filters": sps.filters,
        "maggies": flux * 1.02,
        "maggies_unc": 0.05 * flux,
        "wavelength": None,
        "spectrum": None,
        "unc": None,
    }
