"""Models by the names of Prospector's templates."""

import difflib

import numpy as np
from prospect.models import SpecModel, priors
from prospect.models import templates as library

from ..cosmology import age_of_universe
from ..errors import ModelMismatchError
from .emission_lines import tolerate_missing_sps_home


def template_names():
    """Names in Prospector's `TemplateLibrary`."""
    return sorted(library.TemplateLibrary._entries)


def template_params(name, zred=None):
    """Prospector's parameter dictionary of templates joined by ``+``.

    Parameters
    ----------
    name : str
        Such as ``"continuity_sfh+dust_emission+nebular"``; later ones replace
        parameters of earlier ones.
    zred : float, optional
        Redshift to hold fixed. Age bins and the prior of ``tage`` then end at the age of the
        universe there.

    Returns
    -------
    params : dict
    notes : list of str
        What was changed of the templates.

    Raises
    ------
    ModelMismatchError
        For an unknown name.
    """
    params, notes, known = {}, [], template_names()
    for part in name.split("+"):
        if part not in known:
            near = difflib.get_close_matches(part, known, n=3) or known
            raise ModelMismatchError(
                f"Prospector has no template {part!r}; did you mean {', '.join(near)}?"
            )
        params |= library.TemplateLibrary[part]
    if zred is None:
        return params, notes
    params["zred"] = {"N": 1, "isfree": False, "init": float(zred)}
    age = float(age_of_universe(zred)) / 1e9
    bins = params.get("agebins", {})
    if "init" in bins and not bins.get("depends_on"):
        edges = _edges(bins["init"], age)
        params["agebins"] = bins | {"init": np.stack([edges[:-1], edges[1:]], axis=1)}
        notes.append(f"The age bins end at {age:.3g} Gyr, the universe's age.")
        if "sigma_reg" in params:
            # The prior of the ratios follows from the bins.
            params = library.adjust_stochastic_params(params, tuniv=age)
    if "tuniv" in params:
        params["tuniv"]["init"] = age
    tage = params.get("tage", {})
    bounds = getattr(tage.get("prior"), "params", {})
    if tage.get("isfree") and bounds.get("maxi", 0.0) > age:
        params["tage"] = tage | {
            "prior": priors.TopHat(mini=bounds["mini"], maxi=age),
            "init": min(float(np.squeeze(tage["init"])), 0.5 * age),
        }
        notes.append(f"The prior of tage ends at {age:.3g} Gyr, the universe's age.")
    return params, notes


def _edges(agebins, age):
    """The template's edges in log10(years), the last at `age` Gyr."""
    edges = np.append(np.asarray(agebins)[:, 0], np.log10(age) + 9.0)
    if edges[-2] >= edges[-1]:
        edges[1:] = np.linspace(edges[1], edges[-1], edges.size - 1)
    return edges


def template_model(name, zred=None):
    """`SpecModel` of `template_params`, and its notes."""
    tolerate_missing_sps_home()
    params, notes = template_params(name, zred)
    return SpecModel(params), notes
