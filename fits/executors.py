"""Where fits run: local processes or Dask, behind one small interface.

An executor takes tasks and gives back outcomes; what is to be fitted, in which
order and how often is the campaign's business. ``concurrent.futures`` and
``dask.distributed`` do the work.
"""

import os
import uuid
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, CancelledError, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import get_context
from typing import Any

from ..errors import SetupError
from ..workers import exit_with_parent

# Every library that may start threads of its own in a worker.
_THREADS = (
    "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)  # fmt: skip

PATIENCE = "30s"  # for a scheduler to answer
_SCHEDULER_GONE = (
    "The Dask scheduler is gone. Finished fits are kept; start the scheduler and the same command "
    "again."
)


class WorkerLost:
    """The outcome of a task whose worker died."""

    def __init__(self, detail):
        self.detail = detail


class LocalExecutor:
    """Processes on this machine, one fit at a time in each.

    Every worker is a pool of its own: when one is killed, it is known which fit
    it had, and the others go on.

    Parameters
    ----------
    function : callable
        Of a task; a top-level function.
    workers : int
    """

    def __init__(self, function: Callable, workers: int = 1):
        self._function = function
        self._idle: list[ProcessPoolExecutor] = []
        self._busy: dict[Future, tuple[Any, ProcessPoolExecutor]] = {}
        self._unstarted = workers

    @property
    def free(self):
        """How many tasks can be taken now."""
        return len(self._idle) + self._unstarted

    @property
    def running(self):
        """The tasks that were taken and not given back."""
        return [task for task, _ in self._busy.values()]

    def submit(self, task):
        """Take a task; only while `free`."""
        if not self._idle:
            self._unstarted -= 1
            self._idle.append(_pool())
        pool = self._idle.pop()
        with single_threaded_children():
            try:
                future = pool.submit(self._function, task)
            except BrokenProcessPool:  # killed while it was idle
                pool.shutdown(wait=False)
                pool = _pool()
                future = pool.submit(self._function, task)
        self._busy[future] = task, pool

    def collect(self, timeout):
        """Pairs of task and outcome that came in, after `timeout` seconds at most."""
        done, _ = wait(self._busy, timeout=timeout, return_when=FIRST_COMPLETED)
        out = []
        for future in done:
            task, pool = self._busy.pop(future)
            try:
                outcome = future.result()
                self._idle.append(pool)
            except BrokenProcessPool:
                outcome = WorkerLost("the worker process was killed (by hand, or for its memory)")
                pool.shutdown(wait=False)
                self._unstarted += 1
            out.append((task, outcome))
        return out

    def close(self):
        """End the workers, and the fits that still run."""
        for _, pool in self._busy.values():
            for process in list((pool._processes or {}).values()):
                process.terminate()
        for pool in [*self._idle, *(pool for _, pool in self._busy.values())]:
            pool.shutdown(wait=True, cancel_futures=True)
        self._idle, self._busy = [], {}


def _pool():
    return ProcessPoolExecutor(1, mp_context=get_context("spawn"), initializer=exit_with_parent)


@contextmanager
def single_threaded_children():
    """Processes that start meanwhile use one thread in each of their libraries."""
    before = {name: os.environ.get(name) for name in _THREADS}
    os.environ.update(dict.fromkeys(_THREADS, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


class DaskExecutor:
    """A Dask cluster: one that is started here, through a queueing system, or one that runs.

    Parameters
    ----------
    function : callable
    config : ExecutorConfig

    Raises
    ------
    SetupError
        If Dask is not installed, or the scheduler cannot be reached.
    """

    def __init__(self, function: Callable, config):
        try:
            from dask.distributed import Client
        except ModuleNotFoundError as err:
            raise SetupError(
                f"The executor 'dask' needs dask.distributed ({err}); pip install "
                "'prospect_emu[cluster]'."
            ) from err
        self._function = function
        self._cluster = None if config.address else _dask_cluster(config)
        self._workers = config.workers
        self._tasks: dict[str, tuple[Any, Any]] = {}
        try:
            # A retry on another worker is the campaign's decision.
            self._client = Client(
                self._cluster or config.address, timeout=PATIENCE, set_as_default=False
            )
        except (OSError, TimeoutError) as err:
            raise SetupError(
                f"No Dask scheduler answers at {config.address} ({err}); start one, or correct "
                "executor.address."
            ) from err
        self._submitted = 0
        # Dask takes tasks of one name for one task; another campaign may use the scheduler.
        self._run = uuid.uuid4().hex

    @property
    def free(self):
        """How many tasks can be taken now: two per worker, so that none waits for us.

        Raises
        ------
        SetupError
            If a worker has several threads: fits that share a process disturb each other.
        """
        try:
            threads = (self._client.nthreads() or {}) if self._alive() else {}
        except Exception:  # the scheduler has just gone; `collect` says so
            threads = {}
        for address, number in threads.items():
            if number > 1:
                raise SetupError(
                    f"The Dask worker {address} has {number} threads, and two fits in one process "
                    "disturb each other; start workers with --nthreads 1 (and --nworkers for more "
                    "of them)."
                )
        return 2 * max(1, len(threads)) - len(self._tasks)

    @property
    def running(self):
        """The tasks that were taken and not given back."""
        return [task for task, _ in self._tasks.values()]

    @property
    def waiting(self):
        """What the campaign waits for, if for anything but its fits."""
        try:
            there = not self._alive() or self._client.nthreads()
        except Exception:  # the scheduler has just gone; `collect` says so
            there = True
        return "" if there else "the Dask scheduler has no workers; start some"

    def submit(self, task):
        """Take a task."""
        self._submitted += 1
        future = self._client.submit(
            self._function, task, pure=False, key=f"{task.key.name}-{self._run}-{self._submitted}"
        )
        self._tasks[future.key] = task, future

    def collect(self, timeout):
        """Pairs of task and outcome that came in, after `timeout` seconds at most.

        Raises
        ------
        SetupError
            If the scheduler is gone.
        """
        from dask.distributed import TimeoutError as DaskTimeout
        from dask.distributed import wait as dask_wait

        futures = [future for _, future in self._tasks.values()]
        try:
            if futures and self._alive():
                with self._client.as_current():  # `wait` looks for it there
                    dask_wait(futures, timeout=timeout, return_when="FIRST_COMPLETED")
        except (DaskTimeout, TimeoutError):
            pass
        except (OSError, CancelledError) as err:
            if not self._alive():
                raise SetupError(_SCHEDULER_GONE) from err
        if not self._alive():
            raise SetupError(_SCHEDULER_GONE)
        try:
            return self._finished()
        except (OSError, TimeoutError, CancelledError) as err:  # lost while results came
            raise SetupError(_SCHEDULER_GONE) from err

    def _finished(self):
        out = []
        for name, (task, future) in list(self._tasks.items()):
            if not future.done():
                continue
            if future.status == "finished":
                outcome = future.result(timeout=10)
            else:
                error = future.exception(timeout=10) if future.status == "error" else None
                outcome = WorkerLost(f"Dask: {error or future.status}")
            del self._tasks[name]
            out.append((task, outcome))
        return out

    def _alive(self):
        return self._client.status == "running"

    def close(self):
        """Leave the cluster; end it if it was started here."""
        for _, future in self._tasks.values():
            if self._alive():
                future.cancel(force=True)
        self._client.close(timeout=5)
        if self._cluster is not None:
            self._cluster.close(timeout=10)


def _dask_cluster(config):
    """A cluster of workers with one thread each."""
    if config.jobqueue:
        try:
            import dask_jobqueue
        except ModuleNotFoundError as err:
            raise SetupError(
                f"executor.jobqueue needs dask-jobqueue ({err}); pip install "
                "'prospect_emu[cluster]'."
            ) from err
        kind = getattr(dask_jobqueue, config.jobqueue, None)
        if kind is None:
            raise SetupError(
                f"dask-jobqueue has no {config.jobqueue!r}; use a name like 'SLURMCluster'."
            )
        options = {"cores": 1, "processes": 1, "memory": "2GB"}
        options["job_script_prologue"] = [f"export {n}=1" for n in _THREADS] + list(config.setup)
    else:
        from dask.distributed import LocalCluster as kind

        options = {"threads_per_worker": 1, "processes": True, "dashboard_address": None}
        options["n_workers"] = config.workers
    try:
        with single_threaded_children():
            cluster = kind(**options | config.options)
    except (TypeError, ValueError, RuntimeError) as err:
        raise SetupError(f"{kind.__name__} does not start ({err}); see executor.options.") from err
    if config.jobqueue:
        cluster.scale(config.workers)
    return cluster


def make_executor(function, config):
    """The executor that a campaign asks for.

    Parameters
    ----------
    function : callable
    config : ExecutorConfig
    """
    if config.kind == "dask":
        return DaskExecutor(function, config)
    # A task of a Slurm array fits with local processes.
    return LocalExecutor(function, config.workers)
