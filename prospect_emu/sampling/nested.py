"""The run loop of a lockstep nested-sampling fit: initial run, batches, budgets, status.

dynesty's `DynamicNestedSampler` does the sampling; this module decides when it
stops, and says why.
"""

import time
import warnings
from contextlib import ExitStack
from dataclasses import asdict

import dynesty
import numpy as np
from dynesty.dynamicsampler import stopping_function, weight_function
from dynesty.results import Results
from dynesty.utils import get_neff_from_logwt

from ..errors import ModelFileError, ProspectEmuError
from ..files import digest
from ..workers import single_thread
from .checkpoint import Checkpoint, restore, same_likelihood
from .dynesty_internals import without_slow_internals
from .genealogy import clans, errors
from .lockstep import LockstepPool, dynesty_version
from .progress import Progress
from .settings import NestedSettings

_NO_LIMIT = 2**62
# dynesty's names for a run that is inside a phase.
_STATES = {"initial": "INBASE", "batch": "INBATCH"}
# Counters of the pool, which a resumed run takes up again.
_COUNTERS = ("n_evaluations", "n_serial", "seconds_prior", "seconds_likelihood")
CONVERGED = "converged"


class FitResults(Results):
    """dynesty's `Results`, and how the run went.

    Attributes
    ----------
    status : str
        "converged", or "budget: ..." naming the limit that ended the run early.
    diagnostics : dict
        Seconds in likelihood and prior and besides, evaluations, efficiency,
        effective sample size, seed, versions and settings.
    """

    def __init__(self, key_values, status, diagnostics):
        super().__init__(key_values)
        self._status = status
        self._diagnostics = diagnostics

    @property
    def status(self):
        return self._status

    @property
    def diagnostics(self):
        return dict(self._diagnostics)


