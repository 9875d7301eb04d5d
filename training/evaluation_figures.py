"""Figures of an emulator's errors. Each function makes a figure of its own; none touches pyplot.

``r`` are `Residuals`; ``waves`` (nband,) the bands' effective wavelengths in micron.
"""

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator
from scipy.stats import norm

from prospect_emu.fit.plots import DATA, FAINT, LABELS, MODEL, TRUTH
from prospect_emu.networks.vector import PARAMETERS
from prospect_emu.observe.magnitudes import A

from .evaluate import HISTORY_EDGES, STD_SHARE

_PLAIN = FuncFormatter(lambda v, _: f"{v:g}")
_SMALL = {"frameon": False, "fontsize": 8}


def comparison_figure(numbers, laws, seconds, counts, floor):
    """Precision and time against width, and errors by history, of all emulators.

    Parameters
    ----------
    numbers : dict
        `Scored.numbers` by label.
    laws : dict
        `power_law` by what of.
    seconds : dict
        Of `timing.measure`.
    counts : ndarray, shape (4,)
        Samples in each bin of `HISTORY_EDGES`.
    floor : float
    """
    figure = Figure(figsize=(15, 4.6), layout="constrained")
    precision, time, history = figure.subplots(1, 3)
    nets = sorted((n["width"], k) for k, n in numbers.items() if n["width"] is not None)
    widths = np.array([w for w, _ in nets] or [64, 256])
    span = np.array([widths.min() / 1.3, widths.max() * 1.3])
    for name, key, color in (("median", "std_median", MODEL), ("worst", "std_worst", TRUTH)):
        y = [numbers[k][key] for _, k in nets]
        precision.plot(widths[: len(y)], y, "o", color=color, label=f"{name} band")
        if law := laws.get(f"{name} band"):
            y = np.exp(law[1]) * (span / 100.0) ** law[0]
            precision.plot(span, y, color=color, label=f"∝ width$^{{{law[0]:.2f}}}$")
    _third(precision, floor)
    for (batch, fixed), style in zip(
        dict.fromkeys(key[1:] for key in seconds), ("o-", "s--", "^:", "v-."), strict=False
    ):
        kind = f"batch {batch}, {'one' if fixed else 'any'} redshift"
        y = [1e6 * seconds[k, batch, fixed] for _, k in nets]
        time.plot(widths[: len(y)], y, style, color=MODEL, label=kind)
        for i, k in enumerate(dict.fromkeys(key[0] for key in seconds)):
            if numbers.get(k, {}).get("width") is None and (k, batch, fixed) in seconds:
                level = 1e6 * seconds[k, batch, fixed]
                time.axhline(level, color=f"C{i}", ls=style[1:], lw=1, label=f"{k}, {kind}")
    for k, n in numbers.items():
        history.plot(np.arange(counts.size), n["history_std"], "o-", label=k)
    edges = zip(HISTORY_EDGES[:-1], HISTORY_EDGES[1:], counts, strict=True)
    history.set_xticks(np.arange(counts.size), [f"{a:g}–{b:g}\n({n:,})" for a, b, n in edges])
    history.set(xlabel="largest |logsfr_ratio| of a history (samples)", yscale="log")
    for ax in (precision, time):
        ax.set(xscale="log", yscale="log", xlim=span, xlabel="nodes per hidden layer")
        ax.set_xticks(np.unique(widths), map(str, np.unique(widths)))
        ax.minorticks_off()
    precision.set_ylabel("standard deviation [arsinh mag]")
    time.set_ylabel("processor time per vector [μs], one thread")
    history.set_ylabel("standard deviation, median of the bands")
    for ax in (precision, time, history):
        ax.yaxis.set_major_formatter(_PLAIN)
        ax.legend(**_SMALL)
    return figure


def learning_figure(curves):
    """Validation loss (arsinh mag) after each epoch of trainings, lists by label."""
    figure = Figure(figsize=(7, 4), layout="constrained")
    ax = figure.subplots()
    for label, loss in curves.items():
        ax.semilogy(np.arange(1, len(loss) + 1), loss, lw=1, label=f"{label}, end {loss[-1]:.3g}")
    ax.set(xlabel="epochs", ylabel="validation loss [arsinh mag]")
    ax.yaxis.set_major_formatter(_PLAIN)
    ax.legend(**_SMALL)
    return figure


