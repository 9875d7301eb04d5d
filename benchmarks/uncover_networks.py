"""The mocks of `uncover_mocks.py` through a network like Parrot's, with and without its error.

    OMP_NUM_THREADS=1 python benchmarks/uncover_networks.py FOLDER --n 40 [--epochs 40] [--report]

A network of 5 x 512 learns the fluxes of the model ``uncover`` in UNCOVER's bands over
0.001 < z < 20 from fat-tailed draws, redshifts even in z and in ln(1 + z) by halves. Then each mock
is fitted twice, with the survey's errors alone and with the network's added. An interrupted run
resumes; the report sets the fits beside those of the exact emulator, on the same galaxies.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from astropy.table import Table
from uncover_mocks import DEPTH, QUANTITIES, compared, fitted, photometry

from prospect_emu import BatchedPosterior, EmulatorSPS
from prospect_emu.files import load_tensors, save_tensors
from prospect_emu.fit.mass_coordinates import mass_coordinates
from prospect_emu.fit.quantiles import weighted_quantiles
from prospect_emu.fits.results import read_results
from prospect_emu.networks.emulator_base import reference_scale
from prospect_emu.networks.network import MLP
from prospect_emu.networks.network_inputs import PLAIN
from prospect_emu.networks.vector import PARAMETERS
from prospect_emu.observe.magnitudes import (
    arsinh_to_maggies,
    maggies_to_arsinh,
    with_emulator_error,
)
from prospect_emu.prospector.templates import template_model
from prospect_emu.sampling.nested import run_nested
from prospect_emu.sampling.settings import NestedSettings
from prospect_emu.training.recipe import Recipe, draw_parameters
from prospect_emu.training.train import Settings, long_schedule, train_flux

RANGE, SHARD, SAMPLES, HELD_OUT = (0.001, 20.0), 4096, 2**20, 10**6
ALONE, ADDED = "alone", "with its error"
BRIGHT, KIND = 30.0, "network of benchmarks/uncover_networks.py"
QUANTILES, PERCENTILES = (0.025, 0.16, 0.5, 0.84, 0.975), ("025", "16", "50", "84", "975")
ZRED = PARAMETERS.index("zred")
# The model's free parameters are those of the vector, redshift first.
ORDER = [ZRED, *(i for i in range(len(PARAMETERS)) if i != ZRED)]


class Samples:
    """What `train_flux` learns from: vectors, reference magnitudes, log10 of the mass's scale."""

    def __init__(self, posterior, n, first=0):
        shards = [self._shard(posterior, first + i) for i in range(n // SHARD)]
        self.tensors = tuple(
            torch.from_numpy(np.concatenate(a).astype("f4")) for a in zip(*shards, strict=True)
        )

    @staticmethod
    def _shard(posterior, index):
        theta = draw_parameters(Recipe(zred_range=RANGE), SHARD, (8, index))
        half = theta[::2, ZRED]
        low, high = np.log1p(RANGE)
        half[:] = np.expm1(low + (half - RANGE[0]) / (RANGE[1] - RANGE[0]) * (high - low))
        scale = reference_scale(theta[:, 0], theta[:, ZRED])
        magnitude = maggies_to_arsinh(posterior.maggies(theta[:, ORDER]) / scale[:, None])
        return theta, magnitude, np.log10(reference_scale(0.0, theta[:, ZRED]))


class NetworkPosterior(BatchedPosterior):
    """`BatchedPosterior` whose fluxes are a network's."""

    def __init__(self, model, obs, sps, net):
        super().__init__(model, obs, sps)
        self._net = net

    def maggies(self, theta):
        return maggies(self._net, theta)


def maggies(net, theta):
    """Fluxes (n, nband) of the model's vectors."""
    vectors = np.empty_like(theta)
    vectors[:, ORDER] = theta
    scale = reference_scale(vectors[:, 0], vectors[:, ZRED])
    return np.maximum(arsinh_to_maggies(net(vectors[:, 1:])), 0.0) * scale[:, None]


def network(folder, posterior, epochs):
    """The network, trained unless it is there, and its error in arsinh mag, (nband,)."""
    path = folder / "network.safetensors"
    if not path.exists():
        settings = Settings(
            512, 5, **long_schedule(epochs, batch=1024, rate=0.03) | {"inputs": PLAIN}
        )
        net, history = train_flux(Samples(posterior, SAMPLES), settings, folder / "checkpoint")
        theta, magnitude, log_scale = (t.double().numpy() for t in Samples(
            posterior, 16 * SHARD, HELD_OUT
        ).tensors)  # fmt: skip
        scale = 10.0 ** (log_scale + theta[:, 0])[:, None]
        true = maggies_to_arsinh(arsinh_to_maggies(magnitude) * scale)
        off = maggies_to_arsinh(maggies(net, theta[:, ORDER])) - true
        sigma = np.sqrt(np.nanmean(np.where(true < BRIGHT, off, np.nan) ** 2, axis=0))
        told = {"kind": KIND, "epochs": str(epochs)}
        told |= {"validation": json.dumps([h["val"] for h in history])}
        save_tensors(path, net.tensors("net") | {"sigma": sigma}, told)
    tensors, told = load_tensors(path, KIND)
    if told["epochs"] != str(epochs):
        raise SystemExit(f"{path} was trained for {told['epochs']} epochs: take another folder")
    return MLP.from_tensors(tensors, "net"), tensors["sigma"]


def fit(model, obs, sps, net, seed):
    """Percentiles of a fit as a row of a campaign's table has them, and what it cost."""
    posterior = NetworkPosterior(model, obs, sps, net)
    settings = NestedSettings.preset("quick")
    result = run_nested(
        posterior.prior_transform, posterior.log_likelihood, posterior.ndim, settings, seed=seed,
        progress=False, coordinates=mass_coordinates(posterior),
    )  # fmt: skip
    theta, weights = result.samples, np.exp(result.logwt - result.logz[-1])
    keep = weights > 1e-9 * weights.max()
    theta, weights = theta[keep], weights[keep]
    values = posterior.predictions.quantities(theta)[1] | {"zred": theta[:, 0]}
    row = {"ncall": int(np.sum(result.ncall)), "seconds": result.diagnostics["seconds"]}
    for name in QUANTITIES:
        found = weighted_quantiles(values[name], weights, QUANTILES)
        row |= dict(zip((f"{name}_p{p}" for p in PERCENTILES), found.tolist(), strict=True))
    return row


def shift(found, exact, name):
    """How far medians are from the exact ones, in half the exact 16-84 % widths."""
    half = 0.5 * (exact[f"{name}_p84"] - exact[f"{name}_p16"])
    apart = np.abs(found[f"{name}_p50"] - exact[f"{name}_p50"]) / half
    return f"{np.median(apart):.2f} (68 % below {np.quantile(apart, 0.68):.2f})"


def main(folder, n, epochs, report):
    out = folder / "network-fits.jsonl"
    model, sps = template_model("uncover", zred_prior="model")[0], EmulatorSPS()
    table = Table.read(folder / "mocks.fits")[:n]
    net, sigma = network(folder, BatchedPosterior(model, photometry(table[0]), sps), epochs)
    worst = list(DEPTH)[sigma.argmax()]
    print(f"the network errs by {np.median(sigma):.3f} mag in the median band, at most by "
          f"{sigma.max():.3f} ({worst})", flush=True)  # fmt: skip
    done = [json.loads(line) for line in out.read_text().splitlines()] if out.exists() else []
    for galaxy in [] if report else table:
        for kind in (ALONE, ADDED):
            if any(d["galaxy"] == int(galaxy["id"]) and d["kind"] == kind for d in done):
                continue
            obs = photometry(galaxy)
            if kind == ADDED:
                obs["maggies_unc"] = with_emulator_error(obs["maggies_unc"], obs["maggies"], sigma)
            row = fit(model, obs, sps, net, seed=int(galaxy["id"]))
            done.append({"galaxy": int(galaxy["id"]), "kind": kind} | row)
            with out.open("a") as file:
                file.write(json.dumps(done[-1]) + "\n")
    exact = fitted(read_results(folder / "campaign"))
    both = {k: {d["galaxy"]: d for d in done if d["kind"] == k} for k in (ALONE, ADDED)}
    same = [int(g) for g in exact["galaxy"] if all(int(g) in b for b in both.values())]
    if not same:
        raise SystemExit("no galaxy has its exact fit (uncover_mocks.py) and both of the network")
    exact = exact[[int(g) in same for g in exact["galaxy"]]]
    for kind, rows in both.items():
        found = Table([rows[g] for g in same])
        compared(f"network, {kind}", found, table)
        apart = {name: shift(found, exact, name) for name in QUANTITIES}
        print("    from the exact median: " + ", ".join(f"{k} {v}" for k, v in apart.items()))
    compared("exact", exact, table)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--n", type=int, default=40)
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--report", action="store_true")
    given = parser.parse_args()
    main(given.folder, given.n, given.epochs, given.report)
