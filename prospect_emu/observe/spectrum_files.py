"""Observed spectra from files: wavelengths, fluxes, errors, masks and resolution with units.

Tables in any format of `read_table`; the ``SPEC1D`` table of NIRSpec spectra as msaexp and the
DAWN JWST Archive write them; the ``COADD`` table of SDSS spectra; `specutils` spectra. No unit
is guessed. Wavelengths come out in vacuum.
"""

import re
import warnings
from pathlib import Path

import numpy as np
from astropy import units as u
from astropy.io import fits

from ..cosmology import LIGHTSPEED_KMS
from ..errors import DataError
from .flux_units import JANSKY_PER_MAGGIE
from .pixels import observed_spectrum
from .table_files import flags, numbers, read_table, split_name

FWHM = 2.3548
ALIASES = {
    "wavelength": ("wavelength", "wave", "lambda", "lam", "wl", "wave_obs", "loglam"),
    "flux": ("flux", "fnu", "f_nu", "flam", "f_lambda", "flux_density", "spectrum"),
    "error": ("error", "err", "unc", "uncertainty", "sigma", "flux_err", "flux_error", "e_flux",
              "full_err", "ivar"),
    "use": ("use", "used", "good"),
    "resolution": ("r", "resolution", "dispersion", "sigma_v", "lsf"),
}  # fmt: skip
_UNITS = {
    "um": u.um, "micron": u.um, "microns": u.um, "angstrom": u.AA, "angstroms": u.AA,
    "ang": u.AA, "aa": u.AA, "a": u.AA,
}  # fmt: skip
# What SDSS's table holds, whose own texts are no units, and msaexp's where it names none.
_SDSS = {"flux": "1e-17 erg / (s cm2 AA)"}
_MSAEXP = {"wave": "um", "flux": "uJy", "err": "uJy"}
_SDSS_STEP = 1e-4  # dex
# Signal-to-noise ratios beyond which errors are hardly errors.
_SNR = 0.02, 1e4
# Below, wavelengths in air are those in vacuum.
_AIR_FROM = 2000.0


def read_spectrum(path, unit=None, wave_unit=None, air=None):
    """Read a spectrum.

    Parameters
    ----------
    path : path-like
        One row per pixel, with columns of wavelength, flux and error (or ``ivar``), see
        `ALIASES`; where a column ``use`` is false, the pixel is masked. A column ``R``
        (lambda over FWHM) or ``dispersion`` (km/s or Angstrom) is the line-spread function.
    unit, wave_unit : str, optional
        Of flux and wavelength where the file names none: f_nu or f_lambda, um or Angstrom.
    air : bool, optional
        Whether wavelengths are in air; by default what the file says, else vacuum.

    Returns
    -------
    dict
        Entries of an `obs`: ``wavelength`` (Angstrom, vacuum, increasing), ``spectrum``,
        ``unc`` (maggies), ``mask``, ``dispersion`` ((npix,) km/s, or None) and
        ``spectrum_notes``.

    Raises
    ------
    DataError
        If a column or unit is missing, wavelengths are not finite or do not increase, or no
        pixel is left.
    """
    known, part = {}, _part(path)
    if part == "COADD":
        known = _SDSS
    elif part == "SPEC1D":
        known = _MSAEXP
    table = read_table(f"{path}[{part}]" if part else path)
    columns = {role: _column(table, role, path) for role in ALIASES}
    for role in ("wavelength", "flux", "error"):
        if columns[role] is None:
            raise DataError(
                f"{path} has no column of the {role} (it has {', '.join(table.colnames)}); name it "
                f"{ALIASES[role][0]!r}."
            )
    wave = _wavelengths(table, columns["wavelength"], wave_unit, known, path)
    wave, notes = _in_vacuum(wave, air, table.meta, part == "COADD")
    text = _text(table, columns["flux"], known) or unit
    if not text:
        raise DataError(
            f"{path} does not say the unit of column {columns['flux']!r}; give the column a unit, "
            "write it into its name ('flux [uJy]'), or give the option --spectrum-unit."
        )
    factor = maggies_per_unit(text, wave, path)
    flux, error = numbers(table, columns["flux"], path), numbers(table, columns["error"], path)
    if columns["error"].lower() == "ivar":
        with np.errstate(divide="ignore", invalid="ignore"):
            error = np.where(error > 0.0, error**-0.5, np.nan)
        own = text
    else:
        own = _text(table, columns["error"], known) or text
    mask = np.ones(len(table), dtype=bool)
    if columns["use"]:
        mask = flags(table, columns["use"], path)
    if part == "COADD" and "and_mask" in table.colnames:
        mask &= np.asarray(table["and_mask"]) == 0
    dispersion = _own_resolution(table, columns["resolution"], wave, part == "COADD", path)
    error = error * maggies_per_unit(own, wave, path)
    return _checked(path, wave, flux * factor, error, mask, dispersion, notes)


