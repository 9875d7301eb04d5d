"""Figures of a fit: the SED with residuals, the star-formation history, the corner plot.

Each function makes a `matplotlib.figure.Figure` of its own and touches no
global state of matplotlib; ``figure.savefig(path)`` writes it without a display.
"""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogFormatter, LogLocator, NullFormatter

from ..errors import DataError
from ..networks import sfh
from ..networks.vector import PARAMETERS
from ..observe.flux_units import JANSKY_PER_MAGGIE
from .labels import LABELS
from .quantiles import weighted_quantiles

# Colours of Okabe & Ito (2008), distinct to colour-blind readers and in print.
MODEL, DATA, TRUTH, FAINT = "#0072B2", "black", "#D55E00", "0.6"

_COMPONENTS = ("#009E73", "#CC79A7", "#E69F00", "#56B4E9")


def sed_figure(
    result, unit: str = "mag", components: dict[str, np.ndarray] | None = None
) -> Figure:
    """Observed and predicted photometry with residuals, and the model's spectrum where known.

    Parameters
    ----------
    result : FitResult
    unit : {"mag", "uJy"}
        AB magnitudes or microjansky.
    components : dict, optional
        Of `FitResult.components`, drawn too.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    DataError
        If `unit` is neither.
    """
    if unit not in ("mag", "uJy"):
        raise DataError(f"The SED can be drawn in 'mag' or 'uJy', not in {unit!r}.")
    p = result.photometry
    order = np.argsort(p.wavelength)
    wave, mask = p.wavelength[order], p.mask[order]
    flux, unc, unc_obs = p.maggies[order], p.unc[order], p.unc_observed[order]
    low, mid, high = p.predicted[:, order]
    # Drawn in microjansky; the magnitude axis only labels it. Fluxes below a
    # tenth of the faintest prediction end there, and are drawn as limits.
    to_axis = JANSKY_PER_MAGGIE * 1e6
    floor = 0.1 * low.min()

    figure = Figure(figsize=(8, 5.6), layout="constrained")
    top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
    _spectrum(top, result.sed, components, to_axis, floor)
    for x, a, b in zip(wave, low, high, strict=True):
        top.plot(
            [x, x], np.array([a, b]) * to_axis, color=MODEL, lw=7, alpha=0.3, solid_capstyle="butt"
        )
    top.plot(wave, mid * to_axis, "_", color=MODEL, ms=9, mew=2, zorder=3)
    shown = mask & (flux > floor)
    _points(top, wave[shown], flux[shown] * to_axis, unc_obs[shown] * to_axis,
            unc[shown] * to_axis, floor * to_axis)  # fmt: skip
    hidden = mask & ~shown
    upper = np.maximum(flux, 0)[hidden] + 2 * unc[hidden]
    top.plot(wave[hidden], upper * to_axis, "v", color=DATA, ms=5, mfc="white", zorder=4)
    crossed = ~mask & np.isfinite(flux) & (flux > floor)
    top.plot(wave[crossed], flux[crossed] * to_axis, "x", color=FAINT, ms=6, zorder=2)

    _sed_axis(top, unit, np.concatenate([flux[shown], low, high, upper]) * to_axis)
    _sed_legend(top, unc, unc_obs, hidden.any(), crossed.any())
    title = f"{len(wave)} bands, {mask.sum()} fitted;  $\\chi^2$ of the best sample {p.chi2:.1f}"
    if result.info["zred"] is not None:
        title = f"$z = {result.info['zred']:.4g}$;  " + title
    top.set_title(f"{title}\n{_libraries(result)}", fontsize=10)

    residual = (flux - mid) / unc
    bottom.axhspan(-1, 1, color="0.93", zorder=0)
    bottom.axhline(0, color=MODEL, lw=1)
    bottom.errorbar(wave[mask], residual[mask], yerr=1, fmt="o", color=DATA, ms=4, lw=1)
    bottom.set_ylabel(r"$\Delta\,/\,\sigma$")
    reach = 1.25 + np.abs(residual[mask]).max()
    bottom.set_ylim(-max(3.3, reach), max(3.3, reach))
    bottom.set_xlabel(r"Observed wavelength [$\mu$m]")
    bottom.set_xscale("log")
    bottom.set_xlim(wave.min() / 1.25, wave.max() * 1.25)
    bottom.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5), numticks=20))
    bottom.xaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:g}"))
    bottom.xaxis.set_minor_formatter(NullFormatter())
    figure.align_ylabels()
    return figure


def _spectrum(ax, sed, components, to_axis, floor):
    """The model's SED through the photometry, and its components that reach `floor` there."""
    if sed is not None:
        low, mid, high = sed["maggies"] * to_axis
        ax.fill_between(sed["wavelength"], low, high, color=MODEL, alpha=0.15, lw=0, zorder=1)
        ax.plot(sed["wavelength"], mid, color=MODEL, alpha=0.6, lw=0.7, zorder=1, label="model")
    parts = dict(components or {})
    wave = parts.pop("wavelength", None)
    for (name, flux), color in zip(parts.items(), _COMPONENTS, strict=False):
        if sed is not None:
            inside = (wave >= sed["wavelength"][0]) & (wave <= sed["wavelength"][-1])
            if flux[inside].max() < floor:
                continue
        shown = np.where(flux > 0.0, flux * to_axis, np.nan)
        ax.plot(wave, shown, color=color, lw=0.9, alpha=0.9, zorder=1.5, label=name)


