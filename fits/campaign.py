"""Running a campaign: what is to be fitted, what is done already, and everything that can go wrong.

A fit is known by its `Key`; its result is current if the fingerprint in the file
is the one that is asked for. The loop below hands tasks to an executor, counts
attempts, and writes down what happened; the workers write the results.
"""

import json
import signal
import time
from collections import Counter, deque
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from ..errors import OutputError, SetupError
from . import work
from .executors import WorkerLost, make_executor
from .plan import make_plan, write_plan
from .store import CHANGED, DAMAGED, DONE, FAILED, PENDING, STALLED, Store, key_of

_INDEX_EVERY = 60.0  # seconds
_KILLS = 5  # of one fit's worker, after which it is left to the next run


@dataclass
class Options:
    """How a run deals with what is there.

    Attributes
    ----------
    refit : bool
        Fit again what was fitted with other settings, data, emulators or versions.
    accept : tuple of str
        Fields of the fingerprint in which a result may differ.
    retry_failed, retry_stalled : bool
        Fit again what failed for good, or what used up its budget.
    verify : bool
        Check every file's checksum, not only those that changed.
    chunk : (int, int), optional
        Make every n-th fit from the i-th: one part of a job array.
    """

    refit: bool = False
    accept: tuple = ()
    retry_failed: bool = False
    retry_stalled: bool = False
    verify: bool = False
    chunk: tuple | None = None


def run_campaign(config, options=None, report=None, executor=None):
    """Make every fit that is not there yet.

    Parameters
    ----------
    config : Config
    options : Options, optional
    report : callable, optional
        Is given a dict of progress after each fit and once a second or so.
    executor : optional
        Instead of the one in the configuration.

    Returns
    -------
    Counter
        Fits by state.

    Raises
    ------
    OutputError
        If another campaign runs in the folder, results there are not current,
        or a result cannot be written (the disk is full, for one).
    ProspectEmuError
        If the configuration, catalog or an emulator is at fault.
    """
    options = options or Options()
    store = Store(config.output)
    store.create()
    with _locks(store, options.chunk) as former:
        store.read_index()  # as the last holder of the lock left it
        plan = make_plan(config, store)
        mine = list(plan.tasks.items())
        if options.chunk:
            index, number = options.chunk
            mine = mine[index::number]
        else:
            store.sweep()
        run = _Run(config, options, store, dict(mine), report, former)
        run.sort_out()
        write_plan(store, config, plan, run.entries, options)
        try:
            if run.queue:
                run.make(executor)
        finally:
            run.finish()
    return run.states()


@contextmanager
def _locks(store, chunk):
    """The whole folder, or, for a part of a job array, that part of it."""
    with store.lock(shared=chunk is not None) as former:
        if chunk is None:
            yield former
        else:
            with store.lock(name=f"locks/chunk-{chunk[0]}-of-{chunk[1]}") as former:
                yield former


