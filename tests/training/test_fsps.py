"""python-fsps itself: defaults, the sample generator, parity with Prospector."""

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from prospect_emu.errors import ModelFileError, ProspectEmuError, SetupError
from prospect_emu.training import generate as gen
from prospect_emu.training.recipe import Recipe, draw_parameters

BANDS = ("galex_NUV", "acs_wfc_f814w", "wfc3_ir_f160w", "spitzer_mips_24", "1d3mm")


@pytest.mark.fsps
def test_parity_with_specmodel(fsps_ready):
    """`SpecModel.predict` with FSPS, to 1e-6 (measured 2e-14): same spectrum, same sums.

    All samples share two metallicity nodes: each new node costs FSPS 10 s.
    """
    recipe = Recipe(filters=BANDS, quadrature="sedpy")
    photometry = gen.FSPSPhotometry(recipe)
    theta = draw_parameters(recipe, 4, (5,))
    theta[:, 1] = np.linspace(-0.25, -0.2, 4)
    theta[0, 2:8], theta[1, 2:8] = 5.0, -5.0
    obs = {"filters": photometry.projector.filters, "wavelength": None, "spectrum": None}
    for row in theta:
        phot, mfrac = photometry(row)
        model = photometry.model
        _, want, want_mfrac = model.predict(row[photometry.order], obs=obs, sps=photometry.sps)
        np.testing.assert_allclose(phot, want, rtol=1e-6)
        assert mfrac == pytest.approx(float(want_mfrac), rel=1e-12)


# ---- the store needs no FSPS ------------------------------------------------


@pytest.fixture
def store(tmp_path):
    store = gen.SampleStore(tmp_path / "s", Recipe(filters=BANDS), "train", 8, {"fsps": "none"})
    for i in range(3):
        theta = store.draw(i)
        fluxes = {"maggies": np.full((8, 5), float(i)), "mfrac": np.full(8, 0.6)}
        store.write(i, {"theta": theta, **fluxes})
    return store


def test_draws_are_reproducible_and_independent(store):
    np.testing.assert_array_equal(store.draw(1), store.draw(1))
    assert not np.any(store.draw(1) == store.draw(2))
    bounds = store.recipe.bounds
    theta = draw_parameters(store.recipe, 4000, (0, 9))
    assert np.all(theta >= bounds[:, 0]) and np.all(theta <= bounds[:, 1])


def test_fat_tails():
    """Share of |logsfr_ratio| > 3: 0.63 % under the prior (DESIGN.md), far more when fat-tailed."""
    n = 20000
    fat = np.abs(draw_parameters(Recipe(), n, (1,))[:, 2:8])
    thin = np.abs(draw_parameters(Recipe(distribution="prior"), n, (1,))[:, 2:8])
    # 120,000 values: the binomial error of 0.63 % is 0.02 %.
    assert (thin > 3).mean() == pytest.approx(0.0063, abs=0.001)
    # Half of them uniform over +-5, of which 40 % lie beyond 3; the rest of a wider t.
    assert 0.2 < (fat > 3).mean() < 0.25


def test_unknown_distribution():
    with pytest.raises(ProspectEmuError, match="'thin' is unknown; use one of"):
        Recipe(distribution="thin")


def test_store_round_trip(store):
    data = gen.SampleStore.open(store.folder).load()
    assert data["theta"].shape == (24, 18)
    np.testing.assert_array_equal(data["theta"][8:16], store.draw(1))
    np.testing.assert_array_equal(data["maggies"][:, 0], np.repeat([0.0, 1.0, 2.0], 8))


def test_damaged_shard_is_found(store):
    data = bytearray(store.path(1).read_bytes())
    data[-5] ^= 255
    store.path(1).write_bytes(bytes(data))
    assert [store.is_good(i) for i in range(4)] == [True, False, True, False]
    with pytest.raises(ModelFileError, match="checksum"):
        store.load()


def test_foreign_shard_is_found(store):
    store.path(0).write_bytes(store.path(2).read_bytes())
    assert not store.is_good(0)


def test_changed_recipe_is_refused(store):
    with pytest.raises(ProspectEmuError, match="another recipe"):
        gen.SampleStore(store.folder, Recipe(filters=BANDS, seed=5), "train", 8, {"fsps": "none"})
    with pytest.raises(ProspectEmuError, match="another versions"):
        gen.SampleStore(store.folder, Recipe(filters=BANDS), "train", 8, {"fsps": "new"})


def test_missing_sps_home(monkeypatch, tmp_path):
    monkeypatch.delenv("SPS_HOME", raising=False)
    with pytest.raises(SetupError, match="SPS_HOME is not set"):
        gen.generate(Recipe(filters=BANDS), tmp_path, 10)
    monkeypatch.setenv("SPS_HOME", str(tmp_path))
    with pytest.raises(SetupError, match=r"emlines_info\.dat"):
        gen.generate(Recipe(filters=BANDS), tmp_path, 10)


SCRIPT = """
import sys
from prospect_emu.training.generate import generate
from prospect_emu.training.recipe import Recipe
if __name__ == "__main__":
    recipe = Recipe(filters=("acs_wfc_f814w", "wfc3_ir_f160w"))
    generate(recipe, sys.argv[1], 24, workers=1, shard_size=4)
"""


def _alive(group):
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.fsps
@pytest.mark.slow
def test_kill_and_resume(fsps_ready, tmp_path):
    """Killed after its first shard, the run resumes and ends with what an undisturbed one makes."""
    script, folder = tmp_path / "run.py", tmp_path / "data"
    script.write_text(SCRIPT)
    command = [sys.executable, str(script), str(folder)]
    run = subprocess.Popen(command, start_new_session=True, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 300
    while not list(folder.glob("shard-*")):
        assert run.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)
    os.kill(run.pid, signal.SIGKILL)  # the parent alone: its worker must follow
    run.wait()
    while _alive(run.pid):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    store = gen.SampleStore.open(folder)
    made = sorted(folder.glob("shard-*"))
    assert 1 <= len(made) < 6
    first = store.read(0)["maggies"]
    made[0].write_bytes(made[0].read_bytes()[:100])
    subprocess.run(command, check=True, stderr=subprocess.DEVNULL)
    data = store.load()
    assert data["theta"].shape == (24, 18)
    # FSPS keeps caches between calls, which can move the last digits.
    np.testing.assert_allclose(data["maggies"][:4], first, rtol=1e-9)
