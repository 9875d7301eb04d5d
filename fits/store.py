"""The folder of a campaign: the one owner of its names, and of what state each fit is in.

::

    plan.json            the fits, and the configuration they belong to
    fits/EMULATOR/ID_rN.h5    one result each, with a checksum
    failed/EMULATOR/ID_rN.json    error and number of attempts
    damaged/...          results that failed their checksum, set aside
    index.json, rows.npz     what is known of each file; made anew whenever they are missing
    left_out.ecsv        galaxies that are not fitted, and why
    log.jsonl            a line per finished attempt
    progress.json        of the running campaign
    lock, locks/...      held while a campaign runs, a part of it, or a fit

The files are the truth: the index only spares reading them all.
"""

import hashlib
import json
import os
import socket
import time
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import h5py

from ..errors import DataError, OutputError, ProspectEmuError
from ..files import fingerprint as hash_of
from ..files import write_atomic
from ..fit.result import FitResult
from ..fit.result_file import GROUP
from . import rows
from .fingerprints import Key, changed_fields, file_name, remaining
from .locks import take_lock

DONE, FAILED, STALLED, PENDING, CHANGED, DAMAGED = STATES = (
    "done", "failed", "stalled", "pending", "changed", "damaged",
)  # fmt: skip


@dataclass(frozen=True)
class Entry:
    """What is known of a fit.

    Attributes
    ----------
    state : str
        One of `STATES`.
    detail : str
        The error of a failed fit, the budget of a stalled one, the fault of a
        damaged file.
    changed : tuple of str
        Fields in which a result differs from what is asked for.
    attempts : int
        Failed attempts so far.
    """

    state: str
    detail: str = ""
    changed: tuple = ()
    attempts: int = 0


