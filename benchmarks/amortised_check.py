"""How often a learnt proposal does, and whether it knows when it does not.

    python benchmarks/amortised_check.py 3DHST-FOLDER OUT.jsonl --n 100

For each i: a mock from the priors with the errors of a real galaxy, a real galaxy, and one that is
wrong: a mock with three bands off by 0.3 mag, a mock with doubled errors, the SED of a quasar,
or that of a star. A line of OUT each; what is there is not repeated.
"""

import argparse
import json
import time
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np

from prospect_emu.fit.amortised import attempt
from prospect_emu.fit.posterior import BatchedPosterior
from prospect_emu.fits.backends import load_backend
from prospect_emu.fits.config import parse_config
from prospect_emu.fits.proposal_commands import of_campaign
from prospect_emu.fits.threedhst import galaxy_obs, read_catalog
from prospect_emu.networks.proposal import load_proposal
from prospect_emu.observe import observation
from prospect_emu.prospector.version import adapter

EMULATOR = "mathews23-factored"
WRONG = ("zeropoint", "doubled", "qso", "star")
F160W = "wfc3_ir_f160w"
# Of a quasar: rest-frame Angstrom and equivalent width of broad lines.
LINES = ((1216, 90), (1549, 30), (1909, 22), (2798, 35), (4861, 45), (6563, 200))


class Galaxies:
    """The galaxies of the check, by kind and number."""

    def __init__(self, folder):
        config = parse_config(
            {"emulators": [EMULATOR], "output": ".", "catalog": {"kind": "3dhst", "path": folder}}
        )
        catalog = read_catalog(folder)
        every = [galaxy_obs(catalog, row=r) for r in range(len(catalog))]
        self.real = [o for o in every if 0.5 <= o["zred"] <= 3.0]
        self.order = np.random.default_rng(5).permutation(len(self.real))
        self.simulator, _ = of_campaign(config, 20.0, 64, 77)
        plain = {"underestimated": 0.0, "outliers": 0.0, "dropped": 0.0, "scatter": (0.0, 0.0)}
        self.simulator.noise = replace(self.simulator.noise, **plain)
        self.filters = self.real[0]["filters"]

    def obs(self, zred, flux, unc, mask):
        flux, unc = np.where(mask, flux, 1e-9), np.where(mask, unc, 1e-10)
        return {"filters": self.filters, "maggies": flux, "maggies_unc": unc, "phot_mask": mask,
                "wavelength": None, "spectrum": None, "zred": zred}  # fmt: skip

    def get(self, kind, i):
        """`obs`, and the true parameters or None."""
        rng = np.random.default_rng([99, i])
        real = self.real[self.order[i]]
        if kind == "real":
            return real, None
        if kind in ("qso", "star"):
            return self._foreign(kind, real, rng), None
        _, theta, flux, unc, mask = (a[0] for a in self.simulator.galaxies(1000 + i, 1))
        if kind == "zeropoint":
            bright = np.flatnonzero(mask & (flux / unc > 8))
            bands = rng.choice(bright, min(3, bright.size), replace=False)
            flux[bands] *= 10 ** (0.4 * 0.3 * rng.choice([-1, 1], bands.size))
        if kind == "doubled":
            unc = 2.0 * unc
        return self.obs(self.simulator.redshift(1000 + i), flux, unc, mask), theta

    def _foreign(self, kind, real, rng):
        """A quasar's or star's SED, as bright as a galaxy in F160W, with its errors."""
        lam = np.array([f.wave_effective for f in self.filters])
        if kind == "qso":
            rest = lam / (1.0 + real["zred"])
            sed = lam ** rng.uniform(0.3, 0.8)
            for line, width in LINES:
                near = np.abs(rest - line) < 400.0 / (1.0 + real["zred"])
                sed = sed * (1.0 + near * width * (1.0 + real["zred"]) / 800.0)
            sed = np.where(rest < 1216.0, 0.5 * sed, sed)
        else:
            sed = lam**-3.0 / np.expm1(1.4388e8 / (lam * rng.uniform(3000.0, 8000.0)))
        at = [f.name for f in self.filters].index(F160W)
        error, mask = real["maggies_unc_catalog"], np.asarray(real["phot_mask"])
        error = np.where(mask, error, 1.0)
        true = sed / sed[at] * max(real["maggies"][at], 20.0 * error[at])
        flux = true + rng.normal(size=true.size) * np.hypot(error, 0.02 * true)
        mask = mask & (flux > -2.0 * error)
        return self.obs(real["zred"], flux, np.hypot(error, 0.05 * flux), mask)


def check(galaxies, proposal, kind, i):
    """One row."""
    obs, truth = galaxies.get(kind, i)
    backend, began = load_backend(EMULATOR), time.process_time()
    sps = backend.sps(galaxies.filters)
    data = adapter.observed(sps.inflate(obs))
    config = parse_config({"emulators": [EMULATOR], "output": ".",
                           "catalog": {"kind": "mocks", "path": ""}})  # fmt: skip
    model = backend.model(config.fit, obs["zred"])
    posterior = BatchedPosterior(model, data, sps)
    folded = time.process_time()
    data["maggies"], data["maggies_unc"], data["phot_mask"] = observation.photometry(data)
    made = attempt(posterior, data, model, proposal, i)
    row = {"kind": kind, "i": i, "zred": obs["zred"], "nband": int(np.sum(obs["phot_mask"]))}
    row |= {"build_s": folded - began, "is_s": time.process_time() - folded}
    row |= {k: v for k, v in made.diagnostics["amortised"].items() if k != "settings"}
    if made.results is not None:
        weight = np.exp(made.results["logwt"] - made.results["logz"][-1])
        row |= {"logz": float(made.results["logz"][-1])}
        row |= {"logz_err": float(made.results["logzerr"][-1])}
        row |= {"mean": (weight @ made.results["samples"]).tolist()}
        if truth is not None:
            row["rank"] = (weight @ (made.results["samples"] < truth)).tolist()
    return row


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("folder")
    parser.add_argument("out", type=Path)
    parser.add_argument("--n", type=int, default=100)
    parser.add_argument("--proposal", default="cosmos45")
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    galaxies, proposal = Galaxies(args.folder), load_proposal(args.proposal)
    done = set()
    if args.out.exists():
        rows = map(json.loads, args.out.read_text().splitlines())
        done = {(r["kind"], r["i"]) for r in rows}
    for i in range(args.n):
        for kind in ("mock", "real", WRONG[i % len(WRONG)]):
            if (kind, i) not in done:
                with args.out.open("a") as f:
                    f.write(json.dumps(check(galaxies, proposal, kind, i)) + "\n")


if __name__ == "__main__":
    main()
