"""Training of the dust emulator, its bands, and the measures of its errors, on toys."""

from types import SimpleNamespace

import numpy as np
import pytest
from dust_toys import toy_dust

pytest.importorskip("torch", reason="torch, of the train extra, is not installed")
pytest.importorskip("numba", reason="numba, of the train extra, is not installed")

from prospect_emu.dust.dust_emulator import BIN
from prospect_emu.errors import DataError, ProspectEmuError, RangeError
from prospect_emu.training.themis import dust_bands, dust_inverse_train, dust_report, dust_train
from prospect_emu.training.themis.dust_grid import GridRecipe
from prospect_emu.training.themis.dust_inverse_train import any_bands, any_ranges, train_inverse
from prospect_emu.training.train import Settings


def settings(epochs, **more):
    return Settings(width=24, depth=2, schedule=((5e-3, 128, epochs),), patience=99, **more)


def table(shape=(25, 8, 21), n_out=30):
    """Smooth functions of three parameters on a grid, and their axes."""
    axes = [np.linspace(*ends, n) for ends, n in zip(((-2, 7), (6, 10), (-0.4, 1)), shape)]  # noqa: B905
    return axes, smooth(*np.meshgrid(*axes, indexing="ij"), n_out)


def smooth(u, tau, a, n_out=30):
    x = np.linspace(0.0, 3.0, n_out)
    u, tau, a = (np.asarray(v)[..., None] for v in (u, tau, a))
    return np.sin(x * (1.0 + 0.3 * a) + 0.2 * u) * (tau - 5.0) - (x - 0.1 * u) ** 2


def test_tensor_network_reproduces_a_smooth_table():
    """Between its nodes: cubic in the first and the last parameter, linear in the middle one.

    The toy is linear in tau, so that only the splines err (1e-4 of its spread).
    """
    axes, values = table()
    net = dust_train.fit_tensor(axes, values.astype("f4"), (12, 6, 10, 20), 1e-12)
    rng = np.random.default_rng(0)
    theta = rng.uniform([a[0] for a in axes], [a[-1] for a in axes], (200, 3))
    np.testing.assert_allclose(net(theta), smooth(*theta.T), atol=2e-3)
    assert len(net.pairs) < 12 * 10
    part = net.select([4, 2])
    np.testing.assert_allclose(part(theta), net(theta)[:, [4, 2]], rtol=1e-12)


def test_middles_are_linear_in_emission():
    """A table linear in exp(values) is reproduced at its new nodes; the old ones stay."""
    nodes, slope = np.linspace(6.0, 10.0, 5), np.array([1.0, 3.0])
    emission = 1.0 + (nodes[None, :, None, None] - 5.0) * slope
    finer, values = dust_train.with_middles(nodes, np.log(emission))
    np.testing.assert_allclose(finer, np.linspace(6.0, 10.0, 9))
    expected = 1.0 + (finer[None, :, None, None] - 5.0) * slope
    np.testing.assert_allclose(np.exp(values), expected, rtol=1e-12)


def test_bright_outputs_count_more():
    """By hand: of two models, the first wavelength is bright in both, the last in none."""
    values = np.log([[1.0, 0.5, 1e-6], [1.0, 1e-5, 1e-6]])
    np.testing.assert_allclose(
        dust_train.importance(values, 3) ** 2 - dust_train._LEAST, [1.0, 0.5, 0.0], atol=1e-12
    )


def test_weights_favour_what_counts():
    """At low rank the output with the larger weight is reproduced better."""
    axes, values = table()
    rng = np.random.default_rng(1)
    theta = rng.uniform([a[0] for a in axes], [a[-1] for a in axes], (200, 3))
    exact = smooth(*theta.T)
    errors = []
    for first in (0.1, 10.0):
        weights = np.ones(values.shape[-1])
        weights[:5] = first
        net = dust_train.fit_tensor(axes, values.astype("f4"), (12, 6, 10, 2), 1e-12, weights)
        errors.append(np.std(net(theta)[:, :5] - exact[:, :5]))
    assert errors[1] < 0.5 * errors[0]


