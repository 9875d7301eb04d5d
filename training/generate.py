"""FSPS photometry for a recipe: worker processes, shards on disk, resumable.

Each worker holds one FSPS (it is one global state per process). A shard is
drawn from its own random stream and written atomically, so that a killed run
loses at most the shards in flight and a rerun makes exactly what is missing.
"""

import os
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from importlib import metadata
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from tqdm import tqdm

from prospect_emu.errors import ProspectEmuError, SetupError
from prospect_emu.networks.vector import PARAMETERS
from prospect_emu.observe.filters import load_filters
from prospect_emu.observe.photometry import FilterProjector
from prospect_emu.prospector.mathews23 import model_params
from prospect_emu.workers import exit_with_parent

from .recipe import Recipe, draw_parameters
from .shards import ShardStore

# Streams of a recipe's seed that never overlap.
STREAMS = {"train": 0, "test": 1}


def require_fsps():
    """Raise `SetupError` unless python-fsps can run here."""
    home = os.environ.get("SPS_HOME")
    if not home:
        raise SetupError(
            "SPS_HOME is not set; making FSPS photometry needs it: point it to your FSPS "
            "folder (export SPS_HOME=/path/to/fsps)."
        )
    if not Path(home, "data", "emlines_info.dat").is_file():
        raise SetupError(
            f"SPS_HOME={home} holds no data/emlines_info.dat; point it to a complete FSPS folder."
        )
    try:
        import fsps  # noqa: F401
    except (ImportError, RuntimeError) as err:
        raise SetupError(f"python-fsps does not load ({err}); pip install fsps.") from err


def fsps_versions():
    """Versions and libraries that decide what FSPS computes, for provenance."""
    require_fsps()
    import fsps

    pop = fsps.StellarPopulation(zcontinuous=1)
    return {
        "python-fsps": metadata.version("fsps"),
        "astro-prospector": metadata.version("astro-prospector"),
        "libraries": [lib.decode() for lib in pop.libraries],
        "n_wavelengths": len(pop.wavelengths),
        "n_metallicities": len(pop.zlegend),
        "n_ages": len(pop.ssp_ages),
    }


class FSPSPhotometry:
    """Photometry of the 18-parameter model by python-fsps through Prospector.

    Raises
    ------
    SetupError
        If FSPS is not available.
    """

    def __init__(self, recipe):
        require_fsps()
        from prospect.models import SpecModel
        from prospect.sources import FastStepBasis

        params = model_params()
        for name, value in recipe.fixed.items():
            params[name]["init"] = value
        self.model = SpecModel(params)
        self.sps = FastStepBasis(zcontinuous=1)
        self.projector = FilterProjector(
            load_filters(recipe.filters), self.sps.wavelengths, recipe.quadrature
        )
        alias = {"massmet_1": "logmass", "massmet_2": "logzsol"}
        labels = [alias.get(name, name) for name in self.model.theta_labels()]
        self.order = [PARAMETERS.index(name) for name in labels]

    def __call__(self, theta):
        """Apparent maggies (nband,) and surviving mass fraction of one parameter vector (18,)."""
        self.model.set_parameters(np.asarray(theta, dtype=float)[self.order])
        params = self.model.params
        _, lnu, mfrac = self.sps.get_galaxy_spectrum(**params)
        phot = self.projector.maggies(lnu, float(params["zred"][0])) * params["mass"].sum()
        return phot, float(np.squeeze(mfrac))


