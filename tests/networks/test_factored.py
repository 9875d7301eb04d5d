"""The factored emulator, a view of the exact physics, on tables without physics too."""

import numpy as np
import pytest
from scipy.integrate import quad
from threadpoolctl import threadpool_info, threadpool_limits

from prospect_emu import load_emulator
from prospect_emu.errors import FilterError, ModelFileError, RangeError, SetupError
from prospect_emu.files import load_tensors, save_tensors
from prospect_emu.networks import sfh
from prospect_emu.networks.emulator_base import EmulatorBase, reference_scale
from prospect_emu.networks.factored import FactoredEmulator
from prospect_emu.networks.factored_file import unpack
from prospect_emu.networks.vector import BOX, PARAMETERS
from prospect_emu.observe.filters import curve_hash, load_filters
from prospect_emu.observe.magnitudes import maggies_to_arsinh
from prospect_emu.sps.ages import step_weights
from prospect_emu.sps.attenuation import prepare
from prospect_emu.sps.fold import Compiled
from prospect_emu.sps.ingredients import BUNDLED, find_ingredients
from prospect_emu.sps.nodes import family, low_rank, skeleton
from prospect_emu.sps.packing import DECADES
from prospect_emu.training.recipe import Recipe, draw_parameters

ZRED = PARAMETERS.index("zred")
BANDS = (
    "galex_NUV", "acs_wfc_f606w", "wfc3_ir_f160w", "cfht_wircam_Ks_8302", "spitzer_irac_ch4",
    "spitzer_mips_24", "herschel_spire_250",
)  # fmt: skip


@pytest.fixture(scope="module")
def toy(toy_tables):
    pytest.importorskip("torch", reason="ExactSPS, the reference, needs torch")
    from prospect_emu.training.ingredient_tables import assemble

    n = len(BANDS)
    recipe = Recipe(filters=BANDS, zred_range=(0.05, 12.0))
    return FactoredEmulator(
        name="toy",
        parameters=PARAMETERS,
        bounds=recipe.bounds,
        filters=BANDS,
        filter_hashes=tuple(curve_hash(f) for f in load_filters(BANDS)),
        bias_mag=np.zeros(n),
        sigma_mag=np.full(n, 1e-4),
        covariance=np.eye(n) * 1e-8,
        quantiles=np.outer(np.full(n, 1e-4), np.arange(-4.0, 5.0)),
        manifest={"recipe": recipe.as_dict(), "versions": {"libraries": ["none"]}},
        ingredients=assemble(toy_tables, parameters={"imf_type": 1}, versions={}, dtype=float),
    )


@pytest.fixture(scope="module")
def exact(toy_tables):
    from prospect_emu.training.exact import ExactSPS

    return ExactSPS(toy_tables)


def draws(n, zred=None):
    theta = draw_parameters(Recipe(zred_range=(0.05, 12.0)), n, (5,))
    if zred is not None:
        theta[:, ZRED] = zred
    return theta


def test_age_weights_against_quadrature():
    """Constant SFR in a bin, populations linear in log(age): brute force to 1e-6.

    The ramps that FastStepBasis puts across the edges are what the tolerance leaves out.
    """
    log_age = np.arange(5.5, 10.15, 0.05)
    weights = step_weights(log_age, sfh.agebins(1.0))
    edges = 10.0 ** sfh.bin_edges(1.0)
    for k, population in ((0, 20), (2, 55), (4, 70)):
        lo, hi = max(edges[k], 10 ** log_age[population - 1]), edges[k + 1]
        hi = min(hi, 10 ** log_age[population + 1])
        if hi <= lo:
            assert weights[k, population] == 0
            continue

        def hat(t, population=population):
            return max(0.0, 1.0 - abs(np.log10(t) - log_age[population]) / 0.05)

        peak = [t for t in [10 ** log_age[population]] if lo < t < hi]
        expected = quad(hat, lo, hi, points=peak, epsrel=1e-10)[0] / (edges[k + 1] - edges[k])
        assert weights[k, population] == pytest.approx(expected, rel=1e-6, abs=1e-12)
    # All mass is somewhere, but for the last 1e-4 of the age of the universe: the oldest
    # bin, a tenth of it, has lost 1e-3.
    np.testing.assert_allclose(weights.sum(axis=1), [1.0] * 6 + [0.999], atol=1e-6)


def test_age_weights_equal_those_of_exact_sps():
    torch = pytest.importorskip("torch")
    from prospect_emu.training.exact_parts import bin_weights

    log_age = np.arange(5.5, 10.15, 0.05)
    edges = torch.tensor(10.0 ** sfh.bin_edges(np.array([0.1, 1.0, 5.0])))
    exact = bin_weights(torch.tensor(log_age), edges).numpy()
    np.testing.assert_allclose(
        step_weights(log_age, sfh.agebins(np.array([0.1, 1.0, 5.0]))), exact, atol=2e-7
    )


