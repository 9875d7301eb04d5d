"""Lockstep nested sampling against dynesty as it comes, and against analytic integrals."""

import functools
import itertools
import warnings
from types import SimpleNamespace

import dynesty
import h5py
import numpy as np
import pytest
from dynesty import bounding, sampler, utils
from prospect.io import read_results
from prospect.io.write_results import write_hdf5
from scipy.cluster.vq import kmeans2
from scipy.stats import kstest, norm

from prospect_emu import EmulatorSpecModel, EmulatorSPS
from prospect_emu.errors import ModelMismatchError, ProspectEmuError
from prospect_emu.fit.fitting import fit_model, parse_keywords
from prospect_emu.observe.filters import load_filters
from prospect_emu.prospector.line_table import tolerate_missing_sps_home
from prospect_emu.prospector.mathews23 import model_params
from prospect_emu.sampling import dynesty_internals as internals
from prospect_emu.sampling.lockstep import LockstepPool, dynesty_version
from prospect_emu.sampling.nested import CONVERGED, NestedSettings, run_nested
from prospect_emu.sampling.walks import (
    ball_points,
    difference_walks,
    displacements,
    first_above,
    in_cube,
    random_walks,
    reflect,
)

OLD = dynesty_version() < (3, 0)


class Gaussian:
    """A correlated Gaussian in the unit box, with known evidence and moments."""

    def __init__(self, ndim=4, width=0.06):
        self.ndim = ndim
        self.mean = np.linspace(0.4, 0.6, ndim)
        corr = 0.6 ** np.abs(np.subtract.outer(np.arange(ndim), np.arange(ndim)))
        self.cov = corr * width**2
        self.precision = np.linalg.inv(self.cov)
        # All of it lies inside the box: the nearest wall is 6 sigma away.
        self.logz = 0.5 * ndim * np.log(2 * np.pi) + 0.5 * np.linalg.slogdet(self.cov)[1]

    def transform(self, u):
        return np.array(u)

    def logl(self, v):
        d = v - self.mean
        return -0.5 * np.einsum("ij,ij->i", d @ self.precision, d)

    def logl_one(self, v):
        return float(self.logl(v[None])[0])

    def run(self, nlive=150, **kwargs):
        names = ("seed", "queue_size", "fast_internals", "max_seconds", "spent", "progress")
        own = {k: kwargs.pop(k) for k in list(kwargs) if k in names}
        settings = NestedSettings(
            **{
                "nlive_init": nlive,
                "maxbatch": 0,
                "walks": 20,
                "max_error": 9.0,
                "dlogz_init": 0.02,
            }
            | kwargs
        )
        return run_nested(self.transform, self.logl, self.ndim, settings, **own)

    def run_dynesty(self, seed, nlive=150, walks=20):
        """dynesty's own static run, untouched and serial, as the reference."""
        ns = dynesty.NestedSampler(
            self.logl_one, self.transform, self.ndim, nlive=nlive, sample="rwalk", bound="multi",
            walks=walks, rstate=np.random.default_rng(seed),
        )  # fmt: skip
        ns.run_nested(dlogz=0.02, print_progress=False)
        return ns.results


def moments(results):
    """Mean and standard deviation of the posterior samples, each (ndim,)."""
    mean, cov = utils.mean_and_cov(results.samples, results.importance_weights())
    return mean, np.sqrt(np.diag(cov))


def assert_agree(problem, runs):
    """logZ within 4 of its errors, and moments within 4 of theirs, on average over runs.

    Run-to-run scatter of a posterior mean is about sigma / sqrt(nlive) x 2 for
    short walks (DESIGN section 4: 0.2 sigma at nlive 1000 is the worst case).
    """
    logz = np.array([r.logz[-1] for r in runs])
    error = np.sqrt(np.mean([r.logzerr[-1] ** 2 for r in runs]) / len(runs))
    assert abs(logz.mean() - problem.logz) < 4 * error
    mean, std = np.mean([moments(r) for r in runs], axis=0)
    sigma = np.sqrt(np.diag(problem.cov))
    nlive = 150
    spread = 2.0 / np.sqrt(nlive * len(runs))
    np.testing.assert_allclose((mean - problem.mean) / sigma, 0.0, atol=4 * spread)
    np.testing.assert_allclose(std / sigma, 1.0, atol=4 * spread)


