"""Samples combined from factors are ExactSPS's own photometry."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="ExactSPS needs torch: pip install prospect_emu[train]")

from prospect_emu.emulator import REFERENCE_LOGMASS, reference_scale  # noqa: E402
from prospect_emu.filters import load_filters  # noqa: E402
from prospect_emu.magnitudes import arsinh_to_maggies  # noqa: E402
from prospect_emu.model import PARAMETERS  # noqa: E402
from prospect_emu.training import factors  # noqa: E402
from prospect_emu.training.exact import ExactSPS  # noqa: E402
from prospect_emu.training.recipe import Recipe  # noqa: E402
from prospect_emu.training.tables import KIND, save_tensors  # noqa: E402

BANDS = ("acs_wfc_f814w", "wfc3_ir_f160w", "spitzer_mips_24", "herschel_spire_250")
RECIPE = Recipe(filters=BANDS)


@pytest.fixture(scope="module")
def table_file(tmp_path_factory, toy_tables):
    path = tmp_path_factory.mktemp("tables") / "toy.safetensors"
    save_tensors(path, toy_tables, {"kind": KIND, "versions": {}, "fingerprint": "toy"})
    return path


@pytest.fixture(scope="module")
def store(table_file, tmp_path_factory):
    folder = tmp_path_factory.mktemp("factors")
    return factors.generate_factors(RECIPE, table_file, folder, 60, shard_size=20)


def draw(store):
    data = store.load()
    samples = factors.FactorSamples(data, RECIPE, bank=500)
    theta, mag, log_scale = samples.draw(torch.Generator().manual_seed(3), *samples.tensors)
    return data, theta.double().numpy(), mag.double().numpy(), log_scale.numpy()


def test_combined_photometry(store, table_file):
    """Against `ExactSPS.photometry` in double: 1e-4, ten float32 sums of seven bins each."""
    _, theta, mag, log_scale = draw(store)
    theta[:, 0] = REFERENCE_LOGMASS
    exact = ExactSPS(table_file).photometry(theta, load_filters(BANDS)).numpy()
    scale = reference_scale(REFERENCE_LOGMASS, theta[:, PARAMETERS.index("zred")])
    np.testing.assert_allclose(arsinh_to_maggies(mag), exact / scale[:, None], rtol=1e-4)
    np.testing.assert_allclose(10.0**log_scale * 10**REFERENCE_LOGMASS, scale, rtol=1e-5)


def test_drawn_anew(store):
    """SFR ratios and fagn change with the generator; what the factors hold does not."""
    data = store.load()
    samples = factors.FactorSamples(data, RECIPE, bank=500)
    a, b = (samples.draw(torch.Generator().manual_seed(s), *samples.tensors)[0] for s in (1, 2))
    kept = [i for i, p in enumerate(PARAMETERS) if p != "log_fagn" and "ratios" not in p]
    assert torch.equal(a[:, kept], b[:, kept])
    drawn = [i for i in range(18) if i not in kept]
    assert (a[:, drawn] != b[:, drawn]).float().mean() > 0.98


def test_surviving_mass(store, table_file):
    """Against `ExactSPS.mfrac`, to float32."""
    theta, mfrac = factors.surviving_fractions(store.load())
    np.testing.assert_allclose(mfrac, ExactSPS(table_file).mfrac(theta).numpy(), rtol=1e-5)


def test_resumes(store, table_file):
    whole = store.load()["stars"]
    store.path(1).unlink()
    again = factors.generate_factors(RECIPE, table_file, store.folder, 60, shard_size=20)
    np.testing.assert_array_equal(again.load()["stars"], whole)
