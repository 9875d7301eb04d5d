"""Insertion ranks against anesthetic, and on runs that are right and wrong on purpose."""

import numpy as np
import pytest
from scipy.stats import kstest

from prospect_emu.sampling import insertion
from prospect_emu.sampling.nested import NestedSettings, run_nested


def run(walks=20, seed=1, maxbatch=0, nlive=100, ndim=4, **settings):
    def logl(v):
        return -0.5 * (((v - 0.5) / 0.07) ** 2).sum(axis=1)

    return run_nested(
        lambda u: u.copy(), logl, ndim,
        NestedSettings(nlive_init=nlive, walks=walks, maxbatch=maxbatch,
                       target_n_effective=10**6 if maxbatch else 1, **settings),
        seed=seed,
    )  # fmt: skip


def contours(results):
    lower = np.array(
        results["batch_bounds" if "batch_bounds" in results.keys() else "batch_logl_bounds"]
    ).reshape(-1, 2)[:, 0]
    birth = insertion.births(
        results["samples_id"], results["samples_batch"], results["logl"], lower
    )  # fmt: skip
    return results["logl"], birth, lower


@pytest.mark.filterwarnings("ignore:The fit ended early")
@pytest.mark.parametrize("maxbatch", [0, 2])
def test_births_explain_the_live_points(maxbatch):
    """As many points alive at each death as dynesty says (exact), and births below deaths.

    Not where several die on one contour, which dynesty counts down.
    """
    results = run(maxbatch=maxbatch)
    logl, birth, _ = contours(results)
    assert (birth < logl).all()
    alive = ((birth < logl[:, None]) & (logl >= logl[:, None])).sum(axis=1)
    single = np.array([np.count_nonzero(logl == x) == 1 for x in logl])
    assert single.mean() > 0.9
    np.testing.assert_array_equal(alive[single], results["samples_n"][single])


@pytest.mark.filterwarnings("ignore:The fit ended early")
@pytest.mark.parametrize("maxbatch", [0, 2])
def test_ranks_are_anesthetics(maxbatch):
    utils = pytest.importorskip("anesthetic.utils", reason="anesthetic is not installed")
    logl, birth, _ = contours(run(maxbatch=maxbatch))
    rank, _ = insertion.ranks(logl, birth)
    np.testing.assert_array_equal(rank, utils.compute_insertion_indexes(logl, birth))


def test_the_p_value_is_anesthetics():
    """1e-12, for ranks that are uniform and for ranks that are not."""
    utils = pytest.importorskip("anesthetic.utils", reason="anesthetic is not installed")
    rng = np.random.default_rng(2)
    for power in (1.0, 1.05, 1.3):
        rank = (50 * rng.random(3000) ** power).astype(int)
        expected = utils.insertion_p_value(rank, 50)["p-value"]
        assert insertion.p_value(rank, np.full(3000, 50)) == pytest.approx(expected, rel=1e-12)


def test_equal_likelihoods_are_counted_once():
    """Ties: points that die on a contour are not alive for those born on it."""
    logl = np.array([0.0, 1.0, 1.0, 2.0, 3.0])
    birth = np.array([-np.inf, -np.inf, -np.inf, 0.0, 1.0])
    rank, nlive = insertion.ranks(logl, birth)
    np.testing.assert_array_equal(rank, [0, 1, 1, 2, 1])
    np.testing.assert_array_equal(nlive, [3, 3, 3, 3, 2])


def test_p_values_of_good_runs_are_uniform():
    """Long walks, 25 seeds: KS p > 1e-3, and each run reports its own."""
    values = [run(walks=40, seed=s, ndim=2).diagnostics["insertion_p_value"] for s in range(25)]
    assert kstest(values, "uniform").pvalue > 1e-3


def simulated(share, n=6000, nlive=200):
    """Nested sampling in volume alone; a share of the new points falls inside all others."""
    rng = np.random.default_rng(4)
    live = rng.random(nlive)
    logl, birth, born = [], [], np.full(nlive, -np.inf)
    for _ in range(n):
        worst = live.argmax()
        logl.append(-np.log(live[worst]))
        birth.append(born[worst])
        born[worst] = logl[-1]
        live[worst] = rng.random() * (live.min() if rng.random() < share else live[worst])
    order = np.argsort(-live)
    return np.r_[logl, -np.log(live[order])], np.r_[birth, born[order]]


@pytest.mark.parametrize(("share", "told"), [(0.0, False), (0.1, True)])
def test_points_drawn_too_deep_are_told(share, told):
    """A tenth of the new points inside all others: p < 1e-3; none: p > 1e-3."""
    rank, nlive = insertion.ranks(*simulated(share))
    assert (nlive[200:-200] == 200).all()
    assert (insertion.p_value(rank[1000:5000], nlive[1000:5000]) < 1e-3) is told


def test_changing_numbers_of_live_points_are_allowed():
    rng = np.random.default_rng(3)
    nlive = rng.integers(500, 1000, 4000)
    rank = (rng.random(4000) * nlive).astype(int)
    assert insertion.p_value(rank, nlive) > 1e-3
    assert insertion.p_value(rank // 2, nlive) < 1e-9
    assert np.isnan(insertion.p_value(rank[:0], nlive[:0]))
