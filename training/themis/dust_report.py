"""Accuracy and time of the dust emulator: tables and figures.

Two measures of error, both against the engine's own emission at random parameters:

* the poster's (Tedros & Galliano), the mean over wavelengths of |predicted / true - 1|, of
  each spectrum; wavelengths below 1e-10 of a spectrum's peak are left out, where neither
  the emulator nor an observer sees anything;
* the linear error at each wavelength where the emission exceeds 1e-4 of its peak.
"""

import dataclasses
import json
import time
from pathlib import Path

import numpy as np

from prospect_emu.files import check_writable, save_figure, write_atomic
from prospect_emu.sps.constants import mixture

from .dust_bands import bands_for, ln_bands
from .dust_grid import PARAMETERS

# Shares of a spectrum's peak above which the two measures look at it. The emulator softens
# emission at 1e-12 of the peak, which changes it by 1 % at the first of these.
SEEN, BRIGHT = 1e-10, 1e-4
_LABELS = {"log_u": "log U", "log_tau": "log τ / yr", "log_a_min": "log a$_{min}$ / nm"}


def errors(ln_predicted, ln_true):
    """Both measures of error.

    Parameters
    ----------
    ln_predicted, ln_true : ndarray, shape (n, nwave)

    Returns
    -------
    mape : ndarray, shape (n,)
        The poster's, as a fraction.
    ratio : ndarray, shape (n, nwave)
        predicted / true - 1, nan where the true emission is under 1e-4 of its peak.
    """
    below = ln_true - ln_true.max(axis=1, keepdims=True)
    ratio = np.expm1(np.clip(ln_predicted - ln_true, -50.0, 50.0))
    seen = below > np.log(SEEN)
    mape = (np.abs(ratio) * seen).sum(axis=1) / seen.sum(axis=1)
    return mape, np.where(below > np.log(BRIGHT), ratio, np.nan)


def figures_of(ln_predicted, ln_true):
    """The numbers of `errors` that acceptance asks for, as fractions."""
    mape, ratio = errors(ln_predicted, ln_true)
    linear = np.abs(ratio[np.isfinite(ratio)])
    return {
        "mape_mean": float(mape.mean()),
        "mape_median": float(np.median(mape)),
        "mape_worst": float(mape.max()),
        "linear_median": float(np.median(linear)),
        "linear_mean": float(linear.mean()),
        "linear_99": float(np.quantile(linear, 0.99)),
        "linear_99.9": float(np.quantile(linear, 0.999)),
        "samples": len(ln_true),
    }


def measured(emulator, test, matrix):
    """The emulator with its errors on a test set, and their figures.

    Parameters
    ----------
    emulator : DustEmulator
    test : DustStore
    matrix : ndarray
        `dust_bands.bands_for`.
    """
    theta, truth = test.load()
    _, ratio = errors(emulator.ln_spectrum(theta), truth)
    difference = np.log1p(ratio)
    bands = band_errors(emulator, theta, truth, matrix)
    figures = figures_of(emulator.ln_spectrum(theta), truth)
    figures |= {
        "band_median_worst": float(np.nanmedian(np.abs(bands), axis=0).max()),
        "band_median": float(np.nanmedian(np.abs(bands))),
    }
    manifest = {**emulator.manifest, "test": {**figures, "fingerprint": test.fingerprint}}
    out = dataclasses.replace(
        emulator,
        spectrum_error=_rms(difference),
        error_modes=_modes(difference),
        band_error=_rms(np.log1p(bands)),
        manifest=manifest,
    )
    return out, figures


def _rms(values):
    """Root mean square per column, over what is there; 1 where nothing is."""
    n = np.isfinite(values).sum(axis=0)
    total = np.nansum(np.clip(values, -1.0, 1.0) ** 2, axis=0)
    return np.where(n > 0, np.sqrt(total / np.maximum(n, 1)), 1.0)


