"""Tables of errors by redshift and dust2 where the errors are known."""

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("torch", reason="training needs the extra 'train' (torch)")

from prospect_emu.training import network_errors as errors
from prospect_emu.training.generate import SampleStore
from prospect_emu.training.recipe import Recipe


@pytest.fixture(scope="module")
def pair(toy_emulator):
    """What stands for the exact physics, and a network that is 0.03 mag fainter everywhere."""
    recipe = Recipe(filters=toy_emulator.filters)
    exact = replace(toy_emulator, manifest=toy_emulator.manifest | {"recipe": recipe.as_dict()})
    net = replace(exact.flux_net, out_mean=exact.flux_net.out_mean + 0.03)
    return exact, replace(exact, flux_net=net, name="fainter")


def test_a_constant_error_is_found(pair, monkeypatch):
    """A bias is part of the stated error: 0.03 mag to the softening of AB 30 (4e-3), pulls of 1."""
    exact, fainter = pair
    monkeypatch.setattr(errors, "mass_network", lambda *args: exact.mfrac_net)
    cells = errors.measure([fainter, exact], exact, each=1, n=640, progress=False)
    made, same = errors.with_errors([fainter, exact], exact, cells)
    np.testing.assert_allclose(made.errors.sigma, 0.03, rtol=4e-3)
    assert same.errors.sigma.max() < 1e-5
    assert made.manifest["errors"]["mfrac_bias"] == 0.0
    assert made.errors.zred[0] == 0.5 and made.errors.zred[-1] == 3.0
    (found,) = errors.pulls([made], exact, redshifts=5, n=2000, progress=False)
    assert {"all", "z = 0.5", "z = 3", "z 0.5-1", "dust2 < 0.05"} <= set(found)
    for name, rms in found.items():
        np.testing.assert_allclose(rms[np.isfinite(rms)], 1.0, atol=5e-3, err_msg=name)
    lines = list(errors.pull_lines(found))
    assert lines[2].startswith("| z = 0.5 |") or lines[2].startswith("| all |")


def test_draws_cover_small_dust2(pair):
    """An equal share of every cell of ln(dust2 + 0.001); one redshift, other parameters drawn."""
    theta = errors.draws(Recipe(), (1, 2), 1.5, 6400)
    assert np.all(theta[:, errors.ZRED] == 1.5)
    dust2 = theta[:, errors.DUST2]
    assert dust2.min() >= 0.0 and dust2.max() <= 4.0
    expected = np.log(0.051 / 0.001) / np.log(4.001 / 0.001)
    assert abs((dust2 < 0.05).mean() - expected) < 1.0 / 64


def test_unseen_shards(tmp_path, toy_emulator):
    """A training that goes on reads shards behind those that were seen."""
    recipe = Recipe(filters=toy_emulator.filters)
    store = SampleStore(tmp_path, recipe, "train", 100, {"libraries": ["toy"]})
    assert store.reserve(250, first=7) == (3, [7, 8, 9])
    assert store.indices() == [7, 8, 9]


@pytest.mark.parametrize(("low", "high"), [(0.5, 3.0), (0.01, 12.0), (1.0, 1.02)])
def test_nodes_stay_in_the_range(low, high):
    """Narrow ranges too; in wide ones no two nodes are further apart than lines cross bands."""
    nodes = errors.nodes(low, high)
    assert nodes[0] == low and nodes[-1] == high and np.all(np.diff(nodes) > 0.0)
    assert np.diff(nodes).max() < 0.065
