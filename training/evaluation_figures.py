"""Figures of an emulator's errors. Each function makes a figure of its own; none touches pyplot.

Residuals ``r`` (n, nband) are emulator minus FSPS in arsinh magnitudes; ``waves``
(nband,) are the bands' effective wavelengths in micron.
"""

from itertools import pairwise

import numpy as np
from matplotlib.colors import SymLogNorm
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter, NullLocator
from scipy.stats import norm

from prospect_emu.fit.plots import DATA, FAINT, LABELS, MODEL, TRUTH
from prospect_emu.networks.vector import PARAMETERS
from prospect_emu.observe.magnitudes import A

from . import evaluate

# Okabe & Ito (2008), after the two colours of prospect_emu.fit.plots.
SERIES = (MODEL, TRUTH, "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "black", "0.5")
_TICKS = (0.2, 0.3, 0.4, 0.6, 0.8, 1, 1.5, 2, 3, 4, 6, 10, 20, 100, 500)
_OUTSIDE = {"loc": "outside right upper", "frameon": False, "fontsize": 8.5}
_PLAIN = FuncFormatter(lambda v, _: f"{v:g}")


def _figure(width, height, *shape, **settings):
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots(*shape, **settings)


def band_figure(waves, r, floor):
    """Quantiles at 1 to 4 sigma, standard deviation and bias of each band, by wavelength.

    A third of `floor`, the relative observational error, is drawn for comparison.
    """
    order = np.argsort(waves)
    stats = evaluate.statistics(r[:, order])
    quantiles, std, bias = (stats[k] for k in ("quantiles", "sigma_mag", "bias_mag"))
    x = np.arange(order.size)
    figure, (top, bottom) = _figure(9, 6.4, 2, 1, sharex=True, height_ratios=[1.2, 1])
    for i, shade in zip((4, 3, 2, 1), ("0.88", "0.76", "0.60", "0.42"), strict=True):
        style = {"color": shade, "lw": 0, "step": "mid", "label": f"{_share(i)} (±{i}σ)"}
        top.fill_between(x, quantiles[:, 4 - i], quantiles[:, 4 + i], **style)
    top.step(x, bias, where="mid", color=TRUTH, lw=1.2, label="bias")
    # Linear up to a power of ten, so that no label crowds that of zero.
    linear = 10.0 ** np.round(np.log10(np.median(std) + 1e-12))
    top.set_yscale("symlog", linthresh=linear)
    top.set_ylabel(f"emulator − FSPS [arsinh mag]\n(linear up to {linear:g})")
    bottom.plot(x, std, "o", color=MODEL, ms=4, label="standard deviation")
    bottom.plot(x, np.abs(bias), "_", color=TRUTH, ms=5, mew=1.5, label="|bias|")
    _third(bottom, floor)
    _log(bottom.yaxis, bottom.set_yscale)
    for ax, columns in ((top, 5), (bottom, 3)):
        above = {"loc": "upper center", "bbox_to_anchor": (0.5, 1.14)}
        ax.legend(frameon=False, fontsize=8, ncols=columns, **above)
    _wavelength_ticks(bottom.xaxis, waves[order])
    bottom.set(
        ylabel="[arsinh mag]",
        xlim=(-1, order.size),
        xlabel=f"{order.size} bands in the order of their effective wavelength [μm]",
    )
    figure.align_ylabels()
    return figure


def correlation_figure(waves, r):
    """Covariance and correlation of the residuals as images, bands by wavelength."""
    order = np.argsort(waves)
    r = r[:, order]
    covariance = np.atleast_2d(np.cov(r, rowvar=False))
    top = np.abs(covariance).max() or 1.0
    figure, axes = _figure(11, 4.8, 1, 2)
    scale = SymLogNorm(1e-3 * top, vmin=-top, vmax=top)
    images = (covariance, "covariance [mag²]", {"norm": scale}), (
        evaluate.correlation(r), "correlation", {"vmin": -1.0, "vmax": 1.0}
    )  # fmt: skip
    for ax, (values, title, limits) in zip(axes, images, strict=True):
        shown = ax.imshow(values, origin="lower", cmap="RdBu_r", **limits)
        bar = figure.colorbar(shown, ax=ax, shrink=0.9)
        if "norm" in limits:
            decades = 10.0 ** np.arange(np.ceil(np.log10(1e-3 * top)), np.log10(top))
            bar.set_ticks([*-decades[::-1], 0.0, *decades], minor=False)
            bar.ax.yaxis.set_minor_locator(NullLocator())
            bar.ax.yaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:.0e}" if v else "0"))
        ax.set_title(title, fontsize=10)
        for axis in (ax.xaxis, ax.yaxis):
            _wavelength_ticks(axis, waves[order], apart=0.055)
        ax.tick_params(axis="x", rotation=90)
        ax.set_xlabel("bands by effective wavelength [μm]")
    worth = f"worth {evaluate.independent_bands(r):.0f} independent ones"
    figure.suptitle(f"{order.size} bands, {worth}", fontsize=10)
    return figure