def band_figure(waves, r, floor):
    """Errors of each band by wavelength, their distribution, and their correlation.

    A third of `floor`, the relative observational error, is drawn for comparison.
    """
    order = np.argsort(waves)
    x, std, quantiles = np.arange(order.size), r.std[order], r.quantiles[order]
    figure = Figure(figsize=(14, 8), layout="constrained")
    (top, left), (bottom, right) = figure.subplots(2, 2, width_ratios=(1.7, 1))
    for i, shade in zip((4, 3, 2, 1), ("0.88", "0.76", "0.60", "0.42"), strict=True):
        label = f"{100.0 * (1.0 - 2.0 * norm.sf(i)):.5g} % (±{i}σ)"
        top.fill_between(x, quantiles[:, 4 - i], quantiles[:, 4 + i], color=shade, label=label)
    top.step(x, r.bias[order], where="mid", color=TRUTH, lw=1.2, label="bias")
    linear = 10.0 ** np.round(np.log10(np.median(std) + 1e-12))
    top.set_yscale("symlog", linthresh=linear)
    top.set_ylabel(f"emulator − FSPS [arsinh mag]\n(linear up to {linear:g})")
    bottom.semilogy(x, std, "o", color=MODEL, ms=4, label="standard deviation")
    bottom.semilogy(x, np.abs(r.bias[order]), "_", color=TRUTH, ms=5, label="|bias|")
    _third(bottom, floor)
    bottom.set_ylabel("[arsinh mag]")
    for ax in (top, bottom):
        at = x[:: max(1, x.size // 12)]
        ax.set_xticks(at, [f"{waves[order[i]]:.2g}" for i in at])
        ax.set_xlabel(f"{x.size} bands by effective wavelength [μm]")
        ax.legend(ncols=5, **_SMALL)
    size = np.sort(r.scaled, axis=None)
    # At most some thousand points of the curve can be seen.
    some = np.unique(np.geomspace(1, size.size, 3000).astype(int))
    left.loglog(size[-some], some / size.size, color=MODEL, label="residuals")
    t = np.geomspace(0.1, 6.0, 200)
    left.loglog(t, 2.0 * norm.sf(t), "--", color=DATA, lw=1.2, label="Gaussian")
    left.plot(r.reach, 2.0 * norm.sf([1, 2, 3, 4]), "o", color=TRUTH, label="reach of 1 to 4 σ")
    left.set(
        xlabel="|residual| / σ of the band", ylabel="share of residuals beyond", xlim=(0.1, None)
    )
    left.set_ylim(0.5 / size.size, 1.5)
    left.legend(**_SMALL)
    shown = right.imshow(
        r.correlation[np.ix_(order, order)], origin="lower", cmap="RdBu_r", vmin=-1, vmax=1
    )
    figure.colorbar(shown, ax=right)
    right.set_title(f"correlation: worth {r.independent_bands:.0f} independent bands", fontsize=10)
    return figure


def parameter_figure(theta, r, bins=12):
    """Standard deviation of the residuals against each parameter.

    Line: median of the bands; shaded: 16-84 % of the bands; dotted: the worst band.
    """
    figure = Figure(figsize=(12.5, 6.6), layout="constrained")
    axes = figure.subplots(3, 6, sharey=True)
    for ax, name, x in zip(axes.ravel(), PARAMETERS, theta.T, strict=True):
        # The redshift sweeps breaks and lines through the bands: look closer.
        edges = np.linspace(x.min(), x.max(), (2 * bins if name == "zred" else bins) + 1)
        std = r.binned(x, edges)[1]
        seen = np.isfinite(std[:, 0])
        mid = 0.5 * (edges[1:] + edges[:-1])[seen]
        low, median, high = np.quantile(std[seen], [0.16, 0.5, 0.84], axis=1)
        ax.fill_between(mid, low, high, color=MODEL, alpha=0.25, lw=0, label="16–84 % of the bands")
        ax.plot(mid, median, color=MODEL, lw=1.8, label="median band")
        ax.plot(mid, std[seen].max(axis=1), color=TRUTH, lw=1, ls=":", label="worst band")
        ax.set_xlabel(LABELS[name], fontsize=9)
        ax.xaxis.set_major_locator(MaxNLocator(5))
        ax.set_yscale("log")
    figure.supylabel("standard deviation of emulator − FSPS [arsinh mag]", fontsize=10)
    handles = axes[0, 0].get_legend_handles_labels()
    figure.legend(*handles, loc="outside upper center", ncols=3, frameon=False, fontsize=9)
    return figure


def _third(ax, floor):
    label = f"a third of errors of {100 * floor:g} %"
    ax.axhline(STD_SHARE * A * floor, color=FAINT, ls="--", lw=1, label=label)
