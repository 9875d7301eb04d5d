"""The layout of the UNCOVER survey's catalogs: photometry in, stellar populations out.

Photometry is ``f_<band>`` and ``e_<band>`` with names of HST and JWST, in units of AB 28.9, with
``use_phot`` and ``z_spec``. The table of results has the columns of their SPS catalogs (Wang et al.
2024, ApJS 270, 12): ``z_50``, ``mstar_50``, ``sfr100_50`` and so on. Theirs end in 16, 50 and 84,
which stand for 15.9, 50 and 84.1 %; here 001, 023, 977 and 999 are 0.1, 2.3, 97.7 and 99.9 %.
"""

from dataclasses import replace

import numpy as np
from astropy.table import Table

from ..errors import DataError
from ..fit.quantiles import weighted_quantiles
from ..observe.table_files import read_table

# How names of a layout's columns begin among those of a fit's row.
PREFIX = "uncover:"
FILE = "sps_catalog.fits"
PERCENTILES = {
    "001": 0.001, "023": 0.023, "16": 0.159, "50": 0.5, "84": 0.841, "977": 0.977, "999": 0.999
}  # fmt: skip
# Their names of ours that are taken as they are, with units.
_SAME = {
    "z": ("zred", ""), "mtot": ("log_mass_formed", "log10(Msun)"),
    "mstar": ("log_stellar_mass", "log10(Msun)"), "met": ("logzsol", "dex"),
    "mwa": ("mass_weighted_age", "Gyr"), "dust2": ("dust2", ""), "dust_index": ("dust_index", ""),
    "dust1_fraction": ("dust1_fraction", ""), "logfagn": ("log_fagn", "dex"),
    "t50": ("t50", "Gyr"), "M_UV": ("M_UV", "mag"),
    **{f"rest_{n}": (f"rest_{b}", "mag")
       for n, b in (("U", "bessell_U"), ("V", "bessell_V"), ("J", "twomass_J"))},
    "UV": ("rest_bessell_U-bessell_V", "mag"), "VJ": ("rest_bessell_V-twomass_J", "mag"),
}  # fmt: skip
_SPANS = ("10", "30", "100")
_UNITS = {k: unit for k, (_, unit) in _SAME.items()}
_UNITS |= {f"sfr{n}": "Msun yr-1" for n in _SPANS} | {f"ssfr{n}": "yr-1" for n in _SPANS}
# A flux so many errors below zero is a fault, as they take it.
_NEGATIVE = 5.0


def as_table(catalog):
    """The settings of a catalog of this layout as those of a table with a map of columns."""
    table = read_table(catalog.path, text=[catalog.id_column])
    zred = "z_spec" if catalog.zred_column == "zred" else catalog.zred_column
    return replace(
        catalog,
        band_columns=catalog.band_columns or ("f_{band}", "e_{band}"),
        unit=catalog.unit or "zp 28.9",
        zred_column=zred if zred in table.colnames else "",
        zred_prior=catalog.zred_prior or "model",
    )


def checked(sample):
    """A sample of this layout: without galaxies of ``use_phot`` 0 and impossible fluxes.

    An ALMA error without a flux is that of a flux of zero.
    """

    def make(row):
        if "use_phot" in sample.table.colnames and sample.table["use_phot"][row] != 1:
            raise DataError(f"use_phot = {sample.table['use_phot'][row]}")
        obs = sample.make(row)
        limit = np.isnan(obs["maggies"]) & (obs["maggies_unc_catalog"] > 0.0)
        limit &= [f.name == "1d3mm" for f in obs["filters"]]
        obs["maggies"] = np.where(limit, 0.0, obs["maggies"])
        obs["maggies_unc"] = np.where(limit, obs["maggies_unc_catalog"], obs["maggies_unc"])
        obs["phot_mask"] = obs["phot_mask"] | limit
        low = obs["maggies"] < -_NEGATIVE * obs["maggies_unc_catalog"]
        bad = obs["phot_mask"] & low
        names = [f.name for f, b in zip(obs["filters"], bad, strict=True) if b]
        obs["notes"] += [f"{n} is masked: its flux is below -{_NEGATIVE:g} errors." for n in names]
        return obs | {"phot_mask": obs["phot_mask"] & ~bad}

    return replace(sample, make=make)


def columns_of(result):
    """What a fit gives to the table: percentiles of the catalog's quantities by name, floats."""
    own = result.columns()
    if result.info["zred"] is not None:
        own["zred"] = np.full(result.weights.size, result.info["zred"])
    if "logmass" in own:
        own.setdefault("log_mass_formed", own["logmass"])
    values = {name: own[key] for name, (key, _) in _SAME.items() if key in own}
    for n in _SPANS:
        if f"log_sfr_{n}" in own:
            values[f"sfr{n}"] = 10.0 ** own[f"log_sfr_{n}"]
            values[f"ssfr{n}"] = 10.0 ** (own[f"log_sfr_{n}"] - own["log_stellar_mass"])
    shares = np.array(list(PERCENTILES.values()))
    drawn = weighted_quantiles(np.stack(list(values.values()), axis=1), result.weights, shares)
    out = {
        f"{PREFIX}{name}_{ending}": float(drawn[i, j])
        for j, name in enumerate(values)
        for i, ending in enumerate(PERCENTILES)
    }
    best = int(np.argmax(result.log_likelihood))
    return out | {f"{PREFIX}z_ml": float(own["zred"][best])}


def sps_table(results, left_out=()):
    """The catalog of a campaign's results, a row per galaxy.

    Parameters
    ----------
    results : prospect_emu.fits.results.Results
    left_out : sequence of str
        Galaxies that were not fitted, whose rows are blank.

    Returns
    -------
    astropy.table.Table
        ``id``, the catalog's columns that were kept, ``z_ml``, percentiles, ``chi2``, ``nbands``
        and ``state``.
    """
    table = results.table
    table = table[(table["repeat"] == 0) & (table["emulator"] == table["emulator"][0])]
    # Left out of the fits with another emulator alone, a galaxy has its row already.
    left_out = [g for g in map(str, left_out) if g not in set(table["galaxy"])]
    galaxies, more = [*table["galaxy"], *left_out], len(left_out)
    whole = all(g.isdecimal() and len(g) < 18 and str(int(g)) == g for g in galaxies)
    out = Table({"id": np.array(galaxies, dtype=int if whole else str)})
    for name in results.kept:
        out[name] = _longer(np.asarray(table[name]), more)
    for name, values in results.layout.items():
        column = values[np.isin(results.table["fit"], table["fit"])]
        out[name] = _longer(column, more)
        unit = _UNITS.get(name.rpartition("_")[0], "")
        # FITS has no units of logarithms.
        log = unit.startswith(("log10", "dex"))
        out[name].unit = None if log else unit or None
        out[name].description = unit if log else None
    for name, ours in (("chi2", "chi2"), ("nbands", "bands")):
        if ours in table.colnames:
            out[name] = _longer(np.asarray(table[ours], dtype=float), more)
    out["state"] = [*table["state"], *["left out"] * more]
    out.sort("id")
    out.meta = dict(table.meta)
    return out


def _longer(values, more):
    if values.dtype.kind == "U":
        return np.append(values, np.full(more, ""))
    blank = np.nan if values.dtype.kind == "f" else -1 if values.dtype.kind == "i" else False
    return np.append(values, np.full(more, blank, dtype=values.dtype))