# ---- statistics -----------------------------------------------------------------


@pytest.mark.parametrize("moves", ["differences", "ellipsoid"])
def test_known_evidence_and_moments(moves):
    """Analytic ln Z and moments of a Gaussian; eight seeds."""
    problem = Gaussian()
    assert_agree(problem, [problem.run(seed=s, moves=moves) for s in range(8)])


def test_dynesty_as_it_comes_agrees():
    """The same problem through unmodified dynesty: logZ within 4 combined errors."""
    problem = Gaussian(ndim=3)
    ours = [problem.run(seed=s, moves="ellipsoid") for s in range(6)]
    theirs = [problem.run_dynesty(seed=s) for s in range(6)]
    assert_agree(problem, theirs)
    assert_agree(problem, ours)
    z = [np.array([r.logz[-1] for r in runs]) for runs in (ours, theirs)]
    scatter = np.sqrt(sum(np.var(x, ddof=1) / len(x) for x in z))
    assert abs(z[0].mean() - z[1].mean()) < 4 * scatter
    # As many iterations (to 5 %) with as high an acceptance: the same walk.
    n = [np.mean([len(r.logl) for r in runs]) for runs in (ours, theirs)]
    assert n[0] == pytest.approx(n[1], rel=0.05)


@pytest.mark.parametrize("queue", [1, 16, 64])
def test_queue_sizes_agree(queue):
    """Analytic ln Z and moments whatever the number of chains in step."""
    problem = Gaussian(ndim=3)
    assert_agree(problem, [problem.run(seed=s, queue_size=queue) for s in range(4)])


def test_batches_reach_the_effective_size():
    """Dynamic batches: the target is reached and ln Z stays right."""
    problem = Gaussian(ndim=3)
    result = problem.run(seed=3, maxbatch=None, target_n_effective=3000)
    assert result.status == CONVERGED
    assert result.diagnostics["n_kish"] >= 3000
    assert result.diagnostics["n_batch"] >= 1
    assert abs(result.logz[-1] - problem.logz) < 4 * result.logzerr[-1]


def test_uniform_sampling_runs_in_lockstep_too():
    problem = Gaussian(ndim=2)
    result = problem.run(seed=1, sample="unif", bootstrap=None)
    assert result.diagnostics["n_serial"] == 0
    assert abs(result.logz[-1] - problem.logz) < 4 * result.logzerr[-1]


def test_other_methods_run_serially():
    problem = Gaussian(ndim=2)
    result = problem.run(seed=1, nlive=60, sample="rslice", bootstrap=None)
    assert result.diagnostics["n_serial"] > 0
    assert abs(result.logz[-1] - problem.logz) < 4 * result.logzerr[-1]


def test_a_plateau_keeps_its_volume():
    """A likelihood with a floor over most of the prior: dynesty's plateau handling.

    ln Z is the floor's volume plus the Gaussian's, both known.
    """

    class Floor(Gaussian):
        def logl(self, v):
            return np.maximum(super().logl(v), -8.0)

    problem = Floor(ndim=2, width=0.1)
    grid = (np.arange(400) + 0.5) / 400
    points = np.stack(np.meshgrid(grid, grid), axis=-1).reshape(-1, 2)
    truth = np.log(np.mean(np.exp(problem.logl(points))))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        runs = [problem.run(seed=s, nlive=200) for s in range(4)]
    error = np.sqrt(np.mean([r.logzerr[-1] ** 2 for r in runs]) / len(runs))
    assert abs(np.mean([r.logz[-1] for r in runs]) - truth) < 4 * error


@pytest.mark.filterwarnings("ignore:The fit has not converged")
def test_same_seed_same_result():
    problem = Gaussian()
    first, second, other = (problem.run(seed=s, maxbatch=2, target_n_effective=10**6)
                            for s in (5, 5, 6))  # fmt: skip
    np.testing.assert_array_equal(first.samples, second.samples)
    np.testing.assert_array_equal(first.logwt, second.logwt)
    assert first.samples.shape != other.samples.shape or (first.samples != other.samples).any()


