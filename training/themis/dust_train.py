"""From a grid of dust emission to the dust emulator: one tensor network for spectrum and bands.

No descent is needed: the network's parts are singular vectors of the grid (Tucker's
decomposition), so that the result follows from the grid, in seconds.
"""

from importlib import metadata

import numpy as np
from scipy.interpolate import CubicSpline

from prospect_emu.dust.dust_emulator import DustEmulator
from prospect_emu.dust.tensor_net import TensorNet
from prospect_emu.errors import ProspectEmuError

from .dust_bands import ln_bands
from .dust_grid import BOX, PARAMETERS

# Emission this far below its peak is never seen: stars outshine it.
FLOOR = 1e-12
# Singular vectors of U, of tau, of a_min and of the wavelengths and bands.
RANKS = (40, 10, 40, 80)
# Products of functions of U and a_min whose joint share of the variance is less are left out.
NEGLIGIBLE = 1e-7
# A wavelength counts by the share of models that are bright there, and by this at least.
_BRIGHT, _LEAST = 1e-4, 0.03


def softened(ln_emission, wave_axis=-1, floor=FLOOR):
    """ln(emission + floor x peak): what the network learns, smooth where nothing shines."""
    peak = ln_emission.max(axis=wave_axis, keepdims=True)
    return np.logaddexp(ln_emission, peak + np.float32(np.log(floor)))


def targets(store, matrix):
    """What the network has to say at the nodes of a grid: ln(emission / U).

    Parameters
    ----------
    store : DustStore
        Of kind "grid".
    matrix : ndarray
        Weights of the bands, `dust_bands.bands_for`.

    Returns
    -------
    ndarray, shape (nu, ntau, na, nwave + nband), float32
        Softened spectra, then the bands.
    """
    recipe = store.recipe
    if recipe.kind != "grid":
        raise ProspectEmuError(f"{store.folder} holds random samples; the network needs a grid.")
    if min(recipe.shape) < 4:
        raise ProspectEmuError(f"A grid of {recipe.shape} nodes is too coarse; use 4 or more.")
    theta, ln_emission = store.load()
    nwave = store.wave.size
    values = np.empty((len(theta), nwave + len(matrix)), dtype=np.float32)
    for i in range(0, len(theta), 4096):
        rows = slice(i, i + 4096)
        soft = softened(ln_emission[rows])
        values[rows, :nwave] = soft
        values[rows, nwave:] = ln_bands(soft, matrix)
    values -= (np.log(10.0) * theta[:, :1]).astype(np.float32)
    return values.reshape(*recipe.shape, -1)


def importance(values, nwave):
    """Weights of the outputs: more where more models are bright, shape (n_out,).

    Parameters
    ----------
    values : ndarray, shape (..., n_out)
        `targets`.
    nwave : int
        How many of the outputs are wavelengths.
    """
    flat = values.reshape(-1, values.shape[-1])
    bright = np.zeros(flat.shape[1])
    for i in range(0, len(flat), 16384):
        part = flat[i : i + 16384]
        limit = part[:, :nwave].max(axis=1, keepdims=True) + np.float32(np.log(_BRIGHT))
        bright += (part > limit).sum(axis=0)
    return np.sqrt(bright / len(flat) + _LEAST)


def with_middles(nodes, values):
    """A table with a node more in each cell of its second axis, linear in exp(values) there.

    Between two ages of the stellar table the field is their mean, and so, very nearly, is
    the emission.

    Parameters
    ----------
    nodes : ndarray, shape (n,)
    values : ndarray, shape (m, n, k, n_out)
        Natural logarithms.

    Returns
    -------
    ndarray, shape (2 n - 1,)
    ndarray, shape (m, 2 n - 1, k, n_out)
    """
    finer = np.empty(2 * nodes.size - 1)
    finer[::2], finer[1::2] = nodes, 0.5 * (nodes[1:] + nodes[:-1])
    out = np.empty((values.shape[0], finer.size, *values.shape[2:]), dtype=values.dtype)
    out[:, ::2] = values
    for row, given in zip(out, values, strict=True):
        np.logaddexp(given[1:], given[:-1], out=row[1::2])
        row[1::2] -= np.log(2.0).astype(values.dtype)
    return finer, out


