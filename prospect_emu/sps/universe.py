"""Ages of stars against the age of the universe, with Prospector's cosmology."""

import numpy as np

from ..cosmology import age_of_universe
from ..errors import RangeError
from ..parameters import DEFAULTS

# Cosmologies differ by less, and ranges of priors are wider than these by less.
_SLACK = 1.03


def older_than_universe(params, ranges=None, refuse=True):
    """Refuse stars that can only be older than the universe, and tell of those that may be.

    FSPS computes them all the same.

    Parameters
    ----------
    params : dict
        FSPS's parameters, one value each.
    ranges : dict, optional
        (low, high) of free ones.
    refuse : bool
        If False only bins that no redshift allows are refused: single vectors of a sampler may
        be impossible.

    Returns
    -------
    str
        A sentence, or nothing.

    Raises
    ------
    RangeError
    """
    ranges = ranges or {}
    low_z = ranges.get("zred", (_value(params, "zred"),))[0]
    now = float(age_of_universe(max(low_z, 0.0))) * _SLACK
    age = f"the universe is {now / _SLACK / 1e9:.3g} Gyr old at zred = {low_z:.3g}"
    if "agebins" in params:
        begin, end = 10.0 ** np.asarray(params["agebins"], dtype=float).reshape(-1, 2)[-1]
        text = f"The oldest age bin is from {begin / 1e9:.3g} to {end / 1e9:.3g} Gyr, but {age}"
        fix = "end the bins there, as zred_to_agebins of prospect.models.transforms does."
        if (refuse and begin > now) or end > age_of_universe(0.0) * _SLACK:
            raise RangeError(f"{text}; {fix}")
        return f"{text}; {fix}" if end > now else ""
    if _value(params, "sfh") == 3 or not {"tage"} & {*params, *ranges}:
        return ""
    low, high = (t * 1e9 for t in ranges.get("tage", 2 * (np.max(_value(params, "tage")),)))
    fix = "keep it below, as tage_from_tuniv of prospect.models.transforms does."
    if refuse and low > now:
        raise RangeError(f"tage is {low / 1e9:.3g} Gyr, but {age}; {fix}")
    return f"tage reaches beyond the age of the universe: {age}; {fix}" if high > now else ""


def _value(params, name):
    return np.asarray(params.get(name, DEFAULTS[name]), dtype=float).max()
