"""Observed fluxes of emission lines: their names, units and limits, checked."""

import warnings
from dataclasses import dataclass

import numpy as np
from astropy import units as u

from ..errors import DataError
from .observation import is_masked
from .table_files import flags, numbers, read_table, split_name

# Of wavelengths, relative, within which a line is the one that is meant.
_NEAR = 1e-3
CGS = u.erg / u.s / u.cm**2


@dataclass(frozen=True)
class LineFluxes:
    """Fluxes of k lines or blends.

    Attributes
    ----------
    name : tuple of str
        FSPS's names, joined by " + ".
    line : ndarray of int, shape (m,)
        FSPS's lines.
    blend : ndarray, shape (k, m)
        One where a flux contains the line.
    flux, unc : ndarray, shape (k,)
        erg/s/cm^2; of an upper limit the limit and the width of its edge.
    upper : ndarray of bool, shape (k,)
    """

    name: tuple
    line: np.ndarray
    blend: np.ndarray
    flux: np.ndarray
    unc: np.ndarray
    upper: np.ndarray

    @property
    def plain(self):
        """As ``obs["lines"]`` again, of lists."""
        arrays = {k: getattr(self, k).tolist() for k in ("flux", "unc", "upper")}
        return {"name": list(self.name), **arrays}


def read_line_fluxes(path, unit=None):
    """``obs["lines"]`` of a table with the columns ``line``, ``flux``, ``error`` and ``upper``.

    Parameters
    ----------
    path : path-like
        One row per line or blend; ``upper`` is true where the flux is an upper limit, and may be
        left out. Fluxes are in the columns' unit, erg/s/cm2 or W/m2, say.
    unit : str, optional
        Of a table that names none.

    Returns
    -------
    dict
        ``name``, ``flux``, ``unc`` (erg/s/cm^2) and ``upper``.
    """
    table = read_table(path)
    column = {split_name(c)[0].lower(): c for c in table.colnames}
    missing = [c for c in ("line", "flux", "error") if c not in column]
    if missing:
        raise DataError(
            f"{path} has no column {missing[0]!r} (it has {', '.join(table.colnames)}); line "
            "fluxes need line, flux and error."
        )
    out = {"name": [str(v).strip() for v in table[column["line"]]]}
    for role, key in (("flux", "flux"), ("error", "unc")):
        own = table[column[role]].unit
        text = split_name(column[role])[1] or (str(own) if own is not None else unit)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", u.UnitsWarning)
                factor = u.Unit(text or "").to(CGS)
        except (u.UnitsError, ValueError, TypeError) as err:
            raise DataError(
                f"{path}: column {column[role]!r} has {f'the unit {text!r}' if text else 'no unit'}"
                "; line fluxes are in erg/s/cm2 or the like."
            ) from err
        out[key] = numbers(table, column[role], path) * factor
    upper = np.zeros(len(table), dtype=bool)
    if "upper" in column:
        upper = flags(table, column["upper"], path)
    return {**out, "upper": upper}


def line_fluxes(given, names, wave):
    """``obs["lines"]``, checked.

    Parameters
    ----------
    given : dict or Table
        ``name`` (FSPS's names, such as "Ba-alpha 6563"; of a blend joined by " + ") or
        ``wavelength`` (Angstrom at rest in vacuum); ``flux`` and ``unc`` (erg/s/cm^2); and, if any
        is an upper limit, ``upper``.
    names : sequence of str
        Of FSPS's lines.
    wave : ndarray, shape (nline,)

    Returns
    -------
    LineFluxes

    Raises
    ------
    DataError
    """
    have = list(getattr(given, "colnames", given))
    key = next((k for k in ("name", "wavelength") if k in have), None)
    if key is None or not {"flux", "unc"} <= set(have):
        raise DataError(
            f"obs['lines'] has {', '.join(map(str, have))}; give name or wavelength, flux and unc."
        )
    each = [_lines(value, names, wave) for value in np.atleast_1d(given[key])]
    values = []
    for name in ("flux", "unc"):
        try:
            unit = getattr(given[name], "unit", None) or CGS
            masked = np.atleast_1d(is_masked(given[name]))
            bare = np.ma.getdata(getattr(given[name], "unmasked", given[name]))
            value = np.atleast_1d(u.Quantity(bare, unit)).to_value(CGS).astype(float)
            values.append(np.where(masked, np.nan, value))
        except (u.UnitsError, TypeError, ValueError) as err:
            raise DataError(f"{name} of obs['lines']: {err}; give erg/s/cm^2.") from err
    upper = np.zeros(len(each), dtype=bool)
    if "upper" in have:
        upper = np.atleast_1d(given["upper"])
    shapes = {v.shape for v in (*values, upper)}
    if shapes != {(len(each),)} or upper.dtype != bool:
        raise DataError(
            f"obs['lines'] names {len(each)} lines, but flux, unc and upper have the shapes "
            f"{', '.join(map(str, shapes))}; give one number of each per line, upper true or false."
        )
    for i, (flux, unc) in enumerate(zip(*values, strict=True)):
        if not (np.isfinite(flux) and np.isfinite(unc) and unc > 0.0):
            raise DataError(
                f"The line {given[key][i]} has the flux {flux:g} and the error {unc:g}; give "
                "finite ones, the error above zero, or leave the line out."
            )
    line = np.unique(np.concatenate(each))
    blend = np.array([np.isin(line, some) for some in each], dtype=float)
    of_each = tuple(" + ".join(str(names[i]) for i in some) for some in each)
    return LineFluxes(of_each, line, blend, *values, np.array(upper))


def line_index(name, names):
    """Number of a line by FSPS's name.

    Raises
    ------
    DataError
        For an unknown one; says which are alike.
    """
    known = [str(n) for n in names]
    if name in known:
        return known.index(name)
    end = name.split()[-1] if name.split() else ""
    alike = [n for n in known if end and n.split()[-1].rstrip("A").startswith(end[:3])]
    raise DataError(
        f"{name!r} is not the name of an emission line of FSPS's"
        + (f"; alike are {', '.join(alike[:6])}." if alike else ", such as 'Ba-alpha 6563'.")
    )


def _lines(value, names, wave):
    """Numbers of the lines of one flux."""
    if isinstance(value, str):
        return [line_index(part.strip(), names) for part in value.split(" + ")]
    nearest = int(np.argmin(np.abs(wave - value)))
    if not abs(wave[nearest] / value - 1.0) < _NEAR:
        raise DataError(
            f"No emission line of FSPS's lies at {value:g} A; the nearest is {names[nearest]} at "
            f"{wave[nearest]:.2f} A (vacuum, at rest)."
        )
    return [nearest]
