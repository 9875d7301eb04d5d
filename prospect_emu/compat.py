"""What Prospector 1.4 needs to be told, in one place.

The coming 2.x changes `obs` and the models' methods; only this module and
`sps` should have to follow.
"""

import functools
import os

import numpy as np
from prospect.models import sedmodel

from .errors import DataError

_NO_LINES = np.zeros(0, dtype=[("wave", "f8"), ("name", "<U20")])


def tolerate_missing_sps_home():
    """Let Prospector's `SpecModel` be built without FSPS.

    1.4.1 reads ``$SPS_HOME/data/emlines_info.dat`` when a model is made and ends
    with a TypeError where SPS_HOME is not set. The replacement differs from the
    original only where there is no such file: the table of lines is then empty,
    which is right for photometry whose lines are in the emulated fluxes.
    """
    original = sedmodel.SpecModel.init_eline_info
    if getattr(original, "tolerates_missing_sps_home", False):
        return

    @functools.wraps(original)
    def init_eline_info(self, *args, **kwargs):
        if _line_file() is not None:
            return original(self, *args, **kwargs)
        self.emline_info = _NO_LINES
        self._use_eline = np.ones(0, dtype=bool)
        return None

    init_eline_info.tolerates_missing_sps_home = True
    sedmodel.SpecModel.init_eline_info = init_eline_info


def emission_line_wavelengths():
    """Wavelengths (Angstrom) of FSPS's lines if SPS_HOME is set, else none.

    `SpecModel` wants as many as its own table has.
    """
    path = _line_file()
    if path is None:
        return np.zeros(0)
    return np.genfromtxt(path, dtype=_NO_LINES.dtype, delimiter=",")["wave"]


def _line_file():
    """FSPS's line list, or None."""
    home = os.environ.get("SPS_HOME")
    path = os.path.join(home, "data", "emlines_info.dat") if home else ""
    return path if os.path.isfile(path) else None


def filter_list(filters):
    """Filters as a list: an `obs` may hold a list or a sedpy FilterSet."""
    return list(getattr(filters, "filters", filters))


def photometry(obs):
    """Photometric part of an obs dictionary, completed and checked.

    Parameters
    ----------
    obs : dict
        Prospector's: ``filters``, ``maggies``, ``maggies_unc``, ``phot_mask``.

    Returns
    -------
    maggies, unc : ndarray, shape (nband,)
    mask : ndarray of bool, shape (nband,)
        True where the band is used.

    Raises
    ------
    DataError
        If shapes differ, nothing is unmasked, or an unmasked band is not finite
        or has an error that is not positive.
    """
    if obs.get("filters") is None or obs.get("maggies") is None:
        raise DataError("obs has no photometry; it needs 'filters', 'maggies' and 'maggies_unc'.")
    names = [f.name for f in filter_list(obs["filters"])]
    flux = np.asarray(obs["maggies"], dtype=float)
    unc = np.asarray(obs.get("maggies_unc"), dtype=float)
    if flux.shape != (len(names),) or unc.shape != flux.shape:
        raise DataError(
            f"obs has {len(names)} filters but maggies of shape {flux.shape} and maggies_unc of "
            f"shape {unc.shape}; give one flux and one error per filter."
        )
    mask = np.ones(flux.size, dtype=bool)
    if obs.get("phot_mask") is not None:
        mask = np.asarray(obs["phot_mask"])
        if mask.dtype != bool or mask.shape != flux.shape:
            raise DataError(
                f"phot_mask of obs is {mask.dtype} of shape {mask.shape}; give one boolean per "
                "filter, True where the band is used."
            )
        mask = mask.copy()
    if not mask.any():
        raise DataError("All bands of obs are masked; unmask at least one.")
    bad = [names[i] for i in np.flatnonzero(mask & ~np.isfinite(flux))]
    if bad:
        raise DataError(f"The flux in {', '.join(bad)} is not finite; mask it (phot_mask=False).")
    bad = [names[i] for i in np.flatnonzero(mask & ~(np.isfinite(unc) & (unc > 0)))]
    if bad:
        raise DataError(
            f"The error in {', '.join(bad)} is not a positive number; mask the band or correct it."
        )
    return flux, unc, mask
