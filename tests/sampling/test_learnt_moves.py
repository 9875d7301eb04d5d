"""Walks in learnt coordinates, and errors from the genealogy of the live points."""

import numpy as np
import pytest
from scipy.special import ndtr, ndtri
from scipy.stats import kstest

from prospect_emu.sampling import cross_fit
from prospect_emu.sampling.coordinates import UnitCoordinates
from prospect_emu.sampling.genealogy import clans, errors
from prospect_emu.sampling.nested import run_nested
from prospect_emu.sampling.quadratic_map import QuadraticMap
from prospect_emu.sampling.settings import NestedSettings
from prospect_emu.sampling.walks import difference_walks, learnt_walks


def bent(y):
    return y[:, 1:4].sum(axis=1) + 0.2 * y[:, 1] ** 2 - 0.2 * y[:, 1] * y[:, 2]


def sheet(n, rng, ndim=4):
    """A thin curved sheet: the first coordinate is a quadratic of the others."""
    y = rng.standard_normal((n, ndim))
    y[:, 0] = 0.01 * y[:, 0] + bent(y)
    return y


def test_map_makes_a_curved_sheet_round():
    """Residuals of an exact quadratic are those that went in: a unit normal."""
    y = sheet(2000, np.random.default_rng(1))
    learnt = QuadraticMap.fit(y)
    z = learnt.forward(y)
    assert np.allclose(np.cov(z.T), np.eye(4), atol=0.15)
    assert learnt.scale.min() == pytest.approx(0.01, rel=0.1)
    np.testing.assert_allclose(learnt.inverse(z), y, atol=1e-9)


@pytest.mark.parametrize("n", [3, 12, 40])
def test_map_of_few_points_can_be_inverted(n):
    y = np.random.default_rng(2).standard_normal((n, 6))
    learnt = QuadraticMap.fit(y)
    new = np.random.default_rng(3).standard_normal((50, 6))
    np.testing.assert_allclose(learnt.inverse(learnt.forward(new)), new, atol=1e-6)


def test_map_has_a_constant_volume_element():
    """Its logarithm is the sum of those of the scales, wherever (finite differences)."""
    learnt = QuadraticMap.fit(sheet(500, np.random.default_rng(4)))
    for z in np.random.default_rng(5).standard_normal((3, 4)):
        ends = learnt.inverse(np.concatenate([z + 1e-5 * np.eye(4), z - 1e-5 * np.eye(4)]))
        jacobian = (ends[:4] - ends[4:]) / 2e-5
        expected = np.log(learnt.scale).sum()
        assert np.linalg.slogdet(jacobian)[1] == pytest.approx(expected, abs=1e-4)


def test_learnt_walks_stay_uniform():
    """Invariance: points uniform in a curved region of the cube stay so, a free one as well.

    The region is |u1 - u0^2| < 0.01; its uniform draws are known (KS tests).
    """
    rng = np.random.default_rng(6)
    u0 = rng.uniform(0.2, 0.9, 3000)
    start = np.column_stack([u0, u0**2 + rng.uniform(-0.01, 0.01, 3000), rng.random(3000)])

    def logl(v):
        inside = (np.abs(v[:, 1] - v[:, 0] ** 2) < 0.01) & (v[:, 0] > 0.2) & (v[:, 0] < 0.9)
        return np.where(inside, 1.0, -1.0)

    coordinates = UnitCoordinates(np.copy, logl)
    learnt = QuadraticMap.fit(coordinates.start(start)[0])
    u, v, value, accepted = learnt_walks(start, 0.0, 200, rng, coordinates, learnt)
    assert (value == 1.0).all() and 0.02 < accepted.mean() / 200 < 0.9
    np.testing.assert_allclose(v, u, atol=1e-15)
    assert kstest((u[:, 0] - 0.2) / 0.7, "uniform").pvalue > 1e-3
    assert kstest((u[:, 1] - u[:, 0] ** 2 + 0.01) / 0.02, "uniform").pvalue > 1e-3
    assert kstest(u[:, 2], "uniform").pvalue > 1e-3
    # Along the sheet and across it, the start is forgotten.
    assert np.abs(np.corrcoef(start.T, u.T)[:3, 3:]).max() < 0.1


def test_learnt_walks_forget_faster_than_differences():
    """In a thin curved sheet of ten dimensions, the worst coordinate after as many steps."""
    rng = np.random.default_rng(7)
    y = sheet(1000, rng, 10)

    def logl(y):
        return -np.abs(y[:, 0] - bent(y))

    coordinates = UnitCoordinates(ndtri, logl)
    u, threshold = ndtr(y), logl(y).min() - 1e-9

    def worst(end):
        return max(np.corrcoef(y[:, k], ndtri(end[:, k]))[0, 1] for k in range(10))

    def evaluate(u):
        return ndtri(u), logl(ndtri(u))

    learnt = QuadraticMap.fit(y)
    new = worst(learnt_walks(u, threshold, 60, rng, coordinates, learnt)[0])
    old = worst(difference_walks(u, threshold, 60, rng, evaluate)[0])
    assert new < 0.5 < 0.8 < old


