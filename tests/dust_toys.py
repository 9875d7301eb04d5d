"""A dust emulator with random weights: the right interface, no physics."""

import itertools

import numpy as np
from scipy.interpolate import CubicSpline

from prospect_emu.dust.dust_emulator import BIN, DustEmulator
from prospect_emu.dust.tensor_net import TensorNet
from prospect_emu.networks.network import MLP


def random_net(sizes, rng, in_mean, out_mean, spread=1.2):
    """An untrained MLP in single precision."""
    pairs = list(itertools.pairwise(sizes))
    weights = tuple(rng.normal(0, spread / np.sqrt(a), (a, b)).astype("f4") for a, b in pairs)
    biases = tuple(rng.normal(0, 0.1, b).astype("f4") for _, b in pairs)
    return MLP(
        weights, biases, in_mean, np.full(sizes[0], 2.0), out_mean, np.full(sizes[-1], 0.5)
    )  # fmt: skip


def toy_dust(nwave=40, nband=6, seed=0, inverse=False):
    """A `DustEmulator` that depends smoothly on all its parameters."""
    rng = np.random.default_rng(seed)
    bounds = np.array([[-2.0, 7.0], [6.0, 10.0], [np.log10(0.4), 1.0]])
    wave = np.geomspace(1.0, 1200.0, nwave)
    centre = np.geomspace(3.0, 800.0, nband)
    ln = np.log(np.concatenate([wave, centre]) / 100.0)
    bands = tuple(
        {"name": f"band_{i}", "reference": float(c), "shape": "flat", "hash": f"{i:064d}"}
        for i, c in enumerate(centre)
    )
    axes = [np.linspace(*b, n) for b, n in zip(bounds, (31, 9, 12), strict=True)]
    basis = [np.stack([x**0, x - x.mean(), np.sin(x)], axis=1) for x in axes]
    net = TensorNet(
        axes[0], CubicSpline(axes[0], basis[0]).c, axes[1], basis[1],
        axes[2], CubicSpline(axes[2], basis[2]).c,
        np.array([[0, 0], [0, 1], [1, 0], [1, 1], [2, 0], [2, 2]], dtype=np.int32),
        rng.normal(0.0, 0.25, (6, 3, 4)).astype("f4"),
        np.stack([np.cos(k * ln / 2.0) for k in range(4)]).astype("f4"), -30.0 - ln**2,
    )  # fmt: skip
    back = {}
    if inverse:
        out = np.concatenate([bounds.mean(axis=1), [-3.0] * 3])
        for part, channels in (("inverse", nband), ("spectrum_inverse", (nwave - 1) // BIN)):
            n_in = 2 * channels + 1
            back[part] = random_net([n_in, 16, 6], rng, np.zeros(n_in), out)
    return DustEmulator(
        name="toy",
        bounds=bounds,
        wavelengths=wave,
        bands=bands,
        spectrum_error=np.full(nwave, 0.004),
        band_error=np.full(nband, 0.003),
        manifest={"dust_model": "none"},
        net=net,
        **back,
    )
