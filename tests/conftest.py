"""Fixtures: a small emulator with random weights, FSPS and the shared data where present."""

import itertools
import os
from pathlib import Path

import numpy as np
import pytest

from prospect_emu.emulator import Emulator
from prospect_emu.filters import curve_hash, load_filters
from prospect_emu.model import BOX, FIXED, PARAMETERS
from prospect_emu.network import MLP

BANDS = (
    "galex_NUV", "cfht_megacam_us_9301", "subaru_suprimecam_B", "acs_wfc_f606w", "acs_wfc_f814w",
    "wfc3_ir_f125w", "wfc3_ir_f160w", "mayall_newfirm_K", "cfht_wircam_Ks_8302",
    "spitzer_irac_ch1", "spitzer_irac_ch4", "spitzer_mips_24",
)  # fmt: skip


def random_emulator(width=16, bands=BANDS, seed=0, sigma=0.05):
    """An untrained emulator with plausible magnitudes: right interface, no physics."""
    rng = np.random.default_rng(seed)
    bounds = np.array([BOX[p] for p in PARAMETERS])

    def net(sizes, spread, out_mean, out_std, in_bounds):
        pairs = list(itertools.pairwise(sizes))
        weights = [rng.normal(0, spread / np.sqrt(a), (a, b)).astype("f4") for a, b in pairs]
        biases = [rng.normal(0, 0.1, b).astype("f4") for _, b in pairs]
        mid, half = in_bounds.mean(axis=1), np.diff(in_bounds, axis=1)[:, 0] / np.sqrt(12)
        return MLP(tuple(weights), tuple(biases), mid, half, out_mean, out_std)

    n = len(bands)
    flux = net([17, *[width] * 3, n], 1.5, np.linspace(19.0, 14.0, n), np.full(n, 1.0), bounds[1:])
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


@pytest.fixture
def make_emulator():
    return random_emulator


@pytest.fixture(scope="session")
def shared():
    """The project's folder of reference data."""
    folder = Path(__file__).resolve().parents[2] / "shared"
    if not folder.is_dir():
        pytest.skip(f"reference data not present at {folder}")
    return folder


@pytest.fixture(scope="session")
def fsps_ready():
    """Skips unless python-fsps and SPS_HOME are there."""
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
