"""Units of tabulated fluxes, and what catalogs write for a missing one."""

import re
import warnings

import numpy as np
from astropy import units as u

from ..errors import DataError
from .table_files import numbers, split_name, unit_text

# Prospector and sedpy take 1 maggie = 3631 Jy. The AB zeropoint is 3630.78 Jy,
# 6e-5 less; magnitudes are turned into maggies without passing through Jy.
JANSKY_PER_MAGGIE = 3631.0
# Names of units beyond those astropy knows.
_MAG_NAMES = ("mag", "mag(ab)", "abmag", "ab mag", "mag_ab")
_VEGA_NAMES = ("mag(vega)", "vegamag", "vega mag", "mag_vega")
_MAGGY_NAMES = {"maggies": 1.0, "maggy": 1.0, "maggie": 1.0, "nanomaggies": 1e-9}
# FITS files in capitals; of these no other unit is meant.
_CASES = {
    "jy": "Jy", "ujy": "uJy", "njy": "nJy", "nmgy": "nmgy", "mujy": "uJy",
    "microjy": "uJy", "microjansky": "uJy", "nanojy": "nJy", "nanojansky": "nJy",
}  # fmt: skip
# Catalogs write 99 or -99 for "no magnitude"; no source has such a magnitude.
_ABSURD_MAG = 50.0
# What they write for "no flux".
_NINES = (98.99, 99.0, 99.9, 99.99, 99.999, 999.0, 999.9, 999.99, 9999.0, 9999.9, 99999.0)
PLACEHOLDERS = np.array([*_NINES, *(-x for x in _NINES)])


def flux_unit(text, filters=None):
    """What a flux unit means.

    Parameters
    ----------
    text : str
        ``mgy``, ``maggies``, ``nmgy``; ``Jy``, ``uJy``, or anything astropy
        converts to Jy; ``zp 28.9``, AB 28.9 for a flux of 1; ``mag``, ``mag(AB)`` or ``ABmag``
        (all AB); ``mag(Vega)``; ``erg/s/cm2/AA`` or anything astropy converts to it.
    filters : sequence of sedpy.observate.Filter, optional
        Whose fluxes they are: those per wavelength become fluxes per frequency at the pivot
        wavelength.

    Returns
    -------
    float, ndarray of shape (nfilter,) or None
        Maggies per unit; None for magnitudes.

    Raises
    ------
    DataError
        If the unit is empty or none of these.
    """
    text = str(text or "").strip()
    text = _CASES.get(text.lower(), text)
    if text.lower() in (*_MAG_NAMES, *_VEGA_NAMES):
        return None
    zero = re.fullmatch(r"(?:zp|zeropoint)[ =]\s*(\d+(?:\.\d*)?)", text.lower())
    if zero:
        return 10.0 ** (-0.4 * float(zero[1]))
    if text.lower() in _MAGGY_NAMES:
        return _MAGGY_NAMES[text.lower()]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", u.UnitsWarning)  # about style ("a/b/c")
            unit = u.Unit(text)
    except (ValueError, TypeError):
        unit = None
    # Logarithmic units, dex(Jy) for one, are no UnitBase; "AB" is 3631 Jy to
    # astropy and most likely a magnitude to whoever wrote it.
    if isinstance(unit, u.UnitBase) and text.upper() != "AB":
        if unit.is_equivalent(u.mgy):
            return unit.to(u.mgy)
        if unit.is_equivalent(u.Jy):
            return unit.to(u.Jy) / JANSKY_PER_MAGGIE
        if unit.is_equivalent(u.Unit("W m-3")):
            pivot = np.array([f.wave_pivot for f in filters or ()]) * u.AA
            return unit.to(u.Jy, equivalencies=u.spectral_density(pivot)) / JANSKY_PER_MAGGIE
    raise DataError(
        f"The flux unit {text!r} is unknown; use maggies ('mgy'), a multiple of jansky ('uJy'), "
        "a zero point ('zp 25'), magnitudes ('mag', 'mag(Vega)') or 'erg/s/cm2/AA'."
    )


