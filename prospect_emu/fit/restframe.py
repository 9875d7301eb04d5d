"""At rest, of the samples of a fit: magnitudes and colours in any filters, emission lines."""

from functools import lru_cache

import numpy as np

from ..errors import ModelMismatchError
from ..observe.filters import load_filters
from ..observe.line_fluxes import line_index
from ..prospector.drop_in import EmulatorSPS
from ..prospector.line_table import line_table
from ..prospector.stand_in import ExactBasis
from .line_luminosities import LineLuminosities
from .predictions import ExactFluxes

# Short names of magnitudes and colours.
_UVJ = (
    "bessell_U", "bessell_V", "twomass_J", "bessell_U-bessell_V", "bessell_V-twomass_J"
)  # fmt: skip
_NUVRJ = ("galex_NUV", "sdss_r0", "twomass_J", "galex_NUV-sdss_r0", "sdss_r0-twomass_J")
SETS = {"UVJ": _UVJ, "NUVrJ": _NUVRJ}
_ULTRAVIOLET = "M_UV"
# Of a line: luminosity and equivalent width.
_LUMINOSITY, _WIDTH = "L_", "EW_"
_ROWS = 4096


def columns_of(items):
    """Names of the columns, and the bands of each.

    Parameters
    ----------
    items : sequence of str
        Filters, whose absolute AB magnitude is meant; two joined by ``-``, for a colour; "M_UV",
        in a top hat from 1450 to 1550 Angstrom; "UVJ" or "NUVrJ", three magnitudes and two
        colours; "L_" or "EW_" and the name of an emission line (FSPS's), its luminosity (Lsun,
        through the dust) or equivalent width (Angstrom at rest, positive in emission).

    Returns
    -------
    dict of str -> tuple of str
        ``rest_NAME`` or ``M_UV`` -> one band or two; of a line the same name -> none.

    Raises
    ------
    FilterError, DataError
        For an unknown filter or line.
    """
    out = {}
    for item in (name for given in items for name in SETS.get(given, (given,))):
        if item.startswith((_LUMINOSITY, _WIDTH)):
            line_index(_line_of(item), line_table()["name"])
            out[item] = ()
            continue
        if item == _ULTRAVIOLET:
            out[item] = ("uv1500",)
            continue
        # Some of sedpy's names have a hyphen themselves.
        one, *two = item.split("-")
        out[f"rest_{item}"] = (one, *two) if len(two) == 1 else (item,)
    load_filters(band for bands in out.values() for band in bands)
    return out


def unit_of(column):
    """Unit of a column."""
    return {_LUMINOSITY: "Lsun", _WIDTH: "Angstrom"}.get(column[: column.find("_") + 1], "mag(AB)")


def _line_of(item):
    return item.split("_", 1)[1]


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
        self._lines = [c for c, bands in self.columns.items() if not bands]
        self._light = None
        if self._lines:
            wanted = [_line_of(c) for c in self._lines]
            self._light = LineLuminosities(
                model, lambda names, wave: [line_index(n, names) for n in wanted], sps
            )

    def __call__(self, theta):
        """Columns by name, (n,) each, of the model's vectors (n, ndim)."""
        parts = [self._of(theta[i : i + _ROWS]) for i in range(0, len(theta), _ROWS)]
        return {name: np.concatenate([part[name] for part in parts]) for name in self.columns}

    def _of(self, theta):
        mags, out = {}, {}
        if self._bands:
            with np.errstate(divide="ignore"):
                flux = -2.5 * np.log10(self._fluxes.maggies(theta).T)
            mags = dict(zip(self._bands, flux, strict=True))
        for name, bands in self.columns.items():
            if bands:
                out[name] = mags[bands[0]] - (mags[bands[1]] if bands[1:] else 0.0)
        if self._lines:
            luminosity, width = self._light.luminosities_and_widths(theta)
            for i, name in enumerate(self._lines):
                out[name] = (luminosity if name.startswith(_LUMINOSITY) else width)[:, i]
        return out
