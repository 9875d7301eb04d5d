"""Why the training distribution needs fat tails: the figure of docs/training.md.

    python benchmarks/thin_tails.py PRIOR_EMULATOR FAT_EMULATOR [--figure FILE]

Two networks of one width, one trained on draws from the fit priors and one on fat
tails, on two galaxies that differ in their SFR ratios alone (Mathews et al. 2023,
section 4.2): A has them all at 0; in B the SFR falls a hundredfold from each age bin to the next.
The other parameters are drawn from the priors. The reference is the bundled
factored emulator, which FSPS confirms to 2e-3 mag at worst.
"""

import argparse

import numpy as np
from matplotlib.figure import Figure

from prospect_emu import load_emulator
from prospect_emu.networks.vector import PARAMETERS, RATIO_NAMES
from prospect_emu.observe.filters import load_filters
from prospect_emu.observe.magnitudes import maggies_to_arsinh
from prospect_emu.training.recipe import Recipe, draw_parameters

GALAXIES = {"Galaxy A: constant SFR": 0.0, "Galaxy B: SFR falls a hundredfold per bin": -2.0}
REDSHIFTS = (0.6, 1.0, 1.5, 2.0, 2.5, 2.9)
RATIOS = [PARAMETERS.index(name) for name in RATIO_NAMES]
ZRED = PARAMETERS.index("zred")


def errors(emulators, reference, ratio, each=100):
    """Emulator minus reference (nemulator, ndraw, nband), in magnitudes."""
    parts = []
    for i, zred in enumerate(REDSHIFTS):
        theta = draw_parameters(Recipe(distribution="prior"), each, (77, i))
        theta[:, RATIOS], theta[:, ZRED] = ratio, zred
        truth = maggies_to_arsinh(reference.maggies(theta))
        parts.append([e.magnitudes(theta) - truth for e in emulators])
    return np.concatenate(parts, axis=1)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("prior")
    parser.add_argument("fat")
    parser.add_argument("--figure")
    args = parser.parse_args()
    emulators = [load_emulator(args.prior), load_emulator(args.fat)]
    filters = emulators[0].filters
    reference = load_emulator("mathews23-factored").select(filters)
    wave = np.array([f.wave_effective for f in load_filters(filters)]) / 1e4
    order = np.argsort(wave)
    figure = Figure(figsize=(9, 4), layout="constrained")
    axes = figure.subplots(1, len(GALAXIES), sharey=True)
    for ax, (title, ratio) in zip(axes, GALAXIES.items(), strict=True):
        found = errors(emulators, reference, ratio)
        for number, label in enumerate(("trained on the priors", "trained on fat tails")):
            e = found[number][:, order]
            low, mid, high = np.quantile(e, [0.16, 0.5, 0.84], axis=0)
            rms = np.sqrt(np.median((e**2).mean(axis=0)))
            ax.fill_between(wave[order], low, high, alpha=0.3, lw=0, color=f"C{1 - number}")
            ax.plot(wave[order], mid, color=f"C{1 - number}", label=f"{label}, rms {rms:.2g}")
            print(f"{title}; {label}: rms error, median over bands, {rms:.3g} mag")
        ax.axhline(0.0, color="0.3", lw=0.8)
        ax.set(title=title, xscale="log", xlabel="Effective wavelength [micron]")
        ax.legend(frameon=False, fontsize=9)
    axes[0].set_ylabel("Emulator minus exact [mag]\nmedian and 68 %")
    if args.figure:
        figure.savefig(args.figure, dpi=110)


if __name__ == "__main__":
    main()