# ---- proposals --------------------------------------------------------------------


def test_the_walk_samples_the_prior_above_the_threshold():
    """Long walks from one point fill the region uniformly (KS p > 1e-3 per dimension).

    The region is a box inside the unit cube, where the marginals are known.
    """
    rng = np.random.default_rng(2)
    lo, hi = np.array([0.2, 0.0, 0.5]), np.array([0.9, 0.4, 1.0])

    def evaluate(u):
        inside = ((u > lo) & (u < hi)).all(axis=1)
        return u.copy(), np.where(inside, 1.0, -1.0)

    start = np.tile((lo + hi) / 2, (2000, 1))
    axes = [np.diag(hi - lo)] * 1000 + [0.5 * np.diag(hi - lo)] * 1000
    u, v, logl, accepted = random_walks(start, 0.0, axes, 0.8, 60, rng, evaluate)
    assert (logl == 1.0).all() and (accepted > 0).all()
    np.testing.assert_array_equal(u, v)
    for i in range(3):
        assert kstest((u[:, i] - lo[i]) / (hi[i] - lo[i]), "uniform").pvalue > 1e-3


def ring(n, rng):
    """Points uniform in a thin ring around the middle of the unit square, by rejection."""
    u = rng.random((40 * n, 2))
    return u[in_ring(u)][:n]


def in_ring(u):
    r = np.hypot(*(u - 0.5).T)
    return (r > 0.3) & (r < 0.35)


def test_walks_along_differences_stay_uniform():
    """Invariance: uniform starts in a thin curved region stay so (KS of r^2 and of the angle).

    A third dimension that the region does not bind ends uniform up to the walls,
    from starts in a tenth of it: reflected steps do not pile up there.
    """
    rng = np.random.default_rng(12)
    start = np.column_stack([ring(3000, rng), rng.uniform(0.0, 1.0, 3000)])

    def evaluate(u):
        return 2.0 * u, np.where(in_ring(u[:, :2]), 1.0, -1.0)

    u, v, logl, accepted = difference_walks(start, 0.0, 200, rng, evaluate)
    assert (logl == 1.0).all() and ((u > 0) & (u < 1)).all()
    np.testing.assert_array_equal(v, 2.0 * u)
    radius, angle = np.hypot(*(u[:, :2] - 0.5).T), np.arctan2(*(u[:, :2] - 0.5).T)
    assert kstest((radius**2 - 0.3**2) / (0.35**2 - 0.3**2), "uniform").pvalue > 1e-3
    assert kstest((angle + np.pi) / (2 * np.pi), "uniform").pvalue > 1e-3
    assert kstest(u[:, 2], "uniform").pvalue > 1e-3
    # The free dimension alone is moved by every fourth step, so that it forgets its start.
    assert abs(np.corrcoef(start[:, 2], u[:, 2])[0, 1]) < 0.08
    assert 0.05 < accepted.mean() / 200 < 0.9


def test_walks_along_differences_cross_periodic_walls():
    """A region around the wall of a periodic dimension is reached from both of its sides."""
    rng = np.random.default_rng(13)
    start = np.column_stack([rng.uniform(0.9, 1.0, 500), rng.random(500)])

    def evaluate(u):
        return u.copy(), np.where((u[:, 0] > 0.9) | (u[:, 0] < 0.1), 1.0, -1.0)

    u, *_ = difference_walks(start, 0.0, 300, rng, evaluate, periodic=[0])
    assert kstest(np.mod(u[:, 0] + 0.1, 1.0) / 0.2, "uniform").pvalue > 1e-3


def test_a_queue_of_most_live_points_is_warned_of():
    problem = Gaussian(ndim=3)
    with pytest.warns(RuntimeWarning, match="more than a quarter of the 60 live points"):
        problem.run(seed=1, nlive=60, queue_size=16, maxiter_init=50)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        problem.run(seed=1, nlive=60, queue_size=15, dlogz_init=1.0)


