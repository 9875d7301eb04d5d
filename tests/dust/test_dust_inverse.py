"""Inversion by sampling: its likelihood in closed form, and its posterior on a toy emulator."""

import dataclasses

import numpy as np
import pytest
from dust_toys import toy_dust
from scipy.integrate import quad

from prospect_emu.dust.dust_inverse import best_fit, observe, posterior, starting_points
from prospect_emu.errors import DataError, RangeError
from prospect_emu.sampling.nested import NestedSettings

TRUTH = np.array([1.2, 8.3, 0.1])


@pytest.fixture(scope="module")
def toy():
    return toy_dust()


@pytest.fixture(scope="module")
def data(toy):
    flux = toy.photometry(*10.0**TRUTH)
    noise = np.random.default_rng(3).standard_normal(flux.size)
    return flux * (1.0 + 0.1 * noise), 0.1 * flux


def test_likelihood_is_gaussian_with_the_emulators_error(toy, data):
    flux, sigma = data
    obs = observe(toy, flux, sigma, toy.band_names)
    theta = np.random.default_rng(0).uniform(*toy.bounds.T, (5, 3))
    total2 = sigma**2 + (toy.band_error * flux) ** 2
    chi2 = ((toy.photometry(*(10.0**theta).T) - flux) ** 2 / total2).sum(axis=1)
    np.testing.assert_allclose(obs.log_likelihood(theta), -0.5 * chi2, rtol=1e-9)


@pytest.mark.parametrize("free_mass", [False, True])
def test_likelihood_knows_which_errors_go_together(toy, free_mass):
    """Of a spectrum: against the full covariance matrix, inverted."""
    rng = np.random.default_rng(8)
    modes = rng.normal(0.0, 2e-3, (2, toy.wavelengths.size))
    own = np.sqrt(1e-6 + (modes**2).sum(axis=0))
    emulator = dataclasses.replace(toy, spectrum_error=own, error_modes=modes)
    flux = toy.spectrum(*10.0**TRUTH)
    # Errors have a floor at 1e-9 of the brightest point.
    seen = flux > 1e-5 * flux.max()
    flux, modes = flux[seen], modes[:, seen]
    sigma, wave = 0.002 * flux, toy.wavelengths[seen]
    obs = observe(emulator, flux, sigma, wavelengths=wave, free_mass=free_mass)
    # What the modes leave counts as five independent errors, however many the points are.
    rest = 1e-6 * len(flux) / 5.0
    covariance = np.diag(sigma**2 + rest * flux**2) + (modes * flux).T @ (modes * flux)
    inverse = np.linalg.inv(covariance / flux / flux[:, None])
    theta = TRUTH + rng.normal(0.0, 0.01, (4, 3))
    expected = []
    for model in toy.spectrum(*(10.0**theta).T)[:, seen] / flux:
        mm, md = model @ inverse @ model, model @ inverse @ np.ones_like(flux)
        mass = md / mm if free_mass else 1.0
        rest = mass * model - 1.0
        expected.append(-0.5 * rest @ inverse @ rest)
        expected[-1] -= np.log(mass * np.sqrt(mm)) if free_mass else 0.0
    np.testing.assert_allclose(obs.log_likelihood(theta), expected, rtol=1e-6)


def test_free_mass_is_integrated_out(toy, data):
    """Against numerical integration over ln(mass); Laplace's method is good to 2 % at 4 %
    precision of the mass (10 % noise in six bands)."""
    flux, sigma = data
    obs = observe(toy, 1e7 * flux, 1e7 * sigma, toy.band_names, free_mass=True)
    theta = TRUTH + np.array([[0.0, 0.0, 0.0], [0.05, 0.2, 0.0]])
    got = obs.log_likelihood(theta)
    exact = []
    for t in theta:
        model = toy.photometry(*10.0**t)
        centre = obs.log_mass(t[None])[0]

        def density(x, m=model):
            return np.exp(-0.5 * (((np.exp(x) * m - obs.values) / obs.errors) ** 2).sum() + 30.0)

        exact.append(np.log(quad(density, centre - 1.0, centre + 1.0, points=[centre])[0]) - 30.0)
    # Up to a constant, which no posterior knows.
    assert got[1] - got[0] == pytest.approx(exact[1] - exact[0], abs=0.02)
    assert obs.log_mass(TRUTH[None])[0] == pytest.approx(np.log(1e7), abs=0.2)


def test_units_of_a_free_mass_do_not_matter(toy, data):
    flux, sigma = data
    theta = np.random.default_rng(1).uniform(*toy.bounds.T, (4, 3))
    logl = [
        observe(toy, f * flux, f * sigma, toy.band_names, free_mass=True).log_likelihood(theta)
        for f in (1.0, 1e20)
    ]
    np.testing.assert_allclose(logl[1] - logl[1][0], logl[0] - logl[0][0], rtol=1e-6)


def test_spectrum_between_wavelengths(toy):
    """At the emulator's own wavelengths the model is its spectrum."""
    wave = toy.wavelengths[[3, 7, 20]]
    flux = toy.spectrum(*10.0**TRUTH)[[3, 7, 20]]
    obs = observe(toy, flux, 0.1 * flux, wavelengths=wave)
    np.testing.assert_allclose(np.exp(obs.ln_model(TRUTH[None]))[0], flux, rtol=1e-6)


def test_posterior_holds_the_truth_and_its_best_fit_is_a_minimum(toy, data):
    flux, sigma = data
    settings = NestedSettings(
        nlive_init=100, dlogz_init=0.2, target_n_effective=200, walks=12, max_error=9.0
    )
    result = posterior(observe(toy, flux, sigma, toy.band_names), settings, seed=5)
    lo, hi = np.quantile(result.samples, (0.0005, 0.9995), axis=0)
    assert ((lo < TRUTH) & (hi > TRUTH)).all()
    assert result.chi2 <= -2.0 * result.log_likelihood.max() + 1e-6
    assert result.status == "converged"
    again = posterior(observe(toy, flux, sigma, toy.band_names), settings, seed=5)
    np.testing.assert_array_equal(again.samples, result.samples)


def test_best_fit_finds_its_own_starts(toy):
    """A noise-free spectrum of the toy itself: its parameters, to the precision of the search."""
    flux = toy.spectrum(*10.0**TRUTH)
    obs = observe(toy, flux, 0.01 * flux, wavelengths=toy.wavelengths)
    np.testing.assert_allclose(best_fit(obs), TRUTH, atol=1e-3)
    starts = starting_points(obs)
    assert len(starts) > 1 and (np.diff(np.sort(starts[:, 1])) > 0.25).all()


def test_a_wavelength_that_is_not_finite(toy):
    with pytest.raises(DataError, match="A wavelength is not finite"):
        observe(toy, [1.0, 1.0], [0.1, 0.1], wavelengths=[10.0, np.nan])


@pytest.mark.parametrize(
    ("change", "error", "text"),
    [
        ({"values": [1.0, np.nan]}, DataError, "finite"),
        ({"errors": [0.1, -0.1]}, DataError, "not negative"),
        ({"values": [-1.0, -1.0]}, DataError, "No value is positive"),
        ({"values": [1.0]}, DataError, "one value and one error"),
        ({"wavelengths": [10.0, 20.0]}, DataError, "not both"),
        ({"bands": None, "wavelengths": [10.0, 2e4]}, RangeError, "is the unit micron"),
    ],
)
def test_bad_data_are_refused(toy, change, error, text):
    given = {"values": [1.0, 2.0], "errors": [0.1, 0.1], "bands": ("band_0", "band_1")} | change
    with pytest.raises(error, match=text):
        observe(toy, **given)
