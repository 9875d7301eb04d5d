"""Inverse networks: what they read of bands and of spectra, and what they refuse."""

import dataclasses

import numpy as np
import pytest
from dust_toys import toy_dust

from prospect_emu.dust import dust_network
from prospect_emu.dust.dust_emulator import DustEmulator
from prospect_emu.dust.dust_network import (
    ERROR_RANGE,
    bin_weights,
    channels,
    estimate,
    network_inputs,
)
from prospect_emu.errors import DataError, ModelFileError, RangeError

TRUTH = np.array([1.2, 8.3, 0.1])


@pytest.fixture(scope="module")
def toy():
    return toy_dust(nwave=81, inverse=True)


@pytest.fixture(scope="module")
def data(toy):
    flux = toy.photometry(*10.0**TRUTH)
    noise = np.random.default_rng(3).standard_normal(flux.size)
    return flux * (1.0 + 0.1 * noise), 0.1 * flux


@pytest.fixture(autouse=True)
def any_answer(monkeypatch):
    """The toy's networks are untrained: what they answer fits nothing."""
    monkeypatch.setattr(dust_network, "MISFIT", 1e30)


class Recorder:
    """Stands for a network: remembers what it read, and answers with the middle of the box."""

    def __init__(self, emulator, n_in):
        self.answer = np.concatenate([emulator.bounds.mean(axis=1), [-1.0] * 3])
        self.widths, self.read = (n_in, 6), None

    def __call__(self, inputs):
        self.read = inputs
        return np.tile(self.answer, (len(inputs), 1))


# ---- bands -----------------------------------------------------------------------------


def test_network_reads_any_bands(toy, data):
    flux, sigma = data
    full = estimate(toy, flux, sigma, toy.band_names)
    shuffled = estimate(toy, flux[::-1], sigma[::-1], toy.band_names[::-1])
    np.testing.assert_allclose(full[0], shuffled[0], rtol=1e-6)
    many = estimate(toy, np.stack([flux, flux]), sigma, toy.band_names)
    assert many[0].shape == many[1].shape == (2, 3)
    np.testing.assert_allclose(many[0][1], full[0], rtol=1e-5)
    lo, hi = toy.bounds.T
    assert ((full[0] >= lo) & (full[0] <= hi)).all()


def test_unused_bands_are_zero_in_the_network(toy):
    n = len(toy.bands)
    given = np.zeros((1, n), dtype=bool)
    given[0, 2] = True
    flux = np.full((1, n), np.exp(-30.0))
    x, used = network_inputs(channels(toy)[0], flux, ERROR_RANGE[1] * flux, given)
    # A single band has no colour: how well it is known, and the mean.
    assert set(np.flatnonzero(x)) <= {n + 2, 2 * n} and x[0, n + 2] == pytest.approx(0.5)
    np.testing.assert_array_equal(used, given)


def test_the_network_splits_brightness_from_colours(toy):
    """Twice as bright in all bands: the mean alone moves."""
    n = len(toy.bands)
    flux = np.exp(np.random.default_rng(0).normal(-30.0, 1.0, (1, n)))
    given = np.arange(n)[None] != 1
    a, b = (
        network_inputs(channels(toy)[0], f * flux, 0.1 * f * flux, given)[0] for f in (1.0, 2.0)
    )
    np.testing.assert_allclose(a[:, :-1], b[:, :-1], atol=1e-12)
    assert (b - a)[0, -1] == pytest.approx(np.log(2.0) / 6.0, rel=1e-9)


def test_answers_stay_in_the_box_and_near_the_prior(toy, data):
    flux, sigma = data
    far = Recorder(toy, 0)
    far.answer = np.array([99.0, -99.0, 0.0, 50.0, -50.0, 0.0])
    mean, width = estimate(dataclasses.replace(toy, inverse=far), flux, sigma, toy.band_names)
    np.testing.assert_allclose(mean, [toy.bounds[0, 1], toy.bounds[1, 0], 0.0])
    prior = np.ptp(toy.bounds, axis=1) / np.sqrt(12.0)
    np.testing.assert_allclose(width[:2] / prior[:2], np.exp([1.5, -7.0]))