def _modes(difference, n=24):
    """The leading modes of the covariance between columns, over what is there, (n, ncolumn)."""
    there = np.isfinite(difference).astype(float)
    filled = np.where(there > 0, np.clip(difference, -1.0, 1.0), 0.0)
    power, vectors = np.linalg.eigh(filled.T @ filled / np.maximum(there.T @ there, 1.0))
    modes = np.sqrt(np.maximum(power[::-1][:n], 0.0))[:, None] * vectors[:, ::-1][:, :n].T
    return modes.astype(np.float32)


def band_errors(emulator, theta, ln_true, matrix):
    """Emulated over computed photometry - 1, (n, nband), nan under 1e-4 of the peak."""
    truth = np.concatenate([ln_bands(part, matrix) for part in _parts(ln_true)])
    ratio = np.expm1(np.clip(emulator.ln_photometry(theta) - truth, -50.0, 50.0))
    peak = ln_true.max(axis=1, keepdims=True)
    return np.where(truth > peak + np.log(BRIGHT), ratio, np.nan)


def _parts(a, size=4096):
    return [a[i : i + size] for i in range(0, len(a), size)]


def summary(figures):
    """One sentence on what `measured` returns."""
    f = {k: 100.0 * v for k, v in figures.items() if k != "samples"}
    return (
        f"{figures['samples']} random models: mean error over wavelengths {f['mape_mean']:.3f} % "
        f"(median {f['mape_median']:.3f}, worst {f['mape_worst']:.2f}); above 1e-4 of the peak "
        f"median {f['linear_median']:.3f} %, 99 % under {f['linear_99']:.2f} %; bands: median "
        f"{f['band_median']:.3f} %, worst band's {f['band_median_worst']:.3f} %."
    )


class GridInterpolator:
    """Linear interpolation of ln(emission / U) in a grid, a `DustStore`, of log parameters."""

    def __init__(self, store):
        theta, ln = store.load()
        self.axes = store.recipe.axes
        self.table = ln - (np.log(10.0) * theta[:, :1]).astype("f4")

    def __call__(self, theta):
        """ln emission, shape (n, nwave), float32, at log10 parameters (n, 3)."""
        index, weight = mixture(self.axes, theta.T)
        out = (np.log(10.0) * theta[:, :1]).astype("f4")
        for i, w in zip(index.T, weight.T.astype("f4"), strict=True):
            out = out + w[:, None] * self.table[i]
        return out


def _timed(function, *args):
    began = time.process_time()
    out = function(*args)
    return out, time.process_time() - began


def time_engine(store, dust_folder, field_path, n=6):
    """CPU seconds that the engine needs for one radiation field of a store's resolution."""
    from .dust_grid import prepare

    engine, fields, _ = prepare(store.recipe, dust_folder, field_path)
    rng = np.random.default_rng(0)
    some = fields(10.0 ** rng.uniform(-2, 7, n), rng.uniform(6, 10, n))
    engine.grains(some[:1])
    weights = engine.size_weights(np.array([1e-7]))
    _, seconds = _timed(lambda: [weights @ g for g in engine.grains(some)])
    return seconds / n


