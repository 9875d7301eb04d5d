"""Absolute magnitudes and colours at rest of the samples of a fit, in any filters."""

from functools import lru_cache

import numpy as np

from ..errors import ModelMismatchError
from ..observe.filters import load_filters
from ..prospector.drop_in import EmulatorSPS
from ..prospector.stand_in import ExactBasis
from .predictions import ExactFluxes

# Short names of magnitudes and colours.
_UVJ = (
    "bessell_U", "bessell_V", "twomass_J", "bessell_U-bessell_V", "bessell_V-twomass_J"
)  # fmt: skip
_NUVRJ = ("galex_NUV", "sdss_r0", "twomass_J", "galex_NUV-sdss_r0", "sdss_r0-twomass_J")
SETS = {"UVJ": _UVJ, "NUVrJ": _NUVRJ}
_ULTRAVIOLET = "M_UV"
_ROWS = 4096


def columns_of(items):
    """Names of the columns, and the bands of each.

    Parameters
    ----------
    items : sequence of str
        Filters, whose absolute AB magnitude is meant; two joined by ``-``, for a colour; "M_UV",
        in a top hat from 1450 to 1550 Angstrom; "UVJ" or "NUVrJ", three magnitudes and two colours.

    Returns
    -------
    dict of str -> tuple of str
        ``rest_NAME`` or ``M_UV`` -> one band or two.

    Raises
    ------
    FilterError
        For an unknown filter.
    """
    out = {}
    for item in (name for given in items for name in SETS.get(given, (given,))):
        if item == _ULTRAVIOLET:
            out[item] = ("uv1500",)
            continue
        # Some of sedpy's names have a hyphen themselves.
        one, *two = item.split("-")
        out[f"rest_{item}"] = (one, *two) if len(two) == 1 else (item,)
    load_filters(band for bands in out.values() for band in bands)
    return out


@lru_cache(maxsize=1)
def _exact():
    return EmulatorSPS()


class RestFrame:
    """The physics of a model compiled at rest.

    Light is that of stars, gas and dust without intergalactic absorption, lines included, at 10 pc;
    fits with an emulator take the exact physics of the same model.

    Parameters
    ----------
    model : prospect.models.ProspectorParams
    sps : EmulatorSPS
    items : sequence of str
        See `columns_of`.

    Raises
    ------
    FilterError, ModelMismatchError
    """

    def __init__(self, model, sps, items):
        self.columns = columns_of(items)
        self._bands = list(dict.fromkeys(b for bands in self.columns.values() for b in bands))
        if getattr(sps, "has_own_spectra", False):
            raise ModelMismatchError(
                f"{type(sps).__name__} has spectra of its own, and rest-frame magnitudes are those "
                "of FSPS's parameters; use EmulatorSPS(), or leave them out."
            )
        sps = sps if isinstance(sps, ExactBasis) else _exact()
        self._fluxes = ExactFluxes(model, load_filters(self._bands), sps, at_rest=True)

    def __call__(self, theta):
        """AB magnitudes and colours by name, (n,) each, of the model's vectors (n, ndim)."""
        parts = [theta[i : i + _ROWS] for i in range(0, len(theta), _ROWS)]
        flux = np.concatenate([self._fluxes.maggies(part) for part in parts])
        with np.errstate(divide="ignore"):
            mags = dict(zip(self._bands, -2.5 * np.log10(flux.T), strict=True))
        return {
            name: mags[bands[0]] - (mags[bands[1]] if bands[1:] else 0.0)
            for name, bands in self.columns.items()
        }
