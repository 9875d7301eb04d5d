"""A spectrum smoothed and thinned out to a library's resolution."""

import numpy as np

from ..cosmology import LIGHTSPEED_KMS
from ..errors import DataError

# Between pixels that are kept, in dispersions of the smoothing: their noise correlates by 0.1.
_SPACING = 3.0
# Beyond this many dispersions the Gaussian is cut.
_REACH = 4.0
# Of a Gaussian's weight, what must lie on pixels that are used.
_COVERED = 0.9


def degraded(data, dispersion, library):
    """A spectrum where it is sharper than a library, smoothed to the library's dispersion.

    A Gaussian of the difference in quadrature is averaged over the pixels that are used, and
    pixels three of its dispersions apart are kept, so that their noise is all but independent.

    Parameters
    ----------
    data : dict
        ``wavelength`` (Angstrom), ``spectrum``, ``unc`` and ``mask``, each (npix,).
    dispersion, library : ndarray, shape (npix,)
        Of the line-spread function and of the library at these pixels, km/s.

    Returns
    -------
    data : dict
        The same entries for the pixels that are kept.
    dispersion : ndarray
        Theirs, km/s.

    Raises
    ------
    DataError
        If no pixel is left.
    """
    wave, mask = data["wavelength"], data["mask"]
    width = np.sqrt(np.maximum(library**2 - dispersion**2, 0.0))
    v = LIGHTSPEED_KMS * np.log(wave)
    step = np.gradient(v) if v.size > 1 else np.ones(1)
    keep, flux, unc, good = [], [], [], []
    i = 0
    while i < wave.size:
        s = max(width[i], 1e-3 * step[i])
        near = slice(*np.searchsorted(v, [v[i] - _REACH * s, v[i] + _REACH * s]))
        weight = step[near] * np.exp(-0.5 * ((v[near] - v[i]) / s) ** 2)
        seen = weight * mask[near]
        # Its integral, part of which may lie beyond the spectrum, or one pixel.
        whole = max(s * np.sqrt(2.0 * np.pi) if width[i] > step[i] else 0.0, weight.sum())
        enough = seen.sum() >= _COVERED * whole
        total = seen.sum() if enough else 1.0
        keep.append(i)
        flux.append(seen @ data["spectrum"][near] / total if enough else 0.0)
        unc.append(np.sqrt(seen**2 @ data["unc"][near] ** 2) / total if enough else 1.0)
        good.append(enough)
        i = max(i + 1, int(np.searchsorted(v, v[i] + _SPACING * width[i])))
    if not any(good):
        raise DataError(
            "No pixel of the spectrum is left at the library's resolution; it is too short or "
            "masked too often to be degraded."
        )
    out = {"wavelength": wave[keep], "spectrum": np.array(flux), "unc": np.array(unc)}
    return data | out | {"mask": np.array(good)}, np.hypot(dispersion, width)[keep]
