"""Fixtures of FSPS's physics: ingredients of a synthetic grid, and the bundled ones."""

import numpy as np
import pytest

from prospect_emu.sps.ingredients import find_ingredients
from prospect_emu.training.ingredient_tables import assemble


def synthetic(nwave=700, ages=(5.0, 10.25, 0.13), nz=4, ngas=(3, 4, 2), ndust=(3, 5), seed=3):
    """Smooth tables of any shape, and no physics."""
    rng = np.random.default_rng(seed)
    wave = np.geomspace(95.0, 1e8, nwave)
    log_age = np.arange(*ages)
    metallicity = np.geomspace(2e-4, 0.035, nz)
    bump = np.exp(-0.5 * (np.log(wave / 5000.0) / 1.2) ** 2)
    level = 10.0 ** (-14.0 - 0.6 * (log_age - 5.5))
    ssp = metallicity[:, None, None] ** 0.1 * level[:, None] * bump
    nq, nu = ndust
    peaks = np.geomspace(3e5, 2e6, nq * nu * 2)[:, None]
    grey = np.exp(-0.5 * (np.log(wave / peaks) / 0.6) ** 2)
    dust = grey.reshape(nq, nu, 2, -1) * 1e-20 * (wave > 1e4)
    # As FSPS's own THEMIS tables: extrapolation leaves negative values at the red end.
    dust[..., wave > 4e7] = -1e-30
    neb = rng.uniform(-1.0, 0.0, ngas)
    return {
        "wave": wave,
        "resolution": np.full(wave.size, 500.0),
        "log_age": log_age,
        "metallicity": metallicity,
        "zsol": np.array(0.015),
        "ssp_lnu": ssp * rng.uniform(0.8, 1.2, ssp.shape[:2])[..., None],
        "ssp_mass": rng.uniform(0.5, 1.0, ssp.shape[:2]),
        "ssp_loglbol": np.log10(level / 1e-14) + rng.uniform(0, 0.1, ssp.shape[:2]),
        "neb_logz": np.linspace(-2.0, 0.3, ngas[0]),
        "neb_log_age": np.linspace(5.7, 7.3, ngas[1]),
        "neb_logu": np.linspace(-4.0, -1.0, ngas[2]),
        "neb_logcont": -61.0 + neb[..., None] + 0.3 * np.log10(wave / 5000.0),
        "neb_logline": -46.0 + rng.uniform(-1.0, 0.0, (*ngas, 5)),
        "line_wave": np.array([1215.67, 3728.0, 4862.7, 5008.2, 6564.6]),
        "line_names": ("Ly alpha", "[O II] 3728", "H beta", "[O III] 5007", "H alpha"),
        "dust_qpah": np.linspace(0.5, 4.6, nq),
        "dust_umin": np.geomspace(0.1, 30.0, nu),
        "dust_lnu": dust,
        "agn_tau": np.array([5.0, 20.0, 150.0]),
        "agn_lnu": grey[: 3 * (len(grey) // 3) : len(grey) // 3] * 1e-15,
    }


@pytest.fixture(scope="session")
def make_synthetic():
    return synthetic


@pytest.fixture(scope="session")
def toy():
    """Ingredients of a synthetic grid."""
    return assemble(
        synthetic(), "toy", {"imf_type": 1}, versions={"libraries": ["toy", "grid", "grey"]}
    )


@pytest.fixture(scope="session")
def kroupa():
    """The bundled ingredients with FSPS's default IMF."""
    return find_ingredients(folders=None, imf_type=2)