def test_small_queues_walk_in_ellipsoids():
    """Fewer than two chains per dimension have too few differences: both moves are one."""
    problem = Gaussian(ndim=3)
    for queue, same in ((5, True), (6, False)):
        a, b = (
            problem.run(seed=4, nlive=60, queue_size=queue, moves=m)
            for m in ("differences", "ellipsoid")
        )
        assert (a.logz[-1] == b.logz[-1]) == same


def test_the_walk_counts_as_dynesty_does():
    """A chain that never moves keeps its start, evaluated again, and accepts nothing."""
    rng = np.random.default_rng(3)
    start = np.full((5, 2), 0.5)
    calls = []

    def evaluate(u):
        calls.append(len(u))
        return u + 1.0, np.full(len(u), -5.0)

    u, v, logl, accepted = random_walks(start, -1.0, [np.eye(2)] * 5, 0.1, 7, rng, evaluate)
    np.testing.assert_array_equal(u, start)
    np.testing.assert_array_equal(v, start + 1.0)
    assert (logl == -5.0).all() and (accepted == 0).all()
    assert calls == [5] * 8  # seven steps, and the start


def test_dimensions_outside_the_ellipsoid_are_drawn_anew():
    rng = np.random.default_rng(4)
    u, *_ = random_walks(
        np.full((500, 3), 0.5), 0.0, [0.01 * np.eye(2)] * 500, 1.0, 5, rng,
        lambda u: (u, np.ones(len(u))),
    )  # fmt: skip
    assert np.ptp(u[:, :2]) < 0.2
    assert kstest(u[:, 2], "uniform").pvalue > 1e-3


def test_steps_are_uniform_in_each_chains_ellipsoid():
    """Radii of n-ball points: r^n is uniform (KS p > 1e-3), for chains with other axes too."""
    rng = np.random.default_rng(5)
    a, b = np.diag([1.0, 2.0, 3.0]), np.diag([0.1, 0.1, 5.0])
    steps = displacements(rng, [a, b, a], 3000)
    for i, axes in enumerate((a, b, a)):
        r = np.linalg.norm(steps[:, i] @ np.linalg.inv(axes).T, axis=1)
        assert kstest(r**3, "uniform").pvalue > 1e-3
    assert np.linalg.norm(ball_points(rng, (100, 4)), axis=-1).max() <= 1.0


def test_boundaries_are_dynestys():
    """unitcheck and apply_reflect of dynesty, row by row, exactly."""
    u = np.random.default_rng(6).uniform(-1.7, 2.7, (300, 4))
    nonbounded = np.array([True, False, True, False])
    for rows in (u, u / 3 + 0.3):
        assert (in_cube(rows) == [utils.unitcheck(r) for r in rows]).all()
        expected = [utils.unitcheck(r, nonbounded) for r in rows]
        assert (in_cube(rows, nonbounded) == expected).all()
    np.testing.assert_allclose(reflect(u), [utils.apply_reflect(r.copy()) for r in u], atol=1e-15)


def test_first_above_counts_every_draw():
    """Draws until success are geometric: mean 1/p within 4 of its errors."""
    rng = np.random.default_rng(7)
    p, n = 0.2, 3000
    u, _, logl, ncall = first_above(
        lambda m: rng.random((m, 2)), n, 0.0, lambda u: (u, p - u[:, 0]), batch=64
    )
    assert (u[:, 0] < p).all() and (logl > 0).all()
    assert abs(ncall.mean() - 1 / p) < 4 * np.sqrt((1 - p) / p**2 / n)


def test_foreign_tasks_fall_back_to_a_serial_map():
    problem = Gaussian(ndim=2)
    pool = LockstepPool(problem.transform, problem.logl)
    assert pool.map(abs, [-1, 2, -3]) == [1, 2, 3]
    assert pool.map(abs, []) == []
    assert pool.n_serial == 3
    # dynesty's own task, of functions that are not this pool's
    other = dynesty.NestedSampler(
        problem.logl_one, problem.transform, 2, nlive=30, sample="rwalk", pool=pool, queue_size=4
    )
    for _ in other.sample(maxiter=100):
        pass
    assert pool.n_evaluations == 0 and pool.n_serial > 100


# ---- replaced internals ---------------------------------------------------------------


