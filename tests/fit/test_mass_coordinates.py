"""Coordinates with brightness for mass, on the toy emulator."""

import numpy as np
import pytest
from prospect.models import SpecModel

from prospect_emu import EmulatorSpecModel, EmulatorSPS, load_emulator
from prospect_emu.fit.mass_coordinates import find_scale, mass_coordinates
from prospect_emu.fit.posterior import BatchedPosterior
from prospect_emu.observe.filters import load_filters
from prospect_emu.prospector.mathews23 import model_params
from prospect_emu.prospector.templates import template_model
from prospect_emu.sampling.quadratic_map import QuadraticMap
from prospect_emu.sampling.walks import learnt_walks


@pytest.fixture(scope="module")
def posterior(toy_emulator):
    sps = EmulatorSPS(toy_emulator)
    model = EmulatorSpecModel(model_params(zred=1.0))
    flux = sps.emulator.maggies(sps.theta_from_params(model.params)[None])[0]
    flux[3] = -0.1 * flux[3]  # as the sky may have it
    obs = {"filters": sps.filters, "maggies": flux, "maggies_unc": 0.05 * np.abs(flux)}
    return BatchedPosterior(model, sps.inflate(obs), sps)


def test_mass_is_found(posterior):
    u = np.random.default_rng(1).uniform(0.1, 0.9, (5, posterior.ndim))
    assert find_scale(posterior, u) == (posterior.labels.index("massmet_1"), True)


