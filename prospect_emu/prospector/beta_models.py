"""Prospector-beta as templates: with a free or a fixed redshift, as released or corrected.

``beta`` is Prospector's template; ``uncover`` the model of the UNCOVER survey's catalogs (Wang et
al. 2024, ApJS 270, 12), its joint prior of redshift, mass, metallicity and history with all else
free as in the 18-parameter model. ``_corrected`` after either takes the priors of
`prospect_emu.prospector.beta_corrected`.
"""

import numpy as np
from prospect.models import priors as prospector
from prospect.models import priors_beta as beta
from prospect.models import transforms

from ..networks.sfh import NBINS
from .beta_corrected import CorrectedBeta, corrected
from .mathews23 import model_params

CORRECTED = "_corrected"
# Names of templates with a joint prior of the redshift, for which a prior of it alone may be OWN.
OWN = "model"
_COLUMNS = {
    "zred": transforms.nzsfh_to_zred,
    "logmass": transforms.nzsfh_to_logmass,
    "logzsol": transforms.nzsfh_to_logzsol,
    "logsfr_ratios": transforms.nzsfh_to_logsfr_ratios,
    "agebins": transforms.zred_to_agebins_pbeta,
    "mass": transforms.logsfr_ratios_to_masses,
}


def uncover_params():
    """Prospector's parameter dictionary of the model ``uncover``."""
    ratios = np.zeros(NBINS - 1)
    prior = beta.PhiSFH(
        zred_mini=1e-3, zred_maxi=20.0, mass_mini=6.0, mass_maxi=12.5, z_mini=-1.98, z_maxi=0.19,
        logsfr_ratio_mini=-5.0, logsfr_ratio_maxi=5.0, logsfr_ratio_tscale=0.3, nbins_sfh=NBINS,
        const_phi=True,
    )  # fmt: skip
    init = np.concatenate([[0.5, 8.0, 0.0], ratios])
    params = {"nzsfh": {"N": init.size, "isfree": True, "init": init, "prior": prior}}
    bins = transforms.zred_to_agebins_pbeta(np.array([0.5]), np.zeros((NBINS, 2)))
    first = {"zred": 0.5, "logmass": 8.0, "logzsol": 0.0, "logsfr_ratios": ratios, "agebins": bins}
    for name, transform in _COLUMNS.items():
        value = first.get(name, np.full(NBINS, 1e6))
        params[name] = {
            "N": len(np.atleast_1d(value)), "isfree": False, "init": value, "depends_on": transform
        }  # fmt: skip
    rest = model_params(zred=0.5)
    params |= {k: v for k, v in rest.items() if k not in params and k != "massmet"}
    params["dust_index"]["prior"] = prospector.TopHat(mini=-1.0, maxi=0.4)
    return params


def corrected_params(params):
    """A model's parameters with Prospector-beta's prior in its corrected form."""
    return _with_prior(params, corrected)


def has_own_redshift(params):
    """Whether the redshift of a model follows from a joint prior."""
    return bool(params.get("zred", {}).get("depends_on"))


def at_redshift(params, zred):
    """A model with a joint prior of redshift and history at one redshift.

    Of the mass function and history there, as Prospector has it with ``PhiSFHfixZred`` or
    ``DymSFHfixZred``.
    """
    kinds = {beta.NzSFH: beta.PhiSFHfixZred, beta.PhiSFH: beta.PhiSFHfixZred,
             beta.DymSFH: beta.DymSFHfixZred}  # fmt: skip

    def fixed(prior):
        if isinstance(prior, CorrectedBeta):
            return corrected(fixed(prior.released))
        kind = kinds.get(type(prior))
        if kind is None:
            return prior
        keep = {k: v for k, v in prior.params.items() if k in kind.prior_params}
        return kind(zred=float(zred), **keep)

    params = _with_prior(params, fixed)
    joint = dict(params["nzsfh"])
    joint["init"] = np.append(float(zred), np.asarray(joint["init"], dtype=float)[1:])
    return params | {"nzsfh": joint}


def _with_prior(params, change):
    joint = dict(params["nzsfh"])
    joint["prior"] = change(joint["prior"])
    return params | {"nzsfh": joint}