def test_progress_integration_is_dynestys():
    """1e-11 of the original, whose logsumexp of nearly equal terms loses digits itself."""
    rng = np.random.default_rng(8)
    for _ in range(200):
        new, step = rng.uniform(-50, 50), 10 ** rng.uniform(-4, -0.3)
        args = (new - rng.exponential(1.0), new, rng.uniform(-60, 60), 0.1, rng.uniform(-40, 0),
                step, 3.0)  # fmt: skip
        expected = utils.progress_integration(*args)
        np.testing.assert_allclose(internals.progress_integration(*args), expected, rtol=1e-9)
    first = (-1e300, -7.0, -1e300, 0.0, -0.01, 0.01, 0.0)
    np.testing.assert_allclose(
        internals.progress_integration(*first), utils.progress_integration(*first), rtol=1e-11
    )


def test_late_seeds_are_dynestys():
    a, b = np.random.default_rng(9), np.random.default_rng(9)
    ours, theirs = internals.get_seed_sequence(a, 5), utils.get_seed_sequence(b, 5)
    for x, y in zip(ours, theirs, strict=True):
        assert (np.random.default_rng(x).random(4) == np.random.default_rng(y).random(4)).all()
    assert a.random() == b.random()


def clustered_points(seed, n=400, ndim=5):
    rng = np.random.default_rng(seed)
    centres = rng.random((3, ndim))
    return centres[rng.integers(3, size=n)] + 0.05 * rng.standard_normal((n, ndim))


@pytest.mark.parametrize("seed", range(5))
def test_two_means_is_scipys(seed):
    points = clustered_points(seed)
    start = points[[0, 1]]
    centres, labels = kmeans2(points, k=start, iter=10, minit="matrix")
    ours = internals.two_means(points, start)
    np.testing.assert_array_equal(ours[1], labels)
    np.testing.assert_allclose(ours[0], centres, rtol=1e-12)


@pytest.mark.parametrize("seed", range(3))
def test_bound_update_is_dynestys(seed):
    """Same ellipsoids: centres, precision matrices and volumes to 1e-9."""

    def updated():
        args = {"ctrs": [np.full(5, 0.5)], "covs": [np.eye(5)]}
        bound = bounding.MultiEllipsoid(**args) if OLD else bounding.MultiEllipsoid(5, **args)
        bound.update(clustered_points(seed), rstate=np.random.default_rng(0), bootstrap=0)
        return bound

    theirs = updated()
    with internals.without_slow_internals():
        ours = updated()
    assert ours.nells == theirs.nells > 1
    np.testing.assert_allclose(ours.ctrs, theirs.ctrs, rtol=1e-9)
    np.testing.assert_allclose(ours.ams, theirs.ams, rtol=1e-6)
    names = ("logvols", "logvol_tot", "expand_tot") if OLD else ("logvol_ells", "logvol")
    for name in names:
        np.testing.assert_allclose(getattr(ours, name), getattr(theirs, name), rtol=1e-9)
    points = np.random.default_rng(1).random((200, 5))
    assert (internals.inside_any(ours, points) == [theirs.contains(p) for p in points]).all()


class Terraces(Gaussian):
    """Likelihoods in steps, so that many are equal."""

    def logl(self, v):
        return np.round(super().logl(v) * 4) / 4


@pytest.mark.filterwarnings("ignore::RuntimeWarning", "ignore::UserWarning")
@pytest.mark.parametrize("kind", [Gaussian, Terraces])
@pytest.mark.parametrize("names", [{"sample", "combine_runs"}, {"combine_runs"}])
def test_loop_and_merging_are_dynestys(monkeypatch, names, kind):
    """With all but these replaced, the same seed gives the same run: 1e-9."""
    problem = kind(ndim=2)
    without = [r for r in internals.replacements() if r[1] not in names]
    options = {
        "seed": 2,
        "nlive": 80,
        "maxbatch": 3,
        "target_n_effective": 10**6,
        "dlogz_init": 0.5,
    }
    options["target_n_effective"] = 10**6
    ours = problem.run(**options)
    monkeypatch.setattr(internals, "replacements", lambda: without)
    theirs = problem.run(**options)
    assert ours.batch_nlive.size == theirs.batch_nlive.size == 4
    np.testing.assert_array_equal(ours.samples, theirs.samples)
    # Not logzerr, which only our loop can correct.
    for name in ("logl", "logvol", "logwt", "logz", "information"):
        np.testing.assert_allclose(ours[name], theirs[name], rtol=1e-9, atol=1e-9)
    for name in ("ncall", "samples_it", "samples_id", "samples_n", "samples_batch"):
        np.testing.assert_array_equal(ours[name], theirs[name])


