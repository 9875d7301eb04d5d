"""Photometry tables: one row per band in, an `obs` dictionary for Prospector out.

A table has the columns ``band``, ``flux`` and ``error`` (aliases in `ALIASES`),
in any format that `read_table` reads; ``use`` and ``upper_limit`` may say which bands are
fitted, and which fluxes are limits. The unit of the flux is never guessed: it comes from the
column's unit, from brackets in the column's name (``flux [uJy]``) or from the
caller.
"""

import csv
import io
import warnings
from pathlib import Path

import numpy as np
from astropy import units as u
from astropy.table import Table

from ..errors import DataError
from ..files import write_atomic
from .filters import load_filters
from .observation import filter_list, plain_flags, plain_fluxes
from .table_files import flags, numbers, read_table, split_name

# Prospector and sedpy take 1 maggie = 3631 Jy. The AB zeropoint is 3630.78 Jy,
# 6e-5 less; magnitudes are turned into maggies without passing through Jy.
JANSKY_PER_MAGGIE = 3631.0

ALIASES = {
    "band": ("band", "bands", "filter", "filters", "filtername"),
    "flux": ("flux", "fluxes", "fnu", "mag", "magnitude"),
    "error": (
        "error", "err", "unc", "uncertainty", "sigma", "flux_error", "flux_err", "fluxerr",
        "flux_unc", "e_flux", "mag_error", "mag_err", "magerr", "e_mag",
    ),
}  # fmt: skip
FLAGS = {
    "use": ("use", "used", "use_band", "fit_band"),
    "upper_limit": ("upper_limit", "upper_limits", "upperlimit", "uplim", "is_limit", "limit"),
}
_AMBIGUOUS = (
    "mask",
    "masked",
    "phot_mask",
)  # true may mean that a band is fitted, or that it is not
REDSHIFT_KEYS = ("zred", "redshift", "z")

# Names of units beyond those astropy knows.
_MAG_NAMES = ("mag", "mag(ab)", "abmag", "ab mag", "mag_ab")
_MAGGY_NAMES = {"maggies": 1.0, "maggy": 1.0, "maggie": 1.0, "nanomaggies": 1e-9}
# Catalogs write 99 or -99 for "no magnitude"; no source has such a magnitude.
_ABSURD_MAG = 50.0
# What they write for "no flux".
_NINES = (98.99, 99.0, 99.9, 99.99, 99.999, 999.0, 999.9, 999.99, 9999.0, 9999.9, 99999.0)
PLACEHOLDERS = np.array([*_NINES, *(-x for x in _NINES)])


