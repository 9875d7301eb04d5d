"""The training loop: samples in, emulator out. Resumable after a kill, bit for bit on CPU."""

import dataclasses
import itertools
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn
from tqdm import tqdm

from prospect_emu.errors import ProspectEmuError
from prospect_emu.files import fingerprint, load_tensors, save_tensors
from prospect_emu.networks.emulator_base import reference_scale
from prospect_emu.networks.network import MLP
from prospect_emu.networks.network_inputs import ALL, PLAIN, network_inputs
from prospect_emu.networks.vector import BOX, PARAMETERS
from prospect_emu.observe.magnitudes import U0, A, maggies_to_arsinh

CHECKPOINT_KIND = "prospect_emu training checkpoint"
LOGMASS, ZRED = (PARAMETERS.index(p) for p in ("logmass", "zred"))


@dataclass(frozen=True)
class Settings:
    """Everything that decides the outcome of a training, besides the samples.

    Attributes
    ----------
    width, depth : int
        Nodes per hidden layer; number of hidden layers.
    schedule : tuple of (learning rate, batch size, maximum epochs)
        The steps, in order.
    patience : int
        A step ends after this many epochs without a better validation loss.
    validation : float
        Share of the samples held out, drawn anew in each step.
    seed : int
    optimizer : {"nadam", "muon"}
        ``muon``: Muon for the weights, at the rate of the schedule, and NAdam
        at a tenth of it for the biases. It needs several times fewer steps.
    anneal : bool
        Within a step the rate falls to zero along half a cosine.
    epoch : int, optional
        Samples per epoch, drawn anew from all; default all.
    half : float
        Share of each step's epochs, from the first, that multiply in half precision (bfloat16);
        the last epochs are in single precision.
    inputs : int
        Of `prospect_emu.networks.network_inputs`: `PLAIN` or `ALL`.
    """

    width: int = 256
    depth: int = 5
    schedule: tuple = (
        (1e-3, 500, 60), (3e-4, 1000, 40), (1e-4, 2000, 30), (3e-5, 4000, 15), (1e-5, 8000, 8)
    )  # fmt: skip
    patience: int = 8
    validation: float = 0.05
    seed: int = 1
    optimizer: str = "nadam"
    anneal: bool = False
    epoch: int | None = None
    half: float = 0.0
    inputs: int = PLAIN


def multiplies_bfloat16():
    """Whether the processor has instructions for it; others take ten times longer than without."""
    has = getattr(torch.cpu, "get_capabilities", dict)()
    return any(has.get(name, False) for name in ("avx512_bf16", "amx_bf16"))


def long_schedule(epochs, batch=512, epoch=2**18, rate=0.012):
    """Settings for training on millions of samples, each seen a few times.

    The recipe of the bundled networks; docs/training.md tells what else was tried.
    """
    return {
        "schedule": ((rate, batch, epochs),),
        "patience": epochs,
        "validation": 0.005,
        "optimizer": "muon",
        "anneal": True,
        "epoch": epoch,
        "half": 0.8 if multiplies_bfloat16() else 0.0,
        "inputs": ALL,
    }


class Network(nn.Module):
    """The torch twin of `prospect_emu.networks.network.MLP`, on normalised inputs and outputs."""

    def __init__(self, n_in, width, depth, n_out):
        super().__init__()
        sizes = [n_in, *[width] * depth, n_out]
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in itertools.pairwise(sizes))

    def forward(self, x):
        for layer in self.layers[:-1]:
            x = nn.functional.gelu(layer(x), approximate="tanh")
        return self.layers[-1](x)

    def start_from(self, mlp):
        """Take the weights of a NumPy network of the same sizes."""
        with torch.no_grad():
            for layer, w, b in zip(self.layers, mlp.weights, mlp.biases, strict=True):
                layer.weight.copy_(torch.from_numpy(w.T.copy()))
                layer.bias.copy_(torch.from_numpy(b.copy()))

    def to_mlp(self, in_mean, in_std, out_mean, out_std):
        """NumPy network with the current weights."""
        return MLP(
            tuple(m.weight.detach().cpu().numpy().T.copy() for m in self.layers),
            tuple(m.bias.detach().cpu().numpy().copy() for m in self.layers),
            *(np.asarray(a, dtype=np.float64) for a in (in_mean, in_std, out_mean, out_std)),
        )


