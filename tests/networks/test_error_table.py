"""Errors of emulators by redshift and dust2, and what a fit makes of them."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import norm

from prospect_emu import EmulatorSpecModel, EmulatorSPS, load_emulator
from prospect_emu.errors import ModelFileError
from prospect_emu.fit.likelihood import Emulated, Independent
from prospect_emu.fit.posterior import BatchedPosterior
from prospect_emu.networks.error_table import ErrorTable, dust_coordinate, fit_errors, hats
from prospect_emu.networks.vector import PARAMETERS
from prospect_emu.observe.filters import load_filters
from prospect_emu.observe.magnitudes import arsinh_error_to_maggies
from prospect_emu.prospector.mathews23 import model_params

ZRED, DUST2 = PARAMETERS.index("zred"), PARAMETERS.index("dust2")
ZNODES, DNODES = np.array([0.5, 1.0, 3.0]), np.array([0.0, 0.05, 0.5, 4.0])


@pytest.fixture
def table():
    rng = np.random.default_rng(1)
    return ErrorTable(ZNODES, DNODES, rng.uniform(0.02, 0.5, (3, 4, 12)).astype("f4"))


@pytest.fixture
def emulator(double_emulator, table):
    return replace(double_emulator, errors=table)


def test_hats_are_linear_interpolation():
    """numpy.interp of every node's own unit vector; constant beyond the nodes."""
    nodes, x = np.array([0.0, 1.0, 3.0]), np.array([-1.0, 0.0, 0.4, 1.0, 2.9, 3.0, 9.0])
    expected = np.stack([np.interp(x, nodes, e) for e in np.eye(3)], -1)
    np.testing.assert_allclose(hats(x, nodes), expected, atol=1e-15)
    np.testing.assert_array_equal(hats([0.3, 7.0], np.array([2.0])), np.ones((2, 1)))


def test_variances_are_interpolated(table):
    """At the nodes the table itself; between them by numpy.interp, one axis after the other."""
    z, d = np.meshgrid(ZNODES, DNODES, indexing="ij")
    np.testing.assert_allclose(table.at(z.ravel(), d.ravel()), table.sigma.reshape(12, 12))
    x = dust_coordinate(np.array([0.01, 0.3]))
    for i, z in enumerate((0.7, 2.2)):
        rows = [np.interp(x[i], dust_coordinate(DNODES), v) for v in table.sigma[:, :, 3] ** 2]
        expected = np.sqrt(np.interp(z, ZNODES, rows))
        found = table.at(z, (0.01, 0.3)[i])
        np.testing.assert_allclose(found[0, 3], expected, rtol=1e-6)
        np.testing.assert_allclose(table.at_redshift(z).at(z, (0.01, 0.3)[i]), found, rtol=1e-6)
    assert np.all(table.typical() > table.sigma.min()) and table.typical(1.0).shape == (12,)


def test_fitted_table_has_unit_pulls():
    """Residuals of known variance: 200,000 draws tell a variance to 2 % in 48 cells."""
    rng = np.random.default_rng(2)
    truth = ErrorTable(ZNODES, DNODES, np.exp(rng.normal(-2.0, 1.0, (3, 4, 2))))
    z, d = rng.uniform(0.5, 3.0, 400), 4.0 * rng.random(400) ** 4
    sigma = truth.at(z, d)
    n = 500
    squares = (sigma[:, None] * rng.normal(size=(400, n, 2))) ** 2
    found = fit_errors(ZNODES, DNODES, (z, d), squares.mean(1), np.full((400, 2), float(n)))
    pulls = squares / found.at(z, d)[:, None] ** 2
    np.testing.assert_allclose(pulls.mean((0, 1)), 1.0, atol=0.02)
    low = d < 0.01
    np.testing.assert_allclose(pulls[low].mean((0, 1)), 1.0, atol=0.05)


def test_file(emulator, tmp_path):
    """Kept to the last bit, cut with the bands; a damaged table is named."""
    path = tmp_path / "e.safetensors"
    emulator.save(path)
    again = load_emulator(path)
    np.testing.assert_array_equal(again.errors.sigma, emulator.errors.sigma)
    theta = np.array([b.mean() for b in emulator.bounds])[None]
    few = again.select(again.filters[3:5])
    expected = emulator.sigma_at(theta)[:, 3:5]  # to the order of sums
    np.testing.assert_allclose(few.sigma_at(theta), expected, rtol=1e-14)
    bare = replace(emulator, errors=None)
    np.testing.assert_array_equal(bare.sigma_at(theta)[0], bare.sigma_mag)
    for sigma, message in ((-emulator.errors.sigma, "positive"), (np.ones((2, 2, 2)), "shape")):
        replace(emulator, errors=replace(emulator.errors, sigma=sigma)).save(path)
        with pytest.raises(ModelFileError, match=message):
            load_emulator(path)


