"""Spectra smoothed to a library's resolution, against analytic Gaussians."""

import numpy as np
import pytest

from prospect_emu.errors import DataError
from prospect_emu.observe.degrade import degraded

KMS = 2.998e5
V = np.arange(-15000.0, 15000.0, 70.0)
WAVE = 6000.0 * np.exp(V / KMS)


def spectrum(flux, mask=None):
    mask = np.ones(V.size, dtype=bool) if mask is None else mask
    return {"wavelength": WAVE, "spectrum": flux, "unc": np.full(V.size, 0.1), "mask": mask}


def test_a_line_becomes_as_wide_as_the_library():
    """Of dispersion 300 km/s, then 1000 km/s; 1e-3 of the peak: the Gaussian is cut at 4 sigma."""
    line = np.exp(-0.5 * (V / 300.0) ** 2) / 300.0
    got, kms = degraded(spectrum(line), np.full(V.size, 300.0), np.full(V.size, 1000.0))
    np.testing.assert_allclose(kms, 1000.0)
    at = KMS * np.log(got["wavelength"] / 6000.0)
    want = np.exp(-0.5 * (at / 1000.0) ** 2) / 1000.0
    some = got["mask"]
    np.testing.assert_allclose(got["spectrum"][some], want[some], atol=1e-3 * want.max())
    assert some.sum() > 5 and not some[0]


def test_noise_is_as_stated_and_nearly_independent():
    """2000 realisations: dispersions to 5 % (three sigma), correlation exp(-9/4) of neighbours."""
    rng = np.random.default_rng(0)
    width = np.full(V.size, 100.0), np.full(V.size, 1000.0)
    many = [degraded(spectrum(0.1 * rng.standard_normal(V.size)), *width)[0] for _ in range(2000)]
    some = many[0]["mask"]
    noise = np.array([m["spectrum"][some] for m in many])
    np.testing.assert_allclose(noise.std(axis=0), many[0]["unc"][some], rtol=0.05)
    assert np.diag(np.corrcoef(noise.T), 1).mean() == pytest.approx(np.exp(-9 / 4), abs=0.03)


def test_pixels_as_wide_as_the_library_stay():
    flux = np.random.default_rng(1).random(V.size)
    got, kms = degraded(spectrum(flux), np.full(V.size, 900.0), np.full(V.size, 800.0))
    np.testing.assert_allclose(got["spectrum"], flux)
    np.testing.assert_allclose(got["unc"], 0.1)
    assert got["mask"].all() and (kms == 900.0).all()


def test_masked_pixels_do_not_count():
    mask = np.abs(V) > 50.0
    flux = np.where(mask, 1.0, 1e9)
    width = np.full(V.size, 100.0), np.full(V.size, 1000.0)
    got, _ = degraded(spectrum(flux, mask), *width)
    np.testing.assert_allclose(got["spectrum"][got["mask"]], 1.0)
    with pytest.raises(DataError, match="No pixel"):
        degraded(spectrum(flux, np.arange(V.size) % 9 == 0), *width)