def distribution_figure(r):
    """Distribution of |residual| / sigma, all bands together, with its Gaussian."""
    x = np.ravel(evaluate.scaled(r))
    figure, (left, right) = _figure(9.5, 3.8, 1, 2)
    edges, t = np.linspace(0.0, 6.0, 61), np.linspace(0.0, 6.0, 200)
    density = np.histogram(x, edges)[0] / x.size / np.diff(edges)
    left.stairs(density, edges, baseline=None, color=MODEL, lw=1.6, label="residuals")
    left.plot(t, 2.0 * norm.pdf(t), color=DATA, ls="--", lw=1.2, label="Gaussian")
    left.set(yscale="log", ylabel="probability density")
    left.set_ylim(1e-5, None)
    left.legend(frameon=False)
    t = np.geomspace(0.1, max(x.max(), 5.0), 300)
    right.loglog(t, evaluate.beyond(x, t), color=MODEL, lw=1.6)
    right.loglog(t, 2.0 * norm.sf(t), color=DATA, ls="--", lw=1.2)
    for level, at in zip((1, 2, 3, 4), evaluate.reach(r), strict=True):
        point = at, 2.0 * norm.sf(level)
        right.plot(*point, "o", color=TRUTH, ms=5)
        place = {"xytext": (7, 3), "textcoords": "offset points"}
        right.annotate(f"{_share(level)} within {at:.2g}σ", point, fontsize=8, **place)
    right.set_ylim(0.5 / x.size, 1.5)
    right.set_xlim(t[0], 6.0 * t[-1])  # room for the labels
    right.set_ylabel("share of residuals beyond")
    right.xaxis.set_major_formatter(_PLAIN)
    for ax in (left, right):
        ax.set_xlabel("|residual| / σ of the band")
    return figure


def parameter_figure(theta, r, bins=12):
    """Standard deviation of the residuals against each parameter.

    Line: median of the bands; shaded: 16-84 % of the bands; dotted: the worst band.
    """
    figure, axes = _figure(12.5, 6.6, 3, 6, sharey=True)
    for ax, name, x in zip(axes.ravel(), PARAMETERS, theta.T, strict=True):
        # The redshift sweeps breaks and lines through the bands: look closer.
        edges = np.linspace(x.min(), x.max(), (2 * bins if name == "zred" else bins) + 1)
        std = evaluate.binned_std(x, r, edges)[1]
        seen = np.isfinite(std[:, 0])
        mid = 0.5 * (edges[1:] + edges[:-1])[seen]
        low, median, high = np.quantile(std[seen], [0.16, 0.5, 0.84], axis=1)
        ax.fill_between(mid, low, high, color=MODEL, alpha=0.25, lw=0, label="16–84 % of the bands")
        ax.plot(mid, median, color=MODEL, lw=1.8, label="median band")
        ax.plot(mid, std[seen].max(axis=1), color=TRUTH, lw=1, ls=":", label="worst band")
        ax.set_xlabel(LABELS[name], fontsize=9)
        ax.xaxis.set_major_locator(MaxNLocator(5))
        ax.tick_params(labelsize=8)
        _log(ax.yaxis, ax.set_yscale)
    figure.supylabel("standard deviation of emulator − FSPS [arsinh mag]", fontsize=10)
    known = axes[0, 0].get_legend_handles_labels()
    figure.legend(*known, loc="outside upper center", ncols=3, frameon=False, fontsize=9)
    return figure


def width_figure(widths, stds, laws, floor):
    """Precision against width: `stds` of the median and of the worst band, and their power laws."""
    figure, ax = _figure(6.4, 4.4)
    span = np.array([widths.min() / 1.3, widths.max() * 1.3])
    kinds = ("median band", MODEL, "o"), ("worst band", TRUTH, "s")
    for y, law, (name, colour, mark) in reversed([*zip(stds, laws, kinds, strict=True)]):
        ax.plot(widths, y, mark, color=colour, ms=7, label=name)
        if law is not None:
            text = f"∝ width$^{{{law.exponent:.2f}}}$"
            ax.plot(span, law(span), color=colour, lw=1.2, label=text)
            mean = law(np.sqrt(span.prod())) * np.sqrt(span.prod())
            ax.plot(span, mean / span, color=colour, lw=0.8, ls=":")
    ax.plot([], [], color=FAINT, ls=":", lw=0.8, label="∝ 1 / width")
    _third(ax, floor)
    _widths(ax, widths)
    _log(ax.yaxis, ax.set_yscale)
    ax.set_ylabel("standard deviation [arsinh mag]")
    ax.legend(frameon=False, fontsize=8.5)
    return figure