def test_points_come_back(posterior):
    """From the cube to coordinates, to parameters, and back: rounding alone."""
    coordinates, rng = mass_coordinates(posterior), np.random.default_rng(2)
    u = rng.uniform(0.01, 0.99, (50, posterior.ndim))
    y, v, density, logl = coordinates.start(u)
    np.testing.assert_array_equal(v, posterior.prior_transform(u))
    again, same, value = coordinates.evaluate(y)
    np.testing.assert_allclose(again, v, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(same, density, atol=1e-5)
    np.testing.assert_allclose(value, logl, rtol=1e-3)
    np.testing.assert_allclose(coordinates.unit(y, v), u, atol=1e-9)


def test_brightness_stays_where_others_change(posterior):
    """Of two points with the same first coordinate the fluxes have the same weighted mean."""
    coordinates, rng = mass_coordinates(posterior), np.random.default_rng(3)
    y = coordinates.start(rng.uniform(0.2, 0.8, (20, posterior.ndim)))[0]
    y[:, 0] = y[0, 0]
    v = coordinates.evaluate(y)[0]
    flux, data = posterior.maggies(v), posterior.likelihood
    mean = flux @ np.where(data.flux > 0, data.flux / data.unc**2, 0.0)
    np.testing.assert_allclose(mean, mean[0], rtol=1e-5)


def test_density_is_that_of_the_prior(posterior):
    """Prior density of the coordinates: `log_prior` times the volume element (differences)."""
    coordinates, rng = mass_coordinates(posterior), np.random.default_rng(4)
    u = rng.uniform(0.2, 0.8, (6, posterior.ndim))
    y, v, density, _ = coordinates.start(u)
    found = coordinates.cheap_density(y) + density
    step, expected = 1e-3, []
    for row in y:
        ends = [coordinates.evaluate(row + s * step * np.eye(row.size))[0] for s in (1, -1)]
        jacobian = (ends[0] - ends[1]) / (2 * step)
        expected.append(np.linalg.slogdet(jacobian)[1])
    expected = np.array(expected) + posterior.log_prior(v)
    # Up to the normalisation, which no ratio sees; single precision of fluxes at small steps.
    np.testing.assert_allclose(found - found[0], expected - expected[0], atol=0.02)


@pytest.mark.parametrize("name", ["mathews23-64", None])
def test_steps_that_all_leave_the_prior(name):
    """With errors that follow the vector, and with exact fluxes, no vector at all was an error.

    Of 60 galaxies of a campaign with short walks, three failed by it.
    """
    filters = load_filters(["sdss_g0", "sdss_i0", "twomass_Ks"])
    obs = {"filters": filters, "maggies": np.full(3, 1e-9), "maggies_unc": np.full(3, 1e-10)}
    params = model_params(zred=1.0)
    model, sps = SpecModel(params), EmulatorSPS()
    if name:
        sps = EmulatorSPS(load_emulator(name), filters=filters)
        model, obs = EmulatorSpecModel(params), sps.inflate(obs)
    posterior = BatchedPosterior(model, obs, sps)
    none = np.zeros((0, posterior.ndim))
    assert posterior.log_likelihood(none).shape == (0,)
    assert posterior.maggies(none).shape == (0, 3)
    coordinates = mass_coordinates(posterior)
    y = coordinates.start(np.full((4, posterior.ndim), 0.5))[0]
    y[:, coordinates._mass] = 300.0  # brighter than any mass
    _, density, logl = coordinates.evaluate(y)
    assert np.all(density == -np.inf) and np.all(logl == -np.inf)


def test_bands_without_light():
    """At z = 8 some vectors have no light at all in the bluest band; mass is found all the same."""
    filters = load_filters(["sdss_g0", "jwst_f200w", "jwst_f444w"])
    obs = {"filters": filters, "maggies": np.full(3, 1e-9), "maggies_unc": np.full(3, 1e-10)}
    far = BatchedPosterior(SpecModel(model_params(zred=8.0)), obs, EmulatorSPS())
    u = np.random.default_rng(0).uniform(0.05, 0.95, (8, far.ndim))
    assert (far.maggies(far.prior_transform(u))[:, 0] == 0.0).any()
    assert find_scale(far, u) == (far.labels.index("massmet_1"), True)
    assert mass_coordinates(far) is not None


def test_a_joint_prior_that_holds_the_redshift():
    """Prospector-beta at one redshift: the first value of its prior is the same everywhere."""
    filters = load_filters(["jwst_f200w", "jwst_f444w"])
    obs = {"filters": filters, "maggies": np.full(2, 1e-9), "maggies_unc": np.full(2, 1e-10)}
    posterior = BatchedPosterior(template_model("uncover", zred=2.0)[0], obs, EmulatorSPS())
    coordinates = mass_coordinates(posterior)
    assert posterior.labels[0] == "nzsfh_1" and 0 not in coordinates.own
    u = np.random.default_rng(2).uniform(0.01, 0.99, (20, posterior.ndim))
    y, v, density, _ = coordinates.start(u)
    assert np.isfinite(density).all() and (v[:, 0] == 2.0).all()
    np.testing.assert_allclose(coordinates.unit(y, v), u, atol=1e-9)


def test_walks_stay_where_the_unit_cube_leads():
    """Prospector-beta's ratios have a density beyond the range of its draws.

    Starts at the lowest ratios, in walks of 100 steps: every chain's vector is that of its
    point of the unit cube, to the rounding of the inverse.
    """
    filters = load_filters(["jwst_f200w", "jwst_f444w"])
    obs = {"filters": filters, "maggies": np.full(2, 1e-9), "maggies_unc": np.full(2, 1e-8)}
    posterior = BatchedPosterior(template_model("uncover", zred=2.0)[0], obs, EmulatorSPS())
    coordinates, rng = mass_coordinates(posterior), np.random.default_rng(3)
    u = rng.uniform(0.01, 0.99, (200, posterior.ndim))
    ratios = [i for i, name in enumerate(posterior.labels) if name.startswith("nzsfh")][3:]
    u[:, ratios] = rng.uniform(1e-5, 1e-3, (200, len(ratios)))
    y, v, _, _ = coordinates.start(u)
    assert coordinates.reached(y, v).all()
    y_out = y.copy()
    y_out[:, ratios[0]] = -7.0
    v_out, density, _ = coordinates.evaluate(y_out)
    assert np.isfinite(density).any() and not coordinates.reached(y_out, v_out).any()
    learnt = QuadraticMap.fit(y)
    moved, v, _, accepted = learnt_walks(u, -np.inf, 100, rng, coordinates, learnt)
    assert accepted.all()
    np.testing.assert_allclose(posterior.prior_transform(moved), v, atol=1e-6)