def test_the_queue_is_filled_as_dynesty_fills_it():
    """Starts uniform over the live points above the threshold, axes by volume (4 errors)."""
    problem = Gaussian(ndim=3)

    def tasks_of(fast):
        seen = []
        pool = LockstepPool(problem.transform, problem.logl, 50)

        class Spy:
            size = 50

            def map(self, function, tasks):
                tasks = list(tasks)
                if hasattr(tasks[0], "axes"):
                    seen.extend(tasks)
                return pool.map(function, tasks)

        ns = dynesty.NestedSampler(
            pool.log_likelihood, pool.prior_transform, 3, nlive=100, sample="rwalk", pool=Spy(),
            queue_size=50, rstate=np.random.default_rng(1),
        )  # fmt: skip
        for _ in ns.sample(maxiter=400):
            pass
        ns.nqueue, ns.queue = 0, []
        threshold = np.sort(ns.live_logl)[49]
        seen.clear()
        fill = dict((r[1], r[2]) for r in internals.replacements())["_fill_queue"]
        for _ in range(60):
            (functools.partial(fill, ns) if fast else ns._fill_queue)(threshold)
            ns.nqueue, ns.queue = 0, []
        live = {u.tobytes(): i for i, u in enumerate(ns.live_u)}
        starts = np.array([live[np.asarray(t.u).tobytes()] for t in seen])
        assert (ns.live_logl[starts] > threshold).all()
        sizes = np.array([np.linalg.slogdet(t.axes)[1] for t in seen])
        return np.bincount(starts, minlength=100), sizes

    (ours, our_sizes), (theirs, their_sizes) = tasks_of(True), tasks_of(False)
    assert ours.sum() == theirs.sum() == 3000
    expected = 3000 / np.count_nonzero(theirs)
    used = theirs > 0
    assert ((ours > 0) == used).all()
    chi2 = ((ours[used] - expected) ** 2 / expected).sum()
    assert abs(chi2 - used.sum()) < 4 * np.sqrt(2 * used.sum())
    scatter = np.hypot(our_sizes.std(), their_sizes.std()) / np.sqrt(3000) + 1e-9
    assert abs(our_sizes.mean() - their_sizes.mean()) < 4 * scatter


def test_replacements_last_as_long_as_the_fit():
    before = [(o, n, o.__dict__[n]) for o, n, _ in internals.replacements()]
    with pytest.raises(KeyError), internals.without_slow_internals():
        assert sampler.progress_integration is internals.progress_integration
        raise KeyError
    assert all(o.__dict__[n] is old for o, n, old in before)


def test_opting_out_gives_the_same_answer():
    problem = Gaussian(ndim=2)
    runs = [problem.run(seed=s, fast_internals=False) for s in range(3)]
    assert_agree(problem, runs)


# ---- budgets ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("limit", "named"),
    [
        ({"maxcall": 3000}, "maxcall"),
        ({"maxiter": 200}, "maxiter"),
        ({"max_seconds": 300}, "max_seconds"),
        ({"maxbatch": 1, "target_n_effective": 10**6}, "maxbatch"),
        ({"maxbatch": None, "target_n_effective": 10**6, "maxcall": 40000}, "maxcall"),
        ({"maxbatch": None, "target_n_effective": 10**7, "max_seconds": 9000}, "max_seconds"),
    ],
)
def test_a_budget_is_reported(limit, named, monkeypatch):
    """The status names the limit, a warning says so, and the results are complete."""
    # A second is an iteration here: fast and slow machines run out of them at the same one.
    clock = SimpleNamespace(perf_counter=itertools.count().__next__)
    for module in ("nested", "run"):
        monkeypatch.setattr(f"prospect_emu.sampling.{module}.time", clock)
    problem = Gaussian(ndim=4)
    with pytest.warns(RuntimeWarning, match=named):
        result = problem.run(seed=1, **limit)
    assert result.status.startswith("budget: " + named)
    assert result.diagnostics["status"] == result.status
    assert np.isfinite(result.logz).all() and len(result.logwt) == len(result.samples)
    # The live points were added at the end, whatever ended the run.
    assert len(result.samples) >= 150


