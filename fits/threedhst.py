"""The 3D-HST v4.1 catalogs: files to tables, rows to `obs` dictionaries.

Photometry of Skelton et al. (2014), redshifts and UV+IR star-formation rates of
Momcheva et al. (2016), FAST results of Skelton et al.; treated as in Leja et al.
(2019). MAST: doi 10.17909/T9JW9Z.
"""

from functools import lru_cache
from pathlib import Path

import numpy as np

from ..errors import DataError
from ..observe.filters import load_filters
from ..observe.table_files import read_table
from ..observe.tables import make_obs
from .fields import FIELDS, OPTIONAL, SPACE_PREFIXES

# COSMOS, whose names the bundled mock galaxy and older scripts use.
BANDS = FIELDS["cosmos"].bands

MAGGIES = 1e-10  # per catalog flux unit: AB zeropoint 25
# Leja et al. (2019) raise the catalog's MIPS fluxes by 0.03542 mag.
MIPS_FACTOR = 10.0 ** (0.03542 / 2.5)
MISSING = -99.0
Z_TYPES = {1: "spectroscopic", 2: "grism", 3: "photometric"}
# Rest-frame Angstrom. The model's IGM is a mean over sight lines; bands that
# Lyman alpha falls into, or that lie blueward of it, depend on this sight line.
LYA_RED, LYA_BLUE = 1230.0, 1200.0
EDGE_LEVEL = 0.1  # a filter's edges: where its curve crosses 10 % of its peak


def read_catalog(folder, field="cosmos"):
    """Photometry, redshifts and FAST results of one field in one table.

    Parameters
    ----------
    folder : path-like
        Holds one photometry file (``*.cat``), one redshift file (``*.dat`` or
        ``*.zbest*``) and, optionally, one FAST file (``*.fout``); each ASCII
        with a ``# name name ...`` header, or FITS with ``.fits`` appended.
    field : str
        A key of `prospect_emu.fits.fields.FIELDS`.

    Returns
    -------
    astropy.table.Table
        One row per galaxy of the photometry file. Columns in lower case: ``id``;
        ``f_X`` and ``e_X`` for each band X of the field (catalog units, AB
        zeropoint 25; a MIPS band that the photometry file lacks is made from
        the redshift file's ``f24tot``); the other columns of the photometry
        file; ``z_best``, ``z_type`` and the other columns of the redshift file;
        FAST's with ``fast_`` before their names. A name in two files keeps the
        photometry file's values.

    Raises
    ------
    DataError
        If a file is missing, ambiguous or malformed, lacks a column, or holds
        other galaxies than the photometry file.
    """
    folder = Path(folder)
    known = _field(field)
    table = _read(_one(folder, ".cat"), rename=lambda name: name.lower().removesuffix(f"_{field}"))
    where = f"the photometry file in {folder}"
    needed = [x for x in known.columns if x not in OPTIONAL]
    _require(table, ["id", *(f"{k}_{x}" for x in needed for k in "fe")], where)
    ids = np.asarray(table["id"], dtype=int)

    redshifts = _read(_one(folder, ".dat", ".zbest"))
    _require(redshifts, ["phot_id", "z_best", "z_type"], f"the redshift file in {folder}")
    _join(table, redshifts, _rows(ids, redshifts["phot_id"], f"the redshift file in {folder}"))

    fast = _one(folder, ".fout", optional=True)
    if fast is not None:
        fast = _read(fast)
        _require(fast, ["id"], f"the FAST file in {folder}")
        rows = _rows(ids, fast["id"], f"the FAST file in {folder}")
        _join(table, fast, rows, prefix="fast_")
    for x in known.columns:
        if f"f_{x}" not in table.colnames:
            there = "f24tot" in table.colnames and "ef24tot" in table.colnames
            for kind, name in (("f", "f24tot"), ("e", "ef24tot")):
                table[f"{kind}_{x}"] = np.array(table[name], float) if there else MISSING
    table.meta = {"folder": str(folder), "field": field}
    return table


