"""FSPS's emission lines as Prospector's models read them, with or without SPS_HOME."""

import functools
import os

import numpy as np
from prospect.models import sedmodel

from ..sps.ingredients import find_ingredients

_LINE_TYPE = np.dtype([("wave", "f8"), ("name", "<U20")])


def tolerate_missing_sps_home():
    """Let Prospector's `SpecModel` be built without FSPS.

    It reads ``$SPS_HOME/data/emlines_info.dat`` when a model is made and ends
    with a TypeError where SPS_HOME is not set. The replacement differs from the
    original only where there is no such file: the table of lines is then that of
    the bundled ingredients.
    """
    original = sedmodel.SpecModel.init_eline_info
    if getattr(original, "tolerates_missing_sps_home", False):
        return

    @functools.wraps(original)
    def init_eline_info(self, *args, **kwargs):
        if _line_file() is not None:
            return original(self, *args, **kwargs)
        self.emline_info = line_table().copy()
        self._use_eline = np.ones(self.emline_info.size, dtype=bool)
        return None

    init_eline_info.tolerates_missing_sps_home = True
    sedmodel.SpecModel.init_eline_info = init_eline_info


def emission_line_wavelengths():
    """Wavelengths (Angstrom) of FSPS's lines, from SPS_HOME if it is set.

    `SpecModel` wants as many as its own table has.
    """
    path = _line_file()
    if path is None:
        return line_table()["wave"].copy()
    return np.genfromtxt(path, dtype=_LINE_TYPE, delimiter=",")["wave"]


@functools.lru_cache(maxsize=1)
def line_table():
    """FSPS's emission lines from the bundled ingredients: ``wave`` (Angstrom) and ``name``."""
    ingredients = find_ingredients(imf_type=1)
    names = ingredients.line_names or [""] * ingredients.line_wave.size
    return np.array(list(zip(ingredients.line_wave, names, strict=True)), dtype=_LINE_TYPE)


def _line_file():
    """FSPS's line list, or None."""
    home = os.environ.get("SPS_HOME")
    path = os.path.join(home, "data", "emlines_info.dat") if home else ""
    return path if os.path.isfile(path) else None


def own_photometry(model):
    """Whether a model may add to the photometry what is not a parameter of FSPS.

    It has methods of its own in place of those of Prospector's `SedModel` or `SpecModel`; or
    its lines have a redshift of their own.
    """
    bases = [getattr(sedmodel, k) for k in ("SpecModel", "SedModel") if hasattr(sedmodel, k)]
    base = next((b for b in bases if isinstance(model, b)), None)
    if base is None:
        return True
    methods = [k for k in _PHOTOMETRY if hasattr(base, k)]
    own = any(getattr(getattr(model, k), "__func__", 0) is not getattr(base, k) for k in methods)
    return own or "eline_delta_zred" in model.params


# Methods that photometry goes through.
_PHOTOMETRY = (
    "predict", "sed", "predict_phot", "nebline_photometry", "flux_norm", "observed_wave",
    "cache_eline_parameters", "parse_elines",
)  # fmt: skip


def lines_apart(model):
    """Which lines a model adds to photometry where they are not in the spectrum.

    Returns
    -------
    bool or ndarray of bool, shape (nline,)
    """
    if not isinstance(model, sedmodel.SpecModel):
        return False
    if "elines_to_ignore" in model.params:
        # Prospector reads them at the first prediction.
        model.parse_elines()
    use = getattr(model, "_use_eline", True)
    return bool(np.all(use)) or np.array(use, dtype=bool)