class Checkpoint:
    """Where a run stands, in one safetensors file written after every epoch."""

    def __init__(self, path, run_id):
        self.path, self.run_id = Path(path), run_id

    def save(self, net, best, optimizers, state):
        tensors = {f"net/{k}": v.numpy() for k, v in net.state_dict().items()}
        tensors |= {f"best/{k}": v.numpy() for k, v in best.items()}
        for j, optimizer in enumerate(optimizers):
            for i, slots in optimizer.state_dict()["state"].items():
                for k, v in slots.items():
                    tensors[f"optimizer/{j}/{i}/{k}"] = torch.as_tensor(v).numpy()
        save_tensors(
            self.path,
            tensors,
            {"kind": CHECKPOINT_KIND, "run": self.run_id, "state": json.dumps(state)},
        )

    def load(self, net, best, optimizers):
        """Restore into `net`, `best` and `optimizers`; the state, or None for a fresh start."""
        if not self.path.exists():
            return None
        tensors, manifest = load_tensors(self.path, CHECKPOINT_KIND)
        if manifest["run"] != self.run_id:
            raise ProspectEmuError(
                f"{self.path} belongs to a training with other settings or samples; use another "
                "work folder, or delete the file to start anew."
            )

        def part(prefix):
            n = len(prefix)
            found = {k[n:]: v for k, v in tensors.items() if k.startswith(prefix)}
            return {k: torch.from_numpy(v.copy()) for k, v in found.items()}

        net.load_state_dict(part("net/"))
        best.update(part("best/"))
        for j, optimizer in enumerate(optimizers):
            slots = {}
            for key, value in part(f"optimizer/{j}/").items():
                i, name = key.split("/")
                slots.setdefault(int(i), {})[name] = value
            optimizer.load_state_dict({**optimizer.state_dict(), "state": slots})
        return json.loads(manifest["state"])


def generator(*numbers):
    """A torch generator that depends on these numbers alone, so that resuming needs no state."""
    seed = np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0]
    return torch.Generator().manual_seed(int(seed >> np.uint64(1)))


def _optimizers(net, kind):
    """What to step, each with its share of the learning rate."""
    if kind == "nadam":
        return {torch.optim.NAdam(net.parameters()): 1.0}
    if kind == "muon":
        matrices = [p for p in net.parameters() if p.ndim == 2]
        others = [p for p in net.parameters() if p.ndim != 2]
        return {
            torch.optim.Muon(matrices, weight_decay=0.0, adjust_lr_fn="original"): 1.0,
            torch.optim.NAdam(others): 0.1,
        }
    raise ProspectEmuError(f"Optimizer {kind!r} is unknown; use nadam or muon.")


def fit_network(net, data, loss, settings, checkpoint, progress=True, recipe=()):
    """Minimise a loss over fixed samples in steps of falling learning rate.

    Parameters
    ----------
    net : torch.nn.Module
    data : tuple of tensors, first axis the sample
    loss : callable
        ``loss(net, generator, *batch)`` -> scalar; `generator` seeds random
        augmentation.
    settings : Settings
    checkpoint : path-like
        File to resume from and to write after each epoch.
    progress : bool
    recipe : sequence, JSON
        What else decides the outcome, such as settings of the loss: a checkpoint of
        another recipe is not resumed.

    Returns
    -------
    list of dict
        Step, epoch, training and validation loss of each epoch. `net` ends with the weights of
        the lowest validation loss of the last step.
    """
    sums = [sum(c.double().sum().item() for c in d.split(100_000)) for d in data]
    shapes = [list(d.shape) for d in data]
    run_id = fingerprint([dataclasses.asdict(settings), shapes, sums, *recipe])
    saved = Checkpoint(checkpoint, run_id)
    n = len(data[0])
    n_val = max(int(settings.validation * n), 1)
    if n < 2:
        raise ProspectEmuError(f"A network needs samples to learn from, not {n}; give more.")
    best = {k: v.clone() for k, v in net.state_dict().items()}
    optimizers = _optimizers(net, settings.optimizer)
    fresh = {"step": 0, "epoch": 0, "best_loss": np.inf, "stale": 0, "history": []}
    state = saved.load(net, best, optimizers) or fresh
    epochs = sum(s[2] for s in settings.schedule)
    bar = tqdm(total=epochs, initial=len(state["history"]), unit="epoch", disable=not progress)
    while state["step"] < len(settings.schedule):
        step = state["step"]
        rate, batch, max_epochs = settings.schedule[step]
        if state["epoch"] == 0:  # moments of another learning rate do not carry over
            optimizers = _optimizers(net, settings.optimizer)
        split = torch.randperm(n, generator=generator(settings.seed, step))
        held_out, used = split[:n_val], split[n_val:]

        while state["epoch"] < max_epochs and state["stale"] < settings.patience:
            epoch_rng = generator(settings.seed, step, state["epoch"])
            order = used[torch.randperm(len(used), generator=epoch_rng)[: settings.epoch]]
            batches = order.split(batch)
            net.train()
            total = 0.0
            for i, rows in enumerate(batches):
                done = (state["epoch"] + i / len(batches)) / max_epochs
                now = rate * 0.5 * (1 + np.cos(np.pi * done)) if settings.anneal else rate
                net.zero_grad()
                with torch.autocast("cpu", torch.bfloat16, enabled=done < settings.half):
                    value = loss(net, epoch_rng, *(d[rows] for d in data))
                value.backward()
                for optimizer, share in optimizers.items():
                    for group in optimizer.param_groups:
                        group["lr"] = now * share
                    optimizer.step()
                total += value.item() * len(rows)
            net.eval()
            with torch.no_grad():
                # One seed for all epochs: validation losses stay comparable.
                val_rng = generator(settings.seed, 10_000 + step)
                parts = [
                    (loss(net, val_rng, *(d[r] for d in data)).item() ** 2, len(r))
                    for r in held_out.split(4000)
                ]
            val = float(np.sqrt(sum(v * k for v, k in parts) / n_val))
            losses = {"train": total / len(order), "val": val}
            state["history"].append({"step": step, "epoch": state["epoch"], **losses})
            state["epoch"] += 1
            state["stale"] += 1
            if val < state["best_loss"]:
                state["best_loss"], state["stale"] = val, 0
                best = {k: v.clone() for k, v in net.state_dict().items()}
            saved.save(net, best, optimizers, state)
            bar.set_postfix(step=step, train=f"{total / len(order):.4f}", val=f"{val:.4f}")
            bar.update()

        net.load_state_dict(best)
        # The next step has another validation split, so its losses compare anew.
        state |= {"step": step + 1, "epoch": 0, "stale": 0, "best_loss": np.inf}
        saved.save(net, best, optimizers, state)
    bar.close()
    return state["history"]


