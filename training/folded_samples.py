"""Training samples by the million from a factored emulator, a redshift at a time.

A factored emulator repeats FSPS to 1e-4 mag and, folded at one redshift, needs
some tens of microseconds for 137 bands. A shard is therefore many
galaxies at one redshift; a batch of training mixes all shards.
"""

import numpy as np
import torch
from tqdm import tqdm

from prospect_emu.errors import RangeError
from prospect_emu.files import fingerprint
from prospect_emu.networks.emulator_base import reference_scale
from prospect_emu.networks.vector import PARAMETERS
from prospect_emu.observe.magnitudes import maggies_to_arsinh

from .generate import SampleStore
from .recipe import draw_parameters

ZRED = PARAMETERS.index("zred")
# Stream of a recipe's seed, beside those of generate.STREAMS.
_STREAM = 3
_GOLDEN = (np.sqrt(5) - 1) / 2


class FoldedStore(SampleStore):
    """Shards of galaxies that share their redshift."""

    def redshift(self, index):
        """Redshift of a shard: any number of shards covers the range evenly."""
        lo, hi = self.recipe.zred_range
        return lo + (hi - lo) * ((index + 0.5) * _GOLDEN % 1.0)

    def draw(self, index):
        theta = draw_parameters(self.recipe, self.shard_size, (_STREAM, index))
        theta[:, ZRED] = self.redshift(index)
        return theta


def check_source(emulator, low, high):
    """The emulator, if it covers redshifts from low to high; else `RangeError`."""
    covered = emulator.bounds[emulator.index("zred")]
    if covered[0] > low or covered[1] < high:
        raise RangeError(
            f"Emulator {emulator.name!r} covers {covered[0]:g} < z < {covered[1]:g}, less than "
            f"{low:g} to {high:g}; train from a wider one (--source)."
        )
    return emulator


def generate_folded(recipe, emulator, folder, n_samples, shard_size=4096, seen=0):
    """Make (or complete) a store of samples in `folder`; resumable like `generate`.

    Stored per sample: ``theta`` (18,), ``reference_mag`` (nband,), arsinh
    magnitudes at the reference mass and distance, and ``mfrac``.

    Parameters
    ----------
    recipe : Recipe
    emulator : FactoredEmulator
        Its range must hold the recipe's, its bands the recipe's.
    folder : path-like
    n_samples : int
        Shards are whole, but no more samples are read.
    shard_size : int
    seen : int
        Shards from the first on that are left out.
    """
    emulator = check_source(emulator, *recipe.zred_range).select(recipe.filters)
    versions = {**emulator.manifest["versions"], "emulator": fingerprint(emulator.manifest)}
    store = FoldedStore(folder, recipe, "train", shard_size, versions)
    n_shards, todo = store.reserve(n_samples, seen)
    for index in tqdm(todo, initial=n_shards - len(todo), total=n_shards, unit="shard"):
        theta = store.draw(index)
        folded = emulator.at_redshift(store.redshift(index))
        mag = maggies_to_arsinh(folded.reference_maggies(theta))
        mfrac = emulator.mfrac(theta)
        arrays = {"theta": theta, "reference_mag": mag, "mfrac": mfrac}
        store.write(index, {k: v.astype("f4") for k, v in arrays.items()})
    return store


class FoldedSamples:
    """Samples of a `FoldedStore`, for `prospect_emu.training.train.train_flux`."""

    def __init__(self, store):
        indices, size = store.indices(), store.shard_size
        # Filled in place: millions of samples are gigabytes.
        n = store.n_samples or len(indices) * size
        self.tensors = torch.empty(n, len(PARAMETERS)), torch.empty(n, len(store.recipe.filters))
        self._mfrac = np.empty(n, dtype="f4")
        for i, index in enumerate(tqdm(indices, unit="shard", desc="reading")):
            shard, rows = store.read(index), slice(i * size, (i + 1) * size)
            for tensor, name in zip(self.tensors, ("theta", "reference_mag"), strict=True):
                tensor[rows] = torch.from_numpy(shard[name])[: n - rows.start]
            self._mfrac[rows] = shard["mfrac"][: n - rows.start]
        log_scale = np.log10(reference_scale(0.0, self.tensors[0][:, ZRED].double().numpy()))
        self.tensors += (torch.from_numpy(log_scale.astype("f4")),)

    def mfrac(self, n=200_000):
        """Parameters and surviving fractions of about `n` samples, spread over all redshifts."""
        every = slice(None, None, max(1, len(self._mfrac) // n))
        return self.tensors[0][every].double().numpy(), self._mfrac[every].astype(float)


def folded_samples(recipe, emulator, folder, n_samples, seen=0):
    """Make or complete the store, read it, and say what it is.

    Returns
    -------
    FoldedSamples
    dict
        For the manifest of what is trained on them.
    """
    store = generate_folded(recipe, emulator, folder, n_samples, seen=seen)
    samples = FoldedSamples(store)
    described = {
        "source": f"{type(emulator).__name__} {emulator.name}, folded",
        "samples": len(samples.tensors[0]),
        "redshifts": seen + len(store.indices()),
        "emulator": store.manifest["versions"]["emulator"],
    }
    return samples, described
