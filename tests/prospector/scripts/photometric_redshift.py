"""Free redshift, continuity prior with bins that follow it, Kriek and Conroy's dust law."""

import numpy as np
from astropy.cosmology import WMAP9
from prospect.models import SpecModel, priors
from prospect.models.templates import TemplateLibrary, adjust_continuity_agebins
from shared import HST, JWST, catalog, free

from prospect_emu import EmulatorSPS

run_params = {"zmin": 0.5, "zmax": 4.0}


def zred_to_agebins(zred=None, agebins=None, **extras):
    """The first two bins as they are, the others even in the logarithm of cosmic time."""
    age = WMAP9.age(float(np.squeeze(zred))).value * 1e9
    edges = np.linspace(agebins[1, 1], np.log10(0.85 * age), len(agebins) - 2)
    edges = [*agebins[0], *edges, np.log10(age)]
    return np.array([edges[:-1], edges[1:]]).T


def build_obs(**extras):
    return catalog(HST[:3] + JWST, brightness=3e-11)


def build_model(zmin=0.5, zmax=4.0, **extras):
    params = TemplateLibrary["continuity_sfh"]
    params.update(TemplateLibrary["nebular"])
    params.update(TemplateLibrary["igm"])
    params = adjust_continuity_agebins(params, tuniv=4.0, nbins=6)
    params["zred"] = free(1.5, priors.TopHat(mini=zmin, maxi=zmax))
    params["agebins"]["depends_on"] = zred_to_agebins
    params["dust_type"]["init"] = 4
    params["dust_index"] = free(-0.3, priors.TopHat(mini=-1.0, maxi=0.4))
    return SpecModel(params)


def build_sps(**extras):
    return EmulatorSPS(zcontinuous=1)


def build_noise(**extras):
    return None, None


if __name__ == "__main__":
    from shared import main

    main(build_obs, build_model, build_sps, build_noise, run_params)
