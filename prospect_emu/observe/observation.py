"""The data of a fit, whichever Prospector they came from, and a check of their photometry."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from astropy import units as u

from ..errors import DataError
from .filters import load_filters
from .flux_units import flux_unit
from .magnitudes import arsinh_error_to_maggies, with_emulator_error


@dataclass(frozen=True)
class Noise:
    """How the errors of one set of data are made.

    Attributes
    ----------
    terms : tuple of (str, str or None)
        Parameters a, and what weighs them: w is "unc", "flux", or 1 for None. The variance is
        the sum of a^2 w^2; without terms, ``unc**2``.
    fraction, width : str
        Parameters of the model: the fraction of outliers, and how many times larger their
        errors are.
    default_width : float
        That number where the model has no such parameter.
    weighted_chi2 : bool
        Whether chi-squared is multiplied by ln(2 pi), as in Prospector 2's ``NoiseModel``.
    why : str
        Why it is not compiled, or empty.
    """

    terms: tuple = ()
    fraction: str = ""
    width: str = ""
    default_width: float = 1.0
    weighted_chi2: bool = False
    why: str = ""


class Observed(dict):
    """Data of a fit, with the names of Prospector 1.4's ``obs`` and what else it held.

    The adapters in `prospect_emu.prospector` make it, of a dictionary or of Observations.

    Attributes
    ----------
    native : object
        The data as the installed Prospector takes them.
    sets : tuple of (slice, Noise)
        Bands that share a noise model.
    spectral : Noise or None
        That of the spectrum.
    noises : tuple of Noise
        Of each of the Observations.
    """

    def __init__(self, items, native, sets, spectral=None, noises=()):
        super().__init__(items)
        self.native, self.sets, self.spectral = native, tuple(sets), spectral
        self.noises = tuple(noises)


def filter_list(filters):
    """Filters of an `obs` as a list of sedpy Filters.

    It may hold filters, their names, or a sedpy FilterSet, as Prospector's
    ``fix_obs(grid_filters=True)`` makes one: of that the filters by its names, since its own
    curves are resampled. None has none.
    """
    if filters is None:
        return []
    given = getattr(filters, "filternames", filters)
    given = [given] if isinstance(given, str) else list(given)
    if all(isinstance(f, str) for f in given):
        return list(_by_name(tuple(map(str, given))))
    for f in given:
        if not hasattr(f, "transmission"):
            raise DataError(f"filters of obs holds {f!r}; give sedpy Filters or their names.")
    return given


def has_photometry(obs):
    """Whether an `obs` holds filters and fluxes in them."""
    return obs.get("filters") is not None and obs.get("maggies") is not None


@lru_cache(maxsize=64)
def _by_name(names):
    return tuple(load_filters(names))


def plain_fluxes(values, what):
    """Fluxes or errors as plain numbers in maggies.

    Parameters
    ----------
    values : array_like, masked array, astropy Quantity or Column
        Without a unit: maggies.
    what : str
        What they are, for error messages.

    Returns
    -------
    ndarray of float
        Masked entries are NaN.

    Raises
    ------
    DataError
        If they are not numbers, or their unit is not a flux density.
    """
    unit = getattr(values, "unit", None)
    try:
        bare = np.ma.getdata(getattr(getattr(values, "unmasked", values), "value", values))
        masked = is_masked(values)
        if np.asarray(bare).dtype.kind not in "iufO":
            raise TypeError(f"but of {np.asarray(bare).dtype}")
        plain = np.array(bare, dtype=float)
    except (TypeError, ValueError) as err:
        raise DataError(f"{what} is not an array of numbers ({err}); give maggies.") from err
    plain[masked] = np.nan
    return plain if unit is None else plain * _maggies_per(unit, what)


def _maggies_per(unit, what):
    if unit.is_equivalent(u.dimensionless_unscaled):
        return unit.to(u.dimensionless_unscaled)
    try:
        factor = flux_unit(unit.to_string())
    except DataError as err:
        raise DataError(f"{what} is in {unit}, which is not a flux density; give maggies.") from err
    if factor is None or np.ndim(factor):
        raise DataError(
            f"{what} is in {unit}, which is not a flux density per frequency; give "
            "maggies: for AB magnitudes, 10**(-0.4 m)."
        )
    return factor


def plain_covariance(values, what):
    """Covariances as plain numbers in maggies squared; masked ones are NaN; see `plain_fluxes`."""
    unit = getattr(values, "unit", None)
    factor = 1.0 if unit is None else _maggies_per(unit**0.5, what) ** 2
    bare = getattr(getattr(values, "unmasked", values), "value", values)
    return factor * plain_fluxes(np.ma.array(np.ma.getdata(bare), mask=is_masked(values)), what)


def is_masked(values):
    """Which entries are masked, ndarray of bool in the shape of `values`."""
    mask = getattr(values, "mask", False)
    # A Series of pandas has a method of that name.
    return np.array(np.broadcast_to(False if callable(mask) else mask, np.shape(values)))


def plain_flags(values, what, shape, meaning):
    """One boolean per filter, ndarray of bool; masked entries are False.

    Raises
    ------
    DataError
        If they are not booleans, or as many as there are filters.
    """
    flags = np.ma.asarray(values)
    if flags.dtype != bool or flags.shape != shape:
        raise DataError(
            f"{what} of obs is {flags.dtype} of shape {flags.shape}; give one boolean per filter, "
            f"True where {meaning}."
        )
    return np.array(np.ma.filled(flags, False))


def changed(obs, name):
    """Whether ``maggies`` or ``maggies_unc`` are others than `NetworkSPS.inflate` left them."""
    before = obs.get(f"{name}_inflated")
    now = plain_fluxes(obs[name], f"{name} of obs")
    return before is not None and not np.array_equal(now, before, equal_nan=True)


def check_not_changed(obs):
    """Refuse an obs whose errors were changed after the emulator's were added to them.

    Raises
    ------
    DataError
    """
    if obs.get("emulator") is not None and changed(obs, "maggies_unc"):
        raise DataError(
            "maggies_unc of obs was changed after sps.inflate(obs) had added the emulator's error "
            "to it; set obs['emulator'] = None if these are errors without it, and call "
            "sps.inflate(obs) again."
        )


def photometry(obs):
    """Photometric part of an obs dictionary, completed and checked.

    Parameters
    ----------
    obs : dict
        Prospector's: ``filters``, ``maggies``, ``maggies_unc``, ``phot_mask``. Fluxes and
        errors may be masked arrays or carry a unit.

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
    if not has_photometry(obs):
        raise DataError("obs has no photometry; it needs 'filters', 'maggies' and 'maggies_unc'.")
    names = [f.name for f in filter_list(obs["filters"])]
    flux = plain_fluxes(obs["maggies"], "maggies of obs")
    if obs.get("maggies_unc") is None:
        raise DataError("obs has no maggies_unc; give one error per filter.")
    unc = plain_fluxes(obs["maggies_unc"], "maggies_unc of obs")
    if flux.shape != (len(names),) or unc.shape != flux.shape:
        raise DataError(
            f"obs has {len(names)} filters but maggies of shape {flux.shape} and maggies_unc of "
            f"shape {unc.shape}; give one flux and one error per filter."
        )
    mask = np.ones(flux.size, dtype=bool)
    if obs.get("phot_mask") is not None:
        mask = plain_flags(obs["phot_mask"], "phot_mask", flux.shape, "the band is used")
    for given in (obs["maggies"], obs["maggies_unc"]):
        # A masked value masks its band.
        mask &= ~is_masked(given)
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


