"""The warning where bundled ingredients stand in for an installed FSPS of other libraries.

A fit on other tables than those of the user's own FSPS has other physics, and the user
must know.
"""

import warnings
from functools import lru_cache

from ..parameters import DEFAULTS, INGREDIENTS, matters
from .contents import NAMES
from .ingredients import BUNDLED, COMMAND, list_ingredients
from .installed import installed_fsps

_warned: set = set()


def warn_of_other_libraries(used, parameters=None):
    """Warn, once, where bundled ingredients stand in for an installed FSPS of other libraries.

    Ingredients in the user's own folder are the user's choice, whatever they are.

    Parameters
    ----------
    used : Ingredients
        Those that were found.
    parameters : dict, optional
        FSPS's stellar parameters of the model. None before there is a model: then the warning
        is for installations without any ingredients of their own.
    """
    if used.manifest.get("sha256") not in _bundled_checksums():
        return
    here = installed_fsps()
    if here is None or here.libraries == used.libraries:
        return
    if parameters is None and any(
        tuple(m.get("libraries", ())) == here.libraries for _, m in list_ingredients()
    ):
        return
    options = "".join(
        f" {k}={v}"
        for k, v in (parameters or {}).items()
        if k in INGREDIENTS and matters(k, parameters) and v != DEFAULTS[k]
    )
    # One sentence for each command, and one model does not repeat what was said before it.
    if here in _warned or (here, options) in _warned:
        return
    _warned.add(here if parameters is None else (here, options))
    warnings.warn(
        f"Spectra are those of {used.label}, but your FSPS is built with "
        f"{named(here.libraries)}, whose results differ; make ingredients of it, which are then "
        f"used by themselves, with `{COMMAND}{options}`"
        + ("" if parameters is not None else " (and imf_type=1 or the like, as your model has it)")
        + ".",
        UserWarning,
        stacklevel=4,
    )


def named(libraries):
    """FSPS's libraries by the names that papers use, as "MIST, MILES, DL07"."""
    return ", ".join(NAMES.get(k, k) for k in libraries)


@lru_cache(maxsize=1)
def _bundled_checksums():
    return frozenset(m.get("sha256") for _, m in list_ingredients([BUNDLED]))