def time_figure(widths, seconds):
    """Time per vector (of `timing.measure`) against width; what has no width as level lines.

    `widths` holds a width or None by label.
    """
    figure, axes = _figure(10.5, 4.8, 1, 2, sharey=True)
    nets = sorted((w, label) for label, w in widths.items() if w is not None)
    others = [n for n in dict.fromkeys(key[0] for key in seconds) if widths.get(n) is None]
    styles = dict(zip(sorted({key[1] for key in seconds}), ("-", "--", ":"), strict=False))
    known = np.array([w for w, _ in nets] or [64, 256])
    for ax, fixed in zip(axes, (False, True), strict=True):
        for batch, style in styles.items():
            y = np.array([1e6 * seconds[n, batch, fixed] for _, n in nets])
            if nets:
                how = {"color": MODEL, "ls": style, "mfc": MODEL if style == "-" else "white"}
                ax.plot(known, y, marker="o", label=f"networks, batch {batch}", **how)
            for i, name in enumerate(others):
                if (name, batch, fixed) in seconds:
                    label = name if name == "FSPS" else f"{name}, batch {batch}"
                    how = {"color": SERIES[1 + i % (len(SERIES) - 1)], "ls": style, "lw": 1.3}
                    ax.axhline(1e6 * seconds[name, batch, fixed], label=label, **how)
        if nets and len(set(known)) > 1:  # through the widest of the largest batch
            square = y[-1] * (known / known[-1]) ** 2
            ax.plot(known, square, color=FAINT, lw=0.8, ls=":", label="∝ width²")
        _widths(ax, known)
        _log(ax.yaxis, ax.set_yscale)
        ax.set_title("one redshift, prepared" if fixed else "any redshift", fontsize=10)
    axes[0].set_ylabel("processor time per vector [μs], one thread")
    pairs = [zip(*ax.get_legend_handles_labels(), strict=True) for ax in axes]
    handles = {name: handle for pair in pairs for handle, name in pair}
    names = sorted(handles)
    figure.legend([handles[n] for n in names], names, **_OUTSIDE)
    return figure


def history_figure(count, std, ratio):
    """Standard deviation against the largest |logsfr_ratio|, also relative to calm histories.

    `count` (4,) are the samples in each bin of `evaluate.HISTORY_EDGES`; `std` and `ratio`
    (to the first bin) hold (4,) by label, medians over bands.
    """
    figure, (left, right) = _figure(11, 4.2, 1, 2)
    bins = zip(pairwise(evaluate.HISTORY_EDGES), count, strict=True)
    names = [f"{a:g}–{b:g}\n({n:,})" for (a, b), n in bins]
    for ax, values in ((left, std), (right, ratio)):
        for i, (label, y) in enumerate(values.items()):
            style = {"marker": "os^Dv<>P"[i % 8], "color": SERIES[i % 8], "lw": 1.4, "ms": 6}
            ax.plot(np.arange(count.size), y, label=label if ax is left else None, **style)
        ax.set_xticks(np.arange(count.size), names)
        ax.set_xlim(-0.4, count.size - 0.6)
        ax.set_xlabel("largest |logsfr_ratio| of a history (samples)")
    _log(left.yaxis, left.set_yscale)
    left.set_ylabel("std [arsinh mag], median of the bands")
    right.axhline(1.0, color=FAINT, lw=1, ls="--")
    right.set_ylabel("relative to the first bin, median of the bands")
    right.set_ylim(bottom=0.0)
    figure.legend(**_OUTSIDE)
    return figure


def _share(level):
    """What a Gaussian holds within so many sigma, as a percentage."""
    return f"{100.0 * (1.0 - 2.0 * norm.sf(level)):.{5 if level > 3 else 4}g} %"


def _third(ax, floor):
    label = f"a third of errors of {100 * floor:g} %"
    ax.axhline(evaluate.STD_SHARE * A * floor, color=FAINT, ls="--", lw=1, label=label)


def _wavelength_ticks(axis, waves, apart=0.036):
    """Wavelengths at the ranks of sorted `waves`, no two closer than a share of the axis."""
    inside = [t for t in _TICKS if waves[0] <= t <= waves[-1]]
    places, names = [], []
    for tick, at in zip(inside, np.interp(inside, waves, np.arange(waves.size)), strict=True):
        if not places or at - places[-1] >= apart * waves.size:
            places.append(at)
            names.append(f"{tick:g}")
    axis.set_ticks(places, names)


def _widths(ax, widths):
    ax.set_xscale("log")
    ax.set_xticks(np.unique(widths), [f"{w:g}" for w in np.unique(widths)])
    ax.xaxis.set_minor_locator(NullLocator())
    ax.set_xlim(widths.min() / 1.3, widths.max() * 1.3)
    ax.set_xlabel("nodes per hidden layer")


def _log(axis, set_scale):
    """A logarithmic axis with plain numbers, also where it spans less than a decade."""
    set_scale("log")
    low, high = axis.get_view_interval()
    span = high / low
    subs = (1, 1.5, 2, 3, 4, 5, 7) if span < 8.0 else (1, 2, 5) if span < 200.0 else (1,)
    axis.set_major_locator(LogLocator(subs=subs, numticks=12))
    axis.set_major_formatter(_PLAIN)
    axis.set_minor_formatter(NullFormatter())
