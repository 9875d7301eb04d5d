"""Gravitational lensing: a magnification of all fluxes, fixed or a function of redshift.

It acts as a distance: ``lumdist`` becomes the cosmology's over the root of the magnification.
Fluxes of the model are then those seen, and its masses, rates and luminosities the source's own.
"""

from pathlib import Path

import numpy as np

from ..cosmology import luminosity_distance
from ..errors import DataError, ModelMismatchError
from ..observe.table_files import read_columns

_COLUMNS = {
    "z": ("z", "zred", "redshift"),
    "magnification": ("magnification", "mu"),
}


def describe_magnification(given):
    """A magnification as plain data.

    Parameters
    ----------
    given : float, str or path-like
        A number, or a table with the columns z and magnification (or mu), linear in between and
        constant beyond.

    Returns
    -------
    float or [[z, ...], [magnification, ...]]

    Raises
    ------
    DataError
        If it is neither, or not positive.
    """
    try:
        value = float(given)
    except (TypeError, ValueError):
        if not isinstance(given, str | Path):
            raise DataError(
                f"The magnification {given!r} is neither a number nor a file."
            ) from None
        if not Path(given).suffix and not Path(given).is_file():
            raise DataError(
                f"The magnification {str(given)!r} is no number and no file; correct it (in a "
                "catalog it may also be a column)."
            ) from None
        return _table(Path(given))
    if not 0.0 < value < np.inf:
        raise DataError(f"A magnification of {value:g} is not a positive number; 1 is no lensing.")
    return value


def _table(path):
    z, value = read_columns(path, _COLUMNS)
    if not (np.isfinite(z).all() and (np.diff(z) > 0).all()):
        raise DataError(f"{path}: z must be finite and increase from row to row.")
    if z.size < 1 or not ((value > 0) & np.isfinite(value)).all():
        raise DataError(f"{path}: each magnification must be a positive number; 1 is no lensing.")
    return [z.tolist(), value.tolist()]


def magnified(params, described):
    """A model's parameter dictionary with the magnification of `describe_magnification`.

    It is the parameter ``magnification``; of a table, it is accompanied by
    ``magnification_zred``.

    Raises
    ------
    ModelMismatchError
        If the model prescribes a distance.
    """
    if "lumdist" in params:
        raise ModelMismatchError(
            "The model sets lumdist, on which a magnification would act; leave out one of them."
        )
    z, value = described if isinstance(described, list) else ([0.0], [described])
    out = dict(params)
    for name, array in (("magnification", value), ("magnification_zred", z)):
        out[name] = {"N": len(array), "isfree": False, "init": np.array(array, dtype=float)}
    zred = float(np.squeeze(params["zred"]["init"]))
    first = magnified_distance([zred], value, z)
    out["lumdist"] = {"N": 1, "isfree": False, "init": first, "depends_on": magnified_distance}
    return out


def magnified_distance(zred=0.0, magnification=1.0, magnification_zred=0.0, **extras):
    """Luminosity distance in Mpc over the root of the magnification at `zred`, (1,)."""
    node, value = np.atleast_1d(magnification_zred), np.atleast_1d(magnification)
    zred = np.atleast_1d(np.asarray(zred, dtype=float))
    return luminosity_distance(zred) / np.sqrt(np.interp(zred, node, value))
