"""Figure of a fitted spectrum: model, residuals and calibration."""

import numpy as np
from matplotlib.figure import Figure

from ..errors import DataError
from ..observe.flux_units import JANSKY_PER_MAGGIE
from .plots import DATA, FAINT, MODEL
from .quantiles import weighted_quantiles

# Lines that are named, Angstrom in vacuum; where two are close, the first of them.
LINES = {
    r"H$\alpha$": 6564.6, "[O III]": 5008.2, r"Ly$\alpha$": 1215.67, "[O II]": 3728.8,
    r"H$\beta$": 4862.7, "[S III]": 9533.2, r"Pa$\alpha$": 18756.1, r"Pa$\beta$": 12821.6,
    "He I": 10833.3, "C IV": 1549.5, "C III]": 1908.7, "Mg II": 2799.1, r"H$\gamma$": 4341.7,
    "[S II]": 6725.0,
}  # fmt: skip


def spectrum_figure(result) -> Figure:
    """Observed and predicted spectrum, residuals, and the calibration where there is one.

    Parameters
    ----------
    result : FitResult

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    DataError
        If no spectrum was fitted.
    """
    s = result.spectrum
    if s is None:
        raise DataError("This fit has no spectrum; draw its SED.")
    wave, mask, unit = s["wavelength"], s["mask"], JANSKY_PER_MAGGIE * 1e6
    low, mid, high = s["predicted"]
    calibrated = np.ptp(s["calibration"]) > 0.0
    figure = Figure(figsize=(9, 6.4 if calibrated else 5.4), layout="constrained")
    heights = [3, 1, 0.8] if calibrated else [3, 1]
    axes = figure.subplots(len(heights), 1, sharex=True, height_ratios=heights)
    top, middle = axes[:2]
    flux = np.where(mask, s["flux"], np.nan) * unit
    top.fill_between(
        wave, flux - s["unc"] * unit, flux + s["unc"] * unit, color="0.85", lw=0, step="mid"
    )
    top.step(wave, flux, where="mid", color=DATA, lw=0.8, label="observed")
    top.fill_between(wave, low * unit, high * unit, color=MODEL, alpha=0.3, lw=0, label="16–84 %")
    top.plot(wave, mid * unit, color=MODEL, lw=1.2, label="posterior median")
    _limits(top, flux, np.concatenate([low, high])[np.tile(mask, 2)] * unit)
    residual = np.where(mask, (s["flux"] - mid) / s["unc"], np.nan)
    middle.axhspan(-1, 1, color="0.93", zorder=0)
    middle.step(wave, residual, where="mid", color=DATA, lw=0.7)
    middle.axhline(0, color=MODEL, lw=1)
    reach = 1.1 * np.nanmax(np.abs(residual))
    middle.set_ylim(-max(3.3, reach), max(3.3, reach))
    middle.set_ylabel(r"$\Delta\,/\,\sigma$")
    if calibrated:
        axes[2].fill_between(wave, *s["calibration"][[0, 2]], color=MODEL, alpha=0.3, lw=0)
        axes[2].plot(wave, s["calibration"][1], color=MODEL, lw=1.2)
        axes[2].axhline(1, color=FAINT, lw=0.8)
        axes[2].set_ylabel("calibration")
    _shade(axes, wave, mask)
    zred = result.info["zred"]
    if zred is None and "zred" in result.parameters:
        column = result.samples[:, [result.parameters.index("zred")]]
        zred = weighted_quantiles(column, result.weights, [0.5])[0, 0]
    if zred is not None:
        _name_lines(top, wave, zred)
    chi2 = np.sum((((s["flux"] - s["best"]) / s["unc"]) ** 2)[mask])
    title = rf"{mask.sum()} of {mask.size} pixels fitted;  $\chi^2$ of the best sample {chi2:.1f}"
    if zred is not None:
        title = f"$z = {zred:.4g}$;  " + title
    top.set_title(title, fontsize=10)
    top.set_ylabel(r"Flux density [$\mu$Jy]")
    top.legend(frameon=False, fontsize=8.5)
    axes[-1].set_xlabel(r"Observed wavelength [$\mu$m]")
    axes[-1].set_xlim(wave[0], wave[-1])
    figure.align_ylabels()
    return figure


def _limits(ax, flux, model):
    """From noise to the tallest line, with room for names above."""
    low = min(np.nanpercentile(flux, 0.5), model.min())
    high = max(np.nanpercentile(flux, 99.8), model.max())
    ax.set_ylim(low - 0.08 * (high - low), high + 0.18 * (high - low))


def _shade(axes, wave, mask):
    """Masked regions."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], ~mask, [0]])))
    middle = 0.5 * (wave[1:] + wave[:-1])
    ends = np.concatenate([wave[:1], middle, wave[-1:]])
    for i, (a, b) in enumerate(edges.reshape(-1, 2)):
        for ax in axes:
            label = "masked" if i == 0 and ax is axes[0] else None
            ax.axvspan(ends[a], ends[b], color="0.9", hatch="///", ec="0.75", lw=0, label=label)


def _name_lines(ax, wave, zred):
    """Names at the top, those that would run into another left out."""
    width = 0.03 * (wave[-1] - wave[0])
    named = [wave[0] - 0.5 * width]
    for name, rest in LINES.items():
        at = rest * (1.0 + zred) / 1e4
        if wave[0] < at < wave[-1] and min(abs(at - other) for other in named) > width:
            ax.axvline(at, color=FAINT, lw=0.6, ls=":", zorder=0)
            ax.text(
                at, 0.985, name, rotation=90, ha="right", va="top", fontsize=7.5, color="0.35",
                transform=ax.get_xaxis_transform(),
            )  # fmt: skip
            named.append(at)