def test_data_like_no_model_are_not_answered(toy, monkeypatch):
    """Ten times too bright for what the network finds: refused, or NaN among others."""
    monkeypatch.setattr(dust_network, "MISFIT", 3.0)
    middle = dataclasses.replace(toy, inverse=Recorder(toy, 0))
    flux = toy.photometry(*10.0 ** toy.bounds.mean(axis=1))
    mean, _ = estimate(middle, flux, 0.1 * flux, toy.band_names)
    np.testing.assert_allclose(mean, toy.bounds.mean(axis=1))
    for factor in (0.1, 10.0):
        with pytest.raises(DataError, match=r"3 times or more off .* check their unit"):
            estimate(middle, factor * flux, 0.1 * flux * factor, toy.band_names)
    fluxes = flux * np.array([[1.0], [10.0], [1.0]])
    errors = flux * np.array([[0.1], [1.0], [9.0]])  # the last is measured in no band
    mean, width = estimate(middle, fluxes, errors, toy.band_names)
    assert np.isfinite(mean[0]).all() and np.isnan(mean[1:]).all() and np.isnan(width[1:]).all()


def test_faint_bands_say_nothing(toy, data):
    """A millionth of the brightest is as good as none: stars outshine it."""
    flux, sigma = data
    k = int(np.argsort(flux)[-2])
    faint, errors = flux.copy(), sigma.copy()
    faint[k], errors[k] = 1e-6 * flux.max(), 1e-7 * flux.max()
    others = [i for i in range(flux.size) if i != k]
    without = estimate(toy, flux[others], sigma[others], [toy.band_names[i] for i in others])
    got = estimate(toy, faint, errors, toy.band_names)
    np.testing.assert_allclose(got, without, rtol=1e-6)


def test_bands_worse_than_the_network_knows(toy, data):
    """A band at 50 % is as good as none; without any other there is no estimate."""
    flux, _ = data
    errors = 0.1 * flux
    errors[2] = 0.5 * flux[2]
    others = [0, 1, 3, 4, 5]
    without = estimate(toy, flux[others], errors[others], [toy.band_names[i] for i in others])
    np.testing.assert_allclose(
        estimate(toy, flux, errors, toy.band_names)[0], without[0], rtol=1e-6
    )
    with pytest.raises(DataError, match="No band is measured to 30 %"):
        estimate(toy, flux, 0.5 * flux, toy.band_names)


# ---- spectra ---------------------------------------------------------------------------


def test_bins_are_means_of_straight_lines(toy):
    """Against the integral of the same straight lines, sampled a thousand times per bin."""
    rng = np.random.default_rng(5)
    wave = np.exp(rng.uniform(*np.log([2.0, 700.0]), 300))
    flux = rng.uniform(0.0, 1.0, wave.size)
    weights, covered = bin_weights(toy.wavelengths, wave)
    order = np.argsort(wave)
    edges = np.log(toy.wavelengths[::4])
    assert 10 < covered.sum() < covered.size
    for k in np.flatnonzero(covered):
        cells = np.linspace(edges[k], edges[k + 1], 1001)
        middle = 0.5 * (cells[1:] + cells[:-1])
        mean = np.interp(middle, np.log(wave[order]), flux[order]).mean()
        # The midpoint rule errs where it steps over a kink.
        assert weights[k] @ flux == pytest.approx(mean, abs=2e-4)
    np.testing.assert_allclose(weights[covered].sum(axis=1), 1.0, rtol=1e-12)
    assert not weights[~covered].any()


def test_bins_that_a_spectrum_leaves_out(toy):
    """Outside the spectrum, and where its points lie further apart than the bin is wide."""
    edges = toy.wavelengths[::4]
    wave = np.geomspace(edges[3] * 1.0001, edges[12], 200)
    wave = wave[(wave < edges[6] * 1.02) | (wave > edges[8] * 0.98)]
    _, covered = bin_weights(toy.wavelengths, wave)
    np.testing.assert_array_equal(np.flatnonzero(covered), [4, 5, 8, 9, 10, 11])
    assert not bin_weights(toy.wavelengths, wave[:1])[1].any()


def test_bins_average_their_noise(toy):
    """Error of a bin that the network reads against the scatter of 2,000 noisy spectra: 8 %."""
    wave = np.geomspace(2.0, 700.0, 900)
    flux = np.interp(np.log(wave), np.log(toy.wavelengths), toy.spectrum(*10.0**TRUTH))
    sigma = 0.1 * flux
    recorder = Recorder(toy, 0)
    emulator = dataclasses.replace(toy, spectrum_inverse=recorder)
    estimate(emulator, flux, sigma, wavelengths=wave)
    centre, _ = channels(toy, spectrum=True)
    seen = recorder.read[0, centre.size : -1]
    lo, hi = np.log(ERROR_RANGE)
    said = np.exp(hi + (seen - 0.5) * (lo - hi))[seen > 0]
    noisy = flux + sigma * np.random.default_rng(1).standard_normal((2000, wave.size))
    estimate(emulator, noisy, sigma, wavelengths=wave)
    means = recorder.read[:, -1:] * 6.0 + recorder.read[:, : centre.size] * 2.0
    found = np.exp(means + centre)[:, seen > 0]
    assert (seen > 0).sum() > 10
    np.testing.assert_allclose(said, found.std(axis=0) / found.mean(axis=0), rtol=0.08)


