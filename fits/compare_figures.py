"""Figures of a comparison: medians side by side, D, rates of outliers, recovery of mocks."""

import re

import numpy as np
from matplotlib.figure import Figure

from ..fit.plots import DATA, FAINT, MODEL, TRUTH
from .compare import OUTLIER, QUANTITIES, binomial_interval
from .figures import LABELS, SERIES, panels

_SHORT = {
    "logmass": "mass formed",
    "logzsol": "metallicity",
    "log_sfr_100": "SFR, 100 Myr",
    "log_mass_weighted_age": "mass-weighted age",
    None: "any of the four",
}


def medians_figure(pairs):
    """Posterior medians of one side against the other's, for the four quantities.

    Returns
    -------
    matplotlib.figure.Figure
    """
    figure, axes = panels(len(pairs), len(QUANTITIES))
    for row, pair in zip(axes, pairs, strict=True):
        for ax, name in zip(row, QUANTITIES, strict=True):
            if name not in pair.d:
                ax.set_axis_off()
                continue
            a, b = pair.a.levels(name), pair.b.levels(name)
            _scatter(ax, a, b, pair.d[name] > OUTLIER)
            ax.set_xlabel(pair.a.label, fontsize=8)
            ax.set_ylabel(pair.b.label if not pair.repeat else f"{pair.b.label}, again", fontsize=8)
            ax.set_title(LABELS[name], fontsize=9)
            delta = np.nanpercentile(np.abs(b[1] - a[1]), 68)
            ax.text(0.04, 0.96, f"$\\Delta_{{68}}$ = {delta:.3f} dex", transform=ax.transAxes,
                    va="top", fontsize=8)  # fmt: skip
    return figure


def recovery_figure(sides):
    """Posterior medians against truth, a row per side, for the four quantities."""
    figure, axes = panels(len(sides), len(QUANTITIES))
    for row, side in zip(axes, sides, strict=True):
        for ax, name in zip(row, QUANTITIES, strict=True):
            if name not in side.parameters() or side.truth(name) is None:
                ax.set_axis_off()
                continue
            truth, levels = side.truth(name), side.levels(name)
            _scatter(ax, np.array([truth] * 3), levels, np.zeros(truth.size, dtype=bool))
            error = levels[1] - truth
            low, mid, high = np.nanpercentile(error, [16, 50, 84])
            text = f"offset {mid:+.3f}\nscatter {0.5 * (high - low):.3f} dex"
            ax.text(0.04, 0.96, text, transform=ax.transAxes, va="top", fontsize=8)
            ax.set_xlabel("truth", fontsize=8)
            ax.set_ylabel(f"median, {side.label}", fontsize=8)
            ax.set_title(LABELS[name], fontsize=9)
    return figure


def discrepancy_figure(pairs):
    """Share of galaxies above each D, for the four quantities; repeats dashed."""
    figure, axes = panels(1, len(QUANTITIES), 3.2, 3.2)
    for ax, name in zip(axes[0], QUANTITIES, strict=True):
        having = [(c, p) for c, p in zip(_colors(pairs), pairs, strict=True) if name in p.d]
        if not having:
            ax.set_axis_off()
            continue
        for color, pair in having:
            d = np.sort(pair.d[name][np.isfinite(pair.d[name])])
            share = 1.0 - np.arange(d.size) / d.size
            style = "--" if pair.repeat else "-"
            ax.step(d, share, where="pre", color=color, ls=style, lw=1.4, label=pair.label)
        ax.axvline(OUTLIER, color=FAINT, lw=0.8, ls=":")
        ax.set_yscale("log")
        most = max(p.d[name].size for _, p in having)
        ax.set_ylim(0.5 / most, 1.2)
        ax.set_xlim(0, max(3.4, 1.05 * max(np.nanmax(p.d[name]) for _, p in having)))
        ax.set_xlabel("D")
        ax.set_title(LABELS[name], fontsize=9)
    axes[0, 0].set_ylabel("share of galaxies above D")
    next(ax for ax in axes[0, ::-1] if ax.lines).legend(
        frameon=False, fontsize=7, loc="upper right"
    )
    return figure