def from_specutils(spectrum, air=False):
    """A `specutils` spectrum as `read_spectrum` gives one.

    Parameters
    ----------
    spectrum : specutils.Spectrum or Spectrum1D
        One-dimensional, with an uncertainty; its mask is true where a pixel is not used.
    air : bool
        Whether its wavelengths are in air.
    """
    what = "The spectrum"
    if spectrum.uncertainty is None:
        raise DataError(f"{what} has no uncertainty; give it a StdDevUncertainty.")
    wave = np.array(spectrum.spectral_axis.to_value(u.AA), dtype=float)
    flux = spectrum.flux
    if flux.ndim != 1:
        raise DataError(f"{what} has shape {flux.shape}; give one spectrum of one dimension.")
    power = {"std": 1.0, "var": 0.5, "ivar": -0.5}[spectrum.uncertainty.uncertainty_type]
    with np.errstate(divide="ignore", invalid="ignore"):
        error = np.array(spectrum.uncertainty.array, dtype=float) ** power
    unit = spectrum.uncertainty.unit
    unit = flux.unit if unit is None else unit**power
    wave, notes = _in_vacuum(wave, air, {}, False)
    factor = maggies_per_unit(flux.unit.to_string(), wave, what)
    mask = np.ones(wave.size, dtype=bool)
    if spectrum.mask is not None:
        mask = ~np.asarray(spectrum.mask, dtype=bool)
    order = slice(None, None, -1) if wave.size > 1 and wave[0] > wave[-1] else slice(None)
    error = error * maggies_per_unit(unit.to_string(), wave, what)
    values = (wave, np.array(flux.value) * factor, error, mask)
    return _checked(what, *(v[order] for v in values), None, notes)


def _checked(path, wave, flux, unc, mask, dispersion, notes):
    bad = ~np.isfinite(wave)
    if bad.any():
        raise DataError(
            f"{path}: {bad.sum()} wavelengths are not finite, the first in pixel "
            f"{np.flatnonzero(bad)[0]}; leave these pixels out."
        )
    wrong = np.flatnonzero(np.diff(wave) <= 0.0)
    if wrong.size:
        i = wrong[0]
        raise DataError(
            f"{path}: wavelengths do not increase from pixel {i} ({wave[i]:.2f} A) to {i + 1} "
            f"({wave[i + 1]:.2f} A); sort the spectrum and leave out repeated ones."
        )
    if wave.size and wave[0] <= 0.0:
        raise DataError(f"{path}: the first wavelength is {wave[0]:g} A; give positive ones.")
    obs = {"wavelength": wave, "spectrum": flux, "unc": unc, "mask": mask}
    wave, flux, unc, good = observed_spectrum(obs)
    lost = np.count_nonzero(mask & ~good)
    if lost:
        notes = [
            *notes,
            f"{lost} pixel{'s are' if lost > 1 else ' is'} masked: flux not finite, or error not "
            "positive.",
        ]
    snr = float(np.median(np.abs(flux[good]) / unc[good]))
    if not _SNR[0] < snr < _SNR[1]:
        notes = [
            *notes,
            f"The median signal-to-noise ratio of a pixel is {snr:.2g}: check that errors are "
            "standard deviations in the unit of the flux; inverse variances are a column ivar.",
        ]
    # Masked pixels are not read, but pass through Prospector's arithmetic.
    return {
        "wavelength": wave, "spectrum": np.where(good, flux, 0.0), "unc": np.where(good, unc, 1.0),
        "mask": good, "dispersion": dispersion, "spectrum_notes": notes,
    }  # fmt: skip