def apparent_rmse(predicted, target, log_scale, rng):
    """RMSE over bands in apparent arsinh magnitudes, at a random mass.

    The network predicts the reference galaxy's magnitudes; a fainter galaxy's
    follow by scaling the flux. Where the flux drowns in the softening, an error
    then matters less. Drawing the mass anew for each sample and epoch teaches
    all masses at no cost.

    Parameters
    ----------
    predicted, target : tensor, shape (n, nband)
        Arsinh magnitudes at the reference mass and distance.
    log_scale : tensor, shape (n,)
        log10 of `reference_scale` at logmass = 0.
    rng : torch.Generator
    """
    lo, hi = BOX["logmass"]
    logmass = lo + (hi - lo) * torch.rand(len(target), 1, generator=rng)
    scale = 10.0 ** (log_scale[:, None] + logmass)

    def apparent(u):
        # Beyond 40 e-folds, further than any magnitude, squares overflow in float32.
        flux = scale * torch.sinh(((U0 - u) / A).clamp(-40.0, 40.0))
        size = flux.abs()
        # torch.asinh itself is eight times slower.
        return A * flux.sign() * torch.log(size + torch.sqrt(1.0 + size * size))

    return torch.sqrt(torch.mean((apparent(predicted) - apparent(target)) ** 2))


def standard(a):
    """Mean and standard deviation per column; a constant column, to rounding, keeps its scale."""
    return a.mean(axis=0), np.where((std := a.std(axis=0)) > 1e-6, std, 1.0)


class FixedSamples:
    """Samples made by FSPS, each used as it is; see `train_flux`."""

    def __init__(self, theta, maggies):
        scale = reference_scale(theta[:, LOGMASS], theta[:, ZRED])
        arrays = (
            theta,
            maggies_to_arsinh(maggies / scale[:, None]),
            np.log10(reference_scale(0.0, theta[:, ZRED])),
        )
        self.tensors = tuple(torch.from_numpy(a.astype(np.float32)) for a in arrays)


# Samples that set the normalisation of inputs and outputs.
_N_NORMALISE = 20_000
# Samples whose inputs are computed at a time.
_ROWS = 100_000


def inputs_of(theta, size):
    """`network_inputs` of a tensor (n, 18) in single precision, likewise."""
    return torch.from_numpy(network_inputs(theta.double().numpy(), size).astype(np.float32))


def train_flux(samples, settings, checkpoint, start=None):
    """Train the photometry network.

    Parameters
    ----------
    samples : FixedSamples or FoldedSamples
        ``samples.tensors``: the parameters (n, 18), the arsinh magnitudes
        (n, nband) at the reference mass and distance, and log10 of
        `reference_scale` at logmass 0 (n,).
    settings : Settings
    checkpoint : path-like
    start : MLP, optional
        Its weights and normalisation are where training starts; of the width and depth of
        `settings`.

    Returns
    -------
    MLP, and the history of `fit_network`
    """
    theta, mag, log_scale = samples.tensors
    size = settings.inputs if start is None else start.widths[0]
    x = torch.cat([inputs_of(rows, size) for rows in theta.split(_ROWS)])
    if start is None:
        every = slice(None, None, max(1, len(x) // _N_NORMALISE))
        in_mean, in_std = standard(x[every].double().numpy())
        out_mean, out_std = standard(mag[every].double().numpy())
    else:
        in_mean, in_std = start.in_mean, start.in_std
        out_mean, out_std = start.out_mean, start.out_std
    shift, width = torch.tensor(in_mean).float(), torch.tensor(in_std).float()
    mean, std = torch.tensor(out_mean).float(), torch.tensor(out_std).float()

    def loss(net, rng, x, mag, log_scale):
        predicted = net((x - shift) / width) * std + mean
        return apparent_rmse(predicted, mag, log_scale, rng)

    torch.manual_seed(settings.seed)
    net = Network(len(in_mean), settings.width, settings.depth, len(out_mean))
    if start is not None:
        net.start_from(start)
    history = fit_network(net, (x, mag, log_scale), loss, settings, checkpoint)
    return net.to_mlp(in_mean, in_std, out_mean, out_std), history
