"""The phases of a nested-sampling run: initial run, repetitions, batches; budgets and status."""

import time

import dynesty
import numpy as np
from dynesty.dynamicsampler import compute_integrals, stopping_function, weight_function

from ..errors import ModelFileError
from .checkpoint import restore, same_likelihood
from .dynesty_merge import log_volumes
from .genealogy import Errors, clans, combined, errors
from .lockstep import LockstepPool, dynesty_version

_NO_LIMIT = 2**62
# dynesty's names for a run that is inside a phase.
_STATES = {"initial": "INBASE", "repeat": "INBATCH", "batch": "INBATCH"}
# Counters of the pool, which a resumed run takes up again.
_COUNTERS = ("n_evaluations", "n_serial", "seconds_prior", "seconds_likelihood")
CONVERGED = "converged"


class Run:
    """State of one run."""

    def __init__(
        self, settings, seed, queue_size, max_seconds, stop_function, wt_function, checkpoint=None,
        spent=0.0,
    ):  # fmt: skip
        self.settings = settings
        self.seed = seed
        self.queue_size = queue_size
        self.deadline = None if max_seconds is None else time.perf_counter() + max_seconds - spent
        self.max_seconds = max_seconds
        self.stop_function = stop_function or stopping_function
        self.wt_function = wt_function or weight_function
        self.status = CONVERGED
        self.delta_logz = np.inf
        self.began = time.perf_counter()
        self.checkpoint = checkpoint
        self.out_of_time = False
        self.n_resumed = 0
        self.inner = None
        self.resumed: dict = {}
        # Of the initial run and each repetition.
        self.errors: list = []

    def queue(self, nlive):
        return self.queue_size or int(np.clip(nlive // 4, 1, 512))

    def start(self, prior_transform, log_likelihood, ndim, coordinates):
        s = self.settings
        queue = self.queue(s.nlive_init)
        pool = LockstepPool(prior_transform, log_likelihood, queue, s.moves, coordinates, s.forget)
        interval = s.update_interval
        if interval is None and s.sample == "rwalk":
            interval = 2.0 * s.walks
        self.sampler = dynesty.DynamicNestedSampler(
            pool.log_likelihood,
            pool.prior_transform,
            ndim,
            nlive=s.nlive_init,
            bound=s.bound,
            sample=s.sample,
            walks=s.walks,
            facc=s.facc or max(0.15, min(5.0 / s.walks, 0.5)),
            bootstrap=s.bootstrap,
            update_interval=interval,
            first_update=s.first_update or None,
            pool=pool,
            queue_size=queue,
            # These are not tasks of the walk; a serial map would serve them too.
            use_pool={"update_bound": False, "stop_function": False},
            rstate=np.random.default_rng(self.seed),
        )
        # That of a batch, where there is one.
        pool.sampler = lambda: self.sampler.batch_sampler or self.sampler.sampler
        self.pool = pool
        return pool

    # ---- checkpoints ----------------------------------------------------------

    @property
    def _given(self):
        """What a checkpoint leaves out."""
        s = self.sampler
        return {"prior": s.prior_transform, "likelihood": s.loglikelihood, "pool": self.pool}

    def save(self, phase, limits, start):
        """Write a checkpoint in the middle of a phase."""
        counters = {k: getattr(self.pool, k) for k in _COUNTERS}
        progress = {
            "phase": phase,
            "limits": {k: int(v) for k, v in limits.items()},
            "start": [int(v) for v in start],
            "seed": self.seed,
            "seconds": time.perf_counter() - self.began,
            "n_resumed": self.n_resumed,
            "delta_logz": self.delta_logz,
            "errors": [[*e.mean.tolist(), e.logz, e.n_clan] for e in self.errors],
            **counters,
        }
        self.checkpoint.save(self.sampler, self._given, progress)

    def resume(self, stored):
        """Go on from a checkpoint.

        Raises
        ------
        ModelFileError
            If the likelihood gives the stored points other values.
        """
        restore(self.sampler, self._given, stored)
        self.resumed = stored[1]["progress"]
        live = (
            self.sampler.sampler
            if self.resumed["phase"] == "initial"
            else (self.sampler.batch_sampler)
        )
        again = self.pool.evaluate(live.live_u)[1]
        if not same_likelihood(again, live.live_logl):
            raise ModelFileError(
                f"{self.checkpoint.path} is the checkpoint of a fit with another likelihood or "
                "prior: its live points have other values now; delete it to start again."
            )
        for name in _COUNTERS:
            setattr(self.pool, name, self.resumed[name])
        self.began -= self.resumed["seconds"]
        self.n_resumed = self.resumed["n_resumed"] + 1
        self.delta_logz = self.resumed["delta_logz"]
        self.errors = [Errors(np.array(e[:-2]), *e[-2:]) for e in self.resumed["errors"]]

    # ---- phases -------------------------------------------------------------

    def initial(self):
        s, sampler = self.settings, self.sampler
        options = {"nlive": s.nlive_init, "dlogz": s.dlogz_init, "live_points": s.live_points}
        if dynesty_version() < (3, 0):
            options["save_samples"] = True  # needed to end a run before dynesty would
        limits = {
            "maxcall": min(s.maxcall_init or _NO_LIMIT, s.maxcall or _NO_LIMIT),
            "maxiter": min(s.maxiter_init or _NO_LIMIT, s.maxiter or _NO_LIMIT),
        }

        def step(point):
            self.delta_logz = float(point.delta_logz)
            self.progress.initial(sampler, point)

        if self.resumed.get("phase", "initial") != "initial":
            return
        self._drain(lambda **kw: sampler.sample_initial(**options, **kw), limits, "initial", step)
        sampler.sampler.save_bounds = s.save_bounds
        if self.status == CONVERGED and not self.delta_logz < s.dlogz_init * (1 + 1e-9):
            self._blame(limits)
        self._measure(sampler.saved_run, s.nlive_init)

    def _measure(self, record, nlive):
        """The errors of a run over all of the prior."""
        births = getattr(self.inner, "births", None)
        if births is None or self.settings.sample != "rwalk":
            return
        logl = np.asarray(record["logl"], dtype=float)
        logvol = log_volumes(logl, np.asarray(record["n"]), 0.0)
        # A batch counts its iterations from where the run before it ended.
        born = np.asarray(record["it"])
        born = born - born.min()
        logwt, logz, _, information = compute_integrals(logl=logl, logvol=logvol)
        weights = np.exp(logwt - logz[-1])
        clan = clans(births, np.asarray(record["id"]), born, nlive)
        points = np.asarray(record["u"])
        memory = getattr(self.inner, "memory", {}).get("last", np.nan)
        self.errors.append(
            errors(clan, points, weights / weights.sum(), information[-1], nlive, memory)
        )

    @property
    def error(self):
        """`Errors` of all runs over all of the prior together; None if they are not known."""
        return combined(self.errors) if self.errors else None

    def repeats(self):
        """Repeat the initial run until its errors are small enough."""
        s, sampler = self.settings, self.sampler
        while self.status == CONVERGED and self.error is not None:
            limits = self.resumed.get("limits")
            if self.resumed.get("phase") == "batch":
                return
            if limits is None:
                if max(self.error.mean) <= s.max_error:
                    return
                if len(self.errors) >= s.max_runs:
                    self.status = (
                        f"uncertain: means are known to {max(self.error.mean):.2f} standard "
                        f"deviations of the posterior after {len(self.errors)} runs, "
                        f"max_error = {s.max_error:g}"
                    )
                    return
                limits = self._limits_left()
                if limits is None:
                    return
            self._drain(
                lambda **kw: sampler.sample_batch(
                    nlive_new=s.nlive_init, logl_bounds=(-np.inf, np.inf), dlogz=s.dlogz_init,
                    save_bounds=s.save_bounds, **kw
                ),
                limits,
                "repeat",
                lambda point, results=sampler.results: self.progress.batch(sampler, results),
            )  # fmt: skip
            if self.status == CONVERGED:
                self._measure(sampler.new_run, s.nlive_init)
            sampler.combine_runs()

    def _blame(self, limits):
        """Why the initial run ended before dlogz was reached."""
        for key in ("maxcall", "maxiter"):
            used = self.sampler.ncall if key == "maxcall" else self.sampler.it
            if used >= limits[key]:
                self.status = f"budget: {key} = {limits[key]}, dlogz = {self.delta_logz:.3g}"
                return
        # Near its end the last reported value still includes the point that ended it.
        if np.ptp(self.sampler.sampler.live_logl) == 0:
            self.status = "budget: the likelihood is flat among the live points"

    def batches(self):
        s, sampler = self.settings, self.sampler
        nlive = s.nlive_batch or s.nlive_init
        stop_kwargs = {"target_n_effective": s.target_n_effective, **s.stop_kwargs}
        queue = sampler.queue_size
        sampler.queue_size = min(queue, self.queue(nlive))
        while self.status == CONVERGED:
            results = sampler.results
            if self.resumed:
                # In the middle of a batch, whose bounds the sampler knows.
                limits, bounds = self.resumed["limits"], None
            else:
                limits = self._batch_limits(results, stop_kwargs)
                if limits is None:
                    break
                bounds = self.wt_function(results, s.weight_kwargs)
            self._drain(
                lambda bounds=bounds, **kw: sampler.sample_batch(
                    nlive_new=nlive, logl_bounds=bounds, save_bounds=s.save_bounds, **kw
                ),
                limits,
                "batch",
                lambda point, results=results: self.progress.batch(sampler, results),
            )
            sampler.combine_runs()
        sampler.queue_size = queue

    def _batch_limits(self, results, stop_kwargs):
        """Limits of the next batch, or None if there is to be none."""
        s, sampler = self.settings, self.sampler
        if s.use_stop:
            stop, values = self.stop_function(
                results, stop_kwargs, rstate=sampler.rstate, return_vals=True
            )
            if stop:
                return None
        if s.maxbatch is not None and sampler.batch >= s.maxbatch:
            # A limit of zero asks for a static run; others are a budget.
            if s.use_stop and s.maxbatch > 0:
                self.status = f"budget: maxbatch = {s.maxbatch}, stop value {values[2]:.3g} > 1"
            return None
        return self._limits_left()

    def _limits_left(self):
        """What the budgets leave to a batch, or None if that is nothing."""
        s, sampler = self.settings, self.sampler
        left = (s.maxcall or _NO_LIMIT) - sampler.ncall, (s.maxiter or _NO_LIMIT) - sampler.it
        if min(left) <= 0:
            name = "maxcall" if left[0] <= 0 else "maxiter"
            self.status = f"budget: {name} = {getattr(s, name)}"
            return None
        return {
            "maxcall": min(left[0], s.maxcall_batch or _NO_LIMIT),
            "maxiter": min(left[1], s.maxiter_batch or _NO_LIMIT),
        }

    def _drain(self, generator, limits, phase, step):
        """Run a phase; stop it cleanly if the time is up.

        dynesty has no budget of time. Left early, the phase is resumed with no
        iterations allowed, so that dynesty itself adds the live points.
        """
        sampler = self.sampler
        state = _STATES[phase]
        start, left, options = [sampler.ncall, sampler.it], limits, {}
        if self.resumed:
            # dynesty counts from where it resumes.
            start, options = self.resumed["start"], {"resume": True}
            used = sampler.ncall - start[0], sampler.it - start[1]
            left = {"maxcall": limits["maxcall"] - used[0], "maxiter": limits["maxiter"] - used[1]}
            self.resumed = {}
        elif phase == "initial":
            # Live points do not count against the limit of the initial run.
            live = self.settings.live_points
            start = [0 if live is not None else self.settings.nlive_init, 1]
        points = generator(**left, **options)
        for point in points:
            self.inner = self.pool.sampler()
            if sampler.internal_state.name != state:
                continue  # live points of a batch, or the last ones being added
            step(point)
            late = self.deadline is not None and time.perf_counter() > self.deadline
            if self.checkpoint is not None and (late or self.checkpoint.due):
                self.save(phase, limits, start)
            if late:
                points.close()
                self.out_of_time = True
                self.status = f"budget: max_seconds = {self.max_seconds:g}"
                for _ in generator(maxcall=limits["maxcall"], maxiter=-1, resume=True):
                    pass
                break