def test_skeleton_reproduces_all_dust():
    """Attenuation over a whole ultraviolet band from its nodes, to the tolerance asked for."""
    wave = np.geomspace(1300.0, 2800.0, 150)
    dust = family({"dust1": (0.0, 8.0), "dust2": (0.0, 4.0), "dust_index": (-1.2, 0.4)})
    curves = prepare(4, wave)(dust).young
    weight = np.sin(np.pi * (np.arange(150) + 0.5) / 150)
    nodes, matrix = skeleton(curves, weight, 1e-4)
    assert nodes.size < 20
    integral, got = curves @ weight, curves[:, nodes] @ (matrix @ weight)
    assert np.abs(got / integral - 1.0).max() < 3e-4


def test_low_rank_reproduces_a_smooth_matrix():
    x, y = np.linspace(0, 1, 300)[:, None], np.linspace(0, 3, 80)
    matrix = np.exp(-x * y) * 10.0**y
    left, right = low_rank(matrix, 1e-5)
    assert left.shape[1] < 10
    assert np.abs((left @ right - matrix) / matrix.max(axis=0)).max() < 1e-4


def test_spectrum_against_exact_sps(toy, exact):
    """Whole spectra: both engines interpolate the same tables, in single precision here."""
    theta = draws(12)
    got, expected = toy.spectrum(theta), exact.spectrum(theta).numpy()
    bright = expected > 1e-8 * expected.max(axis=1, keepdims=True)
    assert np.abs(got / np.where(bright, expected, 1.0) - 1.0)[bright].max() < 8e-4


@pytest.mark.parametrize("zred", [0.06, 0.9, 4.0, 11.5])
def test_photometry_against_exact_sps(toy, exact, zred):
    """One redshift (folded) and each row by itself: ExactSPS to 1 and 0.5 mmag.

    Ten times the error on real tables, whose spectra have many more wavelengths per band.
    """
    theta = draws(256, zred)
    expected = maggies_to_arsinh(exact.photometry(theta, load_filters(BANDS)).numpy())
    scale = reference_scale(theta[:, 0], theta[:, ZRED])[:, None]
    folded = toy.at_redshift(zred).reference_maggies(theta) * scale
    direct = toy.direct_maggies(theta) * scale
    assert np.abs(maggies_to_arsinh(direct) - expected).max() < 5e-4
    assert np.std(maggies_to_arsinh(folded) - expected) < 3e-4
    assert np.abs(maggies_to_arsinh(folded) - expected).max() < 5e-3
    # Many rows of one redshift go the folded way.
    np.testing.assert_allclose(toy.maggies(theta), folded, rtol=1e-6)


@pytest.mark.parametrize("zred", [-1.0, 0.0, np.nan, np.inf, 13.0, "text", None, [1.0], True])
def test_redshifts_that_are_none(toy, zred):
    with pytest.raises(RangeError, match=r"lies outside 0\.05 to 12, the range of emulator 'toy'"):
        toy.at_redshift(zred)


def test_mixed_redshifts(toy):
    """Rows are put back where they came from, whichever way they took."""
    theta = draws(260)
    theta[30:240, ZRED] = 2.0
    together = toy.maggies(theta)
    np.testing.assert_allclose(together[[0, 5, 250]], toy.maggies(theta[[0, 5, 250]]), rtol=1e-9)
    alone = maggies_to_arsinh(toy.maggies(theta[100:103]))
    np.testing.assert_allclose(maggies_to_arsinh(together[100:103]), alone, atol=2e-3)


def test_surviving_mass_against_exact_sps(toy, exact):
    theta = draws(40)
    np.testing.assert_allclose(toy.mfrac(theta), exact.mfrac(theta).numpy(), atol=1e-7)


def test_interface(toy):
    assert isinstance(toy, EmulatorBase) and "toy" in repr(toy)
    theta = draws(3)
    chosen = toy.select(BANDS[2:4])
    np.testing.assert_allclose(chosen.maggies(theta), toy.maggies(theta)[:, 2:4], rtol=1e-9)
    with pytest.raises(FilterError, match="does not know"):
        toy.select(["sdss_g0"])
    theta[0, 0] = 3.0
    with pytest.raises(RangeError, match="logmass = 3"):
        toy.spectrum(theta)


@pytest.fixture(scope="module")
def bundled():
    return load_emulator("mathews23-factored")


def test_file_names_its_ingredients(bundled, tmp_path, monkeypatch):
    """A small file; without such ingredients one sentence says how to make them."""
    path = tmp_path / "view.safetensors"
    some = bundled.select(BANDS)
    some.save(path)
    assert path.stat().st_size < 3e4
    again = load_emulator(path)
    assert isinstance(again, FactoredEmulator)
    assert again.ingredients is find_ingredients([BUNDLED], imf_type=1)
    theta = draws(3)
    np.testing.assert_array_equal(again.maggies(theta), some.maggies(theta))
    monkeypatch.setattr("prospect_emu.sps.ingredients.BUNDLED", tmp_path)
    monkeypatch.setenv("PROSPECT_EMU_INGREDIENTS", str(tmp_path))
    with pytest.raises(SetupError, match=r"needs ingredients of prsc/c3k_lr/DL07.*imf_type=1`"):
        load_emulator(path)


