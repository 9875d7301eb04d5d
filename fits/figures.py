"""Figures of a campaign. Each function makes a figure of its own; none touches pyplot."""

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from ..fit.plots import DATA, FAINT, MODEL, TRUTH

# Beyond the two colours of a single fit; Okabe & Ito (2008).
SERIES = (MODEL, TRUTH, "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "black")

LABELS = {
    "logmass": r"$\log\,M_{\rm formed}/M_\odot$",
    "log_stellar_mass": r"$\log\,M_*/M_\odot$",
    "logzsol": r"$\log\,Z/Z_\odot$",
    "log_sfr_100": r"$\log\,{\rm SFR}_{100}\;[M_\odot\,{\rm yr}^{-1}]$",
    "log_mass_weighted_age": r"$\log\,{\rm age}_M$ [Gyr]",
}


def panels(rows, columns, width=3.2, height=3.0):
    """A figure and its axes, shape (rows, columns)."""
    figure = Figure(figsize=(width * columns, height * rows), layout="constrained")
    return figure, figure.subplots(rows, columns, squeeze=False)


def mass_sfr_figure(table):
    """Star-formation rate (100 Myr) against surviving stellar mass, coloured by redshift."""
    figure, axes = panels(1, 1, 6.4, 4.6)
    ax = axes[0, 0]
    x, y, z = (np.asarray(table[c], dtype=float) for c in
               ("log_stellar_mass_p50", "log_sfr_100_p50", "zred"))  # fmt: skip
    for a, b in zip(("log_stellar_mass", "log_sfr_100"), (0, 1), strict=True):
        low, mid, high = _interval(table, a)
        error = [mid - low, high - mid]
        ax.errorbar(x, y, **{"yerr" if b else "xerr": error}, fmt="none", ecolor="0.85", lw=0.7,
                    zorder=1)  # fmt: skip
    dots = ax.scatter(x, y, c=z, s=14, cmap="viridis", zorder=2)
    figure.colorbar(dots, label="redshift")
    ax.set_xlabel(LABELS["log_stellar_mass"])
    ax.set_ylabel(LABELS["log_sfr_100"])
    # Quiescent galaxies have posteriors without a lower end, and bursts no rate at all.
    seen = y[np.isfinite(y)]
    if seen.size:
        ax.set_ylim(max(seen.min() - 0.5, -4.5), seen.max() + 0.6)
    hidden = int((y < ax.get_ylim()[0]).sum())
    if hidden:
        ax.set_title(f"{hidden} galaxies lie below the frame", fontsize=9)
    return figure


def redshift_mass_figure(table):
    """Surviving stellar mass against redshift."""
    figure, axes = panels(1, 1, 6.4, 4.2)
    ax = axes[0, 0]
    low, mid, high = _interval(table, "log_stellar_mass")
    z = np.asarray(table["zred"], dtype=float)
    ax.errorbar(z, mid, yerr=[mid - low, high - mid], fmt="o", ms=3, color=MODEL, ecolor="0.75",
                lw=0.7)  # fmt: skip
    ax.set_xlabel("redshift")
    ax.set_ylabel(LABELS["log_stellar_mass"])
    return figure


def residual_figure(bands, waves, chi, offset):
    """Residuals per band over the sample: what zeropoint errors and missing physics leave.

    Parameters
    ----------
    bands : sequence of str
    waves : ndarray, shape (nband,)
        Effective wavelengths, micron.
    chi, offset : ndarray, shape (nfit, nband)
        NaN where a band was not fitted.
    """
    order = [i for i in np.argsort(waves) if np.isfinite(chi[:, i]).any()]
    figure = Figure(figsize=(9, 6.2), layout="constrained")
    top, bottom = figure.subplots(2, 1, sharex=True)
    x = np.arange(len(order))
    for ax, values, factor in ((top, offset, 100.0), (bottom, chi, 1.0)):
        low, mid, high = factor * np.nanpercentile(values[:, order], [16, 50, 84], axis=0)
        ax.axhline(0, color=FAINT, lw=1)
        ax.vlines(x, low, high, color=MODEL, lw=5, alpha=0.3)
        ax.plot(x, mid, "o", color=MODEL, ms=4)
    count = np.isfinite(chi[:, order]).sum(axis=0)
    error = 1.25 / np.sqrt(np.maximum(count, 1))  # of a median of unit Gaussians
    bottom.fill_between(x, -error, error, color="0.9", zorder=0, label="error of the median")
    reach = np.nanpercentile(np.abs(100 * offset[:, order]), 80)
    top.set_ylim(-max(15, 1.6 * reach), max(15, 1.6 * reach))
    top.set_ylabel("observed / predicted − 1 [%]")
    bottom.set_ylabel(r"(observed − predicted) / $\sigma$")
    bottom.legend(frameon=False, fontsize=8)
    bottom.set_xticks(x, [bands[i] for i in order], rotation=90, fontsize=7)
    bottom.set_xlim(-0.8, len(order) - 0.2)
    figure.suptitle(f"Median and 16–84 % of {len(chi)} galaxies, bands by wavelength", fontsize=10)
    return figure


def chi2_figure(table):
    """Distribution of chi2 of the best sample per fitted band."""
    figure, axes = panels(1, 1, 6, 3.6)
    ax = axes[0, 0]
    ratio = np.asarray(table["chi2"], dtype=float) / np.asarray(table["bands"], dtype=float)
    ratio = ratio[np.isfinite(ratio) & (ratio > 0)]
    edges = np.geomspace(max(ratio.min() / 1.1, 1e-3), ratio.max() * 1.1, 31)
    ax.hist(ratio, edges, color=MODEL, alpha=0.6)
    ax.axvline(np.median(ratio), color=DATA, lw=1, ls="--", label=f"median {np.median(ratio):.2f}")
    plain_log_axis(ax)
    ax.set_xlabel(r"$\chi^2$ of the best sample / number of bands")
    ax.set_ylabel("fits")
    ax.legend(frameon=False)
    return figure


def rank_figure(table, names):
    """Where the truth lies in the posteriors of mocks: flat if they are calibrated.

    The band holds 95 % of bins of a uniform distribution.
    """
    from scipy.stats import binom

    columns = min(4, len(names))
    figure, axes = panels(-(-len(names) // columns), columns, 2.6, 2.0)
    bins = 10
    for ax in axes.ravel()[len(names) :]:
        ax.set_axis_off()
    for ax, name in zip(axes.ravel(), names, strict=False):
        rank = np.asarray(table[f"rank_{name}"], dtype=float)
        rank = rank[np.isfinite(rank)]
        low, high = binom.ppf([0.025, 0.975], rank.size, 1.0 / bins)
        ax.axhspan(low, high, color="0.9")
        ax.hist(rank, np.linspace(0, 1, bins + 1), color=MODEL, alpha=0.6)
        ax.set_title(name, fontsize=9)
        ax.set_xticks([0, 0.5, 1])
    figure.supxlabel("fraction of the posterior below the truth", fontsize=9)
    figure.supylabel("mocks", fontsize=9)
    return figure


def plain_log_axis(ax):
    """Plain numbers on a logarithmic axis."""
    ax.set_xscale("log")
    ax.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5), numticks=20))
    ax.xaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:g}"))
    ax.xaxis.set_minor_formatter(NullFormatter())


def _interval(table, name):
    values = [np.asarray(table[f"{name}_{q}"], dtype=float) for q in ("p16", "p50", "p84")]
    return np.where(np.isfinite(values), values, np.nan)
