"""THEMIS templates in ExactSPS: the energy balance and the meaning of the parameters."""

import numpy as np
import pytest
from dust_toys import toy_dust

pytest.importorskip("torch", reason="torch, of the train extra, is not installed")

from prospect_emu.errors import RangeError
from prospect_emu.networks.vector import PARAMETERS
from prospect_emu.training.exact import ExactSPS
from prospect_emu.training.themis.dust_data import DustModel, Population
from prospect_emu.training.themis.dust_templates import (
    a_min_of_qpah,
    aromatic_fraction,
    themis_tables,
)

# THEMIS's size distributions (Jones et al. 2013, Ysard et al. 2015); no optics are needed.
CARBON = (
    Population("CM20", "plaw-ed", 1.7e-3, 1.6, 4e-8, 4.9e-4, (-5.0, 1e-6, 5e-6, 1.0)),
    Population("CM20", "logn", 6.3e-4, 1.57, 5e-8, 4.9e-4, (7e-7, 1.0)),
    Population("aPyM5", "logn", 2.55e-3, 2.19, 1e-7, 4.9e-4, (8e-7, 1.0)),
    Population("aOlM5", "logn", 2.55e-3, 2.19, 1e-7, 4.9e-4, (8e-7, 1.0)),
)
MODEL = DustModel("themis", CARBON, {})


def test_aromatic_fraction_is_that_of_the_diffuse_medium():
    # Galliano et al. (2021): q_AF = 17 % in THEMIS's diffuse interstellar medium.
    assert aromatic_fraction(MODEL, [0.4])[0] == pytest.approx(0.17, abs=0.01)
    assert aromatic_fraction(MODEL, [2.0])[0] == 0.0


def test_qpah_and_a_min_are_inverse():
    a = np.array([0.4, 0.6, 1.0, 1.4])
    qpah = 45.0 * aromatic_fraction(MODEL, a)
    np.testing.assert_allclose(a_min_of_qpah(MODEL, qpah), a, rtol=0.01)


@pytest.fixture(scope="module")
def themis(toy_tables):
    return themis_tables(toy_tables, toy_dust(nwave=200), MODEL)


def theta(**changes):
    values = dict.fromkeys(PARAMETERS, 0.0) | {
        "logmass": 10.0, "logzsol": -0.5, "dust2": 0.7, "dust1_fraction": 1.0, "log_fagn": -20.0,
        "log_agn_tau": 1.3, "zred": 0.5, "duste_qpah": 3.0, "duste_umin": 2.0,
        "log_duste_gamma": -2.0,
    }  # fmt: skip
    return np.array([[(values | changes)[p] for p in PARAMETERS]])


def test_energy_balance(toy_tables, themis):
    """The dust emits what it absorbs, whatever its templates: equal to 1e-9.

    The attenuated light and its absorbed part do not depend on the templates, so the
    totals with both dust models are equal.
    """
    totals = []
    for tables in (toy_tables, themis):
        sps = ExactSPS(tables)
        lnu = sps.spectrum(theta())[0]
        totals.append(float(lnu @ sps._dnu))
    assert totals[1] == pytest.approx(totals[0], rel=1e-9)


def test_parameters_act(themis):
    sps = ExactSPS(themis)
    base = sps.spectrum(theta())[0]
    for name, value in (("duste_qpah", 6.0), ("duste_umin", 15.0), ("log_duste_gamma", -0.3)):
        assert float((sps.spectrum(theta(**{name: value}))[0] - base).abs().max()) > 0


def test_umin_is_u(themis):
    """With gamma 0 the template is the emulator's spectrum at U = duste_umin, where nodes lie."""
    emulator = toy_dust(nwave=200)
    j = 7
    wave = themis["wave"] * 1e-4
    inside = (wave > 1.0) & (wave < 1200.0)
    got = themis["dust_lnu"][0, j, 0, inside]
    a_min = a_min_of_qpah(MODEL, themis["dust_qpah"][:1])[0]
    exact = emulator.spectrum(themis["dust_umin"][j], 1e8, a_min)
    expected = np.exp(np.interp(np.log(wave[inside]), np.log(emulator.wavelengths), np.log(exact)))
    np.testing.assert_allclose(got, expected, rtol=1e-5)


def test_a_range_beyond_the_emulator_is_refused(toy_tables):
    with pytest.raises(RangeError, match="duste_umin"):
        themis_tables(toy_tables, toy_dust(), MODEL, umin=(1e-5, 25.0))
