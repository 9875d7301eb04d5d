"""Mock galaxies: noise as stated, truth kept."""

import numpy as np
import pytest

from prospect_emu.fits.mocks import EXAMPLE, RELATIVE_ERROR, mock_table, sky_noise
from prospect_emu.fits.threedhst import BANDS
from prospect_emu.networks.vector import BOX, PARAMETERS
from prospect_emu.observe.table_files import write_table
from prospect_emu.observe.tables import read_photometry

THETA = np.array([EXAMPLE[name] for name in PARAMETERS])


def test_noise_has_the_stated_width():
    """4000 draws of 45 bands: the standard deviation of (flux - truth) / error is 1 to 1 %."""
    bands = list(BANDS.values())
    maggies = np.geomspace(1e-11, 1e-8, len(bands))
    tables = [mock_table(THETA, maggies, bands, seed) for seed in range(4000)]
    pulls = np.array([(t["flux"] - maggies * 3631e6) / t["error"] for t in tables])
    assert pulls.std() == pytest.approx(1.0, abs=0.01)
    assert abs(pulls.mean()) < 0.01
    want = np.hypot(RELATIVE_ERROR * maggies * 3631e6, [sky_noise(b) for b in bands])
    np.testing.assert_allclose(tables[0]["error"], want, rtol=1e-5)


def test_reads_back(tmp_path):
    bands = list(BANDS.values())
    table = mock_table(THETA, np.full(len(bands), 1e-9), bands, seed=1)
    write_table(table, tmp_path / "mock.ecsv")
    obs = read_photometry(tmp_path / "mock.ecsv")
    assert obs["truth"] == EXAMPLE and obs["zred"] == EXAMPLE["zred"]
    np.testing.assert_allclose(obs["maggies"], table["flux"] / 3631e6, rtol=1e-12)


def test_example_lies_inside_the_box():
    assert all(BOX[name][0] <= value <= BOX[name][1] for name, value in EXAMPLE.items())
    assert sky_noise("spitzer_mips_24") > sky_noise("spitzer_irac_ch3") > sky_noise("acs_wfc_f814w")