def test_seconds_that_were_spent_before_count(monkeypatch):
    runs = []
    for budget in ({"max_seconds": 300}, {"max_seconds": 700, "spent": 400}):
        clock = SimpleNamespace(perf_counter=itertools.count().__next__)  # as above
        for module in ("nested", "run"):
            monkeypatch.setattr(f"prospect_emu.sampling.{module}.time", clock)
        with pytest.warns(RuntimeWarning, match="max_seconds"):
            runs.append(Gaussian(ndim=4).run(seed=1, **budget))
    np.testing.assert_array_equal(runs[0].samples, runs[1].samples)
    assert runs[1].status == "budget: max_seconds = 700"


def test_a_run_without_limits_converges():
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        assert Gaussian(ndim=2).run(seed=1).status == CONVERGED


def test_progress_is_reported_or_silent(capsys):
    seen = []
    Gaussian().run(seed=1, progress=seen.append)
    assert seen and {"phase", "calls_per_second", "n_effective", "dlogz"} <= set(seen[0])
    Gaussian(ndim=2).run(seed=1)
    out = capsys.readouterr()
    assert out.out == "" and out.err == ""


# ---- fit_model --------------------------------------------------------------------------


@pytest.fixture
def galaxy(toy_emulator):
    """obs, model, sps of a mock galaxy."""
    tolerate_missing_sps_home()
    filters = load_filters(toy_emulator.filters)
    model = EmulatorSpecModel(model_params(zred=1.0))
    sps = EmulatorSPS(toy_emulator, filters)
    model.set_parameters(model.prior_transform(np.full(model.ndim, 0.5)))
    flux = toy_emulator.maggies(sps.theta_from_params(model.params))
    obs = {
        "filters": filters, "maggies": flux, "maggies_unc": 0.1 * flux,
        "wavelength": None, "spectrum": None,
    }  # fmt: skip
    return sps.inflate(obs), model, sps


QUICK = {
    "nested_nlive_init": 60, "nested_walks": 5, "nested_maxbatch": 0, "nested_max_error": 9.0,
    "verbose": False,
}  # fmt: skip


def test_results_go_through_prospectors_files(galaxy, tmp_path):
    """write_hdf5 and results_from give back samples, weights and ln Z."""
    obs, model, sps = galaxy
    output = fit_model(obs, model, sps, seed=1, **QUICK)
    assert output["optimization"] == (None, 0.0)
    results, seconds = output["sampling"]
    assert results.status == CONVERGED and seconds > 0
    path = tmp_path / "fit.h5"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        write_hdf5(
            str(path), {"param_file": ""}, model, obs, results, None, tsample=seconds, sps=sps
        )
        read, _, _ = read_results.results_from(str(path), dangerous=False)
    np.testing.assert_array_equal(read["chain"], results.samples)
    np.testing.assert_allclose(read["lnlikelihood"], results.logl)
    np.testing.assert_allclose(read["weights"], np.exp(results.logwt - results.logz[-1]))
    with h5py.File(path) as f:
        assert f["sampling/logz"][-1] == results.logz[-1]
        assert f["sampling/logzerr"][-1] == results.logzerr[-1]
        # The stored best fit is what the model predicts.
        best = f["bestfit/parameter"][:]
        expected = model.predict(best, obs=obs, sps=sps)[1]
        np.testing.assert_allclose(f["bestfit/photometry"][:], expected, rtol=1e-6)


def test_fit_model_reproduces_with_a_seed(galaxy):
    a, b = (fit_model(*galaxy, seed=4, **QUICK)["sampling"][0] for _ in range(2))
    np.testing.assert_array_equal(a.samples, b.samples)


