"""The 70 infrared bands of the dust emulator and the convention of each instrument.

An instrument measures ``S = int L_nu T dln(nu)``, T its signal per photon, and quotes the
monochromatic flux density at a reference wavelength of a source of assumed shape that gives
the same signal:

    L(band) = S / int [shape(nu) / shape(nu_ref)] T dln(nu)

A curve given as signal per energy is divided by the wavelength first.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from prospect_emu.errors import DataError, RangeError
from prospect_emu.observe.filters import curve_hash, load_filters
from prospect_emu.observe.photometry import FilterProjector

from .dust_fields import BOLTZMANN, C_MICRON, PLANCK

# Reference spectra that are powers of the frequency; the other is a blackbody of 10,000 K.
_POWERS = {"flat": 0.0, "nu^-1": 1.0, "nu^-2": 2.0}
# Number of power laws into which each interval of wavelengths is cut for the integrals.
PARTS = 6
# Outside these shares of its peak a curve is noise, or reaches beyond the emission's range.
_TRIM = 1e-3


@dataclass(frozen=True)
class Band:
    """A band and its convention.

    Attributes
    ----------
    name : str
    reference : float
        micron; 0 for the pivot wavelength of the curve.
    shape : str
        Of the reference spectrum: "flat" (F_nu constant, AB), "nu^-1" (nu F_nu constant),
        "nu^-2" or "10000 K".
    file : str, optional
        Curve in the folder of extra filters; default sedpy's of this name.
    per_energy : bool
        Whether the file gives signal per energy.
    """

    name: str
    reference: float
    shape: str
    file: str = ""
    per_energy: bool = False


def _series(names, references, shape, files=(), per_energy=False):
    files = files or [""] * len(names)
    columns = zip(names, references, files, strict=True)
    return tuple(Band(n, r, shape, f, per_energy) for n, r, f in columns)


_NIRCAM = "250m 277w 300m 322w2 335m 356w 360m 410m 430m 444w 460m 480m".split()
_MIRI = "560w 770w 1000w 1130w 1280w 1500w 1800w 2100w 2550w".split()
_IRC = {"N2": 2.4, "N3": 3.2, "N4": 4.1, "S7": 7.0, "S9W": 9.0, "S11": 11.0, "L15": 15.0,
        "L18W": 18.0, "L24": 24.0}  # fmt: skip
_FIS = {"N60": 65.0, "Wide-S": 90.0, "Wide-L": 140.0, "N160": 160.0}

BANDS = (
    *_series([f"spitzer_irac_ch{i}" for i in (1, 2, 3, 4)], (3.550, 4.493, 5.731, 7.872), "nu^-1"),
    *_series([f"spitzer_mips_{i}" for i in (24, 70, 160)], (23.68, 71.42, 155.9), "10000 K"),
    *_series(["spitzer_irs_16"], [15.8], "nu^-1"),
    *_series([f"wise_w{i}" for i in (1, 2, 3, 4)], (3.3526, 4.6028, 11.5608, 22.0883), "nu^-2"),
    *_series([f"herschel_pacs_{i}" for i in (70, 100, 160)], (70.0, 100.0, 160.0), "nu^-1"),
    *_series([f"herschel_spire_{i}" for i in (250, 350, 500)], (250.0, 350.0, 500.0), "nu^-1"),
    *_series([f"jwst_f{n}" for n in (*_NIRCAM, *_MIRI)], [0.0] * 21, "flat"),
    *_series([f"sofia_hawc_band{c}" for c in "ABCDE"], (53.0, 63.0, 89.0, 154.0, 214.0), "nu^-1"),
    *_series([f"spherex_band{i}" for i in (4, 5, 6)], [0.0] * 3, "flat"),
    *_series(["twomass_Ks"], [0.0], "flat"),
    *_series(
        [f"iras_{i}" for i in (12, 25, 60, 100)], (12.0, 25.0, 60.0, 100.0), "nu^-1",
        [f"IRAS_{i}.dat" for i in (12, 25, 60, 100)], per_energy=True,
    ),
    *_series([f"akari_irc_{n}" for n in _IRC], _IRC.values(), "nu^-1",
             [f"AKARI_{n}.dat" for n in _IRC]),
    *_series([f"akari_fis_{n}" for n in _FIS], _FIS.values(), "nu^-1",
             [f"AKARI_{n}.dat" for n in _FIS], per_energy=True),
    *_series(
        ["planck_857", "planck_545", "planck_353"],
        C_MICRON / 1e9 / np.array([857.0, 545.0, 353.0]),
        "nu^-1", ["Planck_350.dat", "Planck_550.dat", "Planck_850.dat"], per_energy=True,
    ),
    *_series(["scuba2_450", "scuba2_850"], (450.0, 850.0), "flat",
             ["SCUBA2_450.dat", "SCUBA2_850.dat"], per_energy=True),
)  # fmt: skip


@dataclass(frozen=True)
class Curve:
    """A transmission curve, with the names that `FilterProjector` and `curve_hash` use.

    Attributes
    ----------
    name : str
    wavelength : ndarray, shape (n,)
        Angstrom.
    transmission : ndarray, shape (n,)
        Signal per photon.
    """

    name: str
    wavelength: np.ndarray
    transmission: np.ndarray


def _read_curve(path):
    try:
        table = np.loadtxt(path, comments="#")
    except (OSError, ValueError) as err:
        raise DataError(
            f"{path} is not a transmission curve ({err}); it must hold two columns, Angstrom and "
            "response."
        ) from err
    if table.ndim != 2 or table.shape[1] != 2 or len(table) < 3 or not np.isfinite(table).all():
        raise DataError(f"{path} is not a transmission curve; it must hold two finite columns.")
    return table[np.argsort(table[:, 0], kind="stable")].T


def load_curve(band, extra_folder=None):
    """The curve of a `Band`, trimmed to where it exceeds a thousandth of its peak."""
    if band.file:
        if extra_folder is None:
            raise DataError(
                f"Band {band.name} needs {band.file}; pass the folder of extra filter curves."
            )
        wave, trans = _read_curve(Path(extra_folder) / band.file)
    else:
        filt = load_filters([band.name])[0]
        wave, trans = np.asarray(filt.wavelength, float), np.asarray(filt.transmission, float)
    wave, index = np.unique(wave, return_index=True)
    trans = np.maximum(trans[index], 0.0)
    if band.per_energy:
        trans = trans / wave
    used = np.flatnonzero(trans > _TRIM * trans.max())
    part = slice(max(used[0] - 1, 0), used[-1] + 2)
    wave, trans = wave[part], trans[part]
    ends = trans <= _TRIM * trans.max()
    return Curve(band.name, wave, np.where(ends, 0.0, trans) / trans.max())


def _log_grid(curve, n=20001):
    x = np.linspace(*np.log(curve.wavelength[[0, -1]]), n)
    return x, np.interp(np.exp(x), curve.wavelength, curve.transmission)


def pivot(curve):
    """Pivot wavelength in micron: ``sqrt(int T l dln(l) / int T / l dln(l))``."""
    x, t = _log_grid(curve)
    return 1e-4 * np.sqrt(np.trapezoid(t * np.exp(x), x) / np.trapezoid(t * np.exp(-x), x))


def colour_factor(curve, reference, shape):
    """``int T dln(nu) / int [shape / shape(ref)] T dln(nu)`` of a curve."""
    x, t = _log_grid(curve)
    ratio = np.exp(x) * 1e-4 / reference  # wavelength over reference
    if shape == "10000 K":
        k = PLANCK * C_MICRON / (BOLTZMANN * 1e4 * reference)
        assumed = ratio**-3.0 * np.expm1(k) / np.expm1(k / ratio)
    else:
        assumed = ratio ** _POWERS[shape]
    return np.trapezoid(t, x) / np.trapezoid(t * assumed, x)


def finer(values, parts=PARTS):
    """Values at nodes and at `parts` - 1 points between, linear there, along the last axis.

    ln(emission) and ln(wavelength) are taken so: between nodes the emission is a power law.
    Far from the peak it is steep, and taken as linear itself would be 0.3 % too bright.

    Parameters
    ----------
    values : ndarray, shape (..., n)

    Returns
    -------
    ndarray, shape (..., parts (n - 1) + 1)
    """
    share = np.arange(parts) / parts
    left, right = values[..., :-1, None], values[..., 1:, None]
    inner = ((1.0 - share) * left + share * right).reshape(*values.shape[:-1], -1)
    return np.concatenate([inner, values[..., -1:]], axis=-1)


def ln_bands(ln_emission, matrix):
    """ln of the emission in bands of ln spectra.

    Parameters
    ----------
    ln_emission : ndarray, shape (n, nwave)
    matrix : ndarray, shape (nband, parts (nwave - 1) + 1)
        `band_matrix` of `finer` wavelengths.

    Returns
    -------
    ndarray, shape (n, nband)
    """
    parts = (matrix.shape[1] - 1) // (ln_emission.shape[1] - 1)
    peak = ln_emission.max(axis=1, keepdims=True)
    return np.log(np.exp(finer((ln_emission - peak).astype(float), parts)) @ matrix.T) + peak


def bands_for(wave, extra_folder):
    """`band_matrix` for `ln_bands` of spectra at these wavelengths (micron)."""
    return band_matrix(np.exp(finer(np.log(wave))), extra_folder)


def band_matrix(wave, extra_folder=None, bands=BANDS):
    """Weights from a spectrum to the bands.

    The spectrum is linear in ln(wavelength) between its nodes; the integrals are exact for
    that, by `FilterProjector`.

    Parameters
    ----------
    wave : ndarray, shape (nwave,)
        micron.
    extra_folder : path-like
        Curves that sedpy lacks.
    bands : sequence of Band

    Returns
    -------
    matrix : ndarray, shape (nband, nwave)
    described : list of dict
        Per band: name, reference wavelength (micron), shape, hash of the curve.

    Raises
    ------
    RangeError
        If a band reaches beyond the wavelengths.
    """
    curves = [load_curve(b, extra_folder) for b in bands]
    low, high = wave[0] * 1e4, wave[-1] * 1e4
    for c in curves:
        if c.wavelength[0] < low or c.wavelength[-1] > high:
            raise RangeError(
                f"Band {c.name} spans {c.wavelength[0] / 1e4:.4g}-{c.wavelength[-1] / 1e4:.4g} "
                f"micron, the spectrum {wave[0]:.4g}-{wave[-1]:.4g}."
            )
    # One at a time: curves that touch share a node, which a joint projector divides by.
    rows = [FilterProjector([c], np.asarray(wave) * 1e4).matrix(0.0)[0] for c in curves]
    matrix = np.array(rows)
    described = []
    for row, band, curve in zip(matrix, bands, curves, strict=True):
        reference = float(band.reference or pivot(curve))
        row *= colour_factor(curve, reference, band.shape)
        described.append({
            "name": band.name,
            "reference": reference,
            "shape": band.shape,
            "hash": curve_hash(curve),
        })  # fmt: skip
    return matrix, described
