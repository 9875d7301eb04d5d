"""A campaign on 3D-HST against FAST and UV+IR: masses, star-formation rates, cost.

    python benchmarks/campaign_check.py CAMPAIGN_FOLDER [--out FIGURE.png]

The campaign must keep the catalog columns fast_lmass, snr_f160w, sfr, sfr_ir,
f_mips_24um and e_mips_24um. FAST's masses are surviving masses (Chabrier IMF), so
they are compared with log_stellar_mass; UV+IR rates (Whitaker et al. 2014, from
MIPS 24 micron and the rest-frame UV) with log_sfr_100. Offsets are medians of
ours minus theirs; scatter is 1.4826 times the median absolute deviation.
"""

import argparse
import json
from pathlib import Path

import numpy as np

from prospect_emu.files import save_figure
from prospect_emu.fits.figures import panels
from prospect_emu.fits.results import read_results

MIN_SNR = 10.0
MIPS_SNR = 3.0


def robust(values):
    """Median and 1.4826 MAD."""
    middle = np.median(values)
    return middle, 1.4826 * np.median(np.abs(values - middle))


def column(table, name):
    return np.asarray(table[name], dtype=float)


def masses(table):
    """Surviving masses against FAST's, S/N > 10 in F160W: (ours, theirs)."""
    ours, fast = column(table, "log_stellar_mass_p50"), column(table, "fast_lmass")
    use = (column(table, "snr_f160w") > MIN_SNR) & np.isfinite(ours) & (fast > 0)
    return ours[use], fast[use]


def rates(table):
    """log SFR against UV+IR where MIPS 24 micron is detected: (ours, theirs)."""
    ours, theirs = column(table, "log_sfr_100_p50"), column(table, "sfr")
    detected = column(table, "f_mips_24um") > MIPS_SNR * column(table, "e_mips_24um")
    detected &= (column(table, "e_mips_24um") > 0) & (column(table, "sfr_ir") > 0)
    use = detected & (theirs > 0) & np.isfinite(ours)
    return ours[use], np.log10(theirs[use])


def cost(folder):
    """Seconds of each fit inside and outside the sampler, memory in MB, from the log."""
    lines = [json.loads(x) for p in sorted(Path(folder).glob("log*.jsonl")) for x in open(p)]
    lines = [x for x in lines if x["state"] == "finished" and "repeated" not in x]
    # The first fit of a worker also loads the libraries and the emulator.
    first = {(x["host"], x["pid"]): i for i, x in reversed(list(enumerate(lines)))}
    lines = [x for i, x in enumerate(lines) if i not in first.values()]
    total, inside = (np.array([x[k] for x in lines]) for k in ("seconds_total", "seconds"))
    return inside, total - inside, np.array([x["memory_mb"] for x in lines])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder")
    parser.add_argument("--out", help="figure")
    args = parser.parse_args()
    results = read_results(args.folder)
    table = results.table[results.done(repeat=0)]
    print(f"{len(table)} converged fits of {len(results.table)}")
    compared = {"log stellar mass, FAST": masses(table), "log SFR, UV+IR": rates(table)}
    figure, axes = panels(1, 2, 4.4, 4.2)
    for ax, (name, (ours, theirs)) in zip(axes[0], compared.items(), strict=True):
        offset, scatter = robust(ours - theirs)
        far = np.mean(np.abs(ours - theirs) > 0.5)
        print(f"{name}: n = {len(ours)}, offset {offset:+.3f} dex, scatter {scatter:.3f} dex, "
              f"{100 * far:.0f} % differ by more than 0.5 dex")  # fmt: skip
        ax.plot(theirs, ours, "o", ms=3, alpha=0.6)
        low, high = np.percentile(np.concatenate([ours, theirs]), [1, 99])
        ax.plot([low, high], [low, high], color="black", lw=0.8)
        ax.set_xlim(low - 0.4, high + 0.4)
        ax.set_ylim(low - 0.4, high + 0.4)
        ax.set_xlabel(name)
        ax.set_ylabel("this campaign, median")
        ax.set_title(
            f"n = {len(ours)}, offset {offset:+.2f}, scatter {scatter:.2f} dex", fontsize=9
        )
    if args.out:
        save_figure(figure, args.out)
    inside, outside, memory = cost(args.folder)
    if len(inside):
        print(f"Seconds per fit: {np.median(inside):.2f} in the sampler, {np.median(outside):.2f} "
              f"(95 %: {np.percentile(outside, 95):.2f}) outside")  # fmt: skip
        print(f"Fits per core and hour: {3600 / np.mean(inside + outside):.0f}")
        print(f"Memory per worker: {memory.max():.0f} MB at most")


if __name__ == "__main__":
    main()
