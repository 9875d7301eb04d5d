"""What networks see of a parameter vector, against `prospect_emu.networks.sfh` and the laws."""

import numpy as np
import pytest

from prospect_emu.networks import sfh
from prospect_emu.networks.network_inputs import ALL, DEPTHS, PLAIN, network_inputs
from prospect_emu.networks.vector import BOX, PARAMETERS


@pytest.fixture(scope="module")
def theta():
    low, high = np.array([BOX[p] for p in PARAMETERS]).T
    theta = np.random.default_rng(3).uniform(low, high, (50, low.size))
    theta[:5] = np.where(np.random.default_rng(4).random((5, low.size)) < 0.5, low, high)
    theta[5, PARAMETERS.index("dust2")] = 0.0
    return theta


def test_inputs(theta):
    column = dict(zip(PARAMETERS, theta.T, strict=True))
    np.testing.assert_array_equal(network_inputs(theta, PLAIN), theta[:, 1:])
    got = network_inputs(theta, ALL)
    assert got.shape == (50, ALL) and np.isfinite(got).all()
    np.testing.assert_array_equal(got[:, :PLAIN], theta[:, 1:])
    share = sfh.bin_masses(np.zeros(50), theta[:, 2:8], column["zred"])
    # 1e-8 is added to a share, so that the oldest and smallest bins have logarithms.
    np.testing.assert_allclose(10.0 ** got[:, PLAIN : PLAIN + 7], share + 1e-8, rtol=1e-12)
    dust2, fraction, index = (column[k] for k in ("dust2", "dust1_fraction", "dust_index"))
    law = [dust2 * (at / 5500.0) ** index for at in DEPTHS]
    want = [np.log(dust2 + 1e-3), dust2 * fraction, dust2 * (1.0 + fraction), *law]
    want.append(np.log(column["duste_umin"]))
    np.testing.assert_allclose(got[:, PLAIN + 7 :], np.transpose(want), rtol=1e-12, atol=1e-15)


def test_of_tensors_and_known_bins(theta):
    torch = pytest.importorskip("torch", reason="tensors need torch")
    durations = sfh.bin_durations(theta[:, PARAMETERS.index("zred")])
    want = network_inputs(theta, ALL)
    np.testing.assert_array_equal(network_inputs(theta, ALL, durations), want)
    got = network_inputs(torch.tensor(theta), ALL, torch.tensor(durations))
    np.testing.assert_allclose(got, want, rtol=1e-12, atol=1e-14)