def sfh_figure(result) -> Figure:
    """Star-formation rate against lookback time: median and 16-84 %.

    Returns
    -------
    matplotlib.figure.Figure
    """
    figure = Figure(figsize=(6.4, 4.2), layout="constrained")
    ax = figure.subplots()
    if result.vectors is None:
        edges = result.history["lookback"]
        # Rates between two times: a step at each.
        times = np.repeat(np.maximum(edges, edges[1]), 2)[1:-1]
        quantiles = np.repeat(result.history["sfr"], 2, axis=1)
        title = "" if result.info["zred"] is None else f"$z = {result.info['zred']:.4g}$;  "
        title += _libraries(result)
    else:
        keep = result.weights > 1e-6 * result.weights.max()
        vectors, weights = result.vectors[keep], result.weights[keep]
        zred = vectors[:, PARAMETERS.index("zred")]
        middle = float(weighted_quantiles(zred, weights, [0.5])[0])
        times = _times(middle)
        quantiles = weighted_quantiles(sfr_at(vectors, times), weights, [0.16, 0.5, 0.84])
        title = f"$z = {middle:.4g}$;  the youngest bin reaches from 0 to 30 Myr"
    ax.fill_between(times / 1e9, quantiles[0], quantiles[2], color=MODEL, alpha=0.25, lw=0,
                    label="16–84 %")  # fmt: skip
    ax.plot(times / 1e9, quantiles[1], color=MODEL, lw=1.8, label="median")
    shown = quantiles[[0, 1, 2]]
    truth = result.true_vector() if result.vectors is not None else None
    if truth is not None:
        grid = _times(float(truth[PARAMETERS.index("zred")]))
        true_sfr = sfr_at(truth[None], grid)[0]
        ax.plot(grid / 1e9, true_sfr, color=TRUTH, lw=1.5, ls="--", label="truth")
        shown = np.concatenate([shown.ravel(), true_sfr])
    shown = shown[shown > 0]
    ax.set_xscale("log")
    ax.set_yscale("log")
    ax.set_xlim(times[0] / 1e9, times[-1] / 1e9 * 1.05)
    # Rates far below the rest are zero for every purpose.
    ax.set_ylim(max(shown.min(), shown.max() * 1e-5) / 1.6, shown.max() * 1.6)
    ax.xaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:g}"))
    for set_formatter in (ax.yaxis.set_major_formatter, ax.yaxis.set_minor_formatter):
        set_formatter(LogFormatter())
    ax.set_xlabel("Lookback time [Gyr]")
    ax.set_ylabel(r"Star-formation rate [$M_\odot\,{\rm yr}^{-1}$]")
    ax.set_title(title, fontsize=10)
    ax.legend(frameon=False, fontsize=9)
    return figure


def corner_figure(
    result, draws: int = 10000, seed: int = 0, parameters: Sequence[str] | None = None
) -> Figure:
    """Corner plot of free parameters and derived quantities, truth marked where known.

    Parameters
    ----------
    result : FitResult
    draws : int
        Equally weighted samples drawn with `seed`.
    parameters : sequence of str, optional
        Names of `FitResult.columns`; by default all free parameters.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    DataError
        If a name is not one of them.
    """
    import corner

    columns = result.columns()
    names = list(result.parameters if parameters is None else parameters)
    unknown = [name for name in names if name not in columns]
    if unknown or not names:
        raise DataError(
            f"The result has no {', '.join(unknown) or 'parameters to draw'}; choose from "
            f"{', '.join(columns)}."
        )
    rows = result.draw(draws, seed)
    samples = np.stack([columns[name][rows] for name in names], axis=1)
    n = samples.shape[1]
    # corner makes a figure through pyplot unless it is given one.
    size = 1.1 * n + 1.2
    figure = Figure(figsize=(size, size))
    known = result.all_truth()
    truths = [known.get(name) for name in names]
    corner.corner(
        samples,
        fig=figure,
        labels=[LABELS.get(name, name) for name in names],
        truths=truths if any(t is not None for t in truths) else None,
        truth_color=TRUTH,
        color=MODEL,
        quantiles=[0.16, 0.5, 0.84],
        levels=(0.393, 0.865),  # 1 and 2 sigma of a two-dimensional Gaussian
        range=_ranges(samples, truths),
        bins=25,
        smooth=1.2,
        plot_datapoints=False,
        plot_density=False,
        fill_contours=True,
        max_n_ticks=3,
        label_kwargs={"fontsize": 11},
        hist_kwargs={"lw": 1.3},
        labelpad=0.1,
    )
    # corner leaves room for its own default labels, which are smaller.
    figure.subplots_adjust(left=0.9 / size, bottom=0.9 / size, right=0.99, top=0.99)
    for ax in figure.axes:
        ax.tick_params(labelsize=8, length=2)
    figure.text(
        0.97, 0.95,
        "Contours hold 39 % and 86 % of the posterior (1, 2 $\\sigma$).\n"
        "Dashed: 16th, 50th and 84th percentile."
        + ("\nOrange: truth." if any(t is not None for t in truths) else ""),
        ha="right", va="top", fontsize=max(8, n),
    )  # fmt: skip
    return figure


