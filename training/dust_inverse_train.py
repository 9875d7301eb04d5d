"""Training of the inverse networks: noisy bands, or a noisy spectrum, to U, tau and a_min.

Their samples are made by the forward emulator as they are needed: other noise, other errors
and other missing channels at each use.
"""

import dataclasses
from importlib import metadata

import numpy as np
import torch

from prospect_emu.dust_network import ERROR_RANGE, bin_weights, channels, network_inputs

from .train import Network, Settings, fit_network

SETTINGS = Settings(
    width=256, depth=4, schedule=((0.03, 2048, 160),), patience=160, validation=0.01, seed=5,
    optimizer="muon", anneal=True, epoch=2**18,
)  # fmt: skip
SAMPLES = 400_000
# Channels that a sample keeps: of bands at least this many, of bins in a row this many.
_FEWEST, _SHORTEST = 4, 8
# Share of the samples that keep all.
_WHOLE = 0.125
_BATCH = 16384


def any_bands(rng, n, nband):
    """Random choices of bands, shape (n, nband)."""
    keep = torch.rand(n, 1, generator=rng) ** 1.5
    keep[torch.rand(n, 1, generator=rng) < _WHOLE] = 1.0
    return torch.rand(n, nband, generator=rng) < keep.clamp(min=_FEWEST / nband)


def any_ranges(rng, n, nbin):
    """Random stretches of spectra, half of them with a gap, shape (n, nbin)."""
    at = torch.arange(nbin)

    def stretch(shortest, longest):
        length = shortest + (longest - shortest + 1) * torch.rand(n, 1, generator=rng)
        length = length.floor()
        # As often at the ends as in the middle: what would reach beyond is cut.
        first = (nbin + 1) * torch.rand(n, 1, generator=rng) - 0.5 * length
        first = torch.minimum(first.floor().clamp(min=0.0), nbin - length)
        return (at >= first) & (at < first + length)

    gap = stretch(0, nbin // 3) & (torch.rand(n, 1, generator=rng) < 0.5)
    seen = stretch(min(_SHORTEST, nbin), nbin)
    rest = seen & ~gap
    rest = torch.where(rest.sum(dim=1, keepdim=True) >= min(_SHORTEST, nbin), rest, seen)
    return rest | (torch.rand(n, 1, generator=rng) < _WHOLE)


class _Noise:
    """Loss: minus the mean ln likelihood of the truth under the network's Gaussian."""

    def __init__(self, centre, own, choose):
        self.centre, self.choose = centre, choose
        self.log_range = np.log(ERROR_RANGE)
        self.own = torch.tensor(own, dtype=torch.float32)

    def __call__(self, net, rng, ln_values, theta):
        n, nchannel = ln_values.shape
        lo, hi = self.log_range
        # One level of noise per galaxy, and each channel a little off it.
        level = lo + (hi - lo) * torch.rand(n, 1, generator=rng)
        level = (level + 0.3 * torch.randn(n, nchannel, generator=rng)).clamp(lo, hi)
        used = self.choose(rng, n, nchannel)
        sigma = torch.hypot(torch.exp(level), self.own)
        factor = 1.0 + sigma * torch.randn(n, nchannel, generator=rng)
        used = used & (factor > 0.02)
        factor = factor.clamp(min=0.02)
        # The error is quoted relative to the noisy value, as an observer would.
        data = ln_values + torch.log(factor), torch.exp(level) / factor, used
        inputs = network_inputs(self.centre, *(a.numpy() for a in data))
        out = net(torch.from_numpy(inputs.astype(np.float32)))
        mean, log_sigma = out[:, :3], out[:, 3:].clamp(-7.0, 1.5)
        z = (theta - mean) * torch.exp(-log_sigma)
        # fit_network wants a positive loss whose square averages.
        return torch.exp((0.5 * z**2 + log_sigma).mean() / 3.0)


def _ln_channels(emulator, theta, spectrum):
    """ln emission (n, nchannel) of models, float32."""
    if not spectrum:
        return emulator.ln_photometry(theta).astype(np.float32)
    weights, _ = bin_weights(emulator.wavelengths, emulator.wavelengths)
    out = np.empty((len(theta), len(weights)), dtype=np.float32)
    for i in range(0, len(theta), _BATCH):
        rows = slice(i, i + _BATCH)
        out[rows] = np.log(np.exp(emulator.ln_spectrum(theta[rows])) @ weights.T)
    return out


def train_inverse(
    emulator, checkpoint, spectrum=False, settings=SETTINGS, n_samples=SAMPLES, progress=True
):
    """Train an inverse network of an emulator.

    Parameters
    ----------
    emulator : DustEmulator
        Unrestricted.
    checkpoint : path-like
    spectrum : bool
        The network that reads spectra, instead of that of bands.
    settings : Settings
    n_samples : int
        Random parameters; noise and channels are drawn anew at each use.
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
    ln_values = _ln_channels(emulator, theta, spectrum)
    mean, std = theta.mean(axis=0), theta.std(axis=0)
    torch.manual_seed(settings.seed)
    n_in = 2 * ln_values.shape[1] + 1
    net = Network(n_in, settings.width, settings.depth, 6)
    data = tuple(torch.from_numpy(a) for a in (ln_values, ((theta - mean) / std).astype("f4")))
    loss = _Noise(*channels(emulator, spectrum), any_ranges if spectrum else any_bands)
    history = fit_network(net, data, loss, settings, checkpoint, progress)
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