def packed(values):
    """16-bit logarithms in equal steps, as the first files held spectra."""
    with np.errstate(divide="ignore"):
        log = np.log10(np.maximum(values, 0.0, dtype=float))
    top = log.max(axis=-1)
    depth = (log - top[..., None]) / DECADES
    codes = np.where(depth > -1.0, np.rint(65534.0 * (1.0 + depth)) + 1.0, 0.0)
    return codes.astype(np.uint16), top


def test_equal_steps_keep_four_digits():
    """A step of 20 decades / 65534 is 0.07 %, half of it the largest error."""
    values = 10.0 ** np.random.default_rng(1).uniform(-18, 3, (3, 4, 500))
    values[0, 0, :10] = 0.0
    got = 10.0 ** unpack(*packed(values))
    assert (got[0, 0, :10] == 0).all()
    kept = values > values.max(axis=-1, keepdims=True) * 1e-20
    np.testing.assert_allclose(got[kept], values[kept], rtol=3.6e-4)


def old_file(emulator, path):
    """A file of the first layout, which held its ingredients, of one ionisation parameter."""
    g = emulator.ingredients
    arrays = {
        "ssp_mass": g.stars_mass, "ssp_loglbol": g.stars_loglbol,
        "neb_logline": g.neb_logline[:, :, -1], "agn_lnu": g.agn_lnu,
    }  # fmt: skip
    for name in ("wave", "resolution", "log_age", "logz", "photons", "neb_logz", "neb_log_age",
                 "line_wave", "dust_qpah", "dust_umin", "agn_tau"):  # fmt: skip
        arrays[name] = getattr(g, name)
    spectra = {"ssp_lnu": g.stars_lnu, "neb_cont": 10.0 ** g.neb_logcont[:, :, -1].astype(float),
               "dust_lnu": g.dust_lnu}  # fmt: skip
    for name, values in spectra.items():
        arrays[name], arrays[f"{name}_top"] = packed(values)
    emulator.save(path)
    tensors, manifest = load_tensors(path, FactoredEmulator.KIND)
    del manifest["ingredients"]
    save_tensors(path, tensors | {f"ingredients/{k}": v for k, v in arrays.items()}, manifest)


def test_first_files_still_load(bundled, tmp_path):
    """Half a step of their logarithms is 0.035 %; what averages over a spectrum, less."""
    path = tmp_path / "old.safetensors"
    some = bundled.select(BANDS)
    old_file(some, path)
    old = load_emulator(path)
    assert old.ingredients.neb_logu.tolist() == [-1.0]
    theta = draws(20)
    np.testing.assert_allclose(old.maggies(theta), some.maggies(theta), rtol=5e-4, atol=1e-30)
    np.testing.assert_allclose(old.mfrac(theta), some.mfrac(theta), rtol=1e-12)
    tensors, manifest = load_tensors(path, FactoredEmulator.KIND)
    for change, message in (
        ({"ingredients/ssp_mass": None}, "not a complete emulator"),
        ({"ingredients/ssp_mass": np.zeros((15, 92))}, "stars_mass has shape"),
    ):
        broken = {k: v for k, v in (tensors | change).items() if v is not None}
        save_tensors(tmp_path / "broken.safetensors", broken, manifest)
        with pytest.raises(ModelFileError, match=message):
            load_emulator(tmp_path / "broken.safetensors")


def test_continuous_in_redshift(bundled):
    """No seams: a small step in redshift moves every magnitude a little, everywhere.

    A step of 2e-6 z moves no edge of a band by more than a thousandth of its width;
    a seam between two networks would be of their errors' size, some 0.01 mag.
    """
    theta = draws(1, 1.0)
    z = np.concatenate([c * np.array([1.0, 1.000002]) for c in (0.5, 2.0, 3.0, 4.0, 6.0, 8.0)])
    theta = np.repeat(theta, z.size, axis=0)
    theta[:, ZRED] = z
    mag = bundled.magnitudes(theta)
    bright = mag.max(axis=0) < 32
    assert np.abs(mag[1::2] - mag[::2])[:, bright].max() < 5e-4


def test_box_of_the_bundled_one(bundled):
    for name, (lo, hi) in zip(PARAMETERS, bundled.bounds, strict=True):
        assert name == "zred" or (lo, hi) == BOX[name]


def test_folding_uses_one_thread(toy, monkeypatch):
    """Several BLAS threads would wait for each other on a busy machine; after it, as before."""

    def threads():
        return {i["filepath"]: i["num_threads"] for i in threadpool_info()
                if i["user_api"] == "blas"}  # fmt: skip

    seen = []
    monkeypatch.setattr(Compiled, "_fold_all", lambda *given: seen.append(threads()))
    with threadpool_limits(2):
        before = threads()
        if set(before.values()) <= {1}:
            pytest.skip("this BLAS runs one thread only")
        toy.at_redshift(1.0)
        assert threads() == before
    assert seen and set(seen[0].values()) == {1}