@pytest.mark.parametrize(
    ("keyword", "value", "message"),
    [
        ("nested_nlive_init", "100", "nlive_init = '100' must be a whole number"),
        ("nested_nlive_init", 60.5, "nlive_init = 60.5 must be a whole number"),
        ("nested_dlogz_init", "0.1", "dlogz_init = '0.1' must be a number"),
        ("nested_walks", True, "walks = True must be a whole number"),
        ("nested_maxcall", float("nan"), "maxcall = nan must be a whole number"),
        ("queue_size", "5", "queue_size = '5' must be a whole number"),
        ("seed", "5", "seed = '5' must be a whole number"),
        ("max_seconds", "1", "max_seconds = '1' must be a number"),
    ],
)
def test_text_in_settings_that_are_numbers(galaxy, keyword, value, message):
    with pytest.raises(ProspectEmuError, match=message):
        fit_model(*galaxy, **{**QUICK, keyword: value})


def test_whole_numbers_as_floats_are_taken():
    settings, own, _ = parse_keywords({"nested_nlive_init": 60.0, "seed": np.int64(3)})
    assert settings.nlive_init == 60 and type(settings.nlive_init) is int and own["seed"] == 3


def test_a_model_without_free_parameters(galaxy):
    obs, model, sps = galaxy
    params = {k: {**v, "isfree": False} for k, v in model.config_dict.items()}
    with pytest.raises(ModelMismatchError, match="no free parameters"):
        fit_model(obs, EmulatorSpecModel(params), sps, **QUICK)


@pytest.mark.parametrize("name", ["nested_sample", "nested_method"])
def test_a_serial_sampler_says_what_is_faster(galaxy, name):
    """The default of Prospector's parser, 27 times slower than lockstep."""
    with pytest.warns(UserWarning, match=r"one chain at a time.*nested_sample='rwalk'"):
        fit_model(*galaxy, seed=1, **{**QUICK, name: "slice", "nested_maxcall": 100})


def test_an_obs_without_the_emulators_error_warns(galaxy):
    obs, model, sps = galaxy
    plain = {k: v for k, v in obs.items() if k != "emulator"}
    with pytest.warns(UserWarning, match="inflate"):
        fit_model(plain, model, sps, seed=1, **QUICK)


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"nested_nlive_int": 100}, "nested_nlive_init"),
        ({"nested_target_neff": 100}, "nested_target_n_effective"),
        ({"sed": 1}, "seed"),
        ({"optimize": True}, "optimize"),
        ({"emcee": True}, "emcee"),
        ({"dynesty": False}, "dynesty=False"),
        ({"lnprobfn": print}, "lnprobfn"),
        ({"noise": (None, object())}, "noise model"),
        ({"pool": object()}, "pool"),
    ],
)
def test_what_cannot_be_done_is_refused(galaxy, wrong, named):
    with pytest.raises(ProspectEmuError, match=named):
        fit_model(*galaxy, **wrong)


def test_another_sps_is_refused(galaxy):
    obs, model, _ = galaxy
    with pytest.raises(ModelMismatchError, match="EmulatorSPS"):
        fit_model(obs, model, object())


def test_prospectors_command_line_passes(galaxy):
    """Every argument of Prospector 1.4.1's parser is accepted as it comes."""
    from prospect.utils.prospect_args import get_parser

    run_params = vars(get_parser().parse_args([]))
    run_params["nested_walks"] = 30
    own_names = {k: v for k, v in run_params.items() if k not in ("optimize", "emcee", "dynesty")}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        settings, _, _ = parse_keywords(own_names)
    assert settings.walks == 30 and settings.nlive_init == run_params["nested_nlive_init"]


def test_unused_run_parameters_are_named():
    with pytest.warns(UserWarning, match="catalog_row"):
        parse_keywords({"catalog_row": 7})


def test_gaussian_reference_is_right():
    """The test's own integral: 1-d against scipy."""
    problem = Gaussian(ndim=1)
    assert problem.logz == pytest.approx(-norm(scale=0.06).logpdf(0.0), rel=1e-12)