def run_nested(
    prior_transform,
    log_likelihood,
    ndim,
    settings=None,
    *,
    seed=None,
    queue_size=None,
    max_seconds=None,
    progress=False,
    fast_internals=True,
    stop_function=None,
    wt_function=None,
    checkpoint_file=None,
    checkpoint_every=60.0,
    identity=None,
    coordinates=None,
):
    """Nested sampling in lockstep.

    Parameters
    ----------
    prior_transform, log_likelihood : callable
        Of batches: (n, ndim) -> (n, ndim), and (n, ndim) -> (n,).
    ndim : int
    settings : NestedSettings, optional
    seed : int, optional
        The same seed gives the same result; default a fresh one, which the
        diagnostics report.
    queue_size : int, optional
        Chains that advance together. A proposal waits in the queue while the
        threshold rises, which wastes about queue / (2 nlive) of the calls;
        default a quarter of the live points, 256 at most. More than that is warned of: half
        the live points from one threshold gave a galaxy wrong by 1.1 in ln Z (docs/accuracy.md).
    max_seconds : float, optional
        Budget of wall time.
    progress : bool or callable
        A line on stderr, or a function that is given a dict twice a second.
    fast_internals : bool
        Use equivalent, faster forms of some of dynesty's functions
        (`prospect_emu.sampling.dynesty_internals`) while this run lasts.
    stop_function, wt_function : callable, optional
        dynesty's by default.
    checkpoint_file : path-like, optional
        The run is saved here, and goes on from here if the file exists; a run
        that was killed and went on gives what it would have given undisturbed.
        Deleted when the run is complete; kept when `max_seconds` ended it, so
        that it can go on.
    checkpoint_every : float
        Seconds between two saves.
    identity : dict, optional
        What `prior_transform` and `log_likelihood` depend on, JSON-serialisable;
        a checkpoint with another identity or other settings is refused.
    coordinates : UnitCoordinates or the like, optional
        In which the learnt moves walk, see `prospect_emu.sampling.coordinates`.

    Returns
    -------
    FitResults
    """
    s = settings or NestedSettings()
    if max_seconds is not None and not max_seconds > 0:
        raise ProspectEmuError(f"max_seconds = {max_seconds} leaves no time; give more.")
    if queue_size is not None and queue_size < 1:
        raise ProspectEmuError(f"queue_size = {queue_size} is too small; give 1 or more.")
    if queue_size is not None and queue_size > max(1, s.nlive_init // 4):
        warnings.warn(
            f"queue_size = {queue_size} is more than a quarter of the {s.nlive_init} live points, "
            "which biases short walks; give less.",
            RuntimeWarning,
            stacklevel=2,
        )
    if seed is not None and seed < 0:
        raise ProspectEmuError(f"seed = {seed} is negative; give a number from 0.")
    checkpoint, stored = None, None
    if checkpoint_file is not None:
        described = _identity(s, ndim, queue_size, stop_function, wt_function, identity)
        checkpoint = Checkpoint(checkpoint_file, checkpoint_every, described)
        stored = checkpoint.read()
    if stored is not None:
        known = stored[1]["progress"]["seed"]
        if seed not in (None, known):
            raise ModelFileError(
                f"{checkpoint.path} is the checkpoint of a fit with seed {known}, not {seed}; pass "
                "that seed or none, or delete the file to start again."
            )
        seed = known
    if seed is None:
        seed = int(np.random.SeedSequence().generate_state(1)[0])
    run = _Run(s, seed, queue_size, max_seconds, stop_function, wt_function, checkpoint)
    with ExitStack() as stack:
        stack.enter_context(single_thread())
        stack.enter_context(warnings.catch_warnings())
        # Budgets are reported by the status.
        warnings.filterwarnings("ignore", message="The sampling was stopped short")
        warnings.filterwarnings("ignore", message=".*maximum likelihood not reached")
        if fast_internals:
            stack.enter_context(without_slow_internals())
        run.progress = stack.enter_context(Progress(progress, s.dlogz_init))
        pool = run.start(prior_transform, log_likelihood, ndim, coordinates)
        if stored is not None:
            run.resume(stored)
        run.initial()
        run.batches()
    results = run.sampler.results
    if run.status != CONVERGED:
        warnings.warn(f"The fit ended early ({run.status}).", RuntimeWarning, stacklevel=3)
    if checkpoint is not None and not run.out_of_time:
        checkpoint.remove()
    seconds = time.perf_counter() - run.began
    diagnostics = {
        "status": run.status,
        "seconds": seconds,
        "seconds_likelihood": pool.seconds_likelihood,
        "seconds_prior": pool.seconds_prior,
        "seconds_overhead": seconds - pool.seconds_likelihood - pool.seconds_prior,
        "n_call": int(run.sampler.ncall),
        "n_evaluations": pool.n_evaluations,
        "n_serial": pool.n_serial,
        "n_effective": float(get_neff_from_logwt(results.logwt)),
        # Percent of calls that gave a sample.
        "efficiency": 100.0 * len(results.logl) / int(run.sampler.ncall),
        "n_batch": int(run.sampler.batch),
        "n_resumed": run.n_resumed,
        "delta_logz": run.delta_logz,
        "seed": seed,
        "queue_size": run.queue(s.nlive_init),
        "dynesty": dynesty.__version__,
        "settings": {k: v for k, v in asdict(s).items() if k != "live_points"},
    }
    return FitResults(list(results.items()), run.status, diagnostics)


def _identity(settings, ndim, queue_size, stop_function, wt_function, identity):
    """Everything that a run depends on, by name; see `Checkpoint`."""
    described = {f"settings.{k}": v for k, v in asdict(settings).items() if k != "live_points"}
    if settings.live_points is not None:
        arrays = {str(i): np.asarray(a) for i, a in enumerate(settings.live_points)}
        described["settings.live_points"] = digest(arrays, {})
    for name, function in (("stop_function", stop_function), ("wt_function", wt_function)):
        if function is not None:
            described[name] = getattr(function, "__qualname__", repr(function))
    return {
        **described,
        "ndim": ndim,
        "queue_size": queue_size,
        "dynesty": dynesty.__version__,
        **(identity or {}),
    }


class _Run:
    """State of one run."""

    def __init__(
        self, settings, seed, queue_size, max_seconds, stop_function, wt_function, checkpoint=None
    ):
        self.settings = settings
        self.seed = seed
        self.queue_size = queue_size
        self.deadline = None if max_seconds is None else time.perf_counter() + max_seconds
        self.max_seconds = max_seconds
        self.stop_function = stop_function or stopping_function
        self.wt_function = wt_function or weight_function
        self.status = CONVERGED
        self.delta_logz = np.inf
        self.began = time.perf_counter()
        self.checkpoint = checkpoint
        self.out_of_time = False
        self.n_resumed = 0
        self.resumed: dict = {}

    def queue(self, nlive):
        return self.queue_size or int(np.clip(nlive // 4, 1, 256))

    def start(self, prior_transform, log_likelihood, ndim, coordinates):
        s = self.settings
        queue = self.queue(s.nlive_init)
        pool = LockstepPool(prior_transform, log_likelihood, queue, s.moves, coordinates)
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

        if self.resumed.get("phase") == "batch":
            return
        self._drain(lambda **kw: sampler.sample_initial(**options, **kw), limits, "initial", step)
        sampler.sampler.save_bounds = s.save_bounds
        if self.status == CONVERGED and not self.delta_logz < s.dlogz_init * (1 + 1e-9):
            self._blame(limits)

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
        """Run a phase; end it in good order if the time is up.

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