def problem(emulator, zred=1.3, **more):
    filters = load_filters(emulator.filters)
    model, sps = EmulatorSpecModel(model_params(zred=zred)), EmulatorSPS(emulator, filters)
    model.set_parameters(model.prior_transform(np.full(model.ndim, 0.5)))
    flux = emulator.maggies(sps.theta_from_params(model.params))
    flux[3] *= -1.0
    obs = {"filters": filters, "maggies": flux, "maggies_unc": 0.05 * np.abs(flux), "zred": zred}
    obs |= {"phot_mask": np.arange(flux.size) != 5, "wavelength": None, "spectrum": None, **more}
    return model, sps.inflate(obs), sps


@pytest.mark.parametrize("zred", [1.3, None])
def test_likelihood_follows_the_vector(emulator, zred):
    """scipy's normal densities with every vector's own errors, to 1e-9 (sums of a dozen)."""
    model, obs, sps = problem(emulator, zred)
    posterior = BatchedPosterior(model, obs, sps)
    assert type(posterior.likelihood) is Emulated
    theta = posterior.prior_transform(np.random.default_rng(3).random((40, posterior.ndim)))
    theta[:10, posterior.labels.index("dust2")] = np.geomspace(1e-6, 0.05, 10)
    vectors, mask = posterior.predictions.vectors(theta), obs["phot_mask"]
    sigma = emulator.errors.at(vectors[:, ZRED], vectors[:, DUST2])
    slope = arsinh_error_to_maggies(1.0, obs["maggies"])
    unc = np.hypot(obs["maggies_unc_observed"], slope * sigma)[:, mask]
    expected = norm.logpdf(posterior.maggies(theta), obs["maggies"][mask], unc).sum(1)
    np.testing.assert_allclose(posterior.log_likelihood(theta), expected, rtol=1e-9)
    perfect = norm.logpdf(0.0, 0.0, unc).sum(1)
    np.testing.assert_allclose(posterior.likelihood.log_norm_at(theta), perfect, rtol=1e-9)
    # What Prospector's own likelihood sees is the typical error at this redshift.
    typical = emulator.errors.typical(zred)
    np.testing.assert_allclose(
        obs["maggies_unc"][mask], np.hypot(obs["maggies_unc_observed"], slope * typical)[mask]
    )


def test_upper_limits_follow_the_vector_too(emulator):
    """`norm.logcdf` for the limit, with its own error."""
    limits = np.arange(12) == 2
    model, obs, sps = problem(emulator, upper_limits=limits)
    posterior = BatchedPosterior(model, obs, sps)
    assert type(posterior.likelihood) is Independent
    theta = posterior.prior_transform(np.full((1, posterior.ndim), 0.3))
    mask, flux = obs["phot_mask"], obs["maggies"]
    slope = arsinh_error_to_maggies(1.0, flux)
    sigma = emulator.sigma_at(posterior.predictions.vectors(theta))[0]
    unc = np.hypot(obs["maggies_unc_observed"], slope * sigma)
    model_flux = np.empty(12)
    model_flux[mask] = posterior.maggies(theta)[0]
    used = mask & ~limits
    expected = norm.logpdf(model_flux, flux, unc)[used].sum()
    expected += norm.logcdf((flux - model_flux) / unc)[limits].sum()
    np.testing.assert_allclose(posterior.log_likelihood(theta)[0], expected, rtol=1e-9)


def test_a_covariance_keeps_its_own_errors(emulator):
    model, _, sps = problem(emulator)
    obs = sps.inflate(problem(emulator)[1], covariance=True)
    assert type(BatchedPosterior(model, obs, sps).likelihood).__name__ == "Correlated"
    np.testing.assert_allclose(
        obs["maggies_unc"][0],
        np.hypot(
            obs["maggies_unc_observed"][0],
            arsinh_error_to_maggies(emulator.covariance[0, 0] ** 0.5, obs["maggies"][0]),
        ),
    )