def test_lower_ranks_lose_precision():
    axes, values = table()
    rng = np.random.default_rng(0)
    theta = rng.uniform([a[0] for a in axes], [a[-1] for a in axes], (200, 3))
    errors = []
    for rank in (2, 4, 8):
        net = dust_train.fit_tensor(axes, values.astype("f4"), (rank, rank, rank, 20), 1e-12)
        errors.append(np.std(net(theta) - smooth(*theta.T)))
    assert errors[0] > errors[1] > errors[2]


def test_training_packages_what_the_grid_says(tmp_path):
    """At the nodes of a grid made by a toy emulator, bands included."""
    toy = toy_dust()
    store = SimpleNamespace(
        folder=tmp_path, wave=toy.wavelengths, recipe=GridRecipe("grid", (25, 7, 15)), manifest={}
    )
    theta = np.stack(np.meshgrid(*store.recipe.axes, indexing="ij"), axis=-1).reshape(-1, 3)
    store.load = lambda: (theta, toy.ln_spectrum(theta).astype("f4"))
    matrix = np.zeros((2, toy.wavelengths.size))
    matrix[0, 5], matrix[1, 20:22] = 1.0, 0.5
    emulator = dust_train.train_dust(
        store, matrix, toy.bands[:2], ranks=(25, 13, 15, 40), negligible=1e-12
    )
    expected = dust_train.softened(toy.ln_spectrum(theta))
    np.testing.assert_allclose(emulator.ln_spectrum(theta), expected, atol=0.02)
    bands = np.log(np.exp(expected) @ matrix.T)
    np.testing.assert_allclose(emulator.ln_photometry(theta), bands, atol=0.02)
    emulator.save(tmp_path / "toy.safetensors")
    assert emulator.band_names == toy.band_names[:2]


def test_random_samples_are_no_grid(tmp_path):
    store = SimpleNamespace(folder=tmp_path, recipe=GridRecipe("random", (5, 2)))
    with pytest.raises(ProspectEmuError, match="needs a grid"):
        dust_train.targets(store, None)


def test_softening_reaches_its_floor():
    ln = np.array([[0.0, np.log(1e-4), -500.0]])
    soft = dust_train.softened(ln, floor=1e-10)
    np.testing.assert_allclose(soft, [[0.0, np.log(1e-4), np.log(1e-10)]], atol=2e-6)


@pytest.mark.parametrize("spectrum", [False, True])
def test_inverse_network_learns(tmp_path, spectrum):
    """U, to a fifth of the prior's own spread, from data with 1 % errors after a few epochs."""
    import dataclasses

    from prospect_emu.dust.dust_network import estimate

    toy = toy_dust(nband=10)
    net, described = train_inverse(
        toy, tmp_path / "inverse.safetensors", spectrum, settings(12), 3000, progress=False
    )
    toy = dataclasses.replace(toy, **{"spectrum_inverse" if spectrum else "inverse": net})
    theta = np.random.default_rng(4).uniform(*toy.bounds.T, (300, 3))
    if spectrum:
        flux, where = toy.spectrum(*(10.0**theta).T), {"wavelengths": toy.wavelengths}
    else:
        flux, where = toy.photometry(*(10.0**theta).T), {"bands": toy.band_names}
    mean, sigma = estimate(toy, flux, 0.01 * flux, **where)
    prior = np.ptp(toy.bounds[0]) / np.sqrt(12)
    known = np.isfinite(mean[:, 0])
    assert known.mean() > 0.9
    off = (mean - theta)[known]
    assert np.std(off[:, 0]) < 0.2 * prior
    # The networks' own claim, on noise-free data, which do better than it says.
    assert ((off / sigma[known]) ** 2).mean() < 1.5
    assert described["samples"] == 3000