def _part(path):
    """The table of a FITS file of SDSS or msaexp."""
    if not re.search(r"\.fits?(\.gz)?$", str(path).lower()) or not Path(path).exists():
        return None
    try:
        with fits.open(path) as hdus:
            names = [hdu.name for hdu in hdus]
    except OSError:
        return None  # which read_table says better
    return next((n for n in ("SPEC1D", "COADD") if n in names), None)


def _column(table, role, path):
    found = [c for c in table.colnames if split_name(c)[0].lower() in ALIASES[role]]
    if role == "error" and len(found) > 1:
        # The first of the aliases: msaexp's err beside full_err, say.
        found.sort(key=lambda c: ALIASES["error"].index(split_name(c)[0].lower()))
    elif len(found) > 1:
        raise DataError(f"{path} has several columns of the {role}: {', '.join(found)}; keep one.")
    if role == "use" and any(c.lower() == "mask" for c in table.colnames):
        raise DataError(
            f"{path}: it is not clear whether column 'mask' is true where a pixel is used; rename "
            "it 'use', true for those that are."
        )
    return found[0] if found else None


def _text(table, column, known):
    own = table[column].unit
    return known.get(column) or split_name(column)[1] or (str(own) if own is not None else "")


def _wavelengths(table, column, given, known, path):
    values = numbers(table, column, path)
    if column.lower() == "loglam":
        return 10.0**values
    text = _text(table, column, known) or given
    if not text:
        raise DataError(
            f"{path} does not say the unit of column {column!r}; give the column a unit, write it "
            "into its name ('wavelength [um]'), or give the option --wave-unit."
        )
    try:
        unit = _UNITS.get(text.lower()) or u.Unit(text)
        return (values * unit).to_value(u.AA)
    except (u.UnitsError, ValueError, TypeError) as err:
        raise DataError(
            f"{path}: the unit {text!r} of column {column!r} is not a length; give um or Angstrom."
        ) from err


