"""The filter operator against sedpy (parity) and against brute force (convergence)."""

import numpy as np
import pytest
from sedpy.observate import Filter, getSED

from prospect_emu.cosmology import flux_factor
from prospect_emu.errors import FilterError
from prospect_emu.observe.filters import curve_hash, load_filters
from prospect_emu.observe.photometry import FilterProjector

NAMES = ("galex_FUV", "subaru_suprimecam_ia527", "acs_wfc_f814w", "twomass_J", "herschel_spire_500",
         "1d3mm")  # fmt: skip


@pytest.fixture(scope="module")
def spectrum():
    """Nodes as coarse as a stellar library's, with a break and lines on them."""
    rng = np.random.default_rng(5)
    wave = np.exp(np.arange(np.log(300.0), np.log(3e7), 0.004))
    lnu = 1e-9 * np.exp(rng.normal(0, 0.3, wave.size)) * (wave / 5000) ** 0.7
    lnu[(wave > 1216) & (wave < 1300)] *= 30
    lnu[wave < 912] *= 1e-3
    return wave, lnu


@pytest.mark.parametrize("zred", [0.0123, 0.9, 2.7])
def test_sedpy_parity(spectrum, zred):
    """Same nodes, same trapezoid: equal to rounding."""
    wave, lnu = spectrum
    filters = load_filters(NAMES)
    got = FilterProjector(filters, wave, "sedpy").maggies(lnu, zred)
    lam = wave * (1 + zred)
    flambda = lnu * flux_factor(zred) * 2.998e18 / lam**2 * 3.631e-20
    want = getSED(lam, flambda, filters, linear_flux=True)
    np.testing.assert_allclose(got, want, rtol=1e-12)


@pytest.mark.parametrize("zred", [0.0123, 0.9, 2.7])
def test_converged_against_brute_force(spectrum, zred):
    """4e6 points in ln(lambda) (step 3e-6): their own error is ~1e-6 at hard filter edges."""
    wave, lnu = spectrum
    filters = load_filters(NAMES)
    got = FilterProjector(filters, wave).maggies(lnu, zred)
    x = np.linspace(np.log(wave[0]), np.log(wave[-1]), 4_000_001) + np.log1p(zred)
    f = np.interp(x, np.log(wave * (1 + zred)), lnu)
    for value, filt in zip(got, filters, strict=True):
        t = np.interp(np.exp(x), filt.wavelength, filt.transmission, left=0, right=0)
        want = (t * f).sum() / t.sum() * flux_factor(zred)
        assert value == pytest.approx(want, rel=3e-6), filt.name


def test_flat_spectrum_is_its_own_flux(spectrum):
    """f_nu constant: every band returns it exactly."""
    wave, _ = spectrum
    projector = FilterProjector(load_filters(NAMES), wave)
    phot = projector.maggies(np.ones((2, wave.size)), 0.3)
    np.testing.assert_allclose(phot, flux_factor(0.3), rtol=1e-12)


def test_matrix_is_the_operator(spectrum):
    wave, lnu = spectrum
    projector = FilterProjector(load_filters(NAMES), wave)
    dense = projector.matrix(1.1) @ lnu * flux_factor(1.1)
    np.testing.assert_allclose(dense, projector.maggies(lnu, 1.1), rtol=1e-12)


def test_band_beyond_the_spectrum_is_dark(spectrum):
    wave, lnu = spectrum
    cut = wave < 5e6
    phot = FilterProjector(load_filters(NAMES), wave[cut]).maggies(lnu[cut], 0.5)
    assert phot[-1] == 0 and np.all(phot[:-2] > 0)


def test_unknown_filter_names_the_nearest():
    with pytest.raises(FilterError, match=r"'acs_wfc_f815w'.*acs_wfc_f814w"):
        load_filters(["acs_wfc_f815w"])


def test_hash_sees_the_curve():
    f814, f850 = load_filters(["acs_wfc_f814w", "acs_wfc_f850lp"])
    assert curve_hash(f814) != curve_hash(f850)
    assert curve_hash(f814) == curve_hash(load_filters(["acs_wfc_f814w"])[0])


def test_a_band_may_end_where_the_next_begins():
    """Weights of two such bands together are those of each alone, to rounding."""
    x, y = np.linspace(4000.0, 5000.0, 50), np.sin(np.linspace(0.0, np.pi, 50))
    pair = [Filter("a", data=(x, y), min_trans=0.0), Filter("b", data=(x + 1e3, y), min_trans=0.0)]
    wave = np.geomspace(3000.0, 7000.0, 300)
    together = FilterProjector(pair, wave).matrix(0.0)
    alone = [FilterProjector([f], wave).matrix(0.0)[0] for f in pair]
    np.testing.assert_allclose(together, alone, atol=1e-13)
