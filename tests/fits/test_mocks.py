"""Mock galaxies: noise as stated, truth kept. Selection and campaigns: test_catalogs.py."""

import numpy as np
import pytest

from prospect_emu.fits.catalogs import TRUE
from prospect_emu.fits.mocks import RELATIVE_ERROR, MockRecipe, mock_catalog, sky_noise
from prospect_emu.fits.threedhst import BANDS
from prospect_emu.networks.vector import BOX


def test_noise_and_truth():
    """400 mocks of 45 bands: (flux - truth) / error scatters by 1, to 2 % (four sigma)."""
    bands = list(BANDS.values())
    maggies = np.geomspace(1e-11, 1e-8, len(bands))
    recipe = MockRecipe(n=400, seed=1, min_snr=-np.inf)
    table = mock_catalog(lambda theta: np.tile(maggies, (len(theta), 1)), bands, recipe)
    error = np.hypot(RELATIVE_ERROR * maggies, [sky_noise(b) / 3631e6 for b in bands])
    found = np.array([[row[f"f_{b}"] for b in bands] for row in table])
    pulls = (found - maggies) / error
    assert pulls.std() == pytest.approx(1.0, abs=0.02) and abs(pulls.mean()) < 0.03
    np.testing.assert_allclose([table[f"e_{b}"][7] for b in bands], error, rtol=1e-12)
    assert np.all((table["zred"] >= 0.5) & (table["zred"] <= 3.0))
    for name, (low, high) in BOX.items():
        assert np.all((table[TRUE + name] >= low) & (table[TRUE + name] <= high))
    assert sky_noise("spitzer_mips_24") > sky_noise("spitzer_irac_ch3") > sky_noise("acs_wfc_f814w")
