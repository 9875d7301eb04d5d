"""Training of the inverse networks: noisy bands, or a noisy spectrum, to U, tau and a_min.

Their samples are made by the forward emulator as they are needed: other noise, other errors
and other missing channels at each use.
"""

import dataclasses
from importlib import metadata

import numpy as np
import torch

from prospect_emu.dust.dust_emulator import BIN
from prospect_emu.dust.dust_network import (
    ERROR_RANGE,
    FAINTEST,
    LOG_SIGMA,
    channels,
    ln_channels,
    network_inputs,
    prior_spread,
)

from ..train import Network, Settings, fit_network

SETTINGS = Settings(
    width=256, depth=4, schedule=((0.03, 2048, 120),), patience=120, validation=0.01, seed=5,
    optimizer="muon", anneal=True, epoch=2**18,
)  # fmt: skip
SAMPLES = 400_000
# Channels that a sample keeps: of bands at least this many, of bins in a row this many.
_FEWEST, _SHORTEST = 4, 3
# Share of the samples that keep all.
_WHOLE = 0.125
# Typical fractional errors: up to twice what is used, so that the choice is seen at work.
_LEVELS = (0.003, 0.6)
# In ln: the most that errors scatter from channel to channel, and how they change from the
# shortest wavelength to the longest. In the unit of the brightest channel: noise alike in all.
_SCATTER, _SLOPE, _SKY = 1.2, 0.6, (1e-4, 0.1)
_RECIPE = [2, ERROR_RANGE, FAINTEST, LOG_SIGMA, _FEWEST, _SHORTEST, _WHOLE, _LEVELS, _SCATTER,
           _SLOPE, _SKY]  # fmt: skip
_BATCH = 16384


def any_bands(rng, n, groups):
    """Random choices of bands, shape (n, nband): any, or instruments, or all.

    `groups`, shape (nband,), numbers the instruments.
    """
    nband = len(groups)
    kind = torch.rand(n, 1, generator=rng)
    keep = torch.rand(n, 1, generator=rng) ** 1.5
    scattered = torch.rand(n, nband, generator=rng) < keep.clamp(min=_FEWEST / nband)
    ngroup = int(groups.max()) + 1
    some = torch.rand(n, 1, generator=rng).clamp(min=1.0 / ngroup)
    taken = torch.rand(n, ngroup, generator=rng) < some
    # Half of them with all of their bands.
    share = (0.5 + torch.rand(n, 1, generator=rng)).clamp(max=1.0)
    united = taken[:, groups] & (torch.rand(n, nband, generator=rng) < share)
    out = torch.where(kind < 0.5, united, scattered) | (kind > 1.0 - _WHOLE)
    return torch.where(out.any(dim=1, keepdim=True), out, scattered)


