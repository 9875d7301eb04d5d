"""Checkpoints of a fit: one file, replaced atomically, and read without executing code."""

import json
import time
from pathlib import Path

import numpy as np

from ..errors import ModelFileError, OutputError
from ..files import load_tensors, save_tensors
from .dynesty_state import put_together, take_apart

KIND = "prospect_emu checkpoint"
SCHEMA = 1

_LOWEST = -1e300  # dynesty's stand-in for minus infinity
# Differences of ln L by rounding; see `same_likelihood`.
_NEAR_PEAK, _FAR_AWAY = 0.05, 1e-4


class Checkpoint:
    """Where and how often a run is saved, and what it is a run of.

    Parameters
    ----------
    path : path-like
    every : float
        Seconds between two saves.
    identity : dict
        Name to JSON-serialisable description or checksum, of everything that the
        run depends on. A run is resumed only if all of them are the same.
    """

    def __init__(self, path, every, identity):
        self.path = Path(path)
        self.every = float(every)
        # As it will be read.
        self.identity = json.loads(json.dumps(identity, default=repr))
        if not self.every > 0:
            raise OutputError(f"checkpoint_every = {every} is not a positive number of seconds.")
        if not self.path.parent.is_dir():
            raise OutputError(
                f"checkpoint_file = {path}: the folder does not exist; make it or choose another."
            )
        self._next = time.perf_counter() + self.every

    @property
    def due(self):
        """Whether it is time to save."""
        return time.perf_counter() > self._next

    def save(self, sampler, given, progress):
        """Write the state of a sampler and of the run around it (`progress`, JSON)."""
        tensors, tree = take_apart(sampler, given)
        manifest = {
            "kind": KIND,
            "schema": SCHEMA,
            "identity": self.identity,
            "progress": progress,
            "state": tree,
        }
        try:
            save_tensors(self.path, tensors, manifest)
        except OSError as err:
            raise OutputError(
                f"Writing the checkpoint {self.path} failed ({err}); free space or choose another "
                "folder."
            ) from err
        self._next = time.perf_counter() + self.every

    def read(self):
        """What `save` wrote, or None if there is no file.

        Returns
        -------
        (dict of ndarray, dict)
            Tensors and manifest, for `restore`.

        Raises
        ------
        ModelFileError
            If the file is damaged, or of another run: what differs is named.
        """
        if not self.path.exists():
            return None
        tensors, manifest = load_tensors(self.path, KIND)
        if manifest.get("schema") != SCHEMA:
            raise ModelFileError(
                f"{self.path} has schema {manifest.get('schema')}, this version reads {SCHEMA}; "
                "delete it and start again."
            )
        stored = manifest["identity"]
        differ = [k for k in (*self.identity, *stored) if stored.get(k) != self.identity.get(k)]
        if differ:
            raise ModelFileError(
                f"{self.path} is the checkpoint of another fit: "
                f"{', '.join(dict.fromkeys(differ))} differ; restore them, or delete the file to "
                "start again."
            )
        return tensors, manifest

    def remove(self):
        """Delete the file, if there is one: the run is complete."""
        self.path.unlink(missing_ok=True)


def same_likelihood(again, stored):
    """Whether log likelihoods are those stored, but for rounding.

    A network in single precision gives magnitudes that depend on the batch and on
    the processor by 2e-6 (rms) and up to 2e-5 in corners of its training box.
    That changes ln L of photometry in two ways. Far from the peak, where chi2 is
    proportional to the square of the flux, by up to 1e-4 of its distance
    from the peak; near it, where it is linear in the flux, by 2e-6 times signal to
    noise per band, below 0.05, which is nothing to a posterior. The peak is not
    known: the distance is taken from the best stored point or from zero (whichever
    is further), as all points may be far away.

    Parameters
    ----------
    again, stored : array_like, shape (n,)

    Returns
    -------
    bool
        Whether all agree. Minus infinity is the same as dynesty's number for it.
    """
    again, stored = (np.maximum(np.asarray(v, dtype=float), _LOWEST) for v in (again, stored))
    distance = np.maximum(np.abs(stored), np.max(stored, initial=_LOWEST) - stored)
    allowed = np.where(stored > _LOWEST, _NEAR_PEAK + _FAR_AWAY * distance, 0.0)
    return bool(np.all(np.abs(again - stored) <= allowed))


def restore(sampler, given, stored):
    """Give `sampler` the state that `Checkpoint.read` returned."""
    tensors, manifest = stored
    put_together(sampler, given, tensors, manifest["state"])