def galaxy_obs(
    catalog,
    galaxy=None,
    row=None,
    error_floor=0.05,
    zeropoints=None,
    mips_factor=MIPS_FACTOR,
    mask_lyman_alpha=True,
    mask_negative=2.0,
):
    """The `obs` of one galaxy, treated as in Leja et al. (2019).

    In this order:

    1. Bands observed twice through one filter are averaged with inverse
       variances. Flux and error times 1e-10 (maggies); MIPS 24 micron also times
       10**(0.03542 / 2.5).
    2. Masked: flux -99; error not positive; flux equal to its error (a
       placeholder); flux negative by more than 2 of its catalog errors; bands on
       or blueward of Lyman alpha: with the edges where the curve crosses 10 % of
       its peak, red edge / (1 + z) > 1230 A > blue edge / (1 + z), or blue edge /
       (1 + z) < 1200 A. Each is listed in ``obs["notes"]``.
    3. Errors, in quadrature: the floor, `error_floor` of the flux; and, only
       where `zeropoints` are given, ``flux (1 - zp)`` in ground-based bands.
       The offsets (Skelton et al. 2014, table 11) are no part of the catalog;
       without them this term is not applied, and a note says so.

    Parameters
    ----------
    catalog : astropy.table.Table
        From `read_catalog`.
    galaxy : int, optional
        The catalog's id. Give this or `row`.
    row : int, optional
        Index into the table.
    error_floor : float
    zeropoints : dict, optional
        Catalog band -> multiplicative zeropoint correction.
    mips_factor : float
        Replaces 10**(0.03542 / 2.5).
    mask_lyman_alpha : bool
    mask_negative : float
        Mask fluxes that are negative by more than this many catalog errors.

    Returns
    -------
    dict
        See `prospect_emu.observe.tables.make_obs`; also ``id``, ``z_type`` ("grism",
        ...) and ``snr_f160w`` (catalog flux over catalog error). ``zred`` is
        z_best.

    Raises
    ------
    DataError
        If the galaxy is not there, has no redshift, or all bands are masked.
    """
    row = _find(catalog, galaxy, row)
    entry = catalog[row]
    zred = float(entry["z_best"])
    if not (np.isfinite(zred) and zred > 0):
        raise DataError(f"Galaxy {entry['id']} has z_best = {zred:g}, no redshift; leave it out.")
    field = _field(catalog.meta.get("field", "cosmos"))
    flux, error = _fluxes(entry, field)
    filters = _filters(field.name)
    mask, notes = _mask(flux, error, filters, zred, mask_lyman_alpha, mask_negative)

    scale = np.full(flux.size, MAGGIES)
    scale[list(field.bands).index("mips_24um")] *= mips_factor
    if zeropoints is None:
        notes.append("No zeropoint uncertainty is in the errors: no offsets were given.")
    else:
        error = np.hypot(error, flux * _zeropoint_error(zeropoints, field.bands))
    obs = make_obs(
        filters,
        flux * scale,
        error * scale,
        zred,
        error_floor,
        mask=mask,
        id=int(entry["id"]),
        z_type=Z_TYPES.get(int(entry["z_type"]), "unknown"),
        snr_f160w=float(entry["f_f160w"] / entry["e_f160w"]),
    )
    # Catalog rules name more reasons than make_obs sees.
    obs["notes"] = notes
    return obs


def _field(name):
    if name not in FIELDS:
        raise DataError(f"There is no 3D-HST field {name!r}; use one of {', '.join(FIELDS)}.")
    return FIELDS[name]


def _fluxes(entry, field):
    """Catalog fluxes and errors, each of shape (nband,), twins averaged."""

    def pair(x):
        return np.array([entry[f"f_{x}"], entry[f"e_{x}"]], dtype=float)

    out = []
    for x in field.bands:
        flux, error = pair(x)
        if x in field.twins:
            both = np.array([(flux, error), pair(field.twins[x])])
            good = np.isfinite(both).all(axis=1) & (both[:, 1] > 0) & (both[:, 0] != MISSING)
            good &= both[:, 0] != both[:, 1]
            if good.any():
                weight = both[good, 1] ** -2
                flux = np.sum(both[good, 0] * weight) / weight.sum()
                error = weight.sum() ** -0.5
        out.append((flux, error))
    return np.array(out).T


@lru_cache(maxsize=len(FIELDS))
def _filters(field):
    """The filters of a field: sedpy takes half a second to read them."""
    return tuple(load_filters(FIELDS[field].bands.values()))


@lru_cache(maxsize=len(FIELDS))
def _edges(filters):
    return np.array([filter_edges(f) for f in filters])