def test_maps_of_strangers_keep_widths_and_evidence():
    """An eight-dimensional Gaussian of 200 live points, whose maps have 45 coefficients each.

    Fitted to the points that walk in them they give ln Z + 0.7 and 0.948 of the widths; the four
    seeds together are good to 0.15 and 0.008.
    """
    width, logz, found = 0.05, [], []
    for seed in range(4):
        results = run_nested(
            np.copy, lambda v: -0.5 * (((v - 0.5) / width) ** 2).sum(axis=1), 8,
            NestedSettings(
                nlive_init=200, walks=20, target_n_effective=1, dlogz_init=0.1, max_error=9.0
            ),
            seed=seed,
        )  # fmt: skip
        weights = results.importance_weights()
        variance = weights @ (results.samples - weights @ results.samples) ** 2
        found.append(np.sqrt(variance) / width)
        logz.append(results.logz[-1] - 8 * np.log(width * np.sqrt(2 * np.pi)))
    assert abs(np.mean(logz)) < 0.4
    assert np.mean(found) == pytest.approx(1.0, abs=0.025)


def test_relatives_share_a_group_and_strangers_a_map():
    """Groups of four clans sizes 5, 3, 2, 2 are balanced; a map is that of all other points."""
    rng = np.random.default_rng(9)
    live, clan = rng.random((12, 2)), np.repeat([7, 3, 5, 4], [5, 3, 2, 2])
    known = cross_fit.fit(live, clan, UnitCoordinates(np.copy, lambda v: v[:, 0]))
    again = cross_fit.clans(known, live)
    assert (again[:, None] == again).tolist() == (clan[:, None] == clan).tolist()
    assert sorted(known["group"].tolist()) == [0, 1, 2, 3]
    assert (cross_fit.clans(known, rng.random((3, 2))) == -1).all()
    own = cross_fit.map_for(known, again).forward(ndtri(live))
    for one in range(4):
        rows = again == one
        expected = QuadraticMap.fit(ndtri(live[~rows])).forward(ndtri(live[rows]))
        np.testing.assert_allclose(own[rows], expected, rtol=1e-12)
    z = rng.standard_normal((12, 2))
    both = cross_fit.map_for(known, again)
    np.testing.assert_allclose(both.forward(both.inverse(z)), z, atol=1e-9)
    cross_fit.remember(known, z, again)
    np.testing.assert_array_equal(cross_fit.clans(known, z), again)


def test_clans_follow_births():
    """Points 0 to 2, then births in iterations 1 (a copy of 2) and 2 (a copy of that)."""
    np.testing.assert_array_equal(
        clans([2, 2], ids=np.array([0, 1, 1, 0, 2]), born=np.array([0, 0, 2, 1, 0]), nlive=3),
        [0, 1, 2, 2, 2],
    )


def test_errors_of_independent_points_are_those_of_their_number():
    rng = np.random.default_rng(8)
    samples, weights = rng.standard_normal((4000, 3)), np.full(4000, 1 / 4000)
    found = errors(np.arange(4000), samples, weights, 1.0, 100)
    np.testing.assert_allclose(found.mean, 1 / np.sqrt(4000), rtol=0.1)
    # Copies of 40 points are worth 40 points.
    copies = samples[np.arange(4000) % 40]
    found = errors(np.arange(4000) % 40, copies, weights, 1.0, 100)
    np.testing.assert_allclose(found.mean, 1 / np.sqrt(40), rtol=1e-6)


@pytest.mark.parametrize("walks", [2, 20])
def test_errors_are_those_of_many_seeds(walks):
    """Of a five-dimensional Gaussian: stated errors against the scatter of means (60 numbers).

    Their rms is known to 9 %, or, as the means of one run are not quite independent, to 15 %.
    """
    width, found, stated = 0.05, [], []
    for seed in range(12):
        results = run_nested(
            np.copy, lambda v: -0.5 * (((v - 0.5) / width) ** 2).sum(axis=1), 5,
            NestedSettings(
                nlive_init=120, walks=walks, target_n_effective=1, dlogz_init=0.1, max_error=9.0
            ),
            seed=seed,
        )  # fmt: skip
        found.append((results.importance_weights() @ results.samples - 0.5) / width)
        stated.append(results.diagnostics["mean_error"])
    ratio = np.sqrt(np.mean(np.square(stated)) / np.mean(np.square(found)))
    assert 0.6 < ratio < 1.6


def test_a_run_repeats_until_its_error_is_small():
    def run(**changes):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("warnings.warn", lambda *a, **k: None)
            return run_nested(
                np.copy, lambda v: -0.5 * (((v - 0.5) / 0.05) ** 2).sum(axis=1), 3,
                NestedSettings(
                    nlive_init=80, walks=10, target_n_effective=1, dlogz_init=0.1, **changes
                ),
                seed=1,
            )  # fmt: skip

    one = run(max_error=9.0)
    assert one.status == "converged" and one.diagnostics["n_runs"] == 1
    error = max(one.diagnostics["mean_error"])
    more = run(max_error=0.8 * error, max_runs=9)
    assert more.status == "converged" and more.diagnostics["n_runs"] > 1
    assert max(more.diagnostics["mean_error"]) <= 0.8 * error
    few = run(max_error=0.1 * error, max_runs=2)
    assert few.status.startswith("uncertain") and few.diagnostics["n_runs"] == 2
