"""Parameters that a model of photometry needs for a spectrum."""

import numpy as np

from ..cosmology import LIGHTSPEED_KMS
from ..errors import DataError, SetupError
from ..observe.pixels import check_covered
from .line_table import tolerate_missing_sps_home
from .version import adapter

# Of the library's dispersion: where data are no wider, smoothing by so much changes 4 %.
_LEAST = 0.3


def spectral_model(params, wavelength, dispersion, ingredients, polyorder, zred=None):
    """A model of photometry and a spectrum, its lines at the line-spread function.

    Parameters
    ----------
    params : dict
        Of a model of photometry.
    wavelength : ndarray, shape (npix,)
        Angstrom.
    dispersion : ndarray, shape (npix,), or None
        Of the line-spread function, km/s.
    ingredients : Ingredients
        Their own dispersion is taken off that of the continuum.
    polyorder : int
        Of the calibration polynomial (`PolySpecModel`); 0 for none.
    zred : float, optional
        Where the resolution is taken if the redshift is free; by default the fixed one.

    Returns
    -------
    model : prospect.models.SpecModel
    notes : list of str

    Raises
    ------
    DataError
        If no dispersion is known, or pixels lie beyond the library.
    SetupError
        With Prospector 2.
    """
    if not hasattr(adapter, "PolySpecModel"):
        raise SetupError(
            "Prospector 2 has spectra of its own; make a Spectrum there and call fit_model, or "
            "install astro-prospector 1.4."
        )
    if dispersion is None:
        raise DataError(
            "The line-spread function of the spectrum is not known; give --resolution (R=100, "
            "70km/s, or a table of wavelength and R), or a column R in its file."
        )
    zred = float(np.squeeze(params["zred"]["init"])) if zred is None else zred
    seen = ingredients.wave * (1.0 + zred)
    check_covered(wavelength, seen)
    library = np.abs(np.ravel(ingredients.resolution))
    wanted = np.interp(seen, wavelength, dispersion)
    width = np.sqrt(np.maximum(wanted**2 - library**2, (_LEAST * library) ** 2))
    own = np.interp(wavelength, seen, library)
    notes = [f"The spectrum is calibrated by a polynomial of order {polyorder}."] * (polyorder > 0)
    sharp = np.mean(dispersion < 0.999 * own)
    if sharp:
        notes.append(
            f"The spectrum is sharper than the library {ingredients.label} (dispersion "
            f"{np.median(own):.0f} km/s) in {100 * sharp:.0f} % of its pixels; lines of stars are "
            "smoother there in the model than in the data. Use --degrade, or finer ingredients."
        )
    fixed = {
        "smoothtype": "lsf", "fftsmooth": True, "nebemlineinspec": False, "polyorder": polyorder,
        "sigma_smooth": seen * width / LIGHTSPEED_KMS,
        "eline_sigma": np.interp(ingredients.line_wave * (1.0 + zred), wavelength, dispersion),
    }  # fmt: skip
    params = dict(params)
    for name, value in fixed.items():
        params[name] = {"N": np.size(value), "isfree": False, "init": value}
    tolerate_missing_sps_home()
    return (adapter.PolySpecModel if polyorder > 0 else adapter.SpecModel)(params), notes
