"""Training samples that never run out: factors from `ExactSPS`, combined anew each time.

The photometry is linear in the masses formed per age bin and in fagn (see
`ExactSPS.factors`). One set of factors, which costs as much as a few model
spectra, therefore yields the photometry of any star-formation history and AGN
fraction for a few multiplications: of the 17 parameters that are not mere
scale, seven are drawn anew every time a sample is used.
"""

import numpy as np
import torch
from tqdm import tqdm

from prospect_emu import sfh
from prospect_emu.emulator import reference_scale
from prospect_emu.filters import load_filters
from prospect_emu.magnitudes import U0, A, softening
from prospect_emu.model import PARAMETERS, RATIO_NAMES

from .exact import ExactSPS
from .generate import SampleStore
from .recipe import draw_parameters

FAGN, ZRED = (PARAMETERS.index(p) for p in ("log_fagn", "zred"))
FIRST_RATIO = PARAMETERS.index(RATIO_NAMES[0])
RATIOS = slice(FIRST_RATIO, FIRST_RATIO + len(RATIO_NAMES))
# Stream of a recipe's seed for the parameters that are drawn anew (0 and 1 are
# the samples' own, see generate.STREAMS).
_BANK_STREAM = 2


def generate_factors(recipe, tables, folder, n_samples, shard_size=2000):
    """Make (or complete) a store of factors in `folder`; resumable like `generate`.

    Stored per sample, for the reference mass and distance of the emulator:
    ``stars`` (7, nband), ``dust`` (nband,) per absorbed luminosity ``absorbed``
    (7,), ``torus`` (nband,) per bolometric luminosity ``bolometric`` (7,) and
    fagn; ``surviving`` (7,) mass fractions; all float32, and ``theta`` (18,).

    Parameters
    ----------
    recipe : Recipe
    tables : path-like
        What `export_tables` wrote.
    folder : path-like
    n_samples : int

    Returns
    -------
    SampleStore
    """
    engine = ExactSPS(tables, dtype=torch.float32)
    versions = {**engine.manifest["versions"], "tables": engine.manifest["fingerprint"]}
    store = SampleStore(folder, recipe, "train", shard_size, versions)
    bands = engine.projector(load_filters(recipe.filters), recipe.quadrature)
    n_shards, todo = store.missing(n_samples)
    for index in tqdm(todo, initial=n_shards - len(todo), total=n_shards, unit="shard"):
        theta = store.draw(index)
        with torch.no_grad():
            parts = {k: v.double().numpy() for k, v in engine.factors(theta, bands).items()}
        # Apparent maggies per Msun formed -> the reference galaxy's.
        unit = 1.0 / reference_scale(0.0, theta[:, ZRED])[:, None]
        arrays = {
            "stars": parts["S"] * unit[:, :, None],
            "dust": parts["D"] * unit,
            "absorbed": parts["L"],
            "torus": parts["A"] * unit,
            "bolometric": parts["B"],
            "surviving": parts["R"],
        }
        store.write(index, {"theta": theta} | {k: v.astype("f4") for k, v in arrays.items()})
    return store


class FactorSamples:
    """Samples from a store of factors, for `prospect_emu.training.train.train_flux`.

    Parameters
    ----------
    data : dict of ndarray
        What a store of `generate_factors` loads.
    recipe : Recipe
        Its distribution of SFR ratios and fagn is drawn from.
    bank : int
        Size of the pool of such draws; pairs of pool entry and factors hardly
        ever repeat.
    """

    NAMES = ("theta", "stars", "dust", "absorbed", "torus", "bolometric")

    def __init__(self, data, recipe, bank=1_000_000):
        zred = data["theta"][:, ZRED]
        extra = (sfh.bin_durations(zred), np.log10(reference_scale(0.0, zred)))
        arrays = (*(data[k] for k in self.NAMES), *extra)
        self.tensors = tuple(torch.from_numpy(a.astype(np.float32, copy=False)) for a in arrays)
        theta = draw_parameters(recipe, bank, (_BANK_STREAM,))
        drawn = np.concatenate([theta[:, [FAGN]], theta[:, RATIOS]], axis=1)
        self._bank = torch.from_numpy(drawn.astype(np.float32))

    def draw(self, rng, theta, stars, dust, absorbed, torus, bolometric, durations, log_scale):
        """Complete a batch of factors with random SFR ratios and fagn.

        Returns
        -------
        theta : tensor, shape (n, 18)
        reference_mag : tensor, shape (n, nband)
            Arsinh magnitudes at the reference mass and distance.
        log_scale : tensor, shape (n,)
        """
        pick = self._bank[torch.randint(len(self._bank), (len(theta),), generator=rng)]
        theta = theta.clone()
        theta[:, FAGN], theta[:, RATIOS] = pick[:, 0], pick[:, 1:]
        log_sfr = torch.nn.functional.pad(-torch.cumsum(pick[:, 1:], dim=1), (1, 0))
        mass = durations * 10.0 ** (log_sfr - log_sfr.max(dim=1, keepdim=True).values)
        mass = mass / mass.sum(dim=1, keepdim=True)
        flux = torch.einsum("nk,nkb->nb", mass, stars)
        flux += (mass * absorbed).sum(dim=1, keepdim=True) * dust
        fagn = 10.0 ** pick[:, :1]
        flux += fagn * (mass * bolometric).sum(dim=1, keepdim=True) * torus
        return theta, U0 - A * torch.asinh(flux / softening()), log_scale


def surviving_fractions(data):
    """Parameters and surviving mass fractions of a loaded store, as `train_mfrac` takes them."""
    theta = data["theta"]
    share = sfh.bin_masses(np.zeros(len(theta)), theta[:, RATIOS], theta[:, ZRED])
    return theta, (share * data["surviving"]).sum(axis=1)