class _Run:
    """State of one run of the loop."""

    def __init__(self, config, options, store, tasks, report, former=""):
        self.former = former  # a campaign here that was interrupted
        self.config, self.options, self.store, self.tasks = config, options, store, tasks
        self.report = report or (lambda progress: None)
        self.entries = {}
        self.attempts, self.kills = Counter(), Counter()
        self.queue = deque()
        self.made = 0
        self.workers = config.executor.workers
        self.answered, self.lost = False, set()
        self.began = time.time()
        self._saved = self._told = 0.0
        part = options.chunk
        self.log = store.path("log.jsonl" if not part else f"log-{part[0]}-of-{part[1]}.jsonl")
        self.progress_name = "progress.json" if not part else f"progress-{part[0]}.json"

    # ---- what is there -----------------------------------------------------------

    def sort_out(self):
        """Look at every fit; queue those to make; refuse results that are not current."""
        o = self.options
        changed, again = [], set()
        if o.retry_failed:
            again.add(FAILED)
        if o.retry_stalled:
            again.add(STALLED)
        for key, task in self.tasks.items():
            entry = self.store.look(key, task.fingerprint, o.accept, o.verify)
            if entry.state == CHANGED:
                changed.append((key, entry))
            self.entries[key] = entry
        if changed and not o.refit:
            fields = Counter(f for _, entry in changed for f in entry.changed)
            named = ", ".join(f"{f} ({n})" for f, n in fields.most_common(8))
            raise OutputError(
                f"{len(changed)} results in {self.store.folder} were made with another {named}: "
                f"{changed[0][0].name} for one. Fit them again (--refit), accept a difference "
                "(--accept FIELD), or use another output folder."
            )
        for key, entry in self.entries.items():
            if entry.state == DAMAGED:
                self.store.set_aside(key)
                self._log(key, "damaged", error=entry.detail)
            if entry.state in (PENDING, DAMAGED, CHANGED) or entry.state in again:
                if entry.state == PENDING:
                    self.attempts[key] = entry.attempts
                if entry.state == STALLED:
                    self.tasks[key] = replace(self.tasks[key], again=True)
                self.entries[key] = type(entry)(PENDING)
                self.queue.append(key)
        self.store.save_index()

    def states(self):
        """Fits by state."""
        return Counter(entry.state for entry in self.entries.values())

    # ---- making fits --------------------------------------------------------------

    def make(self, executor=None):
        """Empty the queue."""
        executor = executor or make_executor(work.run_task, self.config.executor)
        try:
            with _terminated_like_interrupted():
                while self.queue or executor.running:
                    while self.queue and executor.free > 0:
                        executor.submit(self.tasks[self.queue.popleft()])
                    for task, outcome in executor.collect(timeout=1.0):
                        self._take(task, outcome)
                    self._tell(executor)
        finally:
            executor.close()

    def _take(self, task, outcome):
        key = task.key
        self._count_lost(key, outcome)
        if isinstance(outcome, WorkerLost):
            self._take_lost(task, outcome.detail)
            return
        self._log(key, **outcome)
        if outcome["state"] == work.HALT:
            raise OutputError(
                f"The campaign stops at {key.name}: {outcome['error']} What is finished is kept; "
                "the same command goes on from here."
            )
        entry = type(self.entries[key])
        if outcome["state"] == work.FINISHED:
            try:
                self.store.note(key, task.fingerprint, outcome["status"])
            except FileNotFoundError as err:
                raise OutputError(
                    f"The worker on {outcome['host']} says that it wrote {key.name}, which is not "
                    f"in {self.store.folder}; workers must share the campaign's folder."
                ) from err
            self.store.forget_failure(key)
            state = DONE if outcome["status"] == "converged" else STALLED
            self.entries[key] = entry(state, outcome["status"])
            self.made += 1
            return
        self.attempts[key] += 1
        final = not outcome["again"] or self.attempts[key] > self.config.retries
        self.store.write_failure(
            key,
            error=outcome["error"],
            traceback=outcome.get("traceback", ""),
            attempts=self.attempts[key],
            final=final,
            fingerprint=task.fingerprint,
        )
        if final:
            self.entries[key] = entry(FAILED, outcome["error"], attempts=self.attempts[key])
            self.made += 1
        else:
            self.queue.append(key)

    def _take_lost(self, task, detail):
        """A killed worker is not its fit's failure: it is made again, now or by a later run."""
        key = task.key
        self._log(key, work.FAILED, error=detail, again=True)
        self.kills[key] += 1
        if self.kills[key] < _KILLS:
            self.queue.append(key)
            return
        detail = f"its workers died {self.kills[key]} times ({detail}); the next run tries again"
        self.store.write_failure(
            key, error=detail, traceback="", attempts=self.attempts[key], final=False,
            fingerprint=task.fingerprint,
        )  # fmt: skip
        self.entries[key] = type(self.entries[key])(PENDING, detail)

    def _count_lost(self, key, outcome):
        """Stop if no worker comes so far as to report anything: the fault is not the galaxies'."""
        if not isinstance(outcome, WorkerLost):
            self.answered = True
        if self.answered:
            return
        self.lost.add(key)
        given_up = sum(n >= _KILLS - 1 for n in self.kills.values())
        if len(self.lost) > 3 * self.workers or given_up == len(self.tasks):
            raise SetupError(
                f"{sum(self.kills.values()) + 1} workers died, and none ever finished "
                f"({outcome.detail}); a script that calls run_campaign needs if __name__ == "
                "'__main__', and a worker some 500 MB of memory."
            )

    # ---- telling -------------------------------------------------------------------

    def progress(self, running=(), waiting=""):
        """What `report` is given, and progress.json holds."""
        states, elapsed = self.states(), time.time() - self.began
        left = states[PENDING]
        rate = self.made / elapsed if elapsed > 0 else 0.0
        return {
            "done": states[DONE],
            "failed": states[FAILED],
            "stalled": states[STALLED],
            "pending": left,
            "running": [task.key.name for task in running],
            "waiting": waiting,
            "per_hour": 3600.0 * rate,
            "seconds_left": left / rate if rate > 0 else None,
            "began": self.began,
            "interrupted": self.former,
            "updated": time.time(),
        }

    def _tell(self, executor):
        now = time.time()
        if now - self._told >= 1.0:
            self._told = now
            progress = self.progress(executor.running, getattr(executor, "waiting", ""))
            self.report(progress)
            self.store.write_json(self.progress_name, progress)
        if now - self._saved >= _INDEX_EVERY and not self.options.chunk:
            self._saved = now
            self.store.save_index()

    def _log(self, key, state, **more):
        more.pop("traceback", None)
        stamp = datetime.now(UTC).isoformat(timespec="seconds")
        line = json.dumps({"time": stamp, "fit": key.name, "state": state, **more})
        try:
            with open(self.log, "a") as f:
                f.write(line + "\n")
        except OSError as err:
            raise OutputError(f"Writing {self.log} failed ({err}); free space.") from err

    def finish(self):
        """Leave the folder complete; on a full disk as complete as possible."""
        self.report(self.progress())
        try:
            self.store.write_json(self.progress_name, self.progress())
            if not self.options.chunk:
                self.store.save_index()
        except OutputError:
            pass  # the index is made anew from the files


@contextmanager
def _terminated_like_interrupted():
    """SIGTERM ends the campaign as Ctrl-C does: cleanly."""

    def stop(number, frame):
        raise KeyboardInterrupt

    try:
        before = signal.signal(signal.SIGTERM, stop)
    except ValueError:  # not in the main thread
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def campaign_status(folder, verify=False):
    """State of every fit of a campaign, running or not.

    Parameters
    ----------
    folder : path-like
    verify : bool
        Check every file's checksum.

    Returns
    -------
    dict
        ``states`` (Counter), ``entries`` (Key -> Entry), ``left_out``, ``holder``
        (the process that runs it now, or None), ``progress`` (its last report).
    """
    store = Store(folder)
    plan = store.plan()
    entries = {}
    for fit in plan["fits"]:
        key = key_of(fit)
        entries[key] = store.look(key, fit["fingerprint"], verify=verify)
    holder = store.holder()
    parts = sorted(Path(folder).glob("progress*.json"))
    progress = [p for p in (store.read_json(path.name) for path in parts) if p]
    return {
        "name": plan["config"]["name"],
        "states": Counter(e.state for e in entries.values()),
        "entries": entries,
        "left_out": plan["left_out"],
        "holder": holder,
        "progress": progress if holder else [],
    }
