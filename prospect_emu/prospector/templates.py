"""Models by the names of Prospector's templates."""

import difflib
from functools import partial

import numpy as np
from prospect.models import SpecModel, priors, transforms
from prospect.models import templates as library

from ..cosmology import age_of_universe
from ..errors import ModelMismatchError
from . import beta_models
from .line_table import tolerate_missing_sps_home
from .magnification import magnified

# Lowest tage as a fraction of the universe's age, where the redshift is free.
_YOUNGEST = 0.001


def template_names():
    """Names in Prospector's `TemplateLibrary`, and those of `beta_models`."""
    ours = ("uncover", *(name + beta_models.CORRECTED for name in ("beta", "uncover")))
    return sorted([*library.TemplateLibrary._entries, *ours])


def _template(name):
    """Parameters of one template."""
    base = name.removesuffix(beta_models.CORRECTED)
    params = beta_models.uncover_params() if base == "uncover" else library.TemplateLibrary[base]
    return beta_models.corrected_params(params) if base != name else params


def template_params(name, zred=None, zred_prior=None):
    """Prospector's parameter dictionary of templates joined by ``+``.

    Parameters
    ----------
    name : str
        Such as ``"continuity_sfh+dust_emission+nebular"``; later ones replace
        parameters of earlier ones.
    zred : float, optional
        Redshift to hold fixed. Age bins and the prior of ``tage`` then end at the age of the
        universe there.
    zred_prior : prior, optional
        Instead of `zred`: a free redshift. Age bins then end at the age of the universe at each
        redshift, and ``tage`` becomes the fraction ``tage_tuniv`` of it. "model" for templates
        that have a prior of the redshift (`beta_models`).

    Returns
    -------
    params : dict
    notes : list of str
        What was changed of the templates.

    Raises
    ------
    ModelMismatchError
        For an unknown name, or a template whose redshift cannot be made free.
    """
    params, notes, known = {}, [], template_names()
    for part in name.split("+"):
        if part not in known:
            near = difflib.get_close_matches(part, known, n=3) or known
            raise ModelMismatchError(
                f"Prospector has no template {part!r}; did you mean {', '.join(near)}?"
            )
        params |= _template(part)
    if zred_prior is not None:
        return _with_free_redshift(name, params, zred_prior)
    if zred is None:
        return params, notes
    if beta_models.has_own_redshift(params):
        return beta_models.at_redshift(params, zred), notes
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


def _with_free_redshift(name, params, prior):
    """Parameters with `prior` of ``zred``, and notes."""
    own = beta_models.has_own_redshift(params)
    if own != (isinstance(prior, str) and prior == beta_models.OWN):
        raise ModelMismatchError(
            f"{name} has a prior of its redshift already, jointly with other parameters; the "
            "prior to give with it is 'model'."
            if own
            else f"{name} has no prior of its redshift; give one, such as uniform:0.01,12."
        )
    if own:
        return params, []
    if "sigma_reg" in params:
        raise ModelMismatchError(
            f"The prior of {name}'s history is that of one redshift; give --zred a number."
        )
    init = float(prior.unit_transform(np.array([0.5]))[0])
    first = {"zred": {"N": 1, "isfree": True, "init": init, "prior": prior}}
    notes = []
    bins, tage = params.get("agebins", {}), params.get("tage", {})
    if "init" in bins and not bins.get("depends_on"):
        given = np.append(np.asarray(bins["init"])[:, 0], np.asarray(bins["init"])[-1, 1])
        follow = partial(_stretched, given=given)
        first["agebins"] = bins | {"init": follow(zred=init), "depends_on": follow}
        notes.append(
            f"Age bins after the first, 10^{given[1]:.3g} yr, are spaced as the template's in log "
            "age, up to the universe's age at each redshift."
        )
    bounds = getattr(tage.get("prior"), "params", {})
    if tage.get("isfree") and "maxi" in bounds:
        fraction = {"N": 1, "isfree": True, "init": 0.5}
        fraction["prior"] = priors.TopHat(mini=_YOUNGEST, maxi=1.0)
        tied = {k: v for k, v in tage.items() if k != "prior"}
        first["tage_tuniv"] = fraction
        first["tage"] = tied | {"isfree": False, "depends_on": transforms.tage_from_tuniv}
        notes.append(
            f"tage is tage_tuniv, uniform from {_YOUNGEST:g} to 1, times the universe's age at "
            "each redshift."
        )
    # Before what depends on them.
    return first | {k: v for k, v in params.items() if k not in first}, notes


def _stretched(zred=0.0, given=None, **extras):
    """Age bins (nbin, 2) whose second to last edges follow the age of the universe."""
    zred = float(np.squeeze(zred))
    share = (given[1:] - given[1]) / (given[-1] - given[1])
    edges = given[1] + share * (np.log10(float(age_of_universe(zred))) - given[1])
    return np.stack([np.append(given[0], edges[:-1]), edges], axis=1)


def _edges(agebins, age):
    """The template's edges in log10(years), the last at `age` Gyr."""
    edges = np.append(np.asarray(agebins)[:, 0], np.log10(age) + 9.0)
    if edges[-2] >= edges[-1]:
        edges[1:] = np.linspace(edges[1], edges[-1], edges.size - 1)
    return edges


def template_model(name, zred=None, zred_prior=None, magnification=None):
    """`SpecModel` of `template_params`, and its notes.

    With the `magnification` of `prospect_emu.prospector.magnification.describe_magnification`.
    """
    tolerate_missing_sps_home()
    params, notes = template_params(name, zred, zred_prior)
    if magnification is not None:
        params = magnified(params, magnification)
    return SpecModel(params), notes
