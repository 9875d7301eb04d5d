"""ExactSPS against FSPS: accuracy over the whole box, and throughput on one thread.

    python benchmarks/exact_sps.py tables.safetensors [--accuracy 240] [--export]

Both sides are timed in the same run, in turns, so that a busy machine slows
both; a ratio is (time of FSPS) / (time of ExactSPS) per galaxy. FSPS is timed
with its populations made: "spectrum" is FastStepBasis.get_galaxy_spectrum,
"photometry" adds what Prospector adds (sedpy, 137 bands).
"""

import argparse
import os
import time

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch

from prospect_emu.networks.vector import BOX, PARAMETERS
from prospect_emu.observe.filters import load_filters
from prospect_emu.training.exact import ExactSPS
from prospect_emu.training.exact_tables import export_tables
from prospect_emu.training.generate import FSPSPhotometry
from prospect_emu.training.recipe import MATHEWS23_FILTERS, Recipe

INDEX = {name: i for i, name in enumerate(PARAMETERS)}
ZRED = (0.01, 12.0)


def draw(n, seed=5):
    """Parameters over the whole box, half of the histories near the prior, and extremes."""
    rng = np.random.default_rng(seed)
    box = np.array([ZRED if p == "zred" else BOX[p] for p in PARAMETERS])
    theta = rng.uniform(box[:, 0], box[:, 1], (n, len(PARAMETERS)))
    theta[::2, 2:8] = np.clip(0.3 * rng.standard_t(2, theta[::2, 2:8].shape), -5.0, 5.0)
    # A tenth of the sets has one parameter at either end of its range, in turn.
    rows = np.arange(0, n, 10)
    which = np.arange(rows.size)
    theta[rows, which // 2 % len(PARAMETERS)] = box[which // 2 % len(PARAMETERS), which % 2]
    if n >= 20:
        theta[1, 2:8], theta[3, 2:8] = 5.0, -5.0
        theta[5, 2:8] = 5.0 * rng.choice([-1.0, 1.0], 6)
        theta[7, INDEX["dust2"]], theta[7, INDEX["dust_index"]] = 4.0, -1.2
        theta[9, INDEX["log_fagn"]], theta[9, INDEX["dust2"]] = box[INDEX["log_fagn"], 1], 4.0
        theta[11, INDEX["zred"]], theta[13, INDEX["zred"]] = ZRED
        theta[15, INDEX["dust2"]], theta[17, INDEX["dust2"]] = 0.0, 1e-3
    return theta


class Prospector:
    """FSPS spectra and sedpy photometry as Prospector computes them."""

    def __init__(self, filters):
        self._fsps = FSPSPhotometry(Recipe(filters=tuple(f.name for f in filters)))
        self.filters, self.wave = filters, self._fsps.sps.wavelengths

    def spectrum(self, theta):
        params = self._set(theta)
        _, lnu, mfrac = self._fsps.sps.get_galaxy_spectrum(**params)
        return lnu * params["mass"].sum(), float(np.squeeze(mfrac))

    def photometry(self, theta):
        params = self._set(theta)
        # outwave: the spectrum's own grid, so that nothing but getSED is added.
        wave = self.wave * (1.0 + float(params["zred"][0]))
        return self._fsps.sps.get_spectrum(outwave=wave, filters=self.filters, **params)[1]

    def _set(self, theta):
        self._fsps.model.set_parameters(theta[self._fsps.order])
        return self._fsps.model.params


def describe(name, error):
    print(
        f"| {name} | {error.size} | {np.max(error):.1e} | {np.quantile(error, 0.99):.1e} "
        f"| {np.median(error):.1e} |"
    )


def accuracy(prospector, tables, n):
    """Relative differences from FSPS over `n` sets."""
    theta = draw(n)
    lnu, mfrac = (np.array(a) for a in zip(*map(prospector.spectrum, theta), strict=True))
    phot = np.array([prospector.photometry(t) for t in theta])
    wave = prospector.wave
    energy = lnu / wave
    seen = (wave >= 912.0) & (wave <= 1e7) & (energy > 1e-10 * energy.max(-1, keepdims=True))
    bright = phot > 10 ** (-0.4 * 35)
    print(f"\nAccuracy against FSPS, {n} sets over the whole box, z = {ZRED[0]} to {ZRED[1]}\n")
    print("| | values | max | p99 | median |\n|---|---|---|---|---|")
    for dtype in (torch.float64, torch.float32):
        sps = ExactSPS(tables, dtype=dtype)
        name = str(dtype).removeprefix("torch.")
        got = sps.spectrum(theta).double().numpy()
        describe(f"spectrum, {name}", np.abs(got / lnu - 1.0)[seen])
        got = sps.photometry(theta, prospector.filters, "sedpy").double().numpy()
        describe(f"photometry (AB < 35), {name}", np.abs(got / phot - 1.0)[bright])
    describe("surviving mass", np.abs(sps.mfrac(theta).numpy() / mfrac - 1.0))
    converged = ExactSPS(tables).photometry(theta, prospector.filters).numpy()
    describe("converged against sedpy's quadrature", np.abs(converged / phot - 1.0)[bright])


def seconds(function, at_least=0.4):
    """Shortest wall time of `function` in a few calls that take `at_least` together."""
    best, spent = np.inf, 0.0
    while spent < at_least:
        start = time.perf_counter()
        function()
        took = time.perf_counter() - start
        best, spent = min(best, took), spent + took
    return best


def throughput(prospector, tables, batches):
    """Time per galaxy of both, and their ratio."""
    theta = draw(max(batches))
    # FSPS needs no new populations while it is timed.
    few = theta[:40].copy()
    few[:, INDEX["logzsol"]] = np.linspace(-0.17, -0.05, len(few))
    one = theta.copy()
    one[:, INDEX["zred"]] = 1.0
    prospector.photometry(few[0])
    print("\nThroughput, one thread, microseconds per galaxy (times faster than FSPS)\n")
    print("| | batch | FSPS | float64 | float32 |\n|---|---|---|---|---|")
    engines = [ExactSPS(tables, dtype=t) for t in (torch.float64, torch.float32)]
    bands = [e.projector(prospector.filters) for e in engines]
    for name, data, call in (
        ("spectrum", theta, None),
        ("photometry, one redshift", one, "photometry"),
        ("photometry, any redshift", theta, "photometry"),
    ):
        for size in batches:
            fsps = prospector.photometry if call else prospector.spectrum
            cost, cells = [], []
            for engine, band in zip(engines, bands, strict=True):
                args = (torch.tensor(data[:size]), *([band] if call else []))
                run = getattr(engine, call or "spectrum")
                run(*args)
                cost.append(seconds(lambda f=fsps: [f(t) for t in few[:8]]) / 8)
                took = seconds(lambda run=run, args=args: run(*args)) / size
                cells.append(f"{took * 1e6:.0f} ({cost[-1] / took:.0f}x)")
            print(f"| {name} | {size} | {np.mean(cost) * 1e6:.0f} | {' | '.join(cells)} |")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("tables", help="file of `export_tables`")
    parser.add_argument("--export", action="store_true", help="write that file first")
    parser.add_argument("--accuracy", type=int, metavar="N", help="compare N sets with FSPS")
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 16, 256, 2048])
    args = parser.parse_args()
    torch.set_num_threads(1)
    if args.export:
        export_tables(args.tables, overwrite=True)
    prospector = Prospector(load_filters(MATHEWS23_FILTERS))
    with torch.no_grad():
        if args.accuracy:
            accuracy(prospector, args.tables, args.accuracy)
        throughput(prospector, args.tables, args.batches)


if __name__ == "__main__":
    main()