def any_ranges(rng, n, nbin):
    """Random stretches of spectra, some with a gap or missing bins, shape (n, nbin)."""
    at = torch.arange(nbin)

    def stretch(shortest, longest):
        length = shortest + (longest - shortest + 1) * torch.rand(n, 1, generator=rng)
        length = length.floor()
        # As often at the ends as in the middle: what would reach beyond is cut.
        first = (nbin + 1) * torch.rand(n, 1, generator=rng) - 0.5 * length
        first = torch.minimum(first.floor().clamp(min=0.0), nbin - length)
        return (at >= first) & (at < first + length)

    gap = stretch(0, nbin // 3) & (torch.rand(n, 1, generator=rng) < 0.5)
    # Half of them, on average, with up to a third of the bins missing.
    missing = (torch.rand(n, 1, generator=rng) - 0.5).clamp(min=0.0) / 1.5
    gap = gap | (torch.rand(n, nbin, generator=rng) < missing)
    seen = stretch(min(_SHORTEST, nbin), nbin)
    rest = seen & ~gap
    rest = torch.where(rest.sum(dim=1, keepdim=True) >= min(_SHORTEST, nbin), rest, seen)
    return rest | (torch.rand(n, 1, generator=rng) < _WHOLE)


def any_errors(rng, ln_values, given, places, widths):
    """Fractional errors as observers have them, shape (n, nchannel).

    A level; a scatter about it; a change with wavelength; noise alike in all channels, which
    hurts the faint ones; and, for half of the spectra, better known bins where they are wide.

    Parameters
    ----------
    rng : torch.Generator
    ln_values : tensor, shape (n, nchannel)
    given : tensor of bool, shape (n, nchannel)
    places : tensor, shape (nchannel,)
        From -1 at the shortest wavelength to 1 at the longest.
    widths : tensor, shape (nchannel,)
        Over their mean.
    """
    n, nchannel = ln_values.shape

    def draw(columns=1):
        return torch.rand(n, columns, generator=rng)

    lo, hi = np.log(_LEVELS)
    error = lo + (hi - lo) * draw()
    error = error + _SCATTER * draw() ** 2 * torch.randn(n, nchannel, generator=rng)
    error = error + _SLOPE * torch.randn(n, 1, generator=rng) * places
    error = error - 0.5 * torch.log(widths) * (draw() < 0.5)
    below = ln_values - ln_values.masked_fill(~given, -torch.inf).amax(dim=1, keepdim=True)
    first, last = np.log(_SKY)
    sky = torch.exp(first + (last - first) * draw() - below.clamp(min=-40.0)) * (draw() < 0.5)
    return torch.hypot(torch.exp(error.clamp(min=lo)), sky)


class _Noise:
    """Loss: minus the mean ln likelihood of the truth under the network's Gaussian."""

    def __init__(self, emulator, spectrum):
        self.centre, own = channels(emulator, spectrum)
        self.own = torch.tensor(own, dtype=torch.float32)
        if spectrum:
            edges = np.log(emulator.wavelengths[::BIN])
            wave, widths = 0.5 * (edges[1:] + edges[:-1]), np.diff(edges)
            self.choose = any_ranges, wave.size
        else:
            wave, widths = np.log(emulator.band_wavelengths), np.ones(len(emulator.bands))
            names = [b.split("_")[0] for b in emulator.band_names]
            self.choose = any_bands, torch.tensor(np.unique(names, return_inverse=True)[1])
        places = 2.0 * (wave - wave.min()) / np.ptp(wave) - 1.0
        described = places, widths / widths.mean()
        self.observed = tuple(torch.tensor(v, dtype=torch.float32) for v in described)

    def inputs(self, rng, ln_values):
        """What the network reads of a noisy observation of each model."""
        choose, argument = self.choose
        given = choose(rng, len(ln_values), argument)
        error = any_errors(rng, ln_values, given, *self.observed)
        noise = torch.randn(ln_values.shape, generator=rng)
        true = torch.exp(ln_values.double()).numpy()
        flux = true * (1.0 + (torch.hypot(error, self.own) * noise).numpy())
        inputs, _ = network_inputs(self.centre, flux, true * error.numpy(), given.numpy())
        return torch.from_numpy(inputs.astype(np.float32))

    def __call__(self, net, rng, ln_values, theta):
        out = net(self.inputs(rng, ln_values))
        mean, log_sigma = out[:, :3], out[:, 3:].clamp(*LOG_SIGMA)
        z = (theta - mean) * torch.exp(-log_sigma)
        # fit_network wants a positive loss whose square averages.
        return torch.exp((0.5 * z**2 + log_sigma).mean() / 3.0)


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
    ln_values = np.concatenate([
        ln_channels(emulator, theta[i : i + _BATCH], spectrum).astype(np.float32)
        for i in range(0, n_samples, _BATCH)
    ])  # fmt: skip
    mean, std = (lo + hi) / 2.0, prior_spread(emulator)
    torch.manual_seed(settings.seed)
    n_in = 2 * ln_values.shape[1] + 1
    net = Network(n_in, settings.width, settings.depth, 6)
    data = tuple(torch.from_numpy(a) for a in (ln_values, ((theta - mean) / std).astype("f4")))
    loss = _Noise(emulator, spectrum)
    history = fit_network(net, data, loss, settings, checkpoint, progress, _RECIPE)
    out_mean = np.concatenate([mean, np.log(std)])
    mlp = net.to_mlp(np.zeros(n_in), np.ones(n_in), out_mean, np.concatenate([std, np.ones(3)]))
    described = {
        "settings": dataclasses.asdict(settings),
        "samples": n_samples,
        "recipe": _RECIPE,
        "epochs": len(history),
        "final_validation_loss": history[-1]["val"],
        "prospect_emu": metadata.version("prospect_emu"),
        "torch": torch.__version__,
    }
    return mlp, described
