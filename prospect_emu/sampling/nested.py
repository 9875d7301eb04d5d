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
from dynesty.results import Results
from dynesty.utils import get_neff_from_logwt

from ..errors import ModelFileError, ProspectEmuError
from ..files import digest
from ..workers import single_thread
from .checkpoint import Checkpoint
from .dynesty_internals import without_slow_internals
from .progress import Progress
from .run import CONVERGED, Run
from .settings import NestedSettings


class FitResults(Results):
    """dynesty's `Results`, and how the run went.

    Attributes
    ----------
    status : str
        "converged"; "uncertain: ..." if means are known worse than `max_error`; or
        "budget: ..." naming the limit that ended the run early.
    diagnostics : dict
        Seconds in likelihood and prior and besides, evaluations, efficiency, seed, versions and
        settings; and from `prospect_emu.sampling.genealogy` ``mean_error``, ``logz_error`` and
        ``n_effective``, where ``n_kish`` counts the weights only.
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
    spent=0.0,
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
        the live points from one threshold gave a galaxy wrong by 1.1 in ln Z (docs/sampling.md).
    max_seconds : float, optional
        Budget of wall time.
    spent : float
        Seconds of it that were used up before.
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
    run = Run(s, seed, queue_size, max_seconds, stop_function, wt_function, checkpoint, spent)
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
        run.repeats()
        run.batches()
    results = run.sampler.results
    if run.status != CONVERGED:
        warnings.warn(f"The fit has not converged ({run.status}).", RuntimeWarning, stacklevel=3)
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
        "n_kish": float(get_neff_from_logwt(results.logwt)),
        **_accuracy(run, results),
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
    values = dict(results.items())
    # dynesty's error knows nothing of walks that are too short.
    values["logzerr"] = results.logzerr * (diagnostics["logz_error"] / results.logzerr[-1])
    return FitResults(list(values.items()), run.status, diagnostics)


def _accuracy(run, results):
    """Errors of means and ln Z, and the number of independent samples that they stand for."""
    kish, error = float(get_neff_from_logwt(results.logwt)), run.error
    if error is None:
        return {"n_effective": kish, "logz_error": float(results.logzerr[-1])}
    return {
        "n_effective": min(kish, error.n_effective),
        "logz_error": error.logz,
        "mean_error": error.mean.tolist(),
        "n_runs": len(run.errors),
    }


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