class SampleStore(ShardStore):
    """Samples of a recipe in shards; first axis of every array is the sample.

    Parameters
    ----------
    folder : path-like
    recipe : Recipe
    stream : {"train", "test"}
    shard_size : int
    versions : dict
        Of what computed them.

    Attributes
    ----------
    n_samples : int or None
        The first this many are read; None: all that are there.

    Raises
    ------
    ProspectEmuError
        If the folder holds samples of another recipe, FSPS or shard size.
    """

    KIND = "prospect_emu training shard"
    HOLDS = "samples made"
    MADE_BY = "generate samples there first"

    def __init__(self, folder, recipe, stream, shard_size, versions):
        self.recipe, self.stream, self.shard_size = recipe, stream, shard_size
        manifest = {
            "recipe": recipe.as_dict(),
            "stream": stream,
            "shard_size": shard_size,
            "versions": versions,
        }
        super().__init__(folder, manifest)
        self.n_samples, self.first = None, 0

    @classmethod
    def open(cls, folder):
        """Open an existing folder for reading."""
        m = cls.stored_manifest(folder)
        return cls(folder, Recipe(**m["recipe"]), m["stream"], m["shard_size"], m["versions"])

    def draw(self, index):
        stream = (STREAMS[self.stream], index)
        return draw_parameters(self.recipe, self.shard_size, stream)

    def reserve(self, n_samples, first=0):
        """Number of shards that hold `n_samples`, which are read from now on; those missing.

        The shards before `first` are left out.
        """
        self.n_samples, self.first = n_samples, first
        indices = self.indices()
        return len(indices), [i for i in indices if not self.is_good(i)]

    def indices(self):
        """Indices of the shards to read."""
        if self.n_samples is not None:
            last = self.first + -(-self.n_samples // self.shard_size)
            return list(range(self.first, last))
        indices = sorted(int(p.stem.split("-")[1]) for p in self.folder.glob("shard-*.safetensors"))
        if not indices:
            raise ProspectEmuError(f"{self.folder} holds no shards; generate samples there first.")
        return indices

    def load(self):
        """The samples as one: arrays by name, such as theta (n, 18)."""
        shards = [self.read(i) for i in self.indices()]
        return {k: np.concatenate([s[k] for s in shards])[: self.n_samples] for k in shards[0]}


# One FSPS per process is FSPS's own rule: this is its only state, set in workers alone.
_worker_state: dict = {}


def _start_worker(folder):
    exit_with_parent()
    store = SampleStore.open(folder)
    _worker_state["store"] = store
    _worker_state["fsps"] = FSPSPhotometry(store.recipe)


def _make_shard(index):
    store, photometry = _worker_state["store"], _worker_state["fsps"]
    theta = store.draw(index)
    results = [photometry(t) for t in theta]
    maggies = np.array([phot for phot, _ in results])
    if not np.isfinite(maggies).all():
        raise ProspectEmuError(f"FSPS returned non-finite fluxes in shard {index}.")
    mfrac = np.array([m for _, m in results])
    store.write(index, {"theta": theta, "maggies": maggies, "mfrac": mfrac})
    return index


def generate(recipe, folder, n_samples, stream="train", workers=None, shard_size=500):
    """Make (or complete) `n_samples` of FSPS photometry in `folder`.

    Parameters
    ----------
    recipe : Recipe
    folder : path-like
    n_samples : int
        Shards are whole, but no more samples are read. A larger number later adds shards.
    stream : {"train", "test"}
        The test stream never shares samples with the training stream.
    workers : int, optional
        Processes; default one per core.
    shard_size : int
    """
    store = SampleStore(folder, recipe, stream, shard_size, fsps_versions())
    n_shards, todo = store.reserve(n_samples)
    bar = tqdm(total=n_shards * shard_size, initial=(n_shards - len(todo)) * shard_size, unit="SED")
    if not todo:
        return store
    pool = ProcessPoolExecutor(
        max_workers=min(workers or os.cpu_count() or 1, len(todo)),
        mp_context=get_context("spawn"),  # fork would copy a started FSPS
        initializer=_start_worker,
        initargs=(str(store.folder),),
    )
    try:
        with pool, bar:
            for job in as_completed([pool.submit(_make_shard, i) for i in todo]):
                job.result()
                bar.update(shard_size)
    except BrokenProcessPool as err:
        raise ProspectEmuError(
            f"A worker process died; finished shards are kept in {folder}: run the same "
            "command again to resume."
        ) from err
    return store