@pytest.mark.parametrize("spectrum", [False, True])
def test_networks_read_in_use_what_they_read_in_training(tmp_path, spectrum, monkeypatch):
    """Training's inputs of its own noisy data, and those of `estimate` from the same data."""
    import dataclasses

    import torch

    from prospect_emu.dust import dust_network

    toy = toy_dust(nwave=41, nband=10)
    theta = np.random.default_rng(4).uniform(*toy.bounds.T, (20, 3))
    ln = torch.from_numpy(dust_network.ln_channels(toy, theta, spectrum).astype("f4"))
    seen, plain = [], dust_network.network_inputs

    def recorded(*arguments):
        seen.append(arguments)
        return plain(*arguments)

    monkeypatch.setattr(dust_inverse_train, "network_inputs", recorded)
    trained = dust_inverse_train._Noise(toy, spectrum).inputs(torch.Generator().manual_seed(1), ln)
    _, flux, sigma, given = seen[0]
    reads = []

    def network(inputs):
        reads.append(inputs)
        return np.zeros((len(inputs), 6))

    emulator = dataclasses.replace(toy, **{"spectrum_inverse" if spectrum else "inverse": network})
    monkeypatch.setattr(dust_network, "MISFIT", 1e30)
    for k in range(20):
        if spectrum:
            # A spectrum whose means in bins are these: the points of a bin are alike, and so
            # are their errors, of which it has five here, the outer two at half weight.
            edges = toy.wavelengths[::BIN]
            wave = np.exp(np.linspace(np.log(edges[:-1]), np.log(edges[1:]), 5, axis=1))
            wave[:, 0], wave[:, -1] = edges[:-1], edges[1:]
            where = {"wavelengths": wave.ravel()}
            share = np.sqrt(3 * 0.25**2 + 2 * 0.125**2)
            unknown = np.where(given[k], sigma[k] / share, 1e9 * np.abs(flux[k]).max())
            data = np.repeat(flux[k], 5), np.repeat(unknown, 5)
        else:
            where = {"bands": [n for n, g in zip(toy.band_names, given[k], strict=True) if g]}
            data = flux[k, given[k]], sigma[k, given[k]]
        if not plain(seen[0][0], flux[k : k + 1], sigma[k : k + 1], given[k : k + 1])[1].any():
            continue
        dust_network.estimate(emulator, *data, **where)
        np.testing.assert_allclose(reads[-1][0], trained[k], atol=2e-3 if spectrum else 1e-5)
    assert len(reads) > 10


def test_a_checkpoint_of_another_noise_is_not_resumed(tmp_path, monkeypatch):
    toy = toy_dust()

    def trained():
        net, _ = train_inverse(toy, tmp_path / "c", False, settings(1), 300, progress=False)
        return net.weights[0]

    first = trained()
    np.testing.assert_array_equal(trained(), first)  # resumed: nothing was left to do
    monkeypatch.setattr(dust_inverse_train, "_RECIPE", ["another"])
    with pytest.raises(ProspectEmuError, match="another"):
        trained()


def test_stretches_of_spectra():
    """At least the shortest length; every bin often enough."""
    import torch

    rng = torch.Generator().manual_seed(2)
    seen = any_ranges(rng, 4000, 30)
    assert seen.sum(dim=1).min() >= 3
    share = seen.float().mean(dim=0)
    assert 0.15 < share.min() and share.max() < 0.9
    assert any_ranges(rng, 5, 3).all()  # shorter spectra than the shortest stretch


def test_choices_of_bands():
    """Whole instruments, any bands, all, and hardly ever none."""
    import torch

    groups = torch.tensor([0, 0, 0, 1, 1, 2])
    given = any_bands(torch.Generator().manual_seed(2), 20000, groups)
    assert given.any(dim=1).float().mean() > 0.98
    share = given.float().mean(dim=0)
    assert 0.4 < share.min() and share.max() < 0.8
    alike = (given[:, 0] == given[:, 1]).float().mean()
    assert alike > 0.1 + (given[:, 0] == given[:, 3]).float().mean()


# ---- bands ------------------------------------------------------------------------

NAMES = [b for b in dust_bands.BANDS if not b.file]
WAVE = np.unique(np.concatenate([np.geomspace(1.0, 1200.0, 3000)]))


def test_there_are_70_bands():
    assert len(dust_bands.BANDS) == len({b.name for b in dust_bands.BANDS}) == 70