def _singular_vectors(table, axis, rank):
    """The leading left singular vectors of a table unfolded along an axis, (n, rank)."""
    flat = np.moveaxis(table, axis, 0).reshape(table.shape[axis], -1)
    _, vectors = np.linalg.eigh(flat @ flat.T)
    return vectors[:, ::-1][:, : min(rank, len(flat))]


def fit_tensor(axes, values, ranks=RANKS, negligible=NEGLIGIBLE, weights=None):
    """A tensor network for a table of outputs on a grid.

    Parameters
    ----------
    axes : sequence of three ndarray
        Nodes; the first and the last uniform.
    values : ndarray, shape (n0, n1, n2, n_out)
        Overwritten.
    ranks : tuple of int
        Singular vectors of each axis and of the outputs, at most.
    negligible : float
        Products of functions whose joint share of the variance is less are left out.
    weights : ndarray, shape (n_out,), optional
        How much an error of each output counts; default all alike.
    """
    shape = values.shape
    flat = values.reshape(-1, shape[-1])
    weights = np.ones(shape[-1]) if weights is None else weights
    mean = flat.mean(axis=0, dtype=float)
    flat -= mean.astype(np.float32)
    flat *= weights.astype(np.float32)
    gram = np.zeros((shape[-1], shape[-1]))
    for i in range(0, len(flat), 16384):
        part = flat[i : i + 16384].astype(float)
        gram += part.T @ part
    _, vectors = np.linalg.eigh(gram)
    vectors = vectors[:, ::-1][:, : ranks[3]]
    parts = [flat[i : i + 16384].astype(float) @ vectors for i in range(0, len(flat), 16384)]
    table = np.concatenate(parts).reshape(*shape[:3], -1)
    bases = [_singular_vectors(table, k, r) for k, r in enumerate(ranks[:3])]
    core = table
    for k, basis in enumerate(bases):
        core = np.moveaxis(np.tensordot(basis.T, core, (1, k)), 0, k)
    pairs, core = _leading_pairs(core, negligible)
    first, third = (CubicSpline(axes[k], bases[k]).c for k in (0, 2))
    return TensorNet(
        np.asarray(axes[0]), first, np.asarray(axes[1]), bases[1], np.asarray(axes[2]), third,
        pairs, core.astype(np.float32), (vectors.T / weights).astype(np.float32), mean,
    )  # fmt: skip


def _leading_pairs(core, negligible):
    """Products of the first and the third axis's functions that matter, and their core."""
    r0, _, r2, _ = core.shape
    by_pair = np.moveaxis(core, 2, 1).reshape(r0 * r2, core.shape[1], -1)
    power = (by_pair**2).sum(axis=(1, 2))
    order = np.argsort(power)
    lost = np.cumsum(power[order])
    keep = np.sort(order[lost > negligible * lost[-1]])
    pairs = np.stack(np.divmod(keep, r2), axis=1).astype(np.int32)
    return pairs, by_pair[keep]


def train_dust(
    store, matrix, bands, name="themis", provenance=None, ranks=RANKS, negligible=NEGLIGIBLE
):
    """Make a dust emulator of a grid.

    Parameters
    ----------
    store : DustStore
        Of kind "grid".
    matrix : ndarray
    bands : list of dict
        The two that `dust_bands.bands_for` gives.
    name : str
    provenance : dict, optional
        For the manifest.
    ranks, negligible
        See `fit_tensor`.

    Returns
    -------
    DustEmulator
        With errors yet to be measured (`dust_report.measured`).
    """
    axes, values = list(store.recipe.axes), targets(store, matrix)
    weights = importance(values, store.wave.size)
    axes[1], values = with_middles(axes[1], values)
    net = fit_tensor(axes, values, ranks, negligible, weights)
    manifest = dict(provenance or {})
    manifest["training"] = {
        "ranks": list(ranks),
        "negligible": negligible,
        "products": len(net.pairs),
        "bright": _BRIGHT,
        "least_weight": _LEAST,
        "floor": FLOOR,
        "prospect_emu": metadata.version("prospect_emu"),
        "numpy": np.__version__,
    }
    return DustEmulator(
        name=name,
        bounds=np.array([BOX[p] for p in PARAMETERS]),
        wavelengths=store.wave,
        bands=tuple(bands),
        spectrum_error=np.zeros(store.wave.size),
        band_error=np.zeros(len(bands)),
        manifest=manifest,
        net=net,
    )