def rates_figure(pairs):
    """Rate of D > 3 in each quantity, with 95 % binomial intervals; repeats in grey.

    Pairs whose names end in a number, such as mathews23-256, stand at that width.
    """
    figure = Figure(figsize=(8.5, 4.2), layout="constrained")
    ax = figure.subplots()
    main = [p for p in pairs if not p.repeat]
    numbers = [_number(p.label) for p in main]
    widths = bool(main) and None not in numbers and len(set(numbers)) == len(numbers) > 1
    shown = main + [p for p in pairs if p.repeat]
    place = {id(p): i for i, p in enumerate(shown)}
    if widths:
        order = sorted(main, key=lambda p: _number(p.label))
        place = {id(p): i for i, p in enumerate([*order, *[p for p in pairs if p.repeat]])}
    shifts = np.linspace(-0.24, 0.24, len(QUANTITIES) + 1)
    names = [*QUANTITIES, None]
    for color, shift, name in zip((*SERIES[:4], DATA), shifts, names, strict=True):
        label = _SHORT[name]
        for pair in shown:
            d = pair.worst() if name is None else pair.d.get(name, np.zeros(0))
            d = d[np.isfinite(d)]
            if not d.size:
                continue
            k = int((d > OUTLIER).sum())
            low, high = binomial_interval(k, d.size)
            x, y = place[id(pair)] + shift, k / d.size
            ax.errorbar(x, y, yerr=[[y - low], [high - y]], fmt="s" if name is None else "o",
                        ms=4, color=color, mfc="white" if pair.repeat else color,
                        capsize=2, lw=1, label=label)  # fmt: skip
            label = None
    for pair in shown:
        if pair.repeat:
            at = place[id(pair)]
            ax.axvspan(at - 0.45, at + 0.45, color="0.95", zorder=0)
    ordered = sorted(shown, key=lambda p: place[id(p)])
    labels = [f"{p.label}\n{len(p.a.table)} galaxies" for p in ordered]
    ax.set_xticks(range(len(ordered)), labels, fontsize=8,
                  rotation=20 if len(ordered) > 3 else 0)  # fmt: skip
    ax.set_ylim(bottom=0)
    ax.set_ylabel(f"rate of D > {OUTLIER:g} (95 % intervals)")
    figure.legend(loc="outside right upper", frameon=False, fontsize=8)
    reference = (main or shown)[0].a.label
    shaded = "; shaded: repeated runs" if len(main) < len(shown) else ""
    ax.set_title(f"against {reference}{shaded}", fontsize=9)
    return figure


def _scatter(ax, x, y, outlier):
    """Medians with 16-84 % bars and the diagonal; outliers in orange."""
    for mask, color in ((~outlier, MODEL), (outlier, TRUTH)):
        error = {"xerr": np.clip([x[1] - x[0], x[2] - x[1]], 0, None)[:, mask],
                 "yerr": np.clip([y[1] - y[0], y[2] - y[1]], 0, None)[:, mask]}  # fmt: skip
        ax.errorbar(x[1][mask], y[1][mask], fmt="o", ms=2.6, color=color, ecolor=color,
                    elinewidth=0.5, alpha=0.35 if color == MODEL else 0.9)  # fmt: skip
        ax.errorbar(x[1][mask], y[1][mask], **error, fmt="none", ecolor="0.8", elinewidth=0.5,
                    zorder=0)  # fmt: skip
    both = np.concatenate([x[1], y[1]])
    low, high = np.nanpercentile(both, [0.5, 99.5])
    pad = 0.08 * (high - low) + 1e-3
    limits = low - pad, high + pad
    ax.plot(limits, limits, color=DATA, lw=0.8)
    ax.set_xlim(*limits)
    ax.set_ylim(*limits)
    outside = int(((x[1] < limits[0]) | (x[1] > limits[1]) | (y[1] < limits[0])
                   | (y[1] > limits[1])).sum())  # fmt: skip
    if outside:
        ax.text(0.96, 0.04, f"{outside} outside", transform=ax.transAxes, ha="right", fontsize=7)
    ax.tick_params(labelsize=8)


def _colors(pairs):
    main = iter(SERIES * 3)
    repeated = iter(("0.3", "0.5", "0.7", "0.2") * 3)
    return [next(repeated) if p.repeat else next(main) for p in pairs]


def _number(label):
    found = re.search(r"(\d+)$", label)
    return int(found[1]) if found else None
