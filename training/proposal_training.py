"""Trains a learnt proposal on galaxies that never repeat. Resumable, bit for bit on CPU."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn
from tqdm import tqdm

from prospect_emu.files import fingerprint
from prospect_emu.networks.proposal import LOG_WIDTHS, Proposal

from .train import Checkpoint, generator, standard

# Chunks of validation, beyond all that are trained on.
_HELD_OUT = 10_000_000
# Of held-out galaxies this share is not taken for strange.
_FAR = 0.998


@dataclass(frozen=True)
class Settings:
    """Everything that decides the outcome, besides the galaxies.

    Attributes
    ----------
    width, blocks, context : int
        Of the embedding: nodes, residual blocks, outputs.
    hidden, components : int
        Of each parameter's network: nodes of its two layers, normal distributions.
    epochs, batch : int
        In each epoch as many galaxies are seen as a chunk holds, a slice of each of `pool`.
    pool : int
        Chunks that are mixed.
    repeats : int
        How often each galaxy is seen.
    rate : float
        Largest learning rate of Adam; it falls to zero along half a cosine.
    decay : float
        Of the running mean of weights, which is what is kept.
    seed : int
    """

    width: int = 384
    blocks: int = 1
    context: int = 128
    hidden: int = 64
    components: int = 8
    epochs: int = 450
    batch: int = 512
    pool: int = 16
    repeats: int = 4
    rate: float = 1e-3
    decay: float = 0.999
    seed: int = 1


class Flow(nn.Module):
    """The torch twin of `prospect_emu.networks.proposal.Proposal`.

    Parameters
    ----------
    nfeature, ndim : int
    settings : Settings
    """

    def __init__(self, nfeature, ndim, settings):
        super().__init__()
        s = settings
        self.first = nn.Linear(nfeature, s.width)
        self.blocks = nn.ModuleList(
            nn.ModuleList([nn.Linear(s.width, s.width), nn.Linear(s.width, s.width)])
            for _ in range(s.blocks)
        )
        self.last = nn.Linear(s.width, s.context)
        # Of all parameters' networks: each sees the context and the parameters before it.
        self.from_context = nn.Linear(s.context, ndim * s.hidden)
        self.from_before = nn.Parameter(torch.randn(ndim, ndim, s.hidden) / ndim**0.5)
        self.register_buffer(
            "before", (torch.arange(ndim)[:, None] > torch.arange(ndim)).float()[:, :, None]
        )
        self.middle = nn.Parameter(torch.randn(ndim, s.hidden, s.hidden) * (2.0 / s.hidden) ** 0.5)
        self.middle_bias = nn.Parameter(torch.zeros(ndim, 1, s.hidden))
        self.out = nn.Parameter(torch.randn(ndim, s.hidden, 3 * s.components) * 0.01)
        start = torch.zeros(ndim, 1, 3 * s.components)
        start[..., s.components : 2 * s.components] = torch.linspace(-1.5, 1.5, s.components)
        self.out_bias = nn.Parameter(start)

    def embed(self, x):
        h = nn.functional.silu(self.first(x))
        for inner, outer in self.blocks:
            h = h + outer(nn.functional.silu(inner(h)))
        return self.last(h)

    def forward(self, x, w):
        """Log density (n,) of standardised `w` (n, ndim) given standardised features."""
        ndim = w.shape[1]
        context = self.from_context(self.embed(x)).view(len(w), ndim, -1).transpose(0, 1)
        h = torch.relu(context + torch.einsum("nk,dkh->dnh", w, self.from_before * self.before))
        h = torch.relu(torch.baddbmm(self.middle_bias, h, self.middle))
        logit, mean, log_width = torch.baddbmm(self.out_bias, h, self.out).chunk(3, dim=2)
        log_width = log_width.clamp(*LOG_WIDTHS)
        z = (w.T[:, :, None] - mean) * torch.exp(-log_width)
        each = torch.log_softmax(logit, dim=2) - log_width - 0.5 * z * z
        return torch.logsumexp(each, dim=2).sum(dim=0) - 0.5 * np.log(2 * np.pi) * ndim


class _Pool:
    """The chunks that an epoch mixes: a new one comes, the oldest goes."""

    def __init__(self, simulator, pool, repeats):
        self._simulator, self._pool, self._repeats, self._held = simulator, pool, repeats, {}

    def epoch(self, index):
        """Galaxies of one epoch; `repeats` epochs share them, and no other sees them."""
        index //= self._repeats
        wanted = range(index, index + self._pool)
        self._held = {k: v for k, v in self._held.items() if k in wanted}
        size = self._simulator.size // self._pool
        parts = []
        for chunk in wanted:
            # From its last slice, when it is new, to its first.
            last = (chunk - index + 1) * size
            if chunk not in self._held:
                self._held[chunk] = self._simulator.chunk(chunk, last)
            parts.append([a[last - size : last] for a in self._held[chunk]])
        return tuple(torch.from_numpy(np.concatenate(a)) for a in zip(*parts, strict=True))


def held_out(simulator, n=512, chunks=16):
    """Features and coordinates of galaxies that no training sees."""
    made = [simulator.chunk(_HELD_OUT + i, n) for i in range(chunks)]
    return tuple(np.concatenate(parts) for parts in zip(*made, strict=True))


def train_flow(simulator, settings, checkpoint, description=(), every=20, progress=True, stop=None):
    """Train, or go on with a training.

    Parameters
    ----------
    simulator : object
        ``chunk(i, n)`` gives features (size, nfeature) and coordinates (size, ndim), float32.
    settings : Settings
    checkpoint : path-like
        File to resume from, written after every `every` epochs.
    description : sequence, JSON
        What else decides the outcome: a checkpoint of another one is not resumed.
    stop : int, optional
        End after so many epochs, as a kill would.

    Returns
    -------
    Flow
        With the running mean of weights.
    dict of ndarray
        ``x_mean``, ``x_std``, ``w_mean``, ``w_std``: of features and coordinates.
    list of (int, float)
        Epochs and the mean log density of held-out galaxies.
    """
    x_val, w_val = held_out(simulator)
    numbers = [*standard(x_val.astype(float)), *standard(w_val.astype(float))]
    scales = dict(zip(("x_mean", "x_std", "w_mean", "w_std"), numbers, strict=True))
    x_mean, x_std, w_mean, w_std = (torch.from_numpy(a.astype("f4")) for a in numbers)
    log_unit = float(np.log(numbers[3]).sum())
    torch.manual_seed(settings.seed)
    net = Flow(x_val.shape[1], w_val.shape[1], settings)
    optimizer = torch.optim.Adam(net.parameters(), lr=settings.rate, betas=(0.9, 0.98), fused=True)
    mean = {k: v.clone() for k, v in net.state_dict().items()}
    run = fingerprint([dataclasses.asdict(settings), *[a.tolist() for a in numbers], *description])
    saved = Checkpoint(Path(checkpoint), run)
    state = saved.load(net, mean, [optimizer]) or {"epoch": 0, "step": 0, "history": []}
    pool = _Pool(simulator, settings.pool, settings.repeats)
    bar = tqdm(total=settings.epochs, initial=state["epoch"], unit="epoch", disable=not progress)
    last = settings.epochs if stop is None else min(stop, settings.epochs)

    def score():
        kept = {k: v.clone() for k, v in net.state_dict().items()}
        net.load_state_dict(mean)
        with torch.no_grad():
            x, w = torch.from_numpy(x_val), torch.from_numpy(w_val)
            value = net((x - x_mean) / x_std, (w - w_mean) / w_std).mean().item() - log_unit
        net.load_state_dict(kept)
        return value

    while state["epoch"] < last:
        epoch = state["epoch"]
        x, w = pool.epoch(epoch)
        x, w = (x - x_mean) / x_std, (w - w_mean) / w_std
        order = torch.randperm(len(x), generator=generator(settings.seed, epoch))
        batches = order.split(settings.batch)
        for i, rows in enumerate(batches):
            done = (epoch + i / len(batches)) / settings.epochs
            warm = min(1.0, (state["step"] + 1) / 200)
            for group in optimizer.param_groups:
                group["lr"] = settings.rate * warm * 0.5 * (1 + np.cos(np.pi * done))
            optimizer.zero_grad()
            loss = -net(x[rows], w[rows]).mean()
            loss.backward()
            nn.utils.clip_grad_norm_(net.parameters(), 5.0)
            optimizer.step()
            state["step"] += 1
            decay = min(settings.decay, state["step"] / (state["step"] + 10.0))
            with torch.no_grad():
                for name, value in net.state_dict().items():
                    mean[name].lerp_(value, 1.0 - decay)
        state["epoch"] += 1
        bar.update()
        if state["epoch"] % every == 0 or state["epoch"] == last:
            state["history"].append((state["epoch"], score()))
            bar.set_postfix(held_out=f"{state['history'][-1][1]:.3f}")
            saved.save(net, mean, [optimizer], state)
    bar.close()
    net.load_state_dict(mean)
    return net, scales, state["history"]


def package(net, scales, x, manifest):
    """A trained flow as a `Proposal`.

    Parameters
    ----------
    net : Flow
    scales : dict of ndarray
        Of `train_flow`.
    x : ndarray, shape (n, nfeature)
        Features of galaxies that it was not trained on: how far their embeddings lie from each
        other says which galaxies are unlike them.
    manifest : dict
    """
    tensors = {k: v.numpy() for k, v in net.state_dict().items() if k != "before"} | scales
    tensors = {k: np.asarray(v, dtype="f4") for k, v in tensors.items()}
    empty = np.zeros(1, dtype="f4")
    bare = Proposal(tensors | {"code_mean": empty, "code_whiten": empty[None]}, manifest)
    code = bare.embed(x).astype(float)
    mean, (values, vectors) = code.mean(axis=0), np.linalg.eigh(np.cov(code.T))
    whiten = vectors / np.sqrt(np.maximum(values, 1e-6 * values[-1]))
    far = np.sqrt((((code - mean) @ whiten) ** 2).sum(axis=1))
    found = {"code_mean": mean.astype("f4"), "code_whiten": whiten.astype("f4")}
    # Half precision, as the file has it.
    rounded = {k: v.astype("f2").astype("f4") if v.ndim > 1 else v
               for k, v in (tensors | found).items()}  # fmt: skip
    return Proposal(rounded, {**manifest, "code_limit": float(np.quantile(far, _FAR))})
