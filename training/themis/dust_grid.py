"""Grids and random samples of dust emission: made in shards, resumable, with their provenance."""

import dataclasses
import hashlib
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import numpy as np
from tqdm import tqdm

from prospect_emu.errors import ProspectEmuError

from ..shards import ShardStore
from .dust_data import read_dust_model
from .dust_engine import DustEngine, Resolution
from .dust_fields import StellarFields

PARAMETERS = ("log_u", "log_tau", "log_a_min")
# log10 of U, of the age in years, and of the smallest radius in nm.
BOX = {"log_u": (-2.0, 7.0), "log_tau": (6.0, 10.0), "log_a_min": (np.log10(0.4), 1.0)}
# Emission below this share of its peak is noise of the quadrature: see `positive_log`.
_LOWEST = 1e-30
_FIELDS_PER_SHARD = 50


@dataclass(frozen=True)
class GridRecipe:
    """What is computed.

    Attributes
    ----------
    kind : {"grid", "random"}
    shape : tuple of int
        "grid": nodes in log U, log tau and log a_min. "random": radiation fields, and
        minimum sizes for each of them.
    seed : int
        Of the random samples.
    n_wave : int
    wave_range : tuple of float
        micron.
    resolution : Resolution
    """

    kind: str = "grid"
    shape: tuple = (91, 51, 51)
    seed: int = 0
    n_wave: int = 481
    wave_range: tuple = (1.0, 1200.0)
    resolution: Resolution = dataclasses.field(default_factory=Resolution)

    def __post_init__(self):
        wanted = {"grid": 3, "random": 2}.get(self.kind)
        if len(self.shape) != wanted or min(self.shape) < 1:
            raise ProspectEmuError(
                f"A recipe of kind {self.kind!r} cannot have shape {self.shape}."
            )

    @property
    def axes(self):
        """Nodes of a grid: three arrays."""
        ends = (BOX[p] for p in PARAMETERS)
        return tuple(np.linspace(*e, n) for e, n in zip(ends, self.shape, strict=True))

    @property
    def n_shards(self):
        return self.shape[0] if self.kind == "grid" else -(-self.shape[0] // _FIELDS_PER_SHARD)

    def points(self, shard):
        """Parameters of a shard: log U (n,), log tau (n,), log a_min (n, m)."""
        if self.kind == "grid":
            u, tau, a = self.axes
            n = tau.size
            return np.full(n, u[shard]), tau, np.broadcast_to(a, (n, a.size)).copy()
        left = self.shape[0] - shard * _FIELDS_PER_SHARD
        n = min(_FIELDS_PER_SHARD, left)
        rng = np.random.default_rng((self.seed, shard))
        u, tau = (rng.uniform(*BOX[p], n) for p in PARAMETERS[:2])
        return u, tau, rng.uniform(*BOX["log_a_min"], (n, self.shape[1]))


def positive_log(emission):
    """ln of emission (..., nwave), of 1e-30 of each spectrum's peak where it is less."""
    floor = _LOWEST * emission.max(axis=-1, keepdims=True)
    return np.log(np.maximum(emission, floor))


def choose_wavelengths(engine, fields, n, low, high):
    """Wavelengths that describe the emission best when it is interpolated linearly.

    Their density goes with the root of the largest relative curvature in ln(wavelength) over
    `fields` and minimum sizes, which makes errors of interpolation alike everywhere: dense
    over the aromatic bands, sparse over the featureless far infrared. Emission under 1e-6
    of a spectrum's peak does not count.

    Parameters
    ----------
    engine : DustEngine
        With wavelengths fine enough to show every feature.
    fields : ndarray, shape (nfield, nfield_wave)
    n : int
    low, high : float
        Ends, micron.

    Returns
    -------
    ndarray, shape (n,)
    """
    lnu = engine.emission(fields, np.array([0.4, 1.0, 3.0, 10.0]) * 1e-7)
    lnu = lnu.reshape(-1, engine.wave.size)
    x = np.log(engine.wave)
    fine = np.linspace(np.log(low), np.log(high), 8 * n)
    y = np.array([np.exp(np.interp(fine, x, np.log(row))) for row in np.maximum(lnu, 1e-300)])
    # Curvature over two steps of the optics, so that the kinks of their tables smooth out.
    k = 6
    bend = np.zeros_like(y)
    bend[:, k:-k] = np.abs(y[:, 2 * k :] - 2 * y[:, k:-k] + y[:, : -2 * k])
    bend[:, :k], bend[:, -k:] = bend[:, k : k + 1], bend[:, -k - 1 : -k]
    size = y + 1e-6 * y.max(axis=1, keepdims=True)
    density = np.sqrt((bend / size).max(axis=0))
    kernel = np.hanning(2 * k + 3)[1:-1]
    padded = np.pad(density, k, mode="edge")
    density = np.convolve(padded, kernel / kernel.sum(), mode="valid")
    density = np.maximum(density, 0.25 * density.mean())
    share = np.concatenate([[0.0], np.cumsum(0.5 * (density[1:] + density[:-1]))])
    nodes = np.interp(np.linspace(0.0, share[-1], n), share, fine)
    nodes = _snapped(nodes, np.log(engine.field_wave))
    while nodes.size < n:  # where two became one, split the cell that needs it most
        i = np.diff(np.interp(nodes, fine, share)).argmax()
        nodes = np.insert(nodes, i + 1, 0.5 * (nodes[i] + nodes[i + 1]))
    wave = np.exp(nodes)
    wave[[0, -1]] = low, high
    return wave


def _snapped(nodes, own):
    """Inner nodes moved to the nearest one of the optics, where their spectra have kinks.

    Only where the optics are as finely tabulated as the nodes; of two that meet, one stays.
    """
    k = np.abs(own - nodes[:, None]).argmin(axis=1)
    reach = 0.5 * np.maximum(np.gradient(nodes), np.gradient(own)[k])
    fine = (np.abs(own[k] - nodes) < reach) & (np.gradient(own)[k] < 0.02)
    nodes = np.where(fine, own[k], nodes)
    return np.unique(nodes)


class DustStore(ShardStore):
    """Emission in shards.

    Arrays of a shard: ``log_u`` (n,), ``log_tau`` (n,), ``log_a_min`` (n, m), and
    ``ln_emission`` (n, m, nwave), ln of W/Hz/kg.

    Parameters
    ----------
    folder : path-like
    manifest : dict
        What the shards depend on; a folder that holds others is refused.
    """

    KIND = "prospect_emu dust shard"
    HOLDS = "emission computed"
    MADE_BY = "make it with prospect-emu train-dust grid"

    def __init__(self, folder, manifest):
        super().__init__(folder, manifest)
        r = dict(self.manifest["recipe"])
        r["resolution"] = Resolution(**r["resolution"])
        r |= {k: tuple(r[k]) for k in ("shape", "wave_range")}
        self.recipe = GridRecipe(**r)
        self.wave = np.array(self.manifest["wave"])

    @classmethod
    def open(cls, folder):
        """Open an existing folder for reading."""
        return cls(folder, cls.stored_manifest(folder))

    def missing(self):
        """Indices of the shards still to be made."""
        return [i for i in range(self.recipe.n_shards) if not self.is_good(i)]

    def load(self):
        """All shards as one: parameters (n, 3) and ln emission (n, nwave), float32."""
        if todo := self.missing():
            raise ProspectEmuError(
                f"{self.folder} lacks {len(todo)} of {self.recipe.n_shards} shards; run the "
                "command that makes it again to resume."
            )
        theta, ln_emission = [], []
        for i in range(self.recipe.n_shards):
            s = self.read(i)
            m = s["log_a_min"].shape[1]
            columns = (np.repeat(s["log_u"], m), np.repeat(s["log_tau"], m), s["log_a_min"].ravel())
            theta.append(np.stack(columns, axis=1))
            ln_emission.append(s["ln_emission"].reshape(len(theta[-1]), -1))
        return np.concatenate(theta), np.concatenate(ln_emission)


def _file_hashes(folder, field):
    paths = [*sorted(Path(folder).glob("*.DAT")), Path(field)]
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in paths}