def test_spectra_in_any_order_and_sampling(toy):
    """Twice as many points between the same lines tell the same, but for their errors."""
    flux = toy.spectrum(*10.0**TRUTH)
    x = toy.wavelengths
    one = estimate(toy, flux, 0.1 * flux, wavelengths=x)
    swapped = estimate(toy, flux[::-1], 0.1 * flux[::-1], wavelengths=x[::-1])
    np.testing.assert_allclose(swapped, one, rtol=1e-6)
    finer = np.sort(np.concatenate([x, np.sqrt(x[1:] * x[:-1])]))
    lines = np.interp(np.log(finer), np.log(x), flux)
    known = estimate(toy, flux, 0.0 * flux, wavelengths=x)
    # Errors below the network's range are all the same to it.
    np.testing.assert_allclose(
        estimate(toy, lines, 0.0 * lines, wavelengths=finer), known, rtol=1e-6
    )
    many = estimate(toy, np.stack([flux, flux]), 0.1 * flux, wavelengths=x)
    assert many[0].shape == many[1].shape == (2, 3)


def test_spectra_that_say_nothing(toy):
    flux = np.ones(3)
    with pytest.raises(RangeError, match=r"covers no bin .* too far apart"):
        estimate(toy, flux, flux, wavelengths=[10.0, 100.0, 1000.0])
    with pytest.raises(RangeError, match=r"must lie within 1 to 1200 micron"):
        estimate(toy, flux, flux, wavelengths=[0.99, 1.0, 1.1])
    wave = np.geomspace(10.0, 100.0, 100)
    with pytest.raises(DataError, match="No bin is measured to 30 %"):
        estimate(toy, np.ones(100), 9.0, wavelengths=wave)
    for values, errors in ((np.ones(99), 0.1), (np.ones(100), [0.1, 0.2]), (1.0, 0.1)):
        with pytest.raises(DataError, match="100 points need as many values and errors"):
            estimate(toy, values, errors, wavelengths=wave)
    with pytest.raises(DataError, match="0 points need"):
        estimate(toy, [], [], bands=[])
    with pytest.raises(RangeError, match="covers no bin"):
        estimate(toy, [1.0], 0.1, wavelengths=10.0)
    with pytest.raises(DataError, match="list of numbers"):
        estimate(toy, [1.0], 0.1, wavelengths=[[10.0, 20.0]])
    with pytest.raises(DataError, match="A wavelength is not finite"):
        estimate(toy, flux, flux, wavelengths=[10.0, np.nan, 20.0])
    for both in ({}, {"bands": ["band_1"], "wavelengths": [1.0]}):
        with pytest.raises(DataError, match="and not both"):
            estimate(toy, [1.0], [0.1], **both)


# ---- files -----------------------------------------------------------------------------


def test_networks_in_the_file(toy, tmp_path):
    toy.save(tmp_path / "toy.safetensors")
    again = DustEmulator.load(tmp_path / "toy.safetensors")
    flux = toy.spectrum(*10.0**TRUTH)
    np.testing.assert_array_equal(
        estimate(again, flux, 0.1 * flux, wavelengths=toy.wavelengths),
        estimate(toy, flux, 0.1 * flux, wavelengths=toy.wavelengths),
    )
    # A selection of bands keeps the network of spectra, which reads none.
    selected = toy.select(toy.band_names[:2])
    assert selected.inverse is None and selected.spectrum_inverse is toy.spectrum_inverse
    toy_dust(nwave=81).save(tmp_path / "none.safetensors")
    none = DustEmulator.load(tmp_path / "none.safetensors")
    for where in ({"bands": toy.band_names}, {"wavelengths": toy.wavelengths}):
        with pytest.raises(DataError, match="holds no inverse network"):
            estimate(none, flux, flux, **where)


def test_a_network_of_other_channels_is_refused(toy, tmp_path):
    dataclasses.replace(toy, spectrum_inverse=toy.inverse).save(tmp_path / "odd.safetensors")
    with pytest.raises(ModelFileError, match="'spectrum_inverse' reads 13 numbers"):
        DustEmulator.load(tmp_path / "odd.safetensors")