def sfr_at(vectors, times):
    """Star-formation rates of parameter vectors at lookback times.

    Parameters
    ----------
    vectors : ndarray, shape (n, 18)
    times : ndarray, shape (m,)
        Years.

    Returns
    -------
    ndarray, shape (n, m)
        Msun/yr; zero before the beginning.
    """
    zred = vectors[:, PARAMETERS.index("zred")]
    rate = sfh.bin_masses(vectors[:, 0], vectors[:, 2:8], zred) / sfh.bin_durations(zred)
    rate = np.concatenate([rate, np.zeros((len(rate), 1))], axis=1)
    log_edges, at = sfh.bin_edges(zred), np.log10(times)
    # The bin of a time: how many upper edges lie at or below it.
    index = (at[None, :, None] >= log_edges[:, None, 1:]).sum(axis=2)
    return np.take_along_axis(rate, index, axis=1)


def _times(zred, first=5e6):
    """Lookback times in years that show steps at the bins' edges as steps."""
    edges = 10.0 ** sfh.bin_edges(zred)
    grid = np.geomspace(first, edges[-1], 200)
    steps = np.concatenate([edges[1:] * (1 - 1e-7), edges[1:-1] * (1 + 1e-7)])
    grid = np.concatenate([grid[:-1], steps])
    return np.unique(grid)


def _libraries(result):
    """Isochrones and spectral library that a fit stands on."""
    return f"spectra of {result.info['libraries']}" if result.info.get("libraries") else ""


def _points(ax, x, y, observed, inflated, floor):
    """Points with the observed error in black and the fit's in grey, cut at `floor`."""
    for error, style in (
        (inflated, {"ecolor": FAINT, "elinewidth": 2.6}),
        (observed, {"ecolor": DATA, "elinewidth": 1.2}),
    ):
        down = np.minimum(error, y - floor)
        ax.errorbar(x, y, yerr=[down, error], fmt="none", zorder=3.5, **style)
    ax.plot(x, y, "o", color=DATA, ms=3.6, mfc="white", mew=1.1, zorder=4)


def _sed_axis(ax, unit, shown):
    ax.set_yscale("log")
    shown = shown[np.isfinite(shown) & (shown > 0)]
    ax.set_ylim(shown.min() / 2.5, shown.max() * 2.5)
    if unit == "uJy":
        ax.set_ylabel(r"Flux density [$\mu$Jy]")
        ax.yaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:g}"))
        return
    low, high = (_ab(v) for v in ax.get_ylim()[::-1])
    step = 1 if high - low < 9 else 2
    ticks = np.arange(np.ceil(low), np.floor(high) + 0.5, step)
    ax.set_yticks(10.0 ** (-0.4 * ticks) * JANSKY_PER_MAGGIE * 1e6, [f"{t:g}" for t in ticks])
    ax.set_yticks([], minor=True)
    ax.set_ylabel("AB magnitude")


def _ab(microjansky):
    return -2.5 * np.log10(microjansky / (JANSKY_PER_MAGGIE * 1e6))


def _sed_legend(ax, unc, unc_obs, limits, crossed):
    """Legend by proxies: each entry once, and only what is drawn."""
    ax.plot([], [], "o", color=DATA, ms=3.6, mfc="white", mew=1.1, label="observed")
    if np.any(unc > unc_obs):
        ax.plot([], [], color=DATA, lw=1.2, label="input error")
        ax.plot([], [], color=FAINT, lw=2.6, label="with the emulator's error")
    if limits:
        ax.plot([], [], "v", color=DATA, mfc="white", ms=5, label=r"max(flux, 0) + 2$\sigma$")
    if crossed:
        ax.plot([], [], "x", color=FAINT, ms=6, label="masked")
    ax.plot([], [], "_", color=MODEL, ms=9, mew=2, label="posterior median")
    ax.plot([], [], color=MODEL, lw=7, alpha=0.3, label="16–84 %")
    ax.legend(frameon=False, fontsize=8.5, ncols=2)


def _ranges(samples, truths):
    """Axis ranges: all but the outermost 0.2 % of the samples, and the truth."""
    low, high = np.quantile(samples, [0.002, 0.998], axis=0)
    for i, value in enumerate(truths):
        if value is not None:
            low[i], high[i] = min(low[i], value), max(high[i], value)
    pad = 0.04 * np.maximum(high - low, 1e-6)
    return list(zip(low - pad, high + pad, strict=True))