def _mask(flux, error, filters, zred, lyman_alpha=True, negative=2.0):
    """Leja et al.'s rules: a mask, shape (nband,), and a note per masked band."""
    blue, red = _edges(filters).T / (1.0 + zred)
    with np.errstate(invalid="ignore"):
        rules = {
            "it was not observed (-99 or no number)": ~np.isfinite(flux) | (flux == MISSING),
            "its error is not a positive number": ~(np.isfinite(error) & (error > 0)),
            "its flux equals its error": flux == error,
            f"its flux is negative by more than {negative:g} sigma": flux < -negative * error,
        }
        if lyman_alpha:
            on = (red > LYA_RED) & (blue < LYA_RED)
            rules["it lies on or blueward of Lyman alpha"] = on | (blue < LYA_BLUE)
    mask, notes = np.ones(flux.size, dtype=bool), []
    for reason, bad in rules.items():
        notes += [f"{f.name} is masked: {reason}." for f, b, m in zip(filters, bad, mask) if b & m]  # noqa: B905
        mask &= ~bad
    return mask, notes


def filter_edges(filt):
    """Blue and red wavelength (Angstrom) where a curve crosses 10 % of its peak.

    The outermost crossings, interpolated linearly.
    """
    wave = np.asarray(filt.wavelength, dtype=float)
    level = np.asarray(filt.transmission, dtype=float) / np.max(filt.transmission) - EDGE_LEVEL
    above = np.flatnonzero(level >= 0)
    first, last = above[0], above[-1]

    def crossing(i, j):
        return wave[i] - level[i] * (wave[j] - wave[i]) / (level[j] - level[i])

    blue = wave[first] if first == 0 else crossing(first - 1, first)
    red = wave[last] if last == wave.size - 1 else crossing(last, last + 1)
    return float(blue), float(red)


def _zeropoint_error(zeropoints, bands):
    unknown = sorted(set(zeropoints) - set(bands))
    if unknown:
        raise DataError(
            f"zeropoints has unknown bands ({', '.join(unknown)}); known are {', '.join(bands)}."
        )
    return np.array(
        [
            0.0 if name.startswith(SPACE_PREFIXES) else 1.0 - zeropoints.get(x, 1.0)
            for x, name in bands.items()
        ]
    )


def _find(catalog, galaxy, row):
    if (galaxy is None) == (row is None):
        raise DataError("Give galaxy_obs either a galaxy's id or a row, not both or neither.")
    if row is not None:
        if not 0 <= row < len(catalog):
            raise DataError(f"There is no row {row}; the catalog has {len(catalog)} rows.")
        return row
    found = np.flatnonzero(np.asarray(catalog["id"], dtype=int) == galaxy)
    if found.size != 1:
        raise DataError(f"The catalog holds {found.size} galaxies with id {galaxy}; check the id.")
    return int(found[0])


def _one(folder, *endings, optional=False):
    """The one file of a kind: name ends in one of `endings`, '.fits' may follow."""
    if not folder.is_dir():
        raise DataError(f"{folder} is not a folder; give the one that holds the 3D-HST catalog.")
    names = sorted(p for p in folder.iterdir() if p.is_file())
    found = [p for p in names if p.name.lower().removesuffix(".fits").endswith(endings)]
    if len(found) == 1:
        return found[0]
    if not found and optional:
        return None
    raise DataError(
        f"{folder} holds {len(found)} files of the kind *{' or *'.join(endings)}; keep exactly one."
    )


def _read(path, rename=str.lower):
    """A table with lower-case column names."""
    table = read_table(path)
    names = [rename(name) for name in table.colnames]
    if len(set(names)) < len(names):
        raise DataError(f"{path} has columns that differ in upper and lower case only.")
    table.rename_columns(table.colnames, names)
    table.meta.clear()
    return table


def _require(table, names, where):
    missing = [n for n in names if n not in table.colnames]
    if missing:
        raise DataError(f"{where} lacks the columns {', '.join(missing)}; use the v4.1 files.")


def _rows(ids, others, where):
    """Rows of another table that hold `ids`, in their order."""
    others = np.asarray(others, dtype=int)
    order = np.argsort(others, kind="stable")
    at = np.searchsorted(others, ids, sorter=order)
    rows = order[np.minimum(at, others.size - 1)]
    lacking = others[rows] != ids
    if lacking.any():
        raise DataError(
            f"{where} lacks {lacking.sum()} galaxies of the photometry file (id "
            f"{ids[lacking][0]} for one); use files of the same release."
        )
    return rows


def _join(table, other, rows, prefix=""):
    for name in other.colnames:
        if prefix + name not in table.colnames:
            table[prefix + name] = other[name][rows]
