"""Figures of dust emission: spectra with photometry, and the corner plot of an inversion."""

import numpy as np
from matplotlib.figure import Figure

from .dust_emulator import UNITS

_SHOWN = 8  # curves that get a label
_LABELS = ("log U", "log τ / yr", "log a$_{min}$ / nm")


def spectrum_figure(wavelengths, emission, models, unit, points=None):
    """Emission over wavelength.

    Parameters
    ----------
    wavelengths : ndarray, shape (nwave,)
        micron.
    emission : ndarray, shape (n, nwave)
    models : sequence of three ndarray, shape (n,)
        U, tau and a_min.
    unit : str
    points : tuple, optional
        Wavelengths (nband,) and photometry (n, nband).
    """
    figure = Figure(figsize=(7.5, 4.8), layout="constrained")
    ax = figure.add_subplot()
    for i, row in enumerate(emission):
        values = [f"{m[i]:.3g} {x}".strip() for m, x in zip(models, UNITS, strict=True)]
        label = "U = {}, τ = {}, a$_{{min}}$ = {}".format(*values) if i < _SHOWN else None
        line = ax.loglog(wavelengths, row, lw=1.2, label=label)[0]
        if points is not None:
            ax.loglog(points[0], points[1][i], "o", ms=4, color=line.get_color())
    top = emission.max()
    ax.set_ylim(1e-6 * top if len(emission) > 1 else 1e-5 * top, 3.0 * top)
    ax.set_xlim(wavelengths[0], wavelengths[-1])
    ax.set_xlabel("Wavelength (μm)")
    ax.set_ylabel("F$_ν$ (Jy)" if unit == "Jy" else "L$_ν$ per dust mass (W/Hz/kg)")
    ax.legend(fontsize=8, frameon=False)
    return figure


def corner_figure(posterior, truth=None):
    """Corner plot of a `DustPosterior`.

    Parameters
    ----------
    posterior : DustPosterior
    truth : array_like, shape (3,), optional
        log10 parameters to mark.
    """
    import corner

    columns, labels, marks = [posterior.samples], list(_LABELS), truth
    if np.ptp(posterior.log_mass) > 0:
        columns.append(posterior.log_mass[:, None])
        labels.append("log mass factor")
        marks = None if truth is None else [*truth, None]
    data = np.concatenate(columns, axis=1)
    figure = Figure(figsize=(2.3 * len(labels), 2.3 * len(labels)))
    corner.corner(
        data, labels=labels, truths=marks, fig=figure, show_titles=True, title_fmt=".3f",
        title_kwargs={"fontsize": 9}, label_kwargs={"fontsize": 10}, quantiles=(0.16, 0.5, 0.84),
        bins=25, smooth=0.8, truth_color="tab:red",
    )  # fmt: skip
    return figure
