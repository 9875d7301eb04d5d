"""Training of the inverse network: noisy photometry in any bands to U, tau and a_min.

Its samples are made by the forward emulator as they are needed: other noise, other errors
and other missing bands at each use.
"""

import dataclasses
from importlib import metadata

import numpy as np
import torch

from prospect_emu.dust_inverse import ERROR_RANGE, network_inputs

from .train import Network, Settings, fit_network

SETTINGS = Settings(
    width=256, depth=4, schedule=((0.03, 2048, 48),), patience=48, validation=0.01, seed=5,
    optimizer="muon", anneal=True, epoch=2**18,
)  # fmt: skip
SAMPLES = 400_000
# Bands that a sample keeps: at least this many.
_FEWEST = 4


class _Noise:
    """Loss: minus the mean ln likelihood of the truth under the network's Gaussian."""

    def __init__(self, emulator):
        self.emulator = emulator
        self.log_range = np.log(ERROR_RANGE)
        self.own = torch.tensor(emulator.band_error, dtype=torch.float32)

    def __call__(self, net, rng, ln_values, theta):
        n, nband = ln_values.shape
        lo, hi = self.log_range
        # One level of noise per galaxy, and each band a little off it.
        level = lo + (hi - lo) * torch.rand(n, 1, generator=rng)
        level = (level + 0.3 * torch.randn(n, nband, generator=rng)).clamp(lo, hi)
        keep = torch.rand(n, 1, generator=rng) ** 1.5
        used = torch.rand(n, nband, generator=rng) < keep.clamp(min=_FEWEST / nband)
        sigma = torch.hypot(torch.exp(level), self.own)
        factor = 1.0 + sigma * torch.randn(n, nband, generator=rng)
        # Bands 12 decades under the brightest are never measured.
        faint = ln_values < ln_values.amax(dim=1, keepdim=True) - 18.0
        used = used & (factor > 0.02) & ~faint
        factor = factor.clamp(min=0.02)
        # The error is quoted relative to the noisy value, as an observer would.
        data = ln_values + torch.log(factor), torch.exp(level) / factor, used
        inputs = network_inputs(self.emulator, *(a.numpy() for a in data))
        out = net(torch.from_numpy(inputs.astype(np.float32)))
        mean, log_sigma = out[:, :3], out[:, 3:].clamp(-7.0, 1.5)
        z = (theta - mean) * torch.exp(-log_sigma)
        # fit_network wants a positive loss whose square averages.
        return torch.exp((0.5 * z**2 + log_sigma).mean() / 3.0)


def train_inverse(emulator, checkpoint, settings=SETTINGS, n_samples=SAMPLES, progress=True):
    """Train the inverse network of an emulator.

    Parameters
    ----------
    emulator : DustEmulator
        Unrestricted.
    checkpoint : path-like
    settings : Settings
    n_samples : int
        Random parameters; noise and bands are drawn anew at each use.
    progress : bool

    Returns
    -------
    MLP
        Outputs: mean log10 parameters, then ln of their standard deviations.
    dict
        How it was trained, for the manifest.
    """
    rng = np.random.default_rng(settings.seed)
    lo, hi = emulator.bounds.T
    theta = rng.uniform(lo, hi, (n_samples, 3))
    ln_values = emulator.ln_photometry(theta)
    mean, std = theta.mean(axis=0), theta.std(axis=0)
    torch.manual_seed(settings.seed)
    n_in = 2 * len(emulator.bands) + 1
    net = Network(n_in, settings.width, settings.depth, 6)
    data = tuple(torch.from_numpy(a.astype(np.float32)) for a in (ln_values, (theta - mean) / std))
    history = fit_network(net, data, _Noise(emulator), settings, checkpoint, progress)
    out_mean = np.concatenate([mean, np.log(std)])
    mlp = net.to_mlp(np.zeros(n_in), np.ones(n_in), out_mean, np.concatenate([std, np.ones(3)]))
    described = {
        "settings": dataclasses.asdict(settings),
        "samples": n_samples,
        "epochs": len(history),
        "final_validation_loss": history[-1]["val"],
        "prospect_emu": metadata.version("prospect_emu"),
        "torch": torch.__version__,
    }
    return mlp, described
