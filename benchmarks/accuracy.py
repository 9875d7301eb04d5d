"""Accuracy of emulators on FSPS samples: the tables of docs/accuracy.md.

    python benchmarks/accuracy.py SAMPLES [EMULATOR ...]

SAMPLES is the folder of FSPS test samples that `prospect-emu train` made
(WORKDIR/test); an EMULATOR is a bundled name or a file.
"""

import argparse
import itertools

import numpy as np

from prospect_emu import load_emulator
from prospect_emu.networks.vector import PARAMETERS
from prospect_emu.observe.filters import load_filters
from prospect_emu.observe.magnitudes import maggies_to_arsinh
from prospect_emu.training.evaluate import PROBABILITIES, band_table, residuals, summary
from prospect_emu.training.generate import SampleStore

RANGES = ((0.0, 0.4), (0.4, 1.0), (1.0, 2.5), (2.5, 10.0), (10.0, 30.0), (30.0, 2e3))  # micron


def tables(emulator, data, wavelength):
    theta, maggies = data["theta"], data["maggies"]
    table = band_table(emulator, theta, maggies)
    r = residuals(emulator, theta, maggies)
    print(f"\n{emulator.name}: {len(theta)} samples, {summary(table)}\n")
    print("| wavelength (micron) | bands | median std | worst std | worst band | worst bias |")
    print("|---|---|---|---|---|---|")
    for lo, hi in RANGES:
        rows = table[(wavelength >= lo) & (wavelength < hi)]
        worst = np.argmax(rows["std"])
        print(
            f"| {lo:g}-{hi:g} | {len(rows)} | {np.median(rows['std']):.2g} | "
            f"{rows['std'][worst]:.2g} | {rows['band'][worst]} | "
            f"{np.abs(rows['bias']).max():.2g} |"
        )
    sigma = r.std(axis=0)
    print("\nStandard deviation relative to that of all samples, median over bands:\n")
    print("| samples | ratio |")
    print("|---|---|")
    tail = np.abs(theta[:, 2:8]).max(axis=1)
    for lo, hi in ((0, 1), (1, 2), (2, 3), (3, 5)):
        part = r[(tail >= lo) & (tail < hi)]
        text = f"largest abs(logsfr_ratio) {lo}-{hi} ({len(part)})"
        print(f"| {text} | {np.median(part.std(axis=0) / sigma):.2f} |")
    zred = theta[:, PARAMETERS.index("zred")]
    ranges = np.round(np.linspace(zred.min(), zred.max(), 6), 1)
    for name, edges in (("logmass", (6, 8, 10, 11, 12.5)), ("zred", ranges)):
        x = theta[:, PARAMETERS.index(name)]
        for lo, hi in itertools.pairwise(edges):
            part = r[(x >= lo) & (x < hi)]
            text = f"{name} {lo:g}-{hi:g} ({len(part)})"
            print(f"| {text} | {np.median(part.std(axis=0) / sigma):.2f} |")
    bright = maggies_to_arsinh(maggies) < 30
    within = (np.abs(r[bright]) < 0.05).mean()
    core = np.quantile(np.abs(r) / sigma, PROBABILITIES[[5, 6, 7, 8]] * 2 - 1)
    print(f"\nAB < 30: {100 * within:.2f} % of errors under 0.05 mag.")
    print(
        "abs(residual)/sigma at Gaussian probabilities of 1, 2, 3, 4 sigma: "
        + ", ".join(f"{x:.2f}" for x in core)
    )
    eig = np.linalg.eigvalsh(np.corrcoef(r, rowvar=False))
    print(f"Independent bands (participation ratio): {eig.sum() ** 2 / (eig**2).sum():.0f}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("samples")
    parser.add_argument("emulators", nargs="*", default=["mathews23-256"])
    args = parser.parse_args()
    data = SampleStore.open(args.samples).load()
    for name in args.emulators:
        emulator = load_emulator(name)
        wavelength = np.array([f.wave_effective for f in load_filters(emulator.filters)]) / 1e4
        tables(emulator, data, wavelength)


if __name__ == "__main__":
    main()
