"""Samples by the million: the factored emulator's own fluxes, one redshift per shard."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs the extra 'train' (torch)")

from prospect_emu import load_emulator  # noqa: E402
from prospect_emu.errors import FilterError, ProspectEmuError  # noqa: E402
from prospect_emu.networks.emulator_base import REFERENCE_LOGMASS  # noqa: E402
from prospect_emu.networks.vector import BOX, PARAMETERS  # noqa: E402
from prospect_emu.observe.magnitudes import maggies_to_arsinh  # noqa: E402
from prospect_emu.training.folded_samples import FoldedSamples, generate_folded  # noqa: E402
from prospect_emu.training.recipe import Recipe  # noqa: E402
from prospect_emu.training.train import apparent_rmse  # noqa: E402

ZRED = PARAMETERS.index("zred")
RECIPE = Recipe(filters=("acs_wfc_f814w", "wfc3_ir_f160w", "spitzer_mips_24"))


@pytest.fixture(scope="module")
def emulator():
    return load_emulator("mathews23-factored")


@pytest.fixture(scope="module")
def store(emulator, tmp_path_factory):
    return generate_folded(RECIPE, emulator, tmp_path_factory.mktemp("f"), 120, shard_size=40)


def test_fluxes_are_the_emulators(store, emulator):
    """Against the emulator unfolded, whose folding is good to 2e-3 mag (docs/factored.md)."""
    for index in store.indices():
        data = store.read(index)
        theta = data["theta"].astype(float)
        assert np.ptp(data["theta"][:, ZRED]) == 0
        np.testing.assert_allclose(theta[0, ZRED], store.redshift(index), rtol=1e-6)
        expected = emulator.select(RECIPE.filters).reference_maggies(theta)
        np.testing.assert_allclose(data["reference_mag"], maggies_to_arsinh(expected), atol=2e-3)
        np.testing.assert_allclose(data["mfrac"], emulator.mfrac(theta), rtol=1e-5)


def test_redshifts_cover_the_range_evenly(store):
    """The golden ratio leaves no gap above 2.62 mean ones, whatever the number of shards."""
    for n in (3, 50, 1536):
        z = np.sort([store.redshift(i) for i in range(n)])
        assert z[0] > 0.5 and z[-1] < 3.0
        assert np.diff(z, prepend=0.5, append=3.0).max() < 2.62 * 2.5 / n


def test_shards_are_made_once(store, emulator, monkeypatch):
    """More samples later add shards; a damaged one is made again as it was."""
    stamp = store.path(0).stat().st_mtime_ns
    before = store.path(1).read_bytes()
    store.path(1).write_bytes(before[:-9])
    generate_folded(RECIPE, emulator, store.folder, 120, shard_size=40)
    assert store.path(1).read_bytes() == before
    assert store.path(0).stat().st_mtime_ns == stamp


def test_another_recipe_or_band_is_refused(store, emulator):
    other = Recipe(filters=RECIPE.filters, widen=3.0)
    with pytest.raises(ProspectEmuError, match="another recipe"):
        generate_folded(other, emulator, store.folder, 40, shard_size=40)
    with pytest.raises(FilterError):
        generate_folded(Recipe(filters=("jwst_f200w_x",)), emulator, store.folder, 40)


def test_samples(store, emulator):
    """In float32: fluxes of the emulator to its rounding, and masses of all redshifts."""
    samples = FoldedSamples(store)
    theta, mag, log_scale = samples.tensors
    assert len(theta) == len(mag) == len(log_scale) == 120
    reference = theta.double().numpy()
    reference[:, 0] = REFERENCE_LOGMASS
    scaled = 10.0 ** (log_scale.double().numpy() + REFERENCE_LOGMASS)[:, None]
    expected = emulator.select(RECIPE.filters).maggies(reference) / scaled
    np.testing.assert_allclose(mag, maggies_to_arsinh(expected), atol=2e-3)
    chosen, mfrac = samples.mfrac(60)
    assert len(chosen) == 60 and len(np.unique(chosen[:, ZRED])) == 3
    np.testing.assert_allclose(mfrac, emulator.mfrac(chosen), rtol=1e-5)


def test_exactly_as_many_samples_as_asked_for(store, emulator):
    """Of a folder with more shards, and of part of a shard."""
    for n in (40, 70):
        fewer = generate_folded(RECIPE, emulator, store.folder, n, shard_size=40)
        samples = FoldedSamples(fewer)
        assert [len(t) for t in samples.tensors] == [n, n, n]
        everything = FoldedSamples(store).tensors[0]
        np.testing.assert_array_equal(samples.tensors[0], everything[:n])
        np.testing.assert_array_equal(fewer.load()["theta"], everything[:n])


def test_apparent_rmse_against_double():
    """NumPy's arcsinh in double; 1e-4 mag is float32 through sinh and log at 27 e-folds."""
    rng = np.random.default_rng(4)
    u, v = rng.uniform(3, 37, (2, 4000, 1))
    log_scale = rng.uniform(-13, -11, 4000)
    t = [torch.from_numpy(a.astype("f4")) for a in (u, v, log_scale)]
    got = apparent_rmse(*t, torch.Generator().manual_seed(8))
    draw = torch.rand(4000, 1, generator=torch.Generator().manual_seed(8)).double().numpy()
    a = 2.5 * np.log10(np.e)
    lo, hi = BOX["logmass"]
    scale = 10.0 ** (log_scale[:, None] + lo + (hi - lo) * draw)
    mags = [a * np.arcsinh(scale * np.sinh((35.0 - x) / a)) for x in (u, v)]
    expected = np.sqrt(np.mean((mags[0] - mags[1]) ** 2))
    np.testing.assert_allclose(float(got), expected, rtol=1e-4)