def test_a_source_of_the_assumed_shape_is_quoted_as_it_is():
    """Definition of a monochromatic flux: exact but for the spectrum's sampling (1e-4)."""
    matrix, described = dust_bands.band_matrix(WAVE, bands=NAMES)
    for row, d in zip(matrix, described, strict=True):
        ratio = WAVE / d["reference"]
        if d["shape"] == "10000 K":
            k = 14387.7688 / (1e4 * d["reference"])
            shape = ratio**-3.0 * np.expm1(k) / np.expm1(k / ratio)
        else:
            shape = ratio ** {"flat": 0.0, "nu^-1": 1.0, "nu^-2": 2.0}[d["shape"]]
        assert row @ shape == pytest.approx(1.0, rel=2e-4), d["name"]


def test_bands_of_a_steep_spectrum():
    """A power law, sampled as coarsely as the emulator's spectra: as from 3000 wavelengths.

    Bands agree to 1e-4; as straight lines in the emission they would be 3e-3 too bright.
    """
    wave = np.geomspace(1.0, 1200.0, 160)
    part = NAMES[::5]
    coarse, _ = dust_bands.band_matrix(np.exp(dust_bands.finer(np.log(wave))), bands=part)
    fine, _ = dust_bands.band_matrix(WAVE, bands=part)
    for power in (-4.0, 4.0):
        got = dust_bands.ln_bands(power * np.log(wave)[None], coarse)[0]
        want = np.log(WAVE**power @ fine.T)
        np.testing.assert_allclose(got, want, atol=2e-4)
        straight = np.log(wave**power @ dust_bands.band_matrix(wave, bands=part)[0].T)
        assert np.median(straight - want) > 2e-3


def test_published_colour_factors():
    """Of a flat spectrum: IRAC 8 micron and PACS 70 (handbooks quote 1.00 to 1.01 inverted)."""
    for name in ("spitzer_irac_ch1", "herschel_pacs_100"):
        band = next(b for b in NAMES if b.name == name)
        curve = dust_bands.load_curve(band)
        assert dust_bands.colour_factor(curve, band.reference, "nu^-1") == pytest.approx(
            1.0, abs=0.01
        )


def test_a_band_outside_the_spectrum_is_refused():
    with pytest.raises(RangeError, match="spans"):
        dust_bands.band_matrix(np.geomspace(10.0, 100.0, 50), bands=NAMES[:1])


def test_extra_curves_need_their_folder(tmp_path):
    band = next(b for b in dust_bands.BANDS if b.file)
    with pytest.raises(DataError, match="folder"):
        dust_bands.load_curve(band)
    with pytest.raises(DataError, match="two columns"):
        dust_bands.load_curve(band, tmp_path)


# ---- errors -----------------------------------------------------------------------


def test_measures_of_error():
    """By hand: one wavelength 1 % off, one faint 10 % off, one under the floor far off."""
    truth = np.log(np.array([[1.0, 1.0, 1e-6, 1e-12]]))
    wrong = truth + np.log([[1.01, 1.0, 1.1, 5.0]])
    mape, ratio = dust_report.errors(wrong, truth)
    assert mape[0] == pytest.approx((0.01 + 0.1) / 3)
    np.testing.assert_allclose(ratio[0, :2], [0.01, 0.0], atol=1e-12)
    assert np.isnan(ratio[0, 2:]).all()


def test_linear_interpolation_is_exact_on_a_linear_table():
    axes = (np.linspace(-2, 7, 4), np.linspace(6, 10, 3), np.linspace(-0.4, 1.0, 5))
    theta = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)

    def truth(t):
        return np.stack([t @ [2.0, 0.3, -1.0], t @ [1.0, 0.1, 0.5]], axis=1)

    store = SimpleNamespace(
        load=lambda: (theta, truth(theta).astype("f4")),
        recipe=SimpleNamespace(axes=axes, shape=(4, 3, 5)),
    )
    some = np.random.default_rng(0).uniform([a[0] for a in axes], [a[-1] for a in axes], (50, 3))
    got = dust_report.GridInterpolator(store)(some)
    np.testing.assert_allclose(got, truth(some), atol=1e-4)
