"""A stack at z = 8 to 9: bins that follow the redshift, no Lyman alpha, few arguments."""

import numpy as np
from astropy.cosmology import WMAP9
from prospect.models import SpecModel, priors
from prospect.models.templates import TemplateLibrary
from shared import JWST, catalog, fixed, free

from prospect_emu import EmulatorSPS

run_params = {}
NBINS = 6


def bins_at(zred):
    oldest = np.log10(WMAP9.age(zred).value * 1e9)
    edges = np.concatenate([[0.0, 6.7], np.linspace(7.0, oldest, NBINS - 1)])
    return np.stack([edges[:-1], edges[1:]], axis=1)


def agebins(zred=None, **extras):
    # Parameters are arrays of one value in Prospector.
    return bins_at(zred[0])


def masses(logmass=None, logsfr_ratios=None, zred=None, **extras):
    bins = 10 ** bins_at(zred[0])
    rate = 10 ** -np.append(0.0, np.cumsum(np.clip(logsfr_ratios, -10, 10)))
    formed = rate * (bins[:, 1] - bins[:, 0])
    return 10**logmass * formed / formed.sum()


def build_obs(brightness=1e-11):
    return catalog(JWST, brightness=brightness)


def build_model():
    params = TemplateLibrary["continuity_sfh"]
    params.update(TemplateLibrary["nebular"])
    params.update(TemplateLibrary["igm"])
    params["zred"] = free(8.5, priors.TopHat(mini=8.0, maxi=9.0))
    params["agebins"] = fixed(bins_at(8.5), NBINS, depends_on=agebins)
    params["mass"] = fixed(np.full(NBINS, 1e8), NBINS, depends_on=masses)
    one = np.ones(NBINS - 1)
    ratios = priors.StudentT(mean=0.0 * one, scale=0.5 * one, df=2.0 * one)
    params["logsfr_ratios"] = free(0.0 * one, ratios, NBINS - 1)
    params["imf_type"]["init"] = 1
    params["nebemlineinspec"]["init"] = False
    params["elines_to_ignore"] = {"isfree": False, "init": ["Ly-alpha 1215"]}
    # FSPS's grid ends at -1.
    params["gas_logu"] = free(-2.5, priors.TopHat(mini=-4.0, maxi=0.0))
    params["igm_factor"] = free(1.0, priors.ClippedNormal(mean=1.0, sigma=0.3, mini=0.0, maxi=3.0))
    return SpecModel(params)


def build_sps():
    return EmulatorSPS()


def build_noise():
    return None, None


if __name__ == "__main__":
    from prospect.fitting import fit_model

    fit_model(build_obs(), build_model(), build_sps(), build_noise(), dynesty=True)