def flux_unit(text):
    """What a flux unit means.

    Parameters
    ----------
    text : str
        ``mgy``, ``maggies``, ``nmgy``; ``Jy``, ``uJy``, or anything astropy
        converts to Jy; ``mag``, ``mag(AB)`` or ``ABmag`` (all AB).

    Returns
    -------
    float or None
        Maggies per unit; None for AB magnitudes.

    Raises
    ------
    DataError
        If the unit is empty or none of these.
    """
    text = str(text or "").strip()
    if text.lower() in _MAG_NAMES:
        return None
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
    raise DataError(
        f"The flux unit {text!r} is unknown; use maggies ('mgy'), a multiple of jansky ('uJy') or "
        "AB magnitudes ('mag')."
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


def columns_to_maggies(table, flux, error, unit, path, option):
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
    if unit and flux_text and flux_unit(flux_text) != flux_unit(unit):
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
    factors = flux_unit(flux_text), flux_unit(error_text)
    if (factors[0] is None) != (factors[1] is None):
        raise DataError(
            f"{path} gives {flux!r} in {flux_text!r} and {error!r} in {error_text!r}; either both "
            "or neither must be magnitudes."
        )
    values = (numbers(table, name, path) for name in (flux, error))
    return *to_maggies(*values, *factors), flux_text


def apply_floor(maggies, unc, floor):
    """Errors with a fraction `floor` of the flux added in quadrature.

    Raises
    ------
    DataError
        If `floor` is not in [0, 1).
    """
    if not (np.isfinite(floor) and 0 <= floor < 1):
        raise DataError(f"The error floor {floor!r} is not a fraction; give a number like 0.05.")
    return np.hypot(unc, floor * np.abs(maggies))


def usable(names, maggies, unc):
    """Which bands can be fitted, and a sentence for each that cannot.

    Returns
    -------
    mask : ndarray of bool, shape (nband,)
        False where the flux is not finite or the error is not a positive number.
    notes : list of str
    """
    mask = np.ones(len(names), dtype=bool)
    notes = []
    for i, name in enumerate(names):
        if not np.isfinite(maggies[i]):
            notes.append(
                f"{name} is masked: it has no flux (not a number, or a placeholder such as -99)."
            )
        elif not (np.isfinite(unc[i]) and unc[i] > 0):
            notes.append(f"{name} is masked: its error is not a positive number.")
        else:
            continue
        mask[i] = False
    return mask, notes


def make_obs(bands, maggies, unc, zred, error_floor=0.05, mask=None, notes=(), **more):
    """The `obs` dictionary of photometry in maggies.

    Parameters
    ----------
    bands : sequence of str or of sedpy.observate.Filter
        Names are loaded with `prospect_emu.observe.filters.load_filters`.
    maggies, unc : array_like, shape (nband,)
        Fluxes and catalog errors. A masked value masks its band; a Quantity is converted.
    zred : float
    error_floor : float
        Fraction of the flux added to the error in quadrature.
    mask : array_like of bool, optional
        False masks a band, beyond those that `usable` masks.
    notes : sequence of str
        What to tell the user; notes on masked bands are added.
    **more
        Further entries.

    Returns
    -------
    dict
        ``filters``, ``maggies``, ``maggies_unc`` (with the floor),
        ``maggies_unc_catalog`` (without), ``phot_mask``, ``zred``,
        ``error_floor``, ``notes``, the `more` entries, and None for the
        spectroscopic keys.

    Raises
    ------
    DataError
        If a band appears twice, all are masked, or the redshift is no positive number.
    FilterError
        If a filter is unknown.
    """
    names = [getattr(band, "name", band) for band in bands]
    twice = sorted({n for n in names if names.count(n) > 1})
    if twice:
        raise DataError(
            f"The photometry has more than one row for {', '.join(twice)}; combine or remove them."
        )
    filters = load_filters(names) if names == list(bands) else list(bands)
    maggies, unc = plain_fluxes(maggies, "maggies"), plain_fluxes(unc, "unc")
    if not maggies.shape == unc.shape == (len(names),):
        raise DataError(
            f"{len(names)} bands come with fluxes of shape {maggies.shape} and errors of shape "
            f"{unc.shape}; give one of each per band."
        )
    good, said = usable(names, maggies, unc)
    if mask is not None:
        good &= plain_flags(mask, "mask", maggies.shape, "the band is used")
    if not good.any():
        raise DataError(
            "All bands are masked: none has both a finite flux and a positive error"
            f"{' that the rules admit' if mask is not None else ''}; correct the photometry."
        )
    return {
        "filters": filters,
        "maggies": maggies,
        "maggies_unc": apply_floor(maggies, unc, error_floor),
        "maggies_unc_catalog": unc,
        "phot_mask": good,
        "wavelength": None,
        "spectrum": None,
        "unc": None,
        "zred": _redshift(zred),
        "error_floor": float(error_floor),
        "notes": [*notes, *said],
        **more,
    }


def read_photometry(path, zred=None, unit=None, error_floor=0.05):
    """Read a photometry table.

    Parameters
    ----------
    path : path-like
        See `prospect_emu.observe.table_files.read_table`; one row per band. Where a column
        ``use`` is false, the band is masked; where ``upper_limit`` is true, the flux is a limit,
        and its error the width of its edge.
    zred : float, optional
        Redshift; by default the table's metadata (``zred``, ``redshift`` or ``z``).
    unit : str, optional
        Unit of flux and error for a table that names none, see `flux_unit`.
        An error column without a unit of its own has the flux's.
    error_floor : float
        Fraction of the flux added to the error in quadrature.

    Returns
    -------
    dict
        See `make_obs`; also ``table`` (the file's name), ``flux_unit``, ``upper_limits`` where
        the table has them and, from metadata ``truth: {parameter: value}``, ``truth``. ``notes``
        names the columns that are not used.

    Raises
    ------
    DataError
        If the file cannot be read, a column, the unit or the redshift is
        missing, a band appears twice, or nothing is left unmasked.
    FilterError
        If a filter is unknown.
    """
    table = read_table(path)
    columns = {role: _find_column(table, role, path) for role in ALIASES}
    names = [str(v).strip() for v in table[columns["band"]]]
    maggies, unc, text = columns_to_maggies(
        table, columns["flux"], columns["error"], unit, path, "the option --unit"
    )
    notes, mask, more = [], None, {"table": Path(path).name, "flux_unit": text}
    given = {role: _find_flags(table, role, path) for role in FLAGS}
    if given["use"]:
        mask = flags(table, given["use"], path)
        notes += [f"{n} is masked: {given['use']} is false." for n in np.array(names)[~mask]]
    if given["upper_limit"]:
        more["upper_limits"] = flags(table, given["upper_limit"], path)
    unused = set(table.colnames) - {*columns.values(), *given.values()}
    if unused:
        notes.append(f"Columns that are not used: {', '.join(sorted(unused))}.")

    meta = {str(k).lower(): v for k, v in table.meta.items()}
    if zred is None:
        given = [meta[k] for k in REDSHIFT_KEYS if k in meta]
        if not given:
            raise DataError(f"{path} holds no redshift; add 'zred' to its metadata or pass --zred.")
        zred = given[0]
    if meta.get("truth"):
        more["truth"] = _truth(meta["truth"], path)
    return make_obs(names, maggies, unc, zred, error_floor, mask, notes, **more)


def photometry_table(obs):
    """The photometry of an `obs` as a table that `read_photometry` reads back.

    Returns
    -------
    astropy.table.Table
        ``band``, ``flux`` and ``error`` in maggies, the errors those before any
        floor where the obs holds them; fluxes of masked bands are NaN; ``upper_limit`` where
        the obs has limits.
        Metadata: ``zred`` and ``truth``.
    """
    mask = np.asarray(obs.get("phot_mask", np.ones(len(obs["maggies"]), dtype=bool)))
    error = obs.get("maggies_unc_catalog", obs["maggies_unc"])
    table = Table(
        {
            "band": [f.name for f in filter_list(obs["filters"])],
            "flux": np.where(mask, obs["maggies"], np.nan) * u.mgy,
            "error": np.array(error, dtype=float) * u.mgy,
        }
    )
    if obs.get("upper_limits") is not None:
        table["upper_limit"] = plain_flags(
            obs["upper_limits"], "upper_limits", mask.shape, "maggies is an upper limit"
        )
    table.meta = {k: obs[k] for k in ("zred", "truth") if k in obs}
    return table


def write_table(table, path):
    """Write a table as ECSV, atomically; it reads back exactly."""

    def write(file):
        text = io.TextIOWrapper(file, "utf-8", newline="")
        columns = table.columns.values()
        if any(c.ndim > 1 or c.dtype.kind not in "biufU" or hasattr(c, "mask") for c in columns):
            table.write(text, format="ascii.ecsv")
        else:
            # The same text as astropy's; many rows in a tenth of its time and memory.
            table[:0].write(text, format="ascii.ecsv")
            out = csv.writer(text, delimiter=" ", lineterminator="\n", quoting=csv.QUOTE_NONNUMERIC)
            for start in range(0, len(table), 1000):
                some = (c[start : start + 1000].tolist() for c in columns)
                out.writerows(zip(*some, strict=True))
        text.flush()
        text.detach()

    write_atomic(path, write)


def _find_column(table, role, path):
    found = [c for c in table.colnames if split_name(c)[0].lower() in ALIASES[role]]
    if len(found) == 1:
        return found[0]
    problem = f"{len(found)} columns for the {role}: {', '.join(found)}" if found else None
    raise DataError(
        f"{path} has {problem or f'no column for the {role}'} (columns: "
        f"{', '.join(table.colnames)}); name one of them {role!r}."
    )


def _find_flags(table, role, path):
    """The column of flags of this kind; None without one."""
    lower = {c.strip().lower(): c for c in table.colnames}
    for name in _AMBIGUOUS:
        if name in lower:
            raise DataError(
                f"{path}: whether {lower[name]!r} is true where a band is fitted, or where it is "
                "not, cannot be known; call it 'use' if it is true for bands to fit, or remove it."
            )
    found = [lower[name] for name in FLAGS[role] if name in lower]
    if len(found) > 1:
        raise DataError(f"{path} has the columns {', '.join(found)}; keep one of them.")
    return found[0] if found else None


def _column_unit(table, column, path):
    """Unit of a column as text, '' without one."""
    in_name = split_name(column)[1]
    unit = table[column].unit
    own = "" if unit is None else unit.to_string()
    if own and in_name and flux_unit(own) != flux_unit(in_name):
        raise DataError(f"{path}: column {column!r} has the unit {own!r}; correct one of the two.")
    return own or in_name


def _redshift(value):
    try:
        zred = float(value)
    except (TypeError, ValueError):
        zred = np.nan
    if not (np.isfinite(zred) and zred > 0):
        raise DataError(f"The redshift {value!r} is not a positive number; pass another (--zred).")
    return zred


def _truth(truth, path):
    if not isinstance(truth, dict):
        raise DataError(f"{path}: the metadata 'truth' is no mapping of parameters to values.")
    try:
        return {k: float(v) for k, v in truth.items()}
    except (TypeError, ValueError) as err:
        raise DataError(f"{path}: a value of 'truth' is no number ({_one_line(err)}).") from err


def _one_line(err):
    text = str(err).strip().splitlines()
    return text[0][:120] if text else type(err).__name__
