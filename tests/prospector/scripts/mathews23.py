"""The 18 parameters of Mathews et al. (2023) in a user's own words, bins above z = 3 included."""

import numpy as np
from astropy.cosmology import WMAP9
from prospect.models import SpecModel, priors
from prospect.models.templates import TemplateLibrary
from shared import FAR_IR, HST, MID_IR, NEAR_IR, OPTICAL, catalog, fixed, free

from prospect_emu import EmulatorSPS

run_params = {"zred": 1.4}
NBIN = 7


def age_bins(zred, amin=7.1295, nbin=NBIN):
    """30 and 100 Myr, then even in log; above z = 3 from `amin`; the last 15 % of cosmic time."""
    age = WMAP9.age(float(np.squeeze(zred))).value * 1e9
    last = np.log10(0.85 * age)
    if np.squeeze(zred) <= 3.0:
        edges = [0.0, np.log10(3e7), *np.linspace(8.0, last, nbin - 2), np.log10(age)]
    else:
        edges = [0.0, *np.linspace(amin, last, nbin - 1), np.log10(age)]
    return np.array([edges[:-1], edges[1:]]).T


def zred_to_bins(zred=None, **extras):
    return age_bins(zred)


def ratios_to_masses(logmass=None, logsfr_ratios=None, agebins=None, **extras):
    ratios = 10 ** np.clip(logsfr_ratios, -10, 10)
    width = np.diff(10 ** np.asarray(agebins), axis=1)[:, 0]
    sfr = np.concatenate([[1.0], 1.0 / np.cumprod(ratios)])
    return 10 ** np.squeeze(logmass) * sfr * width / np.sum(sfr * width)


def build_obs(**extras):
    return catalog(OPTICAL + HST + NEAR_IR + MID_IR + FAR_IR[:1])


def build_model(zred=1.4, **extras):
    params = TemplateLibrary["alpha"]
    for name in ("z_fraction", "total_mass"):
        params.pop(name)
    six = np.zeros(NBIN - 1)
    params["zred"] = fixed(zred)
    params["logmass"] = free(10.5, priors.TopHat(mini=6.0, maxi=12.5))
    params["logsfr_ratios"] = free(
        six, priors.StudentT(mean=six, scale=six + 0.3, df=six + 2), n=NBIN - 1
    )
    params["agebins"] = fixed(age_bins(zred), n=NBIN, depends_on=zred_to_bins)
    params["mass"] = fixed(np.ones(NBIN), n=NBIN, depends_on=ratios_to_masses)
    params["imf_type"]["init"] = 1
    params["logzsol"]["prior"] = priors.ClippedNormal(mean=-0.2, sigma=0.4, mini=-1.98, maxi=0.19)
    params["dust2"]["prior"] = priors.ClippedNormal(mean=0.3, sigma=1.0, mini=0.0, maxi=4.0)
    params["dust_index"]["prior"] = priors.TopHat(mini=-1.2, maxi=0.4)
    params["gas_logz"] = free(-0.5, priors.TopHat(mini=-2.0, maxi=0.5))
    params["gas_logu"]["init"] = -1.0
    params["duste_qpah"]["prior"] = priors.ClippedNormal(mean=2.0, sigma=2.0, mini=0.0, maxi=7.0)
    params["duste_gamma"] = fixed(0.01, depends_on=lambda log_gamma=-2, **extras: 10**log_gamma)
    params["log_gamma"] = free(
        -2.0, priors.ClippedNormal(mean=-2.0, sigma=1.0, mini=-4.0, maxi=0.0)
    )
    params.update(TemplateLibrary["igm"])
    return SpecModel(params)


def build_sps(**extras):
    return EmulatorSPS(zcontinuous=1)


def build_noise(**extras):
    return None, None


if __name__ == "__main__":
    from shared import main

    main(build_obs, build_model, build_sps, build_noise, run_params)