def to_maggies(flux, error, flux_factor, error_factor):
    """Fluxes and errors in maggies.

    Parameters
    ----------
    flux, error : ndarray, shape (nband,)
    flux_factor, error_factor : float or None
        As `flux_unit` returns; either both or none are None (magnitudes).

    Returns
    -------
    maggies, maggies_unc : ndarray, shape (nband,)
        Of a magnitude m: ``10**(-0.4 m)`` and, to first order,
        ``0.4 ln(10) maggies sigma_m``. NaN where catalogs write a placeholder for a missing
        value: magnitudes of exactly 0 or beyond 50, errors beyond 50 mag, fluxes in
        `PLACEHOLDERS` (99, -99.9, ...).
    """
    if flux_factor is None:
        with np.errstate(over="ignore"):
            known = (np.abs(flux) < _ABSURD_MAG) & (flux != 0.0)
            maggies = np.where(known, 10.0 ** (-0.4 * flux), np.nan)
        error = np.where(np.abs(error) < _ABSURD_MAG, error, np.nan)
        return maggies, 0.4 * np.log(10.0) * maggies * error
    # In single precision, -99.9 is another number.
    missing = np.isclose(np.asarray(flux)[..., None], PLACEHOLDERS, rtol=1e-6, atol=0.0).any(-1)
    return np.where(missing, np.nan, flux) * flux_factor, error * error_factor


def columns_to_maggies(table, flux, error, unit, path, option, filters=None, missing=()):
    """Two columns of a table in maggies.

    Parameters
    ----------
    table : astropy.table.Table
    flux, error : str
        Columns. Without a unit of its own, an error has its flux's.
    unit : str or None
        For a flux column without a unit.
    path : path-like
        For messages.
    option : str
        What gives `unit`, for messages.
    filters : sequence of sedpy.observate.Filter, optional
        One for all rows or one for each; needed for units per wavelength and Vega magnitudes.
    missing : sequence of float
        What stands for a missing value.

    Returns
    -------
    maggies, unc : ndarray, shape (n,)
        See `to_maggies`.
    str
        The flux's unit.

    Raises
    ------
    DataError
        If a unit is missing or contradicts `unit`, one of flux and error is a magnitude and the
        other is not, or a column does not hold numbers.
    """
    flux_text, error_text = (_column_unit(table, name, path) for name in (flux, error))
    if unit and flux_text and not _same(flux_text, unit, filters):
        raise DataError(
            f"{path} gives the flux in {flux_text!r} but the unit {unit!r} was asked for; leave "
            f"{option} out, or correct the unit of column {flux!r}."
        )
    flux_text = flux_text or unit
    if not flux_text:
        raise DataError(
            f"{path} does not say the unit of column {flux!r}; give the column a unit, write it "
            f"into its name ('flux [uJy]'), or give {option}."
        )
    error_text = error_text or flux_text
    factors = flux_unit(flux_text, filters), flux_unit(error_text, filters)
    if (factors[0] is None) != (factors[1] is None):
        raise DataError(
            f"{path} gives {flux!r} in {flux_text!r} and {error!r} in {error_text!r}; either both "
            "or neither must be magnitudes."
        )
    values = [numbers(table, name, path) for name in (flux, error)]
    for value in values:
        value[np.isin(value, missing)] = np.nan
    maggies, unc = to_maggies(*values, *factors)
    if flux_text.lower() in _VEGA_NAMES:
        # In sedpy's ab_to_vega, what is added to AB gives Vega.
        vega = 10.0 ** (0.4 * np.array([f.ab_to_vega for f in filters]))
        maggies, unc = maggies * vega, unc * vega
    return maggies, unc, flux_text


def _same(one, other, filters=None):
    """Whether two units mean the same."""
    if (one.lower() in _VEGA_NAMES) != (other.lower() in _VEGA_NAMES):
        return False
    a, b = flux_unit(one, filters), flux_unit(other, filters)
    return a is b is None if a is None or b is None else np.array_equal(a, b)


def _column_unit(table, column, path):
    """Unit of a column as text, '' without one."""
    in_name = split_name(column)[1]
    own = unit_text(table[column])
    if own and in_name and not _same(own, in_name):
        raise DataError(f"{path}: column {column!r} has the unit {own!r}; correct one of the two.")
    return own or in_name
