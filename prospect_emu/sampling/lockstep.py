"""Lockstep nested sampling: dynesty's queue of proposals as one batch per step.

dynesty hands its proposal tasks to a pool's `map`. `LockstepPool` is such a
pool, in one process: it recognises dynesty's random walks, uniform proposals
and evaluations of live points and advances all tasks of a call together, so
that a step of 256 chains is one batched call of prior transform and
likelihood. With ``moves="ellipsoid"`` the walk is dynesty's, step for step;
only the order in which random numbers are drawn differs. With "differences" it
goes along differences of the chains' starts, with "learnt" in coordinates learnt
from the live points. Anything else is mapped serially.
"""

import time
from typing import Any

import numpy as np

from ..errors import SetupError
from . import cross_fit
from .coordinates import UnitCoordinates
from .walks import difference_walks, first_above, in_cube, learnt_walks, random_walks

SUPPORTED_DYNESTY = "2.1.4 to 2.1.x and 3.0 to 3.1"


class LockstepPool:
    """A pool for ``dynesty.DynamicNestedSampler(..., pool=, queue_size=)``.

    Parameters
    ----------
    prior_transform : callable
        (n, ndim) points of the unit cube -> (n, ndim) parameters.
    log_likelihood : callable
        (n, ndim) parameters -> (n,).
    size : int
        Number of chains that advance together (dynesty's queue).
    moves : str
        "ellipsoid", "differences" or "learnt" (`prospect_emu.sampling.walks`). The last two
        take at least twice as many chains as dimensions; fewer walk in ellipsoids.
    coordinates : UnitCoordinates or the like, optional
        Of the learnt moves.
    forget : float, optional
        Learnt walks become longer or shorter, by 4 and 1/2 at most, until the coordinate that
        forgets its start most slowly has this correlation with it.

    Attributes
    ----------
    sampler : callable
        The sampler whose tasks these are; the learnt moves read its live points.
    n_evaluations : int
        Likelihoods evaluated. dynesty's ``ncall`` also counts proposals that
        fell outside the unit cube.
    seconds_prior, seconds_likelihood : float
        Time spent in the two functions.
    n_serial : int
        Tasks that were not recognised and ran one by one.
    """

    def __init__(
        self,
        prior_transform,
        log_likelihood,
        size=256,
        moves="ellipsoid",
        coordinates=None,
        forget=None,
    ):
        self._prior_transform = prior_transform
        self._log_likelihood = log_likelihood
        self.size = size
        self.n_evaluations = 0
        self.n_serial = 0
        self.seconds_prior = 0.0
        self.seconds_likelihood = 0.0
        self.moves = moves
        self.sampler: Any = None
        self.forget = forget
        self._coordinates = _Counted(
            coordinates or UnitCoordinates(prior_transform, log_likelihood), self
        )
        self._adapter = dynesty_adapter()

    # What dynesty is given as its functions of one vector. `map` knows them.

    def prior_transform(self, u):
        """Parameters (ndim,) at one point of the unit cube."""
        return self._transform(np.asarray(u)[None])[0]

    def log_likelihood(self, theta):
        """Log likelihood of one parameter vector."""
        return float(self._evaluate(np.asarray(theta)[None])[0])

    def map(self, function, tasks):
        """``list(map(function, tasks))``, in batches where the function is known."""
        tasks = list(tasks)
        handler = self._handler(function, tasks) if tasks else None
        if handler is None:
            self.n_serial += len(tasks)
            return list(map(function, tasks))
        return handler(tasks)

    def _handler(self, function, tasks):
        inner = self._adapter.unwrap(function)
        if inner == self.prior_transform:
            return lambda u: list(self._transform(np.array(u)))
        if inner == self.log_likelihood:
            return lambda v: self._adapter.pack_likelihoods(
                function, self._evaluate(np.array(v)).tolist()
            )
        handler = self._adapter.proposals.get(function)
        if handler is None or not self._ours(tasks[0]):
            return None
        return lambda tasks: handler(tasks, self)

    def _ours(self, task):
        """Whether a task samples the functions that this pool evaluates in batches."""
        unwrap = self._adapter.unwrap
        return (
            unwrap(task.prior_transform) == self.prior_transform
            and unwrap(task.loglikelihood) == self.log_likelihood
        )

    def evaluate(self, u):
        """Parameters (n, ndim) and log likelihoods (n,) at points `u` (n, ndim)."""
        v = self._transform(u)
        return v, self._evaluate(v)

    def walk(self, tasks):
        """Run the random walks of dynesty's tasks; all share threshold, scale and settings."""
        first = tasks[0]
        settings = first.kwargs
        walks = settings.get("walks", 25)
        starts, rng = np.array([t.u for t in tasks]), _generator(first)
        enough = len(starts) >= 2 * starts.shape[1]
        if self.moves == "learnt" and enough:
            walks, known = self._length(walks), self._learnt()
            clan = cross_fit.clans(known, starts)
            u, v, logl, accepted = learnt_walks(
                starts,
                first.loglstar,
                walks,
                rng,
                self._coordinates,
                cross_fit.map_for(known, clan),
            )
            cross_fit.remember(known, u, clan)
        elif self.moves != "ellipsoid" and enough:
            u, v, logl, accepted = difference_walks(
                starts, first.loglstar, walks, rng, self.evaluate, settings.get("periodic")
            )
        else:
            u, v, logl, accepted = random_walks(
                starts,
                first.loglstar,
                [t.axes for t in tasks],
                first.scale,
                walks,
                rng,
                self.evaluate,
                **{key: settings.get(key) for key in ("periodic", "reflective", "nonbounded")},
            )
        tuning = [
            {"accept": a, "reject": walks - a, "scale": first.scale} for a in accepted.tolist()
        ]  # fmt: skip
        self._remember(starts, u)
        return list(u), list(v), logl.tolist(), walks, tuning

    def _remember(self, starts, ends):
        """How well walks forget where they began, per e-fold; kept with the sampler's state."""
        sampler = self.sampler() if self.sampler else None
        if sampler is None:
            return
        known = vars(sampler).get("memory")
        if known is None or sampler.it - known["it"] >= len(sampler.live_u):
            sums = np.zeros((2, starts.shape[1]))
            last = np.nan if known is None else _worst(known["sums"])
            known = {
                "it": sampler.it, "centre": sampler.live_u.mean(axis=0), "sums": sums, "last": last
            }  # fmt: skip
            sampler.memory = known
        start, end = starts - known["centre"], ends - known["centre"]
        known["sums"] += (start * end).sum(axis=0), (start * start).sum(axis=0)

    def _length(self, walks):
        """Steps after which the worst coordinate keeps the wanted correlation with its start."""
        sampler = self.sampler()
        known, memory = vars(sampler).get("length"), vars(sampler).get("memory")
        if known is None:
            known = sampler.length = {"steps": walks, "it": -1}
        if self.forget and memory is not None and known["it"] != memory["it"]:
            known["it"] = memory["it"]
            if np.isfinite(memory["last"]):
                factor = np.log(self.forget) / np.log(np.clip(memory["last"], 0.1, 0.999))
                steps = known["steps"] * np.clip(factor, 0.5, 2.0)
                known["steps"] = int(np.clip(np.rint(steps), max(1, walks // 2), 4 * walks))
        return known["steps"]

    def _learnt(self):
        """Maps of the live points (`cross_fit.fit`), fitted anew after each e-fold of the volume.

        They are kept with the sampler's state, for checkpoints.
        """
        sampler = self.sampler()
        known = vars(sampler).get("learnt_map")
        if known is None or sampler.it - known["it"] >= len(sampler.live_u):
            live = sampler.live_u
            clan = np.full(len(live), -1) if known is None else cross_fit.clans(known, live)
            fitted = cross_fit.fit(live, clan, self._coordinates)
            known = sampler.learnt_map = {"it": sampler.it, **fitted}
        return known

    def _transform(self, u):
        start = time.perf_counter()
        v = self._prior_transform(u)
        self.seconds_prior += time.perf_counter() - start
        return v

    def _evaluate(self, v):
        start = time.perf_counter()
        logl = self._log_likelihood(v)
        self.seconds_likelihood += time.perf_counter() - start
        self.n_evaluations += len(v)
        return logl


def _worst(sums):
    """The largest correlation of ends with starts, of `LockstepPool`'s sums."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return float(np.nanmax(sums[0] / sums[1]))


class _Counted:
    """Coordinates whose evaluations are counted and timed by a pool."""

    def __init__(self, coordinates, pool):
        self.cheap_density, self.unit = coordinates.cheap_density, coordinates.unit
        self.reached = coordinates.reached
        self._coordinates, self._pool = coordinates, pool

    def start(self, u):
        return self._timed(self._coordinates.start, u)

    def evaluate(self, y):
        return self._timed(self._coordinates.evaluate, y)

    def _timed(self, function, points):
        start = time.perf_counter()
        out = function(points)
        self._pool.seconds_likelihood += time.perf_counter() - start
        self._pool.n_evaluations += len(points)
        return out


# ---- dynesty's versions ---------------------------------------------------------


def dynesty_version():
    """Version of the installed dynesty as a tuple of ints."""
    import dynesty

    return tuple(int(part) for part in dynesty.__version__.split(".")[:3] if part.isdigit())


def dynesty_adapter():
    """What differs between dynesty's major versions.

    Raises
    ------
    SetupError
        If the installed dynesty is of neither series.
    """
    version = dynesty_version()
    if (2, 1, 4) <= version < (2, 2):
        return _Dynesty2()
    if (3, 0) <= version < (3, 2):
        return _Dynesty3()
    text = ".".join(map(str, version))
    raise SetupError(
        f"dynesty {text} is not supported by lockstep sampling (versions {SUPPORTED_DYNESTY} are); "
        "install one of them."
    )


def _generator(task):
    """One generator for all tasks of a call, from the first one's seed."""
    seed = task.rseed
    return seed if isinstance(seed, np.random.Generator) else np.random.default_rng(seed)


class _Dynesty2:
    """dynesty 2.1: functions return (u, v, logl, ncall, blob)."""

    def __init__(self):
        from dynesty import sampling
        from dynesty.utils import LogLikelihood, LoglOutput

        self._wrapper = LogLikelihood
        self._output = LoglOutput
        self.proposals = {sampling.sample_rwalk: self._rwalk, sampling.sample_unif: self._given}

    def unwrap(self, function):
        """The user's function inside dynesty's wrappers."""
        if isinstance(function, self._wrapper):
            function = function.loglikelihood
        return getattr(function, "func", function)

    def pack_likelihoods(self, function, values):
        """dynesty maps its inner function, or from 3.0 on its `LogLikelihood` object."""
        if isinstance(function, self._wrapper):
            return [self._output(x, False) for x in values]
        return values

    @staticmethod
    def _rwalk(tasks, pool):
        u, v, logl, walks, tuning = pool.walk(tasks)
        return [(a, b, c, walks, t) for a, b, c, t in zip(u, v, logl, tuning, strict=True)]

    @staticmethod
    def _given(tasks, pool):
        """dynesty drew the points already."""
        v, logl = pool.evaluate(np.array([t.u for t in tasks]))
        return [(t.u, b, c, 1, None) for t, b, c in zip(tasks, v, logl.tolist(), strict=True)]


class _Dynesty3(_Dynesty2):
    """dynesty 3: static methods that return a `SamplerReturn`."""

    def __init__(self):
        from dynesty import internal_samplers as samplers
        from dynesty.utils import LogLikelihood, LoglOutput

        self._wrapper = LogLikelihood
        self._output = LoglOutput
        self._return = samplers.SamplerReturn
        self.proposals = {
            samplers.RWalkSampler.sample: self._rwalk3,
            samplers.UnitCubeSampler.sample: self._unit_cube,
            samplers.UniformBoundSampler.sample: self._bound,
        }

    def _pack(self, u, v, logl, ncall, tuning, stats):
        return [
            self._return(
                u=a, v=b, logl=c, ncalls=n, evaluation_history=[], tuning_info=t, proposal_stats=s
            )
            for a, b, c, n, t, s in zip(u, v, logl, ncall, tuning, stats, strict=True)
        ]

    def _rwalk3(self, tasks, pool):
        u, v, logl, walks, tuning = pool.walk(tasks)
        stats = [{"n_accept": t["accept"], "n_reject": t["reject"]} for t in tuning]
        return self._pack(u, v, logl, [walks] * len(tasks), tuning, stats)

    def _unit_cube(self, tasks, pool):
        rng, ndim = _generator(tasks[0]), tasks[0].kwargs.get("ndim")
        return self._until_above(tasks, pool.evaluate, lambda m: rng.random((m, ndim)))

    def _bound(self, tasks, pool):
        first = tasks[0]
        rng, settings = _generator(first), first.kwargs
        bound, k, ndim = settings["bound"], settings.get("n_cluster"), settings["ndim"]
        nonbounded = settings.get("nonbounded")
        nonbounded = None if nonbounded is None else nonbounded[:k]

        def draw(m):
            points = np.empty((0, k))
            while len(points) < m:
                new = bound.samples(m - len(points), rstate=rng)
                points = np.concatenate([points, new[in_cube(new, nonbounded)]])
            return np.concatenate([points, rng.random((m, ndim - k))], axis=1)

        return self._until_above(tasks, pool.evaluate, draw)

    def _until_above(self, tasks, evaluate, draw):
        n = len(tasks)
        u, v, logl, ncall = first_above(draw, n, tasks[0].loglstar, evaluate, batch=n)
        stats = [{"n_proposals": c} for c in ncall.tolist()]
        return self._pack(list(u), list(v), logl.tolist(), ncall.tolist(), [None] * n, stats)