def prepare(recipe, dust_folder, field_path, threads=1):
    """Engine, fields and the manifest of what they will compute."""
    model = read_dust_model(dust_folder)
    fields = StellarFields.read(field_path, model.wave)
    low, high = recipe.wave_range
    coarse = Resolution(small=0.064, n_wide=60, n_core=40)
    scout = DustEngine(model, model.wave[(model.wave >= 0.9 * low)], coarse, threads)
    probes = fields([1e-2, 1.0, 1e2, 1e4, 1e6], [9.5, 9.0, 8.0, 7.0, 6.5])
    wave = choose_wavelengths(scout, probes, recipe.n_wave, low, high)
    engine = DustEngine(model, wave, recipe.resolution, threads)
    manifest = {
        "recipe": dataclasses.asdict(recipe),
        "wave": [float(f"{w:.7g}") for w in wave],
        "unit": "ln of W/Hz per kg of dust",
        "dust_model": model.name,
        "dust_to_hydrogen": model.dust_to_hydrogen,
        "field": fields.note,
        "inputs": _file_hashes(dust_folder, field_path),
        "versions": {k: metadata.version(k) for k in ("prospect_emu", "numpy", "numba")},
    }
    return engine, fields, manifest


def make(recipe, folder, dust_folder, field_path, threads=1, progress=True):
    """Compute (or complete) a grid or random samples.

    Parameters
    ----------
    recipe : GridRecipe
    folder : path-like
        Where the shards go; a killed run loses the shard in flight.
    dust_folder : path-like
        DustEM files of the dust model.
    field_path : path-like
        Table of stellar fields; see `StellarFields.read`.
    threads : int
    progress : bool
    """
    engine, fields, manifest = prepare(recipe, dust_folder, field_path, threads)
    store = DustStore(folder, manifest)
    # Every second node of U first, and so on: half a grid is then a coarser grid.
    todo = sorted(store.missing(), key=lambda i: -((i & -i) or recipe.n_shards))
    done = recipe.n_shards - len(todo)
    bar = tqdm(total=recipe.n_shards, initial=done, unit="shard", disable=not progress)
    with bar:
        for i in todo:
            log_u, log_tau, log_a = recipe.points(i)
            grains = engine.grains(fields(10.0**log_u, log_tau))
            emission = np.empty((*log_a.shape, engine.wave.size))
            shared = bool((log_a == log_a[0]).all())
            weights = engine.size_weights(10.0 ** log_a[0] * 1e-7) if shared else None
            for k, g in enumerate(grains):
                w = weights if shared else engine.size_weights(10.0 ** log_a[k] * 1e-7)
                emission[k] = w @ g
            ln = positive_log(emission * engine.per_kilogram).astype(np.float32)
            store.write(
                i, {"log_u": log_u, "log_tau": log_tau, "log_a_min": log_a, "ln_emission": ln}
            )
            bar.update()
    return store