@dataclass
class Store:
    """A campaign's folder.

    Parameters
    ----------
    folder : path-like
    """

    folder: Path
    _index: dict = field(default_factory=dict, repr=False)
    _alike: set | None = field(default=None, repr=False)

    def __post_init__(self):
        self.folder = Path(self.folder)
        self.read_index()

    def read_index(self):
        """Read the index again; without a readable one, every file is looked at anew."""
        found = self.read_json("index.json")
        self._index = found if isinstance(found, dict) else {}

    # ---- names ------------------------------------------------------------------

    def tell_apart(self, galaxies):
        """Names of their own for ids whose capitals alone differ: some disks take them for one."""
        names = {galaxy: file_name(galaxy).lower() for galaxy in galaxies}
        count = Counter(names.values())
        self._alike = {galaxy for galaxy, name in names.items() if count[name] > 1}

    def name(self, key):
        """For files: `Key.name`, and a sign for each of two ids that are alike."""
        if self._alike is None:
            self.tell_apart((self.read_json("plan.json") or {}).get("catalog", ()))
        sign = hashlib.sha256(key.galaxy.encode()).hexdigest()[:8]
        return f"{key.name}~{sign}" if key.galaxy in self._alike else key.name

    def fit_path(self, key):
        return self.folder / "fits" / f"{self.name(key)}.h5"

    def failure_path(self, key):
        return self.folder / "failed" / f"{self.name(key)}.json"

    def path(self, name):
        return self.folder / name

    def create(self):
        """Make the folder."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as err:
            raise OutputError(f"Cannot make the folder {self.folder} ({err.strerror}).") from err

    def write_json(self, name, value):
        """Write a file of the folder, atomically."""
        write_file(self.folder / name, json.dumps(value, indent=1).encode())

    def read_json(self, name):
        """A file of the folder; None where there is none, or an unreadable one."""
        try:
            return json.loads((self.folder / name).read_text())
        except (OSError, ValueError):
            return None

    def plan(self):
        """The stored plan.

        Raises
        ------
        DataError
            If the folder holds no campaign.
        """
        plan = self.read_json("plan.json")
        if plan is None:
            raise DataError(f"{self.folder} holds no campaign (no plan.json); check the path.")
        return plan

    # ---- states -----------------------------------------------------------------

    def look(self, key, wanted, accept=(), verify=False):
        """State of one fit.

        Parameters
        ----------
        key : Key
        wanted : dict or str
            The fingerprint that is asked for, or its hash.
        accept : sequence of str
            See `changed_fields`; of a fingerprint alone.
        verify : bool
            Read the whole file even if the index knows it.

        Returns
        -------
        Entry
        """
        known, text = self._known(key, verify), isinstance(wanted, str)
        if known is None:
            failure = self.failure(key)
            if failure is None:
                return Entry(PENDING)
            old = failure["fingerprint"]
            if hash_of(old) != wanted if text else changed_fields(old, wanted, accept):
                return Entry(PENDING)
            state = FAILED if failure["final"] else PENDING
            return Entry(state, failure["error"], attempts=failure["attempts"])
        if "damage" in known:
            return Entry(DAMAGED, known["damage"])
        status = known["status"]
        if known["fingerprint"] != (wanted if text else hash_of(wanted)):
            if text:
                return Entry(CHANGED, status)
            old = self.record(key)["fingerprint"]
            changed, again = remaining(old, wanted, status == "converged", accept)
            if changed:
                return Entry(CHANGED, status, changed)
            if again:
                return Entry(PENDING)
        return Entry(DONE if status == "converged" else STALLED, status)

    def known_hash(self, key):
        """Hash of the fingerprint in a result that was looked at."""
        return self._index[key.name]["fingerprint"]

    def _known(self, key, verify):
        """The index's entry of a file that is there, made anew if the file changed."""
        path = self.fit_path(key)
        try:
            stat = path.stat()
        except OSError:
            self._index.pop(key.name, None)
            return None
        known = self._index.get(key.name)
        if not verify and known and known["file"] == [stat.st_size, stat.st_mtime_ns]:
            return known
        try:
            result = FitResult.read(path)
            campaign = result.info["campaign"]
            known = {
                "fingerprint": hash_of(campaign["fingerprint"]),
                "status": result.info["status"],
            }
        except (ProspectEmuError, KeyError, TypeError) as err:
            known = {"damage": str(err) if isinstance(err, DataError) else "no campaign's result"}
        known["file"] = [stat.st_size, stat.st_mtime_ns]
        self._index[key.name] = known
        return known

    def note(self, key, fingerprint, status):
        """Remember a file that was just written and is known to be good."""
        stat = self.fit_path(key).stat()
        self._index[key.name] = {
            "fingerprint": hash_of(fingerprint),
            "status": status,
            "file": [stat.st_size, stat.st_mtime_ns],
        }

    def save_index(self):
        """Write the index."""
        self.write_json("index.json", self._index)

    def rows(self, keys):
        """What the results of some fits, which were looked at, say: see `rows.collect`."""
        stamps, path = [self._index[key.name]["file"] for key in keys], self.path(rows.FILE)
        found, new = rows.collect(keys, stamps, self.record, path)
        try:  # what is kept spares time, and nothing else
            if new:
                rows.save(path, keys, stamps, found)
            with open(self.folder / "lock", "r+") as f:
                if take_lock(f):  # else a campaign is running, whose index it is
                    self.save_index()
        except (OSError, OutputError):
            pass
        return found

    def record(self, key):
        """What a campaign stored in a result's file: fingerprint, row, residuals.

        Reads nothing else, and so does not verify the checksum.
        """
        return read_record(self.fit_path(key))

    def failure(self, key):
        """The record of a failure, or None."""
        try:
            found = json.loads(self.failure_path(key).read_text())
            return found if {"fingerprint", "final", "attempts", "error"} <= set(found) else None
        except (OSError, ValueError):
            return None

    def write_failure(self, key, **record):
        """Record a failed attempt."""
        write_file(self.failure_path(key), json.dumps(record, indent=1).encode())

    def forget_failure(self, key):
        """Remove the record of a failure."""
        self.failure_path(key).unlink(missing_ok=True)

    def set_aside(self, key):
        """Move a damaged result away, where it can be looked at."""
        path = self.fit_path(key)
        target = self.folder / "damaged" / f"{self.name(key)}.{time.time_ns()}.h5"
        target.parent.mkdir(parents=True, exist_ok=True)
        path.replace(target)
        self._index.pop(key.name, None)
        return target

    def sweep(self):
        """Remove what interrupted writes left behind; only with the campaign's lock."""
        for leftover in self.folder.glob("fits/*/.*"):
            leftover.unlink(missing_ok=True)

    # ---- locks ------------------------------------------------------------------

    @contextmanager
    def lock(self, shared=False, name="lock"):
        """Hold the campaign while it runs.

        The operating system releases the lock with the process, however it ends:
        a lock file left by a killed campaign is no obstacle.

        Parameters
        ----------
        shared : bool
            For one of several parts of a campaign that run side by side.

        Raises
        ------
        OutputError
            If another campaign holds it; the process is named.
        """
        path = self.folder / name
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            f = open(path, "a+")
        except OSError as err:
            raise OutputError(
                f"Cannot write in {self.folder} ({err.strerror}); choose a folder you may write to."
            ) from err
        with f:
            if not take_lock(f, shared):
                f.seek(0)
                holder = f.read().strip() or "another process"
                raise OutputError(
                    f"A campaign is running in {self.folder} ({holder}); wait for it, or give "
                    "this one another output folder."
                )
            f.seek(0)
            former = f.read().strip()
            f.truncate(0)
            f.write(f"process {os.getpid()} on {socket.gethostname()}")
            f.flush()
            try:
                yield former
            finally:
                if not shared:
                    f.truncate(0)

    def holder(self):
        """Who runs a campaign in this folder now; None if nobody does."""
        try:
            with open(self.folder / "lock") as f:
                # Parts of a job array hold it together: only alone we know that none does.
                if not take_lock(f):
                    return f.read().strip() or "another process"
        except OSError:
            return None
        return None


def key_of(entry):
    """The `Key` of an entry in a plan."""
    return Key(entry["emulator"], entry["galaxy"], entry["repeat"])


def read_record(path):
    """See `Store.record`."""
    try:
        with h5py.File(path, "r") as f:
            return json.loads(f[GROUP].attrs["info"])["campaign"]
    except (OSError, KeyError, ValueError, RuntimeError) as err:
        raise DataError(f"{path} holds no result of a campaign; rebuild with --verify.") from err


def write_file(path, data):
    """Write bytes atomically; an `OutputError` if that fails."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, data)
    except OSError as err:
        raise OutputError(
            f"Writing {path} failed ({err}); check free space and permissions, and start again."
        ) from err
