"""Filter curves by name: sedpy's, and the few that sedpy lacks."""

import difflib
import hashlib

import numpy as np
from sedpy import observate

from ..errors import FilterError

# Top hats that are no sedpy filters: name -> (blue edge, red edge, width of an edge) in Angstrom.
# sedpy needs points below half maximum on both sides to find a filter's edges.
_TOP_HATS = {"1d3mm": (1.1e7, 1.4e7, 1e2), "uv1500": (1450.0, 1550.0, 0.035)}


def nearest_names(name, candidates, n=3):
    """The `n` most similar names, for error messages."""
    known = {c.lower(): c for c in candidates}
    return [known[c] for c in difflib.get_close_matches(name.lower(), known, n=n, cutoff=0.3)]


def load_filters(names):
    """Load filters by name.

    Parameters
    ----------
    names : sequence of str
        sedpy names, or "1d3mm" and "uv1500" (top hats over 1.1-1.4 mm and 1450-1550 A).

    Returns
    -------
    list of sedpy.observate.Filter

    Raises
    ------
    FilterError
        If a name is unknown; the nearest known names are given.
    """
    known = set(observate.list_available_filters())
    loaded = []
    for name in names:
        if name in _TOP_HATS:
            lo, hi, step = _TOP_HATS[name]
            wave = np.array([lo - 2 * step, lo - step, lo, hi, hi + step, hi + 2 * step])
            curve = (wave, np.array([0.0, 0.0, 1.0, 1.0, 0.0, 0.0]))
            loaded.append(observate.Filter(name, data=curve, min_trans=0.0))
        elif name in known:
            loaded.append(observate.Filter(name))
        else:
            near = nearest_names(name, known | set(_TOP_HATS))
            hint = f"; did you mean {', '.join(near)}?" if near else "."
            raise FilterError(f"Filter {name!r} is not known to sedpy or prospect_emu{hint}")
    return loaded


# Whose filters short names such as f444w stand for, the first that has one.
_CAMERAS = ("jwst_", "acs_wfc_", "wfc3_ir_", "wfc3_uvis_")


def filter_of_short_name(name):
    """Filter that a name of HST or JWST as catalogs write it (f444w) stands for, or None.

    NIRCam and MIRI come before ACS, and ACS before WFC3. Names that `load_filters` takes stand
    for themselves.
    """
    known = {*observate.list_available_filters(), *_TOP_HATS}
    full = (name, *(camera + name.lower() for camera in _CAMERAS))
    return next((f for f in full if f in known), None)


def same_curve(filt, stored):
    """Whether a curve is that of a stored hash, or a FilterSet's resampling of it.

    Resampled curves of sedpy's filters hold the same share of the light up to any wavelength
    within 0.003; another filter's differ by tenths.
    """
    if curve_hash(filt) == stored:
        return True
    known = filt.name in observate.list_available_filters()
    original = observate.Filter(filt.name) if known else filt
    if curve_hash(original) != stored:
        return False
    x = np.union1d(np.log(filt.wavelength), np.log(original.wavelength))
    shares = []
    for f in (filt, original):
        trans = np.interp(x, np.log(f.wavelength), f.transmission, left=0.0, right=0.0)
        share = np.append(0.0, np.cumsum(0.5 * (trans[1:] + trans[:-1]) * np.diff(x)))
        shares.append(share / share[-1])
    return bool(np.abs(shares[0] - shares[1]).max() < 0.01)


def curve_hash(filt):
    """SHA-256 of a transmission curve, normalised to its maximum.

    Rounded to eight digits, so that a curve read from text on another platform
    hashes alike.
    """
    wave = np.asarray(filt.wavelength, dtype=float)
    trans = np.asarray(filt.transmission, dtype=float)
    text = ";".join(f"{w:.8e},{t:.8e}" for w, t in zip(wave, trans / trans.max(), strict=True))
    return hashlib.sha256(text.encode()).hexdigest()