def maggies_per_unit(text, wave, path):
    """Maggies per unit of f_nu or f_lambda at wavelengths (npix,) in Angstrom.

    Raises
    ------
    DataError
        If the unit is unknown or no flux density.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", u.UnitsWarning)
            unit = u.mgy if text.lower() in ("maggies", "maggy") else u.Unit(text)
        if unit.is_equivalent(u.mgy):
            return np.full(wave.shape, unit.to(u.mgy))
        if not (unit.is_equivalent(u.Jy) or unit.is_equivalent("erg / (s cm2 AA)")):
            # nu F_nu, which astropy would convert, may as well be the flux of a line.
            raise u.UnitsError(text)
        return (np.ones(wave.shape) * unit).to_value(u.Jy, u.spectral_density(wave * u.AA)) / (
            JANSKY_PER_MAGGIE
        )
    except (u.UnitsError, ValueError, TypeError, AttributeError) as err:
        raise DataError(
            f"{path}: the flux unit {text!r} is not a flux density; use maggies ('mgy'), a "
            "multiple of jansky ('uJy') or 'erg/s/cm2/AA'."
        ) from err


def _in_vacuum(wave, air, meta, sdss):
    """Wavelengths in vacuum, and what was done."""
    said = {str(k).lower(): str(v).lower() for k, v in meta.items()}
    own = None
    if "airorvac" in said:
        own = said["airorvac"].startswith("air")
    elif "vacuum" in said:
        own = said["vacuum"] in ("false", "0", "f")
    if air is None and own is None and not sdss:
        return wave, [
            "Wavelengths are taken as in vacuum, since the file does not say; --air if not."
        ]
    if own if air is None else air:
        return air_to_vacuum(wave), ["Wavelengths were converted from air to vacuum."]
    return wave, []


def air_to_vacuum(wave):
    """Wavelengths in Angstrom, by the refractive index of Birch & Downs (1994) in Morton's form.

    `Morton (2000) <https://doi.org/10.1086/317349>`_, equation 8.
    """
    wave = np.asarray(wave, dtype=float)
    vacuum = wave
    for _ in range(4):
        s = (1e4 / vacuum) ** 2
        index = 1.0 + 8.34254e-5 + 2.406147e-2 / (130.0 - s) + 1.5998e-4 / (38.9 - s)
        vacuum = np.where(wave > _AIR_FROM, wave * index, wave)
    return vacuum


# ---- resolution -------------------------------------------------------------------------


def _own_resolution(table, column, wave, sdss, path):
    """Dispersion (npix,) in km/s that the table gives, or None."""
    if sdss and "wdisp" in table.colnames:
        return numbers(table, "wdisp", path) * _SDSS_STEP * np.log(10.0) * LIGHTSPEED_KMS
    if column is None:
        return None
    name, text = split_name(column)[0].lower(), _text(table, column, {})
    return _to_kms(numbers(table, column, path), name, text, wave, f"{path}: column {column!r}")


def _to_kms(values, name, text, wave, what):
    if name in ("r", "resolution") and not text:
        with np.errstate(divide="ignore"):
            kms = LIGHTSPEED_KMS / (FWHM * values)
    else:
        try:
            unit = _UNITS.get(text.lower()) or u.Unit(text)
            if unit.is_equivalent(u.AA):
                kms = (values * unit).to_value(u.AA) / wave * LIGHTSPEED_KMS
            else:
                kms = (values * unit).to_value(u.km / u.s)
        except (u.UnitsError, ValueError, TypeError) as err:
            raise DataError(
                f"{what} has {f'the unit {text!r}' if text else 'no unit'}; give R=... (lambda "
                "over FWHM), or a dispersion in km/s or Angstrom."
            ) from err
    if not (np.isfinite(kms) & (kms > 0.0)).all():
        raise DataError(f"{what} is not positive and finite everywhere; correct it.")
    if (kms > LIGHTSPEED_KMS).any():
        raise DataError(
            f"{what} is a dispersion of {kms.max():.3g} km/s, more than light's; check its unit."
        )
    return kms


def line_spread(given, wave):
    """Dispersion of the line-spread function, (npix,) km/s.

    Parameters
    ----------
    given : str or path-like
        ``R=100`` (lambda over FWHM), ``70km/s`` or ``2.5AA`` (dispersions), or a table of
        ``wavelength`` and ``R`` or ``dispersion``.
    wave : ndarray, shape (npix,)
        Angstrom.

    Raises
    ------
    DataError
        If it is none of these, or the table does not cover the pixels.
    """
    text = str(given).strip()
    match = re.fullmatch(r"(R\s*=\s*)?([\d.eE+-]+)\s*([a-zA-Z/]*)", text)
    if match and not Path(text).exists():
        name = "r" if match[1] else "dispersion"
        try:
            value = np.full(wave.shape, float(match[2]))
        except ValueError:
            value = None
        if value is not None:
            return _to_kms(value, name, match[3], wave, f"The resolution {text!r}")
    table = read_table(given)
    columns = {role: _column(table, role, given) for role in ("wavelength", "resolution")}
    if None in columns.values():
        raise DataError(
            f"{given} needs a column 'wavelength' and one of 'R' or 'dispersion'; it has "
            f"{', '.join(table.colnames)}."
        )
    at = _wavelengths(table, columns["wavelength"], None, {}, given)
    name, own = (
        split_name(columns["resolution"])[0].lower(),
        _text(table, columns["resolution"], {}),
    )
    values = numbers(table, columns["resolution"], given)
    kms = _to_kms(values, name, own, at, f"{given}: column {columns['resolution']!r}")
    if not (np.diff(at) > 0.0).all():
        raise DataError(f"{given}: wavelengths do not increase from row to row; sort the table.")
    if at[0] > wave[0] or at[-1] < wave[-1]:
        raise DataError(
            f"{given} covers {at[0]:.0f} to {at[-1]:.0f} A, but the pixels reach from "
            f"{wave[0]:.0f} to {wave[-1]:.0f} A; extend the table or cut the spectrum."
        )
    return np.interp(wave, at, kms)
