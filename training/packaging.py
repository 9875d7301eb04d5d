"""Both networks of an emulator, trained, measured and packaged."""

import dataclasses
import platform
from pathlib import Path

import numpy as np
import torch
from torch import nn

from prospect_emu.networks import sfh
from prospect_emu.networks.emulator import Emulator
from prospect_emu.networks.vector import PARAMETERS

from .evaluate import package
from .train import ZRED, Network, Settings, fit_network, standard, train_flux

LOGZSOL = PARAMETERS.index("logzsol")

MFRAC_SETTINGS = Settings(
    width=32, depth=2, schedule=((3e-3, 1000, 12), (3e-4, 4000, 8)), patience=8, seed=2
)


def train_mfrac(theta, mfrac, checkpoint):
    """Train the network of surviving fractions per age bin, an MLP, on their sum by mass.

    The last layer is then solved for, so that no bias is left.
    """
    x = theta[:, [LOGZSOL, ZRED]]
    in_mean, in_std = standard(x)
    share = sfh.bin_masses(np.zeros(len(theta)), theta[:, 2 : 2 + sfh.NBINS - 1], theta[:, ZRED])
    torch.manual_seed(MFRAC_SETTINGS.seed)
    net = Network(2, MFRAC_SETTINGS.width, MFRAC_SETTINGS.depth, sfh.NBINS)
    data = tuple(
        torch.from_numpy(np.asarray(a, dtype=np.float32))
        for a in ((x - in_mean) / in_std, share, mfrac)
    )

    def loss(net, rng, x, share, target):
        return torch.sqrt(torch.mean(((net(x) * share).sum(dim=1) - target) ** 2))

    fit_network(net, data, loss, MFRAC_SETTINGS, checkpoint, progress=False)
    with torch.no_grad():
        hidden = data[0]
        for layer in net.layers[:-1]:
            hidden = nn.functional.gelu(layer(hidden), approximate="tanh")
        terms = torch.cat([hidden, torch.ones(len(hidden), 1)], dim=1).double()
        # The sum over bins is linear in the last layer: normal equations, some rows at a time.
        normal, right = 0.0, 0.0
        for t, s, y in zip(*(a.double().split(10_000) for a in (terms, *data[1:])), strict=True):
            row = (s[:, :, None] * t[:, None]).flatten(1)
            normal, right = normal + row.T @ row, right + row.T @ y
        ridge = 1e-10 * normal.diagonal().mean() * torch.eye(len(normal), dtype=torch.float64)
        solved = torch.linalg.solve(normal + ridge, right).reshape(sfh.NBINS, -1)
        net.layers[-1].weight.copy_(solved[:, :-1])
        net.layers[-1].bias.copy_(solved[:, -1])
    return net.to_mlp(in_mean, in_std, np.zeros(sfh.NBINS), np.ones(sfh.NBINS))


def train_emulator(
    samples, mfrac, test_store, settings, name, work, source, label=None, start=None
):
    """Train, measure on FSPS samples that the network has not seen, and package.

    Parameters
    ----------
    samples : FixedSamples or FoldedSamples
    mfrac : tuple of ndarray
        ``(theta, mfrac)`` to train the network of surviving fractions on.
    test_store : SampleStore
        FSPS samples.
    settings : Settings
    name : str
    work : path-like
        Folder for checkpoints.
    source : dict
        Where the training samples came from, for the manifest.
    label : str, optional
        See `package`.
    start : Emulator, optional
        Whose network training goes on from.
    """
    work = Path(work)
    checkpoint = work / f"{name}.checkpoint.safetensors"
    net = None if start is None else start.flux_net
    flux_net, history = train_flux(samples, settings, checkpoint, net)
    settings = dataclasses.replace(settings, inputs=flux_net.widths[0])
    mfrac_net = train_mfrac(*mfrac, work / "mfrac.checkpoint.safetensors")
    training = {
        "settings": dataclasses.asdict(settings),
        **source,
        **({} if start is None else {"started_from": start.manifest.get("sha256")}),
        "final_validation_rmse": history[-1]["val"],
        "validation_rmse": [round(h["val"], 5) for h in history],
        "epochs": len(history),
        "torch": torch.__version__,
        "python": platform.python_version(),
    }
    nets = {"flux_net": flux_net, "mfrac_net": mfrac_net}
    return package(Emulator, name, test_store, label, training, **nets)
