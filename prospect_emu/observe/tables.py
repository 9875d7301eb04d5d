"""Photometry tables: one row per band in, an `obs` dictionary for Prospector out.

A table has the columns ``band``, ``flux`` and ``error`` (aliases in `ALIASES`),
in any format that `read_table` reads; ``use`` and ``upper_limit`` may say which bands are
fitted, and which fluxes are limits. The unit of the flux is never guessed: it comes from the
column's unit, from brackets in the column's name (``flux [uJy]``) or from the
caller.
"""

import os
from numbers import Real
from pathlib import Path

import numpy as np
from astropy import units as u
from astropy.table import Table

from ..errors import DataError
from .filters import load_filters
from .flux_units import JANSKY_PER_MAGGIE, columns_to_maggies  # noqa: F401
from .observation import filter_list, photometry, plain_flags, plain_fluxes
from .table_files import flags, missing, read_table, split_name, table_of, write_table  # noqa: F401

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


def apply_floor(maggies, unc, floor):
    """Errors with a fraction `floor` of the flux added in quadrature.

    Raises
    ------
    DataError
        If `floor` is not in [0, 1).
    """
    if not (isinstance(floor, Real) and 0 <= floor < 1):
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
    zred : float or "free"
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
        ``maggies_unc_catalog`` (without), ``phot_mask``, ``zred`` (None if free),
        ``error_floor``, ``notes``, the `more` entries, and None for the
        spectroscopic keys.

    Raises
    ------
    DataError
        If a band appears twice, all are masked, or the redshift is not a positive number.
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
        "zred": None if isinstance(zred, str) and zred == "free" else _redshift(zred),
        "error_floor": float(error_floor),
        "notes": [*notes, *said],
        **more,
    }


def read_photometry(path, zred=None, unit=None, error_floor=0.05):
    """Read a photometry table.

    Parameters
    ----------
    path : path-like, Table, DataFrame or dict
        See `prospect_emu.observe.table_files.read_table`; one row per band. Where a column
        ``use`` is false, the band is masked; where ``upper_limit`` is true, the flux is a limit,
        and its error the width of its edge.
    zred : float or "free", optional
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
    if isinstance(path, str | os.PathLike):
        table = read_table(path)
    else:
        table, path = table_of(path), "The table"
    columns = {role: _find_column(table, role, path) for role in ALIASES}
    nameless = np.flatnonzero(missing(table[columns["band"]]))
    if nameless.size:
        raise DataError(f"{path}: row {nameless[0] + 1} names no band; name it or remove the row.")
    names = [str(v).strip() for v in table[columns["band"]]]
    maggies, unc, text = columns_to_maggies(
        table, columns["flux"], columns["error"], unit, path, "the option --unit",
        load_filters(names),
    )  # fmt: skip
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
        given = {k: meta[k] for k in REDSHIFT_KEYS if k in meta}
        if not given:
            raise DataError(
                f"{path} holds no redshift; add 'zred' to its metadata, pass --zred, or fit it: "
                "--zred free."
            )
        zred = next(iter(given.values()))
        if len({str(z) for z in given.values()}) > 1:
            said = ", ".join(f"{k} = {z}" for k, z in given.items())
            raise DataError(f"The metadata of {path} holds {said}; keep one, or pass --zred.")
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
    flux, _, mask = photometry(obs)
    error = plain_fluxes(obs.get("maggies_unc_catalog", obs["maggies_unc"]), "maggies_unc of obs")
    table = Table(
        {
            "band": [f.name for f in filter_list(obs["filters"])],
            "flux": np.where(mask, flux, np.nan) * u.mgy,
            "error": error * u.mgy,
        }
    )
    if obs.get("upper_limits") is not None:
        table["upper_limit"] = plain_flags(
            obs["upper_limits"], "upper_limits", mask.shape, "maggies is an upper limit"
        )
    table.meta = {k: obs[k] for k in ("zred", "truth") if obs.get(k) is not None}
    return table


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


def _redshift(value):
    try:
        zred = (
            np.nan
            if isinstance(value, bool | np.bool_) or value is np.ma.masked
            else float(np.squeeze(value))
        )
    except (TypeError, ValueError):
        zred = np.nan
    if not (np.isfinite(zred) and zred > 0):
        raise DataError(f"The redshift {value!r} is not a positive number; pass another (--zred).")
    return zred


def _truth(truth, path):
    if not isinstance(truth, dict):
        raise DataError(f"{path}: the metadata 'truth' is not a mapping of parameters to values.")
    try:
        return {k: float(v) for k, v in truth.items()}
    except (TypeError, ValueError) as err:
        raise DataError(f"{path}: a value of 'truth' is not a number ({err}).") from err