def report(emulator, grid, test, dust_folder, field_path, filters, out):
    """Write ``report.json``, ``report.md`` and a figure into a folder; the page as text."""
    out = Path(out)
    check_writable(out / "report.md", overwrite=True)
    matrix, _ = bands_for(test.wave, filters)
    theta, truth = test.load()
    linear, t_linear = _timed(GridInterpolator(grid), theta)
    emulator.ln_spectrum(theta[:2048])
    emission, t_network = _timed(emulator.spectrum, *10.0**theta.T)
    network = np.log(emission)
    _, t_bands = _timed(emulator.photometry, *10.0**theta.T)
    t_field = time_engine(test, dust_folder, field_path)
    medians = np.nanmedian(np.abs(band_errors(emulator, theta, truth, matrix)), axis=0)
    rows = {
        "full computation": {"seconds": t_field * len(theta)},
        "linear interpolation": {**figures_of(linear, truth), "seconds": t_linear},
        "network": {**figures_of(network, truth), "seconds": t_network},
    }
    numbers = {
        "rows": rows,
        "seconds_photometry": t_bands,
        "seconds_per_field": t_field,
        "grid_hours": t_field * int(np.prod(grid.recipe.shape[:2])) / 3600.0,
        "band_medians": dict(zip(emulator.band_names, map(float, medians), strict=True)),
    }
    write_atomic(out / "report.json", json.dumps(numbers, indent=1).encode())
    figure = error_figure(emulator.wavelengths, theta, truth, network, linear)
    save_figure(figure, out / "dust-errors.png")
    keys = ("mape_mean", "mape_median", "mape_worst", "linear_median", "linear_99")
    head = "| | mean error (%) | median | worst | where bright: median | 99 % under | CPU s |"
    table = "\n".join(
        f"| {name} | {' | '.join(f'{100 * r[k]:.3f}' if k in r else '' for k in keys)} | "
        f"{r['seconds']:.3g} |"
        for name, r in rows.items()
    )
    worst = int(np.argmax(medians))
    text = (
        f"{len(theta)} random models, {emulator!r}.\n\n{head}\n{'|---' * 7}|\n{table}\n\n"
        f"Photometry, {medians.size} bands: median error {100 * np.median(medians):.3f} %, worst "
        f"band {emulator.band_names[worst]} {100 * medians[worst]:.3f} %; {t_bands:.3f} s. The "
        f"engine takes {t_field:.3f} s per radiation field, {numbers['grid_hours']:.2f} h for the "
        "grid.\n"
    )
    write_atomic(out / "report.md", text.encode())
    return text


def error_figure(wave, theta, truth, network, linear, bins=24, n=4):
    """Median and 95 % of each spectrum's mean error over each parameter; the worst spectra."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10.0, 7.0), layout="constrained")
    upper, lower = figure.subfigures(2, 1)
    axes, low = upper.subplots(1, 3, sharey=True), lower.subplots()
    measures = (("network", network, "tab:blue"), ("linear in the grid", linear, "tab:orange"))
    for label, predicted, colour in measures:
        mape = 100.0 * errors(predicted, truth)[0]
        for ax, name, x in zip(axes, PARAMETERS, theta.T, strict=True):
            edges = np.linspace(x.min(), x.max(), bins + 1)
            which = np.clip(np.digitize(x, edges) - 1, 0, bins - 1)
            seen = np.unique(which)
            levels = np.array([np.quantile(mape[which == i], (0.5, 0.95)) for i in seen])
            mid = (0.5 * (edges[1:] + edges[:-1]))[seen]
            ax.semilogy(mid, levels[:, 0], color=colour, label=f"{label}, median")
            ax.semilogy(mid, levels[:, 1], color=colour, ls=":", label=f"{label}, 95 %")
            ax.set_xlabel(_LABELS[name])
    axes[0].set_ylabel("Mean error of a spectrum (%)")
    axes[-1].legend(fontsize=8, frameon=False, loc="lower right")
    mape = errors(network, truth)[0]
    for k, i in enumerate(np.argsort(mape)[: -n - 1 : -1]):
        seen = truth[i] > truth[i].max() + np.log(SEEN)
        u, tau, a = theta[i]
        label = f"log U = {u:.2f}, log τ = {tau:.2f}, a$_{{min}}$ = {10**a:.2f} nm"
        error = 100 * np.expm1(network[i] - truth[i])[seen]
        low.semilogx(
            wave[seen], error, color=f"C{k}", lw=1, label=f"{label}: {100 * mape[i]:.2f} %"
        )
    low.axhline(0.0, color="0.6", lw=0.8)
    low.set(xlabel="Wavelength (μm)", ylabel="Error of the worst spectra (%)")
    low.legend(fontsize=8, frameon=False)
    return figure