def inflated(obs, emulator, covariance=False):
    """An obs whose errors include an emulator's; see `NetworkSPS.inflate`."""
    if obs.get("emulator") is not None and not (
        changed(obs, "maggies") and changed(obs, "maggies_unc")
    ):
        check_not_changed(obs)
        obs = {**obs, "maggies_unc": obs["maggies_unc_observed"]}
    # Else none was added yet, or this is another galaxy with errors of its own.
    flux, unc, mask = photometry(obs)
    bands = emulator.select(f.name for f in filter_list(obs["filters"]))
    total = unc.copy()
    sigma, zred = bands.sigma_mag, obs.get("zred")
    if bands.errors is not None and not covariance:
        known = isinstance(zred, (int, float, np.number))
        sigma = bands.errors.typical(float(zred) if known else None)
    total[mask] = with_emulator_error(unc[mask], flux[mask], sigma[mask])
    out = {k: v for k, v in obs.items() if k != "maggies_covariance"}
    if covariance:
        full = np.diag(unc**2)
        # Flux error per magnitude, for each pair of bands.
        slope = arsinh_error_to_maggies(1.0, flux[mask])
        inside = np.ix_(mask, mask)
        full[inside] += np.outer(slope, slope) * bands.covariance[inside]
        total[mask] = np.sqrt(np.diag(full)[mask])
        out["maggies_covariance"] = full
    return {
        **out,
        "maggies": flux,
        "maggies_unc": total,
        "phot_mask": mask,
        "maggies_unc_observed": unc,
        # What the errors were added to: an obs that is used again may hold other values.
        "maggies_inflated": flux.copy(),
        "maggies_unc_inflated": total.copy(),
        "emulator": emulator.name,
    }
